//! Explores the programs in `crates/vellum/tests/loom`.
use crate::report::{Outcome, print_rows};
use crate::workspace::{Workspace, captured};
use anyhow::{Result, ensure};
use std::process::Command;

/// Cargo that runs the programs, or those that are named after it.
pub fn test_command(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.env("RUSTFLAGS", "--cfg loom");
    cargo.args(["test", "--package", "vellum", "--test", "loom", "--target-dir"]);
    cargo.arg(workspace.target.join("loom"));
    cargo
}

/// Explores all of them.
pub fn run(workspace: &Workspace) -> Result<Outcome> {
    let mut cargo = test_command(workspace);
    // Not captured: a program that stops the machine would take with it what loom said.
    cargo.args(["--", "--nocapture"]);
    let (success, output) = captured(cargo)?;
    let explored: Vec<_> = output.lines().filter_map(explored).collect();
    if !success {
        println!("{output}");
        return Ok(Outcome::Failed(format!("after {} programs", explored.len())));
    }
    ensure!(!explored.is_empty(), "nothing was explored:\n{output}");
    let row = |(name, executions): &(&str, u64)| [(*name).to_owned(), executions.to_string()];
    print_rows(&["program", "executions"], &explored.iter().map(row).collect::<Vec<_>>());
    let executions: u64 = explored.iter().map(|(_, executions)| executions).sum();
    Ok(Outcome::Passed(format!("{} programs, {executions} executions", explored.len())))
}

/// What a program says when all its executions are explored: its name, and how many they are.
fn explored(line: &str) -> Option<(&str, u64)> {
    let (before, number) = line.split_once(" executions: ")?;
    Some((before.rsplit(' ').next()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_wherever_the_line_begins() {
        assert_eq!(explored("a::b executions: 17"), Some(("a::b", 17)));
        assert_eq!(explored("test a::b ... a::b executions: 17"), Some(("a::b", 17)));
        assert_eq!(explored("test a::b ... ok"), None);
    }
}
