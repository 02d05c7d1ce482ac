//! Those of `core`.
pub use core::hint::spin_loop;
use core::sync::atomic::Ordering;
pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

/// A fence, as that of `core`.
///
/// On x86-64 a sequentially consistent one is a locked instruction that changes nothing, on the top of the stack: it orders
/// all that MFENCE does of ordinary memory, in half the time (Intel SDM vol. 3, section 10.2.3.9).
#[inline(always)]
#[allow(unsafe_code, reason = "the instruction has no name in Rust")]
pub fn fence(order: Ordering) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, tsan))))]
    if matches!(order, Ordering::SeqCst) {
        // SAFETY: the word is on the stack, and stays what it is. There is no `nomem`: the compiler moves no access over it.
        unsafe { core::arch::asm!("lock or dword ptr [rsp], 0") };
        return;
    }
    core::sync::atomic::fence(order);
}

/// A cell whose contents change through a shared reference.
///
/// It is that of `core`, but lends its pointer to a closure, so that loom sees where an access begins.
#[derive(Default, Debug)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Makes a cell around a value.
    #[inline(always)]
    pub const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(core::cell::UnsafeCell::new(value))
    }

    /// Returns the value.
    #[inline(always)]
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Gives `f` the pointer to the value, to read it.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Gives `f` the pointer to the value, to change it.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }

    /// Returns the value through the only reference to the cell.
    #[inline(always)]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
