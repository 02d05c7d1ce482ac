//! Builds the kernel for bare metal and boots it in QEMU.
use crate::qemu_state::where_it_hangs;
use crate::report::{Outcome, shown};
use crate::workspace::{Workspace, is_on_path};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// An architecture that the kernel boots on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arch {
    /// x86-64, QEMU's machine `q35`.
    #[value(name = "x86_64")]
    X86_64,
    /// RISC-V with page tables of three levels, QEMU's machine `virt`.
    #[value(name = "riscv64")]
    Riscv64,
    /// The same with four levels.
    #[value(name = "riscv64-sv48")]
    Riscv64Sv48,
}

/// How to boot.
#[derive(Clone, Debug, clap::Args)]
pub struct Boot {
    /// The architecture
    #[arg(long, value_enum, default_value = "x86_64")]
    pub arch: Arch,
    /// How many processors the machine has
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// How much memory it has, as QEMU writes it
    #[arg(long, default_value = "512M")]
    pub memory: String,
    /// After how many seconds it counts as hanging
    #[arg(long, default_value_t = 120)]
    pub timeout: u64,
    /// What the kernel finds on its command line, as `rounds=1000`
    #[arg(long, default_value = "")]
    pub append: String,
    /// How many times in a row it boots; the first failure ends it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub times: u32,
    /// Has the kernel make a mistake, which it is to report with the walk of the address
    #[arg(long)]
    pub mistake: bool,
}

impl Boot {
    /// The machine that CI boots.
    pub fn with(arch: Arch, cpus: u32) -> Boot {
        let (memory, append) = ("512M".into(), String::new());
        Boot { arch, cpus, memory, timeout: 300, append, times: 1, mistake: false }
    }

    /// The same, with a kernel that makes a mistake.
    pub fn with_mistake(arch: Arch) -> Boot {
        Boot { mistake: true, ..Boot::with(arch, 1) }
    }

    /// What the kernel is told.
    fn command_line(&self) -> String {
        let mistake = if self.mistake { "mistake=1 " } else { "" };
        format!("{mistake}{}", self.append)
    }
}

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 3] = [Arch::X86_64, Arch::Riscv64, Arch::Riscv64Sv48];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Riscv64 => "riscv64",
            Arch::Riscv64Sv48 => "riscv64-sv48",
        }
    }

    /// The kernel's features.
    fn features(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 | Arch::Riscv64 => &[],
            Arch::Riscv64Sv48 => &["--features", "vellum-kernel/sv48"],
        }
    }

    fn target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-none",
            Arch::Riscv64 | Arch::Riscv64Sv48 => "riscv64imac-unknown-none-elf",
        }
    }

    fn qemu(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86_64",
            Arch::Riscv64 | Arch::Riscv64Sv48 => "qemu-system-riscv64",
        }
    }

    fn debian_package(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86",
            Arch::Riscv64 | Arch::Riscv64Sv48 => "qemu-system-misc",
        }
    }

    /// The machine, and the device by which the kernel ends it.
    fn machine(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
            // It has such a device.
            Arch::Riscv64 | Arch::Riscv64Sv48 => &["-machine", "virt", "-bios", "default"],
        }
    }

    /// The exit code of QEMU when the kernel says that all went well.
    fn success(self) -> i32 {
        match self {
            // The device makes `code << 1 | 1` of the kernel's 0x10.
            Arch::X86_64 => 0x21,
            Arch::Riscv64 | Arch::Riscv64Sv48 => 0,
        }
    }

    /// The exit code of QEMU when the kernel says that something is wrong.
    fn failure(self) -> i32 {
        match self {
            Arch::X86_64 => 0x23,
            Arch::Riscv64 | Arch::Riscv64Sv48 => 2,
        }
    }
}

/// Says what is missing to boot, and how to get it.
fn missing(workspace: &Workspace, arch: Arch) -> Result<Option<String>> {
    if let Libraries::Missing(missing) = libraries(workspace, arch)? {
        return Ok(Some(missing));
    }
    if !is_on_path(arch.qemu()) {
        let (qemu, package) = (arch.qemu(), arch.debian_package());
        return Ok(Some(format!("{qemu} is not on the PATH; Debian: apt-get install {package}")));
    }
    Ok(None)
}

/// Where `core` and `alloc` for a target come from.
enum Libraries {
    /// The compiler brings them.
    There,
    /// The compiler brings their sources alone, and this is the linker where it brings none.
    FromSources(Option<&'static str>),
    /// From nowhere, and this is how to get them.
    Missing(String),
}

/// What the kernel uses of the compiler's libraries.
const LIBRARIES: &str = "core,alloc,compiler_builtins";

/// Linkers for targets without an operating system, where the compiler brings none.
const LINKERS: [&str; 2] = ["ld.lld", "rust-lld"];

fn libraries(workspace: &Workspace, arch: Arch) -> Result<Libraries> {
    let target = arch.target();
    let folder = workspace.rustc_output(&["--print", "target-libdir", "--target", target])?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(Libraries::There);
    }
    let rustlib = PathBuf::from(workspace.rustc_output(&["--print", "sysroot"])?.trim()).join("lib/rustlib");
    if !rustlib.join("src/rust/library/Cargo.lock").is_file() {
        let why = format!("the compiler has no libraries for {target}, and not their sources");
        return Ok(Libraries::Missing(format!("{why}: rustup target add {target}, or see CONTRIBUTING.md")));
    }
    let host = workspace.rustc_output(&["--print", "host-tuple"])?;
    if rustlib.join(host.trim()).join("bin/rust-lld").is_file() {
        return Ok(Libraries::FromSources(None));
    }
    Ok(match LINKERS.into_iter().find(|linker| is_on_path(linker)) {
        Some(linker) => Libraries::FromSources(Some(linker)),
        None => Libraries::Missing(format!("there is no linker for {target}; Debian: apt-get install lld")),
    })
}

