//! Which frames are out.
//!
//! A block or short run that a magazine can hold is marked by a byte that belongs to its first frame: to hand it out and
//! to take it back is a store each, by whoever has it. A run's length is in the bytes of its next two frames. All else
//! that is handed out is noted by bits, under the pool's lock.

use super::super::pool::{CHUNK_FRAMES, Pool};
use super::magazine::CACHED_ORDER;
use core::fmt;
use core::ops::Range;
use vellum_machine::primitive::{AtomicU8, Ordering};

const WORD_FRAMES: usize = u64::BITS as usize;
const WORDS: usize = CHUNK_FRAMES / WORD_FRAMES;

/// A byte for each of 512 frames (2 MiB).
pub struct Marks([AtomicU8; CHUNK_FRAMES]);

/// The mark of a frame with which no block begins that is out.
const NONE: u8 = 0;

/// The mark of the first frame of a block that is out.
const fn out(order: u32) -> u8 {
    order as u8 + 1
}

/// The mark of the first frame of a run that is out.
const RUN: u8 = 0x40;

/// What the marks of the two frames after the first of a run say of its length: seven bits each.
const DIGIT: u8 = 0x80;

/// The lengths of runs that are marked: the least that has three frames, up to 2 MiB.
pub(super) const MARKED_RUNS: Range<usize> = 3..1 << CACHED_ORDER;

/// The marks of a run.
const fn run_marks(count: usize) -> [u8; 3] {
    [RUN, DIGIT | (count & 0x7f) as u8, DIGIT | (count >> 7 & 0x7f) as u8]
}

impl Marks {
    /// Makes the marks of frames that are not out.
    pub const fn new() -> Marks {
        Marks([const { AtomicU8::new(NONE) }; CHUNK_FRAMES])
    }
}

impl Default for Marks {
    fn default() -> Marks {
        Marks::new()
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks")
    }
}

/// The marks of all frames.
#[derive(Clone, Copy)]
pub(super) struct AllMarks<'t>(pub(super) &'t [Marks]);

impl AllMarks<'_> {
    #[inline]
    fn of(&self, frame: usize) -> Option<&AtomicU8> {
        self.0.get(frame / CHUNK_FRAMES).map(|marks| &marks.0[frame % CHUNK_FRAMES])
    }

    /// Changes a mark from one to another; returns whether it was the first, and leaves it where it was not.
    // Relaxed: a mark orders nothing. Load and store, and not an exchange, for that would cost as much as all the rest:
    // a frame belongs to one who takes it or gives it back, unless it is given back twice at once.
    #[inline]
    fn turn(&self, frame: usize, from: u8, to: u8) -> bool {
        let Some(mark) = self.of(frame) else { return false };
        let turns = mark.load(Ordering::Relaxed) == from;
        if turns {
            mark.store(to, Ordering::Relaxed);
        }
        turns
    }

    /// Notes that a block is handed out; returns whether it was not so before.
    #[inline]
    pub(super) fn hand_out(&self, frame: usize, order: u32) -> bool {
        self.turn(frame, NONE, out(order))
    }

    /// Notes that a block is given back; returns whether this very block was out.
    #[inline]
    pub(super) fn take_back(&self, frame: usize, order: u32) -> bool {
        self.turn(frame, out(order), NONE)
    }

    /// Notes that a run is handed out, of a length in [`MARKED_RUNS`]; returns whether none began there before.
    pub(super) fn hand_out_run(&self, start: usize, count: usize) -> bool {
        let [first, low, high] = run_marks(count);
        let turns = self.turn(start, NONE, first);
        if turns {
            self.set(start + 1, low);
            self.set(start + 2, high);
        }
        turns
    }

    /// Notes that a run is given back; returns whether this very run was out.
    pub(super) fn take_back_run(&self, start: usize, count: usize) -> bool {
        let was_out = (start..).zip(run_marks(count)).all(|(frame, mark)| self.get(frame) == mark);
        if was_out {
            self.forget(start);
        }
        was_out
    }

    fn get(&self, frame: usize) -> u8 {
        self.of(frame).map_or(NONE, |mark| mark.load(Ordering::Relaxed))
    }

    fn set(&self, frame: usize, to: u8) {
        if let Some(mark) = self.of(frame) {
            mark.store(to, Ordering::Relaxed);
        }
    }

    /// Returns how many frames the block or run has that is out and begins with this one; 0 where none does.
    fn length_at(&self, frame: usize) -> usize {
        match self.get(frame) {
            NONE | DIGIT.. => 0,
            RUN => {
                let digit = |place| usize::from(self.get(frame + place) & !DIGIT);
                digit(1) | digit(2) << 7
            }
            order => 1 << (order - out(0)),
        }
    }

    /// Finds the block or run that is out and has this frame.
    fn covering(&self, frame: usize) -> Option<Range<usize>> {
        let longest = 1 << CACHED_ORDER;
        // Those that are out do not overlap: the last that begins before the frame decides.
        (frame.saturating_sub(longest - 1)..=frame)
            .rev()
            .find_map(|first| {
                let length = self.length_at(first);
                (length != 0).then_some(first..first + length)
            })
            .filter(|block| block.contains(&frame))
    }

    /// Forgets that the block or run is out that begins with this frame.
    fn forget(&self, first: usize) {
        let marks = if self.get(first) == RUN { run_marks(0).len() } else { 1 };
        (first..first + marks).for_each(|frame| self.set(frame, NONE));
    }
}

