//! The mappings of a range that are taken out one by one: those outside the nodes of leaves that lie in it.
use super::config::*;
use super::cut::*;
use super::entry::*;
use super::geometry::*;
use super::ops::*;
use super::tree::*;
use super::walk::*;
use vstd::prelude::*;

verus! {

/// The node of level 1 that covers page `w` may go, and lies in `[v, end)`.
pub open spec fn in_whole<C: PageTableConfig>(g: Locks, v: nat, end: nat, w: nat) -> bool {
    let first = w - low(nr::<C>(), w, 1);
    &&& 1 < g.top && !(C::TOP_NODES_STAY && C::Consts::levels() == 2)
    &&& v <= first && first + pages(nr::<C>(), 1) <= end
}

/// A walk over `[v, end)` is not within such a node, unless at its start.
pub open spec fn outside<C: PageTableConfig>(g: Locks, v: nat, end: nat, p: nat) -> bool {
    low(nr::<C>(), p, 1) == 0 || !in_whole::<C>(g, v, end, p)
}

/// Page `w` is the first of a leaf that is not in such a node.
pub open spec fn is_loose<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, w: nat) -> bool {
    g.level::<C>(m, w) matches Some(k) && low(nr::<C>(), w, (k - 1) as nat) == 0 && (k == 1 ==> !in_whole::<C>(g, v, end, w))
}

/// How many such leaves start in `[a, b)`.
pub open spec fn nr_loose<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, a: nat, b: nat) -> nat
    decreases b,
{
    if b <= a {
        0
    } else {
        nr_loose::<C>(g, m, v, end, a, (b - 1) as nat) + if is_loose::<C>(g, m, v, end, (b - 1) as nat) { 1nat } else { 0nat }
    }
}

/// Where no leaf starts that was none, there are no more; and one less, where one goes.
pub proof fn lemma_loose_fewer<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, v: nat, end: nat, a: nat, b: nat, s: nat)
    requires
        forall|w: nat| a <= w < b && #[trigger] is_loose::<C>(g, m2, v, end, w) ==> is_loose::<C>(g, m, v, end, w),
    ensures
        nr_loose::<C>(g, m2, v, end, a, b) <= nr_loose::<C>(g, m, v, end, a, b),
        a <= s < b && is_loose::<C>(g, m, v, end, s) && !is_loose::<C>(g, m2, v, end, s) ==> nr_loose::<C>(g, m2, v, end, a, b) + 1
            <= nr_loose::<C>(g, m, v, end, a, b),
    decreases b,
{
    if a < b {
        lemma_loose_fewer::<C>(g, m, m2, v, end, a, (b - 1) as nat, s);
        let _ = is_loose::<C>(g, m2, v, end, (b - 1) as nat);
    }
}

/// Of pages of which only the first can start a leaf that counts, one at most does.
pub proof fn lemma_loose_part<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, a: nat, p: nat, q: nat)
    requires
        a <= p <= q,
        forall|w: nat| p < w < q ==> !#[trigger] is_loose::<C>(g, m, v, end, w),
    ensures
        nr_loose::<C>(g, m, v, end, a, q) <= nr_loose::<C>(g, m, v, end, a, p) + 1,
        p < q && !is_loose::<C>(g, m, v, end, p) ==> nr_loose::<C>(g, m, v, end, a, q) == nr_loose::<C>(g, m, v, end, a, p),
        p == q ==> nr_loose::<C>(g, m, v, end, a, q) == nr_loose::<C>(g, m, v, end, a, p),
    decreases q,
{
    if p < q {
        lemma_loose_part::<C>(g, m, v, end, a, p, (q - 1) as nat);
        let _ = is_loose::<C>(g, m, v, end, (q - 1) as nat);
    }
}

/// There are no more such leaves than pages.
pub proof fn lemma_loose_most<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, a: nat, b: nat)
    requires
        a <= b,
    ensures
        nr_loose::<C>(g, m, v, end, a, b) <= b - a,
    decreases b,
{
    if a < b {
        lemma_loose_most::<C>(g, m, v, end, a, (b - 1) as nat);
    }
}

/// The leaf that maps a page is in the tree.
proof fn lemma_leaf_is_there<C: PageTableConfig>(m: Tree, r: Rng, l: nat, w: nat)
    requires
        wf::<C>(m, r),
        1 <= l <= r.top,
        r.s <= w < r.e,
        m.dom().contains(place::<C>(w, l)),
        level_of::<C>(m, l, w) is Some,
    ensures
        level_of::<C>(m, l, w) matches Some(k) && 1 <= k <= l && m.dom().contains(place::<C>(w, k)) && ent::<C>(
            m,
            place::<C>(w, k),
            idx::<C>(w, k),
        ) is Leaf,
    decreases l,
{
    lemma_own::<C>(m, r, w, l);
    lemma_step::<C>(r, w, l);
    if ent::<C>(m, place::<C>(w, l), idx::<C>(w, l)) is Table {
        lemma_leaf_is_there::<C>(m, r, (l - 1) as nat, w);
    }
}

