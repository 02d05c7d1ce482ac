//! What a cursor does inside its locked sub-tree.
#![expect(unsafe_code, reason = "words of new nodes are written with their permission at hand")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::config::*;
pub(super) use super::descent::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
use super::node::*;
use super::node_frame::*;
use super::protocol::*;
use super::spec::*;
use super::tree::*;
use super::world::InWorld;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::ptword;
use vstd::prelude::*;

verus! {

/// A locked sub-tree, as code sees it: where its root is and which pages it is locked for.
pub struct Locks {
    pub w: InWorld,
    /// The physical address of the sub-tree's root.
    pub root: usize,
    /// Its level.
    pub top: u8,
    /// The first page.
    pub s: usize,
    /// One past the last page.
    pub e: usize,
    pub reader: Tracked<Nodes::reader>,
    /// The ghost name of the sub-tree's root.
    pub node: Ghost<Nid>,
}

impl Locks {
    /// The range, for proofs.
    pub open spec fn rng(self) -> Rng {
        Rng { top: self.top as nat, s: self.s as nat, e: self.e as nat }
    }

    /// `m` is all of it, locked and consistent.
    pub open spec fn ok<C: PageTableConfig>(self, m: Tree) -> bool {
        &&& reads(self.w@, self.reader@)
        &&& toks_ok::<C>(m, self.w@, self.reader@)
        &&& wf::<C>(m, self.rng())
        &&& 1 <= self.top <= C::Consts::levels()
        &&& self.e <= pages(nr::<C>(), C::Consts::levels() as nat)
        &&& m[place::<C>(self.s as nat, self.top as nat)].pa() == self.root
        &&& m[place::<C>(self.s as nat, self.top as nat)].info.key() == self.node@
    }

    /// What page `v` translates to.
    pub open spec fn at<C: PageTableConfig>(self, m: Tree, v: nat) -> Option<(nat, PageProperty)> {
        trans::<C>(m, self.top as nat, v)
    }

    /// The level of the leaf that maps page `v`.
    pub open spec fn level<C: PageTableConfig>(self, m: Tree, v: nat) -> Option<nat> {
        level_of::<C>(m, self.top as nat, v)
    }

    /// What `m2` maps `m` maps, too, by leaves of the same size or larger.
    pub open spec fn finer<C: PageTableConfig>(self, m: Tree, m2: Tree) -> bool {
        finer::<C>(m, m2, self.rng())
    }

    /// The same pages translate to the same.
    pub open spec fn same<C: PageTableConfig>(self, m: Tree, m2: Tree) -> bool {
        forall|v: nat| self.s <= v < self.e ==> #[trigger] self.at::<C>(m2, v) == self.at::<C>(m, v)
    }

    /// The pages `[a, b)` translate to nothing, all others as before.
    pub open spec fn cleared<C: PageTableConfig>(self, m: Tree, m2: Tree, a: nat, b: nat) -> bool {
        forall|v: nat|
            self.s <= v < self.e ==> #[trigger] self.at::<C>(m2, v) == (if a <= v < b { None } else { self.at::<C>(m, v) })
    }

    /// Nothing is mapped in `[a, b)`.
    pub open spec fn nothing_in<C: PageTableConfig>(self, m: Tree, a: nat, b: nat) -> bool {
        forall|v: nat| self.s <= v < self.e && a <= v < b ==> #[trigger] self.at::<C>(m, v) is None
    }
}

/// What is finer than what is finer is.
pub(super) proof fn lemma_finer<C: PageTableConfig>(g: Locks, m0: Tree, m1: Tree, m2: Tree)
    requires
        g.finer::<C>(m0, m1),
        g.finer::<C>(m1, m2),
    ensures
        g.finer::<C>(m0, m2),
{
    let r = g.rng();
    assert forall|v: nat| r.s <= v < r.e implies #[trigger] sized_as::<C>(m0, m2, r.top, v) by {
        assert(sized_as::<C>(m0, m1, r.top, v));
        assert(sized_as::<C>(m1, m2, r.top, v));
    }
}

