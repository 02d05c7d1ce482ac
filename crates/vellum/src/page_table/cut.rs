//! Page numbers at which no huge page is divided: the borders of a range, once the pages that crossed them were split.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
use super::geometry::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::tree::*;
use super::walk::*;
use vstd::prelude::*;

verus! {

/// No leaf has both page `x` and the page before it.
pub open spec fn cut<C: PageTableConfig>(m: Tree, x: nat) -> bool {
    forall|l: nat|
        1 <= l && m.dom().contains(#[trigger] place::<C>(x, l)) && low(nr::<C>(), x, (l - 1) as nat) != 0 ==> !(ent::<C>(
            m,
            place::<C>(x, l),
            idx::<C>(x, l),
        ) is Leaf)
}

/// Pages below the same entry have the same node and entry.
proof fn lemma_same_entry<C: PageTableConfig>(v: nat, x: nat, l: nat)
    requires
        1 <= l,
        pre(nr::<C>(), x, (l - 1) as nat) == pre(nr::<C>(), v, (l - 1) as nat),
    ensures
        place::<C>(x, l) == place::<C>(v, l),
        idx::<C>(x, l) == idx::<C>(v, l),
        0 <= idx::<C>(x, l) < 512,
{
    C::Consts::consts_ok();
    lemma_pre_step(nr::<C>(), x, l);
    lemma_pre_step(nr::<C>(), v, l);
}

/// A page that is not the first below an entry has the page before it there, too.
pub(super) proof fn lemma_before<C: PageTableConfig>(x: nat, k: nat)
    requires
        low(nr::<C>(), x, k) != 0,
    ensures
        x >= 1,
        pre(nr::<C>(), (x - 1) as nat, k) == pre(nr::<C>(), x, k),
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    lemma_digits(n, x, k);
    let (q, p) = (pre(n, x, k), pages(n, k));
    assert(x >= q * p + 1);
    assert(q * p >= 0) by (nonlinear_arith);
    assert((q + 1) * p == q * p + p) by (nonlinear_arith);
    lemma_interval(n, (x - 1) as nat, x, k);
}

/// What is the first page below a larger entry is the first below every smaller one.
pub(super) proof fn lemma_low_zero<C: PageTableConfig>(x: nat, k: nat, j: nat)
    requires
        low(nr::<C>(), x, k) == 0,
        j <= k,
    ensures
        low(nr::<C>(), x, j) == 0,
    decreases k,
{
    if j < k {
        reveal(low);
        let i = (k - 1) as nat;
        assert(pages(nr::<C>(), i) * (pre(nr::<C>(), x, i) % nr::<C>()) >= 0) by (nonlinear_arith);
        lemma_low_zero::<C>(x, i, j);
    }
}

/// The way to page `v` has one end: no other entry on it is a leaf.
proof fn lemma_one_end<C: PageTableConfig>(g: Locks, m: Tree, v: nat, f: Found, l: nat)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        f.ok::<C>(g, m, v),
        !(f.pte is Table),
        1 <= l,
        l != f.l,
        m.dom().contains(place::<C>(v, l)),
    ensures
        !(ent::<C>(m, place::<C>(v, l), idx::<C>(v, l)) is Leaf),
{
    assert(node_ok::<C>(m, g.rng(), place::<C>(v, l)));
    if l > f.l {
        lemma_above::<C>(m, g.rng(), f.l as nat, l, v);
    } else {
        lemma_above::<C>(m, g.rng(), l, f.l as nat, v);
    }
}

/// A range starts where no leaf is divided if the leaf at its first page starts there.
proof fn lemma_cut_start<C: PageTableConfig>(g: Locks, m: Tree, v: nat, f: Found)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        f.ok::<C>(g, m, v),
        !(f.pte is Table),
        f.pte is Leaf ==> low(nr::<C>(), v, (f.l - 1) as nat) == 0,
    ensures
        cut::<C>(m, v),
{
    assert forall|l: nat|
        1 <= l && m.dom().contains(#[trigger] place::<C>(v, l)) && low(nr::<C>(), v, (l - 1) as nat) != 0 implies !(ent::<C>(
        m,
        place::<C>(v, l),
        idx::<C>(v, l),
    ) is Leaf) by {
        if l != f.l {
            lemma_one_end::<C>(g, m, v, f, l);
        }
    }
}

