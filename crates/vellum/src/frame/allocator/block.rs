//! A run of frames that one owner has, on its way to be a segment.
//!
//! All frames of a run are claimed before any of them is filled or shared: nobody ever sees a part of a run that cannot
//! be had whole, and one fill does for all.
#![expect(
    unsafe_code,
    reason = "the stable compiler does not see the permissions that filling frames asks for"
)]
#![cfg_attr(
    not(verus_keep_ghost),
    allow(unused_variables, unused_mut, dead_code, reason = "tokens are for the proofs alone")
)]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use crate::frame::UniqueFrame;
use crate::frame::erased::*;
#[cfg(verus_keep_ghost)]
use crate::frame::kind::FrameKind;
use crate::frame::segment::*;
use crate::frame::shared::*;
use crate::frame::slot::*;
use crate::frame::table::*;
#[cfg(verus_keep_ghost)]
use crate::frame::token::*;
use core::marker::PhantomData;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::owned::{Owned, Release};
use vellum_machine::page::*;
use vstd::prelude::*;

verus! {

/// The tokens of unique frames, by address.
pub tracked struct BlockOwn {
    /// All but the contents.
    pub frames: Map<Paddr, BareOwn>,
    /// The contents.
    pub pages: Map<Paddr, PagePerm>,
}

impl BlockOwn {
    /// The token of the frame at `p`.
    pub open spec fn at(self, p: Paddr) -> UniqueOwn {
        self.frames[p].joined(self.pages[p])
    }

    /// The frame at `p` is unique, with metadata of type `M`, and belongs to whoever has this.
    pub open spec fn owns<M: AnyFrameMeta>(self, p: Paddr) -> bool {
        &&& self.frames.contains_key(p)
        &&& self.pages.contains_key(p)
        &&& unique_raw_of(self.at(p), p)
        &&& M::allows(self.at(p).perm.content())
    }

    /// So do all frames in the range.
    pub open spec fn owns_range<M: AnyFrameMeta>(self, start: Paddr, end: Paddr) -> bool {
        forall|p: Paddr| #![trigger frame_in(p, start, end)] #![trigger self.owns::<M>(p)]
            frame_in(p, start, end) ==> self.owns::<M>(p)
    }

    /// The frames in the range are zeros.
    pub open spec fn zeroed(self, start: Paddr, end: Paddr) -> bool {
        forall|p: Paddr| #[trigger] frame_in(p, start, end) ==> self.at(p).perm.zeroed()
    }

    /// Adds a frame.
    proof fn add<M: AnyFrameMeta>(tracked &mut self, tracked own: UniqueOwn, p: Paddr)
        requires
            unique_raw_of(own, p),
            M::allows(own.perm.content()),
        ensures
            final(self).owns::<M>(p),
            forall|q: Paddr| q != p ==> #[trigger] final(self).owns::<M>(q) == old(self).owns::<M>(q),
    {
        let tracked (bare, page) = own.split();
        self.frames.tracked_insert(p, bare);
        self.pages.tracked_insert(p, page);
    }
}

/// Takes one frame out.
#[inline(always)]
fn take<M: AnyFrameMeta>(own: &mut Tracked<BlockOwn>, p: Paddr) -> (r: Tracked<UniqueOwn>)
    requires
        old(own)@.owns::<M>(p),
    ensures
        unique_raw_of(r@, p),
        M::allows(r@.perm.content()),
        forall|q: Paddr| q != p ==> #[trigger] final(own)@.owns::<M>(q) == old(own)@.owns::<M>(q),
    opens_invariants none
    no_unwind
{
    let tracked bare = own.borrow_mut().frames.tracked_remove(p);
    let tracked page = own.borrow_mut().pages.tracked_remove(p);
    Tracked(bare.join(page))
}

struct Parts<M: AnyFrameMeta> {
    start: Paddr,
    end: Paddr,
    own: Tracked<BlockOwn>,
    kind: PhantomData<M>,
}

/// Contiguous frames, each with metadata of type `M` and no other handle. They go back when it is dropped.
pub(crate) struct Block<M: AnyFrameMeta> {
    parts: Owned<Parts<M>>,
}

impl<M: AnyFrameMeta> Parts<M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& is_range(self.start, self.end)
        &&& self.own@.owns_range::<M>(self.start, self.end)
    }
}

