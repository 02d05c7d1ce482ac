//! Which pages are touched, and what is asked of each.

use std::ops::Range;

use serde::Serialize;

use super::access::Access;
use crate::model::{Contents, Expected, Model, Pattern, Space, SpaceId};
use crate::strace::PAGE;

/// Which pages of a mapping are touched when a call made or changed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    /// All of them, or 4096 of a larger mapping, evenly spread.
    #[default]
    All,
    /// The first one.
    First,
    /// None: page tables stay empty.
    None,
}

/// The most pages that are touched for one call.
pub const MOST_TOUCHED: usize = 4096;

/// The most pages that are looked at on another processor for one call.
pub const MOST_WATCHED: usize = 32;

/// Chooses at most `most` of `count` things, evenly spread, the first and the last among them.
pub(super) fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let chosen = count.min(most);
    (0..chosen).map(move |n| {
        if chosen < 2 { 0 } else { (n as u128 * (count - 1) as u128 / (chosen - 1) as u128) as usize }
    })
}

fn nr_pages(range: &Range<u64>) -> usize {
    ((range.end - range.start) / PAGE) as usize
}

impl Touch {
    fn most(self) -> usize {
        match self {
            Touch::All => MOST_TOUCHED,
            Touch::First => 1,
            Touch::None => 0,
        }
    }

    /// Chooses pages of a range.
    pub(super) fn pages(self, range: Range<u64>) -> impl Iterator<Item = u64> {
        spread(nr_pages(&range), self.most()).map(move |n| range.start + n as u64 * PAGE)
    }

    /// Chooses among pages.
    pub(super) fn among(self, pages: &[u64]) -> Vec<u64> {
        spread(pages.len(), self.most()).map(|n| pages[n]).collect()
    }
}

/// What a process does to the pages of a range after a call, and what must come of it. The model goes along.
///
/// Pages that can be written are written and read back; others are read, and a store to them must fault. What allows nothing,
/// or is not mapped, must fault; of that only pages with a frame, and the first, are tried, so that a large reservation costs
/// nothing.
pub(super) fn touch(
    model: &mut Model,
    space: SpaceId,
    range: &Range<u64>,
    touch: Touch,
    mark: Mark,
) -> Vec<Access> {
    let mut accesses = Vec::new();
    let mapped: Vec<_> = model.space(space).mapped(range.clone()).collect();
    for part in mapped {
        if model.space(space).prot(part.start).readable() {
            touch.pages(part).for_each(|at| touch_page(model, space, at, mark, &mut accesses));
        } else {
            let with_frame: Vec<u64> = model.space(space).pages(part.clone()).collect();
            let tried = touch.among(&with_frame).into_iter().chain(touch.pages(part).take(1));
            tried.for_each(|at| accesses.extend([Access::LoadRefused(at), Access::StoreRefused(at)]));
        }
    }
    for gap in model.space(space).unmapped(range.clone()) {
        accesses.extend(touch.pages(gap).take(MOST_WATCHED).map(Access::LoadRefused));
    }
    accesses
}

/// Who touches, and in which generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) pid: u32,
    pub(super) generation: u64,
}

fn touch_page(model: &mut Model, space: SpaceId, at: u64, mark: Mark, accesses: &mut Vec<Access>) {
    // what was there, or zeros
    if let Expected::Works(contents) = model.load(space, at) {
        accesses.push(Access::Load(at, contents));
    }
    match write(model, space, at, mark) {
        Some(contents) => accesses.extend([Access::Store(at, contents), Access::Load(at, contents)]),
        None => accesses.push(Access::StoreRefused(at)),
    }
}

/// Writes a page in the model.
pub(super) fn write(model: &mut Model, space: SpaceId, at: u64, mark: Mark) -> Option<Contents> {
    let pattern = Pattern { pid: mark.pid, at, generation: mark.generation };
    match model.store(space, at, pattern) {
        Expected::Works(contents) => Some(contents),
        Expected::Refused => None,
    }
}

/// What another processor finds at a page, at rest; nothing if looking would change anything.
pub(super) fn watch(space: &Space, at: u64, accesses: &mut Vec<Access>) {
    let prot = space.prot(at);
    if !prot.readable() {
        accesses.push(Access::LoadRefused(at));
    } else if let Some(contents) = space.readable_contents(at) {
        accesses.push(Access::Load(at, contents));
        if !prot.writable() {
            accesses.push(Access::StoreRefused(at));
        }
    }
}

/// Uses a page that has a frame, in every way that changes nothing: the processor then has its translation.
pub(super) fn visit(space: &Space, at: u64, accesses: &mut Vec<Access>) {
    let Some(contents) = space.readable_contents(at) else { return };
    accesses.push(Access::Load(at, contents));
    if space.writes_in_place(at) {
        accesses.push(Access::Rewrite(at, contents));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_spread_and_reach_both_ends() {
        let chosen = |count, most| spread(count, most).collect::<Vec<_>>();
        assert_eq!(chosen(0, 5), [0; 0]);
        assert_eq!(chosen(3, 5), [0, 1, 2]);
        assert_eq!(chosen(9, 3), [0, 4, 8]);
        assert_eq!(chosen(9, 1), [0]);
        assert_eq!(chosen(9, 0), [0; 0]);
        assert_eq!(Touch::First.pages(0x1000..0x9000).collect::<Vec<_>>(), [0x1000]);
        assert_eq!(Touch::All.pages(0x1000..0x3000).collect::<Vec<_>>(), [0x1000, 0x2000]);
        assert_eq!(Touch::All.pages(0..1 << 40).count(), MOST_TOUCHED);
    }
}
