//! Moving through a locked range: what is next, what is empty, what is taken.
#![expect(unsafe_code, reason = "words are made of addresses that are known to fit")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
use super::near::*;
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
use super::spec::*;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

/// The pages below an entry are those between the entry's borders.
pub(super) proof fn lemma_entry_pages<C: PageTableConfig>(g: Locks, v: nat, l: nat, es: nat, ee: nat)
    requires
        g.s <= v < g.e,
        1 <= l,
        forall|w: nat| es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (l - 1) as nat) == pre(nr::<C>(), v, (l - 1) as nat),
    ensures
        forall|w: nat| g.s <= w < g.e ==> ((es <= w < ee) <==> #[trigger] through::<C>(w, place::<C>(v, l), idx::<C>(v, l))),
        forall|w: nat| g.s <= w < g.e && es <= w < ee ==> #[trigger] place::<C>(w, l) == place::<C>(v, l) && idx::<C>(w, l) == idx::<C>(v, l),
{
    lemma_step::<C>(g.rng(), v, l);
    assert forall|w: nat| g.s <= w < g.e && es <= w < ee implies #[trigger] place::<C>(w, l) == place::<C>(v, l) && idx::<C>(w, l) == idx::<C>(
        v,
        l,
    ) by {
        assert(pre(nr::<C>(), w, (l - 1) as nat) == pre(nr::<C>(), v, (l - 1) as nat));
        lemma_step::<C>(g.rng(), w, l);
    }
    assert forall|w: nat| g.s <= w < g.e implies ((es <= w < ee) <==> #[trigger] through::<C>(w, place::<C>(v, l), idx::<C>(v, l))) by {
        lemma_step::<C>(g.rng(), w, l);
        assert(es <= w < ee <==> pre(nr::<C>(), w, (l - 1) as nat) == pre(nr::<C>(), v, (l - 1) as nat));
    }
}

/// Below an absent entry nothing is mapped.
pub(super) proof fn lemma_absent<C: PageTableConfig>(g: Locks, m: Tree, v: nat, f: Found, es: nat, ee: nat)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        f.ok::<C>(g, m, v),
        f.pte is Absent,
        forall|w: nat|
            es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), v, (f.l - 1) as nat),
    ensures
        g.nothing_in::<C>(m, es, ee),
{
    lemma_entry_pages::<C>(g, v, f.l as nat, es, ee);
    assert forall|w: nat| g.s <= w < g.e && es <= w < ee implies #[trigger] g.at::<C>(m, w) is None by {
        assert(place::<C>(w, f.l as nat) == place::<C>(v, f.l as nat));
        lemma_via::<C>(m, g.rng(), f.l as nat, g.top as nat, w);
    }
}

/// The next page in `[v, end)` at which something is mapped, or `end`.
pub fn next_mapped<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, near: &mut Near, v: usize, end: usize) -> (r: (
    usize,
    Option<Found>,
))
    requires
        g.ok::<C>(*m),
        g.s <= v <= end <= g.e,
        old(near).ok::<C>(*g, *m),
    ensures
        final(near).ok::<C>(*g, *m),
        v <= r.0 <= end,
        g.nothing_in::<C>(*m, v as nat, r.0 as nat),
        match r.1 {
            Some(f) => r.0 < end && f.ok::<C>(*g, *m, r.0 as nat) && f.pte is Leaf,
            None => r.0 == end,
        },
    no_unwind
{
    let mut p = v;
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
    }
    while p < end
        invariant
            g.ok::<C>(*m),
            g.s <= v <= p <= end <= g.e,
            g.e <= 0x2000_0000_0000,
            1 <= C::Consts::LEVELS <= 5,
            near.ok::<C>(*g, *m),
            g.nothing_in::<C>(*m, v as nat, p as nat),
        decreases end - p,
    {
        let f = descend_near::<C>(g, Tracked(m), near, p);
        if let Pte::Leaf(_, _) = f.pte {
            return (p, Some(f));
        }
        let (es, ee) = entry_range::<C::Consts>(p, f.l);
        proof {
            lemma_absent::<C>(*g, *m, p as nat, f, es as nat, ee as nat);
        }
        p = if ee < end { ee } else { end };
    }
    (p, None)
}

