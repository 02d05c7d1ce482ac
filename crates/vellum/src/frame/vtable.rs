//! What can be done with metadata whose type is forgotten.
use super::erased::*;
use core::marker::PhantomData;
use vellum_machine::addr::Paddr;
use vellum_machine::page::PagePerm;
use vstd::prelude::*;

verus! {

/// The operations of one metadata type.
pub trait MetaOps: Send + Sync {
    /// The type.
    spec fn ty(&self) -> TyId;

    /// Ends the life of the metadata.
    fn drop_meta(
        &self,
        storage: &MetaStorage,
        pa: Paddr,
        Tracked(perm): Tracked<&mut StoragePerm>,
        Tracked(page): Tracked<&PagePerm>,
    )
        requires
            page.pa() == pa,
            old(perm).id() == storage.id(),
            old(perm).content() is Typed,
            old(perm).content()->ty == self.ty(),
        ensures
            final(perm).id() == storage.id(),
            final(perm).content() == Content::Empty,
        opens_invariants none
        no_unwind
    ;

    /// Names the type.
    fn type_name(&self) -> (r: TypeName)
        ensures
            r@ == self.ty(),
    ;

    /// Tells whether the type says that it is declared untyped.
    fn says_untyped(&self) -> (r: bool)
        ensures
            r ==> is_untyped(self.ty()),
    ;
}

/// Where the operations are; a reference to it is one word.
pub struct VtCell {
    /// The operations.
    pub d: &'static dyn MetaOps,
}

/// What a slot keeps of the type of its metadata.
pub type VtRef = &'static VtCell;

/// The operations of `M`.
pub struct OpsOf<M>(PhantomData<M>);

impl<M: AnyFrameMeta> MetaOps for OpsOf<M> {
    open spec fn ty(&self) -> TyId {
        ty_id::<M>()
    }

    fn drop_meta(
        &self,
        storage: &MetaStorage,
        pa: Paddr,
        Tracked(perm): Tracked<&mut StoragePerm>,
        Tracked(page): Tracked<&PagePerm>,
    ) {
        let meta = storage.take::<M>(Tracked(perm));
        finish(meta, pa, Tracked(page));
    }

    fn type_name(&self) -> TypeName {
        TypeName::of::<M>()
    }

    fn says_untyped(&self) -> bool {
        match M::untyped() {
            Some(evidence) => {
                evidence.holds();
                true
            },
            None => false,
        }
    }
}

/// The operations of `M`, kept for ever.
#[inline(always)]
pub fn vtable_of<M: AnyFrameMeta>() -> (r: VtRef)
    ensures
        r.d.ty() == ty_id::<M>(),
    opens_invariants none
    no_unwind
{
    &VtCell { d: &OpsOf::<M>(PhantomData) }
}

} // verus!
