//! The default allocator: a bit per frame, and buddies above.
//!
//! # What decides
//!
//! Physical memory is a table of [`Chunk`]s of 512 frames. A chunk has a bit per frame, set while the frame is free,
//! and these bits alone decide who gets a frame: to take frames is to clear their bits by compare-and-swap, to give
//! them back is to set them by an atomic *or* whose result tells those that were free already. Whatever address is
//! given back, by whomever and however often, the bits stay right: what is not allocated is ignored, and counted.
//!
//! Everything else is a guess at where free bits are, which may be stale:
//!
//! - Each processor has a *reserved* chunk. One frame is taken and given back without any lock, and processors that
//!   reserve different chunks share no cache line.
//! - *Bins* list the chunks of which a part is free, by the largest run they had when they were put there.
//! - *Blocks* list what is free from a chunk upward: naturally aligned runs of `2^9` to `2^18` frames, merged with
//!   their buddies as they become free.
//!
//! Inside a chunk nothing need be merged: two free neighbours *are* a larger block.
//!
//! # Who files a chunk
//!
//! A chunk with free frames must be on a shelf or reserved. A chunk is put *off* when no bit of it is set, and then
//! looked at once more; whoever sets the first bit of a word then looks at the place. Both are sequentially
//! consistent, so at least one of the two sees the other and files the chunk. The same holds for the last frame of a
//! chunk, which makes it a block.

mod bits;
mod chunk;
mod count;
mod shelves;

pub use chunk::Chunk;

use super::{FrameRequest, FrameStatistics, GlobalFrameAllocator};
use crate::sync::SpinLock;
use bits::{WORD_FRAMES, span};
use chunk::{CHUNK_FRAMES, CHUNK_ORDER, CHUNK_WORDS, Given, Place, words_of};
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use shelves::Shelves;
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr};
use vellum_machine::cpu::{self, CpuId, MAX_CPUS};
use vellum_machine::layout::PADDR_LIMIT;

/// The order of the largest block: `1 << MAX_ORDER` frames are 1 GiB.
pub const MAX_ORDER: u32 = 18;

const CHUNK_SIZE: usize = CHUNK_FRAMES * PAGE_SIZE;

/// Why a [`BuddyAllocator`] cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuddyError {
    /// The first address is no multiple of the largest block, so that alignment could not be judged.
    BaseNotAligned {
        /// The address.
        base: Paddr,
    },
    /// The table tells about addresses beyond the greatest physical address.
    TooLarge {
        /// The entries of the table.
        chunks: usize,
    },
}

impl fmt::Display for BuddyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuddyError::BaseNotAligned { base } => write!(f, "{base} is no multiple of the largest block"),
            BuddyError::TooLarge { chunks } => write!(f, "{chunks} chunks reach beyond physical memory"),
        }
    }
}

impl core::error::Error for BuddyError {}

/// The chunk from which one processor takes its frames.
#[derive(Debug)]
#[repr(align(64))]
struct Cache {
    /// The word of the table that has the next frame, or [`Cache::NONE`]. A guess: it changes under the lock, or by
    /// compare-and-swap to another word of the same chunk.
    word: AtomicU32,
}

impl Cache {
    const NONE: u32 = u32::MAX;

    const fn new() -> Cache {
        Cache { word: AtomicU32::new(Cache::NONE) }
    }
}

/// A frame allocator with a chunk per processor in front of a buddy system.
///
/// It needs no memory but its table, and never panics: addresses and counts may be anything.
///
/// # Guarantees
/// - A frame is handed out at most once until it is given back, whatever else is given back meanwhile.
/// - Once everything is given back and [drained](GlobalFrameAllocator::drain), and nobody allocates, every block is
///   as large as it was before.
pub struct BuddyAllocator<'t> {
    base: Paddr,
    table: &'t [Chunk],
    caches: [Cache; MAX_CPUS + 1],
    shelves: SpinLock<Shelves>,
    total: AtomicUsize,
    ignored: AtomicU64,
}

