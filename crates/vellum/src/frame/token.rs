//! Tokens as zero-sized values of ordinary Rust code.
//!
//! Maps of tokens are keyed by [`Paddr`].
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "tokens are for the proofs alone"))]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use super::kind::*;
use super::slot::*;
#[cfg(verus_keep_ghost)]
use super::table::*;
use vellum_machine::addr::Paddr;
use vstd::prelude::*;

verus! {

/// Lends a token.
#[inline(always)]
pub(crate) fn as_ref<T>(token: &Tracked<T>) -> (r: Tracked<&T>)
    ensures
        *r@ == token@,
    opens_invariants none
    no_unwind
{
    Tracked(token.borrow())
}

/// Lends a token to be changed.
#[inline(always)]
pub(crate) fn as_mut<T>(token: &mut Tracked<T>) -> (r: Tracked<&mut T>)
    ensures
        *r@ == old(token)@,
        *final(r@) == final(token)@,
    opens_invariants none
    no_unwind
{
    Tracked(token.borrow_mut())
}

/// A count of the frame at `pa` that no handle has.
pub open spec fn raw_of(tok: SharedTok, pa: Paddr) -> bool {
    has_slot(pa) && shared_of(tok, slot_at(pa))
}

/// The frame at `pa`, unique, that no handle has.
pub open spec fn unique_raw_of(own: UniqueOwn, pa: Paddr) -> bool {
    has_slot(pa) && own.of(slot_at(pa))
}

/// Counts of frames, by address.
pub(crate) type Toks = Tracked<Map<Paddr, SharedTok>>;

/// There is a count of the frame at `pa`, and its metadata are as `M` says.
pub open spec fn has_frame<M: ?Sized + FrameKind>(toks: Map<Paddr, SharedTok>, pa: Paddr) -> bool {
    &&& toks.contains_key(pa)
    &&& raw_of(toks[pa], pa)
    &&& M::allows(toks[pa].element().content())
}

/// No tokens.
#[inline(always)]
pub(crate) fn no_tokens<T>() -> (r: Tracked<Map<Paddr, T>>)
    ensures
        r@ == Map::<Paddr, T>::empty(),
    opens_invariants none
    no_unwind
{
    Tracked(Map::tracked_empty())
}

/// Adds the count of a frame.
#[inline(always)]
pub(crate) fn put(toks: &mut Toks, pa: Paddr, tok: Tracked<SharedTok>)
    ensures
        final(toks)@ == old(toks)@.insert(pa, tok@),
    opens_invariants none
    no_unwind
{
    proof {
        toks.borrow_mut().tracked_insert(pa, tok.get());
    }
}

/// Takes the count of a frame out.
#[inline(always)]
pub(crate) fn take<M: ?Sized + FrameKind>(toks: &mut Toks, pa: Paddr) -> (r: Tracked<SharedTok>)
    requires
        has_frame::<M>(old(toks)@, pa),
    ensures
        final(toks)@ == old(toks)@.remove(pa),
        raw_of(r@, pa),
        M::allows(r@.element().content()),
    opens_invariants none
    no_unwind
{
    Tracked(toks.borrow_mut().tracked_remove(pa))
}

/// Lends the count of a frame.
#[inline(always)]
pub(crate) fn at<M: ?Sized + FrameKind>(toks: &Toks, pa: Paddr) -> (r: Tracked<&SharedTok>)
    requires
        has_frame::<M>(toks@, pa),
    ensures
        *r@ == toks@[pa],
        raw_of(*r@, pa),
        M::allows(r@.element().content()),
    opens_invariants none
    no_unwind
{
    Tracked(toks.borrow().tracked_borrow(pa))
}

/// Takes the counts of the frames from `mid` on out.
#[inline(always)]
pub(crate) fn split_off(toks: &mut Toks, mid: Paddr) -> (r: Toks)
    ensures
        forall|p: Paddr| #[trigger] final(toks)@.contains_key(p) <==> old(toks)@.contains_key(p) && p.0 < mid.0,
        forall|p: Paddr| #[trigger] r@.contains_key(p) <==> old(toks)@.contains_key(p) && p.0 >= mid.0,
        forall|p: Paddr| #[trigger] final(toks)@.contains_key(p) ==> final(toks)@[p] == old(toks)@[p],
        forall|p: Paddr| #[trigger] r@.contains_key(p) ==> r@[p] == old(toks)@[p],
    opens_invariants none
    no_unwind
{
    let ghost keys = toks@.dom().filter(|p: Paddr| p.0 >= mid.0);
    Tracked(toks.borrow_mut().tracked_remove_keys(keys))
}

} // verus!
