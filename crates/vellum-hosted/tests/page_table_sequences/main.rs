//! Millions of operations by several processors at once, on tables of two uses and two shapes, against a plain map.
//!
//! Whoever has a cursor has its range to itself: so what an operation does is compared with what the map says at that
//! moment, though others go on elsewhere. `VELLUM_SEED` repeats the choices of a run, which prints it, and `VELLUM_OPS`
//! says how many operations there are for each table; with several processors their order is still the host's.
mod model;
#[path = "../page_table_support/mod.rs"]
mod page_table_support;
mod uses;

use model::{Mapped, Model};
use page_table_support::*;
use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use uses::*;
use vellum::frame::allocator;
use vellum::page_table::{
    AccessType, AccessedDirty, CursorMut, DetachedNode, FourLevel, Fragment, PageProperty, PageTable,
    PageTableConfig, PageTableError, TinyTree,
};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::CpuId;

const CPUS: usize = 3;
/// Operations for each of the four tables.
const OPS: usize = 1_000_000;
/// Frames that are mapped, again and again.
const FRAMES: usize = 64;

/// What came of operations, to see that each did come.
#[derive(Clone, Copy, Debug)]
enum Event {
    Mapped,
    MappedHuge,
    Replaced,
    MappedOver,
    Misaligned,
    TooLarge,
    Occupied,
    NoMemory,
    Leaf,
    HugeLeaf,
    Node,
    Protected,
    ProtectedRange,
    Unmapped,
    Noted,
    Used,
}

const EVENTS: [Event; 16] = [
    Event::Mapped,
    Event::MappedHuge,
    Event::Replaced,
    Event::MappedOver,
    Event::Misaligned,
    Event::TooLarge,
    Event::Occupied,
    Event::NoMemory,
    Event::Leaf,
    Event::HugeLeaf,
    Event::Node,
    Event::Protected,
    Event::ProtectedRange,
    Event::Unmapped,
    Event::Noted,
    Event::Used,
];

/// What the processors share.
struct World<U: Use> {
    table: Table<U>,
    model: Mutex<Model>,
    frames: Frames,
    done: AtomicUsize,
    total: usize,
    events: [AtomicUsize; EVENTS.len()],
}

