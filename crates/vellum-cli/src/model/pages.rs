//! What a page holds and allows, as both the model and the machine say it.

use std::fmt;

use crate::strace::Prot;

/// What a process wrote to a page: who, where, and in which generation of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The process or thread.
    pub pid: u32,
    /// The address at the time of writing.
    pub at: u64,
    /// Counts the calls of the whole log.
    pub generation: u64,
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contents {
    /// Zeros: nobody wrote to it.
    Zeros,
    /// What somebody wrote.
    Written(Pattern),
}

/// The words of a page that are written and read: four at its start, and its last.
pub type Words = [u64; 5];

impl Contents {
    /// Returns the words that stand for it.
    pub fn words(self) -> Words {
        match self {
            Contents::Zeros => [0; 5],
            Contents::Written(Pattern { pid, at, generation }) => {
                let mixed = mix(mix(mix(u64::from(pid)) ^ at) ^ generation);
                [u64::from(pid) | 1 << 63, at, generation, mixed, !mixed]
            }
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contents::Zeros => f.write_str("zeros"),
            Contents::Written(Pattern { pid, at, generation }) => {
                write!(f, "what {pid} wrote at {at:#x} in call {generation}")
            }
        }
    }
}

/// Spreads every bit over the word (the finaliser of splitmix64).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// What an entry of a page table lets user code do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Nothing, though the entry keeps its frame.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Reading and executing.
    ReadExecute,
    /// All three.
    ReadWriteExecute,
}

impl Rights {
    /// What an entry for `prot` allows, which implies reading whatever else it allows.
    pub const fn of(prot: Prot) -> Rights {
        match (prot.readable(), prot.writable(), prot.executable()) {
            (false, _, _) => Rights::None,
            (_, false, false) => Rights::Read,
            (_, true, false) => Rights::ReadWrite,
            (_, false, true) => Rights::ReadExecute,
            (_, true, true) => Rights::ReadWriteExecute,
        }
    }

    /// The same without writing.
    pub const fn without_write(self) -> Rights {
        match self {
            Rights::ReadWrite => Rights::Read,
            Rights::ReadWriteExecute => Rights::ReadExecute,
            other => other,
        }
    }
}

/// Whether the next write to a page has to make sure that it has a frame of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnWrite {
    /// It has one.
    InPlace,
    /// It may share one, since a fork.
    Copy,
}

/// A page that is mapped, as the machine shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its address.
    pub at: u64,
    /// Which frame it is in.
    pub frame: u64,
    /// What it allows.
    pub rights: Rights,
    /// Its mark for copy-on-write.
    pub on_write: OnWrite,
    /// Whether the hardware noted a use.
    pub accessed: bool,
    /// Whether the hardware noted a write.
    pub dirty: bool,
    /// The words it holds.
    pub words: Words,
}
