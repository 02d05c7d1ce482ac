//! Counts lines, sorted into what runs and what is there for the proof.
mod marks;

use crate::report::{Outcome, print_rows};
use crate::source::parse;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use marks::{Class, FunctionSize, Marks};
use std::fs;
use std::path::{Path, PathBuf};

/// Executable lines that a file should not exceed.
const FILE_BUDGET: usize = 400;

/// Executable lines that a function should not exceed.
const FUNCTION_BUDGET: usize = 40;

/// Lines of each class.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Count {
    executable: usize,
    specification: usize,
    proof: usize,
    test: usize,
}

/// The lines of one file.
#[derive(Debug)]
struct FileLines {
    path: PathBuf,
    count: Count,
    functions: Vec<FunctionSize>,
}

/// Prints a table of lines by crate.
pub fn count(workspace: &Workspace) -> Result<Outcome> {
    let mut rows = Vec::new();
    let mut total = Count::default();
    for package in packages(workspace)? {
        let files = files(workspace, &package)?;
        let sum = files.iter().fold(Count::default(), |sum, file| sum.plus(&file.count));
        rows.push(sum.row(package.display().to_string()));
        total = total.plus(&sum);
    }
    rows.push(total.row("all".into()));
    print_rows(&["lines", "executable", "specification", "proof", "tests"], &rows);
    Ok(Outcome::Passed(format!(
        "{} executable, {} specification, {} proof, {} tests",
        total.executable, total.specification, total.proof, total.test
    )))
}

/// Lists what is past its budget; a report, not a verdict.
pub fn budgets(workspace: &Workspace) -> Result<Outcome> {
    let mut over = 0;
    for package in packages(workspace)? {
        for file in files(workspace, &package)? {
            if file.count.executable > FILE_BUDGET {
                println!(
                    "  {}: {} executable lines (budget {FILE_BUDGET})",
                    file.path.display(),
                    file.count.executable
                );
                over += 1;
            }
            for f in file.functions.iter().filter(|f| f.executable > FUNCTION_BUDGET) {
                let place = format!("{}:{}", file.path.display(), f.line);
                println!(
                    "  {place}: {} has {} executable lines (budget {FUNCTION_BUDGET})",
                    f.name, f.executable
                );
                over += 1;
            }
        }
    }
    Ok(Outcome::Passed(format!("{over} past their budget")))
}

impl Count {
    fn of(classes: &[Class]) -> Self {
        let lines = |class: Class| classes.iter().filter(|c| **c == class).count();
        Count {
            executable: lines(Class::Executable),
            specification: lines(Class::Specification),
            proof: lines(Class::Proof),
            test: lines(Class::Test),
        }
    }

    fn plus(self, other: &Count) -> Self {
        Count {
            executable: self.executable + other.executable,
            specification: self.specification + other.specification,
            proof: self.proof + other.proof,
            test: self.test + other.test,
        }
    }

    fn row(&self, name: String) -> [String; 5] {
        let [a, b, c, d] =
            [self.executable, self.specification, self.proof, self.test].map(|n| n.to_string());
        [name, a, b, c, d]
    }
}

/// The workspace's members, as folders.
fn packages(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(workspace.root.join("crates"))? {
        found.push(Path::new("crates").join(entry?.file_name()));
    }
    found.push("xtask".into());
    found.sort();
    Ok(found)
}

fn files(workspace: &Workspace, package: &Path) -> Result<Vec<FileLines>> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        rust_files(&workspace.root.join(package).join(folder), &mut paths)?;
    }
    paths.sort();
    paths.iter().map(|path| lines_of(&workspace.root, path)).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn lines_of(root: &Path, path: &Path) -> Result<FileLines> {
    let text = fs::read_to_string(path)?;
    let (_, items) = parse::file(&text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    let relative = path.strip_prefix(root).context("a file of the workspace")?.to_owned();
    let is_test = relative.components().any(|c| c.as_os_str() == "tests")
        || relative.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    let mut marks = Marks::blank(text.lines().count());
    for item in &items {
        marks.item(item, if is_test { Class::Test } else { Class::Executable });
    }
    Ok(FileLines { path: relative, count: Count::of(&marks.classes), functions: marks.functions })
}
