//! Shared handles.
use crate::support::*;
use vellum::frame::{AnyFrameMeta, Frame, GetFrameError, UFrame};
use vellum_machine::addr::PAGE_SIZE;

#[test]
fn the_last_handle_finishes_the_metadata_once() {
    let pa = frames(1);
    let log = Log::new();
    let first = Frame::from_unused(pa, Noted::new(7, log)).unwrap();
    write_word(pa, 0, 0xfeed);
    assert_eq!(first.meta().tag, 7);
    assert_eq!(first.reference_count(), 1);
    let second = first.clone();
    let third = Frame::from_in_use(pa).unwrap();
    assert_eq!(second.reference_count(), 3);
    drop(first);
    drop(third);
    assert_eq!(log.counts(), (0, 0));
    assert_eq!(second.reference_count(), 1);
    assert_eq!(second.meta().tag, 7);
    assert_eq!(freed(pa), 0);
    drop(second);
    assert_eq!(log.counts(), (1, 1));
    assert_eq!(log.word.load(std::sync::atomic::Ordering::Relaxed), 0xfeed);
    assert_eq!(log.len.load(std::sync::atomic::Ordering::Relaxed), PAGE_SIZE);
    assert_eq!(freed(pa), 1);
    assert!(is_unused(pa));
}

#[test]
fn frames_are_used_again() {
    let pa = frames(1);
    for i in 0..100 {
        let log = Log::new();
        let frame = Frame::from_unused(pa, Noted::new(i, log)).unwrap();
        assert_eq!(frame.meta().tag, i);
        drop(frame);
        assert_eq!(log.counts(), (1, 1));
        let frame = Frame::from_unused(pa, Name(format!("{i}"))).unwrap();
        assert_eq!(frame.meta().0, format!("{i}"));
    }
    assert_eq!(freed(pa), 200);
}

#[test]
fn what_a_handle_says_of_the_frame() {
    let pa = frames(1);
    let frame = Frame::from_unused(pa, Name("n".into())).unwrap();
    assert_eq!((frame.start_paddr(), frame.paddr(), frame.size(), frame.level()), (pa, pa, PAGE_SIZE, 1));
    assert!(!frame.is_untyped());
    let borrowed = frame.borrow();
    let again = borrowed;
    assert_eq!(borrowed.meta().0, again.meta().0);
    assert_eq!(again.reference_count(), 1);
    assert_eq!(again.clone().reference_count(), 1);
    let counted = Frame::clone(&again);
    assert_eq!(counted.reference_count(), 2);
    assert_eq!(format!("{frame:?}"), format!("Frame({pa:?})"));
}

#[test]
fn a_wrong_downcast_gives_the_frame_back() {
    let pa = frames(1);
    let frame: Frame<dyn AnyFrameMeta> = Frame::from_unused(pa, Name("n".into())).unwrap().into();
    let frame = frame.downcast::<()>().unwrap_err();
    let frame = Frame::<Cached>::try_from(frame).unwrap_err();
    let frame = UFrame::try_from(frame).unwrap_err();
    assert_eq!(frame.reference_count(), 1);
    let frame = Frame::<Name>::try_from(frame).unwrap();
    assert_eq!(frame.meta().0, "n");
    drop(frame);
    assert!(is_unused(pa));
}

#[test]
fn metadata_of_a_forgotten_type() {
    let pa = frames(2);
    let erased: Frame<dyn AnyFrameMeta> = Frame::from_unused(pa, Name("n".into())).unwrap().into();
    assert!(erased.is::<Name>() && erased.is::<dyn AnyFrameMeta>());
    assert!(!erased.is::<Cached>() && !erased.is_untyped());
    assert!(erased.downcast_ref::<Cached>().is_none());
    assert_eq!(erased.downcast_ref::<Name>().unwrap().0, "n");
    let untyped: UFrame = Frame::from_unused(nth(pa, 1), Cached { offset: 5 }).unwrap().into();
    assert_eq!(untyped.downcast_ref::<Cached>().unwrap().offset, 5);
    assert!(untyped.downcast_ref::<()>().is_none());
}

#[test]
fn untyped_frames_are_found() {
    let pa = frames(2);
    let plain: UFrame = Frame::from_unused(pa, ()).unwrap().into();
    let cached: UFrame = Frame::from_unused(nth(pa, 1), Cached { offset: 5 }).unwrap().into();
    assert!(plain.is_untyped() && cached.is_untyped());
    let erased: Frame<dyn AnyFrameMeta> = cached.into();
    let cached = erased.downcast_untyped().unwrap();
    let erased: Frame<dyn AnyFrameMeta> = cached.into();
    assert_eq!(erased.downcast::<Cached>().unwrap().meta().offset, 5);
    let found = UFrame::try_from(Frame::from_in_use(pa).unwrap()).unwrap();
    assert_eq!(found.reference_count(), 2);
}

#[test]
#[expect(unsafe_code, reason = "restores a handle that was forgotten")]
fn raw_handles_keep_their_count() {
    let pa = frames(1);
    let frame = Frame::from_unused(pa, Name("raw".into())).unwrap();
    let other = frame.clone();
    let raw = frame.into_raw();
    assert_eq!(raw, pa);
    drop(other);
    assert_eq!(Frame::from_in_use(pa).unwrap().reference_count(), 2);
    // SAFETY: `raw` was made from a handle of this type, and is restored once.
    let frame = unsafe { Frame::<Name>::from_raw(raw) };
    assert_eq!((frame.meta().0.as_str(), frame.reference_count()), ("raw", 1));
    drop(frame);
    assert!(is_unused(pa));
}

#[test]
fn one_thread_wins_a_frame() {
    let pa = frames(1);
    for _ in 0..200 {
        let start = std::sync::Barrier::new(4);
        let won: Vec<_> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|i| {
                    let start = &start;
                    s.spawn(move || {
                        start.wait();
                        Frame::from_unused(pa, Name(format!("{i}")))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|r| r.is_ok()).count(), 1);
        for lost in won.iter().filter_map(|r| r.as_ref().err()) {
            assert!(matches!(lost, GetFrameError::InUse(at) | GetFrameError::Busy(at) if *at == pa));
        }
        for (i, frame) in won.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref().ok()?))) {
            assert_eq!(frame.meta().0, format!("{i}"));
        }
    }
    assert!(is_unused(pa));
}

#[test]
fn a_panic_in_on_drop_stops_the_machine() {
    struct Panics;
    impl AnyFrameMeta for Panics {
        fn on_drop(&mut self, _: &mut vellum::io::VmReader<'_>) {
            panic!("on purpose")
        }
    }
    let said = in_child("shared::a_panic_in_on_drop_stops_the_machine", || {
        drop(Frame::from_unused(frames(1), Panics).unwrap());
    });
    assert!(said.contains("on purpose") && said.contains("halted"), "{said}");
}
