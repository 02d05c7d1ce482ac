//! How much an operation on a range takes out, before it does: whoever keeps it makes room first.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
use super::error::*;
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::loose::*;
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
            r is Err ==> len % PAGE_SIZE != 0 || len / PAGE_SIZE > self.g.e - self.v,
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

    /// At most how many mappings of the pages before `end` are taken out one by one, and not with their node. One look at each
    /// leaf table that lies in them, and at each entry where they end within one.
    pub(super) fn nr_loose(&self, end: usize) -> (r: usize)
        requires
            self.v <= end <= self.g.e,
        ensures
            r >= nr_loose::<C>(self.g, self.tree@, self.v as nat, end as nat, self.v as nat, end as nat),
    {
        let mut p = self.v;
        let mut n: usize = 0;
        let ghost v = self.v as nat;
        proof {
            use_type_invariant(self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        while p < end
            invariant
                self.wf(),
                v == self.v,
                self.v <= p <= end <= self.g.e <= 0x2000_0000_0000,
                1 <= C::Consts::levels() <= 5,
                n <= p - self.v,
                n >= nr_loose::<C>(self.g, self.tree@, v, end as nat, v, p as nat),
            decreases end - p,
        {
            let f = descend::<C>(&self.g, Tracked(self.tree.borrow()), p);
            if f.l == 1 && f.l < self.g.top && !(C::TOP_NODES_STAY && f.l + 1 == C::Consts::levels()) {
                let (ns, ne) = entry_range::<C::Consts>(p, 2);
                if ns == p && ne <= end {
                    proof {
                        lemma_digits(nr::<C>(), p as nat, 1);
                        lemma_loose_node::<C>(self.g, self.tree@, v, end as nat, p as nat);
                        lemma_loose_part::<C>(self.g, self.tree@, v, end as nat, v, p as nat, ne as nat);
                    }
                    p = ne;
                    continue ;
                }
            }
            let (es, ee) = entry_range::<C::Consts>(p, f.l);
            let stop = if ee < end { ee } else { end };
            proof {
                lemma_loose_entry::<C>(self.g, self.tree@, v, end as nat, p as nat, f, es as nat, ee as nat);
                lemma_loose_part::<C>(self.g, self.tree@, v, end as nat, v, p as nat, stop as nat);
            }
            if f.is_leaf() {
                n += 1;
            }
            p = stop;
        }
        n
    }
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
