//! One address space of the model.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::change::{Change, Inherit, MapKind};
use super::difference::Difference;
use super::pages::{Contents, OnWrite, Pattern, Rights, Seen};
use crate::areas::Areas;
use crate::strace::{OldPlace, PAGE, Prot, Sharing};

/// A frame of the model: its contents. How many hold it says who shares it.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) number: u64,
    contents: Cell<Contents>,
    live: Rc<Cell<usize>>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

/// Makes the frames of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    next: Rc<Cell<u64>>,
    pub(super) live: Rc<Cell<usize>>,
}

impl Frames {
    fn fresh(&self, contents: Contents) -> Rc<Frame> {
        let number = self.next.replace(self.next.get() + 1);
        self.live.set(self.live.get() + 1);
        Rc::new(Frame { number, contents: Cell::new(contents), live: self.live.clone() })
    }
}

/// What every mapping of a `MAP_SHARED` object sees, by the offset in it.
type Object = Rc<RefCell<BTreeMap<u64, Rc<Frame>>>>;

#[derive(Clone, Debug)]
enum AreaSharing {
    Private,
    /// The page at `at` is that of the object at `at - base`, in wrapping arithmetic.
    Shared {
        object: Object,
        base: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Area {
    prot: Prot,
    sharing: AreaSharing,
    inherit: Inherit,
    pub(super) kind: MapKind,
}

#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) frame: Rc<Frame>,
    on_write: OnWrite,
    /// Used and written since it was mapped here.
    accessed: bool,
    dirty: bool,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It faults for good.
    Refused,
    /// It works; the page holds this then.
    Works(Contents),
}

/// How a write got its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteWay {
    Plain,
    Copied,
}

/// One address space of the model: its areas, its pages, and which of its addresses some call has named.
#[derive(Clone, Debug, Default)]
pub struct Space {
    pub(super) areas: Areas<Area>,
    named: Areas<()>,
    pub(super) pages: BTreeMap<u64, Page>,
    /// The heap as `brk` tells it, in bytes.
    pub(super) heap: Option<Range<u64>>,
}

impl Space {
    /// The parts of `at` that no call has mapped, unmapped or otherwise named.
    pub fn unnamed(&self, at: Range<u64>) -> Vec<Range<u64>> {
        let gaps = self.areas.gaps(at);
        gaps.into_iter().flat_map(|gap| self.named.gaps(gap)).collect()
    }

    /// The parts of `at` where nothing is mapped.
    pub fn unmapped(&self, at: Range<u64>) -> Vec<Range<u64>> {
        self.areas.gaps(at)
    }

    /// The first range within `at` that a call (not the replay's own making of room) has mapped.
    pub fn mapped_by_call(&self, at: Range<u64>) -> Option<Range<u64>> {
        self.areas.within(at).find(|(_, area)| area.kind == MapKind::Call).map(|(range, _)| range)
    }

    /// The addresses within `at` of pages that have a frame.
    pub fn pages(&self, at: Range<u64>) -> impl DoubleEndedIterator<Item = u64> {
        self.pages.range(at).map(|(at, _)| *at)
    }

    /// What is allowed at `at`; nothing where nothing is mapped.
    pub fn prot(&self, at: u64) -> Prot {
        self.areas.get(at).map_or(Prot::NONE, |(_, area)| area.prot)
    }

    /// What a page that has a frame, and can be read, holds.
    pub fn readable_contents(&self, at: u64) -> Option<Contents> {
        let page = self.pages.get(&at)?;
        self.prot(at).readable().then(|| page.frame.contents.get())
    }

    /// Whether a write to `at` needs neither a new frame nor a change of its entry.
    pub fn writes_in_place(&self, at: u64) -> bool {
        let in_place = self.pages.get(&at).is_some_and(|page| page.on_write == OnWrite::InPlace);
        in_place && self.prot(at).writable()
    }

