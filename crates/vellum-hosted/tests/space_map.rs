//! One processor maps, looks, protects and unmaps, and user code sees it.
mod space_support;

use space_support::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vellum::frame::USegment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::io::{UntypedMem, VmReader, VmWriter};
use vellum::space::{
    Access, AccessType, MappedItem, MappedRange, PageProperty, SoftBits, VmSpace, VmSpaceError,
};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::user;

#[test]
fn user_code_sees_what_is_mapped() {
    on_machine(|| {
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

#[test]
fn a_query_tells_slot_item_and_use() {
    on_machine(|| {
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
        assert!(!slot.ad.accessed && !slot.ad.dirty);
        let item = slot.item.unwrap();
        assert_eq!((item.frames.start_paddr(), item.prop), (frame.start_paddr(), prop));
        let byte = space.translate(Vaddr(page(2).0 + 9)).unwrap();
        assert_eq!((byte.paddr.0, byte.prop, byte.level), (frame.start_paddr().0 + 9, prop, 1));
        assert_eq!(space.translate(page(1)), None);
        load(page(2)).unwrap();
        assert!(query(2).ad.accessed && !query(2).ad.dirty);
        store(page(2), 1).unwrap();
        assert!(query(2).ad.dirty);
    });
}

#[test]
fn rights_are_those_of_the_mapping() {
    on_machine(|| {
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

#[test]
fn unmap_counts_base_pages_and_skips_holes() {
    on_machine(|| {
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

#[test]
fn a_replaced_page_is_not_seen_any_more_and_its_frame_goes_back() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..1, Access::RW);
        store(page(0), 1).unwrap();
        let free = count_free();
        map_pages(&space, 0..1, Access::RW);
        assert_eq!(load(page(0)), Ok(0));
        assert_eq!(count_free(), free);
    });
}

#[test]
fn find_next_stops_at_mappings_and_at_the_end() {
    on_machine(|| {
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

#[test]
fn protect_next_owes_a_flush() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..2, Access::RW);
        store(page(1), 5).unwrap();
        let mut cursor = space.cursor_mut(pages(0..8)).unwrap();
        cursor.jump(page(1)).unwrap();
        let protected =
            cursor.protect_next(7 * PAGE_SIZE, |prop| prop.with_access(Access::R)).unwrap().unwrap();
        assert_eq!(protected.range, pages(1..2));
        assert_eq!(protected.owed.range(), pages(1..2));
        assert_eq!(cursor.virt_addr(), page(2));
        // Not flushed: the right is still kept by the processor.
        assert_eq!(store(page(1), 6), Ok(()));
        cursor.flusher().pay(protected.owed);
        let _ = cursor.finish();
        assert!(store(page(1), 7).is_err());
        let mut cursor = space.cursor_mut(pages(2..8)).unwrap();
        assert_eq!(cursor.protect_next(6 * PAGE_SIZE, |prop| prop).unwrap(), None);
        assert_eq!(cursor.virt_addr(), page(8));
        drop(cursor);
        assert_eq!(load(page(1)), Ok(6));
        assert_eq!(store(page(0), 1), Ok(()));
    });
}

#[test]
fn what_is_owed_is_flushed_when_the_cursor_goes() {
    on_machine(|| {
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

#[test]
fn a_whole_range_is_protected_and_none_keeps_its_frames() {
    on_machine(|| {
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

#[test]
fn a_segment_is_mapped_at_once_and_what_it_replaces_is_not_seen_any_more() {
    on_machine(|| {
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

#[test]
fn a_protect_that_panics_or_is_refused_flushes_what_it_changed() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..40, Access::RW);
        (0..40).for_each(|n| store(page(n), 1).unwrap());
        let mut calls = 0;
        let mut cursor = space.cursor_mut(pages(0..40)).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            cursor.protect(40 * PAGE_SIZE, |prop| {
                calls += 1;
                assert!(calls <= 3, "enough");
                prop.with_access(Access::R)
            })
        }));
        assert!(outcome.is_err());
        assert_eq!(cursor.virt_addr(), page(3));
        let global = cursor.protect(2 * PAGE_SIZE, |prop| {
            calls += 1;
            PageProperty { global: calls == 6, ..prop.with_access(Access::R) }
        });
        assert_eq!(global, Err(VmSpaceError::Global { va: page(4) }));
        assert_eq!(cursor.virt_addr(), page(4));
        drop(cursor);
        assert_eq!((0..40).filter(|n| store(page(*n), 2).is_err()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    });
}

#[test]
fn readers_and_writers_copy_through_the_space() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..2, Access::RW);
        let at = Vaddr(page(1).0 - 3);
        let mut writer = space.writer(at, 8).unwrap();
        assert_eq!(writer.write(&mut VmReader::from(&b"abcdef"[..])), Ok(6));
        assert_eq!(writer.avail(), 2);
        writer.write_val(&0x2a_u8).unwrap();
        assert_eq!(writer.fill(b'z', 100), Ok(1));
        let mut out = [0; 10];
        let mut reader = space.reader(at, 8).unwrap();
        assert_eq!(reader.read(&mut VmWriter::from(&mut out[..])), Ok(8));
        assert_eq!(&out, b"abcdef*z\0\0");
        assert!(!reader.has_remain());
        let word = space.writer(page(0), 8).unwrap();
        word.store_word(7_u64).unwrap();
        assert_eq!(word.compare_exchange_word(7_u64, 8), Ok(Ok(7)));
        assert_eq!(word.compare_exchange_word(7_u32, 9), Ok(Err(8)));
        assert_eq!(space.reader(page(0), 8).unwrap().load_word::<u64>(), Ok(8));
        assert_eq!(load(page(0)), Ok(8));
    });
}

#[test]
fn no_mapping_of_a_space_is_global() {
    on_machine(|| {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 1..2, Access::RW);
        let mut cursor = space.cursor_mut(pages(0..2)).unwrap();
        let mut global = item(Access::RW);
        global.prop.global = true;
        assert_eq!(cursor.map(global).unwrap_err().error, VmSpaceError::Global { va: page(0) });
        let outcome = cursor
            .protect_next(2 * PAGE_SIZE, |prop| PageProperty { global: true, ..prop.with_access(Access::R) });
        assert_eq!(outcome, Err(VmSpaceError::Global { va: page(1) }));
        assert_eq!(cursor.virt_addr(), page(0));
        cursor.jump(page(1)).unwrap();
        assert_eq!(cursor.query().unwrap().item.unwrap().prop, PageProperty::user(Access::RW));
    });
}

#[test]
fn what_no_entry_can_say_is_refused() {
    on_machine(|| {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 1..2, Access::RX);
        let mut cursor = space.cursor_mut(pages(0..2)).unwrap();
        let prop = PageProperty::user(Access::X);
        let refused = cursor.map(item(Access::X)).unwrap_err();
        assert_eq!((refused.error, refused.item.prop), (VmSpaceError::Unrepresentable { prop }, prop));
        let outcome = cursor.protect_next(2 * PAGE_SIZE, |prop| prop.with_access(Access::X));
        assert_eq!(outcome, Err(VmSpaceError::Unrepresentable { prop }));
        assert_eq!(cursor.virt_addr(), page(0));
        cursor.jump(page(1)).unwrap();
        assert_eq!(cursor.query().unwrap().item.unwrap().prop, PageProperty::user(Access::RX));
    });
}

#[test]
fn a_handler_may_note_what_hardware_notes_too() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..1, Access::R);
        let mut cursor = space.cursor_mut(pages(0..2)).unwrap();
        assert_eq!(cursor.note(AccessType::Write), Ok(false));
        assert!(!cursor.query().unwrap().ad.accessed);
        assert_eq!(cursor.note(AccessType::Read), Ok(true));
        let ad = cursor.query().unwrap().ad;
        assert!(ad.accessed && !ad.dirty);
        cursor.jump(page(1)).unwrap();
        assert_eq!(cursor.note(AccessType::Read), Ok(false));
        drop(cursor);
        assert_eq!(load(page(0)), Ok(0));
    });
}

