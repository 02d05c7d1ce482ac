//! What the `M` of `Frame<M>` says.
use super::erased::*;
use super::vtable::VtRef;
use vstd::prelude::*;

verus! {

/// What stands for the metadata of a handle: a metadata type, or one of the two that forget it.
///
/// - `M`, a metadata type: the metadata are an `M`.
/// - `dyn AnyFrameMeta`: the metadata are of any type.
/// - `dyn AnyUFrameMeta`: they are of any type that is declared [`AnyUFrameMeta`].
pub trait FrameKind {
    /// Whether a slot may contain this.
    spec fn allows(content: Content) -> bool;

    /// What is known of the value does not matter, only its type does.
    proof fn allows_by_type(a: Content, b: Content)
        requires
            Self::allows(a),
            a is Typed,
            b is Typed,
            a->ty == b->ty,
        ensures
            Self::allows(b),
    ;

    /// Finds out from the operations of the metadata's type.
    #[doc(hidden)]
    fn finds(vtable: VtRef) -> (r: bool)
        ensures
            r ==> forall|c: Content| c is Typed && c->ty == vtable.d.ty() ==> #[trigger] Self::allows(c),
    ;
}

impl<M: AnyFrameMeta> FrameKind for M {
    open spec fn allows(content: Content) -> bool {
        content is Typed && content->ty == ty_id::<M>()
    }

    proof fn allows_by_type(a: Content, b: Content) {
    }

    fn finds(vtable: VtRef) -> bool {
        vtable.d.type_name().same(&TypeName::of::<M>())
    }
}

impl FrameKind for dyn AnyFrameMeta {
    open spec fn allows(content: Content) -> bool {
        content is Typed
    }

    proof fn allows_by_type(a: Content, b: Content) {
    }

    fn finds(_vtable: VtRef) -> bool {
        true
    }
}

impl FrameKind for dyn AnyUFrameMeta {
    open spec fn allows(content: Content) -> bool {
        content.untyped()
    }

    proof fn allows_by_type(a: Content, b: Content) {
    }

    fn finds(vtable: VtRef) -> bool {
        vtable.d.says_untyped()
    }
}

} // verus!
