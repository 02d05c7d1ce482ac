//! Every address has an answer.
use crate::support::*;
use vellum::frame::{
    Frame, FreeHookSet, GetFrameError, REF_COUNT_MAX, UniqueFrame, max_paddr, set_free_hook,
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

#[test]
fn a_busy_frame_says_so() {
    struct Asks(Paddr);
    impl vellum::frame::AnyFrameMeta for Asks {
        fn on_drop(&mut self, _: &mut vellum::io::VmReader<'_>) {
            assert_eq!(Frame::from_in_use(self.0).unwrap_err(), GetFrameError::Busy(self.0));
            assert_eq!(Frame::from_unused(self.0, ()).unwrap_err(), GetFrameError::Busy(self.0));
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
fn one_free_hook() {
    frames(0);
    assert_eq!(set_free_hook(|_| ()), Err(FreeHookSet));
}
