//! Everything that CI runs, as `cargo xtask <command>`.
mod debian;
mod fault;
mod ledger;
mod lines;
mod loom;
mod mutants;
mod probe;
mod qemu;
mod qemu_state;
mod report;
mod source;
mod toolchain;
mod tsan;
mod verify;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use fault::Fault;
use qemu::{Arch, Boot};
use report::{Outcome, Report, shown};
use std::process::ExitCode;
use workspace::{Workspace, is_on_path};

/// The project's own checks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand, Clone)]
enum Task {
    /// Runs everything that must hold on every commit
    Ci {
        /// Makes the mistakes of `mutants` as well, which takes a quarter of an hour and more
        #[arg(long)]
        mutants: bool,
    },
    /// Checks the format of all code
    Fmt,
    /// Runs clippy over everything, warnings denied
    Lint,
    /// Builds the documentation, warnings denied
    Docs,
    /// Holds TRUSTED.toml against the sources
    Ledger,
    /// Explores the interleavings of small programs over the protocols, with the real orderings
    Loom,
    /// Runs tests of many threads under ThreadSanitizer, where a nightly toolchain brings it
    Tsan,
    /// Verifies the proved crates
    Verify {
        /// Lists the functions that cost the verifier most
        #[arg(long)]
        report: bool,
        /// Has the solver make other choices: a proof that is stable goes through with any
        #[arg(long, conflicts_with = "report")]
        seed: Option<u32>,
    },
    /// Plants false assertions and expects the verifier to find each
    Probe,
    /// Makes the mistakes that xtask/mutants.toml lists, one at a time, and expects each to be found
    Mutants {
        /// Makes only those whose names or files contain this, or that this must find; may be repeated
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Says what mistakes there are, and makes none
        #[arg(long)]
        list: bool,
    },
    /// Builds the kernel for bare metal, boots it in QEMU, and ends with its verdict
    Qemu(qemu::Boot),
    /// Lists files and functions past the size that STYLE asks for
    Budgets,
    /// Counts lines of executable code, specification and proof
    Count,
    /// Checks dependencies and spelling, with cargo-deny and typos, where they are installed
    Hygiene,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let workspace = Workspace::find()?;
    let mut report = Report::default();
    match arguments.command {
        Task::Ci { mutants } => {
            ci(&workspace, &mut report);
            if mutants {
                report.step("mutants", || mutants::run(&workspace, &[]));
            }
        }
        Task::Fmt => report.step("fmt", || fmt(&workspace)),
        Task::Lint => report.step("lint", || lint(&workspace)),
        Task::Docs => report.step("docs", || docs(&workspace)),
        Task::Ledger => report.step("ledger", || ledger::run(&workspace, ledger::Detail::Table)),
        Task::Loom => report.step("loom", || loom::run(&workspace)),
        Task::Tsan => tsan(&workspace, &mut report),
        Task::Verify { report: false, seed } => report.step("verify", || verify::run(&workspace, seed)),
        Task::Verify { report: true, .. } => report.step("verify", || verify::cost(&workspace)),
        Task::Probe => report.step("probe", || probe::run(&workspace)),
        Task::Mutants { list: true, .. } => report.step("mutants", || mutants::print_list(&workspace)),
        Task::Mutants { only, list: false } => report.step("mutants", || mutants::run(&workspace, &only)),
        Task::Qemu(boot) => report.step("qemu", || qemu::run(&workspace, &boot)),
        Task::Budgets => report.step("budgets", || lines::budgets(&workspace)),
        Task::Count => report.step("count", || lines::count(&workspace)),
        Task::Hygiene => hygiene(&workspace, &mut report),
    }
    Ok(report.finish())
}

fn ci(workspace: &Workspace, report: &mut Report) {
    report.step("fmt", || fmt(workspace));
    report.step("lint", || lint(workspace));
    for arch in Arch::KERNELS {
        report.step(&format!("lint {}", arch.name()), || qemu::lint(workspace, arch));
    }
    report.step("docs", || docs(workspace));
    report.step("ledger", || ledger::run(workspace, ledger::Detail::Totals));
    report.step("loom", || loom::run(workspace));
    for arch in Arch::ALL {
        for cpus in [1, 2, 4] {
            let name = format!("qemu {} on {cpus}", arch.name());
            report.step(&name, || qemu::run(workspace, &Boot::with(arch, cpus)));
        }
        let name = format!("qemu {} counts instructions", arch.name());
        let counting = Boot { count_instructions: true, ..Boot::with(arch, 1) };
        report.step(&name, || qemu::run(workspace, &counting));
        for fault in Fault::ALL {
            let name = format!("qemu {} with {}", arch.name(), fault.title());
            report.step(&name, || qemu::run(workspace, &fault.machine(arch)));
        }
    }
    tsan(workspace, report);
    report.step("verify", || verify::run(workspace, None));
    report.step("probe", || probe::run(workspace));
}

fn tsan(workspace: &Workspace, report: &mut Report) {
    report.step("tsan", || tsan::run(workspace));
    report.step("tsan with std", || tsan::run_with_std(workspace));
}

fn hygiene(workspace: &Workspace, report: &mut Report) {
    report.step("deny", || match is_on_path("cargo-deny") {
        true => shown(workspace.cargo().args(["deny", "check"])),
        false => Ok(Outcome::Skipped("cargo-deny is not on the PATH".into())),
    });
    report.step("typos", || match is_on_path("typos") {
        true => shown(std::process::Command::new("typos").current_dir(&workspace.root)),
        false => Ok(Outcome::Skipped("typos is not on the PATH".into())),
    });
}

fn fmt(workspace: &Workspace) -> Result<Outcome> {
    match shown(workspace.cargo().args(["fmt", "--all", "--check"]))? {
        Outcome::Passed(_) => shown(workspace.cargo().args([
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            "targets/Cargo.toml",
        ])),
        other => Ok(other),
    }
}

fn lint(workspace: &Workspace) -> Result<Outcome> {
    shown(workspace.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn docs(workspace: &Workspace) -> Result<Outcome> {
    shown(workspace.cargo().env("RUSTDOCFLAGS", "-Dwarnings").args(["doc", "--no-deps", "--workspace"]))
}
