//! Retired nodes that wait for readers to leave.
use super::retired::RetiredNode;
use crate::sync::SpinLock;
use alloc::vec::Vec;

/// The nodes that wait.
static WAITING: SpinLock<Vec<RetiredNode>> = SpinLock::new(Vec::new());

/// How many nodes may wait before each further one makes the queue be tried.
const PATIENCE: usize = 64;

/// Keeps a node until every processor was outside its cursors.
///
/// The caller has made sure that no translation cache leads to the node any more.
pub fn defer(node: RetiredNode) {
    let Err(node) = node.try_free() else {
        return;
    };
    let waiting = {
        let mut queue = WAITING.lock();
        queue.push(node);
        queue.len()
    };
    if waiting > PATIENCE {
        reclaim();
    }
}

/// Tries every node that waits once, and returns how many still wait.
pub fn reclaim() -> usize {
    let taken = core::mem::take(&mut *WAITING.lock());
    let still: Vec<RetiredNode> = taken.into_iter().filter_map(|node| node.try_free().err()).collect();
    let mut queue = WAITING.lock();
    queue.extend(still);
    queue.len()
}
