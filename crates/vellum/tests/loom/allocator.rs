//! Values of processors, and the allocator's magazines: no frame is handed out twice, and none is lost.
//!
//! Memory is one frame or two, so that magazines are filled and emptied, and memory runs out.
#![expect(unsafe_code, reason = "a watched cell is written through its pointer")]
use loom::thread;
use vellum::frame::allocator::{
    BuddyAllocator, Chunk, FrameRequest, GlobalFrameAllocator, Magazine, Marks, Notes, Parts,
};
use vellum::sync::{CpuLocal, Initial};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::cpu::MAX_CPUS;
use vellum_machine::primitive::{UnsafeCell, explore, take_seat};

type Allocator = BuddyAllocator<'static>;

/// What a processor has of its own: how often it was used.
struct Uses(u64);

impl Initial for Uses {
    const INITIAL: Uses = Uses(0);
}

static USES: CpuLocal<Uses> = CpuLocal::new();

/// Looks at the values of all processors, before there are threads.
fn no_uses() {
    take_seat(0);
    assert!(USES.visit_all(|uses| uses.0 = 0));
}

/// Uses the value of a processor a few times; returns how often it could.
fn use_as(cpu: u32, times: usize) -> u64 {
    take_seat(cpu);
    (0..times).map(|_| u64::from(USES.with_current(|uses| uses.0 += 1).is_some())).sum()
}

fn all_uses() -> u64 {
    let mut sum = 0;
    assert!(USES.visit_all(|uses| sum += uses.0));
    sum
}

#[test]
fn a_processor_and_a_visitor_are_never_both_inside() {
    explore(None, || {
        no_uses();
        let owner = thread::spawn(|| use_as(1, 2));
        assert!(USES.visit_all(|uses| uses.0 += 1));
        let theirs = owner.join().unwrap();
        assert_eq!(all_uses(), theirs + MAX_CPUS as u64);
    });
}

#[test]
fn one_visitor_at_a_time() {
    explore(Some(3), || {
        no_uses();
        let other = thread::spawn(|| {
            take_seat(1);
            assert!(USES.visit_all(|uses| uses.0 += 1));
        });
        let mine = use_as(0, 1);
        assert!(USES.visit_all(|uses| uses.0 += 1));
        other.join().unwrap();
        assert_eq!(all_uses(), mine + 2 * MAX_CPUS as u64);
    });
}

/// What the owner of a frame has to itself.
struct Contents(UnsafeCell<u64>);

// SAFETY: what may be done with it, loom judges.
unsafe impl Sync for Contents {}

static CONTENTS: [Contents; 2] = [const { Contents(UnsafeCell::new(0)) }; 2];

fn use_frame(frame: Paddr) {
    // SAFETY: the allocator gave the frame to the caller alone, which loom judges.
    CONTENTS[frame.0 / PAGE_SIZE].0.with_mut(|word| unsafe { *word += 1 });
}

/// An allocator with so many free frames, as processor 0 leaves it that had them all.
fn with_free(frames: usize) -> &'static Allocator {
    // Statics: they are large, and hold nothing at the end of an execution. The rest is small enough to be left.
    static MARKS: [Marks; 1] = [const { Marks::new() }; 1];
    static MAGAZINES: CpuLocal<Magazine> = CpuLocal::new();
    let parts = Parts {
        chunks: Box::leak(Box::new([const { Chunk::new() }; 1])),
        marks: &MARKS,
        notes: Box::leak(Box::new([const { Notes::new() }; 1])),
        magazines: &MAGAZINES,
    };
    let allocator = Box::leak(Box::new(BuddyAllocator::new(Paddr(0), parts).expect("the tables agree")));
    allocator.add_free(Paddr(0), frames);
    expect_free(allocator, frames);
    allocator
}

fn take(allocator: &Allocator) -> Option<Paddr> {
    let frame = allocator.alloc(FrameRequest::SINGLE)?;
    use_frame(frame);
    Some(frame)
}

fn give(allocator: &Allocator, frame: Paddr) {
    use_frame(frame);
    allocator.dealloc(frame, 1);
}

fn take_and_give(allocator: &Allocator, cpu: u32) {
    take_seat(cpu);
    if let Some(frame) = take(allocator) {
        give(allocator, frame);
    }
}

/// Takes all frames, as processor 0, gives them back and empties the magazines.
fn expect_free(allocator: &Allocator, frames: usize) {
    take_seat(0);
    let mut taken: Vec<_> = std::iter::from_fn(|| take(allocator)).collect();
    taken.sort();
    assert!(
        taken.iter().copied().eq((0..frames).map(|frame| Paddr(frame * PAGE_SIZE))),
        "{taken:?} are free"
    );
    taken.into_iter().for_each(|frame| give(allocator, frame));
    allocator.drain();
    let statistics = allocator.statistics();
    assert_eq!((statistics.free, statistics.cached, statistics.ignored), (frames, 0, 0));
}

#[test]
fn a_frame_goes_from_one_processor_to_another() {
    explore(Some(3), || {
        let allocator = with_free(1);
        let other = thread::spawn(move || take_and_give(allocator, 1));
        take_and_give(allocator, 0);
        other.join().unwrap();
        expect_free(allocator, 1);
    });
}

#[test]
fn a_frame_is_given_back_by_another_processor() {
    explore(Some(3), || {
        let allocator = with_free(1);
        let frame = take(allocator).expect("it is free");
        let other = thread::spawn(move || {
            take_seat(1);
            give(allocator, frame);
        });
        take_and_give(allocator, 0);
        other.join().unwrap();
        expect_free(allocator, 1);
    });
}

#[test]
fn magazines_are_emptied_under_their_processors() {
    explore(Some(2), || {
        let allocator = with_free(2);
        let drainer = thread::spawn(move || {
            take_seat(1);
            allocator.drain();
        });
        take_and_give(allocator, 0);
        take_and_give(allocator, 0);
        drainer.join().unwrap();
        expect_free(allocator, 2);
    });
}
