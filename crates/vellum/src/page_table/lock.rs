//! Locking a range: a way down without locks to the lowest node that covers it, then that node, then everything
//! below it that the range touches, depth first; and giving all of it back.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
use super::node::*;
use super::ops::*;
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
#[cfg(verus_keep_ghost)]
use super::subtree::*;
use super::tree::*;
use super::way::*;
use super::world::{InWorld, World};
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::addr::Paddr;
use vellum_machine::ptword;
use vstd::prelude::*;

verus! {

/// The children of a node that a range touches: their digits are `lo..=hi`, and those of the first child `first`.
struct Touched {
    first: usize,
    lo: usize,
    hi: usize,
}

/// The children of a node of level `l` from `first` on that the range touches are `lo..=hi`.
spec fn touches<C: PageTableConfig>(rg: Rng, l: nat, n: usize, first: usize, lo: usize, hi: usize) -> bool {
    let (x, y) = (pre(nr::<C>(), rg.s, (l - 1) as nat), pre(nr::<C>(), (rg.e - 1) as nat, (l - 1) as nat));
    &&& lo == (if x > first { x as int } else { first as int })
    &&& hi == (if y < first + (n - 1) { y as int } else { first + (n - 1) })
}

/// The children of node `b` of level `l` that the pages `[s, e)` touch.
fn touched<C: PageTableConfig>(Ghost(rg): Ghost<Rng>, l: u8, b: usize, s: usize, e: usize) -> (r: Touched)
    requires
        2 <= l <= 5,
        inr::<C>(rg, b as nat, l as nat),
        rg.s == s,
        rg.e == e,
        s < e <= 0x2000_0000_0000,
    ensures
        r.first == b * C::Consts::NR_ENTRIES,
        touches::<C>(rg, l as nat, C::Consts::NR_ENTRIES, r.first, r.lo, r.hi),
        r.lo <= r.hi <= 0x2000_0000_0000,
    no_unwind
{
    let n = C::Consts::NR_ENTRIES;
    let (x, y) = (prefix::<C::Consts>(s, l - 1), prefix::<C::Consts>(e - 1, l - 1));
    proof {
        C::Consts::consts_ok();
        lemma_span_of_node::<C>(rg, b as nat, l as nat);
        lemma_pre_mono(nr::<C>(), s as nat, (e - 1) as nat, (l - 1) as nat);
        assert(b * n <= y);
        assert(b * n >= 0) by (nonlinear_arith);
    }
    let first = b * n;
    let lo = if x > first { x } else { first };
    let hi = if y < first + (n - 1) { y } else { first + (n - 1) };
    Touched { first, lo, hi }
}

/// Locks everything below a locked node that the range touches.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "each token is an argument of its own")]
pub fn lock_sub<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    Ghost(rg): Ghost<Rng>,
    Tracked(tok): Tracked<NodeTok>,
    pa: usize,
    l: u8,
    b: usize,
    s: usize,
    e: usize,
) -> (o: Tracked<Tree>)
    requires
        tok_ok::<C>(tok, (l as nat, b as nat), *w, *r),
        tok.owns(),
        tok.pa() == pa,
        1 <= l <= rg.top <= 5,
        inr::<C>(rg, b as nat, l as nat),
        touches_own::<C>(tok, rg, (l as nat, b as nat)),
        rg.s == s,
        rg.e == e,
        s < e <= 0x2000_0000_0000,
    ensures
        sub_wf::<C>(o@, rg, (l as nat, b as nat), *w, *r),
        o@[(l as nat, b as nat)] == tok,
    decreases l, 1int,
    no_unwind
{
    let ghost k0 = (l as nat, b as nat);
    let tracked mut m = Map::<Place, NodeTok>::tracked_empty();
    proof {
        C::Consts::consts_ok();
    }
    if l > 1 {
        let Tracked(kids) = lock_kids::<C>(w, Tracked(r), Ghost(rg), Tracked(&tok), pa, l, b, s, e);
        proof {
            m = kids;
        }
    }
    proof {
        let m1 = m;
        m.tracked_insert(k0, tok);
        if m1.dom().contains(k0) {
            assert(part_ok::<C>(m1, rg, k0, k0, *w, *r));
        }
        assert(m.remove(k0) =~= m1);
        assert forall|i: int| own_entry(m, k0, i) implies #[trigger] entry_ok::<C>(m, rg, k0, i) by {
            let inf = tok.info.value();
            assert(inf.kind.entry_owns(tok.words()[i], inf.level, tok.lk.leaves, i));
            let cj = child::<C>(k0, i);
            C::Entry::levels(tok.words()[i], k0.0);
            if l > 1 {
                lemma_span_of_node::<C>(rg, b as nat, l as nat);
                assert(inr::<C>(rg, cj.1, cj.0) ==> done::<C>(m1, tok, k0, i));
                assert(!inr::<C>(rg, cj.1, cj.0) ==> !m1.dom().contains(cj));
            } else {
                if m1.dom().contains(cj) {
                    assert(part_ok::<C>(m1, rg, k0, cj, *w, *r));
                }
            }
        }
    }
    Tracked(m)
}