/// A range ends where no leaf is divided if the leaf at its last page `z` ends there.
proof fn lemma_cut_end<C: PageTableConfig>(g: Locks, m: Tree, z: nat, f: Found, ee: nat)
    requires
        g.ok::<C>(m),
        g.s <= z < g.e,
        f.ok::<C>(g, m, z),
        !(f.pte is Table),
        f.pte is Leaf ==> pre(nr::<C>(), z + 1, (f.l - 1) as nat) != pre(nr::<C>(), z, (f.l - 1) as nat),
    ensures
        cut::<C>(m, z + 1),
{
    let x = z + 1;
    assert forall|l: nat|
        1 <= l && m.dom().contains(#[trigger] place::<C>(x, l)) && low(nr::<C>(), x, (l - 1) as nat) != 0 implies !(ent::<C>(
        m,
        place::<C>(x, l),
        idx::<C>(x, l),
    ) is Leaf) by {
        lemma_before::<C>(x, (l - 1) as nat);
        lemma_same_entry::<C>(z, x, l);
        if l != f.l {
            lemma_one_end::<C>(g, m, z, f, l);
        }
    }
}

/// Behind a leaf no leaf is divided.
pub(super) proof fn lemma_cut_behind<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, p: usize, ee: usize, f: Found)
    requires
        g.ok::<C>(m),
        whole::<C>(g, m, p, ee, f),
        same_leaves::<C>(m, m2),
    ensures
        cut::<C>(m2, ee as nat),
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    let z = (ee - 1) as nat;
    let x = ee as nat;
    let j = (f.l - 1) as nat;
    assert(pre(n, z, j) == pre(n, p as nat, j));
    lemma_same_entry::<C>(p as nat, z, f.l as nat);
    let (q, w) = (pre(n, p as nat, j), pages(n, j));
    lemma_digits(n, x, j);
    lemma_pre_div(n, x, j);
    assert(x == (q + 1) * w) by (nonlinear_arith)
        requires
            x == p + w,
            p == q * w,
    ;
    let (a, b) = (pre(n, x, j), low(n, x, j));
    assert(b == 0) by (nonlinear_arith)
        requires
            x == (q + 1) * w,
            x == a * w + b,
            0 <= b < w,
            a >= 0,
            q >= 0,
    ;
    assert forall|l: nat|
        1 <= l && m2.dom().contains(#[trigger] place::<C>(x, l)) && low(n, x, (l - 1) as nat) != 0 implies !(ent::<C>(
        m2,
        place::<C>(x, l),
        idx::<C>(x, l),
    ) is Leaf) by {
        if l <= f.l {
            lemma_low_zero::<C>(x, j, (l - 1) as nat);
        }
        lemma_before::<C>(x, (l - 1) as nat);
        lemma_same_entry::<C>(z, x, l);
        assert(node_ok::<C>(m, g.rng(), place::<C>(z, l)));
        lemma_above::<C>(m, g.rng(), f.l as nat, l, z);
        assert(ent::<C>(m2, place::<C>(x, l), idx::<C>(x, l)) is Leaf == ent::<C>(m, place::<C>(x, l), idx::<C>(x, l)) is Leaf);
    }
}

/// Where leaves go and none comes, the same places divide none.
pub(super) proof fn lemma_cut_fewer<C: PageTableConfig>(m: Tree, m2: Tree, x: nat)
    requires
        cut::<C>(m, x),
        fewer_leaves::<C>(m, m2),
    ensures
        cut::<C>(m2, x),
{
    assert forall|l: nat|
        1 <= l && m2.dom().contains(#[trigger] place::<C>(x, l)) && low(nr::<C>(), x, (l - 1) as nat) != 0 implies !(ent::<C>(
        m2,
        place::<C>(x, l),
        idx::<C>(x, l),
    ) is Leaf) by {
        lemma_same_entry::<C>(x, x, l);
        let e = ent::<C>(m2, place::<C>(x, l), idx::<C>(x, l));
    }
}

