//! Ranges of frames.
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
mod convert;
mod error;

pub use convert::USegment;
pub use error::{SegmentError, SplitError};

use super::erased::*;
use super::error::GetFrameError;
use super::kind::*;
use super::shared::*;
#[cfg(verus_keep_ghost)]
use super::slot::SharedTok;
use super::table::*;
use super::token::*;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
#[cfg(verus_keep_ghost)]
use vellum_machine::layout::PADDR_LIMIT;
use vellum_machine::owned::{Owned, Release};
use vstd::prelude::*;

#[verus_verify]
struct Parts<M: ?Sized + FrameKind> {
    start: Paddr,
    end: Paddr,
    toks: Toks,
    kind: PhantomData<M>,
}

/// Contiguous frames, with a count of each: two words, however many frames.
///
/// A segment may be empty. It is an iterator over its frames, which it hands out one by one.
///
/// # Guarantees
///
/// A segment owns one count of each of its frames, and no other.
#[verus_verify]
pub struct Segment<M: ?Sized + FrameKind> {
    parts: Owned<Parts<M>>,
}

verus! {

/// The range is one of whole frames.
pub open spec fn is_range(start: Paddr, end: Paddr) -> bool {
    &&& start.0 % PAGE_SIZE == 0
    &&& end.0 % PAGE_SIZE == 0
    &&& start.0 <= end.0 <= PADDR_LIMIT
}

/// There is a frame at `p` in the range.
pub open spec fn frame_in(p: Paddr, start: Paddr, end: Paddr) -> bool {
    start.0 <= p.0 < end.0 && p.0 % PAGE_SIZE == 0
}

/// The counts are those of the frames in the range.
pub open spec fn covers<M: ?Sized + FrameKind>(toks: Map<Paddr, SharedTok>, start: Paddr, end: Paddr) -> bool {
    forall|p: Paddr| #![trigger toks.dom().contains(p)] #![trigger has_frame::<M>(toks, p)]
        if frame_in(p, start, end) {
            has_frame::<M>(toks, p)
        } else {
            !toks.dom().contains(p)
        }
}

impl<M: ?Sized + FrameKind> Parts<M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& is_range(self.start, self.end)
        &&& covers::<M>(self.toks@, self.start, self.end)
    }
}

impl<M: ?Sized + FrameKind> Segment<M> {
    /// Where it starts.
    pub closed spec fn start(self) -> Paddr {
        self.parts@.start
    }

    /// Where it ends.
    pub closed spec fn end(self) -> Paddr {
        self.parts@.end
    }

    /// Its range is this one.
    pub open spec fn spans(self, start: Paddr, end: Paddr) -> bool {
        self.start() == start && self.end() == end
    }
}

/// Makes metadata for frames, one by one.
pub trait MetaFn<M> {
    /// Makes the metadata of the frame at an address.
    fn meta_at(&mut self, paddr: Paddr) -> M;
}

/// A closure of code that is not verified.
#[verifier::external]
impl<M, F: FnMut(Paddr) -> M> MetaFn<M> for F {
    fn meta_at(&mut self, paddr: Paddr) -> M {
        self(paddr)
    }
}

/// The address after a frame.
#[inline(always)]
pub(in crate::frame) fn after(pa: Paddr) -> (r: Paddr)
    requires
        pa.0 < PADDR_LIMIT,
    ensures
        r.0 == pa.0 + PAGE_SIZE,
    opens_invariants none
    no_unwind
{
    Paddr(pa.0 + PAGE_SIZE)
}

