//! Requests to other processors, and their answers.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::op::*;
use super::protocol::*;
use super::statistics::{Event, count};
use super::world::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::has_arrived;
use vellum_machine::cpu::{CpuId, CpuSet, MAX_CPUS, PreemptGuard};
#[cfg(verus_keep_ghost)]
use vellum_machine::ipi::NotReached;
use vellum_machine::ipi::{Call, call_each};
use vstd::prelude::*;

verus! {

/// The words of a request say which pages.
pub open spec fn readable(ask: Ask) -> bool {
    let len = ask.words[0] as nat;
    let runs = ask.words.subrange(1, TEXT_WORDS as int);
    &&& ask.words.len() == TEXT_WORDS
    &&& len <= RUN_LIMIT ==> forall|i: int| 0 <= i < len ==> run_ok(#[trigger] runs[i])
    &&& ask.pages == pages_of(runs, len)
}

/// A request that was sent, and that every processor may have answered.
pub(super) struct Ticket {
    sender: CpuId,
    number: u64,
    sent: Tracked<Caches::sent>,
}

impl Ticket {
    #[verifier::type_invariant]
    pub closed spec fn wf(self) -> bool {
        ours(self.sent@.instance_id()) && self.sent@.key() == (self.sender.number(), self.number as nat)
    }

    /// What was asked.
    pub closed spec fn ask(self) -> Ask {
        self.sent@.value()
    }

    /// If every processor has answered: what they say.
    pub(super) fn answer(&self) -> (r: Option<Tracked<Caches::clean>>)
        ensures
            r matches Some(f) ==> ours(f@.instance_id()) && f@.element() == self.ask().answers(),
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        caches().answered(self.sender, self.number, Tracked(self.sent.borrow()))
    }
}

/// That of no run anything is known.
fn nothing(w: &CacheWorld, me: CpuId, Ghost(s): Ghost<Sid>, Ghost(runs): Ghost<Seq<u64>>, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: Tracked<
    Caches::clean,
>)
    requires
        *w == the_caches(),
        ours(stamp.instance_id()),
    ensures
        ours(r@.instance_id()),
        r@.element() == (Clean { cpus: only(me.number()), space: s, pages: pages_of(runs, 0), time: stamp.element() }),
    no_unwind
{
    let ghost f = Clean { cpus: only(me.number()), space: s, pages: pages_of(runs, 0), time: stamp.element() };
    let tracked r = w.instance_ref().nothing(f, stamp);
    Tracked(r)
}

/// Flushes one run more.
#[expect(clippy::too_many_arguments, reason = "half of them are ghosts")]
#[inline(always)]
fn flush_run(
    w: &CacheWorld,
    here: &PreemptGuard,
    me: CpuId,
    word: u64,
    Ghost(runs): Ghost<Seq<u64>>,
    Ghost(i): Ghost<nat>,
    Tracked(stamp): Tracked<&Caches::stamp>,
    Tracked(before): Tracked<Caches::clean>,
) -> (r: Tracked<Caches::clean>)
    requires
        *w == the_caches(),
        me.number() == here.cpu(),
        ours(stamp.instance_id()) && ours(before.instance_id()),
        i < RUN_LIMIT && i < runs.len(),
        runs[i as int] == word,
        run_ok(word),
        before.element() == (Clean { pages: pages_of(runs, i), ..before.element() }),
        before.element().cpus == only(me.number()),
        before.element().time == stamp.element(),
    ensures
        ours(r@.instance_id()),
        r@.element() == (Clean { pages: pages_of(runs, i + 1), ..before.element() }),
    no_unwind
{
    let ghost f = before.element();
    let Tracked(new) = w.forget(here, me, run_bounds(word), Ghost(f.space), Tracked(stamp));
    let ghost g = Clean { pages: pages_of(runs, i + 1), ..f };
    proof {
        assert forall|p: nat| #[trigger] g.pages.contains(p) implies f.pages.contains(p) || new.element().pages.contains(p) by {
            let l = choose|l: int| 0 <= l < i + 1 && #[trigger] run_has(runs[l], p);
            assert(l < i || l == i);
        }
    }
    let tracked r = w.instance_ref().join(f, new.element(), g, &before, &new);
    Tracked(r)
}

