//! The entry of the side table for one chunk of frames.

use super::bits::{self, WORD_FRAMES, WORD_ORDER};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Binary logarithm of the frames of a [`Chunk`].
pub(super) const CHUNK_ORDER: u32 = 9;

/// Frames of a [`Chunk`].
pub(super) const CHUNK_FRAMES: usize = 1 << CHUNK_ORDER;

/// Words of a [`Chunk`].
pub(super) const CHUNK_WORDS: usize = CHUNK_FRAMES / WORD_FRAMES;

/// What the allocator knows about 512 frames (2 MiB).
///
/// A table of them describes physical memory. A new chunk has no frame that may be used, and is all zero bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Chunk {
    words: [Word; CHUNK_WORDS],
    place: AtomicU32,
    next: AtomicU32,
    previous: AtomicU32,
}

/// What the allocator knows about 64 frames.
#[derive(Debug)]
#[repr(C)]
struct Word {
    /// A bit per frame, set while the frame is free. This alone decides who gets a frame.
    free: AtomicU64,
    /// A bit per frame, set once the frame may be used. Bits are never cleared.
    managed: AtomicU64,
}

/// On which shelf a chunk is. It changes under the lock of the shelves alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// On none, because no frame of it was free.
    Off,
    /// On none, because a processor takes its frames from it.
    Reserved,
    /// The chunk belongs to a free block that starts in a chunk before it.
    Body,
    /// Among the chunks whose largest free run has this order, when it was put there.
    Partial(u32),
    /// The chunk is the first of a free block of this order.
    Block(u32),
}

impl Place {
    const PARTIAL: u32 = 0x100;
    const BLOCK: u32 = 0x200;

    const fn encode(self) -> u32 {
        match self {
            Place::Off => 0,
            Place::Reserved => 1,
            Place::Body => 2,
            Place::Partial(order) => Place::PARTIAL + order,
            Place::Block(order) => Place::BLOCK + order,
        }
    }

    const fn decode(code: u32) -> Place {
        match code {
            0 => Place::Off,
            1 => Place::Reserved,
            2 => Place::Body,
            Place::BLOCK.. => Place::Block(code - Place::BLOCK),
            _ => Place::Partial(code - Place::PARTIAL),
        }
    }
}

/// What giving frames back did to a word.
pub(super) struct Given {
    /// The frames that were allocated and are free now.
    pub(super) fresh: u64,
    /// The word before.
    pub(super) before: u64,
}

impl Given {
    /// Says that the word has its first free frame.
    pub(super) const fn is_first(&self) -> bool {
        self.before == 0
    }

    /// Says that all frames of the word are free.
    pub(super) const fn is_full(&self) -> bool {
        self.before | self.fresh == u64::MAX
    }
}

impl Chunk {
    /// Makes a chunk without a frame that may be used.
    pub const fn new() -> Chunk {
        Chunk {
            words: [const { Word { free: AtomicU64::new(0), managed: AtomicU64::new(0) } }; CHUNK_WORDS],
            place: AtomicU32::new(Place::Off.encode()),
            next: AtomicU32::new(0),
            previous: AtomicU32::new(0),
        }
    }

    /// Takes the lowest free frame of a word.
    #[inline]
    pub(super) fn take_one(&self, word: usize) -> Option<usize> {
        let word = &self.words[word].free;
        // Relaxed: a guess; the exchange decides.
        let mut before = word.load(Ordering::Relaxed);
        while before != 0 {
            // Acquire: pairs with the release in `give`; what the last owner did to the frame is done.
            match word.compare_exchange_weak(
                before,
                before & (before - 1),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(before.trailing_zeros() as usize),
                Err(now) => before = now,
            }
        }
        None
    }

    /// Takes the lowest run of `count` free frames at a multiple of `step` inside one word.
    fn take_in_word(&self, word: usize, count: usize, step: usize) -> Option<usize> {
        let word = &self.words[word].free;
        let mut before = word.load(Ordering::Relaxed);
        loop {
            let start = bits::find_run(before, count, step)?;
            let rest = before & !bits::span(start, count);
            // Acquire: pairs with the release in `give`.
            match word.compare_exchange_weak(before, rest, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(start),
                Err(now) => before = now,
            }
        }
    }

