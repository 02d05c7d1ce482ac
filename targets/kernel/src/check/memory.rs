//! The memory manager on one processor: everything goes through the hardware's walker.
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use vellum::frame::UFrame;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::page_table::{NativeShape, PagingConsts};
use vellum::space::{Access, MappedItem, PageProperty, VmSpace, user_top};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::arch::{self, bare};
use vellum_machine::fault::{Access as FaultAccess, PageFault};
use vellum_machine::{page, user};

const BASE: Vaddr = Vaddr(0x20_0000_0000);

/// The address of a page of the area that checks map.
pub fn at(page: usize) -> Vaddr {
    Vaddr(BASE.0 + page * PAGE_SIZE)
}

/// A frame of zeros for user space.
pub fn frame() -> UFrame {
    match FrameAllocOptions::new().alloc_frame() {
        Ok(frame) => frame.into(),
        Err(error) => panic!("no frame: {error}"),
    }
}

/// What user code may do with a page.
pub fn user_page(access: Access) -> PageProperty {
    PageProperty::user(access)
}

/// Maps a frame at a page.
pub fn map(space: &VmSpace, va: Vaddr, frame: UFrame, access: Access) {
    let mut cursor = space.cursor_mut(va..Vaddr(va.0 + PAGE_SIZE)).expect("a page of user space");
    cursor.map(MappedItem::new(frame, user_page(access))).expect("there is memory for nodes");
}

/// Unmaps a page; the frame is released when this returns.
pub fn unmap(space: &VmSpace, va: Vaddr) -> usize {
    let mut cursor = space.cursor_mut(va..Vaddr(va.0 + PAGE_SIZE)).expect("a page of user space");
    cursor.unmap(PAGE_SIZE).expect("a base page is not split")
}

/// A space, active on this processor.
fn active_space() -> Arc<VmSpace> {
    let space = VmSpace::new().expect("there is memory for a root");
    space.activate();
    space
}

/// A word of a frame, through the linear map.
pub fn word(pa: Paddr) -> &'static core::sync::atomic::AtomicU64 {
    #[allow(unsafe_code, reason = "looks at memory from the other side")]
    // SAFETY: the linear map shows the frame, whose contents are untyped.
    unsafe {
        &*page::contents(pa).cast()
    }
}

pub fn space() {
    let space = active_space();
    let first = frame();
    let pa = first.start_paddr();
    map(&space, at(1), first, Access::RW);
    user::store_u64(at(1), 0x1234_5678_9abc_def0).expect("it is mapped for writing");
    assert_eq!(word(pa).load(Ordering::Relaxed), 0x1234_5678_9abc_def0, "the store went elsewhere");
    word(pa).store(7, Ordering::Relaxed);
    assert_eq!(user::load_u64(at(1)), Ok(7));
    // The hardware noted the store.
    let mut cursor = space.cursor(at(1)..at(2)).expect("a page of user space");
    let slot = cursor.query().expect("the cursor is inside its range");
    assert!(slot.ad.accessed && slot.ad.dirty, "the walker noted only {:?}", slot.ad);
    drop((cursor, slot));

    let mut cursor = space.cursor_mut(at(1)..at(2)).expect("a page of user space");
    cursor
        .protect_next(PAGE_SIZE, |prop| PageProperty { access: Access::R, ..prop })
        .expect("a base page is not split");
    drop(cursor);
    let refused = user::store_u64(at(1), 8).expect_err("it is mapped for reading");
    assert!(refused.present && refused.access == FaultAccess::Write && refused.addr == at(1), "{refused}");
    assert_eq!(user::load_u64(at(1)), Ok(7));
    assert!(user::fetch(at(1)).is_err(), "data is not for execution");

    // The next frame in the same place is another one.
    map(&space, at(1), frame(), Access::RW);
    assert_eq!(user::load_u64(at(1)), Ok(0), "the translation of before was kept");
    assert_eq!(unmap(&space, at(1)), 1);
    let missing = user::load_u64(at(1)).expect_err("nothing is mapped");
    assert!(!missing.present && missing.access == FaultAccess::Read, "{missing}");
    VmSpace::deactivate_current();
}

/// The tables have as many levels as the processor walks, and the library counts on.
pub fn end_of_user_space() {
    let space = active_space();
    let end = user_top();
    let last = Vaddr(end.0 - PAGE_SIZE);
    map(&space, last, frame(), Access::RW);
    assert_eq!(user::store_u64(Vaddr(end.0 - 8), 9), Ok(()));
    assert_eq!(user::load_u64(Vaddr(end.0 - 8)), Ok(9));
    assert_eq!(crate::arch::walk::walk(last).count(), usize::from(NativeShape::levels()));
    assert!(space.cursor(last..Vaddr(end.0 + PAGE_SIZE)).is_err(), "user space ends at {end}");
    assert!(user::load_u64(end).is_err());
    assert_eq!(unmap(&space, last), 1);
    VmSpace::deactivate_current();
}

pub fn notes() {
    let space = active_space();
    map(&space, at(0), frame(), Access::RW);
    let fault = |access| PageFault { addr: Vaddr(at(0).0 + 8), access, present: true, user: true };
    let noted = || space.cursor(at(0)..at(1)).and_then(|mut cursor| cursor.query()).expect("it is mapped").ad;
    // As a processor faults that leaves it to software: one that does not never asks.
    let resolved = bare::user_fault(fault(FaultAccess::Write)).is_ok();
    assert_eq!(resolved, !arch::notes_accesses());
    assert_eq!(noted().accessed && noted().dirty, resolved, "resolved is what was noted");
    assert!(bare::user_fault(fault(FaultAccess::Execute)).is_err(), "data is not for execution");
    assert_eq!(user::store_u64(at(0), 1), Ok(()));
    assert!(noted().accessed && noted().dirty);
    VmSpace::deactivate_current();
}