/// Locks the children of a locked node that the range touches, and everything below them.
#[expect(clippy::too_many_arguments, reason = "each token is an argument of its own")]
fn lock_kids<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    Ghost(rg): Ghost<Rng>,
    Tracked(tok): Tracked<&NodeTok>,
    pa: usize,
    l: u8,
    b: usize,
    s: usize,
    e: usize,
) -> (o: Tracked<Tree>)
    requires
        tok_ok::<C>(*tok, (l as nat, b as nat), *w, *r),
        tok.owns(),
        tok.pa() == pa,
        2 <= l <= rg.top <= 5,
        inr::<C>(rg, b as nat, l as nat),
        touches_own::<C>(*tok, rg, (l as nat, b as nat)),
        rg.s == s,
        rg.e == e,
        s < e <= 0x2000_0000_0000,
    ensures
        below::<C>(o@, rg, (l as nat, b as nat), *w, *r),
        forall|i: int| 0 <= i < nr::<C>() && #[trigger] inr::<C>(rg, child::<C>((l as nat, b as nat), i).1, (l - 1) as nat)
            ==> done::<C>(o@, *tok, (l as nat, b as nat), i),
        forall|i: int| 0 <= i < nr::<C>() && !inr::<C>(rg, child::<C>((l as nat, b as nat), i).1, (l - 1) as nat) ==> !o@.dom().contains(
            #[trigger] child::<C>((l as nat, b as nat), i),
        ),
    decreases l, 0int,
    no_unwind
{
    let ghost k0 = (l as nat, b as nat);
    let tracked mut m = Map::<Place, NodeTok>::tracked_empty();
    proof {
        C::Consts::consts_ok();
    }
    let n = C::Consts::NR_ENTRIES;
    let span = touched::<C>(Ghost(rg), l, b, s, e);
    let (first, lo, hi) = (span.first, span.lo, span.hi);
    let mut q = lo;
    while q <= hi
        invariant
            tok_ok::<C>(*tok, k0, *w, *r),
            tok.owns(),
            tok.pa() == pa,
            2 <= l <= rg.top <= 5,
            k0 == (l as nat, b as nat),
            touches_own::<C>(*tok, rg, k0),
            n == nr::<C>(),
            2 <= n <= 512,
            first == b * n,
            rg.s == s,
            rg.e == e,
            s < e <= 0x2000_0000_0000,
            touches::<C>(rg, l as nat, n, first, lo, hi),
            hi <= 0x2000_0000_0000,
            lo <= q <= hi + 1,
            below::<C>(m, rg, k0, *w, *r),
            forall|i: int| 0 <= i < n && lo <= first + i < q ==> #[trigger] done::<C>(m, *tok, k0, i),
            forall|i: int| 0 <= i < n && !(lo <= first + i < q) ==> !m.dom().contains(#[trigger] child::<C>(k0, i)),
        decreases hi + 1 - q,
    {
        let i = q - first;
        let ghost m0 = m;
        proof {
            assert(child::<C>(k0, i as int) == ((l - 1) as nat, q as nat));
            assert(inr::<C>(rg, child::<C>(k0, i as int).1, child::<C>(k0, i as int).0));
        }
        let (word, kt) = load_link::<C>(w, pa, i, Tracked(r), Tracked(tok));
        if let Pte::Table(c) = C::Entry::decode(word, l) {
            let tracked (kp, ki) = kt.get().tracked_unwrap();
            let Tracked(ct) = lock_linked::<C>(w, c, Tracked(r), Tracked(&kp), Tracked(&ki));
            proof {
                lemma_touches_own::<C>(ct, rg, ((l - 1) as nat, q as nat));
            }
            let Tracked(sub) = lock_sub::<C>(w, Tracked(r), Ghost(rg), Tracked(ct), c, l - 1, q, s, e);
            proof {
                m.tracked_union_prefer_right(sub);
                lemma_merge::<C>(m0, sub, m, rg, k0, i as int, *w, *r);
            }
        }
        proof {
            assert forall|j: int| 0 <= j < n && lo <= first + j < q + 1 implies #[trigger] done::<C>(m, *tok, k0, j) by {
                let cj = child::<C>(k0, j);
                if j != i {
                    assert(done::<C>(m0, *tok, k0, j));
                    assert(m.dom().contains(cj) == m0.dom().contains(cj));
                } else {
                    assert(!m0.dom().contains(child::<C>(k0, i as int)));
                }
            }
            assert forall|j: int| 0 <= j < n && !(lo <= first + j < q + 1) implies !m.dom().contains(
                #[trigger] child::<C>(k0, j),
            ) by {
                assert(j != i);
            }
        }
        q += 1;
    }
    proof {
        lemma_span_of_node::<C>(rg, b as nat, l as nat);
    }
    Tracked(m)
}

