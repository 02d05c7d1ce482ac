//! Ranges of page tables in one step: what is mapped, protected and given back, also where a step fails half way.
mod page_table_support;

use page_table_support::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vellum::frame::USegment;
use vellum::page_table::{
    Access, AccessedDirty, FourLevel, Fragment, KernelPt, MappedItem, MappedRange, PageProperty, PageTable,
    PageTableError, Replaced, Untracked, UserPt,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

type User = PageTable<UserPt<FourLevel>>;
type Kernel = PageTable<KernelPt<FourLevel>>;

const RW: PageProperty = PageProperty::user(Access::RW);
const RO: PageProperty = PageProperty::user(Access::R);
const KERNEL_RW: PageProperty = PageProperty::kernel(Access::RW);
const KERNEL_RO: PageProperty = PageProperty::kernel(Access::R);
const WRITTEN: AccessedDirty = AccessedDirty { accessed: true, dirty: true };
const KERNEL: usize = 0xffff_8000_0000_0000;
/// The base pages of a page of 2 MiB.
const BIG: usize = 512;
/// The base pages of a page of 1 GiB.
const HUGE: usize = BIG * BIG;

fn va(page: usize) -> Vaddr {
    Vaddr(page * PAGE_SIZE)
}

fn vas(pages: Range<usize>) -> Range<Vaddr> {
    va(pages.start)..va(pages.end)
}

fn kernel(pages: Range<usize>) -> Range<Vaddr> {
    Vaddr(KERNEL + pages.start * PAGE_SIZE)..Vaddr(KERNEL + pages.end * PAGE_SIZE)
}

fn none_replaced(at: Vaddr, _: Replaced<MappedItem>) {
    panic!("something was mapped at {at:?}");
}

/// The frames mapped in a range, by page.
fn look(table: &User, range: Range<usize>) -> Vec<(usize, Paddr, PageProperty)> {
    let mut cursor = table.cursor(vas(range.clone())).unwrap();
    let mut found = Vec::new();
    for page in range {
        cursor.jump(va(page)).unwrap();
        let item = cursor.query().unwrap().item;
        found.extend(item.map(|item| (page, item.frames.start_paddr(), item.prop)));
    }
    found
}

fn frame_of(segment: &USegment, n: usize) -> Paddr {
    Paddr(segment.start_paddr().0 + n * PAGE_SIZE)
}

/// The mappings of a kernel range: their pages, level and property.
fn levels(table: &Kernel, range: Range<usize>) -> Vec<(Range<usize>, u8, PageProperty)> {
    let mut cursor = table.cursor(kernel(range.clone())).unwrap();
    let mut found = Vec::new();
    let mut page = range.start;
    while page < range.end {
        cursor.jump(kernel(page..page + 1).start).unwrap();
        let slot = cursor.query().unwrap();
        let pages = pages_of(KERNEL, &slot.range);
        page = pages.end;
        found.extend(slot.item.map(|item| (pages, item.level(), item.prop())));
    }
    found
}

#[test]
fn a_segment_over_several_leaf_tables_is_mapped_page_by_page() {
    on_machine(|| {
        let before = count_free();
        let table = User::new().unwrap();
        let segment = user_segment(2 * BIG + 30);
        let start = 5 * BIG - 10;
        let end = start + segment.nr_pages();
        let mut cursor = table.cursor_mut(vas(start..end + 1)).unwrap();
        let range = MappedRange { segment: segment.clone(), prop: RW };
        assert!(cursor.map_range(range, &mut none_replaced).is_ok());
        assert_eq!(cursor.virt_addr(), va(end));
        drop(cursor);
        let expected: Vec<_> =
            (0..segment.nr_pages()).map(|n| (start + n, frame_of(&segment, n), RW)).collect();
        assert_eq!(look(&table, start - 1..end + 1), expected);
        assert!(segment.clone().all(|frame| frame.reference_count() == 3));
        drop(table);
        assert!(segment.clone().all(|frame| frame.reference_count() == 2));
        drop(segment);
        assert_eq!(count_free(), before);
    });
}

#[test]
fn no_frames_are_mapped_at_no_pages() {
    on_machine(|| {
        let table = User::new().unwrap();
        let nothing = user_segment(1).slice(0..0).unwrap();
        let mut cursor = table.cursor_mut(vas(3..4)).unwrap();
        for at in [3, 4] {
            let range = MappedRange { segment: nothing.clone(), prop: RW };
            assert!(cursor.map_range(range, &mut none_replaced).is_ok());
            assert_eq!(cursor.virt_addr(), va(at));
            let one = MappedRange { segment: user_segment(1), prop: RW };
            assert_eq!(cursor.map_range(one, &mut none_replaced).is_ok(), at == 3);
        }
    });
}

#[test]
fn without_memory_for_a_node_nothing_is_mapped() {
    on_machine(|| {
        let before = count_free();
        let table = User::new().unwrap();
        let old = user_segment(1);
        let (start, end) = (HUGE - BIG - 3, HUGE + 3);
        let at = start + 1;
        let single = MappedRange { segment: old.clone(), prop: RO };
        table.cursor_mut(vas(at..at + 1)).unwrap().map_range(single, &mut none_replaced).ok().unwrap();
        let segment = user_segment(end - start);
        // Three nodes are missing; those that were made before the memory ended are there the next time.
        for nth in [1, 2, 2] {
            let mut cursor = table.cursor_mut(vas(start..end)).unwrap();
            let range = MappedRange { segment: segment.clone(), prop: RW };
            let refused = with_failure(nth, || cursor.map_range(range, &mut none_replaced)).err().unwrap();
            assert_eq!(refused.error, PageTableError::NoMemory);
            assert_eq!(refused.item.segment.start_paddr(), segment.start_paddr());
            assert_eq!(refused.item.segment.nr_pages(), segment.nr_pages());
            assert_eq!(cursor.virt_addr(), va(start));
            drop(cursor);
            assert_eq!(look(&table, start..end), [(at, old.start_paddr(), RO)]);
        }
        drop((table, old, segment));
        assert_eq!(count_free(), before);
    });
}

#[test]
fn a_sink_that_panics_keeps_what_was_mapped_and_drops_the_rest() {
    on_machine(|| {
        let before = count_free();
        let table = User::new().unwrap();
        let (old, new) = (user_segment(2), user_segment(8));
        for (n, page) in [12, 15].into_iter().enumerate() {
            let segment = old.slice(n * PAGE_SIZE..(n + 1) * PAGE_SIZE).unwrap();
            let mut cursor = table.cursor_mut(vas(page..page + 1)).unwrap();
            cursor.map_range(MappedRange { segment, prop: RO }, &mut none_replaced).ok().unwrap();
        }
        let mut cursor = table.cursor_mut(vas(10..20)).unwrap();
        let mut seen = Vec::new();
        let mut sink = |at, replaced: Replaced<MappedItem>| {
            seen.push((at, replaced.item.frames.start_paddr()));
            assert!(seen.len() < 2, "the second is too much");
        };
        let range = MappedRange { segment: new.clone(), prop: RW };
        let outcome = catch_unwind(AssertUnwindSafe(|| cursor.map_range(range, &mut sink)));
        assert!(outcome.is_err());
        assert_eq!(seen, [(va(12), frame_of(&old, 0)), (va(15), frame_of(&old, 1))]);
        assert_eq!(cursor.virt_addr(), va(16));
        drop(cursor);
        let expected: Vec<_> = (0..6).map(|n| (10 + n, frame_of(&new, n), RW)).collect();
        assert_eq!(look(&table, 10..20), expected);
        let counts: Vec<_> = new.clone().map(|frame| frame.reference_count()).collect();
        assert_eq!(counts, [3, 3, 3, 3, 3, 3, 2, 2]);
        drop((table, old, new));
        assert_eq!(count_free(), before);
    });
}

/// A kernel table in which 1 GiB is mapped at its start, by one page.
fn one_huge_page(test: impl FnOnce(&Kernel) + Send) {
    on_machine(|| {
        let table = Kernel::new().unwrap();
        let item = Untracked::new(Paddr(HUGE * PAGE_SIZE), 3, KERNEL_RW).unwrap();
        table.cursor_mut(kernel(0..HUGE)).unwrap().map(item).ok().unwrap();
        note::<FourLevel>(table.root_paddr(), Vaddr(KERNEL), WRITTEN);
        test(&table);
    });
}

fn make_read_only(_: Range<Vaddr>, prop: PageProperty) -> Option<PageProperty> {
    assert_eq!(prop, KERNEL_RW);
    Some(KERNEL_RO)
}

#[test]
fn protect_splits_at_its_borders_alone() {
    one_huge_page(|table| {
        let (start, end) = (BIG - 2, 3 * BIG + 2);
        let mut cursor = table.cursor_mut(kernel(0..HUGE)).unwrap();
        cursor.jump(kernel(start..end).start).unwrap();
        let mut seen = Vec::new();
        let mut op = |range: Range<Vaddr>, prop| {
            seen.push(pages_of(KERNEL, &range));
            make_read_only(range, prop)
        };
        assert_eq!(cursor.protect((end - start) * PAGE_SIZE, &mut op), Ok(end - start));
        let big = [BIG..2 * BIG, 2 * BIG..3 * BIG];
        let pages = |pages: Range<usize>| pages.map(|page| page..page + 1);
        let expected: Vec<_> = pages(start..BIG).chain(big.clone()).chain(pages(3 * BIG..end)).collect();
        assert_eq!(seen, expected);
        assert_eq!(cursor.virt_addr(), kernel(end..end + 1).start);
        // What hardware noted of the whole is noted of each part.
        cursor.jump(kernel(0..1).start).unwrap();
        for page in [0, start, BIG, end - 1, end, HUGE - 1] {
            cursor.jump(kernel(page..page + 1).start).unwrap();
            assert_eq!(cursor.query().unwrap().ad, WRITTEN);
        }
        drop(cursor);
        let changed = levels(table, 0..HUGE);
        let read_only: Vec<_> = changed.iter().filter(|(_, _, prop)| *prop == KERNEL_RO).cloned().collect();
        let level = |pages: &Range<usize>| if pages.len() == BIG { 2 } else { 1 };
        let expected: Vec<_> =
            expected.iter().map(|pages| (pages.clone(), level(pages), KERNEL_RO)).collect();
        assert_eq!(read_only, expected);
        assert_eq!(changed.iter().map(|(pages, _, _)| pages.len()).sum::<usize>(), HUGE);
    });
}

#[test]
fn without_memory_for_a_border_nothing_is_protected() {
    // Both borders of the range are in huge pages: two nodes for the first, one for the last.
    for nth in 1..=3 {
        one_huge_page(|table| {
            let (start, end) = (BIG + 5, 2 * BIG + 7);
            let mut cursor = table.cursor_mut(kernel(start..end)).unwrap();
            let len = (end - start) * PAGE_SIZE;
            let refused = with_failure(nth, || cursor.protect(len, &mut |_: Range<Vaddr>, _| unreachable!()));
            assert_eq!(refused, Err(PageTableError::NoMemory));
            assert_eq!(cursor.virt_addr(), kernel(start..end).start);
            drop(cursor);
            let found = levels(table, 0..HUGE);
            assert!(found.iter().all(|(_, _, prop)| *prop == KERNEL_RW));
            assert_eq!(found.iter().map(|(pages, _, _)| pages.len()).sum::<usize>(), HUGE);
            let mut cursor = table.cursor_mut(kernel(start..end)).unwrap();
            assert_eq!(with_failure(4, || cursor.protect(len, &mut make_read_only)), Ok(end - start));
        });
    }
}

#[test]
fn an_operation_that_panics_or_refuses_leaves_the_cursor_at_its_mapping() {
    on_machine(|| {
        let table = User::new().unwrap();
        let segment = user_segment(6);
        let mut cursor = table.cursor_mut(vas(100..110)).unwrap();
        cursor
            .map_range(MappedRange { segment: segment.clone(), prop: RW }, &mut none_replaced)
            .ok()
            .unwrap();
        cursor.jump(va(100)).unwrap();
        let stop_at = |page: usize, panics: bool| {
            move |range: Range<Vaddr>, _: PageProperty| {
                assert!(!panics || range.start != va(page), "enough");
                (range.start != va(page)).then_some(RO)
            }
        };
        let whole = 10 * PAGE_SIZE;
        let outcome = catch_unwind(AssertUnwindSafe(|| cursor.protect(whole, &mut stop_at(102, true))));
        assert!(outcome.is_err());
        assert_eq!(cursor.virt_addr(), va(102));
        assert_eq!(cursor.protect(8 * PAGE_SIZE, &mut stop_at(104, false)), Ok(2));
        assert_eq!(cursor.virt_addr(), va(104));
        assert_eq!(cursor.protect(0, &mut stop_at(104, true)), Ok(0));
        drop(cursor);
        let props: Vec<_> = look(&table, 100..110).into_iter().map(|(_, _, prop)| prop).collect();
        assert_eq!(props, [RO, RO, RO, RO, RW, RW]);
    });
}

#[test]
fn what_was_mapped_as_a_range_comes_back() {
    on_machine(|| {
        let before = count_free();
        let table = User::new().unwrap();
        let segment = user_segment(3);
        let mut cursor = table.cursor_mut(vas(0..BIG)).unwrap();
        cursor
            .map_range(MappedRange { segment: segment.clone(), prop: RW }, &mut none_replaced)
            .ok()
            .unwrap();
        cursor.jump(va(0)).unwrap();
        let mut taken = Vec::new();
        while let Some(fragment) = cursor.take_next((BIG * PAGE_SIZE) - cursor.virt_addr().0).unwrap() {
            match fragment {
                Fragment::Leaf { va, item, .. } => taken.push((va, item.frames.into_frame().unwrap())),
                Fragment::Node(mut node) => {
                    while let Some((va, item, _)) = node.next_leaf() {
                        taken.push((va, item.frames.into_frame().unwrap()));
                    }
                }
            }
        }
        let expected: Vec<_> = (0..3).map(|n| (va(n), frame_of(&segment, n))).collect();
        assert_eq!(taken.iter().map(|(va, f)| (*va, f.start_paddr())).collect::<Vec<_>>(), expected);
        assert!(taken.iter().all(|(_, frame)| frame.reference_count() == 2));
        drop(cursor);
        drop((taken, segment, table));
        assert_eq!(count_free(), before);
    });
}
