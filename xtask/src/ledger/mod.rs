//! The ledger of trust: what the proofs take for granted, held against the sources.
pub mod compare;
pub mod entries;
pub mod find;
pub mod kind;

use crate::report::Outcome;
use crate::source::tree;
use crate::workspace::{VERIFIED_CRATES, Workspace};
use anyhow::Result;
use entries::Entries;
use find::{Finding, Findings};
use kind::{Kind, Rule};

/// How much to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// The differences and a line of totals.
    Totals,
    /// Every entry as well.
    Table,
}

/// Reads the verified crates.
pub fn findings(workspace: &Workspace) -> Result<Vec<Findings>> {
    let read = |package: &&str| Ok(find::in_tree(&tree::read(&workspace.root, package)?));
    VERIFIED_CRATES.iter().map(read).collect()
}

/// Compares the ledger with the sources.
pub fn run(workspace: &Workspace, detail: Detail) -> Result<Outcome> {
    let crates = findings(workspace)?;
    let entries = Entries::read(&workspace.root)?;
    if detail == Detail::Table {
        print_table(&crates, &entries);
    }
    let problems = compare::problems(&workspace.root, &entries, &crates);
    for problem in &problems {
        println!("  {problem}");
    }
    let totals = totals(&crates, &entries);
    println!("  {totals}");
    Ok(match problems.len() {
        0 => Outcome::Passed(totals),
        n => Outcome::Failed(format!("{n} differences between the sources and {}", entries::FILE)),
    })
}

fn all(crates: &[Findings]) -> impl Iterator<Item = &Finding> {
    crates.iter().flat_map(|c| &c.trusted)
}

fn totals(crates: &[Findings], entries: &Entries) -> String {
    let of = |kind: Kind| all(crates).filter(|f| f.kind == kind).count();
    let primitives = entries.trusted.iter().filter(|e| e.kind == Kind::Primitive.name()).count();
    let trusted = all(crates).filter(|f| f.kind.rule() == Rule::EntryWithTest).count();
    format!(
        "{trusted} trusted in verified modules, {} modules unverified, {primitives} machine primitives, \
         {} without proof of termination, {} uninterpreted, {} safe public functions with a precondition",
        crates.iter().map(|c| c.unverified.len()).sum::<usize>(),
        of(Kind::NoDecreases),
        of(Kind::Uninterpreted),
        of(Kind::SafeWithPrecondition),
    )
}

fn print_table(crates: &[Findings], entries: &Entries) {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for f in all(crates) {
        rows.push([f.kind.name().into(), f.item.clone(), format!("{}:{}", f.path.display(), f.line)]);
    }
    for entry in entries.trusted.iter().filter(|e| e.kind == Kind::Primitive.name()) {
        let test = entry.test.clone().unwrap_or_default();
        rows.push([entry.kind.clone(), entry.item.get_ref().clone(), format!("tested by {test}")]);
    }
    for m in crates.iter().flat_map(|c| &c.unverified) {
        rows.push(["unverified module".into(), m.module.clone(), format!("{}:{}", m.path.display(), m.line)]);
    }
    rows.sort();
    crate::report::print_rows(&["trusted how", "item", "where"], &rows);
}
