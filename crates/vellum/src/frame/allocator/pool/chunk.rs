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
    /// No frame is free.
    pub closed spec fn is_used_up(self) -> bool {
        forall|w: int| 0 <= w < 8 ==> #[trigger] self.words@[w] == 0
    }

    /// The words of a chunk of which no frame is free.
    pub(super) proof fn lemma_used_up(self, word: int)
        requires
            self.is_used_up(),
            0 <= word < 8,
        ensures
            self.words@[word] == 0,
    {
    }

    /// Makes a chunk without a free frame.
    pub const fn new() -> (r: Chunk)
        ensures
            r.is_used_up(),
    {
        Chunk { words: [0, 0, 0, 0, 0, 0, 0, 0], place: OFF, next: 0, previous: 0 }
    }

    /// Finds `count` free frames at a multiple of `1 << order`, up to the whole chunk.
    ///
    /// Frames that one word tells about are found anywhere, more than these at the start of a word.
    pub(super) fn find_run(&self, count: usize, order: u32) -> (r: Option<usize>)
        requires
            1 <= count,
            order <= CHUNK_ORDER,
        ensures
            r matches Some(start) ==> start < CHUNK_FRAMES,
    {
        let stride = if order <= WORD_ORDER {
            1
        } else {
            proof {
                assert(6 < order <= 9 ==> 1 <= (1usize << (order - 6) as u32) <= 8) by (bit_vector);
            }
            1 << (order - WORD_ORDER)
        };
        let mut word = 0;
        while word < CHUNK_WORDS
            invariant
                1 <= count,
                1 <= stride <= 8,
            decreases CHUNK_WORDS + 8 - word,
        {
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
    fn run_at(&self, first: usize, count: usize) -> bool
        requires
            first < CHUNK_WORDS,
    {
        if count > CHUNK_FRAMES - first * WORD_FRAMES {
            return false;
        }
        let mut word = first;
        let mut left = count;
        while left >= WORD_FRAMES
            invariant
                word * 64 + left <= CHUNK_FRAMES,
            decreases left,
        {
            if self.words[word] != u64::MAX {
                return false;
            }
            word += 1;
            left -= WORD_FRAMES;
        }
        left == 0 || self.words[word] & span(0, left) == span(0, left)
    }

    /// Returns the order of the shelf on which the chunk is.
    pub(super) fn shelf(&self) -> Option<u32> {
        if self.place < SHELF {
            None
        } else {
            Some(self.place - SHELF)
        }
    }

    /// Says whether the chunk is among those that are partly free.
    pub(super) fn is_binned(&self) -> bool {
        match self.shelf() {
            Some(order) => order < CHUNK_ORDER,
            None => false,
        }
    }

    /// Says whether all frames are free.
    pub(super) fn is_whole(&self) -> bool {
        let mut word = 0;
        while word < CHUNK_WORDS
            decreases CHUNK_WORDS - word,
        {
            if self.words[word] != u64::MAX {
                return false;
            }
            word += 1;
        }
        true
    }

    /// Returns the order of the largest free block in the chunk, or `None` where no frame is free.
    pub(super) fn largest_order(&self) -> (r: Option<u32>)
        ensures
            r matches Some(order) ==> order <= CHUNK_ORDER,
    {
        let mut any = 0u64;
        let mut full = 0u64;
        let mut word = 0;
        while word < CHUNK_WORDS
            decreases CHUNK_WORDS - word,
        {
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
fn order_in_full(full: u64) -> (r: u32)
    ensures
        r <= 3,
{
    let mut runs = full;
    let mut order = 0;
    while order < CHUNK_ORDER - WORD_ORDER
        invariant
            order <= 3,
        decreases 3 - order,
    {
        runs = doubled(runs, order);
        if runs == 0 {
            return order;
        }
        order += 1;
    }
    order
}

/// Returns the order of the largest aligned run of ones that lies in one of the words; there is a one.
fn order_in_words(words: [u64; CHUNK_WORDS]) -> (r: u32)
    ensures
        r <= WORD_ORDER,
{
    let mut runs = words;
    let mut order = 0;
    while order < WORD_ORDER
        invariant
            order <= WORD_ORDER,
        decreases WORD_ORDER - order,
    {
        let mut any = 0u64;
        let mut word = 0;
        while word < CHUNK_WORDS
            invariant
                order < WORD_ORDER,
            decreases CHUNK_WORDS - word,
        {
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

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk::new()
    }
}

} // verus!
