//! Unique handles.
use super::erased::*;
use super::error::GetFrameError;
use super::kind::*;
use super::shared::*;
use super::slot::*;
use super::table::*;
use super::token::*;
use core::marker::PhantomData;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::owned::{Owned, Release};
use vstd::prelude::*;

#[verus_verify]
struct Parts<M: ?Sized + FrameKind> {
    slot: &'static MetaSlot,
    own: Tracked<UniqueOwn>,
    kind: PhantomData<M>,
}

/// The only handle of a frame, like a `Box` of its metadata.
///
/// Dropping it runs [`AnyFrameMeta::on_drop`], drops the metadata and makes the frame unused.
/// [`Frame`] is the sibling for a frame that others have handles of as well.
///
/// # Guarantees
///
/// While there is a unique handle, the frame has metadata of the type it was made with, and no other handle.
#[verus_verify]
pub struct UniqueFrame<M: ?Sized + FrameKind> {
    parts: Owned<Parts<M>>,
}

verus! {

impl<M: ?Sized + FrameKind> Parts<M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.own@.of(*self.slot)
        &&& in_table(*self.slot)
        &&& M::allows(self.own@.perm.content())
    }
}

impl<M: ?Sized + FrameKind> UniqueFrame<M> {
    /// The frame's address.
    pub closed spec fn pa(self) -> Paddr {
        self.parts@.slot.pa()
    }

    /// What the slot contains.
    pub closed spec fn content(self) -> Content {
        self.parts@.own@.perm.content()
    }

