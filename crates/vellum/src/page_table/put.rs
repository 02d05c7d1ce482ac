//! Putting a page into a locked range.
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
#[cfg(verus_keep_ghost)]
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
use super::spec::*;
use super::take::*;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

/// What putting a page into a range came to.
pub enum Put {
    /// It is there; this was there before.
    Done(Option<TakenLeaf>),
    /// There is a node where the page would go.
    Occupied(Tracked<LeafTok>),
    /// No memory for a node on the way.
    NoMemory(Tracked<LeafTok>),
}

/// The `n` pages from page `v` on translate to the page that was put there, all others as before, and `o` is what was
/// there.
pub open spec fn is_put<C: PageTableConfig>(
    g: Locks,
    m: Tree,
    m2: Tree,
    v: usize,
    n: usize,
    page: (usize, u8, PageProperty),
    o: Option<TakenLeaf>,
) -> bool {
    let (pa, l, prop) = page;
    &&& forall|w: nat|
        g.s <= w < g.e ==> #[trigger] g.at::<C>(m2, w) == (if v <= w < v + n {
            Some(((pa + PAGE_SIZE * (w - v)) as nat, prop))
        } else {
            g.at::<C>(m, w)
        })
    &&& forall|w: nat| g.s <= w < g.e && v <= w < v + n ==> #[trigger] g.level::<C>(m2, w) == Some(l as nat)
    &&& forall|w: nat| g.s <= w < g.e && !(v <= w < v + n) ==> #[trigger] sized_as::<C>(m, m2, g.top as nat, w)
    &&& o matches Some(t) ==> {
        &&& t.start == v && t.end == v + n && t.l == l
        &&& leaf_fits::<C::Consts>(t.pa, l as nat)
        &&& C::leaf_ok(t.tok@, t.pa, l as nat)
        &&& maps_run::<C>(g, m, v as nat, (v + n) as nat, t.pa as nat, t.prop)
    }
    &&& o is None ==> g.nothing_in::<C>(m, v as nat, (v + n) as nat)
}

/// Puts a page where the way down to page `v` ends, which is at the page's level. `ad` is noted in it.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "a page, its place, and what is known of it")]
pub fn put_here<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    v: usize,
    n: usize,
    pa: usize,
    l: u8,
    prop: PageProperty,
    ad: AccessedDirty,
    tok: Tracked<LeafTok>,
    f: &Found,
    Ghost(m0): Ghost<Tree>,
) -> (o: Option<TakenLeaf>)
    requires
        g.ok::<C>(*old(m)),
        g.same::<C>(m0, *old(m)),
        g.finer::<C>(m0, *old(m)),
        f.ok::<C>(*g, *old(m), v as nat),
        !(f.pte is Table),
        f.l == l,
        1 <= l <= g.top,
        n == pages(nr::<C>(), (l - 1) as nat),
        n >= 1,
        g.s <= v,
        v + n <= g.e <= 0x2000_0000_0000,
        v as nat % n as nat == 0,
        leaf_fits::<C::Consts>(pa, l as nat),
        C::Entry::holds(prop),
        C::leaf_ok(tok@, pa, l as nat),
    ensures
        g.ok::<C>(*final(m)),
        same_nodes(*old(m), *final(m)),
        is_put::<C>(*g, m0, *final(m), v, n, (pa, l, prop), o),
        f.pte is Absent ==> o is None,
    no_unwind
{
    let ghost m1 = *m;
    let ghost k = place::<C>(v as nat, l as nat);
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, v as nat, l as nat);
    }
    let i = entry_index::<C::Consts>(v, l);
    let (es, ee) = entry_range::<C::Consts>(v, l);
    // SAFETY: what an item maps fits.
    let leaf = unsafe { C::Entry::leaf(pa, l, prop) };
    let e = C::Entry::with_noted(leaf, C::Entry::note(ad));
    proof {
        C::Entry::noted_is_no_meaning(e, leaf, l as nat);
    }
    let old = match f.pte {
        Pte::Leaf(pa, prop) => {
            let (word, old_tok) = replace::<C>(g, Tracked(m), Ghost(k), f.pa, i, f.word, e, Tracked(Some(tok.get())));
            let tok = Tracked(old_tok.get().tracked_unwrap());
            Some(TakenLeaf { start: v, end: v + n, pa, l, prop, word, tok })
        },
        _ => {
            install::<C>(g, Tracked(m), Ghost(k), f.pa, i, e, tok);
            None
        },
    };
    proof {
        lemma_put::<C>(*g, m0, m1, *m, v, n, pa, l, prop, *f, es, ee, i as int, e);
    }
    old
}

