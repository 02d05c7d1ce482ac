//! The default allocator against a model, and under many threads.

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use vellum::frame::allocator::{
    BuddyAllocator, BuddyError, Chunk, FrameRequest, FrameStatistics, GlobalFrameAllocator, Magazine, Marks,
    Notes, Parts,
};
use vellum::sync::CpuLocal;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::layout::PADDR_LIMIT;

/// Frames of an entry of the tables.
const CHUNK_FRAMES: usize = 512;

/// Processors of the machine.
const CPUS: u32 = 3;

/// Allocators under test tell about these chunks.
const CHUNKS: usize = 10;
const FRAMES: usize = CHUNKS * CHUNK_FRAMES;

/// Free memory: whole chunks, a part of one, and single frames around a hole.
const USABLE: [Range<usize>; 4] = [3..700, 701..702, 1024..4096, 4100..5000];

/// What an allocator is made of.
struct Owned {
    chunks: Vec<Chunk>,
    marks: Vec<Marks>,
    notes: Vec<Notes>,
    magazines: Box<CpuLocal<Magazine>>,
}

impl Owned {
    fn new() -> Owned {
        Owned {
            chunks: (0..CHUNKS).map(|_| Chunk::new()).collect(),
            marks: (0..CHUNKS).map(|_| Marks::new()).collect(),
            notes: vec![Notes::new(); CHUNKS],
            magazines: Box::default(),
        }
    }

    fn empty_allocator(&mut self, base: Paddr) -> Result<BuddyAllocator<'_>, BuddyError> {
        let Owned { chunks, marks, notes, magazines } = self;
        BuddyAllocator::new(base, Parts { chunks, marks, notes, magazines })
    }

    fn allocator(&mut self) -> BuddyAllocator<'_> {
        let allocator = self.empty_allocator(Paddr(0)).unwrap();
        for range in USABLE {
            allocator.add_free(at(range.start), range.len());
        }
        allocator
    }
}

fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    let config = MachineConfig { memory: 16 << 20, cpus: CPUS as usize, ..MachineConfig::default() };
    MACHINE.get_or_init(|| Machine::boot(config).expect("the machine boots"))
}

/// Runs `f` on a processor; with [`CPUS`] as the number on this thread, which is none.
fn on<T: Send>(number: u32, f: impl FnOnce() -> T + Send) -> T {
    match number {
        CPUS => f(),
        number => machine().run_on(CpuId::new(number).unwrap(), f),
    }
}

fn at(frame: usize) -> Paddr {
    Paddr(frame * PAGE_SIZE)
}

fn request(frames: usize, align_order: u32) -> FrameRequest {
    FrameRequest::new(frames).unwrap().aligned_to(PAGE_SIZE << align_order).unwrap()
}

/// Takes single frames until there are none.
fn all_singles(allocator: &BuddyAllocator<'_>) -> impl Iterator<Item = Paddr> {
    std::iter::from_fn(|| allocator.alloc(FrameRequest::SINGLE))
}

fn is_usable(frame: usize) -> bool {
    USABLE.iter().any(|range| range.contains(&frame))
}

#[test]
fn tables_must_fit_physical_memory() {
    let mut parts = Owned::new();
    let base = Paddr(PAGE_SIZE << 17);
    assert_eq!(parts.empty_allocator(base).unwrap_err(), BuddyError::BaseNotAligned { base });
    let chunks = CHUNKS;
    for base in [PADDR_LIMIT, usize::MAX << 30] {
        assert_eq!(parts.empty_allocator(Paddr(base)).unwrap_err(), BuddyError::TooLarge { chunks });
    }
    parts.marks.pop();
    let (marks, notes) = (CHUNKS - 1, CHUNKS);
    assert_eq!(parts.empty_allocator(Paddr(0)).unwrap_err(), BuddyError::Tables { chunks, marks, notes });
    assert_eq!(BuddyAllocator::table_len(Paddr(0), Paddr(1)), 1);
    assert_eq!(BuddyAllocator::table_len(Paddr(1 << 30), Paddr(0)), 0);
}

