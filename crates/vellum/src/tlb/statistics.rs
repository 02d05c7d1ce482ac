//! What flushing cost.
use core::sync::atomic::{AtomicU64, Ordering};
use vellum_machine::cpu::{self, MAX_CPUS, PreemptGuard};
use vstd::prelude::*;

verus! {

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Event {
    Operation,
    Folded,
    LocalFlush,
    Shootdown,
    Request,
    Acknowledgement,
    RemoteFence,
    Dropped,
}

/// Counts on the calling processor.
#[inline]
#[verifier::external_body]
pub(super) fn count(_here: &PreemptGuard, event: Event, times: u64)
    opens_invariants none
    no_unwind
{
    // Relaxed: a counter orders nothing. Not one step: the processor alone writes it, and no event is counted both by
    // ordinary code and by handlers, which could come between.
    let counter = &COUNTERS[cpu::current().index()].0[event as usize];
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(times), Ordering::Relaxed);
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
const EVENTS: usize = Event::Dropped as usize + 1;

/// The counters of one processor, on lines of their own.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[repr(align(64))]
struct Counters([AtomicU64; EVENTS]);

#[cfg_attr(verus_keep_ghost, verifier::external)]
static COUNTERS: [Counters; MAX_CPUS] = [const { Counters([const { AtomicU64::new(0) }; EVENTS]) }; MAX_CPUS];

/// What was counted since the machine started, on all processors; it only grows.
#[cfg_attr(verus_keep_ghost, verifier::external)]
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
    /// Dispatches for which other processors flushed without being asked to: the machine had them do it.
    pub remote_fences: u64,
    /// Shootdowns that a test suppressed.
    pub dropped: u64,
}

/// Returns what was counted since the machine started, on all processors.
///
/// The counters are read one after the other: while processors flush, they need not fit each other.
#[cfg_attr(verus_keep_ghost, verifier::external)]
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
        remote_fences: total(Event::RemoteFence),
        dropped: total(Event::Dropped),
    }
}
