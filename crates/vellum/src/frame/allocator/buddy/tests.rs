//! The allocator against a model, and under many threads.
extern crate std;

use super::*;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::AtomicBool;
use proptest::prelude::*;

/// Allocators under test tell about these chunks.
const CHUNKS: usize = 10;
const FRAMES: usize = CHUNKS * CHUNK_FRAMES;

/// Free memory: whole chunks, a part of one, and single frames around a hole.
const USABLE: [Range<usize>; 4] = [3..700, 701..702, 1024..4096, 4100..5000];

fn table() -> Vec<Chunk> {
    (0..CHUNKS).map(|_| Chunk::new()).collect()
}

fn allocator(table: &[Chunk]) -> BuddyAllocator<'_> {
    let allocator = BuddyAllocator::new(Paddr(0), table).unwrap();
    for range in USABLE {
        allocator.add_free(at(range.start), range.len());
    }
    allocator
}

fn at(frame: usize) -> Paddr {
    Paddr(frame * PAGE_SIZE)
}

fn request(frames: usize, align_order: u32) -> FrameRequest {
    FrameRequest::new(frames).unwrap().aligned_to(PAGE_SIZE << align_order).unwrap()
}

fn cpu(number: u32) -> Option<CpuId> {
    (number != 3).then(|| CpuId::new(number).unwrap())
}

fn is_usable(frame: usize) -> bool {
    USABLE.iter().any(|range| range.contains(&frame))
}

#[test]
fn tables_must_fit_physical_memory() {
    let table = table();
    let base = Paddr(PAGE_SIZE << 17);
    assert_eq!(BuddyAllocator::new(base, &table).unwrap_err(), BuddyError::BaseNotAligned { base });
    let chunks = CHUNKS;
    for base in [PADDR_LIMIT, usize::MAX << 30] {
        assert_eq!(BuddyAllocator::new(Paddr(base), &table).unwrap_err(), BuddyError::TooLarge { chunks });
    }
    assert_eq!(BuddyAllocator::table_len(Paddr(0), Paddr(1)), 1);
    assert_eq!(BuddyAllocator::table_len(Paddr(1 << 30), Paddr(0)), 0);
}

#[test]
fn memory_may_lie_anywhere() {
    let table = table();
    let allocator = BuddyAllocator::new(Paddr(2 << 30), &table).unwrap();
    allocator.add_free(Paddr(2 << 30), FRAMES);
    let block = Paddr(2 << 30);
    assert_eq!(allocator.alloc_as(None, request(1, 12)), Some(block));
    assert_eq!(allocator.alloc_as(None, request(1, 12)), None, "the rest is smaller");
    allocator.dealloc(block, 1);
    assert_eq!(allocator.alloc_as(None, request(1, 13)), None, "no block is larger");
    assert_eq!(allocator.alloc_as(None, request(4096, 12)), Some(block));
}

#[test]
fn every_frame_is_handed_out_once_and_comes_back() {
    let table = table();
    let allocator = allocator(&table);
    let before = allocator.statistics();
    assert_eq!(before.total, USABLE.iter().map(Range::len).sum::<usize>());
    assert_eq!((before.free, before.cached, before.ignored), (before.total, 0, 0));
    let frames: BTreeSet<_> =
        core::iter::from_fn(|| allocator.alloc_as(cpu(0), FrameRequest::SINGLE)).collect();
    assert_eq!(frames.len(), before.total);
    assert!(frames.iter().all(|paddr| is_usable(paddr.0 / PAGE_SIZE)));
    assert_eq!(allocator.statistics().free, 0);
    for &paddr in &frames {
        allocator.dealloc(paddr, 1);
    }
    allocator.drain();
    assert_eq!(allocator.statistics(), before);
}

#[test]
fn what_another_processor_caches_is_found_before_memory_runs_out() {
    let table = table();
    let allocator = allocator(&table);
    let before = allocator.statistics();
    let one = allocator.alloc_as(cpu(1), FrameRequest::SINGLE).unwrap();
    assert!(allocator.statistics().cached > 0);
    let count = core::iter::from_fn(|| allocator.alloc_as(cpu(0), FrameRequest::SINGLE)).count();
    assert_eq!(count, before.total - 1);
    assert_eq!(allocator.alloc_as(cpu(1), FrameRequest::SINGLE), None);
    allocator.dealloc(one, 1);
    assert_eq!(allocator.alloc_as(cpu(0), FrameRequest::SINGLE), Some(one));
}

