//! Where others reach a processor: its mailbox, its counters, and its state while it is halted.
//!
//! A call is put into the mailbox, and the processor finds it at its next interrupt point. A halted processor has
//! no next interrupt point: the thread that sends the call becomes that processor for as long as the call takes,
//! which is what the interrupt would have it do, without waking its thread.
use super::processor::Processor;
use super::std::boxed::Box;
use super::std::collections::VecDeque;
use super::std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use super::std::thread::{self, Thread};
use super::{MACHINE, PROCESSOR, be};
use crate::cpu::CpuId;
use crate::tlb::Statistics;
use core::fmt;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

/// A call from another processor.
#[derive(Clone, Copy)]
pub(super) struct Call {
    f: fn(usize),
    arg: usize,
}

impl Call {
    pub(super) fn run(self) {
        (self.f)(self.arg);
    }
}

/// A count that one thread at a time writes, and any thread reads.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline(always)]
    pub(super) fn count(&self) {
        // Relaxed: a number for people; there is one writer, so nothing is lost between load and store.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a processor counts.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) walks: Counter,
    pub(super) hits: Counter,
    pub(super) fills: Counter,
    pub(super) faults: Counter,
    pub(super) flushes: Counter,
}

impl Counters {
    pub(super) fn read(&self) -> Statistics {
        Statistics {
            walks: self.walks.read(),
            hits: self.hits.read(),
            fills: self.fills.read(),
            faults: self.faults.read(),
            flushes: self.flushes.read(),
        }
    }
}

#[derive(Default)]
struct Mailbox {
    calls: VecDeque<Call>,
    /// Whether somebody will serve what is put in.
    open: bool,
}

/// Nobody is in the seat, or its thread runs.
const RUNNING: u8 = 0;
/// The seat's thread waits; whoever makes this [`BORROWED`] is the processor.
const HALTED: u8 = 1;
/// Another thread is the processor for a moment.
const BORROWED: u8 = 2;

/// What all threads know of one processor.
#[repr(align(128))]
pub(super) struct Station {
    pub(super) cpu: CpuId,
    /// Whether the mailbox may have calls in it.
    pending: AtomicBool,
    mailbox: Mutex<Mailbox>,
    state: AtomicU8,
    processor: AtomicPtr<Processor>,
    thread: OnceLock<Thread>,
    pub(super) counters: Counters,
}

impl Station {
    pub(super) fn new(cpu: CpuId) -> Station {
        Station {
            cpu,
            pending: AtomicBool::new(false),
            mailbox: Mutex::default(),
            state: AtomicU8::new(RUNNING),
            processor: AtomicPtr::new(ptr::null_mut()),
            thread: OnceLock::new(),
            counters: Counters::default(),
        }
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is in the seat, and serves its calls.
    pub(super) fn is_open(&self) -> bool {
        self.mailbox().open
    }

    #[inline(always)]
    pub(super) fn has_calls(&self) -> bool {
        // Relaxed: a hint; the mailbox's lock orders the call itself.
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Option<Call> {
        let mut mailbox = self.mailbox();
        let call = mailbox.calls.pop_front();
        if mailbox.calls.is_empty() {
            self.pending.store(false, Ordering::SeqCst);
        }
        call
    }

    /// Puts a call in, and says whether it will be served.
    pub(super) fn post(&self, f: fn(usize), arg: usize) -> bool {
        {
            let mut mailbox = self.mailbox();
            if !mailbox.open {
                return false;
            }
            mailbox.calls.push_back(Call { f, arg });
            // SeqCst: this and `serve_if_halted`'s look at the state, against the state's change and the look at
            // this in `Seat::halt_until` and after a borrowing: one of the two sees the other.
            self.pending.store(true, Ordering::SeqCst);
        }
        self.serve_if_halted();
        true
    }

    /// Serves the calls of a halted processor, as that processor.
    fn serve_if_halted(&self) {
        while self.pending.load(Ordering::SeqCst) {
            // Acquire by SeqCst: pairs with the stores of HALTED, so that the processor is as it was left.
            if self.state.compare_exchange(HALTED, BORROWED, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                return;
            }
            let _borrowed = Borrowed::new(self);
            // SAFETY: `Seat::take` made it from a box that is never freed, before the state was ever HALTED. Its
            // state is BORROWED by this thread: nobody else uses it until the state is HALTED again.
            let processor = unsafe { &*self.processor.load(Ordering::Acquire) };
            be(Some(processor));
            processor.serve();
        }
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// While it lives, this thread is another processor than before.
struct Borrowed<'a> {
    station: &'a Station,
    before: Option<&'static Processor>,
}

impl<'a> Borrowed<'a> {
    fn new(station: &'a Station) -> Borrowed<'a> {
        Borrowed { station, before: PROCESSOR.get() }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        be(self.before);
        // Release by SeqCst: hands the processor on.
        self.station.state.store(HALTED, Ordering::SeqCst);
    }
}

/// Why a thread could not become a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeatError {
    /// The machine is not powered on.
    Off,
    /// The machine does not have that processor.
    NoSuchCpu(CpuId),
    /// Another thread is that processor, or was.
    Taken(CpuId),
    /// The calling thread is a processor already.
    Seated(CpuId),
}

impl fmt::Display for SeatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeatError::Off => f.write_str("the machine is not powered on"),
            SeatError::NoSuchCpu(cpu) => write!(f, "the machine has no processor {cpu}"),
            SeatError::Taken(cpu) => write!(f, "processor {cpu} has its thread"),
            SeatError::Seated(cpu) => write!(f, "this thread is processor {cpu} already"),
        }
    }
}