    /// The frame is zeros, and nobody else writes to it.
    pub closed spec fn zeroed(self) -> bool {
        self.parts@.own@.perm.zeroed()
    }
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> Release for Parts<M> {
    #[verus_spec]
    fn release(self) {
        proof! {
            use_type_invariant(&self);
        }
        let own = self.slot.unique_to_busy(self.own);
        tear_down(self.slot, own);
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> UniqueFrame<M> {
    #[verus_spec(r =>
        requires
            own@.of(*slot),
            in_table(*slot),
            M::allows(own@.perm.content()),
        ensures
            r.pa() == slot.pa(),
            r.content() == own@.perm.content(),
            r.zeroed() == own@.perm.zeroed(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(in crate::frame) fn new(slot: &'static MetaSlot, own: Tracked<UniqueOwn>) -> Self {
        UniqueFrame { parts: Owned::new(Parts { slot, own, kind: PhantomData }) }
    }

    #[verus_spec(r =>
        ensures
            r.1@.of(*r.0),
            in_table(*r.0),
            M::allows(r.1@.perm.content()),
            r.0.pa() == self.pa(),
            r.1@.perm.content() == self.content(),
            r.1@.perm.zeroed() == self.zeroed(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn into_parts(self) -> (&'static MetaSlot, Tracked<UniqueOwn>) {
        let parts = self.parts.into_inner();
        proof! {
            use_type_invariant(&parts);
        }
        let Parts { slot, own, .. } = parts;
        (slot, own)
    }

    #[verus_spec(r =>
        ensures
            r.1@.of(*r.0),
            in_table(*r.0),
            M::allows(r.1@.perm.content()),
            r.0.pa() == self.pa(),
            r.1@.perm.content() == self.content(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(super) fn as_parts(&self) -> (&'static MetaSlot, Tracked<&UniqueOwn>) {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        (parts.slot, as_ref(&parts.own))
    }

    /// Returns the address of the frame's first byte.
    #[verus_spec(r => ensures r == self.pa(), is_frame(r))]
    #[inline(always)]
    pub fn start_paddr(&self) -> Paddr {
        let (slot, _) = self.as_parts();
        pa_of(slot)
    }

    /// Returns the address of the frame's first byte: the short name of [`start_paddr`](Self::start_paddr).
    #[verus_spec(r => ensures r == self.pa(), is_frame(r))]
    #[inline(always)]
    pub fn paddr(&self) -> Paddr {
        self.start_paddr()
    }

    /// Returns the size of the frame in bytes.
    #[verus_spec(r => ensures r == PAGE_SIZE)]
    #[inline(always)]
    pub fn size(&self) -> usize {
        PAGE_SIZE
    }

    /// Returns the level of a page table that maps pages of this size.
    #[verus_spec(r => ensures r == 1)]
    #[inline(always)]
    pub fn level(&self) -> u8 {
        1
    }

    /// Tells whether the contents of the frame are declared untyped.
    #[verus_spec(r => ensures r ==> self.content().untyped())]
    pub fn is_untyped(&self) -> bool {
        self.is::<dyn AnyUFrameMeta>()
    }

    /// Tells whether the metadata are an `N`, or, for `N = dyn AnyUFrameMeta`, whether the contents of the frame
    /// are declared untyped.
    #[verus_spec(r => ensures r ==> N::allows(self.content()))]
    pub fn is<N: ?Sized + FrameKind>(&self) -> bool {
        let (slot, own) = self.as_parts();
        N::finds(slot.vtable_unique(own))
    }

    /// Lends the metadata if they are an `N`.
    #[verus_spec(r => ensures r matches Some(meta) ==> typed(*meta) == self.content())]
    pub fn downcast_ref<N: AnyFrameMeta>(&self) -> Option<&N> {
        let (slot, own) = self.as_parts();
        if self.is::<N>() { Some(slot.meta_unique(own)) } else { None }
    }

    /// Lends the metadata, to be changed, if they are an `N`.
    #[verus_spec(r =>
        ensures
            r matches Some(meta) ==> typed(*meta) == old(self).content()
                && typed(*final(meta)) == final(self).content(),
            r is None ==> final(self).content() == old(self).content(),
            final(self).pa() == old(self).pa(),
    )]
    pub fn downcast_mut<N: AnyFrameMeta>(&mut self) -> Option<&mut N> {
        if !self.is::<N>() {
            return None;
        }
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
            let now = parts.own@.perm.content();
            assert forall|c: Content| c is Typed && c->ty == now->ty implies #[trigger] M::allows(c) by {
                M::allows_by_type(now, c);
            }
        }
        Some(parts.slot.meta_mut(&mut parts.own))
    }

    /// Fills the frame with zeros.
    #[verus_spec(
        ensures
            final(self).pa() == old(self).pa(),
            final(self).content() == old(self).content(),
            final(self).zeroed(),
        opens_invariants none
        no_unwind
    )]
    pub fn zero(&mut self) {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
        }
        parts.slot.zero(pa_of(parts.slot), &mut parts.own);
    }

    /// Gives the frame other metadata; the old are dropped first.
    #[verus_spec(r =>
        ensures
            r.pa() == self.pa(),
            r.content() == typed(metadata),
    )]
    pub fn repurpose<N: AnyFrameMeta>(self, metadata: N) -> UniqueFrame<N> {
        let (slot, own) = self.into_parts();
        let mut own = slot.unique_to_busy(own);
        slot.drop_meta(pa_of(slot), as_mut(&mut own));
        slot.write_meta(metadata, as_mut(&mut own));
        let own = slot.publish_unique(own);
        UniqueFrame::new(slot, own)
    }

    /// Drops the metadata and makes the frame unused, without a word to the allocator: for the allocator itself.
    #[verus_spec]
    pub fn reset_as_unused(self) {
        let (slot, own) = self.into_parts();
        let mut own = slot.unique_to_busy(own);
        slot.drop_meta(pa_of(slot), as_mut(&mut own));
        slot.release_unused(own);
    }

    /// Forgets the handle; the frame stays unique, and the caller has its token.
    #[verus_spec(r =>
        with
            -> own: Tracked<UniqueOwn>
        ensures
            r == self.pa(),
            unique_raw_of(own@, r),
            M::allows(own@.perm.content()),
            own@.perm.content() == self.content(),
            own@.perm.zeroed() == self.zeroed(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub fn into_raw(self) -> Paddr {
        let (slot, _own) = self.into_parts();
        proof_with! {|= _own}
        pa_of(slot)
    }

    /// Restores a handle that was forgotten.
    ///
    /// # Safety
    ///
    /// 1. [`into_raw`](Self::into_raw) of a handle of this type gave the address (or the handle went to
    ///    [`core::mem::forget`]).
    /// 2. It is restored once.
    #[verus_spec(r =>
        with
            Tracked(own): Tracked<UniqueOwn>
        requires
            unique_raw_of(own, paddr),
            M::allows(own.perm.content()),
        ensures
            r.pa() == paddr,
            r.content() == own.perm.content(),
            r.zeroed() == own.perm.zeroed(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    #[expect(unsafe_code, reason = "the stable compiler does not see the token that the contract asks for")]
    pub unsafe fn from_raw(paddr: Paddr) -> Self {
        let slot = slot_of(paddr);
        let own = verus_exec_expr!(Tracked(own));
        UniqueFrame::new(slot, own)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> UniqueFrame<M> {
    /// Takes the unused frame at an address and gives it metadata.
    ///
    /// # Errors
    ///
    /// - [`GetFrameError::NotAligned`]: the address is not a multiple of [`PAGE_SIZE`].
    /// - [`GetFrameError::OutOfBound`]: it is beyond physical memory.
    /// - [`GetFrameError::InUse`], [`GetFrameError::Unique`], [`GetFrameError::Busy`]: the frame is not unused.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == paddr && f.content() == typed(metadata),
            r matches Err(e) ==> judges(e, paddr) && !(e is Unused),
    )]
    #[inline(always)]
    pub fn from_unused(paddr: Paddr, metadata: M) -> Result<Self, GetFrameError> {
        let (slot, own) = claim(paddr)?;
        Ok(Self::of_claimed(slot, own, metadata))
    }

    /// Gives a claimed frame its metadata.
    #[verus_spec(r =>
        requires
            own@.of(*slot),
            own@.perm.vacant(),
            in_table(*slot),
        ensures
            r.pa() == slot.pa(),
            r.content() == typed(metadata),
        no_unwind
    )]
    #[inline(always)]
    pub(in crate::frame) fn of_claimed(slot: &'static MetaSlot, own: Tracked<BusyOwn>, metadata: M) -> Self {
        let mut own = own;
        slot.write_meta(metadata, as_mut(&mut own));
        let own = slot.publish_unique(own);
        UniqueFrame::new(slot, own)
    }

    /// Lends the metadata.
    #[verus_spec(r => ensures typed(*r) == self.content())]
    #[inline(always)]
    pub fn meta(&self) -> &M {
        let (slot, own) = self.as_parts();
        slot.meta_unique(own)
    }

    /// Lends the metadata, to be changed.
    #[verus_spec(r =>
        ensures
            typed(*r) == old(self).content(),
            typed(*final(r)) == final(self).content(),
            final(self).pa() == old(self).pa(),
            final(self).zeroed() == old(self).zeroed(),
    )]
    #[inline(always)]
    pub fn meta_mut(&mut self) -> &mut M {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
        }
        parts.slot.meta_mut(&mut parts.own)
    }
}

