//! Kinds of memory: how it is accessed, and what can go wrong.
#![expect(unsafe_code, reason = "copies from and to raw memory")]
use super::error::IoError;
use super::word::Word;
use core::ptr;
use vellum_machine::addr::{Paddr, Vaddr};
use vellum_machine::user::{self, WordError};
use vellum_machine::{cpu, kernel, tlb};

/// The memory of a user program, or what is mapped in kernel space for a while: any access can fault.
#[derive(Clone, Copy, Debug)]
pub enum Fallible {}

/// Memory of the kernel that is always there: frames and segments whose contents are plain bytes, and slices.
#[derive(Clone, Copy, Debug)]
pub enum Infallible {}

/// A kind of memory: [`Fallible`] or [`Infallible`].
pub trait MemoryKind: access::Access {}

impl MemoryKind for Fallible {}

impl MemoryKind for Infallible {}

/// Whose addresses the memory of a window is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// User space's, in the space whose table has this root.
    User {
        /// The root.
        root: Paddr,
    },
    /// The kernel's.
    Kernel,
}

pub(super) mod access {
    use super::{IoError, Side, Vaddr, Word};

    /// How a kind of memory is accessed.
    ///
    /// The duties of callers of the unsafe functions:
    /// 1. the memory at `src`, `dst` or `at`, on that side, is of the kind and was put into a window, and lies in it;
    /// 2. `ptr` is valid for `len` bytes, and they are the caller's or themselves in a window.
    pub trait Access {
        /// Whether addresses mean now what they meant when the window was made.
        fn check(side: Side) -> Result<(), IoError>;

        /// Copies out, and returns how many bytes it was.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn copy_out(side: Side, ptr: *mut u8, src: usize, len: usize) -> usize;

        /// Copies in, and returns how many bytes it was.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn copy_in(side: Side, dst: usize, ptr: *const u8, len: usize) -> usize;

        /// Fills with a byte, and returns how many bytes it was.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn fill(side: Side, dst: usize, byte: u8, len: usize) -> usize;

        /// Reads an aligned word.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn load<W: Word>(side: Side, at: usize) -> Result<W, IoError>;

        /// Writes an aligned word.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn store<W: Word>(side: Side, at: usize, value: W) -> Result<(), IoError>;

        /// Replaces an aligned word if it is `current`.
        ///
        /// # Safety
        /// 1. As the trait says.
        unsafe fn compare_exchange<W: Word>(
            side: Side,
            at: usize,
            current: W,
            new: W,
        ) -> Result<Result<W, W>, IoError>;

        /// Names an address of this kind.
        fn address(at: usize) -> Vaddr {
            Vaddr(at)
        }
    }
}

impl From<WordError> for IoError {
    fn from(error: WordError) -> IoError {
        match error {
            WordError::Misaligned { va } => IoError::Misaligned { at: va },
            WordError::Fault(fault) => IoError::Fault { at: fault.addr },
        }
    }
}

impl access::Access for Fallible {
    fn check(side: Side) -> Result<(), IoError> {
        match side {
            Side::User { root } if tlb::root() != Some(root) => {
                Err(IoError::NotActive { cpu: cpu::current() })
            }
            Side::User { .. } | Side::Kernel => Ok(()),
        }
    }

    unsafe fn copy_out(side: Side, ptr: *mut u8, src: usize, len: usize) -> usize {
        // SAFETY: the caller's duty 2; a user address can be anything, and that of the kernel is in the window.
        unsafe {
            match side {
                Side::User { .. } => user::copy_from_user(ptr, Vaddr(src), len),
                Side::Kernel => kernel::copy_out(ptr, Vaddr(src), len),
            }
        }
    }

    unsafe fn copy_in(side: Side, dst: usize, ptr: *const u8, len: usize) -> usize {
        // SAFETY: as above.
        unsafe {
            match side {
                Side::User { .. } => user::copy_to_user(Vaddr(dst), ptr, len),
                Side::Kernel => kernel::copy_in(Vaddr(dst), ptr, len),
            }
        }
    }

    unsafe fn fill(side: Side, dst: usize, byte: u8, len: usize) -> usize {
        match side {
            Side::User { .. } => user::fill_user(Vaddr(dst), byte, len),
            // SAFETY: the caller's duty 1. So below.
            Side::Kernel => unsafe { kernel::fill(Vaddr(dst), byte, len) },
        }
    }

    unsafe fn load<W: Word>(side: Side, at: usize) -> Result<W, IoError> {
        Ok(match side {
            Side::User { .. } => user::load_from_user(Vaddr(at))?,
            // SAFETY: as above.
            Side::Kernel => unsafe { kernel::load(Vaddr(at)) }?,
        })
    }

    unsafe fn store<W: Word>(side: Side, at: usize, value: W) -> Result<(), IoError> {
        match side {
            Side::User { .. } => user::store_to_user(Vaddr(at), value)?,
            // SAFETY: as above.
            Side::Kernel => unsafe { kernel::store(Vaddr(at), value) }?,
        }
        Ok(())
    }

