//! Memory at fixed addresses.
#![expect(unsafe_code, reason = "maps memory at fixed addresses")]
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Maps `len` bytes that nobody has used, for the life of the process.
pub fn map(at: usize, len: usize) {
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
