//! Where free frames come from.
//!
//! [`GlobalFrameAllocator`] is what the rest of the kernel needs of a frame allocator; [`BuddyAllocator`] is the one
//! that [`init`] sets up, and a kernel may [register](set_global) its own instead. It deals in bare addresses.
//! [`FrameAllocOptions`] makes frames of them, which go back to the allocator when their last handle is gone.
//!
//! An allocator decides nothing about safety: a frame that it hands out is claimed by the frame's slot like any
//! other, and skipped where someone else has it.

#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod buddy;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod error;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod global;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod init;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod options;
mod pool;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod request;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod statistics;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod withheld;

pub use buddy::{BuddyAllocator, BuddyError, Magazine, Marks, Notes, Parts};
pub use error::{AllocError, AllocInitError};
pub use global::{alloc, dealloc, drain, failure_pending, inject_failure, set_global, statistics};
pub use init::init;
pub use options::FrameAllocOptions;
#[cfg(verus_keep_ghost)]
pub use pool::free::{PoolStep, history, lemma_not_free_until_given};
pub use pool::{Chunk, MAX_ORDER};
pub use request::FrameRequest;
pub use statistics::FrameStatistics;
pub use withheld::{Withheld, reclaim_boot_memory};

use vellum_machine::addr::Paddr;

/// Hands out physical frames by address.
///
/// All of it may be called from any thread, at any time, with any argument.
pub trait GlobalFrameAllocator: Sync {
    /// Takes free frames, or returns `None` where no free memory serves the request.
    fn alloc(&self, request: FrameRequest) -> Option<Paddr>;

    /// Gives `frames` frames back, from the address of the first on.
    ///
    /// Any part of what was allocated may be given back, alone or together with others. Frames that are not
    /// allocated at this moment are ignored, and counted.
    fn dealloc(&self, paddr: Paddr, frames: usize);

    /// Adds `frames` frames of free memory to those that the allocator may hand out.
    ///
    /// Frames that it had before are ignored, and counted, whether they are free or not.
    fn add_free(&self, paddr: Paddr, frames: usize);

    /// Moves what is cached for single processors to where everybody can have it, and every larger block can form.
    fn drain(&self);

    /// Counts the frames.
    fn statistics(&self) -> FrameStatistics;
}
