//! Taking out of a locked range what is mapped in it: leaf by leaf, or a node with all its leaves.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::cut::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
#[cfg(verus_keep_ghost)]
use super::loose::*;
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::range::{lemma_nr_mapped, nr_mapped};
use super::spec::*;
use super::tree::*;
use super::walk::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

/// The leaves among the first `n` entries of a node.
spec fn leaves_among<C: PageTableConfig>(m: Tree, k: Place, n: int) -> nat
    decreases n,
{
    if n <= 0 {
        0
    } else {
        leaves_among::<C>(m, k, n - 1) + if ent::<C>(m, k, n - 1) is Leaf { 1nat } else { 0nat }
    }
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
            &&& n <= most && n <= 512 && n == leaves_among::<C>(*m, k, nr::<C>() as int)
            &&& forall|j: int| 0 <= j < nr::<C>() ==> !(#[trigger] ent::<C>(*m, k, j) is Table)
            &&& n == 0 ==> forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] ent::<C>(*m, k, j) is Absent
        },
        l == 1 && most >= nr::<C>() ==> r is Some,
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        assert(tok_ok::<C>(m[k], k, g.w@, g.reader@));
    }
    let mut n = 0;
    let mut j = 0;
    while j < C::Consts::NR_ENTRIES
        invariant
            tok_ok::<C>(m[k], k, g.w@, g.reader@),
            m.dom().contains(k),
            k.0 == l,
            1 <= l,
            m[k].pa() == pa,
            n <= j <= C::Consts::NR_ENTRIES == nr::<C>() <= 512,
            n <= most,
            n == leaves_among::<C>(*m, k, j as int),
            forall|q: int| 0 <= q < j ==> !(#[trigger] ent::<C>(*m, k, q) is Table),
            n == 0 ==> forall|q: int| 0 <= q < j ==> #[trigger] ent::<C>(*m, k, q) is Absent,
        decreases C::Consts::NR_ENTRIES - j,
    {
        let word = load::<C>(g.w.get(), pa, j, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
        proof {
            C::Entry::levels(word, l as nat);
        }
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
        &&& maps_run::<C>(g, m, self.start as nat, self.end as nat, self.pa as nat, self.prop)
        &&& g.level::<C>(m, self.start as nat) matches Some(l) && self.l <= l
        &&& g.finer::<C>(m, m2)
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
    /// The pages below it are in `[start, end)`.
    pub open spec fn covers_all<C: PageTableConfig>(self) -> bool {
        forall|w: nat| #[trigger] is_below::<C>(self.tok@.retired, w) ==> self.start <= w < self.end
    }

    /// It was part of `m`, and is gone afterwards, in `m2`. Outside `[v, end)` it mapped nothing.
    pub open spec fn ok<C: PageTableConfig>(self, g: Locks, m: Tree, m2: Tree, v: nat, end: nat) -> bool {
        &&& self.tok@.ok::<C>(g.w@, self.pa, self.l as nat)
        &&& 1 <= self.l <= 5
        &&& self.start <= self.end <= 0x4000_0000_0000
        &&& g.cleared::<C>(m, m2, self.start as nat, self.end as nat)
        &&& forall|w: nat| g.s <= w < g.e && self.start <= w < self.end && !(v <= w < end) ==> #[trigger] g.at::<C>(m, w) is None
        &&& g.finer::<C>(m, m2)
        &&& self.nr_pages == nr_mapped(view::<C>(m, g.rng()), self.start as nat, self.end as nat)
        &&& self.covers_all::<C>()
        &&& forall|w: nat|
            g.s <= w < g.e && self.start <= w < self.end ==> (#[trigger] g.at::<C>(m, w) matches Some(x) ==> leads::<C>(
                self.tok@.retired,
                self.tok@.copy@.words,
                0,
                w,
                x.0,
            ))
    }
}

/// Takes the leaf that was found at page `v`, which is its first.
#[inline(always)]
pub fn take_leaf<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, f: &Found, ee: usize) -> (r: TakenLeaf)
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
        fewer_leaves::<C>(*old(m), *final(m)),
        same_nodes(*old(m), *final(m)),
        r.ok::<C>(*g, *old(m), *final(m)),
        r.start == v,
        r.end == ee,
        r.l == f.l,
        g.level::<C>(*old(m), v as nat) == Some(f.l as nat),
        low(nr::<C>(), v as nat, (f.l - 1) as nat) == 0,
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
    let (word, tok) = replace::<C>(g, Tracked(m), Ghost(k), f.pa, i, f.word, 0, Tracked(None));
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
        lemma_whole_leaf_mapped::<C>(*g, m0, v, ee, *f);
        assert forall|w: nat| g.s <= w < g.e implies #[trigger] sized_as::<C>(m0, *m, g.top as nat, w) by {
            let _ = g.level::<C>(*m, w);
            if through::<C>(w, k, i as int) {
                assert(place::<C>(w, f.l as nat) == k);
            }
        }
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
pub(super) fn take_node<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, p: usize, f: &Found, end: usize) -> (r: Option<TakenNode>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= p < end <= g.e,
        g.e <= 0x2000_0000_0000,
        f.ok::<C>(*g, *old(m), p as nat),
        f.l < g.top,
    ensures
        g.ok::<C>(*final(m)),
        match r {
            Some(t) => {
                &&& t.ok::<C>(*g, *old(m), *final(m), p as nat, end as nat)
                &&& fewer_leaves::<C>(*old(m), *final(m))
                &&& final(m).dom() == old(m).dom().remove(place::<C>(p as nat, f.l as nat))
            },
            None => *final(m) == *old(m) && !(f.l == 1 && in_whole::<C>(*g, p as nat, end as nat, p as nat)),
        },
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        if f.l == 1 && in_whole::<C>(*g, p as nat, end as nat, p as nat) {
            lemma_whole_node::<C>(*g, p as nat, end as nat);
        }
    }
    if C::TOP_NODES_STAY && f.l + 1 == C::Consts::levels() {
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
        lemma_step::<C>(g.rng(), p as nat, (f.l + 1) as nat);
        lemma_entry_pages::<C>(*g, p as nat, (f.l + 1) as nat, ns as nat, ne as nat);
        if leaves == 0 {
            lemma_empty_node::<C>(*g, m0, p as nat, f.l as nat, ns as nat, ne as nat);
            assert forall|w: nat| ns <= w < ne implies !#[trigger] view::<C>(m0, g.rng()).dom().contains(w) by {
                let _ = g.at::<C>(m0, w);
            }
            lemma_nr_mapped(view::<C>(m0, g.rng()), ns as nat, ns as nat, ne as nat, false);
        } else {
            lemma_node_pages::<C>(*g, m0, p as nat, f.l as nat, nr::<C>() as int);
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
        lemma_node_leads::<C>(*g, m0, p as nat, f.l as nat, ns as nat, ne as nat, tok@);
    }
    Some(TakenNode { start: ns, end: ne, pa: f.pa, l: f.l, nr_pages: leaves * n, tok })
}

