//! The one place where all processors' translation caches meet in the proof: an invariant beside the words in which
//! processors ask one another to flush.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![expect(unsafe_code, reason = "keeps the one permission of each processor, and sets roots for its callers")]
use super::protocol::*;
use vellum_machine::addr::{Paddr, Vaddr};
#[cfg(verus_keep_ghost)]
use vellum_machine::atomic::ROW_WORDS;
use vellum_machine::atomic::WordRows;
use vellum_machine::cpu::{CpuId, CpuSet, PreemptGuard};
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::{MAX_CPUS, bit, has_arrived, lemma_bits};
use vellum_machine::tlb::{self, CachePerm};
#[cfg(verus_keep_ghost)]
use vellum_machine::tlb::{CacheEvent, noted, pages_in};
use vstd::atomic::PermissionU64;
use vstd::invariant::*;
use vstd::prelude::*;

verus! {

/// How many requests a processor sent.
pub const NUMBER: usize = 0;

/// Which processors have not answered the last one; the sender's own bit is set while the next is written.
pub const AWAITED: usize = 1;

/// Whether the right to set the processor's root was taken.
pub const SEAT: usize = 2;

/// The first of the words that say what to flush.
pub const TEXT: usize = 3;

/// How many they are.
pub const TEXT_WORDS: usize = 9;

/// What the invariant is about.
pub ghost struct CacheKey {
    pub inst: Caches::Instance,
    pub words: spec_fn(int, int) -> int,
}

/// The words that say what to flush.
pub type Text = Map<nat, PermissionU64>;

/// A processor's cache: what it did, and what the protocol says of that.
pub tracked struct CacheOwn {
    pub perm: CachePerm,
    pub cache: Caches::cache,
}

impl CacheOwn {
    pub open spec fn ok(self, k: CacheKey, c: Cpu) -> bool {
        &&& self.perm.cpu() == c
        &&& self.cache.instance_id() == k.inst.id() && self.cache.key() == c && self.cache.value().log == self.perm.log()
    }
}

/// The right to set a processor's root, until it is taken.
pub tracked struct SeatRes {
    pub taken: PermissionU64,
    pub seat: Option<Caches::seat>,
}

impl SeatRes {
    pub open spec fn ok(self, k: CacheKey, c: Cpu) -> bool {
        &&& self.taken@.patomic == (k.words)(c as int, SEAT as int)
        &&& self.taken@.value == 0 ==> (self.seat matches Some(t) && t.instance_id() == k.inst.id() && t.key() == c && t.value() is None)
    }
}

/// A processor's requests.
pub tracked struct Requests {
    pub number: PermissionU64,
    pub awaited: PermissionU64,
    pub sender: Caches::sender,
    pub sent: Option<Caches::sent>,
    pub text: Option<Text>,
}

/// These are the words of processor `c`.
pub open spec fn text_of(k: CacheKey, c: Cpu, text: Text) -> bool {
    forall|j: nat| j < TEXT_WORDS ==> #[trigger] text.dom().contains(j) && text[j]@.patomic == (k.words)(c as int, (TEXT + j) as int)
}

impl Requests {
    /// The words say who has answered what.
    pub open spec fn ok(self, k: CacheKey, c: Cpu) -> bool {
        let s = self.sender.value();
        &&& self.number@.patomic == (k.words)(c as int, NUMBER as int)
        &&& self.awaited@.patomic == (k.words)(c as int, AWAITED as int)
        &&& self.sender.instance_id() == k.inst.id() && self.sender.key() == c
        &&& self.number@.value == s.number + if s.claimed && s.numbered { 1int } else { 0 }
        &&& forall|d: Cpu| #[trigger] bit(self.awaited@.value, d) <==> if s.claimed { d == c } else { s.pending.contains(d) }
        &&& !s.claimed ==> (self.text matches Some(t) && text_of(k, c, t))
        &&& !s.claimed && s.number > 0 ==> (self.sent matches Some(t) && t.instance_id() == k.inst.id() && t.key() == (c, s.number)
            && says(self.text->0, t.value().words))
    }
}

/// What the invariant has of one processor.
pub tracked struct CpuRes {
    pub own: CacheOwn,
    pub seat: SeatRes,
    pub requests: Requests,
}

impl CpuRes {
    pub open spec fn ok(self, k: CacheKey, c: Cpu) -> bool {
        self.own.ok(k, c) && self.seat.ok(k, c) && self.requests.ok(k, c)
    }
}

/// The same without the processor's permission.
pub tracked struct CpuRest {
    pub cache: Caches::cache,
    pub seat: SeatRes,
    pub requests: Requests,
}

impl CpuRest {
    pub open spec fn ok(self, k: CacheKey, c: Cpu, perm: CachePerm) -> bool {
        CpuRes { own: CacheOwn { perm, cache: self.cache }, seat: self.seat, requests: self.requests }.ok(k, c)
    }
}

/// The words have these values.
pub open spec fn says(text: Text, words: Seq<u64>) -> bool {
    forall|j: nat| j < TEXT_WORDS ==> #[trigger] words[j as int] == text[j]@.value
}

/// What the invariant has: the permissions apart, for a step that is about many processors.
pub tracked struct CacheRes {
    pub perms: Map<Cpu, CachePerm>,
    pub cpus: Map<Cpu, CpuRest>,
}

/// The predicate of the invariant.
pub struct CacheInv;

impl InvariantPredicate<CacheKey, CacheRes> for CacheInv {
    open spec fn inv(k: CacheKey, r: CacheRes) -> bool {
        &&& r.perms.dom() == Set::<nat>::range(0, MAX_CPUS as nat)
        &&& forall|c: Cpu| c < MAX_CPUS ==> #[trigger] r.cpus.dom().contains(c)
        &&& forall|c: Cpu| c < MAX_CPUS ==> (#[trigger] r.cpus[c]).ok(k, c, r.perms[c])
    }
}

/// The words of all processors, and the invariant.
pub struct CacheWorld {
    pub(super) words: WordRows,
    pub(super) inst: Tracked<Caches::Instance>,
    pub(super) inv: Tracked<AtomicInvariant<CacheKey, CacheRes, CacheInv>>,
}

/// The translation caches of this machine.
exec static CACHES: CacheWorld = CacheWorld::new();

/// The translation caches of this machine.
pub uninterp spec fn the_caches() -> CacheWorld;

/// The translation caches of this machine: there is one static.
#[inline(always)]
#[verifier::external_body]
pub(super) fn caches() -> (r: &'static CacheWorld)
    ensures
        *r == the_caches(),
    opens_invariants none
    no_unwind
{
    &CACHES
}

/// The instance of the protocol.
pub closed spec fn instance() -> Caches::Instance {
    the_caches().inst@
}

/// A token of the protocol is one of this machine's.
pub open spec fn ours(id: vstd::tokens::InstanceId) -> bool {
    id == instance().id()
}

/// The processors are these.
pub open spec fn only(c: Cpu) -> ISet<Cpu> {
    ISet::empty().insert(c)
}

/// What comes with a request.
pub tracked struct Asked {
    pub asked: Caches::asked,
    pub sent: Caches::sent,
    pub stamp: Caches::stamp,
}

impl Asked {
    /// Processor `c` is to answer request `n` of processor `i`.
    pub open spec fn ok(self, i: nat, c: Cpu) -> bool {
        &&& ours(self.asked.instance_id()) && ours(self.sent.instance_id()) && ours(self.stamp.instance_id())
        &&& self.asked.key() == (i, c)
        &&& self.sent.key() == (i, self.asked.value()) && self.asked.value() > 0
        &&& self.sent.value().targets.contains(c)
        &&& self.stamp.element() == self.sent.value().time
        &&& i < MAX_CPUS && c < MAX_CPUS
    }
}

impl CacheWorld {
    #[verifier::type_invariant]
    pub closed spec fn wf(self) -> bool {
        &&& self.inv@.constant() == (CacheKey { inst: self.inst@, words: |c: int, j: int| self.words.id(c, j) })
        &&& self.inst@.ncpu() == MAX_CPUS
    }

    /// What the invariant is about.
    pub(super) open spec fn key(self) -> CacheKey {
        self.inv@.constant()
    }

    /// It is about these words, and steps of this instance.
    pub(super) proof fn lemma_key(tracked &self)
        ensures
            self.key() == (CacheKey { inst: self.inst@, words: |c: int, j: int| self.words.id(c, j) }),
            *self == the_caches() ==> self.inst@ == instance(),
            self.inst@.ncpu() == MAX_CPUS,
    {
        use_type_invariant(self);
    }

    /// The instance, to make steps.
    pub(super) proof fn instance_ref(tracked &self) -> (tracked r: &Caches::Instance)
        ensures
            *self == the_caches() ==> *r == instance(),
            r.ncpu() == MAX_CPUS,
    {
        use_type_invariant(self);
        self.inst.borrow()
    }

    const fn new() -> CacheWorld {
        let (words, Tracked(rows)) = WordRows::new();
        // SAFETY: this is the one call, for the one static.
        let Tracked(perms) = unsafe { tlb::caches_at_boot() };
        let tracked (
            Tracked(inst),
            _,
            _,
            _,
            _,
            Tracked(cache),
            Tracked(seat),
            _,
            _,
            _,
            _,
            Tracked(sender),
            _,
            _,
            _,
        ) = Caches::Instance::boot(MAX_CPUS as nat);
        let ghost k = CacheKey { inst, words: |c: int, j: int| words.id(c, j) };
        let tracked cpus;
        proof {
            cpus = gather(k, rows, perms, cache.into_map(), seat.into_map(), sender.into_map(), MAX_CPUS as nat);
        }
        let tracked inv = AtomicInvariant::new(k, CacheRes { perms, cpus }, 2);
        CacheWorld { words, inst: Tracked(inst), inv: Tracked(inv) }
    }

    /// Takes a processor's part out of the invariant, to change it.
    pub(super) proof fn open(tracked &self, tracked g: &mut CacheRes, c: Cpu) -> (tracked r: CpuRes)
        requires
            self.inv@.inv(*old(g)),
            c < MAX_CPUS,
        ensures
            r.ok(self.key(), c),
            CacheInv::inv(self.key(), *old(g)),
            old(g).cpus.dom().contains(c),
            final(g).cpus == old(g).cpus.remove(c),
            final(g).perms == old(g).perms.remove(c),
    {
        assert(g.cpus.dom().contains(c));
        let tracked CpuRest { cache, seat, requests } = g.cpus.tracked_remove(c);
        CpuRes { own: CacheOwn { perm: g.perms.tracked_remove(c), cache }, seat, requests }
    }

    /// Puts it back: the invariant holds again.
    pub(super) proof fn close(tracked &self, g0: CacheRes, tracked g: &mut CacheRes, c: Cpu, tracked x: CpuRes)
        requires
            CacheInv::inv(self.key(), g0),
            c < MAX_CPUS,
            old(g).cpus == g0.cpus.remove(c),
            old(g).perms == g0.perms.remove(c),
            x.ok(self.key(), c),
        ensures
            self.inv@.inv(*final(g)),
    {
        let tracked CpuRes { own: CacheOwn { perm, cache }, seat, requests } = x;
        g.perms.tracked_insert(c, perm);
        g.cpus.tracked_insert(c, CpuRest { cache, seat, requests });
        assert(g.perms.dom() =~= g0.perms.dom());
        assert forall|d: Cpu| d < MAX_CPUS implies (#[trigger] g.cpus[d]).ok(self.key(), d, g.perms[d]) by {
            assert(g0.cpus[d].ok(self.key(), d, g0.perms[d]));
        }
        assert forall|d: Cpu| d < MAX_CPUS implies #[trigger] g.cpus.dom().contains(d) by {
            assert(g0.cpus.dom().contains(d));
        }
    }

    //================ a processor's own cache ================

    /// Forgets the translations of the pages in a range on this processor.
    #[inline(always)]
    pub(super) fn forget(
        &self,
        here: &PreemptGuard,
        me: CpuId,
        bounds: (Vaddr, Vaddr),
        Ghost(s): Ghost<Sid>,
        Tracked(stamp): Tracked<&Caches::stamp>,
    ) -> (r: Tracked<Caches::clean>)
        requires
            *self == the_caches(),
            me.number() == here.cpu(),
            ours(stamp.instance_id()),
        ensures
            ours(r@.instance_id()),
            r@.element() == (Clean {
                cpus: only(me.number()),
                space: s,
                pages: pages_in(bounds.0.0 as nat, bounds.1.0 as nat),
                time: stamp.element(),
            }),
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked out;
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat, requests } = self.open(&mut g, c);
            tlb::forget_pages(here, bounds.0, bounds.1, Tracked(&mut perm));
            proof {
                let pages = pages_in(bounds.0.0 as nat, bounds.1.0 as nat);
                let tracked (_, Tracked(cache), _, Tracked(f)) = self.inst.borrow().flush(c, pages, s, stamp.element(), stamp, cache);
                out = f;
                self.close(g0, &mut g, c, CpuRes { own: CacheOwn { perm, cache }, seat, requests });
            }
        });
        Tracked(out)
    }

    /// Forgets every translation on this processor.
    #[inline(always)]
    pub(super) fn forget_all(
        &self,
        here: &PreemptGuard,
        me: CpuId,
        Ghost(s): Ghost<Sid>,
        Tracked(stamp): Tracked<&Caches::stamp>,
    ) -> (r: Tracked<Caches::clean>)
        requires
            *self == the_caches(),
            me.number() == here.cpu(),
            ours(stamp.instance_id()),
        ensures
            ours(r@.instance_id()),
            r@.element() == (Clean { cpus: only(me.number()), space: s, pages: ISet::full(), time: stamp.element() }),
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked out;
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat, requests } = self.open(&mut g, c);
            tlb::forget_all(here, Tracked(&mut perm));
            proof {
                let tracked (_, Tracked(cache), _, Tracked(f)) = self.inst.borrow().flush(c, ISet::full(), s, stamp.element(), stamp, cache);
                out = f;
                self.close(g0, &mut g, c, CpuRes { own: CacheOwn { perm, cache }, seat, requests });
            }
        });
        Tracked(out)
    }

    //================ many processors' caches ================

    /// Returns the processors that have arrived, and that no other translates anything by what it read before now.
    pub(super) fn present(&self, Ghost(s): Ghost<Sid>, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: (CpuSet, Tracked<Caches::clean>))
        requires
            *self == the_caches(),
            ours(stamp.instance_id()),
        ensures
            ours(r.1@.instance_id()),
            r.1@.element() == (Clean {
                cpus: ISet::new(|c: Cpu| c < MAX_CPUS && !r.0.has(c)),
                space: s,
                pages: ISet::full(),
                time: stamp.element(),
            }),
            forall|c: Cpu| #[trigger] r.0.has(c) ==> has_arrived(c),
        no_unwind
    {
        let r;
        let tracked out;
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof {
                assert(CacheInv::inv(self.key(), g));
                lemma_perms(self.key(), g);
            }
            let tracked CacheRes { mut perms, mut cpus } = g;
            let ghost before = perms;
            r = tlb::present(Tracked(&mut perms));
            proof {
                let absent = ISet::new(|c: Cpu| c < MAX_CPUS && !r.has(c));
                out = note(self.key(), self.inst.borrow(), &mut cpus, before, perms, absent, s, stamp, MAX_CPUS as nat);
                assert(below(absent, MAX_CPUS as nat) =~= absent);
                g = CacheRes { perms, cpus };
            }
        });
        (r, Tracked(out))
    }

    /// Has other processors, which have arrived, forget every translation, if something else than code on them can.
    #[inline(always)]
    pub(super) fn fence_others(
        &self,
        here: &PreemptGuard,
        others: CpuSet,
        Ghost(s): Ghost<Sid>,
        Tracked(stamp): Tracked<&Caches::stamp>,
    ) -> (r: Option<Tracked<Caches::clean>>)
        requires
            *self == the_caches(),
            ours(stamp.instance_id()),
            forall|c: Cpu| #[trigger] others.has(c) ==> has_arrived(c),
        ensures
            r matches Some(f) ==> ours(f@.instance_id()) && f@.element() == (Clean {
                cpus: ISet::new(|c: Cpu| others.has(c)),
                space: s,
                pages: ISet::full(),
                time: stamp.element(),
            }),
        no_unwind
    {
        let done;
        let tracked mut out: Option<Caches::clean> = None;
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof {
                assert(CacheInv::inv(self.key(), g));
                lemma_perms(self.key(), g);
            }
            let tracked CacheRes { mut perms, mut cpus } = g;
            let ghost before = perms;
            done = tlb::fence_others(here, others, Tracked(&mut perms));
            proof {
                if done {
                    let who = ISet::new(|c: Cpu| others.has(c));
                    out = Some(note(self.key(), self.inst.borrow(), &mut cpus, before, perms, who, s, stamp, MAX_CPUS as nat));
                    assert(below(who, MAX_CPUS as nat) =~= who);
                }
                g = CacheRes { perms, cpus };
            }
        });
        if done {
            Some(Tracked(out.tracked_unwrap()))
        } else {
            None
        }
    }

    //================ roots ================

    /// Takes the right to set a processor's root, once.
    pub(super) fn take_seat(&self, me: CpuId) -> (r: Option<Tracked<Caches::seat>>)
        requires
            *self == the_caches(),
        ensures
            r matches Some(t) ==> ours(t@.instance_id()) && t@.key() == me.number() && t@.value() is None,
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked mut out: Option<Caches::seat> = None;
        let done;
        proof {
            use_type_invariant(self);
        }
        let word = self.words.word(i, SEAT);
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own, seat: SeatRes { mut taken, mut seat }, requests } = self.open(&mut g, c);
            done = word.cas_acquire(Tracked(&mut taken), 0, 1);
            proof {
                if done is Ok {
                    out = seat;
                    seat = None;
                }
                self.close(g0, &mut g, c, CpuRes { own, seat: SeatRes { taken, seat }, requests });
            }
        });
        match done {
            Ok(_) => Some(Tracked(out.tracked_unwrap())),
            Err(_) => None,
        }
    }

    /// Has this processor walk the table of a space.
    ///
    /// # Safety
    /// As for [`tlb::set_root`].
    pub(super) unsafe fn enter(
        &self,
        here: &PreemptGuard,
        me: CpuId,
        root: Paddr,
        Tracked(named): Tracked<&Caches::root>,
        Tracked(member): Tracked<&Caches::member>,
        Tracked(seat): Tracked<Caches::seat>,
    ) -> (r: Tracked<Caches::seat>)
        requires
            *self == the_caches(),
            me.number() == here.cpu(),
            ours(named.instance_id()) && ours(member.instance_id()) && ours(seat.instance_id()),
            named.value() == root.0,
            member.element() == (named.key(), me.number()),
            seat.key() == me.number(),
        ensures
            ours(r@.instance_id()) && r@.key() == me.number() && r@.value() == Some(named.key()),
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked out;
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat: s, requests } = self.open(&mut g, c);
            // SAFETY: the caller's.
            unsafe { tlb::walk_from(here, root, Tracked(&mut perm)) };
            proof {
                let tracked (_, Tracked(cache), Tracked(t), _) = self.inst.borrow().enter(c, named.key(), named, member, cache, seat);
                out = t;
                self.close(g0, &mut g, c, CpuRes { own: CacheOwn { perm, cache }, seat: s, requests });
            }
        });
        Tracked(out)
    }

    /// Has this processor walk a table that is no space's.
    ///
    /// # Safety
    /// As for [`tlb::set_root`].
    pub(super) unsafe fn leave(
        &self,
        here: &PreemptGuard,
        me: CpuId,
        root: Paddr,
        Tracked(seat): Tracked<Caches::seat>,
    ) -> (r: Tracked<Caches::seat>)
        requires
            *self == the_caches(),
            me.number() == here.cpu(),
            ours(seat.instance_id()),
            seat.key() == me.number(),
        ensures
            ours(r@.instance_id()) && r@.key() == me.number() && r@.value() is None,
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked out;
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat: s, requests } = self.open(&mut g, c);
            // SAFETY: the caller's.
            unsafe { tlb::walk_from(here, root, Tracked(&mut perm)) };
            proof {
                let tracked (_, Tracked(cache), Tracked(t), _) = self.inst.borrow().leave(c, root.0 as nat, cache, seat);
                out = t;
                self.close(g0, &mut g, c, CpuRes { own: CacheOwn { perm, cache }, seat: s, requests });
            }
        });
        Tracked(out)
    }
}

