//! A user program, alone and on every processor at once.
use crate::console::println;
use crate::processors::on_all;
use crate::user::{Ended, PROGRAM, Process, Voice};
use core::sync::atomic::Ordering;
use vellum::frame::allocator;
use vellum_machine::cpu;

/// The status with which the program ends when it is content.
const CONTENT: Ended = Ended::Exit(7);

fn free_frames() -> usize {
    vellum::barrier().expect("nothing is held");
    allocator::statistics().map_or(0, |statistics| statistics.free)
}

/// The program runs here; those that it forks run wherever a processor is idle.
pub fn one() {
    let before = free_frames();
    let program = Process::load(PROGRAM, Voice::Heard).expect("the program was built with the kernel");
    assert_eq!(program.wait(), CONTENT);
    let count = |counter: &core::sync::atomic::AtomicUsize| counter.load(Ordering::Relaxed);
    let counts = &program.counts;
    println!(
        "  the file has {} bytes; {} pages loaded, {} copied, {} taken over",
        PROGRAM.len(),
        count(&counts.loaded),
        count(&counts.copied),
        count(&counts.taken_over)
    );
    assert!(count(&counts.copied) > 0 && count(&counts.taken_over) > 0, "nothing was copied on write");
    // The program has a megabyte of zeros of which it touches a page.
    assert!(count(&counts.loaded) < 700, "more was loaded than was used");
    drop(program);
    let after = free_frames();
    // The heap keeps frames that it cut up.
    assert!(before - after < 64, "{} frames did not come back", before - after);
}

/// Each processor runs one of its own.
pub fn on_every_processor() {
    on_all(|_| {
        let program = Process::load(PROGRAM, Voice::Silent).expect("the program was built with the kernel");
        assert_eq!(program.wait(), CONTENT, "on processor {}", cpu::current());
    });
}
