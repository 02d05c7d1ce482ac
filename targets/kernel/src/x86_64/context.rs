//! User code: what it has in its registers, and why it stopped.
use super::descriptors::{USER_CODE, USER_DATA, set_trap_stack};
use super::traps::{self, PAGE_FAULT, SYSTEM_CALL};
use vellum_machine::addr::Vaddr;
use vellum_machine::arch::x86_64::{describe_fault, without_interrupts};
use vellum_machine::cpu;
use vellum_machine::fault::PageFault;

/// What an entry into the kernel saves, in the order of addresses.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Registers {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    cs: u64,
    flags: u64,
    pub rsp: u64,
    ss: u64,
}

/// A user program's registers; the processor saves them here by itself, up to the end of `registers`.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct UserContext {
    registers: Registers,
    /// The kernel's stack while user code runs.
    kernel_stack: u64,
}

const _: () = assert!(size_of::<Registers>() == 176 && size_of::<Registers>().is_multiple_of(16));

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
        const INTERRUPTS_ON: u64 = 1 << 9;
        UserContext {
            registers: Registers {
                rip: entry.0 as u64,
                rsp: stack.0 as u64,
                rdi: argument as u64,
                cs: u64::from(USER_CODE),
                ss: u64::from(USER_DATA),
                flags: INTERRUPTS_ON,
                ..Registers::default()
            },
            kernel_stack: 0,
        }
    }

    /// Returns the address of the next instruction.
    pub fn instruction(&self) -> Vaddr {
        Vaddr(self.registers.rip as usize)
    }

    /// Gives the answer to a call.
    pub fn answer(&mut self, value: usize) {
        self.registers.rax = value as u64;
    }

    /// Runs user code on this processor until it stops for something that is the kernel's business.
    pub fn run(&mut self) -> Event {
        loop {
            let mut fault = Vaddr(0);
            let vector = without_interrupts(|| {
                let end = (&raw mut self.kernel_stack).addr();
                set_trap_stack(cpu::current(), end);
                // SAFETY: the context is 16-byte aligned and mapped in every space; code and stack of user segments are
                // what it returns to, so that it does nothing that user code may not.
                unsafe { user_enter(self) };
                fault = traps::fault_address();
                let vector = self.registers.vector as usize;
                if traps::serve_interrupt(vector) { None } else { Some(vector) }
            });
            let registers = &self.registers;
            match vector {
                None => {}
                Some(SYSTEM_CALL) => {
                    let arguments = [registers.rdi, registers.rsi, registers.rdx].map(|value| value as usize);
                    return Event::Call(registers.rax as usize, arguments);
                }
                Some(PAGE_FAULT) => return Event::Fault(describe_fault(fault, registers.error)),
                Some(other) => return Event::Exception(other),
            }
        }
    }
}
