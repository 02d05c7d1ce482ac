//! Frames made of what an allocator hands out.
//!
//! The allocator is asked for an address, and its answer is not believed: each frame is claimed by its slot, which
//! takes unused frames only. Whoever claimed a frame has it alone, fills it with zeros and gives it its metadata; only
//! then may it be shared.
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
use super::block::Block;
#[cfg(verus_keep_ghost)]
use super::request::is_power_of_two;
use super::source::*;
use super::{AllocError, FrameRequest};
use crate::frame::erased::*;
use crate::frame::segment::*;
use crate::frame::shared::*;
use crate::frame::slot::*;
#[cfg(verus_keep_ghost)]
use crate::frame::table::*;
use crate::frame::{GetFrameError, UniqueFrame};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::PADDR_LIMIT;
use vellum_machine::owned::{Owned, Release};
use vstd::prelude::*;

verus! {

/// The most addresses in a row that are skipped because others have their frames (4 GiB of them).
const PATIENCE: usize = 1 << 20;

/// What the frames hold at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contents {
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
///
/// # Guarantees
///
/// A frame that is handed out was unused when it was claimed, whatever the allocator says, and is filled with zeros,
/// where that is asked for, before anybody can share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "options allocate nothing by themselves"]
pub struct FrameAllocOptions {
    contents: Contents,
    /// Of a segment, in bytes.
    align: usize,
}

impl FrameAllocOptions {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.align >= PAGE_SIZE && is_power_of_two(self.align)
    }

    /// Frames are filled with zeros.
    pub closed spec fn zeros(self) -> bool {
        self.contents is Zeros
    }

    /// Allocates frames that are filled with zeros.
    pub const fn new() -> (r: FrameAllocOptions)
        ensures
            r.zeros(),
        opens_invariants none
        no_unwind
    {
        proof {
            assert(4096usize & 4095usize == 0) by (bit_vector);
        }
        FrameAllocOptions { contents: Contents::Zeros, align: PAGE_SIZE }
    }

    /// The same, with other contents.
    const fn with(self, contents: Contents) -> (r: FrameAllocOptions)
        ensures
            r.zeros() == (contents is Zeros),
        opens_invariants none
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        FrameAllocOptions { contents, align: self.align }
    }

    /// Places segments at multiples of `bytes`: the size of a huge page that is to map one. `None` unless that is a power
    /// of two of at least a frame.
    pub const fn aligned_to(self, bytes: usize) -> (r: Option<FrameAllocOptions>)
        ensures
            r is Some <==> bytes >= PAGE_SIZE && is_power_of_two(bytes),
            r matches Some(o) ==> o.zeros() == self.zeros(),
        opens_invariants none
        no_unwind
    {
        if bytes >= PAGE_SIZE && bytes & (bytes - 1) == 0 {
            Some(FrameAllocOptions { contents: self.contents, align: bytes })
        } else {
            None
        }
    }

    /// What to ask the allocator for. `None` for no frame.
    #[inline]
    fn request(self, frames: usize) -> (r: Option<FrameRequest>)
        ensures
            r is None <==> frames == 0,
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        match FrameRequest::new(frames) {
            Some(request) => request.aligned_to(self.align),
            None => None,
        }
    }
}

impl AllocError {
    /// It is one of asking for a frame or more.
    pub open spec fn of_some(self) -> bool {
        !(self is Empty)
    }
}

/// Takes an address from the allocator, as a frame that may be free.
#[inline(always)]
fn take(request: FrameRequest) -> (r: Result<Paddr, AllocError>)
    ensures
        r matches Err(e) ==> e.of_some(),
    opens_invariants none
    no_unwind
{
    match ask(request) {
        Answer::Frames(paddr) => Ok(paddr),
        Answer::NoMemory => Err(AllocError::NoMemory { frames: request.frames() }),
        Answer::NotReady => Err(AllocError::NotReady),
    }
}

/// Judges why a frame that the allocator handed out could not be had.
///
/// Where someone made a handle of the frame from its bare address, the frame is that handle's, which gives it back to
/// the allocator in the end. Another one will do.
#[cold]
fn contended(paddr: Paddr, cause: GetFrameError) -> (r: Result<(), AllocError>)
    ensures
        r is Ok <==> cause is InUse || cause is Busy || cause is Unique,
        r matches Err(e) ==> e == (AllocError::NoFrame { paddr, cause }),
    opens_invariants none
    no_unwind
{
    match cause {
        GetFrameError::InUse(_) | GetFrameError::Busy(_) | GetFrameError::Unique(_) => Ok(()),
        GetFrameError::Unused(_) | GetFrameError::OutOfBound(_) | GetFrameError::NotAligned(_) => Err(
            AllocError::NoFrame { paddr, cause },
        ),
    }
}