/// The bound of page numbers.
pub proof fn lemma_total<C: PageTableConfig>()
    ensures
        pages(nr::<C>(), C::Consts::LEVELS as nat) <= 0x2000_0000_0000,
{
    lemma_total_pages::<C::Consts>();
}

/// Counts what a node below the top maps, if it links nothing and maps at most `most`.
fn survey<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&Tree>,
    Ghost(k): Ghost<Place>,
    pa: usize,
    l: u8,
    most: usize,
) -> (r: Option<usize>)
    requires
        g.ok::<C>(*m),
        m.dom().contains(k),
        k.0 == l,
        m[k].pa() == pa,
        1 <= l < g.top,
    ensures
        r matches Some(n) ==> {
            &&& n <= most && n <= 512
            &&& forall|j: int| 0 <= j < nr::<C>() ==> !(#[trigger] ent::<C>(*m, k, j) is Table)
            &&& n == 0 ==> forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] ent::<C>(*m, k, j) is Absent
        },
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        assert(tok_ok::<C>(m[k], k, *g.w, g.reader@));
    }
    let mut n = 0;
    let mut j = 0;
    while j < C::Consts::NR_ENTRIES
        invariant
            tok_ok::<C>(m[k], k, *g.w, g.reader@),
            m.dom().contains(k),
            k.0 == l,
            1 <= l,
            m[k].pa() == pa,
            n <= j <= C::Consts::NR_ENTRIES == nr::<C>() <= 512,
            n <= most,
            forall|q: int| 0 <= q < j ==> !(#[trigger] ent::<C>(*m, k, q) is Table),
            n == 0 ==> forall|q: int| 0 <= q < j ==> #[trigger] ent::<C>(*m, k, q) is Absent,
        decreases C::Consts::NR_ENTRIES - j,
    {
        let word = load::<C>(g.w, pa, j, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
        match C::Entry::decode(word, l) {
            Pte::Absent => {},
            Pte::Leaf(_, _) if n < most => n += 1,
            _ => return None,
        }
        j += 1;
    }
    Some(n)
}

/// What was taken out of a range.
pub enum Taken {
    /// A page or huge page: the pages `[start, end)`, its address, level and property, the word that was there.
    Leaf(TakenLeaf),
    /// A node, with all that was mapped in it.
    Node(TakenNode),
    /// Nothing: the rest was empty.
    Nothing,
}

/// A mapping that was taken out.
pub struct TakenLeaf {
    pub start: usize,
    pub end: usize,
    pub pa: usize,
    pub l: u8,
    pub prop: PageProperty,
    pub word: u64,
    pub tok: Tracked<LeafTok>,
}

impl TakenLeaf {
    /// It was mapped before, in `m`, and is gone afterwards, in `m2`.
    pub open spec fn ok<C: PageTableConfig>(self, g: Locks, m: Tree, m2: Tree) -> bool {
        &&& g.s <= self.start < self.end <= g.e
        &&& leaf_fits::<C::Consts>(self.pa, self.l as nat)
        &&& C::leaf_ok(self.tok@, self.pa, self.l as nat)
        &&& self.end - self.start == pages(nr::<C>(), (self.l - 1) as nat)
        &&& g.at::<C>(m, self.start as nat) == Some((self.pa as nat, self.prop))
        &&& g.cleared::<C>(m, m2, self.start as nat, self.end as nat)
    }
}

/// A node that was unlinked with what was mapped in it: it covered the pages `[start, end)`.
pub struct TakenNode {
    pub start: usize,
    pub end: usize,
    pub pa: usize,
    pub l: u8,
    /// The base pages that are mapped in it.
    pub nr_pages: usize,
    pub tok: Tracked<DetachedTok>,
}

impl TakenNode {
    /// It was part of `m`, and is gone afterwards, in `m2`. Outside `[v, end)` it mapped nothing.
    pub open spec fn ok<C: PageTableConfig>(self, g: Locks, m: Tree, m2: Tree, v: nat, end: nat) -> bool {
        &&& self.tok@.ok::<C>(*g.w, self.pa, self.l as nat)
        &&& 1 <= self.l <= 5
        &&& self.start <= self.end <= 0x4000_0000_0000
        &&& g.cleared::<C>(m, m2, self.start as nat, self.end as nat)
        &&& forall|w: nat| g.s <= w < g.e && self.start <= w < self.end && !(v <= w < end) ==> #[trigger] g.at::<C>(m, w) is None
    }
}

/// Takes the leaf that was found at page `v`, which is its first.
fn take_leaf<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, f: &Found, ee: usize) -> (r: TakenLeaf)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < ee <= g.e,
        f.ok::<C>(*g, *old(m), v as nat),
        f.pte is Leaf,
        ee - v == pages(nr::<C>(), (f.l - 1) as nat),
        forall|w: nat|
            v <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), v as nat, (f.l - 1) as nat),
        v == pre(nr::<C>(), v as nat, (f.l - 1) as nat) * pages(nr::<C>(), (f.l - 1) as nat),
    ensures
        g.ok::<C>(*final(m)),
        r.ok::<C>(*g, *old(m), *final(m)),
        r.start == v,
        r.end == ee,
    no_unwind
{
    let ghost k = place::<C>(v as nat, f.l as nat);
    let ghost m0 = *m;
    let (pa, prop) = f.pte.as_leaf();
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, v as nat, f.l as nat);
        C::Entry::zero_is_absent(f.l as nat);
    }
    let i = entry_index::<C::Consts>(v, f.l);
    let (word, tok) = replace::<C>(g, Tracked(m), Ghost(k), f.pa, i, 0, Tracked(None));
    proof {
        lemma_entry_pages::<C>(*g, v as nat, f.l as nat, v as nat, ee as nat);
        assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == (if v <= w < ee {
            None
        } else {
            g.at::<C>(m0, w)
        }) by {
            if through::<C>(w, k, i as int) {
                assert(place::<C>(w, f.l as nat) == k);
                assert(ent::<C>(*m, k, i as int) is Absent);
            }
        }
        lemma_digits(nr::<C>(), v as nat, (f.l - 1) as nat);
        assert(low(nr::<C>(), v as nat, (f.l - 1) as nat) == 0);
    }
    TakenLeaf { start: v, end: ee, pa, l: f.l, prop, word, tok: Tracked(tok.get().tracked_unwrap()) }
}