/// What is still mapped after leaves went is mapped by the same leaf.
pub proof fn lemma_same_leaf<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree)
    requires
        g.ok::<C>(m),
        g.ok::<C>(m2),
        fewer_leaves::<C>(m, m2),
    ensures
        forall|w: nat| g.s <= w < g.e && (#[trigger] g.level::<C>(m2, w)) is Some ==> g.level::<C>(m, w) == g.level::<C>(m2, w),
{
    assert forall|w: nat| g.s <= w < g.e && (#[trigger] g.level::<C>(m2, w)) is Some implies g.level::<C>(m, w) == g.level::<C>(m2, w) by {
        lemma_top_place::<C>(g.rng(), w);
        lemma_leaf_is_there::<C>(m2, g.rng(), g.top as nat, w);
        let k = g.level::<C>(m2, w)->0;
        lemma_here::<C>(g, m2, w, k);
        let e = ent::<C>(m2, place::<C>(w, k), idx::<C>(w, k));
        assert(m.dom().contains(place::<C>(w, k)) && ent::<C>(m, place::<C>(w, k), idx::<C>(w, k)) is Leaf);
        lemma_here::<C>(g, m, w, k);
    }
}

/// Behind an entry at which the walk was, it is not within such a node.
pub proof fn lemma_outside_next<C: PageTableConfig>(g: Locks, v: nat, end: nat, p: nat, l: nat, ee: nat)
    requires
        1 <= l,
        p < ee,
        ee == (pre(nr::<C>(), p, (l - 1) as nat) + 1) * pages(nr::<C>(), (l - 1) as nat),
        l == 1 ==> !in_whole::<C>(g, v, end, p),
    ensures
        outside::<C>(g, v, end, if ee < end { ee } else { end }),
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    lemma_digits(n, end, 1);
    if ee < end {
        let j = (l - 1) as nat;
        if l == 1 {
            lemma_pre_zero(n, p);
            let (a, b) = (pre(n, p, 0), pages(n, 0));
            assert((a + 1) * b == a + 1) by (nonlinear_arith)
                requires
                    b == 1,
            ;
            assert(ee == p + 1);
            if low(n, ee, 1) != 0 {
                lemma_before::<C>(ee, 1);
                lemma_digits(n, ee, 1);
                lemma_digits(n, p, 1);
            }
        } else {
            let q = pre(n, p, j) + 1;
            let w = pages(n, j);
            lemma_digits(n, ee, j);
            lemma_pre_div(n, ee, j);
            let (a, b) = (pre(n, ee, j), low(n, ee, j));
            assert(b == 0) by (nonlinear_arith)
                requires
                    ee == q * w,
                    ee == a * w + b,
                    0 <= b < w,
                    a >= 0,
                    q >= 0,
            ;
            lemma_low_zero::<C>(ee, j, 1);
        }
    }
}

/// A walk starts outside.
pub proof fn lemma_outside_start<C: PageTableConfig>(g: Locks, v: nat, end: nat)
    ensures
        outside::<C>(g, v, end, v),
{
    C::Consts::consts_ok();
    lemma_digits(nr::<C>(), v, 1);
}

/// At the start of a node of level 1 that lies in the range, the node covers the pages from there on.
pub proof fn lemma_whole_node<C: PageTableConfig>(g: Locks, p: nat, end: nat)
    requires
        in_whole::<C>(g, p, end, p),
    ensures
        pre(nr::<C>(), p, 1) * pages(nr::<C>(), 1) == p,
        p + pages(nr::<C>(), 1) <= end,
{
    C::Consts::consts_ok();
    lemma_digits(nr::<C>(), p, 1);
}

/// Below one entry that maps a page, only its first page starts a leaf.
pub proof fn lemma_loose_entry<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, p: nat, f: Found, es: nat, ee: nat)
    requires
        g.ok::<C>(m),
        g.s <= p < g.e,
        f.ok::<C>(g, m, p),
        !(f.pte is Table),
        es == pre(nr::<C>(), p, (f.l - 1) as nat) * pages(nr::<C>(), (f.l - 1) as nat),
        forall|w: nat| es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), p, (f.l - 1) as nat),
    ensures
        forall|w: nat| g.s <= w < g.e && es < w < ee ==> !#[trigger] is_loose::<C>(g, m, v, end, w),
        !(f.pte is Leaf) ==> forall|w: nat| g.s <= w < g.e && es <= w < ee ==> !#[trigger] is_loose::<C>(g, m, v, end, w),
{
    C::Consts::consts_ok();
    lemma_entry_pages::<C>(g, p, f.l as nat, es, ee);
    assert forall|w: nat| g.s <= w < g.e && es <= w < ee && (es < w || !(f.pte is Leaf)) implies !#[trigger] is_loose::<C>(g, m, v, end, w) by {
        assert(pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), p, (f.l - 1) as nat));
        assert(place::<C>(w, f.l as nat) == place::<C>(p, f.l as nat) && idx::<C>(w, f.l as nat) == idx::<C>(p, f.l as nat));
        lemma_here::<C>(g, m, w, f.l as nat);
        lemma_digits(nr::<C>(), w, (f.l - 1) as nat);
    }
}

/// In a node of level 1 that lies in the range no leaf counts.
pub proof fn lemma_loose_node<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, p: nat)
    requires
        g.ok::<C>(m),
        g.s <= p,
        p + pages(nr::<C>(), 1) <= g.e,
        v <= p,
        in_whole::<C>(g, p, end, p),
        m.dom().contains(place::<C>(p, 1)),
    ensures
        forall|w: nat| p <= w < p + pages(nr::<C>(), 1) ==> !#[trigger] is_loose::<C>(g, m, v, end, w),
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    lemma_whole_node::<C>(g, p, end);
    assert forall|w: nat| p <= w < p + pages(n, 1) implies !#[trigger] is_loose::<C>(g, m, v, end, w) by {
        let q = pre(n, p, 1);
        assert((q + 1) * pages(n, 1) == q * pages(n, 1) + pages(n, 1)) by (nonlinear_arith);
        lemma_interval(n, w, p, 1);
        lemma_digits(n, w, 1);
        assert(place::<C>(w, 1) == place::<C>(p, 1));
        lemma_here::<C>(g, m, w, 1);
    }
}

} // verus!
