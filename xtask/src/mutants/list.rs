//! `xtask/mutants.toml`: mistakes, and who must find each.
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// A mistake, and who must find it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutant {
    /// What is wrong, in a few words.
    pub name: String,
    /// Where it is made.
    pub file: PathBuf,
    /// The text that is replaced.
    pub find: String,
    /// How often that text occurs.
    pub occurrence: usize,
    /// The text that replaces it.
    pub replace: String,
    /// What would go wrong.
    pub why: String,
    /// Who must find it.
    pub judge: Judge,
}

/// Who must find a mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judge {
    /// The verifier, with an error in this file.
    Verifier(PathBuf),
    /// The compiler that the verifier brings, which knows the tokens: they are checked before anything is proved.
    Compiler(PathBuf),
    /// A test.
    Test(TestName),
    /// One of the programs that loom explores.
    Loom(String),
}

/// Where a test is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestName {
    /// The package.
    pub package: String,
    /// The file in `tests`, or `lib` for unit tests.
    pub binary: String,
    /// The test.
    pub test: String,
}

/// The text to be replaced does not occur as often as the list says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoesNotApply {
    found: usize,
    wanted: usize,
}

impl fmt::Display for DoesNotApply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text to replace occurs {} times instead of {}", self.found, self.wanted)
    }
}

impl Judge {
    /// Whether it can be asked only where there is a verifier.
    pub fn needs_verifier(&self) -> bool {
        matches!(self, Judge::Verifier(_) | Judge::Compiler(_))
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judge::Verifier(_) => f.write_str("verifier"),
            Judge::Compiler(_) => f.write_str("compiler"),
            Judge::Test(_) => f.write_str("test"),
            Judge::Loom(_) => f.write_str("loom"),
        }
    }
}

impl Mutant {
    /// The text of the file with the mistake in it.
    pub fn apply(&self, text: &str) -> Result<String, DoesNotApply> {
        let found = text.matches(&self.find).count();
        if found != self.occurrence {
            return Err(DoesNotApply { found, wanted: self.occurrence });
        }
        Ok(text.replace(&self.find, &self.replace))
    }
}

/// The package of a source file.
pub fn package_of(file: &Path) -> Result<String> {
    let rest = file.strip_prefix("crates").ok();
    let package = rest.and_then(|rest| rest.iter().next());
    Ok(package.with_context(|| format!("{} is in no crate", file.display()))?.to_string_lossy().into_owned())
}

/// The module that a source file is; `None` for the crate's root.
pub fn module_of(file: &Path) -> Option<String> {
    let names = file.with_extension("");
    let mut names: Vec<_> = names.iter().skip(3).map(|name| name.to_string_lossy()).collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    (!names.is_empty()).then(|| names.join("::"))
}

/// Reads the list.
pub fn parse(text: &str) -> Result<Vec<Mutant>> {
    let List { mutant } = toml::from_str(text)?;
    let mutants: Vec<Mutant> = mutant.into_iter().map(checked).collect::<Result<_>>()?;
    let mut names = BTreeSet::new();
    for mutant in &mutants {
        ensure!(names.insert(&mutant.name), "two mutants have the name \"{}\"", mutant.name);
    }
    Ok(mutants)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    file: PathBuf,
    find: String,
    occurrence: Option<usize>,
    replace: String,
    why: String,
    rejected_by: By,
    seen_in: Option<PathBuf>,
    package: Option<String>,
    binary: Option<String>,
    test: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Verifier,
    Compiler,
    Test,
    Loom,
}

fn checked(entry: Entry) -> Result<Mutant> {
    let name = entry.name.clone();
    from_entry(entry).with_context(|| format!("the mutant \"{name}\""))
}

