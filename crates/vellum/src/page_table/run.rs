//! Many base pages mapped at once: one walk for each leaf table, and a loop inside it.
#![expect(unsafe_code, reason = "words are made of addresses that are known to fit")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::entry::*;
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::session::*;
use super::spec::*;
use super::take::TakenLeaf;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::layout::PADDR_LIMIT;
use vstd::prelude::*;

verus! {

/// Base pages that follow each other in physical memory, below its limit.
pub open spec fn run_fits(pa: usize, n: nat) -> bool {
    pa % PAGE_SIZE == 0 && pa + PAGE_SIZE * n <= PADDR_LIMIT
}

/// A use of page tables that maps many base pages with one value.
///
/// # Safety
///
/// As for [`PageTableConfig`]: who implements this promises the contracts of its functions.
///
/// 1. [`run_into_raw`](Self::run_into_raw) gives the address of a base page, and a number of pages that end below
///    the limit of physical memory.
/// 2. [`run_from_raw`](Self::run_from_raw) undoes it, for all of the pages and for the last of them.
pub unsafe trait RunConfig: PageTableConfig {
    /// Base pages that follow each other in physical memory, with one property: they own their frames while they are
    /// out of the table.
    type Run;

    /// What `n` pages from `pa` on must own.
    spec fn run_ok(t: LeafTok, pa: usize, n: nat) -> bool;

    /// A run as the table takes it: physical address, number of pages, property.
    spec fn raw_run(run: Self::Run) -> (usize, usize, PageProperty);

    /// Takes a run apart.
    fn run_into_raw(run: Self::Run) -> (r: (usize, usize, PageProperty, Tracked<LeafTok>))
        ensures
            run_fits(r.0, r.1 as nat),
            Self::run_ok(r.3@, r.0, r.1 as nat),
            Self::raw_run(run) == (r.0, r.1, r.2),
        opens_invariants none
        no_unwind
    ;

    /// Puts a run together again.
    ///
    /// # Safety
    ///
    /// 1. The parts come from [`run_into_raw`](Self::run_into_raw), or are the last of those pages.
    /// 2. They are used once.
    unsafe fn run_from_raw(pa: usize, n: usize, prop: PageProperty, tok: Tracked<LeafTok>) -> (r: Self::Run)
        requires
            run_fits(pa, n as nat),
            Self::run_ok(tok@, pa, n as nat),
        ensures
            Self::raw_run(r) == (pa, n, prop),
        opens_invariants none
        no_unwind
    ;

    /// What pages own is what the first of them owns and what the others own.
    proof fn split_run(tracked t: &mut LeafTok, pa: usize, n: nat) -> (tracked r: LeafTok)
        requires
            n >= 1,
            run_fits(pa, n),
            Self::run_ok(*old(t), pa, n),
        ensures
            Self::leaf_ok(r, pa, 1),
            Self::run_ok(*final(t), (pa + PAGE_SIZE) as usize, (n - 1) as nat),
    ;
}

/// Each page of `[a, b)` has its node of level 1.
pub open spec fn has_leaf_nodes<C: PageTableConfig>(m: Tree, a: nat, b: nat) -> bool {
    forall|w: nat| a <= w < b ==> m.dom().contains(#[trigger] place::<C>(w, 1))
}

/// Makes the nodes of level 1 below `[v, end)` that are missing. False: no memory.
#[verifier::exec_allows_no_decreases_clause]
pub fn make_leaf_nodes<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, end: usize) -> (r: bool)
    requires
        g.ok::<C>(*old(m)),
        g.s <= v <= end <= g.e,
    ensures
        g.ok::<C>(*final(m)),
        g.same::<C>(*old(m), *final(m)),
        r ==> has_leaf_nodes::<C>(*final(m), v as nat, end as nat),
    no_unwind
{
    let ghost m0 = *m;
    let mut p = v;
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
    }
    while p < end
        invariant
            m0 == *old(m),
            g.ok::<C>(*m),
            g.same::<C>(m0, *m),
            g.s <= v <= p <= end <= g.e <= 0x2000_0000_0000,
            1 <= C::Consts::levels() <= 5,
            has_leaf_nodes::<C>(*m, v as nat, p as nat),
    {
        let f = descend::<C>(g, Tracked(m), p);
        if f.l == 1 {
            let (_, ee) = entry_range::<C::Consts>(p, 2);
            p = if ee < end { ee } else { end };
        } else {
            let i = entry_index::<C::Consts>(p, f.l);
            let ghost k = place::<C>(p as nat, f.l as nat);
            let ghost m1 = *m;
            proof {
                lemma_here::<C>(*g, *m, p as nat, f.l as nat);
            }
            if expand::<C>(g, Tracked(m), Ghost(k), f.pa, i, f.l, f.word).is_none() {
                return false;
            }
            proof {
                assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(*m, w) == g.at::<C>(m0, w) by {
                    let _ = g.at::<C>(m1, w);
                }
            }
        }
    }
    true
}

