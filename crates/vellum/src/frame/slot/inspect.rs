//! Looking at metadata whose type is not known, and at whether there are any.
use super::super::protocol::*;
use super::super::vtable::*;
use super::*;
use vstd::prelude::*;

verus! {

impl MetaSlot {
    /// Tells whether there is metadata that a handle can reach, at some moment during the call.
    #[inline(always)]
    pub(crate) fn is_initialized(&self) -> bool {
        let count = self.ref_count();
        count != REF_COUNT_UNUSED && count != REF_COUNT_BUSY
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
}

} // verus!
