//! Moving through a locked range: what is next, what is empty, what is taken.
#![expect(unsafe_code, reason = "words are made of addresses that are known to fit")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::config::*;
use super::entry::*;
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
use super::near::*;
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::ptword::all_noted;
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
#[inline(always)]
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
            1 <= C::Consts::levels() <= 5,
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
        if f.l == 1 {
            let (_, ne) = entry_range::<C::Consts>(es, 2);
            let stop = if ne < end { ne } else { end };
            if p < stop {
                p = skip_absent::<C>(g, Tracked(m), f.pa, es, p, stop);
            }
        }
    }
    (p, None)
}

/// The next of the pages `[p, stop)`, which the node of level 1 at `node` covers with page `v`, whose entry is not absent, or
/// `stop`.
#[inline(always)]
fn skip_absent<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, node: usize, v: usize, p: usize, stop: usize) -> (r: usize)
    requires
        g.ok::<C>(*m),
        g.s <= v < p < stop <= g.e,
        forall|w: nat| v <= w < stop ==> #[trigger] pre(nr::<C>(), w, 1) == pre(nr::<C>(), v as nat, 1),
        m.dom().contains(place::<C>(v as nat, 1)),
        m[place::<C>(v as nat, 1)].pa() == node,
        g.nothing_in::<C>(*m, v as nat, p as nat),
    ensures
        p <= r <= stop,
        g.nothing_in::<C>(*m, v as nat, r as nat),
    no_unwind
{
    let ghost k = place::<C>(v as nat, 1);
    let mut q = p;
    while q < stop
        invariant
            g.ok::<C>(*m),
            g.s <= v < p <= q <= stop <= g.e,
            forall|w: nat| v <= w < stop ==> #[trigger] pre(nr::<C>(), w, 1) == pre(nr::<C>(), v as nat, 1),
            k == place::<C>(v as nat, 1),
            m.dom().contains(k),
            m[k].pa() == node,
            g.nothing_in::<C>(*m, v as nat, q as nat),
        decreases stop - q,
    {
        let i = entry_index::<C::Consts>(q, 1);
        proof {
            C::Consts::consts_ok();
            assert(place::<C>(q as nat, 1) == k);
            lemma_here::<C>(*g, *m, q as nat, 1);
        }
        let word = load::<C>(g.w.get(), node, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
        match C::Entry::decode(word, 1) {
            Pte::Absent => {},
            _ => return q,
        }
        q += 1;
    }
    q
}

/// The bound of page numbers.
pub proof fn lemma_total<C: PageTableConfig>()
    ensures
        pages(nr::<C>(), C::Consts::levels() as nat) <= 0x2000_0000_0000,
{
    lemma_total_pages::<C::Consts>();
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
        g.finer::<C>(*old(m), *final(m)),
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
        g.finer::<C>(*old(m), *final(m)),
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
            g.finer::<C>(m0, *m),
            g.s <= v <= end <= g.e,
            g.e <= 0x2000_0000_0000,
            1 <= C::Consts::levels() <= 5,
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
            lemma_finer::<C>(*g, m0, m1, *m);
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

/// Rewrites the leaf that was found on the way to page `v`, in which all is noted, as in `leaf`: it becomes that, which maps
/// the same address.
#[inline(always)]
fn store_leaf<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, f: &Found, leaf: u64)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < g.e,
        f.ok::<C>(*g, *old(m), v as nat),
        f.pte is Leaf,
        all_noted::<FormatOf<C>>(f.word),
        C::Entry::noted(f.word).up_to(C::Entry::noted(leaf)),
        meaning::<C>(leaf, f.l as nat) matches Pte::Leaf(a, _) && a == f.pte->Leaf_0,
    ensures
        is_replaced::<C>(*g, *old(m), *final(m), place::<C>(v as nat, f.l as nat), idx::<C>(v as nat, f.l as nat), leaf),
        same_leaves::<C>(*old(m), *final(m)),
    no_unwind
{
    let ghost k = place::<C>(v as nat, f.l as nat);
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, v as nat, f.l as nat);
    }
    let i = entry_index::<C::Consts>(v, f.l);
    store::<C>(g.w.get(), f.pa, i, leaf, Ghost(f.word), Tracked(g.reader.borrow()), Tracked(m.tracked_borrow_mut(k)));
    proof {
        lemma_rewritten::<C>(*g, m0, *m, k, i as int, leaf);
    }
}