/// Whether the entry that ends at `ee` is the last of its node, for a walk to `end`.
#[inline(always)]
fn is_last<C: PageTableConfig>(g: &Locks, p: usize, l: u8, ee: usize, end: usize) -> bool
    requires
        1 <= l < g.top <= 5,
        p < 0x2000_0000_0000,
    no_unwind
{
    ee >= end || ee >= entry_range::<C::Consts>(p, l + 1).1
}

/// Cuts out the node that was found at page `p`, if it may go and links nothing: with all that it maps where it lies in
/// `[p, end)`, and else if it maps nothing, which is looked for at its last entry.
fn take_node<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, p: usize, f: &Found, end: usize) -> (r: Option<TakenNode>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= p < end <= g.e,
        g.e <= 0x2000_0000_0000,
        f.ok::<C>(*g, *old(m), p as nat),
        f.l < g.top,
    ensures
        g.ok::<C>(*final(m)),
        match r {
            Some(t) => t.ok::<C>(*g, *old(m), *final(m), p as nat, end as nat),
            None => *final(m) == *old(m),
        },
    no_unwind
{
    proof {
        C::Consts::consts_ok();
    }
    if C::TOP_NODES_STAY && f.l + 1 == C::Consts::LEVELS {
        return None;
    }
    let (ns, ne) = entry_range::<C::Consts>(p, f.l + 1);
    let whole = ns == p && ne <= end;
    if !whole && !is_last::<C>(g, p, f.l, entry_range::<C::Consts>(p, f.l).1, end) {
        return None;
    }
    let ghost k = place::<C>(p as nat, f.l as nat);
    let ghost kk = place::<C>(p as nat, (f.l + 1) as nat);
    let most = if whole { C::Consts::NR_ENTRIES } else { 0 };
    let leaves = survey::<C>(g, Tracked(m), Ghost(k), f.pa, f.l, most)?;
    let i = entry_index::<C::Consts>(p, f.l + 1);
    let ghost m0 = *m;
    proof {
        lemma_here::<C>(*g, *m, p as nat, (f.l + 1) as nat);
        lemma_above::<C>(*m, g.rng(), f.l as nat, (f.l + 1) as nat, p as nat);
        lemma_entry_pages::<C>(*g, p as nat, (f.l + 1) as nat, ns as nat, ne as nat);
        if leaves == 0 {
            lemma_empty_node::<C>(*g, m0, p as nat, f.l as nat, ns as nat, ne as nat);
        }
    }
    let tok = detach::<C>(g, Tracked(m), Ghost(kk), f.up, i, f.pa);
    let n = pages_below::<C::Consts>(f.l - 1);
    proof {
        assert(leaves * n <= 512 * n) by (nonlinear_arith)
            requires
                leaves <= 512,
        ;
        assert(g.cleared::<C>(m0, *m, ns as nat, ne as nat));
    }
    Some(TakenNode { start: ns, end: ne, pa: f.pa, l: f.l, nr_pages: leaves * n, tok })
}

/// Below a node of absent entries nothing is mapped.
proof fn lemma_empty_node<C: PageTableConfig>(g: Locks, m: Tree, v: nat, l: nat, ns: nat, ne: nat)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        1 <= l < g.top,
        m.dom().contains(place::<C>(v, l)),
        forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] ent::<C>(m, place::<C>(v, l), j) is Absent,
        forall|w: nat| ns <= w < ne <==> #[trigger] pre(nr::<C>(), w, l) == pre(nr::<C>(), v, l),
    ensures
        g.nothing_in::<C>(m, ns, ne),
{
    assert forall|w: nat| g.s <= w < g.e && ns <= w < ne implies #[trigger] g.at::<C>(m, w) is None by {
        assert(pre(nr::<C>(), w, l) == pre(nr::<C>(), v, l));
        assert(place::<C>(w, l) == place::<C>(v, l));
        lemma_here::<C>(g, m, w, l);
    }
}

