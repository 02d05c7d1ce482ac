//! Nodes of page tables: their locks, their links, and the mark of those that were unlinked.
//!
//! The steps are those of `page_table`'s `node.rs`, `life.rs` and `way.rs`, on the machine's own flags and page-table
//! words, so that the orderings are the real ones; what stands around the steps there is proof. What a lock guards is
//! ghost there: here it is a watched cell.
#![expect(unsafe_code, reason = "a watched cell is read and written through its pointer")]
use loom::sync::Arc;
use loom::thread;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::atomic::Flag;
use vellum_machine::primitive::{UnsafeCell, explore};
use vellum_machine::ptword::{self, X86_64};
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

/// A node: the metadata of its frame, and what its lock guards.
struct Node {
    lock: Flag,
    stray: Flag,
    guarded: UnsafeCell<u64>,
}

// SAFETY: what may be done with the cell, loom judges.
unsafe impl Sync for Node {}

/// The root, and two nodes that its entry 0 can link, the one or the other. A node's frame has its number.
struct Tree([Node; 3]);

const ROOT: usize = 0;
/// The entry by which a new node differs from a frame of zeros.
const MARKED: usize = 1;

fn frame(node: usize) -> Paddr {
    Paddr(node * PAGE_SIZE)
}

impl Tree {
    /// A root that links nothing, with nodes that are new: locked, as who makes a node has it.
    fn new() -> Arc<Tree> {
        let node = |locked| Node {
            lock: Flag::new(locked).0,
            stray: Flag::new(false).0,
            guarded: UnsafeCell::new(0),
        };
        let tree = Tree([node(false), node(true), node(true)]);
        // The first look at each word, before there are threads.
        for (number, node) in tree.0.iter().enumerate() {
            assert_eq!(node.lock.load_relaxed(ghost()), number != ROOT);
            assert!(!node.stray.load_relaxed(ghost()));
            assert_eq!([0, 1].map(|entry| load(number, entry)), [0, 0]);
            node.guarded.with(|_| ());
        }
        Arc::new(tree)
    }

    /// The same, with node 1 linked.
    fn with_child() -> Arc<Tree> {
        let tree = Tree::new();
        assert!(tree.lock(ROOT));
        tree.make_child(1);
        tree.unlock(ROOT);
        tree.unlock(1);
        tree
    }

    /// `node::lock`: says whether the node was locked; it was not, if it was unlinked.
    fn lock(&self, node: usize) -> bool {
        let Node { lock, stray, .. } = &self.0[node];
        loop {
            if lock.cas_acquire(ghost(), false, true).is_ok() {
                return true;
            }
            if stray.load_relaxed(ghost()) {
                return false;
            }
            thread::yield_now();
        }
    }

    /// `node::unlock`.
    fn unlock(&self, node: usize) {
        self.0[node].lock.store_release(ghost(), false);
    }

    /// Uses what the lock guards.
    fn edit(&self, node: usize) {
        // SAFETY: the callers have locked the node, which loom judges.
        self.0[node].guarded.with_mut(|guarded| unsafe { *guarded += 1 });
    }

    /// `way::make_child`: the root is locked, and links nothing.
    fn make_child(&self, node: usize) {
        self.edit(node);
        // SAFETY: the frame is the new node's alone.
        unsafe { ptword::store_unreachable(frame(node), MARKED, node as u64, ghost()) };
        let link = frame(node).0 as u64 | 1;
        // SAFETY: the root is locked; there is no walker.
        let linked = unsafe { ptword::compare_exchange::<X86_64>(frame(ROOT), 0, 0, link, ghost()) };
        assert_eq!(linked, Ok(0));
    }

    /// `life::unlink_child`: both are locked, and the child stays so.
    fn unlink_child(&self, node: usize) {
        // SAFETY: the root is locked; there is no walker.
        let link = unsafe { ptword::swap::<X86_64>(frame(ROOT), 0, 0, ghost()) };
        assert_eq!(link, frame(node).0 as u64 | 1);
        self.0[node].stray.store_relaxed(ghost(), true);
    }

    /// What a cursor does that locks the child, or makes it: returns which it was.
    fn visit(&self, new: usize) -> usize {
        loop {
            if let Some(node) = child() {
                assert_eq!(load(node, MARKED), node as u64, "a linked node has its words");
                if !self.lock(node) {
                    // The mark says that the link is going: it is seen to be gone in the end.
                    thread::yield_now();
                    continue;
                }
                assert_eq!(child(), Some(node), "who locked a node has one that is linked");
                self.edit(node);
                self.unlock(node);
                return node;
            }
            assert!(self.lock(ROOT));
            if child().is_some() {
                self.unlock(ROOT);
                continue;
            }
            self.make_child(new);
            self.unlock(ROOT);
            self.edit(new);
            self.unlock(new);
            return new;
        }
    }

    /// What a cursor over all does: it takes the child out, if there is one, and goes on with it.
    fn take(&self) -> Option<usize> {
        assert!(self.lock(ROOT));
        let taken = child();
        if let Some(node) = taken {
            assert!(self.lock(node), "nobody unlinks the child of a locked node");
            self.edit(node);
            self.unlink_child(node);
        }
        self.unlock(ROOT);
        if let Some(node) = taken {
            // What was mapped in it is given back when the translation caches have forgotten it.
            self.edit(node);
        }
        taken
    }
}

fn load(node: usize, entry: usize) -> u64 {
    // SAFETY: readers keep the node; there is no walker.
    unsafe { ptword::load::<X86_64>(frame(node), entry, ghost()) }
}

/// `node::read_link`: the node that entry 0 of the root links.
fn child() -> Option<usize> {
    let link = load(ROOT, 0);
    (link & 1 != 0).then_some(link as usize / PAGE_SIZE)
}

/// Starts a thread that does something with the tree.
fn spawn<T: 'static>(tree: &Arc<Tree>, work: impl FnOnce(&Tree) -> T + 'static) -> thread::JoinHandle<T> {
    let tree = tree.clone();
    thread::spawn(move || work(&tree))
}

#[test]
fn a_node_has_one_holder() {
    explore(None, || {
        let tree = Tree::with_child();
        let other = spawn(&tree, |tree| tree.visit(2));
        assert_eq!((tree.visit(2), other.join().unwrap()), (1, 1));
        assert!(tree.lock(1));
        // SAFETY: it is locked, which loom judges.
        assert_eq!(tree.0[1].guarded.with(|guarded| unsafe { *guarded }), 3);
    });
}

#[test]
fn a_new_node_is_found_with_its_words() {
    explore(None, || {
        let tree = Tree::new();
        let other = spawn(&tree, |tree| tree.visit(1));
        let mine = tree.visit(2);
        assert_eq!(mine, other.join().unwrap(), "both have the node that was first");
    });
}

#[test]
fn nobody_locks_a_node_that_was_unlinked() {
    explore(None, || {
        let tree = Tree::with_child();
        let visitor = spawn(&tree, |tree| tree.visit(2));
        assert_eq!(tree.take(), Some(1));
        assert!([1, 2].contains(&visitor.join().unwrap()));
    });
}

#[test]
fn a_node_is_made_where_one_was_unlinked() {
    explore(Some(3), || {
        let tree = Tree::with_child();
        let visitor = spawn(&tree, |tree| tree.visit(2));
        assert_eq!(tree.take(), Some(1));
        assert_eq!(tree.visit(2), 2);
        assert!([1, 2].contains(&visitor.join().unwrap()));
        assert_eq!(child(), Some(2));
    });
}
