//! Sets of free frames: what the words of a table say, and what operations do to it.
#![allow(
    missing_docs,
    reason = "the fields of steps are arguments and answers of the functions that they name"
)]
use super::chunk::*;
use super::table::*;
use super::words::*;
use vstd::prelude::*;

verus! {

//================ tables ================

/// The frames that a table of this length tells about.
pub open spec fn frames_in(len: nat) -> nat {
    if len < MAX_CHUNKS { 512 * len } else { 512 * MAX_CHUNKS as nat }
}

/// The word that tells about a frame.
pub(super) open spec fn word_of(table: Seq<Chunk>, f: nat) -> u64 {
    table[(f / 512) as int].words@[(f % 512 / 64) as int]
}

/// A frame is free.
pub(super) open spec fn is_free(table: Seq<Chunk>, f: nat) -> bool {
    f < frames_in(table.len()) && bit(word_of(table, f), (f % 64) as int)
}

/// The free frames.
pub(super) open spec fn free_of(table: Seq<Chunk>) -> Set<nat> {
    Set::range(0nat, frames_in(table.len())).filter(|f: nat| is_free(table, f))
}

pub(super) broadcast proof fn lemma_free_of(table: Seq<Chunk>, f: nat)
    ensures
        #[trigger] free_of(table).contains(f) <==> is_free(table, f),
{
    broadcast use vstd::set_lib::range_set_properties;

}

/// Two tables differ in what is no word at most.
pub(super) open spec fn same_words(a: Seq<Chunk>, b: Seq<Chunk>) -> bool {
    &&& a.len() == b.len()
    &&& forall|c: int| 0 <= c < a.len() ==> (#[trigger] b[c]).words == a[c].words
}

pub(super) broadcast proof fn lemma_same_words(a: Seq<Chunk>, b: Seq<Chunk>)
    requires
        #[trigger] same_words(a, b),
    ensures
        free_of(a) == free_of(b),
        frames_in(a.len()) == frames_in(b.len()),
        forall|f: nat| is_free(a, f) == is_free(b, f),
{
    broadcast use lemma_free_of;

    assert forall|f: nat| is_free(a, f) == is_free(b, f) by {
        if f < frames_in(a.len()) {
            assert(b[(f / 512) as int].words == a[(f / 512) as int].words);
        }
    }
    assert(free_of(a) =~= free_of(b));
}

/// A table differs from another in the word of a frame at most.
pub(super) open spec fn same_but(a: Seq<Chunk>, b: Seq<Chunk>, at: nat, word: u64) -> bool {
    &&& a.len() == b.len()
    &&& at / 512 < a.len()
    &&& b[(at / 512) as int].words@ == a[(at / 512) as int].words@.update((at % 512 / 64) as int, word)
    &&& forall|c: int| 0 <= c < a.len() && c != at / 512 ==> (#[trigger] b[c]).words == a[c].words
}

/// What one word says.
pub(super) proof fn lemma_same_but(a: Seq<Chunk>, b: Seq<Chunk>, at: nat, word: u64, f: nat)
    requires
        same_but(a, b, at, word),
        f < frames_in(a.len()),
    ensures
        f / 64 == at / 64 ==> word_of(a, f) == word_of(a, at) && word_of(b, f) == word && f % 64 == f - at + at % 64,
        f / 64 != at / 64 ==> word_of(b, f) == word_of(a, f),
{
    if f / 64 == at / 64 {
        assert(f / 512 == at / 512 && f % 512 / 64 == at % 512 / 64);
        assert(b[(f / 512) as int].words@[(f % 512 / 64) as int] == word);
    } else if f / 512 == at / 512 {
        assert(f % 512 / 64 != at % 512 / 64);
    } else {
        assert(b[(f / 512) as int].words == a[(f / 512) as int].words);
    }
}

//================ operations ================

/// The frames of a range.
pub open spec fn run(start: nat, count: nat) -> Set<nat> {
    Set::range(start, start + count)
}

/// A range of frames was free and is not any more; nothing else has changed.
pub open spec fn took(before: Set<nat>, after: Set<nat>, start: nat, count: nat) -> bool {
    &&& run(start, count).subset_of(before)
    &&& after == before.difference(run(start, count))
}

/// An answer of `take`: the first frame of a range, at a multiple of `step`; or nothing, and nothing has changed.
pub open spec fn answered(before: Set<nat>, after: Set<nat>, r: Option<usize>, count: usize, step: usize) -> bool {
    match r {
        Some(start) => start as nat % step as nat == 0 && took(before, after, start as nat, count as nat),
        None => after == before,
    }
}

/// The numbers in a list of frames.
pub open spec fn numbers(frames: Seq<u32>) -> Set<nat> {
    frames.map_values(|f: u32| f as nat).to_set()
}

/// The frames of a list were free and are not any more; nothing else has changed.
pub open spec fn took_each(before: Set<nat>, after: Set<nat>, frames: Seq<u32>) -> bool {
    &&& frames.no_duplicates()
    &&& numbers(frames).subset_of(before)
    &&& after == before.difference(numbers(frames))
}

pub(super) broadcast proof fn lemma_numbers(frames: Seq<u32>, n: nat)
    ensures
        #[trigger] numbers(frames).contains(n) <==> exists|i: int| 0 <= i < frames.len() && #[trigger] frames[i] as nat == n,
{
    let s = frames.map_values(|f: u32| f as nat);
    s.to_set_ensures();
    if exists|i: int| 0 <= i < frames.len() && #[trigger] frames[i] as nat == n {
        let i = choose|i: int| 0 <= i < frames.len() && #[trigger] frames[i] as nat == n;
        assert(s[i] == n);
    }
    if s.contains(n) {
        let i = choose|i: int| 0 <= i < s.len() && s[i] == n;
        assert(frames[i] as nat == n);
    }
}

/// One after the other.
pub(super) proof fn lemma_took_more(a: Set<nat>, b: Set<nat>, c: Set<nat>, s: Seq<u32>, t: Seq<u32>)
    requires
        took_each(a, b, s),
        took_each(b, c, t),
    ensures
        took_each(a, c, s + t),
{
    broadcast use lemma_numbers;

    let u = s + t;
    assert forall|n: nat| numbers(u).contains(n) <==> numbers(s).contains(n) || numbers(t).contains(n) by {
        if numbers(u).contains(n) {
            let i = choose|i: int| 0 <= i < u.len() && #[trigger] u[i] as nat == n;
            if i < s.len() {
                assert(s[i] as nat == n);
            } else {
                assert(t[i - s.len()] as nat == n);
            }
        }
        if numbers(s).contains(n) {
            let i = choose|i: int| 0 <= i < s.len() && #[trigger] s[i] as nat == n;
            assert(u[i] as nat == n);
        }
        if numbers(t).contains(n) {
            let i = choose|i: int| 0 <= i < t.len() && #[trigger] t[i] as nat == n;
            assert(u[i + s.len()] as nat == n);
        }
    }
    assert forall|i: int, j: int| 0 <= i < j < u.len() implies u[i] != u[j] by {
        if i < s.len() && j >= s.len() {
            assert(numbers(s).contains(s[i] as nat));
            assert(numbers(t).contains(t[j - s.len()] as nat));
        } else if i >= s.len() {
            assert(t[i - s.len()] != t[j - s.len()]);
        }
    }
    assert(c =~= a.difference(numbers(u)));
}

/// None at all.
pub(super) proof fn lemma_took_none(a: Set<nat>)
    ensures
        took_each(a, a, Seq::empty()),
{
    broadcast use lemma_numbers;

    assert(a =~= a.difference(numbers(Seq::empty())));
}

/// One more.
pub(super) proof fn lemma_took_one(a: Set<nat>, b: Set<nat>, s: Seq<u32>, f: u32)
    requires
        took_each(a, b, s),
        b.contains(f as nat),
    ensures
        took_each(a, b.remove(f as nat), s.push(f)),
{
    broadcast use lemma_numbers;

    let one = seq![f];
    assert forall|n: nat| numbers(one).contains(n) <==> n == f as nat by {
        assert(one[0] as nat == f as nat);
    }
    assert(b.remove(f as nat) =~= b.difference(numbers(one)));
    lemma_took_more(a, b, b.remove(f as nat), s, one);
    assert(s + one =~= s.push(f));
}

/// The places `from..to` of a list were filled with frames that were free; the others are as they were.
pub open spec fn took_list(before: Set<nat>, after: Set<nat>, old_list: Seq<u32>, list: Seq<u32>, from: int, to: int) -> bool {
    &&& 0 <= from <= to <= list.len() == old_list.len()
    &&& took_each(before, after, list.subrange(from, to))
    &&& forall|i: int| 0 <= i < list.len() && !(from <= i < to) ==> #[trigger] list[i] == old_list[i]
}

/// One part of a list after the other.
pub(super) proof fn lemma_list(a: Set<nat>, b: Set<nat>, c: Set<nat>, old_list: Seq<u32>, middle: Seq<u32>, list: Seq<u32>, from: int, to: int, end: int)
    requires
        took_list(a, b, old_list, middle, from, to),
        took_list(b, c, middle, list, to, end),
    ensures
        took_list(a, c, old_list, list, from, end),
{
    assert(list.subrange(from, to) =~= middle.subrange(from, to));
    lemma_took_more(a, b, c, middle.subrange(from, to), list.subrange(to, end));
    assert(list.subrange(from, end) =~= list.subrange(from, to) + list.subrange(to, end));
}

/// A table of used-up chunks has no free frame.
pub(super) proof fn lemma_used_up(t: Seq<Chunk>)
    requires
        forall|c: int| 0 <= c < t.len() ==> (#[trigger] t[c]).is_used_up(),
    ensures
        free_of(t) == Set::<nat>::empty(),
{
    broadcast use {lemma_free_of, group_bits};

    assert forall|f: nat| !is_free(t, f) by {
        if f < frames_in(t.len()) {
            t[(f / 512) as int].lemma_used_up((f % 512 / 64) as int);
            assert(word_of(t, f) == 0);
        }
    }
    assert(free_of(t) =~= Set::<nat>::empty());
}

/// What was taken out of a word was taken out of the table.
#[verifier::spinoff_prover]
pub(super) proof fn lemma_took_in_word(a: Seq<Chunk>, b: Seq<Chunk>, base: nat, word: u64, rest: u64, frames: Seq<u32>)
    requires
        same_but(a, b, base, rest),
        base % 64 == 0,
        base < frames_in(a.len()),
        word == word_of(a, base),
        took_each(ones_of(word, base), ones_of(rest, base), frames),
    ensures
        took_each(free_of(a), free_of(b), frames),
{
    broadcast use lemma_ones_of, lemma_free_of;

    assert(base + 64 <= frames_in(a.len()));
    assert forall|f: nat| #[trigger] is_free(b, f) <==> is_free(a, f) && !numbers(frames).contains(f) by {
        if f < frames_in(a.len()) {
            assert(base <= f < base + 64 <==> f / 64 == base / 64);
            lemma_same_but(a, b, base, rest, f);
            assert(ones_of(rest, base).contains(f) <==> ones_of(word, base).contains(f) && !numbers(frames).contains(f));
        }
    }
    assert forall|f: nat| #[trigger] numbers(frames).contains(f) implies is_free(a, f) by {
        assert(ones_of(word, base).contains(f));
        lemma_same_but(a, b, base, rest, f);
    }
    assert(free_of(b) =~= free_of(a).difference(numbers(frames)));
}

/// Those frames of a range that a pool of this many frames has are free; nothing else has changed.
pub open spec fn gave(before: Set<nat>, after: Set<nat>, frames: nat, start: nat, count: nat) -> bool {
    after == before.union(run(start, count).intersect(run(0, frames)))
}

/// A range of frames was marked as free or as not free, all else is as it was.
pub(super) open spec fn marked(a: Seq<Chunk>, b: Seq<Chunk>, start: nat, end: nat, free: bool) -> bool {
    &&& a.len() == b.len()
    &&& forall|f: nat| f < frames_in(a.len()) ==> #[trigger] is_free(b, f) == if start <= f < end { free } else { is_free(a, f) }
}

/// The word that tells about the frames from `at` on says that they are free.
pub(super) proof fn lemma_free_here(t: Seq<Chunk>, at: nat, here: nat, mask: u64)
    requires
        at % 64 + here <= 64,
        at + here <= frames_in(t.len()),
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(mask, i) <==> at % 64 <= i < at % 64 + here),
        word_of(t, at) & mask == mask,
    ensures
        forall|f: nat| at <= f < at + here ==> #[trigger] is_free(t, f),
{
    let word = word_of(t, at);
    lemma_covers(word, mask);
    assert forall|f: nat| at <= f < at + here implies #[trigger] is_free(t, f) by {
        assert(f / 512 == at / 512 && f % 512 / 64 == at % 512 / 64);
        assert(f % 64 == at % 64 + (f - at));
        assert(bit(mask, (f % 64) as int));
        assert(bit(word, (f % 64) as int));
    }
}

