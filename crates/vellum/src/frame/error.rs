//! Why a frame could not be had.
use core::fmt;
use vellum_machine::addr::Paddr;
use vstd::prelude::*;

verus! {

/// Why a handle of a frame could not be had; each cause names the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub enum GetFrameError {
    /// The frame is shared: it has handles already, or as many as can be counted.
    InUse(Paddr),
    /// The frame has no handle, and so nothing to add one to.
    Unused(Paddr),
    /// The frame is being built or torn down by another thread.
    Busy(Paddr),
    /// The frame has a unique handle.
    Unique(Paddr),
    /// The address is beyond physical memory.
    OutOfBound(Paddr),
    /// The address is not that of a frame's first byte.
    NotAligned(Paddr),
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for GetFrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(pa) => write!(f, "the frame at {pa} is in use"),
            Self::Unused(pa) => write!(f, "the frame at {pa} is not in use"),
            Self::Busy(pa) => write!(f, "the frame at {pa} is being built or torn down"),
            Self::Unique(pa) => write!(f, "the frame at {pa} has a unique handle"),
            Self::OutOfBound(pa) => write!(f, "{pa} is beyond physical memory"),
            Self::NotAligned(pa) => write!(f, "{pa} is not the address of a frame"),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for GetFrameError {}
