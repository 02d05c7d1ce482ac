//! A verified memory manager for operating-system kernels.
#![no_std]
#![cfg_attr(verus_keep_ghost, feature(proc_macro_hygiene))]

extern crate alloc;

#[cfg_attr(verus_keep_ghost, verifier::external)]
mod barrier;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod boot;
pub mod frame;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod io;
pub mod kspace;
pub mod page_table;
pub mod space;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod sync;
#[cfg(verus_keep_ghost)]
mod theorems;
pub mod tlb;
#[allow(unused_braces, reason = "the expansion of `global`")]
mod word;

pub use barrier::{BarrierError, barrier};
