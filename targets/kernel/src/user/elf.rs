//! The parts of an ELF file that are to be in memory.
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use vellum::space::Access;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

/// Why a file is no program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// It is no 64-bit ELF file of this machine's byte order.
    NotElf,
    /// It says that something is where the file has nothing, or where no address is.
    OutOfRange,
    /// A part is to be written and executed.
    WritableCode,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ElfError::NotElf => "the file is no program",
            ElfError::OutOfRange => "the file ends before the program does",
            ElfError::WritableCode => "the program wants to write what it executes",
        })
    }
}

/// A part of a program.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The addresses of whole pages.
    pub pages: Range<usize>,
    /// What may be done.
    pub access: Access,
    /// Where the bytes of the file begin in memory.
    pub at: usize,
    /// The bytes; the rest of the pages is zeros.
    pub bytes: &'static [u8],
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it begins.
    pub entry: Vaddr,
    /// Its parts.
    pub segments: Vec<Segment>,
}

/// Reads a little-endian number.
fn number(file: &[u8], at: usize, len: usize) -> Result<usize, ElfError> {
    let end = at.checked_add(len).ok_or(ElfError::OutOfRange)?;
    let bytes = file.get(at..end).ok_or(ElfError::OutOfRange)?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

/// Finds out what a file wants to have in memory.
pub fn read(file: &'static [u8]) -> Result<Program, ElfError> {
    const LOAD: usize = 1;
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err(ElfError::NotElf);
    }
    let headers = number(file, 32, 8)?;
    let mut segments = Vec::new();
    for n in 0..number(file, 56, 2)? {
        let header = headers + n * number(file, 54, 2)?;
        if number(file, header, 4)? == LOAD {
            segments.push(segment(file, header)?);
        }
    }
    Ok(Program { entry: Vaddr(number(file, 24, 8)?), segments })
}

fn segment(file: &'static [u8], header: usize) -> Result<Segment, ElfError> {
    let field = |at: usize| number(file, header + at, 8);
    let (offset, at, in_file, in_memory) = (field(8)?, field(16)?, field(32)?, field(40)?);
    let access = match number(file, header + 4, 4)? & 7 {
        4 => Access::R,
        5 | 1 => Access::RX,
        6 | 2 => Access::RW,
        _ => return Err(ElfError::WritableCode),
    };
    let end = at.checked_add(in_memory).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE));
    let end = end.filter(|end| *end <= vellum::space::user_top().0).ok_or(ElfError::OutOfRange)?;
    let bytes = file.get(offset..).and_then(|rest| rest.get(..in_file)).ok_or(ElfError::OutOfRange)?;
    Ok(Segment { pages: at / PAGE_SIZE * PAGE_SIZE..end, access, at, bytes })
}
