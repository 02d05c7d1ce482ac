//! Where the kernel sees physical memory and its metadata.
use vstd::prelude::*;

verus! {

/// The virtual address at which the linear map shows physical address 0.
pub const LINEAR_MAP_BASE: usize = 0x10_0000_0000;

/// The virtual address of the metadata slot of the frame at physical address 0.
pub const META_BASE: usize = 0x60_0000_0000;

/// Bytes of metadata per frame.
#[cfg(not(loom))]
pub const META_SLOT_SIZE: usize = 64;

/// Room for a slot of loom's words.
#[cfg(loom)]
pub const META_SLOT_SIZE: usize = 512;

/// One past the highest physical address that the two fixed windows leave room for (256 GiB).
pub const PADDR_LIMIT: usize = 0x40_0000_0000;

} // verus!
