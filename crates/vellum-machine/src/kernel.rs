//! TRUSTED: memory of the kernel at its own addresses, as the calling processor sees it.
//!
//! Every access goes through the processor's translation, as one of [`user`](crate::user) does, but with the kernel's
//! rights: the page need not be the user's, and a write needs a page that may be written. A page fault goes to nobody,
//! since nobody could resolve it: the access ends there. So does one at an address that is not
//! [of the upper half](crate::layout::upper_half). An access that spans pages is made page by page.
//!
//! All functions panic on a thread that is no processor. The duties of their callers:
//! 1. At the addresses that are accessed nothing is mapped, or memory that can be read at any time, or written if the
//!    access writes: nobody has an exclusive Rust reference to it, or any if the access writes, and nobody relies on its
//!    not being written.
//! 2. The caller's own side of a copy can be read for `len` bytes, which nobody writes meanwhile; or written, and nobody
//!    else accesses it.
#![expect(unsafe_code, reason = "the kernel's addresses are everything that it stands on")]
use crate::addr::Vaddr;
use crate::arch::imp::access::{self, Mode};
use crate::fault::PageFault;
use crate::user::{Word, WordError, aligned};

/// Reads bytes.
///
/// # Errors
/// The page fault; `out` holds what was read up to there.
///
/// # Safety
/// 1. As the module says.
pub unsafe fn read(src: Vaddr, out: &mut [u8]) -> Result<(), PageFault> {
    // SAFETY: `out` can be written for its whole length.
    unsafe { access::read(Mode::Supervisor, out.as_mut_ptr(), src, out.len()) }.1
}

/// Writes bytes.
///
/// # Errors
/// The page fault; memory up to there holds what was to be written.
///
/// # Safety
/// 1. As the module says.
pub unsafe fn write(dst: Vaddr, data: &[u8]) -> Result<(), PageFault> {
    // SAFETY: `data` can be read for its whole length.
    unsafe { access::write(Mode::Supervisor, dst, data.as_ptr(), data.len()) }.1
}

/// Copies out of memory at kernel addresses, and returns how many bytes were copied before a fault.
///
/// The bytes of one word may be of different times if the memory is written meanwhile; [`load`] reads a word as one.
///
/// # Safety
/// 1. As the module says.
#[must_use = "a copy can stop short"]
pub unsafe fn copy_out(dst: *mut u8, src: Vaddr, len: usize) -> usize {
    // SAFETY: by the caller's duty 2.
    unsafe { access::read(Mode::Supervisor, dst, src, len) }.0
}

/// Copies into memory at kernel addresses, and returns how many bytes were copied before a fault.
///
/// # Safety
/// 1. As the module says.
#[must_use = "a copy can stop short"]
pub unsafe fn copy_in(dst: Vaddr, src: *const u8, len: usize) -> usize {
    // SAFETY: by the caller's duty 2.
    unsafe { access::write(Mode::Supervisor, dst, src, len) }.0
}

/// Fills memory at kernel addresses with a byte, and returns how many bytes were written before a fault.
///
/// # Safety
/// 1. As the module says.
#[must_use = "a fill can stop short"]
pub unsafe fn fill(dst: Vaddr, byte: u8, len: usize) -> usize {
    access::fill(Mode::Supervisor, dst, byte, len).0
}

/// Reads a word as one.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault.
///
/// # Safety
/// 1. As the module says.
pub unsafe fn load<W: Word>(src: Vaddr) -> Result<W, WordError> {
    aligned::<W>(src)?;
    Ok(access::load_word(Mode::Supervisor, src)?)
}

/// Writes a word as one.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault.
///
/// # Safety
/// 1. As the module says.
pub unsafe fn store<W: Word>(dst: Vaddr, value: W) -> Result<(), WordError> {
    aligned::<W>(dst)?;
    Ok(access::store_word(Mode::Supervisor, dst, value)?)
}

/// Replaces a word if it is `current`, and returns what it was: in `Ok` if it was replaced.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault.
///
/// # Safety
/// 1. As the module says.
pub unsafe fn compare_exchange<W: Word>(at: Vaddr, current: W, new: W) -> Result<Result<W, W>, WordError> {
    aligned::<W>(at)?;
    Ok(access::compare_exchange(Mode::Supervisor, at, current, new)?)
}
