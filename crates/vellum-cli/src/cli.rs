//! The command line.

use std::io::{self, Write};
use std::num::{NonZeroU64, ParseIntError};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use vellum_machine::cpu::MAX_CPUS;

use crate::replay::{self, Options, Outcome, ReplayError, Touch};
use crate::shipped;
use crate::strace::{self, ParseError};

/// Vellum, a verified memory manager, at work on a machine inside this process.
///
/// Without a command, replays a log that is part of it on two processors.
#[derive(Debug, Parser)]
#[command(name = "vellum", version, arg_required_else_help = false)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replays the memory calls of a real program, recorded by `strace -f -e trace=memory,process -o FILE`
    ///
    /// Each process of the log gets an address space on a hosted machine. Every page that is mapped is touched, written and
    /// read back through page faults; at the end of each process its page table is compared with a plain model. Exits with
    /// status 0 only if everything checked out and every frame was given back.
    Replay(Replay),
}

#[derive(Debug, Args)]
struct Replay {
    /// The log
    file: PathBuf,
    /// Which pages of a mapping are touched
    ///
    /// Of a mapping with more than 4096 pages, `all` touches 4096, evenly spread. Of what allows no access, only pages that
    /// have a frame from before are tried, and the first.
    #[arg(long, value_enum, default_value_t)]
    touch: Touch,
    /// How many virtual processors the machine has
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_cpus)]
    cpus: usize,
    /// How much physical memory the machine has, as in 8M or 2G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_size)]
    memory: usize,
    /// Compares everything with the model after every N calls too
    #[arg(long, value_name = "N")]
    check_every: Option<NonZeroU64>,
    /// Prints one JSON object in place of the table
    #[arg(long)]
    json: bool,
}

/// Why a size on the command line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It does not begin with a number.
    #[error("it has to be a number, with K, M or G behind it")]
    NotANumber(#[from] ParseIntError),
    /// It is too large.
    #[error("it is more than this machine can address")]
    TooLarge,
}

/// Reads a size in bytes: `4096`, `64K`, `8M`, `2G`; `KiB`, `MiB` and `GiB` are the same.
///
/// # Errors
///
/// - [`SizeError::NotANumber`]: something else stands there.
/// - [`SizeError::TooLarge`]: it does not fit.
pub fn parse_size(text: &str) -> Result<usize, SizeError> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "" => 0,
        _ => return Ok(text.parse()?),
    };
    let number: usize = digits.parse()?;
    number.checked_mul(1 << shift).ok_or(SizeError::TooLarge)
}

/// Why a number of processors cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum CpusError {
    #[error("it has to be a number")]
    NotANumber(#[from] ParseIntError),
    #[error("a machine has 1 to {MAX_CPUS} processors")]
    OutOfRange,
}

fn parse_cpus(text: &str) -> Result<usize, CpusError> {
    let cpus: usize = text.parse()?;
    if (1..=MAX_CPUS).contains(&cpus) { Ok(cpus) } else { Err(CpusError::OutOfRange) }
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The log cannot be opened or read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The log.
        file: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The log is not understood.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Not everything checked out.
    #[error(transparent)]
    Replay(#[from] Box<ReplayError>),
    /// The result cannot be written.
    #[error("cannot write the result")]
    Write(#[source] io::Error),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    ///
    /// [`CliError`]: the log cannot be read, or not everything checked out.
    pub fn run(self) -> Result<(), CliError> {
        match self.command {
            Some(Command::Replay(replay)) => replay.run(),
            None => {
                let (name, text) = shipped::LOGS[0];
                let options = Options { cpus: 2, memory: 512 << 20, touch: Touch::All, check_every: None };
                run(name, text.as_bytes(), options, Format::Table)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Table,
    Json,
}

impl Replay {
    fn run(self) -> Result<(), CliError> {
        let text = read(&self.file)?;
        let format = if self.json { Format::Json } else { Format::Table };
        let options = Options {
            cpus: self.cpus,
            memory: self.memory,
            touch: self.touch,
            check_every: self.check_every.map(NonZeroU64::get),
        };
        run(&self.file.display().to_string(), &text, options, format)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| CliError::Read { file: file.to_owned(), error })
}

fn run(name: &str, text: &[u8], options: Options, format: Format) -> Result<(), CliError> {
    let log = strace::parse(name, text)?;
    let bar = progress_bar(log.events.len() as u64);
    let Outcome { report, error } = replay::replay(&log, options, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    let written = match format {
        Format::Table => write!(out, "{report}"),
        Format::Json => serde_json::to_writer_pretty(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    written.and_then(|()| out.flush()).map_err(CliError::Write)?;
    error.map_or(Ok(()), |error| Err(CliError::Replay(Box::new(error))))
}

/// A bar on the standard error stream, if that is a terminal.
fn progress_bar(events: u64) -> ProgressBar {
    let bar = ProgressBar::new(events);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {eta} left") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("8M"), Ok(8 << 20));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("64k"), Ok(64 << 10));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert!(matches!(parse_size(""), Err(SizeError::NotANumber(_))));
        assert!(matches!(parse_size("M"), Err(SizeError::NotANumber(_))));
        assert!(matches!(parse_size("8X"), Err(SizeError::NotANumber(_))));
        assert!(matches!(parse_size("8MM"), Err(SizeError::NotANumber(_))));
        assert!(matches!(parse_size("-8M"), Err(SizeError::NotANumber(_))));
        assert_eq!(parse_size("17179869184G"), Err(SizeError::TooLarge));
    }
}
