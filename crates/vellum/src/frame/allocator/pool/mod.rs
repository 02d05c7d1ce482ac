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
//! - *Bins* list the chunks of which a part is free, by the largest run they had when they were put there. Frames that
//!   are taken and given back since leave a chunk where it is, until it is found to have less than its bin says.
//! - *Blocks* list what is free from a chunk upward: naturally aligned runs of `2^9` to `2^18` frames, merged with
//!   their buddies as they become free.
//!
//! Inside a chunk nothing need be merged: two free neighbours *are* a larger block.
//!
//! # What is proved
//!
//! The frames that are free are a set (`Pool::free`), and each operation does to the set what its contract says,
//! without a precondition. Lists and places are not believed, so that nothing is to be proved about them: a link is
//! followed where it leads into the table, and what a list proposes is taken where the bits agree.

pub(crate) mod bits;
mod chunk;
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod count;
#[cfg(verus_keep_ghost)]
pub mod free;
mod shelves;
mod table;
#[cfg(verus_keep_ghost)]
pub(crate) mod words;

pub(super) use chunk::CHUNK_FRAMES;
pub use chunk::Chunk;

#[cfg(verus_keep_ghost)]
use super::request::is_power_of_two;
use bits::*;
use chunk::*;
#[cfg(verus_keep_ghost)]
use free::*;
use shelves::*;
use table::*;
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use words::*;