/// Marks the frames from `at` on that a word tells about.
pub(super) proof fn lemma_mark(t: Seq<Chunk>, a: Seq<Chunk>, b: Seq<Chunk>, start: nat, at: nat, here: nat, mask: u64, free: bool)
    requires
        marked(t, a, start, at, free),
        start <= at,
        at % 64 + here <= 64,
        at + here <= frames_in(a.len()),
        0 < here,
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(mask, i) <==> at % 64 <= i < at % 64 + here),
        same_but(a, b, at, if free { word_of(a, at) | mask } else { word_of(a, at) & !mask }),
    ensures
        marked(t, b, start, at + here, free),
{
    broadcast use group_bits;

    let word = if free { word_of(a, at) | mask } else { word_of(a, at) & !mask };
    assert forall|f: nat| f < frames_in(t.len()) implies #[trigger] is_free(b, f) == if start <= f < at + here {
        free
    } else {
        is_free(t, f)
    } by {
        lemma_same_but(a, b, at, word, f);
        let i = (f % 64) as int;
        assert(is_free(a, f) == if start <= f < at { free } else { is_free(t, f) });
        if f / 64 == at / 64 {
            assert(bit(word, i) == if bit(mask, i) { free } else { bit(word_of(a, at), i) });
            assert(bit(mask, i) <==> at <= f < at + here);
        }
    }
}

