//! Nodes that were unlinked with what they map, one by one and in piles.
#![expect(unsafe_code, reason = "puts the items of an unlinked node together again, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
use super::retired::*;
use super::session::va_of;
use super::spec::*;
use super::stack::*;
use super::table::whole_table;
use super::take::*;
#[cfg(verus_keep_ghost)]
use super::world::axiom_one_world;
use super::world::{InWorld, World};
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::owned::*;
use vstd::prelude::*;
#[cfg_attr(not(verus_keep_ghost), allow(unused_imports, reason = "names a token"))]
use vstd::resource::ghost_var::GhostVar;

verus! {

/// A page-table node that was unlinked with the mappings in it, all at once.
///
/// Hardware walkers may still read the node, and translation caches hold its mappings, until the caches are flushed.
/// Whoever has the value keeps it until the flush of [`va_range`](Self::va_range) is acknowledged. Dropping it then gives
/// back what was mapped, and [defers](super::defer) the node.
#[must_use = "translation caches may still lead to it: it is to be kept until they are flushed"]
pub struct DetachedNode<C: PageTableConfig> {
    inner: Owned<Detached<C>>,
}

impl<C: PageTableConfig> DetachedNode<C> {
    /// The pages that the node covered: the first, and one past the last.
    pub(super) closed spec fn covers(&self) -> (usize, usize) {
        (self.inner@.start, self.inner@.end)
    }

    /// Whoever walks to page `w` by the node reaches the frame at `pa`: that of the node, or what is mapped in it.
    pub closed spec fn leads(&self, w: nat, pa: nat) -> bool {
        w < top_page::<C>() && self.inner@.rest.leads(w, pa)
    }

    /// Returns the addresses that the node covered, as far as they are the table's.
    pub fn va_range(&self) -> (r: Range<Vaddr>)
        ensures
            forall|w: nat, pa: nat| #[trigger]
                self.leads(w, pa) ==> r.start.0 <= C::va_base() + w * PAGE_SIZE && C::va_base() + (w + 1) * PAGE_SIZE <= r.end.0,
    {
        let inner = self.inner.get();
        proof {
            use_type_invariant(inner);
        }
        clamp::<C>(inner.start)..clamp::<C>(inner.end)
    }

    /// Returns how many base pages were mapped in it.
    pub fn nr_pages(&self) -> usize {
        self.inner.get().nr_pages
    }

    /// Gives back what was mapped in it, and returns the node, which readers without a lock may still read.
    pub fn retire(self) -> RetiredNode {
        self.inner.into_inner().retire()
    }

    /// Takes every mapping out that is left, in the order of the addresses: each goes to `sink` with the first address that it
    /// mapped and what hardware noted.
    ///
    /// For who wants each item; else dropping the node gives them all back. Base pages have a loop of their own, in which the
    /// compiler knows that an item is one frame. If `sink` panics, it has what it was given, and the node keeps the rest.
    #[inline(always)]
    pub fn take_leaves(&mut self, sink: &mut impl LeafSink<C>) {
        self.inner.get_mut().take_leaves(sink);
    }

    /// Takes the next mapping out: the first address that it mapped, the item, and what hardware noted.
    ///
    /// For who wants to know of some pages; [`take_leaves`](Self::take_leaves) takes all of them out faster. Hardware may note more until the
    /// flush is acknowledged.
    #[inline(always)]
    #[expect(clippy::manual_map, reason = "the verifier would want a contract of the closure")]
    pub fn next_leaf(&mut self) -> Option<(Vaddr, C::Item, AccessedDirty)> {
        match self.inner.get_mut().next_leaf() {
            Some((v, item, ad)) => Some((clamp::<C>(v), item, ad)),
            None => None,
        }
    }
}

/// Where the mappings go that [`DetachedNode::take_leaves`] takes out.
pub trait LeafSink<C: PageTableConfig> {
    /// Takes what was mapped from an address on, and what hardware noted of it.
    fn take(&mut self, va: Vaddr, item: C::Item, ad: AccessedDirty);
}

#[verifier::external]
impl<C: PageTableConfig, F: FnMut(Vaddr, C::Item, AccessedDirty)> LeafSink<C> for F {
    #[inline(always)]
    fn take(&mut self, va: Vaddr, item: C::Item, ad: AccessedDirty) {
        self(va, item, ad);
    }
}

/// What a node that was unlinked still owns: what is mapped at its entries from `next` on.
struct Rest<C: PageTableConfig> {
    w: InWorld,
    pa: usize,
    l: u8,
    next: usize,
    tok: Tracked<DetachedTok>,
    kind: PhantomData<C>,
}

/// One past the last page that a table of this use can have: one whose end is an address.
pub(super) open spec fn top_page<C: PageTableConfig>() -> nat {
    let end = (C::TOP_HI * pages(nr::<C>(), (C::Consts::levels() - 1) as nat)) as nat;
    let most = (usize::MAX - C::va_base()) as nat / PAGE_SIZE as nat;
    if end < most { end } else { most }
}

/// An unlinked node of level `l` at `pa` links nothing, and its leaves from entry `next` on own what they must.
spec fn rest_ok<C: PageTableConfig>(w: World, pa: usize, l: u8, next: usize, retired: RetiredTok, left: Left) -> bool {
    &&& still_reads::<C>(w, pa, l as nat, retired, left.copy)
    &&& no_links::<C>(left.copy@.words, l as nat)
    &&& forall|j: int|
        next <= j < nr::<C>() ==> retired.info.value().kind.entry_owns(#[trigger] left.copy@.words[j], l as nat, left.leaves, j)
    &&& 1 <= l <= 5
    &&& next <= nr::<C>()
}

/// What is left of an unlinked node beside the right to its frame.
tracked struct Left {
    copy: GhostVar<Words>,
    leaves: Map<int, LeafTok>,
}

impl<C: PageTableConfig> Rest<C> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        let DetachedTok { retired, copy, leaves } = self.tok@;
        rest_ok::<C>(self.w@, self.pa, self.l, self.next, retired, Left { copy, leaves })
    }

    /// It still leads from page `w` to the frame at `pa`.
    spec fn leads(self, w: nat, pa: nat) -> bool {
        leads::<C>(self.tok@.retired, self.tok@.copy@.words, self.next as int, w, pa)
    }

    /// Takes what is mapped at the next entry that maps something: the entry, the item, what hardware noted. `l` is the node's level:
    /// where that is a constant the compiler knows what an item is.
    #[inline(always)]
    fn next_leaf_at(&mut self, l: u8) -> (r: Option<(usize, C::Item, AccessedDirty)>)
        requires
            l == old(self).l,
        ensures
            r matches Some(x) ==> x.0 < 512 && old(self).next < final(self).next <= nr::<C>(),
            final(self).l == old(self).l,
            final(self).tok@.retired == old(self).tok@.retired,
        no_unwind
    {
        match self.next_parts_at(l) {
            Some((i, word, pa, prop, tok)) => {
                // SAFETY: these are the parts of a mapping that is in no table any more.
                let item = unsafe { C::item_from_raw(pa, l, prop, tok) };
                Some((i, item, C::Entry::accessed_dirty(word)))
            },
            None => None,
        }
    }

    /// Takes what is mapped at the next entry that maps something: the entry, its word, and the parts of the item.
    #[inline(always)]
    fn next_parts_at(&mut self, l: u8) -> (r: Option<(usize, u64, usize, PageProperty, Tracked<LeafTok>)>)
        requires
            l == old(self).l,
        ensures
            r matches Some(x) ==> {
                &&& x.0 < 512 && old(self).next < final(self).next <= nr::<C>()
                &&& leaf_fits::<C::Consts>(x.2, l as nat)
                &&& C::leaf_ok(x.4@, x.2, l as nat)
            },
            final(self).l == old(self).l,
            final(self).tok@.retired == old(self).tok@.retired,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
        }
        while self.next < C::Consts::NR_ENTRIES
            invariant
                self.wf(),
                self.l == l == old(self).l,
                self.tok@.retired == old(self).tok@.retired,
                self.next >= old(self).next,
                C::Consts::NR_ENTRIES == nr::<C>() <= 512,
            decreases C::Consts::NR_ENTRIES - self.next,
        {
            let i = self.next;
            let tracked tok = self.tok.borrow();
            let word = load_detached::<C>(self.w.get(), self.pa, l, i, Tracked(&tok.retired), Tracked(&tok.copy));
            let pte = C::Entry::decode(word, l);
            let ghost t = self.tok@;
            proof {
                assert(t.retired.info.value().kind.entry_owns(t.copy@.words[i as int], self.l as nat, t.leaves, i as int));
            }
            self.next = i + 1;
            let tracked mut leaf = None;
            proof {
                if pte is Leaf {
                    leaf = Some(self.tok.borrow_mut().leaves.tracked_remove(i as int));
                }
            }
            if let Pte::Leaf(pa, prop) = pte {
                return Some((i, word, pa, prop, Tracked(leaf.tracked_unwrap())));
            }
        }
        None
    }

    /// Drops what is mapped at the next entry of a node of level `l` that maps something. Says whether there was one.
    #[inline(always)]
    fn drop_next_at(&mut self, l: u8) -> (r: bool)
        requires
            l == old(self).l,
        ensures
            r ==> old(self).next < final(self).next <= nr::<C>(),
            final(self).l == old(self).l,
            final(self).tok@.retired == old(self).tok@.retired,
        no_unwind
    {
        match self.next_parts_at(l) {
            Some((_, _, pa, _, tok)) => {
                // SAFETY: these are the parts of a mapping that is in no table any more.
                unsafe { C::drop_leaf(pa, l, tok) };
                true
            },
            None => false,
        }
    }

    /// Drops what is mapped; the node is left.
    #[inline(always)]
    fn retire(self, start: Vaddr, end: Vaddr) -> RetiredNode
        no_unwind
    {
        let mut rest = self;
        let l = rest.l;
        if l == 1 {
            while rest.drop_next_at(1)
                invariant
                    rest.l == 1,
                decreases nr::<C>() - rest.next,
            {
            }
        } else {
            while rest.drop_next_at(l)
                invariant
                    rest.l == l,
                decreases nr::<C>() - rest.next,
            {
            }
        }
        proof {
            use_type_invariant(&rest);
        }
        let Rest { w, pa, l, next, tok, kind } = rest;
        let tracked DetachedTok { retired, copy, leaves } = tok.get();
        RetiredNode::new(w.get(), pa, start, end, Tracked(retired))
    }
}