/// Flushes what is in a batch on this processor.
#[inline]
pub(super) fn flush_batch(
    here: &PreemptGuard,
    me: CpuId,
    batch: &Batch,
    Ghost(s): Ghost<Sid>,
    Tracked(stamp): Tracked<&Caches::stamp>,
) -> (r: Tracked<Caches::clean>)
    requires
        me.number() == here.cpu(),
        ours(stamp.instance_id()),
    ensures
        ours(r@.instance_id()),
        r@.element() == (Clean { cpus: only(me.number()), space: s, pages: batch.all(), time: stamp.element() }),
    no_unwind
{
    let w = caches();
    let len = batch.len();
    if len > RUN_LIMIT {
        let r = w.forget_all(here, me, Ghost(s), Tracked(stamp));
        proof {
            assert(ISet::<nat>::full() =~= batch.all());
        }
        return r;
    }
    let ghost runs = batch.runs();
    let Tracked(mut fact) = nothing(w, me, Ghost(s), Ghost(runs), Tracked(stamp));
    let mut i = 0;
    while i < len
        invariant
            *w == the_caches(),
            me.number() == here.cpu(),
            ours(stamp.instance_id()) && ours(fact.instance_id()),
            len == batch.words() <= RUN_LIMIT,
            runs == batch.runs(),
            runs.len() == RUN_LIMIT,
            i <= len,
            fact.element() == (Clean { cpus: only(me.number()), space: s, pages: pages_of(runs, i as nat), time: stamp.element() }),
        decreases len - i,
    {
        let Tracked(more) = flush_run(w, here, me, batch.run(i), Ghost(runs), Ghost(i as nat), Tracked(stamp), Tracked(fact));
        proof {
            fact = more;
        }
        i += 1;
    }
    Tracked(fact)
}

/// What processors are called for: they flush what the caller asks for, and answer.
struct Serve;

impl Call for Serve {
    type Token = Asked;

    open spec fn fits(token: Asked, arg: usize, cpu: nat) -> bool {
        arg < MAX_CPUS && token.ok(arg as nat, cpu) && readable(token.sent.value())
    }

    fn run(here: &PreemptGuard, arg: usize, token: Tracked<Asked>) {
        let me = vellum_machine::cpu::here(here);
        let w = caches();
        let Tracked(asked) = token;
        let ghost ask = asked.sent.value();
        let ghost runs = ask.words.subrange(1, TEXT_WORDS as int);
        let len = w.read(arg, 0, Ghost(me.number()), Tracked(&asked));
        let tracked mut fact;
        if len > RUN_LIMIT as u64 {
            let Tracked(all) = w.forget_all(here, me, Ghost(ask.space), Tracked(&asked.stamp));
            proof {
                assert(ISet::<nat>::full() =~= ask.pages);
                fact = all;
            }
        } else {
            let Tracked(none) = nothing(w, me, Ghost(ask.space), Ghost(runs), Tracked(&asked.stamp));
            proof {
                fact = none;
            }
            let len = len as usize;
            let mut i = 0;
            while i < len
                invariant
                    *w == the_caches(),
                    me.number() == here.cpu(),
                    arg < MAX_CPUS,
                    asked.ok(arg as nat, me.number()),
                    ask == asked.sent.value(),
                    readable(ask),
                    runs == ask.words.subrange(1, TEXT_WORDS as int),
                    ours(fact.instance_id()),
                    len == ask.words[0] <= RUN_LIMIT,
                    i <= len,
                    fact.element() == (Clean {
                        cpus: only(me.number()),
                        space: ask.space,
                        pages: pages_of(runs, i as nat),
                        time: ask.time,
                    }),
                decreases len - i,
            {
                let word = w.read(arg, 1 + i, Ghost(me.number()), Tracked(&asked));
                proof {
                    assert(run_ok(runs[i as int]));
                }
                let Tracked(more) = flush_run(
                    w,
                    here,
                    me,
                    word,
                    Ghost(runs),
                    Ghost(i as nat),
                    Tracked(&asked.stamp),
                    Tracked(fact),
                );
                proof {
                    fact = more;
                }
                i += 1;
            }
        }
        count(here, Event::Acknowledgement, 1);
        w.answer(arg, me, Tracked(asked), Tracked(&fact));
    }
}

