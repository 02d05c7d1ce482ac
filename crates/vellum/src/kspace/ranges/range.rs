//! A range of a window, and reserving it.
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::CHUNK_PAGES;
use super::error::RangeError;
use super::table::*;
#[cfg(verus_keep_ghost)]
use crate::frame::allocator::pool::words::lemma_aligned;
use core::fmt;
use vellum_machine::owned::{Owned, Release};
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use vstd::resource::Loc;

verus! {

/// Chunks for so many pages and one more.
pub(super) open spec fn chunks_for(pages: int) -> int {
    pages / 16 + 1
}

struct Parts<'r, const WORDS: usize> {
    ranges: &'r Ranges<WORDS>,
    first: usize,
    pages: usize,
    chunks: Tracked<Chunks>,
}

impl<'r, const WORDS: usize> Parts<'r, WORDS> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.chunks@.id() == self.ranges.owner()
        &&& self.chunks@@ == chunks_in(self.first as int, self.first + chunks_for(self.pages as int))
        &&& 0 < self.first
        &&& 0 < self.pages
        &&& self.first + chunks_for(self.pages as int) <= Ranges::<WORDS>::chunks()
    }
}

impl<'r, const WORDS: usize> Release for Parts<'r, WORDS> {
    fn release(self) {
        proof {
            use_type_invariant(&self);
        }
        let Parts { ranges, first, pages, chunks } = self;
        ranges.give_run(first, first + (pages / CHUNK_PAGES + 1), chunks);
    }
}

/// Pages of a window that nobody else has, until it is dropped; and the page after them, which is nobody's.
#[must_use = "the pages are given back when it is dropped"]
pub struct RangeIn<'r, const WORDS: usize> {
    parts: Owned<Parts<'r, WORDS>>,
}

impl<'r, const WORDS: usize> RangeIn<'r, WORDS> {
    /// Its first page.
    pub closed spec fn first(self) -> int {
        16 * self.parts@.first
    }

    /// How many pages it has.
    pub closed spec fn pages(self) -> int {
        self.parts@.pages as int
    }

    /// The window that it is of.
    pub closed spec fn owner(self) -> Loc {
        self.parts@.ranges.owner()
    }

    /// Returns its first page, counted from the beginning of the window.
    #[inline(always)]
    pub fn first_page(&self) -> (r: usize)
        ensures
            r == self.first(),
            0 < r,
            r + self.pages() < 16 * Ranges::<WORDS>::chunks(),
    {
        let parts = self.parts.get();
        proof {
            use_type_invariant(parts);
        }
        parts.first * CHUNK_PAGES
    }

    /// Returns how many pages it has.
    #[inline(always)]
    pub fn nr_pages(&self) -> (r: usize)
        ensures
            r == self.pages(),
            0 < r,
    {
        let parts = self.parts.get();
        proof {
            use_type_invariant(parts);
        }
        parts.pages
    }

    /// Shows what it has by taking it apart: the chunks are lost.
    #[cfg(verus_keep_ghost)]
    pub(crate) fn into_chunks(self) -> (r: Tracked<Chunks>)
        ensures
            r@.id() == self.owner(),
            r@@ == Set::<nat>::range((self.first() / 16) as nat, (self.first() / 16 + self.pages() / 16 + 1) as nat),
            self.first() % 16 == 0 && 0 < self.first() && 0 < self.pages(),
    {
        let parts = self.parts.into_inner();
        proof {
            use_type_invariant(&parts);
        }
        parts.chunks
    }
}

/// Runs that have no chunk in common: one ends where the other begins, or before.
pub proof fn two_runs_are_apart(a: int, len_a: int, b: int, len_b: int)
    requires
        0 <= a && 0 < len_a && 0 <= b && 0 < len_b,
        Set::<nat>::range(a as nat, (a + len_a) as nat).disjoint(Set::<nat>::range(b as nat, (b + len_b) as nat)),
    ensures
        a + len_a <= b || b + len_b <= a,
{
    broadcast use vstd::set_lib::range_set_properties;

    let (in_a, in_b) = (Set::<nat>::range(a as nat, (a + len_a) as nat), Set::<nat>::range(b as nat, (b + len_b) as nat));
    assert(!(in_a.contains(a as nat) && in_b.contains(a as nat)));
    assert(!(in_a.contains(b as nat) && in_b.contains(b as nat)));
}

