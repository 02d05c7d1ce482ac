//! The global allocator, as verified code sees it. Nothing is promised of what it answers.
use super::{FrameRequest, global};
use vellum_machine::addr::Paddr;
use vellum_machine::owned::NoUnwind;
use vstd::prelude::*;

verus! {

/// What the allocator answers.
pub(super) enum Answer {
    /// There are frames at this address. Whether there are, and whether they are free, is still to be seen.
    Frames(Paddr),
    /// No free memory serves the request.
    NoMemory,
    /// There is no allocator.
    NotReady,
}

/// Asks for frames.
#[inline(always)]
#[verifier::external_body]
pub(super) fn ask(request: FrameRequest) -> Answer
    opens_invariants none
    no_unwind
{
    let guard = NoUnwind;
    let paddr = global::alloc(request);
    core::mem::forget(guard);
    match paddr {
        Some(paddr) => Answer::Frames(paddr),
        None if global::is_set() => Answer::NoMemory,
        None => Answer::NotReady,
    }
}

/// Gives frames back that were not claimed.
#[cold]
#[verifier::external_body]
pub(super) fn give_back(paddr: Paddr, frames: usize)
    opens_invariants none
    no_unwind
{
    let guard = NoUnwind;
    global::dealloc(paddr, frames);
    core::mem::forget(guard);
}

} // verus!
