//! The asymmetric fences, by the litmus test that shows a missing one: store buffering.

use std::sync::atomic::{AtomicUsize, Ordering};
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::cpu::{CpuId, relax};
use vellum_machine::fence;

const TURNS: usize = 20_000;

/// Three words, each on a cache line of its own.
#[derive(Default)]
struct Words {
    light: Line,
    heavy: Line,
    /// Counts the threads that are at their turn.
    ready: Line,
}

#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicUsize);

impl Words {
    /// Waits until both threads are at this turn.
    fn meet(&self, turn: usize) {
        self.ready.0.fetch_add(1, Ordering::AcqRel);
        while self.ready.0.load(Ordering::Acquire) < 2 * (turn + 1) {
            relax();
        }
    }
}

#[test]
fn one_of_two_sees_the_other() {
    let config = MachineConfig { memory: 16 << 20, ..MachineConfig::default() };
    let machine = Machine::boot(config).expect("the machine boots");
    let words = Words::default();
    let words = &words;
    let (light, heavy) = machine.scope(|scope| {
        let light = scope.spawn(CpuId::BOOT, move || {
            let run = |turn| {
                words.meet(turn);
                words.light.0.store(turn + 1, Ordering::Relaxed);
                fence::light();
                words.heavy.0.load(Ordering::Relaxed) > turn
            };
            (0..TURNS).map(run).collect::<Vec<_>>()
        });
        let heavy = scope.spawn(CpuId::new(1).unwrap(), move || {
            let run = |turn| {
                words.meet(turn);
                words.heavy.0.store(turn + 1, Ordering::Relaxed);
                fence::heavy();
                words.light.0.load(Ordering::Relaxed) > turn
            };
            (0..TURNS).map(run).collect::<Vec<_>>()
        });
        (light.join().unwrap(), heavy.join().unwrap())
    });
    let blind = light.iter().zip(&heavy).filter(|&(&light, &heavy)| !light && !heavy).count();
    assert_eq!(blind, 0, "neither saw the other in {blind} of {TURNS} turns");
}