/// A range of pages that a table of this use may lock: its end is an address too.
pub open spec fn lockable<C: PageTableConfig>(s: nat, e: nat) -> bool {
    let p = pages(nr::<C>(), (C::Consts::levels() - 1) as nat);
    &&& C::TOP_LO * p <= s < e <= C::TOP_HI * p
    &&& C::va_base() + e * PAGE_SIZE <= usize::MAX
}

pub(super) proof fn lemma_range_lockable<C: PageTableConfig>(r: Rng)
    requires
        lockable::<C>(r.s, r.e),
    ensures
        forall|i: int|
            0 <= i < nr::<C>() && #[trigger] inr::<C>(
                r,
                child::<C>((C::Consts::levels() as nat, 0nat), i).1,
                child::<C>((C::Consts::levels() as nat, 0nat), i).0,
            ) ==> C::TOP_LO <= i < C::TOP_HI,
        pre(nr::<C>(), r.s, C::Consts::levels() as nat) == 0,
        pre(nr::<C>(), (r.e - 1) as nat, C::Consts::levels() as nat) == 0,
        r.e <= pages(nr::<C>(), C::Consts::levels() as nat) <= 0x2000_0000_0000,
{
    C::Consts::consts_ok();
    C::config_ok();
    let n = nr::<C>();
    let l = C::Consts::levels() as nat;
    let j = (l - 1) as nat;
    let p = pages(n, j);
    let (lo, hi) = (C::TOP_LO as nat, C::TOP_HI as nat);
    lemma_digits(n, r.s, j);
    lemma_digits(n, (r.e - 1) as nat, j);
    assert(pages(n, l) == n * p);
    assert(hi * p <= n * p) by (nonlinear_arith)
        requires
            hi <= n,
            p >= 1,
    ;
    lemma_pre_top(n, r.s, l);
    lemma_pre_top(n, (r.e - 1) as nat, l);
    lemma_pages_pow2(C::Consts::INDEX_BITS as nat, n, l);
    assert(C::Consts::INDEX_BITS * l <= 45) by (nonlinear_arith)
        requires
            C::Consts::INDEX_BITS <= 9,
            l <= 5,
    ;
    lemma_pow2_le((C::Consts::INDEX_BITS * l) as nat, 45);
    vstd::arithmetic::power2::lemma2_to64_rest();
    let (x, y) = (pre(n, r.s, j), pre(n, (r.e - 1) as nat, j));
    let (a, b) = (low(n, r.s, j), low(n, (r.e - 1) as nat, j));
    assert(lo <= x) by (nonlinear_arith)
        requires
            lo * p <= r.s,
            r.s == x * p + a,
            a < p,
    ;
    assert(y < hi) by (nonlinear_arith)
        requires
            r.e <= hi * p,
            r.e - 1 == y * p + b,
            b >= 0,
            p >= 1,
    ;
}

