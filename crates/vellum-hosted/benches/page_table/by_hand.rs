//! Loops that do what must be done, and no more.
#![allow(unsafe_code, reason = "the words of nodes are reached through the linear map")]
use crate::MEMORY;
use crate::contestants::Table;
use crate::frames::{Frames, alloc_node, dealloc_node, pointer};
use crate::rows::{GIB, HUGE, Noted};
use spin::mutex::SpinMutex;
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::{self, CpuSet};
use vellum_machine::{ipi, tlb};

const TABLE: u64 = 0x7;
const READ_ONLY: u64 = 0x5;
const READ_WRITE: u64 = 0x7;
const LEAF_2M: u64 = 0x87;
/// Accessed and dirty: in a word with both, hardware notes nothing any more.
const BOTH: u64 = 0x60;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What stands for the metadata of a frame: a count, and the lock of a node.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    count: AtomicU64,
    lock: SpinMutex<()>,
}

static SLOTS: LazyLock<Vec<Slot>> =
    LazyLock::new(|| (0..MEMORY / PAGE_SIZE).map(|_| Slot::default()).collect());

/// A count of a frame.
pub struct Counted(&'static Slot);

impl Counted {
    fn paddr(&self) -> Paddr {
        let offset = std::ptr::from_ref(self.0).addr() - SLOTS.as_ptr().addr();
        Paddr(offset / size_of::<Slot>() * PAGE_SIZE)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Release: as whoever gives up a count does, so that the last one comes after it.
        let before = self.0.count.fetch_sub(1, Ordering::Release);
        debug_assert_ne!(before, 0);
    }
}

fn slot_of(paddr: Paddr) -> &'static Slot {
    &SLOTS[paddr.0 / PAGE_SIZE]
}

/// A node.
#[derive(Clone, Copy)]
struct Node(Paddr);

impl Node {
    fn new() -> Node {
        Node(alloc_node().expect("there is memory"))
    }

    fn word(self, index: usize) -> &'static AtomicU64 {
        // SAFETY: the node's frame is shown by the linear map; all accesses to it are atomic.
        unsafe { &*pointer::<AtomicU64>(self.0).add(index % HUGE) }
    }

    fn child(self, index: usize) -> Option<Node> {
        // Acquire: pairs with the Release that links the child.
        let word = self.word(index).load(Ordering::Acquire);
        (word != 0).then_some(Node(Paddr((word & ADDRESS) as usize)))
    }

    fn child_or_new(self, index: usize) -> Node {
        self.child(index).unwrap_or_else(|| self.link(index))
    }

    #[cold]
    fn link(self, index: usize) -> Node {
        let child = Node::new();
        // AcqRel: publishes the zeros of the child, or sees those of the one that was faster.
        let linked = self.word(index).compare_exchange(
            0,
            child.0.0 as u64 | TABLE,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match linked {
            Ok(_) => child,
            Err(word) => {
                dealloc_node(child.0);
                Node(Paddr((word & ADDRESS) as usize))
            }
        }
    }

    fn lock(self) -> spin::mutex::SpinMutexGuard<'static, ()> {
        slot_of(self.0).lock.lock()
    }

    fn free(self, level: u8) {
        if level > 1 {
            let links = (0..HUGE).filter(|&index| self.word(index).load(Ordering::Relaxed) & 0x80 == 0);
            links.filter_map(|index| self.child(index)).for_each(|child| child.free(level - 1));
        }
        dealloc_node(self.0);
    }
}

pub struct ByHand<'a> {
    root: Node,
    frames: &'a Frames,
}

