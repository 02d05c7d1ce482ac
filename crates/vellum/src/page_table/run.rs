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
#[cfg(verus_keep_ghost)]
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

/// Pages that are looked at together before any of them is mapped.
const GROUP: usize = 4;

/// Maps page `p`, whose entry in its node of level 1 is absent.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "a place, what comes there, and the tokens")]
fn fill_one<C: RunConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    node: usize,
    Ghost(p): Ghost<nat>,
    i: usize,
    e: u64,
    Ghost(a): Ghost<usize>,
    Ghost(n): Ghost<nat>,
    Ghost(prop): Ghost<PageProperty>,
    Tracked(tok): Tracked<&mut LeafTok>,
)
    requires
        g.ok::<C>(*old(m)),
        g.s <= p < g.e,
        old(m).dom().contains(place::<C>(p, 1)),
        old(m)[place::<C>(p, 1)].pa() == node,
        i == idx::<C>(p, 1),
        meaning::<C>(e, 1) == Pte::Leaf(a, prop),
        n >= 1,
        run_fits(a, n),
        C::run_ok(*old(tok), a, n),
        g.at::<C>(*old(m), p) is None,
    ensures
        g.ok::<C>(*final(m)),
        final(m).dom() == old(m).dom(),
        is_replaced::<C>(*g, *old(m), *final(m), place::<C>(p, 1), i as int, final(m)[place::<C>(p, 1)].words()[i as int]),
        is_filled::<C>(*g, *old(m), *final(m), p, p + 1, a, prop),
        C::run_ok(*final(tok), (a + PAGE_SIZE) as usize, (n - 1) as nat),
    no_unwind
{
    let ghost m0 = *m;
    let ghost k = place::<C>(p, 1);
    let tracked t;
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, p, 1);
        lemma_run_page::<C>(a, n, 0);
        t = C::split_run(tok, a, n);
    }
    install::<C>(g, Tracked(m), Ghost(k), node, i, e, Tracked(t));
    proof {
        lemma_filled_one::<C>(*g, m0, *m, p, e, a, prop);
    }
}

/// The word of page `p` of a run, as far as there is one: a page of the run follows.
spec fn is_word<C: PageTableConfig>(e: u64, a: int, n: int, prop: PageProperty) -> bool {
    n >= 1 ==> meaning::<C>(e, 1) == Pte::Leaf(a as usize, prop)
}

/// The word of the next page.
#[inline(always)]
fn next_word<C: PageTableConfig>(e: u64, Ghost(a): Ghost<usize>, Ghost(n): Ghost<nat>, Ghost(prop): Ghost<PageProperty>) -> (r: u64)
    requires
        n >= 1,
        run_fits(a, n),
        is_word::<C>(e, a as int, n as int, prop),
        1 <= C::Consts::MAX_LEAF_LEVEL,
    ensures
        is_word::<C>(r, a + PAGE_SIZE, n - 1, prop),
    no_unwind
{
    proof {
        if n >= 2 {
            lemma_run_page::<C>(a, n, 1);
        }
    }
    C::Entry::leaf_after(e)
}

/// The entries of page `p` and of one that follows it in the same node of level 1.
proof fn lemma_beside<C: PageTableConfig>(p: nat, j: nat)
    requires
        place::<C>(p + j, 1) == place::<C>(p, 1),
    ensures
        idx::<C>(p + j, 1) == idx::<C>(p, 1) + j,
{
    C::Consts::consts_ok();
    let n = nr::<C>();
    lemma_pre_zero(n, p);
    lemma_pre_zero(n, p + j);
    lemma_pre_step(n, p, 1);
    lemma_pre_step(n, p + j, 1);
    assert((p + j) % n == p % n + j) by (nonlinear_arith)
        requires
            (p + j) / n == p / n,
            n > 0,
    ;
}

