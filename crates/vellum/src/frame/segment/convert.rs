//! Segments from frames, and of forgotten metadata types.
use super::super::erased::*;
use super::super::kind::*;
use super::super::shared::*;
use super::super::token::*;
use super::*;
use core::marker::PhantomData;
use vstd::prelude::*;

/// Contiguous frames whose contents are untyped.
pub type USegment = Segment<dyn AnyUFrameMeta>;

verus! {

/// The same frames by a handle of another kind, which allows whatever the one does.
fn recast<A: ?Sized + FrameKind, B: ?Sized + FrameKind>(segment: Segment<A>) -> (r: Segment<B>)
    requires
        forall|c: Content| #[trigger] A::allows(c) ==> B::allows(c),
    ensures
        r.spans(segment.start(), segment.end()),
{
    let parts = segment.parts.into_inner();
    proof {
        use_type_invariant(&parts);
        assert forall|p: Paddr| #[trigger] has_frame::<B>(parts.toks@, p) || !frame_in(p, parts.start, parts.end) by {
            assert(has_frame::<A>(parts.toks@, p) || !frame_in(p, parts.start, parts.end));
        }
    }
    let parts = Parts { start: parts.start, end: parts.end, toks: parts.toks, kind: PhantomData };
    Segment { parts: Owned::new(parts) }
}

} // verus!

#[verus_verify]
impl Segment<dyn AnyFrameMeta> {
    /// Finds out whether the metadata of every frame are an `M`, or, for `M = dyn AnyUFrameMeta`, whether the
    /// contents of every frame are untyped.
    ///
    /// # Errors
    ///
    /// - The segment itself: they are not.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.spans(self.start(), self.end()),
            r matches Err(s) ==> s == self,
    )]
    pub fn downcast<M: ?Sized + FrameKind>(self) -> Result<Segment<M>, Self> {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        let mut p = parts.start;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                *parts == self.parts@,
                parts.start.0 <= p.0,
                is_range(p, parts.end),
                covers::<dyn AnyFrameMeta>(parts.toks@, parts.start, parts.end),
                forall|q: Paddr| #![trigger parts.toks@.dom().contains(q)]
                    frame_in(q, parts.start, p) ==> has_frame::<M>(parts.toks@, q),
            decreases parts.end.0 - p.0,
        ))]
        while p.0 < parts.end.0 {
            let tok = at::<dyn AnyFrameMeta>(&parts.toks, p);
            if !M::finds(slot_of(p).vtable(tok)) {
                return Err(self);
            }
            p = after(p);
        }
        let Parts { start, end, toks, .. } = self.parts.into_inner();
        Ok(Segment { parts: Owned::new(Parts { start, end, toks, kind: PhantomData }) })
    }

    /// Finds out whether the contents of every frame are untyped.
    ///
    /// # Errors
    ///
    /// - The segment itself: they are not.
    #[verus_spec(r =>
        ensures
            r matches Ok(s) ==> s.spans(self.start(), self.end()),
            r matches Err(s) ==> s == self,
    )]
    pub fn downcast_untyped(self) -> Result<USegment, Self> {
        self.downcast()
    }
}

verus! {

// The conversions are specified by what they ensure, not as functions of their argument.

#[cfg(verus_keep_ghost)]
impl<M: ?Sized + FrameKind> vstd::std_specs::convert::FromSpecImpl<Frame<M>> for Segment<M> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: Frame<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta> vstd::std_specs::convert::FromSpecImpl<Segment<M>> for Segment<dyn AnyFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: Segment<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl vstd::std_specs::convert::FromSpecImpl<USegment> for Segment<dyn AnyFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: USegment) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta + AnyUFrameMeta> vstd::std_specs::convert::FromSpecImpl<Segment<M>> for USegment {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: Segment<M>) -> Self {
        arbitrary()
    }
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> From<Frame<M>> for Segment<M> {
    #[verus_spec(r => ensures r.start() == frame.pa(), r.end().0 == frame.pa().0 + PAGE_SIZE)]
    fn from(frame: Frame<M>) -> Self {
        Segment::empty_at(frame.start_paddr()).with(frame)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> From<Segment<M>> for Segment<dyn AnyFrameMeta> {
    #[verus_spec(r => ensures r.spans(segment.start(), segment.end()))]
    fn from(segment: Segment<M>) -> Self {
        recast(segment)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta + AnyUFrameMeta> From<Segment<M>> for USegment {
    #[verus_spec(r => ensures r.spans(segment.start(), segment.end()))]
    fn from(segment: Segment<M>) -> Self {
        proof! {
            declared_untyped::<M>();
        }
        recast(segment)
    }
}

#[verus_verify]
impl From<USegment> for Segment<dyn AnyFrameMeta> {
    #[verus_spec(r => ensures r.spans(segment.start(), segment.end()))]
    fn from(segment: USegment) -> Self {
        recast(segment)
    }
}
