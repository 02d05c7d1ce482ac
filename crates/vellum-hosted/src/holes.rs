//! The memory map that the machine's firmware reports.
use crate::{BootError, Holes, MachineConfig};
use vellum::boot::{MemoryMap, MemoryRegion, MemoryRegionType};
use vellum_machine::addr::{PAGE_SIZE, Paddr};

/// Where the range of the BIOS starts and ends on a PC.
const BIOS: (usize, usize) = (0x9_f000, 0x10_0000);

/// Where the kernel's image starts and ends.
const KERNEL: (usize, usize) = (0x10_0000, 0x18_0000);

/// Frames in the middle of memory that are bad; an odd number at an odd place.
const BAD_FRAMES: usize = 5;

/// Returns what the firmware reports of the memory of a machine.
pub(crate) fn memory_map(config: &MachineConfig) -> Result<MemoryMap, BootError> {
    let all = region(0, config.memory, MemoryRegionType::Usable);
    let mut entries = vec![all];
    match &config.holes {
        Holes::None => {}
        Holes::Pc => entries.extend(pc(config.memory)),
        Holes::PcWith(more) => {
            entries.extend(pc(config.memory));
            // Nothing is there beyond the end of memory, whoever says so.
            entries.extend(more.iter().filter(|hole| hole.base < all.end()).map(|hole| {
                let end = hole.end().min(all.end());
                region(hole.base.0, end.0, hole.kind)
            }));
        }
    }
    MemoryMap::from_regions(&entries).map_err(BootError::Map)
}

fn pc(memory: usize) -> [MemoryRegion; 4] {
    let bad = memory / 2 / PAGE_SIZE * PAGE_SIZE + 3 * PAGE_SIZE;
    [
        region(0, PAGE_SIZE, MemoryRegionType::Reserved),
        region(BIOS.0, BIOS.1, MemoryRegionType::Reserved),
        region(KERNEL.0, KERNEL.1, MemoryRegionType::Kernel),
        region(bad, bad + BAD_FRAMES * PAGE_SIZE, MemoryRegionType::Bad),
    ]
}

fn region(start: usize, end: usize, kind: MemoryRegionType) -> MemoryRegion {
    MemoryRegion::new(Paddr(start), end - start, kind)
}
