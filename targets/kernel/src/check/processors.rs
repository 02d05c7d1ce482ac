//! Processors and the calls between them.
use crate::processors::on_all;
use crate::stacks;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::kspace::area_range;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::{self, CpuId, CpuSet, MAX_CPUS};
use vellum_machine::ipi::call_on;

/// Bytes of its stack that each processor uses.
const DEEP: usize = 96 << 10;

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

/// Each processor is on its own stack, in an area, and can use most of it.
pub fn stacks_in_areas() {
    on_all(|me| {
        let local = 0u8;
        let at = Vaddr((&raw const local).addr());
        let stack = stacks::of(me).expect("it was made before the processor came up");
        assert!(area_range().contains(&at) && stack.contains(&at), "processor {me} has a variable at {at}");
        assert_ne!(stacks::descend_to(Vaddr(stack.end.0 - DEEP)), 0, "processor {me} was as deep already");
    });
}
