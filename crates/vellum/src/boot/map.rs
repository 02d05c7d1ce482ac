//! The boot memory map, made consistent.

use super::{MemoryRegion, MemoryRegionType};
use core::fmt;
use vellum_machine::addr::{PAGE_SIZE, Paddr};

/// The most regions that a [`MemoryMap`] holds.
pub const MAX_REGIONS: usize = 128;

/// What went wrong with a memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The map has more regions than fit.
    TooManyRegions {
        /// How many fit.
        capacity: usize,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::TooManyRegions { capacity } => {
                write!(f, "the memory map has more than {capacity} regions")
            }
        }
    }
}

impl core::error::Error for MapError {}

/// What each frame of the machine is good for.
///
/// # Guarantees
/// The regions are sorted, not empty, disjoint, of whole frames, below
/// [`PADDR_LIMIT`](vellum_machine::layout::PADDR_LIMIT), and no two that touch are of one kind. Holes are no region.
#[derive(Clone)]
pub struct MemoryMap {
    regions: [MemoryRegion; MAX_REGIONS],
    len: usize,
}

impl MemoryMap {
    /// Makes the map that a list of entries describes.
    ///
    /// The entries may be in any order, overlap, be empty, unaligned, or reach past the end of the address space. On
    /// overlap the more cautious kind counts (the greater [`MemoryRegionType`]). Usable entries lose the frames that
    /// they cover in part; all others gain them, and reclaimable ones gain them as reserved. What lies beyond the
    /// greatest physical address is dropped. The time is quadratic in the number of entries.
    ///
    /// # Errors
    /// [`MapError::TooManyRegions`] when the result has more than [`MAX_REGIONS`] regions.
    pub fn from_regions(entries: &[MemoryRegion]) -> Result<MemoryMap, MapError> {
        MemoryMap::sweep(entries.iter().copied())
    }

    /// Adds one entry, by the rules of [`from_regions`](Self::from_regions).
    ///
    /// # Errors
    /// [`MapError::TooManyRegions`] when the result has more than [`MAX_REGIONS`] regions; the map is then as before.
    pub fn reserve(&mut self, entry: MemoryRegion) -> Result<(), MapError> {
        *self = MemoryMap::sweep(self.regions().iter().copied().chain([entry]))?;
        Ok(())
    }

    /// Returns the regions.
    pub fn regions(&self) -> &[MemoryRegion] {
        &self.regions[..self.len]
    }

    /// Lists the regions of free memory.
    pub fn usable(&self) -> impl Iterator<Item = MemoryRegion> {
        self.regions().iter().copied().filter(|region| region.kind == MemoryRegionType::Usable)
    }

    /// Returns what the frame of an address is good for, or `None` in a hole.
    pub fn kind_of(&self, paddr: Paddr) -> Option<MemoryRegionType> {
        let after = self.regions().partition_point(|region| region.base <= paddr);
        let region = self.regions()[..after].last()?;
        (paddr < region.end()).then_some(region.kind)
    }

    /// Returns the address after the last region; 0 for an empty map.
    pub fn end(&self) -> Paddr {
        self.regions().last().map_or(Paddr(0), MemoryRegion::end)
    }

    /// Returns the address after the last memory that is free, was free or becomes free; 0 where none is.
    ///
    /// Memory of devices often lies far above it.
    pub fn ram_end(&self) -> Paddr {
        let ram = |region: &&MemoryRegion| region.kind <= MemoryRegionType::Metadata;
        self.regions().iter().rfind(ram).map_or(Paddr(0), MemoryRegion::end)
    }

    /// Sums up the bytes of one kind.
    pub fn bytes_of(&self, kind: MemoryRegionType) -> usize {
        self.regions().iter().filter(|region| region.kind == kind).map(|region| region.len).sum()
    }

    /// Goes from border to border; between two of them no entry changes its mind.
    fn sweep(entries: impl Iterator<Item = MemoryRegion> + Clone) -> Result<MemoryMap, MapError> {
        let claims = entries.map(|entry| entry.claims());
        let mut map = MemoryMap::default();
        let mut at = 0;
        while let Some(next) =
            claims.clone().flat_map(|claim| claim.borders()).filter(|&border| border > at).min()
        {
            let kind = claims.clone().filter_map(|claim| claim.kind_at(at)).max();
            if let Some(kind) = kind {
                map.append(MemoryRegion::covering(at, next, kind))?;
            }
            at = next;
        }
        Ok(map)
    }

