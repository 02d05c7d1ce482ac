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
    /// The value.
    uninterp spec fn view(&self) -> T;

    #[inline(always)]
    #[verifier::external_body]
    fn new(value: T) -> (r: Sealed<T>)
        ensures
            r@ == value,
        opens_invariants none
        no_unwind
    {
        Sealed(ManuallyDrop::new(value))
    }

    /// Private to the module: whoever had the reference could take the value out.
    #[inline(always)]
    #[verifier::external_body]
    fn get_mut(&mut self) -> (r: &mut T)
        ensures
            *r == old(self)@,
            *final(r) == final(self)@,
        opens_invariants none
        no_unwind
    {
        &mut self.0
    }
}

/// A value to which more can be added, to be released with it.
pub(super) trait Gather {
    /// What can be added.
    type Part;

    /// It has the frame at `pa`, to which page `w` may have led.
    spec fn has(self, w: nat, pa: nat) -> bool;

    /// With the part it has the frame at `pa`, to which page `w` may have led.
    spec fn leads(part: Self::Part, w: nat, pa: nat) -> bool;

    /// It has places for as many parts as it has room for.
    spec fn sound(self) -> bool;

    /// What it has room for.
    spec fn room(self) -> nat;

    /// The room that a part takes.
    spec fn size(part: Self::Part) -> nat;

    /// Adds a part, for which there is room.
    fn gather(&mut self, part: Self::Part)
        requires
            old(self).sound() && old(self).room() >= Self::size(part),
        ensures
            final(self).sound(),
            final(self).room() + Self::size(part) == old(self).room(),
            forall|w: nat, pa: nat| #![trigger final(self).has(w, pa)]
                old(self).has(w, pa) || Self::leads(part, w, pa) ==> final(self).has(w, pa),
        no_unwind
    ;

    /// Makes room for `n` parts. False: no memory.
    fn reserve(&mut self, n: usize) -> (r: bool)
        ensures
            old(self).sound() ==> final(self).sound(),
            r ==> final(self).room() >= n,
            forall|w: nat, pa: nat| #[trigger] old(self).has(w, pa) ==> final(self).has(w, pa),
        no_unwind
    ;

    /// Drops all parts.
    fn clear(&mut self)
        ensures
            final(self).sound(),
        no_unwind
    ;
}

/// A value that was taken out of some pages of a space: its parts are dropped for whoever shows that no processor translates
/// to them any more. Dropping it loses them.
///
/// # Guarantees
/// `theorems::what_is_released_is_out_of_reach`
#[must_use = "the parts are lost if this is dropped"]
#[verifier::reject_recursive_types(T)]
pub struct Stale<T> {
    item: Sealed<T>,
    tok: Tracked<StaleTok>,
}

/// What is known of a value that was taken out, the right to release it, and that it was out by now.
tracked struct StaleTok {
    gone: Caches::gone,
    held: Caches::held,
    stamp: Caches::stamp,
}

impl<T> Stale<T> {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        let StaleTok { gone, held, stamp } = self.tok@;
        &&& ours(gone.instance_id()) && ours(held.instance_id()) && ours(stamp.instance_id())
        &&& gone.key() == held.element()
        &&& stamp.element() == gone.value().time
    }

    /// From where it was taken, and by when.
    pub closed spec fn gone(self) -> Gone {
        self.tok@.gone.value()
    }

    /// The value.
    pub(super) closed spec fn value(self) -> T {
        self.item@
    }

    /// Seals a value that the caller owns: so the table does no longer.
    #[inline(always)]
    pub(super) fn new(item: T, Ghost(space): Ghost<Sid>, Ghost(pages): Ghost<Pages>) -> (r: Stale<T>)
        ensures
            r.gone() == (Gone { space, pages, time: r.gone().time }),
            r.value() == item,
        no_unwind
    {
        let w = caches();
        let tracked (_, Tracked(stamp)) = w.instance_ref().look_at_clock();
        let tracked (_, _, Tracked(stamp), Tracked(gone), Tracked(held)) = w.instance_ref().retire(space, pages, stamp.element(), &stamp);
        Stale { item: Sealed::new(item), tok: Tracked(StaleTok { gone, held, stamp }) }
    }

    /// Adds what the caller owns and was taken out of these pages: all of it had been taken out by now.
    #[inline(always)]
    pub(super) fn gather(&mut self, part: T::Part, Ghost(pages): Ghost<Pages>) where T: Gather
        requires
            old(self).value().sound() && old(self).value().room() >= T::size(part),
        ensures
            final(self).value().sound(),
            final(self).value().room() + T::size(part) == old(self).value().room(),
            final(self).gone() == (Gone { pages: old(self).gone().pages.union(pages), time: final(self).gone().time, ..old(self).gone() }),
            forall|w: nat, pa: nat| #![trigger final(self).value().has(w, pa)]
                old(self).value().has(w, pa) || T::leads(part, w, pa) ==> final(self).value().has(w, pa),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        let w = caches();
        let ghost gone = self.gone();
        let tracked (_, _, Tracked(stamp), Tracked(gone), Tracked(held)) = w.instance_ref().retire(
            gone.space,
            gone.pages.union(pages),
            gone.time,
            &self.tok.borrow().stamp,
        );
        self.item.get_mut().gather(part);
        self.tok = Tracked(StaleTok { gone, held, stamp });
    }

    /// Makes room for `n` parts. False: no memory.
    pub(super) fn reserve(&mut self, n: usize) -> (r: bool) where T: Gather
        ensures
            final(self).gone() == old(self).gone(),
            old(self).value().sound() ==> final(self).value().sound(),
            r ==> final(self).value().room() >= n,
            forall|w: nat, pa: nat| #[trigger] old(self).value().has(w, pa) ==> final(self).value().has(w, pa),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        self.item.get_mut().reserve(n)
    }

    /// When it had been taken out.
    pub(super) proof fn time(tracked &self) -> (tracked r: &Caches::stamp)
        ensures
            ours(r.instance_id()) && r.element() == self.gone().time,
    {
        use_type_invariant(self);
        &self.tok.borrow().stamp
    }

    /// Releases all that was gathered: no processor translates to it, nor will. What is left was taken out of no page.
    #[inline(always)]
    pub(super) fn clear(&mut self, Tracked(clean): Tracked<&Caches::clean>) where T: Gather
        requires
            ours(clean.instance_id()),
            clean.element().settles(old(self).gone(), MAX_CPUS as nat),
        ensures
            final(self).gone() == (Gone { pages: ISet::empty(), time: final(self).gone().time, ..old(self).gone() }),
            final(self).value().sound(),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        let w = caches();
        let ghost all = self.gone();
        let tracked (_, _, Tracked(stamp), Tracked(gone), Tracked(held)) = w.instance_ref().retire(
            all.space,
            ISet::empty(),
            all.time,
            &self.tok.borrow().stamp,
        );
        let tracked mut tok = StaleTok { gone, held, stamp };
        proof {
            vstd::modes::tracked_swap(self.tok.borrow_mut(), &mut tok);
        }
        let tracked StaleTok { gone, held, stamp: _ } = tok;
        let tracked _ = w.instance_ref().release(gone.key(), clean.element(), clean, &gone, held);
        // What was kept is dropped here, and nowhere else.
        self.item.get_mut().clear();
    }
}

} // verus!
