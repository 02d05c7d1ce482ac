//! Nodes that were unlinked, on their way back to being frames.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::life::*;
use super::node_frame::free_frame;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::world::{Mark, World};
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
/// [`va_range`](Self::va_range) is acknowledged; [`try_free`](Self::try_free) takes care of the processors.
/// Forgetting it loses the frame.
///
/// # Guarantees
///
/// While a cursor that was there when the node was unlinked lives, the frame stays the node's.
#[must_use = "the frame of the node is lost if this is dropped"]
pub struct RetiredNode {
    w: &'static World,
    pa: usize,
    /// The processors below this one were seen outside every cursor since.
    passed: usize,
    /// What the first of the others showed when it was last looked at.
    mark: Option<Mark>,
    start: Vaddr,
    end: Vaddr,
    tok: Tracked<RetiredTok>,
}

impl RetiredNode {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.tok@.ok(*self.w, self.pa)
        &&& self.tok@.quiet_below(*self.w, self.passed as int)
        &&& self.passed <= NR_COUNTS
        &&& self.mark matches Some(m) ==> self.passed < NR_COUNTS && m.ok(*self.w, self.passed as nat, self.tok@.retired.value())
    }

    /// Makes a value of a node that was just unlinked.
    pub(super) fn new(w: &'static World, pa: usize, start: Vaddr, end: Vaddr, tok: Tracked<RetiredTok>) -> Self
        requires
            tok@.ok(*w, pa),
        no_unwind
    {
        RetiredNode { w, pa, passed: 0, mark: None, start, end, tok }
    }

    /// Returns the addresses that the node covered; none where the whole table was dropped.
    pub fn va_range(&self) -> Range<Vaddr> {
        self.start..self.end
    }

    /// Gives the frame back, if every processor was outside every cursor at some time since the node was
    /// unlinked.
    ///
    /// # Errors
    ///
    /// The node itself: some processor was not. What was found out is kept in it, so that trying again goes on there.
    pub fn try_free(self) -> Result<(), RetiredNode> {
        proof {
            use_type_invariant(&self);
        }
        let RetiredNode { w, pa, passed, mark, start, end, tok } = self;
        let mut passed = passed;
        let mut mark = mark;
        let tracked mut tok = tok.get();
        w.synchronize();
        while passed < NR_COUNTS
            invariant
                tok.ok(*w, pa),
                tok.quiet_below(*w, passed as int),
                passed <= NR_COUNTS,
                mark matches Some(m) ==> passed < NR_COUNTS && m.ok(*w, passed as nat, tok.retired.value()),
            decreases NR_COUNTS - passed,
        {
            let quiet = match w.rested(passed, Tracked(&tok.retired), mark) {
                Ok(quiet) => quiet,
                Err(new) => {
                    return Err(RetiredNode { w, pa, passed, mark: Some(new), start, end, tok: Tracked(tok) });
                },
            };
            mark = None;
            proof {
                let old = tok;
                tok.quiet.tracked_insert(passed as int, quiet.get());
                assert forall|d: int| 0 <= d < passed + 1 implies #[trigger] rested(*w, tok.quiet, tok.retired.value(), d) by {
                    if d != passed {
                        assert(rested(*w, old.quiet, old.retired.value(), d));
                    }
                }
            }
            passed += 1;
        }
        let (own, page) = w.take_back(pa, Tracked(tok));
        free_frame(pa, own, page);
        Ok(())
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::fmt::Debug for RetiredNode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RetiredNode").field("va_range", &self.va_range()).finish_non_exhaustive()
    }
}
