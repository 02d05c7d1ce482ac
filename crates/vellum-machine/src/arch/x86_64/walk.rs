//! The walk through the tables in software, to say what hardware finds.
use super::root_register;
use crate::addr::{PAGE_SHIFT, Paddr, Vaddr};
use crate::fault::Access;
use crate::layout::PADDR_LIMIT;
use crate::page::contents;
use core::sync::atomic::{AtomicU64, Ordering};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const PAGE_SIZE_BIT: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Levels of the tree.
pub const LEVELS: usize = 4;

/// An entry on the way to an address.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The level of its node: 4 is the root's.
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
        self.entry & PRESENT != 0
    }

    /// Whether the way ends here, in a page.
    pub const fn is_leaf(&self) -> bool {
        self.is_present() && (self.level == 1 || self.entry & PAGE_SIZE_BIT != 0)
    }

    /// The physical address that it names.
    pub const fn paddr(&self) -> Paddr {
        Paddr((self.entry & ADDRESS) as usize)
    }
}

/// Lists the entries on the way to an address in the tables of the calling processor, from the root on.
///
/// Each is read at some moment of the call; tables that others change meanwhile may be walked half old, half new.
pub fn walk(va: Vaddr) -> impl Iterator<Item = Step> {
    let mut next = Some((LEVELS, root_register()));
    core::iter::from_fn(move || {
        let (level, node) = next.take()?;
        let index = va.0 >> (PAGE_SHIFT + 9 * (level - 1)) & 511;
        let word = contents(node).cast::<AtomicU64>();
        // SAFETY: the processor walks this node: the linear map shows it, and it stays a node meanwhile.
        // Acquire: as hardware, what it leads to is read after it.
        let entry = unsafe { (*word.add(index)).load(Ordering::Acquire) };
        let step = Step { level, node, index, entry };
        if step.is_present() && !step.is_leaf() && step.paddr().0 < PADDR_LIMIT {
            next = Some((level - 1, step.paddr()));
        }
        Some(step)
    })
}

/// `None` where user code may make the access; otherwise whether there is an entry, which forbids it.
pub(in crate::arch) fn probe(va: Vaddr, access: Access) -> Option<bool> {
    let mut allowed = true;
    for step in walk(va) {
        if !step.is_present() {
            return Some(false);
        }
        allowed &= step.entry & USER != 0;
        allowed &= match access {
            Access::Read => true,
            Access::Write => step.entry & WRITABLE != 0,
            Access::Execute => step.entry & NO_EXECUTE == 0,
        };
    }
    if allowed { None } else { Some(true) }
}
