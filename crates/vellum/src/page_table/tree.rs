//! A locked sub-tree, as a map from places to the tokens of its nodes.
//!
//! What a tree must satisfy is local to each entry, so three lemmas carry every operation: *set* (an entry that
//! is no link becomes another that is no link), *link* (an entry becomes a link to a new node that translates
//! the same) and *prune* (a link to a node that links nothing goes).
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::node::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

/// The place of a node: its level, and the leading digits of the pages below it.
pub type Place = (nat, nat);

/// The tokens of a locked sub-tree.
pub type Tree = Map<Place, NodeTok>;

/// The pages `[s, e)` and the level of the lowest node that covers them.
pub ghost struct Rng {
    pub top: nat,
    pub s: nat,
    pub e: nat,
}

/// The node of level `l` that covers page `v`.
pub open spec fn place<C: PageTableConfig>(v: nat, l: nat) -> Place {
    (l, pre(nr::<C>(), v, l))
}

/// The entry for page `v` in its node of level `l`.
pub open spec fn idx<C: PageTableConfig>(v: nat, l: nat) -> int {
    index(nr::<C>(), v, l)
}

/// The node below entry `i`.
pub open spec fn child<C: PageTableConfig>(k: Place, i: int) -> Place {
    ((k.0 - 1) as nat, (k.1 * nr::<C>() + i) as nat)
}

/// The node above.
pub open spec fn parent<C: PageTableConfig>(k: Place) -> Place {
    ((k.0 + 1) as nat, k.1 / nr::<C>())
}

/// Node `q` of level `l` covers some page of the range.
pub open spec fn inr<C: PageTableConfig>(r: Rng, q: nat, l: nat) -> bool {
    pre(nr::<C>(), r.s, l) <= q <= pre(nr::<C>(), (r.e - 1) as nat, l)
}

/// What entry `i` of node `k` means.
pub open spec fn ent<C: PageTableConfig>(m: Tree, k: Place, i: int) -> Pte {
    meaning::<C>(m[k].words()[i], k.0)
}

/// Entry `i` belongs to the table.
pub open spec fn own_entry(m: Tree, k: Place, i: int) -> bool {
    m[k].info.value().lo <= i < m[k].info.value().hi
}

/// Entry `i` of node `k` owns what it says, and what it links is locked where the range covers it.
pub open spec fn entry_ok<C: PageTableConfig>(m: Tree, r: Rng, k: Place, i: int) -> bool {
    match ent::<C>(m, k, i) {
        Pte::Absent => !m.dom().contains(child::<C>(k, i)) && !m[k].lk.leaves.dom().contains(i),
        Pte::Leaf(pa, _) => {
            &&& !m.dom().contains(child::<C>(k, i))
            &&& m[k].lk.leaves.dom().contains(i)
            &&& leaf_fits::<C::Consts>(pa, k.0)
            &&& C::leaf_ok(m[k].lk.leaves[i], pa, k.0)
        },
        Pte::Table(c) => {
            &&& !m[k].lk.leaves.dom().contains(i)
            &&& C::Entry::open_link(m[k].words()[i])
            &&& inr::<C>(r, child::<C>(k, i).1, child::<C>(k, i).0) ==> {
                &&& m.dom().contains(child::<C>(k, i))
                &&& m[child::<C>(k, i)].pa() == c
                &&& m[k].kids().dom().contains(i)
                &&& m[k].kids()[i] == m[child::<C>(k, i)].info.key()
            }
        },
    }
}

/// Node `k` has its place in the range, and so have its entries.
pub open spec fn node_ok<C: PageTableConfig>(m: Tree, r: Rng, k: Place) -> bool {
    &&& 1 <= k.0 <= r.top
    &&& inr::<C>(r, k.1, k.0)
    &&& k.0 < r.top ==> m.dom().contains(parent::<C>(k)) && m[k].info.value().lo == 0 && m[k].info.value().hi == nr::<C>()
    &&& 0 <= m[k].info.value().lo && m[k].info.value().hi <= nr::<C>() <= 512
    &&& m[k].words().len() == 512
    &&& forall|i: int| own_entry(m, k, i) ==> #[trigger] entry_ok::<C>(m, r, k, i)
}

/// The entries of the range's top node that cover the range belong to the table.
pub open spec fn top_ok<C: PageTableConfig>(m: Tree, r: Rng) -> bool {
    let k = place::<C>(r.s, r.top);
    &&& m[k].info.value().lo <= idx::<C>(r.s, r.top)
    &&& idx::<C>((r.e - 1) as nat, r.top) < m[k].info.value().hi
}

