//! The machine of this process.
use crate::bring_up::bring_up;
use crate::memory::Memory;
use crate::worker::Worker;
use crate::{BootError, MachineConfig, Speculation, holes};
use std::sync::atomic::{AtomicBool, Ordering};
use vellum::boot::{EarlyAllocator, MemoryMap, MemoryRegion, metadata_frames};
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::arch::hosted::{self, Power, PowerError};
use vellum_machine::cpu::{CpuId, CpuSet};

/// The machine of this process, with the frame layer running on it.
///
/// Dropping it stops its processors. Its memory stays, and so do handles to frames, but nothing runs on it any
/// more, and there is no second machine.
pub struct Machine {
    workers: Vec<Worker>,
    map: MemoryMap,
    memory: usize,
}

/// Whether this process has, had, or is about to have its machine.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// The right to make the machine; given back when dropped.
struct Claim;

impl Claim {
    fn take() -> Result<Claim, BootError> {
        // AcqRel: whoever comes after one who gave up sees nothing of its attempt.
        if CLAIMED.swap(true, Ordering::AcqRel) { Err(BootError::AlreadyBooted) } else { Ok(Claim) }
    }

    fn spend(self) {
        std::mem::forget(self);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Release: pairs with the swap in `take`.
        CLAIMED.store(false, Ordering::Release);
    }
}

impl Machine {
    /// Makes the machine of this process and brings the frame layer up on its first processor.
    ///
    /// # Errors
    /// - [`BootError::AlreadyBooted`]: the process has had its machine.
    /// - [`BootError::Allocator`]: the frame layer did not come up; there will be no other machine.
    /// - Any other: the machine cannot be, or the host does not give what it needs; nothing is left of the attempt.
    pub fn boot(config: MachineConfig) -> Result<Machine, BootError> {
        config.check()?;
        let claim = Claim::take()?;
        let mut memory = Memory::new(config.memory)?;
        let mut early = EarlyAllocator::new(holes::memory_map(&config)?);
        let frames = config.memory / PAGE_SIZE;
        let metadata = early.alloc_metadata(frames).map_err(BootError::Metadata)?;
        memory.map_metadata(metadata, metadata_frames(frames) * PAGE_SIZE)?;
        let mut workers =
            CpuSet::first(config.cpus).iter().map(Worker::new).collect::<Result<Vec<_>, _>>()?;

        power_on(&config, memory)?;
        claim.spend();
        workers.iter_mut().for_each(Worker::start);
        let mut machine = Machine { workers, map: MemoryMap::default(), memory: config.memory };
        machine.map = machine.run_on(CpuId::BOOT, || start_frames(early, frames))?;
        Ok(machine)
    }

    /// Returns how many processors it has.
    pub fn cpus(&self) -> usize {
        self.workers.len()
    }

    /// Returns how much memory it has, in bytes.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Returns what its memory was good for when the frame layer had come up.
    pub fn regions(&self) -> &[MemoryRegion] {
        self.map.regions()
    }

    /// Stops its processors, as dropping it does.
    pub fn shutdown(self) {
        drop(self);
    }

    pub(crate) fn worker(&self, cpu: CpuId) -> Option<&Worker> {
        self.workers.get(cpu.index())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // All of them first, so that none waits for one that still runs; dropping a worker waits for its thread.
        self.workers.iter().for_each(Worker::stop);
    }
}

/// Brings the frame layer up on the machine, which is on.
#[allow(unsafe_code, reason = "vouches for the memory that the frame layer starts on")]
fn start_frames(early: EarlyAllocator, frames: usize) -> Result<MemoryMap, BootError> {
    // SAFETY: `Machine::boot` has mapped both windows for good, and gave the frames of the second from `early`; it
    // comes here once in the life of the process.
    unsafe { bring_up(early, frames) }
}

/// Turns the machine on, on memory that stays from now on.
#[allow(unsafe_code, reason = "vouches for the memory that the machine runs on")]
fn power_on(config: &MachineConfig, memory: Memory) -> Result<(), BootError> {
    let speculate_every = match config.speculation {
        Speculation::Off => None,
        Speculation::Every(accesses) => Some(accesses),
    };
    let power = Power { memory: config.memory, cpus: config.cpus, speculate_every };
    // SAFETY: `memory` shows that many bytes through the linear map; if the machine is on, they are kept below.
    match unsafe { hosted::power_on(power) } {
        Ok(()) => {
            memory.keep();
            Ok(())
        }
        Err(PowerError::AlreadyOn) => Err(BootError::AlreadyBooted),
        Err(PowerError::Memory { bytes }) => Err(BootError::MemoryTooBig { bytes, most: crate::MOST_MEMORY }),
        Err(PowerError::Cpus { .. }) => Err(BootError::NoCpus),
    }
}
