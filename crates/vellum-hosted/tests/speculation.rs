//! Translations that a processor reads without being asked.
mod common;

use common::*;
use std::num::NonZeroU32;
use vellum_hosted::{MachineConfig, Speculation};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::arch::hosted;
use vellum_machine::cpu::CpuId;
use vellum_machine::{tlb, user};

const VA: Vaddr = Vaddr(0x5000_0000_0000);
const NEXT: Vaddr = Vaddr(VA.0 + PAGE_SIZE);
const ALL: u64 = P | W | U;

fn on_cpu(test: impl FnOnce(&Tables) + Send) {
    let speculation = Speculation::Every(NonZeroU32::new(2).unwrap());
    machine(MachineConfig { speculation, ..config() }).run_on(CpuId::BOOT, || {
        let tables = Tables::new();
        tables.activate();
        test(&tables);
    });
}

#[test]
fn neighbours_are_read_at_every_second_access() {
    on_cpu(|tables| {
        let first = tables.page(VA, 1, ALL);
        let next = tables.page(NEXT, 2, ALL);
        let faults = || tlb::statistics(CpuId::BOOT).unwrap().faults;
        let before = faults();
        user::store_u64(VA, 1).unwrap();
        user::store_u64(VA, 1).unwrap();
        assert_eq!(get(next) & (A | D), A, "read, and not written");
        assert_eq!(get(first) & (A | D), A | D);
        set(next, 0);
        assert_eq!(user::load_u64(NEXT), Ok(2), "it is kept although nobody had used it");
        assert_eq!(faults(), before, "what is not mapped does not fault");
    });
}

#[test]
fn a_translation_comes_back_between_flush_and_change() {
    on_cpu(|tables| {
        let leaf = tables.page(VA, 1, ALL);
        user::load_u64(VA).unwrap();
        // The wrong order: the entry is still there when the flush is over.
        tlb::flush_addr(VA);
        set(leaf, 0);
        assert_eq!(user::load_u64(VA), Ok(1));
        // The right order.
        tlb::flush_addr(VA);
        assert!(user::load_u64(VA).is_err());
        set(leaf, tables.frame().0 as u64 | ALL);
        tlb::flush_range(VA..NEXT);
        set(leaf, 0);
        assert_eq!(user::load_u64(VA), Ok(0));
        // Whatever is kept stays kept until it is flushed.
        hosted::speculate(VA);
        assert_eq!(user::load_u64(VA), Ok(0));
    });
}

#[test]
fn speculation_reads_no_more_than_there_is() {
    on_cpu(|tables| {
        tables.page(VA, 1, ALL);
        tables.map(NEXT, Paddr(2 << 30), 1, ALL);
        for va in [NEXT, Vaddr(1 << 62), Vaddr(usize::MAX), Vaddr(0)] {
            hosted::speculate(va);
        }
        for _ in 0..4 {
            assert_eq!(user::load_u64(VA), Ok(1));
        }
    });
}
