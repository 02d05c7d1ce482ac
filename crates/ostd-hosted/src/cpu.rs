//! Processors, and what each has for itself.
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::cell::Cell;
use std::thread_local;

/// The most processors there can be.
pub(crate) const MAX_CPUS: usize = 8;

/// The number of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuId(usize);

static NUM_CPUS: AtomicUsize = AtomicUsize::new(1);

/// Whether a thread is the processor.
static TAKEN: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

pub(crate) struct Local {
    /// Which processor the thread is; `MAX_CPUS` for none.
    cpu: Cell<usize>,
    /// How many guards disable interrupts.
    pub(crate) irq_guards: Cell<usize>,
}

thread_local! {
    pub(crate) static LOCAL: Local = const { Local { cpu: Cell::new(MAX_CPUS), irq_guards: Cell::new(0) } };
}

/// The right to be a processor.
pub(crate) struct Seat {
    cpu: usize,
}

impl Seat {
    pub(crate) fn take(cpu: usize) -> Seat {
        assert!(cpu < num_cpus(), "there is no processor {cpu}");
        assert_eq!(LOCAL.with(|local| local.cpu.get()), MAX_CPUS, "the thread is a processor already");
        // Acquire: pairs with the Release in `drop`, so that this thread sees what the one before it wrote.
        assert!(!TAKEN[cpu].swap(true, Ordering::Acquire), "another thread is processor {cpu}");
        LOCAL.with(|local| local.cpu.set(cpu));
        Seat { cpu }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        LOCAL.with(|local| local.cpu.set(MAX_CPUS));
        // Where a guard is left, so may be a reference to what is the processor's own: then nobody is it any more.
        if LOCAL.with(|local| local.irq_guards.get()) == 0 {
            // Release: pairs with the Acquire in `take`.
            TAKEN[self.cpu].store(false, Ordering::Release);
        }
    }
}

pub(crate) fn set_num_cpus(count: usize) {
    NUM_CPUS.store(count, Ordering::Relaxed);
}

/// Returns how many processors there are.
#[inline]
pub fn num_cpus() -> usize {
    NUM_CPUS.load(Ordering::Relaxed)
}

/// Lists the processors.
pub fn all_cpus() -> impl Iterator<Item = CpuId> {
    (0..num_cpus()).map(CpuId)
}

/// A guard with which the thread stays on its processor.
pub trait PinCurrentCpu {
    /// Returns the processor.
    #[inline]
    fn current_cpu(&self) -> CpuId {
        CpuId(LOCAL.with(|local| local.cpu.get()))
    }
}

#[expect(unsafe_code, reason = "shares what only one thread at a time can reach")]
pub mod local {
    //! Variables of which each processor has its own.
    use super::{CpuId, MAX_CPUS, PinCurrentCpu};
    use crate::irq::DisabledLocalIrqGuard;

    /// A variable of which each processor has its own.
    pub struct StaticCpuLocal<T>([OwnLines<T>; MAX_CPUS]);

    /// Two cache lines, since processors fetch neighbours as well.
    #[doc(hidden)]
    #[repr(align(128))]
    pub struct OwnLines<T>(pub T);

    // SAFETY: `get_with` hands out what belongs to the processor that the thread is, of which there is one at a time,
    // and no other while a guard is left; `get_on_cpu` wants `T: Sync`.
    unsafe impl<T: Send> Sync for StaticCpuLocal<T> {}

    impl<T> StaticCpuLocal<T> {
        #[doc(hidden)]
        pub const fn new(values: [OwnLines<T>; MAX_CPUS]) -> StaticCpuLocal<T> {
            StaticCpuLocal(values)
        }

        /// Returns that of the processor on which the guard was made.
        #[inline]
        pub fn get_with<'a>(&'a self, guard: &'a DisabledLocalIrqGuard) -> &'a T {
            let CpuId(cpu) = guard.current_cpu();
            &self.0[cpu].0
        }

        /// Returns that of a processor.
        #[inline]
        pub fn get_on_cpu(&self, CpuId(cpu): CpuId) -> &T
        where
            T: Sync,
        {
            &self.0[cpu].0
        }
    }

    /// Defines variables of which each processor has its own.
    #[macro_export]
    macro_rules! cpu_local {
        ($($(#[$attr:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr;)*) => {$(
            $(#[$attr])*
            $vis static $name: $crate::cpu::local::StaticCpuLocal<$ty> =
                $crate::cpu::local::StaticCpuLocal::new([const { $crate::cpu::local::OwnLines($init) }; _]);
        )*};
    }
}
