//! Asks the verifier and the tests about a tree with a mistake in it.
use super::list::{Judge, TestName, module_of, package_of};
use crate::loom;
use crate::verify::{self, Finding, Verdict};
use crate::workspace::{Workspace, captured};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// What became of a mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Found, where and by whom it must be: the first words about it.
    Rejected(String),
    /// Nobody minded.
    Survived,
    /// Found, but not where it was expected: where instead.
    Elsewhere(String),
    /// The code is no program.
    DoesNotCompile(String),
    /// The mistake cannot be made.
    DoesNotApply(String),
    /// There is no verifier to ask.
    Skipped,
    /// Nobody could be asked.
    Unanswered(String),
}

impl Fate {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Fate::Rejected(_) => "rejected",
            Fate::Survived => "SURVIVED",
            Fate::Elsewhere(_) => "ELSEWHERE",
            Fate::DoesNotCompile(_) => "DOES NOT COMPILE",
            Fate::DoesNotApply(_) => "DOES NOT APPLY",
            Fate::Skipped => "SKIPPED",
            Fate::Unanswered(_) => "NO ANSWER",
        }
    }

    /// What there is to say of it.
    pub fn detail(&self) -> &str {
        match self {
            Fate::Survived => "nobody objects",
            Fate::Skipped => "cargo-verus is not on the PATH",
            Fate::Rejected(text) | Fate::Elsewhere(text) => text,
            Fate::DoesNotCompile(text) | Fate::DoesNotApply(text) | Fate::Unanswered(text) => text,
        }
    }
}

/// Asks whoever must find the mistake that was made in `tree`.
pub fn ask(tree: &Workspace, judge: &Judge) -> Result<Fate> {
    match judge {
        Judge::Verifier(file) => ask_verifier(tree, file),
        Judge::Compiler(file) => Ok(of_compiler(&verify(tree, file, module_of(file).as_deref())?, file)),
        Judge::Test(TestName { test, .. }) | Judge::Loom(test) => ask_test(tree, judge, test),
    }
}

/// Asks about the module in which the error is expected, and about the whole crate if there is none.
///
/// An error in a module is one of the crate as well; only contentment is no answer before everything was looked at.
fn ask_verifier(tree: &Workspace, file: &Path) -> Result<Fate> {
    let module = module_of(file);
    let fate = of_verifier(&verify(tree, file, module.as_deref())?, file);
    match fate {
        Fate::Survived | Fate::Elsewhere(_) if module.is_some() => {
            Ok(of_verifier(&verify(tree, file, None)?, file))
        }
        fate => Ok(fate),
    }
}

fn verify(tree: &Workspace, file: &Path, module: Option<&str>) -> Result<Verdict> {
    let mut arguments = vec!["--multiple-errors", "0"];
    arguments.extend(module.map(|module| ["--verify-module", module]).into_iter().flatten());
    verify::verify(tree, &tree.root, &package_of(file)?, &arguments)
}

fn of_verifier(verdict: &Verdict, file: &Path) -> Fate {
    let mut errors = verdict.errors_at();
    if verdict.verified.is_none() {
        return Fate::DoesNotCompile(first(&errors));
    }
    // That the solver gave up says nothing about the mistake.
    errors.retain(|error| !error.what.contains("Resource limit"));
    match errors.iter().find(|error| error.path == file) {
        Some(error) => Fate::Rejected(words(error)),
        None if errors.is_empty() => Fate::Survived,
        None => Fate::Elsewhere(first(&errors)),
    }
}

fn of_compiler(verdict: &Verdict, file: &Path) -> Fate {
    let errors = verdict.errors_at();
    if verdict.verified.is_some() {
        return if errors.is_empty() { Fate::Survived } else { Fate::Elsewhere(first(&errors)) };
    }
    match errors.iter().find(|error| error.path == file) {
        Some(error) => Fate::Rejected(words(error)),
        None => Fate::Elsewhere(first(&errors)),
    }
}

fn first(errors: &[Finding]) -> String {
    errors.first().map_or_else(|| "no error has a place".into(), words)
}

fn words(error: &Finding) -> String {
    let file = error.path.file_name().unwrap_or_default().to_string_lossy();
    format!("{file}:{}: {}", error.line, error.what)
}

