//! What the kernel says of a mistake of its own.
use crate::arch;
use crate::console::{self, println};
use core::sync::atomic::{AtomicBool, Ordering};
use vellum_machine::addr::Vaddr;

/// Has the line for this processor's report. A fault in a report ends the run at once.
pub fn begin() {
    static REPORTING: AtomicBool = AtomicBool::new(false);
    if REPORTING.swap(true, Ordering::Relaxed) {
        arch::exit(false);
    }
    console::take_over();
}

/// Prints the entries on the way to an address.
pub fn walk(va: Vaddr) {
    println!("  walk of {va}:");
    for step in arch::walk::walk(va) {
        let what = match step {
            step if !step.is_present() => "absent",
            step if step.is_leaf() => "a page",
            _ => "a node",
        };
        let arch::walk::Step { level, node, index, entry } = step;
        println!("    level {level}: node {node}, entry {index:3} = {entry:#018x}, {what}");
    }
}
