//! What a flusher does: it gathers, keeps, dispatches, waits and releases.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::audience::Audience;
#[cfg(verus_keep_ghost)]
use super::audience::page_number;
use super::op::{Batch, TlbFlushOp};
use super::pile::{Kept, Pile};
use super::protocol::*;
use super::request::*;
#[cfg(verus_keep_ghost)]
use super::stale::Gather;
use super::stale::Stale;
use super::statistics::{Event, count};
use super::world::*;
use crate::page_table::PageTableConfig;
use crate::page_table::hoard::FEW;
use core::ops::Range;
use vellum_machine::addr::Vaddr;
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::MAX_CPUS;
use vellum_machine::cpu::{self, Change, CpuId, CpuSet, PreemptGuard};
use vellum_machine::owned::Release;
use vstd::prelude::*;

verus! {

/// Flushes owed that are remembered one by one.
const OWED_INLINE: usize = 2;

/// What was dispatched.
struct Sent {
    /// The request, if there was one.
    ticket: Option<Ticket>,
    /// What is known of the processors that were not asked.
    rest: Tracked<Caches::clean>,
}

/// These facts are of the same pages of one space, and as old.
spec fn alike(a: Clean, b: Clean) -> bool {
    a == Clean { cpus: a.cpus, ..b }
}

impl Sent {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        let rest = self.rest@.element();
        &&& ours(self.rest@.instance_id())
        &&& self.ticket matches Some(t) ==> alike(t.ask().answers(), rest)
        &&& forall|c: Cpu| c < MAX_CPUS ==> #[trigger] rest.cpus.contains(c) || (self.ticket matches Some(t) && t.ask().targets.contains(c))
    }

    /// What will be known of all processors.
    spec fn about(self) -> Clean {
        self.rest@.element()
    }

    /// What is known of all processors, if each has answered.
    #[inline]
    fn answer(&self) -> (r: Option<Tracked<Caches::clean>>)
        ensures
            r matches Some(f) ==> {
                &&& ours(f@.instance_id())
                &&& alike(f@.element(), self.about())
                &&& forall|c: Cpu| c < MAX_CPUS ==> #[trigger] f@.element().cpus.contains(c)
            },
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        let ghost rest = self.rest@.element();
        match &self.ticket {
            None => {
                let tracked f = self.rest.borrow().clone();
                Some(Tracked(f))
            },
            Some(ticket) => {
                let Tracked(asked) = ticket.answer()?;
                let ghost a = asked.element();
                let ghost r = Clean { cpus: a.cpus.union(rest.cpus), ..rest };
                let w = caches();
                let tracked f = w.instance_ref().join(a, rest, r, &asked, self.rest.borrow());
                Some(Tracked(f))
            },
        }
    }
}

/// What a flusher works on, with what it keeps.
///
/// Nothing is released but by [`release_kept`](Self::release_kept), which wants to be shown that no processor translates to
/// it any more.
pub(super) struct Work<A: Audience> {
    audience: A,
    gathered: Batch,
    operations: u64,
    /// What was dispatched last.
    sent: Option<Sent>,
    /// Nothing was gathered since.
    covered: bool,
    /// How what was gathered since was changed.
    change: Change,
    owed: [(usize, usize); OWED_INLINE],
    nr_owed: usize,
    /// What is kept, or room for it.
    kept: Option<Stale<Pile<A::Config>>>,
}

