//! Shared handles.
use super::erased::*;
use super::error::GetFrameError;
use super::free_hook::on_frame_freed;
use super::kind::*;
use super::protocol::*;
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
    tok: Tracked<SharedTok>,
    kind: PhantomData<M>,
}

/// A handle of a frame that others may have handles of as well, like an `Arc` of its metadata.
///
/// Clones count; the last handle to be dropped runs [`AnyFrameMeta::on_drop`], drops the metadata and makes
/// the frame unused. [`UniqueFrame`](super::UniqueFrame) is the sibling for a frame with one handle, and
/// [`Segment`](super::Segment) the one for a range.
///
/// # Guarantees
///
/// While there is a handle, the frame has metadata of the type it was made with, and the count of the frame is
/// the number of its handles, raw and forgotten ones included.
#[verus_verify]
pub struct Frame<M: ?Sized + FrameKind> {
    parts: Owned<Parts<M>>,
}

verus! {

impl<M: ?Sized + FrameKind> Parts<M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& shared_of(self.tok@, *self.slot)
        &&& in_table(*self.slot)
        &&& M::allows(self.tok@.element().content())
    }
}

impl<M: ?Sized + FrameKind> Frame<M> {
    /// The frame's address.
    pub closed spec fn pa(self) -> Paddr {
        self.parts@.slot.pa()
    }

    /// What the slot contains.
    pub closed spec fn content(self) -> Content {
        self.parts@.tok@.element().content()
    }
}

