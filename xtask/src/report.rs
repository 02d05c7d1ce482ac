//! What a step came to, and the tables that say so.
use anyhow::Result;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What a step came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done, with what was found.
    Passed(String),
    /// Not as it should be.
    Failed(String),
    /// Not done, and why.
    Skipped(String),
}

/// A list of steps that were run, in order.
#[derive(Default, Debug)]
pub struct Report {
    steps: Vec<(String, Outcome, Duration)>,
}

impl Report {
    /// Runs a step and says what it does and how long it took; a step that cannot be carried out has failed.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) {
        println!("== {name}");
        let start = Instant::now();
        let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let took = start.elapsed();
        println!("== {name}: {} after {}\n", sentence(&outcome), seconds(took));
        self.steps.push((name.to_owned(), outcome, took));
    }

    /// Prints the table of all steps, if there are several, and gives the exit code.
    pub fn finish(self) -> ExitCode {
        let all = self.steps.len();
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        if all > 1 {
            print_rows(&["step", "result", "time", ""], &self.rows());
            println!();
        }
        if skipped > 0 {
            println!("{skipped} of {all} steps SKIPPED: what they check was NOT checked.");
        }
        if failed > 0 {
            println!("{failed} of {all} steps FAILED.");
        }
        if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn count(&self, matches: impl Fn(&Outcome) -> bool) -> usize {
        self.steps.iter().filter(|(_, outcome, _)| matches(outcome)).count()
    }

    fn rows(&self) -> Vec<[String; 4]> {
        let row = |(name, outcome, took): &(String, Outcome, Duration)| {
            let (word, detail) = words(outcome);
            [name.clone(), word.to_owned(), seconds(*took), detail.to_owned()]
        };
        self.steps.iter().map(row).collect()
    }
}

/// Runs a command with its output shown; its exit status is the outcome.
pub fn shown(command: &mut Command) -> Result<Outcome> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<_> =
        [program].into_iter().chain(command.get_args()).map(|w| w.to_string_lossy()).collect();
    println!("   {}", words.join(" "));
    let status = command.status()?;
    Ok(match status.success() {
        true => Outcome::Passed(String::new()),
        false => Outcome::Failed(status.to_string()),
    })
}

/// Prints rows in columns under a header.
pub fn print_rows<const N: usize>(header: &[&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let print = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("  {}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    print(header);
    print(
        &widths
            .iter()
            .map(|w| "-".repeat(*w))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    for row in rows {
        print(&row.each_ref().map(String::as_str));
    }
}

/// A duration as a person would say it.
pub fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Passed(detail) => ("pass", detail),
        Outcome::Failed(detail) => ("FAIL", detail),
        Outcome::Skipped(detail) => ("SKIPPED", detail),
    }
}

fn sentence(outcome: &Outcome) -> String {
    match words(outcome) {
        (word, "") => word.to_owned(),
        (word, detail) => format!("{word} ({detail})"),
    }
}
