//! Logs as `strace -f -e trace=memory,process -o FILE` writes them.
//!
//! [`parse`] reads a whole log into [`Record`]s (calls) and [`Event`]s (the order in which calls began and ended, per
//! process). Calls that the log shows in two halves, `call(.. <unfinished ...>` and `<... call resumed> ..`, are one record
//! with two events, because *when* a call took effect between them depends on the call.
//!
//! Nothing is guessed: a line that cannot be read is a [`ParseError`] with file, line and column; a call that is not known is
//! [`Effect::Unknown`].

mod call;
mod error;
mod flags;
mod join;
mod line;
mod raw;
mod scan;
#[cfg(test)]
mod tests;

pub use call::{
    Advice, Backing, Call, ChildMemory, Effect, Kinship, OldPlace, PAGE, Placement, Prot, Sharing,
};
pub use error::{Found, ParseError, Place, Problem};

/// A log that has been read.
#[derive(Clone, Debug)]
pub struct Log {
    /// The file as it was named by the caller.
    pub file: String,
    /// How many lines it has.
    pub lines: usize,
    /// Every call, in the order in which they began.
    pub records: Vec<Record>,
    /// What happened, in the log's order.
    pub events: Vec<Event>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line in which it began.
    pub line: usize,
    /// Its name.
    pub name: Box<str>,
    /// What it does.
    pub effect: Effect,
}

/// Something that happened to a process or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The line that says so.
    pub line: usize,
    /// The process or thread; 0 in a log that names none.
    pub pid: u32,
    /// What happened.
    pub what: What,
}

/// What happened. The numbers are places in [`Log::records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The call began.
    Begin(usize),
    /// The call ended.
    End(usize),
    /// The call began and ended, and nothing came between.
    Whole(usize),
    /// The process or thread is gone.
    Gone,
    /// Its number now stands for the thread `by`, which is in an `execve`.
    Superseded {
        /// The thread's number until now.
        by: u32,
    },
}

/// Reads a log. `file` names it in errors.
///
/// # Errors
///
/// [`ParseError`] for the first line that cannot be read, and for a log without any call ([`Problem::NoCall`]).
pub fn parse(file: &str, text: &[u8]) -> Result<Log, ParseError> {
    let mut joiner = join::Joiner::new(file);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|b| *b == b'\n') {
        joiner.line(line.strip_suffix(b"\r").unwrap_or(line))?;
    }
    joiner.finish()
}
