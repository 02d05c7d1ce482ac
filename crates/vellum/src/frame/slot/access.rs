//! What is in a slot and in its frame, for those who may look at it or change it.
#![expect(
    unsafe_code,
    reason = "the stable compiler does not see the permission that filling a frame asks for"
)]
use super::super::erased::*;
use super::super::protocol::*;
use super::super::vtable::*;
use super::*;
use vellum_machine::addr::Paddr;
use vellum_machine::page::zero;
use vstd::prelude::*;

verus! {

impl MetaSlot {
    /// Tells whether there is metadata that a handle can reach, at some moment during the call.
    #[inline(always)]
    pub(crate) fn is_initialized(&self) -> bool {
        let count = self.ref_count();
        count != REF_COUNT_UNUSED && count != REF_COUNT_BUSY
    }

    /// Lends the metadata to the holder of a token.
    #[inline(always)]
    pub(crate) fn meta<'a, M: AnyFrameMeta>(&'a self, Tracked(tok): Tracked<&'a SharedTok>) -> (r: &'a M)
        requires
            shared_of(*tok, *self),
            tok.element().storage.holds::<M>(),
        ensures
            typed(*r) == tok.element().content(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        proof { self.tracked_inst.borrow().token_is_occupied(tok.element(), tok); }
        let tracked perm = self.tracked_inst.borrow().token_guards(tok.element(), tok);
        self.storage.borrow::<M>(Tracked(&perm.storage))
    }

    /// The operations of the metadata's type, for the holder of a token.
    #[inline(always)]
    #[expect(clippy::explicit_auto_deref, reason = "the verifier has no implicit dereference")]
    pub(crate) fn vtable(&self, Tracked(tok): Tracked<&SharedTok>) -> (r: VtRef)
        requires
            shared_of(*tok, *self),
        ensures
            tok.element().content() is Typed,
            r.d.ty() == tok.element().content()->ty,
        no_unwind
    {
        proof { use_type_invariant(self); }
        proof { self.tracked_inst.borrow().token_is_occupied(tok.element(), tok); }
        let tracked perm = self.tracked_inst.borrow().token_guards(tok.element(), tok);
        *self.vtable.borrow(Tracked(&perm.vtable))
    }

    /// The operations of the metadata's type, for the unique owner.
    #[inline(always)]
    #[expect(clippy::explicit_auto_deref, reason = "the verifier has no implicit dereference")]
    pub(crate) fn vtable_unique(&self, Tracked(own): Tracked<&UniqueOwn>) -> (r: VtRef)
        requires
            own.of(*self),
        ensures
            own.perm.content() is Typed,
            r.d.ty() == own.perm.content()->ty,
        no_unwind
    {
        proof { use_type_invariant(self); }
        *self.vtable.borrow(Tracked(&own.perm.vtable))
    }

    /// Lends the metadata to the holder of the permission to it.
    #[inline(always)]
    pub(crate) fn meta_with<'a, M: AnyFrameMeta>(&'a self, Tracked(perm): Tracked<&'a StoragePerm>) -> (r: &'a M)
        requires
            perm.id() == self.storage_id(),
            perm.holds::<M>(),
        ensures
            typed(*r) == perm.content(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        self.storage.borrow::<M>(Tracked(perm))
    }

    /// Lends the metadata to the unique owner.
    #[inline(always)]
    pub(crate) fn meta_unique<'a, M: AnyFrameMeta>(&'a self, Tracked(own): Tracked<&'a UniqueOwn>) -> (r: &'a M)
        requires
            own.of(*self),
            own.perm.storage.holds::<M>(),
        ensures
            typed(*r) == own.perm.content(),
        no_unwind
    {
        self.meta_with::<M>(Tracked(&own.perm.storage))
    }

    /// Lends the metadata to the holder of the permission to it, to be changed.
    #[inline(always)]
    pub(crate) fn meta_mut_with<'a, M: AnyFrameMeta>(
        &'a self,
        Tracked(perm): Tracked<&'a mut StoragePerm>,
    ) -> (r: &'a mut M)
        requires
            old(perm).id() == self.storage_id(),
            old(perm).holds::<M>(),
        ensures
            final(perm).id() == self.storage_id(),
            typed(*r) == old(perm).content(),
            typed(*final(r)) == final(perm).content(),
        opens_invariants none
        no_unwind
    {
        proof { use_type_invariant(self); }
        self.storage.borrow_mut::<M>(Tracked(perm))
    }

    /// Lends the metadata to the unique owner, to be changed.
    #[inline(always)]
    pub(crate) fn meta_mut<'a, M: AnyFrameMeta>(&'a self, own: &'a mut Tracked<UniqueOwn>) -> (r: &'a mut M)
        requires
            old(own)@.of(*self),
            old(own)@.perm.storage.holds::<M>(),
        ensures
            final(own)@.of(*self),
            typed(*r) == old(own)@.perm.content(),
            typed(*final(r)) == final(own)@.perm.content(),
            final(own)@.perm.mark == old(own)@.perm.mark,
            final(own)@.perm.page == old(own)@.perm.page,
        opens_invariants none
        no_unwind
    {
        self.meta_mut_with::<M>(Tracked(&mut own.borrow_mut().perm.storage))
    }

    /// Fills the frame of the unique owner with zeros.
    pub(crate) fn zero(&self, pa: Paddr, own: &mut Tracked<UniqueOwn>)
        requires
            pa == self.pa(),
            old(own)@.of(*self),
        ensures
            final(own)@.of(*self),
            final(own)@.perm.content() == old(own)@.perm.content(),
            final(own)@.perm.zeroed(),
        opens_invariants none
        no_unwind
    {
        // SAFETY: the permission is the unique owner's.
        unsafe { zero(pa, Tracked(&mut own.borrow_mut().perm.page)) };
    }
}

} // verus!
