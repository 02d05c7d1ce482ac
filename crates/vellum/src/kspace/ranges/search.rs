//! Where to take chunks from.
use super::table::*;
use crate::frame::allocator::pool::bits::{WORD_ORDER, find_run, span};
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use vstd::std_specs::bits::{axiom_u64_leading_zeros, axiom_u64_trailing_zeros};

verus! {

impl<const WORDS: usize> Ranges<WORDS> {
    /// Finds `count` chunks in a row, from chunk `from` on and before word `words`, that were free when they were looked
    /// at; the first is a multiple of `step`, a power of two.
    ///
    /// Of what it finds only the end is promised: who takes it looks again.
    pub(super) fn find(&self, from: usize, words: usize, count: usize, step: usize) -> (r: Option<usize>)
        requires
            1 <= count <= Self::chunks(),
            1 <= step <= Self::chunks(),
            from <= Self::chunks(),
            64 * words <= Self::chunks(),
        ensures
            r matches Some(first) ==> first + count <= Self::chunks(),
    {
        let order = (step as u64).trailing_zeros();
        let mut w = from / WORD_CHUNKS;
        // What is before `from` counts as taken.
        let mut before = span(0, from % WORD_CHUNKS);
        // Where the free run begins that ends with the word before.
        let mut open = from;
        while w < words
            invariant
                64 * words <= Self::chunks(),
                1 <= count <= Self::chunks(),
                1 <= step <= Self::chunks(),
                open <= Self::chunks(),
            decreases words - w,
        {
            let taken = self.peek(w) | before;
            before = 0;
            let base = w * WORD_CHUNKS;
            proof {
                axiom_u64_trailing_zeros(taken);
                axiom_u64_leading_zeros(taken);
            }
            let first = (open + (step - 1)) & !(step - 1);
            if first <= base + taken.trailing_zeros() as usize && count <= base + taken.trailing_zeros() as usize - first {
                return Some(first);
            }
            if taken != 0 {
                let inside = if taken != u64::MAX && count <= WORD_CHUNKS && order <= WORD_ORDER {
                    find_run(!taken, count, order)
                } else {
                    None
                };
                if let Some(at) = inside {
                    return Some(base + at);
                }
                open = base + WORD_CHUNKS - taken.leading_zeros() as usize;
            }
            w += 1;
        }
        None
    }
}

} // verus!
