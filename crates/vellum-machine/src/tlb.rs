//! TRUSTED: what the calling processor knows of page tables: its root, and the translations that it keeps.
//!
//! A processor keeps translations, and the addresses of page-table nodes that it passed, until it is told to
//! forget them; it may also read a translation anew at any time, without an access that asks for it. So after an
//! entry was changed, the old translation can be in use on a processor until that processor has flushed it, and
//! not after, as long as no table that it can reach still says so.
//!
//! Flushing does nothing on a thread that is no processor: it has no translations.
use crate::addr::{Paddr, Vaddr};
use crate::arch::imp;
use crate::cpu::{CpuId, no_processor};
use core::ops::Range;

/// Forgets the translations of the page that holds `va`, of any size and global ones too, and every node address.
///
/// # Guarantees
/// An access on this processor after this call does not use a translation read before it (Intel SDM vol. 3,
/// section 4.10.4.1).
pub fn flush_addr(va: Vaddr) {
    imp::with_processor(|processor| processor.flush_addr(va));
}

/// Forgets the translations of every page that has an address in `range`, as [`flush_addr`] does.
///
/// An empty or reversed range has no address in it.
pub fn flush_range(range: Range<Vaddr>) {
    imp::with_processor(|processor| processor.flush_range(range));
}

/// Forgets every translation, global ones too, and every node address.
pub fn flush_all() {
    imp::with_processor(|processor| processor.flush_all());
}

/// Has the calling processor walk the tables at `root`, and forgets every translation that is not global.
///
/// # Panics
/// On a thread that is no processor. A machine check if `root` is not the address of a frame of the machine.
///
/// # Safety
/// 1. `root` is the root node of a page table whose words are of the format [`Native`](crate::ptword::Native), and
///    it and every node that can be reached from it stay page-table nodes until this processor has another root; a
///    node that is unlinked stays one until this processor has flushed.
/// 2. What user code can reach through the table is memory that user code may read, write or execute as the
///    entries say.
#[allow(unsafe_code, reason = "the duty of whoever chooses the tables that a processor obeys")]
pub unsafe fn set_root(root: Paddr) {
    imp::with_processor(|processor| processor.set_root(root)).unwrap_or_else(|| no_processor());
}

/// Returns the root of the tables that the calling processor walks, or `None` before the first [`set_root`].
///
/// # Panics
/// On a thread that is no processor.
pub fn root() -> Option<Paddr> {
    imp::with_processor(|processor| processor.root()).unwrap_or_else(|| no_processor())
}

/// What a processor counted since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Walks through the tables.
    pub walks: u64,
    /// Accesses that a kept translation answered.
    pub hits: u64,
    /// Translations that were put into the cache.
    pub fills: u64,
    /// Page faults that were raised.
    pub faults: u64,
    /// Flushes of any kind, changes of the root among them.
    pub flushes: u64,
}

/// Returns what a processor counted, or `None` if the machine does not have it.
pub fn statistics(cpu: CpuId) -> Option<Statistics> {
    imp::statistics(cpu)
}
