//! Runs of ones in a word: a word has a bit per frame, one for free.
#[cfg(verus_keep_ghost)]
use super::words::*;
use vstd::prelude::*;

verus! {

/// Frames that a word tells about.
pub(super) const WORD_FRAMES: usize = 64;

/// Binary logarithm of [`WORD_FRAMES`].
pub(crate) const WORD_ORDER: u32 = 6;

/// Returns the bits at multiples of `1 << order`, for orders up to [`WORD_ORDER`].
pub(super) const fn multiples_of(order: u32) -> (r: u64)
    ensures
        order <= 6 ==> forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(r, i) <==> i % step_of(order) == 0),
{
    proof {
        lemma_multiples();
    }
    match order {
        0 => 0xffff_ffff_ffff_ffff,
        1 => 0x5555_5555_5555_5555,
        2 => 0x1111_1111_1111_1111,
        3 => 0x0101_0101_0101_0101,
        4 => 0x0001_0001_0001_0001,
        5 => 0x0000_0001_0000_0001,
        _ => 1,
    }
}

/// Returns the `count` bits from bit `start`; all of them lie in the word.
#[inline]
pub(crate) const fn span(start: usize, count: usize) -> (r: u64)
    requires
        start + count <= 64,
        start < 64,
    ensures
        forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(r, i) <==> start <= i < start + count),
{
    broadcast use group_bits;

    if count == 0 {
        0
    } else {
        proof {
            lemma_span(start as u64, count as u64);
        }
        (u64::MAX >> (64 - count)) << start
    }
}

/// Finds the lowest multiple of `1 << order` at which `count` ones begin, for `1 <= count <= WORD_FRAMES`.
pub(crate) const fn find_run(word: u64, count: usize, order: u32) -> (r: Option<usize>)
    requires
        1 <= count <= 64,
        order <= 6,
    ensures
        match r {
            Some(start) => begins(word, count as int, start as int) && start as int % step_of(order) == 0 && forall|i: int|
                0 <= i < start && i % step_of(order) == 0 ==> !#[trigger] begins(word, count as int, i),
            None => forall|i: int| 0 <= i < 64 && i % step_of(order) == 0 ==> !#[trigger] begins(word, count as int, i),
        },
{
    broadcast use group_bits;

    // `starts` has the bits at which `known` ones begin.
    let mut starts = word;
    let mut known = 1;
    while known < count
        invariant
            1 <= known <= count <= 64,
            forall|i: int| 0 <= i < 64 ==> (#[trigger] bit(starts, i) <==> begins(word, known as int, i)),
        decreases count - known,
    {
        let more = if known < count - known {
            known
        } else {
            count - known
        };
        proof {
            lemma_begins(word, starts, known as int, more as int);
        }
        starts &= starts >> (more as u64);
        known += more;
    }
    starts &= multiples_of(order);
    proof {
        if starts == 0 {
            assert forall|i: int| 0 <= i < 64 && i % step_of(order) == 0 implies !#[trigger] begins(word, count as int, i) by {
                assert(!bit(starts, i));
            }
        } else {
            lemma_lowest(starts, 0);
            assert forall|i: int|
                0 <= i < starts.trailing_zeros() && i % step_of(order) == 0 implies !#[trigger] begins(word, count as int, i) by {
                assert(!bit(starts, i));
            }
        }
    }
    if starts == 0 {
        None
    } else {
        Some(starts.trailing_zeros() as usize)
    }
}

/// Of `runs`, the starts of naturally aligned runs of `1 << order` ones, returns those of twice as many.
#[inline]
pub(super) const fn doubled(runs: u64, order: u32) -> u64
    requires
        order < 6,
{
    proof {
        assert(order < 6 ==> (1u64 << order) <= 32) by (bit_vector);
    }
    runs & (runs >> (1u64 << order)) & multiples_of(order + 1)
}

/// Counts the ones; quick where there are few.
pub(super) const fn ones(word: u64) -> (r: usize)
    ensures
        forall|base: nat| r == (#[trigger] ones_of(word, base)).len(),
        r <= 64,
{
    let mut rest = word;
    let mut count = 0;
    proof {
        assert forall|base: nat| (#[trigger] ones_of(word, base)).len() <= 64 by {
            lemma_at_most_64(word, base);
        }
        assert(ones_of(word, 0).len() <= 64);
    }
    while rest != 0
        invariant
            forall|base: nat| count + ones_of(rest, base).len() == (#[trigger] ones_of(word, base)).len(),
            ones_of(word, 0).len() <= 64,
        decreases ones_of(rest, 0).len(),
    {
        let ghost before = rest;
        proof {
            lemma_lowest(rest, 0);
            assert(count + ones_of(rest, 0).len() == ones_of(word, 0).len());
        }
        rest &= rest - 1;
        count += 1;
        proof {
            assert forall|base: nat| count + ones_of(rest, base).len() == (#[trigger] ones_of(word, base)).len() by {
                lemma_lowest(before, base);
            }
        }
    }
    proof {
        assert forall|base: nat| count == (#[trigger] ones_of(word, base)).len() by {
            lemma_no_ones(base);
        }
        assert(count == ones_of(word, 0).len());
    }
    count
}

} // verus!

#[cfg(test)]
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_reach_from_nothing_to_everything() {
        assert_eq!(span(0, 0), 0);
        assert_eq!(span(3, 2), 0b11000);
        assert_eq!(span(0, 64), u64::MAX);
        assert_eq!(span(63, 1), 1 << 63);
    }

    proptest! {
        #[test]
        fn runs_are_found_where_they_are(a: u64, b: u64, count in 1usize..=64, order in 0u32..=6) {
            for word in [a, a | b, a & b, !(a & b), u64::MAX] {
                let step = 1 << order;
                let model = (0..=64 - count).step_by(step).find(|&at| word & span(at, count) == span(at, count));
                prop_assert_eq!(find_run(word, count, order), model);
                prop_assert_eq!(ones(word), word.count_ones() as usize);
                let mut runs = word;
                for order in 0..=WORD_ORDER {
                    let len = 1 << order;
                    let model = (0..64).step_by(len).filter(|&at| word & span(at, len) == span(at, len));
                    prop_assert_eq!(runs, model.fold(0, |bits, at| bits | 1 << at));
                    if order < WORD_ORDER {
                        runs = doubled(runs, order);
                    }
                }
            }
        }
    }
}
