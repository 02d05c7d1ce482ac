//! What the pool can say about its frames.
use super::bits::{WORD_ORDER, doubled};
use super::chunk::{CHUNK_ORDER, CHUNK_WORDS, Chunk, SHELF};
use super::table::chunks_of;
use super::{MAX_ORDER, Pool, chunks_in};
use crate::frame::allocator::FrameStatistics;

const ORDERS: usize = CHUNK_ORDER as usize + 1;

impl Pool<'_> {
    /// Adds the free frames to `free`, and the free blocks to `by_order`.
    pub(in crate::frame::allocator) fn count(&self, statistics: &mut FrameStatistics) {
        let mut chunk = 0;
        while chunk < chunks_of(self.table) {
            chunk += count_at(&self.table[chunk..], statistics);
        }
    }
}

/// Counts the blocks of the first chunk, or of the whole block that begins with it; returns how many chunks these are.
fn count_at(table: &[Chunk], statistics: &mut FrameStatistics) -> usize {
    let order = table[0].place.saturating_sub(SHELF);
    if (CHUNK_ORDER..=MAX_ORDER).contains(&order) {
        statistics.free += 1 << order;
        statistics.by_order[order as usize] += 1;
        return chunks_in(order);
    }
    for (order, blocks) in blocks(&table[0]).into_iter().enumerate() {
        statistics.free += blocks << order;
        statistics.by_order[order] += blocks;
    }
    1
}

/// Counts the free blocks of each order, where two free halves are one block.
fn blocks(chunk: &Chunk) -> [usize; ORDERS] {
    let runs = runs(chunk);
    let merged = |order: usize| runs.get(order + 1).map_or(0, |larger| 2 * larger);
    core::array::from_fn(|order| runs[order] - merged(order))
}

/// Counts the naturally aligned free runs of each order, whether they belong to a larger one or not.
fn runs(chunk: &Chunk) -> [usize; ORDERS] {
    let mut runs = [0; ORDERS];
    let mut full = 0;
    for word in 0..CHUNK_WORDS {
        let mut starts = chunk.words[word];
        for order in 0..WORD_ORDER {
            runs[order as usize] += starts.count_ones() as usize;
            starts = doubled(starts, order);
        }
        full |= starts << word;
    }
    for order in WORD_ORDER..=CHUNK_ORDER {
        runs[order as usize] += full.count_ones() as usize;
        full = doubled(full, order - WORD_ORDER);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_at_their_largest() {
        let mut chunk = Chunk::new();
        assert_eq!(blocks(&chunk), [0; ORDERS]);
        chunk.words = [u64::MAX; CHUNK_WORDS];
        assert_eq!(blocks(&chunk), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        chunk.words[0] -= 1;
        assert_eq!(blocks(&chunk), [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
}