/// All tokens but those of `k` are as before.
pub proof fn lemma_toks<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, k: Place)
    requires
        toks_ok::<C>(m, g.w@, g.reader@),
        m2.dom() == m.dom(),
        forall|k2: Place| m.dom().contains(k2) && k2 != k ==> #[trigger] m2[k2] == m[k2],
        m.dom().contains(k) ==> tok_ok::<C>(m2[k], k, g.w@, g.reader@),
    ensures
        toks_ok::<C>(m2, g.w@, g.reader@),
{
    assert forall|k2: Place| m2.dom().contains(k2) implies #[trigger] tok_ok::<C>(m2[k2], k2, g.w@, g.reader@) by {
        if k2 != k {
            assert(tok_ok::<C>(m[k2], k2, g.w@, g.reader@));
        }
    }
}

/// The nodes of `m` are in `m2`.
pub open spec fn same_nodes(m: Tree, m2: Tree) -> bool {
    forall|k: Place| #[trigger] m.dom().contains(k) ==> m2.dom().contains(k) && m2[k].pa() == m[k].pa()
}

/// Where `m2` has leaves, `m` has them.
pub open spec fn fewer_leaves<C: PageTableConfig>(m: Tree, m2: Tree) -> bool {
    forall|k: Place, i: int|
        m2.dom().contains(k) && 0 <= i < 512 && (#[trigger] ent::<C>(m2, k, i)) is Leaf ==> m.dom().contains(k) && ent::<C>(m, k, i) is Leaf
}

/// Where one entry became no leaf, and all others are as they were, there are no more leaves.
proof fn lemma_fewer_leaves<C: PageTableConfig>(m: Tree, m2: Tree, k: Place, i: int)
    requires
        forall|k2: Place| m2.dom().contains(k2) ==> #[trigger] m.dom().contains(k2),
        forall|k2: Place| #[trigger] m2.dom().contains(k2) && k2 != k ==> m2[k2] == m[k2],
        0 <= i < 512,
        m2[k].words() == m[k].words().update(i, m2[k].words()[i]),
        !(ent::<C>(m2, k, i) is Leaf),
        m[k].words().len() == 512,
    ensures
        fewer_leaves::<C>(m, m2),
{
    assert forall|k2: Place, j: int| m2.dom().contains(k2) && 0 <= j < 512 && (#[trigger] ent::<C>(m2, k2, j)) is Leaf implies m.dom().contains(k2)
        && ent::<C>(m, k2, j) is Leaf by {
        if k2 == k {
            assert(j != i);
            assert(m2[k].words()[j] == m[k].words()[j]);
        }
    }
}

/// `m2` is `m` after entry `i` of `k` became `v`, which owns `f`.
pub open spec fn is_replaced<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, k: Place, i: int, v: u64) -> bool {
    &&& g.ok::<C>(m2)
    &&& m2.dom() == m.dom()
    &&& same_nodes(m, m2)
    &&& ent::<C>(m2, k, i) == meaning::<C>(v, k.0)
    &&& !(meaning::<C>(v, k.0) is Leaf) ==> fewer_leaves::<C>(m, m2)
    &&& forall|p: nat|
        g.s <= p < g.e ==> #[trigger] g.at::<C>(m2, p) == (if through::<C>(p, k, i) { trans::<C>(m2, k.0, p) } else { g.at::<C>(m, p) })
    &&& forall|p: nat|
        g.s <= p < g.e ==> #[trigger] g.level::<C>(m2, p) == (if through::<C>(p, k, i) {
            level_of::<C>(m2, k.0, p)
        } else {
            g.level::<C>(m, p)
        })
}

/// The entry owns `f` instead of what it owned.
proof fn exchange_leaf(tracked n: &mut NodeTok, i: int, tracked f: Option<LeafTok>) -> (tracked o: Option<LeafTok>)
    ensures
        *final(n) == (NodeTok { lk: Locked { leaves: final(n).lk.leaves, ..old(n).lk }, ..*old(n) }),
        o is Some <==> old(n).lk.leaves.dom().contains(i),
        o matches Some(t) ==> t == old(n).lk.leaves[i],
        f matches Some(t) ==> final(n).lk.leaves == old(n).lk.leaves.insert(i, t),
        f is None ==> final(n).lk.leaves == old(n).lk.leaves.remove(i),
{
    let tracked mut o = None;
    let l0 = n.lk.leaves;
    if n.lk.leaves.dom().contains(i) {
        o = Some(n.lk.leaves.tracked_remove(i));
    }
    if f is Some {
        n.lk.leaves.tracked_insert(i, f.tracked_unwrap());
        assert(n.lk.leaves =~= l0.insert(i, f->0));
    } else {
        assert(n.lk.leaves =~= l0.remove(i));
    }
    o
}

