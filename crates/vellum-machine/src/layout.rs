//! Where the kernel sees physical memory and its metadata, and where user space ends.
//!
//! In a process the windows are where it has room. On bare metal they are in the upper half, where kernel space shows
//! physical memory too. On bare RISC-V they are where trees of three levels have their upper half, which is the end of the
//! upper half of four: the addresses are the same in both, and but for the end of user space nothing here depends on how many
//! [there are](crate::paging). There is little room: half of it is the linear map's. Areas, to which page tables give a part
//! of the upper half, are not here: they begin with it on RISC-V, at addresses that do depend on how many levels there are,
//! and with three levels they have what is below the linear map.
use crate::paging::has_four_levels;
use vstd::prelude::*;

verus! {

/// Whether the processors of this target have a choice of how many levels trees have.
const LEVELS_ARE_CHOSEN: bool = cfg!(all(target_os = "none", target_arch = "riscv64"));

/// Half of what three levels reach.
const HALF_OF_THREE: usize = 0x40_0000_0000;

/// Half of what four levels reach.
const HALF_OF_FOUR: usize = 0x8000_0000_0000;

/// Returns the first address above user space.
#[inline(always)]
pub fn user_top() -> usize {
    if LEVELS_ARE_CHOSEN && !has_four_levels() { HALF_OF_THREE } else { HALF_OF_FOUR }
}

/// Returns the first address above those that have no meaning: the upper half, which is the kernel's, begins there.
#[inline(always)]
pub fn upper_half() -> usize {
    0usize.wrapping_sub(user_top())
}

/// The first address of the upper half of three levels.
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub const KERNEL_BASE: usize = 0xffff_ffc0_0000_0000;

/// The first address of the upper half, which is the kernel's.
#[cfg(not(all(target_os = "none", target_arch = "riscv64")))]
pub const KERNEL_BASE: usize = 0xffff_8000_0000_0000;

/// The virtual address at which the linear map shows physical address 0.
#[cfg(not(target_os = "none"))]
pub const LINEAR_MAP_BASE: usize = 0x10_0000_0000;

/// The virtual address at which the linear map shows physical address 0: of three levels, the root's first 16 entries of the
/// upper half are below.
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub const LINEAR_MAP_BASE: usize = KERNEL_BASE + (16 << 30);

/// The virtual address at which the linear map shows physical address 0.
#[cfg(all(target_os = "none", not(target_arch = "riscv64")))]
pub const LINEAR_MAP_BASE: usize = KERNEL_BASE;

/// The virtual address at which kernel space shows physical address 0. In a process that is not where the process sees it.
#[cfg(not(target_os = "none"))]
pub const LINEAR_MAP_IN_KERNEL_SPACE: usize = KERNEL_BASE;

/// The virtual address at which kernel space shows physical address 0.
#[cfg(target_os = "none")]
pub const LINEAR_MAP_IN_KERNEL_SPACE: usize = LINEAR_MAP_BASE;

/// The virtual address of the metadata slot of the frame at physical address 0.
#[cfg(not(target_os = "none"))]
pub const META_BASE: usize = 0x60_0000_0000;

/// The virtual address of the metadata slot of the frame at physical address 0.
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub const META_BASE: usize = KERNEL_BASE + 0x28_0000_0000;

/// The virtual address of the metadata slot of the frame at physical address 0.
#[cfg(all(target_os = "none", not(target_arch = "riscv64")))]
pub const META_BASE: usize = KERNEL_BASE + 0x80_0000_0000;

/// Bytes of metadata per frame.
#[cfg(not(loom))]
pub const META_SLOT_SIZE: usize = 64;

/// Room for a slot of loom's words.
#[cfg(loom)]
pub const META_SLOT_SIZE: usize = 512;

/// One past the highest physical address that the two fixed windows leave room for (128 GiB).
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub const PADDR_LIMIT: usize = 0x20_0000_0000;

/// One past the highest physical address that the two fixed windows leave room for (256 GiB).
#[cfg(not(all(target_os = "none", target_arch = "riscv64")))]
pub const PADDR_LIMIT: usize = 0x40_0000_0000;

} // verus!

/// The windows end before the address space does: what the proofs need to know of them, for every target.
#[cfg_attr(verus_keep_ghost, verifier::external)]
const _: () = {
    assert!(LINEAR_MAP_BASE.checked_add(PADDR_LIMIT).is_some());
    assert!(META_BASE.checked_add(PADDR_LIMIT / crate::addr::PAGE_SIZE * META_SLOT_SIZE).is_some());
    assert!(META_BASE >= LINEAR_MAP_BASE + PADDR_LIMIT);
};