/// The range has pages, and one node of its top level covers them.
pub open spec fn range_ok<C: PageTableConfig>(r: Rng) -> bool {
    &&& r.s < r.e
    &&& 1 <= r.top
    &&& pre(nr::<C>(), r.s, r.top) == pre(nr::<C>(), (r.e - 1) as nat, r.top)
}

/// The locked nodes of a range: its top node, and below it all that the range touches.
pub open spec fn wf<C: PageTableConfig>(m: Tree, r: Rng) -> bool {
    &&& range_ok::<C>(r)
    &&& m.dom().contains(place::<C>(r.s, r.top))
    &&& top_ok::<C>(m, r)
    &&& forall|k: Place| m.dom().contains(k) ==> #[trigger] node_ok::<C>(m, r, k)
}

/// The token of a locked node at its place.
pub open spec fn tok_ok<C: PageTableConfig>(t: NodeTok, k: Place, w: World, r: Nodes::reader) -> bool {
    t.ok::<C>(w, r) && t.level() == k.0 && t.info.value().base == k.1
}

/// Every node has its token.
pub open spec fn toks_ok<C: PageTableConfig>(m: Tree, w: World, r: Nodes::reader) -> bool {
    forall|k: Place| m.dom().contains(k) ==> #[trigger] tok_ok::<C>(m[k], k, w, r)
}

/// The leaf at which the way down to page `v` from its node of level `l` ends: physical address, property, level.
pub open spec fn leaf_of<C: PageTableConfig>(m: Tree, l: nat, v: nat) -> Option<(usize, PageProperty, nat)>
    decreases l,
{
    if l == 0 {
        None
    } else {
        match ent::<C>(m, place::<C>(v, l), idx::<C>(v, l)) {
            Pte::Absent => None,
            Pte::Leaf(pa, p) => Some((pa, p, l)),
            Pte::Table(_) => leaf_of::<C>(m, (l - 1) as nat, v),
        }
    }
}

/// What page `v` translates to below its node of level `l`: physical address and property.
pub open spec fn trans<C: PageTableConfig>(m: Tree, l: nat, v: nat) -> Option<(nat, PageProperty)> {
    match leaf_of::<C>(m, l, v) {
        None => None,
        Some((pa, p, k)) => Some(((pa + PAGE_SIZE * low(nr::<C>(), v, (k - 1) as nat)) as nat, p)),
    }
}

/// The level of the leaf that maps page `v`.
pub open spec fn level_of<C: PageTableConfig>(m: Tree, l: nat, v: nat) -> Option<nat> {
    match leaf_of::<C>(m, l, v) {
        None => None,
        Some((_, _, k)) => Some(k),
    }
}

/// What the tree maps: page number to physical address and property.
pub open spec fn view<C: PageTableConfig>(m: Tree, r: Rng) -> IMap<nat, (nat, PageProperty)> {
    IMap::new(|v: nat| r.s <= v < r.e && trans::<C>(m, r.top, v) is Some, |v: nat| trans::<C>(m, r.top, v)->0)
}

/// A page that `m2` maps in `m` is mapped by a leaf of at least that level, if at all.
pub open spec fn sized_as<C: PageTableConfig>(m: Tree, m2: Tree, l: nat, v: nat) -> bool {
    level_of::<C>(m2, l, v) matches Some(k2) ==> level_of::<C>(m, l, v) matches Some(k) && k2 <= k
}

/// What is mapped in `m2` is mapped in `m`, by a leaf of the same size or one that was split.
pub open spec fn finer<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng) -> bool {
    forall|v: nat| r.s <= v < r.e ==> #[trigger] sized_as::<C>(m, m2, r.top, v)
}

//================ steps of the walk ================

/// One step of the walk for a page of the range.
pub proof fn lemma_step<C: PageTableConfig>(r: Rng, v: nat, l: nat)
    requires
        1 <= l,
        r.s <= v < r.e,
    ensures
        child::<C>(place::<C>(v, l), idx::<C>(v, l)) == place::<C>(v, (l - 1) as nat),
        0 <= idx::<C>(v, l) < nr::<C>(),
        inr::<C>(r, pre(nr::<C>(), v, l), l),
        inr::<C>(r, pre(nr::<C>(), v, (l - 1) as nat), (l - 1) as nat),
        pre(nr::<C>(), v, l) == pre(nr::<C>(), v, (l - 1) as nat) / nr::<C>(),
        parent::<C>(place::<C>(v, (l - 1) as nat)) == place::<C>(v, l),
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    lemma_pre_step(n, v, l);
    lemma_pre_mono(n, r.s, v, l);
    lemma_pre_mono(n, v, (r.e - 1) as nat, l);
    lemma_pre_mono(n, r.s, v, (l - 1) as nat);
    lemma_pre_mono(n, v, (r.e - 1) as nat, (l - 1) as nat);
    let a = pre(n, v, (l - 1) as nat);
    assert((a / n) * n + a % n == a && a % n < n) by (nonlinear_arith)
        requires
            n >= 1,
    ;
}

