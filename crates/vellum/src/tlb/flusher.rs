//! One change of one table, as other processors see it.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
use super::active::ActiveSet;
use super::audience::Audience;
#[cfg(verus_keep_ghost)]
use super::audience::page_number;
use super::op::TlbFlushOp;
use super::pile::Kept;
use super::work::Work;
use crate::page_table::hoard::FEW;
#[cfg(verus_keep_ghost)]
use crate::page_table::user::lemma_user_base;
#[cfg(verus_keep_ghost)]
use crate::page_table::{NativeEntry, NativeShape};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::Change;
use vellum_machine::halt::halt;
use vellum_machine::owned::Owned;
use vstd::prelude::*;

verus! {

/// A flush that somebody still has to decide about.
///
/// The flusher it came from remembers it too: what is neither [paid](TlbFlusher::pay) nor
/// [waived](TlbFlusher::waive) there is flushed when that flusher is dropped.
#[must_use = "stale translations may be used until this is paid, or the cursor is dropped"]
#[verifier::external_derive]
#[derive(PartialEq, Eq, Debug)]
pub struct FlushOwed {
    range: Range<Vaddr>,
}

impl FlushOwed {
    /// The addresses whose translations may be stale.
    pub closed spec fn addresses(self) -> Range<Vaddr> {
        self.range
    }

    /// Returns the addresses whose translations may be stale.
    pub fn range(&self) -> Range<Vaddr> {
        self.range.start..self.range.end
    }
}

/// That every processor has flushed what was gathered through a cursor; the cursor is gone.
#[must_use = "nothing has to be done with it: `let _ =` says so"]
#[verifier::external_derive]
#[derive(Debug)]
pub struct Flushed(());

/// What a flusher works on; it belongs to the changes of one table, and stays with them.
///
/// Dropping it flushes what was issued or is owed, waits for every answer, and releases what was kept.
pub struct Shootdown<A: Audience> {
    work: Owned<Work<A>>,
    not_send: PhantomData<*mut ()>,
}

impl<A: Audience> Shootdown<A> {
    /// The root of the table.
    pub closed spec fn root(self) -> nat {
        self.work@.audience().root()
    }

    /// It keeps the frame at `pa`, and releases it when no processor translates page `w` of the table's space by what it
    /// had read before the frame was handed over: `theorems::what_is_released_is_out_of_reach`.
    pub closed spec fn keeps(self, w: nat, pa: nat) -> bool {
        self.work@.keeps(w, pa)
    }

    /// Items that there is room for.
    pub closed spec fn room(self) -> nat {
        self.work@.room()
    }

    /// Page `w` is among those that are to be flushed.
    pub closed spec fn gathers(self, w: nat) -> bool {
        self.work@.has(page_number::<A::Config>(w))
    }

    /// It is of the same table, and keeps and gathers what it did.
    pub open spec fn keeps_on(self, o: Self) -> bool {
        &&& self.root() == o.root()
        &&& forall|w: nat| #[trigger] o.gathers(w) ==> self.gathers(w)
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> self.keeps(w, pa)
    }

    /// Makes one for the table of which `audience` may have translations.
    #[inline(always)]
    pub(crate) fn new(audience: A) -> (r: Shootdown<A>)
        ensures
            r.root() == audience.root(),
            r.room() == FEW,
        no_unwind
    {
        Shootdown { work: Owned::new(Work::new(audience)), not_send: PhantomData }
    }

    /// Gathers an operation.
    pub(crate) fn issue(&mut self, op: TlbFlushOp)
        ensures
            final(self).keeps_on(*old(self)),
            forall|w: nat| op.pages().contains(page_number::<A::Config>(w)) ==> #[trigger] final(self).gathers(w),
    {
        self.work.get_mut().issue(&op);
    }

    /// Gathers an operation, and keeps what was taken out of its pages by `change`.
    ///
    /// For items, after [`reserve`](Self::reserve).
    #[inline(always)]
    pub(crate) fn keep(&mut self, op: TlbFlushOp, kept: Kept<A::Config>, change: Change)
        requires
            old(self).room() >= kept.size(),
        ensures
            final(self).room() + kept.size() == old(self).room(),
            final(self).keeps_on(*old(self)),
            forall|w: nat, pa: nat| #[trigger]
                kept.leads(w, pa) && op.pages().contains(page_number::<A::Config>(w)) ==> final(self).keeps(w, pa),
    {
        self.work.get_mut().keep(&op, kept, change);
    }

    /// [`keep`](Self::keep), with room made for it. Nothing was gathered where there is no memory for that.
    #[inline(always)]
    #[expect(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
    fn offer(&mut self, op: TlbFlushOp, kept: Kept<A::Config>) -> (r: Result<(), Kept<A::Config>>)
        ensures
            final(self).keeps_on(*old(self)),
            r matches Err(k) ==> k == kept,
            r is Ok ==> forall|w: nat, pa: nat| #[trigger]
                kept.leads(w, pa) && op.pages().contains(page_number::<A::Config>(w)) ==> final(self).keeps(w, pa),
    {
        let ghost o = *self;
        if let Kept::Item(_) = &kept {
            if !self.reserve(1) {
                return Err(kept);
            }
        }
        let ghost mid = *self;
        self.keep(op, kept, Change::Store);
        proof {
            self.lemma_keeps_on(mid, o);
        }
        Ok(())
    }

    /// What goes on after it went on goes on.
    proof fn lemma_keeps_on(self, b: Self, a: Self)
        requires
            self.keeps_on(b),
            b.keeps_on(a),
        ensures
            self.keeps_on(a),
    {
        assert forall|w: nat, pa: nat| #[trigger] a.keeps(w, pa) implies self.keeps(w, pa) by {
            assert(b.keeps(w, pa));
        }
        assert forall|w: nat| #[trigger] a.gathers(w) implies self.gathers(w) by {
            assert(b.gathers(w));
        }
    }

    /// Makes room to keep `n` items more. Never waits; `false` says that there is no memory.
    #[must_use]
    #[inline(always)]
    pub(crate) fn reserve(&mut self, n: usize) -> (r: bool)
        ensures
            final(self).keeps_on(*old(self)),
            r ==> final(self).room() >= n,
    {
        self.work.get_mut().reserve(n)
    }

    /// Notes that a change of `range` was made without a flush.
    pub(crate) fn owe(&mut self, range: Range<Vaddr>) -> (r: FlushOwed)
        ensures
            final(self).keeps_on(*old(self)),
            r.addresses() == range,
    {
        self.work.get_mut().owe(&range);
        FlushOwed { range }
    }

    /// Issues a flush that is owed.
    pub(crate) fn pay(&mut self, owed: FlushOwed)
        ensures
            final(self).keeps_on(*old(self)),
            forall|w: nat|
                TlbFlushOp::Range(owed.addresses()).pages().contains(page_number::<A::Config>(w)) ==> #[trigger] final(self).gathers(w),
    {
        let work = self.work.get_mut();
        work.forget_owed(&owed.range);
        work.issue(&TlbFlushOp::Range(owed.range));
    }

    /// Lets a flush that is owed be.
    pub(crate) fn waive(&mut self, owed: FlushOwed)
        ensures
            final(self).keeps_on(*old(self)),
    {
        self.work.get_mut().forget_owed(&owed.range);
    }

    /// Dispatches unless that would wait, and says whether nothing is left to dispatch.
    pub(crate) fn try_dispatch(&mut self) -> bool
        ensures
            final(self).keeps_on(*old(self)),
    {
        self.work.get_mut().try_dispatch()
    }

    /// Dispatches what is left or owed, waits until every processor has answered, and releases what was kept.
    ///
    /// For who holds no lock.
    pub(crate) fn finish(self) -> Flushed {
        let mut shootdown = self;
        shootdown.work.get_mut().finish();
        // Its destructor finds nothing left to do.
        Flushed(())
    }

}

