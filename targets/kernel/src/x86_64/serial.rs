//! The first serial line, by polling.
use super::port;

const BASE: u16 = 0x3f8;

/// 115200 baud, 8 bits, no parity, one stop bit.
pub fn init() {
    let setup = [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0xc7), (4, 0x0b)];
    for (register, value) in setup {
        // SAFETY: the ports of the serial line set it up, and nothing else.
        unsafe { port::write(BASE + register, value) };
    }
}

/// Sends a byte once the line takes it.
pub fn send(byte: u8) {
    const READY: u8 = 1 << 5;
    // SAFETY: as in `init`.
    unsafe {
        while port::read(BASE + 5) & READY == 0 {
            core::hint::spin_loop();
        }
        port::write(BASE, byte);
    }
}
