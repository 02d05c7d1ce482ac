//! What entries mean to the walker (privileged specification, section 4.4).
use crate::addr::{Paddr, Vaddr};
use crate::fault::Access;

pub use crate::arch::bare::walk::{Step, walk};

const VALID: u64 = 1 << 0;
const READABLE: u64 = 1 << 1;
const WRITABLE: u64 = 1 << 2;
const EXECUTABLE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 6;
const DIRTY: u64 = 1 << 7;
const PAGE_NUMBER: u64 = 0x003f_ffff_ffff_fc00;

/// Whether a walker goes on from an entry.
pub(in crate::arch) const fn is_present(entry: u64) -> bool {
    entry & VALID != 0
}

/// Whether an entry that is present is a page, at any level.
pub(in crate::arch) const fn is_page(entry: u64, _level: usize) -> bool {
    entry & (READABLE | WRITABLE | EXECUTABLE) != 0
}

/// The physical address that an entry names.
pub(in crate::arch) const fn paddr(entry: u64) -> Paddr {
    Paddr(((entry & PAGE_NUMBER) << 2) as usize)
}

impl Step {
    /// Whether it is a page that user code, or else the kernel, may access so.
    pub const fn allows(&self, access: Access, user: bool) -> bool {
        let needed = match access {
            Access::Read => READABLE,
            Access::Write => WRITABLE,
            Access::Execute => EXECUTABLE,
        };
        self.is_leaf() && self.entry & needed != 0 && (self.entry & USER != 0) == user
    }

    /// Whether such an access is noted in it already.
    pub const fn has_noted(&self, access: Access) -> bool {
        let noted = if matches!(access, Access::Write) { ACCESSED | DIRTY } else { ACCESSED };
        self.entry & noted == noted
    }
}

/// `None` where user code may make the access; otherwise whether there is an entry, which forbids it.
pub(in crate::arch) fn probe(va: Vaddr, access: Access) -> Option<bool> {
    match walk(va).find(Step::is_leaf) {
        Some(step) if step.allows(access, true) => None,
        found => Some(found.is_some()),
    }
}
