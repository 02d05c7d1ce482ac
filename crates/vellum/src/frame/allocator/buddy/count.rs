//! What the allocator can say about its frames.

use super::chunk::Place;
use super::{BuddyAllocator, MAX_ORDER, chunks_of};
use crate::frame::allocator::{FrameStatistics, GlobalFrameAllocator};
use core::fmt;
use core::sync::atomic::Ordering;

impl BuddyAllocator<'_> {
    /// Counts the frames.
    pub(super) fn count_all(&self) -> FrameStatistics {
        let mut statistics = FrameStatistics {
            total: self.total.load(Ordering::Relaxed),
            free: 0,
            cached: 0,
            by_order: [0; MAX_ORDER as usize + 1],
            ignored: self.ignored.load(Ordering::Relaxed),
        };
        // The lock keeps blocks from being merged and cut.
        let _shelves = self.shelves.lock();
        let mut chunk = 0;
        while chunk < self.table.len() {
            chunk += self.count(chunk, &mut statistics);
        }
        statistics
    }

    /// Counts the blocks of a chunk, or of the whole block that begins with it; returns how many chunks these are.
    fn count(&self, chunk: usize, statistics: &mut FrameStatistics) -> usize {
        let place = self.table[chunk].place();
        if let Place::Block(order) = place {
            let block = &self.table[chunk..chunk + chunks_of(order)];
            if block.iter().all(|entry| entry.view().is_whole()) {
                statistics.free += 1 << order;
                statistics.by_order[order as usize] += 1;
                return block.len();
            }
        }
        let view = self.table[chunk].view();
        statistics.free += view.free();
        if place == Place::Reserved {
            statistics.cached += view.free();
        }
        for (sum, blocks) in statistics.by_order.iter_mut().zip(view.blocks()) {
            *sum += blocks;
        }
        1
    }
}

impl fmt::Debug for BuddyAllocator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuddyAllocator")
            .field("base", &self.base)
            .field("statistics", &self.statistics())
            .finish()
    }
}
