//! What suites share: pages and frames, counting, and arbitrary numbers.
use crate::Machine;
use alloc::sync::Arc;
use core::ops::Range;
use vellum::frame::allocator::{self, FrameAllocOptions};
use vellum::frame::{UFrame, USegment};
use vellum::space::{Access, MappedItem, PageFault, PageProperty, VmSpace};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::user;

pub use vellum::space::user_top;

/// Where suites map: where an entry of every level begins, in tables of four levels and of three.
pub fn base() -> Vaddr {
    Vaddr(if user_top().0 > 1 << 46 { 0x5000_0000_0000 } else { 0x10_0000_0000 })
}

/// A frame of zeros, if there is one.
pub fn try_user_frame() -> Option<UFrame> {
    FrameAllocOptions::new().alloc_frame().ok().map(UFrame::from)
}

/// A frame of zeros.
///
/// # Panics
/// If there is none.
pub fn user_frame() -> UFrame {
    try_user_frame().expect("a frame is free")
}

/// The frames that are free.
///
/// # Panics
/// If nobody allocates frames.
pub fn free_frames() -> usize {
    allocator::statistics().expect("the machine has an allocator").free
}

/// The free frames, when nothing is under way.
///
/// # Panics
/// If the caller holds a cursor.
pub fn count_free() -> usize {
    vellum::barrier().expect("no cursor is held");
    free_frames()
}

/// Has the nth allocation from now on fail; none, if `nth` is 0.
pub fn fail_allocation(nth: u64) {
    allocator::inject_failure(nth);
}

/// The address of page `n` of the suites.
pub fn page(n: usize) -> Vaddr {
    Vaddr(base().0 + n * PAGE_SIZE)
}

/// The page of the suites that an address is in.
pub fn page_of(va: Vaddr) -> usize {
    (va.0 - base().0) / PAGE_SIZE
}

/// The addresses of pages.
pub fn pages(range: Range<usize>) -> Range<Vaddr> {
    page(range.start)..page(range.end)
}

/// A new frame, to be mapped as a base page.
///
/// # Panics
/// If there is no frame.
pub fn new_item(access: Access) -> MappedItem {
    MappedItem::new(user_frame(), PageProperty::user(access))
}

/// Maps new frames at pages.
///
/// # Panics
/// If there are not enough, or the space refuses.
pub fn map_pages(space: &VmSpace, range: Range<usize>, access: Access) {
    let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
    for _ in range {
        cursor.map(new_item(access)).unwrap();
    }
}

/// The base pages of a huge page of level 2.
pub const HUGE: usize = 512;

/// Frames of zeros that follow each other at a multiple of their size, if there are some.
pub fn try_huge_segment(frames: usize) -> Option<USegment> {
    let aligned = FrameAllocOptions::new().aligned_to(frames * PAGE_SIZE)?;
    aligned.alloc_segment(frames).ok().map(USegment::from)
}

/// A huge page of level 2, and a handle more of its frames.
///
/// # Panics
/// If there are no such frames.
pub fn huge_item(access: Access) -> (MappedItem, USegment) {
    let segment = try_huge_segment(HUGE).expect("frames are free");
    (MappedItem::huge(segment.clone(), PageProperty::user(access)).expect("it is a huge page"), segment)
}

/// Unmaps pages, and returns how many were mapped.
///
/// # Panics
/// If the space refuses.
pub fn unmap_pages(space: &VmSpace, range: Range<usize>) -> usize {
    let len = range.len() * PAGE_SIZE;
    space.cursor_mut(pages(range)).unwrap().unmap(len).unwrap()
}

/// A new space, active here.
///
/// # Panics
/// If there is no memory for it.
pub fn active_space() -> Arc<VmSpace> {
    let space = VmSpace::new().unwrap();
    space.activate();
    space
}

/// Loads a word, as user code.
///
/// # Errors
/// The page fault that was not resolved.
pub fn load(va: Vaddr) -> Result<u64, PageFault> {
    user::load_u64(va)
}

/// Stores a word, as user code.
///
/// # Errors
/// The page fault that was not resolved.
pub fn store(va: Vaddr, value: u64) -> Result<(), PageFault> {
    user::store_u64(va, value)
}

/// Runs `f` on the first processor, and returns what it returns.
pub(crate) fn on_first<T: Send>(machine: &dyn Machine, f: impl FnOnce() -> T + Send) -> T {
    let (mut f, mut result) = (Some(f), None);
    machine.on_first(&mut || result = f.take().map(|f| f()));
    result.expect("the machine ran it")
}

/// The frames that are free or the heap's, with no space active and nothing under way.
pub(crate) fn settled(machine: &dyn Machine) -> usize {
    machine.on_all(&|_| VmSpace::deactivate_current());
    on_first(machine, count_free) + machine.heap_frames()
}

/// Arbitrary numbers (xorshift).
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one processor, or of one sequence.
    pub(crate) fn new(seed: u64, number: usize) -> Random {
        Random((seed ^ (number as u64 + 1) << 32) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }

    /// One of some things.
    pub(crate) fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}