/// Each permission is that of its processor.
proof fn lemma_perms(k: CacheKey, g: CacheRes)
    requires
        CacheInv::inv(k, g),
    ensures
        forall|c: Cpu| c < MAX_CPUS ==> (#[trigger] g.perms[c]).cpu() == c,
{
    assert forall|c: Cpu| c < MAX_CPUS implies (#[trigger] g.perms[c]).cpu() == c by {
        assert(g.cpus[c].ok(k, c, g.perms[c]));
    }
}

/// Those of them below `n`.
spec fn below(who: ISet<Cpu>, n: nat) -> ISet<Cpu> {
    ISet::new(|c: Cpu| c < n && who.contains(c))
}

/// The protocol notes of the processors below `n` that those in `who` forgot everything, as their permissions say by now.
proof fn note(
    k: CacheKey,
    tracked inst: &Caches::Instance,
    tracked cpus: &mut Map<Cpu, CpuRest>,
    before: Map<Cpu, CachePerm>,
    after: Map<Cpu, CachePerm>,
    who: ISet<Cpu>,
    s: Sid,
    tracked stamp: &Caches::stamp,
    n: nat,
) -> (tracked r: Caches::clean)
    requires
        n <= MAX_CPUS,
        k.inst == *inst,
        stamp.instance_id() == inst.id(),
        before.dom() == Set::<nat>::range(0, MAX_CPUS as nat),
        noted(before, after, who, ISet::full()),
        forall|c: Cpu| c < MAX_CPUS ==> #[trigger] old(cpus).dom().contains(c),
        forall|c: Cpu| c < MAX_CPUS ==> (#[trigger] old(cpus)[c]).ok(k, c, if c < n { before[c] } else { after[c] }),
    ensures
        forall|c: Cpu| c < MAX_CPUS ==> #[trigger] final(cpus).dom().contains(c),
        forall|c: Cpu| c < MAX_CPUS ==> (#[trigger] final(cpus)[c]).ok(k, c, after[c]),
        r.instance_id() == inst.id(),
        r.element() == (Clean { cpus: below(who, n), space: s, pages: ISet::full(), time: stamp.element() }),
    decreases n,
{
    let f = Clean { cpus: below(who, n), space: s, pages: ISet::full(), time: stamp.element() };
    if n == 0 {
        return inst.nothing(f, stamp);
    }
    let m = (n - 1) as nat;
    assert(after.dom().contains(m));
    if !who.contains(m) {
        assert(below(who, m) =~= below(who, n));
        return note(k, inst, cpus, before, after, who, s, stamp, m);
    }
    let o = *cpus;
    let tracked CpuRest { cache, seat, requests } = cpus.tracked_remove(m);
    let tracked (_, Tracked(cache), _, Tracked(one)) = inst.flush(m, ISet::full(), s, stamp.element(), stamp, cache);
    cpus.tracked_insert(m, CpuRest { cache, seat, requests });
    assert forall|c: Cpu| c < MAX_CPUS implies (#[trigger] cpus[c]).ok(k, c, if c < m { before[c] } else { after[c] }) by {
        assert(o[c].ok(k, c, if c < n { before[c] } else { after[c] }));
    }
    assert forall|c: Cpu| c < MAX_CPUS implies #[trigger] cpus.dom().contains(c) by {
        assert(o.dom().contains(c));
    }
    let tracked others = note(k, inst, cpus, before, after, who, s, stamp, m);
    inst.join(others.element(), one.element(), f, &others, &one)
}

/// The resources of the processors below `n`.
proof fn gather(
    k: CacheKey,
    tracked rows: Map<nat, Map<nat, PermissionU64>>,
    perms: Map<nat, CachePerm>,
    tracked cache: Map<Cpu, Caches::cache>,
    tracked seat: Map<Cpu, Caches::seat>,
    tracked sender: Map<Cpu, Caches::sender>,
    n: nat,
) -> (tracked r: Map<Cpu, CpuRest>)
    requires
        n <= MAX_CPUS,
        rows.dom() == Set::<nat>::range(0, n),
        perms.dom() == Set::<nat>::range(0, n),
        cache.dom() == Set::<nat>::range(0, n),
        seat.dom() == Set::<nat>::range(0, n),
        sender.dom() == Set::<nat>::range(0, n),
        forall|c: nat| c < n ==> (#[trigger] rows[c]).dom() == Set::<nat>::range(0, ROW_WORDS as nat),
        forall|c: nat, j: nat| c < n && j < ROW_WORDS ==> (#[trigger] rows[c][j])@.value == 0 && rows[c][j]@.patomic == (k.words)(
            c as int,
            j as int,
        ),
        forall|c: nat| c < n ==> (#[trigger] perms[c]).cpu() == c && perms[c].log() == Seq::<CacheEvent>::empty(),
        forall|c: nat| c < n ==> (#[trigger] cache[c]).instance_id() == k.inst.id() && cache[c].key() == c && cache[c].value().log
            == Seq::<CacheEvent>::empty(),
        forall|c: nat| c < n ==> (#[trigger] seat[c]).instance_id() == k.inst.id() && seat[c].key() == c && seat[c].value() is None,
        forall|c: nat| c < n ==> (#[trigger] sender[c]).instance_id() == k.inst.id() && sender[c].key() == c && sender[c].value() == (
        Sender { number: 0, claimed: false, numbered: false, pending: ISet::empty() }),
    ensures
        forall|c: Cpu| c < n <==> #[trigger] r.dom().contains(c),
        forall|c: Cpu| c < n ==> (#[trigger] r[c]).ok(k, c, perms[c]),
    decreases n,
{
    let tracked (mut rows, mut cache, mut seat, mut sender) = (rows, cache, seat, sender);
    if n == 0 {
        Map::tracked_empty()
    } else {
        let m = (n - 1) as nat;
        let tracked mut row = rows.tracked_remove(m);
        let tracked number = row.tracked_remove(NUMBER as nat);
        let tracked awaited = row.tracked_remove(AWAITED as nat);
        let tracked taken = row.tracked_remove(SEAT as nat);
        let tracked mut text = Map::<nat, PermissionU64>::tracked_empty();
        let tracked text = take_text(k, m, row, text, 0);
        let tracked seat_res = SeatRes { taken, seat: Some(seat.tracked_remove(m)) };
        let tracked requests = Requests { number, awaited, sender: sender.tracked_remove(m), sent: None, text: Some(text) };
        lemma_bits(0, 0);
        assert(rows.dom() =~= Set::<nat>::range(0, m));
        assert(perms.remove(m).dom() =~= Set::<nat>::range(0, m));
        assert(seat.dom() =~= Set::<nat>::range(0, m));
        assert(sender.dom() =~= Set::<nat>::range(0, m));
        let tracked x = CpuRest { cache: cache.tracked_remove(m), seat: seat_res, requests };
        assert(x.ok(k, m, perms[m]));
        assert(cache.dom() =~= Set::<nat>::range(0, m));
        let tracked mut r = gather(k, rows, perms.remove(m), cache, seat, sender, m);
        r.tracked_insert(m, x);
        r
    }
}

/// The words of a row that say what to flush, from the `j`th on.
proof fn take_text(k: CacheKey, c: Cpu, tracked row: Text, tracked text: Text, j: nat) -> (tracked r: Text)
    requires
        j <= TEXT_WORDS,
        forall|l: nat| l < j ==> #[trigger] text.dom().contains(l) && text[l]@.patomic == (k.words)(c as int, (TEXT + l) as int),
        forall|l: nat| j <= l < TEXT_WORDS ==> #[trigger] row.dom().contains(TEXT as nat + l) && row[TEXT as nat + l]@.patomic == (k.words)(
            c as int,
            (TEXT + l) as int,
        ),
    ensures
        text_of(k, c, r),
    decreases TEXT_WORDS - j,
{
    let tracked (mut row, mut text) = (row, text);
    if j == TEXT_WORDS {
        text
    } else {
        assert(row.dom().contains(TEXT as nat + j));
        let (text0, row0) = (text, row);
        text.tracked_insert(j, row.tracked_remove(TEXT as nat + j));
        assert forall|l: nat| l < j + 1 implies #[trigger] text.dom().contains(l) && text[l]@.patomic == (k.words)(
            c as int,
            (TEXT + l) as int,
        ) by {
            assert(l < j ==> text0.dom().contains(l));
        }
        assert forall|l: nat| j + 1 <= l < TEXT_WORDS implies #[trigger] row.dom().contains(TEXT as nat + l) && row[TEXT as nat
            + l]@.patomic == (k.words)(c as int, (TEXT + l) as int) by {
            assert(row0.dom().contains(TEXT as nat + l));
        }
        take_text(k, c, row, text, j + 1)
    }
}

} // verus!
