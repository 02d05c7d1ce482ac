//! Retired nodes that no translation cache leads to any more, waiting for readers without locks.
//!
//! Each processor gathers the nodes that it defers in a batch. Every so often the batch is closed, and waits while the
//! next one is gathered: a batch costs one fence on all processors and one look at each, whatever it holds. Nothing here
//! allocates, and nothing waits but for a lock that is held for a few steps.
use super::retired::{RetiredBatch, RetiredNode};
use crate::frame::allocator;
use crate::sync::{SpinLock, SpinLockGuard};
use vellum_machine::cpu::{self, MAX_CPUS};

/// The nodes that one processor deferred.
#[repr(align(64))]
struct Queue(SpinLock<Batches>);

struct Batches {
    /// Gathers nodes.
    current: Option<RetiredBatch>,
    /// Is closed.
    waiting: Option<RetiredBatch>,
    /// Somebody has taken the waiting batch out to look at it.
    out: bool,
    /// The nodes in both batches, also in the one that is out.
    len: usize,
    /// The nodes deferred since a batch was last looked at.
    since: usize,
}

static QUEUES: [Queue; MAX_CPUS] = [const { Queue(SpinLock::new(Batches::EMPTY)) }; MAX_CPUS];

/// After so many more nodes a waiting batch is looked at, and without one the current batch is closed.
const STRIDE: usize = 64;

/// Gives a node's frame back when every processor was outside every cursor.
///
/// The caller has made sure that no translation cache leads to the node any more, and may be inside a cursor itself:
/// nothing is waited for.
pub fn defer(node: RetiredNode) {
    // Before a node waits, so that none is left where memory runs out.
    allocator::on_shortage(reclaim_on_shortage);
    let (queue, mut batches) = any_free_queue();
    batches.gather(node);
    let closed = if batches.since >= STRIDE { batches.take_out() } else { None };
    drop(batches);
    if let Some(batch) = closed {
        queue.look_at(batch);
    }
}

/// Tries once to give back every node that waits, and returns how many are left.
///
/// Those that somebody else is giving back meanwhile count as left.
pub fn reclaim() -> usize {
    QUEUES.iter().map(Queue::reclaim).sum()
}

fn reclaim_on_shortage() {
    let _left = reclaim();
}

/// The queue of this processor, or another one where that is in use: this code may have interrupted its user.
fn any_free_queue() -> (&'static Queue, SpinLockGuard<'static, Batches>) {
    let mut n = cpu::try_current().map_or(0, |cpu| cpu.index());
    loop {
        let queue = &QUEUES[n % MAX_CPUS];
        if let Some(batches) = queue.0.try_lock() {
            return (queue, batches);
        }
        n += 1;
    }
}

impl Queue {
    /// Tries to give the nodes of a batch back that was taken out, and else puts it back.
    fn look_at(&self, batch: RetiredBatch) -> bool {
        let nodes = batch.nr_nodes();
        let left = batch.try_free().err();
        let mut batches = self.0.lock();
        batches.out = false;
        batches.since = 0;
        let freed = left.is_none();
        if freed {
            batches.len -= nodes;
        }
        batches.waiting = left;
        freed
    }

    fn reclaim(&self) -> usize {
        loop {
            // Whoever has the lock is about to change what there is: this may be code that it interrupted.
            let Some(mut batches) = self.0.try_lock() else { return 1 };
            let len = batches.len;
            let Some(batch) = batches.take_out() else { return len };
            drop(batches);
            if !self.look_at(batch) {
                return len;
            }
        }
    }
}

impl Batches {
    const EMPTY: Batches = Batches { current: None, waiting: None, out: false, len: 0, since: 0 };

    fn gather(&mut self, node: RetiredNode) {
        self.current = Some(match self.current.take() {
            Some(batch) => batch.with(node),
            None => RetiredBatch::new(node),
        });
        self.len += 1;
        self.since += 1;
    }

    /// Takes the batch out that has waited longest, unless one is out.
    fn take_out(&mut self) -> Option<RetiredBatch> {
        if self.out {
            return None;
        }
        let batch = self.waiting.take().or_else(|| self.current.take());
        self.out = batch.is_some();
        batch
    }
}
