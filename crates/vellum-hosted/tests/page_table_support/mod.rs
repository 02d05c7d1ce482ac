//! What the tests of page tables share: the machine, frames, and a walk through a table by hand.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unsafe_code, reason = "reads and marks the words of nodes as hardware does")]

pub mod riscv;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use vellum::frame::allocator::{self, FrameAllocOptions};
use vellum::frame::{UFrame, USegment};
use vellum::page_table::{Access, AccessedDirty, CachePolicy, PageProperty, PagingConsts, SoftBits};
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::layout::LINEAR_MAP_BASE;

pub const PRESENT: u64 = 1 << 0;
pub const ACCESSED: u64 = 1 << 5;
pub const DIRTY: u64 = 1 << 6;
pub const HUGE: u64 = 1 << 7;
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

pub const UNUSED: AccessedDirty = AccessedDirty { accessed: false, dirty: false };

const MEMORY: usize = 256 << 20;

static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();

/// The machine of this test program, for one test at a time.
pub fn machine(cpus: usize) -> MutexGuard<'static, Machine> {
    let config = MachineConfig { memory: MEMORY, cpus, ..MachineConfig::default() };
    let machine = MACHINE.get_or_init(|| Mutex::new(Machine::boot(config).expect("the machine boots")));
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on the first processor of a machine.
pub fn on_machine(test: impl FnOnce() + Send) {
    machine(1).run_on(CpuId::BOOT, test);
}

/// Runs `test` with values of `strategy`, on the first processor of a machine.
pub fn with_cases<S: Strategy<Value: Send>>(cases: u32, strategy: S, test: impl Fn(S::Value) + Sync) {
    let machine = machine(1);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = |value| {
        let holds = || machine.run_on(CpuId::BOOT, || test(value));
        catch_unwind(AssertUnwindSafe(holds))
            .map_err(|_| TestCaseError::fail("the table and the model differ"))
    };
    TestRunner::new(config).run(&strategy, run).unwrap();
}

/// The free frames, when nothing is under way.
pub fn count_free() -> usize {
    vellum::barrier().expect("no cursor is held");
    allocator::statistics().expect("the machine has an allocator").free
}

/// Waits, serving calls, and gives up after a while.
pub fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        cpu::relax();
        assert!(start.elapsed() < Duration::from_secs(30), "waited too long");
    }
}

/// Runs `f` with the nth allocation in it failing.
pub fn with_failure<R>(nth: u64, f: impl FnOnce() -> R) -> R {
    allocator::inject_failure(nth);
    let result = f();
    allocator::inject_failure(0);
    result
}

/// A frame of zeros.
pub fn user_frame() -> UFrame {
    FrameAllocOptions::new().alloc_frame().expect("a frame is free").into()
}

/// Frames of zeros that follow each other.
pub fn user_segment(frames: usize) -> USegment {
    FrameAllocOptions::new().alloc_segment(frames).expect("frames are free").into()
}

/// Frames of zeros that one huge page can map.
pub fn huge_segment(frames: usize) -> USegment {
    let aligned = FrameAllocOptions::new().aligned_to(frames * PAGE_SIZE).expect("it is a power of two");
    aligned.alloc_segment(frames).expect("frames are free").into()
}

/// The pages in a range of addresses from `base` on.
pub fn pages_of(base: usize, range: &Range<Vaddr>) -> Range<usize> {
    assert!(range.start.0.is_multiple_of(PAGE_SIZE) && range.end.0.is_multiple_of(PAGE_SIZE));
    (range.start.0 - base) / PAGE_SIZE..(range.end.0 - base) / PAGE_SIZE
}

pub fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::None), Just(Access::R), Just(Access::RW), Just(Access::RX), Just(Access::RWX)]
}

pub fn any_property() -> impl Strategy<Value = PageProperty> {
    let cache = prop_oneof![
        Just(CachePolicy::WriteBack),
        Just(CachePolicy::WriteThrough),
        Just(CachePolicy::Uncached)
    ];
    (any_access(), any::<[bool; 4]>(), cache).prop_map(|(access, [user, global, a, b], cache)| PageProperty {
        access,
        user,
        global,
        cache,
        soft: SoftBits { a, b },
    })
}

/// A word of memory, through the linear map.
fn word(pa: Paddr) -> &'static AtomicU64 {
    assert!(pa.0.is_multiple_of(8) && pa.0 < MEMORY);
    let pointer = std::ptr::with_exposed_provenance_mut(LINEAR_MAP_BASE + pa.0);
    // SAFETY: the machine has been booted with this memory mapped for good, and the words of nodes, which alone are
    // asked for, are accessed atomically by everybody.
    unsafe { AtomicU64::from_ptr(pointer) }
}

/// An entry that decides about an address.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    at: Paddr,
    pub level: u8,
    pub word: u64,
}

impl Entry {
    pub fn is_used(&self) -> bool {
        self.word & !(ACCESSED | DIRTY) != 0
    }

    pub fn is_huge(&self) -> bool {
        self.level > 1 && self.word & HUGE != 0
    }

    /// The frame or huge page that it names.
    pub fn paddr(&self) -> Paddr {
        Paddr((self.word & ADDRESS) as usize)
    }
}

/// The word at entry `index` of the node at `node`.
pub fn node_word(node: Paddr, index: usize) -> u64 {
    word(Paddr(node.0 + 8 * index)).load(Ordering::SeqCst)
}

/// Walks from `root` to the entry that decides about `va`, as hardware does, setting `bits` in each word on the way.
fn walk_marking<G: PagingConsts>(root: Paddr, va: Vaddr, bits: u64) -> Entry {
    let mut node = root;
    for level in (1..=G::levels()).rev() {
        let index = va.0 >> (PAGE_SHIFT + G::INDEX_BITS * usize::from(level - 1)) & (G::NR_ENTRIES - 1);
        let at = Paddr(node.0 + 8 * index);
        let value = word(at).load(Ordering::SeqCst);
        let entry = Entry { at, level, word: value };
        if level == 1 || value & PRESENT == 0 || entry.is_huge() {
            return entry;
        }
        word(at).fetch_or(bits, Ordering::SeqCst);
        node = entry.paddr();
    }
    unreachable!("a walk ends at level 1")
}

/// Walks from `root` to the entry that decides about `va`.
pub fn walk<G: PagingConsts>(root: Paddr, va: Vaddr) -> Entry {
    walk_marking::<G>(root, va, 0)
}

/// Notes, as hardware does, that the page at `va` was read, or written.
pub fn note<G: PagingConsts>(root: Paddr, va: Vaddr, ad: AccessedDirty) {
    let entry = walk_marking::<G>(root, va, ACCESSED);
    let bits = if ad.accessed { ACCESSED } else { 0 } | if ad.dirty { DIRTY } else { 0 };
    word(entry.at).fetch_or(bits, Ordering::SeqCst);
}
