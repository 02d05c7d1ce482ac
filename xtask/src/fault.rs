//! Faults of booting: what the kernel is told to get wrong, or has too little of, and what must come of it.
use crate::qemu::{Arch, Boot};
use clap::ValueEnum;

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fault {
    /// The kernel reads where nothing is mapped, which it reports with the walk of the address
    Access,
    /// Each allocation of frames while booting fails, in a boot of its own
    Allocation,
    /// A processor does not come up
    Cpu,
    /// The memory map has something else where the kernel is
    Image,
    /// There is too little memory
    Memory,
    /// The memory map contradicts itself: the kernel says what it makes of it, and boots
    Overlap,
    /// The stack of a processor overflows, which the kernel reports
    Stack,
}

/// How a boot is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The kernel says that all went well.
    Passed,
    /// The kernel says that something is wrong.
    Failed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 7] = [
        Fault::Access,
        Fault::Allocation,
        Fault::Cpu,
        Fault::Image,
        Fault::Memory,
        Fault::Overlap,
        Fault::Stack,
    ];

    /// What the kernel is told; nothing, where the machine is enough.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Fault::Access => Some("access"),
            Fault::Allocation => Some("allocation"),
            Fault::Cpu => Some("cpu"),
            Fault::Image => Some("image"),
            Fault::Memory => None,
            Fault::Overlap => Some("overlap"),
            Fault::Stack => Some("stack"),
        }
    }

    /// What it is called in a list of steps.
    pub fn title(self) -> &'static str {
        match self {
            Fault::Access => "a bad access",
            Fault::Allocation => "no frame, at each allocation",
            Fault::Cpu => "a processor that stays away",
            Fault::Image => "no memory where the kernel is",
            Fault::Memory => "too little memory",
            Fault::Overlap => "a map that contradicts itself",
            Fault::Stack => "a stack that overflows",
        }
    }

    /// The smallest machine on which it can be seen.
    pub fn machine(self, arch: Arch) -> Boot {
        let cpus = if matches!(self, Fault::Allocation | Fault::Cpu | Fault::Stack) { 2 } else { 1 };
        // Frames have metadata from address 0 on, and the memory of RISC-V begins at 2 GiB.
        let memory = match (arch, self) {
            (Arch::X86_64, Fault::Memory) => "4M",
            (Arch::X86_64, _) => "16M",
            (_, Fault::Memory) => "8M",
            (_, Fault::Overlap) => "96M",
            _ => "64M",
        };
        Boot { memory: memory.into(), fault: Some(self), timeout: 60, ..Boot::with(arch, cpus) }
    }

    /// How the boot ends, and what the kernel says of it: parts of lines.
    pub fn outcome(self, arch: Arch) -> (End, &'static [&'static str]) {
        match (self, arch) {
            (Fault::Access, _) => (
                End::Failed,
                &["page fault in the kernel: ", "  on CPU 0, at ", "    level ", "verdict: FAILED"],
            ),
            (Fault::Allocation, _) => (End::Failed, &[]),
            (Fault::Cpu, _) => (End::Failed, &["processor 1 (hardware number ", " does not come up"]),
            (Fault::Image, _) => (
                End::Failed,
                &["the memory map cannot be used: it says Reserved of ", ", where the kernel is"],
            ),
            (Fault::Memory, Arch::X86_64) => (End::Failed, &["not enough memory: "]),
            (Fault::Memory, _) => (End::Failed, &["no memory for the metadata of "]),
            (Fault::Overlap, _) => (
                End::Passed,
                &[
                    " is Usable and Reserved, and counts as Reserved",
                    " is Usable and Bad, and counts as Bad",
                    " is Reserved and Bad, and counts as Bad",
                    " Bad",
                ],
            ),
            (Fault::Stack, _) => (
                End::Failed,
                &[
                    "stack overflow in the kernel: 0x",
                    ", in its guard pages",
                    "  on CPU 1, at ",
                    "    level 1: node ",
                    ", absent",
                    "verdict: FAILED",
                ],
            ),
        }
    }
}

/// What a boot shows in which one allocation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shortage {
    /// The kernel says that it has no memory, or does without.
    Named,
    /// There are fewer allocations than that.
    Never,
    /// Something else.
    Unexplained,
}

/// Judges the lines of such a boot.
pub fn shortage(end: Option<End>, lines: &[String]) -> Shortage {
    let said = |part: &str| lines.iter().any(|line| line.contains(part));
    match end {
        Some(End::Passed) if said("boot: no allocation failed") => Shortage::Never,
        Some(End::Passed) if said("boot: an allocation failed, and could be done without") => Shortage::Named,
        Some(End::Failed) => {
            let verdict = lines.iter().skip_while(|line| !line.starts_with("verdict: FAILED"));
            let named = |line: &String| {
                ["no memory", "no frame", "memory allocation"].iter().any(|part| line.contains(part))
            };
            if verdict.clone().any(named) { Shortage::Named } else { Shortage::Unexplained }
        }
        _ => Shortage::Unexplained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_named_after_the_verdict() {
        let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
        let failed = lines(
            "boot\nverdict: FAILED: panicked at boot.rs:1:1:\nthere is no kernel space: no frame is left",
        );
        assert_eq!(shortage(Some(End::Failed), &failed), Shortage::Named);
        assert_eq!(shortage(None, &failed), Shortage::Unexplained);
        let other = lines("no frame is left\nverdict: FAILED: panicked at boot.rs:1:1:\nindex out of bounds");
        assert_eq!(shortage(Some(End::Failed), &other), Shortage::Unexplained);
        assert_eq!(shortage(Some(End::Passed), &lines("boot: no allocation failed")), Shortage::Never);
        assert_eq!(shortage(Some(End::Passed), &lines("verdict: PASSED")), Shortage::Unexplained);
    }
}
