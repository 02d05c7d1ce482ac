//! Every address has an answer.
use crate::support::*;
use proptest::prelude::*;
use vellum::frame::{
    Frame, FreeHookSet, GetFrameError, REF_COUNT_MAX, Segment, UniqueFrame, is_initialized, max_paddr,
    set_free_hook,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr};

#[test]
fn misaligned_is_judged_before_out_of_bound() {
    frames(0);
    for pa in [1, 8, PAGE_SIZE - 1, PAGE_SIZE + 1, max_paddr().0 + 1, usize::MAX, usize::MAX - 4096] {
        let pa = Paddr(pa);
        assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::NotAligned(pa));
        assert_eq!(Frame::from_unused(pa, ()).unwrap_err(), GetFrameError::NotAligned(pa));
        assert_eq!(UniqueFrame::from_unused(pa, ()).unwrap_err(), GetFrameError::NotAligned(pa));
    }
}

#[test]
fn beyond_memory_is_out_of_bound() {
    frames(0);
    assert_eq!(max_paddr(), Paddr(FRAMES * PAGE_SIZE));
    for pa in [FRAMES * PAGE_SIZE, 1 << 38, 1 << 63, usize::MAX - 4095] {
        let pa = Paddr(pa);
        assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::OutOfBound(pa));
        assert_eq!(Frame::from_unused(pa, ()).unwrap_err(), GetFrameError::OutOfBound(pa));
        assert_eq!(UniqueFrame::from_unused(pa, ()).unwrap_err(), GetFrameError::OutOfBound(pa));
    }
}

#[test]
fn refusals_name_the_state() {
    let pa = frames(1);
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::Unused(pa));
    let shared = Frame::from_unused(pa, Name("one".into())).unwrap();
    assert_eq!(Frame::from_unused(pa, ()).unwrap_err(), GetFrameError::InUse(pa));
    assert_eq!(UniqueFrame::from_unused(pa, ()).unwrap_err(), GetFrameError::InUse(pa));
    let unique = UniqueFrame::try_from(shared).unwrap();
    assert_eq!(Frame::from_unused(pa, ()).unwrap_err(), GetFrameError::Unique(pa));
    assert_eq!(UniqueFrame::from_unused(pa, ()).unwrap_err(), GetFrameError::Unique(pa));
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::Unique(pa));
    drop(unique);
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::Unused(pa));
}

/// What a frame can be, apart from busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unused,
    Shared,
    Full,
    Unique,
}

/// Puts the frame into a state.
enum Held {
    Nothing,
    Shared(Frame<()>),
    Unique(UniqueFrame<()>),
}

fn put_into(state: State, pa: Paddr) -> Held {
    match state {
        State::Unused => Held::Nothing,
        State::Shared => Held::Shared(Frame::from_unused(pa, ()).unwrap()),
        State::Full => {
            let frame = Frame::from_unused(pa, ()).unwrap();
            force_count(pa, REF_COUNT_MAX);
            Held::Shared(frame)
        }
        State::Unique => Held::Unique(UniqueFrame::from_unused(pa, ()).unwrap()),
    }
}

fn let_go(held: Held, pa: Paddr) {
    match held {
        Held::Nothing => {}
        Held::Shared(frame) => {
            force_count(pa, 1);
            drop(frame);
        }
        Held::Unique(frame) => drop(frame),
    }
    assert!(is_unused(pa));
}

