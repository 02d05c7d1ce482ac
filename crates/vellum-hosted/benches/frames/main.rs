//! The frame allocator and its handles beside their peers, in one process and on the same work:
//! `cargo bench -p vellum-hosted --bench frames`.
//!
//! Everything runs on the two processors of a hosted machine. Contestants take turns in each round of a row; medians
//! over the rounds are compared, as ratios. [`peers`] says what each contestant is and what was substituted,
//! [`rows`] what each row includes. `--quick` only shows that it runs, as `cargo test` does.
mod metadata;
mod options;
mod peers;
mod rows;
mod svg;
mod table;

use indicatif::{ProgressBar, ProgressStyle};
use metadata::Metadata;
use options::Options;
use peers::Contestant;
use rows::{Effort, Measured, ROWS, Row};
use std::process::ExitCode;
use table::Results;
use vellum::frame::allocator;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::cpu::CpuId;

/// Memory of the machine, and what each peer has: a little less than what the smallest of them can keep count of.
const MEMORY: usize = 256 << 20;

fn main() -> ExitCode {
    let options = Options::read();
    if let Some(frames) = options.metadata_child {
        return metadata::child(frames);
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frames: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let effort = if options.is_quick() { Effort::QUICK } else { Effort::FULL };
    let config = MachineConfig { memory: MEMORY, cpus: 2, ..MachineConfig::default() };
    let machine = Machine::boot(config)?;
    let pinned = machine.on_all(pin).into_iter().all(|pinned| pinned);
    let frames = machine.run_on(CpuId::BOOT, free_frames);

    let contestants = peers::all(&machine, frames);
    let rows: Vec<_> = ROWS.iter().copied().filter(|row| options.wants(row.name)).collect();
    let bar = progress_bar(rows.len() * effort.rounds);
    let measured = rows.iter().map(|&row| measure(&machine, &contestants, row, effort, &bar)).collect();
    bar.finish_and_clear();
    let metadata = match options.wants(metadata::NAME) {
        true => Some(Metadata::measure(&machine, effort)?),
        false => None,
    };
    let results =
        Results { names: contestants.iter().map(|c| (c.name, c.role)).collect(), measured, metadata };
    println!(
        "{} rounds{}, {frames} frames\n",
        effort.rounds,
        if pinned { "" } else { ", THREADS NOT PINNED" }
    );
    print!("{results}");
    if let Some(file) = &options.svg {
        std::fs::write(file, svg::chart(&results))?;
    }
    Ok(())
}

/// Counts Vellum's free frames.
fn free_frames() -> usize {
    allocator::drain();
    allocator::statistics().map_or(0, |statistics| statistics.free)
}

/// Has all contestants do the work of a row, round by round; each round another one is first.
fn measure(
    machine: &Machine,
    contestants: &[Contestant<'_>],
    row: Row,
    effort: Effort,
    bar: &ProgressBar,
) -> Measured {
    bar.set_message(format!("{}, {} threads", row.name, row.threads));
    let mut measured = Measured::new(row, contestants.len());
    for round in 0..effort.rounds {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let Some(outcome) = contestants[index].run(machine, row, effort) else { continue };
            // The first round warms caches, lists and branch predictors up.
            if round > 0 {
                measured.add(index, outcome);
            }
        }
        bar.inc(1);
    }
    measured
}

/// Keeps the thread of a processor on one of the host's, and says whether that worked.
fn pin(cpu: CpuId) -> bool {
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
fn progress_bar(rounds: usize) -> ProgressBar {
    let bar = ProgressBar::new(rounds as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {eta} left, {msg}") {
        bar.set_style(style);
    }
    bar
}