fn from_entry(entry: Entry) -> Result<Mutant> {
    let Entry { name, file, find, occurrence, replace, why, rejected_by, seen_in, package, binary, test } =
        entry;
    ensure!(!name.is_empty() && !why.is_empty(), "it has a name and says why");
    ensure!(!find.is_empty() && find != replace, "it replaces something by something else");
    package_of(&file)?;
    let seen_in = seen_in.unwrap_or_else(|| file.clone());
    let judge = match (rejected_by, package, binary, test) {
        (By::Verifier, None, None, None) => Judge::Verifier(seen_in),
        (By::Compiler, None, None, None) => Judge::Compiler(seen_in),
        (By::Test, Some(package), Some(binary), Some(test)) => {
            Judge::Test(TestName { package, binary, test })
        }
        (By::Loom, None, None, Some(test)) => Judge::Loom(test),
        (By::Loom, ..) => bail!("a program that loom explores is named by `test`"),
        (By::Test, ..) => bail!("a test is named by `package`, `binary` and `test`"),
        _ => bail!("`package`, `binary` and `test` are for those that a test rejects"),
    };
    Ok(Mutant { name, file, find, occurrence: occurrence.unwrap_or(1), replace, why, judge })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "[[mutant]]\nname = \"a\"\nfile = \"crates/vellum/src/frame/slot.rs\"\nwhy = \"w\"\n";

    fn one(rest: &str) -> Result<Mutant> {
        let mut mutants = parse(&format!("{HEAD}{rest}"))?;
        assert_eq!(mutants.len(), 1);
        Ok(mutants.remove(0))
    }

    fn problem(rest: &str) -> String {
        format!("{:#}", one(rest).expect_err("the list is wrong"))
    }

    #[test]
    fn an_error_is_expected_in_the_mutated_file_unless_said() {
        let text = "find = \"x\"\nreplace = \"y\"\nrejected_by = \"verifier\"\n";
        let mutant = one(text).expect("it is well-formed");
        assert_eq!((mutant.occurrence, &mutant.judge), (1, &Judge::Verifier(mutant.file.clone())));
        let mutant = one(&format!("{text}seen_in = \"crates/vellum/src/lib.rs\"")).expect("as well");
        assert_eq!(mutant.judge, Judge::Verifier("crates/vellum/src/lib.rs".into()));
    }

    #[test]
    fn a_test_is_named_in_full() {
        let text = "find = \"x\"\nreplace = \"y\"\nrejected_by = \"test\"\npackage = \"p\"\nbinary = \"b\"\n";
        assert!(problem(text).contains("`package`, `binary` and `test`"));
        let test = TestName { package: "p".into(), binary: "b".into(), test: "t".into() };
        let mutant = one(&format!("{text}test = \"t\"")).expect("it is well-formed");
        assert_eq!(mutant.judge, Judge::Test(test));
        assert!(!mutant.judge.needs_verifier());
    }

    #[test]
    fn a_program_for_loom_is_named_by_its_test_alone() {
        let text = "find = \"x\"\nreplace = \"y\"\nrejected_by = \"loom\"\n";
        assert!(problem(text).contains("named by `test`"));
        assert!(problem(&format!("{text}test = \"t\"\npackage = \"p\"")).contains("named by `test`"));
        let mutant = one(&format!("{text}test = \"t\"")).expect("it is well-formed");
        assert_eq!(mutant.judge, Judge::Loom("t".into()));
        assert!(!mutant.judge.needs_verifier());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(
            problem("find = \"x\"\nreplace = \"x\"\nrejected_by = \"verifier\"").contains("something else")
        );
        assert!(problem("find = \"x\"\nreplace = \"y\"\nrejected_by = \"nobody\"").contains("nobody"));
        assert!(
            problem("find = \"x\"\nreplace = \"y\"\nrejected_by = \"test\"\nseen = \"z\"").contains("seen")
        );
        let twice = format!("{HEAD}find = \"x\"\nreplace = \"y\"\nrejected_by = \"verifier\"\n").repeat(2);
        assert!(format!("{:#}", parse(&twice).expect_err("one name")).contains("two mutants"));
    }

    #[test]
    fn a_mutant_applies_where_the_text_occurs_as_often_as_said() {
        let text = "find = \"x\"\nreplace = \"y\"\nrejected_by = \"verifier\"\n";
        let once = one(text).expect("it is well-formed");
        assert_eq!(once.apply("a x"), Ok("a y".into()));
        assert_eq!(once.apply("a"), Err(DoesNotApply { found: 0, wanted: 1 }));
        let problem = once.apply("x x").expect_err("it occurs twice");
        assert_eq!(problem.to_string(), "the text to replace occurs 2 times instead of 1");
        let twice = one(&format!("{text}occurrence = 2")).expect("it is well-formed");
        assert_eq!(twice.apply("x x"), Ok("y y".into()));
    }

    #[test]
    fn files_are_modules_of_packages() {
        let module = |file: &str| module_of(Path::new(file));
        assert_eq!(module("crates/vellum/src/frame/slot.rs").as_deref(), Some("frame::slot"));
        assert_eq!(module("crates/vellum/src/frame/segment/mod.rs").as_deref(), Some("frame::segment"));
        assert_eq!(module("crates/vellum/src/lib.rs"), None);
        assert_eq!(package_of(Path::new("crates/vellum/src/lib.rs")).ok().as_deref(), Some("vellum"));
        assert!(package_of(Path::new("xtask/src/main.rs")).is_err());
    }

    #[test]
    fn the_list_of_the_project_applies_to_its_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        for mutant in parse(include_str!("../../mutants.toml")).expect("the list is well-formed") {
            let text = std::fs::read_to_string(root.join(&mutant.file)).expect(&mutant.name);
            assert_eq!(mutant.apply(&text).err(), None, "{}", mutant.name);
        }
    }
}