    fn append(&mut self, region: MemoryRegion) -> Result<(), MapError> {
        if let Some(last) = self.regions[..self.len].last_mut()
            && last.kind == region.kind
            && last.end() == region.base
        {
            last.len += region.len;
            return Ok(());
        }
        let slot =
            self.regions.get_mut(self.len).ok_or(MapError::TooManyRegions { capacity: MAX_REGIONS })?;
        *slot = region;
        self.len += 1;
        Ok(())
    }

    /// Finds the lowest `len` bytes of usable memory at a multiple of `align`.
    pub(super) fn find_usable(&self, len: usize, align: usize) -> Option<Paddr> {
        debug_assert!(len.is_multiple_of(PAGE_SIZE) && align.is_power_of_two());
        self.usable().find_map(|region| {
            let start = region.base.0.checked_next_multiple_of(align)?;
            let end = start.checked_add(len)?;
            (end <= region.end().0).then_some(Paddr(start))
        })
    }
}

impl Default for MemoryMap {
    /// Makes a map without a region.
    fn default() -> MemoryMap {
        MemoryMap { regions: [MemoryRegion::covering(0, 0, MemoryRegionType::Reserved); MAX_REGIONS], len: 0 }
    }
}

impl PartialEq for MemoryMap {
    fn eq(&self, other: &MemoryMap) -> bool {
        self.regions() == other.regions()
    }
}

impl Eq for MemoryMap {}