/// An unlinked node, and which pages it covered.
pub(super) struct Detached<C: PageTableConfig> {
    rest: Rest<C>,
    start: usize,
    end: usize,
    nr_pages: usize,
}

impl<C: PageTableConfig> Detached<C> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.start <= self.end <= 0x4000_0000_0000
        &&& forall|w: nat| #[trigger] is_below::<C>(self.rest.tok@.retired, w) ==> self.start <= w < self.end
    }

    /// Takes what is mapped at the next entry that maps something: its first page, the item, what hardware noted.
    #[inline(always)]
    fn next_leaf(&mut self) -> (r: Option<(usize, C::Item, AccessedDirty)>)
        ensures
            r matches Some(x) ==> x.0 <= 0x80_0000_0000_0000 && old(self).rest.next < final(self).rest.next <= nr::<C>(),
        no_unwind
    {
        self.next_leaf_at(self.rest.l)
    }

    /// Hands all that is mapped to a sink.
    #[inline(always)]
    fn take_leaves<S: LeafSink<C>>(&mut self, sink: &mut S) {
        if self.rest.l == 1 {
            while let Some((v, item, ad)) = self.next_leaf_at(1)
                invariant
                    self.rest.l == 1,
                decreases nr::<C>() - self.rest.next,
            {
                sink.take(clamp::<C>(v), item, ad);
            }
        } else {
            while let Some((v, item, ad)) = self.next_leaf()
                decreases nr::<C>() - self.rest.next,
            {
                sink.take(clamp::<C>(v), item, ad);
            }
        }
    }

    /// [`next_leaf`](Self::next_leaf) of a node of level `l`.
    #[inline(always)]
    fn next_leaf_at(&mut self, l: u8) -> (r: Option<(usize, C::Item, AccessedDirty)>)
        requires
            l == old(self).rest.l,
        ensures
            r matches Some(x) ==> x.0 <= 0x80_0000_0000_0000 && old(self).rest.next < final(self).rest.next <= nr::<C>(),
            final(self).rest.l == old(self).rest.l,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
            use_type_invariant(&self.rest);
            C::Consts::consts_ok();
        }
        let n = pages_below::<C::Consts>(l - 1);
        let (i, item, ad) = self.rest.next_leaf_at(l)?;
        proof {
            assert(i * n <= 512 * 0x2000_0000_0000) by (nonlinear_arith)
                requires
                    i <= 512,
                    n <= 0x2000_0000_0000,
            ;
        }
        Some((self.start + i * n, item, ad))
    }

    /// Drops what is mapped; the node is left.
    fn retire(self) -> RetiredNode {
        let Detached { rest, start, end, nr_pages } = self;
        rest.retire(clamp::<C>(start), clamp::<C>(end))
    }
}

