//! The bodies of the primitives: one for each way to run.

use crate::primitive::{AtomicU64, Ordering};

#[cfg(target_os = "linux")]
pub mod hosted;

#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "calls other processors, and reaches user memory")]
pub mod bare;

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "instructions that no safe function is for")]
pub mod x86_64;

#[cfg(all(target_os = "none", target_arch = "riscv64"))]
#[allow(unsafe_code, reason = "instructions that no safe function is for")]
pub mod riscv64;

#[cfg(target_os = "linux")]
pub(crate) use hosted as imp;

#[cfg(target_os = "none")]
pub(crate) use bare as imp;

#[cfg(all(target_os = "none", target_arch = "riscv64"))]
use riscv64 as native;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
use x86_64 as native;

#[cfg(not(any(
    target_os = "linux",
    all(target_os = "none", any(target_arch = "x86_64", target_arch = "riscv64"))
)))]
compile_error!(
    "the machine layer has bodies for Linux processes and for bare x86-64 and RISC-V: build for one of these"
);

/// Returns the highest level at which this machine's walkers know pages: 3 with pages of 1 GiB.
pub fn largest_leaf_level() -> u8 {
    imp::largest_leaf_level()
}

/// Changes a count, unless `next` says that it stays: a word that the calling processor alone writes, if it is one, or else the
/// one that all threads of a host share which are none. What precedes comes before it for whoever sees the new value.
#[inline(always)]
pub(crate) fn change_count(
    own: Option<&AtomicU64>,
    shared: &AtomicU64,
    next: impl Fn(u64) -> Option<u64>,
) -> bool {
    match own {
        Some(word) => imp::change_own(word, next),
        None => change_shared(shared, next),
    }
}

#[cold]
fn change_shared(word: &AtomicU64, next: impl Fn(u64) -> Option<u64>) -> bool {
    word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).is_ok()
}

/// Says whether this machine's processors note accesses in entries by themselves; otherwise an access may fault until
/// software has noted it.
pub const fn notes_accesses() -> bool {
    imp::NOTES_ACCESSES
}
