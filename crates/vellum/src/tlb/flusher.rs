//! One change of one table, as other processors see it.
use super::op::{Batch, TlbFlushOp};
use super::request::{self, Ticket};
use super::statistics::{Event, count};
use crate::frame::UFrame;
use crate::page_table::{DetachedNode, UserPtConfig};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::{self, AtomicCpuSet, CpuSet, PreemptGuard};

/// What stays until every processor has flushed.
#[must_use = "what is dropped instead of kept can still be reached through stale translations"]
#[non_exhaustive]
pub enum Kept {
    /// A frame that was mapped.
    Frame(UFrame),
    /// A node that was linked, with what was mapped in it; when every processor has flushed, it also waits for readers
    /// without locks.
    Node(DetachedNode<UserPtConfig>),
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Frame(frame) => f.debug_tuple("Frame").field(&frame.start_paddr()).finish(),
            Kept::Node(node) => f.debug_tuple("Node").field(&node.va_range()).finish(),
        }
    }
}

impl From<UFrame> for Kept {
    fn from(frame: UFrame) -> Kept {
        Kept::Frame(frame)
    }
}

impl From<DetachedNode<UserPtConfig>> for Kept {
    fn from(node: DetachedNode<UserPtConfig>) -> Kept {
        Kept::Node(node)
    }
}

/// A flush that somebody still has to decide about.
///
/// The flusher it came from remembers it too: what is neither [paid](TlbFlusher::pay) nor
/// [waived](TlbFlusher::waive) there is flushed when that flusher is dropped.
#[must_use = "stale translations may be used until this is paid, or the cursor is dropped"]
#[derive(PartialEq, Eq, Debug)]
pub struct FlushOwed {
    range: Range<Vaddr>,
}

impl FlushOwed {
    /// Returns the addresses whose translations may be stale.
    pub fn range(&self) -> Range<Vaddr> {
        self.range.clone()
    }
}

/// Kept values that are stored in the flusher itself.
const KEPT_INLINE: usize = 8;

/// After so many more kept values the flusher tries to release them without waiting.
const KEPT_STRIDE: usize = 1024;

/// Flushes owed that are remembered one by one.
const OWED_INLINE: usize = 8;

/// What a flusher works on; it belongs to the changes of one table, and stays with them.
///
/// Dropping it flushes what was issued or is owed, waits for every answer, and releases what was kept.
pub(crate) struct Shootdown<'a> {
    active: &'a AtomicCpuSet,
    gathered: Batch,
    operations: u64,
    sent: Option<Ticket>,
    owed: [Range<usize>; OWED_INLINE],
    nr_owed: usize,
    kept: [Option<Kept>; KEPT_INLINE],
    nr_kept: usize,
    spilled: Vec<Kept>,
    not_send: PhantomData<*mut ()>,
}

impl<'a> Shootdown<'a> {
    /// Makes one for a table that is active on the processors in `active`.
    ///
    /// The caller changes the table before it issues; processors add themselves to the set before they set
    /// the root and take themselves out after they set another, as [`VmSpace`](crate::space::VmSpace) does.
    pub(crate) fn new(active: &'a AtomicCpuSet) -> Shootdown<'a> {
        Shootdown {
            active,
            gathered: Batch::new(),
            operations: 0,
            sent: None,
            owed: [const { 0..0 }; OWED_INLINE],
            nr_owed: 0,
            kept: [const { None }; KEPT_INLINE],
            nr_kept: 0,
            spilled: Vec::new(),
            not_send: PhantomData,
        }
    }

    pub(crate) fn issue(&mut self, op: TlbFlushOp) {
        self.operations += 1;
        self.gathered.add(&op);
    }

    pub(crate) fn issue_with(&mut self, op: TlbFlushOp, kept: Kept) {
        self.issue(op);
        if self.nr_kept < KEPT_INLINE {
            self.kept[self.nr_kept] = Some(kept);
            self.nr_kept += 1;
        } else {
            self.spill(kept);
        }
    }

    #[cold]
    fn spill(&mut self, kept: Kept) {
        let settled = match self.spilled.len() {
            0 => !self.is_active_elsewhere() && self.try_settle(),
            n => n.is_multiple_of(KEPT_STRIDE) && self.try_settle(),
        };
        if settled || self.spilled.try_reserve(1).is_err() {
            // What was issued for `kept` goes with the rest, and so does `kept`.
            self.sync();
            drop(kept);
        } else {
            self.spilled.push(kept);
        }
    }

    fn is_active_elsewhere(&self) -> bool {
        let here = cpu::disable_preempt();
        !self.others(&here).is_empty()
    }

    fn others(&self, _here: &PreemptGuard) -> CpuSet {
        self.active.load().difference(CpuSet::single(cpu::current()))
    }

    /// Dispatches if that needs no waiting, and says whether every processor has answered.
    fn try_settle(&mut self) -> bool {
        self.try_dispatch() && self.sent.is_none_or(Ticket::is_answered)
    }

    pub(crate) fn pay(&mut self, owed: FlushOwed) {
        self.forget_owed(&owed);
        self.issue(TlbFlushOp::Range(owed.range));
    }

    /// Lends the handle.
    pub(crate) fn flusher<'c>(&'c mut self) -> TlbFlusher<'c, 'a> {
        TlbFlusher { shootdown: self }
    }

