//! What awaits a flush needs no heap, and outlives the cursor; without frames to keep it in, nothing happens.
#![expect(unsafe_code, reason = "a heap that can be out of memory")]
mod space_support;

use space_support::model::Model;
use space_support::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use vellum::frame::USegment;
use vellum::frame::allocator::{FrameAllocOptions, failure_pending};
use vellum::space::{Access, CursorMut, MappedItem, MappedRange, PageProperty, VmSpace, VmSpaceError};
use vellum::tlb::{self, TlbFlushOp};
use vellum_machine::addr::PAGE_SIZE;

const RW: PageProperty = PageProperty::user(Access::RW);

/// The system's, but out of memory for a thread that says so.
struct Heap;

thread_local! {
    static OUT: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: what the system's does, or nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if OUT.get() {
            return null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

/// Does something while the heap is out of memory: whoever asks for some ends the program.
fn without_heap<R>(action: impl FnOnce() -> R) -> R {
    OUT.set(true);
    let outcome = action();
    OUT.set(false);
    outcome
}

fn segment(pages: usize) -> USegment {
    FrameAllocOptions::new().alloc_segment(pages).unwrap().into()
}

/// Maps one frame at all pages.
fn map_one_frame(space: &VmSpace, all: Range<usize>) {
    let frame = user_frame();
    let mut cursor = space.cursor_mut(pages(all.clone())).unwrap();
    for _ in all {
        cursor.map(MappedItem::new(frame.clone(), RW)).unwrap();
    }
}

/// A gigabyte and a page at either side, in nodes that others are mapped in, too.
#[test]
fn a_gigabyte_is_unmapped_without_the_heap() {
    on_machine(|| {
        let space = active_space();
        let all = 0..262_144 + 1024;
        map_one_frame(&space, all.clone());
        let cut = 300..262_144 + 700;
        let unmapped = without_heap(|| unmap_pages(&space, cut.clone()));
        assert_eq!(unmapped, cut.len());
        assert!(load(page(299)).is_ok() && load(page(300)).is_err());
        assert!(load(page(cut.end - 1)).is_err() && load(page(cut.end)).is_ok());
        assert_eq!(without_heap(|| unmap_pages(&space, all)), 300 + 324);
    });
}

/// The same where everything is replaced, one page or a range at a time.
#[test]
fn pages_are_replaced_without_the_heap() {
    on_machine(|| {
        let space = active_space();
        map_one_frame(&space, 0..4000);
        let range = MappedRange { segment: segment(3000), prop: RW };
        let items: Vec<_> = (0..900).map(|_| item(Access::RW)).collect();
        without_heap(|| {
            let mut cursor = space.cursor_mut(pages(500..4000)).unwrap();
            cursor.map_range(range).unwrap();
            cursor.jump(page(1000)).unwrap();
            items.into_iter().for_each(|item| cursor.map(item).unwrap());
        });
        assert_eq!(unmap_pages(&space, 0..4000), 4000);
    });
}

/// Nothing waits for an answer while the range is locked, whatever there is to keep.
#[test]
fn a_locked_range_waits_for_no_answer() {
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || VmSpace::new().unwrap());
        machine.run_on(cpu(1), || space.activate());
        machine.run_on(cpu(0), || map_one_frame(&space, 0..5000));
        let (deaf, done) = (AtomicBool::new(false), AtomicBool::new(false));
        machine.scope(|scope| {
            scope.spawn(cpu(1), || {
                // Serves no call until the other is done with its range.
                deaf.store(true, Ordering::SeqCst);
                while !done.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            });
            scope.spawn(cpu(0), || {
                wait_until(|| deaf.load(Ordering::SeqCst));
                let segment = segment(900);
                let before = tlb::statistics();
                // The hosted machine's calls are in the heap.
                let mut cursor = space.cursor_mut(pages(0..5000)).unwrap();
                cursor.flusher().issue(TlbFlushOp::Addr(page(0)));
                assert!(cursor.flusher().dispatch(), "the first request needs no answer");
                without_heap(|| {
                    cursor.jump(page(100)).unwrap();
                    assert_eq!(cursor.unmap(1500 * PAGE_SIZE), Ok(1500));
                    assert_eq!(cursor.unmap(300 * PAGE_SIZE), Ok(300));
                    cursor.map_range(MappedRange { segment, prop: RW }).unwrap();
                    assert!(!cursor.flusher().dispatch(), "the second has to wait for the first");
                });
                let after = tlb::statistics();
                assert_eq!(
                    (after.shootdowns - before.shootdowns, after.acknowledgements),
                    (1, before.acknowledgements)
                );
                done.store(true, Ordering::SeqCst);
                drop(cursor);
                assert_eq!(tlb::statistics().shootdowns - before.shootdowns, 2);
            });
        });
    });
}

