//! A lock for short sections.
#![expect(
    unsafe_code,
    reason = "a lock hands out exclusive access to what it guards; the compiler cannot check its flag"
)]

use core::fmt;
use core::ops::{Deref, DerefMut};
use vellum_machine::cpu::{self, PreemptGuard};
use vellum_machine::primitive::{AtomicBool, Ordering, UnsafeCell};

/// A mutual-exclusion lock whose waiters spin.
///
/// The waiters read the flag until it is clear and only then try to take it, so that waiting costs the holder no
/// cache line. The holder stays on its processor until it lets go. The lock is not re-entrant.
#[derive(Default)]
pub struct SpinLock<T: ?Sized> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock owns its value; sending the lock sends the value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

// SAFETY: sharing the lock lets each thread have `&mut T` in turn, which is sending the `T` (hence `Send`), and
// never two at once, because `taken` is set by a swap and cleared by the guard alone.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// Makes a free lock around a value.
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Returns the value; nobody else can hold the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits until the lock is free and takes it.
    ///
    /// A processor that takes a lock it already holds waits for ever.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            self.wait_until_clear();
        }
    }

    /// Takes the lock if it is free now.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let stay = cpu::disable_preempt();
        // Acquire: pairs with the Release in `SpinLockGuard::drop`.
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // Made only now: a guard that is dropped frees the lock.
        Some(SpinLockGuard { lock: self, _stay: stay })
    }

    /// Returns the value through the only reference to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[cold]
    fn wait_until_clear(&self) {
        // Relaxed: only a guess; `try_lock` decides.
        while self.taken.load(Ordering::Relaxed) {
            cpu::relax();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("SpinLock").field(&&*guard).finish(),
            None => f.write_str("SpinLock(taken)"),
        }
    }
}

/// Exclusive access to the value of a [`SpinLock`]; dropping it frees the lock.
///
/// It stays on the processor that took the lock: it holds a [`PreemptGuard`], and is neither `Send` nor `Sync`.
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct SpinLockGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    _stay: PreemptGuard,
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one of its lock (`try_lock` set `taken` from clear), so nothing else
        // refers to the value while `self` is borrowed.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for SpinLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `SpinLock::try_lock`.
        self.lock.taken.store(false, Ordering::Release);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::SpinLock;
    use alloc::format;
    use vellum_machine::cpu;

    #[test]
    fn counts_of_many_threads_add_up() {
        let lock = SpinLock::new(0u64);
        std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| (0..10_000).for_each(|_| *lock.lock() += 1)));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(lock.into_inner(), 40_000);
    }

    #[test]
    fn a_taken_lock_refuses_every_try() {
        let lock = SpinLock::new(7);
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        assert!(lock.try_lock().is_none(), "a try that failed must not free the lock");
        assert_eq!(cpu::preempt_depth(), 1);
        assert_eq!(format!("{lock:?}"), "SpinLock(taken)");
        drop(guard);
        assert_eq!(lock.try_lock().map(|guard| *guard), Some(7));
        assert_eq!(cpu::preempt_depth(), 0);
    }

    #[test]
    fn a_panicking_holder_frees_the_lock() {
        let lock = alloc::sync::Arc::new(SpinLock::new(1));
        let theirs = lock.clone();
        let ended = std::thread::spawn(move || {
            let _guard = theirs.lock();
            panic!("on purpose");
        })
        .join();
        assert!(ended.is_err());
        assert_eq!(*lock.lock(), 1);
    }
}
