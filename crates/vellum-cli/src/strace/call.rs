//! What a call does to memory, read from its arguments and its outcome.

use std::ops::Range;

use super::error::{Misread, Problem};
use super::flags;
use super::raw::{Outcome, RawCall};
use super::scan::Scanner;

/// The size of a page in the logs.
pub const PAGE: u64 = 4096;

/// What is to be done about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes memory or the set of processes in this way.
    Carry(Call),
    /// It is known, and has no effect on the mappings or what they hold.
    Nothing,
    /// It failed: no effect.
    Failed,
    /// Nobody saw it return; its process ended in it.
    Unseen,
    /// It is not known here. The label says what is counted: the call's name, with the advice in case of `madvise`.
    Unknown(String),
}

/// A call that changes memory, with addresses as byte ranges of whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `mmap`: pages were mapped at `at`.
    Map {
        /// Where.
        at: Range<u64>,
        /// What may be done there.
        prot: Prot,
        /// Who sees what is written.
        sharing: Sharing,
        /// Whether it stands for a file.
        backing: Backing,
        /// How the place was chosen.
        placement: Placement,
    },
    /// `munmap`.
    Unmap {
        /// Where.
        at: Range<u64>,
    },
    /// `mprotect`, `pkey_mprotect`.
    Protect {
        /// Where.
        at: Range<u64>,
        /// What may be done there from now on.
        prot: Prot,
    },
    /// `mremap`.
    Remap {
        /// The old place; empty: the mapping is doubled.
        old: Range<u64>,
        /// The new place.
        new: Range<u64>,
        /// How the new place was chosen.
        placement: Placement,
        /// What becomes of the old place.
        left: OldPlace,
    },
    /// `brk`: the end of the heap that the call returned.
    Break {
        /// The first address beyond the heap.
        end: u64,
    },
    /// `madvise` with advice that matters.
    Advise {
        /// Where.
        at: Range<u64>,
        /// Which.
        advice: Advice,
    },
    /// `fork`, `vfork`, `clone`, `clone3`.
    Clone {
        /// The new process or thread.
        child: u32,
        /// Its memory.
        memory: ChildMemory,
        /// What it is.
        kinship: Kinship,
    },
    /// `execve`, `execveat`: a new, empty address space.
    Exec,
    /// `exit`, `exit_group`.
    Exit,
}

/// What may be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prot {
    bits: u8,
}

impl Prot {
    /// Nothing at all.
    pub const NONE: Prot = Prot { bits: 0 };
    /// Reading and writing.
    pub const RW: Prot = Prot { bits: 3 };

    /// The protection with these `PROT_*` bits; others are left out.
    pub const fn from_bits(bits: u64) -> Prot {
        Prot { bits: (bits & 7) as u8 }
    }

    /// Whether it can be read. The processors at hand cannot forbid reading alone: writing and executing imply it.
    pub const fn readable(self) -> bool {
        self.bits != 0
    }

    /// Whether it can be written.
    pub const fn writable(self) -> bool {
        self.bits & 2 != 0
    }

    /// Whether it can be executed.
    pub const fn executable(self) -> bool {
        self.bits & 4 != 0
    }
}

/// Who sees what is written to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// `MAP_PRIVATE`: this address space alone.
    Private,
    /// `MAP_SHARED`: every address space that inherits it.
    Shared,
}

/// What a mapping stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Memory that begins as zeros.
    Anonymous,
    /// A file, whose contents are not in a log: zeros stand for them.
    File,
}

/// How the place of a mapping was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// By the kernel: what it returned was free.
    Free,
    /// By the program, with `MAP_FIXED`: what was there is replaced.
    Replacing,
}

/// What `mremap` leaves at the old place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldPlace {
    /// Nothing.
    Gone,
    /// The mapping without its pages (`MREMAP_DONTUNMAP`).
    Emptied,
}

/// Advice that matters to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The pages are dropped at once; private ones read as zeros next.
    DontNeed,
    /// The pages may be dropped at any time before the next write. Keeping them is right too, and is what is done.
    Free,
    /// A child does not inherit it.
    DontFork,
    /// A child inherits it again.
    DoFork,
    /// A child inherits it empty.
    WipeOnFork,
    /// A child inherits its contents again.
    KeepOnFork,
}

