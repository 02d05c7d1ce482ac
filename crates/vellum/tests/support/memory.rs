//! Memory at the fixed addresses where the frame layer looks for it.
#![expect(unsafe_code, reason = "maps memory at fixed addresses and hands it to the frame layer")]
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use vellum::frame::init_metadata;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE, META_SLOT_SIZE};

fn map(at: usize, len: usize) {
    // SAFETY: nothing of this process lives at these addresses.
    let got = unsafe {
        mmap_anonymous(
            at as *mut _,
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE,
        )
    };
    assert_eq!(got.expect("the address is free").addr(), at);
}

/// Makes `frames` frames of memory, and their metadata; once in the life of a process.
pub fn power_on(frames: usize) {
    map(LINEAR_MAP_BASE, frames * PAGE_SIZE);
    map(META_BASE, frames * META_SLOT_SIZE);
    // SAFETY: both regions were just mapped, for these tests alone.
    unsafe { init_metadata(frames) };
}
