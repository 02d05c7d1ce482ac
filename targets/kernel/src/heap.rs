//! The kernel's heap: blocks of powers of two cut from frames, and runs of frames.
#![allow(unsafe_code, reason = "an allocator deals in raw memory")]
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::frame::Segment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::sync::SpinLock;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::LINEAR_MAP_BASE;
use vellum_machine::page::contents;

/// The smallest block: room for the link to the next free one.
const SMALLEST: usize = 16;
const CLASSES: usize = (PAGE_SIZE / 2 / SMALLEST).ilog2() as usize + 1;

/// A free block.
struct Block {
    next: *mut Block,
}

/// The free blocks of one size.
struct Class(*mut Block);

// SAFETY: the blocks are memory that nobody else uses.
unsafe impl Send for Class {}

struct Heap {
    classes: [SpinLock<Class>; CLASSES],
}

#[global_allocator]
static HEAP: Heap = Heap { classes: [const { SpinLock::new(Class(ptr::null_mut())) }; CLASSES] };

/// The frames that the heap has.
static FRAMES: AtomicUsize = AtomicUsize::new(0);

/// Returns how many frames the heap has: those that it cut up, for good, and the runs that are in use.
pub fn frames() -> usize {
    FRAMES.load(Ordering::Relaxed)
}

/// The class of blocks for a layout, if it fits into one.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST).next_power_of_two();
    (size <= PAGE_SIZE / 2).then(|| (size / SMALLEST).ilog2() as usize)
}

impl Heap {
    /// Takes a free block, or cuts a new frame up. No lock is held while the frame is allocated: that may free blocks.
    fn take(&self, class: usize) -> *mut u8 {
        if let Some(block) = self.pop(class) {
            return block;
        }
        let Ok(frame) = FrameAllocOptions::new().alloc_frame() else { return ptr::null_mut() };
        // Relaxed, here and below: a counter orders nothing.
        FRAMES.fetch_add(1, Ordering::Relaxed);
        let start = contents(frame.into_raw());
        let size = SMALLEST << class;
        for offset in (size..PAGE_SIZE).step_by(size) {
            // SAFETY: the frame is the heap's for good, and the offset in it.
            unsafe { self.push(class, start.add(offset)) };
        }
        start
    }

    fn pop(&self, class: usize) -> Option<*mut u8> {
        let mut free = self.classes[class].lock();
        let block = free.0;
        if block.is_null() {
            return None;
        }
        // SAFETY: a free block holds a link.
        free.0 = unsafe { (*block).next };
        Some(block.cast())
    }

    /// # Safety
    /// 1. The block is of the class's size and the heap's alone.
    unsafe fn push(&self, class: usize, block: *mut u8) {
        let block = block.cast::<Block>();
        let mut free = self.classes[class].lock();
        // SAFETY: duty 1.
        unsafe { (*block).next = free.0 };
        free.0 = block;
    }
}

// SAFETY: a block or run is handed out once until it comes back, and as large and aligned as asked for.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(class) = class_of(layout) {
            return self.take(class);
        }
        let frames = layout.size().div_ceil(PAGE_SIZE);
        if layout.align() > PAGE_SIZE {
            return ptr::null_mut();
        }
        match FrameAllocOptions::new().alloc_segment(frames) {
            Ok(segment) => {
                FRAMES.fetch_add(frames, Ordering::Relaxed);
                contents(segment.into_raw().start)
            }
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(class) = class_of(layout) {
            // SAFETY: it was handed out for this layout, and is given up.
            return unsafe { self.push(class, block) };
        }
        let start = Paddr(block.addr() - LINEAR_MAP_BASE);
        let frames = layout.size().div_ceil(PAGE_SIZE);
        let end = Paddr(start.0 + frames * PAGE_SIZE);
        FRAMES.fetch_sub(frames, Ordering::Relaxed);
        // SAFETY: `alloc` took this run apart, for this layout; it comes back once.
        drop(unsafe { Segment::<()>::from_raw(start..end) });
    }
}
