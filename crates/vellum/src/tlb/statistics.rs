//! What flushing cost.
use core::sync::atomic::{AtomicU64, Ordering};
use vellum_machine::cpu::{self, MAX_CPUS, PreemptGuard};

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Event {
    Operation,
    Folded,
    LocalFlush,
    Shootdown,
    Request,
    Acknowledgement,
    Dropped,
}

const EVENTS: usize = Event::Dropped as usize + 1;

/// The counters of one processor, on lines of their own.
#[repr(align(64))]
struct Counters([AtomicU64; EVENTS]);

static COUNTERS: [Counters; MAX_CPUS] = [const { Counters([const { AtomicU64::new(0) }; EVENTS]) }; MAX_CPUS];

/// Counts on the calling processor.
// Relaxed: a counter orders nothing.
pub(super) fn count(_here: &PreemptGuard, event: Event, times: u64) {
    COUNTERS[cpu::current().index()].0[event as usize].fetch_add(times, Ordering::Relaxed);
}

/// What was counted since the machine started, on all processors; it only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Operations that were issued.
    pub operations: u64,
    /// Dispatches that forgot every translation in place of too many single ones.
    pub folded: u64,
    /// Dispatches that flushed on the processor they came from.
    pub local_flushes: u64,
    /// Dispatches that asked other processors.
    pub shootdowns: u64,
    /// Processors that were asked.
    pub requests: u64,
    /// Processors that flushed and answered.
    pub acknowledgements: u64,
    /// Shootdowns that a test suppressed.
    pub dropped: u64,
}

/// Returns what was counted since the machine started, on all processors.
///
/// The counters are read one after the other: while processors flush, they need not fit each other.
pub fn statistics() -> Statistics {
    let total = |event: Event| {
        COUNTERS.iter().map(|counters| counters.0[event as usize].load(Ordering::Relaxed)).sum()
    };
    Statistics {
        operations: total(Event::Operation),
        folded: total(Event::Folded),
        local_flushes: total(Event::LocalFlush),
        shootdowns: total(Event::Shootdown),
        requests: total(Event::Request),
        acknowledgements: total(Event::Acknowledgement),
        dropped: total(Event::Dropped),
    }
}
