//! Additions to the boot tables, before there is kernel space.
use super::{IMAGE, symbols};
use crate::boot::early_table;
use core::sync::atomic::{AtomicU64, Ordering};
use vellum::boot::EarlyAllocator;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::layout::LINEAR_MAP_BASE;
use vellum_machine::page::contents;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
const LARGE_PAGE: usize = PAGE_SIZE << 9;

/// What the boot tables of the image show.
const SHOWN: usize = 4 << 30;

/// Has the boot tables show physical memory up to `end` in the linear map.
pub fn show_memory(early: &mut EarlyAllocator, end: Paddr) {
    for pa in (SHOWN..end.0).step_by(LARGE_PAGE) {
        let entry = entry(early, Vaddr(LINEAR_MAP_BASE + pa), 2);
        entry.store(pa as u64 | PRESENT_WRITABLE | LARGE, Ordering::Release);
    }
}

/// Has the boot tables show `len` bytes of physical memory at `at`.
pub fn map_at_boot(early: &mut EarlyAllocator, at: Vaddr, pa: Paddr, len: usize) {
    for offset in (0..len).step_by(PAGE_SIZE) {
        let entry = entry(early, Vaddr(at.0 + offset), 1);
        entry.store((pa.0 + offset) as u64 | PRESENT_WRITABLE, Ordering::Release);
    }
}

/// The entry for an address at a level; nodes above it that are missing are made. Nothing was mapped there before, and so
/// nothing is flushed.
fn entry(early: &mut EarlyAllocator, va: Vaddr, level: usize) -> &'static AtomicU64 {
    let mut node = Paddr((&raw const symbols::boot_root).addr());
    debug_assert!(node.0 < IMAGE);
    let mut at = 4;
    loop {
        let index = va.0 >> (12 + 9 * (at - 1)) & 511;
        // SAFETY: the linear map shows the boot tables: those of the image, and those made here.
        let entry = unsafe { &*contents(node).cast::<AtomicU64>().add(index) };
        if at == level {
            return entry;
        }
        if entry.load(Ordering::Acquire) == 0 {
            entry.store(early_table(early).0 as u64 | PRESENT_WRITABLE, Ordering::Release);
        }
        node = Paddr(entry.load(Ordering::Acquire) as usize & !0xfff);
        at -= 1;
    }
}