    /// Whether nobody but this space sees what is written to `at`.
    pub fn is_private(&self, at: u64) -> bool {
        self.areas.get(at).is_some_and(|(_, area)| matches!(area.sharing, AreaSharing::Private))
    }

    /// The ranges of the mappings within `at`, cut down to it.
    pub fn mapped(&self, at: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.areas.within(at).map(|(range, _)| range)
    }

    /// The end of the heap, as `brk` last told it.
    pub fn heap_end(&self) -> Option<u64> {
        self.heap.as_ref().map(|heap| heap.end)
    }

    /// Carries out a change.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Map { at, prot, sharing, kind } => self.map(at.clone(), *prot, *sharing, *kind),
            Change::Unmap { at } => {
                self.areas.remove(at.clone());
                self.drop_pages(at.clone());
                self.named.insert(at.clone(), ());
            }
            Change::Protect { at, prot } => {
                self.areas.update(at.clone(), |area| area.prot = *prot);
                self.named.insert(at.clone(), ());
            }
            Change::Extend { at, like } => {
                if let Some(area) = self.areas.get(*like).map(|(_, area)| area.clone()) {
                    self.areas.insert(at.clone(), area);
                }
                self.named.insert(at.clone(), ());
            }
            Change::Move { old, new, left } => self.move_pages(old.clone(), new.start, *left),
            Change::Double { old, new } => {
                if let Some(area) =
                    self.areas.get(*old).map(|(_, area)| area.shifted(new.start.wrapping_sub(*old)))
                {
                    self.areas.insert(new.clone(), area);
                }
            }
            Change::Empty { at } => self.drop_pages(at.clone()),
            Change::SetInherit { at, inherit } => {
                self.areas.update(at.clone(), |area| area.inherit = *inherit)
            }
        }
    }

    fn map(&mut self, at: Range<u64>, prot: Prot, sharing: Sharing, kind: MapKind) {
        let sharing = match sharing {
            Sharing::Private => AreaSharing::Private,
            Sharing::Shared => AreaSharing::Shared { object: Object::default(), base: at.start },
        };
        self.drop_pages(at.clone());
        self.areas.insert(at.clone(), Area { prot, sharing, inherit: Inherit::Copy, kind });
        if kind == MapKind::Call {
            self.named.insert(at, ());
        }
    }

    fn drop_pages(&mut self, at: Range<u64>) {
        let gone: Vec<u64> = self.pages(at).collect();
        for at in gone {
            self.pages.remove(&at);
        }
    }

    fn move_pages(&mut self, old: Range<u64>, new: u64, left: OldPlace) {
        let offset = new.wrapping_sub(old.start);
        let areas = match left {
            OldPlace::Gone => self.areas.remove(old.clone()),
            OldPlace::Emptied => {
                self.areas.within(old.clone()).map(|(range, area)| (range, area.clone())).collect()
            }
        };
        for (range, area) in areas {
            let range = range.start.wrapping_add(offset)..range.end.wrapping_add(offset);
            self.areas.insert(range.clone(), area.shifted(offset));
            self.named.insert(range, ());
        }
        let moved: Vec<u64> = self.pages(old).collect();
        for at in moved {
            if let Some(page) = self.pages.remove(&at) {
                // the new entry has not been used
                let page = Page { accessed: false, dirty: false, ..page };
                self.pages.insert(at.wrapping_add(offset), page);
            }
        }
    }

    /// Makes the space of a forked child.
    pub(super) fn fork(&mut self) -> Space {
        let mut child = Space { named: self.named.clone(), heap: self.heap.clone(), ..Space::default() };
        for (range, area) in self.areas.iter() {
            if area.inherit == Inherit::Nothing {
                continue;
            }
            child.areas.insert(range.clone(), area.clone());
            if area.inherit == Inherit::Empty || matches!(area.sharing, AreaSharing::Shared { .. }) {
                continue;
            }
            for (at, page) in self.pages.range_mut(range) {
                page.on_write = OnWrite::Copy;
                child.pages.insert(*at, Page { accessed: false, dirty: false, ..page.clone() });
            }
        }
        child
    }

    /// Reads a page, which gets a frame if it has none.
    pub(super) fn load(&mut self, frames: &Frames, at: u64) -> Expected {
        if !self.prot(at).readable() {
            return Expected::Refused;
        }
        let page = self.page(frames, at);
        page.accessed = true;
        Expected::Works(page.frame.contents.get())
    }

    /// Writes a page, and says how it came by its frame; `None`: the write is refused.
    pub(super) fn store(&mut self, frames: &Frames, at: u64, pattern: Pattern) -> Option<WriteWay> {
        if !self.prot(at).writable() {
            return None;
        }
        let page = self.page(frames, at);
        let contents = Contents::Written(pattern);
        let mut way = WriteWay::Plain;
        if page.on_write == OnWrite::Copy {
            page.on_write = OnWrite::InPlace;
            if Rc::strong_count(&page.frame) > 1 {
                page.frame = frames.fresh(contents);
                way = WriteWay::Copied;
            }
        }
        page.frame.contents.set(contents);
        (page.accessed, page.dirty) = (true, true);
        Some(way)
    }

    /// The page at `at`, in an area.
    fn page(&mut self, frames: &Frames, at: u64) -> &mut Page {
        let sharing = self.areas.get(at).map(|(_, area)| &area.sharing);
        self.pages.entry(at).or_insert_with(|| {
            let frame = match sharing {
                Some(AreaSharing::Shared { object, base }) => {
                    let fresh = || frames.fresh(Contents::Zeros);
                    object.borrow_mut().entry(at.wrapping_sub(*base)).or_insert_with(fresh).clone()
                }
                _ => frames.fresh(Contents::Zeros),
            };
            Page { frame, on_write: OnWrite::InPlace, accessed: false, dirty: false }
        })
    }

    /// Compares every page with what the machine shows, which is in order of addresses.
    ///
    /// # Errors
    ///
    /// The first page at which they differ.
    pub fn compare(&self, seen: &[Seen]) -> Result<(), Difference> {
        let mut seen = seen.iter().peekable();
        for (&at, page) in &self.pages {
            match seen.next() {
                Some(shown) if shown.at == at => page.compare(self.prot(at), shown)?,
                Some(shown) if shown.at < at => return Err(Difference::Surplus { at: shown.at }),
                _ => return Err(Difference::Missing { at }),
            }
        }
        match seen.next() {
            Some(surplus) => Err(Difference::Surplus { at: surplus.at }),
            None => Ok(()),
        }
    }
}

