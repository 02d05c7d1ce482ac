//! What a kernel keeps about a frame.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "some types are for the proofs alone"))]
use crate::io::{Infallible, VmReader};
use core::marker::PhantomData;
use vstd::prelude::*;

verus! {

/// A reader, of which the proofs know nothing.
#[verifier::external_type_specification]
#[verifier::external_body]
#[verifier::reject_recursive_types(F)]
pub struct ExVmReader<'a, F>(VmReader<'a, F>);

/// A kind of memory, of which the proofs know nothing.
#[verifier::external_type_specification]
#[verifier::external_body]
pub struct ExInfallible(Infallible);

/// Metadata of a frame: any type that is safe to share between threads and fits into a slot.
///
/// ```
/// use vellum::frame::AnyFrameMeta;
///
/// struct Slab {
///     free: core::sync::atomic::AtomicU32,
/// }
///
/// impl AnyFrameMeta for Slab {}
/// ```
///
/// It may have a last look at what is in the frame:
///
/// ```
/// use vellum::frame::AnyFrameMeta;
/// use vellum::io::VmReader;
///
/// struct Buffer {
///     is_full: bool,
/// }
///
/// impl AnyFrameMeta for Buffer {
///     fn on_drop(&mut self, reader: &mut VmReader<'_>) {
///         if self.is_full && let Ok(header) = reader.read_val::<u64>() {
///             // ... tells somebody that the buffer with this header is gone.
/// #           let _ = header;
///         }
///     }
/// }
/// ```
///
/// A type fits if it has at most [`META_SIZE`] bytes and an alignment of at most [`META_ALIGN`]. The
/// compiler refuses others where the first frame of the type is made:
///
/// ```compile_fail,E0080
/// # use vellum::frame::{AnyFrameMeta, Frame};
/// # use vellum_machine::addr::Paddr;
/// struct TooLarge([u64; 6]);
///
/// impl AnyFrameMeta for TooLarge {}
///
/// // error[E0080]: evaluation panicked: the metadata of a frame has at most 40 bytes
/// let frame = Frame::from_unused(Paddr(0), TooLarge([0; 6]));
/// ```
///
/// ```compile_fail,E0080
/// # use vellum::frame::{AnyFrameMeta, UniqueFrame};
/// # use vellum_machine::addr::Paddr;
/// #[repr(align(16))]
/// struct TooAligned(u64);
///
/// impl AnyFrameMeta for TooAligned {}
///
/// // error[E0080]: evaluation panicked: the metadata of a frame has an alignment of at most 8
/// let frame = UniqueFrame::from_unused(Paddr(0), TooAligned(0));
/// ```
pub trait AnyFrameMeta: Send + Sync + 'static {
    /// What the proofs know of a value. It is first-order: a value of type `Self` here would be unsound.
    open spec fn repr(&self) -> Seq<int> {
        Seq::empty()
    }

    /// Runs once, before the metadata is dropped: when the last handle of the frame goes away, or when the
    /// frame gets other metadata. The reader shows the contents of the frame.
    ///
    /// A panic in it, or in the destructor after it, stops the machine.
    fn on_drop(&mut self, reader: &mut VmReader<'_>) {
        let _ = reader;
    }

    /// Says that the contents of the frame are not typed, which [`Untyped::new`] can say of a type that is
    /// declared [`AnyUFrameMeta`]. Of other types it cannot be said.
    ///
    /// Where it is not said of such a type, its frames are still turned into [`UFrame`](super::UFrame)s, but
    /// not found to be such once their type is forgotten. [`untyped_frame_meta!`](crate::untyped_frame_meta)
    /// declares both.
    fn untyped() -> Option<Untyped<Self>> where Self: Sized {
        None
    }
}

/// Metadata, an [`AnyFrameMeta`] as well, of a frame whose contents are plain bytes that anybody may change at
/// any time, above all the memory of user programs.
pub trait AnyUFrameMeta: Send + Sync + 'static {

}

