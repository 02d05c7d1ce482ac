//! What is measured: [`Row::includes`] says what one operation is.
//!
//! With two threads each does the work on its processor, on pages of its own in one table: 1 GiB apart in rows about
//! ranges, otherwise in neighbouring nodes.
use crate::contestants::Table;
use crate::frames::Frames;
use crate::shared::threads::{self, Gate, Outcome, Part, Random};
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use vellum_hosted::Machine;
use vellum_machine::cpu::{self, CpuId};

/// Base pages in 1 GiB, in 2 MiB.
pub const GIB: usize = 1 << 18;
pub const HUGE: usize = 1 << 9;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    MapRange,
    UnmapRange,
    ProtectRange,
    Query,
    Pair,
    MapOne,
    UnmapOne,
    RandomMap,
    RandomUnmap,
    MapHuge,
    UnmapHuge,
    Shootdown,
}

/// What happens to the counts of frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// What is mapped owns its count before, and whoever unmaps it gets that count: none is written.
    Moved,
    /// A count is added for each page that is mapped, and given up for each that is unmapped.
    Changed,
    /// There are none to speak of.
    None,
}

/// What is noted in pages when they are mapped, or is until they are changed or unmapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Nothing: hardware could note something at any time.
    Nothing,
    /// That they were accessed and written, as a handler of page faults notes it.
    Both,
}

/// Work for some threads.
#[derive(Clone, Copy)]
pub struct Row {
    pub work: Work,
    pub counts: Counts,
    pub noted: Noted,
    pub threads: usize,
}

const fn row(work: Work, counts: Counts, threads: usize) -> Row {
    Row { work, counts, noted: Noted::Nothing, threads }
}

/// The row with pages that were written.
const fn written(work: Work, counts: Counts, threads: usize) -> Row {
    Row { work, counts, noted: Noted::Both, threads }
}

/// For each work the row of one thread and then that of two, where there is one.
pub const ROWS: [Row; 43] = [
    row(Work::MapRange, Counts::Moved, 1),
    row(Work::MapRange, Counts::Moved, 2),
    row(Work::MapRange, Counts::Changed, 1),
    row(Work::MapRange, Counts::Changed, 2),
    row(Work::UnmapRange, Counts::Moved, 1),
    row(Work::UnmapRange, Counts::Moved, 2),
    row(Work::UnmapRange, Counts::Changed, 1),
    row(Work::UnmapRange, Counts::Changed, 2),
    row(Work::ProtectRange, Counts::None, 1),
    row(Work::ProtectRange, Counts::None, 2),
    written(Work::ProtectRange, Counts::None, 1),
    written(Work::ProtectRange, Counts::None, 2),
    row(Work::Query, Counts::None, 1),
    row(Work::Query, Counts::None, 2),
    row(Work::Pair, Counts::Moved, 1),
    row(Work::Pair, Counts::Moved, 2),
    written(Work::Pair, Counts::Moved, 1),
    written(Work::Pair, Counts::Moved, 2),
    row(Work::Pair, Counts::Changed, 1),
    row(Work::Pair, Counts::Changed, 2),
    written(Work::Pair, Counts::Changed, 1),
    written(Work::Pair, Counts::Changed, 2),
    row(Work::MapOne, Counts::Moved, 1),
    row(Work::MapOne, Counts::Moved, 2),
    row(Work::UnmapOne, Counts::Moved, 1),
    row(Work::UnmapOne, Counts::Moved, 2),
    written(Work::UnmapOne, Counts::Moved, 1),
    written(Work::UnmapOne, Counts::Moved, 2),
    row(Work::UnmapOne, Counts::Changed, 1),
    row(Work::UnmapOne, Counts::Changed, 2),
    written(Work::UnmapOne, Counts::Changed, 1),
    written(Work::UnmapOne, Counts::Changed, 2),
    row(Work::RandomMap, Counts::Moved, 1),
    row(Work::RandomMap, Counts::Moved, 2),
    row(Work::RandomMap, Counts::Changed, 1),
    row(Work::RandomMap, Counts::Changed, 2),
    row(Work::RandomUnmap, Counts::Moved, 1),
    row(Work::RandomUnmap, Counts::Moved, 2),
    row(Work::RandomUnmap, Counts::Changed, 1),
    row(Work::RandomUnmap, Counts::Changed, 2),
    row(Work::MapHuge, Counts::None, 1),
    row(Work::UnmapHuge, Counts::None, 1),
    row(Work::Shootdown, Counts::Changed, 1),
];