/// A node that links nothing leads from its pages to what they map.
proof fn lemma_node_leads<C: PageTableConfig>(g: Locks, m: Tree, v: nat, l: nat, ns: nat, ne: nat, tok: DetachedTok)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        1 <= l < g.top,
        m.dom().contains(place::<C>(v, l)),
        forall|j: int| 0 <= j < nr::<C>() ==> !(#[trigger] ent::<C>(m, place::<C>(v, l), j) is Table),
        forall|w: nat| ns <= w < ne <==> #[trigger] pre(nr::<C>(), w, l) == pre(nr::<C>(), v, l),
        tok.retired.info.value().level == l,
        tok.retired.info.value().base == pre(nr::<C>(), v, l),
        tok.copy@.words == m[place::<C>(v, l)].words(),
    ensures
        forall|w: nat| #[trigger] is_below::<C>(tok.retired, w) ==> ns <= w < ne,
        forall|w: nat|
            g.s <= w < g.e && ns <= w < ne ==> (#[trigger] g.at::<C>(m, w) matches Some(x) ==> leads::<C>(
                tok.retired,
                tok.copy@.words,
                0,
                w,
                x.0,
            )),
{
    assert forall|w: nat| g.s <= w < g.e && ns <= w < ne implies (#[trigger] g.at::<C>(m, w) matches Some(x) ==> leads::<C>(
        tok.retired,
        tok.copy@.words,
        0,
        w,
        x.0,
    )) by {
        assert(pre(nr::<C>(), w, l) == pre(nr::<C>(), v, l));
        assert(place::<C>(w, l) == place::<C>(v, l));
        lemma_here::<C>(g, m, w, l);
        assert(!(ent::<C>(m, place::<C>(v, l), idx::<C>(w, l)) is Table));
    }
}

