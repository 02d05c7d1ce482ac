//! Whole sub-trees: what locking one puts together and giving it back takes apart.
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::node::*;
use super::ops::*;
use super::protocol::*;
use super::spec::*;
use super::tree::*;
use super::world::World;
use vstd::prelude::*;

verus! {

/// Node `q` is `c` or below it.
pub open spec fn under<C: PageTableConfig>(q: Place, c: Place) -> bool
    decreases c.0 - q.0,
{
    q == c || (q.0 < c.0 && under::<C>(parent::<C>(q), c))
}

/// A node of a part of a sub-tree strictly below `k0`.
pub open spec fn part_ok<C: PageTableConfig>(m: Tree, r: Rng, k0: Place, k: Place, w: World, rd: Nodes::reader) -> bool {
    &&& 1 <= k.0 < k0.0
    &&& inr::<C>(r, k.1, k.0)
    &&& under::<C>(k, k0)
    &&& tok_ok::<C>(m[k], k, w, rd)
    &&& m[k].info.value().lo == 0 && m[k].info.value().hi == nr::<C>()
    &&& m.dom().contains(parent::<C>(k)) || parent::<C>(k) == k0
    &&& forall|i: int| own_entry(m, k, i) ==> #[trigger] entry_ok::<C>(m, r, k, i)
}

/// All of `m` is locked parts of the sub-tree below `k0`.
pub open spec fn below<C: PageTableConfig>(m: Tree, r: Rng, k0: Place, w: World, rd: Nodes::reader) -> bool {
    forall|k: Place| m.dom().contains(k) ==> #[trigger] part_ok::<C>(m, r, k0, k, w, rd)
}

/// The entries of a node that the range touches belong to the table.
pub open spec fn touches_own<C: PageTableConfig>(t: NodeTok, r: Rng, k: Place) -> bool {
    forall|i: int|
        0 <= i < nr::<C>() && #[trigger] inr::<C>(r, child::<C>(k, i).1, child::<C>(k, i).0) ==> t.info.value().lo <= i
            < t.info.value().hi
}

/// A whole sub-tree, with its root at `k0`.
pub open spec fn sub_wf<C: PageTableConfig>(m: Tree, r: Rng, k0: Place, w: World, rd: Nodes::reader) -> bool {
    &&& m.dom().contains(k0)
    &&& 1 <= k0.0
    &&& below::<C>(m.remove(k0), r, k0, w, rd)
    &&& inr::<C>(r, k0.1, k0.0)
    &&& tok_ok::<C>(m[k0], k0, w, rd)
    &&& touches_own::<C>(m[k0], r, k0)
    &&& forall|i: int| own_entry(m, k0, i) ==> #[trigger] entry_ok::<C>(m, r, k0, i)
}

pub(super) proof fn lemma_under<C: PageTableConfig>(k: Place, c: Place, k0: Place)
    requires
        under::<C>(k, c),
        parent::<C>(c) == k0,
    ensures
        under::<C>(k, k0),
    decreases c.0 - k.0,
{
    if k != c {
        lemma_under::<C>(parent::<C>(k), c, k0);
    } else {
        reveal_with_fuel(under, 2);
    }
}

pub(super) proof fn lemma_under_unique<C: PageTableConfig>(k: Place, c: Place, d: Place)
    requires
        under::<C>(k, c),
        under::<C>(k, d),
        c.0 == d.0,
    ensures
        c == d,
    decreases c.0 - k.0,
{
    if k != c && k != d {
        lemma_under_unique::<C>(parent::<C>(k), c, d);
    }
}

pub(super) proof fn lemma_disjoint<C: PageTableConfig>(m: Tree, s: Tree, r: Rng, k0: Place, c: Place, k: Place, w: World, rd: Nodes::reader)
    requires
        below::<C>(m, r, k0, w, rd),
        sub_wf::<C>(s, r, c, w, rd),
        parent::<C>(c) == k0,
        !m.dom().contains(c),
        m.dom().contains(k),
        s.dom().contains(k),
    ensures
        false,
    decreases k0.0 - k.0,
{
    assert(part_ok::<C>(m, r, k0, k, w, rd));
    if k != c {
        assert(part_ok::<C>(s.remove(c), r, c, k, w, rd));
        assert(s.dom().contains(parent::<C>(k)));
        lemma_disjoint::<C>(m, s, r, k0, c, parent::<C>(k), w, rd);
    }
}

/// Entry `i` of the locked node is accounted for in `m`.
pub open spec fn done<C: PageTableConfig>(m: Tree, tok: NodeTok, k0: Place, i: int) -> bool {
    let c = child::<C>(k0, i);
    match meaning::<C>(tok.words()[i], k0.0) {
        Pte::Table(pa) => {
            &&& m.dom().contains(c)
            &&& m[c].pa() == pa
            &&& tok.kids().dom().contains(i)
            &&& tok.kids()[i] == m[c].info.key()
        },
        _ => !m.dom().contains(c),
    }
}

pub(super) proof fn lemma_merge<C: PageTableConfig>(m: Tree, s: Tree, u: Tree, r: Rng, k0: Place, i: int, w: World, rd: Nodes::reader)
    requires
        below::<C>(m, r, k0, w, rd),
        k0.0 >= 2,
        0 <= i < nr::<C>(),
        sub_wf::<C>(s, r, child::<C>(k0, i), w, rd),
        s[child::<C>(k0, i)].info.value().lo == 0,
        s[child::<C>(k0, i)].info.value().hi == nr::<C>(),
        !m.dom().contains(child::<C>(k0, i)),
        u == m.union_prefer_right(s),
    ensures
        below::<C>(u, r, k0, w, rd),
        forall|j: int|
            0 <= j < nr::<C>() && j != i ==> u.dom().contains(#[trigger] child::<C>(k0, j)) == m.dom().contains(child::<C>(k0, j))
                && (m.dom().contains(child::<C>(k0, j)) ==> u[child::<C>(k0, j)] == m[child::<C>(k0, j)]),
        u.dom().contains(child::<C>(k0, i)),
        u[child::<C>(k0, i)] == s[child::<C>(k0, i)],
{
    let c = child::<C>(k0, i);
    lemma_parent::<C>(k0, i);
    C::Consts::consts_ok();
    assert forall|k: Place| m.dom().contains(k) && s.dom().contains(k) implies false by {
        lemma_disjoint::<C>(m, s, r, k0, c, k, w, rd);
    }
    let t = s.remove(c);
    assert forall|k: Place| u.dom().contains(k) implies #[trigger] part_ok::<C>(u, r, k0, k, w, rd) by {
        if m.dom().contains(k) {
            assert(part_ok::<C>(m, r, k0, k, w, rd));
            assert(u[k] == m[k]);
            assert forall|j: int| own_entry(u, k, j) implies #[trigger] entry_ok::<C>(u, r, k, j) by {
                assert(entry_ok::<C>(m, r, k, j));
                let ck = child::<C>(k, j);
                lemma_parent::<C>(k, j);
                if s.dom().contains(ck) && ck != c {
                    assert(part_ok::<C>(t, r, c, ck, w, rd));
                    assert(s.dom().contains(k) || k == c);
                }
                if ck == c {
                    assert(k == k0);
                }
                if m.dom().contains(ck) {
                    assert(u[ck] == m[ck]);
                }
            }
        } else {
            if k != c {
                assert(part_ok::<C>(t, r, c, k, w, rd));
                lemma_under::<C>(k, c, k0);
                assert(t[k] == s[k]);
            } else {
                lemma_under::<C>(c, c, k0);
            }
            assert(u[k] == s[k]);
            assert forall|j: int| own_entry(u, k, j) implies #[trigger] entry_ok::<C>(u, r, k, j) by {
                let ck = child::<C>(k, j);
                lemma_parent::<C>(k, j);
                assert(entry_ok::<C>(s, r, k, j)) by {
                    if k != c {
                        assert(entry_ok::<C>(t, r, k, j));
                        assert(ck != c);
                    }
                }
                if m.dom().contains(ck) {
                    assert(part_ok::<C>(m, r, k0, ck, w, rd));
                    assert(parent::<C>(ck) == k);
                    assert(m.dom().contains(k) || k == k0);
                }
                if s.dom().contains(ck) {
                    assert(u[ck] == s[ck]);
                }
            }
        }
    }
    assert forall|j: int| 0 <= j < nr::<C>() && j != i implies u.dom().contains(#[trigger] child::<C>(k0, j)) == m.dom().contains(
        child::<C>(k0, j),
    ) && (m.dom().contains(child::<C>(k0, j)) ==> u[child::<C>(k0, j)] == m[child::<C>(k0, j)]) by {
        let cj = child::<C>(k0, j);
        if cj == c {
            lemma_child_unique::<C>(k0, j, k0, i);
        }
        if s.dom().contains(cj) {
            assert(part_ok::<C>(t, r, c, cj, w, rd));
        }
    }
}

