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
use vellum_machine::cpu::{MAX_CPUS, bit, lemma_bits};
use vellum_machine::halt::halt;
use vellum_machine::tlb::{self, CachePerm, Stopped};
#[cfg(verus_keep_ghost)]
use vellum_machine::tlb::{CacheEvent, pages_in};
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

/// The words have these values.
pub open spec fn says(text: Text, words: Seq<u64>) -> bool {
    forall|j: nat| j < TEXT_WORDS ==> #[trigger] words[j as int] == text[j]@.value
}

/// What the invariant has.
pub tracked struct CacheRes {
    pub cpus: Map<Cpu, CpuRes>,
}

/// The predicate of the invariant.
pub struct CacheInv;

impl InvariantPredicate<CacheKey, CacheRes> for CacheInv {
    open spec fn inv(k: CacheKey, r: CacheRes) -> bool {
        &&& forall|c: Cpu| c < MAX_CPUS ==> #[trigger] r.cpus.dom().contains(c)
        &&& forall|c: Cpu| #[trigger] r.cpus.dom().contains(c) ==> r.cpus[c].ok(k, c)
    }
}

/// The words of all processors, and the invariant.
pub struct CacheWorld {
    words: WordRows,
    inst: Tracked<Caches::Instance>,
    inv: Tracked<AtomicInvariant<CacheKey, CacheRes, CacheInv>>,
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
    pub closed spec fn key(self) -> CacheKey {
        self.inv@.constant()
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
        let tracked inv = AtomicInvariant::new(k, CacheRes { cpus }, 2);
        CacheWorld { words, inst: Tracked(inst), inv: Tracked(inv) }
    }