impl<C: PageTableConfig> Release for Detached<C> {
    fn release(self) {
        super::hooks::defer(self.retire());
    }
}

/// Unlinked nodes with what they map, kept until they are dropped together: each is linked through its own metadata.
pub(crate) struct DetachedPile<C: PageTableConfig> {
    nodes: Option<NodeStack<Left>>,
    kind: PhantomData<C>,
}

/// Levels that a number on a stack tells apart.
const LEVELS: u64 = 6;

/// What is left of the node at height `i`, whose number says its level and its next entry.
spec fn piled<C: PageTableConfig>(nodes: NodeStack<Left>, i: int) -> bool {
    let (tok, number) = (nodes@[i], nodes.numbers()[i]);
    rest_ok::<C>(nodes.the_world(), tok.0.pa(), (number % LEVELS) as u8, (number / LEVELS) as usize, tok.0, tok.1)
}

/// The node at height `i` leads from page `w` to the frame at `pa`.
spec fn piled_leads<C: PageTableConfig>(nodes: NodeStack<Left>, i: int, w: nat, pa: nat) -> bool {
    let (tok, number) = (nodes@[i], nodes.numbers()[i]);
    leads::<C>(tok.0, tok.1.copy@.words, (number / LEVELS) as int, w, pa)
}

impl<C: PageTableConfig> DetachedPile<C> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.nodes matches Some(nodes) ==> nodes.wf() && forall|i: int| 0 <= i < nodes@.len() ==> #[trigger] piled::<C>(nodes, i)
    }

    #[inline(always)]
    pub(crate) fn new() -> Self
        no_unwind
    {
        DetachedPile { nodes: None, kind: PhantomData }
    }

    /// One of its nodes leads from page `w` to the frame at `pa`.
    pub closed spec fn leads(self, w: nat, pa: nat) -> bool {
        self.nodes matches Some(nodes) && exists|i: int| 0 <= i < nodes@.len() && #[trigger] piled_leads::<C>(nodes, i, w, pa)
    }

    /// Puts a node on top. It needs no memory.
    pub(crate) fn push(&mut self, node: DetachedNode<C>)
        ensures
            forall|w: nat, pa: nat| #![trigger final(self).leads(w, pa)]
                old(self).leads(w, pa) || node.leads(w, pa) ==> final(self).leads(w, pa),
        no_unwind
    {
        let ghost (old_self, what) = (*self, node);
        let Detached { rest, start, end, nr_pages } = node.inner.into_inner();
        proof {
            use_type_invariant(&*self);
            use_type_invariant(&rest);
            C::Consts::consts_ok();
        }
        let Rest { w, pa, l, next, tok, kind } = rest;
        let mut nodes = match self.nodes.take() {
            Some(nodes) => nodes,
            None => NodeStack::new(w.get()),
        };
        let number = l as u64 + LEVELS * next as u64;
        let tracked DetachedTok { retired, copy, leaves } = tok.get();
        let ghost before = nodes;
        proof {
            nodes.one_world(w.in_proof());
            nodes.lemma_numbers();
            assert(number % LEVELS == l && number / LEVELS == next);
        }
        let ghost left = Left { copy, leaves };
        nodes.push(pa, number, Tracked(retired), Tracked(Left { copy, leaves }));
        proof {
            assert forall|i: int| 0 <= i < nodes@.len() implies #[trigger] piled::<C>(nodes, i) by {
                if i < before@.len() {
                    assert(piled::<C>(before, i));
                    assert(nodes@.drop_last()[i] == before@[i]);
                }
            }
            assert forall|w: nat, pa: nat| old_self.leads(w, pa) || what.leads(w, pa) implies exists|i: int|
                0 <= i < nodes@.len() && #[trigger] piled_leads::<C>(nodes, i, w, pa) by {
                if old_self.leads(w, pa) {
                    let i = choose|i: int| 0 <= i < before@.len() && #[trigger] piled_leads::<C>(before, i, w, pa);
                    assert(nodes@.drop_last()[i] == before@[i]);
                    assert(piled_leads::<C>(nodes, i, w, pa));
                } else {
                    assert(piled_leads::<C>(nodes, nodes@.len() - 1, w, pa));
                }
            }
        }
        self.nodes = Some(nodes);
    }

    /// How many there are.
    spec fn size(self) -> nat {
        match self.nodes {
            Some(nodes) => nodes@.len(),
            None => 0,
        }
    }

    fn pop(&mut self) -> (r: Option<Rest<C>>)
        ensures
            r is Some ==> final(self).size() < old(self).size(),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        let mut nodes = self.nodes.take()?;
        let ghost before = nodes;
        let (pa, number, tok) = nodes.pop()?;
        let tracked (retired, left) = tok.get();
        let tracked Left { copy, leaves } = left;
        proof {
            before.lemma_numbers();
            assert(piled::<C>(before, before@.len() - 1));
            assert forall|i: int| 0 <= i < nodes@.len() implies #[trigger] piled::<C>(nodes, i) by {
                assert(piled::<C>(before, i));
            }
        }
        let w = InWorld::of(nodes.world());
        self.nodes = Some(nodes);
        let tok = Tracked(DetachedTok { retired, copy, leaves });
        Some(Rest { w, pa, l: (number % LEVELS) as u8, next: (number / LEVELS) as usize, tok, kind: PhantomData })
    }
}