impl<A: Audience> Work<A> {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        &&& self.nr_owed <= OWED_INLINE
        &&& self.kept matches Some(k) ==> self.awaits(k.gone()) && k.value().sound()
        &&& self.covered ==> (self.sent matches Some(s) && self.suffices(s.about()))
    }

    /// It keeps the frame at `pa`, and releases it when every processor has flushed page `w` of the table.
    pub(super) closed spec fn keeps(self, w: nat, pa: nat) -> bool {
        self.kept matches Some(k) && k.gone().pages.contains(page_number::<A::Config>(w)) && k.value().has(w, pa)
    }

    /// Who may have translations of the table.
    pub(super) closed spec fn audience(self) -> A {
        self.audience
    }

    /// The flush of page `p` was gathered.
    pub(super) closed spec fn has(self, p: nat) -> bool {
        self.gathered.all().contains(p)
    }

    /// Items that there is room for.
    pub(super) closed spec fn room(self) -> nat {
        match self.kept {
            Some(k) => k.value().room(),
            None => FEW as nat,
        }
    }

    /// It is of the same space, and keeps and gathers what it did.
    pub(super) open spec fn keeps_on(self, o: Self) -> bool {
        &&& self.audience() == o.audience()
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> self.keeps(w, pa)
        &&& forall|p: nat| #[trigger] o.has(p) ==> self.has(p)
    }

    /// What is gathered covers what is gone.
    spec fn awaits(self, g: Gone) -> bool {
        &&& g.space == self.audience.space()
        &&& forall|p: nat| #[trigger] g.pages.contains(p) ==> self.gathered.all().contains(p)
    }

    /// What is dispatched covers what is gathered, and came after what is kept.
    spec fn suffices(self, f: Clean) -> bool {
        &&& f.space == self.audience.space()
        &&& self.kept matches Some(k) ==> f.time >= k.gone().time
        &&& forall|p: nat| #[trigger] self.gathered.all().contains(p) ==> f.pages.contains(p)
    }

    #[inline(always)]
    pub(super) fn new(audience: A) -> (r: Self)
        ensures
            r.audience() == audience,
            r.room() == FEW,
        no_unwind
    {
        Work {
            audience,
            gathered: Batch::new(),
            operations: 0,
            sent: None,
            covered: false,
            change: Change::Exchange,
            owed: [(0, 0), (0, 0)],
            nr_owed: 0,
            kept: None,
        }
    }

    /// Gathers an operation.
    #[inline(always)]
    pub(super) fn issue(&mut self, op: &TlbFlushOp)
        ensures
            final(self).keeps_on(*old(self)),
            forall|p: nat| #[trigger] op.pages().contains(p) ==> final(self).has(p),
        no_unwind
    {
        self.add(op, Change::Store);
    }

    #[inline(always)]
    fn add(&mut self, op: &TlbFlushOp, change: Change)
        ensures
            forall|p: nat| #[trigger] op.pages().contains(p) ==> final(self).gathered.all().contains(p),
            forall|p: nat| #[trigger] old(self).gathered.all().contains(p) ==> final(self).gathered.all().contains(p),
            final(self).audience == old(self).audience,
            final(self).kept == old(self).kept,
            !final(self).covered,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        self.covered = false;
        if matches!(change, Change::Store) {
            self.change = Change::Store;
        }
        self.operations = self.operations.wrapping_add(1);
        let ghost before = *self;
        self.gathered.add(op);
    }

    /// Its audience, and how many flushes are owed: to be shown.
    pub(super) fn shown(&self) -> (&A, usize) {
        (&self.audience, self.nr_owed)
    }

    /// Seals what was taken out of the pages of `op` by `change`, and keeps it. The caller has made room.
    // Inlined as far as the caller: what is kept is a word in the end, and is not to be put together and copied before.
    #[inline(always)]
    pub(super) fn keep(&mut self, op: &TlbFlushOp, kept: Kept<A::Config>, change: Change)
        requires
            old(self).room() >= kept.size(),
        ensures
            final(self).room() + kept.size() == old(self).room(),
            final(self).keeps_on(*old(self)),
            forall|w: nat, pa: nat| #[trigger]
                kept.leads(w, pa) && op.pages().contains(page_number::<A::Config>(w)) ==> final(self).keeps(w, pa),
        no_unwind
    {
        self.add(op, change);
        self.seal();
        proof {
            use_type_invariant(&*self);
        }
        gather(&mut self.kept, kept, Ghost(op.pages()));
    }

    /// Has something to keep things in.
    #[inline(always)]
    fn seal(&mut self)
        ensures
            final(self).kept is Some,
            old(self).kept is Some ==> final(self).kept == old(self).kept,
            final(self).room() == old(self).room(),
            final(self).audience == old(self).audience,
            final(self).gathered == old(self).gathered,
            final(self).covered ==> old(self).covered,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.kept.is_none() {
            let ghost space = self.audience.space();
            self.covered = false;
            self.kept = Some(Stale::new(Pile::new(), Ghost(space), Ghost(ISet::empty())));
        }
    }

    /// Makes room to keep `n` items. False: no memory.
    #[inline(always)]
    pub(super) fn reserve(&mut self, n: usize) -> (r: bool)
        ensures
            final(self).keeps_on(*old(self)),
            r ==> final(self).room() >= n,
        no_unwind
    {
        if self.kept.is_none() && n <= FEW {
            return true;
        }
        self.seal();
        proof {
            use_type_invariant(&*self);
        }
        reserve(&mut self.kept, n)
    }

    /// Dispatches if that needs no waiting, and releases what is kept if every processor has answered.
    fn try_settle(&mut self) -> bool {
        if self.gathered.is_empty() {
            self.release_unsaid();
            return true;
        }
        self.try_dispatch() && self.try_release()
    }

    /// Releases what is kept where nothing was gathered: it was taken out of no page.
    fn release_unsaid(&mut self)
        requires
            old(self).gathered.is_none(),
    {
        proof {
            use_type_invariant(&*self);
            self.gathered.lemma_none();
        }
        let w = caches();
        let Tracked(now) = self.now();
        let ghost all = Clean { cpus: ISet::full(), space: self.audience.space(), pages: ISet::empty(), time: now.element() };
        let tracked fact = w.instance_ref().nothing(all, &now);
        self.release_kept(Tracked(fact));
    }

    /// Flushes here, and has the others flush that may have translations of the table, unless that would wait for the answers to an
    /// earlier request. Says whether nothing is left to dispatch.
    #[inline(always)]
    pub(super) fn try_dispatch(&mut self) -> bool
        ensures
            final(self).keeps_on(*old(self)),
    {
        self.covered || self.gathered.is_empty() || self.dispatch()
    }

    /// [`try_dispatch`](Self::try_dispatch), where there is something to dispatch.
    fn dispatch(&mut self) -> bool
        ensures
            final(self).keeps_on(*old(self)),
    {
        let guard = cpu::disable_preempt();
        let me = cpu::here(&guard);
        if !caches().is_free(me) {
            return false;
        }
        self.dispatch_from(&guard, me)
    }

    /// A time after what is kept had been taken out.
    fn now(&self) -> (r: Tracked<Caches::stamp>)
        ensures
            ours(r@.instance_id()),
            self.kept matches Some(k) ==> r@.element() >= k.gone().time,
        no_unwind
    {
        let w = caches();
        let tracked stamp;
        proof {
            if self.kept is Some {
                stamp = self.kept.tracked_borrow().time().clone();
            } else {
                let tracked (_, Tracked(now)) = w.instance_ref().look_at_clock();
                stamp = now;
            }
        }
        Tracked(stamp)
    }

    fn dispatch_from(&mut self, here: &PreemptGuard, me: CpuId) -> bool
        requires
            me.number() == here.cpu(),
        ensures
            final(self).keeps_on(*old(self)),
    {
        proof {
            use_type_invariant(&*self);
        }
        count(here, Event::Operation, self.operations);
        if self.gathered.is_everything() {
            count(here, Event::Folded, 1);
        }
        self.operations = 0;
        let ghost s = self.audience.space();
        // The fence in `observe` comes after the change of the table: see the module.
        let Tracked(stamp) = self.now();
        let (active, Tracked(absent)) = self.audience.observe(self.change, Tracked(&stamp));
        self.change = Change::Exchange;
        let ghost pages = self.gathered.all();
        let ghost mut rest = Clean { pages, ..absent.element() };
        let w = caches();
        let tracked mut fact = w.instance_ref().join(absent.element(), absent.element(), rest, &absent, &absent);
        if active.contains(me) {
            let Tracked(mine) = flush_batch(here, me, &self.gathered, Ghost(s), Tracked(&stamp));
            count(here, Event::LocalFlush, 1);
            proof {
                let both = Clean { cpus: rest.cpus.union(only(me.number())), ..rest };
                fact = w.instance_ref().join(rest, mine.element(), both, &fact, &mine);
                rest = both;
            }
        }
        let others = active.difference(CpuSet::single(me));
        let ghost known = rest.cpus;
        proof {
            assert forall|c: Cpu| c < MAX_CPUS implies #[trigger] known.contains(c) || others.has(c) by {
                assert(absent.element().cpus.contains(c) <==> !active.has(c));
            }
        }
        let mut ticket = None;
        if !others.is_empty() && !suppressed(here) {
            match self.audience.fence_others(here, others, Tracked(&stamp)) {
                Some(fenced) => {
                    let Tracked(fenced) = fenced;
                    count(here, Event::RemoteFence, 1);
                    proof {
                        let both = Clean { cpus: rest.cpus.union(fenced.element().cpus), ..rest };
                        fact = w.instance_ref().join(rest, fenced.element(), both, &fact, &fenced);
                        assert forall|c: Cpu| #[trigger] others.has(c) implies both.cpus.contains(c) by {
                            assert(fenced.element().cpus.contains(c));
                        }
                        rest = both;
                    }
                },
                None => {
                    count(here, Event::Request, others.len() as u64);
                    ticket = send(here, me, &self.gathered, others, Ghost(s), Tracked(&stamp));
                    if ticket.is_none() {
                        return false;
                    }
                },
            }
        }
        proof {
            assert forall|c: Cpu| c < MAX_CPUS implies #[trigger] rest.cpus.contains(c) || (ticket is Some && others.has(c)) by {
                assert(others.has(c) || known.contains(c));
            }
        }
        self.sent = Some(Sent { ticket, rest: Tracked(fact) });
        self.covered = true;
        true
    }

    /// Releases what is kept, if it was dispatched and every processor has answered. Says whether nothing is kept.
    fn try_release(&mut self) -> bool {
        proof {
            use_type_invariant(&*self);
        }
        if !self.covered {
            return self.gathered.is_empty();
        }
        let answer = match &self.sent {
            Some(sent) => sent.answer(),
            None => None,
        };
        match answer {
            None => false,
            Some(clean) => {
                self.release_kept(clean);
                true
            },
        }
    }

    /// Releases what is kept: no processor translates to it.
    fn release_kept(&mut self, clean: Tracked<Caches::clean>)
        requires
            ours(clean@.instance_id()),
            old(self).suffices(clean@.element()),
            forall|c: Cpu| c < MAX_CPUS ==> #[trigger] clean@.element().cpus.contains(c),
        ensures
            final(self).kept is None,
    {
        proof {
            use_type_invariant(&*self);
        }
        self.covered = false;
        self.sent = None;
        release(&mut self.kept, Tracked(clean.borrow()));
        self.kept = None;
        self.gathered.clear();
    }

    /// Notes that a change of `range` was made without a flush.
    pub(super) fn owe(&mut self, range: &Range<Vaddr>)
        ensures
            final(self).keeps_on(*old(self)),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.nr_owed == OWED_INLINE {
            self.issue_owed();
        }
        proof {
            use_type_invariant(&*self);
        }
        let n = self.nr_owed;
        if n < OWED_INLINE {
            self.owed[n] = (range.start.0, range.end.0);
            self.nr_owed = n + 1;
        }
    }

    pub(super) fn forget_owed(&mut self, owed: &Range<Vaddr>)
        ensures
            final(self).keeps_on(*old(self)),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        let mut n = 0;
        while n < self.nr_owed
            invariant
                self.wf(),
                self.keeps_on(*old(self)),
            decreases self.nr_owed - n,
        {
            let (start, end) = self.owed[n];
            if start == owed.start.0 && end == owed.end.0 {
                let last = self.nr_owed - 1;
                self.owed[n] = self.owed[last];
                self.nr_owed = last;
                return ;
            }
            n += 1;
        }
    }

    fn issue_owed(&mut self)
        ensures
            final(self).keeps_on(*old(self)),
        no_unwind
    {
        let mut n = 0;
        proof {
            use_type_invariant(&*self);
        }
        while n < OWED_INLINE
            invariant
                self.wf(),
                self.keeps_on(*old(self)),
            decreases OWED_INLINE - n,
        {
            if n < self.nr_owed {
                let (start, end) = self.owed[n];
                self.add(&TlbFlushOp::Range(Vaddr(start)..Vaddr(end)), Change::Store);
                proof {
                    use_type_invariant(&*self);
                }
            }
            n += 1;
        }
        self.nr_owed = 0;
    }

    /// Dispatches what is left, waits until every processor has answered, and releases what was kept.
    #[verifier::exec_allows_no_decreases_clause]
    pub(super) fn finish(&mut self) {
        self.issue_owed();
        loop {
            if self.try_settle() {
                return ;
            }
            cpu::relax();
        }
    }
}