impl fmt::Debug for MemoryMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.regions()).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::MemoryRegionType::*;
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use vellum_machine::layout::PADDR_LIMIT;

    fn region(base: usize, len: usize, kind: MemoryRegionType) -> MemoryRegion {
        MemoryRegion::new(Paddr(base), len, kind)
    }

    fn map(entries: &[MemoryRegion]) -> Vec<(usize, usize, MemoryRegionType)> {
        let map = MemoryMap::from_regions(entries).unwrap();
        map.regions().iter().map(|region| (region.base.0, region.end().0, region.kind)).collect()
    }

    #[test]
    fn usable_shrinks_and_others_grow() {
        assert_eq!(map(&[region(1, 0x3000, Usable)]), [(0x1000, 0x3000, Usable)]);
        assert_eq!(map(&[region(0x1fff, 2, Bad)]), [(0x1000, 0x3000, Bad)]);
        assert_eq!(map(&[region(0x1001, 0xffe, Usable)]), []);
    }

    #[test]
    fn edges_of_reclaimable_memory_are_reserved() {
        assert_eq!(
            map(&[region(0x1800, 0x2000, Reclaimable)]),
            [(0x1000, 0x2000, Reserved), (0x2000, 0x3000, Reclaimable), (0x3000, 0x4000, Reserved)]
        );
        assert_eq!(
            map(&[region(0, 0x4000, Usable), region(0x1800, 8, Reclaimable)])[1],
            (0x1000, 0x2000, Reserved)
        );
    }

    #[test]
    fn nonsense_is_cut_to_the_address_space() {
        assert_eq!(
            map(&[region(0, 0, Usable), region(usize::MAX, usize::MAX, Bad), region(usize::MAX, 0, Kernel)]),
            []
        );
        assert_eq!(
            map(&[region(PADDR_LIMIT - 1, usize::MAX, Bad)]),
            [(PADDR_LIMIT - 0x1000, PADDR_LIMIT, Bad)]
        );
        assert_eq!(map(&[region(0, usize::MAX, Usable)]), [(0, PADDR_LIMIT, Usable)]);
    }

    #[test]
    fn too_many_regions_are_an_error_and_change_nothing() {
        let islands: Vec<_> = (0..MAX_REGIONS).map(|n| region(n * 0x2000, 0x1000, Usable)).collect();
        let mut full = MemoryMap::from_regions(&islands).unwrap();
        let before = full.clone();
        let error = MapError::TooManyRegions { capacity: MAX_REGIONS };
        assert_eq!(full.reserve(region(0x100_0000, 1, Bad)), Err(error));
        assert_eq!(full, before);
        // What is covered in the end does not count.
        let mut more = islands.clone();
        more.push(region(0x100_0000, 0x1000, Usable));
        assert_eq!(MemoryMap::from_regions(&more), Err(error));
        more.push(region(0, 0x10_0000, Reserved));
        assert!(MemoryMap::from_regions(&more).is_ok());
    }

    #[test]
    fn questions_are_answered_from_the_regions() {
        let map = MemoryMap::from_regions(&[
            region(0x8000_0000, 0x1000, Framebuffer),
            region(0x1000, 0x9000, Usable),
            region(0x4000, 0x1000, Kernel),
        ])
        .unwrap();
        assert_eq!(map.kind_of(Paddr(0xfff)), None);
        assert_eq!(map.kind_of(Paddr(0x1000)), Some(Usable));
        assert_eq!(map.kind_of(Paddr(0x4fff)), Some(Kernel));
        assert_eq!(map.kind_of(Paddr(usize::MAX)), None);
        assert_eq!(map.end(), Paddr(0x8000_1000));
        assert_eq!(map.ram_end(), Paddr(0xa000));
        assert_eq!(map.bytes_of(Usable), 0x8000);
    }

    const KINDS: [MemoryRegionType; 10] = [
        Usable,
        Reclaimable,
        BootAllocated,
        Metadata,
        Framebuffer,
        Module,
        Kernel,
        NonVolatileSleep,
        Reserved,
        Bad,
    ];
    const MODEL_FRAMES: usize = 40;

    /// Says of one frame what the entries say, without any sweep.
    fn model(entries: &[MemoryRegion], frame: usize) -> Option<MemoryRegionType> {
        let (start, end) = (frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);
        let says = |entry: &MemoryRegion| {
            let whole = entry.base.0 <= start && end <= entry.end().0;
            let touched = entry.len > 0 && entry.base.0 < end && start < entry.end().0;
            match entry.kind {
                Usable => whole.then_some(Usable),
                Reclaimable if touched && !whole => Some(Reserved),
                kind => touched.then_some(kind),
            }
        };
        entries.iter().filter_map(says).max()
    }

    fn entries() -> impl Strategy<Value = Vec<MemoryRegion>> {
        let length =
            prop_oneof![Just(0), 1usize..0x9000, (1usize..9).prop_map(|n| n * PAGE_SIZE), Just(usize::MAX)];
        let base =
            prop_oneof![0usize..MODEL_FRAMES * PAGE_SIZE, (0..MODEL_FRAMES).prop_map(|n| n * PAGE_SIZE)];
        let entry =
            (base, length, 0..KINDS.len()).prop_map(|(base, len, kind)| region(base, len, KINDS[kind]));
        proptest::collection::vec(entry, 0..24)
    }

    proptest! {
        #[test]
        fn every_frame_is_what_the_model_says(entries in entries()) {
            let map = MemoryMap::from_regions(&entries).unwrap();
            for frame in 0..MODEL_FRAMES + 10 {
                prop_assert_eq!(map.kind_of(Paddr(frame * PAGE_SIZE)), model(&entries, frame), "frame {}", frame);
            }
            for pair in map.regions().windows(2) {
                prop_assert!(pair[0].end() < pair[1].base || pair[0].end() == pair[1].base && pair[0].kind != pair[1].kind);
            }
            for region in map.regions() {
                prop_assert!(region.len > 0 && region.len % PAGE_SIZE == 0 && region.base.0 % PAGE_SIZE == 0);
                prop_assert!(region.end().0 <= PADDR_LIMIT);
            }
        }

        #[test]
        fn order_does_not_matter_and_a_map_maps_to_itself(entries in entries(), turn in 0usize..24) {
            let map = MemoryMap::from_regions(&entries).unwrap();
            let mut turned = entries.clone();
            let turn = turn % turned.len().max(1);
            turned.rotate_left(turn);
            turned.reverse();
            prop_assert_eq!(&MemoryMap::from_regions(&turned).unwrap(), &map);
            prop_assert_eq!(&MemoryMap::from_regions(map.regions()).unwrap(), &map);
        }
    }
}
