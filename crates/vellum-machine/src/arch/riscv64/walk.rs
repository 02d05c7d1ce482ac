//! The walk through the tables in software, to say what hardware finds.
use super::{LEVELS, root_register};
use crate::addr::{PAGE_SHIFT, Paddr, Vaddr};
use crate::fault::Access;
use crate::layout::PADDR_LIMIT;
use crate::page::contents;
use core::sync::atomic::{AtomicU64, Ordering};

const VALID: u64 = 1 << 0;
const READABLE: u64 = 1 << 1;
const WRITABLE: u64 = 1 << 2;
const EXECUTABLE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 6;
const DIRTY: u64 = 1 << 7;
const PAGE_NUMBER: u64 = 0x003f_ffff_ffff_fc00;

/// An entry on the way to an address.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The level of its node: [`LEVELS`] is the root's.
    pub level: usize,
    /// The physical address of the node.
    pub node: Paddr,
    /// Its index in the node.
    pub index: usize,
    /// What it is.
    pub entry: u64,
}

impl Step {
    /// Whether a walker goes on from here.
    pub const fn is_present(&self) -> bool {
        self.entry & VALID != 0
    }

    /// Whether the way ends here, in a page.
    pub const fn is_leaf(&self) -> bool {
        self.is_present() && self.entry & (READABLE | WRITABLE | EXECUTABLE) != 0
    }

    /// The physical address that it names.
    pub const fn paddr(&self) -> Paddr {
        Paddr(((self.entry & PAGE_NUMBER) << 2) as usize)
    }

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

/// Lists the entries on the way to an address in the tables of the calling processor, from the root on; none where the
/// address is not one that has entries.
///
/// Each is read at some moment of the call; tables that others change meanwhile may be walked half old, half new.
pub fn walk(va: Vaddr) -> impl Iterator<Item = Step> {
    const UNUSED_BITS: usize = usize::BITS as usize - PAGE_SHIFT - 9 * LEVELS;
    let is_canonical = (va.0 << UNUSED_BITS) as isize >> UNUSED_BITS == va.0 as isize;
    let mut next = is_canonical.then(|| (LEVELS, root_register()));
    core::iter::from_fn(move || {
        let (level, node) = next.take()?;
        let index = va.0 >> (PAGE_SHIFT + 9 * (level - 1)) & 511;
        let word = contents(node).cast::<AtomicU64>();
        // SAFETY: the processor walks this node: the linear map shows it, and it stays a node meanwhile.
        // Acquire: as hardware, what it leads to is read after it.
        let entry = unsafe { (*word.add(index)).load(Ordering::Acquire) };
        let step = Step { level, node, index, entry };
        if step.is_present() && !step.is_leaf() && level > 1 && step.paddr().0 < PADDR_LIMIT {
            next = Some((level - 1, step.paddr()));
        }
        Some(step)
    })
}

/// `None` where user code may make the access; otherwise whether there is an entry, which forbids it.
pub(in crate::arch) fn probe(va: Vaddr, access: Access) -> Option<bool> {
    match walk(va).find(Step::is_leaf) {
        Some(step) if step.allows(access, true) => None,
        found => Some(found.is_some()),
    }
}
