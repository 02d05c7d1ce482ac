//! The free frames: a bit per frame, and buddies above.
//!
//! # What decides
//!
//! Physical memory is a table of [`Chunk`]s of 512 frames. A chunk has a bit per frame, set while the frame is free,
//! and these bits alone decide who gets a frame: frames are taken once their bits were seen, and their bits are
//! cleared; they are given back by setting them. Whatever is given back, by whomever and however often, the bits
//! stay right.
//!
//! Everything else tells where to look:
//!
//! - *Bins* list the chunks of which a part is free, by the largest run they had when they were put there.
//! - *Blocks* list what is free from a chunk upward: naturally aligned runs of `2^9` to `2^18` frames, merged with
//!   their buddies as they become free.
//!
//! Inside a chunk nothing need be merged: two free neighbours *are* a larger block.
//!
//! # What is proved
//!
//! The frames that are free are a set ([`Pool::free`]), and each operation does to the set what its contract says,
//! without a precondition. Lists and places are not believed, so that nothing is to be proved about them: a link is
//! followed where it leads into the table, and what a list proposes is taken where the bits agree.

mod bits;
mod chunk;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod count;
mod shelves;
mod table;

pub(super) use chunk::CHUNK_FRAMES;
pub use chunk::Chunk;

use bits::*;
use chunk::*;
use shelves::*;
use table::*;
use vstd::prelude::*;

verus! {

/// The order of the largest block: `1 << MAX_ORDER` frames are 1 GiB.
pub const MAX_ORDER: u32 = 18;

/// A store of free frames, which are numbers from zero on.
///
/// Of the table the first 2<sup>23</sup> entries count, so that a frame's number has 32 bits.
pub(super) struct Pool<'t> {
    table: &'t mut [Chunk],
    shelves: Shelves,
}

