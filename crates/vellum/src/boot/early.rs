//! The allocator for the time before frames have metadata.

use super::{MapError, MemoryMap, MemoryRegion, MemoryRegionType};
use core::fmt;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::META_SLOT_SIZE;

/// Returns how many frames hold the metadata of `nr_frames` frames: one for each 64, or 16 MiB for each GiB.
pub const fn metadata_frames(nr_frames: usize) -> usize {
    nr_frames.div_ceil(PAGE_SIZE / META_SLOT_SIZE)
}

/// Why early memory could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyAllocError {
    /// No frame was asked for.
    Empty,
    /// The alignment is no power of two, or less than a frame.
    BadAlignment {
        /// The alignment asked for, in bytes.
        align: usize,
    },
    /// No usable region has that many frames at that alignment.
    NoMemory {
        /// The frames asked for.
        frames: usize,
        /// The alignment asked for, in bytes.
        align: usize,
    },
    /// The map has no room to note what would be given away.
    TooManyRegions {
        /// How many regions fit.
        capacity: usize,
    },
}

impl fmt::Display for EarlyAllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EarlyAllocError::Empty => write!(f, "no frame was asked for"),
            EarlyAllocError::BadAlignment { align } => write!(f, "{align} is no alignment of frames"),
            EarlyAllocError::NoMemory { frames, align } => {
                write!(f, "no {frames} contiguous frames at a multiple of {align:#x} at boot")
            }
            EarlyAllocError::TooManyRegions { capacity } => {
                write!(f, "the memory map cannot note another region beside its {capacity}")
            }
        }
    }
}

impl core::error::Error for EarlyAllocError {}

impl From<MapError> for EarlyAllocError {
    fn from(error: MapError) -> EarlyAllocError {
        match error {
            MapError::TooManyRegions { capacity } => EarlyAllocError::TooManyRegions { capacity },
        }
    }
}

/// Hands out usable memory of a [`MemoryMap`] for good, lowest address first.
///
/// What it gives away stands in the map as [`MemoryRegionType::BootAllocated`] or [`MemoryRegionType::Metadata`], so
/// that nobody takes it for free memory afterwards. Nothing can be given back.
#[derive(Clone, Debug)]
pub struct EarlyAllocator {
    map: MemoryMap,
}

impl EarlyAllocator {
    /// Starts to hand out the usable memory of a map.
    pub fn new(map: MemoryMap) -> EarlyAllocator {
        EarlyAllocator { map }
    }

    /// Hands out contiguous frames at a multiple of `align` bytes.
    ///
    /// # Errors
    /// - [`EarlyAllocError::Empty`] for no frame,
    /// - [`EarlyAllocError::BadAlignment`] unless `align` is a power of two of at least a frame,
    /// - [`EarlyAllocError::NoMemory`] when no usable region has room,
    /// - [`EarlyAllocError::TooManyRegions`] when the map cannot note it.
    ///
    /// The map is then as before.
    pub fn alloc(&mut self, frames: usize, align: usize) -> Result<Paddr, EarlyAllocError> {
        self.alloc_as(frames, align, MemoryRegionType::BootAllocated)
    }

    /// Hands out the frames for the metadata of the first `nr_frames` frames of physical memory, as many as
    /// [`metadata_frames`] says.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc).
    pub fn alloc_metadata(&mut self, nr_frames: usize) -> Result<Paddr, EarlyAllocError> {
        self.alloc_as(metadata_frames(nr_frames), PAGE_SIZE, MemoryRegionType::Metadata)
    }

    fn alloc_as(
        &mut self,
        frames: usize,
        align: usize,
        kind: MemoryRegionType,
    ) -> Result<Paddr, EarlyAllocError> {
        if frames == 0 {
            return Err(EarlyAllocError::Empty);
        }
        if !align.is_power_of_two() || align < PAGE_SIZE {
            return Err(EarlyAllocError::BadAlignment { align });
        }
        let no_memory = EarlyAllocError::NoMemory { frames, align };
        let len = frames.checked_mul(PAGE_SIZE).ok_or(no_memory)?;
        let base = self.map.find_usable(len, align).ok_or(no_memory)?;
        self.map.reserve(MemoryRegion::new(base, len, kind))?;
        Ok(base)
    }