/// The shootdown of changes of a space, once there is something to flush or to keep: most cursors take nothing out.
pub struct Flushing<'a> {
    active: &'a ActiveSet,
    shootdown: Option<Shootdown<&'a ActiveSet>>,
}

impl<'a> Flushing<'a> {
    /// The root of the table.
    pub closed spec fn root(self) -> nat {
        match self.shootdown {
            Some(shootdown) => shootdown.root(),
            None => ActiveSet::root(*self.active),
        }
    }

    /// As [`Shootdown::keeps`].
    pub closed spec fn keeps(self, w: nat, pa: nat) -> bool {
        self.shootdown matches Some(shootdown) && shootdown.keeps(w, pa)
    }

    /// As [`Shootdown::gathers`].
    pub closed spec fn gathers(self, w: nat) -> bool {
        self.shootdown matches Some(shootdown) && shootdown.gathers(w)
    }

    /// As [`Shootdown::keeps_on`].
    pub open spec fn keeps_on(self, o: Self) -> bool {
        &&& self.root() == o.root()
        &&& forall|w: nat| #[trigger] o.gathers(w) ==> self.gathers(w)
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> self.keeps(w, pa)
    }

    /// Items that there is room for.
    pub closed spec fn room(self) -> nat {
        match self.shootdown {
            Some(shootdown) => shootdown.room(),
            None => FEW as nat,
        }
    }

