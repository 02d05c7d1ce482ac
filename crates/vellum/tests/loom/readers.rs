//! Readers that take no lock, and whoever waits until they are gone.
#![expect(unsafe_code, reason = "a watched cell is read and written through its pointer")]
use loom::sync::Arc;
use loom::thread;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::primitive::{AtomicBool, Ordering, UnsafeCell, explore, take_seat};
use vellum_machine::ptword::{self, X86_64};
use vellum_machine::readers::{LEAVINGS, ReaderCounts, ReaderSeat};
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

/// Counts a reader on the processor that the thread is.
fn enter(counts: &ReaderCounts) {
    assert!(counts.enter(&ReaderSeat::take(), ghost()));
}

/// Counts it out.
fn leave(counts: &ReaderCounts) {
    counts.leave(&ReaderSeat::take(), ghost());
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

    /// What a cursor does: it counts itself, follows links, and counts itself out.
    fn visit(&self, cpu: u32) {
        take_seat(cpu);
        enter(&self.counts);
        self.counts.announce();
        // As page-table words are read.
        if self.link.load(Ordering::Acquire) {
            assert_eq!(self.read(), 7);
        }
        leave(&self.counts);
    }

    /// What an unmap does: it unlinks, looks for readers, and takes back what none of them can have.
    fn retire(&self, cpus: core::ops::Range<usize>) {
        // As page-table words are swapped.
        self.link.swap(false, Ordering::AcqRel);
        self.counts.synchronize();
        if cpus.into_iter().all(|cpu| self.counts.observe(cpu, ghost()) % LEAVINGS == 0) {
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

/// A root that links node 1, or node 2 in its place; whoever retires node 1 uses its frame for node 2 again.
struct Tree {
    counts: ReaderCounts,
    /// What a node's metadata are.
    meta: UnsafeCell<u64>,
}

// SAFETY: what may be done with the metadata, loom judges.
unsafe impl Sync for Tree {}

const ROOT: Paddr = Paddr(0);
const NODE: Paddr = Paddr(PAGE_SIZE);

impl Tree {
    fn new() -> Arc<Tree> {
        let tree = Tree { counts: ReaderCounts::new().0, meta: UnsafeCell::new(1) };
        // The first look at each word, before there are threads.
        assert_eq!([0, 1].map(|cpu| tree.counts.observe(cpu, ghost())), [0, 0]);
        tree.meta.with(|_| ());
        // SAFETY: nobody else has the frames.
        unsafe {
            ptword::store_unreachable(NODE, 0, 1, ghost());
            ptword::store_unreachable(ROOT, 0, NODE.0 as u64 | 1, ghost());
        }
        Arc::new(tree)
    }

    /// `World::enter`, then `node::read_link` and what is done in the node without a lock, then `World::leave`.
    fn visit(&self, cpu: u32) {
        take_seat(cpu);
        enter(&self.counts);
        self.counts.announce();
        // SAFETY: the root stays; there is no walker.
        if unsafe { ptword::load::<X86_64>(ROOT, 0, ghost()) } & 1 != 0 {
            // SAFETY: readers keep the node.
            let word = unsafe { ptword::load::<X86_64>(NODE, 0, ghost()) };
            // SAFETY: as above, which loom judges.
            let meta = self.meta.with(|meta| unsafe { *meta });
            assert_eq!(word, meta, "the words and the metadata are those of one node");
        }
        leave(&self.counts);
    }

    /// `life::unlink_child`, then `RetiredBatch::try_free` so often, then the frame is another node that is linked.
    fn replace(&self, cpu: usize, looks: usize) {
        // SAFETY: the root is locked; there is no walker.
        let _ = unsafe { ptword::swap::<X86_64>(ROOT, 0, 0, ghost()) };
        self.counts.synchronize();
        let mut marked = u64::MAX;
        for _ in 0..looks {
            let count = self.counts.observe(cpu, ghost());
            if count % LEAVINGS == 0 || count / LEAVINGS > marked {
                // SAFETY: no reader can have the node, which loom judges.
                self.meta.with_mut(|meta| unsafe { *meta = 2 });
                // SAFETY: the frame is nobody's; there is no walker.
                unsafe {
                    ptword::store_unreachable(NODE, 0, 2, ghost());
                    let linked = ptword::compare_exchange::<X86_64>(ROOT, 0, 0, NODE.0 as u64 | 1, ghost());
                    assert_eq!(linked, Ok(0));
                }
                return;
            }
            marked = count / LEAVINGS;
            thread::yield_now();
        }
    }
}

#[test]
fn a_frame_is_another_node_when_its_readers_are_gone() {
    explore(None, || {
        let tree = Tree::new();
        let reader = {
            let tree = tree.clone();
            thread::spawn(move || tree.visit(0))
        };
        tree.replace(0, 1);
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_that_left_since_the_last_look_is_not_waited_for() {
    explore(Some(3), || {
        let tree = Tree::new();
        let reader = {
            let tree = tree.clone();
            thread::spawn(move || (0..2).for_each(|_| tree.visit(0)))
        };
        tree.replace(0, 2);
        reader.join().unwrap();
    });
}
