//! The parts of the command `vellum`: reading logs of real programs, and replaying them.
//!
//! [`strace`] reads a log, [`model`] says in plain maps what memory must look like after each call, and [`replay`] carries
//! the calls out on the hosted machine and compares.

pub mod areas;
pub mod cli;
pub mod model;
pub mod replay;
pub mod shipped;
pub mod strace;
