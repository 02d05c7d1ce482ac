//! The local APIC, through its registers in memory (Intel SDM vol. 3, chapter 12).
use super::{read_msr, without_interrupts};
use crate::addr::{Paddr, Vaddr};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

const IDENTIFIER: usize = 0x20;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const COMMAND_LOW: usize = 0x300;
const COMMAND_HIGH: usize = 0x310;

/// The vector of interrupts that are none.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Where the kernel sees the registers, the same for all processors; 0 before [`at`].
static BASE: AtomicUsize = AtomicUsize::new(0);

/// What one processor sends another.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// The interrupt of this vector.
    Fixed(u8),
    /// Reset: it waits for [`Message::Startup`] then.
    Init,
    /// It begins in 16-bit mode at this physical frame, below 1 MiB.
    Startup(u8),
}

impl Message {
    /// The command, with the level asserted.
    const fn command(self) -> u32 {
        const ASSERT: u32 = 1 << 14;
        ASSERT
            | match self {
                Message::Fixed(vector) => vector as u32,
                Message::Init => 5 << 8,
                Message::Startup(frame) => 6 << 8 | frame as u32,
            }
    }
}

/// Returns the physical address of the registers.
pub fn paddr() -> Paddr {
    const MSR_APIC_BASE: u32 = 0x1b;
    // SAFETY: every processor with a local APIC has it, and x86-64 ones do.
    Paddr((unsafe { read_msr(MSR_APIC_BASE) } & 0x000f_ffff_ffff_f000) as usize)
}

/// Says where the kernel sees the registers.
///
/// # Safety
/// 1. The frame at [`paddr`] is mapped at `va`, writable and not cached, in every table that a processor walks from now
///    on.
pub unsafe fn at(va: Vaddr) {
    // Release: pairs with the Acquire in `register`.
    BASE.store(va.0, Ordering::Release);
}

fn register(offset: usize) -> *mut u32 {
    // Acquire: pairs with the Release in `at`.
    let base = BASE.load(Ordering::Acquire);
    assert!(base != 0, "the local APIC is used before the kernel sees it");
    ptr::with_exposed_provenance_mut(base + offset)
}

fn write(offset: usize, value: u32) {
    // SAFETY: the duty of `at`: a register is there.
    unsafe { register(offset).write_volatile(value) }
}

fn read(offset: usize) -> u32 {
    // SAFETY: as in `write`.
    unsafe { register(offset).read_volatile() }
}

/// Turns the calling processor's local APIC on.
pub fn enable() {
    const ON: u32 = 1 << 8;
    write(SPURIOUS, ON | u32::from(SPURIOUS_VECTOR));
}

/// Returns the identifier of the calling processor's local APIC.
pub fn identifier() -> u32 {
    read(IDENTIFIER) >> 24
}

/// Ends the handling of an interrupt.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Sends a message to the processor whose local APIC has this identifier.
pub fn send(hardware: u32, message: Message) {
    const UNDER_WAY: u32 = 1 << 12;
    // The two halves of the command belong together: a handler on this processor may send as well.
    without_interrupts(|| {
        while read(COMMAND_LOW) & UNDER_WAY != 0 {
            core::hint::spin_loop();
        }
        // What was written before is visible to the processor that is told: the registers are not cached, and a store
        // to them waits for the stores before it.
        write(COMMAND_HIGH, hardware << 24);
        write(COMMAND_LOW, message.command());
    });
}
