//! Additions to the boot tables, before there is kernel space.
use super::{paddr, symbols};
use crate::boot::early_table;
use core::sync::atomic::{AtomicU64, Ordering};
use vellum::boot::EarlyAllocator;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::arch::riscv64::LEVELS;
use vellum_machine::page::contents;

const VALID: u64 = 1;
/// Valid, for reading and writing, with that noted.
const PAGE: u64 = 0xc7;

/// The boot tables of the image show all that the linear map has room for.
pub fn show_memory(_early: &mut EarlyAllocator, _end: Paddr) {}

/// Has the boot tables show `len` bytes of physical memory at `at`.
pub fn map_at_boot(early: &mut EarlyAllocator, at: Vaddr, pa: Paddr, len: usize) {
    for offset in (0..len).step_by(PAGE_SIZE) {
        let entry = entry(early, Vaddr(at.0 + offset));
        entry.store((pa.0 + offset) as u64 >> 2 | PAGE, Ordering::Release);
    }
    // A hart may have kept that nothing was there.
    vellum_machine::tlb::flush_all();
}

/// The entry of the lowest level for an address; nodes above it that are missing are made.
fn entry(early: &mut EarlyAllocator, va: Vaddr) -> &'static AtomicU64 {
    let mut node = paddr(&raw const symbols::boot_root_shown);
    for level in (1..=LEVELS).rev() {
        let index = va.0 >> (12 + 9 * (level - 1)) & 511;
        // SAFETY: the linear map shows the boot tables: those of the image, and those made here.
        let entry = unsafe { &*contents(node).cast::<AtomicU64>().add(index) };
        if level == 1 {
            return entry;
        }
        if entry.load(Ordering::Acquire) == 0 {
            entry.store(early_table(early).0 as u64 >> 2 | VALID, Ordering::Release);
        }
        node = Paddr((entry.load(Ordering::Acquire) as usize & !0x3ff) << 2);
    }
    unreachable!("the tree has a lowest level")
}
