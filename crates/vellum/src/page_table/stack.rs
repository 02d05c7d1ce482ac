//! Stacks of unlinked nodes that need no memory: each node's own metadata say which is below it.
//!
//! A node may be on a stack from when it was unlinked until its frame goes back: whoever has the right to free it, has
//! the word. With each node a stack keeps a ghost value of the user's choice: what is known of the node, or what it still
//! owns.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::life::*;
use super::node_frame::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::world::World;
use vstd::prelude::*;

verus! {

/// A stack of unlinked nodes, with a `T` for each.
pub struct NodeStack<T> {
    w: &'static World,
    /// The physical address of the topmost, or [`END`].
    top: u64,
    toks: Tracked<Seq<(RetiredTok, T)>>,
}

/// Below the lowest node: the address of no frame.
const END: u64 = 1;

/// The address of the node at height `i`.
spec fn address<T>(s: Seq<(RetiredTok, T)>, i: int) -> u64 {
    if i < 0 { END } else { s[i].0.pa() as u64 }
}

/// The node at height `i` names the one below it.
spec fn linked<T>(w: World, s: Seq<(RetiredTok, T)>, i: int) -> bool {
    &&& s[i].0.ok(w, s[i].0.pa())
    &&& s[i].0.below@.value == address(s, i - 1)
}

/// All but where it lies in a stack is the same.
pub open spec fn same_node(a: RetiredTok, b: RetiredTok) -> bool {
    a == (RetiredTok { below: a.below, ..b })
}

impl<T> NodeStack<T> {
    /// Its nodes are linked, in this order.
    pub closed spec fn wf(self) -> bool {
        let s = self.toks@;
        &&& self.top == address(s, s.len() - 1)
        &&& forall|i: int| 0 <= i < s.len() ==> #[trigger] linked(*self.w, s, i)
    }

    /// The nodes from the lowest to the topmost.
    pub closed spec fn view(&self) -> Seq<(RetiredTok, T)> {
        self.toks@
    }

    /// The world in which the nodes are.
    pub closed spec fn the_world(&self) -> World {
        *self.w
    }

    /// Makes an empty stack.
    pub fn new(w: &'static World) -> (r: Self)
        ensures
            r.wf(),
            r@.len() == 0,
            r.the_world() == *w,
        no_unwind
    {
        NodeStack { w, top: END, toks: Tracked(Seq::tracked_empty()) }
    }

    /// Puts the unlinked node at `pa` on top.
    pub fn push(&mut self, pa: usize, Tracked(tok): Tracked<RetiredTok>, Tracked(with): Tracked<T>)
        requires
            old(self).wf(),
            tok.ok(old(self).the_world(), pa),
        ensures
            final(self).wf(),
            final(self).the_world() == old(self).the_world(),
            final(self)@.len() == old(self)@.len() + 1,
            final(self)@.drop_last() == old(self)@,
            same_node(final(self)@.last().0, tok),
            final(self)@.last().1 == with,
        no_unwind
    {
        let ghost s = self.toks@;
        let tracked RetiredTok { retired, dead, info, below } = tok;
        let tracked mut below = below;
        let tracked own = self.w.instance_ref().guard_dead(info.key(), &info, &dead);
        let meta = node_meta(pa, Tracked(own));
        meta.below.store_relaxed(Tracked(&mut below), self.top);
        self.top = pa as u64;
        proof {
            self.toks.borrow_mut().tracked_push((RetiredTok { retired, dead, info, below }, with));
            assert forall|i: int| 0 <= i < self.toks@.len() implies #[trigger] linked(*self.w, self.toks@, i) by {
                if i < s.len() {
                    assert(linked(*self.w, s, i));
                }
            }
            assert(self.toks@.drop_last() =~= s);
        }
    }

    /// Takes the topmost node off.
    pub fn pop(&mut self) -> (r: Option<(usize, Tracked<(RetiredTok, T)>)>)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).the_world() == old(self).the_world(),
            r is None <==> old(self)@.len() == 0,
            match r {
                Some(x) => {
                    &&& x.1@ == old(self)@.last()
                    &&& x.1@.0.ok(old(self).the_world(), x.0)
                    &&& final(self)@ == old(self)@.drop_last()
                },
                None => final(self)@ == old(self)@,
            },
        no_unwind
    {
        let ghost s = self.toks@;
        proof {
            if s.len() > 0 {
                assert(linked(*self.w, s, s.len() - 1));
                assert(self.top % 4096 == 0 && self.top == s.last().0.pa());
            }
        }
        if self.top == END {
            return None;
        }
        let pa = self.top as usize;
        let tracked tok = self.toks.borrow().tracked_borrow(s.len() - 1);
        let tracked own = self.w.instance_ref().guard_dead(tok.0.info.key(), &tok.0.info, &tok.0.dead);
        let meta = node_meta(pa, Tracked(own));
        let below = meta.below.load_relaxed(Tracked(&tok.0.below));
        self.top = below;
        let tracked tok;
        proof {
            tok = self.toks.borrow_mut().tracked_pop();
            assert(self.toks@ =~= s.drop_last());
            assert forall|i: int| 0 <= i < self.toks@.len() implies #[trigger] linked(*self.w, self.toks@, i) by {
                assert(linked(*self.w, s, i));
            }
        }
        Some((pa, Tracked(tok)))
    }
}

} // verus!