/// Maps `n` pages from page `v` on, where one entry of level `l` covers exactly them. `ad` is noted in it.
#[verifier::exec_allows_no_decreases_clause]
#[expect(clippy::too_many_arguments, reason = "what an item says, and the tokens")]
pub fn put<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    near: &mut Near,
    v: usize,
    n: usize,
    pa: usize,
    l: u8,
    prop: PageProperty,
    ad: AccessedDirty,
    tok: Tracked<LeafTok>,
) -> (r: Put)
    requires
        g.ok::<C>(*old(m)),
        1 <= l <= C::Consts::levels(),
        n == pages(nr::<C>(), (l - 1) as nat),
        g.s <= v,
        v + n <= g.e,
        v as nat % n as nat == 0,
        leaf_fits::<C::Consts>(pa, l as nat),
        C::Entry::holds(prop),
        C::leaf_ok(tok@, pa, l as nat),
        old(near).ok::<C>(*g, *old(m)),
    ensures
        g.ok::<C>(*final(m)),
        final(near).ok::<C>(*g, *final(m)),
        match r {
            Put::Done(o) => is_put::<C>(*g, *old(m), *final(m), v, n, (pa, l, prop), o),
            Put::Occupied(t) => t == tok && g.same::<C>(*old(m), *final(m)) && g.finer::<C>(*old(m), *final(m)),
            Put::NoMemory(t) => t == tok && g.same::<C>(*old(m), *final(m)) && g.finer::<C>(*old(m), *final(m)),
        },
    no_unwind
{
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
        lemma_pages_pos(nr::<C>(), (l - 1) as nat);
    }
    loop
        invariant
            m0 == *old(m),
            g.ok::<C>(*m),
            g.same::<C>(m0, *m),
            g.finer::<C>(m0, *m),
            1 <= l <= C::Consts::levels() <= 5,
            n == pages(nr::<C>(), (l - 1) as nat),
            g.s <= v,
            n >= 1,
            v + n <= g.e <= 0x2000_0000_0000,
            v as nat % n as nat == 0,
            leaf_fits::<C::Consts>(pa, l as nat),
            C::Entry::holds(prop),
            C::leaf_ok(tok@, pa, l as nat),
            near.ok::<C>(*g, *m),
    {
        let f = descend_near::<C>(g, Tracked(m), near, v);
        let ghost m1 = *m;
        let ghost k = place::<C>(v as nat, f.l as nat);
        proof {
            lemma_here::<C>(*g, *m, v as nat, f.l as nat);
        }
        let i = entry_index::<C::Consts>(v, f.l);
        if f.l < l {
            return Put::Occupied(tok);
        }
        if f.l == l {
            let old = put_here::<C>(g, Tracked(m), v, n, pa, l, prop, ad, tok, &f, Ghost(m0));
            proof {
                near.lemma_stays::<C>(*g, m1, *m);
            }
            return Put::Done(old);
        }
        if expand::<C>(g, Tracked(m), Ghost(k), f.pa, i, f.l, f.word).is_none() {
            return Put::NoMemory(tok);
        }
        proof {
            lemma_finer::<C>(*g, m0, m1, *m);
            near.lemma_stays::<C>(*g, m1, *m);
            assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == g.at::<C>(m0, w) by {
                let _ = g.at::<C>(m1, w);
            }
        }
    }
}