/// Cargo for the kernel, which builds the libraries of the target where it must: once, and keeps them.
fn cargo_for(workspace: &Workspace, arch: Arch, task: &str) -> Result<Command> {
    let mut cargo = workspace.cargo();
    cargo.args([task, "--quiet", "--release", "--manifest-path", "targets/Cargo.toml", "--locked"]);
    cargo.args(arch.features()).args(["--target", arch.target(), "--target-dir"]);
    cargo.arg(workspace.target.join("bare"));
    if let Libraries::FromSources(linker) = libraries(workspace, arch)? {
        println!("   the compiler has no libraries for {}: they are built from its sources", arch.target());
        // The kernel's build script builds the user program, with the same libraries.
        cargo.arg(format!("-Zbuild-std={LIBRARIES}")).env("VELLUM_BUILD_STD", LIBRARIES);
        cargo.env("RUSTC_BOOTSTRAP", "1");
        if let Some(linker) = linker {
            let target = arch.target().to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
        }
    }
    Ok(cargo)
}

/// Builds and boots, with the serial output shown; the kernel's verdict is the outcome.
pub fn run(workspace: &Workspace, boot: &Boot) -> Result<Outcome> {
    if let Some(missing) = missing(workspace, boot.arch)? {
        return Ok(Outcome::Skipped(missing));
    }
    let mut build = cargo_for(workspace, boot.arch, "build")?;
    let kernel = workspace.target.join("bare").join(boot.arch.target()).join("release/vellum-kernel");
    match shown(build.args(["--package", "vellum-kernel"]))? {
        Outcome::Passed(_) => start_each(workspace, boot, &kernel),
        other => Ok(other),
    }
}

/// Boots as often as is wanted, until a boot fails.
fn start_each(workspace: &Workspace, boot: &Boot, kernel: &Path) -> Result<Outcome> {
    for time in 1..boot.times {
        match start(workspace, boot, kernel)? {
            Outcome::Passed(_) => println!("   boot {time} of {} passed", boot.times),
            other => return Ok(other),
        }
    }
    start(workspace, boot, kernel)
}

/// Runs clippy over the kernel, warnings denied.
pub fn lint(workspace: &Workspace, arch: Arch) -> Result<Outcome> {
    if let Libraries::Missing(missing) = libraries(workspace, arch)? {
        return Ok(Outcome::Skipped(missing));
    }
    shown(cargo_for(workspace, arch, "clippy")?.args(["--", "-D", "warnings"]))
}

fn start(workspace: &Workspace, boot: &Boot, kernel: &Path) -> Result<Outcome> {
    let monitor = workspace.target.join(format!("bare/monitor-{}", std::process::id()));
    let mut qemu = Command::new(boot.arch.qemu());
    qemu.args(boot.arch.machine()).args(["-accel", "tcg,thread=multi", "-nodefaults", "-no-reboot"]);
    qemu.args(["-display", "none", "-serial", "stdio", "-smp", &boot.cpus.to_string(), "-m", &boot.memory]);
    qemu.arg("-monitor").arg(format!("unix:{},server=on,wait=off", monitor.display()));
    qemu.arg("-append").arg(boot.command_line()).arg("-kernel").arg(kernel);
    println!("   {} with {} processors and {} of memory", boot.arch.qemu(), boot.cpus, boot.memory);
    let start = Instant::now();
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context(boot.arch.qemu())?;
    let lines = lines_of(&mut child)?;
    let shown = show(&lines, start + Duration::from_secs(boot.timeout));
    let outcome = match shown {
        Ok(lines) => verdict(boot, child.wait()?.code(), &lines, start),
        Err(lines) => {
            let places = where_it_hangs(&monitor, kernel);
            child.kill()?;
            child.wait()?;
            println!("   no end after {} seconds; the processors are at", boot.timeout);
            places.iter().for_each(|place| println!("     {place}"));
            Outcome::Failed(format!("hangs after: {}", last(&lines)))
        }
    };
    // QEMU removes it where it ends by itself.
    let _ = std::fs::remove_file(&monitor);
    Ok(outcome)
}

/// Reads the child's output in a thread of its own, so that waiting for a line can end.
fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().context("QEMU's output")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

/// Prints lines until there are no more; gives them, as an error if time is up before.
fn show(lines: &Receiver<String>, end: Instant) -> Result<Vec<String>, Vec<String>> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                println!("   | {line}");
                all.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(all),
            Err(RecvTimeoutError::Timeout) => return Err(all),
        }
    }
}

/// The last line that says something.
fn last(lines: &[String]) -> &str {
    lines.iter().rev().find(|line| !line.is_empty()).map_or("nothing was printed", String::as_str)
}

/// What the kernel says of a mistake: the fault, where it was, and the way to the address.
const REPORT: [&str; 4] = ["page fault in the kernel: ", "  on CPU 0, at ", "    level ", "verdict: FAILED"];

fn verdict(boot: &Boot, code: Option<i32>, lines: &[String], start: Instant) -> Outcome {
    let took = crate::report::seconds(start.elapsed());
    let passed = if boot.mistake {
        let said = |part: &&str| lines.iter().any(|line| line.starts_with(part));
        code == Some(boot.arch.failure()) && REPORT.iter().all(said)
    } else {
        code == Some(boot.arch.success()) && last(lines) == "verdict: PASSED"
    };
    if passed {
        return Outcome::Passed(format!("{} on {} processors, {took}", boot.arch.name(), boot.cpus));
    }
    let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
    Outcome::Failed(format!("QEMU ended with {code} after: {}", last(lines)))
}
