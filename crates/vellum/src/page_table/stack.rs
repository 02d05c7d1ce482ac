//! Stacks of unlinked nodes that need no memory: each node's own metadata say which is below it.
//!
//! A node may be on a stack from when it was unlinked until its frame goes back: whoever has the right to free it, has
//! the word. With each node a stack keeps a small number and a ghost value of the user's choice: what is known of the node,
//! and what it still owns.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::life::*;
use super::node_frame::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
#[cfg(verus_keep_ghost)]
use super::world::axiom_one_world;
use super::world::{InWorld, World};
use vstd::prelude::*;

verus! {

/// A stack of unlinked nodes, with a `T` for each.
pub struct NodeStack<T> {
    w: InWorld,
    /// The physical address of the topmost and its number, in the bits below the size of a frame; or [`END`].
    top: u64,
    toks: Tracked<Seq<(RetiredTok, T)>>,
    numbers: Ghost<Seq<u64>>,
}

/// Numbers that come with nodes are below this.
pub const NUMBERS: u64 = 4096;

/// Below the lowest node: the address of no frame.
const END: u64 = u64::MAX;

/// The address of the node at height `i`, and its number.
spec fn address<T>(s: Seq<(RetiredTok, T)>, numbers: Seq<u64>, i: int) -> u64 {
    if i < 0 { END } else { (s[i].0.pa() + numbers[i]) as u64 }
}

/// The node at height `i` names the one below it.
spec fn linked<T>(w: World, s: Seq<(RetiredTok, T)>, numbers: Seq<u64>, i: int) -> bool {
    &&& s[i].0.ok(w, s[i].0.pa())
    &&& numbers[i] < NUMBERS
    &&& s[i].0.below@.value == address(s, numbers, i - 1)
}

/// All but where it lies in a stack is the same.
pub open spec fn same_node(a: RetiredTok, b: RetiredTok) -> bool {
    a == (RetiredTok { below: a.below, ..b })
}

impl<T> NodeStack<T> {
    /// Its nodes are linked, in this order.
    pub closed spec fn wf(self) -> bool {
        let (s, n) = (self.toks@, self.numbers@);
        &&& s.len() == n.len()
        &&& self.top == address(s, n, s.len() - 1)
        &&& forall|i: int| 0 <= i < s.len() ==> #[trigger] linked(self.w@, s, n, i)
    }

    /// The nodes from the lowest to the topmost.
    pub closed spec fn view(&self) -> Seq<(RetiredTok, T)> {
        self.toks@
    }

    /// Their numbers.
    pub closed spec fn numbers(&self) -> Seq<u64> {
        self.numbers@
    }

    /// The world in which the nodes are.
    pub closed spec fn the_world(&self) -> World {
        self.w@
    }

    /// Returns the world in which the nodes are.
    pub fn world(&self) -> (r: &'static World)
        ensures
            *r == self.the_world(),
        no_unwind
    {
        self.w.get()
    }

    /// Each node has a number.
    pub proof fn lemma_numbers(self)
        requires
            self.wf(),
        ensures
            self.numbers().len() == self@.len(),
    {
    }

    /// There is one world.
    pub proof fn one_world(tracked &self, tracked w: &World)
        ensures
            self.the_world() == *w,
    {
        axiom_one_world(self.w.in_proof(), w);
    }

    /// Makes an empty stack.
    pub fn new(w: &'static World) -> (r: Self)
        ensures
            r.wf(),
            r@.len() == 0,
            r.the_world() == *w,
        no_unwind
    {
        NodeStack { w: InWorld::of(w), top: END, toks: Tracked(Seq::tracked_empty()), numbers: Ghost(Seq::empty()) }
    }

    /// Puts the unlinked node at `pa` on top.
    pub fn push(&mut self, pa: usize, number: u64, Tracked(tok): Tracked<RetiredTok>, Tracked(with): Tracked<T>)
        requires
            old(self).wf(),
            tok.ok(old(self).the_world(), pa),
            number < NUMBERS,
        ensures
            final(self).wf(),
            final(self).the_world() == old(self).the_world(),
            final(self)@.len() == old(self)@.len() + 1,
            final(self)@.drop_last() == old(self)@,
            final(self)@.last().0.ok(final(self).the_world(), pa),
            final(self).numbers() == old(self).numbers().push(number),
            same_node(final(self)@.last().0, tok),
            final(self)@.last().1 == with,
        no_unwind
    {
        let ghost (s, n) = (self.toks@, self.numbers@);
        let tracked RetiredTok { retired, dead, info, below } = tok;
        let tracked mut below = below;
        let tracked own = self.w.in_proof().instance_ref().guard_dead(info.key(), &info, &dead);
        let meta = node_meta(pa, Tracked(own));
        meta.below.store_relaxed(Tracked(&mut below), self.top);
        self.top = pa as u64 + number;
        self.numbers = Ghost(n.push(number));
        proof {
            self.toks.borrow_mut().tracked_push((RetiredTok { retired, dead, info, below }, with));
            assert forall|i: int| 0 <= i < self.toks@.len() implies #[trigger] linked(self.w@, self.toks@, self.numbers@, i) by {
                if i < s.len() {
                    assert(linked(self.w@, s, n, i));
                }
            }
            assert(self.toks@.drop_last() =~= s);
        }
    }

    /// Takes the topmost node off: its address, its number, and the tokens.
    #[expect(clippy::type_complexity, reason = "one of three is a ghost")]
    pub fn pop(&mut self) -> (r: Option<(usize, u64, Tracked<(RetiredTok, T)>)>)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).the_world() == old(self).the_world(),
            r is None <==> old(self)@.len() == 0,
            match r {
                Some(x) => {
                    &&& x.2@ == old(self)@.last()
                    &&& x.2@.0.ok(old(self).the_world(), x.0)
                    &&& x.1 == old(self).numbers().last()
                    &&& final(self)@ == old(self)@.drop_last()
                    &&& final(self).numbers() == old(self).numbers().drop_last()
                },
                None => final(self)@ == old(self)@,
            },
        no_unwind
    {
        let ghost (s, n) = (self.toks@, self.numbers@);
        proof {
            if s.len() > 0 {
                assert(linked(self.w@, s, n, s.len() - 1));
                assert(s.last().0.pa() % 4096 == 0);
            }
        }
        if self.top == END {
            return None;
        }
        let number = self.top % NUMBERS;
        let pa = (self.top - number) as usize;
        let tracked tok = self.toks.borrow().tracked_borrow(s.len() - 1);
        let tracked own = self.w.in_proof().instance_ref().guard_dead(tok.0.info.key(), &tok.0.info, &tok.0.dead);
        let meta = node_meta(pa, Tracked(own));
        let below = meta.below.load_relaxed(Tracked(&tok.0.below));
        self.top = below;
        self.numbers = Ghost(n.drop_last());
        let tracked tok;
        proof {
            tok = self.toks.borrow_mut().tracked_pop();
            assert(self.toks@ =~= s.drop_last());
            assert forall|i: int| 0 <= i < self.toks@.len() implies #[trigger] linked(self.w@, self.toks@, self.numbers@, i) by {
                assert(linked(self.w@, s, n, i));
            }
        }
        Some((pa, number, Tracked(tok)))
    }
}

} // verus!