/// The pages `[v, next)` translate to the pages from `pa` on, all others as before.
pub open spec fn is_filled<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, v: nat, next: nat, pa: usize, prop: PageProperty) -> bool {
    forall|w: nat|
        g.s <= w < g.e ==> #[trigger] g.at::<C>(m2, w) == (if v <= w < next {
            Some(((pa + PAGE_SIZE * (w - v)) as nat, prop))
        } else {
            g.at::<C>(m, w)
        })
}

/// What one step of [`fill`] did: page `p` translates to the page at `pa`, all others as before.
proof fn lemma_filled_one<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, p: nat, e: u64, pa: usize, prop: PageProperty)
    requires
        g.ok::<C>(m),
        g.s <= p < g.e,
        is_replaced::<C>(g, m, m2, place::<C>(p, 1), idx::<C>(p, 1), e),
        meaning::<C>(e, 1) == Pte::Leaf(pa, prop),
    ensures
        is_filled::<C>(g, m, m2, p, p + 1, pa, prop),
{
    let k = place::<C>(p, 1);
    lemma_step::<C>(g.rng(), p, 1);
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(m2, w) == (if p <= w < p + 1 {
        Some(((pa + PAGE_SIZE * (w - p)) as nat, prop))
    } else {
        g.at::<C>(m, w)
    }) by {
        lemma_pre_zero(nr::<C>(), w);
        lemma_pre_zero(nr::<C>(), p);
    }
}