/// The memory of a new process or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildMemory {
    /// The parent's own address space (`CLONE_VM`, `vfork`).
    Shared,
    /// A copy of it.
    Copied,
}

/// What a `clone` made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// A thread of the same process.
    Thread,
    /// A process of its own.
    Process,
}

/// Calls of the traced classes that leave mappings and their contents as they are.
const IDLE: &[&str] = &[
    "arch_prctl",
    "cacheflush",
    "get_mempolicy",
    "getpid",
    "gettid",
    "kill",
    "mbind",
    "membarrier",
    "migrate_pages",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "move_pages",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pkey_alloc",
    "pkey_free",
    "prctl",
    "process_mrelease",
    "restart_syscall",
    "rseq",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_tgsigqueueinfo",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "set_robust_list",
    "set_tid_address",
    "tgkill",
    "tkill",
    "wait4",
    "waitid",
    "waitpid",
];

/// Reads what `raw` does.
pub(super) fn read(raw: &RawCall<'_>) -> Result<Effect, Misread> {
    let name = raw.name();
    if name == b"exit" || name == b"exit_group" {
        return Ok(Effect::Carry(Call::Exit));
    }
    let reader: fn(&Args<'_, '_>, u64) -> Result<Effect, Misread> = match name {
        b"mmap" | b"mmap2" => map,
        b"munmap" => unmap,
        b"mprotect" | b"pkey_mprotect" => protect,
        b"mremap" => remap,
        b"brk" => |_, end| Ok(Effect::Carry(Call::Break { end })),
        b"madvise" => advise,
        b"fork" => |args, child| args.new_task(child, 0),
        b"vfork" => |args, child| args.new_task(child, flags::CLONE_VM),
        b"clone" | b"clone2" | b"clone3" => clone,
        b"execve" | b"execveat" => |_, _| Ok(Effect::Carry(Call::Exec)),
        name if IDLE.iter().any(|idle| idle.as_bytes() == name) => |_, _| Ok(Effect::Nothing),
        name => return Ok(Effect::Unknown(String::from_utf8_lossy(name).into_owned())),
    };
    match raw.outcome {
        Outcome::Returned(value) => reader(&Args { raw }, value),
        Outcome::Failed => Ok(Effect::Failed),
        Outcome::Unseen => Ok(Effect::Unseen),
    }
}

fn map(args: &Args<'_, '_>, at: u64) -> Result<Effect, Misread> {
    let length = args.number(1, "a length")?;
    let prot = args.flags(2, "a protection", &flags::PROT)?;
    let flags_at = 3;
    let flags = args.flags(flags_at, "flags", &flags::MAP)?;
    let sharing = match flags & flags::MAP_TYPE {
        flags::MAP_PRIVATE | 8 => Sharing::Private,
        flags::MAP_SHARED | 3 => Sharing::Shared,
        _ => return Err(args.expected(flags_at, "`MAP_PRIVATE` or `MAP_SHARED`")),
    };
    let backing = if flags & flags::MAP_ANONYMOUS != 0 { Backing::Anonymous } else { Backing::File };
    let replacing = flags & flags::MAP_FIXED != 0 && flags & flags::MAP_FIXED_NOREPLACE == 0;
    let placement = if replacing { Placement::Replacing } else { Placement::Free };
    if !at.is_multiple_of(PAGE) {
        return Err(args.bad_result("address of a page"));
    }
    if length == 0 {
        return Err(args.expected(1, "a length above 0"));
    }
    let at = args.pages_at(args.raw.outcome_at, at, length)?;
    Ok(Effect::Carry(Call::Map { at, prot: Prot::from_bits(prot), sharing, backing, placement }))
}

fn unmap(args: &Args<'_, '_>, _: u64) -> Result<Effect, Misread> {
    Ok(Effect::Carry(Call::Unmap { at: args.pages(0, 1)? }))
}

