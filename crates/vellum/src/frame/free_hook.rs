//! Whom to tell that a frame became unused.
#![expect(unsafe_code, reason = "turns a pointer back into the function it was made from")]
use core::fmt;
use vellum_machine::addr::Paddr;
use vellum_machine::owned::NoUnwind;
use vellum_machine::primitive::{AtomicPtr, Ordering};
use vstd::prelude::*;

/// The function, or null.
#[cfg_attr(verus_keep_ghost, verifier::external)]
static FREE_HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// A function was registered before; it stays.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeHookSet;

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for FreeHookSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function to call with free frames is registered already")
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for FreeHookSet {}

/// Registers the function that is called with the address of each frame whose last handle went away.
///
/// The slot is unused by then. Any thread calls it, and holds no lock of this crate. A panic in it stops the
/// machine. Without one, unused frames are left alone.
///
/// # Errors
///
/// - [`FreeHookSet`]: another function is registered.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn set_free_hook(hook: fn(Paddr)) -> Result<(), FreeHookSet> {
    // Release: pairs with the Acquire in `on_frame_freed`.
    FREE_HOOK
        .compare_exchange(core::ptr::null_mut(), hook as *mut (), Ordering::Release, Ordering::Relaxed)
        .map(|_| ())
        .map_err(|_| FreeHookSet)
}

verus! {

/// Tells the registered function that the frame is unused.
#[verifier::external_body]
pub(crate) fn on_frame_freed(pa: Paddr)
    opens_invariants none
    no_unwind
{
    // Acquire: pairs with the Release in `set_free_hook`.
    let hook = FREE_HOOK.load(Ordering::Acquire);
    if hook.is_null() {
        return;
    }
    // SAFETY: the pointer is not null, so `set_free_hook` made it from a function of this type.
    let hook = unsafe { core::mem::transmute::<*mut (), fn(Paddr)>(hook) };
    let guard = NoUnwind;
    hook(pa);
    core::mem::forget(guard);
}

} // verus!
