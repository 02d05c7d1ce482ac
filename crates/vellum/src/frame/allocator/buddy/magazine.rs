//! The frames that a processor has at hand.

use super::super::pool::Pool;
use crate::sync::Initial;

/// Frames that move between a magazine and the pool at once: 256 KiB.
pub(super) const BATCH: usize = 64;

/// The most frames in a magazine.
const CAPACITY: usize = 2 * BATCH;

/// A stack of free frames: what was given back last is handed out first, for it is most likely in the processor's
/// data cache.
pub struct Magazine {
    len: usize,
    frames: [u32; CAPACITY],
}

impl Initial for Magazine {
    const INITIAL: Magazine = Magazine { len: 0, frames: [0; CAPACITY] };
}

impl Magazine {
    /// Returns how many frames there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the frame that came last.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<usize> {
        let top = self.len.checked_sub(1)?;
        let frame = *self.frames.get(top)?;
        self.len = top;
        Some(frame as usize)
    }

    /// Adds a frame; returns whether there was room.
    #[inline]
    pub(super) fn push(&mut self, frame: usize) -> bool {
        let Some(entry) = self.frames.get_mut(self.len) else { return false };
        *entry = frame as u32;
        self.len += 1;
        true
    }

    /// Fills an empty magazine with up to a batch of frames from the pool.
    pub(super) fn refill(&mut self, pool: &mut Pool<'_>) {
        self.len = pool.take_some(&mut self.frames[..BATCH]);
        // The pool's lowest frame is on top.
        self.frames[..self.len].reverse();
    }

    /// Moves the oldest frames, up to `count`, to the pool; returns how many were free there already.
    pub(super) fn flush(&mut self, pool: &mut Pool<'_>, count: usize) -> usize {
        let count = count.min(self.len);
        let known = self.frames[..count].iter().filter(|&&frame| !pool.give_one(frame as usize)).count();
        self.frames.copy_within(count..self.len, 0);
        self.len -= count;
        known
    }
}
