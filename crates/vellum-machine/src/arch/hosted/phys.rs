//! Physical memory, through the linear map.
use super::Machine;
use crate::addr::{PAGE_SIZE, Paddr};
use crate::layout::LINEAR_MAP_BASE;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A place in physical memory: from it to the end of its frame there is memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(Paddr);

impl Machine {
    /// Returns the place at an address, or `None` where the machine has no memory.
    #[inline(always)]
    pub(super) fn place(&self, pa: Paddr) -> Option<Place> {
        (pa.0 < self.memory).then_some(Place(pa))
    }

    /// Returns the word of physical memory at an aligned address, or `None` where there is none.
    #[inline]
    pub(super) fn word(&self, pa: Paddr) -> Option<&'static AtomicU64> {
        let place = self.place(pa).filter(|_| pa.0.is_multiple_of(size_of::<u64>()))?;
        // SAFETY: the duty of `power_on` is that memory is mapped here for good and accessed atomically; the word
        // is aligned and inside a frame.
        Some(unsafe { AtomicU64::from_ptr(place.pointer().cast()) })
    }
}

impl Place {
    /// Returns the address at which the kernel sees the place.
    #[inline(always)]
    pub(super) fn pointer(self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(LINEAR_MAP_BASE + self.0.0)
    }

    /// Returns how many bytes there are to the end of the frame.
    #[inline(always)]
    pub(super) fn room(self) -> usize {
        PAGE_SIZE - self.0.0 % PAGE_SIZE
    }

    /// Copies `len` bytes from here to `dst`.
    ///
    /// # Safety
    /// 1. `len` is at most [`Place::room`].
    /// 2. `dst` can be written for `len` bytes.
    pub(super) unsafe fn copy_to(self, dst: *mut u8, len: usize) {
        // SAFETY: both pointers stay within what duties 1 and 2 name.
        unsafe {
            self.pieces(
                len,
                |at, done| dst.add(done).write(at.load(Ordering::Relaxed)),
                |at, done| dst.add(done).cast::<u64>().write_unaligned(at.load(Ordering::Relaxed)),
            );
        }
    }

    /// Copies `len` bytes from `src` to here.
    ///
    /// # Safety
    /// 1. `len` is at most [`Place::room`].
    /// 2. `src` can be read for `len` bytes.
    pub(super) unsafe fn copy_from(self, src: *const u8, len: usize) {
        // SAFETY: both pointers stay within what duties 1 and 2 name.
        unsafe {
            self.pieces(
                len,
                |at, done| at.store(src.add(done).read(), Ordering::Relaxed),
                |at, done| at.store(src.add(done).cast::<u64>().read_unaligned(), Ordering::Relaxed),
            );
        }
    }

    /// Writes `byte` to `len` bytes from here on.
    ///
    /// # Safety
    /// 1. `len` is at most [`Place::room`].
    pub(super) unsafe fn fill(self, byte: u8, len: usize) {
        let word = u64::from_ne_bytes([byte; 8]);
        // SAFETY: by duty 1.
        unsafe {
            self.pieces(
                len,
                |at, _| at.store(byte, Ordering::Relaxed),
                |at, _| at.store(word, Ordering::Relaxed),
            );
        }
    }

    /// Calls `byte` and `word` with each piece of the next `len` bytes and how many bytes lie before it.
    ///
    /// Other processors may be in the same bytes: each piece is accessed atomically.
    ///
    /// # Safety
    /// 1. `len` is at most [`Place::room`].
    #[inline(always)]
    unsafe fn pieces(self, len: usize, byte: impl Fn(&AtomicU8, usize), word: impl Fn(&AtomicU64, usize)) {
        const WORD: usize = size_of::<u64>();
        let start = self.pointer();
        // SAFETY: `done` is below `len`, so the byte is in the frame by duty 1; see `Machine::word`.
        let byte_at = |done: usize| byte(unsafe { AtomicU8::from_ptr(start.add(done)) }, done);
        let head = start.align_offset(WORD).min(len);
        (0..head).for_each(byte_at);
        let tail = head + (len - head) / WORD * WORD;
        for done in (head..tail).step_by(WORD) {
            // SAFETY: the word starts aligned and ends at or before `tail`, which is at most `len`; as above.
            word(unsafe { AtomicU64::from_ptr(start.add(done).cast()) }, done);
        }
        (tail..len).for_each(byte_at);
    }
}
