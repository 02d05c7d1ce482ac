//! Why memory was not accessed.
use core::fmt;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::CpuId;

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoError {
    /// The access faulted, and the fault was not resolved.
    Fault {
        /// The first address that could not be accessed.
        at: Vaddr,
    },
    /// Fewer bytes are left than the value has.
    Exhausted {
        /// The bytes of the value.
        wanted: usize,
        /// The bytes that are left.
        left: usize,
    },
    /// The word is not aligned to its size.
    Misaligned {
        /// Where it is.
        at: Vaddr,
    },
    /// The space is not active on this processor any more.
    NotActive {
        /// The processor.
        cpu: CpuId,
    },
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoError::Fault { at } => write!(f, "the memory at {at} cannot be accessed"),
            IoError::Exhausted { wanted, left } => write!(f, "{wanted} bytes are wanted and {left} are left"),
            IoError::Misaligned { at } => write!(f, "the word at {at} is not aligned to its size"),
            IoError::NotActive { cpu } => write!(f, "the space is not active on processor {cpu}"),
        }
    }
}

impl core::error::Error for IoError {}

/// A copy that stopped short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyError {
    /// The bytes that were copied; both sides have moved past them.
    pub done: usize,
    /// Why it stopped.
    pub error: IoError,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped after {} bytes: {}", self.done, self.error)
    }
}

impl core::error::Error for CopyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}