/// Replaces an entry that is no link, and was `seen`, by another that is no link. Returns the word that was there, and what it owned.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what was there and what will be, and the tokens")]
pub fn replace<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    Ghost(k): Ghost<Place>,
    pa: usize,
    i: usize,
    seen: u64,
    v: u64,
    Tracked(f): Tracked<Option<LeafTok>>,
) -> (o: (u64, Tracked<Option<LeafTok>>))
    requires
        g.ok::<C>(*old(m)),
        old(m).dom().contains(k),
        same::<C>(seen, old(m)[k].words()[i as int]),
        old(m)[k].pa() == pa,
        own_entry(*old(m), k, i as int),
        match meaning::<C>(v, k.0) {
            Pte::Absent => f is None,
            Pte::Leaf(p, _) => f is Some && leaf_fits::<C::Consts>(p, k.0) && C::leaf_ok(f->0, p, k.0),
            Pte::Table(_) => false,
        },
        !(ent::<C>(*old(m), k, i as int) is Table),
    ensures
        is_replaced::<C>(*g, *old(m), *final(m), k, i as int, v),
        same::<C>(o.0, old(m)[k].words()[i as int]),
        meaning::<C>(o.0, k.0) == ent::<C>(*old(m), k, i as int),
        match ent::<C>(*old(m), k, i as int) {
            Pte::Leaf(p, _) => o.1@ is Some && leaf_fits::<C::Consts>(p, k.0) && C::leaf_ok(o.1@->0, p, k.0),
            _ => o.1@ is None,
        },
    no_unwind
{
    let ghost r = g.rng();
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        assert(node_ok::<C>(*m, r, k));
        assert(tok_ok::<C>(m[k], k, g.w@, g.reader@));
        assert(entry_ok::<C>(*m, r, k, i as int));
    }
    let word = swap::<C>(g.w.get(), pa, i, seen, v, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow_mut(k)));
    let tracked o;
    proof {
        C::Entry::noted_is_no_meaning(word, m0[k].words()[i as int], k.0);
        o = exchange_leaf(m.tracked_borrow_mut(k), i as int, f);
        assert(m.dom() =~= m0.dom());
        lemma_replaced::<C>(*g, m0, *m, k, i as int, v);
    }
    (word, Tracked(o))
}

/// Makes a leaf of an entry that is absent.
#[inline(always)]
pub fn install<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    Ghost(k): Ghost<Place>,
    pa: usize,
    i: usize,
    v: u64,
    Tracked(f): Tracked<LeafTok>,
)
    requires
        g.ok::<C>(*old(m)),
        old(m).dom().contains(k),
        old(m)[k].pa() == pa,
        own_entry(*old(m), k, i as int),
        meaning::<C>(v, k.0) matches Pte::Leaf(p, _) && leaf_fits::<C::Consts>(p, k.0) && C::leaf_ok(f, p, k.0),
        ent::<C>(*old(m), k, i as int) is Absent,
    ensures
        is_replaced::<C>(*g, *old(m), *final(m), k, i as int, v),
    no_unwind
{
    let ghost m0 = *m;
    proof {
        C::Consts::consts_ok();
        assert(node_ok::<C>(*m, g.rng(), k));
        assert(tok_ok::<C>(m[k], k, g.w@, g.reader@));
        assert(entry_ok::<C>(*m, g.rng(), k, i as int));
    }
    store::<C>(g.w.get(), pa, i, v, Ghost(0), Tracked(g.reader.borrow()), Tracked(m.tracked_borrow_mut(k)));
    proof {
        exchange_leaf(m.tracked_borrow_mut(k), i as int, Some(f));
        assert(m.dom() =~= m0.dom());
        lemma_replaced::<C>(*g, m0, *m, k, i as int, v);
    }
}

