//! Small programs over the protocols, whose interleavings loom explores: `cargo xtask loom`.
//!
//! loom runs a program again and again, once for each order in which its threads can meet, and lets an atomic read
//! return every value that the memory model allows. It reports accesses to a watched cell that are not ordered, and
//! assertions that fail. Where a program is too large for that, it explores the executions with so many preemptions at
//! most: the programs say how many.
//!
//! The orderings are those of the real build. `xtask/mutants.toml` weakens those on which the programs rest, one at a
//! time (`rejected_by = "loom"`), and names the program that must fail.
#![cfg(loom)]

mod allocator;
mod frames;
#[path = "../support/map.rs"]
mod map;
mod nodes;
mod ranges;
mod readers;
mod shootdown;
mod support;
mod sync;
