//! Memory at the fixed addresses where the frame layer looks for it.
#![expect(unsafe_code, reason = "hands memory to the frame layer")]
#[path = "map.rs"]
mod map;

use map::map;
use vellum::frame::init_metadata;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE, META_SLOT_SIZE};

/// Makes `frames` frames of memory, and their metadata; once in the life of a process.
pub fn power_on(frames: usize) {
    map(LINEAR_MAP_BASE, frames * PAGE_SIZE);
    map(META_BASE, frames * META_SLOT_SIZE);
    // SAFETY: both regions were just mapped, for these tests alone.
    unsafe { init_metadata(frames) };
}
