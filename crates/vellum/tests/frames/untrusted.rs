//! Frames from an allocator that says what it likes.
use crate::support::{
    Log, Name, Noted, force_count, frames, freed, in_child, is_unused, nth, read_word, write_word,
};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use vellum::frame::allocator::{
    AllocError, FrameAllocOptions, FrameRequest, FrameStatistics, GlobalFrameAllocator, set_global,
};
use vellum::frame::{Frame, GetFrameError, UniqueFrame};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::PADDR_LIMIT;

/// An allocator with a script: it gives the answers that it was told to give.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Paddr>>,
    returned: Mutex<Vec<(Paddr, usize)>>,
    panics: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GlobalFrameAllocator for Scripted {
    fn alloc(&self, _request: FrameRequest) -> Option<Paddr> {
        assert!(!*lock(&self.panics), "on purpose");
        lock(&self.answers).pop_front()
    }
    fn dealloc(&self, paddr: Paddr, frames: usize) {
        lock(&self.returned).push((paddr, frames));
    }
    fn add_free(&self, _paddr: Paddr, _frames: usize) {}
    fn drain(&self) {}
    fn statistics(&self) -> FrameStatistics {
        unreachable!("nobody asks")
    }
}

/// Has the allocator give these answers, one after the other, to this test alone.
fn script(answers: impl IntoIterator<Item = Paddr>) -> (MutexGuard<'static, ()>, &'static Scripted) {
    static TURN: Mutex<()> = Mutex::new(());
    static SCRIPTED: OnceLock<&Scripted> = OnceLock::new();
    let turn = lock(&TURN);
    let scripted = SCRIPTED.get_or_init(|| {
        assert_eq!(FrameAllocOptions::new().alloc_frame().err(), Some(AllocError::NotReady));
        assert_eq!(FrameAllocOptions::new().alloc_segment(2).err(), Some(AllocError::NotReady));
        let scripted: &Scripted = Box::leak(Box::default());
        set_global(scripted).expect("no other test registers one");
        scripted
    });
    *lock(&scripted.answers) = answers.into_iter().collect();
    lock(&scripted.returned).clear();
    (turn, scripted)
}

fn no_memory(frames: usize) -> Option<AllocError> {
    Some(AllocError::NoMemory { frames })
}

#[test]
fn an_address_that_is_no_frame_is_an_error() {
    let pa = frames(1);
    let odd = Paddr(pa.0 + 1);
    let far = Paddr(PADDR_LIMIT);
    for (paddr, cause) in [(odd, GetFrameError::NotAligned(odd)), (far, GetFrameError::OutOfBound(far))] {
        let expected = Some(AllocError::NoFrame { paddr, cause });
        let _turn = script([paddr; 3]);
        assert_eq!(FrameAllocOptions::new().alloc_frame().err(), expected);
        assert_eq!(FrameAllocOptions::new().alloc_unique_frame().err(), expected);
        assert_eq!(FrameAllocOptions::new().alloc_segment(2).err(), expected);
    }
    let last = Paddr(usize::MAX - (PAGE_SIZE - 1));
    let _turn = script([last]);
    let cause = GetFrameError::OutOfBound(last);
    let expected = Some(AllocError::NoFrame { paddr: last, cause });
    assert_eq!(FrameAllocOptions::new().alloc_segment(usize::MAX).err(), expected);
}

#[test]
fn a_frame_that_somebody_has_is_not_handed_out() {
    let pa = frames(4);
    let shared = Frame::from_unused(pa, ()).unwrap();
    let unique = UniqueFrame::from_unused(nth(pa, 1), ()).unwrap();
    force_count(nth(pa, 2), 0);
    let (_turn, _) = script((0..4).map(|i| nth(pa, i)));
    let frame = FrameAllocOptions::new().alloc_frame().unwrap();
    assert_eq!(frame.start_paddr(), nth(pa, 3));
    assert_eq!((shared.reference_count(), unique.start_paddr()), (1, nth(pa, 1)));
    force_count(nth(pa, 2), u64::MAX);
}

