//! What can be wrong with a range.
use super::Segment;
use crate::frame::error::GetFrameError;
use crate::frame::kind::FrameKind;
use core::fmt;
use vstd::prelude::*;

verus! {

/// Why a segment could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentError {
    /// One of the addresses does not do, or one of the frames could not be had.
    Frame(GetFrameError),
    /// The range ends before it starts.
    Reversed {
        /// Where it starts.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// The offset is not a multiple of the size of a frame.
    NotAligned(usize),
    /// The offset is not inside the segment.
    Outside(usize),
}

} // verus!

/// A segment that could not be split, and why.
#[verus_verify]
#[must_use = "it owns the segment"]
pub struct SplitError<M: ?Sized + FrameKind> {
    /// What is wrong with the offset.
    pub cause: SegmentError,
    /// The segment, as it was.
    pub segment: Segment<M>,
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(cause) => write!(f, "no segment: {cause}"),
            Self::Reversed { start, end } => {
                write!(f, "the range {start:#x}..{end:#x} ends before it starts")
            }
            Self::NotAligned(offset) => {
                write!(f, "the offset {offset:#x} is not a multiple of the frame size")
            }
            Self::Outside(offset) => write!(f, "the offset {offset:#x} is not inside the segment"),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for SegmentError {}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> fmt::Debug for SplitError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitError").field("cause", &self.cause).field("segment", &self.segment).finish()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> fmt::Display for SplitError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> core::error::Error for SplitError<M> {}
