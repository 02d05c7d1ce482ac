//! A value whose destructor is a verified function that takes it by value.
//!
//! Rust gives a destructor `&mut self`, out of which nothing can be moved, tokens least of all. So the owner
//! of tokens implements [`Release`], which is verified, and [`Owned`] calls it.
#![expect(unsafe_code, reason = "takes the value out of `ManuallyDrop`, once")]
use crate::halt::halt;
use core::mem::ManuallyDrop;
use vstd::prelude::*;

verus! {

/// What to do with a value when its owner goes out of scope.
pub trait Release: Sized {
    /// Takes the value apart.
    fn release(self);

    /// Does in the value's place what releasing it comes to, where that needs nothing to be moved out of it, and says
    /// whether it did: then the value is forgotten. A large value is not copied for it.
    #[inline(always)]
    fn release_in_place(&mut self) -> bool {
        false
    }
}

/// A value of type `T` with `T::release` as destructor.
///
/// A `release` that unwinds stops the machine: what it was taking apart is then in no defined state.
#[verifier::external_body]
#[verifier::reject_recursive_types_in_ground_variants(T)]
#[repr(transparent)]
pub struct Owned<T: Release> {
    value: ManuallyDrop<T>,
}

impl<T: Release> Owned<T> {
    /// The value.
    pub uninterp spec fn view(&self) -> T;

    /// Takes charge of a value.
    #[inline(always)]
    #[verifier::external_body]
    pub const fn new(value: T) -> (r: Self)
        ensures
            r@ == value,
        opens_invariants none
        no_unwind
    {
        Owned { value: ManuallyDrop::new(value) }
    }

    /// Lends the value.
    #[inline(always)]
    #[verifier::external_body]
    pub fn get(&self) -> (r: &T)
        ensures
            *r == self@,
        opens_invariants none
        no_unwind
    {
        &self.value
    }

    /// Lends the value to be changed.
    #[inline(always)]
    #[verifier::external_body]
    pub fn get_mut(&mut self) -> (r: &mut T)
        ensures
            *r == old(self)@,
            *final(r) == final(self)@,
        opens_invariants none
        no_unwind
    {
        &mut self.value
    }

    /// Takes the value out; its `release` does not run.
    #[inline(always)]
    #[verifier::external_body]
    pub fn into_inner(self) -> (r: T)
        ensures
            r == self@,
        opens_invariants none
        no_unwind
    {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, and its destructor does not run.
        unsafe { ManuallyDrop::take(&mut this.value) }
    }
}

impl<T: Release> Drop for Owned<T> {
    #[inline]
    #[verifier::external_body]
    fn drop(&mut self)
        opens_invariants none
        no_unwind
    {
        let guard = NoUnwind;
        if !self.value.release_in_place() {
            // SAFETY: a destructor runs once, and nothing reads the value after it.
            unsafe { ManuallyDrop::take(&mut self.value) }.release();
        }
        core::mem::forget(guard);
    }
}

} // verus!

/// Stops the machine if it is dropped, which only an unwinding panic does: forget it on the ordinary way out.
///
/// It stands around calls of code that is not verified from functions whose contract is `no_unwind`.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[derive(Debug)]
#[must_use = "forget it after the guarded call"]
pub struct NoUnwind;

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl Drop for NoUnwind {
    #[cold]
    fn drop(&mut self) {
        halt("a destructor panicked while it was giving back what it owned")
    }
}
