//! `x86_64`: `MappedPageTable`, with a translation of frames that is an addition.
#![allow(unsafe_code, reason = "the crate asks for it")]
use super::Peer;
use crate::frames::{alloc_node, dealloc_node, pointer};
use crate::rows::HUGE;
use std::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use x86_64::structures::paging::mapper::{MappedPageTable, Mapper, PageTableFrameMapping};
use x86_64::structures::paging::{
    FrameAllocator, Page, PageSize, PageTable, PageTableFlags, PhysFrame, Size2MiB, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

const READ_ONLY: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::USER_ACCESSIBLE);
const READ_WRITE: PageTableFlags = READ_ONLY.union(PageTableFlags::WRITABLE);

struct LinearMap;

// SAFETY: the linear map shows all memory.
unsafe impl PageTableFrameMapping for LinearMap {
    #[inline]
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        pointer(Paddr(frame.start_address().as_u64() as usize))
    }
}

/// Where its nodes come from; it remembers them, to give them back.
#[derive(Default)]
struct Nodes(Vec<Paddr>);

// SAFETY: each frame is allocated, and given to nobody else.
unsafe impl FrameAllocator<Size4KiB> for Nodes {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let node = alloc_node()?;
        self.0.push(node);
        Some(PhysFrame::containing_address(PhysAddr::new(node.0 as u64)))
    }
}

pub struct X86<'a> {
    table: MappedPageTable<'a, LinearMap>,
    nodes: Nodes,
}

fn page<S: PageSize>(number: usize) -> Page<S> {
    Page::containing_address(VirtAddr::new((number * PAGE_SIZE) as u64))
}

fn frame<S: PageSize>(paddr: Paddr) -> PhysFrame<S> {
    PhysFrame::containing_address(PhysAddr::new(paddr.0 as u64))
}

impl Peer for X86<'_> {
    fn new() -> Self {
        let mut nodes = Nodes::default();
        let root = nodes.allocate_frame().expect("there is memory");
        // SAFETY: the root is a frame of zeros of its own, and stays until the table is dropped.
        let root = unsafe { &mut *LinearMap.frame_to_pointer(root) };
        // SAFETY: it is an empty table, and `LinearMap` is right.
        X86 { table: unsafe { MappedPageTable::new(root, LinearMap) }, nodes }
    }

    fn map(&mut self, first: usize, frames: impl ExactSizeIterator<Item = Paddr>) {
        for (n, paddr) in frames.enumerate() {
            let (page, frame) = (page::<Size4KiB>(first + n), frame(paddr));
            // SAFETY: no processor uses the table.
            unsafe { self.table.map_to(page, frame, READ_WRITE, &mut self.nodes) }
                .expect("nothing is mapped there yet")
                .ignore();
        }
    }

    fn unmap(&mut self, pages: Range<usize>, mut keep: impl FnMut(Paddr)) {
        for number in pages {
            let (frame, flush) = self.table.unmap(page::<Size4KiB>(number)).expect("it is mapped");
            flush.ignore();
            keep(Paddr(frame.start_address().as_u64() as usize));
        }
    }

    fn protect(&mut self, pages: Range<usize>) {
        for number in pages {
            // SAFETY: no processor uses the table.
            unsafe { self.table.update_flags(page::<Size4KiB>(number), READ_ONLY) }
                .expect("it is mapped")
                .ignore();
        }
    }

    fn query(&self, number: usize) -> Option<Paddr> {
        let frame = self.table.translate_page(page::<Size4KiB>(number)).ok()?;
        Some(Paddr(frame.start_address().as_u64() as usize))
    }

    fn map_huge(&mut self, first: usize, count: usize) {
        for n in (0..count).map(|n| n * HUGE) {
            let (page, frame) = (page::<Size2MiB>(first + n), frame(Paddr(n * PAGE_SIZE)));
            // SAFETY: no processor uses the table.
            unsafe { self.table.map_to(page, frame, READ_WRITE, &mut self.nodes) }
                .expect("nothing is mapped there yet")
                .ignore();
        }
    }

    fn unmap_huge(&mut self, first: usize, count: usize) {
        for n in 0..count {
            self.table.unmap(page::<Size2MiB>(first + n * HUGE)).expect("it is mapped").1.ignore();
        }
    }
}

impl Drop for X86<'_> {
    fn drop(&mut self) {
        self.nodes.0.drain(..).for_each(dealloc_node);
    }
}
