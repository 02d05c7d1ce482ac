//! Page tables of user space.
#![expect(unsafe_code, reason = "implements the contracts of `PageTableConfig`, which are verified here")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::item::*;
use super::native::*;
use super::run::*;
use super::spec::*;
#[cfg(verus_keep_ghost)]
use crate::frame::AnyUFrameMeta;
use crate::frame::Segment;
#[cfg(verus_keep_ghost)]
use crate::frame::segment::covers;
#[cfg(verus_keep_ghost)]
use crate::frame::token::*;
use core::marker::PhantomData;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// User space: the lower half of a tree of shape `G`, with entries of format `E`.
pub struct UserPt<G, E = NativeEntry<G>>(PhantomData<(G, E)>);

/// User space on this machine.
pub type UserPtConfig = UserPt<NativeShape>;

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>> PageTableConfig for UserPt<G, E> {
    type Consts = G;

    type Entry = E;

    type Item = MappedItem<G>;

    const TOP_LO: usize = 0;

    const TOP_HI: usize = G::NR_ENTRIES / 2;

    const TOP_NODES_STAY: bool = false;

    open spec fn spec_va_base() -> usize {
        0
    }

    #[inline(always)]
    fn va_base() -> usize {
        0
    }

    open spec fn leaf_ok(t: LeafTok, pa: usize, l: nat) -> bool {
        owns_frames(t, pa, span(G::NR_ENTRIES as nat, l))
    }

    open spec fn raw(item: MappedItem<G>) -> (usize, nat, PageProperty) {
        let (pa, l) = item.frames.page();
        (pa, l, item.prop)
    }

    #[inline(always)]
    fn item_into_raw(item: MappedItem<G>) -> (r: (usize, u8, PageProperty, Tracked<LeafTok>)) {
        let MappedItem { frames, prop } = item;
        let (pa, l, toks) = frames.into_parts();
        (pa, l, prop, toks)
    }

    #[inline(always)]
    unsafe fn item_from_raw(pa: usize, l: u8, prop: PageProperty, tok: Tracked<LeafTok>) -> (r: MappedItem<G>) {
        MappedItem { frames: UserFrames::from_parts(pa, l, tok), prop }
    }

    #[inline(always)]
    unsafe fn clone_leaf(pa: usize, l: u8, tok: Tracked<&LeafTok>) -> (r: Tracked<LeafTok>) {
        clone_frames::<G>(pa, l, tok)
    }

    proof fn split_leaf(tracked t: LeafTok, pa: usize, l: nat) -> (tracked r: Map<int, LeafTok>) {
        let n = G::NR_ENTRIES as nat;
        let size = span(n, (l - 1) as nat);
        lemma_leaf_fits::<G>(pa, l);
        let p = pages(n, (l - 2) as nat);
        assert(PAGE_SIZE as nat * (n * p) == n * (PAGE_SIZE as nat * p)) by (nonlinear_arith);
        part_frames(t, pa, n, size)
    }

    proof fn config_ok() {
        G::consts_ok();
        let n = G::NR_ENTRIES as nat;
        let (h, p) = (Self::TOP_HI as nat, pages(n, (G::levels() - 1) as nat));
        lemma_total_pages::<G>();
        assert(pages(n, G::levels() as nat) == n * p);
        assert(h * p <= n * p && Self::TOP_LO * p == 0) by (nonlinear_arith)
            requires
                h <= n,
                Self::TOP_LO == 0,
        ;
    }
}

/// Its pages are numbered from address 0 on.
pub(crate) proof fn lemma_user_base<G: PagingConsts, E: PageTableEntry<G>>()
    ensures
        <UserPt<G, E> as PageTableConfig>::va_base() == 0,
{
}

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>> RunConfig for UserPt<G, E> {
    type Run = MappedRange;

    open spec fn run_ok(t: LeafTok, pa: usize, n: nat) -> bool {
        owns_frames(t, pa, (PAGE_SIZE * n) as nat)
    }

    open spec fn raw_run(run: MappedRange) -> (usize, usize, PageProperty) {
        let (start, end) = (run.segment.start().0, run.segment.end().0);
        (start, ((end - start) / PAGE_SIZE as int) as usize, run.prop)
    }

    #[inline(always)]
    fn run_into_raw(run: MappedRange) -> (r: (usize, usize, PageProperty, Tracked<LeafTok>)) {
        let MappedRange { segment, prop } = run;
        let (start, end, toks) = segment.into_parts();
        (start.0, (end.0 - start.0) / PAGE_SIZE, prop, toks)
    }

    #[inline(always)]
    unsafe fn run_from_raw(pa: usize, n: usize, prop: PageProperty, tok: Tracked<LeafTok>) -> (r: MappedRange) {
        proof {
            assert(PAGE_SIZE * n >= 0) by (nonlinear_arith);
        }
        MappedRange { segment: Segment::from_parts(Paddr(pa), Paddr(pa + PAGE_SIZE * n), tok), prop }
    }

    proof fn split_run(tracked t: &mut LeafTok, pa: usize, n: nat) -> (tracked r: LeafTok) {
        assert(PAGE_SIZE * n == PAGE_SIZE + PAGE_SIZE * (n - 1)) by (nonlinear_arith);
        assert(PAGE_SIZE * (n - 1) >= 0) by (nonlinear_arith)
            requires
                n >= 1,
        ;
        lemma_pre_zero(G::NR_ENTRIES as nat, 0);
        assert(has_frame::<dyn AnyUFrameMeta>(*t, Paddr(pa)));
        let tracked tok = t.tracked_remove(Paddr(pa));
        let tracked mut r = Map::tracked_empty();
        r.tracked_insert(Paddr(pa), tok);
        r
    }
}

} // verus!
