//! Builds the kernel for bare metal and boots it in QEMU.
use crate::fault::{End, Fault, Shortage, shortage};
use crate::qemu_state::{loaded_bytes, where_it_hangs};
use crate::report::{Outcome, shown};
use crate::toolchain::{Missing, Toolchain};
use crate::workspace::{Workspace, is_on_path};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// An architecture that the kernel boots on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arch {
    /// x86-64, QEMU's machine `q35`.
    #[value(name = "x86_64")]
    X86_64,
    /// RISC-V, QEMU's machine `virt`: the kernel chooses Sv48, which there is.
    #[value(name = "riscv64")]
    Riscv64,
    /// The same kernel, told to choose Sv39.
    #[value(name = "riscv64-sv39")]
    Riscv64Sv39,
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
    /// Has something go wrong, on the smallest machine for it, of which the kernel must say what it is
    #[arg(long, value_enum)]
    pub fault: Option<Fault>,
    /// Has QEMU count instructions, on one processor: figures are then instructions, and the same each time
    #[arg(long, conflicts_with_all = ["cpus", "fault"])]
    pub count_instructions: bool,
}

impl Boot {
    /// The machine that CI boots.
    pub fn with(arch: Arch, cpus: u32) -> Boot {
        // On x86-64 a part of the larger one lies above 4 GiB; it has a page of 1 GiB.
        let memory = if cpus == 4 { "3G" } else { "512M" };
        let (memory, append) = (memory.into(), String::new());
        let (fault, count_instructions) = (None, false);
        Boot { arch, cpus, memory, timeout: 300, append, times: 1, fault, count_instructions }
    }

    /// What the kernel is told.
    fn command_line(&self) -> String {
        let fault = self.fault.and_then(Fault::word).map_or(String::new(), |word| format!("fault={word} "));
        let instructions = if self.count_instructions { "instructions=1 " } else { "" };
        format!("{}{fault}{instructions}{}", self.arch.words(), self.append)
    }

    /// How instructions are carried out.
    fn accelerator(&self) -> &'static [&'static str] {
        match self.count_instructions {
            // A nanosecond of the machine's time for each.
            true => &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"],
            false => &["-accel", "tcg,thread=multi"],
        }
    }

    /// How the kernel said that it ended.
    fn end(&self, code: Option<i32>, lines: &[String]) -> Option<End> {
        let said = |verdict: &str| lines.iter().any(|line| line.starts_with(verdict));
        let chosen = self.append.contains("paging=") || self.arch.choice().is_none_or(said);
        match code? {
            code if code == self.arch.success() && last(lines) == "verdict: PASSED" && chosen => {
                Some(End::Passed)
            }
            code if code == self.arch.failure() && said("verdict: FAILED") => Some(End::Failed),
            _ => None,
        }
    }
}

impl Arch {
    /// Those that have a kernel of their own.
    pub const KERNELS: [Arch; 2] = [Arch::X86_64, Arch::Riscv64];

    /// All of them.
    pub const ALL: [Arch; 3] = [Arch::X86_64, Arch::Riscv64, Arch::Riscv64Sv39];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Riscv64 => "riscv64",
            Arch::Riscv64Sv39 => "riscv64-sv39",
        }
    }

    /// What the kernel is told on its command line.
    fn words(self) -> &'static str {
        match self {
            Arch::X86_64 | Arch::Riscv64 => "",
            Arch::Riscv64Sv39 => "paging=sv39 ",
        }
    }

    /// What it says of its choice, where it has one.
    fn choice(self) -> Option<&'static str> {
        match self {
            Arch::X86_64 => None,
            Arch::Riscv64 => Some("boot: page tables of 4 levels, Sv48"),
            Arch::Riscv64Sv39 => Some("boot: page tables of 3 levels, Sv39"),
        }
    }

    fn target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-none",
            Arch::Riscv64 | Arch::Riscv64Sv39 => "riscv64imac-unknown-none-elf",
        }
    }

    fn qemu(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86_64",
            Arch::Riscv64 | Arch::Riscv64Sv39 => "qemu-system-riscv64",
        }
    }

    fn debian_package(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86",
            Arch::Riscv64 | Arch::Riscv64Sv39 => "qemu-system-misc",
        }
    }

    /// The machine, and the device by which the kernel ends it.
    fn machine(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
            // It has such a device.
            Arch::Riscv64 | Arch::Riscv64Sv39 => &["-machine", "virt", "-bios", "default"],
        }
    }

    /// The exit code of QEMU when the kernel says that all went well.
    fn success(self) -> i32 {
        match self {
            // The device makes `code << 1 | 1` of the kernel's 0x10.
            Arch::X86_64 => 0x21,
            Arch::Riscv64 | Arch::Riscv64Sv39 => 0,
        }
    }

    /// The exit code of QEMU when the kernel says that something is wrong.
    fn failure(self) -> i32 {
        match self {
            Arch::X86_64 => 0x23,
            Arch::Riscv64 | Arch::Riscv64Sv39 => 2,
        }
    }
}

