//! Calls from one processor to others.
use crate::arch::imp;
#[cfg(verus_keep_ghost)]
use crate::cpu::has_arrived;
use crate::cpu::{CpuSet, PreemptGuard, disable_preempt};
use crate::tlb::Stopped;
use vstd::prelude::*;

verus! {

/// What processors are called for.
pub trait Call {
    /// What a call hands to the processor that is called.
    type Token;

    /// The token fits the processor that gets it.
    spec fn fits(token: Self::Token, arg: usize, cpu: nat) -> bool;

    /// Runs on the processor that is called.
    fn run(here: &PreemptGuard, arg: usize, token: Tracked<Self::Token>)
        requires
            Self::fits(token@, arg, here.cpu()),
    ;
}

/// What comes back for a processor that was not reached.
pub tracked struct NotReached<T> {
    /// What was for it.
    pub token: T,
    /// It runs no more.
    pub stopped: Stopped,
}

/// Has every processor in `set` run `F::run`, as [`call_on`], and hands each what is for it.
///
/// All have arrived: one that has not is not reached either, but may run later.
#[expect(clippy::type_complexity, reason = "what comes back, by processor")]
#[verifier::external_body]
pub fn call_each<F: Call>(set: CpuSet, arg: usize, _tokens: Tracked<Map<nat, F::Token>>) -> (r: (
    CpuSet,
    Tracked<Map<nat, NotReached<F::Token>>>,
))
    requires
        forall|c: nat| #[trigger] set.has(c) ==> has_arrived(c) && _tokens@.dom().contains(c) && F::fits(_tokens@[c], arg, c),
    ensures
        forall|c: nat| #[trigger] r.0.has(c) ==> set.has(c),
        forall|c: nat| #[trigger] set.has(c) && !r.0.has(c) ==> r.1@.dom().contains(c) && r.1@[c].token == _tokens@[c]
            && r.1@[c].stopped.cpu() == c,
{
    (call_on(set, serve::<F>, arg), Tracked::assume_new())
}

/// What the called processor runs.
#[verifier::external_body]
fn serve<F: Call>(arg: usize) {
    F::run(&disable_preempt(), arg, Tracked::assume_new());
}

} // verus!

/// Has every processor in `set` run `f(arg)`, and returns those that run it or have run it.
///
/// The caller does not wait: a callee that has something to say says it through what `arg` names. A processor
/// runs its calls in the order in which they came, one at a time, at its next interrupt point: an access to user
/// memory, a turn of [`crate::cpu::relax`], or at once if it is halted. The caller runs its own call, if it is
/// in the set, before this returns. What the caller wrote before is visible to `f`.
///
/// Processors that the machine does not have, or that were stopped, are missing from the result: they hold no
/// translation and never run anything. So are those that have not arrived yet.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[must_use = "only the processors in the result will ever answer"]
pub fn call_on(set: CpuSet, f: fn(usize), arg: usize) -> CpuSet {
    imp::call_on(set, f, arg)
}