impl<U: Use> World<U> {
    fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each event that pages of so many levels have came once in a thousand operations, or in ten thousand if it is rare.
    fn check_events(&self) {
        for event in EVENTS {
            let least = match event {
                Event::NoMemory
                | Event::Node
                | Event::Noted
                | Event::Used
                | Event::HugeLeaf
                | Event::MappedOver => self.total / 10_000,
                _ => self.total / 1000,
            };
            let count = self.events[event as usize].load(Ordering::Relaxed);
            println!("{event:?}: {count}");
            assert!(count >= least, "{event:?} came {count} times in {} operations", self.total);
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cursor, and where it should be.
struct Session<'a, U: Use> {
    world: &'a World<U>,
    cursor: CursorMut<'a, U::Config>,
    range: Range<usize>,
    at: usize,
}

impl<'a, U: Use> Session<'a, U> {
    fn new(world: &'a World<U>, range: Range<usize>) -> Self {
        let cursor = world.table.cursor_mut(vas::<U>(range.clone())).expect("it is a range");
        world.model().hold(&range);
        Session { world, cursor, at: range.start, range }
    }

    /// The pages of a length that is chosen, which may be none or all.
    fn window(&self, random: &mut Random) -> Range<usize> {
        let rest = self.range.end - self.at;
        let len = match random.below(4) {
            0 => rest,
            1 => random.below(8).min(rest),
            2 => pages_in::<U::Shape>(2).min(rest),
            _ => random.below(rest + 1),
        };
        self.at..self.at + len
    }

    fn carry_out(&mut self, random: &mut Random) {
        match random.below(16) {
            0..4 => self.map(random),
            4 => self.map_over(random),
            5..7 => _ = self.take(self.window(random)),
            7 => self.unmap(self.window(random)),
            8 => {
                let window = self.window(random);
                self.protect(window, random.property());
            }
            9 => {
                let window = self.window(random);
                self.protect_range(window, random);
            }
            10 => self.find(self.window(random)),
            11 => self.query(),
            12..14 => self.jump(random),
            _ => self.note(random),
        }
        assert_eq!(self.cursor.virt_addr(), va::<U>(self.at));
    }

    fn map(&mut self, random: &mut Random) {
        let level = 1 + random.below(usize::from(U::LEVELS)) as u8;
        let pages = pages_in::<U::Shape>(level);
        let prop = random.property();
        let item = U::item(&self.world.frames, random, level, prop);
        let (pa, ..) = U::parts(&item);
        assert_eq!(U::parts(&item), (pa, level, prop));
        let access = [None, None, Some(AccessType::Read), Some(AccessType::Write)][random.below(4)];
        let mut model = self.world.model();
        let outcome = match access {
            None => self.cursor.map(item),
            Some(access) => self.cursor.map_accessed(item, access),
        };
        let error = match outcome {
            Err(refused) => {
                assert_eq!(U::parts(&refused.item), (pa, level, prop));
                refused.error
            }
            Ok(replaced) => {
                assert!(self.at.is_multiple_of(pages) && pages <= self.range.end - self.at);
                let old = model.split::<U::Shape>(self.at, |part| part.len() <= pages);
                let found = replaced.map(|replaced| (U::parts(&replaced.item), replaced.ad));
                assert_eq!(found, old.map(|(_, old)| ((old.pa, old.level, old.prop), old.ad)));
                assert_eq!(old.map_or(self.at, |(start, _)| start), self.at);
                let permitted = access.filter(|&access| prop.access.permits(access));
                let ad = permitted.map_or(UNUSED, AccessedDirty::of_access);
                model.mapped.insert(self.at, Mapped { level, pa, prop, ad });
                self.world.count(if level == 1 { Event::Mapped } else { Event::MappedHuge });
                if old.is_some() {
                    self.world.count(Event::Replaced);
                }
                self.at += pages;
                return;
            }
        };
        self.check_refusal(&mut model, error, level);
    }

    /// As [`map`](Self::map), and what is in the way comes out.
    fn map_over(&mut self, random: &mut Random) {
        let level = 1 + random.below(usize::from(U::LEVELS)) as u8;
        let pages = pages_in::<U::Shape>(level);
        let prop = random.property();
        let item = U::item(&self.world.frames, random, level, prop);
        let (pa, ..) = U::parts(&item);
        let mut model = self.world.model();
        let (mut seen, mut nodes) = (Vec::new(), 0);
        let mut see = |fragment: Fragment<U::Config>| match fragment {
            Fragment::Leaf { va, item, ad } => seen.push((va, U::parts(&item), ad)),
            Fragment::Node(mut node) => {
                nodes += 1;
                while let Some((va, item, ad)) = node.next_leaf() {
                    seen.push((va, U::parts(&item), ad));
                }
            }
        };
        if let Err(refused) = self.cursor.map_over(item, &mut see) {
            assert_eq!(U::parts(&refused.item), (pa, level, prop));
            assert!(seen.is_empty() && nodes == 0, "something was taken out although the item was refused");
            assert!(!matches!(refused.error, PageTableError::Occupied { .. }));
            return self.check_refusal(&mut model, refused.error, level);
        }
        let window = self.at..self.at + pages;
        model.split::<U::Shape>(self.at, |part| part.len() <= pages);
        let old = model.cut_out::<U::Shape>(&window);
        let mut expected: Vec<_> =
            old.iter().map(|(page, old)| (va::<U>(*page), (old.pa, old.level, old.prop), old.ad)).collect();
        // A huge page comes with the node that maps it, after the nodes below that.
        seen.sort_by_key(|(va, ..)| va.0);
        expected.sort_by_key(|(va, ..)| va.0);
        assert_eq!(seen, expected);
        old.iter().for_each(|(page, _)| _ = model.mapped.remove(page));
        model.mapped.insert(self.at, Mapped { level, pa, prop, ad: UNUSED });
        if nodes > 0 {
            self.world.count(Event::MappedOver);
        }
        self.at += pages;
    }

    /// An item of a level was refused for a reason.
    fn check_refusal(&self, model: &mut Model, error: PageTableError, level: u8) {
        let (at, pages) = (va::<U>(self.at), pages_in::<U::Shape>(level));
        match error {
            PageTableError::NotAligned { at: where_it_is } => {
                assert_eq!(where_it_is, at.0);
                assert!(!self.at.is_multiple_of(pages));
                self.world.count(Event::Misaligned);
            }
            PageTableError::OutOfRange { va } => {
                assert_eq!((va, self.at), (at, self.range.end));
                assert!(self.at.is_multiple_of(pages));
            }
            PageTableError::TooLarge { va, size, most } => {
                assert_eq!((va, size), (at, pages * PAGE_SIZE));
                assert!(self.at.is_multiple_of(pages) && self.at < self.range.end);
                let rest = self.range.end - self.at;
                let locked = most / PAGE_SIZE;
                assert!(locked < pages && (locked == rest || pages <= rest));
                self.world.count(Event::TooLarge);
            }
            PageTableError::Occupied { va } => {
                assert_eq!(va, at);
                let here = model.at::<U::Shape>(self.at).map_or(0, |(_, mapped)| mapped.level);
                assert!(level > 1 && here < level, "a page of level {here} is replaced by one of {level}");
                self.world.count(Event::Occupied);
            }
            PageTableError::NoMemory => self.had_no_memory(model, self.at),
            other => panic!("{other}"),
        }
    }

    /// Whether something was taken, or could be with memory.
    fn take(&mut self, window: Range<usize>) -> bool {
        let mut model = self.world.model();
        let taken = match self.cursor.take_next(window.len() * PAGE_SIZE) {
            Ok(taken) => taken,
            Err(error) => {
                assert_eq!(error, PageTableError::NoMemory);
                self.had_no_memory(&mut model, window.start);
                return false;
            }
        };
        self.at = page_of::<U>(self.cursor.virt_addr());
        assert!(window.start <= self.at && self.at <= window.end);
        match taken {
            Some(Fragment::Leaf { va: start, item, ad }) => {
                let (page, mapped) = model.isolate::<U::Shape>(window.clone()).expect("nothing was mapped");
                assert_eq!((start, U::parts(&item)), (va::<U>(page), (mapped.pa, mapped.level, mapped.prop)));
                assert_eq!(ad, mapped.ad, "what hardware noted of {mapped:?}");
                model.mapped.remove(&page);
                self.world.count(if mapped.level == 1 { Event::Leaf } else { Event::HugeLeaf });
                if ad.accessed || ad.dirty {
                    self.world.count(Event::Used);
                }
            }
            Some(Fragment::Node(node)) => {
                Self::take_node(&mut model, node, &window);
                self.world.count(Event::Node);
            }
            None => {
                assert_eq!((model.first::<U::Shape>(window.clone()), self.at), (None, window.end));
                return false;
            }
        }
        assert_eq!(model.first::<U::Shape>(window.start..self.at), None, "it went past what is mapped");
        true
    }

    fn take_node(model: &mut Model, mut node: DetachedNode<U::Config>, window: &Range<usize>) {
        let pages = page_of::<U>(node.va_range().start)..page_of::<U>(node.va_range().end);
        let mapped: Vec<_> = model.mapped.range(pages).map(|(&page, &mapped)| (page, mapped)).collect();
        let count: usize = mapped.iter().map(|(_, mapped)| pages_in::<U::Shape>(mapped.level)).sum();
        assert_eq!(node.nr_pages(), count);
        for (page, mapped) in mapped {
            assert!(window.contains(&page));
            let (start, item, ad) = node.next_leaf().expect("a page is missing");
            assert_eq!((start, ad), (va::<U>(page), mapped.ad));
            assert_eq!(U::parts(&item), (mapped.pa, mapped.level, mapped.prop));
            model.mapped.remove(&page);
        }
        assert!(node.next_leaf().is_none(), "a page too many");
    }

    /// Without memory every page is mapped as it was; but a page of level 3 may have become pages of level 2, where there
    /// was memory for one node and none for the next.
    fn had_no_memory(&self, model: &mut Model, page: usize) {
        self.world.count(Event::NoMemory);
        let Some(page) = model.first::<U::Shape>(page..self.range.end.max(page + 1)) else { return };
        let found = walk::<U::Shape>(self.world.table.root_paddr(), va::<U>(page));
        model.split::<U::Shape>(page, |part| part.len() <= pages_in::<U::Shape>(found.level));
    }

    /// All that is mapped in the window goes, in the order of addresses, split at its borders.
    fn unmap(&mut self, window: Range<usize>) {
        let mut model = self.world.model();
        let mut seen = Vec::new();
        let mut see = |fragment: Fragment<U::Config>| match fragment {
            Fragment::Leaf { va, item, ad } => seen.push((va, U::parts(&item), ad)),
            Fragment::Node(mut node) => {
                while let Some((va, item, ad)) = node.next_leaf() {
                    seen.push((va, U::parts(&item), ad));
                }
            }
        };
        let unmapped = self.cursor.unmap(window.len() * PAGE_SIZE, &mut see);
        if unmapped == Err(PageTableError::NoMemory) {
            assert!(seen.is_empty(), "something was unmapped although it was refused");
            return [window.start, window.end]
                .into_iter()
                .for_each(|page| self.had_no_memory(&mut model, page));
        }
        let mapped = model.cut_out::<U::Shape>(&window);
        let pages = |(_, mapped): &(usize, Mapped)| pages_in::<U::Shape>(mapped.level);
        assert_eq!(unmapped, Ok(mapped.iter().map(pages).sum::<usize>()));
        let parts = |&(page, Mapped { level, pa, prop, ad }): &_| (va::<U>(page), (pa, level, prop), ad);
        assert_eq!(seen, mapped.iter().map(parts).collect::<Vec<_>>());
        mapped.iter().for_each(|(page, _)| _ = model.mapped.remove(page));
        self.at = window.end;
        self.world.count(Event::Unmapped);
    }

    /// Mappings in the window get one of two properties, mostly the first; at times not all do.
    fn protect_range(&mut self, window: Range<usize>, random: &mut Random) {
        let props = [random.property(), random.property()];
        let others = if random.one_in(2) { 0 } else { random.below(256) };
        let stop = if random.one_in(4) { random.below(16) } else { usize::MAX };
        let new = |nth: usize| (nth < stop).then(|| props[others >> (nth % 8) & 1]);
        let mut model = self.world.model();
        let mut seen = Vec::new();
        let mut change = |range: Range<Vaddr>, old| {
            seen.push((range, old));
            new(seen.len() - 1)
        };
        let changed = self.cursor.protect(window.len() * PAGE_SIZE, &mut change);
        if changed == Err(PageTableError::NoMemory) {
            assert!(seen.is_empty(), "something was changed although it was refused");
            return [window.start, window.end]
                .into_iter()
                .for_each(|page| self.had_no_memory(&mut model, page));
        }
        let mapped = model.cut_out::<U::Shape>(&window);
        let pages = |(page, mapped): &(usize, Mapped)| *page..page + pages_in::<U::Shape>(mapped.level);
        let done = mapped.len().min(stop);
        assert_eq!(changed, Ok(mapped[..done].iter().map(|found| pages(found).len()).sum::<usize>()));
        // Asked about the one at which it stopped, too.
        let asked = mapped.len().min(stop.saturating_add(1));
        let expected = mapped[..asked].iter().map(|found| (vas::<U>(pages(found)), found.1.prop));
        assert_eq!(seen, expected.collect::<Vec<_>>());
        self.at = mapped.get(done).map_or(window.end, |&(page, _)| page);
        for (nth, (page, old)) in mapped.into_iter().enumerate().take(done) {
            model.mapped.insert(page, Mapped { prop: new(nth).expect("it got one"), ..old });
        }
        self.world.count(Event::ProtectedRange);
    }

    fn protect(&mut self, window: Range<usize>, prop: PageProperty) {
        let mut model = self.world.model();
        let mut seen = None;
        let changed = self.cursor.protect_next(window.len() * PAGE_SIZE, |old| {
            seen = Some(old);
            prop
        });
        if changed == Err(PageTableError::NoMemory) {
            assert_eq!(seen, None);
            return self.had_no_memory(&mut model, window.start);
        }
        let expected = model.isolate::<U::Shape>(window.clone());
        assert_eq!(seen, expected.map(|(_, mapped)| mapped.prop));
        let pages = |(start, mapped): (usize, Mapped)| start..start + pages_in::<U::Shape>(mapped.level);
        assert_eq!(changed, Ok(expected.map(|found| vas::<U>(pages(found)))));
        self.at = expected.map_or(window.end, |found| pages(found).end);
        if let Some((start, mapped)) = expected {
            model.mapped.insert(start, Mapped { prop, ..mapped });
            self.world.count(Event::Protected);
        }
    }

    fn find(&mut self, window: Range<usize>) {
        let first = self.world.model().first::<U::Shape>(window.clone());
        assert_eq!(self.cursor.find_next(window.len() * PAGE_SIZE), Ok(first.map(va::<U>)));
        self.at = first.unwrap_or(window.end);
    }

    fn query(&mut self) {
        let model = self.world.model();
        let seen = self.cursor.peek();
        let slot = self.cursor.query();
        assert_eq!(seen.as_ref().err(), slot.as_ref().err());
        if self.at == self.range.end {
            assert_eq!(slot.err(), Some(PageTableError::OutOfRange { va: va::<U>(self.at) }));
            return;
        }
        let (slot, seen) = (slot.unwrap(), seen.unwrap());
        assert_eq!((&seen.range, seen.ad), (&slot.range, slot.ad));
        let pages = page_of::<U>(slot.range.start)..page_of::<U>(slot.range.end);
        assert!(self.range.start <= pages.start && pages.end <= self.range.end && pages.contains(&self.at));
        let Some((start, mapped)) = model.at::<U::Shape>(self.at) else {
            assert!(slot.item.is_none() && seen.page.is_none() && model.first::<U::Shape>(pages).is_none());
            return;
        };
        let whole = start..start + pages_in::<U::Shape>(mapped.level);
        assert_eq!(pages, whole.start.max(self.range.start)..whole.end.min(self.range.end));
        let (item, page) = (slot.item.expect("it is mapped"), seen.page.expect("it is mapped"));
        let paddr = mapped.pa + (self.at - start) * PAGE_SIZE;
        assert_eq!((page.paddr.0, page.level, page.prop), (paddr, mapped.level, mapped.prop));
        assert_eq!((U::parts(&item), slot.ad), ((mapped.pa, mapped.level, mapped.prop), mapped.ad));
    }

    /// Jumps near something, to the start of a huge page as often as not.
    fn jump(&mut self, random: &mut Random) {
        let to = U::Shape::page(random);
        let to = if random.one_in(2) { to & !(pages_in::<U::Shape>(2) - 1) } else { to };
        let outcome = self.cursor.jump(va::<U>(to));
        if self.range.contains(&to) {
            assert_eq!(outcome, Ok(()));
            self.at = to;
        } else {
            assert_eq!(outcome, Err(PageTableError::OutOfRange { va: va::<U>(to) }));
        }
    }

    /// Hardware notes that a page of the range was read, or written.
    fn note(&mut self, random: &mut Random) {
        let (page, dirty) = (U::Shape::page(random), random.one_in(2));
        let mut model = self.world.model();
        let Some((start, mut mapped)) = model.at::<U::Shape>(page).filter(|_| self.range.contains(&page))
        else {
            return;
        };
        let access = mapped.prop.access;
        let ad = AccessedDirty { accessed: access.readable(), dirty: dirty && access.writable() };
        note::<U::Shape>(self.world.table.root_paddr(), va::<U>(page), ad);
        mapped.ad.accessed |= ad.accessed;
        mapped.ad.dirty |= ad.dirty;
        model.mapped.insert(start, mapped);
        self.world.count(Event::Noted);
    }

    /// Compares all that the cursor finds with what is mapped in the range.
    fn check(&mut self) {
        if self.at == self.range.end {
            return;
        }
        let start = self.at;
        while self.at < self.range.end {
            self.find(self.at..self.range.end);
            if self.at < self.range.end {
                self.query();
                let slot = self.cursor.query().unwrap();
                self.at = page_of::<U>(slot.range.end);
                if self.at < self.range.end {
                    assert_eq!(self.cursor.jump(slot.range.end), Ok(()));
                }
            }
        }
        assert_eq!(self.cursor.jump(va::<U>(start)), Ok(()));
        self.at = start;
    }
}

impl<U: Use> Drop for Session<'_, U> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The others need not go on.
            self.world.done.store(self.world.total, Ordering::Relaxed);
        }
        // The range is unlocked after this.
        self.world.model().release(&self.range);
    }
}

