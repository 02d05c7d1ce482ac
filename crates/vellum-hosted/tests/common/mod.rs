//! What the tests of the machine share: a machine with memory that the allocator leaves alone, page tables built
//! by hand in it, and a page-fault handler that each test chooses.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unsafe_code, reason = "builds page tables by hand")]

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use vellum::boot::{MemoryRegion, MemoryRegionType};
use vellum_hosted::{Holes, Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::fault::{self, FaultOutcome, PageFault};
use vellum_machine::layout::LINEAR_MAP_BASE;
use vellum_machine::tlb;

pub const P: u64 = 1 << 0;
pub const W: u64 = 1 << 1;
pub const U: u64 = 1 << 2;
pub const A: u64 = 1 << 5;
pub const D: u64 = 1 << 6;
pub const PS: u64 = 1 << 7;
pub const G: u64 = 1 << 8;
pub const NX: u64 = 1 << 63;
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The memory that tests build in: a gibibyte at a gibibyte.
pub const AREA: Paddr = Paddr(1 << 30);

/// A machine of 2 GiB whose upper half belongs to the tests.
pub fn config() -> MachineConfig {
    let area = MemoryRegion::new(AREA, 1 << 30, MemoryRegionType::Reserved);
    MachineConfig { memory: 2 << 30, holes: Holes::PcWith(vec![area]), ..MachineConfig::default() }
}

static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();

/// The machine of this test program, for one test at a time.
pub fn machine(config: MachineConfig) -> MutexGuard<'static, Machine> {
    let machine = MACHINE.get_or_init(|| {
        fault::set_hook(dispatch).expect("nobody else sets the handler");
        Mutex::new(Machine::boot(config).expect("the machine boots"))
    });
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn cpu(number: u32) -> CpuId {
    CpuId::new(number).unwrap()
}

type Handler = Box<dyn FnMut(&PageFault) -> FaultOutcome>;

thread_local! {
    static HANDLER: RefCell<Option<Handler>> = const { RefCell::new(None) };
}

fn dispatch(fault: &PageFault) -> FaultOutcome {
    HANDLER.with_borrow_mut(|handler| {
        handler.as_mut().map_or(FaultOutcome::Unresolved, |handler| handler(fault))
    })
}

/// Runs `f` with page faults of this processor going to `handler`.
pub fn with_handler<R>(
    handler: impl FnMut(&PageFault) -> FaultOutcome + 'static,
    f: impl FnOnce() -> R,
) -> R {
    HANDLER.set(Some(Box::new(handler)));
    let result = f();
    HANDLER.set(None);
    result
}

/// A word of the tests' memory, through the linear map.
pub fn word(pa: Paddr) -> &'static AtomicU64 {
    assert!(pa.0.is_multiple_of(8) && (AREA.0..2 * AREA.0).contains(&pa.0));
    let pointer = std::ptr::with_exposed_provenance_mut(LINEAR_MAP_BASE + pa.0);
    // SAFETY: the machine has been booted with this memory mapped for good, and nobody else has it.
    unsafe { AtomicU64::from_ptr(pointer) }
}

pub fn get(pa: Paddr) -> u64 {
    word(pa).load(Ordering::SeqCst)
}

pub fn set(pa: Paddr, value: u64) {
    word(pa).store(value, Ordering::SeqCst);
}

/// Has this processor walk the tables at `root`, with nothing kept.
pub fn activate(root: Paddr) {
    // SAFETY: the tables map nothing but the tests' memory, and tests run one at a time.
    unsafe { tlb::set_root(root) };
    tlb::flush_all();
}

/// Page tables built by hand, with frames from the start of the tests' memory on.
pub struct Tables {
    pub root: Paddr,
    next: Cell<usize>,
}

impl Tables {
    pub fn new() -> Tables {
        let tables = Tables { root: AREA, next: Cell::new(AREA.0) };
        tables.frame();
        tables
    }

    /// A frame of zeros.
    pub fn frame(&self) -> Paddr {
        let pa = Paddr(self.next.replace(self.next.get() + PAGE_SIZE));
        (0..512).for_each(|i| set(Paddr(pa.0 + 8 * i), 0));
        pa
    }

    /// The address of the entry for `va` at `level`; nodes above it that are missing are made, allowing all.
    pub fn entry(&self, va: Vaddr, level: u32) -> Paddr {
        let mut table = self.root;
        for above in (level + 1..=4).rev() {
            let at = slot(table, va, above);
            if get(at) & P == 0 {
                set(at, self.frame().0 as u64 | P | W | U);
            }
            table = Paddr((get(at) & ADDRESS) as usize);
        }
        slot(table, va, level)
    }

    /// Maps the page of `level` at `va` to `pa`, and returns the address of its entry.
    pub fn map(&self, va: Vaddr, pa: Paddr, level: u32, bits: u64) -> Paddr {
        let at = self.entry(va, level);
        let size = if level > 1 { PS } else { 0 };
        set(at, pa.0 as u64 | bits | size);
        at
    }

    /// Maps a new frame at `va`, with `value` in its first word, and returns the address of its entry.
    pub fn page(&self, va: Vaddr, value: u64, bits: u64) -> Paddr {
        let frame = self.frame();
        set(frame, value);
        self.map(va, frame, 1, bits)
    }

    pub fn activate(&self) {
        activate(self.root);
    }
}

/// The address of the entry for `va` in a table of `level`.
pub fn slot(table: Paddr, va: Vaddr, level: u32) -> Paddr {
    Paddr(table.0 + (va.0 >> (12 + 9 * (level - 1)) & 511) * 8)
}

/// The frame that an entry names.
pub fn frame_of(entry: Paddr) -> Paddr {
    Paddr((get(entry) & ADDRESS) as usize)
}
