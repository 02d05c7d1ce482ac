//! What the machine tells the kernel about its memory at boot, and the allocator for the time before frames have
//! metadata.
//!
//! Firmware and boot loader describe memory by a list that may be unsorted, overlapping, unaligned and partly
//! nonsense. [`MemoryMap`] makes one truth of it, in whole frames. [`EarlyAllocator`] hands out memory of that map
//! before anything else can, and marks in it what it gave away.

mod early;
mod map;
mod region;

pub use early::{EarlyAllocError, EarlyAllocator, metadata_frames};
pub use map::{MAX_REGIONS, MapError, MemoryMap};
pub use region::{MemoryRegion, MemoryRegionType};
