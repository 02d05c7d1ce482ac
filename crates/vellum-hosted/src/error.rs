//! Why a machine did not boot.
use std::{error, fmt, io};
use vellum::boot::{EarlyAllocError, MapError};
use vellum::frame::allocator::AllocInitError;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::CpuId;

/// A range of the process's address space that the machine needs for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// The linear map of physical memory.
    LinearMap,
    /// The metadata of all frames.
    Metadata,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Window::LinearMap => "the linear map",
            Window::Metadata => "the frame metadata",
        })
    }
}

/// Why a machine did not boot.
#[derive(Debug)]
#[non_exhaustive]
pub enum BootError {
    /// The process has had its machine.
    AlreadyBooted,
    /// Memory is not a multiple of a page.
    MemoryNotAligned {
        /// The size asked for.
        bytes: usize,
    },
    /// There is less memory than a machine needs, or none.
    MemoryTooSmall {
        /// The size asked for.
        bytes: usize,
        /// The least size.
        least: usize,
    },
    /// There is more memory than the linear map has room for.
    MemoryTooBig {
        /// The size asked for.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// There is no processor.
    NoCpus,
    /// There are more processors than a machine can have.
    TooManyCpus {
        /// The number asked for.
        count: usize,
        /// The most.
        most: usize,
    },
    /// The memory map has too many regions.
    Map(MapError),
    /// The metadata of all frames cannot be placed in usable memory.
    Metadata(EarlyAllocError),
    /// The host gives no file to hold the memory.
    File {
        /// The size of the memory.
        bytes: usize,
        /// What the host said.
        error: io::Error,
    },
    /// The addresses that the machine needs are taken in this process.
    AddressTaken {
        /// What for.
        window: Window,
        /// Where it would start.
        start: Vaddr,
    },
    /// The host does not map the memory.
    Mapping {
        /// What for.
        window: Window,
        /// What the host said.
        error: io::Error,
    },
    /// The host gives no thread for a processor.
    Thread {
        /// The processor.
        cpu: CpuId,
        /// What the host said.
        error: io::Error,
    },
    /// The frame allocator did not start; the process has had its machine.
    Allocator(AllocInitError),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use BootError::*;
        match self {
            AlreadyBooted => f.write_str("the process has had its machine"),
            MemoryNotAligned { bytes } => write!(f, "memory of {bytes} bytes is not a multiple of a page"),
            MemoryTooSmall { bytes, least } => write!(f, "memory of {bytes} bytes is less than {least}"),
            MemoryTooBig { bytes, most } => write!(f, "memory of {bytes} bytes is more than {most}"),
            NoCpus => f.write_str("a machine needs a processor"),
            TooManyCpus { count, most } => write!(f, "{count} processors are more than {most}"),
            Map(error) => write!(f, "the memory map cannot be used: {error}"),
            Metadata(error) => write!(f, "frame metadata cannot be placed: {error}"),
            File { bytes, error } => write!(f, "the host gives no file of {bytes} bytes of memory: {error}"),
            AddressTaken { window, start } => {
                write!(f, "the addresses for {window}, from {start}, are taken")
            }
            Mapping { window, error } => write!(f, "the host does not map {window}: {error}"),
            Thread { cpu, error } => write!(f, "the host gives no thread for processor {cpu}: {error}"),
            Allocator(error) => write!(f, "the frame allocator did not start: {error}"),
        }
    }
}

impl error::Error for BootError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            BootError::Map(error) => Some(error),
            BootError::Metadata(error) => Some(error),
            BootError::Allocator(error) => Some(error),
            BootError::File { error, .. }
            | BootError::Mapping { error, .. }
            | BootError::Thread { error, .. } => Some(error),
            _ => None,
        }
    }
}
