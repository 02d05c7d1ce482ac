//! Where others reach a processor: its mailbox, and what it counts.
//!
//! A call is put into the mailbox, a ring of fixed size behind a lock, and the processor gets an interrupt. The lock is
//! held with interrupts off, for a few instructions. Who finds the ring full serves its own calls until there is room.
use super::{count, native, relax};
use crate::addr::Paddr;
use crate::cpu::{CpuId, MAX_CPUS};
use crate::primitive::fence;
use crate::tlb::Statistics;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A call from another processor.
#[derive(Clone, Copy)]
struct Call {
    f: fn(usize),
    arg: usize,
}

/// Calls that a processor can have before it serves them.
const ROOM: usize = 64;

/// The ring, in the order in which calls came.
struct Calls {
    ring: [Option<Call>; ROOM],
    first: usize,
    len: usize,
}

impl Calls {
    fn push(&mut self, call: Call) -> bool {
        if self.len == ROOM {
            return false;
        }
        self.ring[(self.first + self.len) % ROOM] = Some(call);
        self.len += 1;
        true
    }

    fn pop(&mut self) -> Option<Call> {
        if self.len == 0 {
            return None;
        }
        let call = self.ring[self.first].take();
        self.first = (self.first + 1) % ROOM;
        self.len -= 1;
        call
    }
}

/// A count that one processor writes, and any reads.
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline(always)]
    pub(super) fn count(&self) {
        // Relaxed: a number for people; one that an interrupt counts in between may be lost.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// What all processors know of one.
#[repr(C, align(128))]
pub(crate) struct Station {
    /// Its own address, which x86-64 reads through `gs`; it has to be the first field.
    own: AtomicUsize,
    number: AtomicU32,
    hardware: AtomicU32,
    /// Guards that live on the processor; it alone writes it.
    depth: AtomicUsize,
    /// The root that was set last; 0 before. The processor alone writes it.
    root: AtomicUsize,
    /// A call runs: calls do not nest. The processor alone writes it.
    serving: AtomicBool,
    /// The processor has arrived, and serves its calls.
    open: AtomicBool,
    /// The mailbox may have calls in it.
    pending: AtomicBool,
    taken: AtomicBool,
    calls: UnsafeCell<Calls>,
    pub(super) faults: Counter,
    pub(super) flushes: Counter,
}

// SAFETY: `calls` is reached in `with_calls` alone, which excludes others by `taken`.
unsafe impl Sync for Station {}

/// The places of all processors.
pub(super) static STATIONS: [Station; MAX_CPUS] = [const { Station::new() }; MAX_CPUS];

/// The place of a processor that the machine has.
pub(super) fn station(cpu: CpuId) -> Option<&'static Station> {
    STATIONS[..count()].get(cpu.index())
}

impl Station {
    const fn new() -> Station {
        Station {
            own: AtomicUsize::new(0),
            number: AtomicU32::new(0),
            hardware: AtomicU32::new(0),
            depth: AtomicUsize::new(0),
            root: AtomicUsize::new(0),
            serving: AtomicBool::new(false),
            open: AtomicBool::new(false),
            pending: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            calls: UnsafeCell::new(Calls { ring: [None; ROOM], first: 0, len: 0 }),
            faults: Counter(AtomicU64::new(0)),
            flushes: Counter(AtomicU64::new(0)),
        }
    }

    pub(super) fn settle(&'static self, cpu: CpuId, hardware: u32) {
        let own: *const Station = self;
        // Relaxed: this processor alone reads it.
        self.own.store(own.expose_provenance(), Ordering::Relaxed);
        // Relaxed: published by `open`.
        self.number.store(cpu.index() as u32, Ordering::Relaxed);
        self.hardware.store(hardware, Ordering::Relaxed);
    }

    pub(super) fn open(&self) {
        // Release: pairs with the Acquire in `is_open`.
        self.open.store(true, Ordering::Release);
        // SeqCst: orders it against what this processor reads from here on, its walks of kernel space among them; pairs with
        // the fence in `present`. Who missed this one there had changed the tables before.
        fence(Ordering::SeqCst);
    }

    /// Whether the processor has arrived.
    pub(super) fn is_open(&self) -> bool {
        // Acquire: pairs with the Release in `open`.
        self.open.load(Ordering::Acquire)
    }

    /// Its number in the hardware's count.
    pub(super) fn hardware(&self) -> u32 {
        // Relaxed: written before `open`.
        self.hardware.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn number(&self) -> u32 {
        // Relaxed: written before the processor ran anything else.
        self.number.load(Ordering::Relaxed)
    }

    // Relaxed in the next three: the processor alone uses the count, and an interrupt leaves it as it found it.
    #[inline(always)]
    pub(super) fn enter(&self) {
        self.depth.store(self.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn leave(&self) {
        self.depth.store(self.depth.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    // Relaxed in both: the processor alone uses it.
    pub(super) fn root(&self) -> Option<Paddr> {
        match self.root.load(Ordering::Relaxed) {
            0 => None,
            root => Some(Paddr(root)),
        }
    }

    pub(super) fn set_root(&self, root: Paddr) {
        self.root.store(root.0, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn has_calls(&self) -> bool {
        // Relaxed: a hint; the lock of the mailbox orders the calls.
        self.pending.load(Ordering::Relaxed)
    }

    /// Puts a call in and tells the processor of it; says whether it will be served.
    pub(super) fn post(&self, f: fn(usize), arg: usize) -> bool {
        if !self.is_open() {
            return false;
        }
        while !self.with_calls(|calls| calls.push(Call { f, arg })) {
            relax();
        }
        native::interrupt(self.hardware());
        true
    }

    /// Runs the calls that came, unless it is one of them that asks; on the processor itself.
    pub(super) fn serve(&self) {
        loop {
            // Relaxed, here and below: this processor alone uses it, in the order of its program.
            if self.serving.swap(true, Ordering::Relaxed) {
                return;
            }
            while let Some(Call { f, arg }) = self.with_calls(Calls::pop) {
                f(arg);
            }
            self.serving.store(false, Ordering::Relaxed);
            // The interrupt for a call that came after the last look may have found `serving` set.
            if !self.has_calls() {
                return;
            }
        }
    }

    /// Runs `f` on the mailbox.
    fn with_calls<R>(&self, f: impl FnOnce(&mut Calls) -> R) -> R {
        native::without_interrupts(|| {
            // Acquire: pairs with the Release below.
            while self.taken.swap(true, Ordering::Acquire) {
                core::hint::spin_loop();
            }
            // SAFETY: `taken` was clear and is set: nobody else is here, and no interrupt comes here on this processor.
            let calls = unsafe { &mut *self.calls.get() };
            let result = f(calls);
            // Relaxed: `has_calls` only guesses.
            self.pending.store(calls.len != 0, Ordering::Relaxed);
            // Release: pairs with the Acquire above.
            self.taken.store(false, Ordering::Release);
            result
        })
    }

    /// What the processor counted; what hardware does by itself is not counted.
    pub(super) fn statistics(&self) -> Statistics {
        // Relaxed: numbers for people.
        let read = |counter: &Counter| counter.0.load(Ordering::Relaxed);
        Statistics { faults: read(&self.faults), flushes: read(&self.flushes), ..Statistics::default() }
    }
}
