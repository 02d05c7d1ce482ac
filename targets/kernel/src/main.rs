//! A small kernel on Vellum: it boots, brings every processor up, checks the memory manager on the hardware that it is
//! for, runs a user program, and ends with a verdict.
#![no_std]
#![no_main]

extern crate alloc;

#[cfg(target_arch = "riscv64")]
#[path = "riscv64/mod.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod arch;
mod boot;
mod check;
mod console;
mod faults;
mod heap;
mod processors;
mod report;
mod stacks;
mod user;

use boot::Firmware;
use console::println;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use vellum_machine::cpu::{self, CpuId};

/// The life of the first processor.
fn main(mut firmware: Firmware) -> ! {
    let start = arch::ticks();
    boot::bring_up(&mut firmware);
    stacks::make(CpuId::BOOT);
    stacks::describe();
    stacks::go_on(move || first(&firmware, start))
}

/// What the first processor does on its own stack.
fn first(firmware: &Firmware, start: u64) -> ! {
    processors::start_all(firmware);
    println!("boot: {} processors up after {} ticks", cpu::count(), arch::ticks() - start);
    faults::after_boot();
    check::run_all();
    finish()
}

/// The life of the others.
fn processor(cpu: CpuId) -> ! {
    stacks::go_on(move || processors::work(cpu))
}

/// Says that all went well, and ends.
fn finish() -> ! {
    println!("verdict: PASSED");
    arch::exit(true)
}

/// Says why not, and ends.
fn fail(message: core::fmt::Arguments<'_>) -> ! {
    static FAILING: AtomicBool = AtomicBool::new(false);
    // Whoever fails while failing ends at once.
    if !FAILING.swap(true, Ordering::Relaxed) {
        console::take_over();
        println!("verdict: FAILED: {message}");
    }
    arch::exit(false)
}

/// What stops the machine layer.
fn halted(message: &str) -> ! {
    fail(format_args!("halted: {message}"))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"))
}
