//! TRUSTED: user memory, as user code on the calling processor sees it and as the kernel reaches into it.
//!
//! Every access goes through the processor's translation: it obeys the permissions for user code, sets accessed
//! and dirty bits, and faults. A page fault goes to the handler ([`crate::fault::set_hook`]) each time it is
//! raised; resolved, the access is made again; unresolved, it ends there. An address that is not canonical is
//! an error without the handler being asked. An access that spans pages is made page by page.
//!
//! All functions panic on a thread that is no processor.
#![expect(unsafe_code, reason = "the kernel's side of a copy is a raw pointer")]
use crate::addr::Vaddr;
use crate::arch::imp::access::{self, Mode};
use crate::fault::{Access, PageFault};
use core::fmt;

pub use crate::arch::imp::access::Word;

/// Why an access to a single word failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WordError {
    /// The address is not a multiple of the word's size.
    Misaligned {
        /// The address.
        va: Vaddr,
    },
    /// The access faulted and nobody resolved it.
    Fault(PageFault),
}

impl From<PageFault> for WordError {
    fn from(fault: PageFault) -> WordError {
        WordError::Fault(fault)
    }
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordError::Misaligned { va } => write!(f, "the word at {va} is not aligned to its size"),
            WordError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for WordError {}

/// Loads bytes, as user code.
///
/// # Errors
/// The first page fault that was not resolved; `out` holds what was read up to there.
pub fn load(va: Vaddr, out: &mut [u8]) -> Result<(), PageFault> {
    // SAFETY: `out` can be written for its whole length.
    unsafe { access::read(Mode::User, out.as_mut_ptr(), va, out.len()) }.1
}

/// Stores bytes, as user code.
///
/// # Errors
/// The first page fault that was not resolved; memory up to there holds what was to be written.
pub fn store(va: Vaddr, data: &[u8]) -> Result<(), PageFault> {
    // SAFETY: `data` can be read for its whole length.
    unsafe { access::write(Mode::User, va, data.as_ptr(), data.len()) }.1
}

/// Fetches an instruction at an address, as user code, and does not carry it out.
///
/// # Errors
/// The page fault that was not resolved.
pub fn fetch(va: Vaddr) -> Result<(), PageFault> {
    access::touch(Mode::User, va, Access::Execute)
}

/// Loads a word, as user code; byte by byte if it is not aligned.
///
/// # Errors
/// The page fault that was not resolved.
#[inline]
pub fn load_u64(va: Vaddr) -> Result<u64, PageFault> {
    if !va.0.is_multiple_of(size_of::<u64>()) {
        let mut bytes = [0; size_of::<u64>()];
        return load(va, &mut bytes).map(|()| u64::from_le_bytes(bytes));
    }
    access::load_word(Mode::User, va)
}

/// Stores a word, as user code; byte by byte if it is not aligned.
///
/// # Errors
/// The page fault that was not resolved; of a word that spans two pages, the first part may have been written.
#[inline]
pub fn store_u64(va: Vaddr, value: u64) -> Result<(), PageFault> {
    if !va.0.is_multiple_of(size_of::<u64>()) {
        return store(va, &value.to_le_bytes());
    }
    access::store_word(Mode::User, va, value)
}

/// Replaces a word if it is `current`, as user code, and returns what it was: in `Ok` if it was replaced.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault that was not resolved.
#[inline]
pub fn compare_exchange_u64(va: Vaddr, current: u64, new: u64) -> Result<Result<u64, u64>, WordError> {
    aligned::<u64>(va)?;
    Ok(access::compare_exchange(Mode::User, va, current, new)?)
}

/// Adds to a word, wrapping around, as user code, and returns what it was.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault that was not resolved.
#[inline]
pub fn fetch_add_u64(va: Vaddr, value: u64) -> Result<u64, WordError> {
    aligned::<u64>(va)?;
    Ok(access::fetch_add(Mode::User, va, value)?)
}

/// Copies from user memory into the kernel's, and returns how many bytes were copied before a fault.
///
/// The bytes of one word may be of different times if user memory is written meanwhile;
/// [`load_from_user`] reads a word as one.
///
/// # Safety
/// 1. `dst` can be written for `len` bytes, which nobody else accesses meanwhile.
#[must_use = "a copy can stop short"]
pub unsafe fn copy_from_user(dst: *mut u8, src: Vaddr, len: usize) -> usize {
    // SAFETY: by the caller's duty 1.
    unsafe { access::read(Mode::Kernel, dst, src, len) }.0
}

/// Copies from the kernel's memory into user memory, and returns how many bytes were copied before a fault.
///
/// # Safety
/// 1. `src` can be read for `len` bytes, which nobody writes meanwhile.
#[must_use = "a copy can stop short"]
pub unsafe fn copy_to_user(dst: Vaddr, src: *const u8, len: usize) -> usize {
    // SAFETY: by the caller's duty 1.
    unsafe { access::write(Mode::Kernel, dst, src, len) }.0
}

/// Fills user memory with a byte, and returns how many bytes were written before a fault.
#[must_use = "a fill can stop short"]
pub fn fill_user(dst: Vaddr, byte: u8, len: usize) -> usize {
    access::fill(Mode::Kernel, dst, byte, len).0
}

/// Reads a word of user memory as one, for the kernel.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault that was not resolved.
pub fn load_from_user<W: Word>(src: Vaddr) -> Result<W, WordError> {
    aligned::<W>(src)?;
    Ok(access::load_word(Mode::Kernel, src)?)
}

/// Writes a word of user memory as one, for the kernel.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault that was not resolved.
pub fn store_to_user<W: Word>(dst: Vaddr, value: W) -> Result<(), WordError> {
    aligned::<W>(dst)?;
    Ok(access::store_word(Mode::Kernel, dst, value)?)
}

/// Replaces a word of user memory if it is `current`, for the kernel, and returns what it was: in `Ok` if it was
/// replaced.
///
/// # Errors
/// - [`WordError::Misaligned`]: nothing was accessed.
/// - [`WordError::Fault`]: the page fault that was not resolved.
pub fn compare_exchange_in_user<W: Word>(at: Vaddr, current: W, new: W) -> Result<Result<W, W>, WordError> {
    aligned::<W>(at)?;
    Ok(access::compare_exchange(Mode::Kernel, at, current, new)?)
}

/// Refuses an address that is no multiple of the word's size.
pub(crate) fn aligned<W: Word>(va: Vaddr) -> Result<(), WordError> {
    if va.0.is_multiple_of(size_of::<W>()) { Ok(()) } else { Err(WordError::Misaligned { va }) }
}
