//! The command line of every benchmark.
use clap::error::ErrorKind;
use clap::{Args, Parser};
use std::path::PathBuf;

/// What every benchmark is told.
#[derive(Args, Default)]
pub struct Common {
    /// Measures only rows whose names contain one of these
    rows: Vec<String>,
    /// Shows that it runs; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Writes a chart as well
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

/// Reads the command line of a benchmark.
pub fn read<O: Parser + Default>() -> O {
    match O::try_parse() {
        Ok(options) => options,
        // `cargo test` hands on what is meant for a harness, and does not say that this is no bench.
        Err(error) if error.kind() == ErrorKind::UnknownArgument && !has("--bench") => {
            if has("--list") {
                std::process::exit(0);
            }
            O::default()
        }
        Err(error) => error.exit(),
    }
}

impl Common {
    /// Says whether the figures do not matter.
    pub fn is_quick(&self) -> bool {
        self.quick || !self.bench
    }

    /// Says whether a row is to be measured.
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| row.contains(wanted.as_str()))
    }
}

fn has(argument: &str) -> bool {
    std::env::args().any(|given| given == argument)
}
