//! Lists of frames.
use crate::support::{Log, Noted, frames, freed, is_unused, nth};
use proptest::prelude::*;
use std::collections::VecDeque;
use vellum::frame::{AnyFrameMeta, CursorMut, Frame, GetFrameError, Link, LinkedList, UniqueFrame};
use vellum_machine::addr::{PAGE_SIZE, Paddr};

struct Tag(u64);

impl AnyFrameMeta for Tag {}

fn frame(pa: Paddr) -> UniqueFrame<Link<Tag>> {
    UniqueFrame::from_unused(pa, Link::new(Tag(pa.0 as u64))).expect("the frame is unused")
}

/// A list of `n` new frames, and where they start.
fn list(n: usize) -> (LinkedList<Tag>, Paddr) {
    let first = frames(n);
    let mut list = LinkedList::new();
    for i in 0..n {
        list.push_back(frame(nth(first, i)));
    }
    (list, first)
}

/// What a walk with a cursor finds, forwards and backwards.
fn walk(list: &mut LinkedList<Tag>) -> VecDeque<(Paddr, u64)> {
    fn step(cursor: &CursorMut<'_, Tag>) -> Option<(Paddr, u64)> {
        let pa = cursor.current_paddr()?;
        Some((pa, cursor.current_meta().expect("a frame has metadata").0))
    }
    let mut forwards = VecDeque::new();
    let mut cursor = list.cursor_front_mut();
    while let Some(pa) = step(&cursor) {
        forwards.push_back(pa);
        cursor.move_next();
    }
    assert!(cursor.current_meta().is_none());
    let mut backwards = VecDeque::new();
    let mut cursor = list.cursor_back_mut();
    while let Some(pa) = step(&cursor) {
        backwards.push_front(pa);
        cursor.move_prev();
    }
    assert_eq!(forwards, backwards);
    forwards
}

#[derive(Clone, Copy, Debug)]
enum Op {
    PushFront,
    PushBack,
    PopFront,
    PopBack,
    InsertBefore(usize),
    Take(usize),
    Change(usize),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::PushFront),
        3 => Just(Op::PushBack),
        2 => Just(Op::PopFront),
        2 => Just(Op::PopBack),
        4 => any::<usize>().prop_map(Op::InsertBefore),
        3 => any::<usize>().prop_map(Op::Take),
        3 => any::<usize>().prop_map(Op::Change),
        1 => Just(Op::Clear),
    ]
}

/// A cursor at the `i`th frame, or at the end.
fn at(list: &mut LinkedList<Tag>, i: usize) -> CursorMut<'_, Tag> {
    let mut cursor = list.cursor_front_mut();
    for _ in 0..i {
        cursor.move_next();
    }
    cursor
}

const POOL: usize = 12;

/// The frame and its tag.
fn tagged(frame: UniqueFrame<Link<Tag>>) -> (Paddr, u64) {
    (frame.start_paddr(), frame.meta().meta().0)
}

