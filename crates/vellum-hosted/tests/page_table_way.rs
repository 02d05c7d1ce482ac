//! How far down a cursor locks, and which nodes it makes on the way.
mod page_table_support;

use page_table_support::*;
use std::ops::Range;
use vellum::page_table::{
    Access, FourLevel, KernelPt, MappedItem, PageProperty, PageTable, PageTableConfig, PageTableError,
    Untracked, UserPtConfig, upper_base,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

/// The pages of a leaf node.
const LEAF: usize = 512;

fn vas(pages: Range<usize>) -> Range<Vaddr> {
    Vaddr(pages.start * PAGE_SIZE)..Vaddr(pages.end * PAGE_SIZE)
}

fn item() -> MappedItem {
    MappedItem::new(user_frame(), PageProperty::user(Access::RW))
}

fn user_table(test: impl FnOnce(&PageTable<UserPtConfig>) + Send) {
    on_machine(|| {
        let before = count_free();
        let table = PageTable::new().unwrap();
        test(&table);
        drop(table);
        assert_eq!(count_free(), before, "frames were lost or won");
    });
}

#[test]
fn cursors_over_ranges_that_lie_apart_do_not_meet_in_an_empty_table() {
    user_table(|table| {
        let before = count_free();
        // Were a node above locked, the second of two cursors would wait for ever for the first.
        let mut one = table.cursor_mut(vas(0..LEAF - 1)).unwrap();
        let mut two = table.cursor_mut(vas(LEAF + 1..2 * LEAF)).unwrap();
        let mut far = table.cursor_mut(vas(1 << 27..(1 << 27) + 1)).unwrap();
        for cursor in [&mut one, &mut two, &mut far] {
            assert!(cursor.map(item()).is_ok());
        }
        drop((one, two, far));
        // Two ways of three nodes, of which one forks above its leaf node; and the frames.
        assert_eq!(count_free(), before - 7 - 3);
    });
}

#[test]
fn who_only_looks_makes_nothing() {
    user_table(|table| {
        let before = count_free();
        let mut cursor = table.cursor(vas(7..8)).unwrap();
        assert!(cursor.query().unwrap().item.is_none());
        drop(cursor);
        assert_eq!(count_free(), before);
    });
}

#[test]
fn without_memory_the_node_above_is_locked() {
    user_table(|table| {
        for (nth, taken) in [(1, 0), (2, 1), (3, 3)] {
            let before = count_free();
            let mut cursor = with_failure(nth, || table.cursor_mut(vas(7..8))).unwrap();
            assert!(cursor.query().unwrap().item.is_none());
            let new = item();
            let refused = with_failure(1, || cursor.map(new).map_err(|refused| refused.error).err());
            assert_eq!(refused, (nth < 3).then_some(PageTableError::NoMemory));
            drop(cursor);
            assert_eq!(count_free(), before - taken);
        }
    });
}

#[test]
fn a_range_of_one_huge_page_can_become_one() {
    on_machine(|| {
        let table = PageTable::<KernelPt<FourLevel>>::new().unwrap();
        let base = upper_base::<FourLevel>() + (KernelPt::<FourLevel>::TOP_LO << 39);
        for (start, level) in [(0, 2), (LEAF * LEAF, 3)] {
            let pages = LEAF.pow(u32::from(level) - 1);
            let range = Vaddr(base + start * PAGE_SIZE)..Vaddr(base + (start + pages) * PAGE_SIZE);
            let item = Untracked::new(Paddr(0), level, PageProperty::kernel(Access::R)).unwrap();
            let mut cursor = table.cursor_mut(range.clone()).unwrap();
            assert!(cursor.map(item).map_err(|refused| refused.error).unwrap().is_none());
            drop(cursor);
            // Over a part of it the way ends at the huge page.
            let before = count_free();
            let mut cursor = table.cursor_mut(range.start..Vaddr(range.start.0 + PAGE_SIZE)).unwrap();
            assert_eq!(cursor.query().unwrap().item.map(|item| item.level()), Some(level));
            drop(cursor);
            assert_eq!(count_free(), before);
        }
    });
}
