//! Processors and the calls between them.
use crate::processors::on_all;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum_machine::cpu::{self, CpuId, CpuSet, MAX_CPUS};
use vellum_machine::ipi::call_on;

/// Calls that each processor makes of each.
const CALLS: usize = 500;

/// The last call that a processor served, by callee and caller.
static LAST: [[AtomicUsize; MAX_CPUS]; MAX_CPUS] =
    [const { [const { AtomicUsize::new(0) }; MAX_CPUS] }; MAX_CPUS];

/// A call: whose it is and its number.
fn note(arg: usize) {
    let (caller, number) = (arg % MAX_CPUS, arg / MAX_CPUS);
    let last = &LAST[cpu::current().index()][caller];
    assert_eq!(
        last.swap(number, Ordering::Relaxed) + 1,
        number,
        "a call of processor {caller} is not the next"
    );
}

pub fn counts_and_calls() {
    assert_eq!(cpu::try_current(), Some(CpuId::BOOT));
    on_all(|me| {
        assert_eq!(cpu::current(), me);
        let everyone = CpuSet::first(cpu::count());
        for number in 1..=CALLS {
            assert_eq!(call_on(everyone, note, number * MAX_CPUS + me.index()), everyone);
        }
        // The last ones may still be under way.
        while cpu::all().any(|callee| LAST[callee.index()][me.index()].load(Ordering::Relaxed) != CALLS) {
            cpu::relax();
        }
        assert_eq!(cpu::preempt_depth(), 0);
    });
    let beyond = CpuId::new(cpu::count() as u32).map_or(CpuSet::EMPTY, CpuSet::single);
    assert!(call_on(beyond, note, 0).is_empty(), "a processor that is not there was reached");
}