    /// The invariant holds again after one processor's part changed.
    proof fn lemma_put_back(tracked &self, g0: CacheRes, g: CacheRes, c: Cpu)
        requires
            CacheInv::inv(self.key(), g0),
            c < MAX_CPUS,
            g.cpus =~= g0.cpus.insert(c, g.cpus[c]),
            g.cpus[c].ok(self.key(), c),
        ensures
            CacheInv::inv(self.key(), g),
    {
        assert forall|d: Cpu| #[trigger] g.cpus.dom().contains(d) implies g.cpus[d].ok(self.key(), d) by {
            assert(g0.cpus.dom().contains(d) || d == c);
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
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat, requests } = g.cpus.tracked_remove(c);
            tlb::forget_pages(here, bounds.0, bounds.1, Tracked(&mut perm));
            proof {
                let pages = pages_in(bounds.0.0 as nat, bounds.1.0 as nat);
                let tracked (_, Tracked(cache), _, Tracked(f)) = self.inst.borrow().flush(c, pages, s, stamp.element(), stamp, cache);
                out = f;
                g.cpus.tracked_insert(c, CpuRes { own: CacheOwn { perm, cache }, seat, requests });
                self.lemma_put_back(g0, g, c);
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
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat, requests } = g.cpus.tracked_remove(c);
            tlb::forget_all(here, Tracked(&mut perm));
            proof {
                let tracked (_, Tracked(cache), _, Tracked(f)) = self.inst.borrow().flush(c, ISet::full(), s, stamp.element(), stamp, cache);
                out = f;
                g.cpus.tracked_insert(c, CpuRes { own: CacheOwn { perm, cache }, seat, requests });
                self.lemma_put_back(g0, g, c);
            }
        });
        Tracked(out)
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
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own, seat: SeatRes { mut taken, mut seat }, requests } = g.cpus.tracked_remove(c);
            done = word.cas_acquire(Tracked(&mut taken), 0, 1);
            proof {
                if done is Ok {
                    out = seat;
                    seat = None;
                }
                g.cpus.tracked_insert(c, CpuRes { own, seat: SeatRes { taken, seat }, requests });
                self.lemma_put_back(g0, g, c);
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
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat: s, requests } = g.cpus.tracked_remove(c);
            // SAFETY: the caller's.
            unsafe { tlb::walk_from(here, root, Tracked(&mut perm)) };
            proof {
                let tracked (_, Tracked(cache), Tracked(t), _) = self.inst.borrow().enter(c, named.key(), named, member, cache, seat);
                out = t;
                g.cpus.tracked_insert(c, CpuRes { own: CacheOwn { perm, cache }, seat: s, requests });
                self.lemma_put_back(g0, g, c);
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
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat: s, requests } = g.cpus.tracked_remove(c);
            // SAFETY: the caller's.
            unsafe { tlb::walk_from(here, root, Tracked(&mut perm)) };
            proof {
                let tracked (_, Tracked(cache), Tracked(t), _) = self.inst.borrow().leave(c, root.0 as nat, cache, seat);
                out = t;
                g.cpus.tracked_insert(c, CpuRes { own: CacheOwn { perm, cache }, seat: s, requests });
                self.lemma_put_back(g0, g, c);
            }
        });
        Tracked(out)
    }

    //================ requests ================

    /// Whether processor `i` could send a request now.
    #[inline(always)]
    pub(super) fn is_free(&self, me: CpuId) -> bool
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let r;
        proof {
            use_type_invariant(self);
        }
        let word = self.words.word(i, AWAITED);
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked x = g.cpus.tracked_borrow(c);
            r = word.load_relaxed(Tracked(&x.requests.awaited));
        });
        r == 0
    }

    /// Begins the next request of a processor, unless the last one is not answered yet.
    // Acquire: pairs with the Release in `answer`; the words are read no more.
    pub(super) fn claim(&self, me: CpuId) -> (r: Option<(Tracked<Caches::claim>, Tracked<Text>)>)
        requires
            *self == the_caches(),
        ensures
            r matches Some((t, text)) ==> ours(t@.instance_id()) && t@.key() == me.number() && !t@.value().1 && text_of(
                self.key(),
                me.number(),
                text@,
            ),
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked mut out: Option<(Caches::claim, Text)> = None;
        let done;
        proof {
            use_type_invariant(self);
            lemma_bits(0, 0);
            vellum_machine::cpu::lemma_one_bit(c);
        }
        let word = self.words.word(i, AWAITED);
        let mine = 1u64 << (i as u64);
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own, seat, requests: Requests { number, mut awaited, mut sender, sent, mut text } } = g.cpus.tracked_remove(c);
            done = word.cas_acquire(Tracked(&mut awaited), 0, mine);
            proof {
                if done is Ok {
                    let s = sender.value();
                    assert(!s.claimed) by { assert(!bit(0, c)); }
                    assert(s.pending =~= ISet::<Cpu>::empty()) by {
                        assert forall|d: Cpu| !s.pending.contains(d) by { assert(!bit(0, d)); }
                    }
                    let tracked (Tracked(s2), Tracked(t)) = self.inst.borrow().take_claim(c, sender);
                    sender = s2;
                    out = Some((t, text.tracked_take()));
                }
                g.cpus.tracked_insert(c, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent, text } });
                self.lemma_put_back(g0, g, c);
            }
        });
        match done {
            Ok(_) => {
                let tracked (t, text) = out.tracked_unwrap();
                Some((Tracked(t), Tracked(text)))
            },
            Err(_) => None,
        }
    }

    /// Writes a word of the next request.
    // Relaxed: the call that asks the readers comes between, and orders both.
    #[inline(always)]
    pub(super) fn write(&self, me: CpuId, j: usize, value: u64, Tracked(text): Tracked<&mut Text>)
        requires
            j < TEXT_WORDS,
            text_of(self.key(), me.number(), *old(text)),
        ensures
            text_of(self.key(), me.number(), *final(text)),
            final(text)[j as nat]@.value == value,
            forall|l: nat| l < TEXT_WORDS && l != j ==> #[trigger] final(text)[l] == old(text)[l],
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        let i = me.index();
        assert(text.dom().contains(j as nat));
        let tracked mut perm = text.tracked_remove(j as nat);
        self.words.word(i, TEXT + j).store_relaxed(Tracked(&mut perm), value);
        proof {
            text.tracked_insert(j as nat, perm);
        }
    }

    /// Gives the next request its number, and says that it is to be answered.
    #[expect(clippy::type_complexity, reason = "two of three are ghosts")]
    pub(super) fn publish(
        &self,
        me: CpuId,
        targets: CpuSet,
        Ghost(ask): Ghost<Ask>,
        Tracked(claim): Tracked<Caches::claim>,
        Tracked(text): Tracked<Text>,
        Tracked(stamp): Tracked<&Caches::stamp>,
    ) -> (r: (u64, Tracked<Caches::sent>, Tracked<Map<(Cpu, Cpu), Caches::asked>>))
        requires
            *self == the_caches(),
            ours(claim.instance_id()) && ours(stamp.instance_id()),
            claim.key() == me.number(),
            !claim.value().1,
            text_of(self.key(), me.number(), text),
            says(text, ask.words),
            ask.time == stamp.element(),
            forall|c: Cpu| #[trigger] ask.targets.contains(c) <==> targets.has(c),
        ensures
            ours(r.1@.instance_id()),
            r.0 > 0,
            r.1@.key() == (me.number(), r.0 as nat),
            r.1@.value() == ask,
            forall|c: Cpu| #[trigger] targets.has(c) ==> r.2@.dom().contains((me.number(), c)) && ours(
                r.2@[(me.number(), c)].instance_id(),
            ) && r.2@[(me.number(), c)].key() == (me.number(), c) && r.2@[(me.number(), c)].value() == r.0,
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked mut claim = claim;
        proof {
            use_type_invariant(self);
        }
        let word = self.words.word(i, NUMBER);
        let before;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked x = g.cpus.tracked_borrow(c);
            before = word.load_relaxed(Tracked(&x.requests.number));
            proof { self.inst.borrow().a_claim_is_exclusive(c, &x.requests.sender, &claim); }
        });
        if before == u64::MAX {
            halt("more requests to flush than there are numbers");
        }
        // Release: pairs with the Acquire in `answered`. A later number says that all had answered before.
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own, seat, requests: Requests { mut number, awaited, sender, sent, text } } = g.cpus.tracked_remove(c);
            word.store_release(Tracked(&mut number), before + 1);
            proof {
                self.inst.borrow().a_claim_is_exclusive(c, &sender, &claim);
                let tracked (Tracked(sender), Tracked(t)) = self.inst.borrow().renumber(c, sender, claim);
                claim = t;
                g.cpus.tracked_insert(c, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent, text } });
                self.lemma_put_back(g0, g, c);
            }
        });
        let tracked out;
        let word = self.words.word(i, AWAITED);
        let mask = targets.to_word();
        let ghost set = Set::<nat>::range(0, MAX_CPUS as nat).filter(|d: nat| targets.has(d));
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked CpuRes { own, seat, requests: Requests { number, mut awaited, sender, sent: _, text: _ } } = g.cpus.tracked_remove(c);
            word.store_release(Tracked(&mut awaited), mask);
            proof {
                self.inst.borrow().a_claim_is_exclusive(c, &sender, &claim);
                let tracked (Tracked(sender), Tracked(sent), Tracked(asked)) = self.inst.borrow().publish(c, ask, set, stamp, sender, claim);
                out = (sent.clone(), asked.into_map());
                g.cpus.tracked_insert(c, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent: Some(sent), text: Some(text) } });
                self.lemma_put_back(g0, g, c);
            }
        });
        let tracked (sent, asked) = out;
        proof {
            assert forall|d: Cpu| #[trigger] targets.has(d) implies asked.dom().contains((c, d)) by {
                assert(set.contains(d));
            }
        }
        (before + 1, Tracked(sent), Tracked(asked))
    }

    /// Reads a word of a request that the reader has not answered yet.
    // Relaxed: as in `write`.
    #[inline(always)]
    pub(super) fn read(&self, i: usize, j: usize, Ghost(c): Ghost<Cpu>, Tracked(asked): Tracked<&Asked>) -> (r: u64)
        requires
            *self == the_caches(),
            asked.ok(i as nat, c),
            j < TEXT_WORDS,
        ensures
            r == asked.sent.value().words[j as int],
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        let word = self.words.word(i, TEXT + j);
        let r;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(i as nat)); }
            let tracked x = g.cpus.tracked_borrow(i as nat);
            proof {
                self.inst.borrow().a_request_waits_for_its_target(i as nat, c, &x.requests.sender, &asked.asked);
                x.requests.sent.tracked_borrow().agree(&asked.sent);
                assert(x.requests.text->0.dom().contains(j as nat));
                assert(asked.sent.value().words[j as int] == x.requests.text->0[j as nat]@.value);
            }
            r = word.load_relaxed(Tracked(x.requests.text.tracked_borrow().tracked_borrow(j as nat)));
        });
        r
    }

    /// Answers a request.
    // Release: pairs with the Acquire in `claim` and `answered`; the last access to the request.
    #[inline(always)]
    pub(super) fn answer(&self, i: usize, me: CpuId, Tracked(asked): Tracked<Asked>, Tracked(fact): Tracked<&Caches::clean>)
        requires
            *self == the_caches(),
            asked.ok(i as nat, me.number()),
            ours(fact.instance_id()),
            fact.element() == asked.sent.value().answer(me.number()),
        no_unwind
    {
        let m = me.index();
        let mine = 1u64 << (m as u64);
        let ghost c = m as nat;
        proof {
            use_type_invariant(self);
            vellum_machine::cpu::lemma_one_bit(c);
        }
        let word = self.words.word(i, AWAITED);
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(i as nat)); }
            let tracked CpuRes { own, seat, requests: Requests { number, mut awaited, sender, sent, text } } = g.cpus.tracked_remove(i as nat);
            let ghost w = awaited@.value;
            word.clear_release(Tracked(&mut awaited), mine);
            proof {
                lemma_bits(w, mine);
                let tracked Asked { asked: a, sent: s, stamp: _ } = asked;
                self.inst.borrow().a_request_waits_for_its_target(i as nat, c, &sender, &a);
                let tracked sender = self.inst.borrow().answer(i as nat, c, fact, sender, &s, a);
                g.cpus.tracked_insert(i as nat, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent, text } });
                self.lemma_put_back(g0, g, i as nat);
            }
        });
    }

    /// Answers for a processor that does not run.
    pub(super) fn answer_for(&self, i: usize, me: CpuId, Tracked(asked): Tracked<Asked>, Tracked(stopped): Tracked<&Stopped>)
        requires
            *self == the_caches(),
            asked.ok(i as nat, me.number()),
            stopped.cpu() == me.number(),
        no_unwind
    {
        let m = me.index();
        let mine = 1u64 << (m as u64);
        let ghost c = m as nat;
        let tracked fact;
        proof {
            use_type_invariant(self);
            vellum_machine::cpu::lemma_one_bit(c);
        }
        let ghost ask = asked.sent.value();
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof {
                let ghost g0 = g;
                assert(self.inv@.inv(g));
                assert(g.cpus.dom().contains(c));
                let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat, requests } = g.cpus.tracked_remove(c);
                stopped.forgets(&mut perm);
                let tracked (_, Tracked(cache), _, Tracked(f)) = self.inst.borrow().flush(c, ISet::full(), ask.space, ask.time, &asked.stamp, cache);
                let all = f.element();
                fact = self.inst.borrow().join(all, all, ask.answer(c), &f, &f);
                g.cpus.tracked_insert(c, CpuRes { own: CacheOwn { perm, cache }, seat, requests });
                self.lemma_put_back(g0, g, c);
            }
        });
        self.answer(i, me, Tracked(asked), Tracked(&fact));
    }

    /// Whether every processor has answered a request: then all of them are clean of what was asked.
    // Acquire: pairs with the Release in `answer` and `publish`; whatever the processors did before is over.
    pub(super) fn answered(&self, me: CpuId, n: u64, Tracked(sent): Tracked<&Caches::sent>) -> (r: Option<Tracked<Caches::clean>>)
        requires
            *self == the_caches(),
            ours(sent.instance_id()),
            sent.key() == (me.number(), n as nat),
        ensures
            r matches Some(f) ==> ours(f@.instance_id()) && f@.element() == sent.value().answers(),
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let tracked mut out: Option<Caches::clean> = None;
        proof {
            use_type_invariant(self);
        }
        let word = self.words.word(i, NUMBER);
        let number;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked x = g.cpus.tracked_borrow(c);
            number = word.load_acquire(Tracked(&x.requests.number));
            proof {
                if number != n {
                    out = Some(self.all_answered(c, n as nat, &x.requests, sent));
                }
            }
        });
        if number != n {
            return Some(Tracked(out.tracked_unwrap()));
        }
        let word = self.words.word(i, AWAITED);
        let awaited;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(self.inv@.inv(g)); assert(g.cpus.dom().contains(c)); }
            let tracked x = g.cpus.tracked_borrow(c);
            awaited = word.load_acquire(Tracked(&x.requests.awaited));
            proof {
                if awaited == 0 {
                    out = Some(self.all_answered(c, n as nat, &x.requests, sent));
                }
            }
        });
        if awaited == 0 {
            Some(Tracked(out.tracked_unwrap()))
        } else {
            None
        }
    }

    /// Where a later number or an empty set is seen, all have answered.
    proof fn all_answered(tracked &self, c: Cpu, n: nat, tracked x: &Requests, tracked sent: &Caches::sent) -> (tracked r: Caches::clean)
        requires
            *self == the_caches(),
            x.ok(self.key(), c),
            ours(sent.instance_id()),
            sent.key() == (c, n),
            x.number@.value != n || x.awaited@.value == 0,
        ensures
            ours(r.instance_id()),
            r.element() == sent.value().answers(),
    {
        use_type_invariant(self);
        lemma_bits(0, 0);
        let s = x.sender.value();
        if x.awaited@.value == 0 {
            assert forall|d: Cpu| !s.pending.contains(d) || s.claimed by {
                assert(!bit(0, d));
            }
            assert(!s.claimed) by {
                assert(!bit(0, c));
            }
            assert(s.pending =~= ISet::<Cpu>::empty());
        }
        if s.claimed {
            self.inst.borrow().a_claimed_sender_waits_for_nobody(c, &x.sender);
        }
        self.inst.borrow().collect(c, n, &x.sender, sent)
    }
}

