//! The frame allocator beside its peers, in one process and on the same work.
//!
//! `cargo bench --bench frames` prints nanoseconds per frame, allocated and given back, as the median of several
//! rounds that take turns, and how many times longer than Vellum each peer takes. Peers without caches are behind a
//! spin lock, which is taken for each frame. Only Vellum checks that what is given back is allocated.

use bitmap_allocator::BitAlloc;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;
use vellum::frame::allocator::{BuddyAllocator, Chunk, FrameRequest, GlobalFrameAllocator};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::cpu::CpuId;

/// Frames that each allocator has: 256 MiB.
const FRAMES: usize = 1 << 16;
const ROUNDS: usize = 51;
/// Frames that one thread allocates in one round of a row.
const WORK: usize = 1 << 17;
const BURST: usize = 32;
/// Frames that a thread holds in the row of random frees.
const HELD: usize = FRAMES / 4;

/// An allocator under measurement.
trait Contestant: Sync {
    fn name(&self) -> &'static str;
    fn alloc(&self, cpu: CpuId) -> usize;
    fn free(&self, frame: usize);
}

struct Vellum<'t>(BuddyAllocator<'t>);

impl Contestant for Vellum<'_> {
    fn name(&self) -> &'static str {
        "vellum"
    }
    #[inline]
    fn alloc(&self, cpu: CpuId) -> usize {
        self.0.alloc_as(Some(cpu), FrameRequest::SINGLE).expect("there is memory").0
    }
    #[inline]
    fn free(&self, frame: usize) {
        self.0.dealloc(Paddr(frame), 1);
    }
}

struct Stack(spin::Mutex<Vec<usize>>);

impl Contestant for Stack {
    fn name(&self) -> &'static str {
        "stack, locked"
    }
    #[inline]
    fn alloc(&self, _cpu: CpuId) -> usize {
        self.0.lock().pop().expect("there is memory")
    }
    #[inline]
    fn free(&self, frame: usize) {
        self.0.lock().push(frame);
    }
}

struct BuddySystem(spin::Mutex<buddy_system_allocator::FrameAllocator<19>>);

impl Contestant for BuddySystem {
    fn name(&self) -> &'static str {
        "buddy_system_allocator, locked"
    }
    #[inline]
    fn alloc(&self, _cpu: CpuId) -> usize {
        self.0.lock().alloc(1).expect("there is memory")
    }
    #[inline]
    fn free(&self, frame: usize) {
        self.0.lock().dealloc(frame, 1);
    }
}

type Bits = bitmap_allocator::BitAlloc64K;

struct Bitmap(spin::Mutex<Box<Bits>>);

impl Contestant for Bitmap {
    fn name(&self) -> &'static str {
        "bitmap-allocator, locked"
    }
    #[inline]
    fn alloc(&self, _cpu: CpuId) -> usize {
        self.0.lock().alloc().expect("there is memory")
    }
    #[inline]
    fn free(&self, frame: usize) {
        self.0.lock().dealloc(frame);
    }
}

/// Allocates a frame and gives it back.
fn pairs<C: Contestant>(contestant: &C, cpu: CpuId, start: &Barrier) -> f64 {
    start.wait();
    let began = Instant::now();
    for _ in 0..WORK {
        contestant.free(black_box(contestant.alloc(cpu)));
    }
    per_frame(began, WORK)
}

/// Allocates some frames, and then gives them back.
fn bursts<C: Contestant>(contestant: &C, cpu: CpuId, start: &Barrier) -> f64 {
    let mut frames = [0; BURST];
    start.wait();
    let began = Instant::now();
    for _ in 0..WORK / BURST {
        frames.fill_with(|| contestant.alloc(cpu));
        black_box(&mut frames).iter().for_each(|&frame| contestant.free(frame));
    }
    per_frame(began, WORK)
}

/// Allocates many frames, and gives them back in an arbitrary order; only the latter is measured.
fn random_frees<C: Contestant>(contestant: &C, cpu: CpuId, start: &Barrier) -> f64 {
    let mut frames: Vec<_> = (0..HELD).map(|_| contestant.alloc(cpu)).collect();
    let mut number = 0x9e37_79b9_7f4a_7c15_u64 ^ cpu.index() as u64;
    for last in (1..HELD).rev() {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        frames.swap(last, number as usize % (last + 1));
    }
    start.wait();
    let began = Instant::now();
    frames.iter().for_each(|&frame| contestant.free(frame));
    per_frame(began, HELD)
}

fn per_frame(began: Instant, frames: usize) -> f64 {
    began.elapsed().as_nanos() as f64 / frames as f64
}

/// Runs the work on some processors at once and returns the time of the slowest.
fn together<C: Contestant>(contestant: &C, threads: usize, work: fn(&C, CpuId, &Barrier) -> f64) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let spawn = |number| {
            let barrier = &barrier;
            let cpu = CpuId::new(number).expect("there are not so many");
            scope.spawn(move || work(contestant, cpu, barrier))
        };
        let running: Vec<_> = (0..threads as u32).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).fold(0.0, f64::max)
    })
}

type Row = (&'static str, usize, Work);

#[derive(Clone, Copy)]
enum Work {
    Pairs,
    Bursts,
    RandomFrees,
}

const ROWS: [Row; 6] = [
    ("pair, 1 thread", 1, Work::Pairs),
    ("pair, 2 threads", 2, Work::Pairs),
    ("burst of 32, 1 thread", 1, Work::Bursts),
    ("burst of 32, 2 threads", 2, Work::Bursts),
    ("random free, 1 thread", 1, Work::RandomFrees),
    ("random free, 2 threads", 2, Work::RandomFrees),
];

fn measure<C: Contestant>(contestant: &C, (_, threads, work): Row) -> f64 {
    let work = match work {
        Work::Pairs => pairs::<C>,
        Work::Bursts => bursts::<C>,
        Work::RandomFrees => random_frees::<C>,
    };
    together(contestant, threads, work)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let table: Vec<_> =
        (0..BuddyAllocator::table_len(Paddr(0), Paddr(FRAMES * PAGE_SIZE))).map(|_| Chunk::new()).collect();
    let vellum = Vellum(BuddyAllocator::new(Paddr(0), &table).expect("the table fits"));
    vellum.0.add_free(Paddr(0), FRAMES);
    let stack = Stack(spin::Mutex::new((0..FRAMES).collect()));
    let buddy = BuddySystem(spin::Mutex::new(buddy_system_allocator::FrameAllocator::new()));
    buddy.0.lock().add_frame(0, FRAMES);
    let bitmap = Bitmap(spin::Mutex::new(Box::new(Bits::DEFAULT)));
    bitmap.0.lock().insert(0..FRAMES);

    let names = [vellum.name(), stack.name(), bitmap.name(), buddy.name()];
    println!(
        "nanoseconds per frame (times Vellum's)\n{:24}{}",
        "",
        names.map(|name| format!("{name:>32}")).concat()
    );
    for row in ROWS {
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            times[0].push(measure(&vellum, row));
            times[1].push(measure(&stack, row));
            times[2].push(measure(&bitmap, row));
            times[3].push(measure(&buddy, row));
        }
        let times = times.map(median);
        let cell = |time: f64| format!("{:>32}", format!("{time:.1} ({:.2})", time / times[0]));
        println!("{:24}{}", row.0, times.map(cell).concat());
    }
}
