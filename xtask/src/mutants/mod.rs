//! Makes mistakes, each alone in a copy of the sources, and expects each to be found: proofs and tests that pass whatever
//! the code does are worth nothing.
mod judge;
mod list;

use crate::report::{Outcome, print_rows, seconds};
use crate::verify;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use judge::Fate;
use list::Mutant;
use std::fs;
use std::time::{Duration, Instant};

/// Prints what mistakes there are.
pub fn print_list(workspace: &Workspace) -> Result<Outcome> {
    let mutants = read(workspace)?;
    let row = |mutant: &Mutant| [mutant.name.clone(), mutant.judge.to_string(), mutant.why.clone()];
    print_rows(&["mutant", "rejected by", "because"], &mutants.iter().map(row).collect::<Vec<_>>());
    Ok(Outcome::Passed(format!("{} mutants", mutants.len())))
}

/// Makes the mistakes whose names or files contain one of `only`, or that it must find, or all if `only` is empty.
pub fn run(workspace: &Workspace, only: &[String]) -> Result<Outcome> {
    let mut mutants = read(workspace)?;
    if !only.is_empty() {
        mutants.retain(|mutant| only.iter().any(|part| is_named(mutant, part)));
    }
    if mutants.is_empty() {
        bail!("no mutant has that name; `cargo xtask mutants --list` says which there are");
    }
    let verifies = verify::is_present();
    if !verifies && mutants.iter().any(|mutant| mutant.judge.needs_verifier()) {
        println!("{}", verify::ABSENT);
    }
    let tree = Workspace {
        root: workspace.target.join("mutants").join("source"),
        target: workspace.target.join("mutants"),
    };
    workspace.copy_to(&tree.root)?;
    let judges = mutants.iter().map(|mutant| &mutant.judge);
    judge::expect_contentment(&tree, judges.filter(|judge| verifies || !judge.needs_verifier()))?;
    let mut fates = Vec::new();
    for (number, mutant) in mutants.iter().enumerate() {
        println!("   {} of {}: {}", number + 1, mutants.len(), mutant.name);
        let start = Instant::now();
        let fate = match verifies || !mutant.judge.needs_verifier() {
            true => fate(&tree, mutant).with_context(|| format!("the mutant \"{}\"", mutant.name))?,
            false => Fate::Skipped,
        };
        println!("      {} ({}), {}", fate.word(), fate.detail(), seconds(start.elapsed()));
        fates.push((mutant, fate, start.elapsed()));
    }
    print_fates(&fates);
    Ok(outcome(&fates))
}

fn is_named(mutant: &Mutant, part: &str) -> bool {
    let file = mutant.file.to_string_lossy();
    mutant.name.contains(part) || file.contains(part) || mutant.judge.to_string() == part
}

fn read(workspace: &Workspace) -> Result<Vec<Mutant>> {
    let path = workspace.root.join("xtask").join("mutants.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    list::parse(&text).with_context(|| path.display().to_string())
}

/// Makes one mistake, asks about it, and takes it back.
fn fate(tree: &Workspace, mutant: &Mutant) -> Result<Fate> {
    let file = tree.root.join(&mutant.file);
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mutated = match mutant.apply(&text) {
        Ok(mutated) => mutated,
        Err(problem) => return Ok(Fate::DoesNotApply(problem.to_string())),
    };
    fs::write(&file, mutated)?;
    let fate = judge::ask(tree, &mutant.judge);
    // As a change: builds go by the time at which a file was written.
    fs::write(&file, text)?;
    Ok(fate.unwrap_or_else(|problem| Fate::Unanswered(format!("{problem:#}"))))
}

type Row<'a> = (&'a Mutant, Fate, Duration);

fn print_fates(fates: &[Row<'_>]) {
    let row = |(mutant, fate, took): &Row<'_>| {
        let by = mutant.judge.to_string();
        [mutant.name.clone(), by, fate.word().to_owned(), seconds(*took), fate.detail().to_owned()]
    };
    println!();
    print_rows(&["mutant", "by", "", "time", ""], &fates.iter().map(row).collect::<Vec<_>>());
}

fn outcome(fates: &[Row<'_>]) -> Outcome {
    let rejected_by = |by: &str| {
        let is = |(mutant, fate, _): &&Row<'_>| {
            matches!(fate, Fate::Rejected(_)) && mutant.judge.to_string() == by
        };
        fates.iter().filter(is).count()
    };
    let [verifier, compiler, test, loom] = ["verifier", "compiler", "test", "loom"].map(rejected_by);
    let by =
        format!("{verifier} by the verifier, {compiler} by the compiler, {test} by tests, {loom} by loom");
    let rejected = fates.iter().filter(|(_, fate, _)| matches!(fate, Fate::Rejected(_))).count();
    let skipped = fates.iter().filter(|(_, fate, _)| *fate == Fate::Skipped).count();
    let totals = format!("{rejected} of {} mutants rejected: {by}", fates.len());
    if rejected + skipped < fates.len() {
        Outcome::Failed(totals)
    } else if skipped > 0 {
        Outcome::Skipped(format!("{totals}; {skipped} not tried: cargo-verus is not on the PATH"))
    } else {
        Outcome::Passed(totals)
    }
}