#[test]
fn memory_may_lie_anywhere() {
    let mut parts = Owned::new();
    let block = Paddr(2 << 30);
    let allocator = parts.empty_allocator(block).unwrap();
    allocator.add_free(block, FRAMES);
    assert_eq!(allocator.alloc(request(1, 12)), Some(block));
    assert_eq!(allocator.alloc(request(1, 12)), None, "the rest is smaller");
    allocator.dealloc(block, 1);
    assert_eq!(allocator.alloc(request(1, 13)), None, "no block is larger");
    assert_eq!(allocator.alloc(request(4096, 12)), Some(block));
}

#[test]
fn every_frame_is_handed_out_once_and_comes_back() {
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let before = allocator.statistics();
    assert_eq!(before.total, USABLE.iter().map(Range::len).sum::<usize>());
    assert_eq!((before.free, before.cached, before.ignored), (before.total, 0, 0));
    let frames: BTreeSet<_> = on(0, || all_singles(&allocator).collect());
    assert_eq!(frames.len(), before.total);
    assert!(frames.iter().all(|paddr| is_usable(paddr.0 / PAGE_SIZE)));
    assert_eq!(allocator.statistics().free, 0);
    on(1, || frames.iter().for_each(|&paddr| allocator.dealloc(paddr, 1)));
    assert!(allocator.statistics().cached > 0);
    allocator.drain();
    assert_eq!(allocator.statistics(), before);
}

#[test]
fn what_another_processor_caches_is_found_before_memory_runs_out() {
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let before = allocator.statistics();
    let one = on(1, || allocator.alloc(FrameRequest::SINGLE)).unwrap();
    assert!(allocator.statistics().cached > 0);
    assert_eq!(on(0, || all_singles(&allocator).count()), before.total - 1);
    assert_eq!(on(1, || allocator.alloc(FrameRequest::SINGLE)), None);
    on(1, || allocator.dealloc(one, 1));
    assert_eq!(allocator.statistics().cached, 1);
    assert_eq!(on(0, || allocator.alloc(FrameRequest::SINGLE)), Some(one));
}

#[test]
fn what_is_cached_forms_the_block_that_is_wanted() {
    let mut parts = Owned::new();
    let allocator = parts.empty_allocator(Paddr(0)).unwrap();
    allocator.add_free(Paddr(0), CHUNK_FRAMES);
    let one = on(0, || allocator.alloc(FrameRequest::SINGLE)).unwrap();
    on(1, || allocator.dealloc(one, 1));
    assert_eq!(on(2, || allocator.alloc(request(CHUNK_FRAMES, 9))), Some(Paddr(0)));
}

#[test]
fn a_part_may_come_back_alone() {
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let before = allocator.statistics();
    // A block, and a run of another length.
    for (frames, part) in [(16, 8), (11, 5)] {
        let start = on(0, || allocator.alloc(request(frames, 0))).unwrap();
        on(0, || allocator.dealloc(start, part));
        assert_eq!(allocator.statistics().free, before.free - (frames - part));
        on(1, || allocator.dealloc(Paddr(start.0 + part * PAGE_SIZE), frames - part));
        assert_eq!(allocator.statistics().free, before.free);
    }
    allocator.drain();
    assert_eq!(allocator.statistics(), before);
}

#[test]
fn giving_back_nonsense_is_counted_and_changes_nothing() {
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let block = allocator.alloc(request(5, 0)).unwrap();
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
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let block = allocator.alloc(request(4, 0)).unwrap();
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
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let before = allocator.statistics();
    for (frames, order) in
        [(FRAMES, 0), (usize::MAX, 0), (usize::MAX, 51), (1, 51), (1, 19), (1 << 19, 0), (3073, 0)]
    {
        assert_eq!(allocator.alloc(request(frames, order)), None);
    }
    assert_eq!(allocator.statistics(), before);
}