/// Says that there is no QEMU, and how to get it.
fn missing_qemu(arch: Arch) -> Option<String> {
    let (qemu, package) = (arch.qemu(), arch.debian_package());
    (!is_on_path(qemu)).then(|| format!("{qemu} is not on the PATH; Debian: apt-get install {package}"))
}

/// Builds and boots, with the serial output shown; the kernel's verdict is the outcome.
pub fn run(workspace: &Workspace, boot: &Boot) -> Result<Outcome> {
    if let Some(missing) = missing_qemu(boot.arch) {
        return Ok(Outcome::Skipped(missing));
    }
    let toolchain = match Toolchain::find(workspace, boot.arch.target())? {
        Ok(toolchain) => toolchain,
        Err(Missing(missing)) => return Ok(Outcome::Skipped(missing)),
    };
    // Those that wait would be counted as well.
    let cpus = if boot.count_instructions { 1 } else { boot.cpus };
    let boot = &Boot { cpus, ..boot.clone() };
    let mut build = toolchain.cargo(workspace, "build")?;
    let kernel = workspace.target.join("bare").join(boot.arch.target()).join("release/vellum-kernel");
    match shown(build.args(["--package", "vellum-kernel"]))? {
        Outcome::Passed(_) => match boot.fault {
            None => start_each(workspace, boot, &kernel),
            Some(Fault::Allocation) => fail_each_allocation(workspace, boot.arch, &kernel),
            Some(fault) => start_with(workspace, boot.arch, fault, &kernel),
        },
        other => Ok(other),
    }
}

/// Boots as often as is wanted, until a boot fails.
fn start_each(workspace: &Workspace, boot: &Boot, kernel: &Path) -> Result<Outcome> {
    let mut outcome = Outcome::Skipped("no boot was wanted".into());
    for time in 1..=boot.times {
        let ended = start(workspace, boot, kernel, Voice::Heard)?;
        outcome = match ended.end(boot) {
            Some(End::Passed) => Outcome::Passed(summary(boot, &ended, kernel)?),
            _ => Outcome::Failed(ended.complaint()),
        };
        if !matches!(outcome, Outcome::Passed(_)) {
            break;
        }
        if boot.times > 1 {
            println!("   boot {time} of {} passed", boot.times);
        }
    }
    Ok(outcome)
}

/// What is said of a boot that passed.
fn summary(boot: &Boot, ended: &Ended, kernel: &Path) -> Result<String> {
    let image = std::fs::read(kernel)?;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let loaded = loaded_bytes(&image).context("the kernel is an ELF file")?;
    Ok(format!(
        "{} on {} processors in {}; kernel of {}, {} of them without what is for debuggers",
        boot.arch.name(),
        boot.cpus,
        crate::report::seconds(ended.took),
        megabytes(image.len() as u64),
        megabytes(loaded),
    ))
}

/// Boots with something that goes wrong.
fn start_with(workspace: &Workspace, arch: Arch, fault: Fault, kernel: &Path) -> Result<Outcome> {
    let boot = fault.machine(arch);
    let ended = start(workspace, &boot, kernel, Voice::Heard)?;
    let (end, parts) = fault.outcome(arch);
    let said = |part: &&str| ended.lines.iter().any(|line| line.contains(*part));
    if ended.end(&boot) != Some(end) {
        return Ok(Outcome::Failed(ended.complaint()));
    }
    Ok(match parts.iter().find(|part| !said(part)) {
        None => Outcome::Passed(format!(
            "{}: as it should end, in {}",
            fault.title(),
            crate::report::seconds(ended.took)
        )),
        Some(part) => Outcome::Failed(format!("the kernel did not say \"{part}\"")),
    })
}