/// Has each frame allocation of `change` fail in turn, and the heap all the time. Where `change` is refused, everything is
/// as it was; in the end it is not.
fn each_frame_can_fail(
    space: &VmSpace,
    model: &mut Model,
    change: impl Fn(&mut CursorMut<'_>) -> Result<(), VmSpaceError>,
) -> usize {
    let all = 0..8192;
    for nth in 1.. {
        let before = count_free();
        let mut cursor = space.cursor_mut(pages(all.clone())).unwrap();
        fail_allocation(nth);
        let outcome = without_heap(|| change(&mut cursor));
        let failed = failure_pending() == 0;
        fail_allocation(0);
        drop(cursor);
        if outcome.is_ok() {
            assert!(!failed, "allocation {nth} was not needed");
            return usize::try_from(nth).unwrap() - 1;
        }
        assert_eq!(outcome, Err(VmSpaceError::NoMemory), "with allocation {nth} failing");
        model.check(space, all.clone());
        // A node that was made stays.
        assert!(before - count_free() <= 1, "with allocation {nth} failing");
    }
    unreachable!()
}

#[test]
fn what_is_unmapped_at_borders_is_kept_in_frames_or_stays() {
    on_machine(|| {
        let space = active_space();
        let mut model = Model::default();
        for n in 100..2000 {
            model.map_in(&space, n, user_frame(), RW).unwrap();
        }
        let cut = 200..1900;
        let needed = each_frame_can_fail(&space, &mut model, |cursor| {
            cursor.jump(page(cut.start))?;
            assert_eq!(cursor.unmap(cut.len() * PAGE_SIZE)?, cut.len());
            Ok(())
        });
        // 312 pages before the first whole node, and 364 after the last.
        assert_eq!(needed, 2);
        model.unmap(cut);
        model.check(&space, 0..8192);
    });
}

#[test]
fn what_a_range_replaces_is_kept_in_frames_or_stays() {
    on_machine(|| {
        let space = active_space();
        let mut model = Model::default();
        for n in (100..2000).chain(3000..3010) {
            model.map_in(&space, n, user_frame(), RW).unwrap();
        }
        let segment = segment(3000);
        let needed = each_frame_can_fail(&space, &mut model, |cursor| {
            cursor.jump(page(150))?;
            let range = MappedRange { segment: segment.clone(), prop: RW };
            cursor.map_range(range).map_err(|refused| refused.error)
        });
        // 1860 pages are replaced, four of which need none; two nodes are missing.
        assert_eq!(needed, 4 + 2);
        for (n, frame) in (150..).zip(segment) {
            model.map(n, frame, RW);
        }
        model.check(&space, 0..8192);
    });
}

/// One page after another is replaced under one cursor: what does not fit is refused, and comes back.
#[test]
fn what_single_pages_replace_is_kept_in_frames_or_stays() {
    on_machine(|| {
        let space = active_space();
        map_one_frame(&space, 0..20);
        let mut cursor = space.cursor_mut(pages(0..20)).unwrap();
        let mut replaced = 0;
        let mut frames: Vec<_> = (0..20).map(|_| user_frame()).collect();
        fail_allocation(1);
        let refused = loop {
            let frame = frames.pop().expect("some page is refused");
            if let Err(refused) = cursor.map(MappedItem::new(frame, RW)) {
                break refused;
            }
            replaced += 1;
        };
        fail_allocation(0);
        assert_eq!(refused.error, VmSpaceError::NoMemory);
        assert!(replaced >= 1 && cursor.virt_addr() == page(replaced));
        cursor.map(refused.item).unwrap();
        for _ in replaced + 1..20 {
            cursor.map(item(Access::R)).unwrap();
        }
        drop(cursor);
        assert_eq!(unmap_pages(&space, 0..20), 20);
    });
}
