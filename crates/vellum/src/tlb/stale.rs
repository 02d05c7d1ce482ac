//! What was taken out of a table, kept until no processor translates to it any more.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::protocol::*;
use super::world::*;
use core::mem::ManuallyDrop;
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::MAX_CPUS;
use vstd::prelude::*;

verus! {

/// A value that is lost if it is dropped: its destructor runs for whoever opens it alone.
#[verifier::external_body]
#[verifier::reject_recursive_types(T)]
#[repr(transparent)]
struct Sealed<T>(ManuallyDrop<T>);

impl<T> Sealed<T> {
    #[inline(always)]
    #[verifier::external_body]
    fn new(value: T) -> Sealed<T>
        opens_invariants none
        no_unwind
    {
        Sealed(ManuallyDrop::new(value))
    }

    #[inline(always)]
    #[verifier::external_body]
    fn open(self) -> T
        opens_invariants none
        no_unwind
    {
        ManuallyDrop::into_inner(self.0)
    }
}

/// A value that was taken out of some pages of a space: it comes back to whoever shows that no processor translates to
/// it any more. Dropping it loses it.
///
/// # Guarantees
/// `theorems::what_is_released_is_out_of_reach`
#[must_use = "the value is lost if this is dropped"]
#[verifier::reject_recursive_types(T)]
pub struct Stale<T> {
    item: Sealed<T>,
    gone: Tracked<Caches::gone>,
    held: Tracked<Caches::held>,
}

impl<T> Stale<T> {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        &&& ours(self.gone@.instance_id()) && ours(self.held@.instance_id())
        &&& self.gone@.key() == self.held@.element()
    }

    /// From where it was taken, and by when.
    pub closed spec fn gone(self) -> Gone {
        self.gone@.value()
    }

    /// Seals a value that the caller owns: so the table does no longer.
    #[inline(always)]
    pub(super) fn new(item: T, Ghost(space): Ghost<Sid>, Ghost(pages): Ghost<Pages>, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: (
        Stale<T>,
        Tracked<Caches::stamp>,
    ))
        requires
            ours(stamp.instance_id()),
        ensures
            r.0.gone() == (Gone { space, pages, time: r.1@.element() }),
            ours(r.1@.instance_id()),
            r.1@.element() >= stamp.element(),
        no_unwind
    {
        let w = caches();
        let tracked (_, _, Tracked(now), Tracked(gone), Tracked(held)) = w.instance_ref().retire(space, pages, stamp.element(), stamp);
        (Stale { item: Sealed::new(item), gone: Tracked(gone), held: Tracked(held) }, Tracked(now))
    }

    /// Gives the value back: no processor translates to it, nor will.
    #[inline(always)]
    pub(super) fn release(self, Tracked(clean): Tracked<&Caches::clean>) -> (r: (T, Tracked<Caches::gone>, Tracked<Caches::released>))
        requires
            ours(clean.instance_id()),
            clean.element().settles(self.gone(), MAX_CPUS as nat),
        ensures
            ours(r.1@.instance_id()) && ours(r.2@.instance_id()),
            r.1@.value() == self.gone(),
            r.2@.element() == r.1@.key(),
        no_unwind
    {
        proof {
            use_type_invariant(&self);
        }
        let w = caches();
        let Stale { item, gone: Tracked(gone), held: Tracked(held) } = self;
        let tracked released = w.instance_ref().release(gone.key(), clean.element(), clean, &gone, held);
        (item.open(), Tracked(gone), Tracked(released))
    }
}

} // verus!
