//! Bits of words: specification and lemmas.
use vstd::prelude::*;

verus! {

/// A bit of a word.
pub(crate) open spec fn bit(word: u64, i: int) -> bool {
    (word >> (i as u64)) & 1 == 1
}

/// The ones of a word, as numbers from `base` on.
pub(crate) open spec fn ones_of(word: u64, base: nat) -> Set<nat> {
    Set::range(base, base + 64).filter(|f: nat| bit(word, f - base))
}

pub(crate) broadcast proof fn lemma_ones_of(word: u64, base: nat, f: nat)
    ensures
        #[trigger] ones_of(word, base).contains(f) <==> base <= f < base + 64 && bit(word, f - base),
{
    broadcast use vstd::set_lib::range_set_properties;

}

pub(crate) broadcast proof fn lemma_bit_and(a: u64, b: u64, i: int)
    requires
        0 <= i < 64,
    ensures
        #[trigger] bit(a & b, i) <==> bit(a, i) && bit(b, i),
{
    let k = i as u64;
    assert(k < 64 ==> (((a & b) >> k) & 1 == 1 <==> (a >> k) & 1 == 1 && (b >> k) & 1 == 1)) by (bit_vector);
}

pub(crate) broadcast proof fn lemma_bit_or(a: u64, b: u64, i: int)
    requires
        0 <= i < 64,
    ensures
        #[trigger] bit(a | b, i) <==> bit(a, i) || bit(b, i),
{
    let k = i as u64;
    assert(k < 64 ==> (((a | b) >> k) & 1 == 1 <==> (a >> k) & 1 == 1 || (b >> k) & 1 == 1)) by (bit_vector);
}

pub(crate) broadcast proof fn lemma_bit_not(a: u64, i: int)
    requires
        0 <= i < 64,
    ensures
        #[trigger] bit(!a, i) <==> !bit(a, i),
{
    let k = i as u64;
    assert(k < 64 ==> ((!a >> k) & 1 == 1 <==> (a >> k) & 1 != 1)) by (bit_vector);
}

pub(super) broadcast proof fn lemma_bit_shr(a: u64, n: u64, i: int)
    requires
        0 <= i < 64,
        n < 64,
    ensures
        #[trigger] bit(a >> n, i) <==> i + n < 64 && bit(a, i + n),
{
    let k = i as u64;
    assert(k < 64 && n < 64 ==> (((a >> n) >> k) & 1 == 1 <==> add(k, n) < 64 && (a >> add(k, n)) & 1 == 1)) by (bit_vector);
}

pub(crate) broadcast proof fn lemma_bit_zero(i: int)
    requires
        0 <= i < 64,
    ensures
        !#[trigger] bit(0, i),
{
    let k = i as u64;
    assert(k < 64 ==> (0u64 >> k) & 1 != 1) by (bit_vector);
}

pub(crate) broadcast group group_bits {
    lemma_bit_and,
    lemma_bit_or,
    lemma_bit_not,
    lemma_bit_zero,
    lemma_ones_of,
}

/// A word that has every bit of another.
pub(super) proof fn lemma_covers(word: u64, mask: u64)
    ensures
        word & mask == mask <==> forall|i: int| 0 <= i < 64 && bit(mask, i) ==> #[trigger] bit(word, i),
{
    broadcast use group_bits;

    if forall|i: int| 0 <= i < 64 && bit(mask, i) ==> #[trigger] bit(word, i) {
        lemma_same_bits(word & mask, mask);
    } else {
        let i = choose|i: int| 0 <= i < 64 && bit(mask, i) && !#[trigger] bit(word, i);
        assert(bit(mask, i) && !bit(word & mask, i));
    }
}

/// Words with the same bits are equal.
pub(super) proof fn lemma_same_bits(a: u64, b: u64)
    requires
        forall|i: int| 0 <= i < 64 ==> #[trigger] bit(a, i) == bit(b, i),
    ensures
        a == b,
{
    assert forall|k: u64| k < 64 implies #[trigger] ((a >> k) & 1) == (b >> k) & 1 by {
        assert(bit(a, k as int) == bit(b, k as int));
        assert((a >> k) & 1 == 0 || (a >> k) & 1 == 1) by (bit_vector);
        assert((b >> k) & 1 == 0 || (b >> k) & 1 == 1) by (bit_vector);
    }
    assert(a == b) by (bit_vector)
        requires forall|k: u64| k < 64 ==> #[trigger] ((a >> k) & 1) == (b >> k) & 1;
}

