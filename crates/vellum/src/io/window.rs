//! A stretch of memory, and a position in it.
#![expect(unsafe_code, reason = "knows that what lies in a window can be accessed")]
use super::error::{CopyError, IoError};
use super::kind::{Fallible, Infallible, MemoryKind, Side};
use super::word::Word;
use core::marker::PhantomData;
use vellum_machine::addr::{Paddr, Vaddr};
use zerocopy::FromBytes;

/// `left` bytes of memory from `at` on, which are there for `'a`, if it is that of the infallible kind, and which nobody has a Rust reference to
/// unless that is the one that the window was made from.
pub(super) struct Window<'a, F> {
    at: usize,
    left: usize,
    side: Side,
    memory: PhantomData<(&'a (), *mut F)>,
}

impl<F> Clone for Window<'_, F> {
    fn clone(&self) -> Self {
        Window { ..*self }
    }
}

impl Window<'_, Infallible> {
    /// Makes a window of kernel memory.
    ///
    /// # Safety
    /// 1. The bytes are mapped for the window's lifetime, and may be read; and written, if the window is
    ///    written to.
    /// 2. Nobody has a Rust reference to them in that time, other than shared ones to what nobody writes, or
    ///    the exclusive one that is borrowed for the window.
    pub(super) unsafe fn from_raw(start: *mut u8, len: usize) -> Self {
        Window { at: start.expose_provenance(), left: len, side: Side::Kernel, memory: PhantomData }
    }
}

impl Window<'_, Fallible> {
    /// Makes a window of user memory, in the space whose table has this root.
    pub(super) fn user(start: Vaddr, len: usize, root: Paddr) -> Self {
        Window { at: start.0, left: len, side: Side::User { root }, memory: PhantomData }
    }

    /// Makes a window of addresses of the kernel, at which something may be mapped.
    ///
    /// # Safety
    /// 1. For the window's lifetime, what is mapped there is memory that nobody has a Rust reference to; and nobody relies on
    ///    what it holds, if the window is written to.
    pub(super) unsafe fn kernel(start: Vaddr, len: usize) -> Self {
        Window { at: start.0, left: len, side: Side::Kernel, memory: PhantomData }
    }
}

impl<F: MemoryKind> Window<'_, F> {
    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn position(&self) -> Vaddr {
        F::address(self.at)
    }

    pub(super) fn skip(&mut self, len: usize) {
        self.advance(len.min(self.left));
    }

    pub(super) fn limit(&mut self, len: usize) {
        self.left = self.left.min(len);
    }

    fn advance(&mut self, len: usize) {
        self.at += len;
        self.left -= len;
    }

    /// Copies as much as both have, and moves both past it.
    pub(super) fn copy_to(&mut self, out: &mut Window<'_, Infallible>) -> Result<usize, CopyError> {
        let len = self.left.min(out.left);
        self.check(len)?;
        // SAFETY: `len` bytes are left in both windows.
        let done =
            unsafe { F::copy_out(self.side, core::ptr::with_exposed_provenance_mut(out.at), self.at, len) };
        out.advance(done);
        self.moved(done, len)
    }

    /// Copies as much as both have, and moves both past it.
    pub(super) fn copy_from(&mut self, from: &mut Window<'_, Infallible>) -> Result<usize, CopyError> {
        let len = self.left.min(from.left);
        self.check(len)?;
        // SAFETY: `len` bytes are left in both windows.
        let done =
            unsafe { F::copy_in(self.side, self.at, core::ptr::with_exposed_provenance(from.at), len) };
        from.advance(done);
        self.moved(done, len)
    }

    /// Fills at most `len` bytes, and moves past them.
    pub(super) fn fill(&mut self, byte: u8, len: usize) -> Result<usize, CopyError> {
        let len = self.left.min(len);
        self.check(len)?;
        // SAFETY: `len` bytes are left.
        let done = unsafe { F::fill(self.side, self.at, byte, len) };
        self.moved(done, len)
    }

    fn check(&self, len: usize) -> Result<(), CopyError> {
        match F::check(self.side) {
            Err(error) if len != 0 => Err(CopyError { done: 0, error }),
            _ => Ok(()),
        }
    }

    fn moved(&mut self, done: usize, len: usize) -> Result<usize, CopyError> {
        self.advance(done);
        if done < len {
            return Err(CopyError { done, error: IoError::Fault { at: self.position() } });
        }
        Ok(done)
    }

    /// Reads a value and moves past it; on an error stays where it was.
    pub(super) fn read_val<T: FromBytes>(&mut self) -> Result<T, IoError> {
        self.has(size_of::<T>())?;
        let mut value = T::new_zeroed();
        // SAFETY: that many bytes are left, `value` has as many, and any bytes make a `T`.
        let done = unsafe { F::copy_out(self.side, (&raw mut value).cast(), self.at, size_of::<T>()) };
        self.moved_whole(done, size_of::<T>())?;
        Ok(value)
    }

    /// Writes all bytes and moves past them; on an error stays where it was, and some may have been written.
    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.has(bytes.len())?;
        // SAFETY: that many bytes are left.
        let done = unsafe { F::copy_in(self.side, self.at, bytes.as_ptr(), bytes.len()) };
        self.moved_whole(done, bytes.len())
    }

    fn has(&self, wanted: usize) -> Result<(), IoError> {
        if wanted > self.left {
            return Err(IoError::Exhausted { wanted, left: self.left });
        }
        F::check(self.side)
    }

    fn moved_whole(&mut self, done: usize, wanted: usize) -> Result<(), IoError> {
        if done < wanted {
            return Err(IoError::Fault { at: F::address(self.at + done) });
        }
        self.advance(wanted);
        Ok(())
    }

    fn has_word<W: Word>(&self) -> Result<(), IoError> {
        self.has(size_of::<W>())?;
        if !self.at.is_multiple_of(size_of::<W>()) {
            return Err(IoError::Misaligned { at: self.position() });
        }
        Ok(())
    }

    pub(super) fn load<W: Word>(&self) -> Result<W, IoError> {
        self.has_word::<W>()?;
        // SAFETY: the word is in the window, and aligned.
        unsafe { F::load(self.side, self.at) }
    }

    pub(super) fn store<W: Word>(&self, value: W) -> Result<(), IoError> {
        self.has_word::<W>()?;
        // SAFETY: the word is in the window, and aligned.
        unsafe { F::store(self.side, self.at, value) }
    }

    pub(super) fn compare_exchange<W: Word>(&self, current: W, new: W) -> Result<Result<W, W>, IoError> {
        self.has_word::<W>()?;
        // SAFETY: the word is in the window, and aligned.
        unsafe { F::compare_exchange(self.side, self.at, current, new) }
    }
}

