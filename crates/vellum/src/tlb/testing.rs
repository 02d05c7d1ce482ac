//! Faults to plant, to see that tests find them, and shootdowns without a change.
//!
//! A kernel does not enable the feature that this module belongs to.
use super::audience::Everyone;
use super::{Shootdown, TlbFlushOp};
use crate::page_table::KernelPtConfig;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::{self, MAX_CPUS};
use vstd::prelude::Ghost;

static DROP_NEXT: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

/// Has the next shootdown of the calling processor asked of nobody and answered by nobody.
///
/// The processor itself still flushes. Other processors go on with stale translations, and what was kept for
/// the shootdown is released under them: this breaks what [`super::TlbFlusher`] guarantees.
///
/// # Panics
/// On a thread that is no processor.
pub fn drop_next_shootdown() {
    DROP_NEXT[cpu::current().index()].store(true, Ordering::Relaxed);
}

/// Has every processor flush a range, as whoever unmaps something in kernel space does, and waits until all have.
///
/// # Panics
/// On a thread that is no processor.
pub fn shoot_down_everywhere(range: Range<Vaddr>) {
    let mut shootdown = Shootdown::new(Everyone::<KernelPtConfig>::of(Ghost::assume_new()));
    shootdown.issue(TlbFlushOp::Range(range));
    let _ = shootdown.finish();
}

/// Whether this shootdown is to be dropped.
pub(super) fn take() -> bool {
    DROP_NEXT[cpu::current().index()].swap(false, Ordering::Relaxed)
}
