//! Handles that count nothing.
use super::kind::FrameKind;
use super::shared::Frame;
use core::ops::Deref;
use vstd::prelude::*;

/// A frame that is looked at while a handle of it exists: a copy counts nothing.
#[verus_verify]
pub struct FrameRef<'a, M: ?Sized + FrameKind> {
    frame: &'a Frame<M>,
}

verus! {

impl<'a, M: ?Sized + FrameKind> FrameRef<'a, M> {
    /// The handle.
    pub closed spec fn frame(self) -> Frame<M> {
        *self.frame
    }
}

} // verus!

#[verus_verify]
impl<M: ?Sized + FrameKind> Frame<M> {
    /// Borrows the frame without counting.
    #[verus_spec(r => ensures r.frame() == *self)]
    #[inline(always)]
    pub fn borrow(&self) -> FrameRef<'_, M> {
        FrameRef { frame: self }
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Deref for FrameRef<'_, M> {
    type Target = Frame<M>;

    #[verus_spec(r => ensures *r == self.frame())]
    #[inline(always)]
    fn deref(&self) -> &Frame<M> {
        self.frame
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Clone for FrameRef<'_, M> {
    #[verus_spec(r => ensures r == *self)]
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

#[verus_verify]
impl<M: ?Sized + FrameKind> Copy for FrameRef<'_, M> {}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: ?Sized + FrameKind> core::fmt::Debug for FrameRef<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("FrameRef").field(&self.frame.start_paddr()).finish()
    }
}
