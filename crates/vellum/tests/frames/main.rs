//! The frame layer, on a few thousand frames of memory.

mod errors;
mod list;
mod segment;
mod shared;
mod stress;
mod support;
mod types;
mod unique;
