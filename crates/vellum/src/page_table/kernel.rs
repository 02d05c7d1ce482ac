//! Page tables of the kernel: ranges of physical memory that nobody counts, in pages of every size.
#![expect(unsafe_code, reason = "implements the contracts of `PageTableConfig`, which are verified here")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::native::*;
use super::spec::*;
use crate::frame::token::no_tokens;
use core::marker::PhantomData;
use vellum_machine::addr::*;
use vellum_machine::layout::PADDR_LIMIT;
use vstd::prelude::*;

verus! {

/// A page of physical memory whose frames the mapping does not own: the linear map, or a device.
pub struct Untracked<G: PagingConsts> {
    pa: Paddr,
    level: u8,
    prop: PageProperty,
    shape: PhantomData<G>,
}

impl<G: PagingConsts> Untracked<G> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        leaf_fits::<G>(self.pa.0, self.level as nat)
    }

    /// Names the page of level `level` at a physical address: level 1 is a base page.
    ///
    /// `None` where no page of that level may be mapped, where the address is not aligned to it, or where the page
    /// does not end within physical memory.
    pub fn new(pa: Paddr, level: u8, prop: PageProperty) -> Option<Self> {
        if level < 1 || level > G::MAX_LEAF_LEVEL {
            return None;
        }
        proof {
            G::consts_ok();
        }
        let n = pages_below::<G>(level - 1);
        if n > PADDR_LIMIT / PAGE_SIZE {
            return None;
        }
        let size = n * PAGE_SIZE;
        if pa.0 % size != 0 || pa.0 > PADDR_LIMIT - size {
            return None;
        }
        Some(Untracked { pa, level, prop, shape: PhantomData })
    }

    /// Returns the physical address.
    pub fn start_paddr(&self) -> Paddr {
        self.pa
    }

    /// Returns the level of the page.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Returns what may be done.
    pub fn prop(&self) -> PageProperty {
        self.prop
    }
}

/// Kernel space: a part of the upper half of a tree of shape `G`, with entries of format `E`.
///
/// The nodes below its root stay for as long as the table does: the tables of user spaces link them.
pub struct KernelPt<G, E = NativeEntry<G>>(PhantomData<(G, E)>);

/// Kernel space on this machine.
pub type KernelPtConfig = KernelPt<NativeShape>;

// SAFETY: the contracts are verified.
unsafe impl<G: PagingConsts, E: PageTableEntry<G>> PageTableConfig for KernelPt<G, E> {
    type Consts = G;

    type Entry = E;

    type Item = Untracked<G>;

    const TOP_LO: usize = G::KERNEL_LO;

    const TOP_HI: usize = G::KERNEL_HI;

    const TOP_NODES_STAY: bool = true;

    open spec fn spec_va_base() -> usize {
        upper_base::<G>()
    }

    #[inline(always)]
    fn va_base() -> usize {
        upper_base::<G>()
    }

    open spec fn leaf_ok(t: LeafTok, pa: usize, l: nat) -> bool {
        true
    }

    closed spec fn raw(item: Untracked<G>) -> (usize, nat, PageProperty) {
        (item.pa.0, item.level as nat, item.prop)
    }

    #[inline(always)]
    fn item_into_raw(item: Untracked<G>) -> (r: (usize, u8, PageProperty, Tracked<LeafTok>)) {
        proof {
            use_type_invariant(&item);
        }
        (item.pa.0, item.level, item.prop, no_tokens())
    }

    #[inline(always)]
    unsafe fn item_from_raw(pa: usize, l: u8, prop: PageProperty, tok: Tracked<LeafTok>) -> (r: Untracked<G>) {
        Untracked { pa: Paddr(pa), level: l, prop, shape: PhantomData }
    }

    #[inline(always)]
    unsafe fn clone_leaf(pa: usize, l: u8, tok: Tracked<&LeafTok>) -> (r: Tracked<LeafTok>) {
        no_tokens()
    }

    #[inline(always)]
    unsafe fn drop_leaf(pa: usize, l: u8, tok: Tracked<LeafTok>) {
    }

    proof fn split_leaf(tracked t: LeafTok, pa: usize, l: nat) -> (tracked r: Map<int, LeafTok>) {
        nothing_each(G::NR_ENTRIES as nat)
    }

    proof fn config_ok() {
        G::consts_ok();
        lemma_upper_part::<G>(G::KERNEL_LO as nat, G::KERNEL_HI as nat);
    }
}

/// For each of `n` parts nothing.
proof fn nothing_each(n: nat) -> (tracked r: Map<int, LeafTok>)
    ensures
        forall|j: int| #[trigger] r.dom().contains(j) <==> 0 <= j < n,
    decreases n,
{
    if n == 0 {
        Map::tracked_empty()
    } else {
        let tracked mut r = nothing_each((n - 1) as nat);
        r.tracked_insert((n - 1) as int, Map::tracked_empty());
        r
    }
}

} // verus!