verus! {

broadcast use lemma_same_words;

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
    /// The frames that are free.
    pub(super) closed spec fn free(self) -> Set<nat> {
        free_of(self.table@)
    }

    /// The number of frames that it may have, from zero on.
    pub(super) closed spec fn frames(self) -> nat {
        frames_in(self.table@.len())
    }

    /// The free frames are those of the other.
    spec fn same(self, other: Self) -> bool {
        self.free() == other.free() && self.frames() == other.frames()
    }

    /// Makes a pool of the frames `0 .. 512 * table.len()`, none of them free, whatever the table held.
    pub(super) fn new(table: &'t mut [Chunk]) -> (r: Pool<'t>)
        ensures
            r.free() == Set::<nat>::empty(),
            r.frames() == frames_in(old(table)@.len()),
    {
        let mut chunk = 0;
        while chunk < table.len()
            invariant
                table@.len() == old(table)@.len(),
                forall|c: int| 0 <= c < chunk ==> (#[trigger] table@[c]).is_used_up(),
            decreases table@.len() - chunk,
        {
            table[chunk] = Chunk::new();
            chunk += 1;
        }
        proof {
            lemma_used_up(table@);
        }
        Pool { table, shelves: Shelves::new() }
    }

    /// Takes `count` contiguous frames of which the first is a multiple of `step`, and returns the first.
    ///
    /// `None` where there are none: `step` is a power of two up to `1 << MAX_ORDER`, `count` at least one and up to
    /// that. Smaller free runs are taken before larger ones.
    pub(super) fn take(&mut self, count: usize, step: usize) -> (r: Option<usize>)
        ensures
            final(self).frames() == old(self).frames(),
            answered(old(self).free(), final(self).free(), r, count, step),
    {
        if count == 0 || !is_step(step) {
            return None;
        }
        let order = order_of(if count < step { step } else { count })?;
        if let Some(start) = self.take_from_bins(order, CHUNK_ORDER, count, step, order) {
            return Some(start);
        }
        if let Some(start) = self.take_from_blocks(count, step, order) {
            return Some(start);
        }
        // Runs may have grown since their chunk was filed, and a count that is no power of two needs no whole block. A
        // chunk that is free as a whole is a block.
        if count < CHUNK_FRAMES {
            self.take_from_bins(0, if order < CHUNK_ORDER { order } else { CHUNK_ORDER }, count, step, order)
        } else {
            None
        }
    }

    /// Takes frames at a multiple of `1 << order` from one of the chunks of some bins.
    fn take_from_bins(&mut self, first: u32, end: u32, count: usize, step: usize, order: u32) -> (r: Option<usize>)
        requires
            1 <= count,
            order <= MAX_ORDER,
            is_power_of_two(step),
        ensures
            final(self).frames() == old(self).frames(),
            answered(old(self).free(), final(self).free(), r, count, step),
    {
        let mut bin = first;
        while bin < end
            invariant
                1 <= count,
                order <= MAX_ORDER,
                is_power_of_two(step),
                self.same(*old(self)),
            decreases end - bin,
        {
            let (found, _) = self.shelves.lowest(bin)?;
            if found >= end {
                return None;
            }
            bin = found;
            if let Some(start) = self.take_from_bin(bin, count, step, order) {
                return Some(start);
            }
            bin += 1;
        }
        None
    }

    /// Takes frames at a multiple of `1 << order` from one of the chunks of a bin.
    fn take_from_bin(&mut self, bin: u32, count: usize, step: usize, order: u32) -> (r: Option<usize>)
        requires
            1 <= count,
            order <= MAX_ORDER,
            is_power_of_two(step),
        ensures
            final(self).frames() == old(self).frames(),
            answered(old(self).free(), final(self).free(), r, count, step),
    {
        let mut next = self.shelves.first(bin);
        let mut left = self.table.len();
        while left > 0
            invariant
                1 <= count,
                order <= MAX_ORDER,
                is_power_of_two(step),
                self.same(*old(self)),
            decreases left,
        {
            let chunk = next?;
            next = after(self.table, chunk);
            left -= 1;
            if let Some(start) = self.take_in_chunk(chunk, count, step, order) {
                return Some(start);
            }
        }
        None
    }

    /// Takes frames at a multiple of `1 << order` from a chunk, or files it anew.
    fn take_in_chunk(&mut self, chunk: usize, count: usize, step: usize, order: u32) -> (r: Option<usize>)
        requires
            1 <= count,
            order <= MAX_ORDER,
            is_power_of_two(step),
        ensures
            final(self).frames() == old(self).frames(),
            answered(old(self).free(), final(self).free(), r, count, step),
    {
        if chunk >= chunks_of(self.table) {
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
        match self.table[chunk].find_run(count, in_chunk) {
            Some(start) => self.claim(chunk * CHUNK_FRAMES + start, count, step),
            None => {
                self.refile(chunk);
                None
            },
        }
    }

    /// Takes the first frames of the smallest block that has at least `1 << order`.
    fn take_from_blocks(&mut self, count: usize, step: usize, order: u32) -> (r: Option<usize>)
        requires
            1 <= count,
            order <= MAX_ORDER,
            is_power_of_two(step),
        ensures
            final(self).frames() == old(self).frames(),
            answered(old(self).free(), final(self).free(), r, count, step),
    {
        let order = if order < CHUNK_ORDER { CHUNK_ORDER } else { order };
        let first = self.cut_block(order)?;
        let taken = self.claim(first * CHUNK_FRAMES, count, step);
        let end = first + chunks_in(order);
        let mut chunk = first;
        let ghost claimed = *self;
        while chunk < end
            invariant
                same_words(claimed.table@, self.table@),
            decreases end - chunk,
        {
            self.file(chunk);
            chunk += 1;
        }
        taken
    }

    /// Takes frames if they are free, and the first of them is a multiple of `step`, a power of two.
    fn claim(&mut self, start: usize, count: usize, step: usize) -> (r: Option<usize>)
        requires
            is_power_of_two(step),
        ensures
            final(self).frames() == old(self).frames(),
            answered(old(self).free(), final(self).free(), r, count, step),
    {
        if start & (step - 1) != 0 || !all_free(self.table, start, count) {
            return None;
        }
        let ghost before = self.table@;
        clear(self.table, start, count);
        proof {
            lemma_took(before, self.table@, start as nat, count as nat);
            lemma_aligned(start as u64, step as u64);
        }
        Some(start)
    }

    /// Takes up to `frames.len()` frames and writes their numbers to the beginning of `frames`; returns how many.
    ///
    /// Chunks of which most is used come first, and whole words of them.
    pub(super) fn take_some(&mut self, frames: &mut [u32]) -> (r: usize)
        ensures
            final(self).frames() == old(self).frames(),
            took_list(old(self).free(), final(self).free(), old(frames)@, final(frames)@, 0, r as int),
    {
        let mut taken = 0;
        let mut left = self.table.len();
        proof {
            lemma_took_none(self.free());
            assert(frames@.subrange(0, 0) =~= Seq::empty());
        }
        while taken < frames.len()
            invariant
                self.frames() == old(self).frames(),
                took_list(old(self).free(), self.free(), old(frames)@, frames@, 0, taken as int),
            decreases frames@.len() - taken + left,
        {
            let chunk = match self.most_used() {
                Some(chunk) => chunk,
                None => return taken,
            };
            let before = taken;
            let ghost (was, list) = (self.free(), frames@);
            taken = self.drain_chunk(chunk, frames, before);
            self.refile(chunk);
            proof {
                lemma_list(old(self).free(), was, self.free(), old(frames)@, list, frames@, 0, before as int, taken as int);
            }
            // A chunk on a shelf may be used up by now; it is on none any more.
            if taken == before {
                if left == 0 {
                    return taken;
                }
                left -= 1;
            }
        }
        taken
    }

    /// Finds a chunk with short runs, or makes one of the smallest block.
    fn most_used(&mut self) -> (r: Option<usize>)
        ensures
            same_words(old(self).table@, final(self).table@),
    {
        match self.shelves.lowest(0) {
            Some((order, chunk)) if order < CHUNK_ORDER => Some(chunk),
            _ => self.cut_block(CHUNK_ORDER),
        }
    }

    /// Moves free frames of a chunk into `frames`, from place `at` on; returns the place after the last.
    fn drain_chunk(&mut self, chunk: usize, frames: &mut [u32], at: usize) -> (r: usize)
        requires
            at <= old(frames)@.len(),
        ensures
            final(self).frames() == old(self).frames(),
            took_list(old(self).free(), final(self).free(), old(frames)@, final(frames)@, at as int, r as int),
    {
        proof {
            lemma_took_none(self.free());
            assert(frames@.subrange(at as int, at as int) =~= Seq::empty());
        }
        if chunk >= chunks_of(self.table) {
            return at;
        }
        let ghost first = at as int;
        let mut at = at;
        let mut word = 0;
        while word < CHUNK_WORDS
            invariant
                512 * chunk < frames_in(self.table@.len()),
                chunk < MAX_CHUNKS,
                self.frames() == old(self).frames(),
                took_list(old(self).free(), self.free(), old(frames)@, frames@, first, at as int),
            decreases CHUNK_WORDS - word,
        {
            let ghost (table, list) = (self.table@, frames@);
            let base = (chunk * CHUNK_FRAMES + word * WORD_FRAMES) as u32;
            let (rest, next) = drain(self.table[chunk].words[word], base, frames, at);
            self.table[chunk].words[word] = rest;
            proof {
                lemma_took_in_word(table, self.table@, base as nat, table[chunk as int].words@[word as int], rest, frames@.subrange(at as int, next as int));
                lemma_list(old(self).free(), free_of(table), self.free(), old(frames)@, list, frames@, first, at as int, next as int);
            }
            at = next;
            word += 1;
        }
        at
    }

    /// Makes frames free, from `start` on; returns how many of them were free already, or are not the pool's.
    pub(super) fn give(&mut self, start: usize, count: usize) -> (r: usize)
        ensures
            final(self).frames() == old(self).frames(),
            gave(old(self).free(), final(self).free(), old(self).frames(), start as nat, count as nat),
            final(self).free().len() + r == old(self).free().len() + count,
    {
        let frames = chunks_of(self.table) * CHUNK_FRAMES;
        proof {
            lemma_gave_none(self.free(), self.frames(), start as nat, 0);
        }
        if start >= frames {
            proof {
                lemma_gave_none(self.free(), self.frames(), start as nat, count as nat);
            }
            return count;
        }
        let end = if count < frames - start { start + count } else { frames };
        let mut ignored = count - (end - start);
        let mut at = start;
        while at < end
            invariant
                start <= at <= end <= frames == self.frames(),
                frames == old(self).frames(),
                ignored <= count - (end - at),
                gave(old(self).free(), self.free(), frames as nat, start as nat, (at - start) as nat),
                self.free().len() + ignored == old(self).free().len() + (at - start) + (count - (end - start)),
            decreases end - at,
        {
            let ghost (table, known) = (self.table@, ignored);
            let chunk = at / CHUNK_FRAMES;
            let rest = CHUNK_FRAMES - at % CHUNK_FRAMES;
            let here = if rest < end - at { rest } else { end - at };
            ignored += set(self.table, at, here);
            proof {
                lemma_gave(table, self.table@, at as nat, (at + here) as nat);
                lemma_gave_more(old(self).free(), free_of(table), self.free(), frames as nat, start as nat, (at - start) as nat, here as nat);
            }
            self.refile_grown(chunk);
            at += here;
        }
        proof {
            if end == frames {
                lemma_gave_none(self.free(), frames as nat, end as nat, (count - (end - start)) as nat);
            } else {
                lemma_gave_none(self.free(), frames as nat, end as nat, 0);
            }
            lemma_gave_more(old(self).free(), self.free(), self.free(), frames as nat, start as nat, (end - start) as nat, (count - (end - start)) as nat);
        }
        ignored
    }

    /// Makes a frame free; says whether it was the pool's and not free before.
    #[inline]
    pub(super) fn give_one(&mut self, frame: usize) -> (r: bool)
        ensures
            final(self).frames() == old(self).frames(),
            r <==> frame < old(self).frames() && !old(self).free().contains(frame as nat),
            gave(old(self).free(), final(self).free(), old(self).frames(), frame as nat, 1),
    {
        broadcast use {group_bits, lemma_free_of};

        let chunk = frame / CHUNK_FRAMES;
        if chunk >= chunks_of(self.table) {
            proof {
                lemma_gave_none(self.free(), self.frames(), frame as nat, 1);
            }
            return false;
        }
        let ghost table = self.table@;
        let word = frame % CHUNK_FRAMES / WORD_FRAMES;
        let before = self.table[chunk].words[word];
        let mask = 1u64 << (frame % WORD_FRAMES);
        proof {
            lemma_one_bit((frame % 64) as u64);
            if bit(before, frame as int % 64) {
                lemma_same_bits(before, before | mask);
            }
        }
        let after = before | mask;
        self.table[chunk].words[word] = after;
        proof {
            lemma_mark(table, table, self.table@, frame as nat, frame as nat, 1, mask, true);
            lemma_gave(table, self.table@, frame as nat, (frame + 1) as nat);
        }
        if after == before {
            return false;
        }
        // Only these may be the first free frame of the chunk, or the last that was not.
        if before == 0 || after == u64::MAX {
            self.refile_grown(chunk);
        }
        true
    }

    /// Takes the smallest block of at least this order off its shelf, puts back what is too much, and returns the
    /// first chunk.
    fn cut_block(&mut self, order: u32) -> (r: Option<usize>)
        requires
            CHUNK_ORDER <= order <= MAX_ORDER,
        ensures
            same_words(old(self).table@, final(self).table@),
            r matches Some(chunk) ==> chunk < u32::MAX,
    {
        let (mut larger, chunk) = self.shelves.lowest(order)?;
        self.shelves.take(self.table, chunk);
        while larger > order
            invariant
                CHUNK_ORDER <= order <= larger <= MAX_ORDER,
                chunk < u32::MAX,
                same_words(old(self).table@, self.table@),
            decreases larger - order,
        {
            larger -= 1;
            self.shelves.put(self.table, chunk + chunks_in(larger), larger);
        }
        Some(chunk)
    }

    /// Files a chunk anew of which frames were given back, where that is needed: it was on no shelf, or is a block.
    #[cold]
    #[inline(never)]
    fn refile_grown(&mut self, chunk: usize)
        ensures
            same_words(old(self).table@, final(self).table@),
    {
        if chunk < self.table.len() {
            let entry = &self.table[chunk];
            if entry.place == OFF || (entry.is_binned() && entry.is_whole()) {
                self.refile(chunk);
            }
        }
    }

    /// Takes a chunk off its shelf, and puts it where its free frames say.
    fn refile(&mut self, chunk: usize)
        ensures
            same_words(old(self).table@, final(self).table@),
    {
        if chunk < self.table.len() {
            let order = self.table[chunk].largest_order();
            match order {
                Some(order) if order < CHUNK_ORDER && self.table[chunk].place == SHELF + order => return,
                _ => {},
            }
            self.shelves.take(self.table, chunk);
            self.shelve(chunk, order);
        }
    }

    /// Puts a chunk that is on no shelf where its free frames say.
    fn file(&mut self, chunk: usize)
        ensures
            same_words(old(self).table@, final(self).table@),
    {
        if chunk < self.table.len() {
            let order = self.table[chunk].largest_order();
            self.shelve(chunk, order);
        }
    }

    /// Puts a chunk that is on no shelf, and whose largest run has this order, on its shelf.
    fn shelve(&mut self, chunk: usize, order: Option<u32>)
        requires
            chunk < old(self).table@.len(),
        ensures
            same_words(old(self).table@, final(self).table@),
    {
        match order {
            None => self.table[chunk].place = OFF,
            Some(order) if order < CHUNK_ORDER => self.shelves.put(self.table, chunk, order),
            Some(_) => self.merge(chunk),
        }
    }

    /// Puts a chunk that is free as a whole on its shelf, together with the buddies that are free as well.
    fn merge(&mut self, chunk: usize)
        requires
            chunk < old(self).table@.len(),
        ensures
            same_words(old(self).table@, final(self).table@),
    {
        let mut chunk = chunk;
        let mut order = CHUNK_ORDER;
        while order < MAX_ORDER
            invariant
                CHUNK_ORDER <= order <= MAX_ORDER,
                same_words(old(self).table@, self.table@),
                chunk < self.table@.len(),
            decreases MAX_ORDER - order,
        {
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
const fn chunks_in(order: u32) -> (r: usize)
    requires
        CHUNK_ORDER <= order <= MAX_ORDER,
    ensures
        1 <= r <= 512,
{
    proof {
        assert(9 <= order <= 18 ==> 1 <= (1usize << (order - 9) as u32) <= 512) by (bit_vector);
    }
    1 << (order - CHUNK_ORDER)
}

/// Says whether frames can be asked for at multiples of `step`: a power of two, up to the largest block.
fn is_step(step: usize) -> (r: bool)
    ensures
        r ==> is_power_of_two(step),
{
    step != 0 && step <= 1 << MAX_ORDER && step & (step - 1) == 0
}

/// Returns the order of the smallest block that has `count` frames.
fn order_of(count: usize) -> (r: Option<u32>)
    ensures
        r matches Some(order) ==> order <= MAX_ORDER,
{
    if count == 0 || count > 1 << MAX_ORDER {
        return None;
    }
    let order = 64u32.checked_sub((count as u64 - 1).leading_zeros())?;
    if order <= MAX_ORDER {
        Some(order)
    } else {
        None
    }
}

} // verus!

#[cfg(test)]
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tests;
