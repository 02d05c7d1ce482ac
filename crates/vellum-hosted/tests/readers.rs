//! Counts of readers on the processors whose counts they are.
mod common;

use common::{config, machine};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::readers::{NR_COUNTS, ReaderCounts, ReaderSeat};
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

fn change(counts: &ReaderCounts, by: u64) {
    let seat = ReaderSeat::take();
    while {
        let current = counts.peek(&seat, ghost());
        counts.exchange(&seat, ghost(), current, current.wrapping_add(by)).is_err()
    } {}
}

fn observe(counts: &ReaderCounts) -> Vec<u64> {
    (0..NR_COUNTS).map(|c| counts.observe(c, ghost())).collect()
}

#[test]
fn readers_are_counted_by_processor() {
    let machine = machine(config());
    let (counts, _perms) = ReaderCounts::new();
    machine.on_all(|cpu| {
        (0..=cpu.index()).for_each(|_| change(&counts, 1));
        let seat = ReaderSeat::take();
        assert_eq!(cpu::preempt_depth(), 1, "a seat keeps the code on its processor");
        assert_eq!(counts.peek(&seat, ghost()), cpu.index() as u64 + 1);
        assert_eq!(counts.exchange(&seat, ghost(), 0, 9), Err(cpu.index() as u64 + 1));
    });
    change(&counts, 7);
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
    machine.run_on(CpuId::BOOT, || change(&counts, 1u64.wrapping_neg()));
    assert_eq!(observe(&counts)[0], 0);
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
                    change(&counts, 1);
                    counts.announce();
                    let saw = unlinked[round].load(Ordering::Relaxed);
                    while removed.load(Ordering::Acquire) <= round {
                        cpu::relax();
                    }
                    change(&counts, 1u64.wrapping_neg());
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
                    let seen = counts.observe(0, ghost()) > 0;
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
