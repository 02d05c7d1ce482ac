//! What the processor raises: interrupts, faults, and system calls.
use super::context::{A0, PC, Registers, SP};
use crate::console::println;
use crate::report;
use crate::stacks::{Overflow, STACK_BYTES};
use core::arch::{asm, global_asm};
use core::fmt;
use vellum_machine::addr::Vaddr;
use vellum_machine::arch::bare;
use vellum_machine::arch::riscv64::{describe_fault, fix_up, is_spurious, page_fault};
use vellum_machine::cpu;

/// The cause of software interrupts, by which harts tell each other of calls.
const SOFTWARE_INTERRUPT: usize = 1 << 63 | 1;

/// Bytes at the upper end of a stack to report its overflow on.
pub const OVERFLOW_ROOM: usize = 8192;

// While user code runs, `sscratch` is the address of its context; in the kernel it is 0. There a bit of the stack pointer
// is set in a stack, and clear in the guard pages below it.
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
    // On the boot stack, which has no guard pages; there is no user code yet.
    ".balign 4",
    ".global trap_entry_at_boot",
    "trap_entry_at_boot:",
    "addi sp, sp, -288",
    "j 3f",
    ".balign 4",
    ".global trap_entry",
    "trap_entry:",
    "csrrw sp, sscratch, sp",
    "bnez sp, 1f",
    // From the kernel: its registers go onto its stack, if there is room.
    "csrr sp, sscratch",
    "addi sp, sp, -288",
    "slli sp, sp, 63 - {stack_bit}",
    "bgez sp, 2f",
    "csrrw sp, sscratch, zero",
    "addi sp, sp, -288",
    "3: save_registers",
    "addi t0, sp, 288",
    "sd t0, 16(sp)",
    "mv a0, sp",
    "call kernel_trap",
    "restore_registers",
    "sret",
    // The stack overflowed: they go to its upper end.
    "2: csrr sp, sscratch",
    "addi sp, sp, -288",
    "srli sp, sp, {stack_bit} + 1",
    "addi sp, sp, 1",
    "slli sp, sp, {stack_bit} + 1",
    "addi sp, sp, -288",
    "save_registers",
    "csrrw t0, sscratch, zero",
    "sd t0, 16(sp)",
    "mv a0, sp",
    "call kernel_overflow",
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
    stack_bit = const STACK_BYTES.ilog2(),
);

unsafe extern "C" {
    safe static trap_entry_at_boot: u8;
    safe static trap_entry: u8;
}

/// Has what this hart raises come here, as long as it is on the boot stack.
pub fn init() {
    // SAFETY: `trap_entry_at_boot` is made for it.
    unsafe { asm!("csrw stvec, {}", in(reg) (&raw const trap_entry_at_boot).addr(), options(nostack)) };
}

/// Leaves the boot stack for the one that ends at `end`, and goes on with `f`.
///
/// # Safety
/// 1. The stack is the upper half of an area as [`stacks`](crate::stacks) has them, and nobody else's. `end` is a multiple
///    of 16.
/// 2. `f` may be called with `argument`.
pub unsafe fn on_stack(end: usize, f: extern "C" fn(usize) -> !, argument: usize) -> ! {
    let entry = (&raw const trap_entry).addr();
    // SAFETY: the duties; `trap_entry` is made for it. The hart may have kept that nothing was mapped there, which the fence
    // has it forget: it could not handle that fault without a stack.
    unsafe {
        asm!("sfence.vma", "mv sp, a1", "csrw stvec, a3", "li ra, 0", "li s0, 0", "jr a2",
             in("a0") argument, in("a1") end, in("a2") f, in("a3") entry, options(noreturn))
    }
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
        let fault = describe_fault(addr, access, false);
        fault_in_kernel("page fault", format_args!("{fault}"), registers, addr)
    }
    report::begin();
    print(registers);
    panic!("exception {cause:#x} in the kernel")
}

/// What the kernel raised when its stack had no room for its registers.
#[unsafe(no_mangle)]
extern "C" fn kernel_overflow(registers: &Registers) -> ! {
    // What was raised need not be about the stack, but its registers were to go there.
    let saved_at = registers.x[SP].wrapping_sub(size_of::<Registers>());
    let overflow = Overflow::at(Vaddr(registers.value)).unwrap_or(Overflow(Vaddr(saved_at)));
    fault_in_kernel("stack overflow", format_args!("{overflow}"), registers, overflow.0)
}

fn fault_in_kernel(what: &str, details: fmt::Arguments<'_>, registers: &Registers, addr: Vaddr) -> ! {
    report::begin();
    println!("{what} in the kernel: {details}");
    print(registers);
    report::walk(addr);
    panic!("{what} in the kernel")
}

fn print(registers: &Registers) {
    let Registers { x, cause, value, .. } = registers;
    println!("  on CPU {}, at pc {:#x}, cause {cause:#x}, value {value:#x}", cpu::current(), x[PC]);
    println!(
        "  ra {:#x} sp {:#x} s0 {:#x} a0 {:#x} a1 {:#x} a2 {:#x} a3 {:#x} a4 {:#x}",
        x[1], x[2], x[8], x[10], x[11], x[12], x[13], x[14]
    );
}