/// A node below the table's root covers whole entries only.
pub(super) proof fn lemma_touches_own<C: PageTableConfig>(t: NodeTok, r: Rng, k: Place)
    requires
        t.info.value().lo == 0,
        t.info.value().hi == nr::<C>(),
    ensures
        touches_own::<C>(t, r, k),
{
}

/// The range touches the node's first entry at the latest, and its last at the earliest.
pub(super) proof fn lemma_span_of_node<C: PageTableConfig>(r: Rng, b: nat, l: nat)
    requires
        inr::<C>(r, b, l),
        l >= 1,
    ensures
        b * nr::<C>() <= pre(nr::<C>(), (r.e - 1) as nat, (l - 1) as nat),
        pre(nr::<C>(), r.s, (l - 1) as nat) <= b * nr::<C>() + nr::<C>() - 1,
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    lemma_pre_step(n, r.s, l);
    lemma_pre_step(n, (r.e - 1) as nat, l);
    let (x, y) = (pre(n, r.s, (l - 1) as nat), pre(n, (r.e - 1) as nat, (l - 1) as nat));
    assert(b * n <= y) by (nonlinear_arith)
        requires
            b <= y / n,
            n >= 1,
    ;
    assert(x <= b * n + n - 1) by (nonlinear_arith)
        requires
            x / n <= b,
            n >= 1,
    ;
}

