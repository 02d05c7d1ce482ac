//! Physical memory.
pub mod frame;

pub use frame::{Frame, UniqueFrame};

/// A physical address.
pub type Paddr = usize;

/// Bytes of a frame.
pub const PAGE_SIZE: usize = 4096;

/// Has a physical address.
pub trait HasPaddr {
    /// Returns the address of the first byte.
    fn paddr(&self) -> Paddr;
}