#[test]
fn giving_back_nonsense_is_counted_and_changes_nothing() {
    let table = table();
    let allocator = allocator(&table);
    let block = allocator.alloc_as(cpu(0), request(5, 0)).unwrap();
    let before = allocator.statistics();
    let nonsense = [
        (at(0), 1),
        (at(700), 1),
        (at(2000), 3),
        (at(FRAMES), 2),
        (Paddr(usize::MAX), 1),
        (Paddr(usize::MAX), 2),
        (Paddr(block.0 + 1), 1),
        (Paddr(block.0 + 8), 5),
        (block, 0),
    ];
    for (paddr, frames) in nonsense {
        allocator.dealloc(paddr, frames);
    }
    let ignored = nonsense.iter().map(|&(_, frames)| frames as u64).sum();
    assert_eq!(allocator.statistics(), FrameStatistics { ignored, ..before });
    allocator.dealloc(at(0), usize::MAX);
    let after = allocator.statistics();
    assert_eq!(after.free, after.total);
    assert_eq!(after.ignored, ignored.wrapping_add(usize::MAX as u64 - 5));
}

#[test]
fn frames_are_added_once() {
    let table = table();
    let allocator = allocator(&table);
    let block = allocator.alloc_as(None, request(4, 0)).unwrap();
    let before = allocator.statistics();
    allocator.add_free(block, 4);
    allocator.add_free(at(2), 2);
    allocator.add_free(Paddr(7), 1);
    let after = allocator.statistics();
    assert_eq!((after.total, after.free), (before.total + 1, before.free + 1));
    assert_eq!(after.ignored, before.ignored + 6);
}

#[test]
fn impossible_requests_are_refused() {
    let table = table();
    let allocator = allocator(&table);
    let before = allocator.statistics();
    for (frames, order) in
        [(FRAMES, 0), (usize::MAX, 0), (usize::MAX, 51), (1, 51), (1, 19), (1 << 19, 0), (3073, 0)]
    {
        assert_eq!(allocator.alloc_as(cpu(0), request(frames, order)), None);
    }
    assert_eq!(allocator.statistics(), before);
}

#[test]
fn the_tail_of_a_large_request_stays_free() {
    let table = table();
    let allocator = allocator(&table);
    let before = allocator.statistics();
    let block = allocator.alloc_as(cpu(0), request(1025, 0)).unwrap();
    assert_eq!(block, at(2048));
    assert_eq!(allocator.statistics().free, before.free - 1025);
    assert_eq!(allocator.alloc_as(cpu(0), request(512, 9)), Some(at(3584)), "the smallest block that fits");
    allocator.dealloc(at(3584), 512);
    allocator.dealloc(block, 1025);
    assert_eq!(allocator.statistics(), before);
}

/// What one may do to an allocator.
#[derive(Clone, Debug)]
enum Step {
    Alloc {
        cpu: u32,
        frames: usize,
        align_order: u32,
    },
    /// Gives the n-th live block back.
    Free {
        nth: usize,
    },
    /// Gives back whatever lies there.
    FreeAnything {
        frame: usize,
        frames: usize,
    },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let frames = prop_oneof![8 => Just(1usize), 4 => 1usize..70, 2 => 1usize..600, 1 => 1usize..2100];
    let align_order = prop_oneof![6 => Just(0u32), 2 => 0u32..8, 1 => 0u32..13];
    prop_oneof![
        8 => (0..4u32, frames, align_order).prop_map(|(cpu, frames, align_order)| Step::Alloc { cpu, frames, align_order }),
        6 => any::<usize>().prop_map(|nth| Step::Free { nth }),
        2 => (0..FRAMES + 9, 0usize..40).prop_map(|(frame, frames)| Step::FreeAnything { frame, frames }),
        1 => Just(Step::Drain),
    ]
}

/// The frames that are allocated, by their own account.
struct Model {
    allocated: [bool; FRAMES],
    live: Vec<Range<usize>>,
    ignored: u64,
}

impl Model {
    fn free(&self) -> usize {
        (0..FRAMES).filter(|&frame| is_usable(frame) && !self.allocated[frame]).count()
    }

    fn is_free(&self, mut frames: Range<usize>) -> bool {
        frames.end <= FRAMES && frames.all(|frame| is_usable(frame) && !self.allocated[frame])
    }

    fn give(&mut self, frames: Range<usize>) {
        for frame in frames {
            let was_allocated = self.allocated.get_mut(frame).is_some_and(core::mem::take);
            self.ignored += u64::from(!was_allocated);
        }
    }

    fn take(&mut self, frames: Range<usize>) {
        self.allocated[frames.clone()].fill(true);
        self.live.push(frames);
    }

    /// Says whether a naturally aligned block of `1 << order` frames is free.
    fn has_block(&self, order: u32) -> bool {
        (0..FRAMES).step_by(1 << order).any(|start| self.is_free(start..start + (1 << order)))
    }
}

