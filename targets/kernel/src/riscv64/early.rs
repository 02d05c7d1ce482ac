//! Additions to the boot tables, before there is kernel space.
use super::{paddr, symbols};
use crate::boot::early_table;
use crate::console::println;
use core::sync::atomic::{AtomicU64, Ordering};
use vellum::boot::EarlyAllocator;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::arch::riscv64;
use vellum_machine::page::contents;

const VALID: u64 = 1;
/// Valid, for reading and writing, with that noted.
const PAGE: u64 = 0xc7;

/// Levels of the boot tables of the image: every hart that translates addresses can walk so many.
pub const BOOT_LEVELS: usize = 3;

/// The root of boot tables of four levels, in which its first entry and its last show those of three.
#[repr(C, align(4096))]
struct Root([AtomicU64; 512]);

static ROOT_OF_FOUR: Root = Root([const { AtomicU64::new(0) }; 512]);

/// Chooses Sv48 where this hart has it, and otherwise Sv39. The command line may say `paging=sv39`, or `paging=sv48`, without
/// which the kernel does not boot then.
pub fn choose_paging(command_line: &str) {
    let asked = |word| command_line.split_whitespace().any(|other| other == word);
    let link = paddr(&raw const symbols::boot_root_shown).0 as u64 >> 2 | VALID;
    for entry in [0, 511] {
        // Relaxed: the hart itself walks it, after a fence.
        ROOT_OF_FOUR.0[entry].store(link, Ordering::Relaxed);
    }
    // SAFETY: the hart walks the boot tables, which the others show where they are themselves. There is no table of the
    // library's yet, and no second processor.
    let levels =
        unsafe { riscv64::choose_paging(paddr((&raw const ROOT_OF_FOUR).cast()), !asked("paging=sv39")) };
    println!("boot: page tables of {levels} levels, Sv{}", 12 + 9 * levels);
    assert!(
        levels == 4 || !asked("paging=sv48"),
        "this hart does not have Sv48, which the command line wants"
    );
}

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

/// The entry of the lowest level for an address; nodes above it that are missing are made. They are in the boot
/// tables of three levels, which those of four show.
fn entry(early: &mut EarlyAllocator, va: Vaddr) -> &'static AtomicU64 {
    let mut node = paddr(&raw const symbols::boot_root_shown);
    for level in (1..=BOOT_LEVELS).rev() {
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