fn protect(args: &Args<'_, '_>, _: u64) -> Result<Effect, Misread> {
    let at = args.pages(0, 1)?;
    let prot = Prot::from_bits(args.flags(2, "a protection", &flags::PROT)?);
    Ok(Effect::Carry(Call::Protect { at, prot }))
}

fn remap(args: &Args<'_, '_>, new: u64) -> Result<Effect, Misread> {
    let old = args.pages(0, 1)?;
    let length = args.number(2, "a new length")?;
    let flags = args.flags(3, "flags", &flags::MREMAP)?;
    if !new.is_multiple_of(PAGE) {
        return Err(args.bad_result("address of a page"));
    }
    let new = args.pages_at(args.raw.outcome_at, new, length)?;
    let left = if flags & flags::MREMAP_DONTUNMAP != 0 { OldPlace::Emptied } else { OldPlace::Gone };
    let placement = if flags & flags::MREMAP_FIXED != 0 { Placement::Replacing } else { Placement::Free };
    Ok(Effect::Carry(Call::Remap { old, new, placement, left }))
}

fn advise(args: &Args<'_, '_>, _: u64) -> Result<Effect, Misread> {
    let at = args.pages(0, 1)?;
    let arg = args.get(2, "advice")?;
    let label =
        || Effect::Unknown(format!("madvise({})", String::from_utf8_lossy(&args.raw.text[arg.clone()])));
    let advice = match flags::read(&flags::MADV, args.raw.text, arg.clone()) {
        Ok(advice) => advice,
        Err(Misread { problem: Problem::UnknownFlag { .. }, .. }) => return Ok(label()),
        Err(misread) => return Err(misread),
    };
    let advice = match advice {
        flags::MADV_DONTNEED | flags::MADV_DONTNEED_LOCKED => Advice::DontNeed,
        flags::MADV_FREE => Advice::Free,
        flags::MADV_DONTFORK => Advice::DontFork,
        flags::MADV_DOFORK => Advice::DoFork,
        flags::MADV_WIPEONFORK => Advice::WipeOnFork,
        flags::MADV_KEEPONFORK => Advice::KeepOnFork,
        idle if flags::MADV_IDLE.contains(&idle) => return Ok(Effect::Nothing),
        _ => return Ok(label()),
    };
    Ok(Effect::Carry(Call::Advise { at, advice }))
}

fn clone(args: &Args<'_, '_>, child: u64) -> Result<Effect, Misread> {
    let flags = args.clone_flags()?;
    args.new_task(child, flags)
}

/// The arguments of a call, read one by one.
struct Args<'r, 't> {
    raw: &'r RawCall<'t>,
}

impl Args<'_, '_> {
    fn get(&self, index: usize, what: &'static str) -> Result<Range<usize>, Misread> {
        self.raw.args.get(index).cloned().ok_or_else(|| {
            let call = String::from_utf8_lossy(self.raw.name()).into_owned();
            Misread::new(self.raw.close, Problem::MissingArgument { call, what })
        })
    }

    fn expected(&self, index: usize, what: &'static str) -> Misread {
        match self.get(index, what) {
            Ok(arg) => Scanner::within(self.raw.text, arg).expected(what),
            Err(misread) => misread,
        }
    }

    fn bad_result(&self, what: &'static str) -> Misread {
        let call = String::from_utf8_lossy(self.raw.name()).into_owned();
        Misread::new(self.raw.outcome_at, Problem::BadResult { call, what })
    }

    fn number(&self, index: usize, what: &'static str) -> Result<u64, Misread> {
        let arg = self.get(index, what)?;
        let mut s = Scanner::within(self.raw.text, arg);
        let value = if s.eat(b"NULL") { 0 } else { s.number().map_err(|e| widen(e, &s, what))? };
        s.annotation();
        s.skip_blanks()?;
        if s.at_end() { Ok(value) } else { Err(s.expected("the end of the number")) }
    }

    fn flags(&self, index: usize, what: &'static str, set: &flags::FlagSet) -> Result<u64, Misread> {
        flags::read(set, self.raw.text, self.get(index, what)?)
    }