/// The parent of a child.
pub proof fn lemma_parent<C: PageTableConfig>(k: Place, i: int)
    requires
        k.0 >= 1,
        0 <= i < nr::<C>(),
    ensures
        parent::<C>(child::<C>(k, i)) == k,
        (k.1 * nr::<C>() + i) % (nr::<C>() as int) == i,
{
    C::Consts::consts_ok();
    let (q, n) = (k.1 as int, nr::<C>() as int);
    vstd::arithmetic::div_mod::lemma_fundamental_div_mod_converse(q * n + i, n, q, i);
    assert(k.1 * nr::<C>() + i == q * n + i);
    assert(q * n + i >= 0) by (nonlinear_arith)
        requires
            q >= 0,
            n >= 1,
            i >= 0,
    ;
}

/// Different entries have different children.
pub proof fn lemma_child_unique<C: PageTableConfig>(k: Place, i: int, k2: Place, i2: int)
    requires
        k.0 >= 1,
        k2.0 >= 1,
        0 <= i < nr::<C>(),
        0 <= i2 < nr::<C>(),
        child::<C>(k, i) == child::<C>(k2, i2),
    ensures
        k == k2,
        i == i2,
{
    lemma_parent::<C>(k, i);
    lemma_parent::<C>(k2, i2);
}

/// The entry that covers a page of the range belongs to the table.
pub proof fn lemma_own<C: PageTableConfig>(m: Tree, r: Rng, v: nat, l: nat)
    requires
        wf::<C>(m, r),
        1 <= l <= r.top,
        r.s <= v < r.e,
        m.dom().contains(place::<C>(v, l)),
    ensures
        own_entry(m, place::<C>(v, l), idx::<C>(v, l)),
        entry_ok::<C>(m, r, place::<C>(v, l), idx::<C>(v, l)),
        node_ok::<C>(m, r, place::<C>(v, l)),
        ent::<C>(m, place::<C>(v, l), idx::<C>(v, l)) is Table ==> l >= 2,
{
    C::Consts::consts_ok();
    lemma_step::<C>(r, v, l);
    let k = place::<C>(v, l);
    C::Entry::levels(m[k].words()[idx::<C>(v, l)], l);
    assert(node_ok::<C>(m, r, k));
    if l == r.top {
        let n = nr::<C>();
        let j = (l - 1) as nat;
        lemma_step::<C>(r, r.s, l);
        lemma_step::<C>(r, (r.e - 1) as nat, l);
        lemma_pre_mono(n, r.s, v, j);
        lemma_pre_mono(n, v, (r.e - 1) as nat, j);
        lemma_pre_mono(n, r.s, v, l);
        lemma_pre_mono(n, v, (r.e - 1) as nat, l);
        let (a, b, c) = (pre(n, r.s, j), pre(n, v, j), pre(n, (r.e - 1) as nat, j));
        vstd::arithmetic::div_mod::lemma_fundamental_div_mod(a as int, n as int);
        vstd::arithmetic::div_mod::lemma_fundamental_div_mod(b as int, n as int);
        vstd::arithmetic::div_mod::lemma_fundamental_div_mod(c as int, n as int);
    }
    assert(own_entry(m, k, idx::<C>(v, l)));
}

/// Every ancestor of a node of the tree that covers `v` is in the tree and links towards it.
pub proof fn lemma_above<C: PageTableConfig>(m: Tree, r: Rng, l0: nat, l: nat, v: nat)
    requires
        wf::<C>(m, r),
        l0 <= l <= r.top,
        m.dom().contains(place::<C>(v, l0)),
        r.s <= v < r.e,
    ensures
        m.dom().contains(place::<C>(v, l)),
        l0 < l ==> ent::<C>(m, place::<C>(v, l), idx::<C>(v, l)) is Table,
        1 <= l0,
    decreases l,
{
    assert(node_ok::<C>(m, r, place::<C>(v, l0)));
    if l0 < l {
        lemma_above::<C>(m, r, l0, (l - 1) as nat, v);
        lemma_step::<C>(r, v, l);
        assert(node_ok::<C>(m, r, place::<C>(v, (l - 1) as nat)));
        lemma_own::<C>(m, r, v, l);
    }
}

