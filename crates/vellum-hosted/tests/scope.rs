//! Closures on processors.
mod common;

use common::{config, cpu, machine};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use vellum_hosted::MachineConfig;
use vellum_machine::cpu::{self as processor, CpuId};

fn four() -> MachineConfig {
    MachineConfig { cpus: 4, ..config() }
}

#[test]
fn closures_borrow_and_run_where_they_are_told() {
    let machine = machine(four());
    assert_eq!((machine.cpus(), machine.memory()), (4, 2 << 30));
    let mut names = [None; 4];
    machine.scope(|scope| {
        for (number, name) in names.iter_mut().enumerate() {
            scope.spawn(cpu(number as u32), move || *name = Some(processor::current()));
        }
    });
    assert!(names.iter().flatten().copied().eq(processor::all()));
    assert_eq!(machine.on_all(|cpu| cpu == processor::current()), [true; 4]);
    assert_eq!(machine.run_on(cpu(3), || String::from("three")), "three");
}

#[test]
fn a_processor_runs_its_closures_in_order() {
    let machine = machine(four());
    let next = AtomicUsize::new(0);
    machine.scope(|scope| {
        for n in 0..100 {
            let next = &next;
            scope.spawn(CpuId::BOOT, move || assert_eq!(next.fetch_add(1, Ordering::Relaxed), n));
        }
    });
}

#[test]
fn a_closure_can_start_others_and_wait_for_them() {
    let machine = machine(four());
    let sum = machine.scope(|scope| {
        let outer = scope.spawn(cpu(0), move || {
            let inner: Vec<_> = (1..4).map(|n| scope.spawn(cpu(n), move || n)).collect();
            inner.into_iter().map(|handle| handle.join().unwrap()).sum::<u32>()
        });
        outer.join().unwrap()
    });
    assert_eq!(sum, 6);
}

#[test]
fn panics_reach_whoever_waits() {
    let machine = machine(four());
    let text = machine.scope(|scope| {
        let panic = scope.spawn(cpu(1), || panic!("on purpose")).join().unwrap_err();
        *panic.downcast_ref::<&str>().unwrap()
    });
    assert_eq!(text, "on purpose");
    let fails = |f: &dyn Fn()| catch_unwind(AssertUnwindSafe(f)).is_err();
    assert!(fails(&|| machine.run_on(cpu(1), || panic!("on purpose"))));
    assert!(fails(&|| machine.scope(|scope| drop(scope.spawn(cpu(1), || panic!("on purpose"))))));
    assert!(fails(&|| drop(machine.on_all(|cpu| assert_ne!(cpu, processor::current())))));
    assert!(fails(&|| machine.run_on(cpu(4), || ())), "there is no such processor");
    assert!(fails(&|| machine.run_on(cpu(0), || machine.run_on(cpu(1), || ()))), "it would wait for itself");
    assert!(machine.run_on(cpu(1), || true), "the processor goes on");
}

#[test]
fn results_nobody_takes_are_dropped_in_time() {
    struct Noisy<'a>(&'a AtomicUsize);
    impl Drop for Noisy<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let machine = machine(four());
    let dropped = AtomicUsize::new(0);
    machine.scope(|scope| {
        for n in 0..40 {
            let dropped = &dropped;
            drop(scope.spawn(cpu(n % 4), move || Noisy(dropped)));
        }
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 40);
}