fn ask_test(tree: &Workspace, judge: &Judge, test: &str) -> Result<Fate> {
    let (success, output) = run_test(tree, judge)?;
    if output.contains("error: could not compile") {
        let problem = output.lines().find(|line| line.starts_with("error"));
        return Ok(Fate::DoesNotCompile(problem.unwrap_or_default().into()));
    }
    ensure!(output.contains("running 1 test\n"), "there is no test {test}:\n{output}");
    Ok(if success { Fate::Survived } else { Fate::Rejected(format!("{test}: {}", complaint(&output))) })
}

/// What a test that failed said last of all.
fn complaint(output: &str) -> &str {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at"));
    lines.nth(1).unwrap_or("it failed")
}

fn run_test(tree: &Workspace, judge: &Judge) -> Result<(bool, String)> {
    let cargo = match judge {
        Judge::Test(name) => test_command(tree, name),
        Judge::Loom(test) => {
            let mut cargo = loom::test_command(tree);
            // Not captured: a program that stops the machine would take with it what loom said.
            cargo.args([test, "--", "--exact", "--nocapture"]);
            cargo
        }
        Judge::Verifier(_) | Judge::Compiler(_) => bail!("the verifier is no test"),
    };
    captured(cargo)
}

fn test_command(tree: &Workspace, name: &TestName) -> Command {
    let mut cargo = tree.cargo();
    cargo.args(["test", "--package", &name.package]);
    match name.binary.as_str() {
        "lib" => cargo.arg("--lib"),
        file => cargo.args(["--test", file]),
    };
    cargo.arg("--target-dir").arg(tree.target.join("tests")).args([&name.test, "--", "--exact"]);
    cargo
}

/// Holds that those who are asked are content without any mistake: else what they say of one says nothing.
pub fn expect_contentment<'a>(tree: &Workspace, judges: impl Iterator<Item = &'a Judge>) -> Result<()> {
    let mut asked = Vec::new();
    for judge in judges {
        match judge {
            Judge::Verifier(file) | Judge::Compiler(file) => {
                let package = package_of(file)?;
                if !asked.contains(&package) {
                    println!("   verifying {package} as it is");
                    let verdict = verify::verify(tree, &tree.root, &package, &[])?;
                    ensure!(
                        verdict.verified.is_some() && verdict.errors == 0,
                        "{package} does not verify as it is"
                    );
                    asked.push(package);
                }
            }
            Judge::Test(TestName { test, .. }) | Judge::Loom(test) => {
                let name = format!("{judge:?}");
                if !asked.contains(&name) {
                    println!("   running {test} as it is");
                    let (success, output) = run_test(tree, judge)?;
                    ensure!(success, "{test} fails as it is:\n{output}");
                    asked.push(name);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "crates/a/src/b.rs";

    fn verdict(verified: Option<u64>, output: &str) -> Verdict {
        Verdict { verified, errors: u64::from(!output.is_empty()), output: output.into() }
    }

    fn asked(verified: Option<u64>, output: &str) -> Fate {
        of_verifier(&verdict(verified, output), Path::new(FILE))
    }

    #[test]
    fn the_verifier_rejects_with_an_error_in_the_file() {
        let error = "error: assertion failed\n   --> crates/a/src/b.rs:12:5\n";
        assert_eq!(asked(Some(3), error), Fate::Rejected("b.rs:12: assertion failed".into()));
        assert_eq!(asked(Some(3), ""), Fate::Survived);
        let elsewhere = "error: assertion failed\n   --> crates/a/src/c.rs:12:5\n";
        assert_eq!(asked(Some(3), elsewhere), Fate::Elsewhere("c.rs:12: assertion failed".into()));
    }

    #[test]
    fn what_does_not_compile_is_not_rejected_by_the_verifier() {
        let error = "error[E0382]: use of moved value\n   --> crates/a/src/b.rs:12:5\n";
        assert_eq!(asked(None, error), Fate::DoesNotCompile("b.rs:12: use of moved value".into()));
        let fate = of_compiler(&verdict(None, error), Path::new(FILE));
        assert_eq!(fate, Fate::Rejected("b.rs:12: use of moved value".into()));
        assert_eq!(of_compiler(&verdict(Some(3), ""), Path::new(FILE)), Fate::Survived);
    }

    #[test]
    fn a_solver_that_gives_up_has_not_objected() {
        let error =
            "error: function body check: Resource limit (rlimit) exceeded\n   --> crates/a/src/b.rs:12:5\n";
        assert_eq!(asked(Some(3), error), Fate::Survived);
    }
}
