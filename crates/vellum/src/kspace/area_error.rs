//! Why something cannot be done with an area.
use crate::kspace::ranges::RangeError;
use crate::page_table::{PageProperty, PageTableError};
use core::fmt;
use vstd::prelude::*;

verus! {

/// Why something cannot be done with an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KVirtAreaError {
    /// Kernel space was not set up.
    NotInitialised,
    /// Not a single page was asked for.
    Empty,
    /// An offset, a length or an address, in bytes, is no multiple of the page size that is needed there.
    NotAligned {
        /// The offset, length or address.
        at: usize,
    },
    /// These bytes are not in the area.
    OutOfRange {
        /// The offset of the first.
        offset: usize,
        /// How many they are.
        len: usize,
        /// How many the area has.
        size: usize,
    },
    /// So many pages in a row are not free, with one more that stays free.
    NoAddresses {
        /// The pages asked for.
        pages: usize,
    },
    /// User code would reach it.
    ForUser,
    /// The entries cannot say the property.
    Unrepresentable {
        /// The property.
        prop: PageProperty,
    },
    /// No frame could be had for a page-table node, or to keep what waits for a flush in.
    NoMemory,
}

/// What was to be mapped and was not; it comes back.
#[must_use = "it owns what was to be mapped"]
pub struct AreaMapError<I> {
    /// Why.
    pub error: KVirtAreaError,
    /// What was to be mapped.
    pub item: I,
}

impl KVirtAreaError {
    /// What the table says.
    #[cold]
    pub(super) fn of(error: PageTableError) -> Self
        no_unwind
    {
        match error {
            PageTableError::Empty { .. } => KVirtAreaError::Empty,
            PageTableError::NotAligned { at } => KVirtAreaError::NotAligned { at },
            PageTableError::TooLarge { va, .. } => KVirtAreaError::NotAligned { at: va.0 },
            PageTableError::Unrepresentable { prop } => KVirtAreaError::Unrepresentable { prop },
            PageTableError::NoMemory | PageTableError::Occupied { .. } => KVirtAreaError::NoMemory,
            // The addresses are those of the area, which are in the table.
            PageTableError::Reversed { .. } | PageTableError::OutOfRange { .. } | PageTableError::NotShareable => {
                KVirtAreaError::NotInitialised
            },
        }
    }

    /// What the ranges say.
    #[cold]
    pub(super) fn of_range(error: RangeError) -> Self
        no_unwind
    {
        match error {
            RangeError::Empty => KVirtAreaError::Empty,
            RangeError::NotAPowerOfTwo { align_pages } => KVirtAreaError::NotAligned { at: align_pages },
            RangeError::TooLarge { pages } | RangeError::NoRoom { pages } => KVirtAreaError::NoAddresses { pages },
        }
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for KVirtAreaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KVirtAreaError::NotInitialised => f.write_str("kernel space was not set up"),
            KVirtAreaError::Empty => f.write_str("not a single page was asked for"),
            KVirtAreaError::NotAligned { at } => write!(f, "{at:#x} is not a multiple of the page size"),
            KVirtAreaError::OutOfRange { offset, len, size } => {
                write!(f, "{len:#x} bytes at offset {offset:#x} are not in an area of {size:#x}")
            }
            KVirtAreaError::NoAddresses { pages } => {
                write!(f, "kernel space has no room for an area of {pages} pages")
            }
            KVirtAreaError::ForUser => f.write_str("user code would reach an area"),
            KVirtAreaError::Unrepresentable { prop } => write!(f, "no page-table entry can say {prop:?}"),
            KVirtAreaError::NoMemory => f.write_str("no frame is left for the page table of areas"),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for KVirtAreaError {}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<I> fmt::Debug for AreaMapError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AreaMapError").field("error", &self.error).finish_non_exhaustive()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<I> fmt::Display for AreaMapError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing was mapped: {}", self.error)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<I> core::error::Error for AreaMapError<I> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}
