//! What the tests of spaces share: the machine, frames, and waiting.
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod frames;
pub mod model;

pub use frames::{fail_allocation, free_frames, try_huge_segment, try_user_frame, user_frame};

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use vellum::frame::USegment;
use vellum::space::{Access, MappedItem, PageFault, PageProperty, VmSpace};
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::user;

/// Where the tests map.
pub const BASE: Vaddr = Vaddr(0x5000_0000_0000);

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

/// The free frames, when nothing is under way.
pub fn count_free() -> usize {
    vellum::barrier().expect("no cursor is held");
    free_frames()
}

pub fn cpu(number: u32) -> CpuId {
    CpuId::new(number).unwrap()
}

/// The address of page `n` of the tests.
pub fn page(n: usize) -> Vaddr {
    Vaddr(BASE.0 + n * PAGE_SIZE)
}

pub fn pages(range: Range<usize>) -> Range<Vaddr> {
    page(range.start)..page(range.end)
}

pub fn item(access: Access) -> MappedItem {
    MappedItem::new(user_frame(), PageProperty::user(access))
}

/// The base pages of a huge page of level 2.
pub const HUGE: usize = 512;

/// A huge page of level 2, and a handle more of its frames.
pub fn huge_item(access: Access) -> (MappedItem, USegment) {
    let segment = try_huge_segment(HUGE).expect("frames are free");
    (MappedItem::huge(segment.clone(), PageProperty::user(access)).expect("it is a huge page"), segment)
}

/// Maps new frames at pages.
pub fn map_pages(space: &VmSpace, range: Range<usize>, access: Access) {
    let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
    for _ in range {
        cursor.map(item(access)).unwrap();
    }
}

pub fn unmap_pages(space: &VmSpace, range: Range<usize>) -> usize {
    let len = range.len() * PAGE_SIZE;
    space.cursor_mut(pages(range)).unwrap().unmap(len).unwrap()
}

/// A new space, active here.
pub fn active_space() -> Arc<VmSpace> {
    let space = VmSpace::new().unwrap();
    space.activate();
    space
}

pub fn load(va: Vaddr) -> Result<u64, PageFault> {
    user::load_u64(va)
}

pub fn store(va: Vaddr, value: u64) -> Result<(), PageFault> {
    user::store_u64(va, value)
}

/// Waits, serving calls, and gives up after a while.
pub fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        cpu::relax();
        assert!(start.elapsed() < Duration::from_secs(30), "waited too long");
    }
}