/// A leaf became another, of the same address.
proof fn lemma_rewritten<C: PageTableConfig>(g: Locks, m0: Tree, m: Tree, k: Place, i: int, leaf: u64)
    requires
        g.ok::<C>(m0),
        m0.dom().contains(k),
        own_entry(m0, k, i),
        entry_ok::<C>(m0, g.rng(), k, i),
        tok_ok::<C>(m0[k], k, g.w@, g.reader@),
        0 <= i < nr::<C>() <= 512,
        m == m0.insert(k, m[k]),
        m[k].ok::<C>(g.w@, g.reader@),
        stepped(m[k], m0[k], i, leaf, m0[k].kids()),
        ent::<C>(m0, k, i) is Leaf,
        meaning::<C>(leaf, k.0) matches Pte::Leaf(a, _) && a == ent::<C>(m0, k, i)->Leaf_0,
    ensures
        is_replaced::<C>(g, m0, m, k, i, leaf),
        same_leaves::<C>(m0, m),
{
    assert(m.dom() =~= m0.dom());
    lemma_replaced::<C>(g, m0, m, k, i, leaf);
    assert forall|k2: Place, i2: int| m0.dom().contains(k2) && 0 <= i2 < 512 implies (#[trigger] ent::<C>(m, k2, i2) is Leaf) == (
    ent::<C>(m0, k2, i2) is Leaf) by {
        if k2 != k {
            assert(m[k2] == m0[k2]);
        }
    }
}

/// Rewrites the leaf that was found on the way to page `v`: it becomes `leaf`, which maps the same address. What the
/// walker notes meanwhile stays noted.
#[verifier::exec_allows_no_decreases_clause]
#[inline(always)]
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
            tok_ok::<C>(m0[k], k, g.w@, g.reader@),
            1 <= f.l <= g.top <= 5,
            i < nr::<C>() <= 512,
            i == idx::<C>(v as nat, f.l as nat),
            ent::<C>(m0, k, i as int) matches Pte::Leaf(a, _) && a == f.pte->Leaf_0,
            same::<C>(word, m0[k].words()[i as int]),
            meaning::<C>(leaf, f.l as nat) matches Pte::Leaf(a, _) && a == f.pte->Leaf_0,
    {
        let new = C::Entry::with_noted(leaf, word);
        proof {
            C::Entry::noted_is_no_meaning(new, leaf, f.l as nat);
        }
        match compare_exchange::<C>(g.w.get(), f.pa, i, word, new, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow_mut(k))) {
            Ok(_) => {
                proof {
                    lemma_rewritten::<C>(*g, m0, *m, k, i as int, new);
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

/// Whether all is noted in a leaf.
#[derive(Clone, Copy)]
pub enum Settled {
    /// It is.
    Yes,
    /// That is to be looked at.
    Unknown,
}

/// The pages `[p, ee)` got a property; where they lead and all else is as it was.
pub open spec fn is_given<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, p: usize, ee: usize, prop: PageProperty) -> bool {
    &&& g.ok::<C>(m2)
    &&& same_nodes(m, m2)
    &&& same_leaves::<C>(m, m2)
    &&& g.finer::<C>(m, m2)
    &&& recoloured_at::<C>(g, m, m2, p, ee, prop)
}

/// The pages `[p, ee)` translate with a property to where they did, all others as before.
pub open spec fn recoloured_at<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, p: usize, ee: usize, prop: PageProperty) -> bool {
    forall|w: nat|
        g.s <= w < g.e ==> #[trigger] g.at::<C>(m2, w) == (if p <= w < ee {
            Some(((g.at::<C>(m, w)->0).0, prop))
        } else {
            g.at::<C>(m, w)
        })
}

/// Gives the leaf that was found another property. What the walker notes meanwhile stays noted.
#[inline(always)]
pub fn set_property<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, p: usize, ee: usize, f: &Found, prop: PageProperty)
    requires
        g.ok::<C>(*old(m)),
        whole::<C>(*g, *old(m), p, ee, *f),
        C::Entry::holds(prop),
    ensures
        is_given::<C>(*g, *old(m), *final(m), p, ee, prop),
    no_unwind
{
    let (pa, _) = f.pte.as_leaf();
    proof {
        lemma_here::<C>(*g, *m, p as nat, f.l as nat);
    }
    // SAFETY: what a leaf maps fits.
    let leaf = unsafe { C::Entry::leaf(pa, f.l, prop) };
    set_word::<C>(g, Tracked(m), p, ee, f, leaf, Settled::Unknown, Ghost(prop));
}

