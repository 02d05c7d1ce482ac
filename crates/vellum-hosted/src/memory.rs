//! Physical memory: a file in memory, seen through fixed windows of the address space.
use crate::{BootError, Window};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::ptr;
use vellum_machine::addr::{Paddr, Vaddr};
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE};

/// The memory of a machine, and the windows through which the process sees it.
///
/// Dropping it takes the windows away; once a machine runs on it, it is [kept](Memory::keep).
pub(crate) struct Memory {
    file: OwnedFd,
    bytes: usize,
    windows: Vec<Mapping>,
}

impl Memory {
    /// Makes memory of zeros, seen through the linear map.
    pub(crate) fn new(bytes: usize) -> Result<Memory, BootError> {
        let failed = |error: Errno| BootError::File { bytes, error: error.into() };
        let file = memfd_create("vellum-memory", MemfdFlags::CLOEXEC).map_err(failed)?;
        ftruncate(&file, bytes as u64).map_err(failed)?;
        let mut memory = Memory { file, bytes, windows: Vec::new() };
        memory.map(Window::LinearMap, Vaddr(LINEAR_MAP_BASE), Paddr(0), bytes)?;
        Ok(memory)
    }

    /// Shows `bytes` of memory from `pa` on as the metadata of all frames.
    pub(crate) fn map_metadata(&mut self, pa: Paddr, bytes: usize) -> Result<(), BootError> {
        self.map(Window::Metadata, Vaddr(META_BASE), pa, bytes)
    }

    /// Leaves the memory and its windows in place until the process ends.
    pub(crate) fn keep(self) {
        // The file itself lives as long as its mappings.
        self.windows.into_iter().for_each(std::mem::forget);
    }

    fn map(&mut self, window: Window, start: Vaddr, pa: Paddr, bytes: usize) -> Result<(), BootError> {
        debug_assert!(pa.0 + bytes <= self.bytes);
        self.windows.push(Mapping::new(&self.file, window, start, pa, bytes)?);
        Ok(())
    }
}

/// A window that was opened; closed when dropped.
struct Mapping {
    start: *mut c_void,
    bytes: usize,
}

impl Mapping {
    fn new(
        file: &OwnedFd,
        window: Window,
        start: Vaddr,
        pa: Paddr,
        bytes: usize,
    ) -> Result<Mapping, BootError> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE;
        let wanted = ptr::with_exposed_provenance_mut(start.0);
        // SAFETY: the kernel puts the mapping where nothing is mapped, or nowhere.
        let got = unsafe { mmap(wanted, bytes, protection, flags, file, pa.0 as u64) };
        let mapping = match got {
            Ok(start) => Mapping { start, bytes },
            Err(Errno::EXIST) => return Err(BootError::AddressTaken { window, start }),
            Err(error) => return Err(BootError::Mapping { window, error: error.into() }),
        };
        // Kernels before 4.17 do not know the flag and take the address for a wish.
        if mapping.start.expose_provenance() != start.0 {
            return Err(BootError::AddressTaken { window, start });
        }
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this range was mapped by `new`, and whoever relies on it has called `Memory::keep`.
        let unmapped = unsafe { munmap(self.start, self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
