//! What entries mean to the walker (Intel SDM vol. 3, section 5.5).
use crate::addr::{Paddr, Vaddr};
use crate::fault::Access;

pub use crate::arch::bare::walk::{Step, walk};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const PAGE_SIZE_BIT: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Whether a walker goes on from an entry.
pub(in crate::arch) const fn is_present(entry: u64) -> bool {
    entry & PRESENT != 0
}

/// Whether an entry of that level that is present is a page.
pub(in crate::arch) const fn is_page(entry: u64, level: usize) -> bool {
    level == 1 || entry & PAGE_SIZE_BIT != 0
}

/// The physical address that an entry names.
pub(in crate::arch) const fn paddr(entry: u64) -> Paddr {
    Paddr((entry & ADDRESS) as usize)
}

/// `None` where user code may make the access; otherwise whether there is an entry, which forbids it.
pub(in crate::arch) fn probe(va: Vaddr, access: Access) -> Option<bool> {
    let mut allowed = true;
    for step in walk(va) {
        allowed &= step.entry & USER != 0;
        allowed &= match access {
            Access::Read => true,
            Access::Write => step.entry & WRITABLE != 0,
            Access::Execute => step.entry & NO_EXECUTE == 0,
        };
        if step.is_leaf() {
            return if allowed { None } else { Some(true) };
        }
    }
    Some(false)
}