impl<M: AnyFrameMeta> Release for Parts<M> {
    fn release(self) {
        proof {
            use_type_invariant(&self);
        }
        let end = self.end;
        let mut p = self.start;
        let mut own = self.own;
        while p.0 < end.0
            invariant
                is_range(p, end),
                own@.owns_range::<M>(p, end),
            decreases end.0 - p.0,
        {
            let one = take::<M>(&mut own, p);
            let slot = slot_of(p);
            tear_down(slot, slot.unique_to_busy(one));
            p = after(p);
        }
    }
}

impl<M: AnyFrameMeta> Block<M> {
    /// Where it starts.
    pub closed spec fn start(self) -> Paddr {
        self.parts@.start
    }

    /// Where it ends.
    pub closed spec fn end(self) -> Paddr {
        self.parts@.end
    }

    /// Its frames are zeros.
    pub closed spec fn zeroed(self) -> bool {
        self.parts@.own@.zeroed(self.start(), self.end())
    }

    /// No frames, at `start`.
    pub(super) fn empty_at(start: Paddr) -> (r: Self)
        requires
            is_range(start, start),
        ensures
            r.start() == start,
            r.end() == start,
        opens_invariants none
        no_unwind
    {
        let own = Tracked(BlockOwn { frames: Map::tracked_empty(), pages: Map::tracked_empty() });
        Block { parts: Owned::new(Parts { start, end: start, own, kind: PhantomData }) }
    }

    /// Takes it apart.
    #[inline(always)]
    pub(crate) fn into_parts(self) -> (r: (Paddr, Paddr, Tracked<BlockOwn>))
        ensures
            r.0 == self.start(),
            r.1 == self.end(),
            is_range(r.0, r.1),
            r.2@.owns_range::<M>(r.0, r.1),
            r.2@.zeroed(r.0, r.1) == self.zeroed(),
        opens_invariants none
        no_unwind
    {
        let parts = self.parts.into_inner();
        proof {
            use_type_invariant(&parts);
        }
        (parts.start, parts.end, parts.own)
    }

    /// Adds the frame after the last.
    #[inline(always)]
    pub(super) fn with(self, frame: UniqueFrame<M>) -> (r: Self)
        requires
            frame.pa() == self.end(),
        ensures
            r.start() == self.start(),
            r.end().0 == self.end().0 + PAGE_SIZE,
        opens_invariants none
        no_unwind
    {
        let (_, Tracked(one)) = frame.into_parts();
        let (start, end, own) = self.into_parts();
        let mut own = own;
        proof {
            own.borrow_mut().add::<M>(one, end);
        }
        Block { parts: Owned::new(Parts { start, end: after(end), own, kind: PhantomData }) }
    }

    /// Fills the frames with zeros.
    pub(super) fn zero(self) -> (r: Self)
        ensures
            r.start() == self.start(),
            r.end() == self.end(),
            r.zeroed(),
        opens_invariants none
        no_unwind
    {
        let (start, end, Tracked(own)) = self.into_parts();
        let tracked mut own = own;
        let ghost before = own;
        let frames = (end.0 - start.0) / PAGE_SIZE;
        proof {
            assert(forall|p: Paddr| #[trigger] in_run(p, start, frames) <==> frame_in(p, start, end));
        }
        // SAFETY: the permissions say that the contents of the frames are ours.
        unsafe {
            zero_run(start, frames, Tracked(&mut own.pages));
        }
        proof {
            assert forall|p: Paddr| frame_in(p, start, end) implies #[trigger] own.owns::<M>(p) && own.at(p).perm.zeroed() by {
                assert(before.owns::<M>(p) && in_run(p, start, frames));
            }
        }
        Block { parts: Owned::new(Parts { start, end, own: Tracked(own), kind: PhantomData }) }
    }

    /// Shares the frames, which are zeros by now if that was asked for.
    pub(super) fn share(self, Ghost(zeros): Ghost<bool>) -> (r: Segment<M>)
        requires
            zeros ==> self.zeroed(),
        ensures
            r.spans(self.start(), self.end()),
    {
        let (start, end, own) = self.into_parts();
        let mut own = own;
        let mut segment = Segment::empty_at(start);
        let mut p = start;
        while p.0 < end.0
            invariant
                is_range(p, end),
                own@.owns_range::<M>(p, end),
                segment.spans(start, p),
            decreases end.0 - p.0,
        {
            let one = take::<M>(&mut own, p);
            segment = segment.with(Frame::from(UniqueFrame::new(slot_of(p), one)));
            p = after(p);
        }
        segment
    }
}

} // verus!