#[cfg(test)]
mod tests {
    use crate::io::{IoError, VmReader, VmWriter};

    #[repr(align(8))]
    struct Aligned([u8; 24]);

    #[test]
    fn both_sides_move_as_far_as_both_have() {
        let mut out = [0; 5];
        let mut reader = VmReader::from(&b"abcdefgh"[..]);
        let mut writer = VmWriter::from(&mut out[..]);
        assert_eq!(reader.limit(7).read(writer.limit(3)), 3);
        assert_eq!((reader.remain(), writer.avail()), (4, 0));
        let mut writer = VmWriter::from(&mut out[..]);
        writer.skip(3);
        assert_eq!(writer.write(reader.skip(1)), 2);
        assert_eq!((reader.remain(), writer.avail(), &out), (1, 0, b"abcef"));
    }

    #[test]
    fn values_need_their_bytes_and_words_their_place() {
        let mut bytes = Aligned([0; 24]);
        let mut writer = VmWriter::from(&mut bytes.0[..]);
        writer.write_val(&0x1122_3344_u32).unwrap();
        assert_eq!(writer.store_word(1_u64).map_err(|e| matches!(e, IoError::Misaligned { .. })), Err(true));
        writer.write_val(&[7_u16, 8]).unwrap();
        writer.store_word(5_u64).unwrap();
        assert_eq!(writer.compare_exchange_word(5_u64, 6), Ok(Ok(5)));
        assert_eq!(writer.compare_exchange_word(5_u32, 7), Ok(Err(6)));
        assert_eq!(writer.skip(15).write_val(&1_u16), Err(IoError::Exhausted { wanted: 2, left: 1 }));
        assert_eq!(writer.fill(9, 100), 1);
        let mut reader = VmReader::from(&bytes.0[..]);
        assert_eq!(reader.load_word(), Ok(0x1122_3344_u32));
        assert_eq!(reader.read_val(), Ok([0x1122_3344_u32, 0x0008_0007]));
        assert_eq!(reader.read_val(), Ok(6_u64));
        assert_eq!(reader.read_val::<u128>(), Err(IoError::Exhausted { wanted: 16, left: 8 }));
        assert_eq!(reader.skip(7).read_val(), Ok(9_u8));
    }
}
