//! What a page table asks of the rest of the kernel. Nothing is promised in return but what the contracts say.
use super::retired::RetiredNode;
use vellum_machine::owned::NoUnwind;
use vstd::prelude::*;

verus! {

/// One turn of a loop that waits for another processor: serves the calls of others.
#[inline(always)]
#[verifier::external_body]
pub(super) fn relax()
    opens_invariants none
    no_unwind
{
    vellum_machine::cpu::relax();
}

/// Keeps a retired node until its frame can go back.
#[verifier::external_body]
pub(super) fn defer(node: RetiredNode)
    opens_invariants none
    no_unwind
{
    let guard = NoUnwind;
    super::deferred::defer(node);
    core::mem::forget(guard);
}

} // verus!
