//! Vellum's tables.
use crate::contestants::Table;
use crate::frames::Frames;
use crate::rows::{GIB, HUGE, Noted};
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use vellum::frame::UFrame;
use vellum::page_table::{
    Access, AccessType, CursorMut, FourLevel, Fragment, KernelPtConfig, MappedItem, MappedRange,
    PageProperty, PageTable, PageTableConfig, Replaced, Untracked, UserPtConfig,
};
use vellum::space::{self, VmSpace};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

fn vas(base: usize, pages: Range<usize>) -> Range<Vaddr> {
    Vaddr(base + pages.start * PAGE_SIZE)..Vaddr(base + pages.end * PAGE_SIZE)
}

fn mapped(frame: UFrame) -> MappedItem {
    MappedItem::new(frame, PageProperty::user(Access::RW))
}

/// The frame of what was unmapped: there are base pages alone.
fn frame_of(item: MappedItem) -> Option<UFrame> {
    item.frames.into_frame().ok()
}

fn run(frames: &Frames, numbers: Range<usize>) -> MappedRange {
    MappedRange { segment: frames.slice(numbers), prop: PageProperty::user(Access::RW) }
}

/// The pages from one on that so many frames are mapped at.
fn pages_for(first: usize, run: &MappedRange) -> Range<usize> {
    first..first + run.segment.nr_pages()
}

fn read_only(prop: PageProperty) -> PageProperty {
    prop.with_access(Access::R)
}

#[inline(always)]
fn nothing_was_there<E>(mapped: Result<Option<Replaced<MappedItem>>, E>) {
    assert!(matches!(mapped, Ok(None)), "nothing is mapped there yet");
}

/// Maps a frame where nothing is. Each way has an end of its own: answers that are joined go through memory.
#[inline(always)]
fn map_new(cursor: &mut CursorMut<'_, UserPtConfig>, frame: UFrame, noted: Noted) {
    match noted {
        Noted::Nothing => nothing_was_there(cursor.map(mapped(frame))),
        Noted::Both => nothing_was_there(cursor.map_accessed(mapped(frame), AccessType::Write)),
    }
}

/// The same in a space.
#[inline(always)]
fn map_in_space(cursor: &mut space::CursorMut<'_>, frame: UFrame, noted: Noted) {
    match noted {
        Noted::Nothing => cursor.map(mapped(frame)).expect("there is memory"),
        Noted::Both => cursor.map_accessed(mapped(frame), AccessType::Write).expect("there is memory"),
    }
}

/// A page table of its own, whose translations nobody caches.
pub struct VellumTable<'a> {
    table: PageTable<UserPtConfig>,
    frames: &'a Frames,
}

/// Where the part of a kernel's table begins.
fn kernel() -> usize {
    KernelPtConfig::va_base() + KernelPtConfig::TOP_LO * 512 * GIB * PAGE_SIZE
}

/// For 2 MiB pages. Nodes below its root stay, so there is one for all rounds.
static HUGE_PAGES: LazyLock<PageTable<KernelPtConfig>> =
    LazyLock::new(|| PageTable::new().expect("there is memory"));

impl<'a> VellumTable<'a> {
    pub fn new(frames: &'a Frames) -> VellumTable<'a> {
        VellumTable { table: PageTable::new().expect("there is memory"), frames }
    }
}

impl Table for VellumTable<'_> {
    type Item = UFrame;

    fn item(&self, frame: usize) -> UFrame {
        self.frames.frame(frame).clone()
    }

    type Run = MappedRange;

    fn run(&self, frames: Range<usize>) -> MappedRange {
        run(self.frames, frames)
    }

    fn map_range(&self, first: usize, run: MappedRange) {
        let mut cursor = self.table.cursor_mut(vas(0, pages_for(first, &run))).expect("it is a range");
        let mut nothing = |_, _: Replaced<MappedItem>| panic!("nothing is mapped there yet");
        cursor.map_range(run, &mut nothing).expect("there is memory");
    }

    fn map(&self, page: usize, frame: UFrame, noted: Noted) {
        let mut cursor = self.table.cursor_mut(vas(0, page..page + 1)).expect("it is a range");
        map_new(&mut cursor, frame, noted);
    }

    fn unmap(&self, pages: Range<usize>, mut keep: impl FnMut(UFrame)) {
        let count = pages.len();
        let mut cursor = self.table.cursor_mut(vas(0, pages)).expect("it is a range");
        let mut keep_all = |fragment| match fragment {
            Fragment::Leaf { item, .. } => frame_of(item).into_iter().for_each(&mut keep),
            Fragment::<UserPtConfig>::Node(mut node) => {
                let mut keep = |_, item, _| frame_of(item).into_iter().for_each(&mut keep);
                node.take_leaves(&mut keep);
            }
        };
        assert_eq!(cursor.unmap(count * PAGE_SIZE, &mut keep_all), Ok(count));
    }

