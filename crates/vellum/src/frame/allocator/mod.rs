//! Where free frames come from.
//!
//! [`GlobalFrameAllocator`] is what the rest of the kernel needs of a frame allocator; [`BuddyAllocator`] is the one
//! that [`init`] sets up, and a kernel may [register](set_global) its own instead. It deals in bare addresses.
//! [`FrameAllocOptions`] makes frames of them, which go back to the allocator when their last handle is gone.
//!
//! An allocator decides nothing about safety: a frame that it hands out is claimed by the frame's slot like any
//! other, and skipped where someone else has it. So what is proved of frames that [`FrameAllocOptions`] makes does not
//! depend on the allocator: nobody else has them, and two unique ones are never the same.

mod alloc_error;
pub(crate) mod block;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod buddy;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod error;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod global;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod init;
mod options;
pub(crate) mod pool;
mod request;
mod source;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod statistics;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod withheld;

pub use alloc_error::AllocError;
pub use buddy::{BuddyAllocator, BuddyError, Magazine, Marks, Notes, Parts};
pub use error::AllocInitError;
pub(crate) use global::on_shortage;
pub use global::{
    GlobalFrameAllocator, alloc, dealloc, drain, failure_pending, inject_failure, set_global, statistics,
};
pub use init::init;
pub use options::FrameAllocOptions;
pub(crate) use options::claim_one;
#[cfg(verus_keep_ghost)]
pub use pool::free::{PoolStep, history, lemma_not_free_until_given};
pub use pool::{Chunk, MAX_ORDER};
pub use request::FrameRequest;
pub use statistics::FrameStatistics;
pub use withheld::{Withheld, reclaim_boot_memory};
