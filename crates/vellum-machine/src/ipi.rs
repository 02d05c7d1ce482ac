//! TRUSTED: calls from one processor to others.
use crate::arch::imp;
use crate::cpu::CpuSet;

/// Has every processor in `set` run `f(arg)`, and returns those that run it or have run it.
///
/// The caller does not wait: a callee that has something to say says it through what `arg` names. A processor
/// runs its calls in the order in which they came, one at a time, at its next interrupt point: an access to user
/// memory, a turn of [`crate::cpu::relax`], or at once if it is halted. The caller runs its own call, if it is
/// in the set, before this returns. What the caller wrote before is visible to `f`.
///
/// Processors that the machine does not have, or that were stopped, are missing from the result: they hold no
/// translation and never run anything.
#[must_use = "only the processors in the result will ever answer"]
pub fn call_on(set: CpuSet, f: fn(usize), arg: usize) -> CpuSet {
    imp::call_on(set, f, arg)
}
