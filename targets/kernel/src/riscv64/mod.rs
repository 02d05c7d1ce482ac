//! The kernel on RISC-V with 64 bits.
#![allow(unsafe_code, reason = "boots, and handles what the processor raises")]
mod context;
mod early;
mod machine;
pub mod serial;
mod traps;
mod tree;

use core::arch::{asm, global_asm};
use vellum_machine::addr::Paddr;
use vellum_machine::arch::{bare, riscv64};
use vellum_machine::cpu::CpuId;
use vellum_machine::layout::KERNEL_BASE;

pub use context::{Event, UserContext};
pub use early::{map_at_boot, show_memory};
pub use machine::{exit, start_processor};
pub use traps::{OVERFLOW_ROOM, halt_until_interrupt, on_stack};
pub use vellum_machine::arch::riscv64::walk;

global_asm!(
    include_str!("boot.s"),
    mode = const riscv64::satp_mode(early::BOOT_LEVELS),
    mode_shift = const riscv64::SATP_MODE_SHIFT,
);

/// What boot code and the linker script define; addresses are all that counts.
mod symbols {
    unsafe extern "C" {
        pub safe static image_start: u8;
        pub safe static text_start: u8;
        pub safe static text_end: u8;
        pub safe static rodata_end: u8;
        pub safe static image_end: u8;
        pub safe static boot_root_shown: u8;
        pub safe static hart_entry_shown: u8;
        pub safe static start_argument_shown: u8;
    }
}

/// The physical address of something in the image.
fn paddr(symbol: *const u8) -> Paddr {
    Paddr(symbol.addr() - IMAGE)
}

/// The virtual address at which the image shows physical address 0; `build.rs` has it linked there.
const IMAGE: usize = KERNEL_BASE + (192 << 30);

/// Turns of the counter in which another processor is expected to do its part: 300 seconds at QEMU's 10 MHz.
pub const PATIENCE: u64 = 3_000_000_000;

/// The same for one that is to come up: 10 seconds.
pub const START_PATIENCE: u64 = 100_000_000;

/// Where the first hart comes from boot code, on the boot stack, with interrupts off.
#[unsafe(no_mangle)]
extern "C" fn boot_processor(hart: usize, tree: usize) -> ! {
    // SAFETY: this is the first processor, and this the first that it does; `traps` restores `tp` on entry from user code.
    unsafe { bare::arrive(CpuId::BOOT, hart as u32) };
    traps::init();
    // SAFETY: the firmware passes the address of its tree.
    let firmware = match unsafe { tree::read(hart as u32, tree) } {
        Ok(firmware) => firmware,
        Err(error) => panic!("the firmware's device tree cannot be used: {error}"),
    };
    early::choose_paging(firmware.command_line());
    crate::main(firmware)
}

/// Where the others come from boot code, one after the other, on the boot stack.
#[unsafe(no_mangle)]
extern "C" fn other_processor(hart: usize, number: usize) -> ! {
    let cpu = CpuId::new(number as u32).expect("start_processor passes a processor's number");
    if crate::faults::halts(cpu) {
        machine::halt();
    }
    // SAFETY: as for the first one; `start_processor` starts each once. The boot tables map nothing that is unmapped.
    unsafe { bare::arrive(cpu, hart as u32) };
    traps::init();
    crate::boot::enter_kernel_space();
    assert!(
        riscv64::walks_as_chosen(),
        "hart {hart} does not have the mode of paging that the first one chose"
    );
    traps::interrupts_on();
    bare::serve_calls();
    crate::processor(cpu)
}

/// Makes what needs kernel space to be there: maps the image, on the first processor.
pub fn after_kernel_space() {
    machine::map_image();
    crate::boot::enter_kernel_space();
    traps::interrupts_on();
}

/// A counter of instructions, where the machine counts them.
pub fn instructions() -> u64 {
    let instructions;
    // SAFETY: the firmware lets the kernel read the counter.
    unsafe { asm!("rdinstret {}", out(reg) instructions, options(nomem, nostack, preserves_flags)) };
    instructions
}

/// Carries out so many instructions; an even number.
pub fn spend_instructions(count: u64) {
    // SAFETY: counts down.
    unsafe {
        asm!("2: addi {0}, {0}, -1", "bnez {0}, 2b", inout(reg) count / 2 => _, options(nomem, nostack))
    };
}

/// A counter that goes up with time.
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: every hart has the counter.
    unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}
