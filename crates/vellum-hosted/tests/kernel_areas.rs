//! Areas of kernel space: a flush that is left out is seen, and nothing is flushed where nothing changed.
#![allow(unsafe_code, reason = "reads areas of its own at their addresses")]
mod space_support;

use space_support::*;
use vellum::frame::UFrame;
use vellum::io::UntypedMem;
use vellum::kspace::KVirtArea;
use vellum::space::{Access, MappedItem, PageProperty, VmSpace};
use vellum::tlb::{self, testing};
use vellum_hosted::Machine;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::kernel;

fn marked(value: u64) -> UFrame {
    let frame = user_frame();
    frame.writer().write_val(&value).unwrap();
    frame
}

fn item(frame: UFrame) -> MappedItem {
    MappedItem::new(frame, PageProperty::kernel(Access::RW))
}

fn word(at: Vaddr) -> Option<u64> {
    // SAFETY: an area of the test's own, with frames of untyped contents, or nothing.
    unsafe { kernel::load::<u64>(at) }.ok()
}

/// An area of one page, which both processors have read.
fn seen_by_both(machine: &Machine, value: u64) -> KVirtArea {
    let area = machine.run_on(cpu(0), || {
        let mut area = KVirtArea::new(PAGE_SIZE).unwrap();
        area.map(0, item(marked(value))).unwrap();
        area
    });
    let at = area.range().start;
    for n in [0, 1] {
        machine.run_on(cpu(n), || {
            VmSpace::new().unwrap().activate();
            assert_eq!(word(at), Some(value));
        });
    }
    area
}

#[test]
fn a_dropped_shootdown_of_an_area_is_seen() {
    with_machine(|machine| {
        let mut area = seen_by_both(machine, 5);
        let at = area.range().start;
        machine.run_on(cpu(0), || {
            testing::drop_next_shootdown();
            assert_eq!(area.unmap(0, PAGE_SIZE), Ok(1));
            assert_eq!(word(at), None, "the processor itself has flushed");
        });
        assert!(
            machine.run_on(cpu(1), || word(at)).is_some(),
            "nobody told the other processor to forget it"
        );
        machine.run_on(cpu(1), vellum_machine::tlb::flush_all);
        assert_eq!(machine.run_on(cpu(1), || word(at)), None);
        machine.run_on(cpu(0), || drop(area));
    });
}

#[test]
fn only_what_changes_is_flushed() {
    with_machine(|machine| {
        let mut area = seen_by_both(machine, 7);
        let at = area.range().start;
        machine.run_on(cpu(0), || {
            let shootdowns = || tlb::statistics().shootdowns;
            let before = shootdowns();
            assert_eq!(area.query(0).unwrap().map(|item| item.frames.level()), Some(1));
            let empty = KVirtArea::new(3 * PAGE_SIZE).unwrap();
            drop(empty);
            let mut other = KVirtArea::new(2 * PAGE_SIZE).unwrap();
            other.map(PAGE_SIZE, item(marked(1))).unwrap();
            assert_eq!(other.unmap(0, PAGE_SIZE), Ok(0));
            assert_eq!(shootdowns(), before, "nothing was taken out");
            drop(other);
            assert_eq!(shootdowns(), before + 1);
            area.map(0, item(marked(8))).unwrap();
            assert_eq!(shootdowns(), before + 2);
            assert_eq!(area.protect(0, PAGE_SIZE, Access::R), Ok(1));
            assert_eq!(shootdowns(), before + 3);
        });
        assert_eq!(machine.run_on(cpu(1), || word(at)), Some(8));
        machine.run_on(cpu(0), || drop(area));
    });
}