    /// Notes that a change of `range` was made without a flush.
    pub(crate) fn owe(&mut self, range: Range<Vaddr>) -> FlushOwed {
        if self.nr_owed == OWED_INLINE {
            self.issue_owed();
        }
        self.owed[self.nr_owed] = range.start.0..range.end.0;
        self.nr_owed += 1;
        FlushOwed { range }
    }

    fn forget_owed(&mut self, owed: &FlushOwed) {
        let range = owed.range.start.0..owed.range.end.0;
        if let Some(found) = self.owed[..self.nr_owed].iter().position(|noted| *noted == range) {
            self.nr_owed -= 1;
            self.owed.swap(found, self.nr_owed);
        }
    }

    fn issue_owed(&mut self) {
        for n in 0..self.nr_owed {
            let range = self.owed[n].clone();
            self.issue(TlbFlushOp::Range(Vaddr(range.start)..Vaddr(range.end)));
        }
        self.nr_owed = 0;
    }

    fn dispatch(&mut self) {
        if !self.gathered.is_empty() {
            self.dispatch_gathered(&cpu::disable_preempt());
        }
    }

    /// Dispatches unless that would wait, and says whether nothing is left to dispatch.
    pub(crate) fn try_dispatch(&mut self) -> bool {
        if self.gathered.is_empty() {
            return true;
        }
        let here = cpu::disable_preempt();
        if !request::can_send(&here) {
            return false;
        }
        self.dispatch_gathered(&here);
        true
    }

    fn dispatch_gathered(&mut self, here: &PreemptGuard) {
        count(here, Event::Operation, self.operations);
        count(here, Event::Folded, u64::from(self.gathered.is_everything()));
        self.operations = 0;
        // The fence in `load` comes after the change of the table: see the module.
        let active = self.active.load();
        let me = cpu::current();
        if active.contains(me) {
            self.gathered.flush();
            count(here, Event::LocalFlush, 1);
        }
        let others = active.difference(CpuSet::single(me));
        if !others.is_empty() && !suppressed(here) {
            if let Some(elsewhere) = self.sent.filter(|ticket| !ticket.is_from(me)) {
                elsewhere.wait();
            }
            self.sent = Some(request::send(here, &self.gathered, others));
        }
        self.gathered.clear();
    }

    fn sync(&mut self) {
        self.dispatch();
        if let Some(ticket) = self.sent.take() {
            ticket.wait();
        }
        self.kept[..self.nr_kept].fill_with(|| None);
        self.nr_kept = 0;
        self.spilled.clear();
    }
}

impl Drop for Shootdown<'_> {
    fn drop(&mut self) {
        self.issue_owed();
        self.sync();
    }
}

/// Gathers what is to be flushed after changes of one table, has it flushed, and keeps meanwhile what must
/// not go.
///
/// Lent by the cursor that makes the changes. More than [`FOLD_LIMIT`](super::FOLD_LIMIT) pages are folded
/// into all. When the cursor is dropped, what was issued or is owed is flushed, every answer is waited for,
/// and what was kept is released.
///
/// # Guarantees
/// Nothing that was kept is released before every processor on which the table was active after the operation
/// was issued has flushed.
// A handle, not the owner: two owners could be swapped, and then flush the wrong table.
pub struct TlbFlusher<'c, 'a> {
    shootdown: &'c mut Shootdown<'a>,
}

impl TlbFlusher<'_, '_> {
    /// Gathers an operation; nothing is flushed yet.
    pub fn issue(&mut self, op: TlbFlushOp) {
        self.shootdown.issue(op);
    }

    /// Gathers an operation, and keeps what was reachable through the old entry until every processor has
    /// flushed.
    ///
    /// Where much is kept already, it is dispatched and released if that needs no waiting. Without memory to
    /// keep more, this waits for the answers, as [`sync`](Self::sync) does.
    pub fn issue_with(&mut self, op: TlbFlushOp, kept: impl Into<Kept>) {
        self.shootdown.issue_with(op, kept.into());
    }

    /// Issues a flush that is owed.
    pub fn pay(&mut self, owed: FlushOwed) {
        self.shootdown.pay(owed);
    }

    /// Lets a flush that is owed be.
    ///
    /// For changes that only widen what is allowed: processors that still have the old translation fault once
    /// more than needed, and the fault finds the new entry. After a change that takes a right away,
    /// processors may go on using it until they flush for another reason.
    pub fn waive(&mut self, owed: FlushOwed) {
        self.shootdown.forget_owed(&owed);
    }

    /// Flushes what was gathered on this processor, and asks the others on which the table is active.
    ///
    /// Does not wait for their answers, but for those of an earlier request of this processor. Flushes that
    /// are owed stay owed.
    pub fn dispatch(&mut self) {
        self.shootdown.dispatch();
    }

    /// Dispatches what is left, waits until every processor has answered, and releases what was kept.
    ///
    /// Called through a cursor, it waits while the cursor's range is locked: dropping the cursor does not.
    pub fn sync(&mut self) {
        self.shootdown.sync();
    }
}

impl fmt::Debug for TlbFlusher<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlbFlusher")
            .field("active", &self.shootdown.active.load())
            .field("owed", &self.shootdown.nr_owed)
            .field("kept", &(self.shootdown.nr_kept + self.shootdown.spilled.len()))
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "testing")]
fn suppressed(here: &PreemptGuard) -> bool {
    let suppressed = super::testing::take();
    count(here, Event::Dropped, u64::from(suppressed));
    suppressed
}

#[cfg(not(feature = "testing"))]
fn suppressed(_here: &PreemptGuard) -> bool {
    false
}
