//! What can go wrong.
use super::entry::PageProperty;
use vellum_machine::addr::Vaddr;
use vstd::prelude::*;

verus! {

/// Why a page-table operation was refused. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageTableError {
    /// The range is empty.
    Empty {
        /// Its start.
        va: Vaddr,
    },
    /// The range ends before it starts.
    Reversed {
        /// Its start.
        start: Vaddr,
        /// Its end.
        end: Vaddr,
    },
    /// An address or a length, in bytes, is no multiple of the page size that is needed there.
    NotAligned {
        /// The address or length.
        at: usize,
    },
    /// The address is outside what the table or the cursor covers, or so is the end of the length from there on.
    OutOfRange {
        /// The address.
        va: Vaddr,
    },
    /// A huge page of `size` bytes is more than can be mapped at once there: less is left of the range, or the cursor has
    /// locked the node below the entry that would map it alone.
    TooLarge {
        /// Where.
        va: Vaddr,
        /// The size of the huge page, in bytes.
        size: usize,
        /// The most that can be mapped at once, in bytes.
        most: usize,
    },
    /// There are nodes where a huge page should go: [`map_over`](super::CursorMut::map_over) takes them out.
    Occupied {
        /// Where.
        va: Vaddr,
    },
    /// The entries of the table cannot say the property.
    Unrepresentable {
        /// The property.
        prop: PageProperty,
    },
    /// No frame for a node.
    NoMemory,
    /// The nodes of the other table cannot be shared with this one.
    NotShareable,
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::fmt::Display for PageTableError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            PageTableError::Empty { va } => write!(f, "the range at {va} is empty"),
            PageTableError::Reversed { start, end } => {
                write!(f, "the range {start}..{end} ends before it starts")
            }
            PageTableError::NotAligned { at } => write!(f, "{at:#x} is not a multiple of the page size"),
            PageTableError::OutOfRange { va } => write!(f, "{va} is out of range"),
            PageTableError::TooLarge { va, size, most } => {
                write!(
                    f,
                    "a page of {size:#x} bytes is too large at {va}: at most {most:#x} can be mapped at once"
                )
            }
            PageTableError::Occupied { va } => write!(f, "there are smaller mappings at {va}"),
            PageTableError::Unrepresentable { prop } => write!(f, "no entry of this table can say {prop:?}"),
            PageTableError::NoMemory => write!(f, "no frame left for a page-table node"),
            PageTableError::NotShareable => write!(f, "the nodes of the other table cannot be shared"),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for PageTableError {}
