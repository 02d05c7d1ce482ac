//! What is measured: [`Work::includes`] says what one operation is.
//!
//! With two threads each does the work on its processor, and the time is that of the slower one. Where the host let
//! them start too far apart to meet, they try again.
use crate::peers::FrameSource;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use vellum_hosted::Machine;
use vellum_machine::cpu::{self, CpuId};

const BURST: usize = 32;
/// Blocks that a thread holds in the mixed rows: at most a quarter of memory for two threads.
const BLOCKS: usize = 32;
const POWERS: [usize; 9] = [2, 4, 8, 16, 32, 64, 128, 256, 512];
const ODD: [usize; 9] = [1, 3, 5, 11, 21, 43, 85, 171, 341];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Pairs,
    Bursts,
    Mixed(&'static [usize; 9]),
    RandomFrees,
}

impl Work {
    /// Says what one operation is.
    pub fn includes(self) -> &'static str {
        match self {
            Work::Pairs => "a frame is allocated and given back at once",
            Work::Bursts => "a frame is one of 32 that are allocated, and then given back in that order",
            Work::Mixed(_) => {
                "one of 32 blocks that are held, an arbitrary one, is given back, and one allocated"
            }
            Work::RandomFrees => "a frame of a quarter of all memory is given back, in an arbitrary order",
        }
    }
}

/// Work for some threads.
#[derive(Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub work: Work,
    pub threads: usize,
}

const fn row(name: &'static str, work: Work, threads: usize) -> Row {
    Row { name, work, threads }
}

/// For each work the row of one thread and then that of two.
pub const ROWS: [Row; 10] = [
    row("pair", Work::Pairs, 1),
    row("pair", Work::Pairs, 2),
    row("burst of 32", Work::Bursts, 1),
    row("burst of 32", Work::Bursts, 2),
    row("mixed, 2 to 512 frames, powers of two", Work::Mixed(&POWERS), 1),
    row("mixed, 2 to 512 frames, powers of two", Work::Mixed(&POWERS), 2),
    row("mixed, 1 to 341 frames, odd numbers", Work::Mixed(&ODD), 1),
    row("mixed, 1 to 341 frames, odd numbers", Work::Mixed(&ODD), 2),
    row("random free", Work::RandomFrees, 1),
    row("random free", Work::RandomFrees, 2),
];

/// How long it may take.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Operations of one thread in one round of pairs or bursts.
    pub work: usize,
    /// The part of memory that a thread holds in the row of random frees, as a divisor.
    held: usize,
}

impl Effort {
    pub const FULL: Effort = Effort { rounds: 42, work: 1 << 16, held: 4 };
    pub const QUICK: Effort = Effort { rounds: 3, work: 1 << 10, held: 128 };
}

/// What came of one turn.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// Nanoseconds per operation.
    nanos: f64,
    /// Allocations that found no memory.
    failed: usize,
    /// Whether the threads met.
    met: bool,
}

/// A row and the times of all contestants.
pub struct Measured {
    pub row: Row,
    times: Vec<Vec<f64>>,
    /// For each contestant the allocations that found no memory.
    pub failed: Vec<usize>,
    /// Turns in which threads did not meet.
    pub missed: usize,
}

impl Measured {
    pub fn new(row: Row, contestants: usize) -> Measured {
        Measured { row, times: vec![Vec::new(); contestants], failed: vec![0; contestants], missed: 0 }
    }

    pub fn add(&mut self, contestant: usize, outcome: Outcome) {
        self.times[contestant].push(outcome.nanos);
        self.failed[contestant] += outcome.failed;
        self.missed += usize::from(!outcome.met);
    }

    /// Returns the median time of a contestant that took part.
    pub fn median(&self, contestant: usize) -> Option<f64> {
        median(&self.times[contestant])
    }
}

pub fn median(times: &[f64]) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

/// How often threads that did not meet try again.
const RETRIES: usize = 20;

/// Does the work of a row once.
pub fn run<S: FrameSource>(
    source: &S,
    frames: usize,
    machine: &Machine,
    row: Row,
    effort: Effort,
) -> Outcome {
    let attempt = || {
        let gate = Gate { arrived: AtomicUsize::new(0), threads: row.threads };
        let job = |cpu: CpuId| {
            let turn = Turn { gate: &gate, effort, frames, seed: cpu.index() as u64 };
            ostd::hosted::run_on(cpu.index(), || turn.work(source, row.work))
        };
        machine.scope(|scope| {
            let running: Vec<_> =
                cpu::all().take(row.threads).map(|cpu| scope.spawn(cpu, move || job(cpu))).collect();
            running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Vec<_>>()
        })
    };
    let mut parts = attempt();
    for _ in 0..RETRIES {
        if meet(&parts) {
            break;
        }
        parts = attempt();
    }
    Outcome {
        nanos: parts.iter().map(Part::nanos).fold(0.0, f64::max),
        failed: parts.iter().map(|part| part.failed).sum(),
        met: meet(&parts),
    }
}