impl Row {
    pub fn name(&self) -> String {
        let work = match self.work {
            Work::MapRange => "map range",
            Work::UnmapRange => "unmap range",
            Work::ProtectRange => "protect range",
            Work::Query => "query",
            Work::Pair => "pair",
            Work::MapOne => "map one",
            Work::UnmapOne => "unmap one",
            Work::RandomMap => "random map",
            Work::RandomUnmap => "random unmap",
            Work::MapHuge => "map 2 MiB",
            Work::UnmapHuge => "unmap 2 MiB",
            Work::Shootdown => "pair, one remote CPU",
        };
        let pages = match self.noted {
            Noted::Nothing => "",
            Noted::Both => ", written",
        };
        let counts = match self.counts {
            Counts::Moved => ", counts moved",
            Counts::Changed => ", counted",
            Counts::None => "",
        };
        format!("{work}{pages}{counts}")
    }

    /// Whether it is about a whole range of base pages, which a loop by hand can do as well.
    pub fn is_range(&self) -> bool {
        matches!(self.work, Work::MapRange | Work::UnmapRange | Work::ProtectRange)
    }

    /// Whether peers do as much as Vellum: they lock where there are two threads, and lose nothing that hardware notes where
    /// nothing that was mapped is changed or taken out, or all is noted in it.
    pub fn peers_do_as_much(&self) -> bool {
        let maps_or_looks = matches!(
            self.work,
            Work::MapRange | Work::Query | Work::MapOne | Work::RandomMap | Work::MapHuge
        );
        (maps_or_looks || self.noted == Noted::Both) && self.threads > 1
    }

    /// Says what one operation is. Counts are the name's business; there is no shootdown unless it says so, and
    /// Vellum's readers are counted in every row.
    pub fn includes(&self) -> &'static str {
        match self.work {
            Work::MapRange => {
                "one of the 4 KiB pages of 64 MiB, whose frames follow each other, mapped in one call or under one lock; nodes are made"
            }
            Work::UnmapRange => {
                "one of the 4 KiB pages of 64 MiB, unmapped under one lock; Vellum and the loop by hand give nodes back"
            }
            Work::ProtectRange => "one of the 4 KiB pages of 64 MiB, made read-only under one lock",
            Work::Query => "one page of 64 MiB is looked up, each by itself",
            Work::Pair => "one page is mapped and unmapped under one lock; the node has another page",
            Work::MapOne => {
                "one of the 4 KiB pages of 64 MiB, each mapped by itself, in order; nodes are made"
            }
            Work::UnmapOne => "one of the 4 KiB pages of 64 MiB, each unmapped by itself, in order",
            Work::RandomMap => {
                "one of the 4 KiB pages of 1 GiB, each mapped by itself, in an arbitrary order; nodes are made"
            }
            Work::RandomUnmap => {
                "one of the 4 KiB pages of 1 GiB, each unmapped by itself, in an arbitrary order"
            }
            Work::MapHuge => "one of 511 pages of 2 MiB, mapped under one lock",
            Work::UnmapHuge => "one of 511 pages of 2 MiB, unmapped under one lock",
            Work::Shootdown => {
                "as the pair, with the table active here and on the other processor, which is asked to flush and answers"
            }
        }
    }
}

/// How much work there is.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Pages of a thread in rows about ranges.
    range: usize,
    /// Pages of all threads in rows about arbitrary pages.
    random: usize,
    pairs: usize,
    /// One page of 2 MiB is left out of 1 GiB, so that nobody maps it whole.
    huge: usize,
    shootdowns: usize,
}