#[test]
fn errors_are_what_their_names_say() {
    let first = frames(4);
    let place = prop_oneof![Just(0), Just(first.0), Just(FRAMES * PAGE_SIZE), Just(usize::MAX - 0x3fff)];
    let address = (place, 0usize..4, prop_oneof![3 => Just(0), 1 => 0usize..PAGE_SIZE]);
    let state = prop_oneof![Just(State::Unused), Just(State::Shared), Just(State::Full), Just(State::Unique)];
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2048) };
    proptest!(config, |((place, i, offset) in address, state in state)| {
        let pa = Paddr(place + i * PAGE_SIZE + offset);
        let ours = place == first.0 && offset == 0;
        let held = if ours { put_into(state, pa) } else { Held::Nothing };
        let bad = if offset != 0 {
            Some(GetFrameError::NotAligned(pa))
        } else if place >= FRAMES * PAGE_SIZE {
            Some(GetFrameError::OutOfBound(pa))
        } else {
            None
        };
        // The frames at the bottom belong to other tests.
        if ours || bad.is_some() {
            let claim = bad.or(match state {
                State::Unused => None,
                State::Shared | State::Full => Some(GetFrameError::InUse(pa)),
                State::Unique => Some(GetFrameError::Unique(pa)),
            });
            let upgrade = bad.or(match state {
                State::Unused => Some(GetFrameError::Unused(pa)),
                State::Shared => None,
                State::Full => Some(GetFrameError::InUse(pa)),
                State::Unique => Some(GetFrameError::Unique(pa)),
            });
            prop_assert_eq!(Frame::from_unused(pa, ()).err(), claim);
            prop_assert_eq!(UniqueFrame::from_unused(pa, ()).err(), claim);
            prop_assert_eq!(Frame::from_in_use(pa).err(), upgrade);
            prop_assert_eq!(is_initialized(pa), ours && state != State::Unused);
        }
        if ours {
            let_go(held, pa);
        }
    });
}

#[test]
fn a_busy_frame_says_so() {
    struct Asks(Paddr);
    impl vellum::frame::AnyFrameMeta for Asks {
        fn on_drop(&mut self, _: &mut vellum::io::VmReader<'_>) {
            assert_eq!(Frame::from_in_use(self.0).unwrap_err(), GetFrameError::Busy(self.0));
            assert_eq!(Frame::from_unused(self.0, ()).unwrap_err(), GetFrameError::Busy(self.0));
            assert!(!is_initialized(self.0));
        }
    }
    let pa = frames(1);
    drop(Frame::from_unused(pa, Asks(pa)).unwrap());
    drop(UniqueFrame::from_unused(pa, Asks(pa)).unwrap());
    assert!(is_unused(pa));
}

#[test]
fn a_refused_claim_gives_the_metadata_back() {
    let pa = frames(1);
    let _shared = Frame::from_unused(pa, ()).unwrap();
    let (error, name) = Frame::try_from_unused(pa, Name("two".into())).unwrap_err();
    assert_eq!(error, GetFrameError::InUse(pa));
    assert_eq!(name, Name("two".into()));
}

#[test]
fn the_greatest_count_is_not_exceeded() {
    let pa = frames(1);
    let frame = Frame::from_unused(pa, ()).unwrap();
    force_count(pa, REF_COUNT_MAX);
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::InUse(pa));
    force_count(pa, REF_COUNT_MAX - 1);
    let last = Frame::from_in_use(pa).unwrap();
    assert_eq!(last.reference_count(), REF_COUNT_MAX);
    drop(last);
    force_count(pa, 1);
    drop(frame);
    assert!(is_unused(pa));
}

#[test]
fn a_clone_too_many_stops_the_machine() {
    let said = in_child("errors::a_clone_too_many_stops_the_machine", || {
        let pa = frames(1);
        let frame = Frame::from_unused(pa, ()).unwrap();
        force_count(pa, REF_COUNT_MAX);
        let _more = frame.clone();
    });
    assert!(said.contains("more handles than can be counted"), "{said}");
}

#[test]
fn a_slice_too_many_stops_the_machine() {
    let said = in_child("errors::a_slice_too_many_stops_the_machine", || {
        let pa = frames(4);
        let segment = Segment::from_unused(pa..nth(pa, 4), |_| ()).unwrap();
        force_count(nth(pa, 2), REF_COUNT_MAX);
        // The frame in question is not in this one.
        drop(segment.slice(0..2 * PAGE_SIZE).unwrap());
        eprintln!("so far, so good");
        let _more = segment.slice(PAGE_SIZE..3 * PAGE_SIZE);
    });
    assert!(said.contains("so far") && said.contains("more handles than can be counted"), "{said}");
}

#[test]
fn one_free_hook() {
    frames(0);
    assert_eq!(set_free_hook(|_| ()), Err(FreeHookSet));
}