    unsafe fn compare_exchange<W: Word>(
        side: Side,
        at: usize,
        current: W,
        new: W,
    ) -> Result<Result<W, W>, IoError> {
        Ok(match side {
            Side::User { .. } => user::compare_exchange_in_user(Vaddr(at), current, new)?,
            // SAFETY: as above.
            Side::Kernel => unsafe { kernel::compare_exchange(Vaddr(at), current, new) }?,
        })
    }
}

impl access::Access for Infallible {
    fn check(_side: Side) -> Result<(), IoError> {
        Ok(())
    }

    unsafe fn copy_out(_side: Side, ptr: *mut u8, src: usize, len: usize) -> usize {
        // SAFETY: the caller's duties.
        unsafe { copy(ptr, ptr::with_exposed_provenance(src), len) };
        len
    }

    unsafe fn copy_in(_side: Side, dst: usize, ptr: *const u8, len: usize) -> usize {
        // SAFETY: the caller's duties.
        unsafe { copy(ptr::with_exposed_provenance_mut(dst), ptr, len) };
        len
    }

    unsafe fn fill(_side: Side, dst: usize, byte: u8, len: usize) -> usize {
        let pattern = [byte; WORD];
        let step = |done: usize, size: usize| {
            let at = ptr::with_exposed_provenance_mut::<u8>(dst + done);
            // SAFETY: `size` bytes at `at` are in the window, and aligned where they are a word.
            unsafe {
                match size {
                    WORD => at.cast::<u64>().write_volatile(u64::from_ne_bytes(pattern)),
                    _ => at.write_volatile(byte),
                }
            }
        };
        by_words(dst, len, step);
        len
    }

    unsafe fn load<W: Word>(_side: Side, at: usize) -> Result<W, IoError> {
        // SAFETY: the caller's duty 1, and `at` is aligned.
        Ok(unsafe { W::load_at(ptr::with_exposed_provenance_mut(at)) })
    }

    unsafe fn store<W: Word>(_side: Side, at: usize, value: W) -> Result<(), IoError> {
        // SAFETY: as above.
        unsafe { W::store_at(ptr::with_exposed_provenance_mut(at), value) };
        Ok(())
    }

    unsafe fn compare_exchange<W: Word>(
        _side: Side,
        at: usize,
        current: W,
        new: W,
    ) -> Result<Result<W, W>, IoError> {
        // SAFETY: as above.
        Ok(unsafe { W::compare_exchange_at(ptr::with_exposed_provenance_mut(at), current, new) })
    }
}

const WORD: usize = size_of::<u64>();

/// Copies bytes that may change meanwhile, a word at a time where both sides are aligned.
///
/// Volatile: the memory is shared with user programs and devices, which the compiler knows nothing of; what
/// is read while somebody writes is some mixture of old and new bytes.
///
/// # Safety
/// 1. `src` can be read and `dst` written for `len` bytes.
unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) {
    let shifted = !(dst.addr() ^ src.addr()).is_multiple_of(WORD);
    let step = |done: usize, size: usize| {
        // SAFETY: the caller's duty; a word is copied only where both sides are aligned.
        unsafe {
            let (dst, src) = (dst.add(done), src.add(done));
            match size {
                WORD => dst.cast::<u64>().write_volatile(src.cast::<u64>().read_volatile()),
                _ => dst.write_volatile(src.read_volatile()),
            }
        }
    };
    if shifted {
        (0..len).for_each(|done| step(done, 1));
    } else {
        by_words(dst.addr(), len, step);
    }
}

/// Calls `step` for each piece of `len` bytes at `at`, which is an aligned word or a single byte.
#[inline(always)]
fn by_words(at: usize, len: usize, step: impl Fn(usize, usize)) {
    let head = (at.next_multiple_of(WORD) - at).min(len);
    let words = (len - head) / WORD;
    (0..head).for_each(|done| step(done, 1));
    (0..words).for_each(|n| step(head + n * WORD, WORD));
    (head + words * WORD..len).for_each(|done| step(done, 1));
}

#[cfg(test)]
mod tests {
    use super::access::Access;
    use super::*;

    #[test]
    fn copies_and_fills_at_every_alignment() {
        let source: [u8; 64] = core::array::from_fn(|n| n as u8 + 1);
        for (from, to, len) in (0..9).flat_map(|f| (0..9).flat_map(move |t| (0..20).map(move |l| (f, t, l))))
        {
            let mut out = [0u8; 64];
            let dst = out.as_mut_ptr().wrapping_add(to).expose_provenance();
            // SAFETY: all of it lies in the two arrays.
            unsafe { Infallible::copy_in(Side::Kernel, dst, source.as_ptr().add(from), len) };
            assert_eq!(out[to..to + len], source[from..from + len]);
            assert!(out[..to].iter().chain(&out[to + len..]).all(|byte| *byte == 0));
            // SAFETY: as above.
            unsafe { Infallible::fill(Side::Kernel, dst, 0xee, len) };
            assert!(out[to..to + len].iter().all(|byte| *byte == 0xee));
            assert!(out[..to].iter().chain(&out[to + len..]).all(|byte| *byte == 0));
        }
    }
}
