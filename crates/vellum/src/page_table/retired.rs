//! Nodes that were unlinked, on their way back to being frames, one by one and in batches.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::life::*;
use super::node_frame::free_frame;
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::stack::NodeStack;
#[cfg(verus_keep_ghost)]
use super::world::axiom_one_world;
use super::world::{InWorld, Mark, World};
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::readers::NR_COUNTS;
#[cfg(verus_keep_ghost)]
use vstd::invariant::*;
use vstd::prelude::*;

verus! {

/// A page-table node that was unlinked.
///
/// Others may still read it: processors that went down through it without a lock, and hardware walkers until the
/// translation caches are flushed. Whoever has the value keeps it until the flush of
/// [`va_range`](Self::va_range) is acknowledged, and then [defers](super::defer) it or puts it into a [`RetiredBatch`].
/// Forgetting it loses the frame.
///
/// # Guarantees
///
/// While a cursor that was there when the node was unlinked lives, the frame stays the node's.
#[must_use = "the frame of the node is lost if this is dropped"]
pub struct RetiredNode {
    w: InWorld,
    pa: usize,
    start: Vaddr,
    end: Vaddr,
    tok: Tracked<RetiredTok>,
}

impl RetiredNode {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.tok@.ok(self.w@, self.pa)
    }

    /// Makes a value of a node that was just unlinked.
    pub(super) fn new(w: &'static World, pa: usize, start: Vaddr, end: Vaddr, tok: Tracked<RetiredTok>) -> Self
        requires
            tok@.ok(*w, pa),
        no_unwind
    {
        RetiredNode { w: InWorld::of(w), pa, start, end, tok }
    }

    /// Returns the addresses that the node covered; none where the whole table was dropped.
    pub fn va_range(&self) -> Range<Vaddr> {
        self.start..self.end
    }
}

/// Retired nodes that no translation cache leads to any more, and that wait together for readers without locks.
///
/// It needs no memory: the nodes are linked through their own metadata. Forgetting it loses their frames.
#[must_use = "the frames of the nodes are lost if this is dropped"]
pub struct RetiredBatch {
    w: InWorld,
    nodes: NodeStack<()>,
    len: usize,
    /// A fence came after the last node was unlinked.
    ordered: bool,
    /// The processors below this one were seen outside every cursor since.
    passed: usize,
    /// What the first of the others showed when it was last looked at.
    mark: Option<Mark>,
    /// Of the node that was unlinked last.
    last: Tracked<Nodes::retired>,
    /// The evidence that the processors below `passed` were outside.
    quiet: Tracked<Map<int, Nodes::quiet>>,
}

/// No node of these was unlinked after `t`.
spec fn none_after(s: Seq<(RetiredTok, ())>, t: nat) -> bool {
    forall|i: int| 0 <= i < s.len() ==> #[trigger] s[i].0.time() <= t
}

impl RetiredBatch {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.nodes.wf() && self.nodes.the_world() == self.w@
        &&& self.last@.instance_id() == self.w@.instance().id()
        &&& none_after(self.nodes@, self.last@.value())
        &&& self.passed <= NR_COUNTS
        &&& rested_below(self.w@, self.quiet@, self.last@.value(), self.passed as int)
        &&& self.mark matches Some(m) ==> self.passed < NR_COUNTS && m.ok(self.w@, self.passed as nat, self.last@.value())
    }

    /// Makes a batch of one node.
    pub fn new(node: RetiredNode) -> Self {
        proof {
            use_type_invariant(&node);
        }
        let RetiredNode { w, pa, start, end, tok } = node;
        let tracked tok = tok.get();
        let tracked last = tok.retired.clone();
        let mut nodes = NodeStack::new(w.get());
        nodes.push(pa, 0, Tracked(tok), Tracked(()));
        let quiet = Tracked(Map::tracked_empty());
        RetiredBatch { w, nodes, len: 1, ordered: false, passed: 0, mark: None, last: Tracked(last), quiet }
    }

    /// Adds a node. What was found out about processors is forgotten: it may be too old for the node.
    pub fn with(self, node: RetiredNode) -> Self {
        proof {
            use_type_invariant(&self);
            use_type_invariant(&node);
        }
        let RetiredBatch { w, nodes, len, ordered, passed, mark, last, quiet } = self;
        let RetiredNode { w: its, pa, start, end, tok } = node;
        proof {
            axiom_one_world(w.in_proof(), its.in_proof());
        }
        let tracked tok = tok.get();
        let tracked mut last = last.get();
        let ghost before = nodes@;
        proof {
            if tok.time() > last.value() {
                last = tok.retired.clone();
            }
        }
        let mut nodes = nodes;
        nodes.push(pa, 0, Tracked(tok), Tracked(()));
        proof {
            assert forall|i: int| 0 <= i < nodes@.len() implies #[trigger] nodes@[i].0.time() <= last.value() by {
                if i < before.len() {
                    assert(nodes@.drop_last()[i] == before[i]);
                    assert(before[i].0.time() <= before[i].0.time());
                }
            }
        }
        let quiet = Tracked(Map::tracked_empty());
        RetiredBatch {
            w,
            nodes,
            len: len.saturating_add(1),
            ordered: false,
            passed: 0,
            mark: None,
            last: Tracked(last),
            quiet,
        }
    }

    /// Returns how many nodes there are.
    pub fn nr_nodes(&self) -> usize {
        self.len
    }

    /// Gives the frames back, if every processor was outside every cursor at some time since the last node was
    /// unlinked. It never waits.
    ///
    /// # Errors
    ///
    /// The batch itself: some processor was not. What was found out is kept in it, so that trying again goes on there.
    pub fn try_free(self) -> Result<(), RetiredBatch> {
        proof {
            use_type_invariant(&self);
        }
        let RetiredBatch { w, nodes, len, ordered, passed, mark, last, quiet } = self;
        let w = w.get();
        if !ordered {
            w.synchronize();
        }
        let mut passed = passed;
        let mut mark = mark;
        let tracked mut quiet = quiet.get();
        let ghost t = last@.value();
        while passed < NR_COUNTS
            invariant
                nodes.wf(),
                nodes.the_world() == *w,
                last@.instance_id() == w.instance().id(),
                t == last@.value(),
                none_after(nodes@, t),
                passed <= NR_COUNTS,
                rested_below(*w, quiet, t, passed as int),
                mark matches Some(m) ==> passed < NR_COUNTS && m.ok(*w, passed as nat, t),
            decreases NR_COUNTS - passed,
        {
            let seen = match w.rested(passed, Tracked(last.borrow()), mark) {
                Ok(seen) => seen,
                Err(new) => {
                    let (mark, quiet) = (Some(new), Tracked(quiet));
                    return Err(RetiredBatch { w: InWorld::of(w), nodes, len, ordered: true, passed, mark, last, quiet });
                },
            };
            mark = None;
            proof {
                let old = quiet;
                quiet.tracked_insert(passed as int, seen.get());
                assert forall|d: int| 0 <= d < passed + 1 implies #[trigger] rested(*w, quiet, t, d) by {
                    if d != passed {
                        assert(rested(*w, old, t, d));
                    }
                }
            }
            passed += 1;
        }
        free_all(w, nodes, Ghost(t), Tracked(&quiet));
        Ok(())
    }
}

/// Gives the frames of unlinked nodes back, once every processor was without readers after `t`.
fn free_all(w: &World, nodes: NodeStack<()>, Ghost(t): Ghost<nat>, Tracked(quiet): Tracked<&Map<int, Nodes::quiet>>)
    requires
        nodes.wf(),
        nodes.the_world() == *w,
        none_after(nodes@, t),
        rested_below(*w, *quiet, t, NR_COUNTS as int),
{
    let mut nodes = nodes;
    while let Some((pa, _, tok)) = nodes.pop()
        invariant
            nodes.wf(),
            nodes.the_world() == *w,
            none_after(nodes@, t),
            rested_below(*w, *quiet, t, NR_COUNTS as int),
        decreases nodes@.len(),
    {
        let tracked (tok, _) = tok.get();
        let (own, page) = w.take_back(pa, Tracked(tok), Ghost(t), Tracked(quiet));
        free_frame(pa, own, page);
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::fmt::Debug for RetiredNode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RetiredNode").field("va_range", &self.va_range()).finish_non_exhaustive()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::fmt::Debug for RetiredBatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RetiredBatch").field("nr_nodes", &self.nr_nodes()).finish_non_exhaustive()
    }
}
