//! User programs: loaded page by page, forked with copy-on-write, ended with a message where they do what they may not.
mod areas;
mod elf;
mod fault;
mod process;

pub use areas::{Area, Areas};
pub use fault::{Counts, resolve, share};
pub use process::{Ended, Process, Voice, run_queued, something_queued};

/// The program, which is built with the kernel.
pub static PROGRAM: &[u8] = include_bytes!(env!("VELLUM_USER_PROGRAM"));