fn run(first: Paddr, ops: &[Op]) {
    let mut list = LinkedList::new();
    let mut model = VecDeque::new();
    let mut out: Vec<Paddr> = (0..POOL).map(|i| nth(first, i)).collect();
    for &op in ops {
        match op {
            Op::PushFront | Op::PushBack | Op::InsertBefore(_) if out.is_empty() => {}
            Op::PushFront => {
                let pa = out.remove(0);
                list.push_front(frame(pa));
                model.push_front((pa, pa.0 as u64));
            }
            Op::PushBack => {
                let pa = out.remove(0);
                list.push_back(frame(pa));
                model.push_back((pa, pa.0 as u64));
            }
            Op::InsertBefore(i) => {
                let i = i % (model.len() + 1);
                let pa = out.remove(0);
                let mut cursor = at(&mut list, i);
                cursor.insert_before(frame(pa));
                assert_eq!(cursor.current_paddr(), model.get(i).map(|&(pa, _)| pa));
                model.insert(i, (pa, pa.0 as u64));
            }
            Op::PopFront => {
                let taken = list.pop_front().map(tagged);
                assert_eq!(taken, model.pop_front());
                out.extend(taken.map(|(pa, _)| pa));
            }
            Op::PopBack => {
                let taken = list.pop_back().map(tagged);
                assert_eq!(taken, model.pop_back());
                out.extend(taken.map(|(pa, _)| pa));
            }
            Op::Take(i) => {
                let i = i % (model.len() + 1);
                let mut cursor = at(&mut list, i);
                let taken = cursor.take_current().map(tagged);
                assert_eq!(taken, model.remove(i));
                assert_eq!(cursor.current_paddr(), model.get(i).map(|&(pa, _)| pa));
                out.extend(taken.map(|(pa, _)| pa));
            }
            Op::Change(i) => {
                let i = i % (model.len() + 1);
                let mut cursor = at(&mut list, i);
                let (meta, expected) = (cursor.current_meta_mut(), model.get_mut(i));
                assert_eq!(meta.is_some(), expected.is_some());
                if let (Some(meta), Some((_, expected))) = (meta, expected) {
                    meta.0 += 1;
                    *expected += 1;
                }
            }
            Op::Clear => {
                list = LinkedList::new();
                out.extend(model.drain(..).map(|(pa, _)| pa));
            }
        }
        agree(&mut list, &model, first);
    }
}

fn agree(list: &mut LinkedList<Tag>, model: &VecDeque<(Paddr, u64)>, first: Paddr) {
    assert_eq!(list.size(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    let tag = |&(_, tag): &(Paddr, u64)| tag;
    assert_eq!(list.front().map(|m| m.0), model.front().map(tag));
    assert_eq!(list.back().map(|m| m.0), model.back().map(tag));
    assert_eq!(list.front_mut().map(|m| m.0), model.front().map(tag));
    assert_eq!(list.back_mut().map(|m| m.0), model.back().map(tag));
    assert_eq!(walk(list), *model);
    for i in 0..POOL {
        let pa = nth(first, i);
        let inside = model.iter().any(|&(at, _)| at == pa);
        assert_eq!(list.contains(pa), inside);
        assert_eq!(is_unused(pa), !inside);
    }
}

#[test]
fn a_list_is_a_sequence() {
    let first = frames(POOL);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) };
    proptest!(config, |(ops in proptest::collection::vec(op(), 0..60))| run(first, &ops));
}

#[test]
fn a_dropped_list_returns_its_frames() {
    let log = Log::new();
    let first = frames(5);
    let mut list = LinkedList::new();
    for i in 0..5 {
        let meta = Link::new(Noted::new(i as u64, log));
        list.push_front(UniqueFrame::from_unused(nth(first, i), meta).unwrap());
    }
    assert_eq!(log.counts(), (0, 0));
    assert_eq!(Frame::from_in_use(first).unwrap_err(), GetFrameError::Unique(first));
    drop(list);
    assert_eq!(log.counts(), (5, 5));
    for i in 0..5 {
        assert!(is_unused(nth(first, i)));
        assert_eq!(freed(nth(first, i)), 1);
    }
}

#[test]
fn a_frame_is_in_one_list() {
    let (mut a, first) = list(3);
    let (mut b, other) = list(2);
    assert!(a.contains(first) && !b.contains(first));
    assert!(b.contains(other) && !a.contains(other));
    b.push_back(a.pop_front().unwrap());
    assert!(!a.contains(first) && b.contains(first));
    assert_eq!((a.size(), b.size()), (2, 3));

    let loose = b.pop_back().unwrap();
    assert!(!a.contains(first) && !b.contains(first));
    let meta = loose.meta().meta().0;
    assert_eq!(meta, first.0 as u64);
    drop(loose);
    assert!(is_unused(first));
}

#[test]
fn what_is_no_frame_is_in_no_list() {
    let (list, first) = list(1);
    assert!(!list.contains(Paddr(first.0 + 1)));
    assert!(!list.contains(Paddr(usize::MAX)));
    assert!(!list.contains(Paddr(usize::MAX & !(PAGE_SIZE - 1))));
    assert!(!LinkedList::<Tag>::new().contains(first));
    assert!(!LinkedList::<Tag>::new().contains(nth(frames(1), 0)));
}

