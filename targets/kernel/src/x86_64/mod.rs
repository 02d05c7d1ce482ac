//! The kernel on x86-64.
#![allow(unsafe_code, reason = "boots, and handles what the processor raises")]
pub mod acpi;
mod context;
mod descriptors;
mod early;
mod machine;
mod port;
mod pvh;
pub mod serial;
mod traps;

use core::arch::{asm, global_asm};
use vellum_machine::arch::{bare, x86_64::apic};
use vellum_machine::cpu::CpuId;

pub use context::{Event, UserContext};
pub use early::{map_at_boot, show_memory};
pub use machine::{exit, on_stack, start_processor};
pub use port::halt_until_interrupt;
pub use traps::interrupts_on;
pub use vellum_machine::arch::x86_64::walk;

global_asm!(include_str!("boot.s"));

/// What boot code and the linker script define; addresses are all that counts.
mod symbols {
    unsafe extern "C" {
        pub safe static image_start: u8;
        pub safe static text_start: u8;
        pub safe static text_end: u8;
        pub safe static rodata_end: u8;
        pub safe static image_end: u8;
        pub safe static boot_root: u8;
        pub safe static trampoline_start: u8;
        pub safe static trampoline_end: u8;
        pub safe static trampoline_argument: u8;
    }
}

/// The virtual address at which the image shows physical address 0.
pub const IMAGE: usize = 0xffff_8400_0000_0000;

/// Bytes at the upper end of a stack to report its overflow on: double faults have another one.
pub const OVERFLOW_ROOM: usize = 0;

/// Turns of the counter in which another processor is expected to do its part: minutes, as an emulator's host may be busy.
pub const PATIENCE: u64 = 1_000_000_000_000;

/// The same for one that is to come up: 5 seconds and more.
pub const START_PATIENCE: u64 = 20_000_000_000;

/// Where the kernel sees the registers of the local APIC: in kernel space, above the image.
const APIC_AT: usize = IMAGE + (1 << 38);

/// Where the first processor comes from 32-bit mode, on the boot stack, with interrupts off.
#[unsafe(no_mangle)]
extern "C" fn boot_processor(info: usize) -> ! {
    // SAFETY: this is the first processor, and this the first that it does; `traps` restores `gs` on entry from user code.
    unsafe { bare::arrive(CpuId::BOOT, 0) };
    serial::init();
    port::mask_old_interrupts();
    descriptors::load(CpuId::BOOT);
    // SAFETY: the loader's entry passes the address of its information.
    let firmware = match unsafe { pvh::read(info) } {
        Ok(firmware) => firmware,
        Err(error) => panic!("the loader's information cannot be used: {error}"),
    };
    crate::main(firmware)
}

/// Where the others come from 16-bit mode, one after the other, on the boot stack.
#[unsafe(no_mangle)]
extern "C" fn other_processor(number: usize) -> ! {
    let cpu = CpuId::new(number as u32).expect("start_processor passes a processor's number");
    if crate::faults::halts(cpu) {
        machine::halt();
    }
    // SAFETY: as for the first one; `start_processor` starts each once. The boot tables map nothing that is unmapped.
    unsafe { bare::arrive(cpu, machine::hardware_id(cpu)) };
    descriptors::load(cpu);
    crate::boot::enter_kernel_space();
    apic::enable();
    interrupts_on();
    // The local APIC was off, and has lost interrupts that came before.
    bare::serve_calls();
    crate::processor(cpu)
}

/// Makes what needs kernel space to be there: maps the image and the local APIC, on the first processor.
pub fn after_kernel_space() {
    machine::map_image();
    machine::map_apic();
    crate::boot::enter_kernel_space();
    apic::enable();
    interrupts_on();
}

/// A counter of instructions, where the machine counts them.
pub fn instructions() -> u64 {
    // QEMU has an instruction take a nanosecond, and this counter go up with each.
    ticks()
}

/// Carries out so many instructions; an even number.
pub fn spend_instructions(count: u64) {
    // SAFETY: counts down.
    unsafe { asm!("2: dec {0}", "jnz 2b", inout(reg) count / 2 => _, options(nomem, nostack)) };
}

/// A counter that goes up with time.
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}
