//! What a machine is to consist of.
use crate::BootError;
use std::num::NonZeroU32;
use vellum::boot::MemoryRegion;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::cpu::MAX_CPUS;
use vellum_machine::layout::PADDR_LIMIT;

/// The least memory that a machine can have, in bytes: what lies below it on a PC, and some to work with.
pub const LEAST_MEMORY: usize = 4 << 20;

/// The most memory that a machine can have, in bytes: what the linear map has room for.
pub const MOST_MEMORY: usize = PADDR_LIMIT;

/// What a machine is to consist of.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Bytes of physical memory.
    pub memory: usize,
    /// Number of processors.
    pub cpus: usize,
    /// Whether processors read translations that nobody asked for.
    pub speculation: Speculation,
    /// What of the memory cannot be used.
    pub holes: Holes,
}

impl Default for MachineConfig {
    /// Two processors and 512 MiB, as on a PC, without speculation.
    fn default() -> MachineConfig {
        MachineConfig { memory: 512 << 20, cpus: 2, speculation: Speculation::Off, holes: Holes::Pc }
    }
}

/// Whether a processor reads translations that nobody asked for, as hardware may at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speculation {
    /// It reads those it needs.
    Off,
    /// Once in so many accesses it also reads those of the neighbouring pages, and after each flush of an address or a
    /// range that of the first page anew.
    Every(NonZeroU32),
}

/// What of the memory cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holes {
    /// Nothing: memory is usable from address 0 to its end.
    None,
    /// What a PC reports: the first frame and the range of the BIOS are reserved, the kernel lies at 1 MiB, and a
    /// few frames in the middle are bad.
    Pc,
    /// What a PC reports, and these regions.
    PcWith(Vec<MemoryRegion>),
}

impl MachineConfig {
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), BootError> {
        let MachineConfig { memory, cpus, .. } = *self;
        if !memory.is_multiple_of(PAGE_SIZE) {
            return Err(BootError::MemoryNotAligned { bytes: memory });
        }
        if memory < LEAST_MEMORY {
            return Err(BootError::MemoryTooSmall { bytes: memory, least: LEAST_MEMORY });
        }
        if memory > MOST_MEMORY {
            return Err(BootError::MemoryTooBig { bytes: memory, most: MOST_MEMORY });
        }
        match cpus {
            0 => Err(BootError::NoCpus),
            1..=MAX_CPUS => Ok(()),
            count => Err(BootError::TooManyCpus { count, most: MAX_CPUS }),
        }
    }
}
