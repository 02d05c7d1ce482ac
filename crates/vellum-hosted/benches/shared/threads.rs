//! Threads that start at once.
//!
//! The time is that of the slower one. Where the host let them start too far apart to meet, they try again
//! ([`until_met`]).
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use vellum_hosted::Machine;
use vellum_machine::cpu::{self, CpuId};

/// How often threads that did not meet try again.
const RETRIES: usize = 20;

/// What came of one turn.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// Nanoseconds per operation.
    pub nanos: f64,
    /// Allocations that found no memory.
    pub failed: usize,
    /// Whether the threads met.
    pub met: bool,
}

/// What one thread did.
pub struct Part {
    began: Instant,
    took: Duration,
    operations: usize,
    /// Allocations that found no memory.
    pub failed: usize,
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
pub struct Gate {
    arrived: AtomicUsize,
    threads: usize,
}

impl Gate {
    pub fn new(threads: usize) -> Gate {
        Gate { arrived: AtomicUsize::new(0), threads }
    }

    pub fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < self.threads {
            spin_loop();
        }
    }

    /// Does something as soon as everybody is ready.
    pub fn timed(&self, operations: usize, f: impl FnOnce()) -> Part {
        self.pass();
        let began = Instant::now();
        f();
        Part { began, took: began.elapsed(), operations, failed: 0 }
    }
}

/// Runs `job` on so many processors at once, each of which passes the gate once.
pub fn run(machine: &Machine, threads: usize, job: impl Fn(CpuId, &Gate) -> Part + Sync) -> Outcome {
    let job = &job;
    let gate = &Gate::new(threads);
    let parts = machine.scope(|scope| {
        let running: Vec<_> =
            cpu::all().take(threads).map(|cpu| scope.spawn(cpu, move || job(cpu, gate))).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Vec<_>>()
    });
    outcome(&parts)
}

/// Does something again until its threads meet.
pub fn until_met(attempt: impl Fn() -> Outcome) -> Outcome {
    let mut outcome = attempt();
    for _ in 0..RETRIES {
        if outcome.met {
            break;
        }
        outcome = attempt();
    }
    outcome
}

/// What came of what the threads did.
pub fn outcome(parts: &[Part]) -> Outcome {
    Outcome {
        nanos: parts.iter().map(Part::nanos).fold(0.0, f64::max),
        failed: parts.iter().map(|part| part.failed).sum(),
        met: meet(parts),
    }
}

/// Numbers that are the same in every round, and for every contestant.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound
    }

    /// Puts values into an arbitrary order.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}
