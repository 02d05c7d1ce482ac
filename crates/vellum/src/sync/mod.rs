//! Locks that wait by spinning, cells that are written once, and a value for each processor.
//!
//! A loop that waits here calls [`vellum_machine::cpu::relax`], which serves the calls of other processors: two
//! processors that wait, one for a lock and one for an answer, do not wait for ever. In return, what such a call
//! runs must take no lock of this module.

mod cpu_local;
mod once;
mod spin;

pub use cpu_local::{CpuLocal, Initial};
pub use once::Once;
pub use spin::{SpinLock, SpinLockGuard};
