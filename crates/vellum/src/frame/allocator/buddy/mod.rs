//! The default allocator: a magazine of frames for each processor, and a buddy system behind them.
//!
//! One frame is taken from the [`Magazine`] of the processor and given back to it, which costs no locked instruction:
//! the magazine is [the processor's own](CpuLocal). Magazines are filled from the [`Pool`] and emptied into it a batch
//! at a time, under the pool's lock. Requests for several frames go to the pool. When the pool has too little,
//! everything in magazines goes back to it, whosever they are, so that no frame is out of reach and every larger block
//! can form.
//!
//! A mark for each frame says whether it is handed out. What is given back without being handed out is ignored, and
//! counted.

mod magazine;
mod marks;

pub use magazine::Magazine;
pub use marks::Marks;

use super::pool::{CHUNK_FRAMES, Chunk, MAX_ORDER, Pool};
use super::{FrameRequest, FrameStatistics, GlobalFrameAllocator};
use crate::sync::{CpuLocal, SpinLock};
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use magazine::BATCH;
use marks::{State, turn};
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr};
use vellum_machine::layout::PADDR_LIMIT;

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
    /// There are not as many marks as chunks.
    Marks {
        /// The entries of the table of chunks.
        chunks: usize,
        /// The entries of the table of marks.
        marks: usize,
    },
}

impl fmt::Display for BuddyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuddyError::BaseNotAligned { base } => write!(f, "{base} is no multiple of the largest block"),
            BuddyError::TooLarge { chunks } => write!(f, "{chunks} chunks reach beyond physical memory"),
            BuddyError::Marks { chunks, marks } => write!(f, "{marks} entries of marks for {chunks} chunks"),
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
    marks: &'t [Marks],
    magazines: &'t CpuLocal<Magazine>,
    pool: SpinLock<Pool<'t>>,
    total: AtomicUsize,
    ignored: AtomicU64,
}

