//! A cell of 40 bytes that holds one value of any metadata type.
#![expect(unsafe_code, reason = "a value is written and read through a pointer cast from raw bytes")]
pub use super::meta::*;
use crate::io::VmReader;
use core::mem::MaybeUninit;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::owned::NoUnwind;
use vellum_machine::page::{PagePerm, contents};
use vellum_machine::primitive::UnsafeCell;
use vstd::prelude::*;

verus! {

/// The bytes.
#[repr(C, align(8))]
#[verifier::external_body]
pub struct MetaStorage {
    bytes: UnsafeCell<MaybeUninit<[u8; META_SIZE]>>,
}

/// The permission to the bytes, and what they hold.
#[verifier::external_body]
pub tracked struct StoragePerm {
    _no_copy: NoCopy,
}

impl StoragePerm {
    /// Which storage it is for.
    pub uninterp spec fn id(&self) -> int;

    /// What the storage holds.
    pub uninterp spec fn content(&self) -> Content;

    /// The storage holds a value of type `M`.
    pub open spec fn holds<M>(&self) -> bool {
        self.content() is Typed && self.content()->ty == ty_id::<M>()
    }
}

impl MetaStorage {
    /// The identity that a permission names.
    pub uninterp spec fn id(&self) -> int;

    /// Makes an empty storage and the permission to it.
    #[inline(always)]
    #[verifier::external_body]
    pub(super) const fn new() -> (r: (MetaStorage, Tracked<StoragePerm>))
        ensures
            r.1@.id() == r.0.id(),
            r.1@.content() == Content::Empty,
    {
        (MetaStorage { bytes: UnsafeCell::new(MaybeUninit::uninit()) }, Tracked::assume_new())
    }

    /// Moves a value in.
    #[inline(always)]
    #[verifier::external_body]
    pub(super) fn put<M: AnyFrameMeta>(&self, Tracked(perm): Tracked<&mut StoragePerm>, value: M)
        requires
            old(perm).id() == self.id(),
            old(perm).content() == Content::Empty,
        ensures
            final(perm).id() == self.id(),
            final(perm).content() == typed(value),
        opens_invariants none
        no_unwind
    {
        const {
            assert!(size_of::<M>() <= META_SIZE, "the metadata of a frame has at most 40 bytes");
            assert!(
                align_of::<M>() <= META_ALIGN,
                "the metadata of a frame has an alignment of at most 8"
            );
        }
        // SAFETY: the permission is exclusive; size and alignment are checked above.
        self.bytes.with_mut(|bytes| unsafe { bytes.cast::<M>().write(value) })
    }

    /// Moves the value out.
    #[inline(always)]
    #[verifier::external_body]
    pub(super) fn take<M: AnyFrameMeta>(&self, Tracked(perm): Tracked<&mut StoragePerm>) -> (value: M)
        requires
            old(perm).id() == self.id(),
            old(perm).holds::<M>(),
        ensures
            final(perm).id() == self.id(),
            final(perm).content() == Content::Empty,
            old(perm).content() == typed(value),
        opens_invariants none
        no_unwind
    {
        // SAFETY: the permission is exclusive and says that a value of type `M` is there; from now on it
        // says that none is.
        self.bytes.with_mut(|bytes| unsafe { bytes.cast::<M>().read() })
    }

    /// Lends the value.
    #[inline(always)]
    #[verifier::external_body]
    pub(super) fn borrow<'a, M: AnyFrameMeta>(&'a self, Tracked(perm): Tracked<&'a StoragePerm>) -> (value: &'a M)
        requires
            perm.id() == self.id(),
            perm.holds::<M>(),
        ensures
            perm.content() == typed(*value),
        opens_invariants none
        no_unwind
    {
        // SAFETY: the permission says that a value of type `M` is there, and is lent for as long.
        self.bytes.with(|bytes| unsafe { &*bytes.cast::<M>() })
    }

    /// Lends the value to be changed.
    #[inline(always)]
    #[verifier::external_body]
    pub(super) fn borrow_mut<'a, M: AnyFrameMeta>(
        &'a self,
        Tracked(perm): Tracked<&'a mut StoragePerm>,
    ) -> (value: &'a mut M)
        requires
            old(perm).id() == self.id(),
            old(perm).holds::<M>(),
        ensures
            final(perm).id() == self.id(),
            old(perm).content() == typed(*value),
            final(perm).content() == typed(*final(value)),
        opens_invariants none
        no_unwind
    {
        // SAFETY: the permission says that a value of type `M` is there, and is lent exclusively for as long.
        self.bytes.with_mut(|bytes| unsafe { &mut *bytes.cast::<M>() })
    }
}

/// Ends the life of metadata: `on_drop` with a reader of the frame's contents, then the destructor.
#[verifier::external_body]
pub(super) fn finish<M: AnyFrameMeta>(meta: M, pa: Paddr, Tracked(page): Tracked<&PagePerm>)
    requires
        page.pa() == pa,
    opens_invariants none
    no_unwind
{
    let guard = NoUnwind;
    let mut meta = meta;
    // SAFETY: the permission says that the frame is there, and nobody has it meanwhile.
    let mut reader = unsafe { VmReader::from_raw(contents(pa), PAGE_SIZE) };
    meta.on_drop(&mut reader);
    drop(meta);
    core::mem::forget(guard);
}

} // verus!

// SAFETY: the bytes are reached with a permission only, and what they hold is `Send` and `Sync`.
#[cfg_attr(verus_keep_ghost, verifier::external)]
unsafe impl Sync for MetaStorage {}
