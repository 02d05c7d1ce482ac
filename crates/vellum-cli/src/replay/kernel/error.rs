//! What the kernel can fail at.

use std::fmt;

use vellum::space::VmSpaceError;

use crate::replay::access::AccessError;

/// What could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The root of a page table.
    Space,
    /// A frame for the page at an address that was touched for the first time.
    Page(u64),
    /// A frame to copy a shared page to that was written.
    Copy(u64),
    /// A node of the page table, to map or lock this address.
    Node(u64),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Space => f.write_str("the root of a page table"),
            Wanted::Page(at) => write!(f, "a frame for the page at {at:#x}, touched for the first time"),
            Wanted::Copy(at) => write!(f, "a frame to copy the page at {at:#x} to, written after a fork"),
            Wanted::Node(at) => write!(f, "a page-table node for the address {at:#x}"),
        }
    }
}

/// Why something was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The machine did not start.
    #[error("the machine does not start")]
    Boot(#[from] vellum_hosted::BootError),
    /// The space layer did not start.
    #[error("the address spaces cannot be set up")]
    Init(#[source] VmSpaceError),
    /// Memory is exhausted.
    #[error("out of memory: {0} could not be had")]
    OutOfMemory(Wanted),
    /// The space refused an operation that had to succeed.
    #[error("the address space refused to {what}")]
    Refused {
        /// What it was to do.
        what: &'static str,
        /// Its reason.
        #[source]
        error: VmSpaceError,
    },
    /// User code had something else come of an access than it had to.
    #[error("on processor {cpu}: {error}")]
    Access {
        /// The processor.
        cpu: usize,
        /// The access.
        error: AccessError,
    },
    /// Frames could not be counted.
    #[error("frames cannot be counted: {0}")]
    Barrier(vellum::BarrierError),
}

/// Sorts a refusal of the space: a lack of memory is one for a node at `at`.
pub(super) fn refusal(what: &'static str, at: u64) -> impl Fn(VmSpaceError) -> KernelError {
    move |error| match error {
        VmSpaceError::NoMemory => KernelError::OutOfMemory(Wanted::Node(at)),
        error => KernelError::Refused { what, error },
    }
}
