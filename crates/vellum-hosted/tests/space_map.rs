//! What a process alone can show of mapping and protecting: rights that a processor keeps, panics, and what entries of
//! x86-64 cannot say.
mod space_support;

use space_support::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vellum::space::{Access, PageProperty, VmSpace, VmSpaceError};
use vellum_machine::addr::PAGE_SIZE;

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
fn a_panic_while_protecting_changes_nothing_and_unlocks() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..4, Access::RW);
        let attempt = AssertUnwindSafe(|| {
            let mut cursor = space.cursor_mut(pages(0..4)).unwrap();
            let mut left = 2;
            let _ = cursor.protect(4 * PAGE_SIZE, |prop| {
                left -= 1;
                assert!(left > 0, "the second page is too much");
                prop.with_access(Access::R)
            });
        });
        assert!(catch_unwind(attempt).is_err());
        let rights: Vec<_> = (0..4).map(|n| store(page(n), 1).is_ok()).collect();
        assert_eq!(rights, [false, true, true, true]);
        assert_eq!(unmap_pages(&space, 0..4), 4);
    });
}
