//! TRUSTED: x86-64: registers, instructions for paging, the local APIC.
pub mod apic;
pub(super) mod user;
pub mod walk;

use super::bare::Station;
use crate::addr::{Paddr, Vaddr};
use crate::fault::{Access, PageFault};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::AtomicU64;

pub use user::{Fixup, fix_up};
pub(super) use walk::probe;

/// What the walker of this machine reads.
pub type Native = crate::ptword::X86_64;

/// Processors set accessed and dirty bits.
pub(crate) const NOTES_ACCESSES: bool = true;

/// Above so many pages a range is not flushed page by page.
pub(super) const PAGES_ONE_BY_ONE: usize = 64;

/// The bit of CR4 that keeps global translations when the root changes.
const CR4_PGE: u64 = 1 << 7;

/// The base of `gs`.
const MSR_GS_BASE: u32 = 0xc000_0101;

/// Replaces `current` by `new` in a word that this processor alone writes: as a compare-and-swap with release ordering, but
/// against code on this processor alone. An error is what is there instead.
// An instruction that is interrupted has no effect, and stores are seen in their order (Intel SDM vol. 3, sections 7.6 and
// 10.2.2): without LOCK it is no access that other processors see as one, and none of them writes.
#[inline(always)]
pub(super) fn replace_own(word: &AtomicU64, current: u64, new: u64) -> Result<(), u64> {
    let seen: u64;
    // SAFETY: the instruction accesses the word alone, which is valid and may be written through a shared
    // reference. It binds the compiler as any call of foreign code does: there is no `nomem`.
    unsafe {
        asm!(
            "cmpxchg qword ptr [{word}], {new}",
            word = in(reg) word.as_ptr(),
            new = in(reg) new,
            inout("rax") current => seen,
            options(nostack),
        );
    }
    if seen == current { Ok(()) } else { Err(seen) }
}

/// Reads a model-specific register.
///
/// # Safety
/// 1. The processor has the register.
pub unsafe fn read_msr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: duty 1; reading changes nothing.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// 1. The processor has the register.
/// 2. What the value has the processor do is sound.
pub unsafe fn write_msr(msr: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: duties 1 and 2.
    unsafe { asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack)) };
}

/// Makes `station` the place of this processor.
///
/// # Safety
/// 1. Nobody else changes the base of `gs` while kernel code runs.
pub(super) unsafe fn sit_down(station: &'static Station) {
    let own: *const Station = station;
    // SAFETY: every x86-64 has this register, and by duty 1 it is ours.
    unsafe { write_msr(MSR_GS_BASE, own.expose_provenance() as u64) };
}

/// The place of the processor that runs this code.
#[inline(always)]
pub(super) fn here() -> &'static Station {
    let station: *const Station;
    // SAFETY: `sit_down` has run on this processor, the duty of `arrive`: `gs` is at a station, whose first word is its
    // own address.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) station, options(pure, readonly, nostack, preserves_flags));
        &*station
    }
}

/// Sets the root of the tables, and forgets every translation that is not global.
///
/// # Safety
/// As for [`crate::tlb::set_root`].
pub(super) unsafe fn set_root(root: Paddr) {
    // SAFETY: the caller's. No `nomem`: what was written before is in memory for the walker.
    unsafe { asm!("mov cr3, {}", in(reg) root.0, options(nostack, preserves_flags)) };
}

/// How many levels the tables have that the processor walks, and their root.
pub(super) fn root_register() -> (usize, Paddr) {
    let root: usize;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    (4, Paddr(root & !0xfff))
}

pub(super) fn flush_page(va: Vaddr) {
    // SAFETY: forgetting a translation is sound. No `nomem`: accesses stay on their side of it.
    unsafe { asm!("invlpg [{}]", in(reg) va.0, options(nostack, preserves_flags)) };
}

pub(super) fn flush_all() {
    // SAFETY: forgetting translations is sound. Clearing PGE forgets global ones too (Intel SDM vol. 3, section
    // 5.10.4.1); without it there are none, and writing CR3 forgets the rest. An interrupt in between finds PGE clear,
    // which changes nothing but speed.
    unsafe {
        let cr4: u64;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        if cr4 & CR4_PGE != 0 {
            asm!("mov cr4, {}", in(reg) cr4 & !CR4_PGE, options(nostack, preserves_flags));
            asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        } else {
            asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
        }
    }
}

/// Runs `f` with interrupts off on this processor.
pub fn without_interrupts<R>(f: impl FnOnce() -> R) -> R {
    const INTERRUPTS_ON: u64 = 1 << 9;
    let flags: u64;
    // SAFETY: saves the flags, and turns interrupts off.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    let result = f();
    if flags & INTERRUPTS_ON != 0 {
        // SAFETY: they were on before.
        unsafe { asm!("sti", options(nostack)) };
    }
    result
}

/// Tells a processor that it has calls.
pub(super) fn interrupt(hardware: u32) {
    apic::send(hardware, apic::Message::Fixed(super::bare::CALL_VECTOR));
}

/// No instruction has other processors flush.
#[inline(always)]
pub(super) fn fence_others(_hardware: impl Iterator<Item = u32>) -> bool {
    false
}

/// The highest level at which this processor's walker knows pages: 3 with pages of 1 GiB, 2 without.
pub(crate) fn largest_leaf_level() -> u8 {
    const EXTENDED: u32 = 0x8000_0001;
    const PAGES_OF_1_GIB: u32 = 1 << 26;
    let has = __cpuid(0x8000_0000).eax >= EXTENDED && __cpuid(EXTENDED).edx & PAGES_OF_1_GIB != 0;
    if has { 3 } else { 2 }
}

/// Reads the error code of a page fault at `addr` (Intel SDM vol. 3, section 5.7).
pub fn describe_fault(addr: Vaddr, error: u64) -> PageFault {
    let access = match error {
        error if error & 1 << 4 != 0 => Access::Execute,
        error if error & 1 << 1 != 0 => Access::Write,
        _ => Access::Read,
    };
    PageFault { addr, access, present: error & 1 != 0, user: error & 1 << 2 != 0 }
}
