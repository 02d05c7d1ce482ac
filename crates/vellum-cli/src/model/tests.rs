//! The model against the meaning of the calls.

use super::*;
use crate::strace::{Advice, Backing, Call, OldPlace, PAGE, Placement, Prot, Sharing};

const BASE: u64 = 0x10_0000;

fn pages(first: u64, count: u64) -> std::ops::Range<u64> {
    BASE + first * PAGE..BASE + (first + count) * PAGE
}

fn at(page: u64) -> u64 {
    BASE + page * PAGE
}

fn map(model: &mut Model, space: SpaceId, range: std::ops::Range<u64>, sharing: Sharing) {
    let call = Call::Map {
        at: range,
        prot: Prot::RW,
        sharing,
        backing: Backing::Anonymous,
        placement: Placement::Free,
    };
    carry(model, space, &call);
}

fn carry(model: &mut Model, space: SpaceId, call: &Call) {
    for change in model.space(space).changes_of(call).unwrap() {
        model.apply(space, &change);
    }
}

fn pattern(page: u64, generation: u64) -> Pattern {
    Pattern { pid: 1, at: at(page), generation }
}

fn written(page: u64, generation: u64) -> Expected {
    Expected::Works(Contents::Written(pattern(page, generation)))
}

const ZEROS: Expected = Expected::Works(Contents::Zeros);

#[test]
fn fork_copies_on_the_first_write_only() {
    let mut model = Model::default();
    let parent = model.create();
    map(&mut model, parent, pages(0, 3), Sharing::Private);
    model.store(parent, at(0), pattern(0, 1));
    model.store(parent, at(1), pattern(1, 1));
    let child = model.fork(parent);
    assert_eq!(model.frames(), 2);
    assert_eq!(model.store(child, at(0), pattern(0, 2)), written(0, 2));
    assert_eq!((model.copies(), model.frames()), (1, 3));
    assert_eq!(model.load(parent, at(0)), written(0, 1));
    model.store(parent, at(0), pattern(0, 3));
    assert_eq!(model.copies(), 1, "the parent is the last to hold its frame");
    model.destroy(child);
    model.store(parent, at(1), pattern(1, 3));
    assert_eq!((model.copies(), model.frames()), (1, 2));
}

#[test]
fn shared_pages_are_seen_by_both_even_if_first_touched_after_the_fork() {
    let mut model = Model::default();
    let parent = model.create();
    map(&mut model, parent, pages(0, 2), Sharing::Shared);
    let child = model.fork(parent);
    model.store(child, at(1), pattern(1, 5));
    assert_eq!(model.load(parent, at(1)), written(1, 5));
    carry(&mut model, parent, &Call::Advise { at: pages(0, 2), advice: Advice::DontNeed });
    assert_eq!(model.load(parent, at(1)), written(1, 5), "the object keeps what private pages lose");
    model.destroy(child);
    carry(&mut model, parent, &Call::Unmap { at: pages(0, 2) });
    assert_eq!(model.frames(), 0);
}

#[test]
fn moving_keeps_contents_and_dropping_loses_them() {
    let mut model = Model::default();
    let space = model.create();
    map(&mut model, space, pages(0, 2), Sharing::Private);
    model.store(space, at(1), pattern(1, 1));
    let remap = |old, new| Call::Remap { old, new, placement: Placement::Free, left: OldPlace::Gone };
    carry(&mut model, space, &remap(pages(0, 2), pages(10, 4)));
    assert_eq!(model.load(space, at(1)), Expected::Refused);
    assert_eq!(model.load(space, at(11)), written(1, 1));
    assert_eq!(model.load(space, at(13)), ZEROS);
    carry(&mut model, space, &remap(pages(10, 4), pages(10, 2)));
    assert_eq!(model.load(space, at(12)), Expected::Refused);
    carry(&mut model, space, &Call::Advise { at: pages(10, 2), advice: Advice::DontNeed });
    assert_eq!(model.load(space, at(11)), ZEROS);
}

#[test]
fn a_shared_mapping_can_be_doubled() {
    let mut model = Model::default();
    let space = model.create();
    map(&mut model, space, pages(0, 2), Sharing::Shared);
    model.store(space, at(1), pattern(1, 1));
    let double = Call::Remap {
        old: at(0)..at(0),
        new: pages(20, 2),
        placement: Placement::Free,
        left: OldPlace::Gone,
    };
    carry(&mut model, space, &double);
    assert_eq!(model.load(space, at(21)), written(1, 1));
    model.store(space, at(20), pattern(20, 2));
    assert_eq!(model.load(space, at(0)), written(20, 2));
}

