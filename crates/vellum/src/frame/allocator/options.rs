//! Frames made of what an allocator hands out.
#![expect(unsafe_code, reason = "frames are filled with zeros through the linear map")]

use super::{AllocError, FrameRequest, global};
use crate::frame::{AnyFrameMeta, Frame, GetFrameError, Segment, SegmentError};
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::LINEAR_MAP_BASE;

/// The most addresses in a row that are skipped because others have their frames (4 GiB of them).
const PATIENCE: usize = 1 << 20;

/// What the frames hold at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Contents {
    #[default]
    Zeros,
    Anything,
}

/// Allocates frames.
///
/// ```no_run
/// use vellum::frame::allocator::FrameAllocOptions;
///
/// let frame = FrameAllocOptions::new().alloc_frame()?;
/// let buffer = FrameAllocOptions::new().uninit().alloc_segment(16)?;
/// # Ok::<(), vellum::frame::allocator::AllocError>(())
/// ```
///
/// Frames go back to the allocator when their last handle is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "options allocate nothing by themselves"]
pub struct FrameAllocOptions {
    contents: Contents,
}

impl FrameAllocOptions {
    /// Allocates frames that are filled with zeros.
    pub const fn new() -> FrameAllocOptions {
        FrameAllocOptions { contents: Contents::Zeros }
    }

    /// Fills the frames with zeros.
    pub const fn zeroed(self) -> FrameAllocOptions {
        FrameAllocOptions { contents: Contents::Zeros }
    }

    /// Leaves in the frames what was in them.
    pub const fn uninit(self) -> FrameAllocOptions {
        FrameAllocOptions { contents: Contents::Anything }
    }

    /// Allocates a frame without metadata.
    ///
    /// # Errors
    /// As [`alloc_frame_with`](Self::alloc_frame_with).
    pub fn alloc_frame(self) -> Result<Frame<()>, AllocError> {
        self.alloc_frame_with(())
    }

    /// Allocates a frame with metadata.
    ///
    /// # Errors
    /// - [`AllocError::NotReady`] before an allocator was set up,
    /// - [`AllocError::NoMemory`] when no frame is free,
    /// - [`AllocError::NoFrame`] when the allocator, a kernel's own, hands out what is no frame.
    ///
    /// The metadata is dropped.
    pub fn alloc_frame_with<M: AnyFrameMeta>(self, meta: M) -> Result<Frame<M>, AllocError> {
        let mut meta = meta;
        for _ in 0..PATIENCE {
            let paddr = take(FrameRequest::SINGLE)?;
            match Frame::try_from_unused(paddr, meta) {
                Ok(frame) => {
                    self.fill(paddr, PAGE_SIZE);
                    return Ok(frame);
                }
                Err((cause, back)) => {
                    contended(paddr, cause)?;
                    meta = back;
                }
            }
        }
        Err(AllocError::NoMemory { frames: 1 })
    }

    /// Allocates contiguous frames without metadata.
    ///
    /// # Errors
    /// As [`alloc_segment_with`](Self::alloc_segment_with).
    pub fn alloc_segment(self, frames: usize) -> Result<Segment<()>, AllocError> {
        self.alloc_segment_with(frames, |_| ())
    }

    /// Allocates contiguous frames, each with the metadata that `meta` makes for its address.
    ///
    /// `meta` may be called more than once for a frame, where others turn out to have one of the frames and a
    /// different place is tried; what it made before is dropped then.
    ///
    /// # Errors
    /// - [`AllocError::Empty`] for no frame,
    /// - [`AllocError::NotReady`] before an allocator was set up,
    /// - [`AllocError::NoMemory`] when no such run of frames is free,
    /// - [`AllocError::NoFrame`] when the allocator, a kernel's own, hands out what is no frame.
    pub fn alloc_segment_with<M: AnyFrameMeta>(
        self,
        frames: usize,
        mut meta: impl FnMut(Paddr) -> M,
    ) -> Result<Segment<M>, AllocError> {
        let request = FrameRequest::new(frames).ok_or(AllocError::Empty)?;
        for _ in 0..PATIENCE {
            let paddr = take(request)?;
            match claim_run(paddr, frames, &mut meta) {
                Ok(segment) => {
                    self.fill(paddr, frames * PAGE_SIZE);
                    return Ok(segment);
                }
                Err(cause) => contended(paddr, cause)?,
            }
        }
        Err(AllocError::NoMemory { frames })
    }

    /// Fills what a handle was made for just now.
    fn fill(self, paddr: Paddr, len: usize) {
        if self.contents == Contents::Zeros {
            let start = (LINEAR_MAP_BASE + paddr.0) as *mut u8;
            // SAFETY: the slots of these frames were claimed a moment ago, so they are frames of the machine, which
            // the linear map shows, and nobody else has a handle made by allocation. Whoever got one from the address
            // in between knows nothing of the contents yet, and reaches them by means that allow for others' writes.
            unsafe { start.write_bytes(0, len) };
        }
    }
}

fn take(request: FrameRequest) -> Result<Paddr, AllocError> {
    match global::alloc(request) {
        Some(paddr) => Ok(paddr),
        None if global::is_set() => Err(AllocError::NoMemory { frames: request.frames() }),
        None => Err(AllocError::NotReady),
    }
}

/// Judges why a frame that the allocator handed out could not be had.
///
/// Where someone made a handle of the frame from its bare address, the frame is that handle's, which gives it back to
/// the allocator in the end. Another one will do.
fn contended(paddr: Paddr, cause: GetFrameError) -> Result<(), AllocError> {
    match cause {
        GetFrameError::InUse(_) | GetFrameError::Busy(_) | GetFrameError::Unique(_) => Ok(()),
        GetFrameError::Unused(_) | GetFrameError::OutOfBound(_) | GetFrameError::NotAligned(_) => {
            Err(AllocError::NoFrame { paddr, cause })
        }
    }
}

/// Frames that the allocator handed out and that have no handle yet; dropping it gives them back.
struct Unclaimed(Range<usize>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            global::dealloc(Paddr(self.0.start), self.0.len() / PAGE_SIZE);
        }
    }
}

/// Makes a segment of frames that the allocator handed out.
///
/// The frames before the one that fails have handles, whose end gives them back; those after it are given back here.
fn claim_run<M: AnyFrameMeta>(
    paddr: Paddr,
    frames: usize,
    meta: &mut impl FnMut(Paddr) -> M,
) -> Result<Segment<M>, GetFrameError> {
    let end = paddr.0.saturating_add(frames.saturating_mul(PAGE_SIZE));
    let mut unclaimed = Unclaimed(paddr.0..end);
    let claimed = Segment::from_unused(paddr..Paddr(end), |at: Paddr| {
        unclaimed.0.start = at.0;
        meta(at)
    });
    // The frame for which the closure was called last was claimed, or belongs to someone else.
    unclaimed.0.start = match &claimed {
        Ok(_) => end,
        Err(_) => (unclaimed.0.start + PAGE_SIZE).min(end),
    };
    claimed.map_err(|error| match error {
        SegmentError::Frame(cause) => cause,
        // The end of the run overflowed.
        _ => GetFrameError::OutOfBound(paddr),
    })
}
