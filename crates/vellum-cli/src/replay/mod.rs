//! Replaying a log on the hosted machine.
//!
//! The engine goes through the log's events in order. Each call becomes [`Change`](crate::model::Change)s of one address
//! space, which go two ways: into the plain model, and through a small [`kernel`] on Vellum, which works on a
//! [`VmSpace`](vellum::space::VmSpace). After each call user code on the call's processor touches the pages concerned, and
//! user code on other processors, which used the same pages before and other pages meanwhile, looks for stale translations.
//! At the end of each process everything that its page table shows is compared with the model.
//!
//! # When a call takes effect
//!
//! Where a log shows a call in two halves, other calls stand between them. What gives addresses up (`munmap`, `madvise`, a
//! shrinking `brk`, `exit`) takes effect at its beginning, because another thread can have been given those addresses before
//! the end; what takes addresses (`mmap`, a growing `brk`) at its end, before which nobody can know them. `mremap` does both: it
//! takes effect at its end, or just before another call takes its old place. A child exists from its first line on, which can
//! come before the end of the call that made it.

mod access;
mod engine;
mod error;
pub mod kernel;
mod report;
mod tasks;
mod touch;

pub use access::{Access, AccessError};
pub use engine::{Options, Outcome, replay};
pub use error::{Cause, Doing, ReplayError, chain};
pub use report::{CallCount, Report, Shootdowns};
pub use touch::{MOST_TOUCHED, MOST_WATCHED, Touch};