verus! {

// The conversions are specified by what they ensure, not as functions of their argument.

#[cfg(verus_keep_ghost)]
impl<M: ?Sized + FrameKind> vstd::std_specs::convert::FromSpecImpl<UniqueFrame<M>> for Frame<M> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: UniqueFrame<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: ?Sized + FrameKind> vstd::std_specs::convert::TryFromSpecImpl<Frame<M>> for UniqueFrame<M> {
    open spec fn obeys_try_from_spec() -> bool {
        false
    }

    open spec fn try_from_spec(_v: Frame<M>) -> Result<Self, Frame<M>> {
        arbitrary()
    }
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> From<UniqueFrame<M>> for Frame<M> {
    #[verus_spec(r =>
        ensures
            r.pa() == frame.pa(),
            r.content() == frame.content(),
    )]
    #[inline(always)]
    fn from(frame: UniqueFrame<M>) -> Self {
        let (slot, own) = frame.into_parts();
        let tok = slot.unique_to_shared(own);
        Frame::new(slot, tok)
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> TryFrom<Frame<M>> for UniqueFrame<M> {
    /// The frame itself, which has other handles.
    type Error = Frame<M>;

    #[verus_spec(r =>
        ensures
            r matches Ok(u) ==> u.pa() == frame.pa() && u.content() == frame.content(),
            r matches Err(f) ==> f.pa() == frame.pa() && f.content() == frame.content(),
    )]
    fn try_from(frame: Frame<M>) -> Result<Self, Frame<M>> {
        let (slot, tok) = frame.into_parts();
        match slot.shared_to_unique(tok) {
            Ok(own) => Ok(UniqueFrame::new(slot, own)),
            Err(tok) => Err(Frame::new(slot, tok)),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> core::fmt::Debug for UniqueFrame<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("UniqueFrame").field(&self.start_paddr()).finish()
    }
}
