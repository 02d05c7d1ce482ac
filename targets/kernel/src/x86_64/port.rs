//! Ports, and waiting.
use core::arch::asm;

/// Writes a byte to a port.
///
/// # Safety
/// 1. What the device does with it is sound.
pub unsafe fn write(port: u16, value: u8) {
    // SAFETY: duty 1.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes 32 bits to a port.
///
/// # Safety
/// As for [`write`].
pub unsafe fn write_long(port: u16, value: u32) {
    // SAFETY: duty 1.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}

/// Reads a byte from a port.
///
/// # Safety
/// As for [`write`].
pub unsafe fn read(port: u16) -> u8 {
    let value;
    // SAFETY: duty 1.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Waits for the next interrupt, unless `unless` says with interrupts off that there is something to do.
pub fn halt_until_interrupt(unless: impl Fn() -> bool) {
    // SAFETY: interrupts are off for a moment. `sti` takes effect after the next instruction: none is lost before `hlt`.
    unsafe {
        asm!("cli", options(nostack));
        if unless() {
            asm!("sti", options(nostack));
        } else {
            asm!("sti", "hlt", options(nostack));
        }
    }
}

/// Silences the old interrupt controllers, which otherwise raise the timer's interrupts as if they were exceptions.
pub fn mask_old_interrupts() {
    for port in [0x21, 0xa1] {
        // SAFETY: masks interrupts that nobody here waits for.
        unsafe { write(port, 0xff) };
    }
}
