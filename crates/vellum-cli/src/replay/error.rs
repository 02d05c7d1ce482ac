//! Why a replay stopped.

use std::ops::Range;

use super::kernel::KernelError;
use crate::model::{Difference, GivenTwice};

/// Why a replay stopped, and where in the log.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct ReplayError {
    /// The log.
    pub file: String,
    /// Its line.
    pub line: usize,
    /// What was being done.
    pub what: Doing,
    /// Why it was not done.
    #[source]
    pub cause: Box<Cause>,
}

/// What was being done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doing {
    /// A call of a process.
    #[error("{call} of process {pid} was not carried out")]
    Call {
        /// The call.
        call: String,
        /// The process.
        pid: u32,
    },
    /// The end of a process.
    #[error("process {pid} did not end well")]
    End {
        /// The process.
        pid: u32,
    },
    /// Something for the whole machine.
    #[error("the replay could not {0}")]
    Other(&'static str),
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The log contradicts itself.
    #[error(transparent)]
    GivenTwice(#[from] GivenTwice),
    /// The log names addresses that user space does not have here.
    #[error("{:#x}..{:#x} is not in the user space of this machine", .0.start, .0.end)]
    NotUserSpace(Range<u64>),
    /// The kernel failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The machine shows something else than the model.
    #[error(transparent)]
    Difference(#[from] Difference),
    /// Writes copied more or fewer pages than they had to.
    #[error("{made} pages were copied on write; {expected} had to be")]
    Copies {
        /// Those of the model.
        expected: u64,
        /// Those of the machine.
        made: u64,
    },
    /// Frames were not given back.
    #[error("{0} frames were not given back")]
    Leaked(i64),
}

impl Cause {
    pub(super) fn of(self, file: &str, line: usize, what: Doing) -> ReplayError {
        ReplayError { file: file.to_owned(), line, what, cause: Box::new(self) }
    }
}

/// The whole chain of an error on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
