//! Page tables beside their peers, in one process and on the same work: `cargo bench -p vellum-hosted --bench page_table`.
//!
//! Everything runs on the two processors of a hosted machine. Contestants take turns in each round of a row, each turn
//! on a table of its own; medians over the rounds are compared, as ratios. [`contestants`] says what each contestant
//! is, [`rows`] what each row includes. `--quick` only shows that it runs, as `cargo test` does.
mod by_hand;
mod contestants;
mod frames;
mod line;
mod peers;
mod results;
mod rows;
#[path = "../shared/mod.rs"]
mod shared;
mod vellum_tables;

use clap::Parser;
use results::Results;
use rows::{Effort, ROWS, Row};
use shared::host::{pin, progress_bar};
use shared::samples::Measured;
use shared::{options, svg};
use std::process::ExitCode;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::cpu::CpuId;

/// Memory of the machine: what the random rows map, and room for tables.
const MEMORY: usize = 2 << 30;

/// Vellum's page tables beside their peers
#[derive(Parser, Default)]
#[command(name = "page_table")]
struct Options {
    #[command(flatten)]
    common: options::Common,
}

fn main() -> ExitCode {
    match run(&options::read::<Options>().common) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("page_table: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Common) -> Result<(), Box<dyn std::error::Error>> {
    let effort = if options.is_quick() { Effort::QUICK } else { Effort::FULL };
    let config = MachineConfig { memory: MEMORY, cpus: 2, ..MachineConfig::default() };
    let machine = Machine::boot(config)?;
    let pinned = machine.on_all(pin).into_iter().all(|pinned| pinned);
    machine.run_on(CpuId::BOOT, vellum::space::init)?;
    let frames = machine.run_on(CpuId::BOOT, || frames::Frames::new(effort))?;

    let line = line::round_trip(&machine);
    let contestants = contestants::all(&frames);
    let rows: Vec<_> = ROWS.iter().filter(|row| options.wants(&row.name())).copied().collect();
    let bar = progress_bar(rows.len() * effort.rounds);
    let turn = |row: &Row, index: usize| {
        bar.set_message(format!("{}, {} threads", row.name(), row.threads));
        contestants[index].run(&machine, *row, effort)
    };
    let measured = Measured::measure(rows, contestants.len(), effort.rounds, &bar, turn);
    bar.finish_and_clear();
    let results = Results { names: contestants.iter().map(|c| (c.name, c.role)).collect(), measured };
    println!("{} rounds{}", effort.rounds, if pinned { "" } else { ", THREADS NOT PINNED" });
    println!(
        "a cache line goes to the other processor and back in {line:.0} ns: peers behind a lock pay that\n"
    );
    print!("{results}");
    if let Some(file) = &options.svg {
        std::fs::write(file, svg::draw(&results.chart()))?;
    }
    Ok(())
}
