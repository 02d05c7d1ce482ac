//! What the loader says (PVH, `hvm_start_info`): memory map, command line, tables of ACPI.
use super::{IMAGE, acpi, symbols};
use crate::boot::{Firmware, FirmwareError};
use vellum::boot::{MemoryRegion, MemoryRegionType};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::page::contents;

const MAGIC: u32 = 0x336e_c578;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    nr_modules: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    base: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    base: u64,
    len: u64,
    command_line: u64,
    reserved: u64,
}

/// What the boot tables show of physical memory.
const SHOWN: u64 = 4 << 30;

/// Reads plain data at a physical address.
///
/// # Safety
/// 1. The memory there holds a `T`, which nobody changes.
pub(super) unsafe fn peek<T: Copy>(pa: u64) -> Result<T, FirmwareError> {
    if pa == 0 || pa >= SHOWN - size_of::<T>() as u64 {
        return Err(FirmwareError::Address(pa));
    }
    // SAFETY: duty 1; the boot tables show it.
    Ok(unsafe { contents(Paddr(pa as usize)).cast::<T>().read_unaligned() })
}

/// Reads the loader's information.
///
/// # Safety
/// 1. `info` is what the loader passed.
pub unsafe fn read(info: usize) -> Result<Firmware, FirmwareError> {
    // SAFETY: the protocol says what is there; so in the rest of the function.
    let start: StartInfo = unsafe { peek(info as u64) }?;
    if start.magic != MAGIC {
        return Err(FirmwareError::Magic(start.magic));
    }
    if start.version == 0 {
        return Err(FirmwareError::NoMemoryMap);
    }
    let mut firmware = Firmware::default();
    for n in 0..u64::from(start.memory_map_entries) {
        // SAFETY: as above.
        let entry: MapEntry = unsafe { peek(start.memory_map + n * size_of::<MapEntry>() as u64) }?;
        firmware.add(MemoryRegion::new(Paddr(entry.base as usize), entry.len as usize, kind(entry.kind)))?;
    }
    for n in 0..u64::from(start.nr_modules) {
        // SAFETY: as above.
        let module: Module = unsafe { peek(start.modules + n * size_of::<Module>() as u64) }?;
        let region =
            MemoryRegion::new(Paddr(module.base as usize), module.len as usize, MemoryRegionType::Module);
        firmware.add_part(region)?;
    }
    let image_start = (&raw const symbols::image_start).addr() - IMAGE;
    let image_end = (&raw const symbols::image_end).addr() - IMAGE;
    let image = MemoryRegion::new(Paddr(image_start), image_end - image_start, MemoryRegionType::Kernel);
    firmware.add_part(image)?;
    // What lies below 1 MiB: the firmware's, the loader's, and the code with which other processors begin.
    firmware.add_part(MemoryRegion::new(Paddr(0), 256 * PAGE_SIZE, MemoryRegionType::Reserved))?;
    firmware.read_command_line(|n| {
        // SAFETY: as above.
        unsafe { peek(start.command_line + n as u64) }
    });
    // SAFETY: the address is the loader's.
    unsafe { acpi::find_processors(start.rsdp, &mut firmware) }?;
    Ok(firmware)
}

fn kind(kind: u32) -> MemoryRegionType {
    match kind {
        1 => MemoryRegionType::Usable,
        3 => MemoryRegionType::Reclaimable,
        4 => MemoryRegionType::NonVolatileSleep,
        5 => MemoryRegionType::Bad,
        _ => MemoryRegionType::Reserved,
    }
}
