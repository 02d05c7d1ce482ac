//! What is measured: [`Work::includes`] says what one operation is. With two threads each does the work on its
//! processor.
use crate::peers::FrameSource;
use crate::shared::threads::{self, Gate, Outcome, Part, Random};
use std::hint::black_box;
use vellum_hosted::Machine;

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

/// Does the work of a row once.
pub fn run<S: FrameSource>(
    source: &S,
    frames: usize,
    machine: &Machine,
    row: Row,
    effort: Effort,
) -> Outcome {
    threads::until_met(|| {
        threads::run(machine, row.threads, |cpu, gate| {
            let turn = Turn { gate, effort, frames, seed: cpu.index() as u64 };
            ostd::hosted::run_on(cpu.index(), || turn.work(source, row.work))
        })
    })
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

    fn pairs<S: FrameSource>(&self, source: &S) -> Part {
        self.gate.timed(self.effort.work, || {
            for _ in 0..self.effort.work {
                source.free(black_box(one(source)), 1);
            }
        })
    }

    fn bursts<S: FrameSource>(&self, source: &S) -> Part {
        let mut held = Vec::with_capacity(BURST);
        self.gate.timed(self.effort.work, || {
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
        let mut part = self.gate.timed(steps.len(), || {
            steps.iter().for_each(|&(place, frames)| exchange(&mut held[place], frames));
        });
        held.into_iter().flatten().for_each(|(block, frames)| source.free(block, frames));
        part.failed = failed;
        part
    }

    fn random_frees<S: FrameSource>(&self, source: &S) -> Part {
        let mut random = Random::new(self.seed);
        let mut held: Vec<_> = (0..self.frames / self.effort.held).map(|_| one(source)).collect();
        random.shuffle(&mut held);
        let count = held.len();
        self.gate.timed(count, || held.into_iter().for_each(|frame| source.free(frame, 1)))
    }
}

#[inline]
fn one<S: FrameSource>(source: &S) -> S::Block {
    source.alloc(1).expect("there is memory")
}