/// A page whose node of level `l0` is in the tree translates through it.
pub proof fn lemma_via<C: PageTableConfig>(m: Tree, r: Rng, l0: nat, l: nat, v: nat)
    requires
        wf::<C>(m, r),
        1 <= l0 <= l <= r.top,
        m.dom().contains(place::<C>(v, l0)),
        r.s <= v < r.e,
    ensures
        leaf_of::<C>(m, l, v) == leaf_of::<C>(m, l0, v),
    decreases l,
{
    if l0 < l {
        lemma_above::<C>(m, r, l0, l, v);
        lemma_via::<C>(m, r, l0, (l - 1) as nat, v);
    }
}

/// The pages below one entry are those that go through it.
pub open spec fn through<C: PageTableConfig>(v: nat, k: Place, i: int) -> bool {
    place::<C>(v, (k.0 - 1) as nat) == child::<C>(k, i)
}

//================ set ================

/// `m2` is `m` with another word, no link, at an entry that was no link.
pub open spec fn is_set<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int) -> bool {
    &&& m.dom().contains(k) && own_entry(m, k, i)
    &&& m2.dom() == m.dom()
    &&& forall|k2: Place| m.dom().contains(k2) && k2 != k ==> #[trigger] m2[k2] == m[k2]
    &&& m2[k].words() == m[k].words().update(i, m2[k].words()[i])
    &&& m2[k].info == m[k].info
    &&& m2[k].kids() == m[k].kids()
    &&& forall|j: int| j != i ==> #[trigger] m2[k].lk.leaves.dom().contains(j) == m[k].lk.leaves.dom().contains(j)
        && m2[k].lk.leaves[j] == m[k].lk.leaves[j]
    &&& !(ent::<C>(m, k, i) is Table)
    &&& !(ent::<C>(m2, k, i) is Table)
}

proof fn lemma_set_trans<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int, l: nat, v: nat)
    requires
        wf::<C>(m, r),
        is_set::<C>(m, m2, r, k, i),
        1 <= l <= r.top,
        r.s <= v < r.e,
        m.dom().contains(place::<C>(v, l)),
    ensures
        leaf_of::<C>(m2, l, v) == (if l >= k.0 && through::<C>(v, k, i) { leaf_of::<C>(m2, k.0, v) } else { leaf_of::<C>(m, l, v) }),
    decreases l,
{
    let kl = place::<C>(v, l);
    let il = idx::<C>(v, l);
    lemma_step::<C>(r, v, l);
    lemma_own::<C>(m, r, v, l);
    assert(node_ok::<C>(m, r, k));
    if l == k.0 {
        if child::<C>(kl, il) == child::<C>(k, i) {
            lemma_child_unique::<C>(kl, il, k, i);
        }
    } else {
        if l > k.0 && through::<C>(v, k, i) {
            lemma_parent::<C>(k, i);
            lemma_step::<C>(r, v, k.0);
            lemma_above::<C>(m, r, k.0, l, v);
        }
        assert(kl != k);
    }
    if ent::<C>(m, kl, il) is Table {
        lemma_set_trans::<C>(m, m2, r, k, i, (l - 1) as nat, v);
    }
}

/// *Set*: the tree is well-formed, and only the pages below the entry translate differently.
pub proof fn lemma_set<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int)
    requires
        wf::<C>(m, r),
        is_set::<C>(m, m2, r, k, i),
        entry_ok::<C>(m2, r, k, i),
    ensures
        wf::<C>(m2, r),
        forall|v: nat|
            r.s <= v < r.e ==> #[trigger] trans::<C>(m2, r.top, v) == (if through::<C>(v, k, i) {
                trans::<C>(m2, k.0, v)
            } else {
                trans::<C>(m, r.top, v)
            }),
        forall|v: nat|
            r.s <= v < r.e ==> #[trigger] level_of::<C>(m2, r.top, v) == (if through::<C>(v, k, i) {
                level_of::<C>(m2, k.0, v)
            } else {
                level_of::<C>(m, r.top, v)
            }),
{
    assert(node_ok::<C>(m, r, k));
    assert forall|v: nat| r.s <= v < r.e implies #[trigger] leaf_of::<C>(m2, r.top, v) == (if through::<C>(v, k, i) {
        leaf_of::<C>(m2, k.0, v)
    } else {
        leaf_of::<C>(m, r.top, v)
    }) by {
        lemma_top_place::<C>(r, v);
        lemma_set_trans::<C>(m, m2, r, k, i, r.top, v);
    }
    assert forall|k2: Place| m2.dom().contains(k2) implies #[trigger] node_ok::<C>(m2, r, k2) by {
        assert(node_ok::<C>(m, r, k2));
        assert(m2[k2].info == m[k2].info);
        assert forall|i2: int| own_entry(m2, k2, i2) implies #[trigger] entry_ok::<C>(m2, r, k2, i2) by {
            assert(entry_ok::<C>(m, r, k2, i2));
            if m.dom().contains(child::<C>(k2, i2)) {
                assert(m2[child::<C>(k2, i2)].info == m[child::<C>(k2, i2)].info);
            }
            if k2 == k && i2 != i {
                assert(m2[k].words()[i2] == m[k].words()[i2]);
                assert(m2[k].lk.leaves.dom().contains(i2) == m[k].lk.leaves.dom().contains(i2));
            }
            if k2 != k {
                assert(m2[k2] == m[k2]);
            }
        }
    }
    assert(m2[place::<C>(r.s, r.top)].info == m[place::<C>(r.s, r.top)].info);
}