/// A range that was free and is marked as not free was taken.
pub(super) proof fn lemma_took(a: Seq<Chunk>, b: Seq<Chunk>, start: nat, count: nat)
    requires
        marked(a, b, start, start + count, false),
        start + count <= frames_in(a.len()),
        forall|f: nat| start <= f < start + count ==> is_free(a, f),
    ensures
        took(free_of(a), free_of(b), start, count),
{
    broadcast use {lemma_free_of, vstd::set_lib::range_set_properties};

    assert(free_of(b) =~= free_of(a).difference(run(start, count)));
}

/// Of the frames that a word tells about, those of a range that were free are the ones of the word there.
pub(super) proof fn lemma_known(t: Seq<Chunk>, a: Seq<Chunk>, start: nat, at: nat, here: nat, mask: u64)
    requires
        marked(t, a, start, at, true),
        start <= at,
        at % 64 + here <= 64,
        at + here <= frames_in(t.len()),
        0 < here,
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(mask, i) <==> at % 64 <= i < at % 64 + here),
    ensures
        ({
            let base = (at - at % 64) as nat;
            let ones = ones_of(word_of(a, at) & mask, base);
            let known = free_of(t).intersect(run(start, (at - start) as nat));
            &&& free_of(t).intersect(run(start, (at + here - start) as nat)).len() == known.len() + ones.len()
            &&& ones.len() <= here
        }),
{
    broadcast use {lemma_free_of, group_bits, vstd::set_lib::range_set_properties};

    let base = (at - at % 64) as nat;
    let ones = ones_of(word_of(a, at) & mask, base);
    let known = free_of(t).intersect(run(start, (at - start) as nat));
    assert forall|f: nat| ones.contains(f) <==> at <= f < at + here && is_free(t, f) by {
        if base <= f < base + 64 && f < frames_in(t.len()) {
            assert(f / 512 == at / 512 && f % 512 / 64 == at % 512 / 64);
            assert(f % 64 == f - base);
            assert(bit(mask, f - base) <==> at <= f < at + here);
            if f >= at {
                assert(is_free(a, f) == is_free(t, f));
            }
        }
    }
    assert(free_of(t).intersect(run(start, (at + here - start) as nat)) =~= known.union(ones));
    assert(known.disjoint(ones));
    vstd::set_lib::lemma_set_disjoint_lens(known, ones);
    vstd::set_lib::lemma_len_subset(ones, run(at, here));
}

