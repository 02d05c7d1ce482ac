//! The library's suites, the same that run in a process.
use crate::console::println;
use crate::processors;
use crate::{arch, heap};
use core::fmt;
use vellum_machine::cpu::CpuId;
use vellum_suite::{Machine, SUITES};

/// The machine that the kernel runs on. Suites run on its first processor.
struct Bare;

impl Machine for Bare {
    fn on_first(&self, f: &mut (dyn FnMut() + Send)) {
        f();
    }

    #[allow(unsafe_code, reason = "lends what its caller keeps")]
    fn on_all(&self, f: &(dyn Fn(CpuId) + Sync)) {
        // SAFETY: only the lifetime changes: `processors::on_all` returns when every processor is done with it, and a
        // panic ends the kernel.
        let f =
            unsafe { core::mem::transmute::<&(dyn Fn(CpuId) + Sync), &'static (dyn Fn(CpuId) + Sync)>(f) };
        processors::on_all(f);
    }

    fn heap_frames(&self) -> usize {
        heap::frames()
    }

    /// More processors than the host has make each round wait for the host's scheduler.
    fn storm_rounds(&self) -> u64 {
        crate::boot::option("rounds").unwrap_or(100)
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        println!("  {what}");
    }
}

/// Runs every suite.
pub fn run_all() {
    for suite in SUITES {
        let start = arch::ticks();
        suite.run(&Bare);
        println!("suite: {}: ok, {} ticks", suite.name, arch::ticks() - start);
    }
}
