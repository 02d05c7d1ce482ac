//! Address spaces of user programs.
//!
//! A [`VmSpace`] is a page table, the set of processors on which it is active, and a handler for page faults.
//! It is changed through cursors ([`Cursor`], [`CursorMut`]), each of which locks a range of it, by many
//! processors at once where ranges do not overlap. What a change made stale on other processors is flushed,
//! and what was unmapped is released after that, by the cursor's [`TlbFlusher`](crate::tlb::TlbFlusher).
//!
//! On each processor at most one space is active, from [`VmSpace::activate`] until another one is, or none
//! ([`VmSpace::deactivate_current`]). A processor holds a handle of the space that is active on it: a space
//! that nobody else holds any more goes on until it is active nowhere, and is dropped by the processor that
//! leaves it last.
//!
//! # Huge pages
//!
//! [`MappedItem::huge`] maps a segment of 2 MiB or 1 GiB with one entry. The mapping owns one count of each of its frames,
//! so that spaces can share it, and so that a part of it can be unmapped, replaced or protected: it is split for that,
//! which takes a frame for each node and nothing else. [`CursorMut::map`] puts a huge page in the place of smaller ones.
//! [`Cursor::query`] counts each frame of what it gives out; [`Cursor::peek`] counts none.
//!
//! # Page faults
//!
//! [`init`] makes this module the machine's handler of page faults. A fault is handed to the handler of the
//! space that is active where it happened ([`VmSpace::set_fault_handler`]), with no lock held, so that the
//! handler can lock, allocate, and map what is missing. Code that holds a cursor or a lock must not fault: a
//! fault there is not handed on, and the access fails.

mod active;
mod cursor;
mod error;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod fault;
mod vm_space;

pub use active::init;
pub use cursor::{Cursor, CursorMut, MapError, MapRangeError, Protected, Slot};
pub use error::VmSpaceError;
pub use fault::FaultError;
pub use vellum_machine::fault::{Access as FaultAccess, PageFault};
pub use vm_space::{VmSpace, user_top};

pub use crate::page_table::{
    Access, AccessType, AccessedDirty, CachePolicy, HugePage, HugePageError, MappedItem, MappedRange,
    NotHuge, PageProperty, Peeked, SoftBits, Translation, UserFrames,
};
