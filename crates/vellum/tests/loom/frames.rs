//! The slot's protocol, through the handles.
use crate::support::{FRAME, Watched, freed, with_frames};
use loom::thread;
use vellum::frame::{Frame, GetFrameError, UniqueFrame};

fn make(word: u64) -> Result<Frame<Watched>, GetFrameError> {
    Frame::from_unused(FRAME, Watched::new(word))
}

fn found() -> Option<Frame<Watched>> {
    let frame = Frame::from_in_use(FRAME).ok()?;
    Some(frame.downcast::<Watched>().expect("the frame has no other metadata"))
}

#[test]
fn the_last_of_two_handles_ends_the_metadata() {
    with_frames(None, || {
        let mine = make(7).expect("it is unused");
        let theirs = mine.clone();
        let other = thread::spawn(move || {
            assert_eq!(theirs.clone().meta().read(), 7);
            assert_eq!(theirs.meta().read(), 7);
        });
        assert_eq!(mine.meta().read(), 7);
        drop(mine);
        other.join().unwrap();
        assert_eq!(freed(), 1);
    });
}

#[test]
fn a_frame_is_used_again_after_its_end() {
    with_frames(None, || {
        let mine = make(7).expect("it is unused");
        let theirs = mine.clone();
        let other = thread::spawn(move || assert_eq!(theirs.meta().read(), 7));
        let next = thread::spawn(|| match make(9) {
            Ok(frame) => {
                assert_eq!(frame.meta().read(), 9);
                true
            }
            Err(error) => {
                assert!(matches!(error, GetFrameError::InUse(FRAME) | GetFrameError::Busy(FRAME)));
                false
            }
        });
        drop(mine);
        other.join().unwrap();
        let lives = 1 + usize::from(next.join().unwrap());
        assert_eq!(freed(), lives);
    });
}

#[test]
fn a_frame_that_is_found_has_metadata_to_the_end() {
    with_frames(None, || {
        let mine = make(7).expect("it is unused");
        let finder = thread::spawn(|| {
            if let Some(frame) = found() {
                assert_eq!(frame.meta().read(), 7);
            }
        });
        assert_eq!(mine.meta().read(), 7);
        drop(mine);
        finder.join().unwrap();
        assert_eq!(freed(), 1);
    });
}

#[test]
fn a_frame_is_found_only_once_it_is_made() {
    with_frames(None, || {
        let maker = thread::spawn(|| drop(make(7).expect("nobody else makes it")));
        if let Some(frame) = found() {
            assert_eq!(frame.meta().read(), 7);
        }
        maker.join().unwrap();
        assert_eq!(freed(), 1);
    });
}

#[test]
fn one_of_two_gets_an_unused_frame() {
    with_frames(None, || {
        let other = thread::spawn(|| UniqueFrame::from_unused(FRAME, Watched::new(1)));
        let mine = make(2);
        let theirs = other.join().unwrap();
        match (&mine, &theirs) {
            (Ok(frame), Err(GetFrameError::InUse(FRAME) | GetFrameError::Busy(FRAME))) => {
                assert_eq!(frame.meta().read(), 2);
            }
            (Err(GetFrameError::Unique(FRAME) | GetFrameError::Busy(FRAME)), Ok(frame)) => {
                assert_eq!(frame.meta().read(), 1);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_a_unique_handle_wrote_is_what_others_find() {
    with_frames(None, || {
        let maker = thread::spawn(|| {
            let mut unique = UniqueFrame::from_unused(FRAME, Watched::new(1)).expect("it is unused");
            unique.meta_mut().set(2);
            drop(Frame::from(unique));
        });
        if let Some(frame) = found() {
            assert_eq!(frame.meta().read(), 2);
        }
        maker.join().unwrap();
        assert_eq!(freed(), 1);
    });
}

#[test]
fn a_handle_becomes_unique_after_all_others() {
    with_frames(None, || {
        let mine = make(7).expect("it is unused");
        let finder = thread::spawn(|| {
            if let Some(frame) = found() {
                assert!(matches!(frame.meta().read(), 7 | 8));
            }
        });
        match UniqueFrame::try_from(mine) {
            Ok(mut unique) => {
                unique.meta_mut().set(8);
                drop(Frame::from(unique));
            }
            Err(shared) => assert_eq!(shared.meta().read(), 7),
        }
        finder.join().unwrap();
        assert_eq!(freed(), 1);
    });
}

#[test]
fn a_repurposed_frame_shows_its_new_metadata_alone() {
    with_frames(None, || {
        let unique = UniqueFrame::from_unused(FRAME, Watched::new(1)).expect("it is unused");
        let finder = thread::spawn(|| {
            if let Some(frame) = found() {
                assert_eq!(frame.meta().read(), 2);
            }
        });
        drop(Frame::from(unique.repurpose(Watched::new(2))));
        finder.join().unwrap();
        assert_eq!(freed(), 1);
    });
}
