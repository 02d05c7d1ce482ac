//! From metadata types to the forms that forget them, and back.
use super::erased::*;
use super::kind::*;
use super::shared::Frame;
use super::unique::UniqueFrame;
use vstd::prelude::*;

/// A frame whose contents are untyped: memory of user programs, for instance.
pub type UFrame = Frame<dyn AnyUFrameMeta>;

verus! {

/// The same frame by a handle of another kind, where the other kind allows what the slot contains.
#[inline(always)]
fn recast<A: ?Sized + FrameKind, B: ?Sized + FrameKind>(frame: Frame<A>) -> (r: Frame<B>)
    requires
        A::allows(frame.content()) ==> B::allows(frame.content()),
    ensures
        r.pa() == frame.pa(),
        r.content() == frame.content(),
    opens_invariants none
    no_unwind
{
    let (slot, tok) = frame.into_parts();
    Frame::new(slot, tok)
}

/// The same frame by a unique handle of another kind, where the other kind allows what the slot contains.
#[inline(always)]
fn recast_unique<A: ?Sized + FrameKind, B: ?Sized + FrameKind>(frame: UniqueFrame<A>) -> (r: UniqueFrame<B>)
    requires
        A::allows(frame.content()) ==> B::allows(frame.content()),
    ensures
        r.pa() == frame.pa(),
        r.content() == frame.content(),
    opens_invariants none
    no_unwind
{
    let (slot, own) = frame.into_parts();
    UniqueFrame::new(slot, own)
}

} // verus!

#[verus_verify]
impl Frame<dyn AnyFrameMeta> {
    /// Finds out whether the metadata are an `M`, or, for `M = dyn AnyUFrameMeta`, whether the contents of the
    /// frame are untyped.
    ///
    /// # Errors
    ///
    /// - The frame itself: they are not.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == self.pa() && f.content() == self.content(),
            r matches Err(f) ==> f == self,
    )]
    pub fn downcast<M: ?Sized + FrameKind>(self) -> Result<Frame<M>, Self> {
        if self.is::<M>() { Ok(recast(self)) } else { Err(self) }
    }

    /// Finds out whether the contents of the frame are untyped.
    ///
    /// # Errors
    ///
    /// - The frame itself: they are not.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == self.pa() && f.content() == self.content(),
            r matches Err(f) ==> f == self,
    )]
    pub fn downcast_untyped(self) -> Result<UFrame, Self> {
        self.downcast()
    }
}

#[verus_verify]
impl UniqueFrame<dyn AnyFrameMeta> {
    /// Finds out whether the metadata are an `M`, or, for `M = dyn AnyUFrameMeta`, whether the contents of the
    /// frame are untyped.
    ///
    /// # Errors
    ///
    /// - The frame itself: they are not.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == self.pa() && f.content() == self.content(),
            r matches Err(f) ==> f == self,
    )]
    pub fn downcast<M: ?Sized + FrameKind>(self) -> Result<UniqueFrame<M>, Self> {
        if self.is::<M>() { Ok(recast_unique(self)) } else { Err(self) }
    }

    /// Finds out whether the contents of the frame are untyped.
    ///
    /// # Errors
    ///
    /// - The frame itself: they are not.
    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == self.pa() && f.content() == self.content(),
            r matches Err(f) ==> f == self,
    )]
    pub fn downcast_untyped(self) -> Result<UniqueFrame<dyn AnyUFrameMeta>, Self> {
        self.downcast()
    }
}

