//! The last resort.
use vstd::prelude::*;

verus! {

/// Stops the machine with a message; does not return.
///
/// For what can neither be answered by an error nor go on: a count of handles that would not fit, a
/// destructor that panicked half way.
#[cold]
#[inline(never)]
#[verifier::external_body]
pub fn halt(message: &str) -> !
    ensures
        false,
    opens_invariants none
    no_unwind
{
    body(message)
}

} // verus!

#[cfg(target_os = "linux")]
#[cfg_attr(verus_keep_ghost, verifier::external)]
fn body(message: &str) -> ! {
    extern crate std;
    std::eprintln!("vellum: halted: {message}");
    std::process::abort()
}

#[cfg(not(target_os = "linux"))]
#[cfg_attr(verus_keep_ghost, verifier::external)]
fn body(message: &str) -> ! {
    crate::arch::imp::halt(message)
}
