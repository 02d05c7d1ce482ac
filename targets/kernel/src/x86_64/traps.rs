//! What the processor raises: interrupts, faults, and system calls.
use super::context::Registers;
use crate::console::println;
use crate::report;
use crate::stacks::Overflow;
use core::arch::{asm, global_asm};
use core::fmt;
use vellum_machine::addr::Vaddr;
use vellum_machine::arch::bare;
use vellum_machine::arch::x86_64::{apic, describe_fault, fix_up};
use vellum_machine::cpu;

pub const DOUBLE_FAULT: usize = 8;
pub const PAGE_FAULT: usize = 14;
pub const SYSTEM_CALL: usize = 0x80;
const CALL: usize = bare::CALL_VECTOR as usize;
const SPURIOUS: usize = apic::SPURIOUS_VECTOR as usize;

// Each entry is 16 bytes. Those of exceptions with an error code find it on the stack; the others push a zero.
global_asm!(
    ".balign 16",
    ".global trap_entries",
    "trap_entries:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30",
    "push 0",
    ".endif",
    "push vector",
    "jmp trap_common",
    ".set vector, vector + 1",
    ".endr",
    "trap_common:",
    "cld",
    "test byte ptr [rsp + 24], 3",
    "jz 2f",
    "swapgs",
    "2:",
    "push rax; push rbx; push rcx; push rdx; push rsi; push rdi; push rbp",
    "push r8; push r9; push r10; push r11; push r12; push r13; push r14; push r15",
    "test byte ptr [rsp + 144], 3",
    "jnz user_left",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "and rsp, -16",
    "call kernel_trap",
    "mov rsp, rbx",
    ".global registers_restore",
    "registers_restore:",
    "pop r15; pop r14; pop r13; pop r12; pop r11; pop r10; pop r9; pop r8",
    "pop rbp; pop rdi; pop rsi; pop rdx; pop rcx; pop rbx; pop rax",
    "add rsp, 16",
    "iretq",
    // From user code: the registers lie in its context, which ends with what `user_enter` left behind.
    "user_left:",
    "mov rsp, [rsp + 176]",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "ret",
    // rdi: the context.
    ".global user_enter",
    "user_enter:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "mov [rdi + 176], rsp",
    "mov rsp, rdi",
    "swapgs",
    "jmp registers_restore",
);

unsafe extern "C" {
    safe static trap_entries: u8;
}

/// Where the gate of a vector leads.
pub fn entry(vector: usize) -> u64 {
    (&raw const trap_entries).addr() as u64 + 16 * vector as u64
}

/// Lets interrupts come.
pub fn interrupts_on() {
    // SAFETY: the gates are loaded.
    unsafe { asm!("sti", options(nostack)) };
}

/// The address of the last page fault on this processor.
pub fn fault_address() -> Vaddr {
    let addr;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) addr, options(nomem, nostack, preserves_flags)) };
    Vaddr(addr)
}

/// Serves an interrupt that is nobody's fault; says whether it was one.
pub fn serve_interrupt(vector: usize) -> bool {
    match vector {
        CALL => {
            apic::end_of_interrupt();
            bare::serve_calls();
            true
        }
        SPURIOUS => true,
        _ => false,
    }
}

/// What the kernel raised.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(registers: &mut Registers) {
    let vector = registers.vector as usize;
    if serve_interrupt(vector) {
        return;
    }
    let addr = fault_address();
    if vector == PAGE_FAULT {
        let reach = registers.r9..=registers.r10;
        if let Some(fixup) = fix_up(registers.rip, reach, addr, registers.error) {
            (registers.rip, registers.r8, registers.r9) = (fixup.rip, fixup.r8, fixup.r9);
            return;
        }
        let fault = describe_fault(addr, registers.error);
        fault_in_kernel("page fault", format_args!("{fault}"), registers, addr)
    }
    // The page fault was not delivered, for want of a stack (Intel SDM vol. 3, section 7.15, interrupt 8).
    if vector == DOUBLE_FAULT
        && let Some(overflow) = Overflow::at(addr)
    {
        fault_in_kernel("stack overflow", format_args!("{overflow}"), registers, addr)
    }
    report::begin();
    print(registers);
    panic!("exception {vector} in the kernel")
}

fn fault_in_kernel(what: &str, details: fmt::Arguments<'_>, registers: &Registers, addr: Vaddr) -> ! {
    report::begin();
    println!("{what} in the kernel: {details}");
    print(registers);
    report::walk(addr);
    panic!("{what} in the kernel")
}

fn print(registers: &Registers) {
    println!("  on CPU {}, at rip {:#x}, error code {:#x}", cpu::current(), registers.rip, registers.error);
    println!(
        "  rsp {:#x} rbp {:#x} rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x}",
        registers.rsp,
        registers.rbp,
        registers.rax,
        registers.rbx,
        registers.rcx,
        registers.rdx,
        registers.rsi,
        registers.rdi
    );
}
