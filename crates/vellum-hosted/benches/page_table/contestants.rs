//! Who takes part.
//!
//! - **vellum**: cursors of `PageTable<UserPtConfig>` (of `PageTable<KernelPtConfig>` for 2 MiB pages), which lock the
//!   smallest sub-tree that covers their range. The caller keeps what is unmapped, and answers for translation caches.
//! - **VmSpace**: cursors of an address space, which answer for them; active nowhere unless the row says so.
//! - **x86_64** 0.15, **page_table_multiarch** 0.6 and **aarch64-paging** 0.12: alone for one thread, behind a spin lock
//!   that is taken for each call for two. They count neither frames nor readers, never give nodes back, and lose what
//!   the walker notes between their load and their store. So they are compared where counts are moved.
//! - **by hand**: a loop that does what must be done, and no more: one walk and one lock per node, a store per page that
//!   is mapped, a swap per page that is unmapped, a compare-and-swap per page that is protected (a store for either where
//!   both bits are noted, so that hardware has nothing left to note), and where counts are
//!   changed one locked instruction each. It is no peer: it checks nothing, and its nodes are not safe to read
//!   while they go.
//! - **raw**: stores to words that are found by an index, with neither lock nor walk: the floor.
//!
//! Nodes come from Vellum's frame allocator for all of them.
use crate::by_hand::{ByHand, Raw};
use crate::frames::Frames;
use crate::peers::{Alone, Locked, Peer, aarch64::Aarch64, multiarch::Multiarch, x86::X86};
use crate::rows::{Counts, Effort, Noted, Row, Work, run};
use crate::shared::threads::{Outcome, until_met};
use crate::vellum_tables::{Space, VellumTable};
use std::ops::Range;
use vellum_hosted::Machine;
use vellum_machine::addr::Paddr;
use vellum_machine::cpu::CpuId;

/// A page table. Pages and frames have numbers.
pub trait Table: Sync {
    /// What is mapped.
    type Item: Send;
    /// Another item of a frame, with a count of its own where there are counts.
    fn item(&self, frame: usize) -> Self::Item;
    /// Frames of a range, which follow each other in memory.
    type Run: Send;
    /// Such frames, with counts of their own where there are counts.
    fn run(&self, frames: Range<usize>) -> Self::Run;
    /// Maps them from a page on, where nothing is mapped.
    fn map_range(&self, first: usize, run: Self::Run);
    /// Maps an item where nothing is mapped. Peers note nothing.
    fn map(&self, page: usize, item: Self::Item, noted: Noted);
    /// Unmaps pages. What was mapped is given to `keep`.
    fn unmap(&self, pages: Range<usize>, keep: impl FnMut(Self::Item));
    /// Unmaps pages, and gives up what was mapped.
    fn release(&self, pages: Range<usize>) {
        self.unmap(pages, drop);
    }
    /// Makes pages read-only.
    fn protect(&self, pages: Range<usize>);
    /// Finds what is mapped.
    fn query(&self, page: usize) -> Option<Paddr>;
    /// Maps and unmaps a page under one lock. The item comes back unless the table gives it up.
    fn pair(&self, page: usize, item: Self::Item, noted: Noted) -> Option<Self::Item>;
    /// Maps so many pages of 2 MiB from a base page on.
    fn map_huge(&self, _first: usize, _count: usize) {
        unreachable!("it does not take part")
    }
    fn unmap_huge(&self, _first: usize, _count: usize) {
        unreachable!("it does not take part")
    }
    /// Has the calling processor use the table.
    fn activate(&self) {
        unreachable!("it does not take part")
    }
    fn deactivate(&self) {}
}

/// What a contestant is compared as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Vellum,
    Peer,
    Reference,
    Floor,
}

type Runner<'a> = Box<dyn Fn(&Machine, Row, Effort) -> Outcome + 'a>;

/// Somebody who takes part.
pub struct Contestant<'a> {
    pub name: &'static str,
    pub role: Role,
    can: fn(Row) -> bool,
    runner: Runner<'a>,
}

impl Contestant<'_> {
    /// Does the work of a row once, if it can.
    pub fn run(&self, machine: &Machine, row: Row, effort: Effort) -> Option<Outcome> {
        (self.can)(row).then(|| (self.runner)(machine, row, effort))
    }
}

/// Makes a table, does the work once, and drops the table.
fn turn<T: Table + Send>(
    make: impl Fn() -> T + Sync,
    frames: &Frames,
    machine: &Machine,
    row: Row,
    effort: Effort,
) -> Outcome {
    until_met(|| {
        let table = machine.run_on(CpuId::BOOT, &make);
        let outcome = run(&table, frames, machine, row, effort);
        machine.run_on(CpuId::BOOT, || {
            drop(table);
            vellum::barrier().expect("no cursor is held");
        });
        outcome
    })
}

fn table<'a, T: Table + Send>(
    (name, role): (&'static str, Role),
    can: fn(Row) -> bool,
    frames: &'a Frames,
    make: impl Fn() -> T + Copy + Sync + 'a,
) -> Contestant<'a> {
    let runner = Box::new(move |machine: &Machine, row, effort| turn(make, frames, machine, row, effort));
    Contestant { name, role, can, runner }
}

fn peer<'a, P: Peer + 'a>(name: &'static str, frames: &'a Frames) -> Contestant<'a> {
    let can = |row: Row| row.counts != Counts::Changed;
    let runner = Box::new(move |machine: &Machine, row: Row, effort| match row.threads {
        1 => turn(|| Alone::<P>::new(frames), frames, machine, row, effort),
        _ => turn(|| Locked::<P>::new(frames), frames, machine, row, effort),
    });
    Contestant { name, role: Role::Peer, can, runner }
}

/// Everybody who takes part.
pub fn all(frames: &Frames) -> Vec<Contestant<'_>> {
    // It releases what is unmapped, and keeps base pages alone.
    let space = |row: Row| {
        let keeps = matches!(row.work, Work::UnmapRange | Work::UnmapOne | Work::RandomUnmap | Work::Pair);
        !(keeps && row.counts == Counts::Moved || matches!(row.work, Work::MapHuge | Work::UnmapHuge))
    };
    let raw =
        |row: Row| row.counts != Counts::Changed && !matches!(row.work, Work::MapHuge | Work::UnmapHuge);
    vec![
        table(
            ("vellum", Role::Vellum),
            |row| row.work != Work::Shootdown,
            frames,
            || VellumTable::new(frames),
        ),
        table(("VmSpace", Role::Vellum), space, frames, || Space::new(frames)),
        peer::<X86<'_>>("x86_64", frames),
        peer::<Multiarch>("page_table_multiarch", frames),
        peer::<Aarch64>("aarch64-paging", frames),
        table(("by hand", Role::Reference), |_| true, frames, || ByHand::new(frames)),
        table(("raw", Role::Floor), raw, frames, || Raw::new(frames)),
    ]
}