impl<'a> ByHand<'a> {
    pub fn new(frames: &'a Frames) -> ByHand<'a> {
        LazyLock::force(&SLOTS);
        ByHand { root: Node::new(), frames }
    }

    fn level_2(&self, page: usize) -> Node {
        self.root.child_or_new(page / (GIB * HUGE)).child_or_new(page / GIB)
    }

    fn leaf(&self, page: usize) -> Option<Node> {
        self.root.child(page / (GIB * HUGE))?.child(page / GIB)?.child(page / HUGE)
    }
}

/// The parts of pages that lie in one node of the lowest level each.
fn by_node(pages: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = pages.start;
    std::iter::from_fn(move || {
        let part = at..pages.end.min((at / HUGE + 1) * HUGE);
        at = part.end;
        (!part.is_empty()).then_some(part)
    })
}

fn leaf(paddr: Paddr, noted: Noted) -> u64 {
    let bits = match noted {
        Noted::Nothing => 0,
        Noted::Both => BOTH,
    };
    paddr.0 as u64 | READ_WRITE | bits
}

/// Takes an entry out, with what hardware notes until then.
fn take(word: &AtomicU64) -> u64 {
    let old = word.load(Ordering::Acquire);
    if old & BOTH == BOTH {
        word.store(0, Ordering::Release);
        return old;
    }
    word.swap(0, Ordering::AcqRel)
}

impl Table for ByHand<'_> {
    type Item = Counted;

    fn item(&self, frame: usize) -> Counted {
        let slot = slot_of(self.frames.paddr(frame));
        // Relaxed: a new count comes from an old one.
        slot.count.fetch_add(1, Ordering::Relaxed);
        Counted(slot)
    }

    type Run = Range<usize>;

    fn run(&self, frames: Range<usize>) -> Range<usize> {
        for paddr in self.frames.paddrs(frames.clone()) {
            slot_of(paddr).count.fetch_add(1, Ordering::Relaxed);
        }
        frames
    }

    fn map_range(&self, first: usize, run: Range<usize>) {
        let mut paddr = self.frames.paddr(run.start).0;
        for part in by_node(first..first + run.len()) {
            let leaf = self.level_2(part.start).child_or_new(part.start / HUGE);
            let _locked = leaf.lock();
            for page in part {
                // The walker notes nothing in an entry that is absent. Release: publishes what the frame has.
                leaf.word(page).store(paddr as u64 | READ_WRITE, Ordering::Release);
                paddr += PAGE_SIZE;
            }
        }
    }

    fn map(&self, page: usize, item: Counted, noted: Noted) {
        let node = self.level_2(page).child_or_new(page / HUGE);
        let _locked = node.lock();
        node.word(page).store(leaf(item.paddr(), noted), Ordering::Release);
        std::mem::forget(item);
    }

    fn unmap(&self, pages: Range<usize>, mut keep: impl FnMut(Counted)) {
        for part in by_node(pages) {
            let leaf = self.leaf(part.start).expect("it was mapped");
            let locked = leaf.lock();
            let whole = part.len() == HUGE;
            for page in part.clone() {
                let word = take(leaf.word(page));
                keep(Counted(slot_of(Paddr((word & ADDRESS) as usize))));
            }
            drop(locked);
            if whole {
                self.level_2(part.start).word(part.start / HUGE).swap(0, Ordering::AcqRel);
                dealloc_node(leaf.0);
            }
        }
    }

    fn protect(&self, pages: Range<usize>) {
        for part in by_node(pages) {
            let leaf = self.leaf(part.start).expect("it was mapped");
            let _locked = leaf.lock();
            for page in part {
                let word = leaf.word(page);
                let mut old = word.load(Ordering::Relaxed);
                if old & BOTH == BOTH {
                    word.store(old & !READ_WRITE | READ_ONLY, Ordering::Release);
                    continue;
                }
                while let Err(now) = word.compare_exchange_weak(
                    old,
                    old & !READ_WRITE | READ_ONLY,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                ) {
                    old = now;
                }
            }
        }
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        self.leaf(page)?.child(page).map(|Node(paddr)| paddr)
    }

    fn pair(&self, page: usize, item: Counted, noted: Noted) -> Option<Counted> {
        let node = self.level_2(page).child_or_new(page / HUGE);
        let locked = node.lock();
        node.word(page).store(leaf(item.paddr(), noted), Ordering::Release);
        std::mem::forget(item);
        let word = take(node.word(page));
        drop(locked);
        flush(Vaddr(page * PAGE_SIZE));
        Some(Counted(slot_of(Paddr((word & ADDRESS) as usize))))
    }

