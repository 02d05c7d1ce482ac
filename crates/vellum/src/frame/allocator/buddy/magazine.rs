//! The frames that a processor has at hand.

use super::super::pool::Pool;
use crate::sync::Initial;

/// The order of the largest blocks in magazines: 2 MiB.
pub(super) const CACHED_ORDER: u32 = 9;

/// Single frames that a magazine holds, at most.
const SINGLES: usize = 128;

/// Blocks of each higher order that a magazine holds, at most.
const BLOCKS: usize = 8;

/// Runs of other lengths that a magazine holds, at most.
const RUNS: usize = 16;

/// Free blocks of one order.
///
/// What was given back last is handed out first, for it is most likely in the processor's data cache.
struct Stack<const CAPACITY: usize> {
    len: usize,
    frames: [u32; CAPACITY],
}

impl<const CAPACITY: usize> Stack<CAPACITY> {
    /// As many move between a stack and the pool at once.
    const BATCH: usize = CAPACITY / 2;

    const EMPTY: Self = Stack { len: 0, frames: [0; CAPACITY] };

    #[inline]
    fn pop(&mut self) -> Option<usize> {
        let top = self.len.checked_sub(1)?;
        let frame = *self.frames.get(top)?;
        self.len = top;
        Some(frame as usize)
    }

    #[inline]
    fn push(&mut self, frame: usize) -> bool {
        let Some(entry) = self.frames.get_mut(self.len) else { return false };
        *entry = frame as u32;
        self.len += 1;
        true
    }

    /// Moves the oldest ones, up to `count`, to the pool; returns how many frames of them were free there already.
    fn flush(&mut self, pool: &mut Pool<'_>, order: u32, count: usize) -> usize {
        let count = count.min(self.len);
        let give = |&frame: &u32| match order {
            0 => usize::from(!pool.give_one(frame as usize)),
            _ => pool.give(frame as usize, 1 << order),
        };
        let known = self.frames[..count].iter().map(give).sum();
        self.frames.copy_within(count..self.len, 0);
        self.len -= count;
        known
    }
}

/// Free runs of any length.
struct Runs {
    len: usize,
    /// The first frame of each, and how many they are.
    runs: [(u32, u32); RUNS],
}

impl Runs {
    const EMPTY: Runs = Runs { len: 0, runs: [(0, 0); RUNS] };

    fn all(&self) -> &[(u32, u32)] {
        self.runs.get(..self.len).unwrap_or_default()
    }

    /// Takes the run of this length that came last, of those that begin at a multiple of `step`.
    fn take(&mut self, count: usize, step: usize) -> Option<usize> {
        let fits =
            |&(start, len): &(u32, u32)| len as usize == count && (start as usize).is_multiple_of(step);
        let found = self.all().iter().rposition(fits)?;
        let (start, _) = self.runs[found];
        self.runs.copy_within(found + 1..self.len, found);
        self.len -= 1;
        Some(start as usize)
    }

    fn push(&mut self, start: usize, count: usize) -> bool {
        let Some(entry) = self.runs.get_mut(self.len) else { return false };
        *entry = (start as u32, count as u32);
        self.len += 1;
        true
    }

    /// Moves the oldest ones, up to `most`, to the pool; returns how many frames of them were free there already.
    fn flush(&mut self, pool: &mut Pool<'_>, most: usize) -> usize {
        let moved = most.min(self.len);
        let give = |&(start, count): &(u32, u32)| pool.give(start as usize, count as usize);
        let known = self.runs[..moved].iter().map(give).sum();
        self.runs.copy_within(moved..self.len, 0);
        self.len -= moved;
        known
    }
}

/// A stack for each order up to 2 MiB, and runs of lengths in between.
pub struct Magazine {
    singles: Stack<SINGLES>,
    /// From order 1 on.
    blocks: [Stack<BLOCKS>; CACHED_ORDER as usize],
    runs: Runs,
}

impl Initial for Magazine {
    const INITIAL: Magazine = Magazine {
        singles: Stack::EMPTY,
        blocks: [const { Stack::EMPTY }; CACHED_ORDER as usize],
        runs: Runs::EMPTY,
    };
}

impl Magazine {
    fn blocks(&mut self, order: u32) -> Option<&mut Stack<BLOCKS>> {
        self.blocks.get_mut((order as usize).wrapping_sub(1))
    }

    /// Takes the block of an order that came last.
    #[inline]
    pub(super) fn pop(&mut self, order: u32) -> Option<usize> {
        if order == 0 { self.singles.pop() } else { self.blocks(order)?.pop() }
    }

    /// Adds a block of an order; returns whether there was room.
    #[inline]
    pub(super) fn push(&mut self, frame: usize, order: u32) -> bool {
        if order == 0 {
            self.singles.push(frame)
        } else {
            self.blocks(order).is_some_and(|blocks| blocks.push(frame))
        }
    }

    /// Takes a run that came back with this very length, and begins at a multiple of `step`.
    pub(super) fn pop_run(&mut self, count: usize, step: usize) -> Option<usize> {
        self.runs.take(count, step)
    }

    /// Adds a run; returns whether there was room.
    pub(super) fn push_run(&mut self, start: usize, count: usize) -> bool {
        self.runs.push(start, count)
    }

    /// Moves half of the runs to the pool; returns how many frames were free there already.
    pub(super) fn make_room_for_runs(&mut self, pool: &mut Pool<'_>) -> usize {
        self.runs.flush(pool, RUNS / 2)
    }

    /// Fills the stack of an order with half of what it holds, where the pool has as much.
    pub(super) fn refill(&mut self, pool: &mut Pool<'_>, order: u32) {
        if order == 0 {
            let singles = &mut self.singles;
            let free = singles.len..(singles.len + Stack::<SINGLES>::BATCH).min(SINGLES);
            let taken = pool.take_some(&mut singles.frames[free]);
            // The pool's lowest frame is on top.
            singles.frames[singles.len..singles.len + taken].reverse();
            singles.len += taken;
        } else if let Some(blocks) = self.blocks(order) {
            for _ in 0..Stack::<BLOCKS>::BATCH {
                let Some(frame) = pool.take(1 << order, 1 << order) else { return };
                blocks.push(frame);
            }
        }
    }

    /// Moves half of the stack of an order to the pool; returns how many frames were free there already.
    pub(super) fn make_room(&mut self, pool: &mut Pool<'_>, order: u32) -> usize {
        match self.blocks(order) {
            None => self.singles.flush(pool, 0, Stack::<SINGLES>::BATCH),
            Some(blocks) => blocks.flush(pool, order, Stack::<BLOCKS>::BATCH),
        }
    }

    /// Moves everything to the pool; returns how many frames were free there already.
    pub(super) fn flush(&mut self, pool: &mut Pool<'_>) -> usize {
        let singles = self.singles.flush(pool, 0, SINGLES);
        let blocks = (1..).zip(&mut self.blocks).map(|(order, blocks)| blocks.flush(pool, order, BLOCKS));
        singles + blocks.sum::<usize>() + self.runs.flush(pool, RUNS)
    }

    /// Lists how many blocks there are, from order 0 on; a run counts as those that its length is the sum of.
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> {
        let blocks = core::iter::once(self.singles.len).chain(self.blocks.iter().map(|blocks| blocks.len));
        blocks.enumerate().map(|(order, blocks)| {
            let in_runs = self.runs.all().iter().filter(|(_, count)| count >> order & 1 == 1);
            blocks + in_runs.count()
        })
    }

    /// Says whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.counts().all(|blocks| blocks == 0)
    }
}
