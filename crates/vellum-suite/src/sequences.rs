//! Sequences of operations on a space, against a plain map.
use crate::Machine;
use crate::model::Model;
use crate::support::*;
use core::ops::Range;
use vellum::space::{Access, MappedItem, PageProperty, SoftBits, VmSpace, VmSpaceError, user_top};
use vellum_machine::addr::PAGE_SIZE;

/// Pages at the borders of nodes of every level; the last only where user space goes beyond it.
const CLUSTERS: [usize; 5] = [0, 500, 1024, 512 * 512 - 12, 512 * 512 * 512 - 12];
const CLUSTER: usize = 24;

/// Sequences, and operations in each.
const SEQUENCES: usize = 100;
const OPERATIONS: usize = 50;

enum Op {
    Map { at: usize, count: usize, access: Access, soft: SoftBits },
    Unmap { range: Range<usize> },
    Protect { range: Range<usize>, access: Access },
    ProtectNext { range: Range<usize>, access: Access },
    FindNext { range: Range<usize>, from: usize },
    Query { at: usize },
    Touch { at: usize },
    Jump { range: Range<usize>, to: usize },
}

/// The clusters that are in user space.
fn clusters() -> &'static [usize] {
    let fits = |first: &&usize| (user_top().0 - base().0) / PAGE_SIZE >= **first + 2 * CLUSTER;
    &CLUSTERS[..CLUSTERS.iter().take_while(fits).count()]
}

/// One past the last page.
fn end() -> usize {
    clusters().last().expect("there is a cluster") + 2 * CLUSTER
}

/// Makes operations.
struct Source(Random);

impl Source {
    fn page(&mut self) -> usize {
        self.0.one_of(clusters()) + self.0.below(CLUSTER)
    }

    fn range(&mut self) -> Range<usize> {
        match self.0.below(8) {
            0..4 => {
                let start = self.page();
                start..start + 1 + self.0.below(CLUSTER - 1)
            }
            4..6 => {
                let (a, b) = (self.page(), self.page());
                a.min(b)..a.max(b) + 1
            }
            6 => 0..end(),
            _ => {
                let n = self.0.below(3);
                n * 512..(n + 1) * 512
            }
        }
    }

    fn access(&mut self) -> Access {
        self.0.one_of(&[Access::None, Access::R, Access::RW, Access::RX, Access::RWX])
    }

    fn op(&mut self) -> Op {
        match self.0.below(15) {
            0..4 => Op::Map {
                at: self.page(),
                count: 1 + self.0.below(CLUSTER - 1),
                access: self.access(),
                soft: self.0.one_of(&[SoftBits::NONE, SoftBits::A]),
            },
            4..6 => Op::Unmap { range: self.range() },
            6..8 => Op::Protect { range: self.range(), access: self.access() },
            8..10 => Op::ProtectNext { range: self.range(), access: self.access() },
            10 => Op::FindNext { range: self.range(), from: self.page() },
            11 => Op::Query { at: self.page() },
            12..14 => Op::Touch { at: self.page() },
            _ => Op::Jump { range: self.range(), to: self.page() },
        }
    }
}

fn len(range: &Range<usize>) -> usize {
    range.len() * PAGE_SIZE
}

/// Carries out an operation on both, and compares what they say.
fn carry_out(space: &VmSpace, model: &mut Model, op: Op) {
    match op {
        Op::Map { at, count, access, soft } => {
            map(space, model, at..at + count, PageProperty::user(access).with_soft(soft));
        }
        Op::Unmap { range } => {
            let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
            assert_eq!(cursor.unmap(len(&range)), Ok(model.unmap(range.clone())));
            assert_eq!(cursor.virt_addr(), page(range.end));
        }
        Op::Protect { range, access } => {
            let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
            let changed = cursor.protect(len(&range), |prop| prop.with_access(access));
            assert_eq!(changed, Ok(model.protect(range.clone(), access)));
            assert_eq!(cursor.virt_addr(), page(range.end));
        }
        Op::ProtectNext { range, access } => protect_next(space, model, range, access),
        Op::FindNext { range, from } => find_next(space, model, range, from),
        Op::Query { at } => model.check(space, at..at + 1),
        Op::Touch { at } => model.check_access(at),
        Op::Jump { range, to } => jump(space, range, to),
    }
}

fn map(space: &VmSpace, model: &mut Model, range: Range<usize>, prop: PageProperty) {
    let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
    for n in range {
        let frame = user_frame();
        cursor.map(MappedItem::new(frame.clone(), prop)).unwrap();
        assert_eq!(cursor.virt_addr(), page(n + 1));
        model.map(n, frame, prop);
    }
}

fn protect_next(space: &VmSpace, model: &mut Model, range: Range<usize>, access: Access) {
    let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
    let protected = cursor.protect_next(len(&range), |prop| prop.with_access(access)).unwrap();
    let expected = model.next(range.clone());
    assert_eq!(protected.map(|protected| protected.range), expected.map(|n| pages(n..n + 1)));
    assert_eq!(cursor.virt_addr(), page(expected.map_or(range.end, |n| n + 1)));
    if let Some(n) = expected {
        model.protect(n..n + 1, access);
    }
}

fn find_next(space: &VmSpace, model: &Model, range: Range<usize>, from: usize) {
    let mut cursor = space.cursor(pages(range.clone())).unwrap();
    let from = if range.contains(&from) { from } else { range.start };
    cursor.jump(page(from)).unwrap();
    let found = model.next(from..range.end);
    assert_eq!(cursor.find_next((range.end - from) * PAGE_SIZE), Ok(found.map(page)));
    assert_eq!(cursor.virt_addr(), page(found.unwrap_or(range.end)));
}

fn jump(space: &VmSpace, range: Range<usize>, to: usize) {
    let mut cursor = space.cursor(pages(range.clone())).unwrap();
    let outcome = cursor.jump(page(to));
    if range.contains(&to) {
        assert_eq!((outcome, cursor.virt_addr()), (Ok(()), page(to)));
    } else {
        assert_eq!(outcome, Err(VmSpaceError::OutOfRange { va: page(to) }));
        assert_eq!(cursor.virt_addr(), page(range.start));
    }
}

/// Whatever is done to a space, it is what a map says, and what user code finds.
pub fn of_a_map(machine: &dyn Machine) {
    let (seed, sequences) = (machine.seed(), SEQUENCES * machine.scale());
    machine.note(format_args!("{sequences} sequences of {OPERATIONS} operations, seed {seed}"));
    on_first(machine, || (0..sequences).for_each(|number| sequence(Random::new(seed, number))));
}

fn sequence(random: Random) {
    let space = active_space();
    let mut model = Model::default();
    let mut source = Source(random);
    for _ in 0..OPERATIONS {
        carry_out(&space, &mut model, source.op());
    }
    model.check(&space, 0..end());
    for cluster in clusters() {
        (*cluster..cluster + CLUSTER).for_each(|n| model.check_access(n));
    }
    drop((space, model));
    VmSpace::deactivate_current();
}