/// Maps the pages of `[v, stop)`, which one node of level 1 covers, to the pages from `pa` on, up to the first at which
/// something was mapped: where to go on, and what was there.
#[expect(clippy::too_many_arguments, reason = "a place, what comes there, and the tokens")]
pub fn fill<C: RunConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    node: usize,
    v: usize,
    stop: usize,
    pa: usize,
    Ghost(n): Ghost<nat>,
    prop: PageProperty,
    Tracked(tok): Tracked<&mut LeafTok>,
) -> (r: (usize, Option<TakenLeaf>))
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < stop <= g.e,
        forall|w: nat| v <= w < stop ==> #[trigger] place::<C>(w, 1) == place::<C>(v as nat, 1),
        old(m).dom().contains(place::<C>(v as nat, 1)),
        old(m)[place::<C>(v as nat, 1)].pa() == node,
        n >= stop - v,
        run_fits(pa, n),
        C::Entry::holds(prop),
        C::run_ok(*old(tok), pa, n),
    ensures
        g.ok::<C>(*final(m)),
        final(m).dom() == old(m).dom(),
        v < r.0 <= stop,
        is_filled::<C>(*g, *old(m), *final(m), v as nat, r.0 as nat, pa, prop),
        C::run_ok(*final(tok), (pa + PAGE_SIZE * (r.0 - v)) as usize, (n - (r.0 - v)) as nat),
        match r.1 {
            Some(t) => {
                &&& t.start == r.0 - 1 && t.end == r.0 && t.l == 1
                &&& leaf_fits::<C::Consts>(t.pa, 1)
                &&& C::leaf_ok(t.tok@, t.pa, 1)
                &&& g.at::<C>(*old(m), t.start as nat) == Some((t.pa as nat, t.prop))
                &&& g.nothing_in::<C>(*old(m), v as nat, t.start as nat)
            },
            None => r.0 == stop && g.nothing_in::<C>(*old(m), v as nat, stop as nat),
        },
    no_unwind
{
    let ghost m0 = *m;
    let ghost k = place::<C>(v as nat, 1);
    let mut p = v;
    let mut a = pa;
    proof {
        C::Consts::consts_ok();
    }
    while p < stop
        invariant
            m0 == *old(m),
            g.ok::<C>(*m),
            m.dom() == m0.dom(),
            g.s <= v <= p <= stop <= g.e,
            forall|w: nat| v <= w < stop ==> #[trigger] place::<C>(w, 1) == k,
            m.dom().contains(k),
            m[k].pa() == node,
            n >= stop - v,
            run_fits(pa, n),
            a == pa + PAGE_SIZE * (p - v),
            C::Entry::holds(prop),
            C::run_ok(*tok, a, (n - (p - v)) as nat),
            is_filled::<C>(*g, m0, *m, v as nat, p as nat, pa, prop),
            g.nothing_in::<C>(m0, v as nat, p as nat),
            1 <= C::Consts::levels() <= 5,
            1 <= C::Consts::MAX_LEAF_LEVEL,
        decreases stop - p,
    {
        let ghost m1 = *m;
        let i = entry_index::<C::Consts>(p, 1);
        let tracked t;
        proof {
            assert(place::<C>(p as nat, 1) == k);
            lemma_here::<C>(*g, *m, p as nat, 1);
            lemma_run_page::<C>(pa, n, (p - v) as nat);
            t = C::split_run(tok, a, (n - (p - v)) as nat);
            let _ = g.at::<C>(*m, p as nat);
        }
        let word = load::<C>(g.w, node, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
        // SAFETY: the page is one of the run.
        let e = unsafe { C::Entry::leaf(a, 1, prop) };
        let old = if let Pte::Leaf(was, was_prop) = C::Entry::decode(word, 1) {
            let (word, old) = replace::<C>(g, Tracked(m), Ghost(k), node, i, e, Tracked(Some(t)));
            let tok = Tracked(old.get().tracked_unwrap());
            Some(TakenLeaf { start: p, end: p + 1, pa: was, l: 1, prop: was_prop, word, tok })
        } else {
            install::<C>(g, Tracked(m), Ghost(k), node, i, e, Tracked(t));
            None
        };
        proof {
            lemma_filled_one::<C>(*g, m1, *m, p as nat, e, a, prop);
            lemma_filled_more::<C>(*g, m0, m1, *m, v as nat, p as nat, (p + 1) as nat, pa, prop);
            lemma_pre_zero(nr::<C>(), p as nat);
        }
        a += PAGE_SIZE;
        p += 1;
        if old.is_some() {
            return (p, old);
        }
    }
    (p, None)
}

/// Maps the pages of `[v, end)` that one leaf table covers, as [`fill`].
pub fn fill_next<C: RunConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    v: usize,
    end: usize,
    pa: usize,
    prop: PageProperty,
    tok: &mut Tracked<LeafTok>,
) -> (r: (usize, Option<TakenLeaf>))
    requires
        g.ok::<C>(*old(m)),
        g.s <= v < end <= g.e,
        has_leaf_nodes::<C>(*old(m), v as nat, end as nat),
        run_fits(pa, (end - v) as nat),
        C::Entry::holds(prop),
        C::run_ok(old(tok)@, pa, (end - v) as nat),
    ensures
        g.ok::<C>(*final(m)),
        final(m).dom() == old(m).dom(),
        v < r.0 <= end,
        is_filled::<C>(*g, *old(m), *final(m), v as nat, r.0 as nat, pa, prop),
        C::run_ok(final(tok)@, (pa + PAGE_SIZE * (r.0 - v)) as usize, (end - r.0) as nat),
        match r.1 {
            Some(t) => {
                &&& t.start == r.0 - 1 && t.end == r.0 && t.l == 1
                &&& leaf_fits::<C::Consts>(t.pa, 1)
                &&& C::leaf_ok(t.tok@, t.pa, 1)
                &&& g.at::<C>(*old(m), t.start as nat) == Some((t.pa as nat, t.prop))
                &&& g.nothing_in::<C>(*old(m), v as nat, t.start as nat)
            },
            None => g.nothing_in::<C>(*old(m), v as nat, r.0 as nat),
        },
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
        assert(m.dom().contains(place::<C>(v as nat, 1)));
    }
    let f = descend::<C>(g, Tracked(m), v);
    proof {
        if f.l > 1 {
            lemma_above::<C>(*m, g.rng(), 1, f.l as nat, v as nat);
        }
    }
    let (_, ee) = entry_range::<C::Consts>(v, 2);
    let stop = if ee < end { ee } else { end };
    let ghost n = (end - v) as nat;
    fill::<C>(g, Tracked(m), f.pa, v, stop, pa, Ghost(n), prop, Tracked(tok.borrow_mut()))
}

