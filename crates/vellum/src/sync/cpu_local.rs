//! A value for each processor, at the price of plain loads and stores.
#![expect(
    unsafe_code,
    reason = "a processor has exclusive access to its value, which the compiler cannot see from the flags"
)]

use core::fmt;
use vellum_machine::cpu::{self, CpuId, MAX_CPUS};
use vellum_machine::fence;
use vellum_machine::primitive::{AtomicBool, AtomicU32, Ordering, UnsafeCell};

/// A value for each processor, which that processor uses without any locked instruction.
///
/// Others come seldom, and to all the values at once ([`visit_all`](Self::visit_all)): they pay for both sides.
///
/// # How exclusive access comes about
///
/// The processor sets `inside` and then reads `visited`; a visitor sets `visited` and then reads `inside`. With a
/// fence between the two steps on both sides, at least one sees the other's flag: the processor then does without
/// its value, and the visitor waits until the processor has left. The processor's fence is a
/// [light](fence::light()) one, the visitor's a [heavy](fence::heavy()) one.
///
/// A processor is interrupted by its own interrupts alone: the handler finds `inside` set, and does without the value.
pub struct CpuLocal<T> {
    slots: [Slot<T>; MAX_CPUS],
    /// The number of the visitor's processor, or one of the constants.
    visitor: AtomicU32,
}

/// Nobody visits.
const NOBODY: u32 = u32::MAX;

/// A thread visits that is no processor.
const THREAD: u32 = u32::MAX - 1;

/// The value of one processor, on cache lines of its own.
#[repr(align(128))]
struct Slot<T> {
    /// The processor uses the value; written by code on the processor alone.
    inside: AtomicBool,
    /// A visitor has the value, or waits for it; written by the one visitor alone.
    visited: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: a `&Slot<T>` leads to the value through `Slot::enter` and `Slot::visit` alone, which give one thread at a
// time an `&mut T`; that is sending the `T`.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    const fn new(value: T) -> Slot<T> {
        Slot {
            inside: AtomicBool::new(false),
            visited: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `f` on the value, unless it is in use by what this code interrupted, or by a visitor.
    ///
    /// # Safety
    /// 1. No other thread is in this function for the same slot: the caller is the slot's processor, and stays it.
    #[inline(always)]
    unsafe fn enter<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        // Relaxed: this processor alone writes it.
        if self.inside.load(Ordering::Relaxed) {
            return None;
        }
        // Relaxed: the fence orders it before the load of `visited`.
        self.inside.store(true, Ordering::Relaxed);
        let _leave = Leave(&self.inside);
        fence::light();
        // Acquire: pairs with the Release in `Visit::drop`.
        if self.visited.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the caller promises that no other thread is here, and what this thread interrupted was not, for
        // `inside` was clear. A visitor that comes from now on waits for `inside`, by the argument of `CpuLocal`.
        Some(self.value.with_mut(|value| f(unsafe { &mut *value })))
    }

    /// Runs `f` on the value once the processor has left it.
    ///
    /// # Safety
    /// 1. The caller set `visited`, made a heavy fence since, and clears it afterwards; nobody else visits.
    /// 2. The caller is not code that interrupted the slot's processor inside.
    unsafe fn visit(&self, f: impl FnOnce(&mut T)) {
        // Acquire: pairs with the Release in `Leave`.
        while self.inside.load(Ordering::Acquire) {
            cpu::relax();
        }
        // SAFETY: nobody else visits, and the processor is not inside: if it comes from now on it sees `visited`, by
        // the argument of `CpuLocal`.
        self.value.with_mut(|value| f(unsafe { &mut *value }));
    }
}

/// Clears `inside`, also where `f` panics.
struct Leave<'a>(&'a AtomicBool);

impl Drop for Leave<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `visit`.
        self.0.store(false, Ordering::Release);
    }
}

/// A type that has a value to start with.
pub trait Initial {
    /// The value.
    const INITIAL: Self;
}

impl<T: Initial> CpuLocal<T> {
    /// Makes the values of all processors.
    pub const fn new() -> CpuLocal<T> {
        CpuLocal { slots: [const { Slot::new(T::INITIAL) }; MAX_CPUS], visitor: AtomicU32::new(NOBODY) }
    }
}

impl<T: Initial> Default for CpuLocal<T> {
    fn default() -> CpuLocal<T> {
        CpuLocal::new()
    }
}