verus! {

// The conversions are specified by what they ensure, not as functions of their argument.

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta> vstd::std_specs::convert::FromSpecImpl<Frame<M>> for Frame<dyn AnyFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: Frame<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta + AnyUFrameMeta> vstd::std_specs::convert::FromSpecImpl<Frame<M>> for UFrame {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: Frame<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl vstd::std_specs::convert::FromSpecImpl<UFrame> for Frame<dyn AnyFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: UFrame) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta> vstd::std_specs::convert::TryFromSpecImpl<Frame<dyn AnyFrameMeta>> for Frame<M> {
    open spec fn obeys_try_from_spec() -> bool {
        false
    }

    open spec fn try_from_spec(_v: Frame<dyn AnyFrameMeta>) -> Result<Self, Frame<dyn AnyFrameMeta>> {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl vstd::std_specs::convert::TryFromSpecImpl<Frame<dyn AnyFrameMeta>> for UFrame {
    open spec fn obeys_try_from_spec() -> bool {
        false
    }

    open spec fn try_from_spec(_v: Frame<dyn AnyFrameMeta>) -> Result<Self, Frame<dyn AnyFrameMeta>> {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta> vstd::std_specs::convert::FromSpecImpl<UniqueFrame<M>> for UniqueFrame<dyn AnyFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: UniqueFrame<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta + AnyUFrameMeta> vstd::std_specs::convert::FromSpecImpl<UniqueFrame<M>> for UniqueFrame<dyn AnyUFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: UniqueFrame<M>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl vstd::std_specs::convert::FromSpecImpl<UniqueFrame<dyn AnyUFrameMeta>> for UniqueFrame<dyn AnyFrameMeta> {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: UniqueFrame<dyn AnyUFrameMeta>) -> Self {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl<M: AnyFrameMeta> vstd::std_specs::convert::TryFromSpecImpl<UniqueFrame<dyn AnyFrameMeta>> for UniqueFrame<M> {
    open spec fn obeys_try_from_spec() -> bool {
        false
    }

    open spec fn try_from_spec(_v: UniqueFrame<dyn AnyFrameMeta>) -> Result<Self, UniqueFrame<dyn AnyFrameMeta>> {
        arbitrary()
    }
}

#[cfg(verus_keep_ghost)]
impl vstd::std_specs::convert::TryFromSpecImpl<UniqueFrame<dyn AnyFrameMeta>> for UniqueFrame<dyn AnyUFrameMeta> {
    open spec fn obeys_try_from_spec() -> bool {
        false
    }

    open spec fn try_from_spec(_v: UniqueFrame<dyn AnyFrameMeta>) -> Result<Self, UniqueFrame<dyn AnyFrameMeta>> {
        arbitrary()
    }
}

} // verus!

#[verus_verify]
impl<M: AnyFrameMeta> From<Frame<M>> for Frame<dyn AnyFrameMeta> {
    #[verus_spec(r => ensures r.pa() == frame.pa(), r.content() == frame.content())]
    #[inline(always)]
    fn from(frame: Frame<M>) -> Self {
        recast(frame)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta + AnyUFrameMeta> From<Frame<M>> for UFrame {
    #[verus_spec(r => ensures r.pa() == frame.pa(), r.content() == frame.content())]
    #[inline(always)]
    fn from(frame: Frame<M>) -> Self {
        proof! {
            declared_untyped::<M>();
        }
        recast(frame)
    }
}

#[verus_verify]
impl From<UFrame> for Frame<dyn AnyFrameMeta> {
    #[verus_spec(r => ensures r.pa() == frame.pa(), r.content() == frame.content())]
    #[inline(always)]
    fn from(frame: UFrame) -> Self {
        recast(frame)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> TryFrom<Frame<dyn AnyFrameMeta>> for Frame<M> {
    /// The frame itself, whose metadata are of another type.
    type Error = Frame<dyn AnyFrameMeta>;

    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == frame.pa() && f.content() == frame.content(),
            r matches Err(f) ==> f == frame,
    )]
    fn try_from(frame: Frame<dyn AnyFrameMeta>) -> Result<Self, Frame<dyn AnyFrameMeta>> {
        frame.downcast()
    }
}

#[verus_verify]
impl TryFrom<Frame<dyn AnyFrameMeta>> for UFrame {
    /// The frame itself, whose contents are not untyped.
    type Error = Frame<dyn AnyFrameMeta>;

    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == frame.pa() && f.content() == frame.content(),
            r matches Err(f) ==> f == frame,
    )]
    fn try_from(frame: Frame<dyn AnyFrameMeta>) -> Result<Self, Frame<dyn AnyFrameMeta>> {
        frame.downcast_untyped()
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> From<UniqueFrame<M>> for UniqueFrame<dyn AnyFrameMeta> {
    #[verus_spec(r => ensures r.pa() == frame.pa(), r.content() == frame.content())]
    #[inline(always)]
    fn from(frame: UniqueFrame<M>) -> Self {
        recast_unique(frame)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta + AnyUFrameMeta> From<UniqueFrame<M>> for UniqueFrame<dyn AnyUFrameMeta> {
    #[verus_spec(r => ensures r.pa() == frame.pa(), r.content() == frame.content())]
    #[inline(always)]
    fn from(frame: UniqueFrame<M>) -> Self {
        proof! {
            declared_untyped::<M>();
        }
        recast_unique(frame)
    }
}

#[verus_verify]
impl From<UniqueFrame<dyn AnyUFrameMeta>> for UniqueFrame<dyn AnyFrameMeta> {
    #[verus_spec(r => ensures r.pa() == frame.pa(), r.content() == frame.content())]
    #[inline(always)]
    fn from(frame: UniqueFrame<dyn AnyUFrameMeta>) -> Self {
        recast_unique(frame)
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> TryFrom<UniqueFrame<dyn AnyFrameMeta>> for UniqueFrame<M> {
    /// The frame itself, whose metadata are of another type.
    type Error = UniqueFrame<dyn AnyFrameMeta>;

    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == frame.pa() && f.content() == frame.content(),
            r matches Err(f) ==> f == frame,
    )]
    fn try_from(frame: UniqueFrame<dyn AnyFrameMeta>) -> Result<Self, UniqueFrame<dyn AnyFrameMeta>> {
        frame.downcast()
    }
}

#[verus_verify]
impl TryFrom<UniqueFrame<dyn AnyFrameMeta>> for UniqueFrame<dyn AnyUFrameMeta> {
    /// The frame itself, whose contents are not untyped.
    type Error = UniqueFrame<dyn AnyFrameMeta>;

    #[verus_spec(r =>
        ensures
            r matches Ok(f) ==> f.pa() == frame.pa() && f.content() == frame.content(),
            r matches Err(f) ==> f == frame,
    )]
    fn try_from(frame: UniqueFrame<dyn AnyFrameMeta>) -> Result<Self, UniqueFrame<dyn AnyFrameMeta>> {
        frame.downcast_untyped()
    }
}
