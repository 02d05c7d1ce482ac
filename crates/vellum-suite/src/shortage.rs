//! Without memory: an error, everything as it was, and every frame given back.
use crate::Machine;
use crate::model::Model;
use crate::support::*;
use vellum::frame::allocator::{FrameAllocOptions, failure_pending};
use vellum::frame::{Link, LinkedList};
use vellum::space::{Access, FaultError, MappedItem, PageProperty, VmSpace, VmSpaceError};
use vellum_machine::addr::PAGE_SIZE;

const ALL: core::ops::Range<usize> = 0..600_000;

/// Frames that are left for a space that uses up all.
const LEFT: usize = 3000;

/// Some of everything that allocates. Each step either happens or leaves the space as it was.
///
/// Returns whether an allocation failed, where all steps happened nevertheless: a node was made later.
fn one_run() -> Result<bool, VmSpaceError> {
    let space = VmSpace::new()?;
    space.activate();
    let mut model = Model::default();
    let outcome = steps(&space, &mut model);
    let failed = failure_pending() == 0;
    fail_allocation(0);
    space.activate();
    model.check(&space, ALL);
    (0..8).chain([511, 512, 300_000, 599_999]).for_each(|n| model.check_access(n));
    outcome.map(|()| failed)
}

fn steps(space: &VmSpace, model: &mut Model) -> Result<(), VmSpaceError> {
    for n in [0, 1, 511, 512, 300_000, 599_999, 1] {
        let frame = try_user_frame().ok_or(VmSpaceError::NoMemory)?;
        model.map_in(space, n, frame, PageProperty::user(Access::RW))?;
    }
    let mut cursor = space.cursor_mut(pages(ALL))?;
    assert_eq!(cursor.unmap(512 * PAGE_SIZE)?, model.unmap(0..512));
    cursor.jump(page(0)).unwrap();
    let protected = cursor.protect(600_000 * PAGE_SIZE, |prop| prop.with_access(Access::R))?;
    assert_eq!(protected, model.protect(ALL, Access::R));
    drop(cursor);
    let frame = try_user_frame().ok_or(VmSpaceError::NoMemory)?;
    model.map_in(space, 2, frame, PageProperty::user(Access::RX))?;
    let other = VmSpace::new()?;
    other.activate();
    space.cursor(pages(5..6)).map(drop)?;
    let mut cursor = other.cursor_mut(pages(ALL))?;
    cursor.map(item_or(VmSpaceError::NoMemory)?).map_err(|refused| refused.error)?;
    drop(cursor);
    VmSpace::deactivate_current();
    Ok(())
}

fn item_or(error: VmSpaceError) -> Result<MappedItem, VmSpaceError> {
    let frame = try_user_frame().ok_or(error)?;
    Ok(MappedItem::new(frame, PageProperty::user(Access::RW)))
}

/// Everything that allocates, with each allocation failing in its turn.
pub fn each_allocation(machine: &dyn Machine) {
    on_first(machine, || {
        // What this takes from the heap the heap has in all runs after it: their allocations are those of frames.
        assert_eq!(one_run(), Ok(true), "with no allocation failing");
        VmSpace::deactivate_current();
        let free = count_free();
        for nth in 1.. {
            fail_allocation(nth);
            let outcome = one_run();
            fail_allocation(0);
            VmSpace::deactivate_current();
            assert_eq!(count_free(), free, "with allocation {nth} failing");
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    assert!(nth > 10, "{nth} allocations are too few");
                    return;
                }
                Err(error) => assert_eq!(error, VmSpaceError::NoMemory, "with allocation {nth} failing"),
            }
        }
    });
}

/// Holds frames until few are left; the list needs no heap.
pub(crate) fn hold_all_but(left: usize) -> LinkedList<()> {
    let mut held = LinkedList::new();
    while free_frames() > left {
        for _ in 0..(free_frames() - left).min(512) {
            let frame = FrameAllocOptions::new().uninit().alloc_unique_frame_with(Link::new(()));
            held.push_back(frame.expect("more are free"));
        }
    }
    held
}

/// A space takes every frame that is left, and goes on working with what it has.
pub fn nothing_left(machine: &dyn Machine) {
    on_first(machine, || {
        let held = hold_all_but(LEFT);
        let free = count_free();
        let space = active_space();
        space.set_fault_handler(|space, fault| {
            let n = (fault.addr.0 - base().0) / PAGE_SIZE;
            let frame = try_user_frame().ok_or(FaultError::NoMemory)?;
            let prop = PageProperty::user(Access::RW);
            space.cursor_mut(pages(n..n + 1))?.map(MappedItem::new(frame, prop))?;
            Ok(())
        });
        let mut touched = 0;
        while store(page(touched * 3), 1).is_ok() {
            touched += 1;
        }
        assert!(touched > 100);
        assert_eq!(VmSpace::new().unwrap_err(), VmSpaceError::NoMemory);
        assert!((0..touched).all(|n| load(page(n * 3)) == Ok(1)));
        // Whole nodes are taken out without memory, and so are a few pages; then there is some to keep the others in.
        let all = touched * 3;
        let whole = all / 512 * 512;
        let refused = space.cursor_mut(pages(0..all)).unwrap().unmap(all * PAGE_SIZE);
        assert_eq!(refused, Err(VmSpaceError::NoMemory));
        let few = unmap_pages(&space, whole - 512..whole - 500);
        assert_eq!(few, 4);
        assert_eq!(few + unmap_pages(&space, 0..whole) + unmap_pages(&space, whole..all), touched);
        drop(space);
        VmSpace::deactivate_current();
        assert_eq!(count_free(), free);
        drop(held);
    });
}
