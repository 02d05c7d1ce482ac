//! Page tables that many processors edit at once.
//!
//! A page table is a tree of nodes; a node is a frame of entries. Each node has a lock and a stray mark in its
//! metadata. A cursor over a range of addresses
//!
//! 1. enters as a reader on its processor,
//! 2. goes down from the root, without a lock, to the lowest node that covers the range,
//! 3. locks that node (and starts again if it was unlinked meanwhile), then everything below it that the range
//!    touches, and from then on owns all of it.
//!
//! A node that was emptied is unlinked, marked stray, and becomes a frame again once every processor was outside
//! every cursor. Reading order: `geometry`, `entry`, `config`; `protocol` and `spec` (what is proved about nodes);
//! `node`, `life`, `world` (single steps); `tree`, `subtree`, `ops`, `descent`, `near`, `walk`, `put`, `over`, `way`, `run`, `cut`, `lock` (sub-trees);
//! `keeper`, `session`, `mapping`, `protect`, `range`, `cursor`, `table`.

#[cfg(verus_keep_ghost)]
mod claims;
pub mod config;
mod count;
mod cursor;
mod cut;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod deferred;
mod descent;
pub(crate) mod detached;
pub(crate) mod entry;
mod error;
pub(crate) mod geometry;
pub(crate) mod hoard;
mod hooks;
mod item;
pub(crate) mod keeper;
mod kernel;
mod life;
mod lock;
#[cfg(verus_keep_ghost)]
mod loose;
mod mapping;
#[cfg(verus_keep_ghost)]
pub(crate) mod mmu;
mod native;
mod near;
pub(crate) mod node;
mod node_frame;
pub(crate) mod ops;
mod over;
mod peek;
mod protect;
pub(crate) mod protocol;
mod put;
mod range;
mod retired;
pub(crate) mod riscv;
mod run;
mod session;
mod shelf;
pub(crate) mod spec;
mod stack;
#[cfg(verus_keep_ghost)]
mod subtree;
mod table;
mod take;
mod translate;
pub(crate) mod tree;
mod unmap;
pub(crate) mod user;
mod walk;
mod way;
pub(crate) mod world;
pub(crate) mod x86_64;

pub use config::PageTableConfig;
pub use cursor::{Cursor, CursorMut, Fragment, MapError, ProtectOp, Replaced, Slot};
pub use deferred::{defer, reclaim};
pub use detached::{DetachedNode, LeafSink};
pub use entry::{
    Access, AccessType, AccessedDirty, CachePolicy, PageProperty, PageTableEntry, Pte, SoftBits,
};
pub use error::PageTableError;
pub use geometry::{PagingConsts, upper_base};
pub use item::{HugePage, HugePageError, MappedItem, MappedRange, NotHuge, UserFrames};
pub use kernel::{KernelPt, KernelPtConfig, Untracked};
pub use native::{NativeEntry, NativeShape};
pub use node_frame::NodeMeta;
pub use peek::Peeked;
pub use range::{ProtectEach, ReplacedSink};
pub use retired::{RetiredBatch, RetiredNode};
pub use riscv::{RiscVEntry, Sv39, Sv39OrSv48, Sv48};
pub use run::RunConfig;
pub use table::PageTable;
pub use translate::Translation;
pub use unmap::FragmentSink;
pub use user::{AreaPt, AreaPtConfig, FramesPt, UserPt, UserPtConfig};
pub use x86_64::{FourLevel, TinyTree, X86Entry};
