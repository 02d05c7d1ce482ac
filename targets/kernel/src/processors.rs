//! The processors beside the first: they wait for work, and run it all at once.
use crate::arch;
use crate::boot::Firmware;
use crate::console::println;
use crate::stacks;
use crate::user;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::sync::SpinLock;
use vellum_machine::cpu::{self, CpuId, CpuSet};

type Work = Arc<dyn Fn(CpuId) + Send + Sync>;

static WORK: SpinLock<Option<Work>> = SpinLock::new(None);

/// Counts the works that were given out.
static ROUND: AtomicUsize = AtomicUsize::new(0);

/// Processors that have arrived, or are done with the work.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);

/// Starts every processor that the firmware lists, one after the other.
pub fn start_all(firmware: &Firmware) {
    for (number, &hardware) in firmware.processors().iter().enumerate().skip(1) {
        let Some(cpu) = CpuId::new(number as u32) else { break };
        stacks::make(cpu);
        arch::start_processor(cpu, hardware);
        wait_for(number, arch::START_PATIENCE, || {
            panic!("processor {cpu} (hardware number {hardware}) does not come up")
        });
        println!("boot: processor {cpu} is up, hardware number {hardware}");
    }
    ARRIVED.store(0, Ordering::Relaxed);
}

/// Waits until so many have arrived, for so many ticks.
fn wait_for(number: usize, patience: u64, too_long: impl Fn()) {
    let start = arch::ticks();
    // Acquire: pairs with the Release in `work`.
    while ARRIVED.load(Ordering::Acquire) != number {
        if arch::ticks().wrapping_sub(start) > patience {
            too_long();
        }
        cpu::relax();
    }
}

/// The life of a processor, on its own stack.
pub fn work(cpu: CpuId) -> ! {
    let mut round = 0;
    // Release: pairs with the Acquire in `wait_for`.
    ARRIVED.fetch_add(1, Ordering::Release);
    loop {
        // Acquire: pairs with the Release in `on_all`.
        while ROUND.load(Ordering::Acquire) == round {
            user::run_queued();
            arch::halt_until_interrupt(|| ROUND.load(Ordering::Acquire) != round || user::something_queued());
        }
        round += 1;
        let work = WORK.lock().clone();
        if let Some(work) = work {
            work(cpu);
        }
        // Release: as above.
        ARRIVED.fetch_add(1, Ordering::Release);
    }
}

/// Runs `f` on every processor at once, and waits until all are done.
pub fn on_all(f: impl Fn(CpuId) + Send + Sync + 'static) {
    let f: Work = Arc::from(Box::new(f) as Box<dyn Fn(CpuId) + Send + Sync>);
    *WORK.lock() = Some(f.clone());
    ARRIVED.store(0, Ordering::Relaxed);
    // Release: pairs with the Acquire in `work`.
    ROUND.fetch_add(1, Ordering::Release);
    let others = CpuSet::first(cpu::count()).difference(CpuSet::single(cpu::current()));
    // The call does nothing: it wakes those that wait for interrupts.
    let reached = vellum_machine::ipi::call_on(others, |_| {}, 0);
    assert_eq!(reached, others, "every processor that was started can be called");
    f(cpu::current());
    wait_for(others.len(), arch::PATIENCE, || {
        panic!("{} of {} processors did their work", ARRIVED.load(Ordering::Relaxed), others.len())
    });
    *WORK.lock() = None;
}