#[test]
fn an_address_given_twice_is_handed_out_once() {
    let pa = frames(2);
    let (_turn, _) = script([pa, pa, nth(pa, 1)]);
    let one = FrameAllocOptions::new().alloc_unique_frame_with(Name("one".into())).unwrap();
    let two = FrameAllocOptions::new().alloc_unique_frame_with(Name("two".into())).unwrap();
    assert_eq!((one.start_paddr(), two.start_paddr()), (pa, nth(pa, 1)));
    assert_eq!((&*one.meta().0, &*two.meta().0), ("one", "two"));
    assert_eq!(FrameAllocOptions::new().alloc_frame().err(), no_memory(1));
}

#[test]
fn a_block_that_overlaps_another_is_given_back() {
    let pa = frames(6);
    let (_turn, scripted) = script([nth(pa, 2), pa]);
    let first = FrameAllocOptions::new().alloc_segment(2).unwrap();
    let log = Log::new();
    let second = FrameAllocOptions::new().alloc_segment_with(6, |_| Noted::new(0, log));
    assert_eq!(second.err(), no_memory(6));
    assert_eq!((first.start_paddr(), first.end_paddr()), (nth(pa, 2), nth(pa, 4)));
    assert_eq!(log.counts(), (2, 3), "two frames were taken and one was not");
    let freed: Vec<_> = (0..6).map(|i| freed(nth(pa, i))).collect();
    assert_eq!(freed, [1, 1, 0, 0, 0, 0], "the frames that were taken go back one by one");
    assert_eq!(*lock(&scripted.returned), [(nth(pa, 3), 3)], "and the others as they came");
    assert!([0, 1, 4, 5].into_iter().all(|i| is_unused(nth(pa, i))));
}

#[test]
fn a_panic_gives_the_block_back() {
    let pa = frames(4);
    let (_turn, scripted) = script([pa]);
    let log = Log::new();
    let meta = |at| {
        assert_ne!(at, nth(pa, 2), "on purpose");
        Noted::new(0, log)
    };
    let ended = catch_unwind(AssertUnwindSafe(|| FrameAllocOptions::new().alloc_segment_with(4, meta)));
    assert!(ended.is_err());
    assert_eq!(log.counts(), (2, 2));
    assert_eq!(*lock(&scripted.returned), [(nth(pa, 2), 2)]);
    assert!((0..4).all(|i| is_unused(nth(pa, i))));
}

#[test]
fn frames_are_filled_and_no_others() {
    let pa = frames(5);
    let fill = || {
        for i in 0..5 {
            write_word(nth(pa, i), 0, 7);
            write_word(nth(pa, i), 511, 7);
        }
    };
    let words = || [0, 1, 2, 3, 4].map(|i| (read_word(nth(pa, i), 0), read_word(nth(pa, i), 511)));
    let (_turn, _) = script([nth(pa, 1); 6]);
    let options = FrameAllocOptions::new();
    fill();
    drop(options.alloc_segment(3).unwrap());
    assert_eq!(words(), [(7, 7), (0, 0), (0, 0), (0, 0), (7, 7)]);
    fill();
    drop(options.alloc_frame().unwrap());
    assert_eq!(words(), [(7, 7), (0, 0), (7, 7), (7, 7), (7, 7)]);
    fill();
    drop(options.alloc_unique_frame().unwrap());
    assert_eq!(words(), [(7, 7), (0, 0), (7, 7), (7, 7), (7, 7)]);
    fill();
    drop(options.uninit().alloc_segment(3).unwrap());
    drop(options.uninit().alloc_frame().unwrap());
    drop(options.uninit().alloc_unique_frame().unwrap());
    assert_eq!(words(), [(7, 7); 5]);
}

#[test]
fn an_allocator_that_panics_stops_the_machine() {
    let said = in_child("untrusted::an_allocator_that_panics_stops_the_machine", || {
        let (_turn, scripted) = script([]);
        *lock(&scripted.panics) = true;
        let _ = FrameAllocOptions::new().alloc_frame();
    });
    assert!(said.contains("on purpose"), "{said}");
}