/// The top node covers every page of the range.
pub proof fn lemma_top_place<C: PageTableConfig>(r: Rng, v: nat)
    requires
        range_ok::<C>(r),
        r.s <= v < r.e,
    ensures
        place::<C>(v, r.top) == place::<C>(r.s, r.top),
{
    lemma_step::<C>(r, v, r.top);
}

//================ link ================

/// Entry `j` of a new node continues what the entry was that now links the node.
pub open spec fn same_part<C: PageTableConfig>(e: Pte, l: nat, j: int, c: Pte) -> bool {
    match e {
        Pte::Absent => c is Absent,
        Pte::Leaf(pa, p) => c == Pte::Leaf((pa + j * span(nr::<C>(), (l - 1) as nat)) as usize, p),
        Pte::Table(_) => false,
    }
}

/// `m2` is `m` with a new node below an entry that was no link.
pub open spec fn is_link<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int) -> bool {
    let c = child::<C>(k, i);
    &&& m.dom().contains(k) && own_entry(m, k, i) && k.0 >= 2
    &&& m2.dom() == m.dom().insert(c)
    &&& forall|k2: Place| m.dom().contains(k2) && k2 != k && k2 != c ==> #[trigger] m2[k2] == m[k2]
    &&& m2[k].words() == m[k].words().update(i, m2[k].words()[i])
    &&& m2[k].info == m[k].info
    &&& m2[k].kids() == m[k].kids().insert(i, m2[c].info.key())
    &&& m2[k].lk.leaves == m[k].lk.leaves.remove(i)
    &&& ent::<C>(m2, k, i) == Pte::Table(m2[c].pa())
    &&& C::Entry::open_link(m2[k].words()[i])
    &&& inr::<C>(r, c.1, c.0)
    &&& m2[c].words().len() == 512
    &&& m2[c].info.value().lo == 0 && m2[c].info.value().hi == nr::<C>()
    &&& forall|j: int| 0 <= j < nr::<C>() ==> same_part::<C>(ent::<C>(m, k, i), k.0, j, #[trigger] ent::<C>(m2, c, j))
    &&& forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] m2[c].lk.leaves.dom().contains(j) == (ent::<C>(m, k, i) is Leaf)
    &&& forall|j: int| 0 <= j < nr::<C>() && ent::<C>(m, k, i) is Leaf ==> C::leaf_ok(
        #[trigger] m2[c].lk.leaves[j],
        (ent::<C>(m, k, i)->Leaf_0 + j * span(nr::<C>(), (k.0 - 1) as nat)) as usize,
        (k.0 - 1) as nat,
    )
}

/// A part of a leaf that fits fits.
pub proof fn lemma_part_fits<C: PageTableConfig>(pa: usize, l: nat, j: int)
    requires
        leaf_fits::<C::Consts>(pa, l),
        l >= 2,
        0 <= j < nr::<C>(),
    ensures
        leaf_fits::<C::Consts>((pa + j * span(nr::<C>(), (l - 1) as nat)) as usize, (l - 1) as nat),
        pa + j * span(nr::<C>(), (l - 1) as nat) <= usize::MAX,
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    let p = pages(n, (l - 2) as nat);
    lemma_pages_pos(n, (l - 2) as nat);
    let s = span(n, (l - 1) as nat);
    assert(s == PAGE_SIZE * p);
    assert(pages(n, (l - 1) as nat) == n * p);
    assert(span(n, l) == n * s) by (nonlinear_arith)
        requires
            span(n, l) == PAGE_SIZE * (n * p),
            s == PAGE_SIZE * p,
    ;
    assert(s >= 1) by (nonlinear_arith)
        requires
            s == PAGE_SIZE * p,
            p >= 1,
    ;
    assert(n * s >= 1) by (nonlinear_arith)
        requires
            n >= 1,
            s >= 1,
    ;
    let x = pa as nat;
    let q = x / (n * s);
    assert(x == q * (n * s)) by (nonlinear_arith)
        requires
            x % (n * s) == 0,
            q == x / (n * s),
            n * s >= 1,
    ;
    assert(q * (n * s) == (q * n) * s) by (nonlinear_arith);
    assert(x + j * s == (q * n + j) * s) by (nonlinear_arith)
        requires
            x == (q * n) * s,
    ;
    assert(((q * n + j) * s) % (s as int) == 0) by {
        vstd::arithmetic::div_mod::lemma_mod_multiples_basic(q * n + j, s as int);
    }
    assert(j * s + s <= n * s) by (nonlinear_arith)
        requires
            j + 1 <= n,
            s >= 1,
    ;
    assert(j * s >= 0) by (nonlinear_arith)
        requires
            j >= 0,
            s >= 1,
    ;
}

