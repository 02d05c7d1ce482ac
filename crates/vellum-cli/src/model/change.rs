//! What calls come down to: changes of one address space.

use std::ops::Range;

use super::space::Space;
use crate::strace::{Advice, Call, OldPlace, PAGE, Placement, Prot, Sharing};

/// A change of one address space, over whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New pages, in place of what was there.
    Map {
        /// Where.
        at: Range<u64>,
        /// What they allow.
        prot: Prot,
        /// Who sees what is written.
        sharing: Sharing,
        /// Why.
        kind: MapKind,
    },
    /// Nothing is there any more.
    Unmap {
        /// Where.
        at: Range<u64>,
    },
    /// The pages allow something else.
    Protect {
        /// Where.
        at: Range<u64>,
        /// What.
        prot: Prot,
    },
    /// The mapping at `like` goes on at `at`, its successor.
    Extend {
        /// Where.
        at: Range<u64>,
        /// An address in the mapping.
        like: u64,
    },
    /// Pages move.
    Move {
        /// From where.
        old: Range<u64>,
        /// To where.
        new: Range<u64>,
        /// What stays behind.
        left: OldPlace,
    },
    /// The shared mapping at `old` is also seen at `new`.
    Double {
        /// Where it is.
        old: u64,
        /// Where it is seen too.
        new: Range<u64>,
    },
    /// The pages are dropped; the mappings stay.
    Empty {
        /// Where.
        at: Range<u64>,
    },
    /// Children get something else of it.
    SetInherit {
        /// Where.
        at: Range<u64>,
        /// What.
        inherit: Inherit,
    },
}

/// Why a mapping is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// A call made it.
    Call,
    /// A call named it, and no call had made it: `execve` did.
    Implicit,
}

/// What a forked child gets of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// Its contents.
    Copy,
    /// The mapping without contents.
    Empty,
    /// Nothing.
    Nothing,
}

/// A log that contradicts itself: addresses were given out that were in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log gives out {:#x}..{:#x}, but {:#x}..{:#x} is in use", given.start, given.end, used.start, used.end)]
pub struct GivenTwice {
    /// What is given out.
    pub given: Range<u64>,
    /// What of it is in use.
    pub used: Range<u64>,
}

impl Change {
    /// The addresses that it concerns.
    pub fn range(&self) -> Range<u64> {
        match self {
            Change::Map { at, .. }
            | Change::Unmap { at }
            | Change::Protect { at, .. }
            | Change::Extend { at, .. }
            | Change::Empty { at }
            | Change::SetInherit { at, .. } => at.clone(),
            Change::Move { new, .. } | Change::Double { new, .. } => new.clone(),
        }
    }

    /// The addresses that it takes pages away from.
    pub fn old_range(&self) -> Option<Range<u64>> {
        match self {
            Change::Move { old, .. } => Some(old.clone()),
            _ => None,
        }
    }
}

impl Space {
    /// Says where room has to be made before `call`, because it names addresses that no call has mapped.
    pub fn room_for(&self, call: &Call) -> Vec<Range<u64>> {
        match call {
            // unmapping what is not mapped is allowed: room is made only where nothing is known
            Call::Unmap { at } => self.unnamed(at.clone()),
            // these succeed only where all is mapped
            Call::Protect { at, .. } | Call::Advise { at, .. } => self.unmapped(at.clone()),
            Call::Remap { old, .. } if old.is_empty() => {
                self.unmapped(old.start..old.start.saturating_add(PAGE))
            }
            Call::Remap { old, .. } => self.unmapped(old.clone()),
            _ => Vec::new(),
        }
    }

    /// Says what `call` changes, in order.
    ///
    /// # Errors
    ///
    /// [`GivenTwice`] if the log says that the kernel gave out addresses that are in use.
    pub fn changes_of(&self, call: &Call) -> Result<Vec<Change>, GivenTwice> {
        Ok(match call {
            Call::Map { at, prot, sharing, placement, .. } => {
                self.must_be_free(at, *placement)?;
                vec![Change::Map { at: at.clone(), prot: *prot, sharing: *sharing, kind: MapKind::Call }]
            }
            Call::Unmap { at } => vec![Change::Unmap { at: at.clone() }],
            Call::Protect { at, prot } => vec![Change::Protect { at: at.clone(), prot: *prot }],
            Call::Remap { old, new, placement, left } => self.remap(old, new, *placement, *left)?,
            Call::Break { end } => self.set_break(*end)?,
            Call::Advise { at, advice } => advise(at, *advice),
            Call::Clone { .. } | Call::Exec | Call::Exit => Vec::new(),
        }
        .into_iter()
        .filter(|change| !change.range().is_empty())
        .collect())
    }

    fn must_be_free(&self, given: &Range<u64>, placement: Placement) -> Result<(), GivenTwice> {
        let used = match placement {
            Placement::Replacing => None,
            Placement::Free => self.mapped_by_call(given.clone()),
        };
        match used {
            Some(used) => Err(GivenTwice { given: given.clone(), used }),
            None => Ok(()),
        }
    }

    fn remap(
        &self,
        old: &Range<u64>,
        new: &Range<u64>,
        placement: Placement,
        left: OldPlace,
    ) -> Result<Vec<Change>, GivenTwice> {
        if old.is_empty() {
            self.must_be_free(new, placement)?;
            return Ok(vec![
                Change::Unmap { at: new.clone() },
                Change::Double { old: old.start, new: new.clone() },
            ]);
        }
        if old.start == new.start {
            if new.end <= old.end {
                return Ok(vec![Change::Unmap { at: new.end..old.end }]);
            }
            let grown = old.end..new.end;
            self.must_be_free(&grown, placement)?;
            return Ok(vec![
                Change::Unmap { at: grown.clone() },
                Change::Extend { at: grown, like: old.end - PAGE },
            ]);
        }
        self.must_be_free(new, placement)?;
        let kept = (old.end - old.start).min(new.end - new.start);
        let moved = new.start..new.start + kept;
        Ok(vec![
            Change::Unmap { at: new.clone() },
            Change::Unmap { at: old.start + kept..old.end },
            Change::Move { old: old.start..old.start + kept, new: moved.clone(), left },
            Change::Extend { at: moved.end..new.end, like: moved.end.saturating_sub(PAGE) },
        ])
    }

    fn set_break(&self, end: u64) -> Result<Vec<Change>, GivenTwice> {
        let Some(heap) = &self.heap else { return Ok(Vec::new()) };
        let pages = |bytes: u64| bytes.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1));
        let (now, then) = (pages(heap.end), pages(end.max(heap.start)));
        if then <= now {
            return Ok(vec![Change::Unmap { at: then..now }]);
        }
        self.must_be_free(&(now..then), Placement::Free)?;
        let (prot, sharing, kind) = (Prot::RW, Sharing::Private, MapKind::Call);
        Ok(vec![Change::Map { at: now..then, prot, sharing, kind }])
    }
}

fn advise(at: &Range<u64>, advice: Advice) -> Vec<Change> {
    let inherit = |inherit| vec![Change::SetInherit { at: at.clone(), inherit }];
    match advice {
        Advice::DontNeed => vec![Change::Empty { at: at.clone() }],
        Advice::Free => Vec::new(),
        Advice::DontFork => inherit(Inherit::Nothing),
        Advice::WipeOnFork => inherit(Inherit::Empty),
        Advice::DoFork | Advice::KeepOnFork => inherit(Inherit::Copy),
    }
}