impl Area {
    /// The same, `offset` higher up.
    fn shifted(&self, offset: u64) -> Area {
        let sharing = match &self.sharing {
            AreaSharing::Private => AreaSharing::Private,
            AreaSharing::Shared { object, base } => {
                AreaSharing::Shared { object: object.clone(), base: base.wrapping_add(offset) }
            }
        };
        Area { sharing, ..self.clone() }
    }
}

impl Page {
    fn compare(&self, prot: Prot, seen: &Seen) -> Result<(), Difference> {
        let at = seen.at;
        let expected = match self.on_write {
            OnWrite::InPlace => Rights::of(prot),
            OnWrite::Copy => Rights::of(prot).without_write(),
        };
        if seen.on_write != self.on_write {
            return Err(Difference::OnWrite { at, expected: self.on_write, seen: seen.on_write });
        }
        if seen.rights != expected {
            return Err(Difference::Rights { at, expected, seen: seen.rights });
        }
        let contents = self.frame.contents.get();
        if seen.words != contents.words() {
            return Err(Difference::Contents { at, expected: contents, seen: seen.words });
        }
        if self.dirty && !seen.dirty {
            return Err(Difference::LostBit { at, what: "written" });
        }
        if self.accessed && !seen.accessed {
            return Err(Difference::LostBit { at, what: "used" });
        }
        Ok(())
    }
}

/// The address of the page that holds `at`.
pub fn page_of(at: u64) -> u64 {
    at & !(PAGE - 1)
}
