use super::*;
use crate::source::tree::UnverifiedModule;

fn finding(kind: Kind) -> Finding {
    Finding { item: "c::f".into(), kind, path: "c.rs".into(), line: 7 }
}

/// What is wrong with `entries` where the sources hold `trusted` and the module `c::m` is not verified.
fn judged(entries: &str, trusted: Vec<Finding>) -> Vec<String> {
    let unverified = vec![UnverifiedModule { module: "c::m".into(), path: "c.rs".into(), line: 2 }];
    let known = vec![super::super::find::Known { item: "c::m::g".into(), standing: Standing::Unverified }];
    let findings = Findings { trusted, unverified, known, ..Findings::default() };
    let module = "[[unverified]]\nmodule = 'c::m'\nwhy = 'hardware'\n";
    let entries = Entries::parse(format!("{module}{entries}")).expect("TOML");
    problems(Path::new(env!("CARGO_MANIFEST_DIR")), &entries, &[findings])
}

fn entry(item: &str, kind: &str) -> String {
    let test = "src/ledger/compare_tests.rs::an_equal_ledger_is_accepted";
    format!("[[trusted]]\nitem = '{item}'\nkind = '{kind}'\nwhy = 'so'\ntest = '{test}'\n")
}

#[test]
fn an_equal_ledger_is_accepted() {
    let entries = entry("c::f", "external_body") + &entry("c::m::g", "primitive");
    assert_eq!(judged(&entries, vec![finding(Kind::ExternalBody)]), [""; 0]);
}

#[test]
fn a_missing_entry_names_the_place_in_the_sources() {
    let problems = judged("", vec![finding(Kind::ExternalBody)]);
    assert_eq!(problems, ["c.rs:7: c::f (external_body) has no entry in TRUSTED.toml"]);
}

#[test]
fn a_stale_entry_names_the_place_in_the_ledger() {
    let problems = judged(&entry("c::f", "external_body"), vec![]);
    assert_eq!(problems, ["TRUSTED.toml:5: c::f: no such item with `external_body` in the sources"]);
}

#[test]
fn an_entry_of_another_kind_is_no_entry() {
    assert_eq!(judged(&entry("c::f", "external"), vec![finding(Kind::ExternalBody)]).len(), 2);
}

#[test]
fn a_second_entry_and_a_second_place_are_refused() {
    let once = entry("c::f", "axiom");
    assert_eq!(judged(&(once.clone() + &once), vec![finding(Kind::Axiom)]).len(), 1);
    assert_eq!(judged(&once, vec![finding(Kind::Axiom), finding(Kind::Axiom)]).len(), 1);
    let twice = format!("{once}sites = 2\n");
    assert_eq!(judged(&twice, vec![finding(Kind::Axiom), finding(Kind::Axiom)]), [""; 0]);
}

#[test]
fn a_test_must_exist_and_be_one() {
    for test in
        ["src/nowhere.rs::t", "src/ledger/compare_tests.rs::no_such", "src/ledger/compare_tests.rs::entry"]
    {
        let entry = format!("[[trusted]]\nitem = 'c::f'\nkind = 'axiom'\nwhy = 'so'\ntest = '{test}'\n");
        assert_eq!(judged(&entry, vec![finding(Kind::Axiom)]).len(), 1, "{test}");
    }
}

#[test]
fn a_primitive_must_exist_in_an_unverified_module() {
    assert_eq!(judged(&entry("c::f", "primitive"), vec![]).len(), 1);
}

#[test]
fn assumptions_have_no_entry_that_would_allow_them() {
    let problems = judged(&entry("c::f", "assume"), vec![finding(Kind::Assume)]);
    assert_eq!(problems.len(), 2);
}

#[test]
fn unproved_termination_needs_an_entry_but_no_test() {
    let entry = "[[trusted]]\nitem = 'c::f'\nkind = 'exec_allows_no_decreases_clause'\nwhy = 'a lock'\n";
    assert_eq!(judged(entry, vec![finding(Kind::NoDecreases)]), [""; 0]);
}

#[test]
fn unverified_modules_are_held_against_the_ledger_both_ways() {
    let other = "[[unverified]]\nmodule = 'c::n'\nwhy = 'hardware'\n";
    assert_eq!(judged(other, vec![]), ["TRUSTED.toml:5: module c::n is not marked `verifier::external`"]);
    let entries = Entries::parse(String::new()).expect("TOML");
    let unverified = vec![UnverifiedModule { module: "c::m".into(), path: "c.rs".into(), line: 2 }];
    let findings = Findings { unverified, ..Findings::default() };
    assert_eq!(problems(Path::new("."), &entries, &[findings]).len(), 1);
}