/// Everything that the pages `[s, e)` touch below the node of level `top` at `root`, and that node, is locked.
pub open spec fn locks_ok<C: PageTableConfig>(w: World, r: Nodes::reader, m: Tree, root: usize, top: u8, s: usize, e: usize) -> bool {
    &&& wf::<C>(m, Rng { top: top as nat, s: s as nat, e: e as nat })
    &&& toks_ok::<C>(m, w, r)
    &&& 1 <= top <= C::Consts::levels()
    &&& s < e <= pages(nr::<C>(), C::Consts::levels() as nat)
    &&& m[place::<C>(s as nat, top as nat)].pa() == root
}

/// Locks the lowest node that covers the pages `[s, e)` and that is wanted, and all below it that they touch: the address of that node and its
/// level. They come in registers: whoever wants them in memory puts them there once.
#[inline(always)]
pub fn lock_range<C: PageTableConfig>(
    w: &'static World,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(rt): Tracked<&RootTok>,
    root: usize,
    s: usize,
    e: usize,
    missing: Missing,
) -> (o: (usize, u8, Tracked<Tree>))
    requires
        reads(*w, *r),
        rt.ok::<C>(*w, root),
        lockable::<C>(s as nat, e as nat),
    ensures
        locks_ok::<C>(*w, *r, o.2@, o.0, o.1, s, e),
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        lemma_range_lockable::<C>(Rng { top: C::Consts::levels() as nat, s: s as nat, e: e as nat });
    }
    if missing.least() <= 1 && prefix::<C::Consts>(s, 1) == prefix::<C::Consts>(e - 1, 1) {
        if let Some((pa, tree)) = lock_leaf_node::<C>(w, Tracked(r), Tracked(rt), root, s, e) {
            return (pa, 1, tree);
        }
    }
    lock_lowest::<C>(w, Tracked(r), Tracked(rt), root, s, e, missing)
}

/// Locks the node of base pages below which all of the pages `[s, e)` lie, if there is one: on the way there nothing but
/// links has to be looked at.
#[inline(always)]
fn lock_leaf_node<C: PageTableConfig>(
    w: &'static World,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(rt): Tracked<&RootTok>,
    root: usize,
    s: usize,
    e: usize,
) -> (o: Option<(usize, Tracked<Tree>)>)
    requires
        reads(*w, *r),
        rt.ok::<C>(*w, root),
        lockable::<C>(s as nat, e as nat),
        pre(nr::<C>(), s as nat, 1) == pre(nr::<C>(), (e - 1) as nat, 1),
    ensures
        o matches Some(x) ==> locks_ok::<C>(*w, *r, x.1@, x.0, 1, s, e),
    no_unwind
{
    let tracked rp = protect_root::<C>(w, root, r, rt);
    let tracked info = rt.info.clone();
    let mut at = Way { pa: root, l: C::Consts::levels(), b: 0, prot: Tracked(rp), info: Tracked(info) };
    proof {
        C::Consts::consts_ok();
        lemma_range_lockable::<C>(Rng { top: C::Consts::levels() as nat, s: s as nat, e: e as nat });
    }
    while at.l > 1
        invariant
            at.ok::<C>(*w, *r, s, e),
            lockable::<C>(s as nat, e as nat),
            pre(nr::<C>(), s as nat, 1) == pre(nr::<C>(), (e - 1) as nat, 1),
        decreases at.l,
    {
        at = at.next::<C>(w, Tracked(r), s, e)?;
    }
    // Where pages are in no order, two lines are missing from the cache: that of the lock, and that of the entry.
    ptword::prefetch(Paddr(at.pa), entry_index::<C::Consts>(s, 1));
    let tok = lock::<C>(w, at.pa, Tracked(r), Tracked(at.prot.borrow()), Tracked(at.info.borrow()))?;
    Some((at.pa, lock_below::<C>(w, Tracked(r), &at, tok, s, e)))
}