    /// Returns the map with what was given away so far.
    pub fn map(&self) -> &MemoryMap {
        &self.map
    }

    /// Ends early allocation and returns the map with what was given away.
    pub fn into_map(self) -> MemoryMap {
        self.map
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::boot::MAX_REGIONS;
    use MemoryRegionType::{BootAllocated, Kernel, Usable};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn allocator() -> EarlyAllocator {
        let map = MemoryMap::from_regions(&[
            MemoryRegion::new(Paddr(0x1000), 0x9000, Usable),
            MemoryRegion::new(Paddr(0x10_0000), 0x20_0000, Usable),
            MemoryRegion::new(Paddr(0x10_0000), 0x1_0000, Kernel),
        ]);
        EarlyAllocator::new(map.unwrap())
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        let mut early = allocator();
        let before = early.map().clone();
        assert_eq!(early.alloc(0, PAGE_SIZE), Err(EarlyAllocError::Empty));
        for align in [0, 1, 2048, 3 * PAGE_SIZE, usize::MAX] {
            assert_eq!(early.alloc(1, align), Err(EarlyAllocError::BadAlignment { align }));
        }
        for (frames, align) in [(usize::MAX, PAGE_SIZE), (0x1f1, PAGE_SIZE), (1, 1 << 63)] {
            assert_eq!(early.alloc(frames, align), Err(EarlyAllocError::NoMemory { frames, align }));
        }
        assert_eq!(*early.map(), before);
    }

    #[test]
    fn metadata_take_one_frame_in_64() {
        assert_eq!([0, 1, 64, 65, 0x4_0000].map(metadata_frames), [0, 1, 1, 2, 0x1000]);
        assert_eq!(metadata_frames(usize::MAX), usize::MAX / 64 + 1);
        let mut early = allocator();
        assert_eq!(early.alloc_metadata(0), Err(EarlyAllocError::Empty));
        let base = early.alloc_metadata(3 * 64 - 1).unwrap();
        assert_eq!(early.map().bytes_of(MemoryRegionType::Metadata), 3 * PAGE_SIZE);
        assert_eq!(early.map().kind_of(base), Some(MemoryRegionType::Metadata));
        let error = EarlyAllocError::NoMemory { frames: metadata_frames(usize::MAX), align: PAGE_SIZE };
        assert_eq!(early.alloc_metadata(usize::MAX), Err(error));
    }

    #[test]
    fn a_full_map_is_an_error() {
        let islands: Vec<_> =
            (0..MAX_REGIONS).map(|n| MemoryRegion::new(Paddr(n * 0x4000), 0x2000, Usable)).collect();
        let mut early = EarlyAllocator::new(MemoryMap::from_regions(&islands).unwrap());
        assert_eq!(early.alloc(1, PAGE_SIZE), Err(EarlyAllocError::TooManyRegions { capacity: MAX_REGIONS }));
        assert_eq!(early.alloc(2, PAGE_SIZE), Ok(Paddr(0)));
    }

    proptest! {
        #[test]
        fn blocks_are_usable_disjoint_and_noted(requests in proptest::collection::vec((1usize..20, 0u32..6), 0..40)) {
            let mut early = allocator();
            let before = early.map().clone();
            let mut given = std::collections::BTreeSet::new();
            for (frames, order) in requests {
                let align = PAGE_SIZE << order;
                let Ok(base) = early.alloc(frames, align) else { continue };
                prop_assert_eq!(base.0 % align, 0);
                for frame in 0..frames {
                    let paddr = Paddr(base.0 + frame * PAGE_SIZE);
                    prop_assert_eq!(before.kind_of(paddr), Some(Usable));
                    prop_assert!(given.insert(paddr));
                }
            }
            for frame in 0..0x400 {
                let paddr = Paddr(frame * PAGE_SIZE);
                let expected = if given.contains(&paddr) { Some(BootAllocated) } else { before.kind_of(paddr) };
                prop_assert_eq!(early.map().kind_of(paddr), expected);
            }
        }
    }
}
