//! One processor: what it keeps, and what it does between two accesses.
use super::Machine;
use super::station::{Counters, Station};
use super::tlb::Tlb;
use crate::addr::{PAGE_SIZE, Paddr, Vaddr};
use crate::cpu::CpuId;
use core::cell::Cell;
use core::ops::Range;

/// The state of a processor; only the thread that is the processor at the moment uses it.
pub(crate) struct Processor {
    id: CpuId,
    machine: &'static Machine,
    station: &'static Station,
    root: Cell<Option<Paddr>>,
    pub(super) tlb: Tlb,
    /// Whether a call runs: calls do not nest.
    serving: Cell<bool>,
    /// Accesses until the next one that speculates; 0 if none does.
    until_speculation: Cell<u32>,
}

/// Marks a processor as serving, also when the call panics.
struct Serving<'a>(&'a Cell<bool>);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Processor {
    pub(super) fn new(machine: &'static Machine, station: &'static Station) -> Processor {
        Processor {
            id: station.cpu,
            machine,
            station,
            root: Cell::new(None),
            tlb: Tlb::new(),
            serving: Cell::new(false),
            until_speculation: Cell::new(machine.speculate_every),
        }
    }

    #[inline(always)]
    pub(super) fn id(&self) -> CpuId {
        self.id
    }

    #[inline(always)]
    pub(super) fn machine(&self) -> &'static Machine {
        self.machine
    }

    #[inline(always)]
    pub(super) fn counters(&self) -> &'static Counters {
        &self.station.counters
    }

    /// Serves the calls that have come, before anything of the next access is looked at.
    #[inline(always)]
    pub(super) fn interrupt_point(&self) {
        if self.station.has_calls() {
            self.serve();
        }
    }

    /// Runs the calls that have come, unless it is one of them that asks.
    #[cold]
    pub(super) fn serve(&self) {
        if self.serving.replace(true) {
            return;
        }
        let _serving = Serving(&self.serving);
        while let Some(call) = self.station.take() {
            call.run();
        }
    }

    /// Counts an access, and reads the neighbouring translations if it is time to.
    #[inline(always)]
    pub(super) fn before_access(&self, va: Vaddr) {
        let left = self.until_speculation.get();
        if left != 0 {
            self.count_down(left, va);
        }
    }

    #[cold]
    fn count_down(&self, left: u32, va: Vaddr) {
        self.until_speculation.set(left - 1);
        if left == 1 {
            self.until_speculation.set(self.machine.speculate_every);
            self.speculate(Vaddr(va.0.wrapping_add(PAGE_SIZE)));
            self.speculate(Vaddr(va.0.wrapping_sub(PAGE_SIZE)));
        }
    }

    pub(crate) fn root(&self) -> Option<Paddr> {
        self.root.get()
    }

    pub(crate) fn set_root(&self, root: Paddr) {
        if !root.0.is_multiple_of(PAGE_SIZE) || self.machine.place(root).is_none() {
            self.machine.check(format_args!("the root {root} is no frame"));
        }
        self.root.set(Some(root));
        self.counters().flushes.count();
        self.tlb.flush_local();
    }

    pub(crate) fn flush_addr(&self, va: Vaddr) {
        self.counters().flushes.count();
        self.tlb.flush_addr(va);
        self.after_flush(va);
    }

    pub(crate) fn flush_range(&self, range: Range<Vaddr>) {
        self.counters().flushes.count();
        let first = range.start;
        self.tlb.flush_range(range);
        self.after_flush(first);
    }

    /// A processor that speculates reads what was flushed at once: an entry that ought to have been changed before
    /// the flush is then in use after it.
    fn after_flush(&self, va: Vaddr) {
        if self.machine.speculate_every != 0 {
            self.speculate(va);
        }
    }

    pub(crate) fn flush_all(&self) {
        self.counters().flushes.count();
        self.tlb.flush_all();
    }
}
