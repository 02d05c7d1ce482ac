//! The walk through the tables in software, to say what hardware finds.
use super::native::{root_register, walk as entries};
use crate::addr::{PAGE_SHIFT, Paddr, Vaddr};
use crate::layout::PADDR_LIMIT;
use crate::page::contents;
use core::sync::atomic::{AtomicU64, Ordering};

/// An entry on the way to an address.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The level of its node: that of the root is the number of levels.
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
        entries::is_present(self.entry)
    }

    /// Whether the way ends here, in a page.
    pub const fn is_leaf(&self) -> bool {
        self.is_present() && entries::is_page(self.entry, self.level)
    }

    /// The physical address that it names.
    pub const fn paddr(&self) -> Paddr {
        entries::paddr(self.entry)
    }
}

/// Lists the entries on the way to an address in the tables of the calling processor, from the root on; none where the
/// address is not one that has entries.
///
/// Each is read at some moment of the call; tables that others change meanwhile may be walked half old, half new.
pub fn walk(va: Vaddr) -> impl Iterator<Item = Step> {
    let (levels, root) = root_register();
    let unused_bits = usize::BITS as usize - PAGE_SHIFT - 9 * levels;
    let is_canonical = (va.0 << unused_bits) as isize >> unused_bits == va.0 as isize;
    let mut next = is_canonical.then_some((levels, root));
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