    /// Takes the `count` frames from the start of a word on, or none of them.
    ///
    /// The words may show a part of the frames as allocated meanwhile: whoever calls must file the chunk afterwards,
    /// for a free that came in between may have taken it for one that is in use.
    pub(super) fn take_words(&self, first: usize, count: usize) -> bool {
        // Relaxed: a guess that spares taking frames in vain.
        let fits = |(word, mask): (usize, u64)| self.words[word].free.load(Ordering::Relaxed) & mask == mask;
        if !words_of(first * WORD_FRAMES, count).all(fits) {
            return false;
        }
        for (word, mask) in words_of(first * WORD_FRAMES, count) {
            // Acquire: pairs with the release in `give`.
            let taken = self.words[word].free.fetch_update(Ordering::Acquire, Ordering::Relaxed, |before| {
                (before & mask == mask).then_some(before & !mask)
            });
            if taken.is_err() {
                self.put_back(first * WORD_FRAMES, (word - first) * WORD_FRAMES);
                return false;
            }
        }
        true
    }

    /// Undoes a take of `count` frames from frame `start` of the chunk.
    pub(super) fn put_back(&self, start: usize, count: usize) {
        for (word, mask) in words_of(start, count) {
            // SeqCst: as in `give`.
            self.words[word].free.fetch_or(mask, Ordering::SeqCst);
        }
    }

    /// Takes a run of `count` frames at a multiple of `step`, both up to [`CHUNK_FRAMES`], `step` a power of two.
    ///
    /// Returns where in the chunk it starts. With runs of more than a word, file the chunk afterwards, as after
    /// [`take_words`](Self::take_words).
    pub(super) fn take_run(&self, count: usize, step: usize) -> Option<usize> {
        if count <= WORD_FRAMES && step <= WORD_FRAMES {
            return (0..CHUNK_WORDS).find_map(|word| {
                let start = self.take_in_word(word, count, step)?;
                Some(word * WORD_FRAMES + start)
            });
        }
        let starts = (0..CHUNK_WORDS).step_by(step.div_ceil(WORD_FRAMES));
        let mut fits = starts.filter(|word| word * WORD_FRAMES + count <= CHUNK_FRAMES);
        fits.find(|&word| self.take_words(word, count)).map(|word| word * WORD_FRAMES)
    }

    /// Gives those frames of `mask` back that may be used and are allocated.
    #[inline]
    pub(super) fn give(&self, word: usize, mask: u64) -> Given {
        // Relaxed: whoever was handed one of these frames acquired a free bit that was set after the managed one.
        let mask = mask & self.words[word].managed.load(Ordering::Relaxed);
        // Release: pairs with the acquire in the takes. SeqCst: this and the following look at the place against
        // the change of the place and the following look at the words in `BuddyAllocator::file`.
        let before = self.words[word].free.fetch_or(mask, Ordering::SeqCst);
        Given { fresh: mask & !before, before }
    }

    /// Declares that frames may be used, and are free; returns those of which that was not known.
    pub(super) fn admit(&self, word: usize, mask: u64) -> u64 {
        // Relaxed: the free bits below publish it.
        let known = self.words[word].managed.fetch_or(mask, Ordering::Relaxed);
        let fresh = mask & !known;
        // SeqCst: as in `give`.
        self.words[word].free.fetch_or(fresh, Ordering::SeqCst);
        fresh
    }

    /// Looks at all words, one after the other.
    pub(super) fn view(&self) -> View {
        // SeqCst: see `give`.
        View(core::array::from_fn(|word| self.words[word].free.load(Ordering::SeqCst)))
    }

    /// Returns on which shelf the chunk is.
    #[inline]
    pub(super) fn place(&self) -> Place {
        // SeqCst: see `give`.
        Place::decode(self.place.load(Ordering::SeqCst))
    }

    /// Notes on which shelf the chunk is.
    pub(super) fn set_place(&self, place: Place) {
        // SeqCst: see `give`.
        self.place.store(place.encode(), Ordering::SeqCst);
    }

    // Relaxed, all four: the lock of the shelves orders the links.
    pub(super) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    pub(super) fn previous(&self) -> u32 {
        self.previous.load(Ordering::Relaxed)
    }