proof fn lemma_link_trans<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int, l: nat, v: nat)
    requires
        wf::<C>(m, r),
        is_link::<C>(m, m2, r, k, i),
        1 <= l <= r.top,
        r.s <= v < r.e,
        m.dom().contains(place::<C>(v, l)),
    ensures
        trans::<C>(m2, l, v) == trans::<C>(m, l, v),
        level_of::<C>(m2, l, v) == (if l >= k.0 && through::<C>(v, k, i) && level_of::<C>(m, l, v) is Some {
            Some((k.0 - 1) as nat)
        } else {
            level_of::<C>(m, l, v)
        }),
    decreases l,
{
    let kl = place::<C>(v, l);
    let il = idx::<C>(v, l);
    let c = child::<C>(k, i);
    lemma_step::<C>(r, v, l);
    lemma_own::<C>(m, r, v, l);
    assert(node_ok::<C>(m, r, k));
    assert(entry_ok::<C>(m, r, k, i));
    assert(same_part::<C>(ent::<C>(m, k, i), k.0, 0, ent::<C>(m2, c, 0))) by {
        C::Consts::consts_ok();
    }
    assert(!m.dom().contains(c));
    if l >= k.0 && through::<C>(v, k, i) {
        lemma_parent::<C>(k, i);
        lemma_step::<C>(r, v, k.0);
        lemma_above::<C>(m, r, k.0, l, v);
    }
    if kl == k && il == i {
        let n = nr::<C>();
        lemma_step::<C>(r, v, (l - 1) as nat);
        let j = idx::<C>(v, (l - 1) as nat);
        assert(same_part::<C>(ent::<C>(m, k, i), k.0, j, ent::<C>(m2, c, j)));
        reveal_with_fuel(leaf_of, 3);
        reveal(low);
        if let Pte::Leaf(pa, p) = ent::<C>(m, k, i) {
            lemma_part_fits::<C>(pa, l, j);
            let (a, b, q) = (low(n, v, (l - 1) as nat), low(n, v, (l - 2) as nat), pages(n, (l - 2) as nat));
            assert(a == b + q * j);
            assert(PAGE_SIZE * a == PAGE_SIZE * b + j * (PAGE_SIZE * q)) by (nonlinear_arith)
                requires
                    a == b + q * j,
            ;
        }
    } else {
        if kl == k {
            if through::<C>(v, k, i) {
                lemma_child_unique::<C>(kl, il, k, i);
            }
            assert(m2[k].words()[il] == m[k].words()[il]);
        } else {
            assert(kl != c);
            assert(m2[kl] == m[kl]);
        }
        if ent::<C>(m, kl, il) is Table {
            lemma_link_trans::<C>(m, m2, r, k, i, (l - 1) as nat, v);
        }
    }
}

/// The leaf that maps the pages below an entry is at the entry's level or above.
proof fn lemma_split_level<C: PageTableConfig>(m: Tree, r: Rng, k: Place, i: int, v: nat)
    requires
        wf::<C>(m, r),
        m.dom().contains(k),
        own_entry(m, k, i),
        !(ent::<C>(m, k, i) is Table),
        r.s <= v < r.e,
        through::<C>(v, k, i),
    ensures
        level_of::<C>(m, r.top, v) matches Some(l) ==> l == k.0,
{
    assert(node_ok::<C>(m, r, k));
    C::Consts::consts_ok();
    lemma_parent::<C>(k, i);
    lemma_step::<C>(r, v, k.0);
    if idx::<C>(v, k.0) != i {
        lemma_child_unique::<C>(k, i, k, idx::<C>(v, k.0));
    }
    lemma_via::<C>(m, r, k.0, r.top, v);
}

