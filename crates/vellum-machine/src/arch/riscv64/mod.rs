//! TRUSTED: RISC-V with 64 bits: registers, fences for paging, the firmware's calls.
//!
//! Paging is Sv39 or Sv48, as the kernel that boots [chose](choose_paging). Hardware may set accessed and dirty bits, or leave
//! them to the handler of page faults; harts may keep entries that say nothing is there ([`is_spurious`]).
pub mod sbi;
pub(super) mod user;
pub mod walk;

use super::bare::Station;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};
use crate::fault::{Access, PageFault};
use crate::paging::{self, has_four_levels};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

pub use user::{Fixup, fix_up};
pub(super) use walk::probe;

/// What the walker of this machine reads.
pub type Native = crate::ptword::RiscV<crate::ptword::Base>;

/// Replaces `current` by `new` in a word that this hart alone writes: a compare-and-swap with release ordering, which costs no
/// more than one against code on this hart alone would. An error is what is there instead.
#[inline(always)]
pub(super) fn replace_own(word: &AtomicU64, current: u64, new: u64) -> Result<(), u64> {
    word.compare_exchange_weak(current, new, Ordering::AcqRel, Ordering::Relaxed).map(drop)
}

/// The mode in `satp` that has harts walk trees of so many levels: 8 is Sv39, 9 is Sv48.
pub const fn satp_mode(levels: usize) -> usize {
    levels + 5
}

/// Where the mode is in `satp`.
pub const SATP_MODE_SHIFT: usize = 60;

/// Where the number of the root's frame is in `satp`.
const ROOT_NUMBER: usize = (1 << 44) - 1;

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
    let levels = if has_four_levels() { 4 } else { 3 };
    // SAFETY: the caller's.
    unsafe { write_satp(levels, root) };
}

/// Has the hart walk tables of so many levels, if it can.
///
/// # Safety
/// 1. Such tables at `root` stay as long as the hart walks them, and show the code that runs, its stack and its data as the
///    ones before.
unsafe fn write_satp(levels: usize, root: Paddr) {
    let satp = satp_mode(levels) << SATP_MODE_SHIFT | root.0 >> PAGE_SHIFT;
    // SAFETY: duty 1, whether the hart goes by the old tables or by the new ones until the second fence. The first one has the
    // walker see what was written before (privileged specification, section 4.2.1); writing `satp` forgets nothing, which the
    // second one does. A mode that the hart does not have leaves the register as it was (section 4.1.11).
    unsafe {
        asm!("sfence.vma", "csrw satp, {}", "sfence.vma", in(reg) satp, options(nostack, preserves_flags));
    }
}

/// How many levels the tables have that the hart walks, and their root.
pub(super) fn root_register() -> (usize, Paddr) {
    let satp: usize;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("csrr {}, satp", out(reg) satp, options(nomem, nostack, preserves_flags)) };
    ((satp >> SATP_MODE_SHIFT) - satp_mode(0), Paddr((satp & ROOT_NUMBER) * PAGE_SIZE))
}

/// Chooses Sv48 for all harts where this one has it and it is `wanted`, and otherwise Sv39, in which it is; returns the number
/// of levels.
///
/// # Safety
/// 1. This hart walks boot tables of three levels, and those at `root` have four and show the same.
/// 2. As for [`paging::choose`], duty 2.
pub unsafe fn choose_paging(root: Paddr, wanted: bool) -> usize {
    if wanted {
        // SAFETY: duty 1.
        unsafe { write_satp(4, root) };
    }
    let (levels, _) = root_register();
    // SAFETY: this hart walks such trees; one that cannot is seen by `walks_as_chosen`. Duty 2.
    unsafe { paging::choose(levels == 4) };
    levels
}

/// Whether this hart walks tables of as many levels as were chosen. One that [`set_root`](crate::tlb::set_root) has run on and
/// that does not cannot: it is of no use.
pub fn walks_as_chosen() -> bool {
    (root_register().0 == 4) == has_four_levels()
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

/// Has harts forget every translation and every node address, and waits until they have; says whether they did.
///
/// For all addresses: a fence for one would keep the nodes' (see [`flush_page`]).
pub(super) fn fence_others(harts: impl Iterator<Item = u32> + Clone) -> bool {
    let Some(base) = harts.clone().min() else {
        return true;
    };
    let mut mask = 0_usize;
    for hart in harts {
        // One call reaches as many harts as a word has bits.
        let Some(bit) = 1_usize.checked_shl(hart - base) else {
            return false;
        };
        mask |= bit;
    }
    // SAFETY: orders memory: what was written before is there for the harts that fence, and what they did before that is done
    // for this one.
    let order = || unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
    order();
    let done = sbi::fence_harts(mask, base as usize).is_ok();
    order();
    done
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
