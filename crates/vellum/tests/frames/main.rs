//! The frame layer, on a few thousand frames of memory.

mod errors;
mod index;
mod list;
#[path = "../support/memory.rs"]
mod memory;
mod own_metadata;
mod segment;
mod shared;
mod stress;
mod support;
mod types;
mod unique;
mod untrusted;
