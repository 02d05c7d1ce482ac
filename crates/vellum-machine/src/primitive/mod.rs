//! Atomics, fences and cells: the one place that says whose they are.
//!
//! They are those of `core`, unless the build is for [loom](https://docs.rs/loom) (`--cfg loom`), which explores the
//! interleavings of small programs over words and cells of its own: then they are loom's. What is to be explored
//! takes its words from here. Memory that user code can reach is never loom's, and is accessed with what `core` has; words
//! of page tables are loom's where there are no walkers, in its programs (`ptword.rs`).
//!
//! `cargo xtask loom` makes that build and explores the programs; a kernel and the verifier never see it.

#[cfg(not(loom))]
mod real;
#[cfg(loom)]
mod watched;

pub use core::sync::atomic::Ordering;
#[cfg(not(loom))]
pub use real::*;
#[cfg(loom)]
pub use watched::*;