impl<C: PageTableConfig> DetachedPile<C> {
    /// Drops each node.
    #[inline(always)]
    pub(crate) fn clear(&mut self)
        no_unwind
    {
        if self.nodes.is_some() {
            self.clear_nodes();
        }
    }

    fn clear_nodes(&mut self)
        no_unwind
    {
        while let Some(rest) = self.pop()
            decreases self.size(),
        {
            super::hooks::defer(rest.retire(Vaddr(0), Vaddr(0)));
        }
    }
}

impl<C: PageTableConfig> Release for DetachedPile<C> {
    fn release(self) {
        let mut pile = self;
        pile.clear();
    }

    #[inline(always)]
    fn release_in_place(&mut self) -> bool {
        self.clear();
        true
    }
}

/// A node that was taken out of a table, for the caller.
pub(super) fn detached<C: PageTableConfig>(w: &'static World, t: TakenNode) -> (r: DetachedNode<C>)
    requires
        t.tok@.ok::<C>(*w, t.pa, t.l as nat),
        1 <= t.l <= 5,
        t.start <= t.end <= 0x4000_0000_0000,
        t.covers_all::<C>(),
    ensures
        r.covers() == (t.start, t.end),
        forall|w: nat, pa: nat| #[trigger] r.leads(w, pa) <==> w < top_page::<C>() && leads::<C>(t.tok@.retired, t.tok@.copy@.words, 0, w, pa),
    no_unwind
{
    let TakenNode { start, end, pa, l, nr_pages, tok } = t;
    let rest = Rest { w: InWorld::of(w), pa, l, next: 0, tok, kind: PhantomData };
    DetachedNode { inner: Owned::new(Detached { rest, start, end, nr_pages }) }
}

/// The virtual address of a page, or the end of the table's part if that comes before.
fn clamp<C: PageTableConfig>(v: usize) -> (r: Vaddr)
    ensures
        r.0 == C::va_base() + (if v < top_page::<C>() { v as nat } else { top_page::<C>() }) * PAGE_SIZE,
    no_unwind
{
    let top = whole_table::<C>().1;
    va_of::<C>(if v < top { v } else { top })
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<C: PageTableConfig> core::fmt::Debug for DetachedNode<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DetachedNode")
            .field("va_range", &self.va_range())
            .field("nr_pages", &self.nr_pages())
            .finish_non_exhaustive()
    }
}
