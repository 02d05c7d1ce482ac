//! Writers.
#![expect(unsafe_code, reason = "writers to raw memory are made by callers who know it")]
use super::error::{CopyError, IoError};
use super::kind::{Fallible, Infallible, MemoryKind};
use super::reader::VmReader;
use super::window::Window;
use super::word::Word;
use core::fmt;
use vellum_machine::addr::{Paddr, Vaddr};
use zerocopy::{Immutable, IntoBytes};

/// Writes bytes in order to memory that others may change and read meanwhile.
///
/// Neither `Send` nor `Sync`. See [`VmReader`] for the other direction.
pub struct VmWriter<'a, F = Infallible> {
    window: Window<'a, F>,
}

impl<'a> VmWriter<'a, Infallible> {
    /// Makes a writer to `len` bytes of kernel memory from `start` on.
    ///
    /// # Safety
    /// 1. The bytes are mapped and writable for the writer's lifetime.
    /// 2. Nobody has a Rust reference to them in that time, unless the writer was made from it.
    pub(crate) unsafe fn from_raw(start: *mut u8, len: usize) -> Self {
        // SAFETY: the caller's duties.
        VmWriter { window: unsafe { Window::from_raw(start, len) } }
    }

    /// Copies as much as there is room for here and left there, moves both past it, and returns how much it
    /// was.
    pub fn write(&mut self, reader: &mut VmReader<'_, Infallible>) -> usize {
        reader.read(self)
    }

    /// Fills at most `len` bytes with `byte`, moves past them, and returns how many it was.
    pub fn fill(&mut self, byte: u8, len: usize) -> usize {
        match self.window.fill(byte, len) {
            Ok(done) | Err(CopyError { done, .. }) => done,
        }
    }

    pub(super) fn window(&mut self) -> &mut Window<'a, Infallible> {
        &mut self.window
    }
}

impl VmWriter<'_, Fallible> {
    /// Makes a writer to user memory in the space whose table has this root.
    pub(crate) fn user(start: Vaddr, len: usize, root: Paddr) -> Self {
        VmWriter { window: Window::user(start, len, root) }
    }

    /// Makes a writer to what is mapped at addresses of the kernel, through the translations of the calling processor.
    ///
    /// Whether anything is mapped there shows when it is written; page faults are not handed to anybody.
    ///
    /// # Safety
    /// 1. For the writer's lifetime, what is mapped at the addresses, if anything is, is memory that nobody has a Rust reference
    ///    to, and whose contents nobody relies on.
    pub unsafe fn kernel(start: Vaddr, len: usize) -> Self {
        // SAFETY: the caller's duty.
        VmWriter { window: unsafe { Window::kernel(start, len) } }
    }

    /// Copies as much as there is room for here and left there, moves both past it, and returns how much it
    /// was.
    ///
    /// # Errors
    /// A [`CopyError`] says how much was copied, and both have moved past that:
    /// - [`IoError::Fault`]: the next byte faulted, and the fault was not resolved.
    /// - [`IoError::NotActive`]: of user memory: the space is not active on this processor any more.
    pub fn write(&mut self, reader: &mut VmReader<'_, Infallible>) -> Result<usize, CopyError> {
        self.window.copy_from(reader.window())
    }

    /// Fills at most `len` bytes with `byte`, moves past them, and returns how many it was.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn fill(&mut self, byte: u8, len: usize) -> Result<usize, CopyError> {
        self.window.fill(byte, len)
    }
}

impl<F: MemoryKind> VmWriter<'_, F> {
    /// Returns how many bytes there is room for.
    pub fn avail(&self) -> usize {
        self.window.left()
    }

    /// Says whether there is room.
    pub fn has_avail(&self) -> bool {
        self.avail() != 0
    }

    /// Skips bytes, at most those that there is room for.
    pub fn skip(&mut self, len: usize) -> &mut Self {
        self.window.skip(len);
        self
    }

    /// Leaves room for at most `len` bytes.
    pub fn limit(&mut self, len: usize) -> &mut Self {
        self.window.limit(len);
        self
    }

    /// Writes a value of plain data and moves past it; on an error it stays where it was.
    ///
    /// The bytes are not written as one: see [`store_word`](Self::store_word). A value that faults half way
    /// may have been written in part.
    ///
    /// # Errors
    /// - [`IoError::Exhausted`]: there is less room; nothing was written.
    /// - [`IoError::Fault`], [`IoError::NotActive`]: of memory that can fault, as for
    ///   [`write`](VmWriter::<Fallible>::write).
    pub fn write_val<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<(), IoError> {
        self.window.write_bytes(value.as_bytes())
    }

    /// Writes the next word as one (`Release`), and stays where it is.
    ///
    /// # Errors
    /// - [`IoError::Exhausted`]: there is less room.
    /// - [`IoError::Misaligned`]: it is not aligned to its size.
    /// - [`IoError::Fault`], [`IoError::NotActive`]: of memory that can fault, as for
    ///   [`write`](VmWriter::<Fallible>::write).
    pub fn store_word<W: Word>(&self, value: W) -> Result<(), IoError> {
        self.window.store(value)
    }

    /// Replaces the next word by `new` if it is `current`, as one, and stays where it is. Returns what the
    /// word was: in `Ok` if it was replaced.
    ///
    /// # Errors
    /// As for [`store_word`](Self::store_word).
    pub fn compare_exchange_word<W: Word>(&self, current: W, new: W) -> Result<Result<W, W>, IoError> {
        self.window.compare_exchange(current, new)
    }
}

impl<'a> From<&'a mut [u8]> for VmWriter<'a, Infallible> {
    fn from(bytes: &'a mut [u8]) -> Self {
        // SAFETY: the slice is borrowed exclusively for the writer's lifetime.
        unsafe { VmWriter::from_raw(bytes.as_mut_ptr(), bytes.len()) }
    }
}

impl<F: MemoryKind> fmt::Debug for VmWriter<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmWriter")
            .field("at", &self.window.position())
            .field("avail", &self.avail())
            .finish_non_exhaustive()
    }
}
