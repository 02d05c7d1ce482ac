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
#[path = "../shared/mod.rs"]
mod shared;
mod table;

use metadata::Metadata;
use options::Options;
use rows::{Effort, ROWS};
use shared::host::{pin, progress_bar};
use shared::samples::Measured;
use shared::{options as command_line, svg};
use std::process::ExitCode;
use table::Results;
use vellum::frame::allocator;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::cpu::CpuId;

/// Memory of the machine, and what each peer has: a little less than what the smallest of them can keep count of.
const MEMORY: usize = 256 << 20;

fn main() -> ExitCode {
    let options: Options = command_line::read();
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
    let common = &options.common;
    let effort = if common.is_quick() { Effort::QUICK } else { Effort::FULL };
    let config = MachineConfig { memory: MEMORY, cpus: 2, ..MachineConfig::default() };
    let machine = Machine::boot(config)?;
    let pinned = machine.on_all(pin).into_iter().all(|pinned| pinned);
    let frames = machine.run_on(CpuId::BOOT, free_frames);

    let contestants = peers::all(&machine, frames);
    let rows: Vec<_> = ROWS.iter().copied().filter(|row| common.wants(row.name)).collect();
    let bar = progress_bar(rows.len() * effort.rounds);
    let turn = |row: &rows::Row, index: usize| {
        bar.set_message(format!("{}, {} threads", row.name, row.threads));
        contestants[index].run(&machine, *row, effort)
    };
    let measured = Measured::measure(rows, contestants.len(), effort.rounds, &bar, turn);
    bar.finish_and_clear();
    let metadata = match common.wants(metadata::NAME) {
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
    if let Some(file) = &common.svg {
        std::fs::write(file, svg::draw(&results.chart()))?;
    }
    Ok(())
}

/// Counts Vellum's free frames.
fn free_frames() -> usize {
    allocator::drain();
    allocator::statistics().map_or(0, |statistics| statistics.free)
}
