//! Calls between processors, and the flushes that they carry.
mod common;

use common::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use vellum_hosted::MachineConfig;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::{self, AtomicCpuSet, CpuId, CpuSet};
use vellum_machine::{ipi, tlb, user};

const VA: Vaddr = Vaddr(0x5000_0000_0000);
const ALL: u64 = P | W | U;

fn three() -> MachineConfig {
    MachineConfig { cpus: 3, ..config() }
}

fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        cpu::relax();
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long");
    }
}

/// What a flush of one address on other processors is made of.
struct Shootdown {
    va: Vaddr,
    acknowledged: AtomicCpuSet,
}

fn flush_and_acknowledge(arg: usize) {
    #[allow(unsafe_code, reason = "the argument of a call is a plain number")]
    // SAFETY: whoever sent it waits until every processor has acknowledged.
    let request = unsafe { &*std::ptr::with_exposed_provenance::<Shootdown>(arg) };
    tlb::flush_addr(request.va);
    request.acknowledged.add(cpu::current());
}

fn shoot_down(targets: CpuSet, va: Vaddr) {
    let request = Shootdown { va, acknowledged: AtomicCpuSet::new(CpuSet::EMPTY) };
    let reached = ipi::call_on(targets, flush_and_acknowledge, (&raw const request).expose_provenance());
    assert_eq!(reached, targets);
    wait_until(|| request.acknowledged.load() == reached);
}

