//! Unique handles.
use crate::support::*;
use vellum::frame::{AnyFrameMeta, AnyUFrameMeta, Frame, GetFrameError, UFrame, UniqueFrame};
use vellum_machine::addr::PAGE_SIZE;

#[test]
fn a_unique_handle_changes_the_metadata() {
    let pa = frames(1);
    let log = Log::new();
    let mut frame = UniqueFrame::from_unused(pa, Noted::new(1, log)).unwrap();
    assert_eq!((frame.start_paddr(), frame.paddr(), frame.size(), frame.level()), (pa, pa, PAGE_SIZE, 1));
    frame.meta_mut().tag = 2;
    assert_eq!(frame.meta().tag, 2);
    write_word(pa, 0, 99);
    drop(frame);
    assert_eq!(log.counts(), (1, 1));
    assert_eq!(log.word.load(std::sync::atomic::Ordering::Relaxed), 99);
    assert_eq!(freed(pa), 1);
    assert!(is_unused(pa));
}

#[test]
fn repurpose_drops_the_old_before_the_new() {
    let pa = frames(1);
    let log = Log::new();
    let frame = UniqueFrame::from_unused(pa, Noted::new(1, log)).unwrap();
    let frame = frame.repurpose(Name("new".into()));
    assert_eq!(log.counts(), (1, 1));
    assert_eq!(frame.meta().0, "new");
    let frame = frame.repurpose(());
    frame.meta();
    assert_eq!(freed(pa), 0);
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::Unique(pa));
}

#[test]
fn unique_and_shared_turn_into_each_other() {
    let pa = frames(1);
    let log = Log::new();
    let shared: Frame<_> = UniqueFrame::from_unused(pa, Noted::new(3, log)).unwrap().into();
    let other = shared.clone();
    let shared = UniqueFrame::try_from(shared).unwrap_err();
    assert_eq!(shared.reference_count(), 2);
    drop(other);
    let mut unique = UniqueFrame::try_from(shared).unwrap();
    unique.meta_mut().tag += 1;
    let shared: Frame<_> = unique.into();
    assert_eq!(shared.meta().tag, 4);
    assert_eq!(log.counts(), (0, 0));
    drop(shared);
    assert_eq!(log.counts(), (1, 1));
}

#[test]
fn reset_does_not_call_the_allocator() {
    let pa = frames(1);
    let log = Log::new();
    UniqueFrame::from_unused(pa, Noted::new(3, log)).unwrap().reset_as_unused();
    assert_eq!(log.counts(), (1, 1));
    assert_eq!(freed(pa), 0);
    assert!(is_unused(pa));
}

#[test]
fn zero_fills_the_frame() {
    let pa = frames(1);
    let log = Log::new();
    write_word(pa, 0, 1);
    write_word(pa, 511, 1);
    let mut frame = UniqueFrame::from_unused(pa, Noted::new(3, log)).unwrap();
    frame.zero();
    assert_eq!((read_word(pa, 0), read_word(pa, 511)), (0, 0));
    assert_eq!(frame.meta().tag, 3);
}

#[test]
#[expect(unsafe_code, reason = "restores a handle that was forgotten")]
fn raw_handles_stay_unique() {
    let pa = frames(1);
    let raw = UniqueFrame::from_unused(pa, Name("raw".into())).unwrap().into_raw();
    assert_eq!(raw, pa);
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::Unique(pa));
    // SAFETY: `raw` was made from a handle of this type, and is restored once.
    let frame = unsafe { UniqueFrame::<Name>::from_raw(raw) };
    assert_eq!(frame.meta().0, "raw");
    drop(frame);
    assert!(is_unused(pa));
}

#[test]
fn a_wrong_downcast_gives_the_frame_back() {
    let pa = frames(1);
    let frame: UniqueFrame<dyn AnyFrameMeta> = UniqueFrame::from_unused(pa, Name("n".into())).unwrap().into();
    assert!(!frame.is_untyped() && frame.is::<Name>() && !frame.is::<Cached>());
    let frame = frame.downcast::<()>().unwrap_err();
    let frame = UniqueFrame::<Cached>::try_from(frame).unwrap_err();
    let frame = UniqueFrame::<dyn AnyUFrameMeta>::try_from(frame).unwrap_err();
    assert_eq!(Frame::from_in_use(pa).unwrap_err(), GetFrameError::Unique(pa));
    let frame = UniqueFrame::<Name>::try_from(frame).unwrap();
    assert_eq!(frame.meta().0, "n");
    drop(frame);
    assert!(is_unused(pa));
}

#[test]
fn untyped_unique_frames() {
    let pa = frames(1);
    let frame = UniqueFrame::from_unused(pa, Cached { offset: 5 }).unwrap();
    let untyped: UniqueFrame<dyn AnyUFrameMeta> = frame.into();
    assert!(untyped.is_untyped());
    let erased: UniqueFrame<dyn AnyFrameMeta> = untyped.into();
    let untyped = erased.downcast_untyped().unwrap();
    // To a shared handle that forgets as much, and back.
    let shared: UFrame = untyped.into();
    let other = shared.clone();
    let shared = UniqueFrame::try_from(shared).unwrap_err();
    drop(other);
    let untyped = UniqueFrame::try_from(shared).unwrap();
    let erased: UniqueFrame<dyn AnyFrameMeta> = untyped.into();
    assert_eq!(erased.downcast::<Cached>().unwrap().meta().offset, 5);
    assert!(is_unused(pa));
}

#[test]
fn metadata_of_a_forgotten_type() {
    let pa = frames(1);
    let log = Log::new();
    let mut frame: UniqueFrame<dyn AnyFrameMeta> =
        UniqueFrame::from_unused(pa, Noted::new(1, log)).unwrap().into();
    assert!(frame.downcast_ref::<Name>().is_none() && frame.downcast_mut::<Name>().is_none());
    frame.downcast_mut::<Noted>().unwrap().tag = 2;
    assert_eq!(frame.downcast_ref::<Noted>().unwrap().tag, 2);
    let frame: UniqueFrame<dyn AnyFrameMeta> = frame.repurpose(Name("new".into())).into();
    assert_eq!(log.counts(), (1, 1));
    assert_eq!(frame.downcast_ref::<Name>().unwrap().0, "new");
}
