//! TRUSTED: the machine on bare metal: what does not depend on the architecture.
//!
//! A kernel [describes](power_on) the machine once, and each processor [takes its place](arrive). It sends interrupts of
//! the vector for calls to [`serve_calls`], and has `fix_up` of the architecture judge its page faults. Interrupts may
//! come at any time, also while kernel code holds locks: what runs in a call takes none and allocates nothing.
pub(crate) mod access;
pub(crate) mod fence;
mod station;
pub mod walk;

use super::native;
use crate::addr::{PAGE_SIZE, Paddr, Vaddr};
use crate::cpu::{CpuId, CpuSet, MAX_CPUS};
use crate::fault::{self, FaultOutcome, PageFault};
use crate::layout::PADDR_LIMIT;
use crate::primitive::{fence, spin_loop};
use crate::tlb::Statistics;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use station::{STATIONS, station};

pub(crate) use native::{NOTES_ACCESSES, Native, largest_leaf_level};
pub(crate) use station::Station;

/// Number of processors, 0 before the machine is described.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Null, or a `fn(&str) -> !`.
static HALT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Says how many processors the machine has, numbered from 0, and what stops it with a message.
///
/// Before a second one arrives, and before anything is unmapped: until then there is none that could be called.
///
/// # Panics
/// If `cpus` is zero or above [`MAX_CPUS`].
pub fn power_on(cpus: usize, halt: fn(&str) -> !) {
    assert!((1..=MAX_CPUS).contains(&cpus), "a machine cannot have {cpus} processors");
    // Release: pairs with the Acquire in `halt`.
    HALT.store(halt as *mut (), Ordering::Release);
    // Release: pairs with the Acquire in `count`.
    COUNT.store(cpus, Ordering::Release);
}

/// Makes the calling processor the one of that number; others reach it from now on.
///
/// `hardware` is its number in the hardware's count: the identifier of its local APIC, or of the hart.
///
/// # Safety
/// 1. The caller is a processor that no call was made for before, and no other is made for that number, which is one that the
///    machine [has](power_on).
/// 2. No other function of this crate runs on the processor before this one.
/// 3. The register that names the processor (x86-64: the base of `gs`; RISC-V: `tp`) is changed by nobody while kernel
///    code runs: an entry from user code restores it.
/// 4. The tables that the processor walks until this returns map nothing that is unmapped or changed: no part of kernel space
///    that is not there for good. Only afterwards others have it flush.
/// 5. When it can be interrupted, it calls [`serve_calls`] once: the interrupt for a call that came before may be lost.
pub unsafe fn arrive(cpu: CpuId, hardware: u32) {
    let station = &STATIONS[cpu.index()];
    station.settle(cpu, hardware);
    // SAFETY: by duties 1 and 3.
    unsafe { native::sit_down(station) };
    station.open();
}

/// Runs the calls that came for this processor; for the handler of the interrupt that tells of them.
pub fn serve_calls() {
    here().serve();
}

/// Returns the interrupt number under which the processor is told of calls.
pub const CALL_VECTOR: u8 = 0xf0;

/// Hands a page fault that user code made on this processor to the handler.
///
/// # Errors
/// The fault, where nobody resolved it.
pub fn user_fault(fault: PageFault) -> Result<(), PageFault> {
    here().faults.count();
    match fault::deliver(&fault) {
        FaultOutcome::Resolved => Ok(()),
        FaultOutcome::Unresolved => Err(fault),
    }
}

/// The place of the processor that runs this code.
#[inline(always)]
fn here() -> &'static Station {
    native::here()
}

