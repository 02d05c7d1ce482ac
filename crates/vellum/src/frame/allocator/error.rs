//! What goes wrong with frame allocators.

use super::BuddyError;
use crate::boot::EarlyAllocError;
use crate::frame::GetFrameError;
use core::fmt;
use vellum_machine::addr::Paddr;

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

impl core::error::Error for AllocError {}

/// Why a frame allocator could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocInitError {
    /// A global allocator is registered already.
    AlreadySet,
    /// Frames whose last handle is dropped are reported to someone else already.
    HookSet,
    /// Early memory for the allocator's table could not be had.
    Table(EarlyAllocError),
    /// The memory cannot be told about by the allocator's table.
    Buddy(BuddyError),
}

impl fmt::Display for AllocInitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocInitError::AlreadySet => write!(f, "a global frame allocator is registered already"),
            AllocInitError::HookSet => write!(f, "free frames are reported to someone else already"),
            AllocInitError::Table(cause) => write!(f, "no table for the frame allocator: {cause}"),
            AllocInitError::Buddy(cause) => write!(f, "no frame allocator for this memory: {cause}"),
        }
    }
}

impl core::error::Error for AllocInitError {}

impl From<EarlyAllocError> for AllocInitError {
    fn from(cause: EarlyAllocError) -> AllocInitError {
        AllocInitError::Table(cause)
    }
}

impl From<BuddyError> for AllocInitError {
    fn from(cause: BuddyError) -> AllocInitError {
        AllocInitError::Buddy(cause)
    }
}