fn run(allocator: &BuddyAllocator<'_>, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    match *step {
        Step::Alloc { cpu: number, frames, align_order } => {
            let request = request(frames, align_order);
            if let Some(paddr) = allocator.alloc_as(cpu(number), request) {
                prop_assert!(paddr.0.is_multiple_of(request.align()));
                let start = paddr.0 / PAGE_SIZE;
                prop_assert!(model.is_free(start..start + frames), "{}..+{} overlaps", start, frames);
                model.take(start..start + frames);
            } else {
                let order = request.block_frames().unwrap().ilog2();
                prop_assert!(!model.has_block(order), "a block of order {} is free", order);
            }
        }
        Step::Free { nth } if !model.live.is_empty() => {
            let frames = model.live.swap_remove(nth % model.live.len());
            allocator.dealloc(at(frames.start), frames.len());
            model.give(frames);
        }
        Step::Free { .. } => {}
        Step::FreeAnything { frame, frames } => {
            allocator.dealloc(at(frame), frames);
            model.give(frame..frame + frames);
        }
        Step::Drain => allocator.drain(),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_allocator_does_what_the_model_says(steps in proptest::collection::vec(step(), 0..150)) {
        let table = table();
        let allocator = allocator(&table);
        let before = allocator.statistics();
        let mut model = Model { allocated: [false; FRAMES], live: Vec::new(), ignored: 0 };
        for step in &steps {
            run(&allocator, &mut model, step)?;
            let statistics = allocator.statistics();
            prop_assert_eq!(statistics.free, model.free());
            prop_assert_eq!(statistics.ignored, model.ignored);
            let by_order = statistics.by_order.iter().enumerate().map(|(order, blocks)| blocks << order);
            prop_assert_eq!(by_order.sum::<usize>(), statistics.free);
        }
        for frame in 0..FRAMES {
            if model.allocated[frame] {
                allocator.dealloc(at(frame), 1);
            }
        }
        allocator.drain();
        prop_assert_eq!(allocator.statistics(), FrameStatistics { ignored: model.ignored, ..before });
    }
}

/// A generator of arbitrary numbers (xorshift).
struct Arbitrary(u64);

impl Arbitrary {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % limit
    }
}

/// Allocates and gives back blocks, and notes whose each frame is.
fn work(allocator: &BuddyAllocator<'_>, owned: &[AtomicBool], cpu: Option<CpuId>, seed: u64) {
    let mut arbitrary = Arbitrary(seed);
    let mut mine: Vec<Range<usize>> = Vec::new();
    let give = |frames: Range<usize>| {
        assert!(owned[frames.clone()].iter().all(|owned| owned.swap(false, Ordering::Relaxed)));
        allocator.dealloc(at(frames.start), frames.len());
    };
    for _ in 0..20_000 {
        match arbitrary.below(16) {
            0 => allocator.drain(),
            // Nobody was ever handed these.
            1 => allocator.dealloc(at([0, 700, 4097][arbitrary.below(3)]), 1),
            2..10 => {
                let frames = [1, 1, 1, 1, 1, 3, 32, 64, 100, 512, 700][arbitrary.below(11)];
                let Some(paddr) = allocator.alloc_as(cpu, request(frames, 0)) else { continue };
                let start = paddr.0 / PAGE_SIZE;
                for (frame, owned) in (start..).zip(&owned[start..start + frames]) {
                    assert!(
                        is_usable(frame) && !owned.swap(true, Ordering::Relaxed),
                        "{frame} handed out twice"
                    );
                }
                mine.push(start..start + frames);
            }
            _ if mine.is_empty() => {}
            _ => give(mine.swap_remove(arbitrary.below(mine.len()))),
        }
    }
    mine.drain(..).for_each(give);
}

#[test]
fn many_threads_never_get_the_same_frame() {
    let table = table();
    let allocator = allocator(&table);
    let before = allocator.statistics();
    let owned: Vec<_> = (0..FRAMES).map(|_| AtomicBool::new(false)).collect();
    for round in 0..8 {
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let (allocator, owned) = (&allocator, &owned);
                // Two of the threads say that they are the same processor.
                let cpu = cpu(thread.min(2));
                scope.spawn(move || work(allocator, owned, cpu, u64::from(1 + thread + 4 * round)));
            }
        });
        // Nothing is drained here: blocks form by themselves, but for those of the caches.
        let ignored = allocator.statistics().ignored;
        assert_eq!(allocator.statistics().free, before.free);
        allocator.drain();
        assert_eq!(allocator.statistics(), FrameStatistics { ignored, ..before });
    }
}

#[test]
fn a_frame_given_back_by_two_threads_is_free_once() {
    let table = table();
    let allocator = allocator(&table);
    let before = allocator.statistics();
    for turn in 0..2_000u64 {
        let paddr = allocator.alloc_as(cpu(0), FrameRequest::SINGLE).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| allocator.dealloc(paddr, 1));
            allocator.dealloc(paddr, 1);
        });
        let statistics = allocator.statistics();
        assert_eq!((statistics.free, statistics.ignored), (before.free, turn + 1));
    }
}
