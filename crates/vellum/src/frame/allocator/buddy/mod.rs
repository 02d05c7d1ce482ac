//! The default allocator: a magazine of frames for each processor, and a buddy system behind them.
//!
//! Single frames, and naturally aligned blocks of up to 2 MiB, are taken from the [`Magazine`] of the processor and
//! given back to it, which costs no locked instruction: the magazine is [the processor's own](CpuLocal). Magazines are
//! filled from the `Pool` and emptied into it several blocks at a time, under the pool's lock. Runs of other lengths up
//! to 2 MiB are kept as they come back, for the next request of the same length. All other requests go to the pool. When it has too little, everything in magazines goes back to it, whosever they are, so that no frame is
//! out of reach and every larger block can form.
//!
//! [`Marks`] and [`Notes`] say what is handed out. What is given back without being handed out is ignored, and counted.

mod magazine;
mod marks;

pub use magazine::Magazine;
pub use marks::{Marks, Notes};

use super::pool::{CHUNK_FRAMES, Chunk, MAX_ORDER, Pool};
use super::{FrameRequest, FrameStatistics, GlobalFrameAllocator};
use crate::sync::{CpuLocal, SpinLock};
use core::fmt;
use core::ops::Range;
use magazine::CACHED_ORDER;
use marks::{AllMarks, MARKED_RUNS, Store};
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr};
use vellum_machine::layout::PADDR_LIMIT;
use vellum_machine::primitive::{AtomicU64, AtomicUsize, Ordering};

/// Bytes that an entry of each table tells about.
const CHUNK_SIZE: usize = CHUNK_FRAMES * PAGE_SIZE;

/// Why a [`BuddyAllocator`] cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuddyError {
    /// The first address is no multiple of the largest block, so that alignment could not be judged.
    BaseNotAligned {
        /// The address.
        base: Paddr,
    },
    /// The tables tell about addresses beyond the greatest physical address.
    TooLarge {
        /// The entries of each table.
        chunks: usize,
    },
    /// The tables do not have as many entries.
    Tables {
        /// The entries of the table of chunks.
        chunks: usize,
        /// The entries of the table of marks.
        marks: usize,
        /// The entries of the table of notes.
        notes: usize,
    },
}

impl fmt::Display for BuddyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuddyError::BaseNotAligned { base } => write!(f, "{base} is no multiple of the largest block"),
            BuddyError::TooLarge { chunks } => write!(f, "{chunks} chunks reach beyond physical memory"),
            BuddyError::Tables { chunks, marks, notes } => {
                write!(f, "{marks} entries of marks and {notes} of notes for {chunks} chunks")
            }
        }
    }
}

impl core::error::Error for BuddyError {}

/// A frame allocator with a magazine per processor in front of a buddy system.
///
/// It needs no memory but what it is made of, and never panics: addresses and counts may be anything.
///
/// # Guarantees
/// - A frame is handed out at most once until it is given back, whatever else is given back meanwhile, unless two
///   threads give the same frame back at the same time.
/// - Once everything is given back and [drained](GlobalFrameAllocator::drain), and nobody allocates, every block is
///   as large as it was before.
pub struct BuddyAllocator<'t> {
    base: Paddr,
    marks: AllMarks<'t>,
    magazines: &'t CpuLocal<Magazine>,
    store: SpinLock<Store<'t>>,
    total: AtomicUsize,
    ignored: AtomicU64,
}

/// What a [`BuddyAllocator`] is made of: tables with an entry for each 2 MiB, and the magazines.
pub struct Parts<'t> {
    /// What the pool knows.
    pub chunks: &'t mut [Chunk],
    /// Which blocks are out.
    pub marks: &'t [Marks],
    /// Which other frames are out.
    pub notes: &'t mut [Notes],
    /// What processors have at hand. No other allocator uses them.
    pub magazines: &'t CpuLocal<Magazine>,
}

impl Parts<'_> {
    /// Bytes that the tables take for each 2 MiB.
    pub const BYTES: usize = size_of::<Chunk>() + size_of::<Marks>() + size_of::<Notes>();
}