/// What one thread did.
struct Part {
    began: Instant,
    took: Duration,
    operations: usize,
    failed: usize,
}

impl Part {
    fn nanos(&self) -> f64 {
        self.took.as_nanos() as f64 / self.operations as f64
    }
}

/// Says whether all began within a tenth of the time that the fastest took.
fn meet(parts: &[Part]) -> bool {
    let first = parts.iter().map(|part| part.began).min();
    let last = parts.iter().map(|part| part.began).max();
    let shortest = parts.iter().map(|part| part.took).min();
    match (first, last, shortest) {
        (Some(first), Some(last), Some(shortest)) => last - first <= shortest / 10,
        _ => true,
    }
}

/// Where threads wait until all of them are there; none sleeps.
struct Gate {
    arrived: AtomicUsize,
    threads: usize,
}

impl Gate {
    fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < self.threads {
            spin_loop();
        }
    }
}

/// A thread's part.
struct Turn<'a> {
    gate: &'a Gate,
    effort: Effort,
    frames: usize,
    seed: u64,
}

impl Turn<'_> {
    fn work<S: FrameSource>(&self, source: &S, work: Work) -> Part {
        match work {
            Work::Pairs => self.pairs(source),
            Work::Bursts => self.bursts(source),
            Work::Mixed(sizes) => self.mixed(source, sizes),
            Work::RandomFrees => self.random_frees(source),
        }
    }

    /// Does something as soon as everybody is ready.
    fn timed(&self, operations: usize, f: impl FnOnce()) -> Part {
        self.gate.pass();
        let began = Instant::now();
        f();
        Part { began, took: began.elapsed(), operations, failed: 0 }
    }

    fn pairs<S: FrameSource>(&self, source: &S) -> Part {
        self.timed(self.effort.work, || {
            for _ in 0..self.effort.work {
                source.free(black_box(one(source)), 1);
            }
        })
    }

    fn bursts<S: FrameSource>(&self, source: &S) -> Part {
        let mut held = Vec::with_capacity(BURST);
        self.timed(self.effort.work, || {
            for _ in 0..self.effort.work / BURST {
                held.extend((0..BURST).map(|_| one(source)));
                black_box(&mut held).drain(..).for_each(|frame| source.free(frame, 1));
            }
        })
    }

    fn mixed<S: FrameSource>(&self, source: &S, sizes: &[usize]) -> Part {
        let mut random = Random::new(self.seed);
        let steps: Vec<_> = (0..self.effort.work / 32)
            .map(|_| (random.below(BLOCKS), sizes[random.below(sizes.len())]))
            .collect();
        let mut failed = 0;
        let mut exchange = |place: &mut Option<(S::Block, usize)>, frames| {
            if let Some((block, frames)) = place.take() {
                source.free(block, frames);
            }
            *place = source.alloc(frames).map(|block| (block, frames));
            failed += usize::from(place.is_none());
        };
        let mut held: [_; BLOCKS] = std::array::from_fn(|_| None);
        held.iter_mut().zip(sizes.iter().cycle()).for_each(|(place, &frames)| exchange(place, frames));
        let part = self.timed(steps.len(), || {
            steps.iter().for_each(|&(place, frames)| exchange(&mut held[place], frames));
        });
        held.into_iter().flatten().for_each(|(block, frames)| source.free(block, frames));
        Part { failed, ..part }
    }

    fn random_frees<S: FrameSource>(&self, source: &S) -> Part {
        let mut random = Random::new(self.seed);
        let mut held: Vec<_> = (0..self.frames / self.effort.held).map(|_| one(source)).collect();
        for last in (1..held.len()).rev() {
            held.swap(last, random.below(last + 1));
        }
        let count = held.len();
        self.timed(count, || held.into_iter().for_each(|frame| source.free(frame, 1)))
    }
}

#[inline]
fn one<S: FrameSource>(source: &S) -> S::Block {
    source.alloc(1).expect("there is memory")
}

/// Numbers that are the same in every round, and for every contestant.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound
    }
}