/// The next mapping or node in `[v, end)`, taken out, and where to go on. `None`: no memory to split a page at a
/// border, and nothing changed.
#[verifier::exec_allows_no_decreases_clause]
#[expect(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
pub fn take_next<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, end: usize) -> (r: Option<(usize, Taken)>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v <= end <= g.e,
    ensures
        g.ok::<C>(*final(m)),
        match r {
            None => g.same::<C>(*old(m), *final(m)),
            Some((next, t)) => v <= next <= end && g.nothing_in::<C>(*final(m), v as nat, next as nat) && match t {
                Taken::Leaf(t) => t.ok::<C>(*g, *old(m), *final(m)) && v <= t.start && t.end <= end && g.nothing_in::<C>(
                    *old(m),
                    v as nat,
                    t.start as nat,
                ) && next <= t.end && next >= t.start,
                Taken::Node(t) => t.ok::<C>(*g, *old(m), *final(m), v as nat, end as nat) && g.nothing_in::<C>(
                    *old(m),
                    v as nat,
                    next as nat,
                ),
                Taken::Nothing => g.same::<C>(*old(m), *final(m)) && next == end && g.nothing_in::<C>(
                    *old(m),
                    v as nat,
                    end as nat,
                ),
            },
        },
    no_unwind
{
    let mut p = v;
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
    }
    while p < end
        invariant
            m0 == *old(m),
            g.ok::<C>(*m),
            g.same::<C>(m0, *m),
            g.s <= v <= p <= end <= g.e,
            g.e <= 0x2000_0000_0000,
            1 <= C::Consts::LEVELS <= 5,
            g.nothing_in::<C>(m0, v as nat, p as nat),
    {
        let f = descend::<C>(g, Tracked(m), p);
        let ghost m1 = *m;
        if f.l < g.top {
            if let Some(t) = take_node::<C>(g, Tracked(m), p, &f, end) {
                proof {
                    lemma_since::<C>(*g, m0, m1);
                }
                return Some((p, Taken::Node(t)));
            }
        }
        let (es, ee) = entry_range::<C::Consts>(p, f.l);
        if let Pte::Leaf(_, _) = f.pte {
            if es == p && ee <= end {
                let t = take_leaf::<C>(g, Tracked(m), p, &f, ee);
                proof {
                    lemma_since::<C>(*g, m0, m1);
                }
                // An emptied node is looked for at its last entry.
                let next = if f.l < g.top && is_last::<C>(g, p, f.l, ee, end) { p } else { ee };
                return Some((next, Taken::Leaf(t)));
            }
            if !split::<C>(g, Tracked(m), p, &f, es, ee, end) {
                return None;
            }
            proof {
                lemma_since::<C>(*g, m0, m1);
                assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == g.at::<C>(m0, w) by {
                    let _ = g.at::<C>(m1, w);
                }
            }
        } else {
            proof {
                lemma_absent::<C>(*g, *m, p as nat, f, es as nat, ee as nat);
                lemma_since::<C>(*g, m0, m1);
                assert forall|w: nat| g.s <= w < g.e && v <= w < ee implies #[trigger] g.at::<C>(m0, w) is None by {
                    let _ = g.at::<C>(m1, w);
                }
            }
            p = if ee < end { ee } else { end };
        }
    }
    Some((p, Taken::Nothing))
}

