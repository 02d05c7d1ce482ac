//! The plain model: what each address space must look like, in ordinary maps.
//!
//! A [`Space`] is a map of areas (who may do what where) and a map of pages (which frame, what it holds). Nothing here
//! knows page tables: copy-on-write is a count of who holds a frame, sharing is a map that several areas hold. The machine
//! is compared with it, page by page.

mod change;
mod difference;
mod pages;
mod space;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub use change::{Change, GivenTwice, Inherit, MapKind};
pub use difference::Difference;
pub use pages::{Contents, OnWrite, Pattern, Rights, Seen, Words};
pub use space::{Expected, Space, page_of};
use space::{Frames, WriteWay};

/// The number of an address space; never used again.
pub type SpaceId = u32;

/// All address spaces.
#[derive(Debug, Default)]
pub struct Model {
    spaces: BTreeMap<SpaceId, Space>,
    next: SpaceId,
    frames: Frames,
    copies: u64,
}

impl Model {
    /// Makes an empty space.
    pub fn create(&mut self) -> SpaceId {
        self.add(Space::default())
    }

    fn add(&mut self, space: Space) -> SpaceId {
        self.next += 1;
        self.spaces.insert(self.next, space);
        self.next
    }

    /// Copies a space as `fork` does.
    pub fn fork(&mut self, parent: SpaceId) -> SpaceId {
        let child = self.space_mut(parent).fork();
        self.add(child)
    }

    /// Drops a space.
    pub fn destroy(&mut self, space: SpaceId) {
        self.spaces.remove(&space);
    }

    /// Returns a space.
    ///
    /// # Panics
    ///
    /// If there is none of this number.
    pub fn space(&self, space: SpaceId) -> &Space {
        &self.spaces[&space]
    }

    fn space_mut(&mut self, space: SpaceId) -> &mut Space {
        self.spaces
            .get_mut(&space)
            .expect("a number that was returned by `create` or `fork` and not destroyed")
    }

    /// The numbers of all spaces.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> {
        self.spaces.keys().copied()
    }

    /// How many frames hold pages.
    pub fn frames(&self) -> usize {
        self.frames.live.get()
    }

    /// How many writes had to copy a page.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// Carries out a change.
    pub fn apply(&mut self, space: SpaceId, change: &Change) {
        self.space_mut(space).apply(change);
    }

    /// Notes the end of the heap, as `brk` returned it.
    pub fn set_break(&mut self, space: SpaceId, end: u64) {
        let heap = &mut self.space_mut(space).heap;
        *heap = Some(match heap {
            Some(heap) => heap.start..end,
            None => end..end,
        });
    }

    /// Reads a page.
    pub fn load(&mut self, space: SpaceId, at: u64) -> Expected {
        let frames = self.frames.clone();
        self.space_mut(space).load(&frames, at)
    }

    /// Writes a page.
    pub fn store(&mut self, space: SpaceId, at: u64, pattern: Pattern) -> Expected {
        let frames = self.frames.clone();
        match self.space_mut(space).store(&frames, at, pattern) {
            None => Expected::Refused,
            Some(way) => {
                self.copies += u64::from(way == WriteWay::Copied);
                Expected::Works(Contents::Written(pattern))
            }
        }
    }

    /// Compares all spaces with what the machine shows of them, and that pages share frames exactly where they have to.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn compare(&self, seen: &[(SpaceId, Vec<Seen>)]) -> Result<(), Difference> {
        let mut machine_of: HashMap<u64, u64> = HashMap::new();
        let mut model_of: HashMap<u64, u64> = HashMap::new();
        for (id, seen) in seen {
            let space = self.space(*id);
            space.compare(seen)?;
            for (page, shown) in space.pages.values().zip(seen) {
                let (ours, theirs) = (page.frame.number, shown.frame);
                let (space, at, frame) = (*id, shown.at, theirs);
                if *machine_of.entry(ours).or_insert(theirs) != theirs {
                    return Err(Difference::SplitFrame { space, at, frame });
                }
                if *model_of.entry(theirs).or_insert(ours) != ours {
                    return Err(Difference::SharedFrame { space, at, frame });
                }
            }
        }
        Ok(())
    }
}
