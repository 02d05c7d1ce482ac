//! Runs of ones in a word: a word has a bit per frame, one for free.

/// Frames that a word tells about.
pub(super) const WORD_FRAMES: usize = u64::BITS as usize;

/// Binary logarithm of [`WORD_FRAMES`].
pub(super) const WORD_ORDER: u32 = WORD_FRAMES.ilog2();

/// Returns the bits at multiples of `step`, a power of two up to [`WORD_FRAMES`].
const fn multiples_of(step: usize) -> u64 {
    if step == WORD_FRAMES { 1 } else { u64::MAX / ((1 << step) - 1) }
}

/// Returns the `count` bits from bit `start`; all of them lie in the word.
pub(super) const fn span(start: usize, count: usize) -> u64 {
    if count == 0 { 0 } else { (u64::MAX >> (WORD_FRAMES - count)) << start }
}

/// Finds the lowest multiple of `step` at which `count` ones begin, for `1 <= count <= WORD_FRAMES`.
pub(super) const fn find_run(word: u64, count: usize, step: usize) -> Option<usize> {
    // `starts` has the bits at which `known` ones begin.
    let mut starts = word;
    let mut known = 1;
    while known < count {
        let more = if known < count - known { known } else { count - known };
        starts &= starts >> more;
        known += more;
    }
    starts &= multiples_of(step);
    if starts == 0 { None } else { Some(starts.trailing_zeros() as usize) }
}

/// Returns for each order up to [`WORD_ORDER`] the starts of the naturally aligned runs of `1 << order` ones.
pub(super) const fn aligned_runs(word: u64) -> [u64; WORD_ORDER as usize + 1] {
    let mut runs = [word; WORD_ORDER as usize + 1];
    let mut order = 0;
    while order < WORD_ORDER as usize {
        runs[order + 1] = runs[order] & (runs[order] >> (1 << order)) & multiples_of(2 << order);
        order += 1;
    }
    runs
}

#[cfg(test)]
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
                prop_assert_eq!(find_run(word, count, step), model);
                for (order, starts) in aligned_runs(word).into_iter().enumerate() {
                    let len = 1 << order;
                    let model = (0..64).step_by(len).filter(|&at| word & span(at, len) == span(at, len));
                    prop_assert_eq!(starts, model.fold(0, |bits, at| bits | 1 << at));
                }
            }
        }
    }
}
