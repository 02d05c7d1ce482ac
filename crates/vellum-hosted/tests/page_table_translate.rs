//! Looking addresses up without a lock, also while others change the table.
mod page_table_support;

use page_table_support::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use vellum::page_table::{
    Access, FourLevel, KernelPt, MappedItem, PageProperty, PageTable, PageTableConfig, Translation,
    Untracked, UserPtConfig, defer, upper_base,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;

const RW: PageProperty = PageProperty::user(Access::RW);

#[test]
fn a_byte_of_each_size_of_page() {
    machine(2).run_on(CpuId::BOOT, || {
        let table = PageTable::<KernelPt<FourLevel>>::new().unwrap();
        let base = upper_base::<FourLevel>() + (KernelPt::<FourLevel>::TOP_LO << 39);
        let prop = PageProperty::kernel(Access::R);
        for level in 1..=3 {
            let size = PAGE_SIZE << (9 * (level - 1));
            let range = Vaddr(base + size)..Vaddr(base + 2 * size);
            let mut cursor = table.cursor_mut(range).unwrap();
            let item = Untracked::new(Paddr(size), level, prop).unwrap();
            assert!(cursor.map(item).map_err(|refused| refused.error).unwrap().is_none());
            // A cursor that holds the range is in nobody's way.
            for byte in [0, 1, size / 2 + 5, size - 1] {
                let found = table.translate(Vaddr(base + size + byte));
                assert_eq!(found, Some(Translation { paddr: Paddr(size + byte), prop, level }));
            }
            drop(cursor);
            assert_eq!(table.translate(Vaddr(base + size - 1)), None);
        }
    });
}

#[test]
fn addresses_that_are_no_tables() {
    machine(2).run_on(CpuId::BOOT, || {
        let table = PageTable::<UserPtConfig>::new().unwrap();
        for va in [0, 1, (1 << 47) - 1, 1 << 47, usize::MAX >> 1, usize::MAX - PAGE_SIZE, usize::MAX] {
            assert_eq!(table.translate(Vaddr(va)), None);
        }
    });
}

/// One processor maps and unmaps, with the nodes; the other finds the very frame, or nothing.
#[test]
fn who_looks_while_others_change_finds_what_was_there() {
    const ROUNDS: usize = 3000;
    const PAGES: usize = 3;
    let machine = machine(2);
    let before = machine.run_on(CpuId::BOOT, count_free);
    let table = machine.run_on(CpuId::BOOT, || PageTable::<UserPtConfig>::new().unwrap());
    let frames: Vec<_> = machine.run_on(CpuId::BOOT, || (0..PAGES).map(|_| user_frame()).collect());
    // In leaf nodes of their own.
    let va = |n: usize| Vaddr(n * 512 * PAGE_SIZE + n * PAGE_SIZE);
    let (start, done) = (Barrier::new(2), AtomicBool::new(false));
    machine.scope(|scope| {
        scope.spawn(CpuId::BOOT, || {
            start.wait();
            for round in 0..ROUNDS {
                let n = round % PAGES;
                let page = va(n)..Vaddr(va(n).0 + PAGE_SIZE);
                let mut cursor = table.cursor_mut(page).unwrap();
                let item = MappedItem::new(frames[n].clone(), RW);
                assert!(cursor.map(item).map_err(|refused| refused.error).unwrap().is_none());
                drop(cursor);
                let mut cursor = table.cursor_mut(Vaddr(0)..Vaddr(512 * 512 * PAGE_SIZE)).unwrap();
                while let Some(taken) = cursor.take_next(cursor.range().end.0 - cursor.virt_addr().0).unwrap()
                {
                    if let vellum::page_table::Fragment::Node(node) = taken {
                        defer(node.retire());
                    }
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(CpuId::new(1).unwrap(), || {
            start.wait();
            let mut found = 0;
            while !done.load(Ordering::SeqCst) {
                for (n, frame) in frames.iter().enumerate() {
                    if let Some(translation) = table.translate(Vaddr(va(n).0 + 8 * n)) {
                        let paddr = Paddr(frame.start_paddr().0 + 8 * n);
                        assert_eq!(translation, Translation { paddr, prop: RW, level: 1 });
                        found += 1;
                    }
                }
                vellum_machine::cpu::relax();
            }
            println!("found {found} times");
        });
    });
    machine.run_on(CpuId::BOOT, move || {
        drop((table, frames));
        assert_eq!(count_free(), before, "frames were lost or won");
    });
}