#[test]
fn a_remote_flush_ends_staleness_on_a_running_processor() {
    let machine = machine(three());
    let tables = Mutex::new(Tables::new());
    let leaf = tables.lock().unwrap().page(VA, 1, ALL);
    let root = tables.lock().unwrap().root;
    let (ready, stop, stale_after_change) =
        (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    machine.scope(|scope| {
        for number in [1, 2] {
            let (ready, stop, stale) = (&ready, &stop, &stale_after_change);
            scope.spawn(cpu(number), move || {
                activate(root);
                assert_eq!(user::load_u64(VA), Ok(1));
                ready.fetch_add(1, Ordering::SeqCst);
                while !stop.load(Ordering::SeqCst) {
                    let before = get(leaf);
                    if user::load_u64(VA).is_ok() {
                        stale.fetch_or(before & P == 0, Ordering::SeqCst);
                    } else {
                        assert_eq!(get(leaf) & P, 0);
                        break;
                    }
                }
                assert!(user::load_u64(VA).is_err());
            });
        }
        scope.spawn(cpu(0), || {
            wait_until(|| ready.load(Ordering::SeqCst) == 2);
            set(leaf, 0);
            wait_until(|| stale_after_change.load(Ordering::SeqCst));
            shoot_down([cpu(1), cpu(2)].into_iter().collect(), VA);
            stop.store(true, Ordering::SeqCst);
        });
    });
}

#[test]
fn a_dropped_flush_leaves_the_stale_translation_in_use() {
    let machine = machine(three());
    let tables = Tables::new();
    let leaf = tables.page(VA, 1, ALL);
    let root = tables.root;
    machine.run_on(cpu(1), || {
        activate(root);
        user::load_u64(VA).unwrap();
    });
    machine.run_on(cpu(0), || set(leaf, 0));
    assert_eq!(machine.run_on(cpu(1), || user::load_u64(VA)), Ok(1));
    machine.run_on(cpu(0), || shoot_down(CpuSet::single(cpu(1)), VA));
    assert!(machine.run_on(cpu(1), || user::load_u64(VA)).is_err());
}

#[test]
fn marking_never_undoes_a_change() {
    let machine = machine(three());
    let tables = Tables::new();
    let leaf = tables.page(VA, 0, ALL);
    let frames = [frame_of(leaf), tables.frame()];
    let (root, ready, stop) = (tables.root, AtomicUsize::new(0), AtomicBool::new(false));
    machine.scope(|scope| {
        for number in [1, 2] {
            let (ready, stop) = (&ready, &stop);
            scope.spawn(cpu(number), move || {
                activate(root);
                ready.fetch_add(1, Ordering::SeqCst);
                while !stop.load(Ordering::SeqCst) {
                    tlb::flush_addr(VA);
                    user::store_u64(VA, 1).unwrap();
                }
            });
        }
        let swaps = scope.spawn(cpu(0), || {
            wait_until(|| ready.load(Ordering::SeqCst) == 2);
            let (mut turn, mut marks) = (0, 0);
            while turn < 4_000 || marks == 0 {
                turn += 1;
                let old = word(leaf).swap(frames[turn % 2].0 as u64 | ALL, Ordering::SeqCst);
                assert_eq!(old & !(A | D), frames[(turn + 1) % 2].0 as u64 | ALL);
                marks += usize::from(old & (A | D) == A | D);
                cpu::relax();
            }
            stop.store(true, Ordering::SeqCst);
        });
        swaps.join().unwrap();
    });
}

static RAN_ON: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn note_processor(arg: usize) {
    RAN_ON[cpu::current().index()].fetch_add(arg as u64, Ordering::SeqCst);
}

#[test]
fn halted_processors_are_served() {
    let machine = machine(three());
    for round in 1..=200 {
        machine.run_on(cpu((round % 3) as u32), || {
            let me = cpu::current();
            assert_eq!(ipi::call_on(CpuSet::first(3), note_processor, 1).len(), 3);
            wait_until(|| RAN_ON.iter().all(|count| count.load(Ordering::SeqCst) == round));
            assert_eq!(cpu::current(), me);
        });
    }
    // A thread that is no processor can call too.
    assert_eq!(ipi::call_on(CpuSet::first(3), note_processor, 1000).len(), 3);
    assert_eq!(cpu::try_current(), None);
    wait_until(|| RAN_ON.iter().all(|count| count.load(Ordering::SeqCst) == 1200));
}

#[test]
fn processors_that_do_not_exist_are_not_reached() {
    let machine = machine(three());
    machine.run_on(CpuId::BOOT, || {
        assert_eq!(ipi::call_on(CpuSet::single(cpu(3)), |_| panic!(), 0), CpuSet::EMPTY);
        assert_eq!(ipi::call_on(CpuSet::EMPTY, |_| panic!(), 0), CpuSet::EMPTY);
        assert_eq!(cpu::count(), 3);
        assert!(cpu::all().eq([cpu(0), cpu(1), cpu(2)]));
    });
}

static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static DEPTH: AtomicUsize = AtomicUsize::new(0);

fn note_order(arg: usize) {
    assert_eq!(DEPTH.fetch_add(1, Ordering::SeqCst), 0, "calls nest");
    cpu::relax();
    ORDER.lock().unwrap().push(arg);
    DEPTH.fetch_sub(1, Ordering::SeqCst);
}

#[test]
fn calls_run_in_order_and_do_not_nest() {
    let machine = machine(three());
    let (ready, sent) = (AtomicBool::new(false), AtomicBool::new(false));
    machine.scope(|scope| {
        scope.spawn(cpu(1), || {
            ready.store(true, Ordering::SeqCst);
            while !sent.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            assert!(ORDER.lock().unwrap().is_empty(), "there was no interrupt point");
            cpu::relax();
            assert_eq!(ORDER.lock().unwrap().len(), 100);
        });
        scope.spawn(cpu(0), || {
            wait_until(|| ready.load(Ordering::SeqCst));
            (0..100).for_each(|n| assert_eq!(ipi::call_on(CpuSet::single(cpu(1)), note_order, n).len(), 1));
            sent.store(true, Ordering::SeqCst);
        });
    });
    assert!(ORDER.lock().unwrap().iter().copied().eq(0..100));
}

#[test]
fn calls_in_all_directions_are_all_served() {
    const CALLS: usize = 5_000;
    static SERVED: AtomicUsize = AtomicUsize::new(0);
    let machine = machine(three());
    machine.on_all(|me| {
        for n in 0..CALLS {
            let mut targets = CpuSet::first(3);
            targets.remove(me);
            let count = |arg| {
                SERVED.fetch_add(arg, Ordering::SeqCst);
            };
            assert_eq!(ipi::call_on(targets, count, 1).len(), 2);
            if n % 16 == 0 {
                cpu::relax();
            }
        }
    });
    wait_until(|| SERVED.load(Ordering::SeqCst) == 3 * 2 * CALLS);
}