/// Bytes of metadata in a slot.
#[cfg(not(loom))]
pub const META_SIZE: usize = 40;

/// Room for metadata with loom's words.
#[cfg(loom)]
pub const META_SIZE: usize = 256;

/// The greatest alignment of metadata.
pub const META_ALIGN: usize = 8;

/// The name of a type in the proofs.
#[verifier::external_body]
pub ghost struct TyId {
    _unused: (),
}

/// The name of a metadata type.
pub uninterp spec fn ty_id<M: ?Sized>() -> TyId;

/// The type is declared [`AnyUFrameMeta`].
pub uninterp spec fn is_untyped(ty: TyId) -> bool;

/// The metadata in a slot, as the proofs see it.
pub ghost enum Content {
    /// There is none.
    Empty,
    /// There is a value of type `ty` about which `repr` is known.
    Typed { ty: TyId, repr: Seq<int> },
}

impl Content {
    /// There is metadata of a type whose frames have untyped contents.
    pub open spec fn untyped(self) -> bool {
        self is Typed && is_untyped(self->ty)
    }
}

/// What a slot that holds `m` contains.
pub open spec fn typed<M: AnyFrameMeta>(m: M) -> Content {
    Content::Typed { ty: ty_id::<M>(), repr: m.repr() }
}

/// What the definition of [`is_untyped`] says.
#[verifier::external_body]
pub proof fn declared_untyped<M: AnyUFrameMeta>()
    ensures
        is_untyped(ty_id::<M>()),
{
}

/// Evidence that `M` is declared [`AnyUFrameMeta`].
pub struct Untyped<M> {
    of: PhantomData<M>,
}

impl<M> Untyped<M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        is_untyped(ty_id::<M>())
    }

    /// Says what the evidence is of.
    #[inline(always)]
    pub(super) fn holds(&self)
        ensures
            is_untyped(ty_id::<M>()),
    {
        proof {
            use_type_invariant(self);
        }
    }
}

impl<M: AnyUFrameMeta> Untyped<M> {
    /// Makes the evidence.
    #[expect(clippy::new_without_default, reason = "evidence is made where it is asked for")]
    pub fn new() -> Self {
        proof {
            declared_untyped::<M>();
        }
        Untyped { of: PhantomData }
    }
}

/// A metadata type, to be compared when the program runs.
#[verifier::external_body]
pub struct TypeName {
    id: core::any::TypeId,
}

impl TypeName {
    /// The type.
    pub uninterp spec fn view(&self) -> TyId;

    /// Names the type `M`.
    #[inline(always)]
    #[verifier::external_body]
    pub fn of<M: 'static>() -> (r: TypeName)
        ensures
            r@ == ty_id::<M>(),
    {
        TypeName { id: core::any::TypeId::of::<M>() }
    }

    /// Tells whether both name one type.
    #[inline(always)]
    #[verifier::external_body]
    pub fn same(&self, other: &TypeName) -> (r: bool)
        ensures
            r ==> self@ == other@,
    {
        self.id == other.id
    }
}

impl AnyFrameMeta for () {
    #[inline(always)]
    fn untyped() -> Option<Untyped<Self>> {
        Some(Untyped::new())
    }
}

impl AnyUFrameMeta for () {

}

} // verus!

/// Declares types as metadata of frames with untyped contents.
///
/// ```
/// struct PageCache {
///     offset: u64,
/// }
///
/// vellum::untyped_frame_meta!(PageCache);
/// ```
#[macro_export]
macro_rules! untyped_frame_meta {
    ($($ty:ty),+ $(,)?) => {$(
        impl $crate::frame::AnyFrameMeta for $ty {
            fn untyped() -> Option<$crate::frame::Untyped<Self>> {
                Some($crate::frame::Untyped::new())
            }
        }

        impl $crate::frame::AnyUFrameMeta for $ty {}
    )+};
}
