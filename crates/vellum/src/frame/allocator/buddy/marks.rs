//! Which frames are out.

use super::super::pool::CHUNK_FRAMES;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

/// What the allocator says of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    /// It was never told to be free memory.
    Unknown = 0,
    /// It is free: in the pool or in a magazine.
    Free = 1,
    /// It is handed out.
    Out = 2,
}

/// A byte for each of 512 frames (2 MiB), which says whether the frame is handed out.
///
/// It tells frames that are given back from those that only seem to be. New ones are all zero bytes.
pub struct Marks([AtomicU8; CHUNK_FRAMES]);

impl Marks {
    /// Makes the marks of frames that are not known.
    pub const fn new() -> Marks {
        Marks([const { AtomicU8::new(State::Unknown as u8) }; CHUNK_FRAMES])
    }
}

impl Default for Marks {
    fn default() -> Marks {
        Marks::new()
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks")
    }
}

/// Moves the mark of a frame from one state to another; returns whether it was in the first, and is not changed
/// where it was not.
///
/// A processor that does so has the frame to itself, unless the frame is given back twice at once.
// Relaxed: the mark orders nothing. Load and store, and not an exchange, for it costs as much as all the rest.
#[inline]
pub(super) fn turn(marks: &[Marks], frame: usize, from: State, to: State) -> bool {
    let Some(mark) = marks.get(frame / CHUNK_FRAMES).map(|marks| &marks.0[frame % CHUNK_FRAMES]) else {
        return false;
    };
    let turns = mark.load(Ordering::Relaxed) == from as u8;
    if turns {
        mark.store(to as u8, Ordering::Relaxed);
    }
    turns
}
