//! A cell that is written once and read without a lock.
#![expect(
    unsafe_code,
    reason = "a shared reference to the value is made once a flag says that it is written"
)]

use core::fmt;
use core::mem::MaybeUninit;
use vellum_machine::primitive::{AtomicU8, Ordering, UnsafeCell};

const EMPTY: u8 = 0;
const WRITING: u8 = 1;
const WRITTEN: u8 = 2;

/// A cell that gets its value at most once, from whichever thread comes first.
pub struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the cell owns its value; sending the cell sends the value.
unsafe impl<T: Send> Send for Once<T> {}

// SAFETY: through a shared cell one thread moves a value in (`Send`) and all of them read it (`Sync`); the state
// orders the two.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Makes an empty cell.
    pub const fn new() -> Once<T> {
        Once { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Puts the value in.
    ///
    /// # Errors
    /// Gives the value back when the cell has one, or another thread is putting one in.
    pub fn set(&self, value: T) -> Result<(), T> {
        // Relaxed: nothing is read that another thread wrote; the Release below publishes.
        if self.state.compare_exchange(EMPTY, WRITING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: only the thread that took the state from EMPTY to WRITING comes here, once, and readers wait
        // for WRITTEN: the access is exclusive.
        self.value.with_mut(|place| unsafe { (*place).write(value) });
        // Release: pairs with the Acquire in `get`.
        self.state.store(WRITTEN, Ordering::Release);
        Ok(())
    }

    /// Returns the value once it is in.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `set`.
        if self.state.load(Ordering::Acquire) != WRITTEN {
            return None;
        }
        // SAFETY: WRITTEN was published after the value was written, and from then on nothing changes it until
        // the cell is dropped, which `&self` rules out.
        Some(self.value.with(|value| unsafe { (*value).assume_init_ref() }))
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        // Relaxed: whoever has `&mut self` has been told of all that was done to it.
        if self.state.load(Ordering::Relaxed) == WRITTEN {
            // SAFETY: WRITTEN says that the value is initialised, and `&mut self` that nothing refers to it.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Once<T> {
        Once::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Once").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Once;
    use alloc::sync::Arc;

    #[test]
    fn one_thread_of_many_wins() {
        let cell = Once::new();
        let wins: usize = std::thread::scope(|scope| {
            let threads: [_; 4] = core::array::from_fn(|n| {
                let cell = &cell;
                scope.spawn(move || usize::from(cell.set(n).is_ok()))
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
        assert!(cell.get().is_some_and(|n| *n < 4));
    }

    #[test]
    fn a_second_value_comes_back_and_each_is_dropped_once() {
        let first = Arc::new(());
        let cell = Once::new();
        assert!(cell.get().is_none());
        assert!(cell.set(first.clone()).is_ok());
        assert!(cell.set(first.clone()).is_err());
        assert_eq!(Arc::strong_count(&first), 2);
        drop(cell);
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
