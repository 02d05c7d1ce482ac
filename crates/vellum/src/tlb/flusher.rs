//! One change of one table, as other processors see it.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::active::ActiveSet;
use super::op::{Batch, TlbFlushOp};
use super::pile::Pile;
use super::protocol::*;
use super::request::*;
#[cfg(verus_keep_ghost)]
use super::stale::Gather;
use super::stale::Stale;
use super::statistics::{Event, count};
use super::world::*;
use crate::frame::UFrame;
use crate::page_table::hoard::FEW;
#[cfg(verus_keep_ghost)]
use crate::page_table::hoard::is_of_page;
use crate::page_table::{Access, DetachedNode, MappedItem, PageProperty, UserPtConfig};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::Vaddr;
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::MAX_CPUS;
use vellum_machine::cpu::{self, CpuId, CpuSet, PreemptGuard};
use vellum_machine::owned::{Owned, Release};
#[cfg(verus_keep_ghost)]
use vellum_machine::tlb::pages_in;
use vstd::prelude::*;

verus! {

/// What stays until every processor has flushed.
#[must_use = "what is dropped instead of kept can still be reached through stale translations"]
#[non_exhaustive]
pub enum Kept {
    /// What was mapped.
    Item(MappedItem),
    /// A node that was linked, with what was mapped in it; when every processor has flushed, it also waits for readers
    /// without locks.
    Node(DetachedNode<UserPtConfig>),
}

impl Kept {
    /// The room that it takes.
    pub open spec fn size(self) -> nat {
        if self is Item { 1 } else { 0 }
    }

    /// With it the frame at `pa` is kept, to which page `w` may have led.
    pub open spec fn leads(self, w: nat, pa: nat) -> bool {
        match self {
            Kept::Item(item) => is_of_page::<UserPtConfig>(item.frames.page().0, item.frames.page().1, pa),
            Kept::Node(node) => node.leads(w, pa),
        }
    }
}

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
pub(crate) struct Work<'a> {
    active: &'a ActiveSet,
    gathered: Batch,
    operations: u64,
    /// What was dispatched last.
    sent: Option<Sent>,
    /// Nothing was gathered since.
    covered: bool,
    owed: [(usize, usize); OWED_INLINE],
    nr_owed: usize,
    /// What is kept, or room for it.
    kept: Option<Stale<Pile>>,
}