/// A whole sub-tree whose root covers the range is what a cursor needs.
pub proof fn lemma_sub_wf<C: PageTableConfig>(m: Tree, r: Rng, w: World, rd: Nodes::reader)
    requires
        sub_wf::<C>(m, r, place::<C>(r.s, r.top), w, rd),
        range_ok::<C>(r),
    ensures
        wf::<C>(m, r),
        toks_ok::<C>(m, w, rd),
{
    C::Consts::consts_ok();
    let k0 = place::<C>(r.s, r.top);
    let t = m.remove(k0);
    assert forall|k: Place| m.dom().contains(k) implies #[trigger] node_ok::<C>(m, r, k) && tok_ok::<C>(m[k], k, w, rd) by {
        if k != k0 {
            assert(part_ok::<C>(t, r, k0, k, w, rd));
            assert(m[k] == t[k]);
            assert forall|i: int| own_entry(m, k, i) implies #[trigger] entry_ok::<C>(m, r, k, i) by {
                assert(entry_ok::<C>(t, r, k, i));
                assert(child::<C>(k, i) != k0);
            }
        }
    }
    assert forall|k: Place| m.dom().contains(k) implies #[trigger] tok_ok::<C>(m[k], k, w, rd) by {
        assert(node_ok::<C>(m, r, k));
    }
    lemma_step::<C>(r, r.s, r.top);
    lemma_step::<C>(r, (r.e - 1) as nat, r.top);
    assert(inr::<C>(r, child::<C>(k0, idx::<C>(r.s, r.top)).1, child::<C>(k0, idx::<C>(r.s, r.top)).0));
    let z = (r.e - 1) as nat;
    assert(place::<C>(z, r.top) == k0);
    assert(inr::<C>(r, child::<C>(k0, idx::<C>(z, r.top)).1, child::<C>(k0, idx::<C>(z, r.top)).0));
}