impl<'t> BuddyAllocator<'t> {
    /// Makes an allocator over the memory from `base`, 2 MiB for each entry of the tables, none of it free yet.
    ///
    /// # Errors
    /// - [`BuddyError::BaseNotAligned`] unless `base` is a multiple of 1 GiB,
    /// - [`BuddyError::Marks`] unless both tables have as many entries,
    /// - [`BuddyError::TooLarge`] when the tables reach beyond the greatest physical address.
    pub fn new(
        base: Paddr,
        chunks: &'t mut [Chunk],
        marks: &'t [Marks],
        magazines: &'t CpuLocal<Magazine>,
    ) -> Result<BuddyAllocator<'t>, BuddyError> {
        if !base.0.is_multiple_of(PAGE_SIZE << MAX_ORDER) {
            return Err(BuddyError::BaseNotAligned { base });
        }
        if chunks.len() != marks.len() {
            return Err(BuddyError::Marks { chunks: chunks.len(), marks: marks.len() });
        }
        let end = chunks.len().checked_mul(CHUNK_SIZE).and_then(|len| len.checked_add(base.0));
        if end.is_none_or(|end| end > PADDR_LIMIT) {
            return Err(BuddyError::TooLarge { chunks: chunks.len() });
        }
        Ok(BuddyAllocator {
            base,
            marks,
            magazines,
            pool: SpinLock::new(Pool::new(chunks)),
            total: AtomicUsize::new(0),
            ignored: AtomicU64::new(0),
        })
    }

    /// Returns how many entries the tables need to tell about the memory from `base` up to `end`.
    pub const fn table_len(base: Paddr, end: Paddr) -> usize {
        end.0.saturating_sub(base.0).div_ceil(CHUNK_SIZE)
    }

    /// Takes one frame.
    #[inline]
    fn one(&self) -> Option<usize> {
        match self.magazines.with_current(Magazine::pop) {
            Some(Some(frame)) if turn(self.marks, frame, State::Free, State::Out) => Some(frame),
            _ => self.one_after_refill(),
        }
    }

    #[cold]
    #[inline(never)]
    fn one_after_refill(&self) -> Option<usize> {
        let frame = self.magazines.with_current(|magazine| {
            if magazine.len() == 0 {
                magazine.refill(&mut self.pool.lock());
            }
            // A frame that two threads gave back at once may be here twice.
            core::iter::from_fn(|| magazine.pop())
                .find(|&frame| turn(self.marks, frame, State::Free, State::Out))
        });
        frame.flatten().or_else(|| self.run(1, 1))
    }

    /// Takes several frames, or an aligned one.
    #[cold]
    #[inline(never)]
    fn run(&self, count: usize, step: usize) -> Option<usize> {
        let take = || self.pool.lock().take(count, step);
        let start = take().or_else(|| {
            self.drain();
            take()
        })?;
        for frame in start..start + count {
            turn(self.marks, frame, State::Free, State::Out);
        }
        Some(start)
    }

    #[cold]
    fn several(&self, request: FrameRequest) -> Option<usize> {
        self.run(request.frames(), request.block_frames()?)
    }

    /// Gives one frame back, if it is out.
    #[inline]
    fn give_one(&self, frame: usize) {
        if !turn(self.marks, frame, State::Out, State::Free) {
            return self.ignore(1);
        }
        if self.magazines.with_current(|magazine| magazine.push(frame)) != Some(true) {
            self.give_after_flush(frame);
        }
    }

    #[cold]
    #[inline(never)]
    fn give_after_flush(&self, frame: usize) {
        let put = self.magazines.with_current(|magazine| {
            self.flush(magazine, BATCH);
            magazine.push(frame)
        });
        if put != Some(true) && !self.pool.lock().give_one(frame) {
            self.ignore(1);
        }
    }

    /// Moves the oldest frames of a magazine to the pool.
    fn flush(&self, magazine: &mut Magazine, count: usize) {
        let known = magazine.flush(&mut self.pool.lock(), count);
        self.ignore(known);
    }

    /// Makes those frames free whose mark is `from`, and ignores the others; returns how many it made free.
    #[cold]
    fn free_those(&self, paddr: Paddr, frames: usize, from: State) -> usize {
        let range = self.frames_in(paddr, frames);
        let mut pool = self.pool.lock();
        let mut freed = 0;
        let mut start = range.start;
        for frame in range.clone() {
            if turn(self.marks, frame, from, State::Free) {
                freed += 1;
            } else {
                self.ignore(pool.give(start, frame - start));
                start = frame + 1;
            }
        }
        self.ignore(pool.give(start, range.end - start) + frames - freed);
        freed
    }

    /// Returns the frames of the tables that a range of addresses covers entirely, as indices.
    fn frames_in(&self, paddr: Paddr, frames: usize) -> Range<usize> {
        let limit = self.marks.len() * CHUNK_FRAMES;
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
        let frame = if request.is_single() { self.one() } else { self.several(request) };
        frame.map(|frame| Paddr(self.base.0 + (frame << PAGE_SHIFT)))
    }

    #[inline]
    fn dealloc(&self, paddr: Paddr, frames: usize) {
        let offset = paddr.0.wrapping_sub(self.base.0);
        if frames == 1 && offset.is_multiple_of(PAGE_SIZE) {
            self.give_one(offset >> PAGE_SHIFT);
        } else {
            self.free_those(paddr, frames, State::Out);
        }
    }

    fn add_free(&self, paddr: Paddr, frames: usize) {
        let added = self.free_those(paddr, frames, State::Unknown);
        self.total.fetch_add(added, Ordering::Relaxed);
    }

    fn drain(&self) {
        self.magazines.visit_all(|magazine| {
            if magazine.len() > 0 {
                self.flush(magazine, magazine.len());
            }
        });
    }

    fn statistics(&self) -> FrameStatistics {
        let mut cached = 0;
        self.magazines.visit_all(|magazine| cached += magazine.len());
        let mut statistics = FrameStatistics {
            total: self.total.load(Ordering::Relaxed),
            free: cached,
            cached,
            by_order: [0; MAX_ORDER as usize + 1],
            ignored: self.ignored.load(Ordering::Relaxed),
        };
        statistics.by_order[0] = cached;
        self.pool.lock().count(&mut statistics);
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
