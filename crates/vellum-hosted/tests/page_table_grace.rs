//! A retired node goes back once the readers that might see it have left, whoever came after them.
mod page_table_support;

use page_table_support::*;
use std::ops::Range;
use std::sync::Barrier;
use vellum::frame::allocator::{self, FrameAllocOptions};
use vellum::page_table::{
    Access, Fragment, MappedItem, PageProperty, PageTable, RetiredBatch, RetiredNode, TinyTree, UserPt,
    defer, reclaim,
};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::CpuId;

/// The last pages.
const FAR: Range<Vaddr> = Vaddr(28 * PAGE_SIZE)..Vaddr(32 * PAGE_SIZE);

type Table = PageTable<UserPt<TinyTree>>;

/// A table in which the nodes that cover the last pages exist, so that a cursor on them locks no more than those.
fn table() -> Table {
    let table = Table::new().unwrap();
    let mut cursor = table.cursor_mut(FAR).unwrap();
    let item = MappedItem::new(user_frame(), PageProperty::user(Access::RW));
    assert!(cursor.map(item).is_ok());
    drop(cursor);
    table
}

/// Maps a page, takes it out again, and returns the emptied node.
fn retire_a_node(table: &Table) -> RetiredNode {
    let mut cursor = table.cursor_mut(Vaddr(0)..Vaddr(4 * PAGE_SIZE)).unwrap();
    let item = MappedItem::new(user_frame(), PageProperty::user(Access::RW));
    assert!(cursor.map(item).is_ok());
    cursor.jump(Vaddr(0)).unwrap();
    drop(cursor);
    // The parent of the node is locked only by a cursor that covers more than the node.
    let mut cursor = table.cursor_mut(Vaddr(0)..Vaddr(16 * PAGE_SIZE)).unwrap();
    while let Some(taken) = cursor.take_next(16 * PAGE_SIZE - cursor.virt_addr().0).unwrap() {
        if let Fragment::Node(node) = taken {
            return node.retire();
        }
    }
    panic!("the node that held the page was empty");
}

#[test]
fn a_processor_that_is_always_reading_holds_a_node_up_once() {
    let machine = machine(2);
    let table = machine.run_on(CpuId::BOOT, table);
    let step = Barrier::new(2);
    machine.scope(|scope| {
        scope.spawn(CpuId::new(1).unwrap(), || {
            let first = table.cursor(FAR).unwrap();
            step.wait(); // 1: inside
            step.wait(); // 2: looked at
            drop(first);
            let second = table.cursor(FAR).unwrap();
            step.wait(); // 3: inside again
            step.wait(); // 4: done
            drop(second);
        });
        scope.spawn(CpuId::BOOT, || {
            step.wait(); // 1
            let node = retire_a_node(&table);
            let node =
                RetiredBatch::new(node).try_free().expect_err("the other processor may be reading the node");
            let node = node.try_free().expect_err("it still may");
            step.wait(); // 2
            step.wait(); // 3
            // It is inside a cursor now, as it was then; but it left in between.
            node.try_free().expect("who reads now came after the node was unlinked");
            step.wait(); // 4
        });
    });
}

#[test]
fn a_reader_of_the_own_processor_holds_a_node_up() {
    let machine = machine(2);
    machine.run_on(CpuId::BOOT, || {
        let table = table();
        let other = table.cursor(FAR).unwrap();
        let node = RetiredBatch::new(retire_a_node(&table)).try_free().expect_err("a cursor is held");
        drop(other);
        node.try_free().expect("no cursor is held");
    });
}

#[test]
fn a_node_that_joins_a_batch_starts_its_grace_period_anew() {
    let machine = machine(2);
    machine.run_on(CpuId::BOOT, || {
        let table = table();
        let other = table.cursor(FAR).unwrap();
        let batch = RetiredBatch::new(retire_a_node(&table)).try_free().expect_err("a cursor is held");
        drop(other);
        // This processor has been outside since the first node was unlinked, but not since the second.
        let other = table.cursor(FAR).unwrap();
        let batch = batch.with(retire_a_node(&table));
        assert_eq!(batch.nr_nodes(), 2);
        let batch = batch.try_free().expect_err("a cursor is held that was there before the second");
        drop(other);
        batch.try_free().expect("no cursor is held");
    });
}

#[test]
fn who_holds_a_cursor_defers_any_number_of_nodes() {
    const NODES: usize = 1000;
    let machine = machine(2);
    machine.run_on(CpuId::BOOT, || {
        let before = count_free();
        let table = table();
        // The node above those that are retired stays.
        defer(retire_a_node(&table));
        let held = count_free();
        let other = table.cursor(FAR).unwrap();
        for _ in 0..NODES {
            defer(retire_a_node(&table));
        }
        assert_eq!(reclaim(), NODES);
        drop(other);
        assert_eq!(reclaim(), 0);
        assert_eq!(count_free(), held);
        drop(table);
        assert_eq!(count_free(), before);
    });
}

#[test]
fn where_memory_runs_out_nodes_that_wait_come_back_first() {
    let machine = machine(2);
    machine.run_on(CpuId::BOOT, || {
        let table = table();
        count_free();
        // Three frames more than are free: the nodes are given back for them.
        for _ in 0..3 {
            defer(retire_a_node(&table));
        }
        let free = allocator::statistics().unwrap().free;
        let mut frames = Vec::with_capacity(free + 3);
        while frames.len() < free + 3 {
            frames.push(FrameAllocOptions::new().uninit().alloc_frame().expect("three nodes wait"));
        }
        assert_eq!(reclaim(), 0);
        assert!(FrameAllocOptions::new().uninit().alloc_frame().is_err());
    });
}