impl Effort {
    pub const FULL: Effort =
        Effort { rounds: 40, range: 1 << 14, random: GIB, pairs: 1 << 14, huge: 511, shootdowns: 1 << 10 };
    pub const QUICK: Effort =
        Effort { rounds: 2, range: 1 << 11, random: 1 << 12, pairs: 1 << 8, huge: 8, shootdowns: 1 << 4 };

    /// The frames that it takes.
    pub fn frames(&self) -> usize {
        self.random.max(2 * self.range)
    }
}

/// Does the work of a row once.
pub fn run<T: Table>(table: &T, frames: &Frames, machine: &Machine, row: Row, effort: Effort) -> Outcome {
    if row.work == Work::Shootdown {
        return shootdown(table, machine, row, effort);
    }
    threads::run(machine, row.threads, |cpu, gate| Turn { table, frames, gate, row, effort, cpu }.work())
}

/// A thread's part.
struct Turn<'a, T> {
    table: &'a T,
    frames: &'a Frames,
    gate: &'a Gate,
    row: Row,
    effort: Effort,
    cpu: CpuId,
}

impl<T: Table> Turn<'_, T> {
    fn work(&self) -> Part {
        match self.row.work {
            Work::MapRange => self.map_range(),
            Work::UnmapRange => self.unmap_range(),
            Work::ProtectRange => self.protect_range(),
            Work::Query => self.query(),
            Work::Pair => self.pair(),
            Work::MapOne => self.map_each(self.in_order()),
            Work::UnmapOne => self.unmap_each(self.in_order()),
            Work::RandomMap => self.map_each(self.in_any_order()),
            Work::RandomUnmap => self.unmap_each(self.in_any_order()),
            Work::MapHuge => self.map_huge(),
            Work::UnmapHuge => self.unmap_huge(),
            Work::Shootdown => unreachable!("it is no work for all processors"),
        }
    }

    /// The thread's pages in rows about ranges, and their frames.
    fn range(&self) -> (Range<usize>, Range<usize>) {
        let (count, me) = (self.effort.range, self.cpu.index());
        (me * GIB..me * GIB + count, me * count..(me + 1) * count)
    }

    /// Maps the range, before the time that counts.
    fn mapped_range(&self) -> (Range<usize>, Range<usize>) {
        let (pages, frames) = self.range();
        self.table.map_range(pages.start, self.table.run(frames.clone()));
        (pages, frames)
    }

    fn map_range(&self) -> Part {
        let (pages, frames) = self.range();
        if self.row.counts == Counts::Changed {
            return self
                .gate
                .timed(pages.len(), || self.table.map_range(pages.start, self.table.run(frames)));
        }
        let run = self.table.run(frames);
        self.gate.timed(pages.len(), || self.table.map_range(pages.start, run))
    }

    fn unmap_range(&self) -> Part {
        let (pages, _) = self.mapped_range();
        if self.row.counts == Counts::Changed {
            return self.gate.timed(pages.len(), || self.table.release(pages));
        }
        let mut kept = Vec::with_capacity(pages.len());
        self.gate.timed(pages.len(), || self.table.unmap(pages, |item| kept.push(item)))
    }

    fn protect_range(&self) -> Part {
        let (pages, frames) = self.range();
        for (page, frame) in pages.clone().zip(frames) {
            self.table.map(page, self.table.item(frame), self.row.noted);
        }
        self.gate.timed(pages.len(), || self.table.protect(pages))
    }

    fn query(&self) -> Part {
        let (pages, frames) = self.mapped_range();
        let expected = self.frames.paddrs(frames);
        assert!(
            pages.clone().zip(expected).all(|(page, paddr)| self.table.query(page) == Some(paddr)),
            "the table does not have what was mapped"
        );
        self.gate
            .timed(pages.len(), || pages.for_each(|page| _ = black_box(self.table.query(black_box(page)))))
    }

    fn pair(&self) -> Part {
        let page = self.cpu.index() * HUGE;
        self.table.map(page + 1, self.table.item(self.cpu.index()), self.row.noted);
        let frame = self.cpu.index() + 16;
        self.gate.timed(self.effort.pairs, || pairs(self.table, page, frame, self.row, self.effort.pairs))
    }

    /// The thread's pages of a range, and their frames.
    fn in_order(&self) -> Vec<(usize, usize)> {
        let (_, frames) = self.range();
        frames.clone().zip(frames).collect()
    }

    /// The thread's part of all pages in an arbitrary order, and their frames in another.
    fn in_any_order(&self) -> Vec<(usize, usize)> {
        let (count, me) = (self.effort.random / self.row.threads, self.cpu.index());
        let mut random = Random::new(me as u64 + 1);
        let [mut pages, mut frames] = [(); 2].map(|()| (me * count..(me + 1) * count).collect::<Vec<_>>());
        random.shuffle(&mut pages);
        random.shuffle(&mut frames);
        pages.into_iter().zip(frames).collect()
    }

    fn map_each(&self, pages: Vec<(usize, usize)>) -> Part {
        if self.row.counts == Counts::Changed {
            return self.gate.timed(pages.len(), || {
                for &(page, frame) in &pages {
                    self.table.map(page, self.table.item(frame), self.row.noted);
                }
            });
        }
        let items: Vec<_> = pages.iter().map(|&(page, frame)| (page, self.table.item(frame))).collect();
        self.gate.timed(pages.len(), || {
            for (page, item) in items {
                self.table.map(page, item, self.row.noted);
            }
        })
    }

    fn unmap_each(&self, pages: Vec<(usize, usize)>) -> Part {
        for &(page, frame) in &pages {
            self.table.map(page, self.table.item(frame), self.row.noted);
        }
        if self.row.counts == Counts::Changed {
            return self.gate.timed(pages.len(), || {
                for &(page, _) in &pages {
                    self.table.release(page..page + 1);
                }
            });
        }
        let mut kept = Vec::with_capacity(pages.len());
        self.gate.timed(pages.len(), || {
            for &(page, _) in &pages {
                self.table.unmap(page..page + 1, |item| kept.push(item));
            }
        })
    }

    fn map_huge(&self) -> Part {
        self.gate.timed(self.effort.huge, || self.table.map_huge(HUGE, self.effort.huge))
    }

    fn unmap_huge(&self) -> Part {
        self.table.map_huge(HUGE, self.effort.huge);
        self.gate.timed(self.effort.huge, || self.table.unmap_huge(HUGE, self.effort.huge))
    }
}

