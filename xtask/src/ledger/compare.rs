//! Holds the ledger against the sources.
use super::entries::{Entries, FILE, Trusted};
use super::find::{Finding, Findings};
use super::kind::{Kind, Rule};
use crate::source::tree::Standing;
use crate::source::{Item, parse};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that differs, a sentence each, with file and line.
pub fn problems(workspace: &Path, entries: &Entries, crates: &[Findings]) -> Vec<String> {
    let mut problems = Vec::new();
    let sites = sites(crates);
    forbidden(crates, &mut problems);
    missing_entries(entries, &sites, &mut problems);
    for (index, entry) in entries.trusted.iter().enumerate() {
        let place = format!("{FILE}:{}", entries.line(&entry.item));
        if entries.trusted[..index].iter().any(|e| e.item == entry.item && e.kind == entry.kind) {
            problems.push(format!("{place}: {} ({}) has a second entry", entry.item.get_ref(), entry.kind));
        }
        if let Err(problem) = judge(workspace, entry, &sites, crates) {
            problems.push(format!("{place}: {}: {problem}", entry.item.get_ref()));
        }
    }
    unverified(entries, crates, &mut problems);
    problems
}

/// Where each thing that needs an entry stands.
type Sites<'a> = BTreeMap<(&'a str, Kind), Vec<&'a Finding>>;

fn sites(crates: &[Findings]) -> Sites<'_> {
    let mut sites = Sites::new();
    for finding in crates.iter().flat_map(|c| &c.trusted) {
        if matches!(finding.kind.rule(), Rule::Entry | Rule::EntryWithTest) {
            sites.entry((&finding.item, finding.kind)).or_default().push(finding);
        }
    }
    sites
}

fn place(finding: &Finding) -> String {
    format!("{}:{}", finding.path.display(), finding.line)
}

fn forbidden(crates: &[Findings], problems: &mut Vec<String>) {
    for finding in crates.iter().flat_map(|c| &c.trusted).filter(|f| f.kind.rule() == Rule::Forbidden) {
        problems.push(format!("{}: {}: {}", place(finding), finding.item, finding.kind.name()));
    }
}

fn missing_entries(entries: &Entries, sites: &Sites<'_>, problems: &mut Vec<String>) {
    for ((item, kind), found) in sites {
        if !entries.trusted.iter().any(|e| e.item.get_ref() == item && e.kind == kind.name()) {
            problems.push(format!("{}: {item} ({}) has no entry in {FILE}", place(found[0]), kind.name()));
        }
    }
}

fn judge(workspace: &Path, entry: &Trusted, sites: &Sites<'_>, crates: &[Findings]) -> Result<(), String> {
    let item = entry.item.get_ref().as_str();
    let kind = Kind::parse(&entry.kind).ok_or_else(|| format!("unknown kind `{}`", entry.kind))?;
    if kind == Kind::Primitive {
        let known = crates.iter().flat_map(|c| &c.known);
        if !known.clone().any(|k| k.item == item && k.standing == Standing::Unverified) {
            return Err("no such item in a module that is not verified".into());
        }
    } else {
        let found = sites.get(&(item, kind)).map_or(&[][..], Vec::as_slice);
        if found.is_empty() {
            return Err(format!("no such item with `{}` in the sources", entry.kind));
        }
        if found.len() != entry.sites {
            let places: Vec<String> = found.iter().map(|f| place(f)).collect();
            return Err(format!("{} places, not {}: {}", found.len(), entry.sites, places.join(", ")));
        }
    }
    if entry.why.trim().is_empty() {
        return Err("the reason is empty".into());
    }
    match (&entry.test, kind.rule()) {
        (None, Rule::EntryWithTest) => Err("names no test".into()),
        (None, _) => Ok(()),
        (Some(test), _) => has_test(workspace, test),
    }
}

fn unverified(entries: &Entries, crates: &[Findings], problems: &mut Vec<String>) {
    let modules: Vec<_> = crates.iter().flat_map(|c| &c.unverified).collect();
    for module in &modules {
        let matching = entries.unverified.iter().filter(|e| *e.module.get_ref() == module.module).count();
        if matching != 1 {
            let (path, line) = (module.path.display(), module.line);
            problems.push(format!(
                "{path}:{line}: module {} has {matching} [[unverified]] entries",
                module.module
            ));
        }
    }
    for entry in &entries.unverified {
        let (line, name) = (entries.line(&entry.module), entry.module.get_ref());
        if !modules.iter().any(|m| m.module == *name) {
            problems.push(format!("{FILE}:{line}: module {name} is not marked `verifier::external`"));
        } else if entry.why.trim().is_empty() {
            problems.push(format!("{FILE}:{line}: module {name}: the reason is empty"));
        }
    }
}

/// Where the checks stand that the kernel for bare metal runs, and the list that names each: its own, and the suites that
/// run on every machine.
const BOOT_CHECKS: [(&str, &str); 2] = [
    ("targets/kernel/src/check", "targets/kernel/src/check.rs"),
    ("crates/vellum-suite/src", "crates/vellum-suite/src/lib.rs"),
];

/// Whether `file::name` is a test, or a check of the kernel's list.
fn has_test(workspace: &Path, test: &str) -> Result<(), String> {
    let (file, name) = test.rsplit_once("::").ok_or_else(|| format!("test `{test}` is not `file::name`"))?;
    if let Some((_, list)) = BOOT_CHECKS.iter().find(|(folder, _)| file.starts_with(folder)) {
        return in_list_of_checks(workspace, list, file, name);
    }
    let text = std::fs::read_to_string(workspace.join(file)).map_err(|e| format!("test file {file}: {e}"))?;
    let (_, items) = parse::file(&text).map_err(|e| format!("test file {file}: {e}"))?;
    if contains_test(&items, name) { Ok(()) } else { Err(format!("{file} has no test named {name}")) }
}

/// Whether a list of checks has `module::name`, and the file of the module the function.
fn in_list_of_checks(workspace: &Path, list: &str, file: &str, name: &str) -> Result<(), String> {
    let read = |file: &str| {
        std::fs::read_to_string(workspace.join(file)).map_err(|e| format!("test file {file}: {e}"))
    };
    let module = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
    let list = read(list)?;
    // The kernel lists `module::name`; suites stand by name under their module.
    let suites = list.split(&format!("            {module} {{\n")).nth(1).unwrap_or_default();
    let suites = suites.split("            }\n").next().unwrap_or_default();
    let listed = list.contains(&format!(", {module}::{name}),")) || suites.contains(&format!("{name}: \""));
    let there = read(file)?.contains(&format!("pub fn {name}("));
    if listed && there { Ok(()) } else { Err(format!("the kernel has no check {module}::{name}")) }
}

fn contains_test(items: &[Item], name: &str) -> bool {
    items.iter().any(|item| {
        let is_test = item.attributes.iter().any(|a| a.is("test"));
        (is_test && item.name == name) || contains_test(&item.children, name)
    })
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