fn a_range<U: Use>(random: &mut Random) -> Range<usize> {
    let (a, b) = (U::Shape::page(random), U::Shape::page(random));
    let huge = pages_in::<U::Shape>(2);
    let range = match random.below(16) {
        0..8 => a..a + 1 + random.below(12),
        8..12 => a & !(huge - 1)..(a & !(huge - 1)) + huge,
        12..14 => a.min(b)..a.max(b) + 1,
        14 => a & !(huge - 1)..(a & !(huge - 1)) + 2 * huge,
        _ => 0..U::Shape::PAGES,
    };
    range.start..range.end.min(U::Shape::PAGES)
}

/// What one processor does: session after session, some with an allocation that fails, its own or another's.
fn work<U: Use>(world: &World<U>, mut random: Random) {
    while world.done.load(Ordering::Relaxed) < world.total {
        let steps = 1 + random.below(24);
        world.done.fetch_add(steps, Ordering::Relaxed);
        if random.one_in(16) {
            allocator::inject_failure(1 + random.below(3) as u64);
        }
        let mut session = Session::new(world, a_range::<U>(&mut random));
        (0..steps).for_each(|_| session.carry_out(&mut random));
        if random.one_in(4) {
            session.check();
        }
        drop(session);
    }
}

fn number(name: &str, default: impl Fn() -> u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default(),
    }
}

