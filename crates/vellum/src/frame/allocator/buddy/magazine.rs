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

/// A run of frames: the first, and how many they are.
type Run = (u32, u32);

/// Free blocks of one order, or runs of any length.
///
/// What was given back last is handed out first, for it is most likely in the processor's data cache.
struct Stack<T, const CAPACITY: usize> {
    len: usize,
    entries: [T; CAPACITY],
}

impl<T: Copy, const CAPACITY: usize> Stack<T, CAPACITY> {
    /// As many move between a stack and the pool at once.
    const BATCH: usize = CAPACITY / 2;

    /// Makes an empty stack; what `filler` is does not matter.
    const fn new(filler: T) -> Self {
        Stack { len: 0, entries: [filler; CAPACITY] }
    }

    fn all(&self) -> &[T] {
        self.entries.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let top = self.len.checked_sub(1)?;
        let entry = *self.entries.get(top)?;
        self.len = top;
        Some(entry)
    }

    #[inline]
    fn push(&mut self, entry: T) -> bool {
        let Some(free) = self.entries.get_mut(self.len) else { return false };
        *free = entry;
        self.len += 1;
        true
    }

    /// Takes the one that came last of those that fit.
    fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let found = self.all().iter().rposition(fits)?;
        let entry = self.entries[found];
        self.entries.copy_within(found + 1..self.len, found);
        self.len -= 1;
        Some(entry)
    }

    /// Has `give` take the oldest ones, up to `most`; returns the sum of what it answers.
    fn flush(&mut self, most: usize, give: impl FnMut(&T) -> usize) -> usize {
        let count = most.min(self.len);
        let sum = self.entries[..count].iter().map(give).sum();
        self.entries.copy_within(count..self.len, 0);
        self.len -= count;
        sum
    }
}

/// Gives a block to the pool; returns how many frames of it were free there already.
fn give_block(pool: &mut Pool<'_>, order: u32, frame: u32) -> usize {
    match order {
        0 => usize::from(!pool.give_one(frame as usize)),
        _ => pool.give(frame as usize, 1 << order),
    }
}

/// Gives a run to the pool; returns how many frames of it were free there already.
fn give_run(pool: &mut Pool<'_>, (start, count): Run) -> usize {
    pool.give(start as usize, count as usize)
}

/// A stack for each order up to 2 MiB, and runs of lengths in between.
pub struct Magazine {
    singles: Stack<u32, SINGLES>,
    /// From order 1 on.
    blocks: [Stack<u32, BLOCKS>; CACHED_ORDER as usize],
    runs: Stack<Run, RUNS>,
}

impl Initial for Magazine {
    const INITIAL: Magazine = Magazine {
        singles: Stack::new(0),
        blocks: [const { Stack::new(0) }; CACHED_ORDER as usize],
        runs: Stack::new((0, 0)),
    };
}

impl Magazine {
    fn blocks(&mut self, order: u32) -> Option<&mut Stack<u32, BLOCKS>> {
        self.blocks.get_mut((order as usize).wrapping_sub(1))
    }

    /// Takes the block of an order that came last.
    #[inline]
    pub(super) fn pop(&mut self, order: u32) -> Option<usize> {
        let frame = if order == 0 { self.singles.pop() } else { self.blocks(order)?.pop() };
        frame.map(|frame| frame as usize)
    }

    /// Adds a block of an order; returns whether there was room.
    #[inline]
    pub(super) fn push(&mut self, frame: usize, order: u32) -> bool {
        if order == 0 {
            self.singles.push(frame as u32)
        } else {
            self.blocks(order).is_some_and(|blocks| blocks.push(frame as u32))
        }
    }

    /// Takes a run that came back with this very length, and begins at a multiple of `step`.
    pub(super) fn pop_run(&mut self, count: usize, step: usize) -> Option<usize> {
        let fits = |&(start, len): &Run| len as usize == count && (start as usize).is_multiple_of(step);
        self.runs.take(fits).map(|(start, _)| start as usize)
    }

    /// Adds a run; returns whether there was room.
    pub(super) fn push_run(&mut self, start: usize, count: usize) -> bool {
        self.runs.push((start as u32, count as u32))
    }

    /// Fills the stack of an order up to the half, as far as the pool has blocks.
    pub(super) fn refill(&mut self, pool: &mut Pool<'_>, order: u32) {
        if order == 0 {
            let singles = &mut self.singles;
            let start = singles.len;
            let free = start..Stack::<u32, SINGLES>::BATCH.max(start);
            singles.len += pool.take_some(&mut singles.entries[free]);
            // The pool's lowest frame is on top.
            singles.entries[start..singles.len].reverse();
        } else if let Some(blocks) = self.blocks(order) {
            while blocks.len < Stack::<u32, BLOCKS>::BATCH {
                let Some(frame) = pool.take(1 << order, 1 << order) else { return };
                blocks.push(frame as u32);
            }
        }
    }

    /// Moves half of the stack of an order to the pool; returns how many frames were free there already.
    pub(super) fn make_room(&mut self, pool: &mut Pool<'_>, order: u32) -> usize {
        let give = |&frame: &u32| give_block(pool, order, frame);
        match self.blocks(order) {
            None => self.singles.flush(Stack::<u32, SINGLES>::BATCH, give),
            Some(blocks) => blocks.flush(Stack::<u32, BLOCKS>::BATCH, give),
        }
    }

    /// Moves half of the runs to the pool; returns how many frames were free there already.
    pub(super) fn make_room_for_runs(&mut self, pool: &mut Pool<'_>) -> usize {
        self.runs.flush(Stack::<Run, RUNS>::BATCH, |&run| give_run(pool, run))
    }

    /// Moves everything to the pool; returns how many frames were free there already.
    pub(super) fn flush(&mut self, pool: &mut Pool<'_>) -> usize {
        let mut known = self.singles.flush(SINGLES, |&frame| give_block(pool, 0, frame));
        for (order, blocks) in (1..).zip(&mut self.blocks) {
            known += blocks.flush(BLOCKS, |&frame| give_block(pool, order, frame));
        }
        known + self.runs.flush(RUNS, |&run| give_run(pool, run))
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
