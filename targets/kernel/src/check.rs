//! What the kernel checks once it has booted.
mod costs;
mod memory;
mod processors;
mod programs;
mod suites;

use crate::arch;
use crate::console::println;

/// Runs every check; the first that fails ends the run.
pub fn run_all() {
    suites::run_all();
    let checks: &[(&str, fn())] = &[
        ("a space translates what was mapped, until it is unmapped", memory::space),
        ("user space ends where its tables do", memory::end_of_user_space),
        ("an access is noted by the processor, or by the handler of its fault", memory::notes),
        ("each processor is on a stack of its own", processors::stacks_in_areas),
        ("processors call each other, each call once and in order", processors::counts_and_calls),
        ("a program is loaded, forked, and killed for what it may not do", programs::one),
        ("programs run on every processor at once", programs::on_every_processor),
        ("what is counted is what is said to be", costs::what_is_counted),
        ("what is done to a page costs", costs::of_pages),
        ("what is done to 512 pages costs", costs::of_ranges),
        ("what is shot down costs", costs::of_shootdowns),
    ];
    for (what, check) in checks {
        let start = arch::ticks();
        check();
        println!("check: {what}: ok, {} ticks", arch::ticks() - start);
    }
}