pub(super) proof fn lemma_known_none(t: Seq<Chunk>, start: nat)
    ensures
        free_of(t).intersect(run(start, 0)).len() == 0,
{
    broadcast use vstd::set_lib::range_set_properties;

    assert(free_of(t).intersect(run(start, 0)) =~= Set::empty());
}

/// A range that was marked as free was given.
pub(super) proof fn lemma_gave(a: Seq<Chunk>, b: Seq<Chunk>, start: nat, end: nat)
    requires
        marked(a, b, start, end, true),
        start <= end,
    ensures
        gave(free_of(a), free_of(b), frames_in(a.len()), start, (end - start) as nat),
        end <= frames_in(a.len()) ==> free_of(b).len() + free_of(a).intersect(run(start, (end - start) as nat)).len()
            == free_of(a).len() + end - start,
{
    broadcast use {lemma_free_of, vstd::set_lib::range_set_properties};

    let range = run(start, (end - start) as nat);
    assert(free_of(b) =~= free_of(a).union(range.intersect(run(0, frames_in(a.len())))));
    if end <= frames_in(a.len()) {
        assert(free_of(b) =~= free_of(a).union(range));
        vstd::set_lib::lemma_set_intersect_union_lens(free_of(a), range);
    }
}

/// One range after the other.
pub(super) proof fn lemma_gave_more(a: Set<nat>, b: Set<nat>, c: Set<nat>, frames: nat, start: nat, count: nat, more: nat)
    requires
        gave(a, b, frames, start, count),
        gave(b, c, frames, start + count, more),
    ensures
        gave(a, c, frames, start, count + more),
{
    broadcast use vstd::set_lib::range_set_properties;

    assert(c =~= a.union(run(start, count + more).intersect(run(0, frames))));
}

