//! What goes wrong when a frame allocator is set up.

use super::BuddyError;
use crate::boot::EarlyAllocError;
use core::fmt;

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
