//! Processors that map, unmap, protect and look at once in one table.
//!
//! The metadata of each frame says for which page it is, and counts how many such frames there are: a mapping that is
//! lost, or dropped twice, shows in the count, and one that is read half or from a freed node in the page.
mod page_table_support;

use page_table_support::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use vellum::frame::allocator::FrameAllocOptions;
use vellum::frame::{AnyFrameMeta, Frame, UFrame};
use vellum::page_table::{
    Access, CursorMut, DetachedNode, FourLevel, Fragment, MappedItem, PageProperty, PageTable, PagingConsts,
    SoftBits, TinyTree, UserPt, reclaim,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;

const CPUS: usize = 4;

/// How many retired nodes may wait.
const BACKLOG: usize = 256;

static LIVE: AtomicIsize = AtomicIsize::new(0);

/// The metadata of a frame for a page.
struct Live {
    page: usize,
}

vellum::untyped_frame_meta!(Live);

impl Live {
    fn frame(page: usize) -> UFrame {
        LIVE.fetch_add(1, Ordering::Relaxed);
        FrameAllocOptions::new().uninit().alloc_frame_with(Live { page }).expect("a frame is free").into()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

fn page_for(frame: UFrame) -> usize {
    let frame = Frame::<dyn AnyFrameMeta>::from(frame).downcast::<Live>();
    frame.expect("the frame is one of this test").meta().page
}

struct Random(u64);

impl Random {
    /// Another for each processor, and the same in each run with the same seed.
    fn of(cpu: CpuId) -> Random {
        let seed = std::env::var("VELLUM_SEED").map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().unwrap());
        Random(seed ^ (cpu.index() as u64 + 1) << 32 | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }

    fn range(&mut self, within: Range<usize>, most: usize) -> Range<usize> {
        let start = within.start + self.below(within.len());
        start..(start + 1 + self.below(most)).min(within.end)
    }

    fn property(&mut self) -> PageProperty {
        let access = [Access::None, Access::R, Access::RW, Access::RX][self.below(4)];
        PageProperty::user(access).with_soft(SoftBits { a: self.below(2) == 0, b: self.below(2) == 0 })
    }
}

fn va(page: usize) -> Vaddr {
    Vaddr(page * PAGE_SIZE)
}

fn vas(pages: Range<usize>) -> Range<Vaddr> {
    va(pages.start)..va(pages.end)
}

type Table<G> = PageTable<UserPt<G>>;

fn rest<G: PagingConsts>(cursor: &CursorMut<'_, UserPt<G>>) -> usize {
    cursor.range().end.0 - cursor.virt_addr().0
}

/// What was taken out of a range: pages and their frames, and how many nodes.
struct Haul {
    pages: Vec<(usize, Paddr)>,
    nodes: usize,
}

/// Gives nodes back that no translation cache knows, for no processor has the table as its own.
///
/// A processor that is never seen outside a cursor keeps them all, so this one waits outside now and then.
fn give_back<G: PagingConsts>(nodes: Vec<DetachedNode<UserPt<G>>>) {
    drop(nodes);
    wait_until(|| reclaim() < BACKLOG);
}

/// The frame of a base page.
fn frame_of<G: PagingConsts>(item: MappedItem<G>) -> UFrame {
    item.frames.into_frame().expect("base pages alone are mapped")
}

fn take_all<G: PagingConsts>(table: &Table<G>, range: Range<usize>) -> Haul {
    let (mut haul, mut nodes) = (Haul { pages: Vec::new(), nodes: 0 }, Vec::new());
    let mut cursor = table.cursor_mut(vas(range.clone())).unwrap();
    let mut keep = |start: Vaddr, item: MappedItem<G>| {
        let page = start.0 / PAGE_SIZE;
        haul.pages.push((page, item.frames.start_paddr()));
        assert!(range.contains(&page));
        assert_eq!(page_for(frame_of(item)), page);
    };
    while let Some(taken) = cursor.take_next(rest(&cursor)).unwrap() {
        match taken {
            Fragment::Leaf { va: start, item, .. } => keep(start, item),
            Fragment::Node(mut node) => {
                node.take_leaves(&mut |start, item, _| keep(start, item));
                nodes.push(node);
            }
        }
    }
    // All of it is locked: nobody has put anything there meanwhile.
    cursor.jump(va(range.start)).unwrap();
    assert_eq!(cursor.find_next(rest(&cursor)), Ok(None));
    drop(cursor);
    haul.nodes = nodes.len();
    give_back(nodes);
    haul
}

/// Maps new frames, sees that they are there as long as they are locked, and returns them.
fn map_all<G: PagingConsts>(
    table: &Table<G>,
    range: Range<usize>,
    prop: PageProperty,
) -> Vec<(usize, Paddr)> {
    let mut cursor = table.cursor_mut(vas(range.clone())).unwrap();
    let mut map = |page| {
        let frame = Live::frame(page);
        let paddr = frame.start_paddr();
        let old = cursor.map(MappedItem::new(frame, prop)).map_err(|refused| refused.error).unwrap();
        assert!(old.is_none_or(|old| page_for(frame_of(old.item)) == page));
        (page, paddr)
    };
    let mapped: Vec<_> = range.map(&mut map).collect();
    for (page, paddr) in &mapped {
        cursor.jump(va(*page)).unwrap();
        let item = cursor.query().unwrap().item.unwrap();
        assert_eq!((item.frames.start_paddr(), item.prop), (*paddr, prop));
    }
    mapped
}

/// Protects all of a range, sees that it is as long as it is locked, and returns the pages.
fn protect_all<G: PagingConsts>(table: &Table<G>, range: Range<usize>, prop: PageProperty) -> Vec<usize> {
    let mut cursor = table.cursor_mut(vas(range.clone())).unwrap();
    let mut changed = Vec::new();
    while let Some(part) = cursor.protect_next(rest(&cursor), |_| prop).unwrap() {
        changed.extend(pages_of(0, &part));
    }
    for page in range {
        cursor.jump(va(page)).unwrap();
        let found = cursor.query().unwrap().item.map(|item| item.prop);
        assert_eq!(found, changed.contains(&page).then_some(prop));
    }
    changed
}

/// All that is mapped in a range.
fn look<G: PagingConsts>(table: &Table<G>, range: Range<usize>) -> BTreeMap<usize, (Paddr, PageProperty)> {
    let mut cursor = table.cursor(vas(range.clone())).unwrap();
    let (mut found, mut at) = (BTreeMap::new(), range.start);
    while at < range.end
        && let Some(next) = cursor.find_next((range.end - at) * PAGE_SIZE).unwrap()
    {
        let item = cursor.query().unwrap().item.expect("something is mapped where find_next stopped");
        let page = next.0 / PAGE_SIZE;
        found.insert(page, (item.frames.start_paddr(), item.prop));
        assert_eq!(page_for(frame_of(item)), page);
        at = page + 1;
        if at < range.end {
            cursor.jump(va(at)).unwrap();
        }
    }
    found
}

/// Runs `work` on every processor with one table, and checks afterwards that what is mapped in `all` is what lives, and
/// that nothing is left of it once the table is gone.
fn with_processors<G: PagingConsts>(all: Range<usize>, work: impl Fn(CpuId, &Table<G>) + Sync) {
    let machine = machine(CPUS);
    let before = machine.run_on(CpuId::BOOT, count_free);
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
    let table = machine.run_on(CpuId::BOOT, || Table::<G>::new().unwrap());
    machine.on_all(|me| work(me, &table));
    machine.run_on(CpuId::BOOT, move || {
        assert_eq!(look(&table, all).len() as isize, LIVE.load(Ordering::SeqCst));
        drop(table);
        assert_eq!(LIVE.load(Ordering::SeqCst), 0);
        assert_eq!(count_free(), before, "frames were lost or won");
        assert_eq!(reclaim(), 0);
    });
}

/// Anything, anywhere in `all`, at once.
fn storm<G: PagingConsts>(all: Range<usize>, rounds: usize) {
    let nodes = AtomicUsize::new(0);
    with_processors::<G>(all.clone(), |me, table| {
        let mut random = Random::of(me);
        for _ in 0..rounds {
            let range = random.range(all.clone(), 8);
            match random.below(20) {
                0..8 => drop(map_all(table, range, random.property())),
                8..13 => drop(nodes.fetch_add(take_all(table, range).nodes, Ordering::Relaxed)),
                13 => drop(nodes.fetch_add(take_all(table, all.clone()).nodes, Ordering::Relaxed)),
                14..17 => drop(protect_all(table, range, random.property())),
                17 => drop(look(table, all.clone())),
                _ => drop(look(table, range)),
            }
        }
    });
    assert!(nodes.into_inner() > rounds / 100, "nodes were unlinked");
}

#[test]
fn a_storm_on_a_small_tree() {
    storm::<TinyTree>(0..32, 30_000);
}

#[test]
fn a_storm_on_four_levels() {
    // Around a border of nodes of the two lowest levels.
    storm::<FourLevel>((1 << 18) - 24..(1 << 18) + 24, 15_000);
}

/// Each processor has pages of its own, and finds exactly what it left there.
fn neighbours<G: PagingConsts>(block: usize, rounds: usize) {
    with_processors::<G>(0..CPUS * block, |me, table| {
        let mut random = Random::of(me);
        let mine = me.index() * block..(me.index() + 1) * block;
        let mut model = BTreeMap::new();
        for _ in 0..rounds {
            let range = random.range(mine.clone(), 8);
            let range = if random.below(10) == 0 { mine.clone() } else { range };
            let expected: Vec<_> = model.range(range.clone()).map(|(page, (pa, _))| (*page, *pa)).collect();
            match random.below(8) {
                0..3 => {
                    let (range, prop) = (random.range(range, 8), random.property());
                    let mapped = map_all(table, range, prop);
                    model.extend(mapped.into_iter().map(|(page, paddr)| (page, (paddr, prop))));
                }
                3..5 => {
                    assert_eq!(take_all(table, range.clone()).pages, expected);
                    model.retain(|page, _| !range.contains(page));
                }
                5 => {
                    let prop = random.property();
                    let pages: Vec<_> = expected.into_iter().map(|(page, _)| page).collect();
                    assert_eq!(protect_all(table, range.clone(), prop), pages);
                    model.range_mut(range).for_each(|(_, mapped)| mapped.1 = prop);
                }
                _ => {
                    let found = look(table, range.clone());
                    assert!(found.iter().eq(model.range(range)));
                }
            }
        }
    });
}

#[test]
fn neighbours_below_different_nodes() {
    neighbours::<TinyTree>(8, 30_000);
}

#[test]
fn neighbours_below_the_same_nodes() {
    neighbours::<TinyTree>(6, 30_000);
}

#[test]
fn neighbours_on_four_levels() {
    neighbours::<FourLevel>(20, 20_000);
}

#[test]
fn neighbours_on_four_levels_across_nodes() {
    neighbours::<FourLevel>(768, 2000);
}

/// Groups of pages below a node each: four pages are mapped together, or none.
const GROUPS: usize = 8;

fn group<G: PagingConsts>(n: usize) -> Range<usize> {
    n * G::NR_ENTRIES..(n + 1) * G::NR_ENTRIES
}

fn members<G: PagingConsts>(n: usize) -> [usize; 4] {
    let nr = G::NR_ENTRIES;
    [0, 1, nr / 2, nr - 1].map(|page| n * nr + page)
}

/// Maps the four pages of a group alike, under one lock.
fn make<G: PagingConsts>(table: &Table<G>, n: usize, prop: PageProperty) {
    let mut cursor = table.cursor_mut(vas(group::<G>(n))).unwrap();
    for page in members::<G>(n) {
        cursor.jump(va(page)).unwrap();
        assert!(cursor.map(MappedItem::new(Live::frame(page), prop)).is_ok());
    }
}

/// Looks at a group, whose node comes and goes, and returns whether its pages were mapped.
fn read<G: PagingConsts>(table: &Table<G>, n: usize) -> bool {
    let mut cursor = table.cursor(vas(group::<G>(n))).unwrap();
    let items = members::<G>(n).map(|page| {
        cursor.jump(va(page)).unwrap();
        let item = cursor.query().unwrap().item?;
        let prop = item.prop;
        assert_eq!(page_for(frame_of(item)), page);
        Some(prop)
    });
    assert!(items.iter().all(|item| *item == items[0]), "half of a change was seen: {items:?}");
    items[0].is_some()
}

/// Looks at one page, with nothing else locked.
fn read_page<G: PagingConsts>(table: &Table<G>, page: usize) {
    let slot = table.cursor(vas(page..page + 1)).unwrap().query().unwrap();
    assert_eq!(slot.range, vas(page..page + 1));
    assert!(slot.item.is_none_or(|item| page_for(frame_of(item)) == page));
}

/// Counts a writer until it is done, or has panicked.
struct Writer<'a>(&'a AtomicUsize);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a group, or takes one, two or all of them out. Returns how many nodes went.
fn write<G: PagingConsts>(table: &Table<G>, random: &mut Random) -> usize {
    let n = random.below(GROUPS);
    let pair = n / 2 * 2;
    let range = match random.below(8) {
        0..5 => {
            make(table, n, random.property());
            return 0;
        }
        5 => group::<G>(n),
        6 => group::<G>(pair).start..group::<G>(pair + 1).end,
        _ => 0..GROUPS * G::NR_ENTRIES,
    };
    let haul = take_all(table, range);
    assert!(haul.pages.len().is_multiple_of(4));
    haul.nodes
}

fn readers_and_writers<G: PagingConsts>(rounds: usize) {
    let (writers, nodes) = (AtomicUsize::new(CPUS / 2), AtomicUsize::new(0));
    let [absent, present, looks] = [0; 3].map(AtomicUsize::new);
    with_processors::<G>(0..GROUPS * G::NR_ENTRIES, |me, table| {
        let mut random = Random::of(me);
        if me.index() >= CPUS / 2 {
            while writers.load(Ordering::Relaxed) > 0 {
                let n = random.below(GROUPS);
                let seen = if read(table, n) { &present } else { &absent };
                seen.fetch_add(1, Ordering::Relaxed);
                read_page(table, members::<G>(n)[random.below(4)]);
                looks.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let _writer = Writer(&writers);
        for round in 0..rounds {
            nodes.fetch_add(write(table, &mut random), Ordering::Relaxed);
            // The locks are not fair: without this, readers would hardly come to one.
            wait_until(|| looks.load(Ordering::Relaxed) >= round / 8);
        }
    });
    let [nodes, absent, present] = [nodes, absent, present].map(AtomicUsize::into_inner);
    println!("{nodes} nodes unlinked, groups seen {present} times, missed {absent} times");
    assert!(nodes > rounds / 10 && present > 0 && absent > 0);
}

#[test]
fn readers_while_nodes_come_and_go_on_a_small_tree() {
    readers_and_writers::<TinyTree>(30_000);
}

#[test]
fn readers_while_nodes_come_and_go_on_four_levels() {
    readers_and_writers::<FourLevel>(20_000);
}
