//! How much an operation on a range takes out, before it does: whoever keeps it makes room first.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
use super::error::*;
use super::geometry::*;
use super::near::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::range::*;
use super::session::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
use super::walk::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

impl<C: PageTableConfig> Session<C> {
    /// How many base pages are mapped in the next `len` bytes.
    pub(super) fn nr_mapped(&self, len: usize) -> (r: Result<usize, PageTableError>)
        ensures
            r matches Ok(n) ==> n == nr_mapped(self.mapped(), self.v as nat, (self.v + len / PAGE_SIZE) as nat),
    {
        let end = self.end_of(len)?;
        let start = self.v;
        let mut near = Near::none::<C>();
        let mut v = start;
        let mut n: usize = 0;
        proof {
            use_type_invariant(self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        while v < end
            invariant
                self.wf(),
                start == self.v,
                start <= v <= end <= self.g.e <= 0x2000_0000_0000,
                1 <= C::Consts::levels() <= 5,
                near.ok::<C>(self.g, self.tree@),
                n == nr_mapped(self.mapped(), start as nat, v as nat),
                n <= v - start,
            decreases end - v,
        {
            let (p, found) = next_mapped::<C>(&self.g, Tracked(self.tree.borrow()), &mut near, v, end);
            proof {
                lemma_none_mapped::<C>(self.g, self.tree@, self.mapped(), start as nat, v as nat, p as nat);
            }
            v = p;
            if let Some(f) = found {
                let (es, ee) = entry_range::<C::Consts>(p, f.l);
                let stop = if ee < end { ee } else { end };
                proof {
                    lemma_leaf_mapped::<C>(self.g, self.tree@, p, f, es as nat, ee as nat);
                    assert forall|w: nat| p <= w < stop implies #[trigger] self.mapped().dom().contains(w) == true by {
                        let _ = self.g.at::<C>(self.tree@, w);
                    }
                    lemma_nr_mapped(self.mapped(), start as nat, p as nat, stop as nat, true);
                }
                n += stop - p;
                v = stop;
            }
        }
        Ok(n)
    }

    /// At most how many mappings [`unmap`](Self::unmap) takes out one by one, and not with their node.
    pub(super) fn most_leaves(&self, len: usize) -> (r: Result<usize, PageTableError>) {
        let end = self.end_of(len)?;
        let mut p = self.v;
        let mut n: usize = 0;
        proof {
            use_type_invariant(self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        while p < end
            invariant
                self.wf(),
                self.v <= p <= end <= self.g.e <= 0x2000_0000_0000,
                1 <= C::Consts::levels() <= 5,
                n <= p - self.v,
            decreases end - p,
        {
            let f = descend::<C>(&self.g, Tracked(self.tree.borrow()), p);
            if f.l == 1 && f.l < self.g.top && !(C::TOP_NODES_STAY && f.l + 1 == C::Consts::levels()) {
                let (ns, ne) = entry_range::<C::Consts>(p, 2);
                if ns == p && ne <= end {
                    p = ne;
                    continue ;
                }
            }
            let (es, ee) = entry_range::<C::Consts>(p, f.l);
            let stop = if ee < end { ee } else { end };
            if f.is_leaf() {
                n += if es == p && ee <= end { 1 } else { parts::<C>(f.l, stop - p) };
            }
            p = stop;
        }
        Ok(n)
    }
}

/// At most how many of the parts into which a huge page of level `l` is split at the borders of a range are in it, where
/// it has `pages` of the range's pages.
fn parts<C: PageTableConfig>(l: u8, pages: usize) -> (r: usize)
    requires
        1 <= l <= 5,
        pages >= 1,
    ensures
        r <= pages,
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        assert((l - 1) * C::Consts::NR_ENTRIES <= 4 * 512) by (nonlinear_arith)
            requires
                1 <= l <= 5,
                C::Consts::NR_ENTRIES <= 512,
        ;
    }
    // At either border, a node at each level below.
    let most = 2 * ((l as usize - 1) * C::Consts::NR_ENTRIES);
    if most < pages { most } else { pages }
}

/// All pages of a leaf are mapped.
proof fn lemma_leaf_mapped<C: PageTableConfig>(g: Locks, m: Tree, p: usize, f: Found, es: nat, ee: nat)
    requires
        g.ok::<C>(m),
        g.s <= p < g.e,
        f.ok::<C>(g, m, p as nat),
        f.pte is Leaf,
        forall|w: nat|
            es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), p as nat, (f.l - 1) as nat),
    ensures
        forall|w: nat| g.s <= w < g.e && es <= w < ee ==> #[trigger] g.at::<C>(m, w) is Some,
{
    lemma_entry_pages::<C>(g, p as nat, f.l as nat, es, ee);
    assert forall|w: nat| g.s <= w < g.e && es <= w < ee implies #[trigger] g.at::<C>(m, w) is Some by {
        assert(place::<C>(w, f.l as nat) == place::<C>(p as nat, f.l as nat));
        lemma_via::<C>(m, g.rng(), f.l as nat, g.top as nat, w);
    }
}

} // verus!