/// [`lock_range`], wherever the way down ends.
#[verifier::exec_allows_no_decreases_clause]
#[inline(never)]
fn lock_lowest<C: PageTableConfig>(
    w: &'static World,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(rt): Tracked<&RootTok>,
    root: usize,
    s: usize,
    e: usize,
    missing: Missing,
) -> (o: (usize, u8, Tracked<Tree>))
    requires
        reads(*w, *r),
        rt.ok::<C>(*w, root),
        lockable::<C>(s as nat, e as nat),
    ensures
        locks_ok::<C>(*w, *r, o.2@, o.0, o.1, s, e),
    no_unwind
{
    let tracked rp = protect_root::<C>(w, root, r, rt);
    loop
        invariant
            rt.ok::<C>(*w, root),
            lockable::<C>(s as nat, e as nat),
            protects_at::<C>(*w, *r, rp, rt.info, root),
    {
        let tracked info = rt.info.clone();
        let top = Way { pa: root, l: C::Consts::levels(), b: 0, prot: Tracked(rp.clone()), info: Tracked(info) };
        proof {
            C::Consts::consts_ok();
            lemma_range_lockable::<C>(Rng { top: C::Consts::levels() as nat, s: s as nat, e: e as nat });
        }
        let at = go_down::<C>(w, Tracked(r), top, s, e, missing.least());
        let Some(tok) = lock::<C>(w, at.pa, Tracked(r), Tracked(at.prot.borrow()), Tracked(at.info.borrow())) else {
            continue ;
        };
        let locked = match missing {
            Missing::Make(least) if at.l > least => make_down::<C>(w, Tracked(r), at, tok, s, e, least),
            _ => Some((at, tok)),
        };
        if let Some((at, tok)) = locked {
            let tree = lock_below::<C>(w, Tracked(r), &at, tok, s, e);
            return (at.pa, at.l, tree);
        }
    }
}

/// Locks everything below the locked node that covers the range.
#[inline(always)]
fn lock_below<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    at: &Way,
    tok: Tracked<NodeTok>,
    s: usize,
    e: usize,
) -> (o: Tracked<Tree>)
    requires
        at.ok::<C>(*w, *r, s, e),
        at.locked::<C>(*w, *r, tok@),
        lockable::<C>(s as nat, e as nat),
    ensures
        wf::<C>(o@, Rng { top: at.l as nat, s: s as nat, e: e as nat }),
        toks_ok::<C>(o@, *w, *r),
        e <= pages(nr::<C>(), C::Consts::levels() as nat),
        o@[place::<C>(s as nat, at.l as nat)].pa() == at.pa,
    no_unwind
{
    let ghost rg = Rng { top: at.l as nat, s: s as nat, e: e as nat };
    proof {
        C::Consts::consts_ok();
        lemma_range_lockable::<C>(Rng { top: C::Consts::levels() as nat, s: s as nat, e: e as nat });
        if at.l < C::Consts::levels() {
            lemma_touches_own::<C>(tok@, rg, (at.l as nat, at.b as nat));
        }
    }
    let tree = lock_sub::<C>(w, Tracked(r), Ghost(rg), tok, at.pa, at.l, at.b, s, e);
    proof {
        lemma_sub_wf::<C>(tree@, rg, *w, *r);
    }
    tree
}