/// Gives the leaf that was found another property, which is that of the word `leaf`. What the walker notes meanwhile stays
/// noted, and what is noted in `leaf` is; where the leaf is `settled`, that is all.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two of them are ghosts")]
pub(super) fn set_word<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    p: usize,
    ee: usize,
    f: &Found,
    leaf: u64,
    settled: Settled,
    Ghost(prop): Ghost<PageProperty>,
)
    requires
        settled is Yes ==> all_noted::<FormatOf<C>>(f.word) && C::Entry::noted(f.word).up_to(C::Entry::noted(leaf)),
        g.ok::<C>(*old(m)),
        whole::<C>(*g, *old(m), p, ee, *f),
        f.pte matches Pte::Leaf(pa, _) && meaning::<C>(leaf, f.l as nat) == Pte::Leaf(pa, prop),
    ensures
        is_given::<C>(*g, *old(m), *final(m), p, ee, prop),
    no_unwind
{
    let ghost k = place::<C>(p as nat, f.l as nat);
    let ghost m0 = *m;
    proof {
        lemma_here::<C>(*g, *m, p as nat, f.l as nat);
    }
    match settled {
        Settled::Yes => store_leaf::<C>(g, Tracked(m), p, f, leaf),
        Settled::Unknown => rewrite_leaf::<C>(g, Tracked(m), p, f, leaf),
    }
    proof {
        lemma_entry_pages::<C>(*g, p as nat, f.l as nat, p as nat, ee as nat);
        assert forall|w: nat| g.s <= w < g.e implies #[trigger] sized_as::<C>(m0, *m, g.top as nat, w) by {
            let _ = g.level::<C>(*m, w);
            if through::<C>(w, k, idx::<C>(p as nat, f.l as nat)) {
                assert(place::<C>(w, f.l as nat) == k);
                lemma_via::<C>(m0, g.rng(), f.l as nat, g.top as nat, w);
            }
        }
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
        f.pte matches Pte::Leaf(pa, prop) ==> maps_run::<C>(g, m, p as nat, ee as nat, pa as nat, prop),
        forall|w: nat| p <= w < ee ==> #[trigger] g.at::<C>(m, w) is Some,
{
    lemma_leaf_pages_at::<C>(g, m, p as nat, p as nat, ee as nat, f);
}

/// What the pages from the first one of a leaf map, of whatever part of it is in the range.
pub proof fn lemma_leaf_pages_at<C: PageTableConfig>(g: Locks, m: Tree, v: nat, es: nat, ee: nat, f: Found)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        f.ok::<C>(g, m, v),
        f.pte is Leaf,
        es == pre(nr::<C>(), v, (f.l - 1) as nat) * pages(nr::<C>(), (f.l - 1) as nat),
        forall|w: nat| es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (f.l - 1) as nat) == pre(nr::<C>(), v, (f.l - 1) as nat),
    ensures
        f.pte matches Pte::Leaf(pa, prop) ==> maps_run::<C>(g, m, es, ee, pa as nat, prop),
{
    C::Consts::consts_ok();
    let l = f.l as nat;
    lemma_entry_pages::<C>(g, v, l, es, ee);
    assert forall|w: nat| g.s <= w < g.e && es <= w < ee implies #[trigger] g.at::<C>(m, w) == (match f.pte {
        Pte::Leaf(pa, prop) => Some(((pa + PAGE_SIZE * (w - es)) as nat, prop)),
        _ => None,
    }) by {
        assert(place::<C>(w, l) == place::<C>(v, l) && idx::<C>(w, l) == idx::<C>(v, l));
        lemma_via::<C>(m, g.rng(), l, g.top as nat, w);
        lemma_digits(nr::<C>(), w, (l - 1) as nat);
        assert(pre(nr::<C>(), w, (l - 1) as nat) == pre(nr::<C>(), v, (l - 1) as nat));
        assert(low(nr::<C>(), w, (l - 1) as nat) == w - es);
    }
}

/// The pages `[a, b)` of the range map the frames from `pa` on, with one property.
pub open spec fn maps_run<C: PageTableConfig>(g: Locks, m: Tree, a: nat, b: nat, pa: nat, prop: PageProperty) -> bool {
    forall|w: nat| g.s <= w < g.e && a <= w < b ==> #[trigger] g.at::<C>(m, w) == Some(((pa + PAGE_SIZE * (w - a)) as nat, prop))
}

} // verus!
