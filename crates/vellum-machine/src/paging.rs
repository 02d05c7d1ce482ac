//! TRUSTED: how many levels the trees have that the walkers of bare RISC-V read: three (Sv39) or four (Sv48), which is known
//! when the machine boots.
//!
//! The walkers of other machines read trees of one shape, and nobody asks.
#![expect(unsafe_code, reason = "declares what whoever boots the machine promises")]
use core::sync::atomic::{AtomicBool, Ordering};
use vstd::prelude::*;

/// Whether there are four.
#[cfg_attr(verus_keep_ghost, verifier::external)]
static FOUR_LEVELS: AtomicBool = AtomicBool::new(false);

verus! {

/// What [`has_four_levels`] says, for as long as the machine runs.
pub uninterp spec fn spec_has_four_levels() -> bool;

/// Says whether trees have four levels, and not three.
#[verifier::external_body]
#[verifier::when_used_as_spec(spec_has_four_levels)]
#[inline(always)]
pub fn has_four_levels() -> (r: bool)
    ensures
        r == spec_has_four_levels(),
    opens_invariants none
    no_unwind
{
    // Relaxed: it was written before there was a second processor.
    FOUR_LEVELS.load(Ordering::Relaxed)
}

} // verus!

/// Chooses whether trees have four levels.
///
/// # Safety
/// 1. The walkers read such trees.
/// 2. It is called once, before anything else of this library depends on the answer: there is no page table of a shape that
///    asks, and no second processor.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub unsafe fn choose(four_levels: bool) {
    FOUR_LEVELS.store(four_levels, Ordering::Relaxed);
}