/// Judges a range of physical addresses.
fn check_range(start: Paddr, end: Paddr) -> (r: Result<(), SegmentError>)
    ensures
        r is Ok ==> is_range(start, end),
{
    if start.0 % PAGE_SIZE != 0 {
        return Err(SegmentError::Frame(GetFrameError::NotAligned(start)));
    }
    if end.0 % PAGE_SIZE != 0 {
        return Err(SegmentError::Frame(GetFrameError::NotAligned(end)));
    }
    if end.0 < start.0 {
        return Err(SegmentError::Reversed { start: start.0, end: end.0 });
    }
    if end.0 > max_paddr().0 {
        return Err(SegmentError::Frame(GetFrameError::OutOfBound(end)));
    }
    Ok(())
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> Release for Parts<M> {
    #[verus_spec]
    fn release(self) {
        proof! {
            use_type_invariant(&self);
        }
        let Parts { start, end, mut toks, .. } = self;
        let mut p = start;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                is_range(p, end),
                covers::<M>(toks@, p, end),
            decreases end.0 - p.0,
        ))]
        while p.0 < end.0 {
            let tok = take::<M>(&mut toks, p);
            drop_raw(p, tok);
            p = after(p);
        }
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Segment<M> {
    /// No frames, at `start`.
    #[verus_spec(r =>
        requires
            is_range(start, start),
        ensures
            r.spans(start, start),
        opens_invariants none
        no_unwind
    )]
    pub(in crate::frame) fn empty_at(start: Paddr) -> Self {
        let parts = Parts { start, end: start, toks: no_tokens(), kind: PhantomData };
        Segment { parts: Owned::new(parts) }
    }

    /// Adds the frame after the last.
    #[verus_spec(r =>
        requires
            frame.pa() == self.end(),
        ensures
            r.start() == self.start(),
            r.end().0 == self.end().0 + PAGE_SIZE,
        opens_invariants none
        no_unwind
    )]
    pub(in crate::frame) fn with(self, frame: Frame<M>) -> Self {
        let (_, tok) = frame.into_parts();
        let (start, end, mut toks) = self.into_parts();
        put(&mut toks, end, tok);
        Segment { parts: Owned::new(Parts { start, end: after(end), toks, kind: PhantomData }) }
    }

    /// Takes it apart.
    #[verus_spec(r =>
        ensures
            self.spans(r.0, r.1),
            is_range(r.0, r.1),
            covers::<M>(r.2@, r.0, r.1),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn into_parts(self) -> (Paddr, Paddr, Toks) {
        let parts = self.parts.into_inner();
        proof! {
            use_type_invariant(&parts);
        }
        let Parts { start, end, toks, .. } = parts;
        (start, end, toks)
    }

    /// Puts it together.
    #[verus_spec(r =>
        requires
            is_range(start, end),
            covers::<M>(toks@, start, end),
        ensures
            r.spans(start, end),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn from_parts(start: Paddr, end: Paddr, toks: Toks) -> Self {
        Segment { parts: Owned::new(Parts { start, end, toks, kind: PhantomData }) }
    }

    /// Where it starts and ends.
    #[verus_spec(r =>
        ensures
            self.spans(r.0, r.1),
            is_range(r.0, r.1),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn bounds(&self) -> (Paddr, Paddr) {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        (parts.start, parts.end)
    }

    /// Returns where the segment starts.
    #[verus_spec(r => ensures r == self.start())]
    #[inline(always)]
    pub fn start_paddr(&self) -> Paddr {
        self.parts.get().start
    }

    /// Returns where the segment ends: the address after its last byte.
    #[verus_spec(r => ensures r == self.end())]
    #[inline(always)]
    pub fn end_paddr(&self) -> Paddr {
        self.parts.get().end
    }

    /// Returns the size of the segment in bytes.
    #[verus_spec(r => ensures r == self.end().0 - self.start().0, r % PAGE_SIZE == 0)]
    #[inline(always)]
    pub fn size(&self) -> usize {
        let (start, end) = self.bounds();
        end.0 - start.0
    }

    /// Returns the number of frames.
    #[verus_spec(r => ensures r == (self.end().0 - self.start().0) / PAGE_SIZE as int)]
    #[inline(always)]
    pub fn nr_pages(&self) -> usize {
        self.size() / PAGE_SIZE
    }

    /// Splits the segment at an offset in bytes.
    ///
    /// # Errors
    ///
    /// Each gives the segment back.
    ///
    /// - [`SegmentError::NotAligned`]: the offset is not a multiple of the size of a frame.
    /// - [`SegmentError::Outside`]: one of the parts would be empty, or the offset is beyond the end.
    #[verus_spec(r =>
        ensures
            r matches Ok((a, b)) ==> a.start() == self.start() && a.end().0 == self.start().0 + offset
                && b.spans(a.end(), self.end()),
            r matches Err(e) ==> e.segment == self,
            r is Ok <==> offset % PAGE_SIZE == 0 && 0 < offset < self.end().0 - self.start().0,
    )]
    pub fn split(self, offset: usize) -> Result<(Self, Self), SplitError<M>> {
        if offset % PAGE_SIZE != 0 {
            return Err(SplitError { cause: SegmentError::NotAligned(offset), segment: self });
        }
        if offset == 0 || offset >= self.size() {
            return Err(SplitError { cause: SegmentError::Outside(offset), segment: self });
        }
        let (start, end, mut toks) = self.into_parts();
        let mid = Paddr(start.0 + offset);
        let upper = split_off(&mut toks, mid);
        let lower = Parts { start, end: mid, toks, kind: PhantomData };
        let upper = Parts { start: mid, end, toks: upper, kind: PhantomData };
        Ok((Segment { parts: Owned::new(lower) }, Segment { parts: Owned::new(upper) }))
    }

    /// Adds a handle to the frames between two offsets in bytes.
    ///
    /// # Errors
    ///
    /// - [`SegmentError::NotAligned`]: an offset is not a multiple of the size of a frame.
    /// - [`SegmentError::Reversed`]: the range ends before it starts.
    /// - [`SegmentError::Outside`]: it ends beyond the segment.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.start().0 == self.start().0 + range.start
                && s.end().0 == self.start().0 + range.end,
            r is Ok <==> range.start % PAGE_SIZE == 0 && range.end % PAGE_SIZE == 0
                && range.start <= range.end <= self.end().0 - self.start().0,
    )]
    pub fn slice(&self, range: Range<usize>) -> Result<Self, SegmentError> {
        let Range { start, end } = range;
        if start % PAGE_SIZE != 0 {
            return Err(SegmentError::NotAligned(start));
        }
        if end % PAGE_SIZE != 0 {
            return Err(SegmentError::NotAligned(end));
        }
        if end < start {
            return Err(SegmentError::Reversed { start, end });
        }
        if end > self.size() {
            return Err(SegmentError::Outside(end));
        }
        let (base, _) = self.bounds();
        Ok(self.share(Paddr(base.0 + start), Paddr(base.0 + end)))
    }

    /// Adds a handle to the frames of a range inside.
    #[verus_spec(r =>
        requires
            is_range(start, end),
            self.start().0 <= start.0,
            end.0 <= self.end().0,
        ensures
            r.spans(start, end),
    )]
    fn share(&self, start: Paddr, end: Paddr) -> Self {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        let mut other = Segment::empty_at(start);
        let mut p = start;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                parts.start.0 <= p.0,
                end.0 <= parts.end.0,
                covers::<M>(parts.toks@, parts.start, parts.end),
                is_range(p, end),
                other.spans(start, p),
            decreases end.0 - p.0,
        ))]
        while p.0 < end.0 {
            let tok = clone_raw(p, at::<M>(&parts.toks, p));
            other = other.with(Frame::new(slot_of(p), tok));
            p = after(p);
        }
        other
    }

    /// Forgets the handle; the frames keep the counts, and the caller their tokens.
    #[verus_spec(r =>
        with
            -> toks: Toks
        ensures
            r.start == self.start(),
            r.end == self.end(),
            is_range(r.start, r.end),
            covers::<M>(toks@, r.start, r.end),
    )]
    pub fn into_raw(self) -> Range<Paddr> {
        let (start, end, _toks) = self.into_parts();
        let range = Range { start, end };
        proof_with! {|= _toks}
        range
    }

    /// Restores a handle that was forgotten.
    ///
    /// # Safety
    ///
    /// 1. [`into_raw`](Self::into_raw) of a handle of this type gave the range (or the handle went to
    ///    [`core::mem::forget`]).
    /// 2. It is restored once.
    #[verus_spec(r =>
        with
            Tracked(toks): Tracked<Map<Paddr, SharedTok>>
        requires
            is_range(range.start, range.end),
            covers::<M>(toks, range.start, range.end),
        ensures
            r.spans(range.start, range.end),
    )]
    #[expect(unsafe_code, reason = "the stable compiler does not see the tokens that the contract asks for")]
    pub unsafe fn from_raw(range: Range<Paddr>) -> Self {
        let Range { start, end } = range;
        let toks = verus_exec_expr!(Tracked(toks));
        Segment { parts: Owned::new(Parts { start, end, toks, kind: PhantomData }) }
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> Segment<M> {
    /// Takes the unused frames of a range and gives each the metadata that `metadata` makes for its address.
    ///
    /// Where one of the frames cannot be had, and where the closure panics, those that were taken before are
    /// dropped.
    ///
    /// # Errors
    ///
    /// - [`SegmentError::Frame`]: an end of the range is misaligned or beyond physical memory, or one of the
    ///   frames is not unused; the cause names the address.
    /// - [`SegmentError::Reversed`]: the range ends before it starts.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.spans(range.start, range.end),
    )]
    pub fn from_unused<F>(range: Range<Paddr>, metadata: F) -> Result<Self, SegmentError>
    where
        F: FnMut(Paddr) -> M + MetaFn<M>,
    {
        Self::from_unused_by(range, metadata)
    }

    /// As [`from_unused`](Self::from_unused), for verified code, which passes a type instead of a closure.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.spans(range.start, range.end),
    )]
    pub fn from_unused_by<F: MetaFn<M>>(range: Range<Paddr>, metadata: F) -> Result<Self, SegmentError> {
        match Self::from_unused_prefix_by(range, metadata)? {
            (segment, None) => Ok(segment),
            (_, Some(cause)) => Err(SegmentError::Frame(cause)),
        }
    }

    /// Takes the unused frames of a range up to the first that cannot be had, and says why that one cannot.
    #[verus_spec(r =>
        ensures
            r matches Ok((s, None)) ==> s.spans(range.start, range.end),
            r matches Ok((s, Some(e))) ==> s.start() == range.start && s.end().0 < range.end.0
                && judges(e, s.end()) && !(e is Unused),
    )]
    pub(crate) fn from_unused_prefix_by<F: MetaFn<M>>(
        range: Range<Paddr>,
        metadata: F,
    ) -> Result<(Self, Option<GetFrameError>), SegmentError> {
        let Range { start, end } = range;
        check_range(start, end)?;
        let mut metadata = metadata;
        let mut segment = Segment::empty_at(start);
        let mut p = start;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                start == range.start,
                end == range.end,
                is_range(p, end),
                segment.spans(start, p),
            decreases end.0 - p.0,
        ))]
        while p.0 < end.0 {
            match Frame::from_unused(p, metadata.meta_at(p)) {
                Ok(frame) => segment = segment.with(frame),
                Err(cause) => return Ok((segment, Some(cause))),
            }
            p = after(p);
        }
        Ok((segment, None))
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Clone for Segment<M> {
    /// Adds a handle to each frame.
    #[verus_spec(r => ensures r.spans(self.start(), self.end()))]
    fn clone(&self) -> Self {
        let (start, end) = self.bounds();
        self.share(start, end)
    }
}

