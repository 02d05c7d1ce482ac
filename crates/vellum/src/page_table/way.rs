//! The way down from the root to the node that a cursor locks: over what is linked without a lock, then over missing
//! nodes, which are made while the node above them is locked.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::config::*;
use super::entry::*;
use super::geometry::*;
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
use super::node::*;
use super::node_frame::*;
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
use super::world::World;
use vstd::prelude::*;

verus! {

/// What to do about a node that is missing on the way down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Stop above it.
    Stop,
    /// Make it, if there is memory for it; down to this level alone, even if there are nodes below.
    Make(u8),
}

impl Missing {
    /// The level at which the way down ends.
    #[inline(always)]
    pub(super) fn least(self) -> u8
        no_unwind
    {
        match self {
            Missing::Stop => 1,
            Missing::Make(least) => least,
        }
    }
}

/// A node that covers a range, and what a reader has of it.
pub struct Way {
    /// The physical address of the node.
    pub pa: usize,
    /// Its level.
    pub l: u8,
    /// The leading digits of the pages below it.
    pub b: usize,
    pub prot: Tracked<Nodes::prot>,
    pub info: Tracked<Nodes::info>,
}

impl Way {
    /// The reader protects it, and it covers the pages `[s, e)`.
    pub open spec fn ok<C: PageTableConfig>(self, w: World, r: Nodes::reader, s: usize, e: usize) -> bool {
        let inf = self.info@.value();
        &&& 1 <= self.l <= C::Consts::levels() <= 5
        &&& protects_at::<C>(w, r, self.prot@, self.info@, self.pa)
        &&& inf.level == self.l
        &&& inf.base == self.b
        &&& pre(nr::<C>(), s as nat, self.l as nat) == self.b
        &&& pre(nr::<C>(), (e - 1) as nat, self.l as nat) == self.b
        &&& self.l < C::Consts::levels() ==> inf.lo == 0 && inf.hi == nr::<C>()
        &&& self.l == C::Consts::levels() ==> self.b == 0 && inf.lo == C::TOP_LO && inf.hi == C::TOP_HI
    }

    /// `t` is its lock.
    pub open spec fn locked<C: PageTableConfig>(self, w: World, r: Nodes::reader, t: NodeTok) -> bool {
        &&& t.ok::<C>(w, r)
        &&& t.owns()
        &&& t.info.key() == self.info@.key()
        &&& t.info.value() == self.info@.value()
    }

    /// The entry for the first page of the range is the table's, and where all pages are below it, its node is that of
    /// all of them.
    pub(super) proof fn lemma_entry<C: PageTableConfig>(self, w: World, r: Nodes::reader, s: usize, e: usize, i: usize)
        requires
            self.ok::<C>(w, r, s, e),
            lockable::<C>(s as nat, e as nat),
            i == idx::<C>(s as nat, self.l as nat),
        ensures
            self.info@.value().lo <= i < self.info@.value().hi,
            i < nr::<C>() <= 512,
            self.b * nr::<C>() + i == pre(nr::<C>(), s as nat, (self.l - 1) as nat),
    {
        let l = self.l;
        let rg = Rng { top: l as nat, s: s as nat, e: e as nat };
        C::Consts::consts_ok();
        lemma_step::<C>(rg, s as nat, l as nat);
        lemma_pre_step(nr::<C>(), s as nat, l as nat);
        vstd::arithmetic::div_mod::lemma_fundamental_div_mod(pre(nr::<C>(), s as nat, (l - 1) as nat) as int, nr::<C>() as int);
        let (b, n) = (self.b as int, nr::<C>() as int);
        assert(b * n == n * b) by (nonlinear_arith);
        if l == C::Consts::levels() {
            lemma_top_entries::<C>(rg, i as int);
        }
    }

    /// The entry below which the whole range lies, unless the node's level is the least that is wanted.
    #[inline(always)]
    fn step<C: PageTableConfig>(
        &self,
        Ghost(w): Ghost<World>,
        Ghost(r): Ghost<Nodes::reader>,
        s: usize,
        e: usize,
        least: u8,
    ) -> (i: Option<usize>)
        requires
            self.ok::<C>(w, r, s, e),
            lockable::<C>(s as nat, e as nat),
        ensures
            i matches Some(i) ==> {
                &&& self.l >= 2
                &&& self.info@.value().lo <= i < self.info@.value().hi
                &&& i < nr::<C>() <= 512
                &&& self.b * nr::<C>() + i == pre(nr::<C>(), s as nat, (self.l - 1) as nat)
                &&& pre(nr::<C>(), (e - 1) as nat, (self.l - 1) as nat) == pre(nr::<C>(), s as nat, (self.l - 1) as nat)
            },
        no_unwind
    {
        let l = self.l;
        if l == 1 || l <= least || prefix::<C::Consts>(s, l - 1) != prefix::<C::Consts>(e - 1, l - 1) {
            return None;
        }
        let i = entry_index::<C::Consts>(s, l);
        proof {
            self.lemma_entry::<C>(w, r, s, e, i);
        }
        Some(i)
    }

