//! What the kernel checks once it has booted.
mod memory;
mod processors;
mod programs;
mod storm;

use crate::arch;
use crate::console::println;

/// Runs every check; the first that fails ends the run.
pub fn run_all() {
    let checks: &[(&str, fn())] = &[
        ("frames are handed out once, zeroed, and come back", memory::frames),
        ("a space translates what was mapped, until it is unmapped", memory::space),
        ("a fault is resolved by its space's handler, or ends the access", memory::faults),
        ("words of user memory are read and changed as one", memory::words),
        ("a copy stops where memory does", memory::short_copies),
        ("processors call each other, each call once and in order", processors::counts_and_calls),
        ("what was unmapped is read by nobody", storm::storm),
        ("a range too long to be flushed page by page is flushed whole", storm::whole_space),
        ("a program is loaded, forked, and killed for what it may not do", programs::one),
        ("programs run on every processor at once", programs::on_every_processor),
    ];
    for (what, check) in checks {
        let start = arch::ticks();
        check();
        println!("check: {what}: ok, {} ticks", arch::ticks() - start);
    }
}