/// The lowest one of a word, and the word without it.
pub(super) proof fn lemma_lowest(word: u64, base: nat)
    requires
        word != 0,
    ensures
        word.trailing_zeros() < 64,
        bit(word, word.trailing_zeros() as int),
        forall|i: int| 0 <= i < word.trailing_zeros() ==> !#[trigger] bit(word, i),
        ones_of(word, base).contains(base + word.trailing_zeros() as nat),
        ones_of(word & (word - 1) as u64, base) == ones_of(word, base).remove(base + word.trailing_zeros() as nat),
{
    broadcast use lemma_ones_of;

    vstd::std_specs::bits::axiom_u64_trailing_zeros(word);
    let t = word.trailing_zeros() as u64;
    assert(t < 64);
    let less = (word - 1) as u64;
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(word & less, i) <==> bit(word, i) && i != t) by {
        let k = i as u64;
        assert(((word & less) >> k) & 1 == 1 <==> (word >> k) & 1 == 1 && k != t) by (bit_vector)
            requires k < 64, t < 64, (word >> t) & 1 == 1, word << sub(64, t) == 0, less == sub(word, 1);
    }
    assert forall|i: int| 0 <= i < t implies !#[trigger] bit(word, i) by {
        assert((word >> (i as u64)) & 1u64 == 0u64);
    }
    assert(ones_of(word & less, base) =~= ones_of(word, base).remove(base + t as nat));
}

pub(crate) proof fn lemma_no_ones(base: nat)
    ensures
        ones_of(0, base) == Set::<nat>::empty(),
{
    broadcast use group_bits;

    assert(ones_of(0, base) =~= Set::<nat>::empty());
}

pub(super) proof fn lemma_at_most_64(word: u64, base: nat)
    ensures
        ones_of(word, base).len() <= 64,
        ones_of(0, base).len() == 0,
{
    broadcast use {vstd::set_lib::range_set_properties, lemma_ones_of};

    lemma_no_ones(base);
    vstd::set_lib::lemma_len_subset(ones_of(word, base), Set::range(base, base + 64));
}

/// The bits of a span.
pub(super) proof fn lemma_span(start: u64, count: u64)
    requires
        1 <= count,
        start + count <= 64,
    ensures
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit((u64::MAX >> (64 - count) as u64) << start, i) <==> start <= i < start + count),
{
    let short = (64 - count) as u64;
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit((u64::MAX >> short) << start, i) <==> start <= i < start + count) by {
        let k = i as u64;
        assert((((0xffff_ffff_ffff_ffffu64 >> short) << start) >> k) & 1 == 1 <==> start <= k && k < add(start, count)) by (bit_vector)
            requires k < 64, 1 <= count, count <= 64, start < 64, add(start, count) <= 64, short == sub(64, count);
    }
}

/// What a run of this order is a multiple of.
pub(crate) open spec fn step_of(order: u32) -> int {
    match order {
        0 => 1,
        1 => 2,
        2 => 4,
        3 => 8,
        4 => 16,
        5 => 32,
        _ => 64,
    }
}

/// The bits at multiples of a step.
pub(super) open spec fn marks(word: u64, step: int) -> bool {
    forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(word, i) <==> i % step == 0)
}