/// What is the same may stand for the other, whichever the solver meets.
proof fn lemma_since<C: PageTableConfig>(g: Locks, m0: Tree, m: Tree)
    requires
        g.same::<C>(m0, m),
    ensures
        forall|w: nat| g.s <= w < g.e ==> #[trigger] g.at::<C>(m0, w) == g.at::<C>(m, w),
{
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(m0, w) == g.at::<C>(m, w) by {
        let _ = g.at::<C>(m, w);
    }
}

/// Splits the huge page that was found at page `p` and reaches past `[p, end)`. False: no memory, and nothing
/// changed.
pub(super) fn split<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, p: usize, f: &Found, es: usize, ee: usize, end: usize) -> (r: bool)
    requires
        g.ok::<C>(*old(m)),
        g.s <= p < end <= g.e,
        f.ok::<C>(*g, *old(m), p as nat),
        f.pte is Leaf,
        es <= p < ee,
        ee - es == pages(nr::<C>(), (f.l - 1) as nat),
        es < p || ee > end,
    ensures
        g.ok::<C>(*final(m)),
        g.same::<C>(*old(m), *final(m)),
        same_nodes(*old(m), *final(m)),
    no_unwind
{
    let ghost k = place::<C>(p as nat, f.l as nat);
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, p as nat, f.l as nat);
        lemma_pre_zero(nr::<C>(), 0);
    }
    let i = entry_index::<C::Consts>(p, f.l);
    expand::<C>(g, Tracked(m), Ghost(k), f.pa, i, f.l, f.word).is_some()
}

/// The next mapping in `[v, end)`, split at the borders: its pages `[start, end)` and where it is.
#[verifier::exec_allows_no_decreases_clause]
pub fn isolate<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, near: &mut Near, v: usize, end: usize) -> (r: Option<
    Option<(usize, usize, Found)>,
>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v <= end <= g.e,
        old(near).ok::<C>(*g, *old(m)),
    ensures
        g.ok::<C>(*final(m)),
        final(near).ok::<C>(*g, *final(m)),
        g.same::<C>(*old(m), *final(m)),
        match r {
            None => true,
            Some(None) => g.nothing_in::<C>(*final(m), v as nat, end as nat),
            Some(Some((p, ee, f))) => whole::<C>(*g, *final(m), p, ee, f) && v <= p && ee <= end && g.nothing_in::<C>(
                *final(m),
                v as nat,
                p as nat,
            ),
        },
    no_unwind
{
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
    }
    loop
        invariant
            m0 == *old(m),
            g.ok::<C>(*m),
            g.same::<C>(m0, *m),
            g.s <= v <= end <= g.e,
            g.e <= 0x2000_0000_0000,
            1 <= C::Consts::LEVELS <= 5,
            near.ok::<C>(*g, *m),
    {
        let (p, found) = next_mapped::<C>(g, Tracked(m), near, v, end);
        let Some(f) = found else {
            return Some(None);
        };
        let (es, ee) = entry_range::<C::Consts>(p, f.l);
        if es == p && ee <= end {
            return Some(Some((p, ee, f)));
        }
        let ghost m1 = *m;
        let done = split::<C>(g, Tracked(m), p, &f, es, ee, end);
        proof {
            near.lemma_stays::<C>(*g, m1, *m);
        }
        if !done {
            return None;
        }
        proof {
            assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == g.at::<C>(m0, w) by {
                let _ = g.at::<C>(m1, w);
            }
        }
    }
}