/// Maps the pages `[p, p + GROUP)`, which one node of level 1 covers, if the words of all of them are zero.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "a place, what comes there, and the tokens")]
fn fill_group<C: RunConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    node: usize,
    p: usize,
    e: u64,
    Ghost(a): Ghost<usize>,
    Ghost(n): Ghost<nat>,
    Ghost(prop): Ghost<PageProperty>,
    Tracked(tok): Tracked<&mut LeafTok>,
) -> (r: Option<u64>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= p && p + GROUP <= g.e,
        forall|w: nat| p <= w < p + GROUP ==> #[trigger] place::<C>(w, 1) == place::<C>(p as nat, 1),
        old(m).dom().contains(place::<C>(p as nat, 1)),
        old(m)[place::<C>(p as nat, 1)].pa() == node,
        n >= GROUP,
        run_fits(a, n),
        is_word::<C>(e, a as int, n as int, prop),
        C::run_ok(*old(tok), a, n),
    ensures
        g.ok::<C>(*final(m)),
        final(m).dom() == old(m).dom(),
        r matches Some(after) ==> {
            &&& is_word::<C>(after, a + PAGE_SIZE * GROUP, n - GROUP, prop)
            &&& is_filled::<C>(*g, *old(m), *final(m), p as nat, (p + GROUP) as nat, a, prop)
            &&& g.nothing_in::<C>(*old(m), p as nat, (p + GROUP) as nat)
            &&& C::run_ok(*final(tok), (a + PAGE_SIZE * GROUP) as usize, (n - GROUP) as nat)
            &&& final(m)[place::<C>(p as nat, 1)].pa() == node
        },
        r is None ==> *final(m) == *old(m) && *final(tok) == *old(tok),
    no_unwind
{
    let ghost m0 = *m;
    let ghost k = place::<C>(p as nat, 1);
    let ghost v = p as nat;
    let i = entry_index::<C::Consts>(p, 1);
    proof {
        C::Consts::consts_ok();
        assert forall|j: nat| j < GROUP implies #[trigger] idx::<C>(v + j, 1) == i + j by {
            let _ = place::<C>(v + j, 1);
            lemma_beside::<C>(v, j);
        }
        lemma_here::<C>(*g, *m, v, 1);
        lemma_here::<C>(*g, *m, v + 3, 1);
        assert(idx::<C>(v + 3, 1) == i + 3);
    }
    let w0 = load::<C>(g.w.get(), node, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
    let w1 = load::<C>(g.w.get(), node, i + 1, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
    let w2 = load::<C>(g.w.get(), node, i + 2, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
    let w3 = load::<C>(g.w.get(), node, i + 3, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
    if w0 | w1 | w2 | w3 != 0 {
        return None;
    }
    proof {
        assert(w0 == 0 && w1 == 0 && w2 == 0 && w3 == 0) by (bit_vector)
            requires
                w0 | w1 | w2 | w3 == 0,
        ;
        C::Entry::zero_is_absent(1);
        assert forall|j: nat| j < GROUP implies ent::<C>(*m, k, #[trigger] idx::<C>(v + j, 1)) is Absent by {
            assert(j == 0 || j == 1 || j == 2 || j == 3);
        }
        assert forall|w: nat| v <= w < v + GROUP implies #[trigger] g.at::<C>(*m, w) is None by {
            assert(w == v + (w - v) as nat);
            lemma_here::<C>(*g, *m, w, 1);
        }
    }
    let ghost (a1, a2, a3) = ((a + PAGE_SIZE) as usize, (a + 2 * PAGE_SIZE) as usize, (a + 3 * PAGE_SIZE) as usize);
    let ghost (n1, n2, n3) = ((n - 1) as nat, (n - 2) as nat, (n - 3) as nat);
    proof {
        lemma_run_tail(a, n, 1);
        lemma_run_tail(a, n, 2);
        lemma_run_tail(a, n, 3);
    }
    let e1 = next_word::<C>(e, Ghost(a), Ghost(n), Ghost(prop));
    let e2 = next_word::<C>(e1, Ghost(a1), Ghost(n1), Ghost(prop));
    let e3 = next_word::<C>(e2, Ghost(a2), Ghost(n2), Ghost(prop));
    let after = next_word::<C>(e3, Ghost(a3), Ghost(n3), Ghost(prop));
    proof {
        assert(place::<C>((v + 1) as nat, 1) == k && place::<C>((v + 2) as nat, 1) == k && place::<C>((v + 3) as nat, 1) == k);
    }
    fill_one::<C>(g, Tracked(m), node, Ghost(v), i, e, Ghost(a), Ghost(n), Ghost(prop), Tracked(tok));
    let ghost m1 = *m;
    fill_one::<C>(g, Tracked(m), node, Ghost(v + 1), i + 1, e1, Ghost(a1), Ghost(n1), Ghost(prop), Tracked(tok));
    let ghost m2 = *m;
    fill_one::<C>(g, Tracked(m), node, Ghost(v + 2), i + 2, e2, Ghost(a2), Ghost(n2), Ghost(prop), Tracked(tok));
    let ghost m3 = *m;
    fill_one::<C>(g, Tracked(m), node, Ghost(v + 3), i + 3, e3, Ghost(a3), Ghost(n3), Ghost(prop), Tracked(tok));
    proof {
        lemma_filled_more::<C>(*g, m0, m1, m2, v, v + 1, v + 2, a, prop);
        lemma_filled_more::<C>(*g, m0, m2, m3, v, v + 2, v + 3, a, prop);
        lemma_filled_more::<C>(*g, m0, m3, *m, v, v + 3, v + 4, a, prop);
    }
    Some(after)
}

/// Maps page `p`, and takes out what was mapped there.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "a place, what comes there, and the tokens")]
fn fill_entry<C: RunConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    node: usize,
    p: usize,
    e: u64,
    Ghost(a): Ghost<usize>,
    Ghost(n): Ghost<nat>,
    Ghost(prop): Ghost<PageProperty>,
    Tracked(tok): Tracked<&mut LeafTok>,
) -> (r: Option<TakenLeaf>)
    requires
        g.ok::<C>(*old(m)),
        g.s <= p < g.e,
        old(m).dom().contains(place::<C>(p as nat, 1)),
        old(m)[place::<C>(p as nat, 1)].pa() == node,
        n >= 1,
        run_fits(a, n),
        is_word::<C>(e, a as int, n as int, prop),
        C::run_ok(*old(tok), a, n),
    ensures
        g.ok::<C>(*final(m)),
        final(m).dom() == old(m).dom(),
        final(m)[place::<C>(p as nat, 1)].pa() == node,
        is_filled::<C>(*g, *old(m), *final(m), p as nat, (p + 1) as nat, a, prop),
        C::run_ok(*final(tok), (a + PAGE_SIZE) as usize, (n - 1) as nat),
        match r {
            Some(t) => {
                &&& t.start == p && t.end == p + 1 && t.l == 1
                &&& leaf_fits::<C::Consts>(t.pa, 1)
                &&& C::leaf_ok(t.tok@, t.pa, 1)
                &&& g.at::<C>(*old(m), p as nat) == Some((t.pa as nat, t.prop))
            },
            None => g.at::<C>(*old(m), p as nat) is None,
        },
    no_unwind
{
    let ghost m0 = *m;
    let ghost k = place::<C>(p as nat, 1);
    let i = entry_index::<C::Consts>(p, 1);
    proof {
        C::Consts::consts_ok();
        lemma_here::<C>(*g, *m, p as nat, 1);
        lemma_run_page::<C>(a, n, 0);
        lemma_pre_zero(nr::<C>(), p as nat);
    }
    let word = load::<C>(g.w.get(), node, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
    if let Pte::Leaf(was, was_prop) = C::Entry::decode(word, 1) {
        let tracked t = C::split_run(tok, a, n);
        let (word, old) = replace::<C>(g, Tracked(m), Ghost(k), node, i, word, e, Tracked(Some(t)));
        proof {
            lemma_filled_one::<C>(*g, m0, *m, p as nat, e, a, prop);
        }
        let tok = Tracked(old.get().tracked_unwrap());
        Some(TakenLeaf { start: p, end: p + 1, pa: was, l: 1, prop: was_prop, word, tok })
    } else {
        fill_one::<C>(g, Tracked(m), node, Ghost(p as nat), i, e, Ghost(a), Ghost(n), Ghost(prop), Tracked(tok));
        None
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
    let mut p = v;
    proof {
        C::Consts::consts_ok();
        lemma_run_tail(pa, n, 0);
        lemma_run_page::<C>(pa, n, 0);
    }
    // SAFETY: the page is the first of the run.
    let mut e = unsafe { C::Entry::leaf(pa, 1, prop) };
    while stop - p >= GROUP
        invariant
            m0 == *old(m),
            filling::<C>(*g, m0, *m, node, v, p, stop, pa, n, prop, *tok),
            is_word::<C>(e, pa + PAGE_SIZE * (p - v), n - (p - v), prop),
        decreases stop - p,
    {
        let ghost m1 = *m;
        let ghost (a, left) = ((pa + PAGE_SIZE * (p - v)) as usize, (n - (p - v)) as nat);
        proof {
            lemma_run_tail(pa, n, (p - v) as nat);
            assert(place::<C>(p as nat, 1) == place::<C>(v as nat, 1));
        }
        let Some(after) = fill_group::<C>(g, Tracked(m), node, p, e, Ghost(a), Ghost(left), Ghost(prop), Tracked(tok)) else {
            break ;
        };
        proof {
            lemma_filling::<C>(*g, m0, m1, *m, v as nat, p as nat, (p + GROUP) as nat, pa, prop);
        }
        e = after;
        p += GROUP;
    }
    while p < stop
        invariant
            m0 == *old(m),
            filling::<C>(*g, m0, *m, node, v, p, stop, pa, n, prop, *tok),
            is_word::<C>(e, pa + PAGE_SIZE * (p - v), n - (p - v), prop),
            1 <= C::Consts::MAX_LEAF_LEVEL,
        decreases stop - p,
    {
        let ghost m1 = *m;
        let ghost (a, left) = ((pa + PAGE_SIZE * (p - v)) as usize, (n - (p - v)) as nat);
        proof {
            lemma_run_tail(pa, n, (p - v) as nat);
            assert(place::<C>(p as nat, 1) == place::<C>(v as nat, 1));
            let _ = g.at::<C>(*m, p as nat);
        }
        let old = fill_entry::<C>(g, Tracked(m), node, p, e, Ghost(a), Ghost(left), Ghost(prop), Tracked(tok));
        e = next_word::<C>(e, Ghost(a), Ghost(left), Ghost(prop));
        proof {
            lemma_filled_more::<C>(*g, m0, m1, *m, v as nat, p as nat, (p + 1) as nat, pa, prop);
            lemma_pre_zero(nr::<C>(), p as nat);
        }
        p += 1;
        if old.is_some() {
            return (p, old);
        }
    }
    (p, None)
}

/// What holds while the pages `[v, stop)` of a node are mapped to the run of `n` pages from `pa` on, up to page `p`, which is the
/// first of those for which `tok` is.
spec fn filling<C: RunConfig>(
    g: Locks,
    m0: Tree,
    m: Tree,
    node: usize,
    v: usize,
    p: usize,
    stop: usize,
    pa: usize,
    n: nat,
    prop: PageProperty,
    tok: LeafTok,
) -> bool {
    let k = place::<C>(v as nat, 1);
    &&& g.ok::<C>(m)
    &&& m.dom() == m0.dom()
    &&& g.s <= v <= p <= stop <= g.e
    &&& forall|w: nat| v <= w < stop ==> #[trigger] place::<C>(w, 1) == k
    &&& m.dom().contains(k) && m[k].pa() == node
    &&& n >= stop - v
    &&& run_fits(pa, n)
    &&& C::run_ok(tok, (pa + PAGE_SIZE * (p - v)) as usize, (n - (p - v)) as nat)
    &&& is_filled::<C>(g, m0, m, v as nat, p as nat, pa, prop)
    &&& g.nothing_in::<C>(m0, v as nat, p as nat)
}

/// Pages that mapped nothing before the last step mapped nothing before the first.
proof fn lemma_filling<C: PageTableConfig>(g: Locks, m0: Tree, m1: Tree, m2: Tree, v: nat, p: nat, q: nat, pa: usize, prop: PageProperty)
    requires
        g.s <= v <= p <= q <= g.e,
        pa + PAGE_SIZE * (p - v) <= usize::MAX,
        is_filled::<C>(g, m0, m1, v, p, pa, prop),
        is_filled::<C>(g, m1, m2, p, q, (pa + PAGE_SIZE * (p - v)) as usize, prop),
        g.nothing_in::<C>(m0, v, p),
        g.nothing_in::<C>(m1, p, q),
    ensures
        is_filled::<C>(g, m0, m2, v, q, pa, prop),
        g.nothing_in::<C>(m0, v, q),
{
    lemma_filled_more::<C>(g, m0, m1, m2, v, p, q, pa, prop);
    assert forall|w: nat| v <= w < q implies #[trigger] g.at::<C>(m0, w) is None by {
        let _ = g.at::<C>(m1, w);
    }
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