    /// The pages of the address and the length that stand at these places.
    fn pages(&self, address: usize, length: usize) -> Result<Range<u64>, Misread> {
        let start = self.number(address, "an address")?;
        let bytes = self.number(length, "a length")?;
        if !start.is_multiple_of(PAGE) {
            return Err(self.expected(address, "the address of a page"));
        }
        self.pages_at(self.get(address, "an address")?.start, start, bytes)
    }

    fn pages_at(&self, place: usize, start: u64, length: u64) -> Result<Range<u64>, Misread> {
        length
            .checked_next_multiple_of(PAGE)
            .and_then(|rounded| start.checked_add(rounded))
            .map(|end| start..end)
            .ok_or(Misread::new(place, Problem::RangeOverflow { start, length }))
    }

    /// The flags of `clone(child_stack=.., flags=.., ..)` or `clone3({flags=.., ..}, size)`.
    fn clone_flags(&self) -> Result<u64, Misread> {
        let text = self.raw.text;
        for arg in &self.raw.args {
            let mut s = Scanner::within(text, arg.clone());
            let fields = s.eat(b"{");
            loop {
                s.skip_spaces();
                let named = s.eat(b"flags=");
                let field = s.balanced(if fields { b",}" } else { b"," })?;
                if named {
                    return flags::read(&flags::CLONE, text, field);
                }
                if s.peek() != Some(b',') {
                    break;
                }
                s.eat(b",");
            }
        }
        Err(self.missing_flags())
    }

    fn missing_flags(&self) -> Misread {
        let call = String::from_utf8_lossy(self.raw.name()).into_owned();
        Misread::new(self.raw.close, Problem::MissingArgument { call, what: "`flags=`" })
    }

    fn new_task(&self, child: u64, flags: u64) -> Result<Effect, Misread> {
        let child = u32::try_from(child).ok().filter(|child| *child != 0);
        let child = child.ok_or_else(|| self.bad_result("process id"))?;
        let memory = if flags & flags::CLONE_VM != 0 { ChildMemory::Shared } else { ChildMemory::Copied };
        let kinship = if flags & flags::CLONE_THREAD != 0 { Kinship::Thread } else { Kinship::Process };
        Ok(Effect::Carry(Call::Clone { child, memory, kinship }))
    }
}