/// Boots again and again, each time with another allocation that fails: with gaps until there are no more, and then without
/// in the last gap.
fn fail_each_allocation(workspace: &Workspace, arch: Arch, kernel: &Path) -> Result<Outcome> {
    let fail = |nth| fail_allocation(workspace, arch, kernel, nth);
    let (mut named, mut next) = (0, 1);
    while fail(next)? == Shortage::Named {
        (named, next) = (next, next + 1 + next / 16);
    }
    while named + 1 < next && fail(named + 1)? == Shortage::Named {
        named += 1;
    }
    Ok(match named {
        ..5 => Outcome::Failed(format!("{named} allocations are too few")),
        _ => Outcome::Passed(format!("{named} allocations")),
    })
}

/// Boots with one allocation that fails.
fn fail_allocation(workspace: &Workspace, arch: Arch, kernel: &Path, nth: u32) -> Result<Shortage> {
    let machine = Fault::Allocation.machine(arch);
    let boot = Boot { append: format!("nth={nth}"), ..machine };
    let ended = start(workspace, &boot, kernel, Voice::Silent)?;
    let shortage = shortage(ended.end(&boot), &ended.lines);
    if shortage == Shortage::Unexplained {
        ended.lines.iter().for_each(|line| println!("   | {line}"));
        bail!("allocation {nth}: {}", ended.complaint());
    }
    let mut lines = ended.lines.iter().filter(|line| *line != "verdict: PASSED");
    println!("   allocation {nth}: {}", lines.next_back().map_or("", String::as_str));
    Ok(shortage)
}

/// Runs clippy over the kernel, warnings denied.
pub fn lint(workspace: &Workspace, arch: Arch) -> Result<Outcome> {
    match Toolchain::find(workspace, arch.target())? {
        Ok(toolchain) => shown(toolchain.cargo(workspace, "clippy")?.args(["--", "-D", "warnings"])),
        Err(Missing(missing)) => Ok(Outcome::Skipped(missing)),
    }
}

/// Whether the serial output is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    Heard,
    Silent,
}

/// A boot that is over.
struct Ended {
    /// QEMU's exit code; none where it hung or was killed.
    code: Option<i32>,
    lines: Vec<String>,
    hung: bool,
    took: Duration,
}

impl Ended {
    fn end(&self, boot: &Boot) -> Option<End> {
        boot.end(self.code, &self.lines)
    }

    /// What is said where it is not as it should be.
    fn complaint(&self) -> String {
        let last = last(&self.lines);
        match self.code {
            _ if self.hung => format!("hangs after: {last}"),
            Some(code) => format!("QEMU ended with code {code} after: {last}"),
            None => format!("QEMU ended with a signal after: {last}"),
        }
    }
}

fn start(workspace: &Workspace, boot: &Boot, kernel: &Path, voice: Voice) -> Result<Ended> {
    let monitor = workspace.target.join(format!("bare/monitor-{}", std::process::id()));
    let mut qemu = Command::new(boot.arch.qemu());
    qemu.args(boot.arch.machine()).args(boot.accelerator()).args(["-nodefaults", "-no-reboot"]);
    qemu.args(["-display", "none", "-serial", "stdio", "-smp", &boot.cpus.to_string(), "-m", &boot.memory]);
    qemu.arg("-monitor").arg(format!("unix:{},server=on,wait=off", monitor.display()));
    qemu.arg("-append").arg(boot.command_line()).arg("-kernel").arg(kernel);
    if voice == Voice::Heard {
        println!("   {} with {} processors and {} of memory", boot.arch.qemu(), boot.cpus, boot.memory);
    }
    let start = Instant::now();
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context(boot.arch.qemu())?;
    let lines = lines_of(&mut child)?;
    let (lines, hung) = match show(&lines, start + Duration::from_secs(boot.timeout), voice) {
        Ok(lines) => (lines, false),
        Err(lines) => {
            let places = where_it_hangs(&monitor, kernel);
            child.kill()?;
            println!("   no end after {} seconds; the processors are at", boot.timeout);
            places.iter().for_each(|place| println!("     {place}"));
            (lines, true)
        }
    };
    let code = child.wait()?.code();
    // QEMU removes it where it ends by itself.
    let _ = std::fs::remove_file(&monitor);
    Ok(Ended { code, lines, hung, took: start.elapsed() })
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
fn show(lines: &Receiver<String>, end: Instant, voice: Voice) -> Result<Vec<String>, Vec<String>> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if voice == Voice::Heard {
                    println!("   | {line}");
                }
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
