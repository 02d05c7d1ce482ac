//! Handles of frames.
#![expect(unsafe_code, reason = "metadata of any type lies in the words of a slot")]
use super::meta::{AnyFrameMeta, GetFrameError};
use super::slot::{META_WORDS, Slot};
use crate::mm::{HasPaddr, Paddr};
use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// The one handle of a frame.
pub struct UniqueFrame<M: AnyFrameMeta> {
    slot: &'static Slot,
    meta: PhantomData<M>,
}

impl<M: AnyFrameMeta> UniqueFrame<M> {
    const FITS: () = assert!(size_of::<M>() <= META_WORDS * 8 && align_of::<M>() <= 8);

    /// Claims an unused frame and gives it metadata.
    ///
    /// # Errors
    /// [`GetFrameError`] where it is not unused, or there is none.
    #[inline]
    pub fn from_unused(paddr: Paddr, metadata: M) -> Result<UniqueFrame<M>, GetFrameError> {
        const { Self::FITS };
        let slot = Slot::of(paddr)?;
        slot.claim()?;
        let frame = UniqueFrame { slot, meta: PhantomData };
        // SAFETY: the words have room for `M`, and the slot was claimed just now: nobody else reaches them.
        unsafe { frame.ptr().write(metadata) };
        Ok(frame)
    }

    #[inline]
    fn ptr(&self) -> NonNull<M> {
        NonNull::from(&self.slot.meta).cast()
    }

    /// Returns the metadata.
    #[inline]
    pub fn meta(&self) -> &M {
        // SAFETY: `from_unused` has written an `M`, which belongs to this handle.
        unsafe { self.ptr().as_ref() }
    }

    /// Returns the metadata, to be changed.
    #[inline]
    pub fn meta_mut(&mut self) -> &mut M {
        // SAFETY: as in `meta`.
        unsafe { self.ptr().as_mut() }
    }

    /// Drops the metadata, and leaves the frame unused; the allocator is not told.
    #[inline]
    pub fn reset_as_unused(self) {
        // SAFETY: as in `meta`; the handle is consumed.
        unsafe { self.ptr().drop_in_place() };
        self.slot.give_up();
    }

    /// Leaves the frame to a list.
    #[inline]
    pub(super) fn into_slot(self) -> &'static Slot {
        self.slot
    }

    /// Makes a handle of a frame again.
    ///
    /// # Safety
    /// The slot came from `into_slot` of a handle with metadata of this type, and no handle was made of it since.
    #[inline]
    pub(super) unsafe fn from_slot(slot: &'static Slot) -> UniqueFrame<M> {
        UniqueFrame { slot, meta: PhantomData }
    }
}

impl<M: AnyFrameMeta> HasPaddr for UniqueFrame<M> {
    #[inline]
    fn paddr(&self) -> Paddr {
        self.slot.paddr()
    }
}

impl<M: AnyFrameMeta> fmt::Debug for UniqueFrame<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UniqueFrame").field(&self.paddr()).finish()
    }
}

/// A shared handle, of which there are none: the allocator asks for one to see that it is refused.
#[derive(Debug)]
pub struct Frame<M: ?Sized> {
    _never: Infallible,
    _meta: PhantomData<M>,
}

impl Frame<dyn AnyFrameMeta> {
    /// Refuses a handle of a frame.
    ///
    /// # Errors
    /// [`GetFrameError::Unused`] or [`GetFrameError::Unique`], or another where there is no such frame.
    pub fn from_in_use(paddr: Paddr) -> Result<Self, GetFrameError> {
        Err(Slot::of(paddr)?.why_not())
    }
}
