//! Runs tests of many threads under ThreadSanitizer.
//!
//! It wants a nightly toolchain that brings the sanitizer's runtime. Where that toolchain has the sources of the standard
//! library, the library is built with the sanitizer as well. Where not, the sanitizer does not see what its locks order:
//! tests that rely on them are SKIPPED, and `xtask/tsan.suppressions` names what is known of the library itself.
//!
//! ThreadSanitizer does not follow fences. The code relies on them for the order of a write and a later read alone, never
//! to see what another thread wrote: that is done by acquiring loads.
use crate::report::{Outcome, shown};
use crate::workspace::{Workspace, is_on_path, is_recent};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tests of one package.
struct Set {
    package: &'static str,
    binaries: &'static [&'static str],
    tests: &'static [&'static str],
    /// Their threads meet through locks and channels of the standard library.
    relies_on_std: bool,
}

const SETS: [Set; 6] = [
    Set { package: "vellum", binaries: &["--test", "frames"], tests: &["stress::"], relies_on_std: false },
    Set { package: "vellum", binaries: &["--test", "magazines"], tests: &[], relies_on_std: false },
    Set {
        package: "vellum",
        binaries: &["--lib"],
        tests: &["many_threads", "of_many", "visitors_add"],
        relies_on_std: false,
    },
    Set {
        package: "vellum",
        binaries: &["--test", "frames"],
        tests: &["list::", "shared::one_thread_wins"],
        relies_on_std: true,
    },
    Set {
        package: "vellum-hosted",
        binaries: &["--test", "buddy", "--test", "page_table_concurrent"],
        tests: &[],
        relies_on_std: true,
    },
    Set {
        package: "vellum-hosted",
        binaries: &["--test", "suite"],
        tests: &["frames::", "sequences::", "shortage::", "at_once::", "storm::"],
        relies_on_std: true,
    },
];

/// A toolchain that can.
struct Toolchain {
    name: String,
    host: String,
    has_library_sources: bool,
}

/// Runs the tests whose threads meet through nothing but our own code.
pub fn run(workspace: &Workspace) -> Result<Outcome> {
    let Some(toolchain) = find(workspace) else {
        return Ok(Outcome::Skipped(NO_TOOLCHAIN.into()));
    };
    if !toolchain.has_library_sources && !is_on_path("llvm-symbolizer") {
        let why = "without the library's sources, llvm-symbolizer must be on the PATH for the suppressions";
        return Ok(Outcome::Skipped(why.into()));
    }
    run_sets(workspace, &toolchain, |set| !set.relies_on_std)
}

/// Runs the others, which want the standard library built with the sanitizer.
pub fn run_with_std(workspace: &Workspace) -> Result<Outcome> {
    let Some(toolchain) = find(workspace) else {
        return Ok(Outcome::Skipped(NO_TOOLCHAIN.into()));
    };
    if !toolchain.has_library_sources {
        let why = "lacks the sources of the library (rustup component add rust-src)";
        return Ok(Outcome::Skipped(format!("{} {why}", toolchain.name)));
    }
    run_sets(workspace, &toolchain, |set| set.relies_on_std)
}

const NO_TOOLCHAIN: &str = "no nightly toolchain of rustup brings ThreadSanitizer";

fn run_sets(workspace: &Workspace, toolchain: &Toolchain, of: impl Fn(&Set) -> bool) -> Result<Outcome> {
    for set in SETS.iter().filter(|set| of(set)) {
        let outcome = shown(&mut command(workspace, toolchain, set))?;
        if outcome != Outcome::Passed(String::new()) {
            return Ok(Outcome::Failed(format!("{} {}", set.package, set.binaries.join(" "))));
        }
    }
    Ok(Outcome::Passed(toolchain.name.clone()))
}

fn command(workspace: &Workspace, toolchain: &Toolchain, set: &Set) -> Command {
    let mut cargo = workspace.other("cargo");
    cargo.arg(format!("+{}", toolchain.name)).args(["test", "--package", set.package]).args(set.binaries);
    cargo.args(["--target", &toolchain.host, "--target-dir"]).arg(workspace.target.join("tsan"));
    if toolchain.has_library_sources {
        cargo.arg("-Zbuild-std").env("RUSTFLAGS", "-Zsanitizer=thread --cfg tsan");
    } else {
        cargo.env("RUSTFLAGS", "-Zsanitizer=thread --cfg tsan -Cunsafe-allow-abi-mismatch=sanitizer");
        let file = workspace.root.join("xtask").join("tsan.suppressions");
        cargo.env("TSAN_OPTIONS", format!("suppressions={}", file.display()));
    }
    cargo.arg("--").args(set.tests);
    cargo
}

fn find(workspace: &Workspace) -> Option<Toolchain> {
    let listed = Command::new("rustup").args(["toolchain", "list", "--quiet"]).output().ok()?;
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let able = names.lines().filter_map(|name| toolchain(workspace, name).ok());
    able.max_by_key(|toolchain| toolchain.has_library_sources)
}

/// Looks at a toolchain; an error says why it cannot.
fn toolchain(workspace: &Workspace, name: &str) -> Result<Toolchain> {
    let ask = |arguments: &[&str]| -> Result<String> {
        let output = workspace.other("rustc").arg(format!("+{name}")).args(arguments).output()?;
        ensure!(output.status.success(), "{name} has no rustc");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let version = ask(&["-vV"])?;
    let field = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).context("rustc -vV");
    let (release, host) = (field("release: ")?, field("host: ")?);
    ensure!(release.contains("nightly") && is_recent(release), "{name} is {release}");
    let rustlib = PathBuf::from(ask(&["--print", "sysroot"])?).join("lib/rustlib");
    ensure!(has_runtime(&rustlib.join(host).join("lib"))?, "{name} brings no runtime");
    let has_library_sources = rustlib.join("src/rust/library/Cargo.lock").exists();
    Ok(Toolchain { name: name.to_owned(), host: host.to_owned(), has_library_sources })
}

fn has_runtime(folder: &Path) -> Result<bool> {
    let names = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.file_name()));
    Ok(names.map(|name| name.to_string_lossy().into_owned()).any(|name| name.ends_with("_rt.tsan.a")))
}
