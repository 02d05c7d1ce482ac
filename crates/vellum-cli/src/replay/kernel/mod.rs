//! A small kernel on Vellum: just enough of one to carry out the calls of a log.
//!
//! An address space is a [`VmSpace`](vellum::space::VmSpace) and a map of areas, which say what a page fault may do. Pages
//! come with the first access, are shared by forks until somebody writes, and belong to an object where the mapping is
//! shared.

mod error;
mod fault;
mod frames;
mod host;
mod space;

pub use error::{KernelError, Wanted};
pub use fault::FaultCounts;
pub use host::{Bystander, Done, Farewell, Kernel, Leaving, Peak, Step, Work};