/// What the processor that runs this code can do.
pub(crate) struct Processor(&'static Station);

/// Runs `f` with the processor that runs this code: all code runs on one.
#[inline(always)]
pub(crate) fn with_processor<R>(f: impl FnOnce(&Processor) -> R) -> Option<R> {
    Some(f(&Processor(here())))
}

impl Processor {
    pub(crate) fn root(&self) -> Option<Paddr> {
        self.0.root()
    }

    pub(crate) fn set_root(&self, root: Paddr) {
        if !root.0.is_multiple_of(PAGE_SIZE) || root.0 >= PADDR_LIMIT {
            panic!("machine check: the root {root} is no frame");
        }
        self.0.set_root(root);
        self.0.flushes.count();
        // SAFETY: the duties of `tlb::set_root` are its caller's.
        unsafe { native::set_root(root) };
    }

    pub(crate) fn flush_addr(&self, va: Vaddr) {
        self.0.flushes.count();
        native::flush_page(va);
    }

    pub(crate) fn flush_range(&self, range: Range<Vaddr>) {
        self.0.flushes.count();
        if range.start >= range.end {
            return;
        }
        let first = range.start.0 / PAGE_SIZE;
        let last = (range.end.0 - 1) / PAGE_SIZE;
        if last - first >= native::PAGES_ONE_BY_ONE {
            return native::flush_all();
        }
        for page in first..=last {
            native::flush_page(Vaddr(page * PAGE_SIZE));
        }
    }

    pub(crate) fn flush_all(&self) {
        self.0.flushes.count();
        native::flush_all();
    }
}

#[inline(always)]
pub(crate) fn current() -> Option<CpuId> {
    CpuId::new(here().number())
}

#[inline(always)]
pub(crate) fn count() -> usize {
    // Acquire: pairs with the Release in `power_on`.
    COUNT.load(Ordering::Acquire)
}

pub(crate) fn relax() {
    let here = here();
    if here.has_calls() {
        here.serve();
    }
    spin_loop();
}

#[inline(always)]
pub(crate) fn preempt_enter() {
    here().enter();
}

#[inline(always)]
pub(crate) fn preempt_leave() {
    here().leave();
}

#[inline(always)]
pub(crate) fn preempt_depth() -> usize {
    here().depth()
}

/// Changes a word that this processor alone writes, unless `next` says that it stays; for others what precedes comes before.
#[inline(always)]
pub(crate) fn change_own(word: &AtomicU64, next: impl Fn(u64) -> Option<u64>) -> bool {
    let mut seen = word.load(Ordering::Relaxed);
    while let Some(new) = next(seen) {
        match native::replace_own(word, seen, new) {
            Ok(()) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

pub(crate) fn call_on(set: CpuSet, f: fn(usize), arg: usize) -> CpuSet {
    let me = here().number();
    let mut reached = CpuSet::EMPTY;
    let mut own = None;
    for cpu in set.iter() {
        if cpu.index() == me as usize {
            own = Some(cpu);
        } else if station(cpu).is_some_and(|station| station.post(f, arg)) {
            reached.insert(cpu);
        }
    }
    if let Some(cpu) = own {
        f(arg);
        reached.insert(cpu);
    }
    reached
}

/// The processors that have arrived.
pub(crate) fn present() -> CpuSet {
    // SeqCst: orders what was written before against the looks; pairs with the fence in `Station::open`.
    fence(Ordering::SeqCst);
    CpuSet::first(count()).iter().filter(|&cpu| station(cpu).is_some_and(Station::is_open)).collect()
}

/// Has other processors flush, if something else than code on them can.
#[inline(always)]
pub(crate) fn fence_others(others: CpuSet) -> bool {
    native::fence_others(others.iter().filter_map(station).map(Station::hardware))
}

pub(crate) fn statistics(cpu: CpuId) -> Option<Statistics> {
    station(cpu).map(Station::statistics)
}

/// Stops the machine, as the kernel said how.
pub(crate) fn halt(message: &str) -> ! {
    // Acquire: pairs with the Release in `power_on`.
    let halt = HALT.load(Ordering::Acquire);
    if !halt.is_null() {
        // SAFETY: `power_on` alone writes it, and what it writes is such a function.
        let halt = unsafe { core::mem::transmute::<*mut (), fn(&str) -> !>(halt) };
        halt(message)
    }
    loop {
        spin_loop();
    }
}
