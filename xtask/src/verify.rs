//! Runs the verifier over the proved crates.
use crate::report::{Outcome, seconds};
use crate::workspace::{VERIFIED_CRATES, Workspace, captured, is_on_path};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What is said where there is no verifier.
pub const ABSENT: &str = "NOT VERIFIED: cargo-verus is not on the PATH; nothing was verified";

/// What the verifier said of one crate.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How many functions it verified; `None` where it did not get as far as counting.
    pub verified: Option<u64>,
    /// How many it found errors in.
    pub errors: u64,
    /// All that it printed.
    pub output: String,
}

/// An error that has a place in the sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What is wrong, in the verifier's words.
    pub what: String,
    /// The file, as the verifier names it.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
}

impl Verdict {
    /// The errors, with their places.
    pub fn errors_at(&self) -> Vec<Finding> {
        errors(&self.output)
    }
}

fn errors(output: &str) -> Vec<Finding> {
    let lines = output.lines().zip(output.lines().skip(1));
    let errors = lines.filter(|(line, _)| line.starts_with("error"));
    errors
        .filter_map(|(line, next)| {
            let (path, at) = place(next)?;
            let what = line.split_once(": ").map_or(line, |(_, what)| what).to_owned();
            Some(Finding { what, path, line: at })
        })
        .collect()
}

/// The place of a line ` --> path:line:column`.
fn place(line: &str) -> Option<(PathBuf, usize)> {
    let mut parts = line.trim().strip_prefix("--> ")?.rsplit(':');
    let line = parts.nth(1)?.parse().ok()?;
    Some((PathBuf::from(parts.next()?), line))
}

/// Whether the verifier can be run.
pub fn is_present() -> bool {
    is_on_path("cargo-verus")
}

/// Verifies the proved crates, with a seed for the solver's choices if one is given.
pub fn run(workspace: &Workspace, seed: Option<u32>) -> Result<Outcome> {
    if !is_present() {
        println!("{ABSENT}");
        return Ok(Outcome::Skipped(ABSENT.into()));
    }
    let (mut verified, mut errors) = (0, 0);
    let option = seed.map(|seed| format!("smt.random_seed={seed}"));
    let arguments: Vec<&str> = option.iter().flat_map(|option| ["--smt-option", option]).collect();
    for package in VERIFIED_CRATES {
        println!("   verifying {package} (the first time, vstd as well: a minute or two)");
        let start = Instant::now();
        let verdict = verify(workspace, &workspace.root, package, &arguments)?;
        let Some(count) = verdict.verified else {
            print!("{}", verdict.output);
            return Ok(Outcome::Failed(format!("{package}: the verifier stopped before it had a result")));
        };
        if verdict.errors > 0 {
            print!("{}", verdict.output);
        }
        println!("   {package}: verified {count}, errors {} ({})", verdict.errors, seconds(start.elapsed()));
        verified += count;
        errors += verdict.errors;
        if verdict.errors > 0 {
            break;
        }
    }
    println!("verified {verified}, errors {errors}");
    let totals = format!("verified {verified}, errors {errors}");
    Ok(if errors == 0 { Outcome::Passed(totals) } else { Outcome::Failed(totals) })
}

/// Verifies one crate of the workspace at `root`, even if nothing has changed since the last time.
pub fn verify(workspace: &Workspace, root: &Path, package: &str, arguments: &[&str]) -> Result<Verdict> {
    forget(&workspace.verus_target(), package)?;
    let mut command = command(workspace, root, package);
    if !arguments.is_empty() {
        command.args(["--fwd-verus-args-to", "roots", "--"]).args(arguments);
    }
    let (success, output) = captured(command)?;
    // The crate asked for is the last that is built; its dependencies' results stand before its own.
    let result = output.lines().rev().find_map(results).filter(|(_, errors)| success == (*errors == 0));
    if success && result.is_none() {
        bail!("cargo verus gave no result for {package}:\n{output}");
    }
    Ok(Verdict { verified: result.map(|r| r.0), errors: result.map_or(0, |r| r.1), output })
}

