//! Readers.
#![expect(unsafe_code, reason = "readers of raw memory are made by callers who know it")]
use super::error::{CopyError, IoError};
use super::kind::{Fallible, Infallible, MemoryKind};
use super::window::Window;
use super::word::Word;
use super::writer::VmWriter;
use core::fmt;
use vellum_machine::addr::{Paddr, Vaddr};
use zerocopy::FromBytes;

/// Reads bytes in order from memory that others may change meanwhile.
///
/// Neither `Send` nor `Sync`. See [`VmWriter`] for the other direction.
pub struct VmReader<'a, F = Infallible> {
    window: Window<'a, F>,
}

impl<'a> VmReader<'a, Infallible> {
    /// Makes a reader of `len` bytes of kernel memory from `start` on.
    ///
    /// # Safety
    /// 1. The bytes are mapped and readable for the reader's lifetime.
    /// 2. Nobody has an exclusive Rust reference to them in that time.
    pub(crate) unsafe fn from_raw(start: *const u8, len: usize) -> Self {
        // SAFETY: the caller's duties; a reader does not write.
        VmReader { window: unsafe { Window::from_raw(start.cast_mut(), len) } }
    }

    /// Copies as much as is left here and there is room for, moves both past it, and returns how much it was.
    pub fn read(&mut self, writer: &mut VmWriter<'_, Infallible>) -> usize {
        match self.window.copy_to(writer.window()) {
            Ok(done) | Err(CopyError { done, .. }) => done,
        }
    }

    pub(super) fn window(&mut self) -> &mut Window<'a, Infallible> {
        &mut self.window
    }
}

impl VmReader<'_, Fallible> {
    /// Makes a reader of user memory in the space whose table has this root.
    pub(crate) fn user(start: Vaddr, len: usize, root: Paddr) -> Self {
        VmReader { window: Window::user(start, len, root) }
    }

    /// Makes a reader of what is mapped at addresses of the kernel, through the translations of the calling processor.
    ///
    /// Whether anything is mapped there shows when it is read; page faults are not handed to anybody.
    ///
    /// # Safety
    /// 1. For the reader's lifetime, what is mapped at the addresses, if anything is, is memory that nobody has a Rust reference
    ///    to.
    pub unsafe fn kernel(start: Vaddr, len: usize) -> Self {
        // SAFETY: the caller's duty.
        VmReader { window: unsafe { Window::kernel(start, len) } }
    }

    /// Copies as much as is left here and there is room for, moves both past it, and returns how much it was.
    ///
    /// # Errors
    /// A [`CopyError`] says how much was copied, and both have moved past that:
    /// - [`IoError::Fault`]: the next byte faulted, and the fault was not resolved.
    /// - [`IoError::NotActive`]: of user memory: the space is not active on this processor any more.
    pub fn read(&mut self, writer: &mut VmWriter<'_, Infallible>) -> Result<usize, CopyError> {
        self.window.copy_to(writer.window())
    }
}

impl<F: MemoryKind> VmReader<'_, F> {
    /// Returns how many bytes are left to read.
    pub fn remain(&self) -> usize {
        self.window.left()
    }

    /// Says whether bytes are left to read.
    pub fn has_remain(&self) -> bool {
        self.remain() != 0
    }

    /// Skips bytes, at most those that are left.
    pub fn skip(&mut self, len: usize) -> &mut Self {
        self.window.skip(len);
        self
    }

    /// Leaves at most `len` bytes to read.
    pub fn limit(&mut self, len: usize) -> &mut Self {
        self.window.limit(len);
        self
    }

    /// Reads a value of plain data and moves past it; on an error it stays where it was.
    ///
    /// The bytes are not read as one: see [`load_word`](Self::load_word).
    ///
    /// # Errors
    /// - [`IoError::Exhausted`]: fewer bytes are left.
    /// - [`IoError::Fault`], [`IoError::NotActive`]: of memory that can fault, as for
    ///   [`read`](VmReader::<Fallible>::read).
    pub fn read_val<T: FromBytes>(&mut self) -> Result<T, IoError> {
        self.window.read_val()
    }

    /// Reads the next word as one (`Acquire`), and stays where it is.
    ///
    /// # Errors
    /// - [`IoError::Exhausted`]: fewer bytes are left.
    /// - [`IoError::Misaligned`]: it is not aligned to its size.
    /// - [`IoError::Fault`], [`IoError::NotActive`]: of memory that can fault, as for
    ///   [`read`](VmReader::<Fallible>::read).
    pub fn load_word<W: Word>(&self) -> Result<W, IoError> {
        self.window.load()
    }
}

impl<'a> From<&'a [u8]> for VmReader<'a, Infallible> {
    fn from(bytes: &'a [u8]) -> Self {
        // SAFETY: the slice is borrowed for the reader's lifetime, so it stays, and nobody writes to it.
        unsafe { VmReader::from_raw(bytes.as_ptr(), bytes.len()) }
    }
}

impl<F> Clone for VmReader<'_, F> {
    fn clone(&self) -> Self {
        VmReader { window: self.window.clone() }
    }
}

impl<F: MemoryKind> fmt::Debug for VmReader<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmReader")
            .field("at", &self.window.position())
            .field("remain", &self.remain())
            .finish_non_exhaustive()
    }
}
