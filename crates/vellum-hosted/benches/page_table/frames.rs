//! What is mapped, and where nodes come from.
use crate::rows::Effort;
use std::ops::Range;
use vellum::frame::allocator::{self, AllocError, FrameAllocOptions, FrameRequest};
use vellum::frame::{UFrame, USegment};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::LINEAR_MAP_BASE;

/// Frames in a segment: 64 MiB.
const SEGMENT: usize = 1 << 14;

/// Frames for all rows. Those of a segment follow each other in memory.
pub struct Frames {
    frames: Vec<UFrame>,
    segments: Vec<USegment>,
}

impl Frames {
    pub fn new(effort: Effort) -> Result<Frames, AllocError> {
        let (mut frames, mut segments) = (Vec::with_capacity(effort.frames()), Vec::new());
        while frames.len() < effort.frames() {
            let count = SEGMENT.min(effort.frames() - frames.len());
            let segment = USegment::from(FrameAllocOptions::new().uninit().alloc_segment(count)?);
            frames.extend(segment.clone());
            segments.push(segment);
        }
        Ok(Frames { frames, segments })
    }

    /// The frame with this number; its count is the caller's business.
    pub fn frame(&self, number: usize) -> &UFrame {
        &self.frames[number]
    }

    pub fn paddr(&self, number: usize) -> Paddr {
        self.frames[number].start_paddr()
    }

    /// Frames of one segment, with counts of their own.
    pub fn slice(&self, numbers: Range<usize>) -> USegment {
        let bytes = numbers.start % SEGMENT * PAGE_SIZE..((numbers.end - 1) % SEGMENT + 1) * PAGE_SIZE;
        self.segments[numbers.start / SEGMENT].slice(bytes).expect("they are in one segment")
    }

    /// The addresses of frames.
    pub fn paddrs(&self, numbers: Range<usize>) -> impl ExactSizeIterator<Item = Paddr> + '_ {
        self.frames[numbers].iter().map(UFrame::start_paddr)
    }
}

/// Where the linear map shows a frame.
pub fn pointer<T>(paddr: Paddr) -> *mut T {
    std::ptr::with_exposed_provenance_mut(LINEAR_MAP_BASE + paddr.0)
}

/// A frame of zeros for a node, from Vellum's allocator, whose caller gives it back.
pub fn alloc_node() -> Option<Paddr> {
    let paddr = allocator::alloc(FrameRequest::new(1)?)?;
    zero(paddr);
    Some(paddr)
}

pub fn dealloc_node(paddr: Paddr) {
    allocator::dealloc(paddr, 1);
}

#[allow(unsafe_code, reason = "fills a frame with zeros")]
fn zero(paddr: Paddr) {
    // SAFETY: the frame was just allocated, and the linear map shows all memory.
    unsafe { pointer::<u8>(paddr).write_bytes(0, PAGE_SIZE) };
}
