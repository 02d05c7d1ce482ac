//! The machine that Vellum's proofs trust.
//!
//! Everything that hardware gives and that a proof cannot derive stands in this crate: words of physical
//! memory, atomics with explicit orderings, processors and the calls between them, translation caches, and
//! copies to and from memory that may fault. Each primitive has an executable body per architecture and a contract;
//! each one is an entry of `TRUSTED.toml`.
#![no_std]
#![cfg_attr(verus_keep_ghost, feature(proc_macro_hygiene))]

#[allow(unused_braces, reason = "the expansion of `global`")]
pub mod addr;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod arch;
pub mod atomic;
pub mod cpu;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod fault;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod fence;
pub mod halt;
pub mod ipi;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod kernel;
pub mod layout;
pub mod model;
pub mod owned;
pub mod page;
pub mod paging;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod primitive;
pub mod ptword;
pub mod readers;
pub mod tlb;
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod user;
