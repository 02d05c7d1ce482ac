//! Counts of readers on the processors whose counts they are.
mod common;

use common::{config, machine};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::readers::{LEAVINGS, NR_COUNTS, ReaderCounts, ReaderSeat};
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

fn enter(counts: &ReaderCounts) {
    assert!(counts.enter(&ReaderSeat::take(), ghost()));
}

fn leave(counts: &ReaderCounts) {
    counts.leave(&ReaderSeat::take(), ghost());
}

fn observe(counts: &ReaderCounts) -> Vec<u64> {
    (0..NR_COUNTS).map(|c| counts.observe(c, ghost())).collect()
}

#[test]
fn readers_are_counted_by_processor() {
    let machine = machine(config());
    let (counts, _perms) = ReaderCounts::new();
    machine.on_all(|cpu| {
        (0..=cpu.index()).for_each(|_| enter(&counts));
        let _seat = ReaderSeat::take();
        assert_eq!(cpu::preempt_depth(), 1, "a seat keeps the code on its processor");
    });
    (0..7).for_each(|_| enter(&counts));
    let seen = observe(&counts);
    let expected = (0..NR_COUNTS).map(|c| {
        if c < machine.cpus() {
            c as u64 + 1
        } else if c + 1 == NR_COUNTS {
            7
        } else {
            0
        }
    });
    assert!(seen.iter().copied().eq(expected), "{seen:?}");
    machine.on_all(|cpu| (0..=cpu.index()).for_each(|_| leave(&counts)));
    let left = observe(&counts).into_iter().take(machine.cpus());
    assert!(left.eq((0..machine.cpus()).map(|_| LEAVINGS)), "the last reader of each says that it left");
}

#[test]
fn readers_are_counted_as_far_as_there_is_room() {
    let machine = machine(config());
    let (counts, _perms) = ReaderCounts::new();
    machine.run_on(CpuId::BOOT, || {
        let seat = ReaderSeat::take();
        let most = LEAVINGS - 1;
        (0..most).for_each(|_| assert!(counts.enter(&seat, ghost())));
        assert!(!counts.enter(&seat, ghost()), "one reader more would count as a leaving");
        assert_eq!(counts.observe(0, ghost()), most);
        counts.leave(&seat, ghost());
        assert!(counts.enter(&seat, ghost()));
        (0..most).for_each(|_| counts.leave(&seat, ghost()));
        assert_eq!(counts.observe(0, ghost()), LEAVINGS);
    });
}

#[test]
fn a_reader_is_seen_or_sees() {
    const ROUNDS: usize = 2_000;
    let machine = machine(config());
    let (counts, _perms) = ReaderCounts::new();
    let unlinked: Vec<AtomicBool> = (0..ROUNDS).map(|_| AtomicBool::new(false)).collect();
    let (reading, removed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    machine.scope(|scope| {
        let reader = scope.spawn(CpuId::BOOT, || {
            (0..ROUNDS)
                .map(|round| {
                    reading.store(round + 1, Ordering::Release);
                    enter(&counts);
                    counts.announce();
                    let saw = unlinked[round].load(Ordering::Relaxed);
                    while removed.load(Ordering::Acquire) <= round {
                        cpu::relax();
                    }
                    leave(&counts);
                    saw
                })
                .collect::<Vec<_>>()
        });
        let remover = scope.spawn(CpuId::new(1).unwrap(), || {
            (0..ROUNDS)
                .map(|round| {
                    while reading.load(Ordering::Acquire) <= round {
                        cpu::relax();
                    }
                    unlinked[round].store(true, Ordering::Relaxed);
                    counts.synchronize();
                    let seen = counts.observe(0, ghost()) % LEAVINGS > 0;
                    removed.store(round + 1, Ordering::Release);
                    seen
                })
                .collect::<Vec<_>>()
        });
        let (saw, seen) = (reader.join().unwrap(), remover.join().unwrap());
        assert!(
            saw.iter().zip(&seen).all(|(saw, seen)| *saw || *seen),
            "neither the unlinking nor the reader was seen"
        );
    });
}
