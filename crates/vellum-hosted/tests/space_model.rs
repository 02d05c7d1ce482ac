//! Sequences of operations on a space, against a plain map.
mod space_support;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use space_support::model::Model;
use space_support::*;
use std::ops::Range;
use vellum::space::{Access, MappedItem, PageProperty, SoftBits, VmSpace, VmSpaceError};
use vellum_machine::addr::PAGE_SIZE;

/// Pages at the borders of nodes of every level.
const CLUSTERS: [usize; 5] = [0, 500, 1024, 512 * 512 - 12, 512 * 512 * 512 - 12];
const CLUSTER: usize = 24;
const END: usize = CLUSTERS[4] + CLUSTER;

#[derive(Clone, Debug)]
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

fn a_page() -> impl Strategy<Value = usize> {
    (0..CLUSTERS.len(), 0..CLUSTER).prop_map(|(cluster, n)| CLUSTERS[cluster] + n)
}

fn a_range() -> impl Strategy<Value = Range<usize>> {
    prop_oneof![
        4 => (a_page(), 1..CLUSTER).prop_map(|(start, count)| start..(start + count)),
        2 => (a_page(), a_page()).prop_map(|(a, b)| a.min(b)..a.max(b) + 1),
        1 => Just(0..END),
        1 => (0..3_usize).prop_map(|n| n * 512..(n + 1) * 512),
    ]
}

fn an_access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::None), Just(Access::R), Just(Access::RW), Just(Access::RX), Just(Access::RWX)]
}

fn soft_bits() -> impl Strategy<Value = SoftBits> {
    prop_oneof![Just(SoftBits::NONE), Just(SoftBits::A)]
}

fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (a_page(), 1..CLUSTER, an_access(), soft_bits())
            .prop_map(|(at, count, access, soft)| Op::Map { at, count, access, soft }),
        2 => a_range().prop_map(|range| Op::Unmap { range }),
        2 => (a_range(), an_access()).prop_map(|(range, access)| Op::Protect { range, access }),
        2 => (a_range(), an_access()).prop_map(|(range, access)| Op::ProtectNext { range, access }),
        1 => (a_range(), a_page()).prop_map(|(range, from)| Op::FindNext { range, from }),
        1 => a_page().prop_map(|at| Op::Query { at }),
        2 => a_page().prop_map(|at| Op::Touch { at }),
        1 => (a_range(), a_page()).prop_map(|(range, to)| Op::Jump { range, to }),
    ]
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

#[test]
fn any_sequence_is_that_of_a_map() {
    with_machine(|machine| {
        let ops = prop::collection::vec(an_op(), 1..60);
        let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&ops, |ops| {
                let holds = std::panic::AssertUnwindSafe(|| machine.run_on(cpu(0), || sequence(ops)));
                // A panic on the processor is this case's failure; the space it used is gone all the same.
                std::panic::catch_unwind(holds)
                    .map_err(|_| TestCaseError::fail("the space and the map differ"))
            })
            .unwrap();
    });
}

fn sequence(ops: Vec<Op>) {
    let free = count_free();
    let space = active_space();
    let mut model = Model::default();
    for op in ops {
        carry_out(&space, &mut model, op);
    }
    model.check(&space, 0..END);
    for cluster in CLUSTERS {
        (cluster..cluster + CLUSTER).for_each(|n| model.check_access(n));
    }
    drop((space, model));
    VmSpace::deactivate_current();
    assert_eq!(count_free(), free);
}
