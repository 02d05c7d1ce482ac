//! Readers that take no lock, and whoever waits until they are gone.
#![expect(unsafe_code, reason = "a watched cell is read and written through its pointer")]
use loom::sync::Arc;
use loom::thread;
use vellum_machine::primitive::{AtomicBool, Ordering, UnsafeCell, explore, take_seat};
use vellum_machine::readers::{ReaderCounts, ReaderSeat};
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

/// Something that is found through a link, and taken back once no reader is left.
struct Shared {
    counts: ReaderCounts,
    link: AtomicBool,
    node: UnsafeCell<u64>,
}

// SAFETY: what may be done with the node, loom judges.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Arc<Shared> {
        let shared =
            Shared { counts: ReaderCounts::new().0, link: AtomicBool::new(true), node: UnsafeCell::new(7) };
        // The first look at each word, before there are threads.
        assert_eq!([0, 1].map(|cpu| shared.counts.observe(cpu, ghost())), [0, 0]);
        assert!(shared.link.load(Ordering::Relaxed));
        assert_eq!(shared.read(), 7);
        Arc::new(shared)
    }

    fn read(&self) -> u64 {
        // SAFETY: a reader counts itself before it follows the link, which loom judges.
        self.node.with(|node| unsafe { *node })
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        let seat = ReaderSeat::take();
        let mut current = self.counts.peek(&seat, ghost());
        while let Err(now) = self.counts.exchange(&seat, ghost(), current, change(current)) {
            current = now;
        }
    }

    /// What a cursor does: it counts itself, follows links, and counts itself out.
    fn visit(&self, cpu: u32) {
        take_seat(cpu);
        self.change(|count| count + 1);
        self.counts.announce();
        // As page-table words are read.
        if self.link.load(Ordering::Acquire) {
            assert_eq!(self.read(), 7);
        }
        self.change(|count| count - 1);
    }

    /// What an unmap does: it unlinks, looks for readers, and takes back what none of them can have.
    fn retire(&self, cpus: core::ops::Range<usize>) {
        // As page-table words are swapped.
        self.link.swap(false, Ordering::AcqRel);
        self.counts.synchronize();
        if cpus.into_iter().all(|cpu| self.counts.observe(cpu, ghost()) == 0) {
            // SAFETY: no reader can have the node, which loom judges.
            self.node.with_mut(|node| unsafe { *node = 8 });
        }
    }
}

#[test]
fn nothing_is_taken_back_from_under_a_reader() {
    explore(None, || {
        let shared = Shared::new();
        let reader = {
            let shared = shared.clone();
            thread::spawn(move || shared.visit(0))
        };
        shared.retire(0..1);
        reader.join().unwrap();
    });
}

#[test]
fn readers_of_two_processors_are_all_waited_for() {
    explore(None, || {
        let shared = Shared::new();
        let readers = [0, 1].map(|cpu| {
            let shared = shared.clone();
            thread::spawn(move || shared.visit(cpu))
        });
        shared.retire(0..2);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
