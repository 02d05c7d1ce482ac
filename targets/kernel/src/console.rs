//! Text on the serial line.
use crate::arch::serial;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

struct Line;

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                serial::send(b'\r');
            }
            serial::send(byte);
        }
        Ok(())
    }
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// A processor that fails prints whoever holds the line.
static TAKEN_OVER: AtomicBool = AtomicBool::new(false);

/// Lets the calling processor print without waiting for others, for the rest of the run.
pub fn take_over() {
    TAKEN_OVER.store(true, Ordering::Relaxed);
}

/// Prints a line whole: processors take turns.
pub fn print_line(line: fmt::Arguments<'_>) {
    // Acquire: pairs with the Release below.
    while TAKEN.swap(true, Ordering::Acquire) && !TAKEN_OVER.load(Ordering::Relaxed) {
        vellum_machine::cpu::relax();
    }
    // Nothing of the line can fail.
    let _ = Line.write_fmt(line);
    let _ = Line.write_str("\n");
    // Release: pairs with the Acquire above.
    TAKEN.store(false, Ordering::Release);
}

/// Prints a line.
macro_rules! println {
    ($($arguments:tt)*) => {
        $crate::console::print_line(format_args!($($arguments)*))
    };
}

pub(crate) use println;
