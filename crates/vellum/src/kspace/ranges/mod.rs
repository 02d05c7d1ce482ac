//! Ranges of kernel addresses: which pages of a window of kernel space are whose.
//!
//! The window is 16 GiB, cut into chunks of 64 KiB. [`reserve`] finds chunks in a row that have room for the pages asked
//! for and for one page more, which is nobody's: so the page after every range, and the page before the next, are
//! never mapped, and who runs over the end of an area faults. The first chunk is left out, so that there is such a page
//! before the first range too.
//!
//! # Who has what
//!
//! A chunk has a bit, set while it is taken, and an ownership, which is with the word of the bit while the bit is clear
//! and in the [`AreaRange`] while it is set. There is no lock: the part of a run that lies in one word is taken by one
//! compare-and-swap, a longer run word by word from below, and what was taken is given back where the next word
//! refuses. Where two runs meet, the one that got further stands, so that some processor always gets on.
//!
//! # Where
//!
//! The search starts where the last range ended and wraps once: an address is used again as late as can be. What it
//! proposes is taken where the words agree. It goes by whole words: a word that is used up costs one load, any other
//! the operations of a few shifts, whatever its bits. One chunk near the hint is found in the first word or the one
//! after; the search of the whole window in vain reads each of its 4096 words once.
mod error;
mod range;
mod search;
mod table;
#[cfg(test)]
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tests;

pub use error::RangeError;
pub use range::RangeIn;
#[cfg(verus_keep_ghost)]
pub(crate) use range::two_runs_are_apart;
pub use table::Ranges;

use vstd::prelude::*;

verus! {

/// Pages of a chunk.
pub const CHUNK_PAGES: usize = 16;

/// Words of the window of kernel space.
pub const WINDOW_WORDS: usize = 4096;

/// Pages of the window of kernel space: 16 GiB.
pub const WINDOW_PAGES: usize = WINDOW_WORDS * 64 * CHUNK_PAGES;

/// The window of kernel space.
exec static WINDOW: Ranges<WINDOW_WORDS> = Ranges::new();

/// The window of kernel space.
pub uninterp spec fn the_window() -> Ranges<WINDOW_WORDS>;

/// The window of kernel space: there is one static.
#[inline(always)]
#[verifier::external_body]
fn window() -> (r: &'static Ranges<WINDOW_WORDS>)
    ensures
        *r == the_window(),
    opens_invariants none
    no_unwind
{
    &WINDOW
}

/// Pages of the window of kernel space that nobody else has, until it is dropped.
///
/// # Guarantees
///
/// Two ranges have no page in common, and there is a page between them that neither has
/// (`theorems::two_areas_do_not_overlap`).
#[must_use = "the pages are given back when it is dropped"]
pub struct AreaRange {
    range: RangeIn<'static, WINDOW_WORDS>,
}

impl AreaRange {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.range.owner() == the_window().owner()
    }

    /// Its first page.
    pub closed spec fn first(self) -> int {
        self.range.first()
    }

    /// How many pages it has.
    pub closed spec fn pages(self) -> int {
        self.range.pages()
    }

    /// Returns its first page, counted from the beginning of the window.
    #[inline(always)]
    pub fn first_page(&self) -> (r: usize)
        ensures
            r == self.first(),
            0 < r,
            r + self.pages() < WINDOW_PAGES,
    {
        self.range.first_page()
    }

    /// Returns how many pages it has.
    #[inline(always)]
    pub fn nr_pages(&self) -> (r: usize)
        ensures
            r == self.pages(),
            0 < r,
    {
        self.range.nr_pages()
    }

    /// Takes it out of its cover.
    #[cfg(verus_keep_ghost)]
    pub(crate) fn into_range(self) -> (r: RangeIn<'static, WINDOW_WORDS>)
        ensures
            r.first() == self.first(),
            r.pages() == self.pages(),
            r.owner() == the_window().owner(),
    {
        proof {
            use_type_invariant(&self);
        }
        self.range
    }
}

/// Reserves `pages` pages of the window of kernel space.
///
/// # Errors
///
/// As of [`reserve_aligned`].
#[inline]
pub fn reserve(pages: usize) -> (r: Result<AreaRange, RangeError>)
    ensures
        r matches Ok(a) ==> a.pages() == pages,
{
    reserve_aligned(pages, 1)
}

/// Reserves `pages` pages of the window of kernel space, of which the first is a multiple of `align_pages`.
///
/// # Errors
///
/// - [`RangeError::Empty`]: `pages` is nought.
/// - [`RangeError::NotAPowerOfTwo`]: `align_pages` is none.
/// - [`RangeError::TooLarge`]: the window is smaller.
/// - [`RangeError::NoRoom`]: so many pages in a row were not found. What another processor was just reserving or giving
///   back may have been in the way.
#[inline]
pub fn reserve_aligned(pages: usize, align_pages: usize) -> (r: Result<AreaRange, RangeError>)
    ensures
        r matches Ok(a) ==> a.pages() == pages && a.first() % align_pages as int == 0,
{
    match window().reserve(pages, align_pages) {
        Ok(range) => Ok(AreaRange { range }),
        Err(error) => Err(error),
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::fmt::Debug for AreaRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.range.fmt(f)
    }
}
