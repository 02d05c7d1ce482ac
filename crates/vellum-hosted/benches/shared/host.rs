//! The host: its processors, and the terminal.
use indicatif::{ProgressBar, ProgressStyle};
use vellum_machine::cpu::CpuId;

/// Keeps the thread of a processor on one of the host's, and says whether that worked.
pub fn pin(cpu: CpuId) -> bool {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let host = (0..CpuSet::MAX_CPU).filter(|&host| allowed.is_set(host)).nth(cpu.index());
    host.is_some_and(|host| {
        let mut one = CpuSet::new();
        one.set(host);
        sched_setaffinity(None, &one).is_ok()
    })
}

/// A bar on the standard error stream, if that is a terminal.
pub fn progress_bar(rounds: usize) -> ProgressBar {
    let bar = ProgressBar::new(rounds as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {eta} left, {msg}") {
        bar.set_style(style);
    }
    bar
}