/// Adds to what is kept, if there is something to add to.
#[inline(always)]
fn gather<C: PageTableConfig>(kept: &mut Option<Stale<Pile<C>>>, part: Kept<C>, Ghost(pages): Ghost<Pages>)
    requires
        *old(kept) matches Some(k) ==> k.value().sound() && k.value().room() >= part.size(),
    ensures
        *old(kept) is None ==> *final(kept) is None,
        *old(kept) matches Some(k) ==> (*final(kept) matches Some(k2) && {
            &&& k2.gone().space == k.gone().space
            &&& k2.gone().pages == k.gone().pages.union(pages)
            &&& k2.value().sound()
            &&& k2.value().room() + part.size() == k.value().room()
            &&& forall|w: nat, pa: nat| #![trigger k2.value().has(w, pa)] k.value().has(w, pa) || part.leads(w, pa) ==> k2.value().has(w, pa)
        }),
    no_unwind
{
    if let Some(stale) = kept {
        stale.gather(part, Ghost(pages));
    }
}

/// Releases what is kept there.
#[inline(always)]
fn release<C: PageTableConfig>(kept: &mut Option<Stale<Pile<C>>>, Tracked(clean): Tracked<&Caches::clean>)
    requires
        ours(clean.instance_id()),
        *old(kept) matches Some(k) ==> clean.element().settles(k.gone(), MAX_CPUS as nat),
    ensures
        *final(kept) matches Some(k) ==> (*old(kept) matches Some(k0) && k.gone().space == k0.gone().space && k.gone().pages
            =~= ISet::empty() && k.value().sound()),
    no_unwind
{
    if let Some(stale) = kept {
        stale.clear(Tracked(clean));
    }
}