pub proof fn lemma_replaced<C: PageTableConfig>(g: Locks, m0: Tree, m: Tree, k: Place, i: int, v: u64)
    requires
        g.ok::<C>(m0),
        is_set::<C>(m0, m, g.rng(), k, i),
        m[k].ok::<C>(g.w@, g.reader@),
        m[k].words()[i] == v,
        entry_ok::<C>(m, g.rng(), k, i),
    ensures
        is_replaced::<C>(g, m0, m, k, i, v),
{
    assert(tok_ok::<C>(m0[k], k, g.w@, g.reader@));
    assert(node_ok::<C>(m0, g.rng(), k));
    lemma_toks::<C>(g, m0, m, k);
    lemma_set::<C>(m0, m, g.rng(), k, i);
    let top = place::<C>(g.s as nat, g.top as nat);
    assert(m[top].info == m0[top].info);
    if !(meaning::<C>(v, k.0) is Leaf) {
        lemma_fewer_leaves::<C>(m0, m, k, i);
    }
}

/// The entries of a new node that continue what the word `e` at level `l` maps.
fn fill<C: PageTableConfig>(cpa: usize, l: u8, e: u64, Tracked(new): Tracked<&mut NewNode>)
    requires
        old(new).ok(cpa),
        old(new).page.words().len() == 512,
        meaning::<C>(e, l as nat) matches Pte::Leaf(pa, _) && leaf_fits::<C::Consts>(pa, l as nat),
        2 <= l <= 5,
    ensures
        final(new).ok(cpa),
        final(new).own == old(new).own,
        final(new).page.words().len() == 512,
        forall|j: int| 0 <= j < nr::<C>() ==> same_part::<C>(
            meaning::<C>(e, l as nat),
            l as nat,
            j,
            meaning::<C>(#[trigger] final(new).page.words()[j], (l - 1) as nat),
        ),
    no_unwind
{
    proof {
        C::Consts::consts_ok();
    }
    let Pte::Leaf(pa, prop) = C::Entry::decode(e, l) else {
        return ;
    };
    proof {
        C::Entry::meaning_holds(e, l as nat);
    }
    let step = PAGE_SIZE * pages_below::<C::Consts>(l - 2);
    let mut j: usize = 0;
    while j < C::Consts::NR_ENTRIES
        invariant
            j <= C::Consts::NR_ENTRIES == nr::<C>() <= 512,
            new.ok(cpa),
            new.own == old(new).own,
            new.page.words().len() == 512,
            2 <= l <= 5,
            meaning::<C>(e, l as nat) == Pte::Leaf(pa, prop),
            C::Entry::holds(prop),
            leaf_fits::<C::Consts>(pa, l as nat),
            step == span(nr::<C>(), (l - 1) as nat),
            forall|q: int| 0 <= q < j ==> same_part::<C>(
                Pte::Leaf(pa, prop),
                l as nat,
                q,
                meaning::<C>(#[trigger] new.page.words()[q], (l - 1) as nat),
            ),
        decreases C::Consts::NR_ENTRIES - j,
    {
        proof {
            lemma_part_fits::<C>(pa, l as nat, j as int);
            assert(j * step >= 0) by (nonlinear_arith);
        }
        // SAFETY: a part of a page that fits fits.
        let part = unsafe { C::Entry::leaf(pa + j * step, l - 1, prop) };
        let word = C::Entry::with_noted(part, e);
        proof {
            C::Entry::noted_is_no_meaning(word, part, (l - 1) as nat);
        }
        // SAFETY: the permission of the new node's frame is at hand.
        unsafe { ptword::store_unreachable(vellum_machine::addr::Paddr(cpa), j, word, Tracked(&mut new.page)) };
        j += 1;
    }
}

/// What a new node below the entry owns: what the entry owned, in parts.
proof fn split_leaves<C: PageTableConfig>(tracked n: &mut NodeTok, i: int, pte: Pte) -> (tracked o: Map<int, LeafTok>)
    requires
        pte == meaning::<C>(old(n).words()[i], old(n).level()),
        match pte {
            Pte::Leaf(pa, _) => old(n).level() >= 2 && old(n).lk.leaves.dom().contains(i) && leaf_fits::<C::Consts>(
                pa,
                old(n).level(),
            ) && C::leaf_ok(old(n).lk.leaves[i], pa, old(n).level()),
            Pte::Absent => !old(n).lk.leaves.dom().contains(i),
            Pte::Table(_) => false,
        },
    ensures
        *final(n) == (NodeTok { lk: Locked { leaves: old(n).lk.leaves.remove(i), ..old(n).lk }, ..*old(n) }),
        forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] o.dom().contains(j) == (pte is Leaf),
        forall|j: int| 0 <= j < nr::<C>() && pte is Leaf ==> C::leaf_ok(
            #[trigger] o[j],
            (pte->Leaf_0 + j * span(nr::<C>(), (old(n).level() - 1) as nat)) as usize,
            (old(n).level() - 1) as nat,
        ),
{
    if let Pte::Leaf(pa, _) = pte {
        let tracked t = n.lk.leaves.tracked_remove(i);
        C::split_leaf(t, pa, n.level())
    } else {
        assert(n.lk.leaves.remove(i) =~= n.lk.leaves);
        Map::tracked_empty()
    }
}

/// Makes an entry that is no link a link to a new node that translates the same. `None`: no memory, and nothing
/// changed.
#[verifier::exec_allows_no_decreases_clause]
pub fn expand<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    Ghost(k): Ghost<Place>,
    pa: usize,
    i: usize,
    l: u8,
    word: u64,
) -> (r: Option<usize>)
    requires
        g.ok::<C>(*old(m)),
        old(m).dom().contains(k),
        k.0 == l,
        2 <= l,
        old(m)[k].pa() == pa,
        own_entry(*old(m), k, i as int),
        meaning::<C>(word, l as nat) == ent::<C>(*old(m), k, i as int),
        !(ent::<C>(*old(m), k, i as int) is Table),
        inr::<C>(g.rng(), child::<C>(k, i as int).1, child::<C>(k, i as int).0),
    ensures
        g.ok::<C>(*final(m)),
        g.same::<C>(*old(m), *final(m)),
        g.finer::<C>(*old(m), *final(m)),
        r matches Some(c) ==> final(m).dom() == old(m).dom().insert(child::<C>(k, i as int)) && final(m)[child::<C>(
            k,
            i as int,
        )].pa() == c,
        r is None ==> *final(m) == *old(m),
        forall|k2: Place| #[trigger] old(m).dom().contains(k2) ==> final(m).dom().contains(k2) && final(m)[k2].pa() == old(m)[k2].pa(),
    no_unwind
{
    let ghost r = g.rng();
    let ghost m0 = *m;
    let ghost c = child::<C>(k, i as int);
    proof {
        C::Consts::consts_ok();
        assert(node_ok::<C>(*m, r, k));
        assert(tok_ok::<C>(m[k], k, g.w@, g.reader@));
        assert(entry_ok::<C>(*m, r, k, i as int));
    }
    let (cpa, Tracked(new)) = alloc_node()?;
    let tracked mut new = new;
    let tracked mut leaves = split_leaves::<C>(m.tracked_borrow_mut(k), i as int, ent::<C>(m0, k, i as int));
    let ghost leaves0 = leaves;
    let ghost t1 = m[k];
    let mut word = word;
    loop
        invariant
            m0 == *old(m),
            g.ok::<C>(m0),
            tok_ok::<C>(m0[k], k, g.w@, g.reader@),
            m0.dom().contains(k),
            own_entry(m0, k, i as int),
            m0[k].pa() == pa,
            m0[k].ok::<C>(g.w@, g.reader@),
            k.0 == l,
            2 <= l <= 5,
            r == g.rng(),
            c == child::<C>(k, i as int),
            nr::<C>() <= 512,
            meaning::<C>(word, l as nat) == ent::<C>(m0, k, i as int),
            !(ent::<C>(m0, k, i as int) is Table),
            entry_ok::<C>(m0, r, k, i as int),
            inr::<C>(r, c.1, c.0),
            t1 == (NodeTok { lk: Locked { leaves: m0[k].lk.leaves.remove(i as int), ..m0[k].lk }, ..m0[k] }),
            *m == m0.insert(k, t1),
            new.ok(cpa),
            new.page.words().len() == 512,
            ent::<C>(m0, k, i as int) is Absent ==> new.zeroed(),
            leaves == leaves0,
            forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] leaves0.dom().contains(j) == (ent::<C>(m0, k, i as int) is Leaf),
            forall|j: int| 0 <= j < nr::<C>() && ent::<C>(m0, k, i as int) is Leaf ==> C::leaf_ok(
                #[trigger] leaves0[j],
                (ent::<C>(m0, k, i as int)->Leaf_0 + j * span(nr::<C>(), (l - 1) as nat)) as usize,
                (l - 1) as nat,
            ),
    {
        let pte = C::Entry::decode(word, l);
        if let Pte::Leaf(_, _) = pte {
            fill::<C>(cpa, l, word, Tracked(&mut new));
        }
        let ghost words = new.page.words();
        proof {
            assert forall|j: int| 0 <= j < nr::<C>() implies same_part::<C>(
                ent::<C>(m0, k, i as int),
                l as nat,
                j,
                meaning::<C>(#[trigger] words[j], (l - 1) as nat),
            ) by {
                C::Entry::zero_is_absent((l - 1) as nat);
            }
        }
        match link_child::<C>(
            g.w.get(),
            pa,
            i,
            word,
            cpa,
            Tracked(g.reader.borrow()),
            Tracked(m.tracked_borrow_mut(k)),
            Tracked(new),
            Tracked(leaves),
        ) {
            Ok(ct) => {
                proof {
                    let tracked ct = ct.get();
                    assert(ct.words() == words);
                    m.tracked_insert(c, ct);
                    assert(m.dom() =~= m0.dom().insert(c));
                    assert(is_linked::<C>(m[k], t1, i as int, m[c]));
                    assert(m[k].lk.leaves == m0[k].lk.leaves.remove(i as int));
                    assert(m[k].info == m0[k].info);
                    assert(ent::<C>(*m, k, i as int) == Pte::Table(m[c].pa()));
                    assert forall|j: int| 0 <= j < nr::<C>() implies same_part::<C>(
                        ent::<C>(m0, k, i as int),
                        k.0,
                        j,
                        #[trigger] ent::<C>(*m, c, j),
                    ) by {
                        let _ = words[j];
                    }
                    assert(forall|j: int| 0 <= j < nr::<C>() ==> #[trigger] m[c].lk.leaves.dom().contains(j) == (ent::<C>(m0, k, i as int) is Leaf));
                    lemma_expanded::<C>(*g, m0, *m, k, i as int);
                }
                return Some(cpa);
            },
            Err((w2, n2, l2)) => {
                proof {
                    C::Entry::noted_is_no_meaning(w2, m0[k].words()[i as int], l as nat);
                    new = n2.get();
                    leaves = l2.get();
                    assert(*m =~= m0.insert(k, t1));
                }
                word = w2;
            },
        }
    }
}

proof fn lemma_expanded<C: PageTableConfig>(g: Locks, m0: Tree, m: Tree, k: Place, i: int)
    requires
        g.ok::<C>(m0),
        is_link::<C>(m0, m, g.rng(), k, i),
        tok_ok::<C>(m[k], k, g.w@, g.reader@),
        tok_ok::<C>(m[child::<C>(k, i)], child::<C>(k, i), g.w@, g.reader@),
        m0.dom().contains(child::<C>(k, i)) ==> false,
    ensures
        g.ok::<C>(m),
        g.same::<C>(m0, m),
        g.finer::<C>(m0, m),
        forall|k2: Place| #[trigger] m0.dom().contains(k2) ==> m.dom().contains(k2) && m[k2].pa() == m0[k2].pa(),
{
    let c = child::<C>(k, i);
    lemma_link::<C>(m0, m, g.rng(), k, i);
    assert forall|k2: Place| m.dom().contains(k2) implies #[trigger] tok_ok::<C>(m[k2], k2, g.w@, g.reader@) by {
        if k2 != k && k2 != c {
            assert(tok_ok::<C>(m0[k2], k2, g.w@, g.reader@));
        }
    }
    assert forall|k2: Place| #[trigger] m0.dom().contains(k2) implies m.dom().contains(k2) && m[k2].pa() == m0[k2].pa() by {
        if k2 != k {
            assert(m[k2] == m0[k2]);
        }
    }
    let top = place::<C>(g.s as nat, g.top as nat);
    assert(m0.dom().contains(top));
}

