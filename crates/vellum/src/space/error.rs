//! Why an operation on a space was refused.
use crate::kspace::KernelSpaceError;
use crate::page_table::{PageProperty, PageTableError};
use core::fmt;
use vellum_machine::addr::{Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vstd::prelude::*;

/// Why an operation on a space was refused; unless its description says otherwise, nothing was changed.
#[cfg_attr(verus_keep_ghost, verifier::external_derive)]
#[verus_verify]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmSpaceError {
    /// The range has no address in it.
    Empty {
        /// Where it starts.
        va: Vaddr,
    },
    /// The range ends before it starts.
    Reversed {
        /// Where it starts.
        start: Vaddr,
        /// Where it ends.
        end: Vaddr,
    },
    /// The address or length is not a multiple of the page size.
    NotAligned {
        /// The address, or where the length ends.
        va: Vaddr,
    },
    /// There are nodes that stay where a huge page should go: never in user space.
    Occupied {
        /// Where.
        va: Vaddr,
    },
    /// A huge page is more than can be mapped at once there: less is left of the range, or the cursor has not locked it for
    /// pages of that size, as [`VmSpace::cursor_mut_at`](super::VmSpace::cursor_mut_at) does.
    TooLarge {
        /// Where.
        va: Vaddr,
        /// The size of the huge page, in bytes.
        size: usize,
        /// The most that can be mapped at once, in bytes.
        most: usize,
    },
    /// The address is not in user space, or not in the range of the cursor.
    OutOfRange {
        /// The address.
        va: Vaddr,
    },
    /// The range goes beyond the last address there is.
    Overflow {
        /// Where it starts.
        va: Vaddr,
        /// Its bytes.
        len: usize,
    },
    /// A mapping of one space cannot be global: processors would keep it when they leave the space.
    Global {
        /// Where it would be.
        va: Vaddr,
    },
    /// A mapping of a space is for user code: the kernel's own accesses to user memory reach whatever is mapped there.
    NotForUser {
        /// Where it would be.
        va: Vaddr,
    },
    /// The entries of page tables on this processor cannot say the property.
    Unrepresentable {
        /// The property.
        prop: PageProperty,
    },
    /// A frame for a page-table node could not be had.
    NoMemory,
    /// The space is not active on this processor.
    NotActive {
        /// The processor.
        cpu: CpuId,
    },
    /// The module was initialised before, or somebody else handles page faults.
    AlreadyInitialised,
    /// Kernel space is not there yet.
    NotInitialised,
    /// Physical memory does not fit into the linear map of kernel space.
    MemoryTooLarge {
        /// Its end.
        end: Paddr,
    },
}

verus! {

#[cfg(verus_keep_ghost)]
impl vstd::std_specs::convert::FromSpecImpl<PageTableError> for VmSpaceError {
    open spec fn obeys_from_spec() -> bool {
        false
    }

    open spec fn from_spec(_v: PageTableError) -> Self {
        arbitrary()
    }
}

impl From<PageTableError> for VmSpaceError {
    fn from(error: PageTableError) -> VmSpaceError {
        match error {
            PageTableError::Empty { va } => VmSpaceError::Empty { va },
            PageTableError::Reversed { start, end } => VmSpaceError::Reversed { start, end },
            PageTableError::NotAligned { at } => VmSpaceError::NotAligned { va: Vaddr(at) },
            PageTableError::OutOfRange { va } => VmSpaceError::OutOfRange { va },
            PageTableError::Occupied { va } => VmSpaceError::Occupied { va },
            PageTableError::TooLarge { va, size, most } => VmSpaceError::TooLarge { va, size, most },
            PageTableError::Unrepresentable { prop } => VmSpaceError::Unrepresentable { prop },
            PageTableError::NoMemory => VmSpaceError::NoMemory,
            // Kernel space is made to be shared.
            PageTableError::NotShareable => VmSpaceError::NotInitialised,
        }
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<KernelSpaceError> for VmSpaceError {
    fn from(error: KernelSpaceError) -> VmSpaceError {
        match error {
            KernelSpaceError::AlreadyInitialised => VmSpaceError::AlreadyInitialised,
            KernelSpaceError::NoMemory => VmSpaceError::NoMemory,
            KernelSpaceError::TooLarge { end } => VmSpaceError::MemoryTooLarge { end },
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for VmSpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VmSpaceError::Empty { va } => write!(f, "the range at {va} is empty"),
            VmSpaceError::Reversed { start, end } => {
                write!(f, "the range from {start} ends before it, at {end}")
            }
            VmSpaceError::NotAligned { va } => write!(f, "{va} is not aligned to the page size"),
            VmSpaceError::Occupied { va } => write!(f, "nodes that stay are at {va}"),
            VmSpaceError::TooLarge { va, size, most } => {
                write!(
                    f,
                    "a page of {size:#x} bytes is too large at {va}: at most {most:#x} can be mapped at once"
                )
            }
            VmSpaceError::OutOfRange { va } => write!(f, "{va} is out of range"),
            VmSpaceError::Overflow { va, len } => {
                write!(f, "{len} bytes from {va} on go beyond the last address")
            }
            VmSpaceError::Global { va } => write!(f, "the mapping at {va} cannot be global"),
            VmSpaceError::NotForUser { va } => write!(f, "the mapping at {va} cannot be the kernel's alone"),
            VmSpaceError::Unrepresentable { prop } => write!(f, "no page-table entry can say {prop:?}"),
            VmSpaceError::NoMemory => f.write_str("no frame is left for the page table"),
            VmSpaceError::NotActive { cpu } => write!(f, "the space is not active on processor {cpu}"),
            VmSpaceError::AlreadyInitialised => f.write_str("page faults have a handler already"),
            VmSpaceError::NotInitialised => f.write_str("kernel space is not there yet"),
            VmSpaceError::MemoryTooLarge { end } => {
                write!(f, "physical memory up to {end} does not fit into the linear map of kernel space")
            }
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for VmSpaceError {}
