//! Where the way down to a page ended: the way to the pages beside it starts there.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use super::config::*;
use super::geometry::*;
use super::ops::*;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::lemma_total;
use vstd::prelude::*;

verus! {

/// Where the last way down ended, as far as that is known. To know nothing costs one store.
#[derive(Clone, Copy)]
pub struct Near(Option<Spot>);

/// A node below the top of a locked sub-tree, and the pages `[start, end)` that it covers.
#[derive(Clone, Copy)]
struct Spot {
    pa: usize,
    l: u8,
    /// The physical address of its parent.
    up: usize,
    start: usize,
    end: usize,
}

impl Near {
    /// It is in the tree.
    pub closed spec fn ok<C: PageTableConfig>(self, g: Locks, m: Tree) -> bool {
        self.0 matches Some(n) ==> n.start < n.end ==> {
            let k = place::<C>(n.start as nat, n.l as nat);
            &&& 1 <= n.l < g.top
            &&& m.dom().contains(k)
            &&& m[k].pa() == n.pa
            &&& up_ok::<C>(m, n.start as nat, n.l as nat, n.up)
            &&& forall|w: nat|
                n.start <= w < n.end ==> #[trigger] pre(nr::<C>(), w, n.l as nat) == pre(nr::<C>(), n.start as nat, n.l as nat)
        }
    }

    /// It is of no node, and so in any tree.
    pub open spec fn is_none<C: PageTableConfig>(self) -> bool {
        forall|g: Locks, m: Tree| #[trigger] self.ok::<C>(g, m)
    }

    /// No node.
    #[inline(always)]
    pub fn none<C: PageTableConfig>() -> (r: Near)
        ensures
            r.is_none::<C>(),
        opens_invariants none
        no_unwind
    {
        Near(None)
    }

    /// The node, if page `v` is one of its pages.
    #[inline(always)]
    fn with(&self, v: usize) -> (r: Option<Spot>)
        ensures
            r matches Some(n) ==> self.0 == Some(n) && n.start <= v < n.end,
        no_unwind
    {
        match self.0 {
            Some(n) if v >= n.start && v < n.end => Some(n),
            _ => None,
        }
    }

    /// The node at which the way to page `v` ended.
    #[inline(always)]
    fn of<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, v: usize, f: &Found) -> (r: Near)
        requires
            g.ok::<C>(*m),
            g.s <= v < g.e,
            f.ok::<C>(*g, *m, v as nat),
            f.l < g.top,
        ensures
            r.ok::<C>(*g, *m),
        no_unwind
    {
        proof {
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let (start, end) = entry_range::<C::Consts>(v, f.l + 1);
        proof {
            assert(pre(nr::<C>(), start as nat, f.l as nat) == pre(nr::<C>(), v as nat, f.l as nat));
            lemma_pre_above(nr::<C>(), start as nat, v as nat, f.l as nat, (f.l + 1) as nat);
        }
        Near(Some(Spot { pa: f.pa, l: f.l, up: f.up, start, end }))
    }

    /// Nodes that stay keep it.
    pub proof fn lemma_stays<C: PageTableConfig>(self, g: Locks, m: Tree, m2: Tree)
        requires
            self.ok::<C>(g, m),
            same_nodes(m, m2),
        ensures
            self.ok::<C>(g, m2),
    {
        if let Some(n) = self.0 {
            let k = place::<C>(n.start as nat, n.l as nat);
            let k2 = place::<C>(n.start as nat, (n.l + 1) as nat);
            assert(n.start < n.end ==> m.dom().contains(k) && m.dom().contains(k2));
        }
    }
}

impl Near {
    /// Whatever is done to the tree, as long as its nodes stay.
    pub proof fn lemma_stays_anyway<C: PageTableConfig>(self, g: Locks, m: Tree)
        requires
            self.ok::<C>(g, m),
        ensures
            forall|m2: Tree| same_nodes(m, m2) ==> #[trigger] self.ok::<C>(g, m2),
    {
        assert forall|m2: Tree| same_nodes(m, m2) implies #[trigger] self.ok::<C>(g, m2) by {
            self.lemma_stays::<C>(g, m, m2);
        }
    }
}

/// The entry for page `v`, where the node of base pages is at hand that has it.
#[inline(always)]
pub fn base_entry<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, near: &Near, v: usize) -> (r: Option<Found>)
    requires
        g.ok::<C>(*m),
        g.s <= v < g.e,
        near.ok::<C>(*g, *m),
    ensures
        r matches Some(f) ==> f.ok::<C>(*g, *m, v as nat) && f.l == 1,
    no_unwind
{
    match near.with(v) {
        Some(n) if n.l == 1 => {
            proof {
                lemma_pre_above(nr::<C>(), n.start as nat, v as nat, 1, 2);
            }
            Some(descend_from::<C>(g, Tracked(m), v, n.pa, 1, n.up))
        },
        _ if g.top == 1 => Some(top_entry::<C>(g, Tracked(m), v, 1)),
        _ => None,
    }
}

/// As [`descend`], and notes where the way ended.
#[inline(always)]
pub fn descend_near<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, near: &mut Near, v: usize) -> (f: Found)
    requires
        g.ok::<C>(*m),
        g.s <= v < g.e,
        old(near).ok::<C>(*g, *m),
    ensures
        f.ok::<C>(*g, *m, v as nat),
        !(f.pte is Table),
        final(near).ok::<C>(*g, *m),
    no_unwind
{
    if let Some(n) = near.with(v) {
        proof {
            lemma_pre_above(nr::<C>(), n.start as nat, v as nat, n.l as nat, (n.l + 1) as nat);
        }
        let f = descend_from::<C>(g, Tracked(m), v, n.pa, n.l, n.up);
        if f.l != n.l {
            *near = Near::of::<C>(g, Tracked(m), v, &f);
        }
        return f;
    }
    let f = descend::<C>(g, Tracked(m), v);
    if f.l < g.top {
        *near = Near::of::<C>(g, Tracked(m), v, &f);
    }
    f
}

} // verus!
