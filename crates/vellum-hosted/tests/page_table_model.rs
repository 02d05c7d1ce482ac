//! Sequences of operations on page tables of user space, of several shapes and formats, against a plain map.
mod page_table_support;

use page_table_support::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use vellum::frame::{UFrame, USegment};
use vellum::page_table::{
    Access, AccessType, AccessedDirty, CursorMut, DetachedNode, FourLevel, Fragment, MappedItem, MappedRange,
    PageProperty, PageTable, PageTableEntry, PageTableError, PagingConsts, Replaced, RiscVEntry, Sv39,
    Sv39OrSv48, Sv48, TinyTree, UserPt, X86Entry,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::paging;
use vellum_machine::ptword::{Base, Extensions, SvpbmtSvadu};

const KERNEL_HALF: usize = 0xffff_8000_0000_0000;
const FRAMES: usize = 5;

/// Pages at the borders of nodes of every level.
trait Shape: PagingConsts + Sized {
    /// The first page of each cluster, as far as user space goes; there is one more at its end.
    const CLUSTERS: &'static [usize] = &[0, 500, 1 << 10, (1 << 18) - 12, (1 << 27) - 12];
    const CLUSTER: usize = 24;
    /// The format of an entry.
    type Entry: PageTableEntry<Self>;

    /// One past the last page of user space.
    fn top() -> usize {
        1 << (Self::INDEX_BITS * usize::from(Self::levels()) - 1)
    }

    /// The first page of each cluster.
    fn clusters() -> Vec<usize> {
        let last = Self::top() - Self::CLUSTER;
        Self::CLUSTERS.iter().copied().filter(|first| *first < last).chain([last]).collect()
    }

    /// What a new mapping has noted.
    fn fresh(prop: PageProperty) -> AccessedDirty;

    /// Notes, as hardware does, that the page at `va` was read, or written.
    fn note(root: Paddr, va: Vaddr, ad: AccessedDirty);

    /// The level of the word that decides about `va`.
    fn level(root: Paddr, va: Vaddr) -> u8;
}

/// The table of a shape.
type Pt<G> = UserPt<G, <G as Shape>::Entry>;

/// What a shape has with x86-64 entries.
macro_rules! x86_64 {
    () => {
        type Entry = X86Entry<Self>;

        fn fresh(_: PageProperty) -> AccessedDirty {
            UNUSED
        }

        fn note(root: Paddr, va: Vaddr, ad: AccessedDirty) {
            note::<Self>(root, va, ad);
        }

        fn level(root: Paddr, va: Vaddr) -> u8 {
            walk::<Self>(root, va).level
        }
    };
}

/// What a shape has with RISC-V entries.
macro_rules! riscv {
    ($extensions:ty) => {
        type Entry = RiscVEntry<Self, $extensions>;

        fn fresh(prop: PageProperty) -> AccessedDirty {
            let noted = !<$extensions>::SVADU && !prop.user;
            AccessedDirty { accessed: noted, dirty: noted }
        }

        fn note(root: Paddr, va: Vaddr, ad: AccessedDirty) {
            riscv::note::<Self>(root, va, ad);
        }

        fn level(root: Paddr, va: Vaddr) -> u8 {
            riscv::decides::<Self>(root, va).1
        }
    };
}

impl Shape for Sv39 {
    riscv!(Base);
}

impl Shape for Sv39OrSv48 {
    riscv!(Base);
}

impl Shape for Sv48 {
    riscv!(SvpbmtSvadu);
}

impl Shape for TinyTree {
    const CLUSTER: usize = 32;
    x86_64!();
}

impl Shape for FourLevel {
    x86_64!();
}

#[derive(Clone, Debug)]
enum Op {
    /// What is done with one cursor.
    Session { range: Range<usize>, steps: Vec<Step> },
    /// A range of addresses that is none.
    Range { start: usize, end: usize },
}

#[derive(Clone, Debug)]
enum Step {
    Map {
        frame: usize,
        prop: PageProperty,
    },
    /// The same without memory.
    MapStarved {
        frame: usize,
        prop: PageProperty,
    },
    /// Lengths are in bytes; `None` is the rest of the cursor's range.
    Take {
        len: Option<usize>,
    },
    TakeAll {
        len: Option<usize>,
    },
    Protect {
        len: Option<usize>,
        prop: PageProperty,
    },
    /// The `nth` allocation fails, if there are so many.
    MapRange {
        frames: Range<usize>,
        prop: PageProperty,
        nth: u64,
    },
    /// The operation refuses after so many mappings.
    ProtectAll {
        len: Option<usize>,
        prop: PageProperty,
        mappings: usize,
    },
    Find {
        len: Option<usize>,
    },
    Query,
    Jump {
        to: usize,
    },
    /// Hardware notes that the page was read, or written.
    Note {
        page: usize,
        dirty: bool,
    },
    /// A page-fault handler notes an access here.
    Access {
        access: AccessType,
    },
}

fn a_property() -> impl Strategy<Value = PageProperty> {
    (any_property(), 0..16).prop_map(|(prop, n)| if n == 0 { prop.with_access(Access::X) } else { prop })
}

fn an_access() -> impl Strategy<Value = AccessType> {
    prop_oneof![Just(AccessType::Read), Just(AccessType::Write), Just(AccessType::Execute)]
}

fn a_page<G: Shape>() -> impl Strategy<Value = usize> {
    let clusters = G::clusters();
    (0..clusters.len(), 0..G::CLUSTER).prop_map(move |(cluster, n)| clusters[cluster] + n)
}

fn a_range<G: Shape>() -> impl Strategy<Value = Range<usize>> {
    prop_oneof![
        4 => (a_page::<G>(), 1..G::CLUSTER).prop_map(|(start, count)| start..(start + count).min(G::top())),
        2 => (a_page::<G>(), a_page::<G>()).prop_map(|(a, b)| a.min(b)..a.max(b) + 1),
        2 => Just(0..G::top()),
        1 => (0..2_usize).prop_map(|n| n * G::NR_ENTRIES..(n + 1) * G::NR_ENTRIES),
    ]
}

fn an_address<G: Shape>() -> impl Strategy<Value = usize> {
    let whole = usize::MAX & !(PAGE_SIZE - 1);
    let top = G::top() * PAGE_SIZE;
    prop_oneof![
        prop::sample::select(vec![0, PAGE_SIZE, top - PAGE_SIZE, top, top + PAGE_SIZE, KERNEL_HALF, whole]),
        prop::sample::select(vec![1, PAGE_SIZE - 1, top - 1, top + 8, KERNEL_HALF - 1, usize::MAX, 1 << 63]),
        a_page::<G>().prop_map(|page| page * PAGE_SIZE),
        any::<usize>(),
    ]
}

fn a_len<G: Shape>() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![
        4 => Just(None),
        6 => (0..8_usize).prop_map(|pages| Some(pages * PAGE_SIZE)),
        2 => (0..3 * G::NR_ENTRIES).prop_map(|pages| Some(pages * PAGE_SIZE)),
        1 => an_address::<G>().prop_map(Some),
    ]
}