/// Cuts out the node below an entry, which links nothing; what comes back is the node, with what its leaves own.
pub(super) fn detach<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&mut Tree>,
    Ghost(k): Ghost<Place>,
    pa: usize,
    i: usize,
    cpa: usize,
) -> (o: Tracked<DetachedTok>)
    requires
        g.ok::<C>(*old(m)),
        old(m).dom().contains(k),
        k.0 >= 2,
        old(m)[k].pa() == pa,
        own_entry(*old(m), k, i as int),
        ent::<C>(*old(m), k, i as int) == Pte::Table(cpa),
        inr::<C>(g.rng(), child::<C>(k, i as int).1, child::<C>(k, i as int).0),
        forall|j: int| 0 <= j < nr::<C>() ==> !(#[trigger] ent::<C>(*old(m), child::<C>(k, i as int), j) is Table),
    ensures
        g.ok::<C>(*final(m)),
        forall|v: nat|
            g.s <= v < g.e ==> #[trigger] g.at::<C>(*final(m), v) == (if through::<C>(v, k, i as int) {
                None
            } else {
                g.at::<C>(*old(m), v)
            }),
        fewer_leaves::<C>(*old(m), *final(m)),
        g.finer::<C>(*old(m), *final(m)),
        final(m).dom() == old(m).dom().remove(child::<C>(k, i as int)),
        o@.ok::<C>(g.w@, cpa, (k.0 - 1) as nat),
        o@.copy@.words == old(m)[child::<C>(k, i as int)].words(),
        o@.retired.info.value().base == child::<C>(k, i as int).1,
    no_unwind
{
    let ghost r = g.rng();
    let ghost m0 = *m;
    let ghost c = child::<C>(k, i as int);
    proof {
        C::Consts::consts_ok();
        assert(node_ok::<C>(*m, r, k));
        assert(entry_ok::<C>(*m, r, k, i as int));
        assert(node_ok::<C>(*m, r, c));
        assert(tok_ok::<C>(m[k], k, g.w@, g.reader@));
        assert(tok_ok::<C>(m[c], c, g.w@, g.reader@));
        assert(k != c);
        C::Entry::zero_is_absent(k.0);
        let tracked a = m.tracked_borrow(k);
        let tracked b = m.tracked_borrow(c);
        if a.info.key() == b.info.key() {
            a.info.agree(&b.info);
        }
    }
    let tracked ct = m.tracked_remove(c);
    proof {
        assert forall|j: int| 0 <= j < nr::<C>() implies !(meaning::<C>(#[trigger] ct.words()[j], ct.level()) is Table) by {
            assert(!(ent::<C>(m0, c, j) is Table));
        }
        let inf = ct.info.value();
        assert forall|j: int| inf.lo <= j < inf.hi implies inf.kind.entry_owns(#[trigger] ct.words()[j], inf.level, ct.lk.leaves, j) by {
            assert(entry_ok::<C>(m0, r, c, j));
        }
    }
    let o = unlink_child::<C>(
        g.w.get(),
        pa,
        i,
        cpa,
        Tracked(g.reader.borrow()),
        Tracked(m.tracked_borrow_mut(k)),
        Tracked(ct),
    );
    proof {
        assert(m.dom() =~= m0.dom().remove(c));
        lemma_prune::<C>(m0, *m, r, k, i as int);
        lemma_fewer_leaves::<C>(m0, *m, k, i as int);
        assert forall|k2: Place| m.dom().contains(k2) implies #[trigger] tok_ok::<C>(m[k2], k2, g.w@, g.reader@) by {
            assert(tok_ok::<C>(m0[k2], k2, g.w@, g.reader@));
        }
        let top = place::<C>(g.s as nat, g.top as nat);
        assert(m0.dom().contains(top));
    }
    o
}

} // verus!
