//! Calls to the firmware (RISC-V Supervisor Binary Interface, version 0.3).
use core::arch::asm;

const CONSOLE_PUTCHAR: usize = 1;
const INTERRUPTS: usize = 0x73_5049;
const HARTS: usize = 0x48_534d;
const REMOTE_FENCES: usize = 0x5246_4e43;
const SYSTEM_RESET: usize = 0x5352_5354;

/// What the firmware answers where it does not do what is asked: a negative number of its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SbiError(pub isize);

/// Asks the firmware for something.
///
/// # Safety
/// 1. What the firmware does is sound.
unsafe fn call(extension: usize, function: usize, [a, b, c, d]: [usize; 4]) -> Result<usize, SbiError> {
    let (error, value): (isize, usize);
    // SAFETY: duty 1; the firmware changes these two registers alone (section 3).
    unsafe {
        asm!("ecall", inout("a0") a => error, inout("a1") b => value, in("a2") c, in("a3") d, in("a6") function,
             in("a7") extension, options(nostack));
    }
    if error == 0 { Ok(value) } else { Err(SbiError(error)) }
}

/// Prints a byte. By the legacy extension, which alone OpenSBI 1.1 has; its answer says nothing.
pub fn print(byte: u8) {
    // SAFETY: the firmware prints.
    let _ = unsafe { call(CONSOLE_PUTCHAR, 0, [usize::from(byte), 0, 0, 0]) };
}

/// Raises the software interrupt of a hart.
///
/// # Errors
/// The firmware's answer: there is no such hart.
pub fn send_interrupt(hart: usize) -> Result<(), SbiError> {
    // SAFETY: the hart is interrupted.
    unsafe { call(INTERRUPTS, 0, [1, hart, 0, 0]) }.map(|_| ())
}

/// Has harts forget every translation (`SFENCE.VMA` for all addresses): those whose bits are set in `mask`, counted from `base`
/// on. They have done it when this returns.
///
/// The specification has the call succeed when the fences were sent. That firmware comes back after the last of them is
/// what OpenSBI does, and what Linux relies on.
///
/// # Errors
/// The firmware's answer: it has no remote fences, or there is no such hart.
pub fn fence_harts(mask: usize, base: usize) -> Result<(), SbiError> {
    const SFENCE_VMA: usize = 1;
    // SAFETY: forgetting translations is sound. No addresses and no size: all of them.
    unsafe { call(REMOTE_FENCES, SFENCE_VMA, [mask, base, 0, 0]) }.map(|_| ())
}

/// Starts a hart at a physical address, with its number in `a0` and `argument` in `a1`, paging and interrupts off.
///
/// # Errors
/// The firmware's answer: there is no such hart, or it runs.
///
/// # Safety
/// 1. The code there may be run by that hart, with that argument.
pub unsafe fn start_hart(hart: usize, start: usize, argument: usize) -> Result<(), SbiError> {
    // SAFETY: duty 1.
    unsafe { call(HARTS, 0, [hart, start, argument, 0]) }.map(|_| ())
}

/// Shuts the machine down; returns where the firmware cannot.
pub fn shut_down(failed: bool) {
    // SAFETY: nothing runs any more afterwards.
    let _ = unsafe { call(SYSTEM_RESET, 0, [0, usize::from(failed), 0, 0]) };
}
