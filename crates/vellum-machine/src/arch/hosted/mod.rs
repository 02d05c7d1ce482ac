//! TRUSTED: the machine inside a process of Linux.
//!
//! A processor is a thread that took its seat ([`Seat::take`]). Physical memory is a mapping that whoever powers
//! the machine on has made at [`crate::layout::LINEAR_MAP_BASE`]. What hardware does in a real machine, code does
//! here: walking page tables and marking what was used (`mmu`), keeping translations (`tlb`), bringing calls
//! to other processors (`station`). There is one machine in the life of a process.
#[allow(unsafe_code, reason = "reaches physical memory through raw pointers")]
pub(crate) mod access;
pub(crate) mod fence;
mod mmu;
#[allow(unsafe_code, reason = "physical memory is a raw mapping")]
mod phys;
mod processor;
#[allow(unsafe_code, reason = "a halted processor is handed to the thread that serves its calls")]
mod station;
mod tlb;

extern crate std;

use crate::addr::{PAGE_SIZE, Paddr, Vaddr};
use crate::cpu::{CpuId, CpuSet, MAX_CPUS};
use crate::layout::PADDR_LIMIT;
use crate::primitive::{AtomicU64, Ordering, spin_loop};
use crate::tlb::Statistics;
use core::cell::Cell;
use core::fmt;
use core::num::NonZeroU32;
use processor::Processor;
use station::Station;
use std::boxed::Box;
use std::sync::OnceLock;

pub use station::{Seat, SeatError};

/// What the walker of this machine reads.
pub type Native = crate::ptword::X86_64;

/// The walker of this machine sets accessed and dirty bits.
pub(crate) const NOTES_ACCESSES: bool = true;

/// The highest level at which the walker of this machine knows pages.
pub(crate) fn largest_leaf_level() -> u8 {
    3
}

/// What a machine consists of.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    /// Bytes of physical memory.
    pub memory: usize,
    /// Number of processors.
    pub cpus: usize,
    /// After how many accesses a processor also reads the translations of the neighbouring pages. If not `None`, it
    /// also reads the translation of a page right after it was flushed.
    pub speculate_every: Option<NonZeroU32>,
}

/// Why a machine was not powered on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerError {
    /// There is a machine in this process, or was one.
    AlreadyOn,
    /// The size of memory is zero, not a multiple of a page, or more than the linear map has room for.
    Memory {
        /// The size, in bytes.
        bytes: usize,
    },
    /// The number of processors is zero or above [`MAX_CPUS`].
    Cpus {
        /// The number.
        count: usize,
    },
}

impl fmt::Display for PowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PowerError::AlreadyOn => f.write_str("the process has had its machine"),
            PowerError::Memory { bytes } => write!(f, "physical memory cannot have {bytes} bytes"),
            PowerError::Cpus { count } => write!(f, "a machine cannot have {count} processors"),
        }
    }
}

impl core::error::Error for PowerError {}

/// The machine of this process.
struct Machine {
    memory: usize,
    speculate_every: u32,
    stations: Box<[Station]>,
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

std::thread_local! {
    /// The processor that this thread is at the moment.
    static PROCESSOR: Cell<Option<&'static Processor>> = const { Cell::new(None) };
    /// Its number, or that of no processor: it is asked for more often than all the rest.
    static NUMBER: Cell<u32> = const { Cell::new(u32::MAX) };
    /// Turns of waiting that this thread has made.
    static TURNS: Cell<u32> = const { Cell::new(0) };
    /// Preemption guards that live on this thread.
    static GUARDS: Cell<usize> = const { Cell::new(0) };
}

/// A waiting thread leaves its core to others every so many turns: there are fewer cores than processors.
const TURNS_PER_YIELD: u32 = 32;

/// Makes the machine of this process; its processors have nobody in their seats yet.
///
/// # Errors
/// - [`PowerError::AlreadyOn`]: there has been one.
/// - [`PowerError::Memory`], [`PowerError::Cpus`]: there can be no such machine.
///
/// # Safety
/// 1. `power.memory` bytes are mapped at [`crate::layout::LINEAR_MAP_BASE`], readable and writable, until the
///    process ends; they are accessed as the memory of a machine is: through atomics where the machine or
///    another processor can be there too.
#[allow(unsafe_code, reason = "the duty of whoever maps physical memory")]
pub unsafe fn power_on(power: Power) -> Result<(), PowerError> {
    let Power { memory, cpus, speculate_every } = power;
    if memory == 0 || !memory.is_multiple_of(PAGE_SIZE) || memory > PADDR_LIMIT {
        return Err(PowerError::Memory { bytes: memory });
    }
    if cpus == 0 || cpus > MAX_CPUS {
        return Err(PowerError::Cpus { count: cpus });
    }
    let stations = CpuSet::first(cpus).iter().map(Station::new).collect();
    let speculate_every = speculate_every.map_or(0, NonZeroU32::get);
    fence::register();
    MACHINE.set(Machine { memory, speculate_every, stations }).map_err(|_| PowerError::AlreadyOn)
}

/// Has the calling processor read the translation of `va`, as hardware may at any time, if there is one and none
/// is kept.
///
/// The accessed bit may be set on the way, the dirty bit is not; there is no fault. Does nothing on a thread that
/// is no processor.
pub fn speculate(va: Vaddr) {
    with_processor(|processor| processor.speculate(va));
}

/// Wakes the thread of a processor that waits in [`Seat::halt_until`].
pub fn wake(cpu: CpuId) {
    if let Some(station) = station(cpu) {
        station.wake();
    }
}

impl Machine {
    /// Stops everything: hardware was told to do what hardware cannot.
    #[cold]
    #[inline(never)]
    fn check(&self, what: fmt::Arguments<'_>) -> ! {
        panic!("machine check: {what} (the machine has {:#x} bytes of memory)", self.memory)
    }
}

fn station(cpu: CpuId) -> Option<&'static Station> {
    MACHINE.get()?.stations.get(cpu.index())
}

