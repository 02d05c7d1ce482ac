//! What it costs processors to write one cache line in turn.
use crate::shared::threads;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use vellum_hosted::Machine;

/// Nanoseconds in which a cache line that two processors write in turn goes to the other one and back, at best: what
/// threads behind one lock pay for each other. It depends on where the host has its processors.
pub fn round_trip(machine: &Machine) -> f64 {
    const TURNS: usize = 2000;
    const ATTEMPTS: usize = 9;
    let attempt = || {
        let line = AtomicUsize::new(0);
        let outcome = threads::run(machine, 2, |cpu, gate| {
            gate.timed(TURNS, || {
                for turn in 0..TURNS {
                    let mine = 2 * turn + cpu.index();
                    while line.load(Ordering::Acquire) != mine {
                        spin_loop();
                    }
                    line.store(mine + 1, Ordering::Release);
                }
            })
        });
        outcome.nanos
    };
    (0..ATTEMPTS).map(|_| attempt()).fold(f64::INFINITY, f64::min)
}
