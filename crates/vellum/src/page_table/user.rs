//! Page tables that own counts of the frames they map: those of user space, and that of areas of kernel space.
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

/// Which part of a tree of shape `G` a [table of counted frames](FramesPt) is.
pub trait RootPart<G: PagingConsts>: Send + Sync + 'static {
    /// The first entry of the root that belongs to it.
    const LO: usize;

    /// One past the last one.
    const HI: usize;

    /// Whether the nodes below the root stay.
    const NODES_STAY: bool;

    /// The virtual address of the tree's page 0.
    spec fn spec_base() -> usize;

    /// Returns the virtual address of the tree's page 0.
    #[verifier::when_used_as_spec(spec_base)]
    fn base() -> (r: usize)
        ensures
            r == Self::spec_base(),
        opens_invariants none
        no_unwind
    ;

    /// It is a part of the root, has addresses, and ends where they do or before.
    proof fn part_ok()
        ensures
            Self::LO < Self::HI <= G::NR_ENTRIES,
            ({
                let below = pages(G::NR_ENTRIES as nat, (G::levels() - 1) as nat);
                &&& Self::base() + PAGE_SIZE * (Self::LO * below + 1) <= usize::MAX
                &&& Self::base() + PAGE_SIZE * (Self::HI * below) <= usize::MAX + 1
            }),
            Self::base() % PAGE_SIZE == 0,
    ;
}

/// The lower half.
pub struct UserPart;

impl<G: PagingConsts> RootPart<G> for UserPart {
    const LO: usize = 0;

    const HI: usize = G::NR_ENTRIES / 2;

    const NODES_STAY: bool = false;

    open spec fn spec_base() -> usize {
        0
    }

    #[inline(always)]
    fn base() -> usize {
        0
    }

    proof fn part_ok() {
        G::consts_ok();
        let n = G::NR_ENTRIES as nat;
        let (h, p) = (n / 2, pages(n, (G::levels() - 1) as nat));
        lemma_total_pages::<G>();
        assert(pages(n, G::levels() as nat) == n * p);
        assert(h * p <= n * p && 0 * p == 0) by (nonlinear_arith)
            requires
                h <= n,
        ;
    }
}

/// What is areas' of the upper half.
pub struct AreaPart;

impl<G: PagingConsts> RootPart<G> for AreaPart {
    const LO: usize = G::AREA_LO;

    const HI: usize = G::AREA_HI;

    const NODES_STAY: bool = true;

    open spec fn spec_base() -> usize {
        upper_base::<G>()
    }

    #[inline(always)]
    fn base() -> usize {
        upper_base::<G>()
    }

    proof fn part_ok() {
        G::consts_ok();
        lemma_upper_part::<G>(G::AREA_LO as nat, G::AREA_HI as nat);
    }
}

/// The part `W` of a tree of shape `G`, with entries of format `E`. Its leaves own one count of each frame that they map,
/// all of them frames with untyped contents.
pub struct FramesPt<G, E, W>(PhantomData<(G, E, W)>);

/// User space: the lower half of a tree.
pub type UserPt<G, E = NativeEntry<G>> = FramesPt<G, E, UserPart>;

/// User space on this machine.
pub type UserPtConfig = UserPt<NativeShape>;

/// Areas: the part of kernel space where what is mapped is unmapped again, and counted meanwhile.
///
/// As of the [kernel's table](super::KernelPt), the nodes below its root stay: other tables link them.
pub type AreaPt<G, E = NativeEntry<G>> = FramesPt<G, E, AreaPart>;

/// Areas on this machine.
pub type AreaPtConfig = AreaPt<NativeShape>;

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>, W: RootPart<G>> PageTableConfig for FramesPt<G, E, W> {
    type Consts = G;

    type Entry = E;

    type Item = MappedItem<G>;

    const TOP_LO: usize = W::LO;

    const TOP_HI: usize = W::HI;

    const TOP_NODES_STAY: bool = W::NODES_STAY;

    open spec fn spec_va_base() -> usize {
        W::base()
    }

    #[inline(always)]
    fn va_base() -> usize {
        W::base()
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

    #[inline(always)]
    unsafe fn drop_leaf(pa: usize, l: u8, tok: Tracked<LeafTok>) {
        drop_frames::<G>(pa, l, tok);
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
        W::part_ok();
    }
}

/// The pages of user space are numbered from address 0 on.
pub(crate) proof fn lemma_user_base<G: PagingConsts, E: PageTableEntry<G>>()
    ensures
        <UserPt<G, E> as PageTableConfig>::va_base() == 0,
{
}

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>, W: RootPart<G>> RunConfig for FramesPt<G, E, W> {
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