fn a_step<G: Shape>() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..FRAMES, a_property()).prop_map(|(frame, prop)| Step::Map { frame, prop }),
        1 => (0..FRAMES, a_property()).prop_map(|(frame, prop)| Step::MapStarved { frame, prop }),
        2 => a_len::<G>().prop_map(|len| Step::Take { len }),
        1 => a_len::<G>().prop_map(|len| Step::TakeAll { len }),
        2 => (a_len::<G>(), a_property()).prop_map(|(len, prop)| Step::Protect { len, prop }),
        3 => (0..=FRAMES, 0..=FRAMES, a_property(), 0..8_u64).prop_map(|(a, b, prop, nth)| Step::MapRange {
            frames: a.min(b)..a.max(b),
            prop,
            nth: nth.saturating_sub(4),
        }),
        2 => (a_len::<G>(), a_property(), 0..9_usize)
            .prop_map(|(len, prop, mappings)| Step::ProtectAll { len, prop, mappings }),
        1 => a_len::<G>().prop_map(|len| Step::Find { len }),
        1 => Just(Step::Query),
        3 => a_page::<G>().prop_map(|page| Step::Jump { to: page * PAGE_SIZE }),
        1 => an_address::<G>().prop_map(|to| Step::Jump { to }),
        2 => (a_page::<G>(), any::<bool>()).prop_map(|(page, dirty)| Step::Note { page, dirty }),
        2 => an_access().prop_map(|access| Step::Access { access }),
    ]
}

