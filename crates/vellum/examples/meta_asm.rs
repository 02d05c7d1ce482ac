//! What reading a metadata field through `Frame::meta` compiles to.
//!
//! `cargo rustc --release -p vellum --example meta_asm -- --emit asm` leaves the assembly in
//! `target/release/examples/meta_asm-*.s`; look for `read_field` in it.
use std::hint::black_box;
use vellum::frame::{AnyFrameMeta, Frame, UniqueFrame};

/// Metadata with a field that is not the first.
#[repr(C)]
pub struct Tagged {
    lead: u64,
    tag: u64,
}

impl AnyFrameMeta for Tagged {}

/// Reads a field of a shared frame's metadata.
#[inline(never)]
pub fn read_field(frame: &Frame<Tagged>) -> u64 {
    frame.meta().tag
}

/// Changes a field of a unique frame's metadata.
#[inline(never)]
pub fn write_field(frame: &mut UniqueFrame<Tagged>, tag: u64) {
    frame.meta_mut().tag = tag;
}

fn main() {
    // There is no machine here, and so no frame: the calls are compiled, not made.
    let tagged = Tagged { lead: 0, tag: 1 };
    assert_eq!((tagged.lead, tagged.tag), (0, 1));
    black_box(read_field as fn(&Frame<Tagged>) -> u64);
    black_box(write_field as fn(&mut UniqueFrame<Tagged>, u64));
}
