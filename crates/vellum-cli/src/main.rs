//! The command `vellum`.

use std::process::ExitCode;

use clap::Parser;
use vellum_cli::cli::Cli;
use vellum_cli::replay::chain;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vellum: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
