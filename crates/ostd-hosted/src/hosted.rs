//! What a process has to say to the stand-in; OSTD has no such module.
use crate::cpu::{self, MAX_CPUS, Seat};

pub use crate::mm::frame::slot::MAX_FRAMES;

/// Says how many processors there are.
///
/// # Panics
/// For none, or more than there is room for.
pub fn set_num_cpus(count: usize) {
    assert!((1..=MAX_CPUS).contains(&count), "there are 1 to {MAX_CPUS} processors");
    cpu::set_num_cpus(count);
}

/// Runs a closure as a processor, on this thread.
///
/// # Panics
/// Where this thread is a processor already, another one is this processor, or there is no such processor.
pub fn run_on<R>(cpu: usize, f: impl FnOnce() -> R) -> R {
    let _seat = Seat::take(cpu);
    f()
}