#[test]
fn a_list_may_be_static() {
    static EMPTY: LinkedList<Tag> = LinkedList::new();
    assert!(EMPTY.is_empty());
    assert!(EMPTY.front().is_none() && EMPTY.back().is_none());
}

#[test]
fn numbers_are_not_used_again() {
    let pa = frames(1);
    for _ in 0..100 {
        let mut old = LinkedList::new();
        old.push_back(frame(pa));
        let mut new = LinkedList::new();
        new.push_back(old.pop_back().unwrap());
        assert!(new.contains(pa) && !old.contains(pa));
    }
}

#[test]
fn metadata_with_links_may_fill_the_slot() {
    struct Full([u64; 3]);
    impl AnyFrameMeta for Full {}
    let pa = frames(1);
    let mut list = LinkedList::new();
    list.push_back(UniqueFrame::from_unused(pa, Link::new(Full([1, 2, 3]))).unwrap());
    assert_eq!(list.front().unwrap().0, [1, 2, 3]);
    let mut frame = list.pop_front().unwrap();
    frame.meta_mut().meta_mut().0[1] = 7;
    assert_eq!(frame.meta().meta().0, [1, 7, 3]);
}

/// The tags of a list, as the frames have them.
fn tags(list: &mut LinkedList<Tag>) -> Vec<u64> {
    let mut tags = Vec::new();
    let mut cursor = list.cursor_front_mut();
    while let Some(tag) = cursor.current_meta() {
        tags.push(tag.0);
        cursor.move_next();
    }
    tags
}

#[test]
fn metadata_in_a_list_are_changed_in_place() {
    let (mut list, first) = list(4);
    let base = first.0 as u64;
    let step = PAGE_SIZE as u64;
    list.front_mut().unwrap().0 = 1;
    list.back_mut().unwrap().0 = 4;
    let mut cursor = list.cursor_front_mut();
    cursor.move_next();
    cursor.current_meta_mut().unwrap().0 += 1;
    assert_eq!(cursor.current_meta().unwrap().0, base + step + 1);
    assert_eq!(tags(&mut list), [1, base + step + 1, base + 2 * step, 4]);

    // A frame keeps its metadata in and out of the list, and its neighbours keep theirs.
    let mut cursor = at(&mut list, 1);
    let mut taken = cursor.take_current().unwrap();
    assert_eq!(taken.meta().meta().0, base + step + 1);
    taken.meta_mut().meta_mut().0 = 2;
    cursor.insert_before(taken);
    assert_eq!(tags(&mut list), [1, 2, base + 2 * step, 4]);
    assert_eq!(list.pop_front().unwrap().meta().meta().0, 1);
    assert_eq!(list.pop_back().unwrap().meta().meta().0, 4);
    assert_eq!(tags(&mut list), [2, base + 2 * step]);
}

#[test]
fn there_is_nothing_to_change_at_the_end() {
    let (mut list, first) = list(1);
    let mut cursor = list.cursor_front_mut();
    cursor.move_next();
    assert!(cursor.current_meta_mut().is_none());
    assert_eq!(list.pop_back().unwrap().start_paddr(), first);
    assert!(list.front_mut().is_none() && list.back_mut().is_none());
    assert!(list.cursor_back_mut().current_meta_mut().is_none());
}

#[test]
fn lists_in_many_threads() {
    let first = frames(4);
    let list = std::sync::Mutex::new(LinkedList::new());
    std::thread::scope(|scope| {
        for t in 0..4 {
            let list = &list;
            scope.spawn(move || {
                let mut own = LinkedList::new();
                own.push_back(frame(nth(first, t)));
                for _ in 0..2000 {
                    let mut shared = list.lock().unwrap();
                    if let Some(f) = own.pop_front() {
                        shared.push_back(f);
                    }
                    let mine = shared.pop_front().unwrap();
                    let pa = mine.start_paddr();
                    assert!(!shared.contains(pa));
                    drop(shared);
                    own.push_back(mine);
                    assert!(own.contains(pa));
                }
            });
        }
    });
    for t in 0..4 {
        assert!(is_unused(nth(first, t)));
    }
}