/// Makes the thread a processor, or none.
fn be(processor: Option<&'static Processor>) {
    PROCESSOR.set(processor);
    NUMBER.set(processor.map_or(u32::MAX, |processor| processor.id().index() as u32));
}

/// Runs `f` with the processor that this thread is, if it is one.
#[inline(always)]
pub(crate) fn with_processor<R>(f: impl FnOnce(&Processor) -> R) -> Option<R> {
    PROCESSOR.get().map(f)
}

#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn current() -> Option<CpuId> {
    CpuId::new(NUMBER.get())
}

/// The threads of a program that loom explores are the processors that they say.
#[cfg(loom)]
pub(crate) fn current() -> Option<CpuId> {
    crate::primitive::seat().and_then(CpuId::new)
}

pub(crate) fn count() -> usize {
    MACHINE.get().map_or(0, |machine| machine.stations.len())
}

pub(crate) fn relax() {
    with_processor(|processor| processor.interrupt_point());
    let turn = TURNS.get().wrapping_add(1);
    TURNS.set(turn);
    if turn.is_multiple_of(TURNS_PER_YIELD) {
        std::thread::yield_now();
    }
    spin_loop();
}

#[inline(always)]
pub(crate) fn preempt_enter() {
    GUARDS.set(GUARDS.get() + 1);
}

#[inline(always)]
pub(crate) fn preempt_leave() {
    GUARDS.set(GUARDS.get() - 1);
}

#[inline(always)]
pub(crate) fn preempt_depth() -> usize {
    GUARDS.get()
}

/// Changes a word that this processor alone writes, unless `next` says that it stays; for others what precedes comes before.
///
/// Calls of others are served where the processor waits or accesses memory, and so not between the load and the store.
#[inline(always)]
pub(crate) fn change_own(word: &AtomicU64, next: impl Fn(u64) -> Option<u64>) -> bool {
    match next(word.load(Ordering::Relaxed)) {
        Some(new) => {
            // Release: pairs with the load of whoever waits for the readers that the word counts.
            word.store(new, Ordering::Release);
            true
        }
        None => false,
    }
}

pub(crate) fn call_on(set: CpuSet, f: fn(usize), arg: usize) -> CpuSet {
    let here = current();
    let reached: CpuSet = set
        .iter()
        .filter(|&cpu| Some(cpu) != here)
        .filter(|&cpu| station(cpu).is_some_and(|station| station.post(f, arg)))
        .collect();
    match here {
        Some(cpu) if set.contains(cpu) => {
            f(arg);
            reached.union(CpuSet::single(cpu))
        }
        _ => reached,
    }
}

/// The processors that have somebody in their seats.
pub(crate) fn present() -> CpuSet {
    // The lock of each mailbox is what orders this: who takes a seat later sees what was written before.
    CpuSet::first(count()).iter().filter(|&cpu| station(cpu).is_some_and(Station::is_open)).collect()
}

/// Other processors' translations can be had flushed by calls alone.
#[inline(always)]
pub(crate) fn fence_others(_others: CpuSet) -> bool {
    false
}

pub(crate) fn statistics(cpu: CpuId) -> Option<Statistics> {
    station(cpu).map(|station| station.counters.read())
}

/// The physical address of a word of a table.
fn word_at(table: Paddr, index: usize) -> Paddr {
    Paddr(table.0 + index * size_of::<u64>())
}
