//! The first serial line, by the firmware.
use vellum_machine::arch::riscv64::sbi;

/// Sends a byte.
pub fn send(byte: u8) {
    sbi::print(byte);
}
