//! Why no range was reserved.
use core::fmt;
use vstd::prelude::*;

verus! {

/// Why no range was reserved; nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeError {
    /// No pages were asked for.
    Empty,
    /// The window never has room for so many pages.
    TooLarge {
        /// How many pages were asked for.
        pages: usize,
    },
    /// The pages are to begin at multiples of a number that is no power of two.
    NotAPowerOfTwo {
        /// The number.
        align_pages: usize,
    },
    /// So many free pages in a row were not found.
    NoRoom {
        /// How many pages were asked for.
        pages: usize,
    },
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a range of no pages cannot be reserved"),
            Self::TooLarge { pages } => write!(f, "{pages} pages are more than the window has"),
            Self::NotAPowerOfTwo { align_pages } => write!(f, "{align_pages} is no power of two"),
            Self::NoRoom { pages } => write!(f, "no room for {pages} pages in a row"),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for RangeError {}