    pub(super) fn set_next(&self, next: u32) {
        self.next.store(next, Ordering::Relaxed);
    }

    pub(super) fn set_previous(&self, previous: u32) {
        self.previous.store(previous, Ordering::Relaxed);
    }
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk::new()
    }
}

/// Lists the words that hold frames `start..start + count` of a chunk, each with those of its bits.
pub(super) fn words_of(start: usize, count: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start + count;
    let mut at = start;
    core::iter::from_fn(move || {
        let (word, bit) = (at / WORD_FRAMES, at % WORD_FRAMES);
        let here = (end - at).min(WORD_FRAMES - bit);
        at += here;
        (here > 0).then(|| (word, bits::span(bit, here)))
    })
}

/// The free frames of a chunk, as they were seen.
pub(super) struct View([u64; CHUNK_WORDS]);

impl View {
    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; CHUNK_WORDS]
    }

    pub(super) fn is_whole(&self) -> bool {
        self.0 == [u64::MAX; CHUNK_WORDS]
    }

    pub(super) fn free(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns the order of the largest free block, if there is one.
    pub(super) fn largest_order(&self) -> Option<u32> {
        let runs = self.runs();
        (0..=CHUNK_ORDER).rfind(|&order| runs[order as usize] > 0)
    }

    /// Counts the free blocks of each order, where two free halves are one block.
    pub(super) fn blocks(&self) -> [usize; CHUNK_ORDER as usize + 1] {
        let runs = self.runs();
        let merged = |order: usize| runs.get(order + 1).map_or(0, |larger| 2 * larger);
        core::array::from_fn(|order| runs[order] - merged(order))
    }

    /// Counts the naturally aligned free runs of each order, whether they belong to a larger one or not.
    fn runs(&self) -> [usize; CHUNK_ORDER as usize + 1] {
        let mut runs = [0; CHUNK_ORDER as usize + 1];
        let mut full = 0;
        for (index, &word) in self.0.iter().enumerate() {
            for (order, starts) in bits::aligned_runs(word).into_iter().enumerate() {
                runs[order] += starts.count_ones() as usize;
            }
            full |= u64::from(word == u64::MAX) << index;
        }
        for (order, starts) in (WORD_ORDER..=CHUNK_ORDER).zip(bits::aligned_runs(full)) {
            runs[order as usize] = starts.count_ones() as usize;
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_chunk() -> Chunk {
        let chunk = Chunk::new();
        (0..CHUNK_WORDS).for_each(|word| assert_eq!(chunk.admit(word, u64::MAX), u64::MAX));
        chunk
    }

    #[test]
    fn places_survive_encoding() {
        for place in
            [Place::Off, Place::Reserved, Place::Body, Place::Partial(0), Place::Partial(8), Place::Block(18)]
        {
            assert_eq!(Place::decode(place.encode()), place);
        }
    }

    #[test]
    fn a_new_chunk_takes_nothing_back() {
        let chunk = Chunk::new();
        assert_eq!(chunk.give(3, u64::MAX).fresh, 0);
        assert!(chunk.view().is_empty());
        assert_eq!(chunk.view().largest_order(), None);
    }

    #[test]
    fn frames_are_taken_and_given_once() {
        let chunk = free_chunk();
        assert_eq!(chunk.admit(0, u64::MAX), 0);
        assert_eq!(chunk.take_one(0), Some(0));
        assert_eq!(chunk.take_run(4, 4), Some(4));
        assert_eq!(chunk.take_run(100, 128), Some(128));
        assert_eq!(chunk.take_run(512, 512), None);
        assert_eq!(chunk.view().free(), 512 - 105);
        assert_eq!(chunk.give(0, 0b11).fresh, 0b01);
        assert_eq!(chunk.give(0, 0xf0).fresh, 0xf0);
        chunk.put_back(128, 100);
        assert!(chunk.view().is_whole());
    }

    #[test]
    fn blocks_are_counted_at_their_largest() {
        let chunk = free_chunk();
        assert_eq!(chunk.view().blocks(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(chunk.take_run(1, 1), Some(0));
        assert_eq!(chunk.view().blocks(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(chunk.view().largest_order(), Some(8));
    }
}
