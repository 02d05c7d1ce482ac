//! What is to be flushed.
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Vaddr};
use vellum_machine::tlb;

/// The most pages that are flushed one by one; more are flushed by forgetting every translation.
pub const FOLD_LIMIT: usize = 32;

/// Which translations are to be forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlbFlushOp {
    /// That of the page at this address.
    Addr(Vaddr),
    /// Those of all pages that have an address in the range; an empty or reversed range has none.
    Range(Range<Vaddr>),
    /// Every one.
    All,
}

/// At most [`FOLD_LIMIT`] adjacent pages, in one word: the first address, and their number in its low bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Run(u64);

impl Run {
    fn new(start: usize, pages: usize) -> Run {
        Run((start & !(PAGE_SIZE - 1) | pages) as u64)
    }

    fn start(self) -> usize {
        self.0 as usize & !(PAGE_SIZE - 1)
    }

    fn pages(self) -> usize {
        self.0 as usize & (PAGE_SIZE - 1)
    }

    /// Does not overflow: a run of addresses that would wrap is never made.
    fn end(self) -> usize {
        self.start() + self.pages() * PAGE_SIZE
    }

    fn flush(self) {
        match self.pages() {
            1 => tlb::flush_addr(Vaddr(self.start())),
            _ => tlb::flush_range(Vaddr(self.start())..Vaddr(self.end())),
        }
    }
}

/// Operations gathered, folded into "all" beyond [`FOLD_LIMIT`] pages.
pub(super) struct Batch {
    runs: [Run; FOLD_LIMIT],
    len: usize,
    /// Above the limit: everything.
    pages: usize,
}

const EVERYTHING: usize = FOLD_LIMIT + 1;

impl Batch {
    pub(super) const fn new() -> Batch {
        Batch { runs: [Run(0); FOLD_LIMIT], len: 0, pages: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages == 0
    }

    pub(super) fn is_everything(&self) -> bool {
        self.pages > FOLD_LIMIT
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.pages = 0;
    }

    pub(super) fn add(&mut self, op: &TlbFlushOp) {
        match op {
            TlbFlushOp::Addr(va) => self.add_pages(va.0 >> PAGE_SHIFT, 1),
            TlbFlushOp::Range(range) if range.start < range.end => {
                let first = range.start.0 >> PAGE_SHIFT;
                let last = (range.end.0 - 1) >> PAGE_SHIFT;
                self.add_pages(first, last - first + 1);
            }
            TlbFlushOp::Range(_) => {}
            TlbFlushOp::All => self.pages = EVERYTHING,
        }
    }

    fn add_pages(&mut self, first: usize, pages: usize) {
        let top_page = first + pages > usize::MAX >> PAGE_SHIFT;
        if self.is_everything() || pages > FOLD_LIMIT - self.pages || top_page {
            self.pages = EVERYTHING;
            return;
        }
        self.pages += pages;
        let start = first << PAGE_SHIFT;
        if let Some(last) = self.runs[..self.len].last_mut()
            && last.end() == start
        {
            *last = Run::new(last.start(), last.pages() + pages);
            return;
        }
        // Every run has a page of its own, so there are never more than FOLD_LIMIT.
        self.runs[self.len] = Run::new(start, pages);
        self.len += 1;
    }

    /// Flushes on the calling processor.
    pub(super) fn flush(&self) {
        if self.is_everything() {
            tlb::flush_all();
        } else {
            self.runs[..self.len].iter().for_each(|run| run.flush());
        }
    }
}

/// A batch that processors read while its writer waits for them.
pub(super) struct SharedBatch {
    runs: [AtomicU64; FOLD_LIMIT],
    /// Above the limit: everything.
    len: AtomicU64,
}

impl SharedBatch {
    pub(super) const fn new() -> SharedBatch {
        SharedBatch { runs: [const { AtomicU64::new(0) }; FOLD_LIMIT], len: AtomicU64::new(0) }
    }

    // Relaxed, here and in `flush`: the call that asks the readers comes between, and orders both.
    pub(super) fn store(&self, batch: &Batch) {
        let len = if batch.is_everything() { EVERYTHING } else { batch.len };
        for (shared, run) in self.runs.iter().zip(&batch.runs[..batch.len]) {
            shared.store(run.0, Ordering::Relaxed);
        }
        self.len.store(len as u64, Ordering::Relaxed);
    }

    /// Flushes on the calling processor.
    pub(super) fn flush(&self) {
        let len = self.len.load(Ordering::Relaxed) as usize;
        match self.runs.get(..len) {
            Some(runs) => runs.iter().for_each(|run| Run(run.load(Ordering::Relaxed)).flush()),
            None => tlb::flush_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(ops: &[TlbFlushOp]) -> Option<alloc::vec::Vec<(usize, usize)>> {
        let mut batch = Batch::new();
        ops.iter().for_each(|op| batch.add(op));
        (!batch.is_everything())
            .then(|| batch.runs[..batch.len].iter().map(|run| (run.start(), run.pages())).collect())
    }

    #[test]
    fn adjacent_pages_become_one_run() {
        let ops = [0x1000, 0x2abc, 0x3000, 0x9000].map(|va| TlbFlushOp::Addr(Vaddr(va)));
        assert_eq!(runs(&ops), Some([(0x1000, 3), (0x9000, 1)].into()));
    }

    #[test]
    fn ranges_cover_every_page_they_touch() {
        let range = |s, e| TlbFlushOp::Range(Vaddr(s)..Vaddr(e));
        assert_eq!(runs(&[range(0x1fff, 0x2001)]), Some([(0x1000, 2)].into()));
        assert_eq!(runs(&[range(0x2000, 0x2000), range(0x3000, 0x1000)]), Some([].into()));
        assert_eq!(runs(&[range(0, FOLD_LIMIT * PAGE_SIZE)]), Some([(0, FOLD_LIMIT)].into()));
        assert_eq!(runs(&[range(0, FOLD_LIMIT * PAGE_SIZE + 1)]), None);
        assert_eq!(runs(&[range(0, usize::MAX)]), None);
    }

    #[test]
    fn the_last_page_of_all_does_not_wrap() {
        assert_eq!(runs(&[TlbFlushOp::Addr(Vaddr(usize::MAX))]), None);
    }

    #[test]
    fn many_fold_into_all() {
        let at = |n: usize| TlbFlushOp::Addr(Vaddr(n * 2 * PAGE_SIZE));
        let ops: alloc::vec::Vec<_> = (0..FOLD_LIMIT).map(at).collect();
        assert_eq!(runs(&ops).map(|runs| runs.len()), Some(FOLD_LIMIT));
        let ops: alloc::vec::Vec<_> = (0..=FOLD_LIMIT).map(at).collect();
        assert_eq!(runs(&ops), None);
        assert_eq!(runs(&[TlbFlushOp::All, at(1)]), None);
    }
}