/// The part of a sub-tree below an entry is a sub-tree.
pub(super) proof fn lemma_part<C: PageTableConfig>(m: Tree, s: Tree, r: Rng, k0: Place, i: int, w: World, rd: Nodes::reader)
    requires
        sub_wf::<C>(m, r, k0, w, rd),
        0 <= i < nr::<C>(),
        m.dom().contains(child::<C>(k0, i)),
        k0.0 >= 2,
        s == m.restrict(m.dom().filter(|k: Place| under::<C>(k, child::<C>(k0, i)))),
    ensures
        sub_wf::<C>(s, r, child::<C>(k0, i), w, rd),
{
    let c = child::<C>(k0, i);
    let t = m.remove(k0);
    let t2 = s.remove(c);
    lemma_parent::<C>(k0, i);
    C::Consts::consts_ok();
    assert(part_ok::<C>(t, r, k0, c, w, rd));
    assert forall|k: Place| s.dom().contains(k) implies k != k0 && #[trigger] part_ok::<C>(t, r, k0, k, w, rd) && s[k] == m[k] && forall|j: int|
        own_entry(s, k, j) ==> #[trigger] entry_ok::<C>(s, r, k, j) by {
        assert(under::<C>(k, c));
        assert(k != k0);
        assert(part_ok::<C>(t, r, k0, k, w, rd));
        assert forall|j: int| own_entry(s, k, j) implies #[trigger] entry_ok::<C>(s, r, k, j) by {
            assert(entry_ok::<C>(t, r, k, j));
            let ck = child::<C>(k, j);
            lemma_parent::<C>(k, j);
            assert(ck != k0);
            assert(under::<C>(ck, c));
        }
    }
    assert forall|k: Place| t2.dom().contains(k) implies #[trigger] part_ok::<C>(t2, r, c, k, w, rd) by {
        assert(s.dom().contains(k) && part_ok::<C>(t, r, k0, k, w, rd));
        assert(under::<C>(k, c) && k != c && under::<C>(parent::<C>(k), c));
        assert(s[k] == m[k]);
        assert forall|j: int| own_entry(t2, k, j) implies #[trigger] entry_ok::<C>(t2, r, k, j) by {
            assert(entry_ok::<C>(s, r, k, j));
            lemma_parent::<C>(k, j);
            assert(child::<C>(k, j) != c);
        }
    }
    assert(under::<C>(c, c));
    lemma_touches_own::<C>(s[c], r, c);
}

/// A locked tree is a whole sub-tree.
pub(super) proof fn lemma_whole<C: PageTableConfig>(g: Locks, m: Tree)
    requires
        g.ok::<C>(m),
    ensures
        sub_wf::<C>(m, g.rng(), place::<C>(g.s as nat, g.top as nat), g.w@, g.reader@),
{
    C::Consts::consts_ok();
    let r = g.rng();
    let k0 = place::<C>(r.s, r.top);
    let t = m.remove(k0);
    assert(node_ok::<C>(m, r, k0) && tok_ok::<C>(m[k0], k0, g.w@, g.reader@));
    assert forall|k: Place| t.dom().contains(k) implies #[trigger] part_ok::<C>(t, r, k0, k, g.w@, g.reader@) by {
        assert(node_ok::<C>(m, r, k) && tok_ok::<C>(m[k], k, g.w@, g.reader@));
        lemma_all_under::<C>(m, r, k);
        if k.0 == r.top {
            assert(k == k0);
        }
        assert forall|i: int| own_entry(t, k, i) implies #[trigger] entry_ok::<C>(t, r, k, i) by {
            assert(entry_ok::<C>(m, r, k, i));
            if child::<C>(k, i) == k0 {
                assert(k0.0 < k.0);
            }
        }
    }
    let n = nr::<C>();
    let top = r.top;
    lemma_pre_step(n, r.s, top);
    lemma_pre_step(n, (r.e - 1) as nat, top);
    let (x, y) = (pre(n, r.s, (top - 1) as nat), pre(n, (r.e - 1) as nat, (top - 1) as nat));
    vstd::arithmetic::div_mod::lemma_fundamental_div_mod(x as int, n as int);
    vstd::arithmetic::div_mod::lemma_fundamental_div_mod(y as int, n as int);
    assert forall|i: int| 0 <= i < n && #[trigger] inr::<C>(r, child::<C>(k0, i).1, child::<C>(k0, i).0) implies m[k0].info.value().lo <= i
        < m[k0].info.value().hi by {
        assert((k0.1 * n + i) as nat == k0.1 * n + i) by (nonlinear_arith)
            requires
                i >= 0,
                n >= 1,
        ;
        assert(n * (x / n) == k0.1 * n) by (nonlinear_arith)
            requires
                k0.1 == x / n,
        ;
        assert(n * (y / n) == k0.1 * n) by (nonlinear_arith)
            requires
                k0.1 == y / n,
        ;
    }
    assert(touches_own::<C>(m[k0], r, k0));
}

pub(super) proof fn lemma_all_under<C: PageTableConfig>(m: Tree, r: Rng, k: Place)
    requires
        wf::<C>(m, r),
        m.dom().contains(k),
    ensures
        under::<C>(k, place::<C>(r.s, r.top)),
        k.0 <= r.top,
        k.0 == r.top ==> k == place::<C>(r.s, r.top),
    decreases r.top - k.0,
{
    assert(node_ok::<C>(m, r, k));
    if k.0 < r.top {
        lemma_all_under::<C>(m, r, parent::<C>(k));
    }
}

} // verus!