/// A leaf that was found at its first page `p` and ends at `ee`.
pub open spec fn whole<C: PageTableConfig>(g: Locks, m: Tree, p: usize, ee: usize, f: Found) -> bool {
    &&& g.s <= p < ee <= g.e
    &&& f.ok::<C>(g, m, p as nat)
    &&& f.pte is Leaf
    &&& ee - p == pages(nr::<C>(), (f.l - 1) as nat)
    &&& p == pre(nr::<C>(), p as nat, (f.l - 1) as nat) * pages(nr::<C>(), (f.l - 1) as nat)
    &&& forall|w: nat|
        p <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), p as nat, (f.l - 1) as nat)
}

/// Where `m` has leaves, `m2` has them.
pub open spec fn same_leaves<C: PageTableConfig>(m: Tree, m2: Tree) -> bool {
    &&& m2.dom() == m.dom()
    &&& forall|k: Place, i: int| m.dom().contains(k) && 0 <= i < 512 ==> (#[trigger] ent::<C>(m2, k, i) is Leaf) == (ent::<C>(m, k, i) is Leaf)
}

/// Rewrites the leaf that was found on the way to page `v`: it becomes `leaf`, which maps the same address. What the
/// walker notes meanwhile stays noted.
#[verifier::exec_allows_no_decreases_clause]
fn rewrite_leaf<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, f: &Found, leaf: u64)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < g.e,
        f.ok::<C>(*g, *old(m), v as nat),
        f.pte is Leaf,
        meaning::<C>(leaf, f.l as nat) matches Pte::Leaf(a, _) && a == f.pte->Leaf_0,
    ensures
        is_replaced::<C>(*g, *old(m), *final(m), place::<C>(v as nat, f.l as nat), idx::<C>(v as nat, f.l as nat), leaf),
        same_leaves::<C>(*old(m), *final(m)),
        C::Entry::noted(leaf).up_to(
            C::Entry::noted(final(m)[place::<C>(v as nat, f.l as nat)].words()[idx::<C>(v as nat, f.l as nat)]),
        ),
    no_unwind
{
    let ghost k = place::<C>(v as nat, f.l as nat);
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, v as nat, f.l as nat);
    }
    let i = entry_index::<C::Consts>(v, f.l);
    let mut word = f.word;
    loop
        invariant
            m0 == *old(m),
            *m == m0,
            g.ok::<C>(m0),
            k == place::<C>(v as nat, f.l as nat),
            m0.dom().contains(k),
            m0[k].pa() == f.pa,
            own_entry(m0, k, i as int),
            entry_ok::<C>(m0, g.rng(), k, i as int),
            tok_ok::<C>(m0[k], k, *g.w, g.reader@),
            1 <= f.l <= g.top <= 5,
            i < nr::<C>() <= 512,
            i == idx::<C>(v as nat, f.l as nat),
            ent::<C>(m0, k, i as int) matches Pte::Leaf(a, _) && a == f.pte->Leaf_0,
            meaning::<C>(leaf, f.l as nat) matches Pte::Leaf(a, _) && a == f.pte->Leaf_0,
    {
        let new = C::Entry::with_noted(leaf, word);
        proof {
            C::Entry::noted_is_no_meaning(new, leaf, f.l as nat);
        }
        match compare_exchange::<C>(g.w, f.pa, i, word, new, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow_mut(k))) {
            Ok(_) => {
                proof {
                    assert(m.dom() =~= m0.dom());
                    lemma_replaced::<C>(*g, m0, *m, k, i as int, new);
                    assert forall|k2: Place, i2: int| m0.dom().contains(k2) && 0 <= i2 < 512 implies (#[trigger] ent::<C>(*m, k2, i2) is Leaf) == (
                    ent::<C>(m0, k2, i2) is Leaf) by {
                        if k2 != k {
                            assert(m[k2] == m0[k2]);
                        }
                    }
                }
                return ;
            },
            Err(w) => {
                proof {
                    assert(*m =~= m0);
                }
                word = w;
            },
        }
    }
}