/// Makes room there.
fn reserve<C: PageTableConfig>(kept: &mut Option<Stale<Pile<C>>>, n: usize) -> (r: bool)
    ensures
        *old(kept) is None ==> *final(kept) is None && !r,
        *old(kept) matches Some(k) ==> (*final(kept) matches Some(k2) && {
            &&& k2.gone() == k.gone()
            &&& k.value().sound() ==> k2.value().sound()
            &&& r ==> k2.value().room() >= n
            &&& forall|w: nat, pa: nat| #[trigger] k.value().has(w, pa) ==> k2.value().has(w, pa)
        }),
    no_unwind
{
    match kept {
        Some(stale) => stale.reserve(n),
        None => false,
    }
}

impl<A: Audience> Release for Work<A> {
    fn release(self) {
        let mut work = self;
        work.finish();
    }

    #[inline(always)]
    fn release_in_place(&mut self) -> bool {
        self.finish();
        true
    }
}

#[cfg(any(not(feature = "testing"), verus_keep_ghost))]
#[inline(always)]
fn suppressed(_here: &PreemptGuard) -> (r: bool)
    ensures
        !r,
    no_unwind
{
    false
}

} // verus!

#[cfg(all(feature = "testing", not(verus_keep_ghost)))]
#[cfg_attr(verus_keep_ghost, verifier::external)]
fn suppressed(here: &PreemptGuard) -> bool {
    let suppressed = super::testing::take();
    count(here, Event::Dropped, u64::from(suppressed));
    suppressed
}