    fn release(&self, pages: Range<usize>) {
        let count = pages.len();
        let mut cursor = self.table.cursor_mut(vas(0, pages)).expect("it is a range");
        let mut give_up = drop::<Fragment<UserPtConfig>>;
        assert_eq!(cursor.unmap(count * PAGE_SIZE, &mut give_up), Ok(count));
    }

    fn protect(&self, pages: Range<usize>) {
        let count = pages.len();
        let mut cursor = self.table.cursor_mut(vas(0, pages)).expect("it is a range");
        let mut each = |_: Range<Vaddr>, prop| Some(read_only(prop));
        assert_eq!(cursor.protect(count * PAGE_SIZE, &mut each), Ok(count));
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        self.table.translate(vas(0, page..page + 1).start).map(|found| found.paddr)
    }

    fn pair(&self, page: usize, frame: UFrame, noted: Noted) -> Option<UFrame> {
        let mut cursor = self.table.cursor_mut(vas(0, page..page + 1)).expect("it is a range");
        let start = cursor.virt_addr();
        map_new(&mut cursor, frame, noted);
        cursor.jump(start).expect("it is in the range");
        let mut out = None;
        let mut keep = |fragment| {
            if let Fragment::Leaf { item, .. } = fragment {
                out = frame_of(item);
            }
        };
        assert_eq!(cursor.unmap(PAGE_SIZE, &mut keep), Ok(1));
        out
    }

    fn map_huge(&self, first: usize, count: usize) {
        let prop = PageProperty::kernel(Access::RW);
        let mut cursor = HUGE_PAGES.cursor_mut(vas(kernel(), huge(first, count))).expect("it is a range");
        for n in 0..count {
            let item = Untracked::<FourLevel>::new(Paddr(n * HUGE * PAGE_SIZE), 2, prop).expect("it fits");
            assert!(matches!(cursor.map(item), Ok(None)), "nothing is mapped there yet");
        }
    }

    fn unmap_huge(&self, first: usize, count: usize) {
        let range = vas(kernel(), huge(first, count));
        let len = range.end.0 - range.start.0;
        let mut cursor = HUGE_PAGES.cursor_mut(range).expect("it is a range");
        cursor.unmap(len, &mut drop::<Fragment<KernelPtConfig>>).expect("nothing is split");
    }
}

fn huge(first: usize, count: usize) -> Range<usize> {
    first..first + count * HUGE
}

impl Drop for VellumTable<'_> {
    fn drop(&mut self) {
        // What a row left for the next one to find, in 1 GiB.
        self.unmap_huge(0, GIB / HUGE);
    }
}

/// An address space, whose cursors flush and release.
pub struct Space<'a> {
    space: Arc<VmSpace>,
    frames: &'a Frames,
}

impl<'a> Space<'a> {
    pub fn new(frames: &'a Frames) -> Space<'a> {
        Space { space: VmSpace::new().expect("there is memory"), frames }
    }
}

impl Table for Space<'_> {
    type Item = UFrame;

    fn item(&self, frame: usize) -> UFrame {
        self.frames.frame(frame).clone()
    }

    type Run = MappedRange;

    fn run(&self, frames: Range<usize>) -> MappedRange {
        run(self.frames, frames)
    }

    fn map_range(&self, first: usize, run: MappedRange) {
        let mut cursor = self.space.cursor_mut(vas(0, pages_for(first, &run))).expect("it is a range");
        cursor.map_range(run).expect("there is memory");
    }

    fn map(&self, page: usize, frame: UFrame, noted: Noted) {
        let mut cursor = self.space.cursor_mut(vas(0, page..page + 1)).expect("it is a range");
        map_in_space(&mut cursor, frame, noted);
    }

    fn unmap(&self, _pages: Range<usize>, _keep: impl FnMut(UFrame)) {
        unreachable!("it releases what is unmapped")
    }

    fn release(&self, pages: Range<usize>) {
        let count = pages.len();
        let mut cursor = self.space.cursor_mut(vas(0, pages)).expect("it is a range");
        assert_eq!(cursor.unmap(count * PAGE_SIZE), Ok(count));
    }

    fn protect(&self, pages: Range<usize>) {
        let count = pages.len();
        let mut cursor = self.space.cursor_mut(vas(0, pages)).expect("it is a range");
        assert_eq!(cursor.protect(count * PAGE_SIZE, read_only), Ok(count));
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        self.space.translate(vas(0, page..page + 1).start).map(|found| found.paddr)
    }

    fn pair(&self, page: usize, frame: UFrame, noted: Noted) -> Option<UFrame> {
        let mut cursor = self.space.cursor_mut(vas(0, page..page + 1)).expect("it is a range");
        let start = cursor.virt_addr();
        map_in_space(&mut cursor, frame, noted);
        cursor.jump(start).expect("it is in the range");
        assert_eq!(cursor.unmap(PAGE_SIZE), Ok(1));
        None
    }

    fn activate(&self) {
        self.space.activate();
    }

    fn deactivate(&self) {
        VmSpace::deactivate_current();
    }
}
