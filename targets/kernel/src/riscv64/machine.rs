//! What is done once: mapping the image, starting harts, and the end.
use super::{IMAGE, paddr, symbols};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::kspace;
use vellum::space::{Access, PageProperty};
use vellum_machine::addr::{Paddr, Vaddr};
use vellum_machine::arch::riscv64::sbi;
use vellum_machine::cpu::CpuId;
use vellum_machine::page::contents;

/// Maps the parts of the image, each for what it is.
pub fn map_image() {
    let [text, text_end, rodata_end, end] = [
        paddr(&raw const symbols::text_start),
        paddr(&raw const symbols::text_end),
        paddr(&raw const symbols::rodata_end),
        paddr(&raw const symbols::image_end),
    ];
    for (start, end, access) in
        [(text, text_end, Access::RX), (text_end, rodata_end, Access::R), (rodata_end, end, Access::RW)]
    {
        let (at, prop) = (Vaddr(IMAGE + start.0), PageProperty::kernel(access));
        // SAFETY: what is mapped is the image, at the address that it is linked for.
        if let Err(error) = unsafe { kspace::map(at, start, end.0 - start.0, prop) } {
            panic!("the image cannot be mapped at {at}: {error}");
        }
    }
}

/// Starts a hart, which comes to `other_processor` on the boot stack. One at a time: the next after this one has left that.
pub fn start_processor(cpu: CpuId, hardware: u32) {
    let argument = contents(paddr(&raw const symbols::start_argument_shown)).cast::<usize>();
    // SAFETY: boot code has this word for it, and one hart starts at a time.
    unsafe { argument.write_volatile(cpu.index()) };
    // What was written before is seen by the hart: the firmware orders its start after it.
    core::sync::atomic::fence(Ordering::SeqCst);
    let entry = paddr(&raw const symbols::hart_entry_shown);
    // SAFETY: the code at this physical address is for harts that start, and the boot stack is this one's alone.
    if let Err(error) = unsafe { sbi::start_hart(hardware as usize, entry.0, cpu.index()) } {
        panic!("the firmware does not start hart {hardware}: it answers {}", error.0);
    }
}

/// The device by which the kernel ends the run, where there is one; 0 otherwise.
static EXIT_DEVICE: AtomicUsize = AtomicUsize::new(0);

/// Says where QEMU's device is that ends the run.
pub fn set_exit_device(at: Paddr) {
    // Relaxed: a processor that misses it asks the firmware.
    EXIT_DEVICE.store(at.0, Ordering::Relaxed);
}

/// Ends the run with the verdict, by QEMU's device for that, or else by the firmware.
pub fn exit(success: bool) -> ! {
    const PASS: u32 = 0x5555;
    const FAIL_WITH_2: u32 = 2 << 16 | 0x3333;
    let device = EXIT_DEVICE.load(Ordering::Relaxed);
    if device != 0 {
        // SAFETY: the device ends QEMU. The linear map shows it: what memory may be cached, harts know by its address.
        unsafe {
            contents(Paddr(device)).cast::<u32>().write_volatile(if success { PASS } else { FAIL_WITH_2 })
        };
    }
    sbi::shut_down(!success);
    halt()
}

/// Waits for good, with interrupts off.
pub fn halt() -> ! {
    loop {
        // SAFETY: waits, with interrupts off.
        unsafe { asm!("csrci sstatus, 2", "wfi", options(nostack)) };
    }
}
