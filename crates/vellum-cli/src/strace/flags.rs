//! Flag words: `PROT_READ|PROT_WRITE`, `21<<MAP_HUGE_SHIFT`, `0x40000 /* MAP_??? */`.

use std::ops::Range;

use super::error::{Found, Misread, Problem};
use super::scan::{Scanner, is_word};

/// The names of one kind of flag, with their values on x86-64.
pub(super) struct FlagSet {
    pub(super) kind: &'static str,
    pub(super) names: &'static [(&'static str, u64)],
    /// A prefix whose names say nothing about memory, whatever follows it.
    pub(super) idle_prefix: Option<&'static str>,
}

pub(super) const PROT: FlagSet = FlagSet {
    kind: "protection",
    names: &[
        ("PROT_NONE", 0),
        ("PROT_READ", 1),
        ("PROT_WRITE", 2),
        ("PROT_EXEC", 4),
        ("PROT_SEM", 8),
        ("PROT_GROWSDOWN", 0x0100_0000),
        ("PROT_GROWSUP", 0x0200_0000),
    ],
    idle_prefix: None,
};

pub(super) const MAP_SHARED: u64 = 1;
pub(super) const MAP_PRIVATE: u64 = 2;
pub(super) const MAP_TYPE: u64 = 0xf;
pub(super) const MAP_FIXED: u64 = 0x10;
pub(super) const MAP_ANONYMOUS: u64 = 0x20;
pub(super) const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

pub(super) const MAP: FlagSet = FlagSet {
    kind: "flag of `mmap`",
    names: &[
        ("MAP_SHARED", MAP_SHARED),
        ("MAP_PRIVATE", MAP_PRIVATE),
        ("MAP_SHARED_VALIDATE", 3),
        ("MAP_DROPPABLE", 8),
        ("MAP_FIXED", MAP_FIXED),
        ("MAP_ANONYMOUS", MAP_ANONYMOUS),
        ("MAP_ANON", MAP_ANONYMOUS),
        ("MAP_FILE", 0),
        ("MAP_32BIT", 0x40),
        ("MAP_ABOVE4G", 0x80),
        ("MAP_GROWSDOWN", 0x100),
        ("MAP_DENYWRITE", 0x800),
        ("MAP_EXECUTABLE", 0x1000),
        ("MAP_LOCKED", 0x2000),
        ("MAP_NORESERVE", 0x4000),
        ("MAP_POPULATE", 0x8000),
        ("MAP_NONBLOCK", 0x1_0000),
        ("MAP_STACK", 0x2_0000),
        ("MAP_HUGETLB", 0x4_0000),
        ("MAP_SYNC", 0x8_0000),
        ("MAP_FIXED_NOREPLACE", MAP_FIXED_NOREPLACE),
        ("MAP_UNINITIALIZED", 0x400_0000),
        ("MAP_HUGE_SHIFT", 26),
        ("MAP_HUGE_2MB", 21 << 26),
        ("MAP_HUGE_1GB", 30 << 26),
    ],
    idle_prefix: None,
};

pub(super) const MREMAP_FIXED: u64 = 2;
pub(super) const MREMAP_DONTUNMAP: u64 = 4;

pub(super) const MREMAP: FlagSet = FlagSet {
    kind: "flag of `mremap`",
    names: &[("MREMAP_MAYMOVE", 1), ("MREMAP_FIXED", MREMAP_FIXED), ("MREMAP_DONTUNMAP", MREMAP_DONTUNMAP)],
    idle_prefix: None,
};

pub(super) const CLONE_VM: u64 = 0x100;
pub(super) const CLONE_THREAD: u64 = 0x1_0000;

pub(super) const CLONE: FlagSet = FlagSet {
    kind: "flag of `clone`",
    names: &[("CLONE_VM", CLONE_VM), ("CLONE_THREAD", CLONE_THREAD), ("CLONE_VFORK", 0x4000)],
    // the other flags of the family share descriptors, names, handlers; the signal is sent at the end
    idle_prefix: Some("CLONE_"),
};

pub(super) const MADV_DONTNEED: u64 = 4;
pub(super) const MADV_FREE: u64 = 8;
pub(super) const MADV_DONTFORK: u64 = 10;
pub(super) const MADV_DOFORK: u64 = 11;
pub(super) const MADV_WIPEONFORK: u64 = 18;
pub(super) const MADV_KEEPONFORK: u64 = 19;
pub(super) const MADV_DONTNEED_LOCKED: u64 = 24;

/// Advice that changes no mapping and no contents.
pub(super) const MADV_IDLE: &[u64] = &[0, 1, 2, 3, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23, 25];