    /// It is `shootdown`.
    pub open spec fn is(self, shootdown: Shootdown<&'a ActiveSet>) -> bool {
        &&& self.root() == shootdown.root()
        &&& forall|w: nat| #[trigger] self.gathers(w) <==> shootdown.gathers(w)
        &&& forall|w: nat, pa: nat| #[trigger] self.keeps(w, pa) <==> shootdown.keeps(w, pa)
    }

    /// Makes one for a space.
    #[inline(always)]
    pub(crate) fn new(active: &'a ActiveSet) -> (r: Self)
        ensures
            r.root() == active.root(),
    {
        Flushing { active, shootdown: None }
    }

    /// The shootdown, which there is from now on.
    #[inline(always)]
    pub(crate) fn get(&mut self) -> (r: &mut Shootdown<&'a ActiveSet>)
        ensures
            r.root() == old(self).root(),
            r.room() == old(self).room(),
            forall|w: nat| #[trigger] old(self).gathers(w) ==> r.gathers(w),
            forall|w: nat, pa: nat| #[trigger] old(self).keeps(w, pa) ==> r.keeps(w, pa),
            final(self).is(*final(r)),
        no_unwind
    {
        if self.shootdown.is_none() {
            return self.begin();
        }
        match &mut self.shootdown {
            Some(shootdown) => shootdown,
            None => halt("what was there is gone"),
        }
    }

    /// The shootdown from now on: it is made in its place.
    #[inline(never)]
    fn begin(&mut self) -> (r: &mut Shootdown<&'a ActiveSet>)
        requires
            old(self).shootdown is None,
        ensures
            r.root() == old(self).root(),
            r.room() == FEW,
            final(self).is(*final(r)),
        no_unwind
    {
        if self.shootdown.is_none() {
            self.shootdown = Some(Shootdown::new(self.active));
        }
        match &mut self.shootdown {
            Some(shootdown) => shootdown,
            None => halt("what was put there is gone"),
        }
    }

    /// As [`Shootdown::reserve`].
    #[must_use]
    #[inline(always)]
    pub(crate) fn reserve(&mut self, n: usize) -> (r: bool)
        ensures
            final(self).keeps_on(*old(self)),
            r ==> final(self).room() >= n,
    {
        match &mut self.shootdown {
            Some(shootdown) => shootdown.reserve(n),
            None => n <= FEW,
        }
    }

    /// As [`Shootdown::finish`].
    pub(crate) fn finish(self) -> Flushed {
        match self.shootdown {
            Some(shootdown) => shootdown.finish(),
            None => Flushed(()),
        }
    }
}

impl<'a> Shootdown<&'a ActiveSet> {
    /// Lends the handle.
    pub(crate) fn flusher<'c>(&'c mut self) -> (r: TlbFlusher<'c, 'a>)
        ensures
            r.now() == *old(self),
            r.left() == *final(self),
    {
        TlbFlusher { shootdown: self }
    }
}

/// Gathers what is to be flushed after changes of one table, has it flushed, and keeps meanwhile what must
/// not go.
///
/// Lent by the cursor that makes the changes. More than [`FOLD_LIMIT`](super::FOLD_LIMIT) pages, or
/// [`RUN_LIMIT`](super::RUN_LIMIT) runs of adjacent ones, are folded into all. When the cursor is dropped, what was issued or is owed is flushed, every answer is waited for,
/// and what was kept is released. Nothing waits for an answer before, for the cursor's range is locked. What is kept needs
/// no heap: nodes are linked through their own metadata, and more than a few items go into frames that are got before
/// anything is changed.
///
/// # Guarantees
/// Nothing that was kept is released before every processor that could translate to it has flushed:
/// `theorems::what_is_released_is_out_of_reach`.
// A handle, not the owner: two owners could be swapped, and then flush the wrong table.
pub struct TlbFlusher<'c, 'a> {
    shootdown: &'c mut Shootdown<&'a ActiveSet>,
}

impl<'a> TlbFlusher<'_, 'a> {
    /// What it is a handle of.
    pub closed spec fn now(self) -> Shootdown<&'a ActiveSet> {
        *self.shootdown
    }

