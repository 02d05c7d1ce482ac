//! What the processor raises: interrupts, faults, and system calls.
use super::context::{A0, PC, Registers};
use crate::console::println;
use crate::report;
use core::arch::{asm, global_asm};
use vellum_machine::addr::Vaddr;
use vellum_machine::arch::bare;
use vellum_machine::arch::riscv64::{describe_fault, fix_up, is_spurious, page_fault};
use vellum_machine::cpu;

/// The cause of software interrupts, by which harts tell each other of calls.
const SOFTWARE_INTERRUPT: usize = 1 << 63 | 1;

// While user code runs, `sscratch` is the address of its context; in the kernel it is 0.
global_asm!(
    ".macro save_registers",
    "sd x1, 8(sp)",
    ".irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "sd x\\n, 8*\\n(sp)",
    ".endr",
    "csrr t0, sepc",
    "sd t0, 0(sp)",
    "csrr t0, sstatus",
    "sd t0, 256(sp)",
    "csrr t0, scause",
    "sd t0, 264(sp)",
    "csrr t0, stval",
    "sd t0, 272(sp)",
    ".endm",
    // The stack pointer last: it is where the others come from.
    ".macro restore_registers",
    "ld t0, 0(sp)",
    "csrw sepc, t0",
    "ld t0, 256(sp)",
    "csrw sstatus, t0",
    "ld x1, 8(sp)",
    ".irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "ld x\\n, 8*\\n(sp)",
    ".endr",
    "ld sp, 16(sp)",
    ".endm",
    ".balign 4",
    ".global trap_entry",
    "trap_entry:",
    "csrrw sp, sscratch, sp",
    "bnez sp, 1f",
    // From the kernel: its registers go onto its stack.
    "csrrw sp, sscratch, sp",
    "addi sp, sp, -288",
    "save_registers",
    "addi t0, sp, 288",
    "sd t0, 16(sp)",
    "mv a0, sp",
    "call kernel_trap",
    "restore_registers",
    "sret",
    // From user code: the registers go into its context, and the kernel goes on where it entered user code.
    "1: save_registers",
    "csrrw t0, sscratch, zero",
    "sd t0, 16(sp)",
    "mv t0, sp",
    "ld tp, 296(t0)",
    "ld sp, 288(t0)",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
    "ld s\\n, 8*\\n(sp)",
    ".endr",
    "ld ra, 96(sp)",
    "addi sp, sp, 112",
    "ret",
    // a0: the context.
    ".global user_enter",
    "user_enter:",
    "addi sp, sp, -112",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
    "sd s\\n, 8*\\n(sp)",
    ".endr",
    "sd ra, 96(sp)",
    "sd sp, 288(a0)",
    "sd tp, 296(a0)",
    "csrw sscratch, a0",
    "mv sp, a0",
    "restore_registers",
    "sret",
);

unsafe extern "C" {
    safe static trap_entry: u8;
}

/// Has what this hart raises come here.
pub fn init() {
    // SAFETY: `trap_entry` is made for it.
    unsafe { asm!("csrw stvec, {}", in(reg) (&raw const trap_entry).addr(), options(nostack)) };
}

/// Lets interrupts from other harts come.
pub fn interrupts_on() {
    // SAFETY: `init` has run.
    unsafe { asm!("csrs sie, {}", "csrsi sstatus, 2", in(reg) 1 << 1, options(nostack)) };
}

/// Waits for the next interrupt, unless `unless` says with interrupts off that there is something to do.
pub fn halt_until_interrupt(unless: impl Fn() -> bool) {
    // SAFETY: interrupts are off for a moment. `wfi` ends for one that waits, also while they are off.
    unsafe { asm!("csrci sstatus, 2", options(nostack)) };
    if !unless() {
        // SAFETY: as above.
        unsafe { asm!("wfi", options(nostack)) };
    }
    // SAFETY: as above.
    unsafe { asm!("csrsi sstatus, 2", options(nostack)) };
}

/// Serves an interrupt that is nobody's fault; says whether it was one.
pub fn serve_interrupt(cause: usize) -> bool {
    if cause == SOFTWARE_INTERRUPT {
        // SAFETY: takes the interrupt back before the calls are looked for: one that comes now raises it again.
        unsafe { asm!("csrc sip, {}", in(reg) 1 << 1, options(nostack)) };
        bare::serve_calls();
    }
    cause == SOFTWARE_INTERRUPT
}

/// What the kernel raised.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(registers: &mut Registers) {
    let (cause, addr) = (registers.cause, Vaddr(registers.value));
    if serve_interrupt(cause) {
        return;
    }
    if let Some(access) = page_fault(cause) {
        let reach = registers.x[A0 + 4]..=registers.x[A0 + 5];
        if let Some(fixup) = fix_up(registers.x[PC], reach, addr, cause) {
            registers.x[PC] = fixup.pc;
            (registers.x[A0 + 3], registers.x[A0 + 4]) = (fixup.a3, fixup.a4);
            return;
        }
        if is_spurious(addr, access, false) {
            return;
        }
        report::begin();
        println!("page fault in the kernel: {}", describe_fault(addr, access, false));
        print(registers);
        report::walk(addr);
        panic!("page fault in the kernel")
    }
    report::begin();
    print(registers);
    panic!("exception {cause:#x} in the kernel")
}

fn print(registers: &Registers) {
    let Registers { x, cause, value, .. } = registers;
    println!("  on CPU {}, at pc {:#x}, cause {cause:#x}, value {value:#x}", cpu::current(), x[PC]);
    println!(
        "  ra {:#x} sp {:#x} s0 {:#x} a0 {:#x} a1 {:#x} a2 {:#x} a3 {:#x} a4 {:#x}",
        x[1], x[2], x[8], x[10], x[11], x[12], x[13], x[14]
    );
}
