//! One processor maps, looks, protects and unmaps, and user code sees it.
use crate::Machine;
use crate::support::*;
use alloc::vec::Vec;
use vellum::frame::USegment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::io::UntypedMem;
use vellum::space::{
    Access, AccessType, MappedItem, MappedRange, PageProperty, SoftBits, VmSpace, VmSpaceError,
};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::user;

/// User code sees what is mapped.
pub fn user_code_sees_what_is_mapped(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        assert!(load(page(0)).is_err());
        let frame = user_frame();
        frame.writer().write_val(&0xfeed_u64).unwrap();
        let mut cursor = space.cursor_mut(pages(0..1)).unwrap();
        cursor.map(MappedItem::new(frame.clone(), PageProperty::user(Access::RW))).unwrap();
        assert_eq!(cursor.virt_addr(), page(1));
        drop(cursor);
        assert_eq!(load(page(0)), Ok(0xfeed));
        store(page(0), 0xbeef).unwrap();
        assert_eq!(frame.reader().read_val::<u64>(), Ok(0xbeef));
        assert!(load(page(1)).is_err());
    });
}

/// A query tells slot item and use.
pub fn a_query_tells_slot_item_and_use(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let prop = PageProperty::user(Access::RW).with_soft(SoftBits::A);
        let frame = user_frame();
        let mut cursor = space.cursor_mut(pages(0..4)).unwrap();
        cursor.jump(page(2)).unwrap();
        cursor.map(MappedItem::new(frame.clone(), prop)).unwrap();
        drop(cursor);
        let query = |n| {
            let mut cursor = space.cursor(pages(0..4)).unwrap();
            cursor.jump(page(n)).unwrap();
            cursor.query().unwrap()
        };
        assert!(query(0).item.is_none());
        let slot = query(2);
        assert_eq!(slot.range, pages(2..3));
        assert!(!slot.ad.dirty);
        let item = slot.item.unwrap();
        assert_eq!((item.frames.start_paddr(), item.prop), (frame.start_paddr(), prop));
        let byte = space.translate(Vaddr(page(2).0 + 9)).unwrap();
        assert_eq!((byte.paddr.0, byte.prop, byte.level), (frame.start_paddr().0 + 9, prop, 1));
        assert_eq!(space.translate(page(1)), None);
        load(page(2)).unwrap();
        let read = query(2).ad;
        assert!(read.accessed && !read.dirty);
        store(page(2), 1).unwrap();
        assert!(query(2).ad.dirty);
    });
}

/// Rights are those of the mapping.
pub fn rights_are_those_of_the_mapping(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        for (n, access) in
            [Access::None, Access::R, Access::RW, Access::RX, Access::RWX].into_iter().enumerate()
        {
            map_pages(&space, n..n + 1, access);
            assert_eq!(load(page(n)).is_ok(), access.readable(), "{access:?}");
            assert_eq!(store(page(n), 1).is_ok(), access.writable(), "{access:?}");
            assert_eq!(user::fetch(page(n)).is_ok(), access.executable(), "{access:?}");
        }
    });
}

/// Unmap counts base pages and skips holes.
pub fn unmap_counts_base_pages_and_skips_holes(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..3, Access::RW);
        map_pages(&space, 600..602, Access::RW);
        (0..3).for_each(|n| store(page(n), 7).unwrap());
        let mut cursor = space.cursor_mut(pages(0..2048)).unwrap();
        assert_eq!(cursor.unmap(2 * PAGE_SIZE), Ok(2));
        assert_eq!(cursor.virt_addr(), page(2));
        assert_eq!(cursor.unmap(2046 * PAGE_SIZE), Ok(3));
        assert_eq!(cursor.virt_addr(), page(2048));
        assert_eq!(cursor.unmap(PAGE_SIZE), Err(VmSpaceError::OutOfRange { va: page(2048) }));
        drop(cursor);
        assert!((0..3).chain(600..602).all(|n| load(page(n)).is_err()));
    });
}

/// A replaced page is not seen any more and its frame goes back.
pub fn a_replaced_page_is_not_seen_any_more_and_its_frame_goes_back(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..1, Access::RW);
        store(page(0), 1).unwrap();
        let free = count_free();
        map_pages(&space, 0..1, Access::RW);
        assert_eq!(load(page(0)), Ok(0));
        assert_eq!(count_free(), free);
    });
}