fn seed() -> u64 {
    let now = || {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    };
    number("VELLUM_SEED", now)
}

/// The nodes below the root, which stay with a table of kernel space, and the root.
fn kept<U: Use>(table: &Table<U>) -> usize {
    let words = (U::Config::TOP_LO..U::Config::TOP_HI).map(|index| node_word(table.root_paddr(), index));
    match words.filter(|word| word & PRESENT != 0).count() {
        nodes if U::Config::TOP_NODES_STAY && nodes > 0 => nodes + 1,
        _ => 0,
    }
}

fn sequence<U: Use>() {
    let (seed, total) = (seed(), number("VELLUM_OPS", || OPS as u64) as usize);
    println!("VELLUM_SEED={seed} VELLUM_OPS={total}");
    let machine = machine(CPUS);
    let before = machine.run_on(CpuId::BOOT, count_free);
    let world = machine.run_on(CpuId::BOOT, || World::<U> {
        table: PageTable::new().expect("there is memory"),
        model: Mutex::default(),
        frames: Frames::new::<U::Shape>(FRAMES, if U::COUNTED { U::LEVELS } else { 1 }),
        done: AtomicUsize::new(0),
        total,
        events: [const { AtomicUsize::new(0) }; EVENTS.len()],
    });
    machine.on_all(|cpu| work(&world, Random::new(seed.wrapping_add(cpu.index() as u64 * 0x1234_5678_9abc))));
    machine.run_on(CpuId::BOOT, || {
        allocator::inject_failure(0);
        let mut session = Session::new(&world, 0..U::Shape::PAGES);
        session.check();
        drop(session);
        world.check_events();
        let model = world.model();
        for frame in world.frames.each().filter(|_| U::COUNTED) {
            let pa = frame.start_paddr().0;
            let maps = |mapped: &&Mapped| {
                (mapped.pa..mapped.pa + pages_in::<U::Shape>(mapped.level) * PAGE_SIZE).contains(&pa)
            };
            let mappings = model.mapped.values().filter(maps).count() as u64;
            // One in `frames`, and the one that is looked at.
            assert_eq!(frame.reference_count(), 2 + mappings, "handles of {pa:#x}");
        }
        drop(model);
        let World { table, frames, .. } = world;
        let kept = kept::<U>(&table);
        drop(table);
        assert!(frames.each().all(|frame| frame.reference_count() == 2));
        drop(frames);
        assert_eq!(count_free(), before - kept, "frames were lost or won");
    });
}

#[test]
fn operations_on_a_small_tree_of_user_space() {
    sequence::<User<TinyTree>>();
}

#[test]
fn operations_on_four_levels_of_user_space() {
    sequence::<User<FourLevel>>();
}

#[test]
fn operations_on_a_small_tree_of_kernel_space_with_huge_pages() {
    sequence::<Kernel<TinyTree>>();
}

#[test]
fn operations_on_four_levels_of_kernel_space_with_huge_pages() {
    sequence::<Kernel<FourLevel>>();
}

#[test]
fn operations_on_four_levels_of_areas() {
    sequence::<Areas<FourLevel>>();
}