/// *Link*: the tree is well-formed, and everything translates as before.
pub proof fn lemma_link<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int)
    requires
        wf::<C>(m, r),
        is_link::<C>(m, m2, r, k, i),
    ensures
        wf::<C>(m2, r),
        view::<C>(m2, r) == view::<C>(m, r),
        forall|v: nat| r.s <= v < r.e ==> #[trigger] trans::<C>(m2, r.top, v) == trans::<C>(m, r.top, v),
        finer::<C>(m, m2, r),
{
    let c = child::<C>(k, i);
    C::Consts::consts_ok();
    assert(node_ok::<C>(m, r, k));
    assert(entry_ok::<C>(m, r, k, i));
    assert(same_part::<C>(ent::<C>(m, k, i), k.0, 0, ent::<C>(m2, c, 0)));
    assert(!m.dom().contains(c));
    lemma_parent::<C>(k, i);
    assert forall|v: nat| r.s <= v < r.e implies #[trigger] trans::<C>(m2, r.top, v) == trans::<C>(m, r.top, v) by {
        lemma_top_place::<C>(r, v);
        lemma_link_trans::<C>(m, m2, r, k, i, r.top, v);
    }
    assert forall|v: nat| r.s <= v < r.e implies #[trigger] sized_as::<C>(m, m2, r.top, v) by {
        lemma_top_place::<C>(r, v);
        lemma_link_trans::<C>(m, m2, r, k, i, r.top, v);
        if through::<C>(v, k, i) {
            lemma_split_level::<C>(m, r, k, i, v);
        }
    }
    assert(view::<C>(m2, r) =~= view::<C>(m, r));
    assert forall|k2: Place| m2.dom().contains(k2) implies #[trigger] node_ok::<C>(m2, r, k2) by {
        if k2 != c {
            assert(node_ok::<C>(m, r, k2));
            assert(m2[k2].info == m[k2].info);
        }
        assert forall|i2: int| own_entry(m2, k2, i2) implies #[trigger] entry_ok::<C>(m2, r, k2, i2) by {
            let c2 = child::<C>(k2, i2);
            if k2 == c {
                lemma_parent::<C>(c, i2);
                if m.dom().contains(c2) {
                    assert(node_ok::<C>(m, r, c2));
                }
                assert(c2 != c);
                assert(same_part::<C>(ent::<C>(m, k, i), k.0, i2, ent::<C>(m2, c, i2)));
                if let Pte::Leaf(pa, p) = ent::<C>(m, k, i) {
                    lemma_part_fits::<C>(pa, k.0, i2);
                    let _ = m2[c].lk.leaves[i2];
                }
                assert(m2[c].lk.leaves.dom().contains(i2) == (ent::<C>(m, k, i) is Leaf));
            } else {
                assert(entry_ok::<C>(m, r, k2, i2));
                if c2 == c {
                    lemma_child_unique::<C>(k2, i2, k, i);
                } else {
                    if m.dom().contains(c2) {
                        assert(m2[c2].info == m[c2].info);
                    }
                    if k2 == k {
                        assert(i2 != i);
                        assert(m2[k].words()[i2] == m[k].words()[i2]);
                    } else {
                        assert(m2[k2] == m[k2]);
                    }
                }
            }
        }
    }
    let top = place::<C>(r.s, r.top);
    assert(m2[top].info == m[top].info);
}

//================ prune ================

/// `m2` is `m` without the node below an entry, which links nothing.
pub open spec fn is_prune<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int) -> bool {
    let c = child::<C>(k, i);
    &&& m.dom().contains(k) && own_entry(m, k, i) && k.0 >= 2
    &&& m.dom().contains(c)
    &&& m2.dom() == m.dom().remove(c)
    &&& forall|k2: Place| m2.dom().contains(k2) && k2 != k ==> #[trigger] m2[k2] == m[k2]
    &&& m2[k].words() == m[k].words().update(i, m2[k].words()[i])
    &&& m2[k].info == m[k].info
    &&& m2[k].kids() == m[k].kids().remove(i)
    &&& m2[k].lk.leaves == m[k].lk.leaves
    &&& ent::<C>(m, k, i) is Table
    &&& ent::<C>(m2, k, i) is Absent
    &&& forall|j: int| 0 <= j < nr::<C>() ==> !(#[trigger] ent::<C>(m, c, j) is Table)
}

proof fn lemma_prune_trans<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int, l: nat, v: nat)
    requires
        wf::<C>(m, r),
        is_prune::<C>(m, m2, r, k, i),
        1 <= l <= r.top,
        r.s <= v < r.e,
        m2.dom().contains(place::<C>(v, l)),
    ensures
        leaf_of::<C>(m2, l, v) == (if l >= k.0 && through::<C>(v, k, i) { None } else { leaf_of::<C>(m, l, v) }),
    decreases l,
{
    let kl = place::<C>(v, l);
    let il = idx::<C>(v, l);
    let c = child::<C>(k, i);
    lemma_step::<C>(r, v, l);
    lemma_own::<C>(m, r, v, l);
    assert(node_ok::<C>(m, r, k));
    if l > k.0 && through::<C>(v, k, i) {
        lemma_parent::<C>(k, i);
        lemma_step::<C>(r, v, k.0);
        lemma_above::<C>(m, r, k.0, l, v);
    }
    if kl != k || il != i {
        if kl == k {
            if through::<C>(v, k, i) {
                lemma_child_unique::<C>(kl, il, k, i);
            }
            assert(m2[k].words()[il] == m[k].words()[il]);
        } else {
            assert(m2[kl] == m[kl]);
        }
        if ent::<C>(m, kl, il) is Table {
            if child::<C>(kl, il) == c {
                lemma_child_unique::<C>(kl, il, k, i);
            }
            lemma_prune_trans::<C>(m, m2, r, k, i, (l - 1) as nat, v);
        }
    }
}