/// Maps and unmaps a page again and again.
fn pairs<T: Table>(table: &T, page: usize, frame: usize, row: Row, times: usize) {
    if row.counts == Counts::Changed {
        (0..times).for_each(|_| drop(table.pair(black_box(page), table.item(frame), row.noted)));
        return;
    }
    let mut item = table.item(frame);
    for _ in 0..times {
        item = table.pair(black_box(page), item, row.noted).expect("the item comes back");
    }
}

/// The pair with the other processor using the table.
fn shootdown<T: Table>(table: &T, machine: &Machine, row: Row, effort: Effort) -> Outcome {
    let done = AtomicBool::new(false);
    let both = Gate::new(2);
    machine.scope(|scope| {
        scope.spawn(CpuId::new(1).expect("there are two"), || {
            table.activate();
            both.pass();
            while !done.load(Ordering::Acquire) {
                cpu::relax();
            }
            table.deactivate();
        });
        let here = scope.spawn(CpuId::BOOT, || {
            table.activate();
            table.map(1, table.item(0), row.noted);
            both.pass();
            let part = Gate::new(1).timed(effort.shootdowns, || pairs(table, 0, 16, row, effort.shootdowns));
            done.store(true, Ordering::Release);
            table.deactivate();
            part
        });
        threads::outcome(&[here.join().expect("no thread panics")])
    })
}
