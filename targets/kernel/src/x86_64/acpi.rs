//! The processors that ACPI lists.
use super::pvh::peek;
use crate::boot::{Firmware, FirmwareError};

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct RootPointer {
    signature: [u8; 8],
    checksum: u8,
    oem: [u8; 6],
    revision: u8,
    rsdt: u32,
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Header {
    signature: [u8; 4],
    len: u32,
    rest: [u8; 28],
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct LocalApic {
    kind: u8,
    len: u8,
    processor: u8,
    identifier: u8,
    flags: u32,
}

const MADT_ENTRIES: u64 = 44;

/// Notes the local APICs of the processors that can run, the calling one's first.
///
/// # Safety
/// 1. `rsdp` is the physical address of the root pointer, as the firmware or the loader found it.
pub unsafe fn find_processors(rsdp: u64, firmware: &mut Firmware) -> Result<(), FirmwareError> {
    // SAFETY: ACPI says what is at these addresses; so in the rest of the function.
    let root: RootPointer = unsafe { peek(rsdp) }?;
    if &root.signature != b"RSD PTR " {
        return Err(FirmwareError::NoProcessors);
    }
    let rsdt = u64::from(root.rsdt);
    // SAFETY: as above.
    let header: Header = unsafe { peek(rsdt) }?;
    for at in (size_of::<Header>() as u64..u64::from(header.len)).step_by(4) {
        // SAFETY: as above.
        let table = u64::from(unsafe { peek::<u32>(rsdt + at) }?);
        // SAFETY: as above.
        let header: Header = unsafe { peek(table) }?;
        if &header.signature == b"APIC" {
            // SAFETY: as above.
            return unsafe { read_madt(table, u64::from(header.len), firmware) };
        }
    }
    Err(FirmwareError::NoProcessors)
}

/// # Safety
/// 1. `table` is the address of a table of local APICs of `len` bytes.
unsafe fn read_madt(table: u64, len: u64, firmware: &mut Firmware) -> Result<(), FirmwareError> {
    const LOCAL_APIC: u8 = 0;
    const ENABLED: u32 = 1;
    let mut at = MADT_ENTRIES;
    while at < len {
        // SAFETY: duty 1.
        let entry: LocalApic = unsafe { peek(table + at) }?;
        if entry.kind == LOCAL_APIC && entry.flags & ENABLED != 0 {
            firmware.add_processor(u32::from(entry.identifier))?;
        }
        if entry.len == 0 {
            break;
        }
        at += u64::from(entry.len);
    }
    Ok(())
}
