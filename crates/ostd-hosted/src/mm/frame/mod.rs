//! Frames, their metadata and their allocator's interface.
mod handle;
pub mod linked_list;
pub mod meta;
pub(crate) mod slot;

pub use handle::{Frame, UniqueFrame};

use crate::mm::Paddr;
use core::alloc::Layout;

/// Hands out physical frames by address.
pub trait GlobalFrameAllocator: Sync {
    /// Takes contiguous frames.
    fn alloc(&self, layout: Layout) -> Option<Paddr>;

    /// Gives `size` bytes of contiguous frames back.
    fn dealloc(&self, addr: Paddr, size: usize);

    /// Adds `size` bytes of free memory.
    fn add_free_memory(&self, addr: Paddr, size: usize);
}
