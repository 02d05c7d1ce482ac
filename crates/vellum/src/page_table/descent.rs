//! Ways down in a locked sub-tree: to the entry that decides about a page.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::tree::*;
use vstd::prelude::*;

verus! {

/// Where the way down to a page ends: a node, and what its entry for the page says.
pub struct Found {
    /// The physical address of the node.
    pub pa: usize,
    /// Its level.
    pub l: u8,
    /// The word.
    pub word: u64,
    /// What it means: no link.
    pub pte: Pte,
    /// The physical address of the parent, where the node is not the top.
    pub up: usize,
}

impl Found {
    /// It is where the way to page `v` ends.
    pub open spec fn ok<C: PageTableConfig>(self, g: Locks, m: Tree, v: nat) -> bool {
        let k = place::<C>(v, self.l as nat);
        let i = idx::<C>(v, self.l as nat);
        &&& self.at_node::<C>(g, m, v)
        &&& self.pte == ent::<C>(m, k, i)
        &&& self.pte == meaning::<C>(self.word, self.l as nat)
        &&& same::<C>(self.word, m[k].words()[i])
        &&& self.l < g.top ==> up_ok::<C>(m, v, self.l as nat, self.up)
    }

    /// Whether something is mapped there.
    #[inline(always)]
    pub fn is_leaf(&self) -> (r: bool)
        ensures
            r == (self.pte is Leaf),
        no_unwind
    {
        matches!(self.pte, Pte::Leaf(_, _))
    }

    /// Whether nothing is there.
    #[inline(always)]
    pub fn is_absent(&self) -> (r: bool)
        ensures
            r == (self.pte is Absent),
        no_unwind
    {
        matches!(self.pte, Pte::Absent)
    }

    /// Whether it is a link.
    #[inline(always)]
    pub fn is_table(&self) -> (r: bool)
        ensures
            r == (self.pte is Table),
        no_unwind
    {
        matches!(self.pte, Pte::Table(_))
    }

    /// Its node is on the way to page `v`.
    pub open spec fn at_node<C: PageTableConfig>(self, g: Locks, m: Tree, v: nat) -> bool {
        let k = place::<C>(v, self.l as nat);
        &&& 1 <= self.l <= g.top
        &&& m.dom().contains(k)
        &&& m[k].pa() == self.pa
        &&& own_entry(m, k, idx::<C>(v, self.l as nat))
        &&& entry_ok::<C>(m, g.rng(), k, idx::<C>(v, self.l as nat))
        &&& tok_ok::<C>(m[k], k, g.w@, g.reader@)
        &&& g.at::<C>(m, v) == trans::<C>(m, self.l as nat, v)
        &&& g.level::<C>(m, v) == level_of::<C>(m, self.l as nat, v)
    }
}

/// `up` is the node above the node of level `l` on the way to page `v`.
pub open spec fn up_ok<C: PageTableConfig>(m: Tree, v: nat, l: nat, up: usize) -> bool {
    m.dom().contains(place::<C>(v, l + 1)) && m[place::<C>(v, l + 1)].pa() == up
}

/// The facts about the node of level `l` on the way to page `v`.
pub proof fn lemma_here<C: PageTableConfig>(g: Locks, m: Tree, v: nat, l: nat)
    requires
        g.ok::<C>(m),
        g.s <= v < g.e,
        1 <= l <= g.top,
        m.dom().contains(place::<C>(v, l)),
    ensures
        tok_ok::<C>(m[place::<C>(v, l)], place::<C>(v, l), g.w@, g.reader@),
        own_entry(m, place::<C>(v, l), idx::<C>(v, l)),
        0 <= idx::<C>(v, l) < nr::<C>() <= 512,
        entry_ok::<C>(m, g.rng(), place::<C>(v, l), idx::<C>(v, l)),
        child::<C>(place::<C>(v, l), idx::<C>(v, l)) == place::<C>(v, (l - 1) as nat),
        inr::<C>(g.rng(), pre(nr::<C>(), v, (l - 1) as nat), (l - 1) as nat),
        ent::<C>(m, place::<C>(v, l), idx::<C>(v, l)) is Table ==> l >= 2,
        g.at::<C>(m, v) == trans::<C>(m, l, v),
        g.level::<C>(m, v) == level_of::<C>(m, l, v),
{
    C::Consts::consts_ok();
    lemma_own::<C>(m, g.rng(), v, l);
    lemma_step::<C>(g.rng(), v, l);
    lemma_above::<C>(m, g.rng(), l, g.top as nat, v);
    lemma_via::<C>(m, g.rng(), l, g.top as nat, v);
    assert(tok_ok::<C>(m[place::<C>(v, l)], place::<C>(v, l), g.w@, g.reader@));
}

/// What the top node says of page `v`. Unless it is a link, the way down ends there.
#[inline(always)]
pub fn top_entry<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, v: usize, l: u8) -> (f: Found)
    requires
        g.ok::<C>(*m),
        g.s <= v < g.e,
        l == g.top,
    ensures
        f.ok::<C>(*g, *m, v as nat),
        f.l == l,
    no_unwind
{
    let ghost k = place::<C>(v as nat, g.top as nat);
    proof {
        C::Consts::consts_ok();
        lemma_top_place::<C>(g.rng(), v as nat);
        lemma_here::<C>(*g, *m, v as nat, g.top as nat);
    }
    let i = entry_index::<C::Consts>(v, l);
    let word = load::<C>(g.w.get(), g.root, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
    proof {
        C::Entry::noted_is_no_meaning(word, m[k].words()[i as int], k.0);
    }
    Found { pa: g.root, l, word, pte: C::Entry::decode(word, l), up: g.root }
}

/// Walks down to the entry that decides about page `v`.
#[inline(always)]
pub fn descend<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&Tree>, v: usize) -> (f: Found)
    requires
        g.ok::<C>(*m),
        g.s <= v < g.e,
    ensures
        f.ok::<C>(*g, *m, v as nat),
        !(f.pte is Table),
    no_unwind
{
    proof {
        lemma_top_place::<C>(g.rng(), v as nat);
    }
    descend_from::<C>(g, Tracked(m), v, g.root, g.top, g.root)
}

