//! No note of a write is ever lost: one processor stores through a table as user code, while another changes the
//! properties of the pages and takes them out.
#![allow(unsafe_code, reason = "has a processor walk the table")]
mod page_table_support;

use page_table_support::*;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vellum::frame::UFrame;
use vellum::io::UntypedMem;
use vellum::page_table::{
    Access, AccessedDirty, DetachedNode, Fragment, MappedItem, PageProperty, PageTable, SoftBits,
    UserPtConfig,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::{tlb, user};

const PAGES: usize = 8;
const BASE: usize = 0x5000_0000_0000;
const RW: PageProperty = PageProperty::user(Access::RW);

type Table = PageTable<UserPtConfig>;
type Node = DetachedNode<UserPtConfig>;

/// More than a node of the lowest level covers: the pages go with their node.
const WIDE: Range<Vaddr> = Vaddr(BASE)..Vaddr(BASE + (4 << 20));

fn va(page: usize) -> Vaddr {
    Vaddr(BASE + page * PAGE_SIZE)
}

fn all() -> Range<Vaddr> {
    va(0)..va(PAGES)
}

/// The processor that stores, as the other sees it.
#[derive(Default)]
struct Storer {
    ends: AtomicBool,
    /// How often it was asked to forget all translations, and how often it has.
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Storer {
    /// Stores to each page again and again, with a walk each time.
    fn run(&self, root: Paddr, idle: Paddr) {
        // SAFETY: the table lives until this processor has left it, its nodes and frames until this one has answered, and
        // the frames are for user code to write.
        unsafe { tlb::set_root(root) };
        let mut value = 0;
        while !self.ends.load(Ordering::Acquire) {
            for page in 0..PAGES {
                value += 1;
                // Most pages are missing or read-only at times.
                let _ = user::store_u64(va(page), value);
                tlb::flush_addr(va(page));
                self.answer();
            }
        }
        // SAFETY: the table is empty and never dropped.
        unsafe { tlb::set_root(idle) };
        tlb::flush_all();
        self.answer();
    }

    fn answer(&self) {
        let asked = self.asked.load(Ordering::Acquire);
        if asked != self.answered.load(Ordering::Relaxed) {
            tlb::flush_all();
            self.answered.store(asked, Ordering::Release);
        }
    }

    /// Has it forget all translations, and waits until it has: it also is past the store it was in.
    fn flush(&self) {
        let asked = self.asked.fetch_add(1, Ordering::Release) + 1;
        wait_until(|| self.answered.load(Ordering::Acquire) == asked);
    }
}

fn map_clean(table: &Table, frames: &[UFrame]) {
    let mut cursor = table.cursor_mut(all()).unwrap();
    for frame in frames {
        frame.writer().write_val(&0_u64).unwrap();
        assert!(cursor.map(MappedItem::new(frame.clone(), RW)).is_ok_and(|old| old.is_none()));
    }
}

/// Gives each page another property, and notes which of them were dirty before and after it.
fn protect(table: &Table, prop: PageProperty, dirty: &mut [bool; PAGES]) {
    let mut cursor = table.cursor_mut(all()).unwrap();
    for (page, dirty) in dirty.iter_mut().enumerate() {
        *dirty |= cursor.query().unwrap().ad.dirty;
        let changed = cursor.protect_next(PAGE_SIZE, |_| prop).unwrap();
        assert_eq!(changed, Some(va(page)..va(page + 1)));
        cursor.jump(va(page)).unwrap();
        let slot = cursor.query().unwrap();
        assert!(slot.ad.dirty || !*dirty, "protecting page {page} cleaned it");
        assert_eq!(slot.item.unwrap().prop, prop);
        if page + 1 < PAGES {
            cursor.jump(va(page + 1)).unwrap();
        }
    }
}

/// Takes all pages out, and returns what was noted of each until then. The last pages are in nodes, of which hardware
/// may note more until the flush.
fn take(table: &Table, range: Range<Vaddr>) -> (Vec<AccessedDirty>, Vec<MappedItem>, Vec<Node>) {
    let (mut notes, mut items, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    let mut cursor = table.cursor_mut(range.clone()).unwrap();
    while let Some(taken) = cursor.take_next(range.end.0 - cursor.virt_addr().0).unwrap() {
        match taken {
            Fragment::Leaf { va: start, item, ad } => {
                assert_eq!(start, va(notes.len()));
                notes.push(ad);
                items.push(item);
            }
            Fragment::Node(node) => nodes.push(node),
        }
    }
    assert_eq!(notes.len() + nodes.iter().map(Node::nr_pages).sum::<usize>(), PAGES);
    (notes, items, nodes)
}

/// How many pages were taken out written, and not.
#[derive(Default, Debug)]
struct Counts {
    written: usize,
    clean: usize,
    /// Of the written ones, those that were not known to be at the last look.
    late: usize,
}

/// From clean pages to their frames: whatever user code wrote must have been noted.
fn one_round(table: &Table, storer: &Storer, frames: &[UFrame], round: usize, counts: &mut Counts) {
    let props =
        [RW.with_soft(SoftBits::A), PageProperty::user(Access::RWX), RW, RW.with_access(Access::R), RW];
    let mut dirty = [false; PAGES];
    map_clean(table, frames);
    for step in 0..round % 6 {
        protect(table, props[(round + step) % props.len()], &mut dirty);
    }
    // Every other time with the node.
    let (mut notes, items, nodes) = take(table, if round.is_multiple_of(2) { all() } else { WIDE });
    assert_eq!(nodes.len(), round % 2);
    storer.flush();
    drop(items);
    for mut node in nodes {
        while let Some((start, _, ad)) = node.next_leaf() {
            assert_eq!(start, va(notes.len()));
            notes.push(ad);
        }
    }
    for (page, frame) in frames.iter().enumerate() {
        let written = frame.reader().read_val::<u64>().unwrap() != 0;
        assert!(notes[page].dirty || !written, "page {page} was written, and is clean (round {round})");
        assert!(notes[page].dirty || !dirty[page], "page {page} was dirty, and is clean (round {round})");
        counts.written += usize::from(written);
        counts.clean += usize::from(!written);
        counts.late += usize::from(written && !dirty[page]);
    }
}

/// One processor stores while `edit` runs on the other, which has a table and the frames to map.
fn with_storer(edit: impl FnOnce(&Table, &Storer, &[UFrame]) + Send) {
    let machine = machine(2);
    let (editing, storing) = (CpuId::BOOT, CpuId::new(1).unwrap());
    let idle: &'static Table = machine.run_on(editing, || Box::leak(Box::new(Table::new().unwrap())));
    let before = machine.run_on(editing, count_free);
    let storer = Storer::default();
    let (table, frames) = machine.run_on(editing, || {
        let frames: Vec<UFrame> = (0..PAGES).map(|_| user_frame()).collect();
        (Table::new().unwrap(), frames)
    });
    machine.scope(|scope| {
        let (table, storer, frames) = (&table, &storer, &frames);
        let stores = scope.spawn(storing, move || storer.run(table.root_paddr(), idle.root_paddr()));
        let edits = scope.spawn(editing, move || edit(table, storer, frames));
        let outcome = edits.join();
        storer.ends.store(true, Ordering::Release);
        stores.join().unwrap();
        outcome.unwrap();
    });
    machine.run_on(editing, move || {
        drop((table, frames));
        assert_eq!(count_free(), before, "frames were lost or won");
    });
}

#[test]
fn whatever_was_written_is_dirty_when_it_is_taken_out() {
    with_storer(|table, storer, frames| {
        let mut counts = Counts::default();
        (0..15_000).for_each(|round| one_round(table, storer, frames, round, &mut counts));
        println!("{counts:?}");
        assert!(counts.written > 0 && counts.clean > 0 && counts.late > 0, "{counts:?}");
    });
}
