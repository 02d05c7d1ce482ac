//! Why there are no frames.
use crate::frame::GetFrameError;
use core::fmt;
use vellum_machine::addr::Paddr;
use vstd::prelude::*;

verus! {

/// Why frames could not be allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocError {
    /// No frame was asked for.
    Empty,
    /// No allocator was set up yet.
    NotReady,
    /// No free memory serves the request.
    NoMemory {
        /// The contiguous frames asked for.
        frames: usize,
    },
    /// The allocator handed out an address that is no frame.
    NoFrame {
        /// The address.
        paddr: Paddr,
        /// What is wrong with it.
        cause: GetFrameError,
    },
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::Empty => write!(f, "no frame was asked for"),
            AllocError::NotReady => write!(f, "no frame allocator was set up yet"),
            AllocError::NoMemory { frames } => write!(f, "no memory for {frames} contiguous frames"),
            AllocError::NoFrame { paddr, cause } => {
                write!(f, "the frame allocator handed out {paddr}, which is no frame ({cause:?})")
            }
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for AllocError {}