/// How a look for frames behind the caches ended.
enum Refill {
    Taken(usize),
    /// Another thread with the same cache was faster to refill it.
    Retry,
    Exhausted,
}

impl<'t> BuddyAllocator<'t> {
    /// Makes an allocator over the memory from `base`, 2 MiB for each entry of the table, none of it free yet.
    ///
    /// # Errors
    /// - [`BuddyError::BaseNotAligned`] unless `base` is a multiple of 1 GiB,
    /// - [`BuddyError::TooLarge`] when the table reaches beyond the greatest physical address.
    pub fn new(base: Paddr, table: &'t [Chunk]) -> Result<BuddyAllocator<'t>, BuddyError> {
        if !base.0.is_multiple_of(PAGE_SIZE << MAX_ORDER) {
            return Err(BuddyError::BaseNotAligned { base });
        }
        let end = table.len().checked_mul(CHUNK_SIZE).and_then(|len| len.checked_add(base.0));
        if end.is_none_or(|end| end > PADDR_LIMIT) {
            return Err(BuddyError::TooLarge { chunks: table.len() });
        }
        Ok(BuddyAllocator {
            base,
            table,
            caches: [const { Cache::new() }; MAX_CPUS + 1],
            shelves: SpinLock::new(Shelves::new()),
            total: AtomicUsize::new(0),
            ignored: AtomicU64::new(0),
        })
    }

    /// Returns how many entries a table needs to tell about the memory from `base` up to `end`.
    pub const fn table_len(base: Paddr, end: Paddr) -> usize {
        end.0.saturating_sub(base.0).div_ceil(CHUNK_SIZE)
    }

    /// Allocates as processor `cpu` would, `None` being a thread that is no processor.
    ///
    /// Any thread may name any processor; it is only slower to share one.
    #[inline]
    pub fn alloc_as(&self, cpu: Option<CpuId>, request: FrameRequest) -> Option<Paddr> {
        let cache = &self.caches[cpu.map_or(MAX_CPUS, CpuId::index)];
        let frame = if request.is_single() { self.one(cache) } else { self.run(cache, request) };
        frame.map(|frame| Paddr(self.base.0 + (frame << PAGE_SHIFT)))
    }

    /// Takes one frame.
    #[inline]
    fn one(&self, cache: &Cache) -> Option<usize> {
        // Relaxed: a guess; the bit decides.
        let hint = cache.word.load(Ordering::Relaxed) as usize;
        if let Some(chunk) = self.table.get(hint / CHUNK_WORDS)
            && let Some(bit) = chunk.take_one(hint % CHUNK_WORDS)
        {
            return Some(hint * WORD_FRAMES + bit);
        }
        self.one_elsewhere(cache)
    }

    #[cold]
    fn one_elsewhere(&self, cache: &Cache) -> Option<usize> {
        loop {
            let hint = cache.word.load(Ordering::Relaxed);
            if let Some(frame) = self.one_in_reserved(cache, hint) {
                return Some(frame);
            }
            match self.refill(cache, hint) {
                Refill::Taken(frame) => return Some(frame),
                Refill::Retry => cpu::relax(),
                Refill::Exhausted => return None,
            }
        }
    }

    /// Takes one frame from another word of the reserved chunk.
    fn one_in_reserved(&self, cache: &Cache, hint: u32) -> Option<usize> {
        let (index, first) = (hint as usize / CHUNK_WORDS, hint as usize % CHUNK_WORDS);
        let chunk = self.table.get(index)?;
        let mut words = (0..CHUNK_WORDS).map(|step| (first + step) % CHUNK_WORDS);
        words.find_map(|word| {
            let bit = chunk.take_one(word)?;
            let here = index * CHUNK_WORDS + word;
            // Relaxed: a guess. A cache that was drained meanwhile stays so.
            let _ = cache.word.compare_exchange(hint, here as u32, Ordering::Relaxed, Ordering::Relaxed);
            Some(here * WORD_FRAMES + bit)
        })
    }

    /// Reserves another chunk for a cache whose chunk is used up, and takes a frame of it.
    fn refill(&self, cache: &Cache, seen: u32) -> Refill {
        let mut shelves = self.shelves.lock();
        if cache.word.load(Ordering::Relaxed) != seen {
            return Refill::Retry;
        }
        self.release(&mut shelves, cache);
        for attempt in [Self::reserve_and_take, Self::drain_and_take] {
            if let Some(frame) = attempt(self, &mut shelves, cache) {
                return Refill::Taken(frame);
            }
        }
        Refill::Exhausted
    }

    fn reserve_and_take(&self, shelves: &mut Shelves, cache: &Cache) -> Option<usize> {
        while let Some(chunk) = self.pick(shelves) {
            if let Some(start) = self.table[chunk].take_run(1, 1) {
                self.table[chunk].set_place(Place::Reserved);
                let frame = chunk * CHUNK_FRAMES + start;
                cache.word.store((frame / WORD_FRAMES) as u32, Ordering::Relaxed);
                return Some(frame);
            }
            self.file(shelves, chunk);
        }
        None
    }

    fn drain_and_take(&self, shelves: &mut Shelves, cache: &Cache) -> Option<usize> {
        self.caches.iter().for_each(|cache| self.release(shelves, cache));
        self.reserve_and_take(shelves, cache)
    }

    /// Takes the chunk with the smallest runs off its shelf, or one of the smallest block.
    fn pick(&self, shelves: &mut Shelves) -> Option<usize> {
        let partial = (0..CHUNK_ORDER).find_map(|order| shelves.first(Place::Partial(order)));
        if let Some(chunk) = partial {
            shelves.take(self.table, chunk);
            return Some(chunk);
        }
        self.cut_block(shelves, CHUNK_ORDER)
    }

    /// Takes the smallest block of at least this order off its shelf, puts back what is too much, and returns the
    /// first chunk.
    fn cut_block(&self, shelves: &mut Shelves, order: u32) -> Option<usize> {
        let first = |larger| shelves.first(Place::Block(larger)).map(|chunk| (larger, chunk));
        let (mut larger, chunk) = (order..=MAX_ORDER).find_map(first)?;
        shelves.take(self.table, chunk);
        while larger > order {
            larger -= 1;
            shelves.put(self.table, chunk + chunks_of(larger), Place::Block(larger));
        }
        Some(chunk)
    }

    /// Takes several frames, or an aligned one.
    fn run(&self, cache: &Cache, request: FrameRequest) -> Option<usize> {
        let (count, step) = (request.frames(), request.block_frames()?);
        if step > 1 << MAX_ORDER {
            return None;
        }
        if step <= WORD_FRAMES {
            let reserved = cache.word.load(Ordering::Relaxed) as usize / CHUNK_WORDS;
            if let Some(start) = self.table.get(reserved).and_then(|chunk| chunk.take_run(count, step)) {
                return Some(reserved * CHUNK_FRAMES + start);
            }
        }
        let mut shelves = self.shelves.lock();
        self.run_from_shelves(&mut shelves, count, step).or_else(|| {
            self.caches.iter().for_each(|cache| self.release(&mut shelves, cache));
            self.run_from_shelves(&mut shelves, count, step)
        })
    }

    fn run_from_shelves(&self, shelves: &mut Shelves, count: usize, step: usize) -> Option<usize> {
        let order = step.ilog2();
        (order..CHUNK_ORDER)
            .find_map(|bin| self.run_from_bin(shelves, bin, count, step))
            .or_else(|| self.run_from_blocks(shelves, count, order))
            // Bins know the runs of the past, and a count that is no power of two needs no whole block.
            .or_else(|| {
                (0..order.min(CHUNK_ORDER)).find_map(|bin| self.run_from_bin(shelves, bin, count, step))
            })
    }

    fn run_from_bin(&self, shelves: &mut Shelves, bin: u32, count: usize, step: usize) -> Option<usize> {
        if count > CHUNK_FRAMES {
            return None;
        }
        let mut next = shelves.first(Place::Partial(bin));
        while let Some(chunk) = next {
            next = shelves.after(self.table, chunk);
            if !chunk.is_multiple_of(step.div_ceil(CHUNK_FRAMES)) {
                continue;
            }
            let start = self.table[chunk].take_run(count, step.min(CHUNK_FRAMES));
            shelves.take(self.table, chunk);
            self.file(shelves, chunk);
            if let Some(start) = start {
                return Some(chunk * CHUNK_FRAMES + start);
            }
        }
        None
    }

    fn run_from_blocks(&self, shelves: &mut Shelves, count: usize, order: u32) -> Option<usize> {
        let order = order.max(CHUNK_ORDER);
        while let Some(first) = self.cut_block(shelves, order) {
            let taken = self.take_block(first, count);
            (first..first + chunks_of(order)).for_each(|chunk| self.file(shelves, chunk));
            if taken {
                return Some(first * CHUNK_FRAMES);
            }
        }
        None
    }

    /// Takes `count` frames from the start of a chunk on, or none.
    fn take_block(&self, first: usize, count: usize) -> bool {
        for (index, done) in (0..count).step_by(CHUNK_FRAMES).enumerate() {
            if !self.table[first + index].take_words(0, (count - done).min(CHUNK_FRAMES)) {
                self.table[first..first + index].iter().for_each(|chunk| chunk.put_back(0, CHUNK_FRAMES));
                return false;
            }
        }
        true
    }

    /// Ends the reservation of a cache's chunk.
    fn release(&self, shelves: &mut Shelves, cache: &Cache) {
        let hint = cache.word.swap(Cache::NONE, Ordering::Relaxed) as usize;
        let chunk = hint / CHUNK_WORDS;
        if self.table.get(chunk).is_some_and(|chunk| chunk.place() == Place::Reserved) {
            self.file(shelves, chunk);
        }
    }

    /// Puts a chunk that is on no shelf where its free frames say.
    fn file(&self, shelves: &mut Shelves, chunk: usize) {
        let entry = &self.table[chunk];
        loop {
            let view = entry.view();
            if view.is_whole() {
                return self.merge(shelves, chunk);
            }
            let place = view.largest_order().map_or(Place::Off, Place::Partial);
            shelves.put(self.table, chunk, place);
            // Whoever gave a frame back since saw another place; see the module's text.
            let view = entry.view();
            if !view.is_whole() && (place != Place::Off || view.is_empty()) {
                return;
            }
            shelves.take(self.table, chunk);
        }
    }

    /// Puts a chunk that is free as a whole on its shelf, together with the buddies that are free as well.
    fn merge(&self, shelves: &mut Shelves, mut chunk: usize) {
        let mut order = CHUNK_ORDER;
        while order < MAX_ORDER {
            let buddy = chunk ^ chunks_of(order);
            if self.table.get(buddy).is_none_or(|entry| entry.place() != Place::Block(order)) {
                break;
            }
            shelves.take(self.table, buddy);
            self.table[chunk.max(buddy)].set_place(Place::Body);
            chunk = chunk.min(buddy);
            order += 1;
        }
        shelves.put(self.table, chunk, Place::Block(order));
    }

    /// Files a chunk anew of which frames were given back.
    #[cold]
    fn refile(&self, chunk: usize) {
        let mut shelves = self.shelves.lock();
        if let Place::Off | Place::Partial(_) = self.table[chunk].place() {
            shelves.take(self.table, chunk);
            self.file(&mut shelves, chunk);
        }
    }

    /// Gives frames of one word back; returns those that were not allocated.
    #[inline]
    fn give(&self, chunk: usize, word: usize, mask: u64) -> u64 {
        let given = self.table[chunk].give(word, mask);
        if given.is_first() || given.is_full() {
            self.refile_where_stale(chunk, &given);
        }
        mask & !given.fresh
    }

    #[cold]
    fn refile_where_stale(&self, chunk: usize, given: &Given) {
        let entry = &self.table[chunk];
        let stale = match entry.place() {
            Place::Off => true,
            Place::Partial(_) => given.is_full() && entry.view().is_whole(),
            Place::Reserved | Place::Body | Place::Block(_) => false,
        };
        if stale {
            self.refile(chunk);
        }
    }

    /// Returns the frames of the table that a range of addresses covers entirely, as indices.
    fn frames_in(&self, paddr: Paddr, frames: usize) -> Option<core::ops::Range<usize>> {
        let offset = paddr.0.checked_sub(self.base.0)?;
        let start = offset >> PAGE_SHIFT;
        let limit = self.table.len() * CHUNK_FRAMES;
        (offset.is_multiple_of(PAGE_SIZE) && start < limit)
            .then(|| start..start.saturating_add(frames).min(limit))
    }

    fn ignore(&self, frames: u64) {
        if frames > 0 {
            self.ignored.fetch_add(frames, Ordering::Relaxed);
        }
    }

    fn give_range(&self, paddr: Paddr, frames: usize) {
        let Some(range) = self.frames_in(paddr, frames) else { return self.ignore(frames as u64) };
        let mut ignored = (frames - range.len()) as u64;
        for (chunk, start, count) in chunks_in(range) {
            for (word, mask) in words_of(start, count) {
                ignored += u64::from(self.give(chunk, word, mask).count_ones());
            }
        }
        self.ignore(ignored);
    }
}

impl GlobalFrameAllocator for BuddyAllocator<'_> {
    fn alloc(&self, request: FrameRequest) -> Option<Paddr> {
        self.alloc_as(cpu::try_current(), request)
    }

