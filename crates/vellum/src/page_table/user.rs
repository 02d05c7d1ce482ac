//! Page tables of user space.
#![expect(unsafe_code, reason = "implements the contracts of `PageTableConfig`, which are verified here")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::native::*;
use super::run::*;
use super::spec::*;
#[cfg(verus_keep_ghost)]
use crate::frame::segment::covers;
use crate::frame::shared::clone_raw;
use crate::frame::table::*;
use crate::frame::token::*;
use crate::frame::{AnyUFrameMeta, Frame, Segment, USegment};
use core::marker::PhantomData;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// What is mapped into user space: a frame with untyped contents, and what may be done with it.
pub struct MappedItem {
    /// The frame; the mapping owns one count of it.
    pub frame: Frame<dyn AnyUFrameMeta>,
    /// What may be done.
    pub prop: PageProperty,
}

/// Base pages that are mapped into user space together: frames that follow each other, with untyped contents, and what
/// may be done with each.
pub struct MappedRange {
    /// The frames; the mappings own one count of each.
    pub segment: USegment,
    /// What may be done.
    pub prop: PageProperty,
}

/// User space: the lower half of a tree of shape `G`, with entries of format `E`.
pub struct UserPt<G, E = NativeEntry<G>>(PhantomData<(G, E)>);

/// User space on this machine.
pub type UserPtConfig = UserPt<NativeShape>;

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>> PageTableConfig for UserPt<G, E> {
    type Consts = G;

    type Entry = E;

    type Item = MappedItem;

    const TOP_LO: usize = 0;

    const TOP_HI: usize = G::NR_ENTRIES / 2;

    const TOP_NODES_STAY: bool = false;

    const VA_BASE: usize = 0;

    open spec fn leaf_ok(t: LeafTok, pa: usize, l: nat) -> bool {
        l == 1 && has_frame::<dyn AnyUFrameMeta>(t, Paddr(pa))
    }

    closed spec fn raw(item: MappedItem) -> (usize, nat, PageProperty) {
        (item.frame.pa().0, 1, item.prop)
    }

    #[inline(always)]
    fn item_into_raw(item: MappedItem) -> (r: (usize, u8, PageProperty, Tracked<LeafTok>)) {
        let MappedItem { frame, prop } = item;
        let (slot, tok) = frame.into_parts();
        let pa = pa_of(slot);
        let mut toks = no_tokens();
        put(&mut toks, pa, tok);
        proof {
            lemma_pre_zero(G::NR_ENTRIES as nat, 0);
            G::consts_ok();
        }
        (pa.0, 1, prop, toks)
    }

    #[inline(always)]
    unsafe fn item_from_raw(pa: usize, l: u8, prop: PageProperty, tok: Tracked<LeafTok>) -> (r: MappedItem) {
        let mut toks = tok;
        let tok = take::<dyn AnyUFrameMeta>(&mut toks, Paddr(pa));
        MappedItem { frame: Frame::new(slot_of(Paddr(pa)), tok), prop }
    }

    #[inline(always)]
    unsafe fn clone_leaf(pa: usize, l: u8, tok: Tracked<&LeafTok>) -> (r: Tracked<LeafTok>) {
        let tracked t = tok.get().tracked_borrow(Paddr(pa));
        let new = clone_raw(Paddr(pa), Tracked(t));
        let mut toks = no_tokens();
        put(&mut toks, Paddr(pa), new);
        toks
    }

    proof fn split_leaf(tracked t: LeafTok, pa: usize, l: nat) -> (tracked r: Map<int, LeafTok>) {
        proof_from_false()
    }

    proof fn config_ok() {
        G::consts_ok();
        let n = G::NR_ENTRIES as nat;
        let (h, p) = (Self::TOP_HI as nat, pages(n, (G::LEVELS - 1) as nat));
        lemma_total_pages::<G>();
        assert(pages(n, G::LEVELS as nat) == n * p);
        assert(h * p <= n * p) by (nonlinear_arith)
            requires
                h <= n,
        ;
    }
}

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>> RunConfig for UserPt<G, E> {
    type Run = MappedRange;

    open spec fn run_ok(t: LeafTok, pa: usize, n: nat) -> bool {
        covers::<dyn AnyUFrameMeta>(t, Paddr(pa), Paddr((pa + PAGE_SIZE * n) as usize))
    }

    closed spec fn raw_run(run: MappedRange) -> (usize, usize, PageProperty) {
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
        assert(has_frame::<dyn AnyUFrameMeta>(*t, Paddr(pa)));
        let tracked tok = t.tracked_remove(Paddr(pa));
        let tracked mut r = Map::tracked_empty();
        r.tracked_insert(Paddr(pa), tok);
        r
    }
}

} // verus!
