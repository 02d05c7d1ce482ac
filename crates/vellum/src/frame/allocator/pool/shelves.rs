//! The lists of chunks that have free frames.
use super::MAX_ORDER;
use super::chunk::*;
#[cfg(verus_keep_ghost)]
use super::free::*;
use vstd::prelude::*;

verus! {

/// No chunk: a link beyond every table.
const NONE: u32 = u32::MAX;

/// Number of the lists.
const SHELVES: usize = MAX_ORDER as usize + 1;

/// The heads of the lists, by order; the links are in the chunks.
///
/// Below the order of a chunk are the partly free chunks, by the largest run that they had when they were put there;
/// from there on the free blocks, by their first chunk. Nothing here is believed: a list tells where to look for free
/// frames, and the bits tell whether there are any.
#[derive(Debug)]
pub(super) struct Shelves {
    heads: [u32; SHELVES],
}

impl Shelves {
    /// Makes empty lists.
    pub(super) const fn new() -> Shelves {
        Shelves {
            heads: [
                NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
                NONE, NONE,
            ],
        }
    }

    /// Returns the first chunk of a list.
    pub(super) fn first(&self, order: u32) -> Option<usize> {
        if order <= MAX_ORDER {
            index(self.heads[order as usize])
        } else {
            None
        }
    }

    /// Finds the lowest list of at least this order that has a chunk: its order, and the first chunk.
    pub(super) fn lowest(&self, least: u32) -> (r: Option<(u32, usize)>)
        ensures
            r matches Some(found) ==> least <= found.0 <= MAX_ORDER && found.1 < u32::MAX,
    {
        let mut order = least;
        while order <= MAX_ORDER
            invariant
                least <= order,
            decreases MAX_ORDER + 1 - order,
        {
            if let Some(chunk) = index(self.heads[order as usize]) {
                return Some((order, chunk));
            }
            order += 1;
        }
        None
    }

    /// Puts a chunk that is in no list first in one.
    pub(super) fn put(&mut self, table: &mut [Chunk], chunk: usize, order: u32)
        ensures
            same_words(old(table)@, final(table)@),
    {
        if chunk >= table.len() || chunk >= NONE as usize || order > MAX_ORDER {
            return;
        }
        let second = self.heads[order as usize];
        table[chunk].place = SHELF + order;
        table[chunk].next = second;
        table[chunk].previous = NONE;
        if (second as usize) < table.len() {
            table[second as usize].previous = chunk as u32;
        }
        self.heads[order as usize] = chunk as u32;
    }

    /// Takes a chunk out of its list, if it is in one.
    pub(super) fn take(&mut self, table: &mut [Chunk], chunk: usize)
        ensures
            same_words(old(table)@, final(table)@),
    {
        if chunk < table.len() {
            match table[chunk].shelf() {
                Some(order) if order <= MAX_ORDER => self.unlink(table, chunk, order),
                _ => {},
            }
        }
    }

    fn unlink(&mut self, table: &mut [Chunk], chunk: usize, order: u32)
        requires
            chunk < old(table)@.len(),
            order <= MAX_ORDER,
        ensures
            same_words(old(table)@, final(table)@),
    {
        let (next, previous) = (table[chunk].next, table[chunk].previous);
        if (previous as usize) < table.len() {
            table[previous as usize].next = next;
        } else {
            self.heads[order as usize] = next;
        }
        if (next as usize) < table.len() {
            table[next as usize].previous = previous;
        }
        table[chunk].place = OFF;
    }
}

/// Returns the chunk after one in the same list.
pub(super) fn after(table: &[Chunk], chunk: usize) -> Option<usize> {
    if chunk < table.len() {
        index(table[chunk].next)
    } else {
        None
    }
}

fn index(link: u32) -> (r: Option<usize>)
    ensures
        r matches Some(chunk) ==> chunk < u32::MAX,
{
    if link == NONE {
        None
    } else {
        Some(link as usize)
    }
}

} // verus!
