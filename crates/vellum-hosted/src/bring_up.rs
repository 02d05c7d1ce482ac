//! The frame layer's start on the machine.
#![allow(unsafe_code, reason = "vouches for the memory that the frame layer starts on")]
use crate::BootError;
use vellum::boot::{EarlyAllocator, MemoryMap};
use vellum::frame::{allocator, init_metadata};

/// Gives each frame its metadata, and what is usable to the allocator; runs on the first processor.
///
/// # Safety
/// 1. The metadata region is mapped for `frames` frames, and the linear map shows them; both stay until the process
///    ends.
/// 2. What `early` holds is the memory of the machine, the metadata region's frames taken out of it; nobody uses it
///    in another way.
pub(crate) unsafe fn bring_up(early: EarlyAllocator, frames: usize) -> Result<MemoryMap, BootError> {
    // SAFETY: duty 1 is what it asks for; the frames that are no memory are withheld by the allocator below, before
    // anybody else runs.
    unsafe { init_metadata(frames) };
    // SAFETY: by duties 1 and 2.
    unsafe { allocator::init(early) }.map_err(BootError::Allocator)
}
