//! Requests in the words of processors: begun, written, published, read, answered.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::protocol::*;
use super::world::*;
use vellum_machine::cpu::{CpuId, CpuSet};
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::{MAX_CPUS, bit, lemma_bits};
use vellum_machine::halt::halt;
use vellum_machine::tlb::Stopped;
use vstd::invariant::*;
use vstd::prelude::*;

verus! {

impl CacheWorld {
    /// Whether processor `i` could send a request now.
    #[inline(always)]
    pub(super) fn is_free(&self, me: CpuId) -> bool
        no_unwind
    {
        let i = me.index();
        let ghost c = i as nat;
        let r;
        proof {
            self.lemma_key();
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
            self.lemma_key();
            lemma_bits(0, 0);
            vellum_machine::cpu::lemma_one_bit(c);
        }
        let word = self.words.word(i, AWAITED);
        let mine = 1u64 << (i as u64);
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own, seat, requests: Requests { number, mut awaited, mut sender, sent, mut text } } = self.open(&mut g, c);
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
                self.close(g0, &mut g, c, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent, text } });
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
            self.lemma_key();
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
            self.lemma_key();
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
            let tracked CpuRes { own, seat, requests: Requests { mut number, awaited, sender, sent, text } } = self.open(&mut g, c);
            word.store_release(Tracked(&mut number), before + 1);
            proof {
                self.inst.borrow().a_claim_is_exclusive(c, &sender, &claim);
                let tracked (Tracked(sender), Tracked(t)) = self.inst.borrow().renumber(c, sender, claim);
                claim = t;
                self.close(g0, &mut g, c, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent, text } });
            }
        });
        let tracked out;
        let word = self.words.word(i, AWAITED);
        let mask = targets.to_word();
        let ghost set = Set::<nat>::range(0, MAX_CPUS as nat).filter(|d: nat| targets.has(d));
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own, seat, requests: Requests { number, mut awaited, sender, sent: _, text: _ } } = self.open(&mut g, c);
            word.store_release(Tracked(&mut awaited), mask);
            proof {
                self.inst.borrow().a_claim_is_exclusive(c, &sender, &claim);
                let tracked (Tracked(sender), Tracked(sent), Tracked(asked)) = self.inst.borrow().publish(c, ask, set, stamp, sender, claim);
                out = (sent.clone(), asked.into_map());
                self.close(g0, &mut g, c, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent: Some(sent), text: Some(text) } });
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
            self.lemma_key();
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
            self.lemma_key();
            vellum_machine::cpu::lemma_one_bit(c);
        }
        let word = self.words.word(i, AWAITED);
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            let tracked CpuRes { own, seat, requests: Requests { number, mut awaited, sender, sent, text } } = self.open(&mut g, i as nat);
            let ghost w = awaited@.value;
            word.clear_release(Tracked(&mut awaited), mine);
            proof {
                lemma_bits(w, mine);
                let tracked Asked { asked: a, sent: s, stamp: _ } = asked;
                self.inst.borrow().a_request_waits_for_its_target(i as nat, c, &sender, &a);
                let tracked sender = self.inst.borrow().answer(i as nat, c, fact, sender, &s, a);
                self.close(g0, &mut g, i as nat, CpuRes { own, seat, requests: Requests { number, awaited, sender, sent, text } });
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
            self.lemma_key();
            vellum_machine::cpu::lemma_one_bit(c);
        }
        let ghost ask = asked.sent.value();
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof {
                let ghost g0 = g;
                let tracked CpuRes { own: CacheOwn { mut perm, cache }, seat, requests } = self.open(&mut g, c);
                stopped.forgets(&mut perm);
                let tracked (_, Tracked(cache), _, Tracked(f)) = self.inst.borrow().flush(c, ISet::full(), ask.space, ask.time, &asked.stamp, cache);
                let all = f.element();
                fact = self.inst.borrow().join(all, all, ask.answer(c), &f, &f);
                self.close(g0, &mut g, c, CpuRes { own: CacheOwn { perm, cache }, seat, requests });
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
            self.lemma_key();
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
        self.lemma_key();
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

} // verus!