    #[inline]
    fn dealloc(&self, paddr: Paddr, frames: usize) {
        let offset = paddr.0.wrapping_sub(self.base.0);
        let frame = offset >> PAGE_SHIFT;
        if frames != 1 || !offset.is_multiple_of(PAGE_SIZE) || frame / CHUNK_FRAMES >= self.table.len() {
            return self.give_range(paddr, frames);
        }
        let word = frame % CHUNK_FRAMES / WORD_FRAMES;
        if self.give(frame / CHUNK_FRAMES, word, span(frame % WORD_FRAMES, 1)) != 0 {
            self.ignore(1);
        }
    }

    fn add_free(&self, paddr: Paddr, frames: usize) {
        let Some(range) = self.frames_in(paddr, frames) else { return self.ignore(frames as u64) };
        let mut ignored = frames - range.len();
        for (chunk, start, count) in chunks_in(range) {
            let admit = |(word, mask)| self.table[chunk].admit(word, mask).count_ones() as usize;
            let admitted: usize = words_of(start, count).map(admit).sum();
            self.total.fetch_add(admitted, Ordering::Relaxed);
            ignored += count - admitted;
            self.refile(chunk);
        }
        self.ignore(ignored as u64);
    }

    fn drain(&self) {
        let mut shelves = self.shelves.lock();
        self.caches.iter().for_each(|cache| self.release(&mut shelves, cache));
    }

    fn statistics(&self) -> FrameStatistics {
        self.count_all()
    }
}

/// Returns the chunks of a block of this order, at least [`CHUNK_ORDER`].
const fn chunks_of(order: u32) -> usize {
    1 << (order - CHUNK_ORDER)
}

/// Splits a range of frames into a chunk, the first frame in it, and the number of frames in it.
fn chunks_in(range: core::ops::Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        let (chunk, start) = (at / CHUNK_FRAMES, at % CHUNK_FRAMES);
        let count = range.end.saturating_sub(at).min(CHUNK_FRAMES - start);
        at += count;
        (count > 0).then_some((chunk, start, count))
    })
}

#[cfg(test)]
mod tests;