/// Gives the leaf that was found another property. What the walker notes meanwhile stays noted.
pub fn set_property<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, p: usize, ee: usize, f: &Found, prop: PageProperty)
    requires
        g.ok::<C>(*old(m)),
        whole::<C>(*g, *old(m), p, ee, *f),
        C::Entry::holds(prop),
    ensures
        g.ok::<C>(*final(m)),
        same_nodes(*old(m), *final(m)),
        same_leaves::<C>(*old(m), *final(m)),
        forall|w: nat|
            g.s <= w < g.e ==> #[trigger] g.at::<C>(*final(m), w) == (if p <= w < ee {
                Some(((g.at::<C>(*old(m), w)->0).0, prop))
            } else {
                g.at::<C>(*old(m), w)
            }),
    no_unwind
{
    let ghost k = place::<C>(p as nat, f.l as nat);
    let ghost m0 = *m;
    let (pa, _) = f.pte.as_leaf();
    proof {
        lemma_here::<C>(*g, *m, p as nat, f.l as nat);
    }
    // SAFETY: what a leaf maps fits.
    let leaf = unsafe { C::Entry::leaf(pa, f.l, prop) };
    rewrite_leaf::<C>(g, Tracked(m), p, f, leaf);
    proof {
        lemma_entry_pages::<C>(*g, p as nat, f.l as nat, p as nat, ee as nat);
        assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == (if p <= w < ee {
            Some(((g.at::<C>(m0, w)->0).0, prop))
        } else {
            g.at::<C>(m0, w)
        }) by {
            if through::<C>(w, k, idx::<C>(p as nat, f.l as nat)) {
                assert(place::<C>(w, f.l as nat) == k);
                lemma_via::<C>(m0, g.rng(), f.l as nat, g.top as nat, w);
            }
        }
    }
}

/// Notes in the leaf that was found on the way to page `v` what an access to it notes.
pub fn note<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, f: &Found, ad: AccessedDirty)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < g.e,
        f.ok::<C>(*g, *old(m), v as nat),
        f.pte is Leaf,
    ensures
        g.ok::<C>(*final(m)),
        g.same::<C>(*old(m), *final(m)),
        ad.up_to(C::Entry::noted(f.word)) || ad.up_to(
            C::Entry::noted(final(m)[place::<C>(v as nat, f.l as nat)].words()[idx::<C>(v as nat, f.l as nat)]),
        ),
    no_unwind
{
    let ghost m0 = *m;
    let ghost k = place::<C>(v as nat, f.l as nat);
    let ghost i = idx::<C>(v as nat, f.l as nat);
    let leaf = C::Entry::with_noted(f.word, C::Entry::note(ad));
    if leaf == f.word {
        return ;
    }
    proof {
        C::Entry::noted_is_no_meaning(leaf, f.word, f.l as nat);
    }
    rewrite_leaf::<C>(g, Tracked(m), v, f, leaf);
    proof {
        assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == g.at::<C>(m0, w) by {
            if through::<C>(w, k, i) {
                lemma_step::<C>(g.rng(), w, f.l as nat);
                lemma_step::<C>(g.rng(), v as nat, f.l as nat);
                lemma_via::<C>(m0, g.rng(), f.l as nat, g.top as nat, w);
            }
        }
    }
}

/// All pages of a leaf are mapped.
pub proof fn lemma_whole_leaf_mapped<C: PageTableConfig>(g: Locks, m: Tree, p: usize, ee: usize, f: Found)
    requires
        g.ok::<C>(m),
        whole::<C>(g, m, p, ee, f),
    ensures
        forall|w: nat| p <= w < ee ==> #[trigger] g.at::<C>(m, w) is Some,
{
    lemma_entry_pages::<C>(g, p as nat, f.l as nat, p as nat, ee as nat);
    assert forall|w: nat| p <= w < ee implies #[trigger] g.at::<C>(m, w) is Some by {
        assert(place::<C>(w, f.l as nat) == place::<C>(p as nat, f.l as nat));
        lemma_via::<C>(m, g.rng(), f.l as nat, g.top as nat, w);
    }
}

} // verus!
