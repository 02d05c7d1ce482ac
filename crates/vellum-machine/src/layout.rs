//! Where the kernel sees physical memory and its metadata, and where user space ends.
//!
//! In a process the windows are where it has room. On bare metal they are in the upper half: the linear map at its first
//! address, where kernel space shows physical memory too. Sv39 (bare RISC-V without the feature `sv48`) has little room
//! there: half of it is the linear map's.
use vstd::prelude::*;

verus! {

/// The first address above user space: half of what three levels reach.
#[cfg(all(target_os = "none", target_arch = "riscv64", not(feature = "sv48")))]
pub const USER_TOP: usize = 0x40_0000_0000;

/// The first address above user space: half of what four levels reach.
#[cfg(not(all(target_os = "none", target_arch = "riscv64", not(feature = "sv48"))))]
pub const USER_TOP: usize = 0x8000_0000_0000;

/// The first address of the upper half, which is the kernel's.
pub const KERNEL_BASE: usize = usize::MAX - USER_TOP + 1;

/// The virtual address at which the linear map shows physical address 0.
#[cfg(not(target_os = "none"))]
pub const LINEAR_MAP_BASE: usize = 0x10_0000_0000;

/// The virtual address at which the linear map shows physical address 0.
#[cfg(target_os = "none")]
pub const LINEAR_MAP_BASE: usize = KERNEL_BASE;

/// The virtual address of the metadata slot of the frame at physical address 0.
#[cfg(not(target_os = "none"))]
pub const META_BASE: usize = 0x60_0000_0000;

/// The virtual address of the metadata slot of the frame at physical address 0.
#[cfg(all(target_os = "none", target_arch = "riscv64", not(feature = "sv48")))]
pub const META_BASE: usize = KERNEL_BASE + 0x28_0000_0000;

/// The virtual address of the metadata slot of the frame at physical address 0.
#[cfg(all(target_os = "none", not(all(target_arch = "riscv64", not(feature = "sv48")))))]
pub const META_BASE: usize = KERNEL_BASE + 0x80_0000_0000;

/// Bytes of metadata per frame.
#[cfg(not(loom))]
pub const META_SLOT_SIZE: usize = 64;

/// Room for a slot of loom's words.
#[cfg(loom)]
pub const META_SLOT_SIZE: usize = 512;

/// One past the highest physical address that the two fixed windows leave room for (128 GiB).
#[cfg(all(target_os = "none", target_arch = "riscv64", not(feature = "sv48")))]
pub const PADDR_LIMIT: usize = 0x20_0000_0000;

/// One past the highest physical address that the two fixed windows leave room for (256 GiB).
#[cfg(not(all(target_os = "none", target_arch = "riscv64", not(feature = "sv48"))))]
pub const PADDR_LIMIT: usize = 0x40_0000_0000;

} // verus!

/// The windows end before the address space does: what the proofs need to know of them, for every target.
#[cfg_attr(verus_keep_ghost, verifier::external)]
const _: () = {
    assert!(LINEAR_MAP_BASE.checked_add(PADDR_LIMIT).is_some());
    assert!(META_BASE.checked_add(PADDR_LIMIT / crate::addr::PAGE_SIZE * META_SLOT_SIZE).is_some());
    assert!(META_BASE >= LINEAR_MAP_BASE + PADDR_LIMIT);
};
