//! What the tests of spaces share: the machine, frames, and waiting.
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

pub use vellum_suite::model;
pub use vellum_suite::support::{
    HUGE, active_space, base, count_free, fail_allocation, free_frames, huge_item, load, map_pages,
    new_item as item, page, pages, store, try_huge_segment, try_user_frame, unmap_pages, user_frame,
};

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use vellum::space::VmSpace;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::cpu::{self, CpuId};

static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();

/// The machine of this test program, for one test at a time, with spaces and page faults set up.
pub fn machine(config: MachineConfig) -> MutexGuard<'static, Machine> {
    let machine = MACHINE.get_or_init(|| {
        let machine = Machine::boot(config).expect("the machine boots");
        machine.run_on(CpuId::BOOT, || {
            vellum::space::init().expect("spaces start");
        });
        Mutex::new(machine)
    });
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on the first processor of a machine, and checks that no frame is lost.
pub fn on_machine(test: impl FnOnce() + Send) {
    with_machine(|machine| machine.run_on(CpuId::BOOT, test));
}

/// Runs `test` with a machine of two processors, and checks that no frame is lost.
pub fn with_machine(test: impl FnOnce(&Machine)) {
    let machine = machine(MachineConfig { memory: 64 << 20, ..MachineConfig::default() });
    let before = settled(&machine);
    test(&machine);
    assert_eq!(settled(&machine), before, "frames were lost or won");
}

fn settled(machine: &Machine) -> usize {
    machine.on_all(|_| VmSpace::deactivate_current());
    machine.run_on(CpuId::BOOT, count_free)
}

pub fn cpu(number: u32) -> CpuId {
    CpuId::new(number).unwrap()
}

/// Waits, serving calls, and gives up after a while.
pub fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        cpu::relax();
        assert!(start.elapsed() < Duration::from_secs(30), "waited too long");
    }
}