/// Bits for each of 512 frames (2 MiB).
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// The frames that were ever free.
    known: [u64; WORDS],
    /// The frames that are out, and not in a block that is marked.
    out: [u64; WORDS],
}

impl Notes {
    /// Makes the notes of frames of which nothing is known.
    pub const fn new() -> Notes {
        Notes { known: [0; WORDS], out: [0; WORDS] }
    }
}

/// The pool, and notes of what is out of it.
pub(super) struct Store<'t> {
    pub(super) pool: Pool<'t>,
    pub(super) notes: &'t mut [Notes],
    pub(super) marks: AllMarks<'t>,
}

impl Store<'_> {
    /// Takes a run, and notes that it is out.
    pub(super) fn take_run(&mut self, count: usize, step: usize) -> Option<usize> {
        let start = self.pool.take(count, step)?;
        self.note_out(start..start + count);
        Some(start)
    }

    /// Notes that frames are out.
    fn note_out(&mut self, frames: Range<usize>) {
        for (chunk, word, mask) in words_of(frames) {
            self.notes[chunk].out[word] |= mask;
        }
    }

    /// Takes a run of a length in [`MARKED_RUNS`], and marks it as out.
    pub(super) fn take_marked_run(&mut self, count: usize, step: usize) -> Option<usize> {
        let start = self.pool.take(count, step)?;
        self.marks.hand_out_run(start, count);
        Some(start)
    }

    /// Takes a block, and marks it as out.
    pub(super) fn take_block(&mut self, order: u32) -> Option<usize> {
        let frame = self.pool.take(1 << order, 1 << order)?;
        self.marks.hand_out(frame, order);
        Some(frame)
    }

    /// Makes frames free that are not known; returns how many.
    pub(super) fn add(&mut self, frames: Range<usize>) -> usize {
        let mut added = 0;
        for (chunk, word, mask) in words_of(frames) {
            let known = &mut self.notes[chunk].known[word];
            let fresh = mask & !*known;
            *known |= mask;
            added += self.free(chunk, word, fresh);
        }
        added
    }

    /// Makes those of the frames free that are out; returns how many.
    pub(super) fn give(&mut self, frames: Range<usize>) -> usize {
        let mut freed = 0;
        for (chunk, word, mask) in words_of(frames) {
            if self.notes[chunk].out[word] & mask != mask {
                self.note_blocks(chunk, word, mask);
            }
            let fresh = self.notes[chunk].out[word] & mask;
            self.notes[chunk].out[word] &= !mask;
            freed += self.free(chunk, word, fresh);
        }
        freed
    }

    /// Turns marked blocks and runs that have some of these frames into frames that are noted one by one.
    fn note_blocks(&mut self, chunk: usize, word: usize, mask: u64) {
        let base = chunk * CHUNK_FRAMES + word * WORD_FRAMES;
        let mut at = base + mask.trailing_zeros() as usize;
        let end = base + WORD_FRAMES - mask.leading_zeros() as usize;
        let mut next = self.marks.covering(at);
        while at < end {
            at += 1;
            if let Some(block) = next {
                self.marks.forget(block.start);
                at = block.end;
                self.note_out(block);
            }
            next = Some(at..at + self.marks.length_at(at)).filter(|block| !block.is_empty());
        }
    }

    /// Puts frames of one word into the pool; returns how many of them were not there.
    fn free(&mut self, chunk: usize, word: usize, mut mask: u64) -> usize {
        let base = chunk * CHUNK_FRAMES + word * WORD_FRAMES;
        let mut freed = 0;
        while mask != 0 {
            let start = mask.trailing_zeros();
            let count = (mask >> start).trailing_ones();
            freed += count as usize - self.pool.give(base + start as usize, count as usize);
            mask &= !((u64::MAX >> (u64::BITS - count)) << start);
        }
        freed
    }
}

/// Lists the words of bits that frames have, each with its chunk and those of its bits.
fn words_of(frames: Range<usize>) -> impl Iterator<Item = (usize, usize, u64)> {
    let mut at = frames.start;
    core::iter::from_fn(move || {
        let bit = at % WORD_FRAMES;
        let count = frames.end.saturating_sub(at).min(WORD_FRAMES - bit);
        let mask = u64::MAX.checked_shr((WORD_FRAMES - count) as u32)? << bit;
        let word = (at / CHUNK_FRAMES, at % CHUNK_FRAMES / WORD_FRAMES, mask);
        at += count;
        Some(word)
    })
}
