//! `page_table_multiarch`: the cursor of an `X64PageTable`, one for each call. It flushes on bare metal alone.
use super::Peer;
use crate::frames::{alloc_node, dealloc_node, pointer};
use crate::rows::HUGE;
use memory_addr::{PhysAddr, VirtAddr};
use page_table_multiarch::x86_64::X64PageTable;
use page_table_multiarch::{MappingFlags, PageSize, PagingHandler};
use std::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Paddr};

struct Handler;

impl PagingHandler for Handler {
    fn alloc_frames(num: usize, align: usize) -> Option<PhysAddr> {
        assert!(num == 1 && align <= PAGE_SIZE, "nodes are single frames");
        alloc_node().map(|node| PhysAddr::from(node.0))
    }

    fn dealloc_frames(paddr: PhysAddr, _num: usize) {
        dealloc_node(Paddr(paddr.into()));
    }

    #[inline]
    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
        VirtAddr::from(pointer::<u8>(Paddr(paddr.into())).addr())
    }
}

pub struct Multiarch(X64PageTable<Handler>);

fn va(page: usize) -> VirtAddr {
    VirtAddr::from(page * PAGE_SIZE)
}

fn read_only() -> MappingFlags {
    MappingFlags::READ | MappingFlags::USER
}

fn read_write() -> MappingFlags {
    read_only() | MappingFlags::WRITE
}

impl Peer for Multiarch {
    fn new() -> Self {
        Multiarch(X64PageTable::try_new().expect("there is memory"))
    }

    fn map(&mut self, first: usize, frames: impl ExactSizeIterator<Item = Paddr>) {
        let mut cursor = self.0.cursor();
        for (n, paddr) in frames.enumerate() {
            let mapped = cursor.map(va(first + n), paddr.0.into(), PageSize::Size4K, read_write());
            mapped.expect("nothing is mapped there yet");
        }
    }

    fn unmap(&mut self, pages: Range<usize>, mut keep: impl FnMut(Paddr)) {
        let mut cursor = self.0.cursor();
        for page in pages {
            let (paddr, ..) = cursor.unmap(va(page)).expect("it is mapped");
            keep(Paddr(paddr.into()));
        }
    }

    fn protect(&mut self, pages: Range<usize>) {
        let (start, size) = (va(pages.start), pages.len() * PAGE_SIZE);
        self.0.cursor().protect_region(start, size, read_only()).expect("it is mapped");
    }

    fn query(&self, page: usize) -> Option<Paddr> {
        self.0.query(va(page)).ok().map(|(paddr, ..)| Paddr(paddr.into()))
    }

    fn map_huge(&mut self, first: usize, count: usize) {
        let mut cursor = self.0.cursor();
        for n in (0..count).map(|n| n * HUGE) {
            let paddr = PhysAddr::from(n * PAGE_SIZE);
            let mapped = cursor.map(va(first + n), paddr, PageSize::Size2M, read_write());
            mapped.expect("nothing is mapped there yet");
        }
    }

    fn unmap_huge(&mut self, first: usize, count: usize) {
        let mut cursor = self.0.cursor();
        (0..count).for_each(|n| _ = cursor.unmap(va(first + n * HUGE)).expect("it is mapped"));
    }
}