proof fn lemma_put<C: PageTableConfig>(
    g: Locks,
    m0: Tree,
    m1: Tree,
    m: Tree,
    v: usize,
    n: usize,
    pa: usize,
    l: u8,
    prop: PageProperty,
    f: Found,
    es: usize,
    ee: usize,
    i: int,
    e: u64,
)
    requires
        g.ok::<C>(m1),
        g.same::<C>(m0, m1),
        g.finer::<C>(m0, m1),
        f.ok::<C>(g, m1, v as nat),
        !(f.pte is Table),
        f.l == l,
        1 <= l,
        n == pages(nr::<C>(), (l - 1) as nat),
        n >= 1,
        g.s <= v,
        v + n <= g.e,
        v as nat % n as nat == 0,
        i == idx::<C>(v as nat, l as nat),
        meaning::<C>(e, l as nat) == Pte::Leaf(pa, prop),
        is_replaced::<C>(g, m1, m, place::<C>(v as nat, l as nat), i, e),
        es == pre(nr::<C>(), v as nat, (l - 1) as nat) * n,
        ee - es == n,
        forall|w: nat|
            es <= w < ee <==> #[trigger] pre(nr::<C>(), w, (l - 1) as nat) == pre(nr::<C>(), v as nat, (l - 1) as nat),
    ensures
        es == v,
        forall|w: nat|
            g.s <= w < g.e ==> #[trigger] g.at::<C>(m, w) == (if v <= w < v + n {
                Some(((pa + PAGE_SIZE * (w - v)) as nat, prop))
            } else {
                g.at::<C>(m0, w)
            }),
        forall|w: nat| g.s <= w < g.e && v <= w < v + n ==> #[trigger] g.level::<C>(m, w) == Some(l as nat),
        forall|w: nat| g.s <= w < g.e && !(v <= w < v + n) ==> #[trigger] sized_as::<C>(m0, m, g.top as nat, w),
        f.pte matches Pte::Leaf(a, q) ==> maps_run::<C>(g, m0, v as nat, (v + n) as nat, a as nat, q),
        f.pte is Absent ==> g.nothing_in::<C>(m0, v as nat, (v + n) as nat),
{
    C::Consts::consts_ok();
    let k = place::<C>(v as nat, l as nat);
    let nn = nr::<C>();
    let j = (l - 1) as nat;
    lemma_pre_div(nn, v as nat, j);
    vstd::arithmetic::div_mod::lemma_fundamental_div_mod(v as int, n as int);
    assert(es == v) by (nonlinear_arith)
        requires
            es == (v as int / n as int) * n,
            v as int == n * (v as int / n as int) + v as int % (n as int),
            v as int % (n as int) == 0,
    ;
    lemma_entry_pages::<C>(g, v as nat, l as nat, es as nat, ee as nat);
    assert forall|w: nat| g.s <= w < g.e && v <= w < v + n implies #[trigger] g.level::<C>(m, w) == Some(l as nat) by {
        assert(through::<C>(w, k, i) && place::<C>(w, l as nat) == k);
    }
    assert forall|w: nat| g.s <= w < g.e && !(v <= w < v + n) implies #[trigger] sized_as::<C>(m0, m, g.top as nat, w) by {
        let _ = g.level::<C>(m, w);
        assert(sized_as::<C>(m0, m1, g.rng().top, w));
    }
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(m, w) == (if v <= w < v + n {
        Some(((pa + PAGE_SIZE * (w - v)) as nat, prop))
    } else {
        g.at::<C>(m0, w)
    }) by {
        let _ = g.at::<C>(m1, w);
        if through::<C>(w, k, i) {
            assert(place::<C>(w, l as nat) == k);
            lemma_digits(nn, w, j);
            assert(pre(nn, w, j) == pre(nn, v as nat, j));
            assert(low(nn, w, j) == w - v);
            assert(ent::<C>(m, k, i) == Pte::Leaf(pa, prop));
        }
    }
    lemma_digits(nn, v as nat, j);
    assert(low(nn, v as nat, j) == 0);
    let _ = g.at::<C>(m1, v as nat);
    if let Pte::Leaf(a, q) = f.pte {
        lemma_leaf_pages_at::<C>(g, m1, v as nat, es as nat, ee as nat, f);
        assert forall|w: nat| g.s <= w < g.e && v <= w < v + n implies #[trigger] g.at::<C>(m0, w) == Some(
            ((a + PAGE_SIZE * (w - v)) as nat, q),
        ) by {
            let _ = g.at::<C>(m1, w);
        }
    }
    if f.pte is Absent {
        lemma_absent::<C>(g, m1, v as nat, f, es as nat, ee as nat);
        assert forall|w: nat| g.s <= w < g.e && v <= w < v + n implies #[trigger] g.at::<C>(m0, w) is None by {
            let _ = g.at::<C>(m1, w);
        }
    }
}

} // verus!
