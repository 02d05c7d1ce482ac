//! Accesses to memory through the tables: interrupt point, translation, fault, and then the bytes.
use super::mmu::{Rights, Stop};
use super::phys::Place;
use super::processor::Processor;
use super::with_processor;
use crate::addr::Vaddr;
use crate::cpu::no_processor;
use crate::fault::{self, Access, FaultOutcome, PageFault};
use crate::layout::upper_half;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Who makes an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// User code.
    User,
    /// The kernel, in user memory, on behalf of user code.
    Kernel,
    /// The kernel, at its own addresses.
    Supervisor,
}

/// How far an access to many bytes came, and why not further.
type Progress = (usize, Result<(), PageFault>);

impl Processor {
    /// Returns the place that an access goes to; it stays the right one up to the next interrupt point.
    #[inline(always)]
    fn resolve(&self, mode: Mode, va: Vaddr, access: Access) -> Result<Place, PageFault> {
        self.interrupt_point();
        self.before_access(va);
        if mode == Mode::Supervisor && va.0 < upper_half() {
            return Err(PageFault { addr: va, access, present: false, user: false });
        }
        match self.translate(va, Rights::for_access(mode, access)) {
            Ok(place) => Ok(place),
            Err(stop) => self.resolve_fault(mode, va, access, stop),
        }
    }

    #[cold]
    #[inline(never)]
    fn resolve_fault(&self, mode: Mode, va: Vaddr, access: Access, stop: Stop) -> Result<Place, PageFault> {
        let mut stop = stop;
        loop {
            self.counters().faults.count();
            let user = mode == Mode::User;
            let fault = PageFault { addr: va, access, present: stop == Stop::Forbidden, user };
            let nobody_is_asked = stop == Stop::NotCanonical || mode == Mode::Supervisor;
            if nobody_is_asked || fault::deliver(&fault) == FaultOutcome::Unresolved {
                return Err(fault);
            }
            self.interrupt_point();
            match self.translate(va, Rights::for_access(mode, access)) {
                Ok(place) => return Ok(place),
                Err(again) => stop = again,
            }
        }
    }
}

#[inline(always)]
fn resolve(mode: Mode, va: Vaddr, access: Access) -> Result<Place, PageFault> {
    match with_processor(|processor| processor.resolve(mode, va, access)) {
        Some(place) => place,
        None => no_processor(),
    }
}

/// Does `piece` for each part of `len` bytes that is in one page, with the place, how many bytes lie before the
/// part, and how many are in it.
fn by_pages(
    mode: Mode,
    va: Vaddr,
    len: usize,
    access: Access,
    mut piece: impl FnMut(Place, usize, usize),
) -> Progress {
    let mut done = 0;
    while done < len {
        let at = Vaddr(va.0.wrapping_add(done));
        let place = match resolve(mode, at, access) {
            Ok(place) => place,
            Err(fault) => return (done, Err(fault)),
        };
        let part = place.room().min(len - done);
        piece(place, done, part);
        done += part;
    }
    (done, Ok(()))
}

/// Reads memory that may fault.
///
/// # Safety
/// 1. `dst` can be written for `len` bytes.
pub(crate) unsafe fn read(mode: Mode, dst: *mut u8, src: Vaddr, len: usize) -> Progress {
    by_pages(mode, src, len, Access::Read, |place, done, part| {
        // SAFETY: `part` is at most the room; `done + part` is at most `len`, duty 1.
        unsafe { place.copy_to(dst.add(done), part) }
    })
}

/// Writes memory that may fault.
///
/// # Safety
/// 1. `src` can be read for `len` bytes.
pub(crate) unsafe fn write(mode: Mode, dst: Vaddr, src: *const u8, len: usize) -> Progress {
    by_pages(mode, dst, len, Access::Write, |place, done, part| {
        // SAFETY: `part` is at most the room; `done + part` is at most `len`, duty 1.
        unsafe { place.copy_from(src.add(done), part) }
    })
}

