//! Locks.
use crate::irq::{DisabledLocalIrqGuard, disable_local};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// Says that a lock keeps interrupts off while it is held.
pub struct LocalIrqDisabled;

/// A spin lock.
pub struct SpinLock<T, G> {
    inner: spin::Mutex<T>,
    guard: PhantomData<fn() -> G>,
}

impl<T, G> SpinLock<T, G> {
    /// Makes a lock.
    pub const fn new(value: T) -> SpinLock<T, G> {
        SpinLock { inner: spin::Mutex::new(value), guard: PhantomData }
    }
}

impl<T> SpinLock<T, LocalIrqDisabled> {
    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T, LocalIrqDisabled> {
        let irq = disable_local();
        SpinLockGuard { inner: self.inner.lock(), _irq: irq, guard: PhantomData }
    }
}

/// A spin lock that is held.
pub struct SpinLockGuard<'a, T, G> {
    // Before the other guard, so that the lock is free when interrupts come again.
    inner: spin::MutexGuard<'a, T>,
    _irq: DisabledLocalIrqGuard,
    guard: PhantomData<fn() -> G>,
}

impl<T, G> Deref for SpinLockGuard<'_, T, G> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, G> DerefMut for SpinLockGuard<'_, T, G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
