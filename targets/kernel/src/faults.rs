//! What goes wrong because the command line wants it, as `fault=cpu`: `cargo xtask qemu --fault` holds what the kernel
//! says of it against what it should say.
use crate::boot::{self, Firmware, FirmwareError};
use crate::console::println;
use crate::{processors, stacks};
use core::sync::atomic::{AtomicBool, Ordering};
use vellum::boot::{MemoryRegion, MemoryRegionType};
use vellum::frame::allocator::{failure_pending, inject_failure};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::layout::{LINEAR_MAP_BASE, PADDR_LIMIT};

/// The processor of the highest number is to halt where it comes in.
static LAST_HALTS: AtomicBool = AtomicBool::new(false);

fn is_wanted(fault: &str) -> bool {
    boot::word("fault") == Some(fault)
}

/// Has the firmware contradict itself (`overlap`), or say that the kernel is where it must not be (`image`); has a
/// processor not come up (`cpu`).
pub fn in_map(firmware: &mut Firmware) -> Result<(), FirmwareError> {
    const KNOWN: [&str; 6] = ["access", "allocation", "cpu", "image", "overlap", "stack"];
    if let Some(fault) = boot::word("fault").filter(|fault| !KNOWN.contains(fault)) {
        panic!("{fault} is no fault that this kernel makes: {KNOWN:?}");
    }
    // Release: pairs with the Acquire in `halts`.
    LAST_HALTS.store(is_wanted("cpu"), Ordering::Release);
    let find = |kind| firmware.regions().iter().rfind(|region| region.kind == kind).copied();
    let (Some(usable), Some(image)) = (find(MemoryRegionType::Usable), find(MemoryRegionType::Kernel)) else {
        return Ok(());
    };
    if is_wanted("image") {
        let middle = Paddr(image.base.0 + image.len / 2);
        firmware.add(MemoryRegion::new(middle, PAGE_SIZE, MemoryRegionType::Reserved))?;
    }
    if is_wanted("overlap") {
        // Neither begins nor ends with a frame.
        let middle = Paddr((usable.base.0 + usable.len / 2) / PAGE_SIZE * PAGE_SIZE + 100);
        firmware.add(MemoryRegion::new(middle, PAGE_SIZE, MemoryRegionType::Reserved))?;
        firmware.add(MemoryRegion::new(Paddr(middle.0 + 8), 8, MemoryRegionType::Bad))?;
        firmware.add(MemoryRegion::new(usable.base, usable.len, MemoryRegionType::Usable))?;
    }
    Ok(())
}

/// Has the allocation of frames fail whose number is given as `nth`.
pub fn in_allocations() {
    if is_wanted("allocation") {
        inject_failure(boot::option("nth").unwrap_or(1));
    }
}

/// Whether a processor is to halt where it comes in.
pub fn halts(cpu: CpuId) -> bool {
    // Acquire: pairs with the Release in `in_map`.
    LAST_HALTS.load(Ordering::Acquire) && cpu.index() + 1 == cpu::count()
}

/// Once the kernel has booted: ends the run that is about the allocations up to here, makes a bad access, and fills a stack.
pub fn after_boot() {
    if is_wanted("allocation") {
        let left = failure_pending();
        inject_failure(0);
        match left {
            0 => println!("boot: an allocation failed, and could be done without"),
            _ => println!("boot: no allocation failed"),
        }
        crate::finish()
    }
    if is_wanted("access") {
        bad_access();
    }
    if is_wanted("stack") {
        processors::on_all(|cpu| {
            if cpu.index() + 1 == cpu::count() {
                let calls = stacks::descend_to(Vaddr(0));
                panic!("there was room for {calls} calls");
            }
        });
    }
}

/// Reads where nothing is mapped, to see what the kernel says of it.
#[allow(unsafe_code, reason = "makes a mistake")]
fn bad_access() {
    let nowhere = LINEAR_MAP_BASE + PADDR_LIMIT + 0x1234;
    // SAFETY: none: nothing is mapped there, and the kernel ends.
    let read = unsafe { core::ptr::with_exposed_provenance::<u8>(nowhere).read_volatile() };
    panic!("{nowhere:#x} was read, and is {read}");
}