fn command(workspace: &Workspace, root: &Path, package: &str) -> Command {
    let mut command = workspace.cargo_verus();
    command.current_dir(root).args(["verify", "--package", package, "--target-dir"]);
    command.arg(workspace.verus_target());
    command
}

/// Removes the note that the crate is up to date, without which nothing would be verified and nothing said.
fn forget(target: &Path, package: &str) -> Result<()> {
    let notes = target.join("debug").join(".fingerprint");
    let Ok(folder) = std::fs::read_dir(&notes) else {
        return Ok(());
    };
    for note in folder {
        let note = note?;
        let name = note.file_name().to_string_lossy().into_owned();
        if name.rsplit_once('-').is_some_and(|(name, _)| name == package) {
            std::fs::remove_dir_all(note.path())?;
        }
    }
    Ok(())
}

/// The numbers of a line `verification results:: 12 verified, 0 errors`.
fn results(line: &str) -> Option<(u64, u64)> {
    let (verified, errors) = line.trim().strip_prefix("verification results::")?.split_once(',')?;
    let number = |text: &str| text.split_whitespace().next()?.parse().ok();
    Some((number(verified)?, number(errors)?))
}

/// Verifies the proved crates and lists what cost most.
pub fn cost(workspace: &Workspace) -> Result<Outcome> {
    if !is_present() {
        println!("{ABSENT}");
        return Ok(Outcome::Skipped(ABSENT.into()));
    }
    let mut functions = 0;
    for package in VERIFIED_CRATES {
        let verdict = verify_as_json(workspace, package)?;
        let mut rows = functions_of(&verdict);
        functions += rows.len();
        rows.sort_by_key(|(_, _, limit)| std::cmp::Reverse(*limit));
        let rows: Vec<[String; 3]> = rows
            .into_iter()
            .take(25)
            .map(|(name, millis, limit)| [name, format!("{millis} ms"), limit.to_string()])
            .collect();
        println!("\n{package}: the dearest functions");
        crate::report::print_rows(&["function", "time", "resource units"], &rows);
    }
    Ok(Outcome::Passed(format!("{functions} functions measured")))
}

fn verify_as_json(workspace: &Workspace, package: &str) -> Result<Value> {
    forget(&workspace.verus_target(), package)?;
    let mut command = command(workspace, &workspace.root, package);
    command.args(["--fwd-verus-args-to", "roots", "--", "--time-expanded", "--output-json"]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{package} does not verify; `cargo xtask verify` shows why");
    }
    let text = String::from_utf8(output.stdout)?;
    let start = text.rfind("\n{\n").map_or_else(|| text.find('{'), |at| Some(at + 1));
    let json = &text[start.with_context(|| format!("no report for {package}"))?..];
    let value = serde_json::Deserializer::from_str(json).into_iter::<Value>().next();
    Ok(value.with_context(|| format!("no report for {package}"))??)
}

/// Name, milliseconds and resource units of each function in a report.
fn functions_of(report: &Value) -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    collect_functions(report, &mut found);
    found
}

fn collect_functions(value: &Value, found: &mut Vec<(String, u64, u64)>) {
    match value {
        Value::Object(fields) => {
            if let (Some(name), Some(time)) =
                (fields.get("function").and_then(Value::as_str), fields.get("time"))
            {
                let limit = fields.get("rlimit").and_then(Value::as_u64).unwrap_or(0);
                found.push((name.to_owned(), time.as_u64().unwrap_or(0), limit));
            }
            fields.values().for_each(|v| collect_functions(v, found));
        }
        Value::Array(values) => values.iter().for_each(|v| collect_functions(v, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_by_their_places() {
        let output = "error: assertion failed\n   --> crates/a/src/b.rs:12:5\n    |\nerror: aborting\n";
        let found = Finding { what: "assertion failed".into(), path: "crates/a/src/b.rs".into(), line: 12 };
        assert_eq!(errors(output), [found]);
    }

    #[test]
    fn results_are_read_from_the_verifiers_words() {
        assert_eq!(results("verification results:: 104 verified, 2 errors"), Some((104, 2)));
        assert_eq!(results("    Finished `dev` profile"), None);
    }
}
