//! The suites, on a machine in this process.
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, OnceLock, PoisonError};
use vellum_hosted::{Machine, MachineConfig, Speculation};
use vellum_machine::cpu::CpuId;
use vellum_suite::SUITES;

struct Hosted(Machine);

impl vellum_suite::Machine for Hosted {
    fn on_first(&self, f: &mut (dyn FnMut() + Send)) {
        self.0.run_on(CpuId::BOOT, f);
    }

    fn on_all(&self, f: &(dyn Fn(CpuId) + Sync)) {
        self.0.on_all(f);
    }

    fn scale(&self) -> usize {
        16
    }

    fn seed(&self) -> u64 {
        std::env::var("VELLUM_SEED")
            .map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().expect("a seed is a number"))
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        println!("{what}");
    }
}

/// Runs a suite on the machine of this process, which reads translations ahead.
fn run(name: &str) {
    static MACHINE: OnceLock<Mutex<Hosted>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let config = MachineConfig {
            memory: 64 << 20,
            cpus: 4,
            speculation: Speculation::Every(NonZeroU32::new(3).unwrap()),
            ..MachineConfig::default()
        };
        let machine = Machine::boot(config).expect("the machine boots");
        machine.run_on(CpuId::BOOT, || vellum::space::init().expect("spaces start"));
        Mutex::new(Hosted(machine))
    });
    let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
    SUITES.iter().find(|suite| suite.name == name).expect("it is a suite").run(&*machine);
}

#[test]
fn frames_are_zeroed_and_come_back() {
    run("frames are handed out once, zeroed, and come back");
}

#[test]
fn memory_runs_out_with_an_error_and_comes_back() {
    run("memory runs out with an error and comes back");
}

#[test]
fn processors_allocate_at_once() {
    run("processors take and give frames at once");
}

#[test]
fn any_sequence_is_that_of_a_map() {
    run("any sequence on a space is that of a map");
}

#[test]
fn each_allocation_can_fail() {
    run("each allocation of a space can fail");
}

#[test]
fn nothing_left_at_all() {
    run("a space without any memory left");
}

#[test]
fn no_processor_sees_a_frame_that_is_not_the_pages() {
    run("no processor sees a frame that is not the page's");
}

#[test]
fn what_was_unmapped_is_read_by_nobody() {
    run("what was unmapped is read by nobody");
}

#[test]
fn a_long_range_is_flushed_whole() {
    run("a range too long to be flushed page by page is flushed whole");
}

#[test]
fn every_suite_has_its_test() {
    let tests = include_str!("suite.rs");
    for suite in SUITES {
        assert!(tests.contains(&format!("run(\"{}\");", suite.name)), "{:?} is not run", suite.name);
    }
}
