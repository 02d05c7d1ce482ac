//! What is done once: mapping the image, starting processors, leaving the boot stack, and the end.
use super::{APIC_AT, IMAGE, port, symbols};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use vellum::kspace;
use vellum::space::{Access, CachePolicy, PageProperty};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::arch::x86_64::apic::{self, Message};
use vellum_machine::cpu::{CpuId, MAX_CPUS};
use vellum_machine::page::contents;

/// Maps the parts of the image, each for what it is.
pub fn map_image() {
    let at = |symbol: *const u8| symbol.addr();
    let [text, text_end, rodata_end, end] = [
        at(&raw const symbols::text_start),
        at(&raw const symbols::text_end),
        at(&raw const symbols::rodata_end),
        at(&raw const symbols::image_end),
    ];
    for (start, end, access) in
        [(text, text_end, Access::RX), (text_end, rodata_end, Access::R), (rodata_end, end, Access::RW)]
    {
        map(start, Paddr(start - IMAGE), end - start, PageProperty::kernel(access));
    }
}

/// Maps the registers of the local APIC.
pub fn map_apic() {
    let prop = PageProperty { cache: CachePolicy::Uncached, ..PageProperty::kernel(Access::RW) };
    map(APIC_AT, apic::paddr(), PAGE_SIZE, prop);
    // SAFETY: it is mapped in kernel space, which every processor walks before it uses them.
    unsafe { apic::at(Vaddr(APIC_AT)) };
}

fn map(at: usize, pa: Paddr, len: usize, prop: PageProperty) {
    // SAFETY: what is mapped is the image at the address that it is linked for, and a device that the machine layer uses.
    if let Err(error) = unsafe { kspace::map(Vaddr(at), pa, len, prop) } {
        panic!("{len:#x} bytes at {at:#x} cannot be mapped for {pa}: {error}");
    }
}

/// Where the trampoline is copied; below 1 MiB, which is reserved.
const TRAMPOLINE: Paddr = Paddr(0x8000);

static HARDWARE: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// The identifier of a processor's local APIC, once it was started.
pub fn hardware_id(cpu: CpuId) -> u32 {
    // Relaxed: the message that starts the processor comes after it.
    HARDWARE[cpu.index()].load(Ordering::Relaxed)
}

/// Starts a processor, which comes to `other_processor` on the boot stack. One at a time: the next after this one has left
/// that.
pub fn start_processor(cpu: CpuId, hardware: u32) {
    HARDWARE[cpu.index()].store(hardware, Ordering::Relaxed);
    let start = (&raw const symbols::trampoline_start).addr();
    let offset = |symbol: *const u8| symbol.addr() - start;
    let len = offset(&raw const symbols::trampoline_end);
    let to = contents(TRAMPOLINE);
    // SAFETY: the frame below 1 MiB is reserved for this; the trampoline is in the image, at its physical address.
    unsafe {
        core::ptr::copy_nonoverlapping(contents(Paddr(start)), to, len);
        let argument_at = to.add(offset(&raw const symbols::trampoline_argument));
        argument_at.cast::<usize>().write_volatile(cpu.index());
    }
    core::sync::atomic::fence(Ordering::SeqCst);
    apic::send(hardware, Message::Init);
    pause(40_000_000);
    for _ in 0..2 {
        apic::send(hardware, Message::Startup((TRAMPOLINE.0 / PAGE_SIZE) as u8));
        pause(800_000);
    }
}

/// Lets so many ticks go by: the manual asks for 10 milliseconds after the first message and 200 microseconds after the
/// others, here at up to 4 GHz.
fn pause(ticks: u64) {
    let start = super::ticks();
    while super::ticks().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
}

/// Leaves the boot stack for the one that ends at `end`, and goes on with `f`.
///
/// # Safety
/// 1. The stack is mapped for good, and nobody else's. `end` is a multiple of 16.
/// 2. `f` may be called with `argument`.
pub unsafe fn on_stack(end: usize, f: extern "C" fn(usize) -> !, argument: usize) -> ! {
    // SAFETY: the duties.
    unsafe {
        asm!("mov rsp, {end}", "xor ebp, ebp", "call {f}", "ud2", end = in(reg) end, f = in(reg) f,
             in("rdi") argument, options(noreturn))
    }
}

/// Ends the run with the verdict, by QEMU's device for that, and waits where there is none.
pub fn exit(success: bool) -> ! {
    const PORT: u16 = 0xf4;
    let code = if success { 0x10 } else { 0x11 };
    // SAFETY: the device ends QEMU; elsewhere nothing listens there.
    unsafe { port::write_long(PORT, code) };
    halt()
}

/// Waits for good, with interrupts off.
pub fn halt() -> ! {
    loop {
        // SAFETY: waits, with interrupts off.
        unsafe { asm!("cli", "hlt") };
    }
}