pub(super) const MADV: FlagSet = FlagSet {
    kind: "advice",
    names: &[
        ("MADV_NORMAL", 0),
        ("MADV_RANDOM", 1),
        ("MADV_SEQUENTIAL", 2),
        ("MADV_WILLNEED", 3),
        ("MADV_DONTNEED", MADV_DONTNEED),
        ("MADV_FREE", MADV_FREE),
        ("MADV_DONTFORK", MADV_DONTFORK),
        ("MADV_DOFORK", MADV_DOFORK),
        ("MADV_MERGEABLE", 12),
        ("MADV_UNMERGEABLE", 13),
        ("MADV_HUGEPAGE", 14),
        ("MADV_NOHUGEPAGE", 15),
        ("MADV_DONTDUMP", 16),
        ("MADV_DODUMP", 17),
        ("MADV_WIPEONFORK", MADV_WIPEONFORK),
        ("MADV_KEEPONFORK", MADV_KEEPONFORK),
        ("MADV_COLD", 20),
        ("MADV_PAGEOUT", 21),
        ("MADV_POPULATE_READ", 22),
        ("MADV_POPULATE_WRITE", 23),
        ("MADV_DONTNEED_LOCKED", MADV_DONTNEED_LOCKED),
        ("MADV_COLLAPSE", 25),
    ],
    idle_prefix: None,
};

/// Reads the flag word that is the whole of `text[range]`.
pub(super) fn read(set: &FlagSet, text: &[u8], range: Range<usize>) -> Result<u64, Misread> {
    let mut s = Scanner::within(text, range);
    let mut bits = 0;
    loop {
        s.skip_blanks()?;
        let mut term = term(set, &mut s)?;
        s.skip_blanks()?;
        if s.eat(b"<<") {
            s.skip_blanks()?;
            let at = s.pos();
            let shift = self::term(set, &mut s)?;
            let shifted = u32::try_from(shift).ok().and_then(|n| term.checked_shl(n));
            term = shifted.ok_or(Misread::new(at, Problem::NumberTooLarge))?;
            s.skip_blanks()?;
        }
        bits |= term;
        if s.at_end() {
            return Ok(bits);
        }
        if !s.eat(b"|") {
            return Err(s.expected("`|` or the end of the flags"));
        }
    }
}

fn term(set: &FlagSet, s: &mut Scanner<'_>) -> Result<u64, Misread> {
    if s.peek().is_some_and(|b| b.is_ascii_digit()) {
        return s.number();
    }
    let at = s.pos();
    let name = s.take_while(is_word);
    if name.is_empty() {
        return Err(Misread::new(at, Problem::Expected { what: set.kind, found: Found::at(s.rest()) }));
    }
    let known = set.names.iter().find(|(known, _)| known.as_bytes() == name);
    if let Some((_, value)) = known {
        return Ok(*value);
    }
    let idle =
        set.idle_prefix.is_some_and(|prefix| name.starts_with(prefix.as_bytes()) || name.starts_with(b"SIG"));
    if idle {
        return Ok(0);
    }
    let name = String::from_utf8_lossy(name).into_owned();
    Err(Misread::new(at, Problem::UnknownFlag { kind: set.kind, name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(set: &FlagSet, text: &str) -> Result<u64, Misread> {
        read(set, text.as_bytes(), 0..text.len())
    }

    #[test]
    fn reads_names_numbers_and_shifts() {
        assert_eq!(value(&PROT, "PROT_READ|PROT_WRITE"), Ok(3));
        assert_eq!(value(&PROT, "PROT_NONE"), Ok(0));
        assert_eq!(value(&PROT, "0x3"), Ok(3));
        assert_eq!(
            value(&MAP, "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT"),
            Ok(0x22 | 0x40000 | 21 << 26)
        );
        assert_eq!(value(&MAP, "MAP_SHARED|0x8000000 /* MAP_??? */"), Ok(0x800_0001));
        assert_eq!(value(&CLONE, "CLONE_VM|CLONE_NEWTHING|SIGCHLD"), Ok(0x100));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(
            value(&PROT, "PROT_READ|PROT_MAGIC"),
            Err(Misread::new(10, Problem::UnknownFlag { kind: "protection", name: "PROT_MAGIC".into() }))
        );
        assert_eq!(value(&PROT, "").unwrap_err().at, 0);
        assert_eq!(value(&PROT, "PROT_READ|").unwrap_err().at, 10);
        assert_eq!(value(&PROT, "PROT_READ PROT_WRITE").unwrap_err().at, 10);
        assert_eq!(value(&MAP, "1<<64").unwrap_err(), Misread::new(3, Problem::NumberTooLarge));
    }
}