impl<'a> Work<'a> {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        &&& self.nr_owed <= OWED_INLINE
        &&& self.kept matches Some(k) ==> self.awaits(k.gone()) && k.value().sound()
        &&& self.covered ==> (self.sent matches Some(s) && self.suffices(s.about()))
    }

    /// It keeps the frame at `pa`, and releases it when every processor has flushed page `w`.
    closed spec fn keeps(self, w: nat, pa: nat) -> bool {
        self.kept matches Some(k) && k.gone().pages.contains(w) && k.value().has(w, pa)
    }

    /// Items that there is room for.
    closed spec fn room(self) -> nat {
        match self.kept {
            Some(k) => k.value().room(),
            None => FEW as nat,
        }
    }

    /// It is of the same space, and keeps and gathers what it did.
    closed spec fn keeps_on(self, o: Self) -> bool {
        &&& self.active == o.active
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> self.keeps(w, pa)
        &&& forall|w: nat| #[trigger] o.gathered.all().contains(w) ==> self.gathered.all().contains(w)
    }

    /// What is gathered covers what is gone.
    spec fn awaits(self, g: Gone) -> bool {
        &&& g.space == self.active.space()
        &&& forall|p: nat| #[trigger] g.pages.contains(p) ==> self.gathered.all().contains(p)
    }

    /// What is dispatched covers what is gathered, and came after what is kept.
    spec fn suffices(self, f: Clean) -> bool {
        &&& f.space == self.active.space()
        &&& self.kept matches Some(k) ==> f.time >= k.gone().time
        &&& forall|p: nat| #[trigger] self.gathered.all().contains(p) ==> f.pages.contains(p)
    }

    #[inline(always)]
    fn new(active: &'a ActiveSet) -> (r: Self)
        ensures
            r.active == active,
    {
        Work {
            active,
            gathered: Batch::new(),
            operations: 0,
            sent: None,
            covered: false,
            owed: [(0, 0), (0, 0)],
            nr_owed: 0,
            kept: None,
        }
    }

    #[inline(always)]
    fn issue(&mut self, op: &TlbFlushOp)
        ensures
            forall|p: nat| #[trigger] op.pages().contains(p) ==> final(self).gathered.all().contains(p),
            forall|p: nat| #[trigger] old(self).gathered.all().contains(p) ==> final(self).gathered.all().contains(p),
            final(self).active == old(self).active,
            final(self).kept == old(self).kept,
            !final(self).covered,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        self.covered = false;
        self.operations = self.operations.wrapping_add(1);
        let ghost before = *self;
        self.gathered.add(op);
    }

    /// Seals what was taken out of the pages of `op`, and keeps it. The caller has made room.
    // Inlined as far as the caller: what is kept is a word in the end, and is not to be put together and copied before.
    #[inline(always)]
    fn keep(&mut self, op: &TlbFlushOp, kept: Kept)
        requires
            old(self).room() >= kept.size(),
        ensures
            final(self).room() + kept.size() == old(self).room(),
            final(self).keeps_on(*old(self)),
            forall|w: nat, pa: nat| #[trigger] kept.leads(w, pa) && op.pages().contains(w) ==> final(self).keeps(w, pa),
        no_unwind
    {
        self.issue(op);
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
            final(self).active == old(self).active,
            final(self).gathered == old(self).gathered,
            final(self).covered ==> old(self).covered,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.kept.is_none() {
            let ghost space = self.active.space();
            self.covered = false;
            self.kept = Some(Stale::new(Pile::new(), Ghost(space), Ghost(ISet::empty())));
        }
    }

    /// Makes room to keep `n` items. False: no memory.
    #[inline(always)]
    fn reserve(&mut self, n: usize) -> (r: bool)
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
        let ghost all = Clean { cpus: ISet::full(), space: self.active.space(), pages: ISet::empty(), time: now.element() };
        let tracked fact = w.instance_ref().nothing(all, &now);
        self.release_kept(Tracked(fact));
    }

    /// Flushes here, and asks the others on which the table is active, unless that would wait for the answers to an
    /// earlier request. Says whether nothing is left to dispatch.
    fn try_dispatch(&mut self) -> bool
        ensures
            final(self).keeps_on(*old(self)),
    {
        if self.covered || self.gathered.is_empty() {
            return true;
        }
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
        let ghost s = self.active.space();
        // The fence in `observe` comes after the change of the table: see the module.
        let Tracked(stamp) = self.now();
        let (active, Tracked(absent)) = self.active.observe(Tracked(&stamp));
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
        let mut ticket = None;
        if !others.is_empty() && !suppressed(here) {
            count(here, Event::Request, others.len() as u64);
            ticket = send(here, me, &self.gathered, others, Ghost(s), Tracked(&stamp));
            if ticket.is_none() {
                return false;
            }
        }
        proof {
            assert forall|c: Cpu| c < MAX_CPUS implies #[trigger] rest.cpus.contains(c) || others.has(c) by {
                assert(absent.element().cpus.contains(c) <==> !active.has(c));
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
    fn owe(&mut self, range: &Range<Vaddr>)
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

    fn forget_owed(&mut self, owed: &FlushOwed)
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
            if start == owed.range.start.0 && end == owed.range.end.0 {
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
                self.issue(&TlbFlushOp::Range(Vaddr(start)..Vaddr(end)));
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
    fn finish(&mut self) {
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
fn gather(kept: &mut Option<Stale<Pile>>, part: Kept, Ghost(pages): Ghost<Pages>)
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
fn release(kept: &mut Option<Stale<Pile>>, Tracked(clean): Tracked<&Caches::clean>)
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
fn reserve(kept: &mut Option<Stale<Pile>>, n: usize) -> (r: bool)
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

impl Release for Work<'_> {
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

/// What a flusher works on; it belongs to the changes of one table, and stays with them.
///
/// Dropping it flushes what was issued or is owed, waits for every answer, and releases what was kept.
pub struct Shootdown<'a> {
    work: Owned<Work<'a>>,
    not_send: PhantomData<*mut ()>,
}

impl<'a> Shootdown<'a> {
    /// The root of the table.
    pub closed spec fn root(self) -> nat {
        self.work@.active.root()
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
        self.work@.gathered.all().contains(w)
    }

    /// It is of the same table, and keeps and gathers what it did.
    pub open spec fn keeps_on(self, o: Self) -> bool {
        &&& self.root() == o.root()
        &&& forall|w: nat| #[trigger] o.gathers(w) ==> self.gathers(w)
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> self.keeps(w, pa)
    }

    /// Makes one for the table of the space that is active on the processors in `active`.
    #[inline(always)]
    pub(crate) fn new(active: &'a ActiveSet) -> (r: Shootdown<'a>)
        ensures
            r.root() == active.root(),
    {
        Shootdown { work: Owned::new(Work::new(active)), not_send: PhantomData }
    }

    /// Gathers an operation.
    pub(crate) fn issue(&mut self, op: TlbFlushOp)
        ensures
            final(self).keeps_on(*old(self)),
            forall|w: nat| #[trigger] op.pages().contains(w) ==> final(self).gathers(w),
    {
        self.work.get_mut().issue(&op);
    }

    /// Gathers an operation, and keeps what was taken out of its pages.
    ///
    /// For items, after [`reserve`](Self::reserve).
    #[inline(always)]
    pub(crate) fn keep(&mut self, op: TlbFlushOp, kept: Kept)
        requires
            old(self).room() >= kept.size(),
        ensures
            final(self).room() + kept.size() == old(self).room(),
            final(self).keeps_on(*old(self)),
            forall|w: nat, pa: nat| #[trigger] kept.leads(w, pa) && op.pages().contains(w) ==> final(self).keeps(w, pa),
    {
        self.work.get_mut().keep(&op, kept);
    }

    /// [`keep`](Self::keep), with room made for it. Nothing was gathered where there is no memory for that.
    #[inline(always)]
    #[expect(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
    fn offer(&mut self, op: TlbFlushOp, kept: Kept) -> (r: Result<(), Kept>)
        ensures
            final(self).keeps_on(*old(self)),
            r matches Err(k) ==> k == kept,
            r is Ok ==> forall|w: nat, pa: nat| #[trigger] kept.leads(w, pa) && op.pages().contains(w) ==> final(self).keeps(w, pa),
    {
        let ghost o = *self;
        if let Kept::Item(_) = &kept {
            if !self.reserve(1) {
                return Err(kept);
            }
        }
        let ghost mid = *self;
        self.keep(op, kept);
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
            forall|w: nat| #[trigger] TlbFlushOp::Range(owed.addresses()).pages().contains(w) ==> final(self).gathers(w),
    {
        let work = self.work.get_mut();
        work.forget_owed(&owed);
        work.issue(&TlbFlushOp::Range(owed.range));
    }

    /// Lets a flush that is owed be.
    pub(crate) fn waive(&mut self, owed: FlushOwed)
        ensures
            final(self).keeps_on(*old(self)),
    {
        self.work.get_mut().forget_owed(&owed);
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
    shootdown: &'c mut Shootdown<'a>,
}

impl<'a> TlbFlusher<'_, 'a> {
    /// What it is a handle of.
    pub closed spec fn now(self) -> Shootdown<'a> {
        *self.shootdown
    }

    /// What it leaves behind when it goes.
    #[verifier::prophetic]
    pub closed spec fn left(self) -> Shootdown<'a> {
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

#[cfg(all(feature = "testing", not(verus_keep_ghost)))]
#[cfg_attr(verus_keep_ghost, verifier::external)]
fn suppressed(here: &PreemptGuard) -> bool {
    let suppressed = super::testing::take();
    count(here, Event::Dropped, u64::from(suppressed));
    suppressed
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Item(item) => f.debug_tuple("Item").field(&item.frames).finish(),
            Kept::Node(node) => f.debug_tuple("Node").field(&node.va_range()).finish(),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<UFrame> for Kept {
    fn from(frame: UFrame) -> Kept {
        // Nobody asks what may be done with it.
        Kept::Item(MappedItem::new(frame, PageProperty::user(Access::None)))
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<MappedItem> for Kept {
    fn from(item: MappedItem) -> Kept {
        Kept::Item(item)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<DetachedNode<UserPtConfig>> for Kept {
    fn from(node: DetachedNode<UserPtConfig>) -> Kept {
        Kept::Node(node)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for TlbFlusher<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = self.shootdown.work.get();
        f.debug_struct("TlbFlusher")
            .field("active", &work.active.members())
            .field("owed", &work.nr_owed)
            .finish_non_exhaustive()
    }
}
