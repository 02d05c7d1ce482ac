//! A whole machine inside one process, to run Vellum on.
//!
//! Physical memory is one file in memory, mapped where the kernel expects its linear map; the frames that hold the
//! metadata of all frames are mapped a second time where the kernel expects those. Each processor is a thread with
//! an MMU in software ([`vellum_machine::arch::hosted`]). [`Machine::boot`] makes the machine and brings the frame
//! layer up on it; [`Machine::scope`] runs closures on its processors.
//!
//! There is one machine in the life of a process.
mod bring_up;
mod config;
mod error;
mod holes;
mod machine;
#[allow(unsafe_code, reason = "maps the memory of the machine at fixed addresses")]
mod memory;
#[allow(unsafe_code, reason = "lends closures to threads that outlive what they borrow")]
mod scope;
mod worker;

pub use config::{Holes, LEAST_MEMORY, MOST_MEMORY, MachineConfig, Speculation};
pub use error::{BootError, Window};
pub use machine::Machine;
pub use scope::{Scope, ScopedHandle};

/// The code in the project's README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