/// Gives up a count; the last one ends the life of the metadata.
#[inline(always)]
pub(crate) fn release_shared(slot: &'static MetaSlot, tok: Tracked<SharedTok>)
    requires
        shared_of(tok@, *slot),
        in_table(*slot),
    no_unwind
{
    if let Some(own) = slot.dec(tok) {
        tear_down(slot, own);
    }
}

/// Makes a busy frame unused, and says so.
#[cold]
#[inline(never)]
pub(crate) fn tear_down(slot: &'static MetaSlot, own: Tracked<BusyOwn>)
    requires
        own@.of(*slot),
        own@.perm.occupied(),
        in_table(*slot),
    no_unwind
{
    let pa = pa_of(slot);
    let mut own = own;
    slot.drop_meta(pa, as_mut(&mut own));
    slot.release_unused(own);
    on_frame_freed(pa);
}

/// Why the frame at `pa` is not unused, from its count.
pub(crate) fn refusal(count: u64, pa: Paddr) -> (r: GetFrameError)
    ensures
        count == REF_COUNT_BUSY ==> r == GetFrameError::Busy(pa),
        count == REF_COUNT_UNIQUE ==> r == GetFrameError::Unique(pa),
        is_shared(count) ==> r == GetFrameError::InUse(pa),
    opens_invariants none
    no_unwind
{
    match count {
        REF_COUNT_BUSY => GetFrameError::Busy(pa),
        REF_COUNT_UNIQUE => GetFrameError::Unique(pa),
        _ => GetFrameError::InUse(pa),
    }
}

/// Claims the unused frame at an address.
#[inline(always)]
pub(in crate::frame) fn claim(pa: Paddr) -> (r: Result<(&'static MetaSlot, Tracked<BusyOwn>), GetFrameError>)
    ensures
        r matches Ok(x) ==> {
            &&& has_slot(pa)
            &&& *x.0 == slot_at(pa)
            &&& x.1@.of(*x.0)
            &&& x.1@.perm.vacant()
        },
        r matches Err(e) ==> judges(e, pa) && !(e is Unused),
    no_unwind
{
    match get_slot(pa) {
        Ok(slot) => match slot.acquire_unused() {
            Ok(own) => Ok((slot, own)),
            Err(count) => Err(refusal(count, pa)),
        },
        Err(error) => Err(error),
    }
}

/// Counts another use of a frame that no handle has.
#[inline(always)]
pub(crate) fn clone_raw(pa: Paddr, Tracked(tok): Tracked<&SharedTok>) -> (r: Tracked<SharedTok>)
    requires
        raw_of(*tok, pa),
    ensures
        raw_of(r@, pa),
        r@.element() == tok.element(),
    no_unwind
{
    slot_of(pa).inc(Tracked(tok))
}

/// Gives up a count that no handle has.
#[inline(always)]
pub(crate) fn drop_raw(pa: Paddr, tok: Tracked<SharedTok>)
    requires
        raw_of(tok@, pa),
    no_unwind
{
    release_shared(slot_of(pa), tok);
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> Release for Parts<M> {
    #[verus_spec]
    #[inline(always)]
    fn release(self) {
        proof! {
            use_type_invariant(&self);
        }
        release_shared(self.slot, self.tok);
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Frame<M> {
    #[verus_spec(r =>
        requires
            shared_of(tok@, *slot),
            in_table(*slot),
            M::allows(tok@.element().content()),
        ensures
            r.pa() == slot.pa(),
            r.content() == tok@.element().content(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn new(slot: &'static MetaSlot, tok: Tracked<SharedTok>) -> Self {
        Frame { parts: Owned::new(Parts { slot, tok, kind: PhantomData }) }
    }

    #[verus_spec(r =>
        ensures
            shared_of(r.1@, *r.0),
            in_table(*r.0),
            M::allows(r.1@.element().content()),
            r.0.pa() == self.pa(),
            r.1@.element().content() == self.content(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(crate) fn into_parts(self) -> (&'static MetaSlot, Tracked<SharedTok>) {
        let parts = self.parts.into_inner();
        proof! {
            use_type_invariant(&parts);
        }
        let Parts { slot, tok, .. } = parts;
        (slot, tok)
    }

    #[verus_spec(r =>
        ensures
            shared_of(*r.1@, *r.0),
            in_table(*r.0),
            M::allows(r.1@.element().content()),
            r.0.pa() == self.pa(),
            r.1@.element().content() == self.content(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub(super) fn as_parts(&self) -> (&'static MetaSlot, Tracked<&SharedTok>) {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        (parts.slot, as_ref(&parts.tok))
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> Frame<M> {
    /// Takes the unused frame at an address and gives it metadata.
    ///
    /// [`UniqueFrame::from_unused`](super::UniqueFrame::from_unused) is the sibling that may change them.
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
        match Self::try_from_unused(paddr, metadata) {
            Ok(frame) => Ok(frame),
            Err((error, _)) => Err(error),
        }
    }

    /// As [`from_unused`](Self::from_unused), but gives the metadata back with the error.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == paddr && f.content() == typed(metadata),
            r matches Err(e) ==> e.1 == metadata && judges(e.0, paddr) && !(e.0 is Unused),
    )]
    #[inline(always)]
    pub fn try_from_unused(paddr: Paddr, metadata: M) -> Result<Self, (GetFrameError, M)> {
        match claim(paddr) {
            Ok((slot, mut own)) => {
                slot.write_meta(metadata, as_mut(&mut own));
                let tok = slot.publish_shared(own);
                Ok(Frame::new(slot, tok))
            }
            Err(error) => Err((error, metadata)),
        }
    }

    /// Lends the metadata.
    #[verus_spec(r => ensures typed(*r) == self.content())]
    #[inline(always)]
    pub fn meta(&self) -> &M {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        parts.slot.meta(as_ref(&parts.tok))
    }
}

#[verus_verify]
impl Frame<dyn AnyFrameMeta> {
    /// Adds a handle to a frame that has some already.
    ///
    /// # Errors
    ///
    /// - [`GetFrameError::NotAligned`]: the address is not a multiple of [`PAGE_SIZE`].
    /// - [`GetFrameError::OutOfBound`]: it is beyond physical memory.
    /// - [`GetFrameError::Unused`], [`GetFrameError::Unique`], [`GetFrameError::Busy`]: the frame is not shared.
    /// - [`GetFrameError::InUse`]: the frame has as many handles as can be counted.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == paddr,
            r matches Err(e) ==> judges(e, paddr),
    )]
    pub fn from_in_use(paddr: Paddr) -> Result<Self, GetFrameError> {
        let slot = get_slot(paddr)?;
        let tok = slot.upgrade(paddr)?;
        Ok(Frame::new(slot, tok))
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Frame<M> {
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

    /// Returns how many handles the frame has, at some moment during the call.
    #[verus_spec]
    #[inline(always)]
    pub fn reference_count(&self) -> u64 {
        let (slot, _) = self.as_parts();
        slot.ref_count()
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
        let (slot, tok) = self.as_parts();
        N::finds(slot.vtable(tok))
    }

    /// Lends the metadata if they are an `N`.
    #[verus_spec(r => ensures r matches Some(meta) ==> typed(*meta) == self.content())]
    pub fn downcast_ref<N: AnyFrameMeta>(&self) -> Option<&N> {
        let (slot, tok) = self.as_parts();
        if self.is::<N>() { Some(slot.meta(tok)) } else { None }
    }

    /// Forgets the handle; the frame keeps the count, and the caller its token.
    #[verus_spec(r =>
        with
            -> tok: Tracked<SharedTok>
        ensures
            r == self.pa(),
            raw_of(tok@, r),
            M::allows(tok@.element().content()),
            tok@.element().content() == self.content(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    pub fn into_raw(self) -> Paddr {
        let (slot, _tok) = self.into_parts();
        proof_with! {|= _tok}
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
            Tracked(tok): Tracked<SharedTok>
        requires
            raw_of(tok, paddr),
            M::allows(tok.element().content()),
        ensures
            r.pa() == paddr,
            r.content() == tok.element().content(),
        opens_invariants none
        no_unwind
    )]
    #[inline(always)]
    #[expect(unsafe_code, reason = "the stable compiler does not see the token that the contract asks for")]
    pub unsafe fn from_raw(paddr: Paddr) -> Self {
        let slot = slot_of(paddr);
        let tok = verus_exec_expr!(Tracked(tok));
        Frame::new(slot, tok)
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Clone for Frame<M> {
    /// Adds a handle.
    ///
    /// It stops the machine where the frame has as many handles as can be counted, as `Arc` does.
    #[verus_spec(r =>
        ensures
            r.pa() == self.pa(),
            r.content() == self.content(),
    )]
    #[inline(always)]
    fn clone(&self) -> Self {
        let (slot, tok) = self.as_parts();
        let tok = slot.inc(tok);
        Frame::new(slot, tok)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> core::fmt::Debug for Frame<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Frame").field(&self.start_paddr()).finish()
    }
}
