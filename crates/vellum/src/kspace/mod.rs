//! Kernel space: the half of every address space that is the same in all of them.
//!
//! Two tables hold it, each a part of the upper half. All nodes below their roots exist from the start and stay, so that
//! the roots of user spaces link them: what the kernel maps later, every space sees.
//!
//! - That of the kernel begins with the linear map, in which physical memory is seen in pages as large as fit, and a kernel
//!   [maps](map) its image and devices beside it, for good. Nobody counts the frames.
//! - That of [areas](KVirtArea) is for what is mapped and unmapped again: its leaves own counts of the frames, as those of
//!   user spaces do. The root of the kernel's table links its nodes too. Who takes something out of it has every processor
//!   flush, whatever space is active there, before the frames are released.

mod area;
mod area_error;
pub mod ranges;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod reach;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tables;

pub use area::KVirtArea;
pub use area_error::{AreaMapError, KVirtAreaError};
pub use tables::{AREA_BYTES, KernelMapError, KernelSpaceError, LINEAR_MAP, area_range, enter, init, map};

pub(crate) use tables::{areas, table};