    /// The node below.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "each token is an argument of its own")]
    pub(super) fn below<C: PageTableConfig>(
        &self,
        Ghost(w): Ghost<World>,
        Ghost(r): Ghost<Nodes::reader>,
        s: usize,
        e: usize,
        i: usize,
        pa: usize,
        prot: Tracked<Nodes::prot>,
        info: Tracked<Nodes::info>,
    ) -> (o: Way)
        requires
            self.ok::<C>(w, r, s, e),
            lockable::<C>(s as nat, e as nat),
            self.l >= 2,
            i < nr::<C>(),
            self.b * nr::<C>() + i == pre(nr::<C>(), s as nat, (self.l - 1) as nat),
            pre(nr::<C>(), (e - 1) as nat, (self.l - 1) as nat) == pre(nr::<C>(), s as nat, (self.l - 1) as nat),
            protects_at::<C>(w, r, prot@, info@, pa),
            self.info@.value().is_parent_of(self.info@.key(), i as int, info@.value()),
        ensures
            o.ok::<C>(w, r, s, e),
            o.pa == pa,
            o.l == self.l - 1,
            o.info == info,
        no_unwind
    {
        Way { pa, l: self.l - 1, b: prefix::<C::Consts>(s, self.l - 1), prot, info }
    }

    /// The node below, if one is linked, for a range that lies below one entry of the level above base pages.
    #[inline(always)]
    pub(super) fn next<C: PageTableConfig>(&self, w: &World, Tracked(r): Tracked<&Nodes::reader>, s: usize, e: usize) -> (o: Option<Way>)
        requires
            self.ok::<C>(*w, *r, s, e),
            lockable::<C>(s as nat, e as nat),
            self.l >= 2,
            pre(nr::<C>(), s as nat, 1) == pre(nr::<C>(), (e - 1) as nat, 1),
        ensures
            o matches Some(x) ==> x.ok::<C>(*w, *r, s, e) && x.l == self.l - 1,
        no_unwind
    {
        let i = entry_index::<C::Consts>(s, self.l);
        proof {
            self.lemma_entry::<C>(*w, *r, s, e, i);
            lemma_pre_above(nr::<C>(), s as nat, (e - 1) as nat, 1, (self.l - 1) as nat);
        }
        let (word, kid) = read_link::<C>(w, self.pa, i, Tracked(r), Tracked(self.prot.borrow()), Tracked(self.info.borrow()));
        match C::Entry::decode(word, self.l) {
            Pte::Table(c) => {
                let tracked (prot, info) = kid.get().tracked_unwrap();
                Some(self.below::<C>(Ghost(*w), Ghost(*r), s, e, i, c, Tracked(prot), Tracked(info)))
            },
            _ => None,
        }
    }
}

/// Goes down without locks as far as nodes are linked and cover the range, to level `least` at most.
#[inline(always)]
pub(super) fn go_down<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    from: Way,
    s: usize,
    e: usize,
    least: u8,
) -> (o: Way)
    requires
        from.ok::<C>(*w, *r, s, e),
        lockable::<C>(s as nat, e as nat),
    ensures
        o.ok::<C>(*w, *r, s, e),
    no_unwind
{
    let mut at = from;
    while let Some(i) = at.step::<C>(Ghost(*w), Ghost(*r), s, e, least)
        invariant
            at.ok::<C>(*w, *r, s, e),
            lockable::<C>(s as nat, e as nat),
        decreases at.l,
    {
        let (word, kid) = read_link::<C>(w, at.pa, i, Tracked(r), Tracked(at.prot.borrow()), Tracked(at.info.borrow()));
        let Pte::Table(c) = C::Entry::decode(word, at.l) else {
            break ;
        };
        let tracked (prot, info) = kid.get().tracked_unwrap();
        at = at.below::<C>(Ghost(*w), Ghost(*r), s, e, i, c, Tracked(prot), Tracked(info));
    }
    at
}

/// Whether a page could take the place of the node below: one that the range would replace as a whole.
#[inline(always)]
fn page_fits<C: PageTableConfig>(l: u8, s: usize, e: usize) -> bool
    requires
        2 <= l <= 5,
        s < e,
    no_unwind
{
    l <= C::Consts::MAX_LEAF_LEVEL && e - s == pages_below::<C::Consts>(l - 1)
}

