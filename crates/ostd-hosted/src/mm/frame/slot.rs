//! The slots: one for each frame.
use super::meta::GetFrameError;
use crate::mm::{PAGE_SIZE, Paddr};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most frames that memory can have: 256 MiB, from address 0 on.
pub const MAX_FRAMES: usize = 1 << 16;

/// Words of metadata in a slot.
pub(crate) const META_WORDS: usize = 4;

const UNUSED: u64 = 0;
const UNIQUE: u64 = 1;

/// What is kept about a frame.
#[repr(align(64))]
pub(crate) struct Slot {
    state: AtomicU64,
    /// The number of the list that has the frame; 0 for none.
    pub(crate) in_list: AtomicU64,
    /// The neighbours there, as what `Slot::link` returns; 0 for none.
    pub(crate) next: AtomicU32,
    pub(crate) prev: AtomicU32,
    /// The metadata; whoever has the frame has it.
    pub(crate) meta: UnsafeCell<[u64; META_WORDS]>,
}

const _: () = assert!(size_of::<Slot>() == 64);

#[expect(unsafe_code, reason = "shares the metadata, which belongs to whoever has the frame")]
// SAFETY: handles alone reach the metadata, which belongs to the one handle there is.
unsafe impl Sync for Slot {}

static SLOTS: [Slot; MAX_FRAMES] = [const { Slot::new() }; MAX_FRAMES];

impl Slot {
    /// All of it zero, so that the array takes no room in the program's file.
    const fn new() -> Slot {
        Slot {
            state: AtomicU64::new(UNUSED),
            in_list: AtomicU64::new(0),
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
            meta: UnsafeCell::new([0; META_WORDS]),
        }
    }

    /// Finds the slot of a frame.
    #[inline]
    pub(crate) fn of(paddr: Paddr) -> Result<&'static Slot, GetFrameError> {
        if !paddr.is_multiple_of(PAGE_SIZE) {
            return Err(GetFrameError::NotAligned(paddr));
        }
        SLOTS.get(paddr / PAGE_SIZE).ok_or(GetFrameError::OutOfBound(paddr))
    }

    /// Claims an unused frame.
    #[inline]
    pub(crate) fn claim(&self) -> Result<(), GetFrameError> {
        // Acquire: pairs with the Release in `give_up`.
        match self.state.compare_exchange(UNUSED, UNIQUE, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(_) => Err(GetFrameError::Unique),
        }
    }

    /// Gives up a frame, whose metadata is gone.
    #[inline]
    pub(crate) fn give_up(&self) {
        // Release: pairs with the Acquire in `claim`.
        self.state.store(UNUSED, Ordering::Release);
    }

    /// Says why the frame cannot be shared.
    pub(crate) fn why_not(&self) -> GetFrameError {
        match self.state.load(Ordering::Relaxed) {
            UNUSED => GetFrameError::Unused,
            _ => GetFrameError::Unique,
        }
    }

    #[inline]
    fn index(&self) -> usize {
        (core::ptr::from_ref(self).addr() - SLOTS.as_ptr().addr()) / size_of::<Slot>()
    }

    /// Returns the address of the frame.
    #[inline]
    pub(crate) fn paddr(&self) -> Paddr {
        self.index() * PAGE_SIZE
    }

    /// Names the slot in links: never 0.
    #[inline]
    pub(crate) fn link(&self) -> u32 {
        self.index() as u32 + 1
    }

    /// Finds the slot with a name: none for 0.
    #[inline]
    pub(crate) fn named(link: u32) -> Option<&'static Slot> {
        SLOTS.get((link as usize).wrapping_sub(1))
    }
}