fn ops<G: Shape>() -> impl Strategy<Value = (Vec<Op>, bool)> {
    let session = (a_range::<G>(), prop::collection::vec(a_step::<G>(), 1..16));
    let op = prop_oneof![
        4 => session.prop_map(|(range, steps)| Op::Session { range, steps }),
        1 => (an_address::<G>(), an_address::<G>()).prop_map(|(start, end)| Op::Range { start, end }),
    ];
    (prop::collection::vec(op, 1..10), any::<bool>())
}

fn va(page: usize) -> Vaddr {
    Vaddr(page * PAGE_SIZE)
}

fn vas(pages: Range<usize>) -> Range<Vaddr> {
    va(pages.start)..va(pages.end)
}

/// Why the range is none, judged in the documented order.
fn refusal<G: Shape>(start: usize, end: usize) -> Option<PageTableError> {
    let misaligned = [start, end].into_iter().find(|at| !at.is_multiple_of(PAGE_SIZE));
    if let Some(at) = misaligned {
        return Some(PageTableError::NotAligned { at });
    }
    match (Vaddr(start), Vaddr(end)) {
        (start, end) if start == end => Some(PageTableError::Empty { va: start }),
        (start, end) if start > end => Some(PageTableError::Reversed { start, end }),
        (_, end) if end > va(G::top()) => Some(PageTableError::OutOfRange { va: end }),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
struct Mapped {
    frame: usize,
    prop: PageProperty,
    ad: AccessedDirty,
}

/// What either notes.
fn either(a: AccessedDirty, b: AccessedDirty) -> AccessedDirty {
    AccessedDirty { accessed: a.accessed || b.accessed, dirty: a.dirty || b.dirty }
}

/// What the table should hold.
struct Model {
    pages: BTreeMap<usize, Mapped>,
    frames: Vec<UFrame>,
    /// The same frames.
    segment: USegment,
}

impl Model {
    fn new() -> Model {
        let segment = user_segment(FRAMES);
        Model { pages: BTreeMap::new(), frames: segment.clone().collect(), segment }
    }

    fn item<G: PagingConsts>(&self, frame: usize, prop: PageProperty) -> MappedItem<G> {
        MappedItem::new(self.frames[frame].clone(), prop)
    }

    fn first(&self, range: Range<usize>) -> Option<usize> {
        self.pages.range(range).next().map(|(page, _)| *page)
    }

    fn assert_is<G: PagingConsts>(&self, item: &MappedItem<G>, frame: usize, prop: PageProperty) {
        assert_eq!((item.frames.start_paddr(), item.prop), (self.frames[frame].start_paddr(), prop));
    }

    /// The model has two counts of each frame, and each mapping one.
    fn check_counts(&self) {
        for (n, frame) in self.frames.iter().enumerate() {
            let mappings = self.pages.values().filter(|mapped| mapped.frame == n).count() as u64;
            assert_eq!(frame.reference_count(), 2 + mappings, "handles of frame {n}");
        }
    }

    /// Compares with what another cursor finds in a range.
    fn check<G: Shape>(&self, table: &PageTable<Pt<G>>, range: Range<usize>) {
        let mut cursor = table.cursor(vas(range.clone())).unwrap();
        assert_eq!(cursor.range(), vas(range.clone()));
        let mut expected = self.pages.range(range.clone());
        let mut at = range.start;
        while at < range.end
            && let Some(found) = cursor.find_next((range.end - at) * PAGE_SIZE).unwrap()
        {
            let (page, mapped) = expected.next().expect("a page too many");
            assert_eq!((found, cursor.virt_addr()), (va(*page), va(*page)));
            let slot = cursor.query().unwrap();
            assert_eq!((slot.range, slot.ad), (vas(*page..page + 1), mapped.ad));
            self.assert_is(&slot.item.unwrap(), mapped.frame, mapped.prop);
            at = page + 1;
            if at < range.end {
                cursor.jump(va(at)).unwrap();
            }
        }
        assert!(expected.next().is_none(), "a page is missing");
    }
}

/// A cursor, and where it should be.
struct Session<'a, G: Shape> {
    cursor: CursorMut<'a, Pt<G>>,
    root: Paddr,
    range: Range<usize>,
    at: usize,
    model: &'a mut Model,
}

impl<'a, G: Shape> Session<'a, G> {
    fn new(table: &'a PageTable<Pt<G>>, range: Range<usize>, model: &'a mut Model) -> Self {
        let cursor = table.cursor_mut(vas(range.clone())).unwrap();
        let at = range.start;
        Session { cursor, root: table.root_paddr(), range, at, model }
    }

    fn rest(&self) -> usize {
        (self.range.end - self.at) * PAGE_SIZE
    }

    /// The pages that a length covers, and its bytes.
    fn window(&self, len: Option<usize>) -> (Result<Range<usize>, PageTableError>, usize) {
        let len = len.unwrap_or(self.rest());
        let window = if !len.is_multiple_of(PAGE_SIZE) {
            Err(PageTableError::NotAligned { at: len })
        } else if len > self.rest() {
            Err(PageTableError::OutOfRange { va: va(self.at) })
        } else {
            Ok(self.at..self.at + len / PAGE_SIZE)
        };
        (window, len)
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Map { frame, prop } => self.map(frame, prop),
            Step::MapStarved { frame, prop } => self.map_starved(frame, prop),
            Step::Take { len } => drop(self.take(len)),
            Step::TakeAll { len } => self.take_all(len),
            Step::Protect { len, prop } => self.protect(len, prop),
            Step::MapRange { frames, prop, nth } => self.map_range(frames, prop, nth),
            Step::ProtectAll { len, prop, mappings } => self.protect_all(len, prop, mappings),
            Step::Find { len } => self.find(len),
            Step::Query => self.query(),
            Step::Jump { to } => self.jump(to),
            Step::Note { page, dirty } => self.note(page, dirty),
            Step::Access { access } => self.access(access),
        }
        self.check();
    }

    fn map(&mut self, frame: usize, prop: PageProperty) {
        let outcome = self.cursor.map(self.model.item(frame, prop));
        if !G::Entry::can_hold(prop) {
            let refused = outcome.err().unwrap();
            assert_eq!(refused.error, PageTableError::Unrepresentable { prop });
            return self.model.assert_is(&refused.item, frame, prop);
        }
        if self.at == self.range.end {
            let refused = outcome.err().unwrap();
            assert_eq!(refused.error, PageTableError::OutOfRange { va: va(self.at) });
            return self.model.assert_is(&refused.item, frame, prop);
        }
        let replaced = outcome.map_err(|refused| refused.error).unwrap();
        let old = self.model.pages.insert(self.at, Mapped { frame, prop, ad: G::fresh(prop) });
        assert_eq!(replaced.is_some(), old.is_some());
        if let (Some(item), Some(old)) = (replaced, old) {
            self.model.assert_is(&item.item, old.frame, old.prop);
            assert_eq!(item.ad, old.ad, "what hardware noted of the page that was replaced");
        }
        self.at += 1;
    }

    fn map_starved(&mut self, frame: usize, prop: PageProperty) {
        let refused = self.at == self.range.end || !G::Entry::can_hold(prop);
        if refused || G::level(self.root, va(self.at)) == 1 {
            return with_failure(1, || self.map(frame, prop));
        }
        let item = self.model.item(frame, prop);
        let refused = with_failure(1, || self.cursor.map(item)).err().unwrap();
        assert_eq!(refused.error, PageTableError::NoMemory);
        self.model.assert_is(&refused.item, frame, prop);
    }

    /// Whether there is more to take, and where the window ends.
    fn take(&mut self, len: Option<usize>) -> Option<usize> {
        let before = self.at;
        let (window, len) = self.window(len);
        let taken = self.cursor.take_next(len);
        let window = match window {
            Ok(window) => window,
            Err(error) => {
                assert_eq!(taken.err(), Some(error));
                return None;
            }
        };
        let first = self.model.first(window.clone());
        let now = pages_of(0, &(self.cursor.virt_addr()..va(window.end)));
        self.at = now.start;
        match taken.unwrap() {
            Some(Fragment::Leaf { va: start, item, ad }) => {
                let page = first.expect("nothing was mapped");
                assert_eq!(start, va(page));
                assert!((page..=page + 1).contains(&self.at));
                let old = self.model.pages.remove(&page).unwrap();
                assert_eq!(ad, old.ad);
                self.model.assert_is(&item, old.frame, old.prop);
            }
            Some(Fragment::Node(node)) => {
                assert!(window.start <= self.at && first.is_none_or(|first| self.at <= first));
                self.keep_what_was_in(node, &(before..window.end));
            }
            None => {
                assert_eq!((first, self.at), (None, window.end));
                return None;
            }
        }
        Some(window.end)
    }

    /// A node covered an entry of a level, and has what was mapped below it; outside the window that is nothing.
    fn keep_what_was_in(&mut self, mut node: DetachedNode<Pt<G>>, window: &Range<usize>) {
        let pages = pages_of(0, &node.va_range());
        let covers = |level: u8| G::NR_ENTRIES.pow(u32::from(level));
        assert!((1..G::levels()).any(|level| covers(level) == pages.len()));
        assert!(pages.start.is_multiple_of(pages.len()));
        assert!(pages.start < window.end && window.start < pages.end);
        let mapped: Vec<usize> = self.model.pages.range(pages).map(|(page, _)| *page).collect();
        assert_eq!(node.nr_pages(), mapped.len());
        for page in mapped {
            assert!(window.contains(&page));
            let (start, item, ad) = node.next_leaf().expect("a page is missing");
            let old = self.model.pages.remove(&page).unwrap();
            assert_eq!((start, ad), (va(page), old.ad));
            self.model.assert_is(&item, old.frame, old.prop);
        }
        assert!(node.next_leaf().is_none(), "a page too many");
    }

    fn take_all(&mut self, len: Option<usize>) {
        let mut len = len;
        while let Some(end) = self.take(len) {
            len = Some((end - self.at) * PAGE_SIZE);
        }
    }

    fn protect(&mut self, len: Option<usize>, prop: PageProperty) {
        let (window, len) = self.window(len);
        let mut seen = None;
        let protected = self.cursor.protect_next(len, |old| {
            seen = Some(old);
            prop
        });
        let Ok(window) = window else {
            assert_eq!((protected.err(), seen), (window.err(), None));
            return;
        };
        let first = self.model.first(window.clone());
        if first.is_some() && !G::Entry::can_hold(prop) {
            assert_eq!(protected, Err(PageTableError::Unrepresentable { prop }));
            return;
        }
        assert_eq!(protected, Ok(first.map(|page| vas(page..page + 1))));
        self.at = first.map_or(window.end, |page| page + 1);
        assert_eq!(seen, first.map(|page| self.model.pages[&page].prop));
        if let Some(page) = first {
            let mapped = self.model.pages.get_mut(&page).unwrap();
            mapped.prop = prop;
            mapped.ad = either(mapped.ad, G::fresh(prop));
        }
    }

    fn map_range(&mut self, frames: Range<usize>, prop: PageProperty, nth: u64) {
        let bytes = frames.start * PAGE_SIZE..frames.end * PAGE_SIZE;
        let segment = self.model.segment.slice(bytes).unwrap();
        let run = segment.start_paddr()..segment.end_paddr();
        let mut replaced = Vec::new();
        let mut sink = |at, old: Replaced<MappedItem<G>>| replaced.push((at, old));
        let cursor = &mut self.cursor;
        let outcome = with_failure(nth, || cursor.map_range(MappedRange { segment, prop }, &mut sink));
        if let Err(refused) = outcome {
            let fits = frames.len() * PAGE_SIZE <= self.rest();
            let out = PageTableError::OutOfRange { va: va(self.at) };
            let held = G::Entry::can_hold(prop);
            let should = if !held {
                PageTableError::Unrepresentable { prop }
            } else if fits {
                PageTableError::NoMemory
            } else {
                out
            };
            assert_eq!(refused.error, should);
            assert!(nth > 0 || !fits || !held);
            let segment = refused.item.segment;
            assert_eq!((segment.start_paddr()..segment.end_paddr(), refused.item.prop), (run, prop));
            return assert!(replaced.is_empty());
        }
        assert!(G::Entry::can_hold(prop));
        let mut expected = Vec::new();
        for frame in frames {
            let old = self.model.pages.insert(self.at, Mapped { frame, prop, ad: G::fresh(prop) });
            expected.extend(old.map(|old| (va(self.at), old)));
            self.at += 1;
        }
        assert_eq!(replaced.len(), expected.len());
        for ((at, found), (page, old)) in replaced.into_iter().zip(expected) {
            assert_eq!((at, found.ad), (page, old.ad));
            self.model.assert_is(&found.item, old.frame, old.prop);
        }
    }

    fn protect_all(&mut self, len: Option<usize>, prop: PageProperty, mappings: usize) {
        let (window, len) = self.window(len);
        let mut seen = Vec::new();
        let outcome = self.cursor.protect(len, &mut |range: Range<Vaddr>, old| {
            seen.push((range, old));
            (seen.len() <= mappings).then_some(prop)
        });
        let Ok(window) = window else {
            assert_eq!((outcome.err(), seen), (window.err(), Vec::new()));
            return;
        };
        if let Some(page) = self.model.first(window.clone())
            && mappings > 0
            && !G::Entry::can_hold(prop)
        {
            assert_eq!(outcome, Err(PageTableError::Unrepresentable { prop }));
            assert_eq!(seen, vec![(vas(page..page + 1), self.model.pages[&page].prop)]);
            self.at = page;
            return;
        }
        let mut pages = self.model.pages.range_mut(window.clone());
        let mut expected = Vec::new();
        for (page, mapped) in pages.by_ref().take(mappings) {
            expected.push((vas(*page..page + 1), mapped.prop));
            mapped.prop = prop;
            mapped.ad = either(mapped.ad, G::fresh(prop));
        }
        assert_eq!(outcome, Ok(expected.len()));
        let next = pages.next();
        self.at = next.as_ref().map_or(window.end, |(page, _)| **page);
        expected.extend(next.map(|(page, mapped)| (vas(*page..page + 1), mapped.prop)));
        assert_eq!(seen, expected);
    }

    fn find(&mut self, len: Option<usize>) {
        let (window, len) = self.window(len);
        let found = self.cursor.find_next(len);
        let Ok(window) = window else {
            assert_eq!(found.err(), window.err());
            return;
        };
        let first = self.model.first(window.clone());
        assert_eq!(found, Ok(first.map(va)));
        self.at = first.unwrap_or(window.end);
    }

    fn query(&mut self) {
        let slot = self.cursor.query();
        if self.at == self.range.end {
            assert_eq!(slot.err(), Some(PageTableError::OutOfRange { va: va(self.at) }));
            return;
        }
        let slot = slot.unwrap();
        let pages = pages_of(0, &slot.range);
        assert!(self.range.start <= pages.start && pages.end <= self.range.end && pages.contains(&self.at));
        match self.model.pages.get(&self.at) {
            Some(mapped) => {
                assert_eq!((pages, slot.ad), (self.at..self.at + 1, mapped.ad));
                self.model.assert_is(&slot.item.unwrap(), mapped.frame, mapped.prop);
            }
            None => {
                assert!(slot.item.is_none() && self.model.first(pages).is_none());
            }
        }
    }

    fn jump(&mut self, to: usize) {
        let expected = if !to.is_multiple_of(PAGE_SIZE) {
            Err(PageTableError::NotAligned { at: to })
        } else if !self.range.contains(&(to / PAGE_SIZE)) {
            Err(PageTableError::OutOfRange { va: Vaddr(to) })
        } else {
            self.at = to / PAGE_SIZE;
            Ok(())
        };
        assert_eq!(self.cursor.jump(Vaddr(to)), expected);
    }

    fn note(&mut self, page: usize, dirty: bool) {
        let Some(mapped) = self.model.pages.get_mut(&page) else {
            return;
        };
        let access = mapped.prop.access;
        let ad = AccessedDirty { accessed: access.readable(), dirty: dirty && access.writable() };
        G::note(self.root, va(page), ad);
        mapped.ad = either(mapped.ad, ad);
    }

    fn access(&mut self, access: AccessType) {
        let noted = self.cursor.note(access);
        if self.at == self.range.end {
            assert_eq!(noted, Err(PageTableError::OutOfRange { va: va(self.at) }));
            return;
        }
        let mapped = self.model.pages.get_mut(&self.at).filter(|mapped| mapped.prop.access.permits(access));
        assert_eq!(noted, Ok(mapped.is_some()));
        if let Some(mapped) = mapped {
            mapped.ad = either(mapped.ad, AccessedDirty::of_access(access));
        }
    }

    /// Compares all that the cursor sees with the model, and the counts of the frames.
    fn check(&mut self) {
        let at = self.at;
        assert_eq!((self.cursor.virt_addr(), self.cursor.range()), (va(at), vas(self.range.clone())));
        self.model.check_counts();
        let clusters = G::clusters().into_iter().flat_map(|first| first..first + G::CLUSTER);
        let mapped = self.model.pages.range(self.range.clone()).map(|(page, _)| *page);
        let pages: Vec<usize> = clusters.filter(|page| self.range.contains(page)).chain(mapped).collect();
        for page in pages {
            self.jump(page * PAGE_SIZE);
            self.query();
        }
        self.go_back(at);
    }

    /// Goes to a page, or to the end of the range.
    fn go_back(&mut self, to: usize) {
        if to < self.range.end {
            return self.jump(to * PAGE_SIZE);
        }
        self.jump((to - 1) * PAGE_SIZE);
        self.cursor.protect_next(PAGE_SIZE, |prop| prop).unwrap();
        self.at = to;
    }
}