impl<'t> BuddyAllocator<'t> {
    /// Makes an allocator over the memory from `base`, 2 MiB for each entry of the tables, none of it free yet.
    ///
    /// # Errors
    /// - [`BuddyError::BaseNotAligned`] unless `base` is a multiple of 1 GiB,
    /// - [`BuddyError::Tables`] unless all tables have as many entries,
    /// - [`BuddyError::TooLarge`] when the tables reach beyond the greatest physical address.
    pub fn new(base: Paddr, parts: Parts<'t>) -> Result<BuddyAllocator<'t>, BuddyError> {
        let (chunks, marks, notes) = (parts.chunks.len(), parts.marks.len(), parts.notes.len());
        if !base.0.is_multiple_of(PAGE_SIZE << MAX_ORDER) {
            return Err(BuddyError::BaseNotAligned { base });
        }
        if chunks != marks || chunks != notes {
            return Err(BuddyError::Tables { chunks, marks, notes });
        }
        let end = chunks.checked_mul(CHUNK_SIZE).and_then(|len| len.checked_add(base.0));
        if end.is_none_or(|end| end > PADDR_LIMIT) {
            return Err(BuddyError::TooLarge { chunks });
        }
        let marks = AllMarks(parts.marks);
        Ok(BuddyAllocator {
            base,
            marks,
            magazines: parts.magazines,
            store: SpinLock::new(Store { pool: Pool::new(parts.chunks), notes: parts.notes, marks }),
            total: AtomicUsize::new(0),
            ignored: AtomicU64::new(0),
        })
    }

    /// Returns how many entries the tables need to tell about the memory from `base` up to `end`.
    pub const fn table_len(base: Paddr, end: Paddr) -> usize {
        end.0.saturating_sub(base.0).div_ceil(CHUNK_SIZE)
    }

    /// Takes a block, up to 2 MiB.
    #[inline]
    fn block(&self, order: u32) -> Option<usize> {
        match self.magazines.with_current(|magazine| magazine.pop(order)) {
            Some(Some(frame)) if self.marks.hand_out(frame, order) => Some(frame),
            _ => self.block_after_refill(order),
        }
    }

    #[cold]
    #[inline(never)]
    fn block_after_refill(&self, order: u32) -> Option<usize> {
        let frame = self.magazines.with_current(|magazine| {
            magazine.refill(&mut self.store.lock().pool, order);
            // A block that two threads gave back at once may be here twice.
            core::iter::from_fn(|| magazine.pop(order)).find(|&frame| self.marks.hand_out(frame, order))
        });
        frame.flatten().or_else(|| self.with_all_frames(|store| store.take_block(order)))
    }

    /// Takes frames from the pool, and if it has too few, once more when it has those of all magazines.
    fn with_all_frames(&self, take: impl Fn(&mut Store<'_>) -> Option<usize>) -> Option<usize> {
        let first = take(&mut self.store.lock());
        first.or_else(|| {
            self.drain();
            take(&mut self.store.lock())
        })
    }

    #[inline(never)]
    fn several(&self, request: FrameRequest) -> Option<usize> {
        let (count, step) = (request.frames(), request.block_frames()?);
        if count == step && step <= 1 << CACHED_ORDER {
            self.block(step.trailing_zeros())
        } else if MARKED_RUNS.contains(&count) {
            self.marked_run(count, step)
        } else {
            self.with_all_frames(|store| store.take_run(count, step))
        }
    }

    /// Takes a short run: one that came back with the same length, where there is one.
    fn marked_run(&self, count: usize, step: usize) -> Option<usize> {
        match self.magazines.with_current(|magazine| magazine.pop_run(count, step)) {
            Some(Some(start)) if self.marks.hand_out_run(start, count) => Some(start),
            _ => self.with_all_frames(|store| store.take_marked_run(count, step)),
        }
    }

    /// Gives a short run back, if this very run is out; says whether it was.
    fn give_marked_run(&self, start: usize, count: usize) -> bool {
        let was_out = self.marks.take_back_run(start, count);
        if was_out && self.magazines.with_current(|magazine| magazine.push_run(start, count)) != Some(true) {
            self.give_after_flush(start, count, Magazine::make_room_for_runs, |magazine| {
                magazine.push_run(start, count)
            });
        }
        was_out
    }

    /// Gives a block back, up to 2 MiB, if this very block is out; says whether it was.
    #[inline]
    fn give_block(&self, frame: usize, order: u32) -> bool {
        let was_out = self.marks.take_back(frame, order);
        if was_out && self.magazines.with_current(|magazine| magazine.push(frame, order)) != Some(true) {
            let make_room = |magazine: &mut Magazine, pool: &mut Pool<'_>| magazine.make_room(pool, order);
            self.give_after_flush(frame, 1 << order, make_room, |magazine| magazine.push(frame, order));
        }
        was_out
    }

    /// Gives frames back for which there was no room in the magazine: to it, once there is room, or to the pool.
    #[cold]
    #[inline(never)]
    fn give_after_flush(
        &self,
        start: usize,
        count: usize,
        make_room: impl FnOnce(&mut Magazine, &mut Pool<'_>) -> usize,
        push: impl FnOnce(&mut Magazine) -> bool,
    ) {
        let put = self.magazines.with_current(|magazine| {
            self.ignore(make_room(magazine, &mut self.store.lock().pool));
            push(magazine)
        });
        if put != Some(true) {
            self.ignore(self.store.lock().pool.give(start, count));
        }
    }

    #[inline(never)]
    fn give_several(&self, paddr: Paddr, frames: usize) {
        let range = self.frames_in(paddr, frames);
        let all = range.len() == frames;
        let block = all && frames.is_power_of_two() && frames <= 1 << CACHED_ORDER;
        if block && self.give_block(range.start, frames.trailing_zeros())
            || all && MARKED_RUNS.contains(&frames) && self.give_marked_run(range.start, frames)
        {
            return;
        }
        let freed = self.store.lock().give(range);
        self.ignore(frames - freed);
    }

    /// Returns the frames of the tables that a range of addresses covers entirely, as indices.
    fn frames_in(&self, paddr: Paddr, frames: usize) -> Range<usize> {
        let limit = self.marks.0.len() * CHUNK_FRAMES;
        match paddr.0.checked_sub(self.base.0) {
            Some(offset) if offset.is_multiple_of(PAGE_SIZE) && offset >> PAGE_SHIFT < limit => {
                let start = offset >> PAGE_SHIFT;
                start..start.saturating_add(frames).min(limit)
            }
            _ => 0..0,
        }
    }

    /// Counts frames that were given back without being out.
    #[cold]
    fn ignore(&self, frames: usize) {
        if frames > 0 {
            self.ignored.fetch_add(frames as u64, Ordering::Relaxed);
        }
    }
}

impl GlobalFrameAllocator for BuddyAllocator<'_> {
    #[inline]
    fn alloc(&self, request: FrameRequest) -> Option<Paddr> {
        let frame = if request.is_single() { self.block(0) } else { self.several(request) };
        frame.map(|frame| Paddr(self.base.0 + (frame << PAGE_SHIFT)))
    }

    #[inline]
    fn dealloc(&self, paddr: Paddr, frames: usize) {
        let offset = paddr.0.wrapping_sub(self.base.0);
        let aligned = offset.is_multiple_of(PAGE_SIZE);
        if !(frames == 1 && aligned && self.give_block(offset >> PAGE_SHIFT, 0)) {
            self.give_several(paddr, frames);
        }
    }

    fn add_free(&self, paddr: Paddr, frames: usize) {
        let added = self.store.lock().add(self.frames_in(paddr, frames));
        self.total.fetch_add(added, Ordering::Relaxed);
        self.ignore(frames - added);
    }

    fn drain(&self) {
        self.magazines.visit_all(|magazine| {
            if !magazine.is_empty() {
                self.ignore(magazine.flush(&mut self.store.lock().pool));
            }
        });
    }

    fn statistics(&self) -> FrameStatistics {
        let mut by_order = [0; MAX_ORDER as usize + 1];
        self.magazines.visit_all(|magazine| {
            by_order.iter_mut().zip(magazine.counts()).for_each(|(sum, blocks)| *sum += blocks);
        });
        let cached = by_order.iter().enumerate().map(|(order, blocks)| blocks << order).sum();
        let mut statistics = FrameStatistics {
            total: self.total.load(Ordering::Relaxed),
            free: cached,
            cached,
            by_order,
            ignored: self.ignored.load(Ordering::Relaxed),
        };
        self.store.lock().pool.count(&mut statistics);
        statistics
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
