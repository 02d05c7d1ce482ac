//! Frames for the tests.
use vellum::frame::allocator::{self, FrameAllocOptions};
use vellum::frame::{UFrame, USegment};
use vellum_machine::addr::PAGE_SIZE;

/// A frame of zeros, if there is one.
pub fn try_user_frame() -> Option<UFrame> {
    FrameAllocOptions::new().alloc_frame().ok().map(UFrame::from)
}

pub fn user_frame() -> UFrame {
    try_user_frame().expect("a frame is free")
}

/// Frames of zeros that follow each other at a multiple of their size, if there are some.
pub fn try_huge_segment(frames: usize) -> Option<USegment> {
    let aligned = FrameAllocOptions::new().aligned_to(frames * PAGE_SIZE)?;
    aligned.alloc_segment(frames).ok().map(USegment::from)
}

pub fn free_frames() -> usize {
    allocator::statistics().expect("the machine has an allocator").free
}

/// Has the nth allocation from now on fail; none, if `nth` is 0.
pub fn fail_allocation(nth: u64) {
    allocator::inject_failure(nth);
}