/// Behind pages that map nothing from such a place on there is another one.
pub(super) proof fn lemma_cut_later<C: PageTableConfig>(g: Locks, m: Tree, v: nat, p: nat)
    requires
        g.ok::<C>(m),
        cut::<C>(m, v),
        g.s <= v <= p <= g.e,
        g.nothing_in::<C>(m, v, p),
    ensures
        cut::<C>(m, p),
{
    assert forall|l: nat|
        1 <= l && m.dom().contains(#[trigger] place::<C>(p, l)) && low(nr::<C>(), p, (l - 1) as nat) != 0 implies !(ent::<C>(
        m,
        place::<C>(p, l),
        idx::<C>(p, l),
    ) is Leaf) by {
        if v < p {
            let z = (p - 1) as nat;
            lemma_before::<C>(p, (l - 1) as nat);
            lemma_same_entry::<C>(z, p, l);
            assert(node_ok::<C>(m, g.rng(), place::<C>(p, l)));
            lemma_via::<C>(m, g.rng(), l, g.top as nat, z);
            assert(g.at::<C>(m, z) is None);
        }
    }
}

/// The first leaf between two places that divide none lies between them.
pub(super) proof fn lemma_between_cuts<C: PageTableConfig>(g: Locks, m: Tree, v: nat, end: nat, p: nat, f: Found, es: nat, ee: nat)
    requires
        g.ok::<C>(m),
        cut::<C>(m, v),
        cut::<C>(m, end),
        g.s <= v <= p < end <= g.e,
        f.ok::<C>(g, m, p),
        f.pte is Leaf,
        g.nothing_in::<C>(m, v, p),
        es <= p < ee,
        es == pre(nr::<C>(), p, (f.l - 1) as nat) * pages(nr::<C>(), (f.l - 1) as nat),
        forall|w: nat| es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), p, (f.l - 1) as nat),
    ensures
        es == p,
        ee <= end,
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    let j = (f.l - 1) as nat;
    let l = f.l as nat;
    if es < p {
        // The page before is in the leaf, too: if it were in the range, it would be mapped.
        let z = (p - 1) as nat;
        assert(pre(n, z, j) == pre(n, p, j));
        lemma_same_entry::<C>(p, z, l);
        if z >= v {
            lemma_via::<C>(m, g.rng(), l, g.top as nat, z);
            assert(g.at::<C>(m, z) is None);
        } else {
            lemma_digits(n, v, j);
            assert(low(n, v, j) != 0);
            assert(m.dom().contains(place::<C>(v, l)));
        }
    }
    if ee > end {
        assert(pre(n, end, j) == pre(n, p, j));
        lemma_same_entry::<C>(p, end, l);
        lemma_digits(n, end, j);
        assert(low(n, end, j) != 0);
        assert(m.dom().contains(place::<C>(end, l)));
    }
}

/// Splits the huge pages that the borders of `[v, end)` divide. False: no memory. What is mapped stays the same.
#[verifier::exec_allows_no_decreases_clause]
pub fn cut_borders<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, end: usize) -> (r: bool)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < end <= g.e,
    ensures
        g.ok::<C>(*final(m)),
        g.same::<C>(*old(m), *final(m)),
        r ==> cut::<C>(*final(m), v as nat) && cut::<C>(*final(m), end as nat),
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
            g.s <= v < end <= g.e <= 0x2000_0000_0000,
            1 <= C::Consts::levels() <= 5,
    {
        let ghost m1 = *m;
        let first = descend::<C>(g, Tracked(m), v);
        let (es, ee) = entry_range::<C::Consts>(v, first.l);
        let last = descend::<C>(g, Tracked(m), end - 1);
        let (ls, le) = entry_range::<C::Consts>(end - 1, last.l);
        let done = if first.is_leaf() && es < v {
            split::<C>(g, Tracked(m), v, &first, es, ee, end)
        } else if last.is_leaf() && le > end {
            split::<C>(g, Tracked(m), end - 1, &last, ls, le, end)
        } else {
            proof {
                lemma_digits(nr::<C>(), v as nat, (first.l - 1) as nat);
                lemma_cut_start::<C>(*g, *m, v as nat, first);
                lemma_cut_end::<C>(*g, *m, (end - 1) as nat, last, le as nat);
            }
            return true;
        };
        if !done {
            return false;
        }
        proof {
            assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == g.at::<C>(m0, w) by {
                let _ = g.at::<C>(m1, w);
            }
        }
    }
}

} // verus!