/// The pages that are mapped below the first `n` entries of a node that links nothing.
proof fn lemma_node_pages<C: PageTableConfig>(g: Locks, m: Tree, v: nat, l: nat, n: int)
    requires
        g.ok::<C>(m),
        1 <= l < g.top,
        m.dom().contains(place::<C>(v, l)),
        0 <= n <= nr::<C>(),
        v == pre(nr::<C>(), v, l) * pages(nr::<C>(), l),
        g.s <= v,
        v + pages(nr::<C>(), l) <= g.e,
        forall|j: int| 0 <= j < nr::<C>() ==> !(#[trigger] ent::<C>(m, place::<C>(v, l), j) is Table),
    ensures
        nr_mapped(view::<C>(m, g.rng()), v, (v + n * pages(nr::<C>(), (l - 1) as nat)) as nat) == leaves_among::<C>(m, place::<C>(v, l), n)
            * pages(nr::<C>(), (l - 1) as nat),
    decreases n,
{
    let map = view::<C>(m, g.rng());
    let k = place::<C>(v, l);
    let p = pages(nr::<C>(), (l - 1) as nat);
    C::Consts::consts_ok();
    lemma_pages_pos(nr::<C>(), (l - 1) as nat);
    assert(pages(nr::<C>(), l) == nr::<C>() * p);
    if n > 0 {
        let i = n - 1;
        lemma_node_pages::<C>(g, m, v, l, i);
        let (a, b) = (v + i * p, v + n * p);
        assert(b == a + p && 0 <= i * p && n * p <= nr::<C>() * p) by (nonlinear_arith)
            requires
                a == v + i * p,
                b == v + n * p,
                n == i + 1,
                0 <= i,
                n <= nr::<C>(),
                p >= 1,
        ;
        let leaf = ent::<C>(m, k, i) is Leaf;
        assert forall|w: nat| a <= w < b implies #[trigger] map.dom().contains(w) == leaf by {
            lemma_entry_of::<C>(g.rng(), v, l, i, w);
            lemma_here::<C>(g, m, w, l);
        }
        lemma_nr_mapped(map, v, a as nat, b as nat, leaf);
        let c = leaves_among::<C>(m, k, i);
        assert((c + 1) * p == c * p + p && (c + 0) * p == c * p) by (nonlinear_arith);
    } else {
        assert(0 * p == 0);
    }
}