/// Says what was wanted where a number was.
fn widen(misread: Misread, s: &Scanner<'_>, what: &'static str) -> Misread {
    match misread.problem {
        Problem::Expected { .. } => s.expected(what),
        _ => misread,
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw;
    use super::*;

    fn effect(text: &str) -> Result<Effect, Misread> {
        read(&raw::read(text.as_bytes()).unwrap())
    }

    fn call(text: &str) -> Call {
        match effect(text).unwrap() {
            Effect::Carry(call) => call,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn reads_mmap() {
        assert_eq!(
            call("mmap(NULL, 5000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000"),
            Call::Map {
                at: 0x7f0000001000..0x7f0000003000,
                prot: Prot::RW,
                sharing: Sharing::Private,
                backing: Backing::Anonymous,
                placement: Placement::Free,
            }
        );
        assert_eq!(
            call("mmap(0x10000, 4096, PROT_READ, MAP_SHARED|MAP_FIXED, 3</lib/a b>, 0x1000) = 0x10000"),
            Call::Map {
                at: 0x10000..0x11000,
                prot: Prot::from_bits(1),
                sharing: Sharing::Shared,
                backing: Backing::File,
                placement: Placement::Replacing,
            }
        );
    }

    #[test]
    fn reads_the_other_memory_calls() {
        assert_eq!(call("munmap(0x1000, 1) = 0"), Call::Unmap { at: 0x1000..0x2000 });
        assert_eq!(
            call("mprotect(0x1000, 8192, PROT_NONE) = 0"),
            Call::Protect { at: 0x1000..0x3000, prot: Prot::NONE }
        );
        assert_eq!(
            call("pkey_mprotect(0x1000, 8192, PROT_READ, 1) = 0"),
            Call::Protect { at: 0x1000..0x3000, prot: Prot::from_bits(1) }
        );
        assert_eq!(
            call("mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE) = 0x9000"),
            Call::Remap {
                old: 0x1000..0x2000,
                new: 0x9000..0xb000,
                placement: Placement::Free,
                left: OldPlace::Gone
            }
        );
        assert_eq!(
            call("mremap(0x1000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED|MREMAP_DONTUNMAP, 0x9000) = 0x9000"),
            Call::Remap {
                old: 0x1000..0x2000,
                new: 0x9000..0xa000,
                placement: Placement::Replacing,
                left: OldPlace::Emptied,
            }
        );
        assert_eq!(call("brk(NULL) = 0x5000"), Call::Break { end: 0x5000 });
        assert_eq!(
            call("madvise(0x1000, 4096, MADV_DONTNEED) = 0"),
            Call::Advise { at: 0x1000..0x2000, advice: Advice::DontNeed }
        );
        assert_eq!(effect("madvise(0x1000, 4096, MADV_HUGEPAGE) = 0"), Ok(Effect::Nothing));
        assert_eq!(
            effect("madvise(0x1000, 4096, MADV_REMOVE) = 0"),
            Ok(Effect::Unknown("madvise(MADV_REMOVE)".into()))
        );
        assert_eq!(
            effect("madvise(0x1000, 4096, 0x66 /* MADV_??? */) = 0"),
            Ok(Effect::Unknown("madvise(0x66 /* MADV_??? */)".into()))
        );
    }

    #[test]
    fn reads_every_way_to_make_a_process() {
        let clone = |child, memory, kinship| Call::Clone { child, memory, kinship };
        assert_eq!(call("fork() = 7"), clone(7, ChildMemory::Copied, Kinship::Process));
        assert_eq!(call("vfork() = 7"), clone(7, ChildMemory::Shared, Kinship::Process));
        assert_eq!(
            call(
                "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f5f6bd38a10) = 5351"
            ),
            clone(5351, ChildMemory::Copied, Kinship::Process)
        );
        assert_eq!(
            call(
                "clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f9805636000, stack_size=0x9000}, 88) = 9"
            ),
            clone(9, ChildMemory::Shared, Kinship::Process)
        );
        assert_eq!(
            call(
                "clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD|CLONE_SETTLS, child_tid=0x7f922913f990, exit_signal=0} => {parent_tid=[5361]}, 88) = 5361"
            ),
            clone(5361, ChildMemory::Shared, Kinship::Thread)
        );
        assert_eq!(call("execve(\"/bin/true\", [\"true\"], 0x7fff /* 39 vars */) = 0"), Call::Exec);
        assert_eq!(call("exit_group(0) = ?"), Call::Exit);
        assert_eq!(call("exit(0) = ?"), Call::Exit);
    }

    #[test]
    fn what_failed_or_is_idle_or_unknown_does_nothing() {
        assert_eq!(effect("mmap(NULL, 0, 0, 0, -1, 0) = -1 EINVAL (Invalid argument)"), Ok(Effect::Failed));
        assert_eq!(effect("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = ?"), Ok(Effect::Unseen));
        assert_eq!(effect("wait4(-1, NULL, 0, NULL) = 7"), Ok(Effect::Nothing));
        assert_eq!(effect("shmat(1, NULL, 0) = 0x7f00"), Ok(Effect::Unknown("shmat".into())));
    }

    #[test]
    fn says_which_argument_is_wrong() {
        let at = |text: &str| effect(text).unwrap_err().at;
        assert_eq!(at("munmap(0x1001, 4096) = 0"), 7);
        assert_eq!(at("munmap(x, 4096) = 0"), 7);
        assert_eq!(at("munmap(0x1000) = 0"), 13);
        assert_eq!(at("munmap(0xfffffffffffff000, 8192) = 0"), 7);
        assert_eq!(at("mprotect(0x1000, 4096, PROT_FUNNY) = 0"), 23);
        assert_eq!(at("mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0) = 0x1000"), 28);
        assert_eq!(at("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1001"), 49);
        assert_eq!(at("mmap(NULL, 0, PROT_READ, MAP_PRIVATE, 3, 0) = 0x1000"), 11);
        assert_eq!(at("clone(child_stack=NULL) = 5"), 22);
        assert_eq!(at("fork() = 0"), 9);
    }
}