pub(super) proof fn lemma_multiples()
    ensures
        marks(0xffff_ffff_ffff_ffff, 1),
        marks(0x5555_5555_5555_5555, 2),
        marks(0x1111_1111_1111_1111, 4),
        marks(0x0101_0101_0101_0101, 8),
        marks(0x0001_0001_0001_0001, 16),
        marks(0x0000_0001_0000_0001, 32),
        marks(1, 64),
{
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(0xffff_ffff_ffff_ffff, i) <==> i % 1 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((0xffff_ffff_ffff_ffffu64 >> k) & 1 == 1 <==> k % 1 == 0)) by (bit_vector);
    }
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(0x5555_5555_5555_5555, i) <==> i % 2 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((0x5555_5555_5555_5555u64 >> k) & 1 == 1 <==> k % 2 == 0)) by (bit_vector);
    }
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(0x1111_1111_1111_1111, i) <==> i % 4 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((0x1111_1111_1111_1111u64 >> k) & 1 == 1 <==> k % 4 == 0)) by (bit_vector);
    }
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(0x0101_0101_0101_0101, i) <==> i % 8 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((0x0101_0101_0101_0101u64 >> k) & 1 == 1 <==> k % 8 == 0)) by (bit_vector);
    }
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(0x0001_0001_0001_0001, i) <==> i % 16 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((0x0001_0001_0001_0001u64 >> k) & 1 == 1 <==> k % 16 == 0)) by (bit_vector);
    }
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(0x0000_0001_0000_0001, i) <==> i % 32 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((0x0000_0001_0000_0001u64 >> k) & 1 == 1 <==> k % 32 == 0)) by (bit_vector);
    }
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(1, i) <==> i % 64 == 0) by {
        let k = i as u64;
        assert(k < 64 ==> ((1u64 >> k) & 1 == 1 <==> k % 64 == 0)) by (bit_vector);
    }
}

/// `count` ones begin at a bit.
pub(crate) open spec fn begins(word: u64, count: int, at: int) -> bool {
    at + count <= 64 && forall|j: int| at <= j < at + count ==> #[trigger] bit(word, j)
}

/// Where runs begin, and runs begin behind them, longer runs begin.
pub(super) proof fn lemma_begins(word: u64, starts: u64, known: int, more: int)
    requires
        1 <= more <= known,
        known + more <= 64,
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(starts, i) <==> begins(word, known, i)),
    ensures
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(starts & (starts >> more as u64), i) <==> begins(word, known + more, i)),
{
    broadcast use group_bits;

    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(starts & (starts >> more as u64), i) <==> begins(word, known + more, i)) by {
        lemma_bit_shr(starts, more as u64, i);
        if begins(word, known + more, i) {
            assert(begins(word, known, i));
            assert(begins(word, known, i + more));
            assert(bit(starts, i + more));
        }
        if bit(starts, i) && i + more < 64 && bit(starts, i + more) {
            assert(begins(word, known, i) && begins(word, known, i + more));
        }
    }
}

/// A bit alone in a word.
pub(super) proof fn lemma_one_bit(k: u64)
    requires
        k < 64,
    ensures
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(1u64 << k, i) <==> i == k),
{
    assert forall|i: int| 0 <= i < 64 implies (#[trigger] bit(1u64 << k, i) <==> i == k) by {
        let j = i as u64;
        assert(k < 64 && j < 64 ==> (((1u64 << k) >> j) & 1 == 1 <==> j == k)) by (bit_vector);
    }
}

/// A step, a power of two, divides what has none of its lower bits.
pub(crate) proof fn lemma_aligned(start: u64, step: u64)
    requires
        step != 0,
        step & (step - 1) as u64 == 0,
        start & (step - 1) as u64 == 0,
    ensures
        start as int % step as int == 0,
    decreases step,
{
    if step > 1 {
        let (s, h) = (start / 2, step / 2);
        let (less, low) = ((step - 1) as u64, (h - 1) as u64);
        assert(step == mul(2, h) && start == mul(2, s) && h != 0 && h & low == 0 && s & low == 0) by (bit_vector)
            requires
                step > 1, less == sub(step, 1), step & less == 0, start & less == 0,
                s == start / 2, h == step / 2, low == sub(h, 1);
        lemma_aligned(s, h);
        let q = s as int / h as int;
        assert(s == q * h) by (nonlinear_arith)
            requires s as int % h as int == 0, q == s as int / h as int, h > 0;
        assert(start == q * step) by (nonlinear_arith)
            requires s == q * h, start == 2 * s, step == 2 * h;
        vstd::arithmetic::div_mod::lemma_mod_multiples_basic(q, step as int);
    }
}

} // verus!
