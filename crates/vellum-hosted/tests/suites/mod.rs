//! The suites, on a machine in this process.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test program uses a part of it")]
#![allow(unsafe_code, reason = "has processors walk the kernel's table")]
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

/// Runs a suite on the machine of this process, which is made by the first.
pub fn run(name: &str, config: impl FnOnce() -> MachineConfig) {
    static MACHINE: OnceLock<Mutex<Hosted>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let machine = Machine::boot(config()).expect("the machine boots");
        machine.run_on(CpuId::BOOT, || vellum::space::init().expect("spaces start"));
        // As processors of a kernel that has booted do.
        // SAFETY: no code of this process runs by the machine's tables, and there is no space yet.
        machine.on_all(|_| unsafe { vellum::kspace::enter() }.expect("kernel space is set up"));
        Mutex::new(Hosted(machine))
    });
    let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
    SUITES.iter().find(|suite| suite.name == name).expect("it is a suite").run(&*machine);
}

/// A machine with so many processors, which read translations ahead.
pub fn with_cpus(cpus: usize) -> MachineConfig {
    let speculation = Speculation::Every(NonZeroU32::new(3).expect("it is not zero"));
    MachineConfig { memory: 64 << 20, cpus, speculation, ..MachineConfig::default() }
}

/// Makes a test of each suite, on machines with `super::CPUS` processors.
macro_rules! tests {
    ($($module:ident { $($name:ident: $what:literal,)* })*) => {
        $(mod $module {
            $(#[test]
            fn $name() {
                crate::suites::run($what, || crate::suites::with_cpus(crate::CPUS));
            })*
        })*
    };
}
pub(crate) use tests;