fn carry_out<G: Shape>(table: &PageTable<Pt<G>>, model: &mut Model, op: Op) {
    match op {
        Op::Session { range, steps } => {
            let mut session = Session::new(table, range, model);
            steps.into_iter().for_each(|step| session.carry_out(step));
        }
        Op::Range { start, end } => {
            let expected = refusal::<G>(start, end);
            assert_eq!(table.cursor(Vaddr(start)..Vaddr(end)).err(), expected);
            assert_eq!(table.cursor_mut(Vaddr(start)..Vaddr(end)).err(), expected);
        }
    }
    model.check(table, 0..G::top());
    model.check_counts();
}

/// Carries out all of it, and drops the table as it is, or emptied.
fn sequence<G: Shape>(ops: Vec<Op>, emptied: bool) {
    with_failure(0, || ());
    let before = count_free();
    let mut model = Model::new();
    let table = PageTable::<Pt<G>>::new().unwrap();
    for op in ops {
        carry_out(&table, &mut model, op);
    }
    if emptied {
        Session::new(&table, 0..G::top(), &mut model).take_all(None);
        assert!(model.pages.is_empty());
        assert_eq!(count_free(), before - FRAMES - 1, "nodes are left besides the root");
    }
    drop(table);
    model.pages.clear();
    model.check_counts();
    drop(model);
    assert_eq!(count_free(), before, "frames were lost or won");
}