impl<T> CpuLocal<T> {
    /// Runs `f` on the value of the calling processor, which stays on it meanwhile.
    ///
    /// Returns `None`, and does not run `f`, where the value is in use: `f` is under way already on this processor
    /// (the caller is an interrupt's handler, or called by `f`), or somebody visits. So it does on a thread that is no
    /// processor. It never waits.
    #[inline]
    pub fn with_current<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _stay = cpu::disable_preempt();
        let here = cpu::try_current()?;
        // SAFETY: one thread at a time is this processor, and the guard keeps it there.
        unsafe { self.slots.get(here.index())?.enter(f) }
    }

    /// Runs `f` on the values of all processors, one after the other.
    ///
    /// Processors do without their values meanwhile. Waits for those that use theirs just now, and for other visitors.
    /// Returns whether it was done: not where the caller interrupted a use of the values on its own processor.
    ///
    /// The caller holds no lock that `f`, or a function given to [`with_current`](Self::with_current), takes.
    pub fn visit_all(&self, mut f: impl FnMut(&mut T)) -> bool {
        let _stay = cpu::disable_preempt();
        let here = cpu::try_current();
        // Relaxed: only code on this processor writes it, and that is the code interrupted, or none.
        if here.is_some_and(|cpu| self.slots[cpu.index()].inside.load(Ordering::Relaxed)) {
            return false;
        }
        let Some(visit) = self.begin_visit(here) else { return false };
        for slot in &visit.values.slots {
            // SAFETY: `visited` was set before a heavy fence and is clear when `visit` is dropped, there is one
            // visitor, and this code did not interrupt its own processor inside.
            unsafe { slot.visit(&mut f) };
        }
        true
    }

    /// Waits for the right to visit; `None` where this code interrupted the visitor.
    fn begin_visit(&self, here: Option<CpuId>) -> Option<Visit<'_, T>> {
        let number = here.map_or(THREAD, |cpu| cpu.index() as u32);
        // Acquire: pairs with the Release in `Visit::drop`.
        while let Err(other) =
            self.visitor.compare_exchange(NOBODY, number, Ordering::Acquire, Ordering::Relaxed)
        {
            if other == number && here.is_some() {
                return None;
            }
            cpu::relax();
        }
        let visit = Visit { values: self };
        for slot in &self.slots {
            // Relaxed: the fence orders it before the loads of `inside`.
            slot.visited.store(true, Ordering::Relaxed);
        }
        fence::heavy();
        Some(visit)
    }
}

/// The right to visit, until it is dropped.
struct Visit<'a, T> {
    values: &'a CpuLocal<T>,
}

impl<T> Drop for Visit<'_, T> {
    fn drop(&mut self) {
        for slot in &self.values.slots {
            // Release: pairs with the Acquire in `Slot::enter`.
            slot.visited.store(false, Ordering::Release);
        }
        // Release: pairs with the Acquire in `begin_visit`.
        self.values.visitor.store(NOBODY, Ordering::Release);
    }
}

impl<T> fmt::Debug for CpuLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuLocal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::AtomicBool as Flag;

    impl Initial for u64 {
        const INITIAL: u64 = 0;
    }

    const OWNER: usize = 3;
    const VISITS: u64 = 200;

    /// Acts as the processor that has a slot.
    fn enter<R>(local: &CpuLocal<u64>, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        // SAFETY: in each test one thread calls this.
        unsafe { local.slots[OWNER].enter(f) }
    }

    /// Adds one, so slowly that another addition at the same time is lost.
    fn add_slowly(value: &mut u64) {
        let before = *value;
        (0..64).for_each(|_| core::hint::spin_loop());
        *core::hint::black_box(value) = before + 1;
    }

    #[test]
    fn a_thread_that_is_no_processor_has_no_value() {
        let local = CpuLocal::<u64>::new();
        assert_eq!(local.with_current(|value| *value), None);
        assert_eq!(cpu::preempt_depth(), 0);
    }

    #[test]
    fn a_value_in_use_is_not_lent_again() {
        let local = CpuLocal::<u64>::new();
        let inner = enter(&local, |value| {
            *value = 7;
            enter(&local, |value| *value)
        });
        assert_eq!(inner, Some(None));
        assert_eq!(enter(&local, |value| *value), Some(7));
        let mut seen = std::vec::Vec::new();
        assert!(local.visit_all(|value| {
            seen.push(*value);
            assert_eq!(enter(&local, |_| ()), None);
        }));
        assert_eq!(seen.iter().sum::<u64>(), 7);
        assert_eq!(seen.len(), MAX_CPUS);
        assert_eq!(enter(&local, |value| *value), Some(7));
    }

    #[test]
    fn a_panic_leaves_the_value_to_others() {
        let local = CpuLocal::<u64>::new();
        let inside = std::panic::AssertUnwindSafe(|| enter(&local, |_| panic!("on purpose")));
        assert!(std::panic::catch_unwind(inside).is_err());
        let visiting = std::panic::AssertUnwindSafe(|| local.visit_all(|_| panic!("on purpose")));
        assert!(std::panic::catch_unwind(visiting).is_err());
        let mut visited = 0;
        assert!(local.visit_all(|_| visited += 1));
        assert_eq!(visited, MAX_CPUS);
    }

    #[test]
    fn what_the_processor_and_its_visitors_add_adds_up() {
        let local = CpuLocal::<u64>::new();
        let done = Flag::new(false);
        let mut turns = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..VISITS {
                    assert!(local.visit_all(add_slowly));
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                turns += u64::from(enter(&local, add_slowly).is_some());
            }
        });
        assert_eq!(enter(&local, |value| *value), Some(turns + VISITS));
    }
}
