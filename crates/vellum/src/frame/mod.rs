//! Frames: metadata and a count for each, and handles that cannot leak, be freed twice, or outlive what they
//! are handles of.
//!
//! Each frame of physical memory has a [`MetaSlot`] of 64 bytes, found by arithmetic from its address
//! ([`frame_to_meta`]) and back ([`meta_to_frame`]): 1.6 % of memory. The slot holds a value of any type that
//! fits ([`AnyFrameMeta`]: [`META_SIZE`] bytes, aligned to [`META_ALIGN`]) and a count, which says who may do what:
//!
//! | count | state | who has the metadata and the contents |
//! | --- | --- | --- |
//! | `u64::MAX` | unused | the slot; there is no metadata |
//! | `u64::MAX - 1` | unique | the one [`UniqueFrame`] |
//! | `0` | busy | the thread that builds the frame or tears it down |
//! | `1..=i64::MAX` | shared | the slot, which lends them to that many handles |
//!
//! Handles carry zero-sized tokens of the state machine in `protocol`, which rules the count, so that every
//! function here is proved to keep these rules whatever other processors do, and no safe function asks
//! anything of its caller.

pub mod allocator;
mod borrowed;
mod convert;
pub(crate) mod erased;
mod error;
mod free_hook;
mod kind;
pub(crate) mod list;
pub(crate) mod mark;
mod meta;
pub(crate) mod protocol;
pub(crate) mod segment;
pub(crate) mod shared;
pub(crate) mod slot;
pub(crate) mod table;
pub(crate) mod token;
mod unique;
mod vtable;

pub use borrowed::FrameRef;
pub use convert::UFrame;
pub use error::GetFrameError;
pub use free_hook::{FreeHookSet, set_free_hook};
pub use kind::FrameKind;
pub use list::{CursorMut, Link, LinkedList};
pub use meta::{AnyFrameMeta, AnyUFrameMeta, META_ALIGN, META_SIZE, Untyped};
pub use protocol::REF_COUNT_MAX;
pub use segment::{MetaFn, Segment, SegmentError, SplitError, USegment};
pub use shared::Frame;
pub use slot::MetaSlot;
pub use table::{
    frame_to_index, frame_to_meta, index_to_frame, init_metadata, is_initialized, max_paddr, meta_to_frame,
};
pub use unique::UniqueFrame;