#[test]
fn any_sequence_on_a_small_tree_is_that_of_a_map() {
    with_cases(4000, ops::<TinyTree>(), |(ops, emptied)| sequence::<TinyTree>(ops, emptied));
}

#[test]
fn any_sequence_on_four_levels_is_that_of_a_map() {
    with_cases(1500, ops::<FourLevel>(), |(ops, emptied)| sequence::<FourLevel>(ops, emptied));
}

#[test]
fn any_sequence_on_sv39_is_that_of_a_map() {
    with_cases(1000, ops::<Sv39>(), |(ops, emptied)| sequence::<Sv39>(ops, emptied));
}

#[test]
fn any_sequence_on_sv48_is_that_of_a_map() {
    with_cases(1000, ops::<Sv48>(), |(ops, emptied)| sequence::<Sv48>(ops, emptied));
}

#[test]
fn any_sequence_on_as_many_levels_as_were_chosen_is_that_of_a_map() {
    for four_levels in [false, true] {
        #[allow(unsafe_code, reason = "chooses for this test alone")]
        // SAFETY: no walker is involved. This test alone has tables of the shape, and none is left when it chooses again.
        unsafe {
            paging::choose(four_levels)
        };
        with_cases(500, ops::<Sv39OrSv48>(), |(ops, emptied)| sequence::<Sv39OrSv48>(ops, emptied));
    }
}

#[test]
fn a_table_without_a_frame_for_its_root() {
    on_machine(|| {
        let before = count_free();
        let made = with_failure(1, PageTable::<UserPt<FourLevel>>::new);
        assert_eq!(made.err(), Some(PageTableError::NoMemory));
        assert_eq!(count_free(), before);
    });
}

#[test]
fn one_frame_can_be_mapped_everywhere() {
    on_machine(|| {
        let before = count_free();
        let frame = user_frame();
        let table = PageTable::<UserPt<TinyTree>>::new().unwrap();
        let mut cursor = table.cursor_mut(vas(0..TinyTree::top())).unwrap();
        for _ in 0..TinyTree::top() {
            let item = MappedItem::new(frame.clone(), PageProperty::user(Access::R));
            assert!(cursor.map(item).is_ok_and(|old| old.is_none()));
        }
        assert_eq!(frame.reference_count(), 1 + TinyTree::top() as u64);
        drop(cursor);
        drop(table);
        assert_eq!(frame.reference_count(), 1);
        drop(frame);
        assert_eq!(count_free(), before);
    });
}