/// The resources of the processors below `n`.
proof fn gather(
    k: CacheKey,
    tracked rows: Map<nat, Map<nat, PermissionU64>>,
    tracked perms: Map<nat, CachePerm>,
    tracked cache: Map<Cpu, Caches::cache>,
    tracked seat: Map<Cpu, Caches::seat>,
    tracked sender: Map<Cpu, Caches::sender>,
    n: nat,
) -> (tracked r: Map<Cpu, CpuRes>)
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
        forall|c: Cpu| #[trigger] r.dom().contains(c) ==> r[c].ok(k, c),
    decreases n,
{
    let tracked (mut rows, mut perms, mut cache, mut seat, mut sender) = (rows, perms, cache, seat, sender);
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
        let tracked own = CacheOwn { perm: perms.tracked_remove(m), cache: cache.tracked_remove(m) };
        let tracked seat_res = SeatRes { taken, seat: Some(seat.tracked_remove(m)) };
        let tracked requests = Requests { number, awaited, sender: sender.tracked_remove(m), sent: None, text: Some(text) };
        lemma_bits(0, 0);
        assert(rows.dom() =~= Set::<nat>::range(0, m));
        assert(perms.dom() =~= Set::<nat>::range(0, m));
        assert(cache.dom() =~= Set::<nat>::range(0, m));
        assert(seat.dom() =~= Set::<nat>::range(0, m));
        assert(sender.dom() =~= Set::<nat>::range(0, m));
        let tracked x = CpuRes { own, seat: seat_res, requests };
        assert(x.ok(k, m));
        let tracked mut r = gather(k, rows, perms, cache, seat, sender, m);
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
        text.tracked_insert(j, row.tracked_remove(TEXT as nat + j));
        take_text(k, c, row, text, j + 1)
    }
}

} // verus!