    fn map_huge(&self, first: usize, count: usize) {
        let node = self.level_2(first);
        let _locked = node.lock();
        for n in 0..count {
            node.word(first / HUGE + n).store((n * HUGE * PAGE_SIZE) as u64 | LEAF_2M, Ordering::Release);
        }
    }

    fn unmap_huge(&self, first: usize, count: usize) {
        let node = self.level_2(first);
        let _locked = node.lock();
        for n in 0..count {
            std::hint::black_box(take(node.word(first / HUGE + n)));
        }
    }

    fn activate(&self) {
        USERS.add(cpu::current());
    }

    fn deactivate(&self) {
        USERS.remove(cpu::current());
    }
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        self.root.free(4);
    }
}

/// The processors that use the table, of which there is one at a time.
static USERS: cpu::AtomicCpuSet = cpu::AtomicCpuSet::new(CpuSet::EMPTY);
static ANSWERS: AtomicUsize = AtomicUsize::new(0);

fn answer(page: usize) {
    tlb::flush_addr(Vaddr(page));
    // Release: pairs with the Acquire in `flush`.
    ANSWERS.fetch_add(1, Ordering::Release);
}

/// Has all processors that use the table forget a page.
fn flush(va: Vaddr) {
    // The swap before it is a fence, too. An entry that was written is stored to: in those rows nobody else uses the table.
    let users = USERS.load_after_exchange();
    if users.is_empty() {
        return;
    }
    let before = ANSWERS.load(Ordering::Relaxed);
    let others = users.difference(CpuSet::single(cpu::current()));
    let asked = ipi::call_on(others, answer, va.0).len();
    tlb::flush_addr(va);
    // Acquire: pairs with the Release in `answer`.
    while ANSWERS.load(Ordering::Acquire) < before + asked {
        cpu::relax();
    }
}

/// Words that are found by an index.
pub struct Raw<'a> {
    words: Vec<AtomicU64>,
    frames: &'a Frames,
}

impl<'a> Raw<'a> {
    pub fn new(frames: &'a Frames) -> Raw<'a> {
        Raw { words: (0..2 * GIB).map(|_| AtomicU64::new(0)).collect(), frames }
    }
}

impl Table for Raw<'_> {
    type Item = Paddr;

    fn item(&self, frame: usize) -> Paddr {
        self.frames.paddr(frame)
    }

    type Run = Range<usize>;

    fn run(&self, frames: Range<usize>) -> Range<usize> {
        frames
    }

    fn map_range(&self, first: usize, run: Range<usize>) {
        let mut paddr = self.frames.paddr(run.start).0;
        for word in &self.words[first..first + run.len()] {
            word.store(paddr as u64 | READ_WRITE, Ordering::Relaxed);
            paddr += PAGE_SIZE;
        }
    }

    fn map(&self, page: usize, item: Paddr, _noted: Noted) {
        self.words[page].store(item.0 as u64 | READ_WRITE, Ordering::Relaxed);
    }

    fn unmap(&self, pages: Range<usize>, mut keep: impl FnMut(Paddr)) {
        for word in &self.words[pages] {
            keep(Paddr((word.load(Ordering::Relaxed) & ADDRESS) as usize));
            word.store(0, Ordering::Relaxed);
        }
    }

    fn protect(&self, pages: Range<usize>) {
        for word in &self.words[pages] {
            word.store(word.load(Ordering::Relaxed) & !READ_WRITE | READ_ONLY, Ordering::Relaxed);
        }
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        let word = self.words[page].load(Ordering::Relaxed);
        (word != 0).then_some(Paddr((word & ADDRESS) as usize))
    }

    fn pair(&self, page: usize, item: Paddr, _noted: Noted) -> Option<Paddr> {
        let word = &self.words[page];
        word.store(item.0 as u64 | READ_WRITE, Ordering::Relaxed);
        let item = Paddr((word.load(Ordering::Relaxed) & ADDRESS) as usize);
        word.store(0, Ordering::Relaxed);
        Some(item)
    }
}
