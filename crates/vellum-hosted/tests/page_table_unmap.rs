//! Unmapping a range: what comes out, where the cursor is afterwards, and what is left when it is refused or interrupted.
mod page_table_support;

use page_table_support::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use vellum::page_table::{
    Access, Fragment, KernelPtConfig, MappedItem, PageProperty, PageTable, PageTableError, Untracked,
    UserPtConfig,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

/// Base pages in a leaf table.
const TABLE: usize = 512;
const USER: usize = 0x1000_0000_0000;
const KERNEL: usize = 0xffff_8000_0000_0000;
const RW: PageProperty = PageProperty::user(Access::RW);

fn vas(base: usize, pages: Range<usize>) -> Range<Vaddr> {
    Vaddr(base + pages.start * PAGE_SIZE)..Vaddr(base + pages.end * PAGE_SIZE)
}

/// What was taken out: single pages and those in nodes, in order, and how many nodes there were.
#[derive(Default, PartialEq, Debug)]
struct Haul {
    pages: Vec<usize>,
    nodes: usize,
}

impl Haul {
    fn add(&mut self, fragment: Fragment<UserPtConfig>) {
        match fragment {
            Fragment::Leaf { va, .. } => self.pages.push((va.0 - USER) / PAGE_SIZE),
            Fragment::Node(mut node) => {
                self.nodes += 1;
                let before = self.pages.len();
                let expected = node.nr_pages();
                node.take_leaves(&mut |va: Vaddr, _, _| self.pages.push((va.0 - USER) / PAGE_SIZE));
                assert_eq!(self.pages.len() - before, expected);
            }
        }
    }
}

/// A table in which these pages are mapped.
fn user_table(pages: impl Iterator<Item = usize>) -> PageTable<UserPtConfig> {
    let table = PageTable::new().unwrap();
    for page in pages {
        let mut cursor = table.cursor_mut(vas(USER, page..page + 1)).unwrap();
        cursor.map(MappedItem::new(user_frame(), RW)).unwrap();
    }
    table
}

/// The pages below `end` that are mapped.
fn mapped(table: &PageTable<UserPtConfig>, end: usize) -> Vec<usize> {
    let mut cursor = table.cursor(vas(USER, 0..end)).unwrap();
    let mut found = Vec::new();
    while let Some(va) = cursor.find_next((USER + end * PAGE_SIZE) - cursor.virt_addr().0).unwrap() {
        found.push((va.0 - USER) / PAGE_SIZE);
        if cursor.jump(Vaddr(va.0 + PAGE_SIZE)).is_err() {
            break;
        }
    }
    found
}

#[test]
fn whole_tables_go_as_nodes_and_the_rest_page_by_page() {
    on_machine(|| {
        let before = count_free();
        let every_third = || (0..4 * TABLE).filter(|page| page % 3 == 0);
        let table = user_table(every_third());
        let (start, end) = (100, 3 * TABLE + 7);
        let mut haul = Haul::default();
        let mut cursor = table.cursor_mut(vas(USER, 0..4 * TABLE)).unwrap();
        cursor.jump(Vaddr(USER + start * PAGE_SIZE)).unwrap();
        let expected: Vec<usize> = every_third().filter(|page| (start..end).contains(page)).collect();
        let count = cursor.unmap((end - start) * PAGE_SIZE, &mut |fragment| haul.add(fragment));
        assert_eq!(count, Ok(expected.len()));
        assert_eq!(cursor.virt_addr(), Vaddr(USER + end * PAGE_SIZE));
        assert_eq!(haul, Haul { pages: expected, nodes: 2 });
        drop(cursor);
        let left: Vec<usize> = every_third().filter(|page| !(start..end).contains(page)).collect();
        assert_eq!(mapped(&table, 4 * TABLE), left);
        drop(table);
        assert_eq!(count_free(), before);
    });
}

#[test]
fn lengths_that_do_not_fit_are_refused_and_none_is_nothing() {
    on_machine(|| {
        let table = user_table([0, 5].into_iter());
        let mut cursor = table.cursor_mut(vas(USER, 0..8)).unwrap();
        let start = cursor.virt_addr();
        let mut refuse = |_| panic!("something was taken out");
        assert_eq!(
            cursor.unmap(PAGE_SIZE + 1, &mut refuse),
            Err(PageTableError::NotAligned { at: PAGE_SIZE + 1 })
        );
        assert_eq!(cursor.unmap(9 * PAGE_SIZE, &mut refuse), Err(PageTableError::OutOfRange { va: start }));
        let most = usize::MAX - (PAGE_SIZE - 1);
        assert_eq!(cursor.unmap(most, &mut refuse), Err(PageTableError::OutOfRange { va: start }));
        assert_eq!(cursor.unmap(0, &mut refuse), Ok(0));
        assert_eq!(cursor.virt_addr(), start);
        cursor.jump(Vaddr(USER + PAGE_SIZE)).unwrap();
        assert_eq!(cursor.unmap(4 * PAGE_SIZE, &mut refuse), Ok(0));
        assert_eq!(cursor.virt_addr(), Vaddr(USER + 5 * PAGE_SIZE));
    });
}

/// Huge pages from which parts are taken out at both ends, with every allocation failing in turn.
#[test]
fn no_memory_to_split_at_a_border_changes_nothing() {
    on_machine(|| {
        let table = PageTable::<KernelPtConfig>::new().unwrap();
        let range = vas(KERNEL, 0..3 * TABLE);
        let prop = PageProperty::kernel(Access::RW);
        let mut cursor = table.cursor_mut(range.clone()).unwrap();
        for number in 0..3 {
            let huge = Untracked::new(Paddr(number * TABLE * PAGE_SIZE), 2, prop).unwrap();
            cursor.map(huge).unwrap();
        }
        let (start, len) = (Vaddr(KERNEL + 3 * PAGE_SIZE), (2 * TABLE + 9) * PAGE_SIZE);
        for number in [1, 2] {
            cursor.jump(start).unwrap();
            let refused =
                with_failure(number, || cursor.unmap(len, &mut |_| panic!("something was taken out")));
            assert_eq!((refused, cursor.virt_addr()), (Err(PageTableError::NoMemory), start));
            for page in (0..3 * TABLE).step_by(37) {
                cursor.jump(Vaddr(KERNEL + page * PAGE_SIZE)).unwrap();
                let slot = cursor.query().unwrap();
                let item = slot.item.expect("still mapped");
                let offset = KERNEL + page * PAGE_SIZE - slot.range.start.0;
                assert_eq!((item.start_paddr().0 + offset, item.prop()), (page * PAGE_SIZE, prop));
            }
        }
        cursor.jump(start).unwrap();
        let mut pages = 0;
        let count = cursor.unmap(len, &mut |fragment: Fragment<KernelPtConfig>| {
            pages += match fragment {
                Fragment::Leaf { item, .. } => TABLE.pow(u32::from(item.level() - 1)),
                Fragment::Node(node) => node.nr_pages(),
            };
        });
        assert_eq!((count, pages), (Ok(len / PAGE_SIZE), len / PAGE_SIZE));
        cursor.jump(range.start).unwrap();
        assert!(cursor.query().unwrap().item.is_some());
        cursor.jump(Vaddr(start.0 + len)).unwrap();
        assert!(cursor.query().unwrap().item.is_some());
    });
}

#[test]
fn a_panic_while_a_node_is_emptied_loses_nothing() {
    on_machine(|| {
        let before = count_free();
        let table = user_table(0..TABLE);
        let mut cursor = table.cursor_mut(vas(USER, 0..2 * TABLE)).unwrap();
        let Ok(Some(Fragment::Node(mut node))) = cursor.take_next(2 * TABLE * PAGE_SIZE) else {
            panic!("a whole node is there");
        };
        drop(cursor);
        let mut pages = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            node.take_leaves(&mut |va: Vaddr, _, _| {
                pages.push((va.0 - USER) / PAGE_SIZE);
                if pages.len() == 3 {
                    resume_unwind(Box::new("enough"));
                }
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(node.next_leaf().map(|(va, ..)| va), Some(Vaddr(USER + 3 * PAGE_SIZE)));
        node.take_leaves(&mut |va: Vaddr, _, _| pages.push((va.0 - USER) / PAGE_SIZE));
        assert_eq!(pages, Vec::from_iter((0..3).chain(4..TABLE)));
        drop((node, table));
        assert_eq!(count_free(), before);
    });
}

#[test]
fn a_panic_while_unmapping_loses_nothing() {
    on_machine(|| {
        let before = count_free();
        let table = user_table(0..3 * TABLE);
        let mut haul = Haul::default();
        let mut cursor = table.cursor_mut(vas(USER, 0..3 * TABLE)).unwrap();
        cursor.jump(Vaddr(USER + (TABLE - 2) * PAGE_SIZE)).unwrap();
        let len = cursor.range().end.0 - cursor.virt_addr().0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            cursor.unmap(len, &mut |fragment| {
                haul.add(fragment);
                if haul.nodes == 1 {
                    resume_unwind(Box::new("enough"));
                }
            })
        }));
        assert!(outcome.is_err());
        drop(cursor);
        assert_eq!(haul.pages, Vec::from_iter(TABLE - 2..2 * TABLE));
        // Unlocked, and what was not taken out is still there.
        let left: Vec<usize> = (0..TABLE - 2).chain(2 * TABLE..3 * TABLE).collect();
        assert_eq!(mapped(&table, 3 * TABLE), left);
        drop(table);
        assert_eq!(count_free(), before);
    });
}