/// What is left of a run is a run.
pub(super) proof fn lemma_run_tail(pa: usize, n: nat, j: nat)
    requires
        run_fits(pa, n),
        j <= n,
    ensures
        run_fits((pa + PAGE_SIZE * j) as usize, (n - j) as nat),
        pa + PAGE_SIZE * j <= PADDR_LIMIT,
{
    assert(PAGE_SIZE * n == PAGE_SIZE * j + PAGE_SIZE * (n - j)) by (nonlinear_arith)
        requires
            j <= n,
    ;
    assert(PAGE_SIZE * (n - j) >= 0) by (nonlinear_arith)
        requires
            j <= n,
    ;
}

/// Nothing is filled yet.
pub(super) proof fn lemma_filled_none<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, v: nat, pa: usize, prop: PageProperty)
    requires
        g.same::<C>(m, m2),
    ensures
        is_filled::<C>(g, m, m2, v, v, pa, prop),
{
}

/// What is filled is in the map, and all else is as before.
pub(super) proof fn lemma_view_filled<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, a: nat, b: nat, pa: usize, prop: PageProperty)
    requires
        is_filled::<C>(g, m, m2, a, b, pa, prop),
        g.s <= a <= b <= g.e,
    ensures
        forall|w: nat| a <= w < b ==> #[trigger] view::<C>(m2, g.rng()).contains_pair(w, ((pa + PAGE_SIZE * (w - a)) as nat, prop)),
        view::<C>(m2, g.rng()).remove_keys(between(a, b)) == view::<C>(m, g.rng()).remove_keys(between(a, b)),
{
    lemma_view_elsewhere::<C>(g, m, m2, between(a, b));
    assert forall|w: nat| a <= w < b implies #[trigger] view::<C>(m2, g.rng()).contains_pair(w, ((pa + PAGE_SIZE * (w - a)) as nat, prop)) by {
        let _ = g.at::<C>(m2, w);
    }
}

/// Page `j` of a run can be mapped.
pub(super) proof fn lemma_run_page<C: PageTableConfig>(pa: usize, n: nat, j: nat)
    requires
        run_fits(pa, n),
        j < n,
        1 <= C::Consts::MAX_LEAF_LEVEL,
    ensures
        leaf_fits::<C::Consts>((pa + PAGE_SIZE * j) as usize, 1),
        run_fits((pa + PAGE_SIZE * j) as usize, (n - j) as nat),
        pa + PAGE_SIZE * j + PAGE_SIZE <= PADDR_LIMIT,
{
    lemma_pre_zero(nr::<C>(), 0);
    assert(span(nr::<C>(), 1) == PAGE_SIZE);
    assert((pa + PAGE_SIZE * j) % (PAGE_SIZE as int) == 0) by (nonlinear_arith)
        requires
            pa as int % (PAGE_SIZE as int) == 0,
    ;
    assert(PAGE_SIZE * n == PAGE_SIZE * j + PAGE_SIZE * (n - j)) by (nonlinear_arith)
        requires
            j < n,
    ;
    assert(PAGE_SIZE * (n - j) >= PAGE_SIZE) by (nonlinear_arith)
        requires
            j < n,
    ;
}

/// More is filled.
pub(super) proof fn lemma_filled_more<C: PageTableConfig>(g: Locks, m0: Tree, m1: Tree, m2: Tree, v: nat, p: nat, q: nat, pa: usize, prop: PageProperty)
    requires
        v <= p <= q,
        pa + PAGE_SIZE * (p - v) <= usize::MAX,
        is_filled::<C>(g, m0, m1, v, p, pa, prop),
        is_filled::<C>(g, m1, m2, p, q, (pa + PAGE_SIZE * (p - v)) as usize, prop),
    ensures
        is_filled::<C>(g, m0, m2, v, q, pa, prop),
{
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(m2, w) == (if v <= w < q {
        Some(((pa + PAGE_SIZE * (w - v)) as nat, prop))
    } else {
        g.at::<C>(m0, w)
    }) by {
        let _ = g.at::<C>(m1, w);
    }
}

} // verus!
