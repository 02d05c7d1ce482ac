//! TRUSTED: RISC-V with 64 bits: registers, fences for paging, the firmware's calls.
//!
//! Paging is Sv39, or Sv48 with the feature `sv48`. Hardware may set accessed and dirty bits, or leave them to the
//! handler of page faults; harts may keep entries that say nothing is there ([`is_spurious`]).
pub mod sbi;
pub(super) mod user;
pub mod walk;

use super::bare::Station;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};
use crate::fault::{Access, PageFault};
use core::arch::asm;

pub use user::{Fixup, fix_up};
pub(super) use walk::probe;

/// What the walker of this machine reads.
#[cfg(not(feature = "sv48"))]
pub type Native = crate::ptword::RiscV<crate::ptword::Base>;

/// What the walker of this machine reads.
#[cfg(feature = "sv48")]
pub type Native = crate::ptword::RiscV<crate::ptword::Sv48Base>;

/// Levels of the tree.
pub const LEVELS: usize = if cfg!(feature = "sv48") { 4 } else { 3 };

/// The mode in `satp` that has harts walk such trees: 8 is Sv39, 9 is Sv48.
pub const SATP_MODE: usize = LEVELS + 5;

/// Where the mode is in `satp`.
pub const SATP_MODE_SHIFT: usize = 60;

/// The highest level at which walkers know pages: those of 1 GiB. Sv48 has larger ones, which no memory here fills.
pub(crate) fn largest_leaf_level() -> u8 {
    3
}

/// Whether harts note accesses by themselves: some do, and none has to.
pub(crate) const NOTES_ACCESSES: bool = false;

/// Above so many pages a range is not flushed page by page: a fence for one address is about its leaf alone.
pub(super) const PAGES_ONE_BY_ONE: usize = 1;

/// The bit of `sstatus` (SUM) with which the kernel reaches user pages. Code that returns to the kernel or to user code
/// keeps it.
pub const REACHES_USER_PAGES: usize = 1 << 18;

/// Makes `station` the place of this processor.
///
/// # Safety
/// 1. Nobody else changes `tp` while kernel code runs.
pub(super) unsafe fn sit_down(station: &'static Station) {
    let own: *const Station = station;
    // SAFETY: code of this target does not use `tp`, and by duty 1 it is ours. What the kernel reaches in user space is
    // untyped.
    unsafe {
        asm!("mv tp, {}", "csrs sstatus, {}", in(reg) own.expose_provenance(), in(reg) REACHES_USER_PAGES,
             options(nostack));
    }
}

/// The place of the processor that runs this code.
#[inline(always)]
pub(super) fn here() -> &'static Station {
    let station: *const Station;
    // SAFETY: `sit_down` has run on this processor, the duty of `arrive`: `tp` is the address of a station.
    unsafe {
        asm!("mv {}, tp", out(reg) station, options(pure, nomem, nostack, preserves_flags));
        &*station
    }
}

/// Sets the root of the tables, and forgets every translation.
///
/// # Safety
/// As for [`crate::tlb::set_root`].
pub(super) unsafe fn set_root(root: Paddr) {
    let satp = SATP_MODE << SATP_MODE_SHIFT | root.0 >> PAGE_SHIFT;
    // SAFETY: the caller's. The first fence has the walker see what was written before (privileged specification,
    // section 4.2.1); writing `satp` forgets nothing, which the second one does.
    unsafe {
        asm!("sfence.vma", "csrw satp, {}", "sfence.vma", in(reg) satp, options(nostack, preserves_flags));
    }
}

/// How many levels the tables have that the hart walks, and their root.
pub(super) fn root_register() -> (usize, Paddr) {
    const PAGE_NUMBER: usize = (1 << 44) - 1;
    let satp: usize;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("csrr {}, satp", out(reg) satp, options(nomem, nostack, preserves_flags)) };
    (LEVELS, Paddr((satp & PAGE_NUMBER) * PAGE_SIZE))
}

/// Forgets the translations of a page, and every node address: a fence for one address would keep those.
pub(super) fn flush_page(_va: Vaddr) {
    flush_all();
}

pub(super) fn flush_all() {
    // SAFETY: forgetting translations is sound. No `nomem`: accesses stay on their side of it.
    unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
}

/// The bit of `sstatus` that lets interrupts come.
const INTERRUPTS_ON: usize = 1 << 1;

/// Runs `f` with interrupts off on this processor.
pub fn without_interrupts<R>(f: impl FnOnce() -> R) -> R {
    let before: usize;
    // SAFETY: saves the register, and turns interrupts off.
    unsafe { asm!("csrrci {}, sstatus, 2", out(reg) before, options(nostack)) };
    let result = f();
    if before & INTERRUPTS_ON != 0 {
        // SAFETY: they were on before.
        unsafe { asm!("csrsi sstatus, 2", options(nostack)) };
    }
    result
}

/// Tells a processor that it has calls.
pub(super) fn interrupt(hardware: u32) {
    // SAFETY: orders memory. The firmware's store to the device is after what was written before.
    unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
    if sbi::send_interrupt(hardware as usize).is_err() {
        crate::halt::halt("the firmware does not interrupt a hart that was started");
    }
}

/// The causes of page faults (privileged specification, section 4.1.8).
const FETCH_FAULT: usize = 12;
const LOAD_FAULT: usize = 13;
const STORE_FAULT: usize = 15;

/// What an access wanted that ended with this cause; `None` where it was no page fault.
pub const fn page_fault(cause: usize) -> Option<Access> {
    match cause {
        FETCH_FAULT => Some(Access::Execute),
        LOAD_FAULT => Some(Access::Read),
        STORE_FAULT => Some(Access::Write),
        _ => None,
    }
}

/// Says what is known of a page fault at `addr`. Whether there is an entry, the tables say by now: the hart does not.
pub fn describe_fault(addr: Vaddr, access: Access, user: bool) -> PageFault {
    PageFault { addr, access, present: walk::walk(addr).any(|step| step.is_leaf()), user }
}

/// Whether the tables allow an access by now that the hart refused: it kept an entry that was replaced, or the answer that
/// there was none, which the specification allows (section 4.2.1). The hart forgets it; the access is worth another try.
pub fn is_spurious(addr: Vaddr, access: Access, user: bool) -> bool {
    let allowed = walk::walk(addr).any(|step| step.allows(access, user) && step.has_noted(access));
    if allowed {
        flush_all();
    }
    allowed
}