/// From a locked node on, makes the missing nodes down to the lowest that covers the range, or to level `least`, and locks
/// that one instead.
///
/// The way ends early at an entry that maps a page, at one where the range is a page of its own, and where there is no
/// memory. `None`: somebody else has made the node meanwhile, and nothing is locked any more.
pub(super) fn make_down<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    from: Way,
    tok: Tracked<NodeTok>,
    s: usize,
    e: usize,
    least: u8,
) -> (o: Option<(Way, Tracked<NodeTok>)>)
    requires
        from.ok::<C>(*w, *r, s, e),
        from.locked::<C>(*w, *r, tok@),
        lockable::<C>(s as nat, e as nat),
    ensures
        o matches Some(x) ==> x.0.ok::<C>(*w, *r, s, e) && x.0.locked::<C>(*w, *r, x.1@),
    no_unwind
{
    let mut at = from;
    let tracked mut tok = tok.get();
    while let Some(i) = at.step::<C>(Ghost(*w), Ghost(*r), s, e, least)
        invariant
            at.ok::<C>(*w, *r, s, e),
            at.locked::<C>(*w, *r, tok),
            lockable::<C>(s as nat, e as nat),
        decreases at.l,
    {
        let word = load::<C>(w, at.pa, i, Tracked(r), Tracked(&tok));
        match C::Entry::decode(word, at.l) {
            Pte::Table(_) => {
                unlock::<C>(w, at.pa, Tracked(r), Tracked(tok));
                return None;
            },
            Pte::Leaf(_, _) => break ,
            Pte::Absent => if page_fits::<C>(at.l, s, e) {
                break ;
            },
        }
        let Some((c, kid)) = make_child::<C>(w, Tracked(r), at.pa, i, word, Tracked(&mut tok)) else {
            break ;
        };
        unlock::<C>(w, at.pa, Tracked(r), Tracked(tok));
        let tracked kid = kid.get();
        proof {
            tok = kid;
        }
        at = at.below::<C>(Ghost(*w), Ghost(*r), s, e, i, c, Tracked(tok.prot.clone()), Tracked(tok.info.clone()));
    }
    Some((at, Tracked(tok)))
}

/// Links a new, locked node where nothing is mapped. `None`: no memory, and nothing changed.
fn make_child<C: PageTableConfig>(
    w: &World,
    Tracked(r): Tracked<&Nodes::reader>,
    pa: usize,
    i: usize,
    word: u64,
    Tracked(t): Tracked<&mut NodeTok>,
) -> (o: Option<(usize, Tracked<NodeTok>)>)
    requires
        old(t).ok::<C>(*w, *r),
        old(t).pa() == pa,
        old(t).owns(),
        old(t).level() >= 2,
        old(t).info.value().lo <= i < old(t).info.value().hi,
        meaning::<C>(old(t).words()[i as int], old(t).level()) is Absent,
    ensures
        final(t).ok::<C>(*w, *r),
        final(t).same_node(*old(t)),
        final(t).owns(),
        match o {
            Some(c) => {
                &&& c.1@.ok::<C>(*w, *r)
                &&& c.1@.owns()
                &&& c.1@.pa() == c.0
                &&& old(t).info.value().is_parent_of(old(t).info.key(), i as int, c.1@.info.value())
            },
            None => *final(t) == *old(t),
        },
    no_unwind
{
    let (c, Tracked(new)) = alloc_node()?;
    let ghost l = t.level();
    let ghost t0 = *t;
    proof {
        assert forall|j: int| 0 <= j < 512 implies meaning::<C>(#[trigger] new.page.words()[j], (l - 1) as nat) is Absent by {
            C::Entry::zero_is_absent((l - 1) as nat);
        }
    }
    match link_child::<C>(w, pa, i, word, c, Tracked(r), Tracked(t), Tracked(new), Tracked(Map::tracked_empty())) {
        Ok(kid) => {
            proof {
                let inf = t0.info.value();
                assert forall|j: int| inf.lo <= j < inf.hi implies inf.kind.entry_owns(#[trigger] t.words()[j], l, t.lk.leaves, j) by {
                    assert(inf.kind.entry_owns(t0.words()[j], l, t0.lk.leaves, j));
                }
            }
            Some((c, kid))
        },
        Err((_, new, _)) => {
            let tracked new = new.get();
            free_frame(c, Tracked(new.own), Tracked(new.page));
            None
        },
    }
}

} // verus!