/// The page at a distance from a node's first page is below the entry at that distance.
proof fn lemma_entry_of<C: PageTableConfig>(r: Rng, v: nat, l: nat, i: int, w: nat)
    requires
        1 <= l,
        0 <= i < nr::<C>(),
        v == pre(nr::<C>(), v, l) * pages(nr::<C>(), l),
        v + i * pages(nr::<C>(), (l - 1) as nat) <= w < v + (i + 1) * pages(nr::<C>(), (l - 1) as nat),
        r.s <= w < r.e,
    ensures
        place::<C>(w, l) == place::<C>(v, l),
        idx::<C>(w, l) == i,
{
    C::Consts::consts_ok();
    let (n, q, p) = (nr::<C>(), pre(nr::<C>(), v, l), pages(nr::<C>(), (l - 1) as nat));
    lemma_pre_div(n, w, (l - 1) as nat);
    assert(pages(n, l) == n * p);
    assert(w == (q * n + i) * p + (w - v - i * p) && 0 <= w - v - i * p < p) by (nonlinear_arith)
        requires
            v == q * (n * p),
            v + i * p <= w < v + (i + 1) * p,
    ;
    vstd::arithmetic::div_mod::lemma_fundamental_div_mod_converse(w as int, p as int, q * n + i, w - v - i * p);
    lemma_step::<C>(r, w, l);
    assert(child::<C>(place::<C>(v, l), i) == place::<C>(w, (l - 1) as nat));
    lemma_child_unique::<C>(place::<C>(v, l), i, place::<C>(w, l), idx::<C>(w, l));
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
/// border, and nothing changed; no border is in need of it where [`cut_borders`] was there before.
#[verifier::exec_allows_no_decreases_clause]
#[expect(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
pub fn take_next<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, end: usize, Ghost(start): Ghost<nat>) -> (r: Option<
    (usize, Taken),
>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v <= end <= g.e,
        start <= v,
        outside::<C>(*g, start, end as nat, v as nat),
    ensures
        r matches Some((next, t)) ==> outside::<C>(*g, start, end as nat, next as nat) && (t matches Taken::Leaf(t) ==> t.l == 1
            ==> !in_whole::<C>(*g, start, end as nat, t.start as nat)),
        cut::<C>(*old(m), v as nat) && cut::<C>(*old(m), end as nat) ==> (r matches Some((_, Taken::Leaf(t))) ==> g.level::<C>(
            *old(m),
            t.start as nat,
        ) == Some(t.l as nat) && low(nr::<C>(), t.start as nat, (t.l - 1) as nat) == 0),
        g.ok::<C>(*final(m)),
        cut::<C>(*old(m), v as nat) && cut::<C>(*old(m), end as nat) ==> r is Some && fewer_leaves::<C>(*old(m), *final(m)),
        match r {
            None => g.same::<C>(*old(m), *final(m)) && g.finer::<C>(*old(m), *final(m)),
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
                Taken::Nothing => g.same::<C>(*old(m), *final(m)) && g.finer::<C>(*old(m), *final(m)) && next == end && g.nothing_in::<C>(
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
    let ghost is_cut = cut::<C>(m0, v as nat) && cut::<C>(m0, end as nat);
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
    }
    while p < end
        invariant
            m0 == *old(m),
            is_cut == (cut::<C>(m0, v as nat) && cut::<C>(m0, end as nat)),
            is_cut ==> *m == m0,
            g.ok::<C>(*m),
            g.same::<C>(m0, *m),
            g.finer::<C>(m0, *m),
            g.s <= v <= p <= end <= g.e,
            g.e <= 0x2000_0000_0000,
            1 <= C::Consts::levels() <= 5,
            g.nothing_in::<C>(m0, v as nat, p as nat),
            start <= v,
            outside::<C>(*g, start, end as nat, p as nat),
    {
        let f = descend::<C>(g, Tracked(m), p);
        let ghost m1 = *m;
        if f.l < g.top {
            if let Some(t) = take_node::<C>(g, Tracked(m), p, &f, end) {
                proof {
                    lemma_since::<C>(*g, m0, m1);
                    lemma_finer::<C>(*g, m0, m1, *m);
                }
                return Some((p, Taken::Node(t)));
            }
        }
        let (es, ee) = entry_range::<C::Consts>(p, f.l);
        proof {
            let (q, w) = (pre(nr::<C>(), p as nat, (f.l - 1) as nat), pages(nr::<C>(), (f.l - 1) as nat));
            assert((q + 1) * w == q * w + w) by (nonlinear_arith);
            lemma_digits(nr::<C>(), p as nat, 1);
            lemma_outside_next::<C>(*g, start, end as nat, p as nat, f.l as nat, ee as nat);
        }
        if let Pte::Leaf(_, _) = f.pte {
            if es == p && ee <= end {
                let t = take_leaf::<C>(g, Tracked(m), p, &f, ee);
                proof {
                    lemma_since::<C>(*g, m0, m1);
                    assert(sized_as::<C>(m0, m1, g.top as nat, p as nat));
                    lemma_finer::<C>(*g, m0, m1, *m);
                }
                // An emptied node is looked for at its last entry.
                let next = if f.l < g.top && is_last::<C>(g, p, f.l, ee, end) { p } else { ee };
                return Some((next, Taken::Leaf(t)));
            }
            proof {
                if is_cut {
                    lemma_between_cuts::<C>(*g, m0, v as nat, end as nat, p as nat, f, es as nat, ee as nat);
                }
            }
            let done = split::<C>(g, Tracked(m), p, &f, es, ee, end);
            proof {
                lemma_finer::<C>(*g, m0, m1, *m);
            }
            if !done {
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
        view::<C>(m0, g.rng()) == view::<C>(m, g.rng()),
{
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(m0, w) == g.at::<C>(m, w) by {
        let _ = g.at::<C>(m, w);
    }
    lemma_same_view::<C>(g, m0, m);
}

} // verus!