#[test]
fn the_heap_grows_and_shrinks_with_brk() {
    let mut model = Model::default();
    let space = model.create();
    for (end, mapped) in [(BASE, 0), (BASE + 5000, 2), (BASE + 3 * PAGE, 3), (BASE + 1, 1), (BASE, 0)] {
        carry(&mut model, space, &Call::Break { end });
        model.set_break(space, end);
        for page in 0..4 {
            let expected = if page < mapped { ZEROS } else { Expected::Refused };
            assert_eq!(model.load(space, at(page)), expected, "{end:#x} {page}");
        }
    }
}

#[test]
fn advice_decides_what_a_child_gets() {
    let mut model = Model::default();
    let parent = model.create();
    map(&mut model, parent, pages(0, 3), Sharing::Private);
    for page in 0..3 {
        model.store(parent, at(page), pattern(page, 1));
    }
    carry(&mut model, parent, &Call::Advise { at: pages(0, 1), advice: Advice::DontFork });
    carry(&mut model, parent, &Call::Advise { at: pages(1, 1), advice: Advice::WipeOnFork });
    let child = model.fork(parent);
    assert_eq!(model.load(child, at(0)), Expected::Refused);
    assert_eq!(model.load(child, at(1)), ZEROS);
    assert_eq!(model.load(child, at(2)), written(2, 1));
}

#[test]
fn room_is_made_where_nothing_is_known_and_not_where_a_call_unmapped() {
    let mut model = Model::default();
    let space = model.create();
    map(&mut model, space, pages(4, 2), Sharing::Private);
    let unmap = Call::Unmap { at: pages(3, 4) };
    assert_eq!(model.space(space).room_for(&unmap), [pages(3, 1), pages(6, 1)]);
    carry(&mut model, space, &unmap);
    assert!(model.space(space).room_for(&unmap).is_empty());
    let protect = Call::Protect { at: pages(3, 1), prot: Prot::NONE };
    assert_eq!(model.space(space).room_for(&protect), [pages(3, 1)]);
}

#[test]
fn giving_out_used_addresses_is_a_contradiction() {
    let mut model = Model::default();
    let space = model.create();
    map(&mut model, space, pages(0, 4), Sharing::Private);
    let again = |placement| Call::Map {
        at: pages(3, 2),
        prot: Prot::RW,
        sharing: Sharing::Private,
        backing: Backing::Anonymous,
        placement,
    };
    let error = model.space(space).changes_of(&again(Placement::Free)).unwrap_err();
    assert_eq!(error, GivenTwice { given: pages(3, 2), used: pages(3, 1) });
    assert!(model.space(space).changes_of(&again(Placement::Replacing)).is_ok());
}

#[test]
fn comparison_finds_every_kind_of_difference() {
    let mut model = Model::default();
    let space = model.create();
    map(&mut model, space, pages(0, 2), Sharing::Private);
    model.store(space, at(0), pattern(0, 1));
    model.load(space, at(1));
    let right = |page: u64, contents: Contents| Seen {
        at: at(page),
        frame: page,
        rights: Rights::ReadWrite,
        on_write: OnWrite::InPlace,
        accessed: true,
        dirty: true,
        words: contents.words(),
    };
    let good = [right(0, Contents::Written(pattern(0, 1))), right(1, Contents::Zeros)];
    let compare = |seen: Vec<Seen>| model.compare(&[(space, seen)]);
    assert_eq!(compare(good.to_vec()), Ok(()));
    assert_eq!(compare(good[1..].to_vec()), Err(Difference::Missing { at: at(0) }));
    assert_eq!(compare(good[..1].to_vec()), Err(Difference::Missing { at: at(1) }));
    assert_eq!(
        compare([&good[..], &[right(5, Contents::Zeros)]].concat()),
        Err(Difference::Surplus { at: at(5) })
    );
    let changed = |change: fn(&mut Seen)| {
        let mut seen = good.to_vec();
        change(&mut seen[0]);
        compare(seen)
    };
    assert!(matches!(changed(|s| s.rights = Rights::Read), Err(Difference::Rights { .. })));
    assert!(matches!(changed(|s| s.on_write = OnWrite::Copy), Err(Difference::OnWrite { .. })));
    assert!(matches!(changed(|s| s.words[4] ^= 1), Err(Difference::Contents { .. })));
    assert!(matches!(changed(|s| s.dirty = false), Err(Difference::LostBit { what: "written", .. })));
    assert!(matches!(changed(|s| s.accessed = false), Err(Difference::LostBit { what: "used", .. })));
    assert!(matches!(changed(|s| s.frame = 1), Err(Difference::SharedFrame { .. })));
}
