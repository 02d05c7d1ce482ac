//! The lists of chunks that have free frames.

use super::MAX_ORDER;
use super::chunk::{CHUNK_ORDER, Chunk, Place};

const NONE: u32 = u32::MAX;
const BINS: usize = CHUNK_ORDER as usize;
const BLOCK_LISTS: usize = (MAX_ORDER - CHUNK_ORDER) as usize + 1;

/// The heads of the lists; the links are in the chunks.
///
/// A chunk is in the list that its [`Place`] names and in no other.
#[derive(Debug)]
pub(super) struct Shelves {
    bins: [u32; BINS],
    blocks: [u32; BLOCK_LISTS],
}

impl Shelves {
    pub(super) const fn new() -> Shelves {
        Shelves { bins: [NONE; BINS], blocks: [NONE; BLOCK_LISTS] }
    }

    fn head(&mut self, place: Place) -> Option<&mut u32> {
        match place {
            Place::Partial(order) => self.bins.get_mut(order as usize),
            Place::Block(order) => self.blocks.get_mut((order - CHUNK_ORDER) as usize),
            Place::Off | Place::Reserved | Place::Body => None,
        }
    }

    /// Returns the first chunk of a list.
    pub(super) fn first(&mut self, place: Place) -> Option<usize> {
        self.head(place).and_then(|head| index(*head))
    }

    /// Returns the chunk after one in the same list.
    pub(super) fn after(&self, table: &[Chunk], chunk: usize) -> Option<usize> {
        index(table[chunk].next())
    }

    /// Puts a chunk that is in no list where `place` says.
    pub(super) fn put(&mut self, table: &[Chunk], chunk: usize, place: Place) {
        if let Some(head) = self.head(place) {
            table[chunk].set_next(*head);
            table[chunk].set_previous(NONE);
            if let Some(second) = index(*head) {
                table[second].set_previous(chunk as u32);
            }
            *head = chunk as u32;
        }
        table[chunk].set_place(place);
    }

    /// Takes a chunk out of its list, if it is in one; its place is for the caller to set.
    pub(super) fn take(&mut self, table: &[Chunk], chunk: usize) {
        let Some(head) = self.head(table[chunk].place()) else { return };
        let (next, previous) = (table[chunk].next(), table[chunk].previous());
        match index(previous) {
            Some(previous) => table[previous].set_next(next),
            None => *head = next,
        }
        if let Some(next) = index(next) {
            table[next].set_previous(previous);
        }
    }
}

fn index(link: u32) -> Option<usize> {
    (link != NONE).then_some(link as usize)
}
