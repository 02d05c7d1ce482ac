//! Asks the verifier for what must not be: a verifier that is content with a false assertion has not looked.
use crate::ledger;
use crate::ledger::find::Proved;
use crate::report::Outcome;
use crate::verify::{self, Finding};
use crate::workspace::{VERIFIED_CRATES, Workspace};
use anyhow::Result;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A place in the sources.
type Place = (PathBuf, usize);

/// Plants `assert(false)` at the head of every proved function, and a false lemma in every proved crate, in a
/// copy of the sources, and expects the verifier to report exactly these.
pub fn run(workspace: &Workspace) -> Result<Outcome> {
    if !verify::is_present() {
        println!("{}", verify::ABSENT);
        return Ok(Outcome::Skipped(verify::ABSENT.into()));
    }
    let copy = workspace.target.join("probe");
    let mut planted = 0;
    for (package, findings) in VERIFIED_CRATES.iter().zip(ledger::findings(workspace)?) {
        workspace.copy_to(&copy)?;
        let places = plant(&copy, package, &findings.proved)?;
        println!("   {package}: {} false assertions planted, verifying", places.len());
        let verdict = verify::verify(workspace, &copy, package, &["--multiple-errors", "0"])?;
        let reported = all_places(verdict.errors_at());
        if let Some(problem) = difference(&places, &reported) {
            println!("{problem}");
            fs::write(copy.join("output.txt"), &verdict.output)?;
            return Ok(Outcome::Failed(format!("{package}: the verifier did not object as it must")));
        }
        println!("   {package}: all {} reported, and nothing else", reported.len());
        planted += places.len();
    }
    fs::remove_dir_all(&copy)?;
    if planted == VERIFIED_CRATES.len() {
        return Ok(Outcome::Failed("found no proved function to plant in".into()));
    }
    Ok(Outcome::Passed(format!("{planted} false assertions planted, {planted} reported")))
}

/// Plants the assertions and says where.
fn plant(copy: &Path, package: &str, proved: &[Proved]) -> Result<BTreeSet<Place>> {
    let mut places = BTreeSet::new();
    let mut proved: Vec<&Proved> = proved.iter().collect();
    // From the end, so that what is planted does not move what is still to be found.
    proved.sort_by_key(|f| std::cmp::Reverse((f.line, f.column)));
    for function in proved {
        let file = copy.join(&function.path);
        let text = fs::read_to_string(&file)?;
        fs::write(&file, with_assertion(&text, function))?;
        places.insert((function.path.clone(), function.line));
    }
    let root = PathBuf::from("crates").join(package).join("src/lib.rs");
    let mut text = fs::read_to_string(copy.join(&root))?;
    text.push_str("vstd::prelude::verus! { proof fn vellum_probe() { assert(false); } }\n");
    places.insert((root.clone(), text.lines().count()));
    fs::write(copy.join(&root), text)?;
    Ok(places)
}

/// The text with a false assertion right after the function's opening brace, on the same line.
fn with_assertion(text: &str, function: &Proved) -> String {
    let assertion =
        if function.in_verus { " assert(false);" } else { " vstd::prelude::proof! { assert(false); }" };
    let planted = text.lines().enumerate().map(|(index, line)| {
        if index + 1 != function.line {
            return format!("{line}\n");
        }
        let at = line.char_indices().nth(function.column).map_or(line.len(), |(at, _)| at);
        format!("{}{assertion}{}\n", &line[..at], &line[at..])
    });
    planted.collect()
}

/// Where the verifier reports errors.
fn all_places(errors: Vec<Finding>) -> BTreeSet<Place> {
    errors.into_iter().map(|error| (error.path, error.line)).collect()
}

/// What the verifier passed over, and what it reported besides.
fn difference(planted: &BTreeSet<Place>, reported: &BTreeSet<Place>) -> Option<String> {
    let list = |what: &str, places: Vec<&Place>| -> String {
        places.iter().map(|(path, line)| format!("   {}:{line}: {what}\n", path.display())).collect()
    };
    let text = list("false, and the verifier is content", planted.difference(reported).collect())
        + &list("an error where nothing was planted", reported.difference(planted).collect());
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_goes_behind_the_brace_of_the_right_line() {
        let function = Proved { path: "a.rs".into(), line: 2, column: 8, in_verus: true };
        assert_eq!(with_assertion("//\nfn f() { 1 }\n", &function), "//\nfn f() { assert(false); 1 }\n");
    }

    #[test]
    fn a_content_verifier_and_a_stray_error_are_told_apart() {
        let place = |line| BTreeSet::from([(PathBuf::from("a.rs"), line)]);
        assert_eq!(difference(&place(1), &place(1)), None);
        let text = difference(&place(1), &place(2)).expect("they differ");
        assert!(text.contains("a.rs:1: false") && text.contains("a.rs:2: an error"));
    }
}
