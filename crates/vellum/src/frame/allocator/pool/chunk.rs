//! The entry of the table for one chunk of frames.
use super::bits::*;
use vstd::prelude::*;

verus! {

/// Binary logarithm of the frames of a [`Chunk`].
pub(super) const CHUNK_ORDER: u32 = 9;

/// Frames of a [`Chunk`].
pub const CHUNK_FRAMES: usize = 512;

/// Words of a [`Chunk`].
pub(super) const CHUNK_WORDS: usize = 8;

/// What the pool knows about 512 frames (2 MiB).
///
/// A table of them describes physical memory. A new chunk has no free frame, and is all zero bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Chunk {
    /// A bit per frame, set while the frame is free. This alone decides who gets a frame.
    pub(super) words: [u64; CHUNK_WORDS],
    /// Where the chunk is: [`OFF`], [`BODY`], or on a shelf.
    pub(super) place: u32,
    /// The next chunk on the shelf.
    pub(super) next: u32,
    /// The chunk before it on the shelf.
    pub(super) previous: u32,
}

/// The place of a chunk that is on no shelf, because no frame of it is free.
pub(super) const OFF: u32 = 0;

/// The place of a chunk that belongs to a free block which starts in a chunk before it.
pub(super) const BODY: u32 = 1;

/// The place of a chunk on the shelf of order 0; greater ones are on that of the difference.
pub(super) const SHELF: u32 = 2;

impl Chunk {
    /// Makes a chunk without a free frame.
    pub const fn new() -> Chunk {
        Chunk { words: [0, 0, 0, 0, 0, 0, 0, 0], place: OFF, next: 0, previous: 0 }
    }

    /// Finds `count` free frames at a multiple of `1 << order`, up to the whole chunk.
    ///
    /// Frames that one word tells about are found anywhere, more than these at the start of a word.
    pub(super) fn find_run(&self, count: usize, order: u32) -> Option<usize> {
        let stride = if order <= WORD_ORDER {
            1
        } else {
            1 << (order - WORD_ORDER)
        };
        let mut word = 0;
        while word < CHUNK_WORDS {
            if count <= WORD_FRAMES && order <= WORD_ORDER {
                if let Some(bit) = find_run(self.words[word], count, order) {
                    return Some(word * WORD_FRAMES + bit);
                }
            } else if self.run_at(word, count) {
                return Some(word * WORD_FRAMES);
            }
            word += stride;
        }
        None
    }

    /// Says whether the `count` frames from the start of a word on are in the chunk and free.
    fn run_at(&self, first: usize, count: usize) -> bool {
        if count > CHUNK_FRAMES - first * WORD_FRAMES {
            return false;
        }
        let mut word = first;
        let mut left = count;
        while left >= WORD_FRAMES {
            if self.words[word] != u64::MAX {
                return false;
            }
            word += 1;
            left -= WORD_FRAMES;
        }
        left == 0 || self.words[word] & span(0, left) == span(0, left)
    }

    /// Says whether the chunk is on the shelf of a run smaller than a chunk.
    pub(super) fn is_binned(&self) -> bool {
        self.place >= SHELF && self.place - SHELF < CHUNK_ORDER
    }

    /// Says whether all frames are free.
    pub(super) fn is_whole(&self) -> bool {
        let mut word = 0;
        while word < CHUNK_WORDS {
            if self.words[word] != u64::MAX {
                return false;
            }
            word += 1;
        }
        true
    }

    /// Returns the order of the largest free block in the chunk, or `None` where no frame is free.
    pub(super) fn largest_order(&self) -> Option<u32> {
        let mut any = 0u64;
        let mut full = 0u64;
        let mut word = 0;
        while word < CHUNK_WORDS {
            any |= self.words[word];
            if self.words[word] == u64::MAX {
                full |= 1u64 << word;
            }
            word += 1;
        }
        if full != 0 {
            Some(WORD_ORDER + order_in_full(full))
        } else if any != 0 {
            Some(order_in_words(self.words))
        } else {
            None
        }
    }
}

/// Returns the order of the largest aligned run of ones, up to that of the words of a chunk; there is a one.
fn order_in_full(full: u64) -> u32 {
    let mut runs = full;
    let mut order = 0;
    while order < CHUNK_ORDER - WORD_ORDER {
        runs = doubled(runs, order);
        if runs == 0 {
            return order;
        }
        order += 1;
    }
    order
}

/// Returns the order of the largest aligned run of ones that lies in one of the words; there is a one.
fn order_in_words(words: [u64; CHUNK_WORDS]) -> u32 {
    let mut runs = words;
    let mut order = 0;
    while order < WORD_ORDER {
        let mut any = 0u64;
        let mut word = 0;
        while word < CHUNK_WORDS {
            runs[word] = doubled(runs[word], order);
            any |= runs[word];
            word += 1;
        }
        if any == 0 {
            return order;
        }
        order += 1;
    }
    order
}

} // verus!

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk::new()
    }
}