/// Chunks that begin at multiples of a power of two have pages that do.
proof fn lemma_first_page(first: u64, align_pages: u64)
    requires
        first < 0x1_0000_0000,
        align_pages != 0,
        align_pages & (align_pages - 1) as u64 == 0,
        align_pages > 16 ==> first & (align_pages / 16 - 1) as u64 == 0,
    ensures
        (16 * first) % align_pages as int == 0,
{
    let page = (16 * first) as u64;
    let low = (align_pages - 1) as u64;
    if align_pages <= 16 {
        assert(page & low == 0) by (bit_vector)
            requires page == mul(16, first), low == sub(align_pages, 1), align_pages & low == 0, 1 <= align_pages <= 16;
    } else {
        let step_low = (align_pages / 16 - 1) as u64;
        assert(page & low == 0) by (bit_vector)
            requires
                page == mul(16, first), low == sub(align_pages, 1), align_pages & low == 0, align_pages > 16,
                step_low == sub(align_pages / 16, 1), first & step_low == 0;
    }
    lemma_aligned(page, align_pages);
}

impl<const WORDS: usize> Ranges<WORDS> {
    /// Reserves `pages` pages of which the first is a multiple of `align_pages`.
    ///
    /// # Errors
    ///
    /// As of [`reserve_aligned`](super::reserve_aligned).
    #[inline]
    pub fn reserve(&self, pages: usize, align_pages: usize) -> (r: Result<RangeIn<'_, WORDS>, RangeError>)
        ensures
            r matches Ok(range) ==> range.pages() == pages && range.first() % align_pages as int == 0 && range.owner()
                == self.owner(),
    {
        if pages == 0 {
            return Err(RangeError::Empty);
        }
        if align_pages == 0 || align_pages & (align_pages - 1) != 0 {
            return Err(RangeError::NotAPowerOfTwo { align_pages });
        }
        let words = Self::nr_words();
        let all = words * WORD_CHUNKS;
        let count = pages / CHUNK_PAGES + 1;
        if count >= all {
            return Err(RangeError::TooLarge { pages });
        }
        let step = if align_pages <= CHUNK_PAGES {
            1
        } else {
            align_pages / CHUNK_PAGES
        };
        if step >= all {
            return Err(RangeError::NoRoom { pages });
        }
        let from = self.first_tried(all);
        let mut found = self.take_from(from, words, count, step);
        if found.is_none() && from > 1 {
            // A run that begins before `from` ends before this word.
            let end = (from + count) / WORD_CHUNKS + 1;
            found = self.take_from(1, if end < words { end } else { words }, count, step);
        }
        match found {
            Some((first, chunks)) => {
                proof {
                    lemma_first_page(first as u64, align_pages as u64);
                }
                self.set_hint((first + count) as u64);
                Ok(RangeIn { parts: Owned::new(Parts { ranges: self, first, pages, chunks }) })
            },
            None => Err(RangeError::NoRoom { pages }),
        }
    }

    /// Returns the chunk at which the search of a window of so many begins: where the last range ended.
    #[inline(always)]
    fn first_tried(&self, all: usize) -> (r: usize)
        requires
            1 < all,
        ensures
            1 <= r < all,
    {
        let hint = self.hint() as usize;
        if 0 < hint && hint < all {
            hint
        } else {
            1
        }
    }

    /// Takes the first `count` chunks in a row from chunk `from` on and before word `words`, of which the first is a multiple of `step`.
    #[inline]
    #[verifier::exec_allows_no_decreases_clause]
    fn take_from(&self, from: usize, words: usize, count: usize, step: usize) -> (r: Option<(usize, Tracked<Chunks>)>)
        requires
            1 <= count <= Self::chunks(),
            1 <= step <= Self::chunks(),
            from <= Self::chunks(),
            64 * words <= Self::chunks(),
        ensures
            r matches Some((first, chunks)) ==> {
                &&& 0 < first && first + count <= Self::chunks()
                &&& first & (step - 1) as usize == 0
                &&& chunks@.id() == self.owner()
                &&& chunks@@ == chunks_in(first as int, first + count)
            },
    {
        let mut from = from;
        loop
            invariant
                1 <= count <= Self::chunks(),
                1 <= step <= Self::chunks(),
                from <= Self::chunks(),
                64 * words <= Self::chunks(),
        {
            let first = self.find(from, words, count, step)?;
            if first == 0 || first & (step - 1) != 0 {
                return None;
            }
            if let Some(chunks) = self.take_run(first, count) {
                return Some((first, chunks));
            }
            // Somebody was faster.
            from = first;
        }
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<const WORDS: usize> fmt::Debug for RangeIn<'_, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages from page {}", self.nr_pages(), self.first_page())
    }
}