/// The first entry of the root that the range touches belongs to the table.
pub(super) proof fn lemma_top_entries<C: PageTableConfig>(r: Rng, i: int)
    requires
        lockable::<C>(r.s, r.e),
        i == idx::<C>(r.s, C::Consts::levels() as nat),
    ensures
        C::TOP_LO <= i < C::TOP_HI,
{
    C::Consts::consts_ok();
    lemma_range_lockable::<C>(r);
    lemma_step::<C>(r, r.s, C::Consts::levels() as nat);
    let k = (C::Consts::levels() as nat, 0nat);
    assert(place::<C>(r.s, C::Consts::levels() as nat) == k);
    assert(inr::<C>(r, child::<C>(k, i).1, child::<C>(k, i).0));
}

/// Gives a whole sub-tree back, children first.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "each token is an argument of its own")]
pub fn release_sub<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    Ghost(rg): Ghost<Rng>,
    Tracked(m): Tracked<Tree>,
    pa: usize,
    l: u8,
    b: usize,
    s: usize,
    e: usize,
)
    requires
        sub_wf::<C>(m, rg, (l as nat, b as nat), *w, *r),
        m[(l as nat, b as nat)].pa() == pa,
        1 <= l <= 5,
        rg.s == s,
        rg.e == e,
        s < e <= 0x2000_0000_0000,
    decreases l, 1int,
    no_unwind
{
    let ghost k0 = (l as nat, b as nat);
    let ghost m0 = m;
    let tracked mut m = m;
    let tracked tok = m.tracked_remove(k0);
    if l > 1 {
        release_kids::<C>(w, Tracked(r), Ghost(rg), Ghost(m0), Tracked(m), Tracked(&tok), pa, l, b, s, e);
    }
    proof {
        let inf = tok.info.value();
        assert forall|i: int| inf.lo <= i < inf.hi implies inf.kind.entry_owns(#[trigger] tok.words()[i], inf.level, tok.lk.leaves, i) by {
            assert(entry_ok::<C>(m0, rg, k0, i));
        }
    }
    unlock::<C>(w, pa, Tracked(r), Tracked(tok));
}