    /// What it leaves behind when it goes.
    #[verifier::prophetic]
    pub closed spec fn left(self) -> Shootdown<&'a ActiveSet> {
        *final(self.shootdown)
    }

    /// It is a handle of the same, which keeps and gathers what it did.
    #[verifier::prophetic]
    pub open spec fn goes_on(self, o: Self) -> bool {
        self.left() == o.left() && self.now().keeps_on(o.now())
    }

    /// Gathers an operation; nothing is flushed yet.
    pub fn issue(&mut self, op: TlbFlushOp)
        ensures
            final(self).goes_on(*old(self)),
    {
        self.shootdown.issue(op);
    }

    /// Issues a flush that is owed.
    pub fn pay(&mut self, owed: FlushOwed)
        ensures
            final(self).goes_on(*old(self)),
            forall|w: nat| #[trigger]
                TlbFlushOp::Range(owed.addresses()).pages().contains(w) ==> final(self).now().gathers(w),
    {
        proof {
            lemma_user_base::<NativeShape, NativeEntry<NativeShape>>();
        }
        self.shootdown.pay(owed);
    }

    /// Lets a flush that is owed be.
    ///
    /// For changes that only widen what is allowed: processors that still have the old translation fault once
    /// more than needed, and the fault finds the new entry. After a change that takes a right away,
    /// processors may go on using it until they flush for another reason.
    pub fn waive(&mut self, owed: FlushOwed)
        ensures
            final(self).goes_on(*old(self)),
    {
        self.shootdown.waive(owed);
    }

    /// Flushes what was gathered on this processor, and asks the others on which the table is active, unless an
    /// earlier request of this processor is not answered yet. Says whether nothing is left to dispatch.
    ///
    /// Does not wait. Flushes that are owed stay owed.
    pub fn dispatch(&mut self) -> bool
        ensures
            final(self).goes_on(*old(self)),
    {
        self.shootdown.try_dispatch()
    }
}

} // verus!

impl TlbFlusher<'_, '_> {
    /// Gathers an operation, and keeps what was reachable through the old entry until every processor has
    /// flushed.
    ///
    /// # Errors
    /// The value comes back, and nothing was gathered: there is no frame to keep more than a few items in.
    #[cfg_attr(verus_keep_ghost, verifier::external)]
    pub fn issue_with(&mut self, op: TlbFlushOp, kept: impl Into<Kept>) -> Result<(), Kept> {
        self.shootdown.offer(op, kept.into())
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for TlbFlusher<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (audience, owed) = self.shootdown.work.get().shown();
        f.debug_struct("TlbFlusher")
            .field("active", &audience.members())
            .field("owed", &owed)
            .finish_non_exhaustive()
    }
}