/// Find next stops at mappings and at the end.
pub fn find_next_stops_at_mappings_and_at_the_end(machine: &dyn Machine) {
    on_first(machine, || {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 700..701, Access::None);
        let mut cursor = space.cursor(pages(0..1024)).unwrap();
        assert_eq!(cursor.find_next(512 * PAGE_SIZE), Ok(None));
        assert_eq!(cursor.virt_addr(), page(512));
        assert_eq!(cursor.find_next(512 * PAGE_SIZE), Ok(Some(page(700))));
        assert_eq!(cursor.virt_addr(), page(700));
        assert_eq!(cursor.find_next(PAGE_SIZE), Ok(Some(page(700))));
        cursor.jump(page(701)).unwrap();
        assert_eq!(cursor.find_next(323 * PAGE_SIZE), Ok(None));
        assert_eq!(cursor.virt_addr(), page(1024));
    });
}

/// What is owed is flushed when the cursor goes.
pub fn what_is_owed_is_flushed_when_the_cursor_goes(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..20, Access::RW);
        (0..20).for_each(|n| store(page(n), 5).unwrap());
        let mut cursor = space.cursor_mut(pages(0..20)).unwrap();
        for n in 0..20 {
            let protected =
                cursor.protect_next((20 - n) * PAGE_SIZE, |prop| prop.with_access(Access::R)).unwrap();
            // Waived ones stay stale; the others are neither paid nor waived.
            if let Some(protected) = protected.filter(|_| n == 3) {
                cursor.flusher().waive(protected.owed);
            }
        }
        drop(cursor);
        assert!((0..20).filter(|n| *n != 3).all(|n| store(page(n), 6).is_err()));
    });
}

/// A whole range is protected and none keeps its frames.
pub fn a_whole_range_is_protected_and_none_keeps_its_frames(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..40, Access::RW);
        (0..40).for_each(|n| store(page(n), n as u64).unwrap());
        let change = |access| {
            let mut cursor = space.cursor_mut(pages(0..64)).unwrap();
            cursor.protect(64 * PAGE_SIZE, |prop| prop.with_access(access))
        };
        assert_eq!(change(Access::None), Ok(40));
        assert!((0..40).all(|n| load(page(n)).is_err()));
        assert_eq!(change(Access::R), Ok(40));
        assert!((0..40).all(|n| load(page(n)) == Ok(n as u64) && store(page(n), 1).is_err()));
    });
}

/// A segment is mapped at once and what it replaces is not seen any more.
pub fn a_segment_is_mapped_at_once_and_what_it_replaces_is_not_seen_any_more(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 2..12, Access::RW);
        (2..12).for_each(|n| store(page(n), 1).unwrap());
        let free = count_free();
        let segment = FrameAllocOptions::new().alloc_segment(20).unwrap();
        let frames: Vec<_> = segment.clone().map(|frame| frame.start_paddr()).collect();
        let mut cursor = space.cursor_mut(pages(0..21)).unwrap();
        let range = MappedRange { segment: segment.into(), prop: PageProperty::user(Access::RW) };
        cursor.map_range(range).unwrap();
        assert_eq!(cursor.virt_addr(), page(20));
        let too_long: USegment = FrameAllocOptions::new().alloc_segment(2).unwrap().into();
        let paddr = too_long.start_paddr();
        let range = MappedRange { segment: too_long, prop: PageProperty::user(Access::R) };
        let refused = cursor.map_range(range).unwrap_err();
        assert_eq!(refused.error, VmSpaceError::OutOfRange { va: page(20) });
        assert_eq!(refused.range.segment.start_paddr(), paddr);
        let range = MappedRange { segment: refused.range.segment, prop: PageProperty::kernel(Access::R) };
        let refused = cursor.map_range(range).unwrap_err();
        assert_eq!(refused.error, VmSpaceError::Global { va: page(20) });
        drop((cursor, refused));
        assert!((0..20).all(|n| load(page(n)) == Ok(0)));
        assert!(load(page(20)).is_err());
        let mut cursor = space.cursor(pages(0..20)).unwrap();
        for (n, frame) in frames.into_iter().enumerate() {
            cursor.jump(page(n)).unwrap();
            assert_eq!(cursor.query().unwrap().item.unwrap().frames.start_paddr(), frame);
        }
        drop(cursor);
        assert_eq!(count_free(), free - 10);
    });
}

