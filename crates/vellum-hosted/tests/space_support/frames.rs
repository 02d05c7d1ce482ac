//! Frames for the tests.
use vellum::frame::UFrame;
use vellum::frame::allocator::{self, FrameAllocOptions};

/// A frame of zeros, if there is one.
pub fn try_user_frame() -> Option<UFrame> {
    FrameAllocOptions::new().alloc_frame().ok().map(UFrame::from)
}

pub fn user_frame() -> UFrame {
    try_user_frame().expect("a frame is free")
}

pub fn free_frames() -> usize {
    allocator::statistics().expect("the machine has an allocator").free
}

/// Has the nth allocation from now on fail; none, if `nth` is 0.
pub fn fail_allocation(nth: u64) {
    allocator::inject_failure(nth);
}
