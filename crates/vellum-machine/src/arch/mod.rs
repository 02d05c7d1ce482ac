//! The bodies of the primitives: one for each way to run.

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

/// Says whether this machine's processors note accesses in entries by themselves; otherwise an access may fault until
/// software has noted it.
pub const fn notes_accesses() -> bool {
    imp::NOTES_ACCESSES
}
