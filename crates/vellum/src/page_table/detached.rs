//! Nodes that were unlinked with what they map.
#![expect(unsafe_code, reason = "puts the items of an unlinked node together again, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
use super::retired::*;
use super::session::va_of;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::take::*;
#[cfg(verus_keep_ghost)]
use super::walk::lemma_total;
use super::world::World;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::owned::*;
use vstd::prelude::*;

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

    /// Returns the addresses that the node covered, as far as they are the table's.
    pub fn va_range(&self) -> Range<Vaddr> {
        clamp::<C>(self.inner.get().start)..clamp::<C>(self.inner.get().end)
    }

    /// Returns how many base pages were mapped in it.
    pub fn nr_pages(&self) -> usize {
        self.inner.get().nr_pages
    }

    /// Gives back what was mapped in it, and returns the node, which readers without a lock may still read.
    pub fn retire(self) -> RetiredNode {
        self.inner.into_inner().retire()
    }

    /// Takes the next mapping out: the first address that it mapped, the item, and what hardware noted.
    ///
    /// For who wants to know of each page; else dropping the node gives them all back. Hardware may note more until the
    /// flush is acknowledged.
    #[expect(clippy::manual_map, reason = "the verifier would want a contract of the closure")]
    pub fn next_leaf(&mut self) -> Option<(Vaddr, C::Item, AccessedDirty)> {
        match self.inner.get_mut().next_leaf() {
            Some((v, item, ad)) => Some((clamp::<C>(v), item, ad)),
            None => None,
        }
    }
}

/// What a node that was unlinked still owns: what is mapped at its entries from `next` on.
pub(super) struct Detached<C: PageTableConfig> {
    w: &'static World,
    pa: usize,
    l: u8,
    start: usize,
    end: usize,
    nr_pages: usize,
    next: usize,
    tok: Tracked<DetachedTok>,
    kind: PhantomData<C>,
}

impl<C: PageTableConfig> Detached<C> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        let (tok, l) = (self.tok@, self.l as nat);
        &&& still_reads::<C>(*self.w, self.pa, l, tok.retired, tok.copy)
        &&& no_links::<C>(tok.copy@.words, l)
        &&& forall|j: int|
            self.next <= j < nr::<C>() ==> tok.retired.info.value().kind.entry_owns(#[trigger] tok.copy@.words[j], l, tok.leaves, j)
        &&& 1 <= self.l <= 5
        &&& self.start <= self.end <= 0x4000_0000_0000
    }

    /// Takes what is mapped at the next entry that maps something: its first page, the item, what hardware noted.
    #[inline]
    fn next_leaf(&mut self) -> (r: Option<(usize, C::Item, AccessedDirty)>)
        ensures
            r matches Some(x) ==> x.0 <= 0x80_0000_0000_0000 && old(self).next < final(self).next <= nr::<C>(),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
        }
        let n = pages_below::<C::Consts>(self.l - 1);
        while self.next < C::Consts::NR_ENTRIES
            invariant
                self.wf(),
                self.next >= old(self).next,
                C::Consts::NR_ENTRIES == nr::<C>() <= 512,
                n <= 0x2000_0000_0000,
            decreases C::Consts::NR_ENTRIES - self.next,
        {
            let i = self.next;
            let tracked tok = self.tok.borrow();
            let word = load_detached::<C>(self.w, self.pa, self.l, i, Tracked(&tok.retired), Tracked(&tok.copy));
            let pte = C::Entry::decode(word, self.l);
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
                // SAFETY: these are the parts of a mapping that is in no table any more.
                let item = unsafe { C::item_from_raw(pa, self.l, prop, Tracked(leaf.tracked_unwrap())) };
                proof {
                    assert(i * n <= 512 * 0x2000_0000_0000) by (nonlinear_arith)
                        requires
                            i <= 512,
                            n <= 0x2000_0000_0000,
                    ;
                }
                return Some((self.start + i * n, item, C::Entry::accessed_dirty(word)));
            }
        }
        None
    }
}

impl<C: PageTableConfig> Detached<C> {
    /// Drops what is mapped; the node is left.
    fn retire(self) -> RetiredNode {
        let mut node = self;
        // Each is dropped.
        while node.next_leaf().is_some()
            decreases nr::<C>() - node.next,
        {
        }
        proof {
            use_type_invariant(&node);
        }
        let Detached { w, pa, l, start, end, nr_pages, next, tok, kind } = node;
        let tracked DetachedTok { retired, copy, leaves } = tok.get();
        RetiredNode::new(w, pa, clamp::<C>(start), clamp::<C>(end), Tracked(retired))
    }
}

impl<C: PageTableConfig> Release for Detached<C> {
    fn release(self) {
        super::hooks::defer(self.retire());
    }
}

/// A node that was taken out of a table, for the caller.
pub(super) fn detached<C: PageTableConfig>(w: &'static World, t: TakenNode) -> (r: DetachedNode<C>)
    requires
        t.tok@.ok::<C>(*w, t.pa, t.l as nat),
        1 <= t.l <= 5,
        t.start <= t.end <= 0x4000_0000_0000,
    ensures
        r.covers() == (t.start, t.end),
    no_unwind
{
    let TakenNode { start, end, pa, l, nr_pages, tok } = t;
    DetachedNode { inner: Owned::new(Detached { w, pa, l, start, end, nr_pages, next: 0, tok, kind: PhantomData }) }
}

/// The virtual address of a page, or the end of the table's part if that comes before.
fn clamp<C: PageTableConfig>(v: usize) -> Vaddr
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        C::config_ok();
        lemma_total::<C>();
        let (hi, t, n) = (C::TOP_HI as nat, nr::<C>(), pages(nr::<C>(), (C::Consts::LEVELS - 1) as nat));
        assert(pages(t, C::Consts::LEVELS as nat) == t * n);
        assert(hi * n <= t * n) by (nonlinear_arith)
            requires
                hi <= t,
        ;
    }
    let top = C::TOP_HI * pages_below::<C::Consts>(C::Consts::LEVELS - 1);
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