#[test]
fn the_tail_of_a_large_request_stays_free() {
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let before = allocator.statistics();
    let block = allocator.alloc(request(1025, 0)).unwrap();
    assert_eq!(block, at(2048));
    assert_eq!(allocator.statistics().free, before.free - 1025);
    assert_eq!(allocator.alloc(request(512, 9)), Some(at(3584)), "the smallest block that fits");
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
        cpu: u32,
        nth: usize,
    },
    /// Gives back whatever lies there.
    FreeAnything {
        cpu: u32,
        frame: usize,
        frames: usize,
    },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let frames = prop_oneof![8 => Just(1usize), 4 => 1usize..70, 2 => 1usize..600, 1 => 1usize..2100];
    let align_order = prop_oneof![6 => Just(0u32), 2 => 0u32..8, 1 => 0u32..13];
    prop_oneof![
        8 => (0..=CPUS, frames, align_order).prop_map(|(cpu, frames, align_order)| Step::Alloc { cpu, frames, align_order }),
        6 => (0..=CPUS, any::<usize>()).prop_map(|(cpu, nth)| Step::Free { cpu, nth }),
        2 => (0..=CPUS, 0..FRAMES + 9, 0usize..40).prop_map(|(cpu, frame, frames)| Step::FreeAnything { cpu, frame, frames }),
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
            let was_allocated = self.allocated.get_mut(frame).is_some_and(std::mem::take);
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
        Step::Alloc { cpu, frames, align_order } => {
            let request = request(frames, align_order);
            if let Some(paddr) = on(cpu, || allocator.alloc(request)) {
                prop_assert!(paddr.0.is_multiple_of(request.align()));
                let start = paddr.0 / PAGE_SIZE;
                prop_assert!(model.is_free(start..start + frames), "{}..+{} overlaps", start, frames);
                model.take(start..start + frames);
            } else {
                let order = request.block_frames().unwrap().ilog2();
                prop_assert!(!model.has_block(order), "a block of order {} is free", order);
            }
        }
        Step::Free { cpu, nth } if !model.live.is_empty() => {
            let frames = model.live.swap_remove(nth % model.live.len());
            on(cpu, || allocator.dealloc(at(frames.start), frames.len()));
            model.give(frames);
        }
        Step::Free { .. } => {}
        Step::FreeAnything { cpu, frame, frames } => {
            on(cpu, || allocator.dealloc(at(frame), frames));
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
        let mut parts = Owned::new();
        let allocator = parts.allocator();
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
fn work(allocator: &BuddyAllocator<'_>, owned: &[AtomicBool], seed: u64) {
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
                let Some(paddr) = allocator.alloc(request(frames, 0)) else { continue };
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
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let before = allocator.statistics();
    let owned: Vec<_> = (0..FRAMES).map(|_| AtomicBool::new(false)).collect();
    for round in 0..8 {
        machine().scope(|scope| {
            let (allocator, owned) = (&allocator, &owned);
            for cpu in 0..CPUS {
                let seed = u64::from(1 + cpu + 8 * round);
                scope.spawn(CpuId::new(cpu).unwrap(), move || work(allocator, owned, seed));
            }
            // A thread that is no processor.
            work(allocator, owned, u64::from(8 + 8 * round));
        });
        // Nothing is drained here: what is cached is counted.
        let ignored = allocator.statistics().ignored;
        assert_eq!(allocator.statistics().free, before.free);
        allocator.drain();
        assert_eq!(allocator.statistics(), FrameStatistics { ignored, ..before });
    }
}

#[test]
fn a_frame_given_back_by_two_threads_is_handed_out_once() {
    let mut parts = Owned::new();
    let allocator = parts.allocator();
    let total = allocator.statistics().total;
    for turn in 0..200 {
        let paddr = allocator.alloc(FrameRequest::SINGLE).unwrap();
        machine().scope(|scope| {
            scope.spawn(CpuId::BOOT, || allocator.dealloc(paddr, 1));
            allocator.dealloc(paddr, 1);
        });
        let frames: Vec<_> = on(turn % 2, || all_singles(&allocator).collect());
        assert_eq!(frames.len(), total);
        assert_eq!(frames.iter().collect::<BTreeSet<_>>().len(), total);
        on(0, || frames.iter().for_each(|&paddr| allocator.dealloc(paddr, 1)));
    }
}
