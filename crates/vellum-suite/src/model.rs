//! What a space should hold, in plain terms.
use crate::support::{base, load, page, store};
use alloc::collections::BTreeMap;
use core::ops::Range;
use vellum::frame::UFrame;
use vellum::space::{Access, MappedItem, PageProperty, VmSpace, VmSpaceError};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

/// Every page that is mapped: its frame and property.
#[derive(Default)]
pub struct Model {
    pages: BTreeMap<usize, (UFrame, PageProperty)>,
}

impl Model {
    /// Returns how many pages are mapped.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Returns whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Notes that a page is mapped.
    pub fn map(&mut self, n: usize, frame: UFrame, prop: PageProperty) {
        self.pages.insert(n, (frame, prop));
    }

    /// Notes that pages are unmapped, and returns how many were mapped.
    pub fn unmap(&mut self, range: Range<usize>) -> usize {
        let before = self.pages.len();
        self.pages.retain(|n, _| !range.contains(n));
        before - self.pages.len()
    }

    /// Returns the first page of a range that is mapped.
    pub fn next(&self, range: Range<usize>) -> Option<usize> {
        self.pages.range(range).next().map(|(n, _)| *n)
    }

    /// Notes that pages are protected, and returns how many are mapped.
    pub fn protect(&mut self, range: Range<usize>, access: Access) -> usize {
        self.pages.range_mut(range).map(|(_, (_, prop))| *prop = prop.with_access(access)).count()
    }

    /// Maps through a cursor, and notes it if that worked.
    ///
    /// # Errors
    /// Why the space refused.
    pub fn map_in(
        &mut self,
        space: &VmSpace,
        n: usize,
        frame: UFrame,
        prop: PageProperty,
    ) -> Result<(), VmSpaceError> {
        let mut cursor = space.cursor_mut(page(n)..page(n + 1))?;
        let item = MappedItem::new(frame.clone(), prop);
        cursor.map(item).map_err(|refused| refused.error)?;
        drop(cursor);
        self.map(n, frame, prop);
        Ok(())
    }

    /// Compares with all that a cursor over `range` finds.
    ///
    /// # Panics
    /// If they differ.
    pub fn check(&self, space: &VmSpace, range: Range<usize>) {
        let mut cursor = space.cursor(page(range.start)..page(range.end)).unwrap();
        let mut expected = self.pages.range(range.clone());
        let mut at = range.start;
        while at < range.end
            && let Some(va) = cursor.find_next((range.end - at) * PAGE_SIZE).unwrap()
        {
            let (n, (frame, prop)) = expected.next().expect("a page too many");
            assert_eq!((va, cursor.virt_addr()), (page(*n), page(*n)));
            let slot = cursor.query().unwrap();
            assert_eq!(slot.range, page(*n)..page(n + 1));
            let item = slot.item.expect("something is mapped where find_next stopped");
            assert_eq!((item.frames.start_paddr(), item.prop), (frame.start_paddr(), *prop));
            at = n + 1;
            if at < range.end {
                cursor.jump(page(at)).unwrap();
            }
        }
        assert!(expected.next().is_none(), "a page is missing");
        assert!(at == range.end || cursor.virt_addr() == page(range.end));
    }

    /// Compares with what user code can do at a page.
    ///
    /// # Panics
    /// If they differ.
    pub fn check_access(&self, n: usize) {
        let access = self.pages.get(&n).map_or(Access::None, |(_, prop)| prop.access);
        let va = Vaddr(base().0 + n * PAGE_SIZE + 16);
        assert_eq!(load(va).is_ok(), access.readable(), "load from page {n}");
        let value = n as u64 ^ 0x5a5a;
        assert_eq!(store(va, value).is_ok(), access.writable(), "store to page {n}");
        if access.writable() {
            assert_eq!(load(va), Ok(value));
        }
    }
}