/// As [`descend`], from the node of level `top` at `start` on, which is below the one at `above`.
#[inline(always)]
pub(super) fn descend_from<C: PageTableConfig>(
    g: &Locks,
    Tracked(m): Tracked<&Tree>,
    v: usize,
    start: usize,
    top: u8,
    above: usize,
) -> (f: Found)
    requires
        g.ok::<C>(*m),
        g.s <= v < g.e,
        1 <= top <= g.top,
        top < g.top ==> up_ok::<C>(*m, v as nat, top as nat, above),
        m.dom().contains(place::<C>(v as nat, top as nat)),
        m[place::<C>(v as nat, top as nat)].pa() == start,
    ensures
        f.l <= top,
        f.ok::<C>(*g, *m, v as nat),
        !(f.pte is Table),
    no_unwind
{
    let mut l = top;
    let mut pa = start;
    let mut up = above;
    proof {
        C::Consts::consts_ok();
    }
    loop
        invariant
            g.ok::<C>(*m),
            g.s <= v < g.e,
            1 <= l <= top <= g.top <= 5,
            l < g.top ==> up_ok::<C>(*m, v as nat, l as nat, up),
            m.dom().contains(place::<C>(v as nat, l as nat)),
            m[place::<C>(v as nat, l as nat)].pa() == pa,
        decreases l,
    {
        let ghost k = place::<C>(v as nat, l as nat);
        proof {
            lemma_here::<C>(*g, *m, v as nat, l as nat);
        }
        let i = entry_index::<C::Consts>(v, l);
        let word = load::<C>(g.w.get(), pa, i, Tracked(g.reader.borrow()), Tracked(m.tracked_borrow(k)));
        let pte = C::Entry::decode(word, l);
        match pte {
            Pte::Table(c) => {
                up = pa;
                pa = c;
                l -= 1;
            },
            _ => return Found { pa, l, word, pte, up },
        }
    }
}

} // verus!