/// A segment is mapped over the border of a node, with holes on both sides.
pub fn a_segment_is_mapped_over_the_border_of_a_node(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let free = count_free();
        let segment: USegment = FrameAllocOptions::new().alloc_segment(600).unwrap().into();
        let start = segment.start_paddr();
        let mut cursor = space.cursor_mut(pages(500..1200)).unwrap();
        let range = MappedRange { segment: segment.clone(), prop: PageProperty::user(Access::RW) };
        cursor.map_range(range).unwrap();
        assert_eq!(cursor.virt_addr(), page(1100));
        drop(cursor);
        for n in [500, 511, 512, 1023, 1024, 1099] {
            let found = space.translate(page(n)).unwrap();
            assert_eq!((found.paddr.0, found.level), (start.0 + (n - 500) * PAGE_SIZE, 1));
            store(page(n), n as u64).unwrap();
        }
        assert!([499, 1100].into_iter().all(|n| load(page(n)).is_err()));
        let mut frames = segment.clone();
        assert!(frames.all(|frame| frame.reference_count() == 3));
        assert_eq!(frames_word(&segment, 1023 - 500), 1023);
        drop(frames);
        let mut cursor = space.cursor_mut(pages(0..2048)).unwrap();
        assert_eq!(cursor.protect(2048 * PAGE_SIZE, |prop| prop.with_access(Access::R)), Ok(600));
        cursor.jump(page(505)).unwrap();
        assert_eq!(cursor.unmap(600 * PAGE_SIZE), Ok(595));
        drop(cursor);
        assert_eq!((load(page(500)), store(page(500), 1).is_err()), (Ok(500), true));
        assert!([505, 512, 1099].into_iter().all(|n| load(page(n)).is_err()));
        assert_eq!(unmap_pages(&space, 500..505), 5);
        assert!(segment.clone().all(|frame| frame.reference_count() == 2));
        drop((segment, space));
        VmSpace::deactivate_current();
        assert!(count_free() >= free, "frames are missing");
    });
}

/// The first word of a frame of a segment.
fn frames_word(segment: &USegment, n: usize) -> u64 {
    segment.reader().skip(n * PAGE_SIZE).read_val().expect("the frame has a first word")
}

/// No mapping of a space is global, or the kernel's alone: the kernel's accesses to user memory would reach it.
pub fn no_mapping_of_a_space_is_the_kernels(machine: &dyn Machine) {
    on_first(machine, || {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 1..2, Access::RW);
        let user = PageProperty::user(Access::RW);
        let at = |n: usize| {
            let global = (PageProperty { global: true, ..user }, VmSpaceError::Global { va: page(n) });
            [global, (PageProperty { user: false, ..user }, VmSpaceError::NotForUser { va: page(n) })]
        };
        let mut cursor = space.cursor_mut(pages(0..2)).unwrap();
        for (prop, error) in at(0) {
            assert_eq!(cursor.map(MappedItem { prop, ..new_item(Access::RW) }).unwrap_err().error, error);
            let segment = FrameAllocOptions::new().alloc_segment(1).unwrap().into();
            assert_eq!(cursor.map_range(MappedRange { segment, prop }).unwrap_err().error, error);
        }
        for (prop, error) in at(1) {
            assert_eq!(cursor.protect_next(2 * PAGE_SIZE, |_| prop), Err(error));
            assert_eq!(cursor.virt_addr(), page(0));
            assert_eq!(cursor.protect(2 * PAGE_SIZE, |_| prop), Err(error));
            assert_eq!(cursor.virt_addr(), page(1));
            assert_eq!(cursor.query().unwrap().item.unwrap().prop, user);
            cursor.jump(page(0)).unwrap();
        }
    });
}

/// A handler may note what hardware notes too.
pub fn a_handler_may_note_what_hardware_notes_too(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..1, Access::R);
        let mut cursor = space.cursor_mut(pages(0..2)).unwrap();
        assert_eq!(cursor.note(AccessType::Write), Ok(false));
        assert!(!cursor.query().unwrap().ad.dirty);
        assert_eq!(cursor.note(AccessType::Read), Ok(true));
        let ad = cursor.query().unwrap().ad;
        assert!(ad.accessed && !ad.dirty);
        cursor.jump(page(1)).unwrap();
        assert_eq!(cursor.note(AccessType::Read), Ok(false));
        drop(cursor);
        assert_eq!(load(page(0)), Ok(0));
    });
}

/// Nodes come back when all in them is unmapped.
pub fn nodes_come_back_when_all_in_them_is_unmapped(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let free = count_free();
        let last = 5 * 512 * 512 + 1;
        for n in [0, 512, 512 * 512, last] {
            map_pages(&space, n..n + 1, Access::RW);
            store(page(n), n as u64).unwrap();
        }
        assert!(count_free() < free - 8);
        assert_eq!(unmap_pages(&space, 0..last + 1), 4);
        // What is left is what locking the range made.
        assert!(count_free() >= free - 1, "{} of {free} frames", count_free());
        assert!([0, 512, 512 * 512].into_iter().all(|n| load(page(n)).is_err()));
    });
}
