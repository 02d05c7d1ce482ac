//! `aarch64-paging`: a `Mapping` that is not active, with a translation of frames that is an addition. It maps what
//! follows each other in memory; where something is unmapped, its frames are read from the entries as they go.
use super::Peer;
use crate::frames::{alloc_node, dealloc_node, pointer};
use crate::rows::HUGE;
use aarch64_paging::Mapping;
use aarch64_paging::descriptor::{El23Attributes, PhysicalAddress, UpdatableDescriptor};
use aarch64_paging::paging::{Constraints, El2, MemoryRegion, PageTable, Translation};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::LINEAR_MAP_BASE;

const READ_WRITE: El23Attributes = El23Attributes::VALID.union(El23Attributes::ACCESSED);

struct LinearMap;

impl Translation<El23Attributes> for LinearMap {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El23Attributes>>, PhysicalAddress) {
        let pa = PhysicalAddress(alloc_node().expect("there is memory").0);
        (self.physical_to_virtual(pa), pa)
    }

    #[allow(unsafe_code, reason = "the crate asks for it")]
    unsafe fn deallocate_table(&mut self, table: NonNull<PageTable<El23Attributes>>) {
        dealloc_node(Paddr(table.addr().get() - LINEAR_MAP_BASE));
    }

    #[inline]
    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El23Attributes>> {
        NonNull::new(pointer(Paddr(pa.0))).expect("the linear map is not at address 0")
    }
}

pub struct Aarch64(Mapping<LinearMap, El2>);

fn region(pages: &Range<usize>) -> MemoryRegion {
    MemoryRegion::new(pages.start * PAGE_SIZE, pages.end * PAGE_SIZE)
}

type Entry<'a> = UpdatableDescriptor<'a, El23Attributes>;

impl Aarch64 {
    /// Changes each entry that maps one of the pages.
    fn modify(&mut self, pages: &Range<usize>, change: impl Fn(&mut Entry<'_>) -> Result<(), ()>) {
        let leaf =
            |_: &MemoryRegion, entry: &mut Entry<'_>| if entry.is_table() { Ok(()) } else { change(entry) };
        self.0.modify_range(&region(pages), &leaf).expect("it is a range of the table");
    }

    fn map_at(&mut self, pages: &Range<usize>, paddr: Paddr, constraints: Constraints) {
        let mapped = self.0.map_range(&region(pages), PhysicalAddress(paddr.0), READ_WRITE, constraints);
        mapped.expect("it is a range of the table");
    }
}

impl Peer for Aarch64 {
    fn new() -> Self {
        Aarch64(Mapping::new(LinearMap, 0, El2))
    }

    fn map(&mut self, first: usize, mut frames: impl ExactSizeIterator<Item = Paddr>) {
        let pages = first..first + frames.len();
        let Some(paddr) = frames.next() else { return };
        self.map_at(&pages, paddr, Constraints::NO_BLOCK_MAPPINGS);
    }

    fn unmap(&mut self, pages: Range<usize>, keep: impl FnMut(Paddr)) {
        let keep = RefCell::new(keep);
        self.modify(&pages, |entry| {
            (keep.borrow_mut())(Paddr(entry.output_address().0));
            entry.set(PhysicalAddress(0), El23Attributes::empty())
        });
    }

    fn protect(&mut self, pages: Range<usize>) {
        self.modify(&pages, |entry| entry.modify_flags(El23Attributes::READ_ONLY, El23Attributes::empty()));
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        let mut found = None;
        let walked = self.0.walk_range(&region(&(page..page + 1)), &mut |_, entry, _| {
            found = entry.is_valid().then(|| Paddr(entry.output_address().0));
            Ok(())
        });
        walked.ok().and(found)
    }

    fn map_huge(&mut self, first: usize, count: usize) {
        self.map_at(&(first..first + count * HUGE), Paddr(0), Constraints::empty());
    }

    fn unmap_huge(&mut self, first: usize, count: usize) {
        self.modify(&(first..first + count * HUGE), |entry| {
            entry.set(PhysicalAddress(0), El23Attributes::empty())
        });
    }
}
