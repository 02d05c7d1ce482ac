//! Fences: full ones on both sides.
//!
//! A light fence that costs nothing would need an interrupt to every processor on the heavy side, and its caller would
//! wait for each that has interrupts off. A full fence is a few nanoseconds, and waits for nobody.
use crate::primitive::{Ordering, fence};

#[inline(always)]
pub(crate) fn light() {
    // SeqCst: the pair of the fence in `heavy`.
    fence(Ordering::SeqCst);
}

pub(crate) fn heavy() {
    // SeqCst: the pair of the fence in `light`.
    fence(Ordering::SeqCst);
}
