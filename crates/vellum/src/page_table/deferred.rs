//! Retired nodes that no translation cache leads to any more, waiting for readers without locks.
use super::retired::RetiredNode;
use crate::sync::SpinLock;
use alloc::vec::Vec;
use vellum_machine::cpu::{self, MAX_CPUS};

/// The nodes that one processor retired.
#[repr(align(64))]
struct Queue(SpinLock<Vec<RetiredNode>>);

static QUEUES: [Queue; MAX_CPUS] = [const { Queue(SpinLock::new(Vec::new())) }; MAX_CPUS];

/// After so many more nodes a queue is tried again.
const STRIDE: usize = 16;

/// Gives a node's frame back now, or keeps the node until every processor was outside every cursor.
///
/// The caller has made sure that no translation cache leads to the node any more. Without memory for the queue this
/// waits, and serves calls, until some node can be given back.
pub fn defer(node: RetiredNode) {
    let mut waiting = node;
    loop {
        match waiting.try_free() {
            Ok(()) => return,
            Err(node) => waiting = node,
        }
        let queue = &QUEUES[cpu::try_current().map_or(0, |cpu| cpu.index())];
        match queue.push(waiting) {
            Ok(()) => return,
            Err(node) => waiting = node,
        }
        queue.pass();
        cpu::relax();
    }
}

/// Tries once to give back every node in every queue, and returns how many are left.
pub fn reclaim() -> usize {
    QUEUES.iter().map(Queue::pass).sum()
}

impl Queue {
    fn push(&self, node: RetiredNode) -> Result<(), RetiredNode> {
        let mut nodes = self.0.lock();
        if nodes.try_reserve(1).is_err() {
            return Err(node);
        }
        nodes.push(node);
        if nodes.len().is_multiple_of(STRIDE) {
            free_what_can_be(&mut nodes);
        }
        Ok(())
    }

    fn pass(&self) -> usize {
        let mut nodes = self.0.lock();
        free_what_can_be(&mut nodes);
        nodes.len()
    }
}

fn free_what_can_be(nodes: &mut Vec<RetiredNode>) {
    for n in (0..nodes.len()).rev() {
        if let Err(node) = nodes.swap_remove(n).try_free() {
            // There is room: one was just taken out.
            nodes.push(node);
        }
    }
}