/// Gives all but the root of a sub-tree back: `m0` is all of it, `m` what is below the root.
#[expect(clippy::too_many_arguments, reason = "each token is an argument of its own")]
fn release_kids<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    Ghost(rg): Ghost<Rng>,
    Ghost(m0): Ghost<Tree>,
    Tracked(m): Tracked<Tree>,
    Tracked(tok): Tracked<&NodeTok>,
    pa: usize,
    l: u8,
    b: usize,
    s: usize,
    e: usize,
)
    requires
        sub_wf::<C>(m0, rg, (l as nat, b as nat), *w, *r),
        *tok == m0[(l as nat, b as nat)],
        m == m0.remove((l as nat, b as nat)),
        tok.pa() == pa,
        2 <= l <= 5,
        rg.s == s,
        rg.e == e,
        s < e <= 0x2000_0000_0000,
    decreases l, 0int,
    no_unwind
{
    let ghost k0 = (l as nat, b as nat);
    let tracked mut m = m;
    proof {
        C::Consts::consts_ok();
    }
    let n = C::Consts::NR_ENTRIES;
    let span = touched::<C>(Ghost(rg), l, b, s, e);
    let (first, lo, hi) = (span.first, span.lo, span.hi);
    let mut q = lo;
    while q <= hi
        invariant
            sub_wf::<C>(m0, rg, k0, *w, *r),
            *tok == m0[k0],
            tok.pa() == pa,
            2 <= l <= 5,
            k0 == (l as nat, b as nat),
            n == nr::<C>(),
            2 <= n <= 512,
            first == b * n,
            rg.s == s,
            rg.e == e,
            s < e <= 0x2000_0000_0000,
            touches::<C>(rg, l as nat, n, first, lo, hi),
            hi <= 0x2000_0000_0000,
            lo <= q <= hi + 1,
            forall|k: Place| #[trigger] m.dom().contains(k) ==> m0.dom().contains(k) && k != k0 && m[k] == m0[k],
            forall|j: int, k: Place|
                q - first <= j < n && m0.dom().contains(k) && #[trigger] under::<C>(k, child::<C>(k0, j)) ==> m.dom().contains(k),
        decreases hi + 1 - q,
    {
        let i = q - first;
        let ghost c = child::<C>(k0, i as int);
        proof {
            assert(c == ((l - 1) as nat, q as nat));
            assert(inr::<C>(rg, c.1, c.0));
            assert(entry_ok::<C>(m0, rg, k0, i as int));
        }
        let word = load::<C>(w, pa, i, Tracked(r), Tracked(tok));
        if let Pte::Table(cpa) = C::Entry::decode(word, l) {
            let tracked mut sub;
            proof {
                assert(m0.remove(k0).dom().contains(c));
                let removed = m0.dom().filter(|k: Place| under::<C>(k, c));
                assert forall|k: Place| #[trigger] removed.contains(k) implies m.dom().contains(k) by {
                    assert(under::<C>(k, child::<C>(k0, i as int)));
                }
                sub = m.tracked_remove_keys(removed);
                assert(sub =~= m0.restrict(removed));
                lemma_part::<C>(m0, sub, rg, k0, i as int, *w, *r);
                assert forall|j: int, k: Place|
                    q + 1 - first <= j < n && m0.dom().contains(k) && #[trigger] under::<C>(
                        k,
                        child::<C>(k0, j),
                    ) implies m.dom().contains(k) by {
                    if under::<C>(k, c) {
                        lemma_under_unique::<C>(k, c, child::<C>(k0, j));
                        lemma_child_unique::<C>(k0, i as int, k0, j);
                    }
                }
            }
            release_sub::<C>(w, Tracked(r), Ghost(rg), Tracked(sub), cpa, l - 1, q, s, e);
        }
        q += 1;
    }
}

/// Locks the whole table, from the root on.
pub fn lock_all<C: PageTableConfig>(
    w: &'static World,
    reader: Tracked<Nodes::reader>,
    Tracked(rt): Tracked<&RootTok>,
    root: usize,
    s: usize,
    e: usize,
) -> (o: (Locks, Tracked<Tree>))
    requires
        reads(*w, reader@),
        rt.ok::<C>(*w, root),
        lockable::<C>(s as nat, e as nat),
    ensures
        o.0.ok::<C>(o.1@),
        o.0.s == s,
        o.0.e == e,
        o.0.w@ == *w,
        o.0.reader == reader,
        o.0.root == root,
        o.0.top == C::Consts::levels(),
        o.0.node@ == rt.info.key(),
        place::<C>(s as nat, C::Consts::levels() as nat) == (C::Consts::levels() as nat, 0nat),
    no_unwind
{
    let tracked rp = protect_root::<C>(w, root, reader.borrow(), rt);
    let l = C::Consts::levels();
    let Tracked(tok) = lock_linked::<C>(w, root, Tracked(reader.borrow()), Tracked(&rp), Tracked(&rt.info));
    let ghost rg = Rng { top: l as nat, s: s as nat, e: e as nat };
    proof {
        C::Consts::consts_ok();
        lemma_range_lockable::<C>(rg);
    }
    let tree = lock_sub::<C>(w, Tracked(reader.borrow()), Ghost(rg), Tracked(tok), root, l, 0, s, e);
    proof {
        lemma_sub_wf::<C>(tree@, rg, *w, reader@);
    }
    (Locks { w: InWorld::of(w), root, top: l, s, e, reader, node: Ghost(tree@[(l as nat, 0nat)].info.key()) }, tree)
}

} // verus!
