//! Vellum's tables.
use crate::contestants::Table;
use crate::frames::Frames;
use crate::rows::{GIB, HUGE};
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use vellum::page_table::{
    Access, FourLevel, Fragment, KernelPtConfig, MappedItem, PageProperty, PageTable, PageTableConfig,
    Untracked, UserPtConfig,
};
use vellum::space::VmSpace;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

fn vas(base: usize, pages: Range<usize>) -> Range<Vaddr> {
    Vaddr(base + pages.start * PAGE_SIZE)..Vaddr(base + pages.end * PAGE_SIZE)
}

fn item(frames: &Frames, frame: usize) -> MappedItem {
    MappedItem { frame: frames.frame(frame).clone(), prop: PageProperty::user(Access::RW) }
}

fn read_only(prop: PageProperty) -> PageProperty {
    prop.with_access(Access::R)
}

/// A page table of its own, whose translations nobody caches.
pub struct VellumTable<'a> {
    table: PageTable<UserPtConfig>,
    frames: &'a Frames,
}

/// Where the part of a kernel's table begins.
const KERNEL: usize = KernelPtConfig::VA_BASE + KernelPtConfig::TOP_LO * 512 * GIB * PAGE_SIZE;

/// For 2 MiB pages. Nodes below its root stay, so there is one for all rounds.
static HUGE_PAGES: LazyLock<PageTable<KernelPtConfig>> =
    LazyLock::new(|| PageTable::new().expect("there is memory"));

impl<'a> VellumTable<'a> {
    pub fn new(frames: &'a Frames) -> VellumTable<'a> {
        VellumTable { table: PageTable::new().expect("there is memory"), frames }
    }
}

impl Table for VellumTable<'_> {
    type Item = MappedItem;

    fn item(&self, frame: usize) -> MappedItem {
        item(self.frames, frame)
    }

    fn map(&self, first: usize, items: impl ExactSizeIterator<Item = MappedItem>) {
        let mut cursor = self.table.cursor_mut(vas(0, first..first + items.len())).expect("it is a range");
        for item in items {
            assert!(matches!(cursor.map(item), Ok(None)), "nothing is mapped there yet");
        }
    }

    fn unmap(&self, pages: Range<usize>, mut keep: impl FnMut(MappedItem)) {
        let end = Vaddr(pages.end * PAGE_SIZE);
        let mut cursor = self.table.cursor_mut(vas(0, pages)).expect("it is a range");
        while let Some(taken) = cursor.take_next(end.0 - cursor.virt_addr().0).expect("nothing is split") {
            match taken {
                Fragment::Leaf { item, .. } => keep(item),
                Fragment::Node(mut node) => {
                    while let Some((_, item, _)) = node.next_leaf() {
                        keep(item);
                    }
                }
            }
        }
    }

    fn protect(&self, pages: Range<usize>) {
        let end = Vaddr(pages.end * PAGE_SIZE);
        let mut cursor = self.table.cursor_mut(vas(0, pages)).expect("it is a range");
        while cursor
            .protect_next(end.0 - cursor.virt_addr().0, read_only)
            .expect("nothing is split")
            .is_some()
        {}
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        let mut cursor = self.table.cursor(vas(0, page..page + 1)).expect("it is a range");
        let slot = cursor.query().expect("it is in the range");
        slot.item.map(|item| item.frame.start_paddr())
    }

    fn pair(&self, page: usize, item: MappedItem) -> Option<MappedItem> {
        let mut cursor = self.table.cursor_mut(vas(0, page..page + 1)).expect("it is a range");
        let start = cursor.virt_addr();
        assert!(matches!(cursor.map(item), Ok(None)), "nothing is mapped there yet");
        cursor.jump(start).expect("it is in the range");
        match cursor.take_next(PAGE_SIZE) {
            Ok(Some(Fragment::Leaf { item, .. })) => Some(item),
            _ => None,
        }
    }

    fn map_huge(&self, first: usize, count: usize) {
        let prop = PageProperty::kernel(Access::RW);
        let mut cursor = HUGE_PAGES.cursor_mut(vas(KERNEL, huge(first, count))).expect("it is a range");
        for n in 0..count {
            let item = Untracked::<FourLevel>::new(Paddr(n * HUGE * PAGE_SIZE), 2, prop).expect("it fits");
            assert!(matches!(cursor.map(item), Ok(None)), "nothing is mapped there yet");
        }
    }

    fn unmap_huge(&self, first: usize, count: usize) {
        let range = vas(KERNEL, huge(first, count));
        let end = range.end;
        let mut cursor = HUGE_PAGES.cursor_mut(range).expect("it is a range");
        while let Some(taken) = cursor.take_next(end.0 - cursor.virt_addr().0).expect("nothing is split") {
            drop(taken);
        }
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
    type Item = MappedItem;

    fn item(&self, frame: usize) -> MappedItem {
        item(self.frames, frame)
    }

    fn map(&self, first: usize, items: impl ExactSizeIterator<Item = MappedItem>) {
        let mut cursor = self.space.cursor_mut(vas(0, first..first + items.len())).expect("it is a range");
        for item in items {
            cursor.map(item).expect("there is memory");
        }
    }

    fn unmap(&self, pages: Range<usize>, _keep: impl FnMut(MappedItem)) {
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
        let mut cursor = self.space.cursor(vas(0, page..page + 1)).expect("it is a range");
        let slot = cursor.query().expect("it is in the range");
        slot.item.map(|item| item.frame.start_paddr())
    }

    fn pair(&self, page: usize, item: MappedItem) -> Option<MappedItem> {
        let mut cursor = self.space.cursor_mut(vas(0, page..page + 1)).expect("it is a range");
        let start = cursor.virt_addr();
        cursor.map(item).expect("there is memory");
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
