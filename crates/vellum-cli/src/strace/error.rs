//! What can be wrong with a log, and where.

use std::fmt;

/// A log that cannot be read: which file, which line, which column, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{place}: {problem}")]
pub struct ParseError {
    /// The file as it was named by the caller.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What is wrong there.
    #[source]
    pub problem: Problem,
}

/// A position in a log. Both numbers start at 1; columns count bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The byte in the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a line of a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else stands where the named thing has to stand.
    #[error("expected {what}, found {found}")]
    Expected {
        /// What has to stand here.
        what: &'static str,
        /// What stands here.
        found: Found,
    },
    /// A string has no closing quote.
    #[error("this string has no closing quote")]
    OpenString,
    /// A comment has no end.
    #[error("this comment has no end")]
    OpenComment,
    /// A bracket has no partner.
    #[error("this `{0}` has no partner")]
    OpenBracket(char),
    /// A bracket is closed by one of another kind.
    #[error("`{open}` is closed by `{close}`")]
    CrossedBrackets {
        /// The bracket that was open.
        open: char,
        /// The bracket that stands here.
        close: char,
    },
    /// A number does not fit.
    #[error("this number does not fit into 64 bits")]
    NumberTooLarge,
    /// A flag whose meaning for memory is not known.
    #[error("`{name}` is no {kind} known here")]
    UnknownFlag {
        /// What kind of flag was wanted.
        kind: &'static str,
        /// What stands there.
        name: String,
    },
    /// A call has too few arguments.
    #[error("`{call}` needs {what}")]
    MissingArgument {
        /// The call.
        call: String,
        /// The argument that is missing.
        what: &'static str,
    },
    /// A call that must say what it returned does not.
    #[error("`{call}` returned no {what}")]
    BadResult {
        /// The call.
        call: String,
        /// What it should have returned.
        what: &'static str,
    },
    /// A range of addresses ends beyond the last address.
    #[error("{length:#x} bytes from {start:#x} end beyond the last address")]
    RangeOverflow {
        /// The first address.
        start: u64,
        /// How many bytes.
        length: u64,
    },
    /// A call is resumed that was not begun.
    #[error("`{0}` is resumed, but this process has begun no call")]
    NotBegun(String),
    /// Another call is resumed than the one that was begun.
    #[error("`{resumed}` is resumed, but `{begun}` was begun in line {line}")]
    OtherBegun {
        /// The call in this line.
        resumed: String,
        /// The call that is under way.
        begun: String,
        /// The line in which that one began.
        line: usize,
    },
    /// A call begins while another of the same process is under way.
    #[error("a call begins, but `{begun}` of the same process, begun in line {line}, is not resumed")]
    StillBegun {
        /// The call that is under way.
        begun: String,
        /// The line in which it began.
        line: usize,
    },
    /// A line without a process id, though several processes are alive.
    #[error("no process id, though {0} processes are alive")]
    WhoseLine(usize),
    /// There is no call in the whole file.
    #[error("there is no system call in this file")]
    NoCall,
}

/// What stands in the place of something that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the line ends.
    End,
    /// This text (its first bytes).
    Text(String),
}

impl Found {
    /// The first few bytes of what is left.
    pub(super) fn at(rest: &[u8]) -> Found {
        const SHOWN: usize = 16;
        if rest.is_empty() {
            return Found::End;
        }
        let end = rest
            .iter()
            .take(SHOWN)
            .position(|b| *b == b' ')
            .filter(|n| *n > 0)
            .unwrap_or(rest.len().min(SHOWN));
        Found::Text(rest[..end].escape_ascii().to_string())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::End => f.write_str("the end of the line"),
            Found::Text(text) => write!(f, "`{text}`"),
        }
    }
}

/// A problem at a byte of the text that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misread {
    /// The byte, from the start of that text.
    pub(super) at: usize,
    /// What is wrong there.
    pub(super) problem: Problem,
}

impl Misread {
    pub(super) fn new(at: usize, problem: Problem) -> Misread {
        Misread { at, problem }
    }
}
