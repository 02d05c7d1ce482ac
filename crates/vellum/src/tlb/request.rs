//! Requests to other processors, and their answers.
use super::op::{Batch, SharedBatch};
use super::statistics::{Event, count};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use vellum_machine::cpu::{self, CpuId, CpuSet, MAX_CPUS, PreemptGuard};
use vellum_machine::ipi;

/// A request that one processor sends, again and again.
#[repr(align(64))]
struct Request {
    /// How many requests were sent from here.
    number: AtomicU64,
    /// How many processors have not answered the last one.
    awaited: AtomicUsize,
    what: SharedBatch,
}

static REQUESTS: [Request; MAX_CPUS] =
    [const { Request { number: AtomicU64::new(0), awaited: AtomicUsize::new(0), what: SharedBatch::new() } };
        MAX_CPUS];

impl Request {
    /// Whether every processor has answered.
    // Acquire: pairs with the Release in `serve`; whatever the processors did before is over.
    fn is_answered(&self) -> bool {
        self.awaited.load(Ordering::Acquire) == 0
    }
}

/// Names a request that was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    sender: CpuId,
    number: u64,
}

impl Ticket {
    /// Whether every processor has answered.
    pub(super) fn is_answered(self) -> bool {
        let request = &REQUESTS[self.sender.index()];
        // Acquire: pairs with the Release in `send`. A later number says that all had answered before it was
        // sent.
        request.number.load(Ordering::Acquire) != self.number || request.is_answered()
    }

    /// Waits until every processor has answered, and serves calls meanwhile.
    pub(super) fn wait(self) {
        while !self.is_answered() {
            cpu::relax();
        }
    }

    /// Whether the calling processor sent it.
    pub(super) fn is_from(self, sender: CpuId) -> bool {
        self.sender == sender
    }
}

/// Whether the calling processor can send at once.
pub(super) fn can_send(_here: &PreemptGuard) -> bool {
    REQUESTS[cpu::current().index()].is_answered()
}

/// Asks processors to flush. Waits first, if an earlier request of this processor is not answered yet.
pub(super) fn send(here: &PreemptGuard, batch: &Batch, targets: CpuSet) -> Ticket {
    let sender = cpu::current();
    let request = &REQUESTS[sender.index()];
    while !can_send(here) {
        cpu::relax();
    }
    // From here on nobody but this processor knows of the request.
    request.what.store(batch);
    // Relaxed: the call below orders it before `serve`.
    request.awaited.store(targets.len(), Ordering::Relaxed);
    let number = request.number.load(Ordering::Relaxed) + 1;
    // Release: pairs with the Acquire in `is_answered`.
    request.number.store(number, Ordering::Release);
    let reached = ipi::call_on(targets, serve, sender.index());
    let absent = targets.difference(reached).len();
    if absent != 0 {
        // Release: as in `serve`. A processor that does not run holds no translation.
        request.awaited.fetch_sub(absent, Ordering::Release);
    }
    count(here, Event::Shootdown, 1);
    count(here, Event::Request, targets.len() as u64);
    Ticket { sender, number }
}

/// Flushes what processor `sender` asks for, and answers.
fn serve(sender: usize) {
    let request = &REQUESTS[sender];
    request.what.flush();
    count(&cpu::disable_preempt(), Event::Acknowledgement, 1);
    // Release: pairs with the Acquire in `Request::is_answered`; the last access to the request.
    request.awaited.fetch_sub(1, Ordering::Release);
}