#[test]
fn a_panic_while_protecting_changes_nothing_and_unlocks() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..4, Access::RW);
        let attempt = std::panic::AssertUnwindSafe(|| {
            let mut cursor = space.cursor_mut(pages(0..4)).unwrap();
            let mut left = 2;
            let _ = cursor.protect(4 * PAGE_SIZE, |prop| {
                left -= 1;
                assert!(left > 0, "the second page is too much");
                prop.with_access(Access::R)
            });
        });
        assert!(std::panic::catch_unwind(attempt).is_err());
        let rights: Vec<_> = (0..4).map(|n| store(page(n), 1).is_ok()).collect();
        assert_eq!(rights, [false, true, true, true]);
        assert_eq!(unmap_pages(&space, 0..4), 4);
    });
}

#[test]
fn nodes_come_back_when_all_in_them_is_unmapped() {
    on_machine(|| {
        let space = active_space();
        let free = count_free();
        for n in [0, 512, 512 * 512, 5 * 512 * 512 + 1] {
            map_pages(&space, n..n + 1, Access::RW);
            store(page(n), n as u64).unwrap();
        }
        assert!(count_free() < free - 8);
        assert_eq!(unmap_pages(&space, 0..512 * 512 * 512), 4);
        // What is left is what locking the range made.
        assert!(count_free() >= free - 1, "{} of {free} frames", count_free());
        assert!([0, 512, 512 * 512].into_iter().all(|n| load(page(n)).is_err()));
    });
}
