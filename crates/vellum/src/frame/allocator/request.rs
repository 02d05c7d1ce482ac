//! What one asks an allocator for.

use core::num::NonZeroUsize;
use vellum_machine::addr::PAGE_SIZE;

/// A number of contiguous frames, and the alignment of the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRequest {
    frames: NonZeroUsize,
    align_order: u32,
}

impl FrameRequest {
    /// One frame.
    pub const SINGLE: FrameRequest = FrameRequest { frames: NonZeroUsize::MIN, align_order: 0 };

    /// Asks for `frames` contiguous frames, or `None` for none at all.
    pub const fn new(frames: usize) -> Option<FrameRequest> {
        match NonZeroUsize::new(frames) {
            Some(frames) => Some(FrameRequest { frames, align_order: 0 }),
            None => None,
        }
    }

    /// Asks for a multiple of `bytes` as the address, or `None` unless that is a power of two of at least a frame.
    pub const fn aligned_to(self, bytes: usize) -> Option<FrameRequest> {
        if bytes.is_power_of_two() && bytes >= PAGE_SIZE {
            Some(FrameRequest { frames: self.frames, align_order: (bytes / PAGE_SIZE).ilog2() })
        } else {
            None
        }
    }

    /// Returns the number of frames.
    pub const fn frames(self) -> usize {
        self.frames.get()
    }

    /// Returns the alignment in bytes.
    pub const fn align(self) -> usize {
        PAGE_SIZE << self.align_order
    }

    /// Returns the frames of the smallest naturally aligned block that serves the request, a power of two, or `None`
    /// where that is none.
    pub const fn block_frames(self) -> Option<usize> {
        let align = 1 << self.align_order;
        match self.frames.get().checked_next_power_of_two() {
            Some(block) if block < align => Some(align),
            block => block,
        }
    }

    /// Says whether one frame, anywhere, will do.
    #[inline]
    pub const fn is_single(self) -> bool {
        self.frames.get() == 1 && self.align_order == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_checked_when_made() {
        assert_eq!(FrameRequest::new(0), None);
        assert_eq!(FrameRequest::new(1), Some(FrameRequest::SINGLE));
        for align in [0, 1, 2048, 3 * PAGE_SIZE, usize::MAX] {
            assert_eq!(FrameRequest::SINGLE.aligned_to(align), None);
        }
        let request = FrameRequest::new(3).unwrap().aligned_to(8 * PAGE_SIZE).unwrap();
        assert_eq!((request.frames(), request.align()), (3, 8 * PAGE_SIZE));
        assert_eq!(request.block_frames(), Some(8));
        assert_eq!(FrameRequest::new(3).unwrap().block_frames(), Some(4));
        assert_eq!(FrameRequest::new(usize::MAX).unwrap().block_frames(), None);
        assert_eq!(FrameRequest::SINGLE.aligned_to(1 << 63).unwrap().align(), 1 << 63);
    }
}