/// Fills memory that may fault.
pub(crate) fn fill(mode: Mode, dst: Vaddr, byte: u8, len: usize) -> Progress {
    by_pages(mode, dst, len, Access::Write, |place, _, part| {
        // SAFETY: `part` is at most the room.
        unsafe { place.fill(byte, part) }
    })
}

/// Accesses one address and nothing more.
pub(crate) fn touch(mode: Mode, va: Vaddr, access: Access) -> Result<(), PageFault> {
    resolve(mode, va, access).map(|_| ())
}

/// A number that the processor reads and writes as one: `u32` or `u64`.
pub trait Word: sealed::Atomic {}

mod sealed {
    /// Accesses through a pointer that other processors use too.
    pub trait Atomic: Copy {
        type Cell;
        /// # Safety
        /// The pointer is to an aligned word of memory that is there for good and accessed atomically.
        unsafe fn cell<'a>(pointer: *mut u8) -> &'a Self::Cell;
        fn load(cell: &Self::Cell) -> Self;
        fn store(cell: &Self::Cell, value: Self);
        fn compare_exchange(cell: &Self::Cell, current: Self, new: Self) -> Result<Self, Self>;
        fn fetch_add(cell: &Self::Cell, value: Self) -> Self;
    }
}

// Programs on x86-64 rely on its order: loads acquire, stores release, read-modify-writes are fences.
macro_rules! words {
    ($($word:ty => $cell:ty),*) => {$(
        impl Word for $word {}
        impl sealed::Atomic for $word {
            type Cell = $cell;
            #[inline(always)]
            unsafe fn cell<'a>(pointer: *mut u8) -> &'a $cell {
                // SAFETY: by the caller's duty.
                unsafe { <$cell>::from_ptr(pointer.cast()) }
            }
            #[inline(always)]
            fn load(cell: &$cell) -> $word {
                cell.load(Ordering::Acquire)
            }
            #[inline(always)]
            fn store(cell: &$cell, value: $word) {
                cell.store(value, Ordering::Release);
            }
            #[inline(always)]
            fn compare_exchange(cell: &$cell, current: $word, new: $word) -> Result<$word, $word> {
                cell.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
            }
            #[inline(always)]
            fn fetch_add(cell: &$cell, value: $word) -> $word {
                cell.fetch_add(value, Ordering::SeqCst)
            }
        }
    )*};
}

words!(u32 => AtomicU32, u64 => AtomicU64);

/// Runs `f` on the word that `va`, a multiple of the word's size, stands for.
#[inline(always)]
fn with_word<W: Word, R>(
    mode: Mode,
    va: Vaddr,
    access: Access,
    f: impl FnOnce(&W::Cell) -> R,
) -> Result<R, PageFault> {
    debug_assert!(va.0.is_multiple_of(size_of::<W>()));
    let place = resolve(mode, va, access)?;
    // SAFETY: the place is memory up to the end of its frame (see `Machine::word`), and as aligned as `va` is.
    Ok(f(unsafe { W::cell(place.pointer()) }))
}

#[inline(always)]
pub(crate) fn load_word<W: Word>(mode: Mode, va: Vaddr) -> Result<W, PageFault> {
    with_word::<W, _>(mode, va, Access::Read, W::load)
}

#[inline(always)]
pub(crate) fn store_word<W: Word>(mode: Mode, va: Vaddr, value: W) -> Result<(), PageFault> {
    with_word::<W, _>(mode, va, Access::Write, |cell| W::store(cell, value))
}

#[inline(always)]
pub(crate) fn compare_exchange<W: Word>(
    mode: Mode,
    va: Vaddr,
    current: W,
    new: W,
) -> Result<Result<W, W>, PageFault> {
    with_word::<W, _>(mode, va, Access::Write, |cell| W::compare_exchange(cell, current, new))
}

#[inline(always)]
pub(crate) fn fetch_add<W: Word>(mode: Mode, va: Vaddr, value: W) -> Result<W, PageFault> {
    with_word::<W, _>(mode, va, Access::Write, |cell| W::fetch_add(cell, value))
}
