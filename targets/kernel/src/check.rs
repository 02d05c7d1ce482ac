//! What the kernel checks once it has booted.
mod costs;
mod memory;
mod processors;
mod programs;
mod suites;

use crate::arch;
use crate::console::println;
use vellum_machine::layout::{KERNEL_BASE, PADDR_LIMIT};

/// Reads where nothing is mapped, to see what the kernel says of it.
#[allow(unsafe_code, reason = "makes a mistake")]
fn make_a_mistake() {
    let nowhere = KERNEL_BASE + PADDR_LIMIT + 0x1234;
    // SAFETY: none: nothing is mapped there, and the kernel ends.
    let read = unsafe { core::ptr::with_exposed_provenance::<u8>(nowhere).read_volatile() };
    panic!("{nowhere:#x} was read, and is {read}");
}

/// Runs every check; the first that fails ends the run. `mistake=1` on the command line has the kernel make one.
pub fn run_all() {
    if crate::boot::option("mistake") == Some(1) {
        make_a_mistake();
    }
    suites::run_all();
    let checks: &[(&str, fn())] = &[
        ("a space translates what was mapped, until it is unmapped", memory::space),
        ("an access is noted by the processor, or by the handler of its fault", memory::notes),
        ("processors call each other, each call once and in order", processors::counts_and_calls),
        ("a program is loaded, forked, and killed for what it may not do", programs::one),
        ("programs run on every processor at once", programs::on_every_processor),
        ("what operations cost", costs::costs),
    ];
    for (what, check) in checks {
        let start = arch::ticks();
        check();
        println!("check: {what}: ok, {} ticks", arch::ticks() - start);
    }
}