/// What is beyond the pool, or nothing, changes nothing.
pub(super) proof fn lemma_gave_none(a: Set<nat>, frames: nat, start: nat, count: nat)
    requires
        frames <= start || count == 0,
    ensures
        gave(a, a, frames, start, count),
{
    broadcast use vstd::set_lib::range_set_properties;

    assert(a =~= a.union(run(start, count).intersect(run(0, frames))));
}

//================ histories ================

/// What is done to a pool, by the contracts of its functions.
pub ghost enum PoolStep {
    /// `take` answered with `start`.
    Take { start: nat, count: nat },
    /// `take_some` wrote these.
    TakeSome { frames: Seq<u32> },
    /// `give` or `give_one`.
    Give { start: nat, count: nat },
}

impl PoolStep {
    /// It makes the one set of free frames of the other, in a pool of this many frames.
    pub open spec fn makes(self, before: Set<nat>, after: Set<nat>, frames: nat) -> bool {
        match self {
            PoolStep::Take { start, count } => took(before, after, start, count),
            PoolStep::TakeSome { frames } => took_each(before, after, frames),
            PoolStep::Give { start, count } => gave(before, after, frames, start, count),
        }
    }

    /// The frames that it hands out.
    pub open spec fn taken(self) -> Set<nat> {
        match self {
            PoolStep::Take { start, count } => run(start, count),
            PoolStep::TakeSome { frames } => numbers(frames),
            PoolStep::Give { .. } => Set::empty(),
        }
    }

    /// The frames that are given back by it.
    pub open spec fn given(self) -> Set<nat> {
        match self {
            PoolStep::Give { start, count } => run(start, count),
            _ => Set::empty(),
        }
    }
}

/// The sets of free frames before and after each of the steps.
pub open spec fn history(free: Seq<Set<nat>>, steps: Seq<PoolStep>, frames: nat) -> bool {
    &&& free.len() == steps.len() + 1
    &&& forall|i: int| 0 <= i < steps.len() ==> (#[trigger] steps[i]).makes(free[i], free[i + 1], frames)
}

/// A frame that was handed out is not free until it is given back.
pub proof fn lemma_not_free_until_given(free: Seq<Set<nat>>, steps: Seq<PoolStep>, frames: nat, i: int, j: int, f: nat)
    requires
        history(free, steps, frames),
        0 <= i < j < free.len(),
        steps[i].taken().contains(f),
        forall|k: int| i < k < j ==> !(#[trigger] steps[k]).given().contains(f),
    ensures
        !free[j].contains(f),
    decreases j,
{
    let k = j - 1;
    assert(steps[k].makes(free[k], free[k + 1], frames));
    if i < k {
        lemma_not_free_until_given(free, steps, frames, i, k, f);
    }
}

} // verus!