/// Asks processors to flush what is in a batch, unless an earlier request of this processor is not answered yet.
pub(super) fn send(
    here: &PreemptGuard,
    me: CpuId,
    batch: &Batch,
    targets: CpuSet,
    Ghost(s): Ghost<Sid>,
    Tracked(stamp): Tracked<&Caches::stamp>,
) -> (r: Option<Ticket>)
    requires
        me.number() == here.cpu(),
        ours(stamp.instance_id()),
        forall|c: Cpu| #[trigger] targets.has(c) ==> has_arrived(c),
    ensures
        r matches Some(t) ==> {
            &&& t.ask() == (Ask { space: s, pages: batch.all(), time: stamp.element(), ..t.ask() })
            &&& forall|c: Cpu| #[trigger] t.ask().targets.contains(c) <==> targets.has(c)
        },
{
    let w = caches();
    let (Tracked(claim), Tracked(mut text)) = w.claim(me)?;
    write_text(w, me, batch, Tracked(&mut text));
    let ghost words = Seq::new(TEXT_WORDS as nat, |j: int| text[j as nat]@.value);
    let ghost ask = Ask {
        space: s,
        pages: batch.all(),
        time: stamp.element(),
        targets: ISet::new(|c: Cpu| targets.has(c)),
        words,
    };
    proof {
        let (a, b) = (words.subrange(1, TEXT_WORDS as int), batch.runs());
        if batch.words() <= RUN_LIMIT {
            assert forall|i: int| 0 <= i < batch.words() implies #[trigger] a[i] == b[i] && run_ok(a[i]) by {
                assert(text[(1 + i) as nat]@.value == b[i]);
            }
            assert forall|p: nat| #[trigger] batch.all().contains(p) implies pages_of(a, batch.words()).contains(p) by {
                let i = choose|i: int| 0 <= i < batch.words() && #[trigger] run_has(b[i], p);
                assert(run_has(a[i], p));
            }
            assert forall|p: nat| #[trigger] pages_of(a, batch.words()).contains(p) implies batch.all().contains(p) by {
                let i = choose|i: int| 0 <= i < batch.words() && #[trigger] run_has(a[i], p);
                assert(run_has(b[i], p));
            }
        }
        assert(words[0] == batch.words());
        assert(batch.all() =~= pages_of(a, batch.words()));
        assert(readable(ask));
    }
    let (number, Tracked(sent), Tracked(asked)) = w.publish(
        me,
        targets,
        Ghost(ask),
        Tracked(claim),
        Tracked(text),
        Tracked(stamp),
    );
    call(w, me, targets, number, Tracked(&sent), Tracked(asked), Tracked(stamp));
    count(here, Event::Shootdown, 1);
    Some(Ticket { sender: me, number, sent: Tracked(sent) })
}

/// Writes a batch into the words of the next request.
fn write_text(w: &CacheWorld, me: CpuId, batch: &Batch, Tracked(text): Tracked<&mut Text>)
    requires
        text_of(w.key(), me.number(), *old(text)),
    ensures
        text_of(w.key(), me.number(), *final(text)),
        final(text)[0]@.value == batch.words(),
        batch.words() <= RUN_LIMIT ==> forall|i: int| 0 <= i < batch.words() ==> {
            &&& #[trigger] final(text)[(1 + i) as nat]@.value == batch.runs()[i]
            &&& run_ok(batch.runs()[i])
        },
    no_unwind
{
    let len = batch.len();
    w.write(me, 0, len as u64, Tracked(text));
    if len > RUN_LIMIT {
        return ;
    }
    let mut i = 0;
    while i < len
        invariant
            text_of(w.key(), me.number(), *text),
            len == batch.words() <= RUN_LIMIT,
            i <= len,
            text[0]@.value == len,
            forall|l: int| 0 <= l < i ==> {
                &&& #[trigger] text[(1 + l) as nat]@.value == batch.runs()[l]
                &&& run_ok(batch.runs()[l])
            },
        decreases len - i,
    {
        w.write(me, 1 + i, batch.run(i), Tracked(text));
        i += 1;
    }
}