/// *Prune*: the tree is well-formed, and the pages below the entry translate to nothing, all others as before.
pub proof fn lemma_prune<C: PageTableConfig>(m: Tree, m2: Tree, r: Rng, k: Place, i: int)
    requires
        wf::<C>(m, r),
        is_prune::<C>(m, m2, r, k, i),
    ensures
        wf::<C>(m2, r),
        forall|v: nat|
            r.s <= v < r.e ==> #[trigger] trans::<C>(m2, r.top, v) == (if through::<C>(v, k, i) {
                None
            } else {
                trans::<C>(m, r.top, v)
            }),
        finer::<C>(m, m2, r),
{
    let c = child::<C>(k, i);
    C::Consts::consts_ok();
    assert(node_ok::<C>(m, r, k));
    assert(node_ok::<C>(m, r, c));
    assert(entry_ok::<C>(m, r, k, i));
    lemma_parent::<C>(k, i);
    let top = place::<C>(r.s, r.top);
    assert(node_ok::<C>(m, r, top));
    assert(top != c);
    assert(m2[top].info == m[top].info);
    assert forall|v: nat| r.s <= v < r.e implies #[trigger] leaf_of::<C>(m2, r.top, v) == (if through::<C>(v, k, i) {
        None
    } else {
        leaf_of::<C>(m, r.top, v)
    }) by {
        lemma_top_place::<C>(r, v);
        lemma_prune_trans::<C>(m, m2, r, k, i, r.top, v);
    }
    assert forall|k2: Place| m2.dom().contains(k2) implies #[trigger] node_ok::<C>(m2, r, k2) by {
        assert(node_ok::<C>(m, r, k2));
        assert(m2[k2].info == m[k2].info);
        if k2.0 < r.top && parent::<C>(k2) == c {
            // A node below the node that goes: its parent's entry would be a link.
            lemma_orphan::<C>(m, r, k2);
        }
        assert forall|i2: int| own_entry(m2, k2, i2) implies #[trigger] entry_ok::<C>(m2, r, k2, i2) by {
            let c2 = child::<C>(k2, i2);
            assert(entry_ok::<C>(m, r, k2, i2));
            if c2 == c {
                lemma_child_unique::<C>(k2, i2, k, i);
            } else {
                if m2.dom().contains(c2) {
                    assert(m2[c2].info == m[c2].info);
                }
                if k2 == k {
                    assert(i2 != i);
                    assert(m2[k].words()[i2] == m[k].words()[i2]);
                } else {
                    assert(m2[k2] == m[k2]);
                }
            }
        }
    }
}

/// A node of the tree below the top is linked by its parent.
pub proof fn lemma_orphan<C: PageTableConfig>(m: Tree, r: Rng, k: Place)
    requires
        wf::<C>(m, r),
        m.dom().contains(k),
        k.0 < r.top,
    ensures
        m.dom().contains(parent::<C>(k)),
        ({
            let i = (k.1 % nr::<C>()) as int;
            &&& child::<C>(parent::<C>(k), i) == k
            &&& 0 <= i < nr::<C>()
            &&& own_entry(m, parent::<C>(k), i) ==> ent::<C>(m, parent::<C>(k), i) is Table
        }),
        parent::<C>(k).0 < r.top ==> ent::<C>(m, parent::<C>(k), (k.1 % nr::<C>()) as int) is Table,
{
    C::Consts::consts_ok();
    let p = parent::<C>(k);
    assert(node_ok::<C>(m, r, k));
    let (a, n) = (k.1, nr::<C>());
    let i = (a % n) as int;
    assert((a / n) * n + a % n == a && a % n < n) by (nonlinear_arith)
        requires
            n >= 1,
    ;
    assert(node_ok::<C>(m, r, p));
    if own_entry(m, p, i) {
        assert(entry_ok::<C>(m, r, p, i));
    }
}

} // verus!
