//! What an access costs on the machine: `cargo bench -p vellum-hosted --bench mmu`.
#[path = "../tests/common/mod.rs"]
mod common;

use common::*;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{self, CpuId, CpuSet};
use vellum_machine::fault::FaultOutcome;
use vellum_machine::{ipi, tlb, user};

const VA: Vaddr = Vaddr(0x7000_0000_0000);
const ALL: u64 = P | W | U;
const ROUNDS: usize = 5;

/// Prints the best of a few rounds of `turns` turns each.
fn report(name: &str, turns: usize, mut turn: impl FnMut(usize)) {
    let round = |_| {
        let start = Instant::now();
        (0..turns).for_each(&mut turn);
        start.elapsed().as_nanos() as f64 / turns as f64
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<44} {best:>9.1} ns");
}

fn used<T>(value: T) {
    black_box(value);
}

fn page(number: usize) -> Vaddr {
    Vaddr(VA.0 + number * PAGE_SIZE)
}

fn accesses() {
    let tables = Tables::new();
    (0..8192).for_each(|n| used(tables.page(page(n), 0, ALL)));
    tables.activate();
    report("load, hit", 10_000_000, |n| used(user::load_u64(page(n % 256))));
    report("store, hit", 10_000_000, |n| used(user::store_u64(page(n % 256), 1)));
    report("fetch-and-add, hit", 1_000_000, |n| used(user::fetch_add_u64(page(n % 256), 1)));
    report("load, miss, node kept", 1_000_000, |n| used(user::load_u64(page(n % 8192))));
    report("load, after flush_all (whole walk)", 1_000_000, |_| {
        tlb::flush_all();
        let _ = black_box(user::load_u64(VA));
    });
    report("flush_addr", 1_000_000, |n| tlb::flush_addr(page(n)));
    report("flush_range of 32 pages", 100_000, |_| tlb::flush_range(VA..page(32)));
    report("flush_all", 1_000_000, |_| tlb::flush_all());
    let mut buffer = vec![0; PAGE_SIZE];
    report("load of 4096 bytes", 100_000, |n| used(user::load(page(n % 256), &mut buffer)));
    report("store of 4096 bytes", 100_000, |n| used(user::store(page(n % 256), &buffer)));
    let entry = tables.page(page(10_000), 0, ALL);
    with_handler(
        move |_| {
            set(entry, get(entry) | P);
            FaultOutcome::Resolved
        },
        || {
            report("page fault, resolved", 1_000_000, |_| {
                set(entry, get(entry) & !P);
                tlb::flush_addr(page(10_000));
                let _ = black_box(user::load_u64(page(10_000)));
            });
        },
    );
}

static ANSWERS: AtomicUsize = AtomicUsize::new(0);

fn answer(_: usize) {
    tlb::flush_addr(VA);
    ANSWERS.fetch_add(1, Ordering::SeqCst);
}

fn ask(_: usize) {
    let before = ANSWERS.load(Ordering::SeqCst);
    assert_eq!(ipi::call_on(CpuSet::single(cpu(1)), answer, 0).len(), 1);
    while ANSWERS.load(Ordering::SeqCst) == before {
        cpu::relax();
    }
}

fn main() {
    let machine = machine(config());
    machine.run_on(CpuId::BOOT, accesses);
    machine.run_on(CpuId::BOOT, || report("remote flush, halted processor", 100_000, ask));
    let stop = AtomicBool::new(false);
    machine.scope(|scope| {
        scope.spawn(cpu(1), || {
            while !stop.load(Ordering::Relaxed) {
                cpu::relax();
            }
        });
        scope.spawn(CpuId::BOOT, || {
            report("remote flush, running processor", 100_000, ask);
            stop.store(true, Ordering::Relaxed);
        });
    });
    report("closure on a processor, and its answer", 10_000, |_| machine.run_on(CpuId::BOOT, || ()));
}