/// What each target of a request is handed.
proof fn hand_out(
    i: Cpu,
    number: nat,
    targets: CpuSet,
    tracked sent: &Caches::sent,
    tracked asked: Map<(Cpu, Cpu), Caches::asked>,
    tracked stamp: &Caches::stamp,
    n: nat,
) -> (tracked r: Map<Cpu, Asked>)
    requires
        i < MAX_CPUS && n <= MAX_CPUS && number > 0,
        ours(sent.instance_id()) && ours(stamp.instance_id()),
        sent.key() == (i, number),
        sent.value().time == stamp.element(),
        forall|c: Cpu| #[trigger] targets.has(c) ==> sent.value().targets.contains(c),
        forall|c: Cpu| c < n && #[trigger] targets.has(c) ==> asked.dom().contains((i, c)) && ours(asked[(i, c)].instance_id())
            && asked[(i, c)].key() == (i, c) && asked[(i, c)].value() == number,
    ensures
        forall|c: Cpu| c < n && #[trigger] targets.has(c) ==> r.dom().contains(c) && r[c].ok(i, c) && r[c].sent.value()
            == sent.value(),
    decreases n,
{
    let tracked mut asked = asked;
    if n == 0 {
        Map::tracked_empty()
    } else {
        let c = (n - 1) as nat;
        if targets.has(c) {
            let tracked a = asked.tracked_remove((i, c));
            let tracked mut r = hand_out(i, number, targets, sent, asked, stamp, c);
            r.tracked_insert(c, Asked { asked: a, sent: sent.clone(), stamp: stamp.clone() });
            r
        } else {
            hand_out(i, number, targets, sent, asked, stamp, c)
        }
    }
}

/// Calls the targets of a request, and answers for those that do not run.
#[expect(clippy::collapsible_if, reason = "the verifier does not read chains of conditions")]
fn call(
    w: &CacheWorld,
    me: CpuId,
    targets: CpuSet,
    number: u64,
    Tracked(sent): Tracked<&Caches::sent>,
    Tracked(asked): Tracked<Map<(Cpu, Cpu), Caches::asked>>,
    Tracked(stamp): Tracked<&Caches::stamp>,
)
    requires
        *w == the_caches(),
        number > 0,
        ours(sent.instance_id()) && ours(stamp.instance_id()),
        sent.key() == (me.number(), number as nat),
        sent.value().time == stamp.element(),
        readable(sent.value()),
        forall|c: Cpu| #[trigger] targets.has(c) <==> sent.value().targets.contains(c),
        forall|c: Cpu| #[trigger] targets.has(c) ==> has_arrived(c),
        forall|c: Cpu| #[trigger] targets.has(c) ==> asked.dom().contains((me.number(), c)) && ours(
            asked[(me.number(), c)].instance_id(),
        ) && asked[(me.number(), c)].key() == (me.number(), c) && asked[(me.number(), c)].value() == number,
{
    let i = me.index();
    let tracked tokens = hand_out(i as nat, number as nat, targets, sent, asked, stamp, MAX_CPUS as nat);
    let ghost all = tokens;
    let (reached, Tracked(mut back)) = call_each::<Serve>(targets, i, Tracked(tokens));
    let absent = targets.difference(reached);
    if absent.is_empty() {
        return ;
    }
    let mut n: u32 = 0;
    while n < MAX_CPUS as u32
        invariant
            *w == the_caches(),
            i == me.number() < MAX_CPUS,
            n <= MAX_CPUS,
            forall|c: Cpu| #[trigger] absent.has(c) ==> all.dom().contains(c) && all[c].ok(i as nat, c),
            forall|c: Cpu| n <= c && #[trigger] absent.has(c) ==> back.dom().contains(c) && back[c].token == all[c]
                && back[c].stopped.cpu() == c,
        decreases MAX_CPUS - n,
    {
        if let Some(c) = CpuId::new(n) {
            if absent.contains(c) {
                let tracked NotReached { token, stopped } = back.tracked_remove(n as nat);
                w.answer_for(i, c, Tracked(token), Tracked(&stopped));
            }
        }
        n += 1;
    }
}

} // verus!
