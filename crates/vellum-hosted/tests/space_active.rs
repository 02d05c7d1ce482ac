//! Which space is active where, and what becomes of one that nobody holds.
mod space_support;

use space_support::*;
use std::sync::Arc;
use vellum::io::IoError;
use vellum::space::{Access, VmSpace, VmSpaceError};
use vellum_machine::cpu::CpuSet;

#[test]
fn a_space_is_active_until_another_is() {
    with_machine(|machine| {
        let spaces = machine.run_on(cpu(0), || [VmSpace::new().unwrap(), VmSpace::new().unwrap()]);
        machine.run_on(cpu(0), || {
            assert!(VmSpace::current().is_none());
            spaces[0].activate();
            spaces[0].activate();
            assert!(Arc::ptr_eq(&VmSpace::current().unwrap(), &spaces[0]));
        });
        machine.run_on(cpu(1), || spaces[0].activate());
        assert_eq!(spaces[0].active_cpus(), CpuSet::first(2));
        machine.run_on(cpu(0), || spaces[1].activate());
        assert_eq!(spaces[0].active_cpus(), CpuSet::single(cpu(1)));
        assert_eq!(spaces[1].active_cpus(), CpuSet::single(cpu(0)));
        machine.run_on(cpu(0), VmSpace::deactivate_current);
        machine.run_on(cpu(0), VmSpace::deactivate_current);
        assert_eq!(spaces[1].active_cpus(), CpuSet::EMPTY);
        machine.run_on(cpu(0), || assert!(VmSpace::current().is_none()));
    });
}

#[test]
fn a_space_that_nobody_holds_goes_on_where_it_is_active() {
    with_machine(|machine| {
        machine.run_on(cpu(0), || {
            let free = count_free();
            let space = active_space();
            map_pages(&space, 0..4, Access::RW);
            store(page(3), 42).unwrap();
            drop(space);
            assert_eq!(load(page(3)), Ok(42));
            assert!(count_free() < free);
            VmSpace::deactivate_current();
            assert!(load(page(3)).is_err());
            assert_eq!(count_free(), free);
        });
    });
}

#[test]
fn the_last_processor_that_leaves_drops_it() {
    with_machine(|machine| {
        let free = machine.run_on(cpu(0), count_free);
        let space = machine.run_on(cpu(0), || {
            let space = active_space();
            map_pages(&space, 0..600, Access::RW);
            space
        });
        machine.run_on(cpu(1), move || {
            space.activate();
            drop(space);
        });
        machine.run_on(cpu(0), VmSpace::deactivate_current);
        machine.run_on(cpu(1), || {
            assert_eq!(load(page(0)), Ok(0));
            active_space();
            assert!(load(page(0)).is_err());
            VmSpace::deactivate_current();
            assert_eq!(count_free(), free);
        });
    });
}

#[test]
fn readers_and_writers_want_the_space_active_here() {
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || {
            let space = active_space();
            map_pages(&space, 0..1, Access::RW);
            space
        });
        machine.run_on(cpu(1), || {
            assert_eq!(space.reader(page(0), 8).unwrap_err(), VmSpaceError::NotActive { cpu: cpu(1) });
            assert_eq!(space.writer(page(0), 8).unwrap_err(), VmSpaceError::NotActive { cpu: cpu(1) });
        });
        machine.run_on(cpu(0), || {
            let mut reader = space.reader(page(0), 8).unwrap();
            let mut writer = space.writer(page(0), 8).unwrap();
            assert_eq!(reader.read_val::<u32>(), Ok(0));
            let other = active_space();
            map_pages(&other, 0..1, Access::RW);
            let gone = IoError::NotActive { cpu: cpu(0) };
            assert_eq!(reader.read_val::<u32>(), Err(gone));
            assert_eq!(writer.write_val(&1_u32), Err(gone));
            assert_eq!(writer.fill(1, 4).unwrap_err().error, gone);
            assert_eq!(writer.store_word(1_u32), Err(gone));
            space.activate();
            assert_eq!(reader.read_val::<u32>(), Ok(0));
        });
    });
}

#[test]
fn a_second_start_is_refused() {
    on_machine(|| assert_eq!(vellum::space::init(), Err(VmSpaceError::AlreadyInitialised)));
}