verus! {

// What comes next, the contract of `next` says; nothing is prophesied.
#[cfg(verus_keep_ghost)]
impl<M: ?Sized + FrameKind> vstd::std_specs::iter::IteratorSpecImpl for Segment<M> {
    open spec fn obeys_prophetic_iter_laws(&self) -> bool {
        false
    }

    open spec fn remaining(&self) -> Seq<Frame<M>> {
        Seq::empty()
    }

    open spec fn will_return_none(&self) -> bool {
        true
    }

    open spec fn decrease(&self) -> Option<nat> {
        None
    }

    open spec fn initial_value_relation(&self, _init: &Self) -> bool {
        true
    }

    open spec fn peek(&self, _index: int) -> Option<Frame<M>> {
        None
    }
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> Iterator for Segment<M> {
    type Item = Frame<M>;

    /// Takes the first frame out.
    #[verus_spec(r =>
        ensures
            r matches Some(f) ==> f.pa() == old(self).start()
                && final(self).start().0 == old(self).start().0 + PAGE_SIZE
                && final(self).end() == old(self).end(),
            r is None ==> old(self).start() == old(self).end()
                && final(self).spans(old(self).start(), old(self).end()),
    )]
    fn next(&mut self) -> Option<Frame<M>> {
        let (start, end) = self.bounds();
        if start.0 == end.0 {
            return None;
        }
        let mut all = Segment::empty_at(end);
        core::mem::swap(self, &mut all);
        let parts = all.parts.into_inner();
        proof! {
            use_type_invariant(&parts);
        }
        let Parts { start, end, mut toks, .. } = parts;
        let tok = take::<M>(&mut toks, start);
        *self = Segment { parts: Owned::new(Parts { start: after(start), end, toks, kind: PhantomData }) };
        Some(Frame::new(slot_of(start), tok))
    }

    #[verus_spec(r => ensures r.0 == (self.end().0 - self.start().0) / PAGE_SIZE as int, r.1 == Some(r.0))]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.nr_pages(), Some(self.nr_pages()))
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> ExactSizeIterator for Segment<M> {}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> core::fmt::Debug for Segment<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Segment").field(&(self.start_paddr()..self.end_paddr())).finish()
    }
}
