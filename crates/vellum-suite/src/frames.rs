//! Frames and segments: zeroed, counted, handed out once, and back in the end.
use crate::Machine;
use crate::support::{Random, on_first, user_frame};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use vellum::frame::allocator::{self, AllocError, FrameAllocOptions, FrameStatistics};
use vellum::frame::{Link, LinkedList, UFrame};
use vellum::io::UntypedMem;
use vellum_machine::addr::PAGE_SIZE;

/// How often a processor takes or gives.
const TURNS: usize = 2000;

/// Frames of which some are looked at.
const FRAMES: usize = 1000;

/// Counts what is free, with the caches empty.
fn census() -> FrameStatistics {
    allocator::drain();
    FrameStatistics { ignored: 0, ..allocator::statistics().expect("there is an allocator") }
}

/// Frames and segments are distinct and of zeros, and go back with their last handle.
pub fn zeroed_and_back(machine: &dyn Machine) {
    on_first(machine, || {
        let mut frames: Vec<UFrame> = (0..FRAMES).map(|_| user_frame()).collect();
        frames.sort_by_key(|frame| frame.start_paddr());
        for pair in frames.windows(2) {
            assert!(
                pair[0].start_paddr() < pair[1].start_paddr(),
                "two handles of {}",
                pair[0].start_paddr()
            );
        }
        for frame in &frames {
            let mut reader = frame.reader();
            let zeros = (0..PAGE_SIZE / 8).all(|_| reader.read_val() == Ok(0_u64));
            assert!(zeros, "{} was not zeroed", frame.start_paddr());
            frame.writer().fill(0xff, PAGE_SIZE);
        }
        let before = census().free;
        let other = frames[0].clone();
        assert_eq!(other.reference_count(), 2);
        frames.swap_remove(0);
        assert_eq!(census().free, before, "a frame went with a handle that is not its last");
        drop(other);
        assert_eq!(census().free, before + 1);
        let segment = FrameAllocOptions::new().alloc_segment(20).expect("20 frames are free");
        assert_eq!(census().free, before + 1 - 20);
        let (first, rest) = segment.split(3 * PAGE_SIZE).expect("the offset is inside");
        drop(first);
        assert_eq!(census().free, before + 4 - 20);
        drop(rest);
        assert_eq!(census().free, before + 1);
    });
}

/// Takes every frame there is; then there is an error, and in the end every frame is back. The list that holds them needs no
/// heap.
pub fn exhaustion(machine: &dyn Machine) {
    on_first(machine, || {
        let before = census();
        let mut all = LinkedList::new();
        let take = || FrameAllocOptions::new().uninit().alloc_unique_frame_with(Link::new(()));
        while let Ok(frame) = take() {
            all.push_back(frame);
        }
        assert_eq!(all.size(), before.free);
        assert_eq!(FrameAllocOptions::new().alloc_frame().err(), Some(AllocError::NoMemory { frames: 1 }));
        let segment = FrameAllocOptions::new().alloc_segment(2);
        assert_eq!(segment.err(), Some(AllocError::NoMemory { frames: 2 }));
        let last = all.pop_back().expect("there was a frame").start_paddr();
        let again = FrameAllocOptions::new().alloc_frame().expect("one is free");
        assert_eq!(again.start_paddr(), last, "another frame was free");
        drop((all, again));
        assert_eq!(census(), before);
    });
}

/// Every processor takes and gives; no two have the same frame.
pub fn at_once(machine: &dyn Machine) {
    let (seed, turns) = (machine.seed(), TURNS * machine.scale());
    machine.on_all(&|me| {
        let mut random = Random::new(seed, me.index());
        let mut held: Vec<UFrame> = Vec::new();
        let mine = me.index() as u64 + 1;
        for _ in 0..turns {
            if random.below(5) < 3 && held.len() < FRAMES {
                let frame = user_frame();
                assert_eq!(frame.reader().read_val(), Ok(0_u64), "it was not zeroed");
                frame.writer().write_val(&mine).expect("a frame has room for a word");
                held.push(frame);
            } else if !held.is_empty() {
                let frame = held.swap_remove(random.below(held.len()));
                assert_eq!(frame.reader().read_val(), Ok(mine), "another processor has it too");
            }
        }
        let distinct: BTreeSet<_> = held.iter().map(|frame| frame.start_paddr()).collect();
        assert_eq!(distinct.len(), held.len());
    });
}
