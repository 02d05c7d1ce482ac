//! What the firmware says (the device tree): memory, harts, command line, the device that ends the run.
use super::{machine, paddr, symbols};
use crate::boot::{Firmware, FirmwareError};
use fdt::Fdt;
use fdt::node::FdtNode;
use vellum::boot::{MemoryRegion, MemoryRegionType};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::PADDR_LIMIT;
use vellum_machine::page::contents;

const MAGIC: u32 = 0xd00d_feed;

/// Reads the firmware's tree; `hart` is the calling one.
///
/// # Safety
/// 1. `at` is the physical address that the firmware passed.
pub unsafe fn read(hart: u32, at: usize) -> Result<Firmware, FirmwareError> {
    if at == 0 || !at.is_multiple_of(4) || at > PADDR_LIMIT - PAGE_SIZE {
        return Err(FirmwareError::Address(at as u64));
    }
    let start = contents(Paddr(at)).cast_const();
    // SAFETY: the boot tables show it; by duty 1 it is a tree, whose first two words are this.
    let [magic, len] = unsafe { [start.cast::<u32>().read(), start.cast::<u32>().add(1).read()] };
    if u32::from_be(magic) != MAGIC {
        return Err(FirmwareError::Magic(u32::from_be(magic)));
    }
    let len = u32::from_be(len) as usize;
    // SAFETY: so many bytes are the tree's, which nobody changes.
    let bytes = unsafe { core::slice::from_raw_parts(start, len) };
    let tree = Fdt::new(bytes).map_err(|_| FirmwareError::NoProcessors)?;
    let mut firmware = Firmware::default();
    firmware.add_part(MemoryRegion::new(Paddr(at), len, MemoryRegionType::Reclaimable))?;
    find_memory(&tree, &mut firmware)?;
    find_harts(&tree, hart, &mut firmware)?;
    if let Some(chosen) = tree.find_node("/chosen") {
        let line = chosen.property("bootargs").and_then(|property| property.as_str()).unwrap_or("");
        firmware.read_command_line(|n| line.as_bytes().get(n).copied().ok_or(FirmwareError::NoMemoryMap));
        find_modules(chosen, &mut firmware)?;
    }
    if let Some(device) = tree.find_compatible(&["sifive,test0"]).and_then(|node| regions(node).next()) {
        machine::set_exit_device(Paddr(device.0));
    }
    Ok(firmware)
}

/// The ranges of addresses of a node.
fn regions<'a>(node: FdtNode<'_, 'a>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let regions = node.reg().into_iter().flatten();
    regions.map(|region| (region.starting_address.addr(), region.size.unwrap_or(0)))
}

fn find_memory(tree: &Fdt<'_>, firmware: &mut Firmware) -> Result<(), FirmwareError> {
    let mut any = false;
    for node in tree.all_nodes().filter(|node| is_of(*node, "memory")) {
        for (base, len) in regions(node) {
            any = true;
            firmware.add(MemoryRegion::new(Paddr(base), len, MemoryRegionType::Usable))?;
        }
    }
    for range in tree.memory_reservations() {
        let (base, len) = (range.address().addr(), range.size());
        firmware.add_part(MemoryRegion::new(Paddr(base), len, MemoryRegionType::Reserved))?;
    }
    for node in tree.find_node("/reserved-memory").into_iter().flat_map(|node| node.children()) {
        for (base, len) in regions(node) {
            firmware.add_part(MemoryRegion::new(Paddr(base), len, MemoryRegionType::Reserved))?;
        }
    }
    let [start, end] = [paddr(&raw const symbols::image_start), paddr(&raw const symbols::image_end)];
    firmware.add_part(MemoryRegion::new(start, end.0 - start.0, MemoryRegionType::Kernel))?;
    if any { Ok(()) } else { Err(FirmwareError::NoMemoryMap) }
}

/// Notes the harts that can run, the calling one first.
fn find_harts(tree: &Fdt<'_>, this: u32, firmware: &mut Firmware) -> Result<(), FirmwareError> {
    firmware.add_processor(this)?;
    for node in tree.find_node("/cpus").into_iter().flat_map(|node| node.children()) {
        let hart = node.property("reg").and_then(|property| property.as_usize());
        let disabled =
            node.property("status").and_then(|property| property.as_str()).is_some_and(|s| s != "okay");
        if let Some(hart) = hart.filter(|hart| is_of(node, "cpu") && !disabled && *hart != this as usize) {
            firmware.add_processor(hart as u32)?;
        }
    }
    Ok(())
}

/// Notes what the loader put into memory beside the kernel.
fn find_modules(chosen: FdtNode<'_, '_>, firmware: &mut Firmware) -> Result<(), FirmwareError> {
    let address = |name| chosen.property(name).and_then(|property| property.as_usize());
    if let (Some(start), Some(end)) = (address("linux,initrd-start"), address("linux,initrd-end")) {
        let len = end.saturating_sub(start);
        firmware.add_part(MemoryRegion::new(Paddr(start), len, MemoryRegionType::Module))?;
    }
    Ok(())
}

/// Whether a node says that it is such a device.
fn is_of(node: FdtNode<'_, '_>, kind: &str) -> bool {
    node.property("device_type").and_then(|property| property.as_str()) == Some(kind)
}
