//! Words that are accessed as one.
#![expect(unsafe_code, reason = "atomic accesses to raw memory")]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use vellum_machine::user;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A word that is read and written as one: `u32` or `u64`.
pub trait Word: user::Word + FromBytes + IntoBytes + Immutable + Copy + atomics::Atomic {}

pub(super) mod atomics {
    /// Accesses to a word in kernel memory.
    ///
    /// The duty of callers of all three: the address is aligned to the word, the word is mapped, and nobody
    /// has a Rust reference to it.
    pub trait Atomic: Sized {
        /// Reads it.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn load_at(at: *mut Self) -> Self;

        /// Writes it.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn store_at(at: *mut Self, value: Self);

        /// Replaces it if it is `current`.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn compare_exchange_at(at: *mut Self, current: Self, new: Self) -> Result<Self, Self>;
    }
}

macro_rules! words {
    ($($word:ty => $atomic:ty),*) => {$(
        impl Word for $word {}

        impl atomics::Atomic for $word {
            unsafe fn load_at(at: *mut Self) -> Self {
                // SAFETY: the caller's duty. Acquire and Release: the partners are the kernel's other users
                // of the word and user code.
                unsafe { <$atomic>::from_ptr(at) }.load(Ordering::Acquire)
            }

            unsafe fn store_at(at: *mut Self, value: Self) {
                // SAFETY: as above.
                unsafe { <$atomic>::from_ptr(at) }.store(value, Ordering::Release);
            }

            unsafe fn compare_exchange_at(at: *mut Self, current: Self, new: Self) -> Result<Self, Self> {
                // SAFETY: as above.
                let word = unsafe { <$atomic>::from_ptr(at) };
                word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
            }
        }
    )*};
}

words!(u32 => AtomicU32, u64 => AtomicU64);
