//! A point at which nothing is under way.
use crate::frame::allocator;
use crate::page_table;
use core::fmt;
use vellum_machine::cpu;

/// Why there was no barrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarrierError {
    /// The caller holds a cursor or a lock: nodes that it might read are never given back while it does.
    CursorHeld,
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BarrierError::CursorHeld => {
                f.write_str("a barrier would wait for a cursor or a lock of its caller")
            }
        }
    }
}

impl core::error::Error for BarrierError {}

/// Gives back every frame that waits for something: page-table nodes that were retired, and what the frame
/// allocator holds in caches. After it, frames can be counted.
///
/// Serves the calls of other processors, and waits for cursors that they hold.
///
/// # Errors
/// - [`BarrierError::CursorHeld`]: the caller holds a cursor or a lock; nothing was waited for.
pub fn barrier() -> Result<(), BarrierError> {
    if cpu::preempt_depth() != 0 {
        return Err(BarrierError::CursorHeld);
    }
    cpu::relax();
    while page_table::reclaim() != 0 {
        cpu::relax();
    }
    allocator::drain();
    Ok(())
}