impl core::error::Error for SeatError {}

/// Makes the thread that holds it a processor; dropping it stops that processor for good.
#[must_use = "the thread is a processor for as long as the seat is held"]
pub struct Seat {
    station: &'static Station,
    processor: &'static Processor,
    on_this_thread: PhantomData<*mut ()>,
}

/// Turns a halted thread waits awake, in which waking it up costs nothing.
const AWAKE_TURNS: u32 = 64;

impl Seat {
    /// Makes the calling thread the processor `cpu`, with nothing kept and no root.
    ///
    /// # Errors
    /// - [`SeatError::Off`]: there is no machine.
    /// - [`SeatError::NoSuchCpu`]: it does not have `cpu`.
    /// - [`SeatError::Seated`]: the calling thread is a processor.
    /// - [`SeatError::Taken`]: `cpu` has or had its thread.
    pub fn take(cpu: CpuId) -> Result<Seat, SeatError> {
        let machine = MACHINE.get().ok_or(SeatError::Off)?;
        let station = machine.stations.get(cpu.index()).ok_or(SeatError::NoSuchCpu(cpu))?;
        if let Some(seated) = PROCESSOR.get() {
            return Err(SeatError::Seated(seated.id()));
        }
        station.thread.set(thread::current()).map_err(|_| SeatError::Taken(cpu))?;
        let processor = Box::into_raw(Box::new(Processor::new(machine, station)));
        station.processor.store(processor, Ordering::Release);
        // SAFETY: made just now from a box that is never freed.
        let processor: &'static Processor = unsafe { &*processor };
        be(Some(processor));
        // It has read nothing of any table yet. Who missed it here had written before what it will read: the lock orders it.
        station.mailbox().open = true;
        Ok(Seat { station, processor, on_this_thread: PhantomData })
    }

    /// Halts the processor until `ready` says so; whoever makes it so calls [`super::wake`] afterwards.
    ///
    /// Calls from other processors are served meanwhile. `ready` does not run as the processor.
    pub fn halt_until(&self, mut ready: impl FnMut() -> bool) {
        let _halted = Halted::new(self);
        let mut turns = 0;
        while !ready() {
            // Calls that came before the state was HALTED.
            self.station.serve_if_halted();
            if turns < AWAKE_TURNS {
                turns += 1;
                thread::yield_now();
            } else {
                thread::park();
            }
        }
    }
}

/// While it lives, the seat's processor is left to those who serve its calls.
struct Halted<'a>(&'a Seat);

impl<'a> Halted<'a> {
    fn new(seat: &'a Seat) -> Halted<'a> {
        be(None);
        // Release by SeqCst: hands the processor to whoever borrows it; see `Station::post`.
        seat.station.state.store(HALTED, Ordering::SeqCst);
        Halted(seat)
    }
}

impl Drop for Halted<'_> {
    fn drop(&mut self) {
        let Halted(seat) = self;
        let state = &seat.station.state;
        // Acquire: pairs with the store of HALTED by the last borrower.
        while state.compare_exchange_weak(HALTED, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            thread::yield_now();
        }
        be(Some(seat.processor));
        seat.processor.interrupt_point();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        loop {
            self.processor.interrupt_point();
            let mut mailbox = self.station.mailbox();
            if mailbox.calls.is_empty() {
                mailbox.open = false;
                break;
            }
        }
        be(None);
    }
}
