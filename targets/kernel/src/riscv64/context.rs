//! User code: what it has in its registers, and why it stopped.
use super::traps;
use core::arch::asm;
use vellum_machine::addr::Vaddr;
use vellum_machine::arch::riscv64::{
    REACHES_USER_PAGES, describe_fault, is_spurious, page_fault, without_interrupts,
};
use vellum_machine::fault::PageFault;

/// What an entry into the kernel saves, in the order of addresses.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Registers {
    /// The general registers, but the first, which is no register: there is the instruction pointer.
    pub x: [usize; 32],
    pub status: usize,
    pub cause: usize,
    /// The address that a fault is about.
    pub value: usize,
    reserved: usize,
}

/// Where the instruction pointer is in [`Registers::x`].
pub const PC: usize = 0;
pub const SP: usize = 2;
pub const A0: usize = 10;
const A7: usize = 17;

/// A user program's registers, which the entry into the kernel saves here.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct UserContext {
    registers: Registers,
    /// The kernel's stack while user code runs, and the register that names the processor.
    kernel_stack: usize,
    kernel_tp: usize,
}

// What the assembly in `traps` counts on.
const _: () = assert!(size_of::<Registers>() == 288 && size_of::<UserContext>() == 304);

/// Why user code stopped.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// It asks for something: the number and the arguments.
    Call(usize, [usize; 3]),
    /// It accessed what it may not, or what is not there yet.
    Fault(PageFault),
    /// It did what no program may: the number of the exception.
    Exception(usize),
}

unsafe extern "C" {
    fn user_enter(context: *mut UserContext);
}

impl UserContext {
    /// Starts at an address, with a stack and an argument.
    pub fn new(entry: Vaddr, stack: Vaddr, argument: usize) -> UserContext {
        // Interrupts come once user code runs, which has registers of 64 bits; it is user mode that is returned to, and
        // floating point is off.
        const STATUS: usize = 1 << 5 | 2 << 32 | REACHES_USER_PAGES;
        let mut registers = Registers { status: STATUS, ..Registers::default() };
        registers.x[PC] = entry.0;
        registers.x[SP] = stack.0;
        registers.x[A0] = argument;
        UserContext { registers, kernel_stack: 0, kernel_tp: 0 }
    }

    /// Returns the address of the next instruction.
    pub fn instruction(&self) -> Vaddr {
        Vaddr(self.registers.x[PC])
    }

    /// Gives the answer to a call.
    pub fn answer(&mut self, value: usize) {
        self.registers.x[A0] = value;
    }

    /// Runs user code on this processor until it stops for something that is the kernel's business.
    pub fn run(&mut self) -> Event {
        const SYSTEM_CALL: usize = 8;
        loop {
            let interrupted = without_interrupts(|| {
                // SAFETY: the context is mapped in every space; user mode is what it returns to, so that it does nothing
                // that user code may not. The fence has the hart fetch what was written to memory before.
                unsafe {
                    asm!("fence.i", options(nostack));
                    user_enter(self)
                };
                traps::serve_interrupt(self.registers.cause)
            });
            if interrupted {
                continue;
            }
            let registers = &mut self.registers;
            let (cause, addr) = (registers.cause, Vaddr(registers.value));
            match page_fault(cause) {
                Some(access) if is_spurious(addr, access, true) => {}
                Some(access) => return Event::Fault(describe_fault(addr, access, true)),
                None if cause == SYSTEM_CALL => {
                    // The call goes on after the instruction, which has 4 bytes.
                    registers.x[PC] += 4;
                    let arguments = [registers.x[A0], registers.x[A0 + 1], registers.x[A0 + 2]];
                    return Event::Call(registers.x[A7], arguments);
                }
                None => return Event::Exception(cause),
            }
        }
    }
}