/// Claims a free frame.
///
/// # Errors
///
/// As [`FrameAllocOptions::alloc_frame_with`].
#[inline]
pub(crate) fn claim_one() -> (r: Result<(&'static MetaSlot, Tracked<BusyOwn>), AllocError>)
    ensures
        r matches Ok(x) ==> in_table(*x.0) && x.1@.of(*x.0) && x.1@.perm.vacant(),
        r matches Err(e) ==> e.of_some(),
    no_unwind
{
    let mut left = PATIENCE;
    while left > 0
        invariant
            left <= PATIENCE,
        decreases left,
    {
        let paddr = take(FrameRequest::any_place(1))?;
        match claim(paddr) {
            Ok(claimed) => return Ok(claimed),
            Err(cause) => contended(paddr, cause)?,
        }
        left -= 1;
    }
    Err(AllocError::NoMemory { frames: 1 })
}

/// The end of a run of frames that starts at an address.
fn end_of(start: Paddr, frames: usize) -> (r: Result<Paddr, GetFrameError>)
    ensures
        r matches Ok(end) ==> is_range(start, end) && end.0 == start.0 + frames * PAGE_SIZE,
        r matches Err(e) ==> e == GetFrameError::NotAligned(start) || e == GetFrameError::OutOfBound(start),
    opens_invariants none
    no_unwind
{
    if start.0 % PAGE_SIZE != 0 {
        return Err(GetFrameError::NotAligned(start));
    }
    if start.0 > PADDR_LIMIT || frames > (PADDR_LIMIT - start.0) / PAGE_SIZE {
        return Err(GetFrameError::OutOfBound(start));
    }
    Ok(Paddr(start.0 + frames * PAGE_SIZE))
}

/// Frames that the allocator handed out and that nobody has claimed yet: what is left goes back.
struct Rest {
    start: Paddr,
    end: Paddr,
}

impl Release for Rest {
    fn release(self) {
        if self.start.0 < self.end.0 {
            give_back(self.start, (self.end.0 - self.start.0) / PAGE_SIZE);
        }
    }
}

/// No metadata for any frame.
struct NoMeta;

impl MetaFn<()> for NoMeta {
    #[inline(always)]
    fn meta_at(&mut self, _paddr: Paddr) {
    }
}

impl Default for FrameAllocOptions {
    /// As [`new`](FrameAllocOptions::new).
    fn default() -> (r: FrameAllocOptions)
        ensures
            r.zeros(),
    {
        FrameAllocOptions::new()
    }
}

} // verus!

#[verus_verify]
impl FrameAllocOptions {
    /// Fills the frames with zeros.
    #[verus_spec(r => ensures r.zeros())]
    pub const fn zeroed(self) -> FrameAllocOptions {
        self.with(Contents::Zeros)
    }

    /// Leaves in the frames what was in them.
    #[verus_spec(r => ensures !r.zeros())]
    pub const fn uninit(self) -> FrameAllocOptions {
        self.with(Contents::Anything)
    }

    /// Makes a handle of a claimed frame.
    #[verus_spec(r =>
        requires
            own@.of(*slot),
            own@.perm.vacant(),
            in_table(*slot),
        ensures
            r.pa() == slot.pa(),
            r.content() == typed(meta),
            self.zeros() ==> r.zeroed(),
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn build<M: AnyFrameMeta>(
        self,
        slot: &'static MetaSlot,
        own: Tracked<BusyOwn>,
        meta: M,
    ) -> UniqueFrame<M> {
        let mut frame = UniqueFrame::of_claimed(slot, own, meta);
        match self.contents {
            Contents::Zeros => frame.zero(),
            Contents::Anything => {}
        }
        frame
    }

    /// Allocates a frame without metadata, for one owner.
    ///
    /// # Errors
    /// As [`alloc_frame_with`](Self::alloc_frame_with).
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.content() == typed(()) && (self.zeros() ==> f.zeroed()),
            r matches Err(e) ==> e.of_some(),
    )]
    pub fn alloc_unique_frame(self) -> Result<UniqueFrame<()>, AllocError> {
        self.alloc_unique_frame_with(())
    }

    /// Allocates a frame with metadata, for one owner.
    ///
    /// # Errors
    /// As [`alloc_frame_with`](Self::alloc_frame_with).
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.content() == typed(meta) && (self.zeros() ==> f.zeroed()),
            r matches Err(e) ==> e.of_some(),
    )]
    pub fn alloc_unique_frame_with<M: AnyFrameMeta>(self, meta: M) -> Result<UniqueFrame<M>, AllocError> {
        let (slot, own) = claim_one()?;
        Ok(self.build(slot, own, meta))
    }

    /// Allocates a frame without metadata.
    ///
    /// # Errors
    /// As [`alloc_frame_with`](Self::alloc_frame_with).
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.content() == typed(()),
            r matches Err(e) ==> e.of_some(),
    )]
    pub fn alloc_frame(self) -> Result<Frame<()>, AllocError> {
        self.alloc_frame_with(())
    }

    /// Allocates a frame with metadata.
    ///
    /// [`alloc_unique_frame_with`](Self::alloc_unique_frame_with) is the sibling for a frame with one owner.
    ///
    /// # Errors
    /// - [`AllocError::NotReady`] before an allocator was set up,
    /// - [`AllocError::NoMemory`] when no frame is free,
    /// - [`AllocError::NoFrame`] when the allocator, a kernel's own, hands out what is no frame.
    ///
    /// The metadata is dropped.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.content() == typed(meta),
            r matches Err(e) ==> e.of_some(),
    )]
    pub fn alloc_frame_with<M: AnyFrameMeta>(self, meta: M) -> Result<Frame<M>, AllocError> {
        Ok(Frame::from(self.alloc_unique_frame_with(meta)?))
    }

    /// Allocates contiguous frames without metadata.
    ///
    /// # Errors
    /// As [`alloc_segment_with`](Self::alloc_segment_with).
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.end().0 == s.start().0 + frames * PAGE_SIZE && frames > 0,
            r matches Err(e) ==> e.of_some() || frames == 0,
    )]
    pub fn alloc_segment(self, frames: usize) -> Result<Segment<()>, AllocError> {
        self.alloc_segment_by(frames, NoMeta)
    }

    /// Allocates contiguous frames, each with the metadata that `meta` makes for its address.
    ///
    /// `meta` may be called more than once for a frame, where others turn out to have one of the frames and a
    /// different place is tried; what it made before is dropped then. Where it panics, all frames go back.
    ///
    /// # Errors
    /// - [`AllocError::Empty`] for no frame,
    /// - [`AllocError::NotReady`] before an allocator was set up,
    /// - [`AllocError::NoMemory`] when no such run of frames is free,
    /// - [`AllocError::NoFrame`] when the allocator, a kernel's own, hands out what is no frame.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.end().0 == s.start().0 + frames * PAGE_SIZE && frames > 0,
            r matches Err(e) ==> e.of_some() || frames == 0,
    )]
    pub fn alloc_segment_with<M: AnyFrameMeta, F>(
        self,
        frames: usize,
        meta: F,
    ) -> Result<Segment<M>, AllocError>
    where
        F: FnMut(Paddr) -> M + MetaFn<M>,
    {
        self.alloc_segment_by(frames, meta)
    }

    /// As [`alloc_segment_with`](Self::alloc_segment_with), for verified code, which passes a type instead of a
    /// closure.
    ///
    /// # Errors
    /// As [`alloc_segment_with`](Self::alloc_segment_with).
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.end().0 == s.start().0 + frames * PAGE_SIZE && frames > 0,
            r matches Err(e) ==> e.of_some() || frames == 0,
    )]
    pub fn alloc_segment_by<M: AnyFrameMeta, F: MetaFn<M>>(
        self,
        frames: usize,
        meta: F,
    ) -> Result<Segment<M>, AllocError> {
        let Some(request) = self.request(frames) else {
            return Err(AllocError::Empty);
        };
        let mut meta = meta;
        let mut left = PATIENCE;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                frames > 0,
            decreases left,
        ))]
        while left > 0 {
            let paddr = take(request)?;
            match self.claim_run(paddr, frames, &mut meta) {
                Ok(segment) => return Ok(segment),
                Err(cause) => contended(paddr, cause)?,
            }
            left -= 1;
        }
        Err(AllocError::NoMemory { frames })
    }

    /// Makes a segment of frames that the allocator handed out.
    ///
    /// Where it ends before the last, because someone else has a frame or because `meta` panics, the frames that were
    /// claimed go back from their block, and those that were not tried go back as they are.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.start() == start && s.end().0 == start.0 + frames * PAGE_SIZE,
    )]
    fn claim_run<M: AnyFrameMeta, F: MetaFn<M>>(
        self,
        start: Paddr,
        frames: usize,
        meta: &mut F,
    ) -> Result<Segment<M>, GetFrameError> {
        let end = end_of(start, frames)?;
        let mut rest = Owned::new(Rest { start, end });
        let mut block = Block::empty_at(start);
        let mut p = start;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                is_range(p, end),
                block.start() == start,
                block.end() == p,
                rest@ == (Rest { start: p, end }),
            decreases end.0 - p.0,
        ))]
        while p.0 < end.0 {
            let next = after(p);
            let made = meta.meta_at(p);
            // Whether it can be claimed or is someone else's: it does not go back from here.
            let left = rest.get_mut();
            left.start = next;
            block = block.with(UniqueFrame::from_unused(p, made)?);
            p = next;
        }
        let block = match self.contents {
            Contents::Zeros => block.zero(),
            Contents::Anything => block,
        };
        Ok(block.share(verus_exec_expr!(Ghost(self.zeros()))))
    }
}