impl<'t> Pool<'t> {
    /// Makes a pool of the frames `0 .. 512 * table.len()`, none of them free, whatever the table held.
    pub(super) fn new(table: &'t mut [Chunk]) -> Pool<'t> {
        let mut chunk = 0;
        while chunk < table.len() {
            table[chunk] = Chunk::new();
            chunk += 1;
        }
        Pool { table, shelves: Shelves::new() }
    }

    /// Takes `count` contiguous frames of which the first is a multiple of `step`, and returns the first.
    ///
    /// `None` where there are none: `step` is a power of two up to `1 << MAX_ORDER`, `count` at least one and up to
    /// that. Smaller free runs are taken before larger ones.
    pub(super) fn take(&mut self, count: usize, step: usize) -> Option<usize> {
        if count == 0 || !is_step(step) {
            return None;
        }
        let order = order_of(if count < step { step } else { count })?;
        let mut bin = order;
        while bin < CHUNK_ORDER {
            if let Some(start) = self.take_from_bin(bin, count, step, order) {
                return Some(start);
            }
            bin += 1;
        }
        if let Some(start) = self.take_from_blocks(count, step, order) {
            return Some(start);
        }
        self.take_anywhere(count, step, order)
    }

    /// Takes frames from chunks whose runs were shorter when they were filed than a block would be.
    ///
    /// They may have grown since, and a count that is no power of two needs no whole block.
    #[cold]
    fn take_anywhere(&mut self, count: usize, step: usize, order: u32) -> Option<usize> {
        // A chunk that is free as a whole is a block.
        if count >= CHUNK_FRAMES {
            return None;
        }
        let mut bin = 0;
        while bin < order && bin < CHUNK_ORDER {
            if let Some(start) = self.take_from_bin(bin, count, step, order) {
                return Some(start);
            }
            bin += 1;
        }
        None
    }

    /// Takes frames at a multiple of `1 << order` from one of the chunks of a bin.
    fn take_from_bin(&mut self, bin: u32, count: usize, step: usize, order: u32) -> Option<usize> {
        let mut next = self.shelves.first(bin);
        let mut left = self.table.len();
        while left > 0 {
            let chunk = next?;
            next = after(self.table, chunk);
            left -= 1;
            if let Some(start) = self.take_in_chunk(chunk, count, step, order) {
                return Some(start);
            }
        }
        None
    }

    /// Takes frames at a multiple of `1 << order` from a chunk, and files it anew.
    fn take_in_chunk(&mut self, chunk: usize, count: usize, step: usize, order: u32) -> Option<usize> {
        if chunk >= chunks_of(self.table) || order > MAX_ORDER {
            return None;
        }
        let in_chunk = if order > CHUNK_ORDER {
            if chunk & (chunks_in(order) - 1) != 0 {
                return None;
            }
            CHUNK_ORDER
        } else {
            order
        };
        let found = self.table[chunk].find_run(count, in_chunk);
        let taken = match found {
            Some(start) if start < CHUNK_FRAMES => self.claim(chunk * CHUNK_FRAMES + start, count, step),
            _ => None,
        };
        self.refile(chunk);
        taken
    }

    /// Takes the first frames of the smallest block that has at least `1 << order`.
    fn take_from_blocks(&mut self, count: usize, step: usize, order: u32) -> Option<usize> {
        let order = if order < CHUNK_ORDER { CHUNK_ORDER } else { order };
        let first = self.cut_block(order)?;
        let taken = self.claim(first * CHUNK_FRAMES, count, step);
        let end = first + chunks_in(order);
        let mut chunk = first;
        while chunk < end {
            self.file(chunk);
            chunk += 1;
        }
        taken
    }

    /// Takes frames if they are free, and the first of them is a multiple of `step`, a power of two.
    fn claim(&mut self, start: usize, count: usize, step: usize) -> Option<usize> {
        if start & (step - 1) != 0 || !all_free(self.table, start, count) {
            return None;
        }
        clear(self.table, start, count);
        Some(start)
    }

    /// Takes up to `frames.len()` frames and writes their numbers to the beginning of `frames`; returns how many.
    ///
    /// Chunks of which most is used come first, and whole words of them.
    pub(super) fn take_some(&mut self, frames: &mut [u32]) -> usize {
        let mut taken = 0;
        while taken < frames.len() {
            let chunk = match self.most_used() {
                Some(chunk) => chunk,
                None => return taken,
            };
            let before = taken;
            taken = self.drain_chunk(chunk, frames, before);
            self.refile(chunk);
            if taken == before {
                return taken;
            }
        }
        taken
    }

    /// Finds a chunk with short runs, or makes one of the smallest block.
    fn most_used(&mut self) -> Option<usize> {
        match self.shelves.lowest(0) {
            Some((order, chunk)) if order < CHUNK_ORDER => Some(chunk),
            _ => self.cut_block(CHUNK_ORDER),
        }
    }

    /// Moves free frames of a chunk into `frames`, from place `at` on; returns the place after the last.
    fn drain_chunk(&mut self, chunk: usize, frames: &mut [u32], at: usize) -> usize {
        if chunk >= chunks_of(self.table) {
            return at;
        }
        let mut at = at;
        let mut word = 0;
        while word < CHUNK_WORDS {
            let base = (chunk * CHUNK_FRAMES + word * WORD_FRAMES) as u32;
            let (rest, next) = drain(self.table[chunk].words[word], base, frames, at);
            self.table[chunk].words[word] = rest;
            at = next;
            word += 1;
        }
        at
    }

    /// Makes frames free, from `start` on; returns how many of them were free already, or are not the pool's.
    pub(super) fn give(&mut self, start: usize, count: usize) -> usize {
        let frames = chunks_of(self.table) * CHUNK_FRAMES;
        if start >= frames {
            return count;
        }
        let end = if count < frames - start { start + count } else { frames };
        let mut ignored = count - (end - start);
        let mut at = start;
        while at < end {
            let chunk = at / CHUNK_FRAMES;
            let rest = CHUNK_FRAMES - at % CHUNK_FRAMES;
            let here = if rest < end - at { rest } else { end - at };
            ignored += set(self.table, at, here);
            self.refile_grown(chunk);
            at += here;
        }
        ignored
    }

    /// Makes a frame free; says whether it was the pool's and not free before.
    #[inline]
    pub(super) fn give_one(&mut self, frame: usize) -> bool {
        let chunk = frame / CHUNK_FRAMES;
        if chunk >= chunks_of(self.table) {
            return false;
        }
        let word = frame % CHUNK_FRAMES / WORD_FRAMES;
        let before = self.table[chunk].words[word];
        let after = before | (1u64 << (frame % WORD_FRAMES));
        if after == before {
            return false;
        }
        self.table[chunk].words[word] = after;
        // Only these may be the first free frame of the chunk, or the last that was not.
        if before == 0 || after == u64::MAX {
            self.refile_grown(chunk);
        }
        true
    }

    /// Takes the smallest block of at least this order off its shelf, puts back what is too much, and returns the
    /// first chunk.
    fn cut_block(&mut self, order: u32) -> Option<usize> {
        let (mut larger, chunk) = self.shelves.lowest(order)?;
        self.shelves.take(self.table, chunk);
        while larger > order {
            larger -= 1;
            self.shelves.put(self.table, chunk + chunks_in(larger), larger);
        }
        Some(chunk)
    }

    /// Files a chunk anew of which frames were given back, where that is needed: it was on no shelf, or is a block.
    #[cold]
    #[inline(never)]
    fn refile_grown(&mut self, chunk: usize) {
        if chunk < self.table.len() {
            let entry = &self.table[chunk];
            if entry.place == OFF || (entry.is_binned() && entry.is_whole()) {
                self.refile(chunk);
            }
        }
    }

    /// Takes a chunk off its shelf, and puts it where its free frames say.
    fn refile(&mut self, chunk: usize) {
        if chunk < self.table.len() {
            match self.table[chunk].largest_order() {
                Some(order) if order < CHUNK_ORDER && self.table[chunk].place == SHELF + order => return,
                _ => {},
            }
            self.shelves.take(self.table, chunk);
            self.file(chunk);
        }
    }

    /// Puts a chunk that is on no shelf where its free frames say.
    fn file(&mut self, chunk: usize) {
        if chunk < self.table.len() {
            match self.table[chunk].largest_order() {
                None => self.table[chunk].place = OFF,
                Some(order) if order < CHUNK_ORDER => self.shelves.put(self.table, chunk, order),
                Some(_) => self.merge(chunk),
            }
        }
    }

    /// Puts a chunk that is free as a whole on its shelf, together with the buddies that are free as well.
    fn merge(&mut self, chunk: usize) {
        let mut chunk = chunk;
        let mut order = CHUNK_ORDER;
        while order < MAX_ORDER {
            let buddy = chunk ^ chunks_in(order);
            if buddy >= self.table.len() || self.table[buddy].place != SHELF + order {
                break;
            }
            self.shelves.take(self.table, buddy);
            if chunk < buddy {
                self.table[buddy].place = BODY;
            } else {
                self.table[chunk].place = BODY;
                chunk = buddy;
            }
            order += 1;
        }
        self.shelves.put(self.table, chunk, order);
    }
}

/// Returns the chunks of a block of this order, at least [`CHUNK_ORDER`].
#[inline]
const fn chunks_in(order: u32) -> usize {
    1 << (order - CHUNK_ORDER)
}

/// Says whether frames can be asked for at multiples of `step`: a power of two, up to the largest block.
fn is_step(step: usize) -> bool {
    step != 0 && step <= 1 << MAX_ORDER && step & (step - 1) == 0
}

/// Returns the order of the smallest block that has `count` frames.
fn order_of(count: usize) -> Option<u32> {
    let mut order = 0;
    while order <= MAX_ORDER {
        if count <= 1 << order {
            return Some(order);
        }
        order += 1;
    }
    None
}

} // verus!

#[cfg(test)]
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tests;
