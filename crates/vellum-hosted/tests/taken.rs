//! Addresses that something else has.
#![allow(unsafe_code, reason = "takes the machine's addresses away")]

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use vellum_hosted::{BootError, Machine, MachineConfig, Window};
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE};

#[test]
fn taken_addresses_are_an_error_and_can_be_given_back() {
    for (window, start) in [(Window::LinearMap, LINEAR_MAP_BASE + (1 << 20)), (Window::Metadata, META_BASE)] {
        let wanted = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: nothing is there yet, or the mapping fails.
        let taken = unsafe {
            mmap_anonymous(wanted, 4096, ProtFlags::READ, MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE)
        };
        let error = Machine::boot(MachineConfig::default()).err().unwrap();
        assert!(matches!(error, BootError::AddressTaken { window: w, .. } if w == window), "{error}");
        // SAFETY: it was mapped above and nobody uses it.
        unsafe { munmap(taken.unwrap(), 4096) }.unwrap();
    }
    assert_eq!(Machine::boot(MachineConfig::default()).unwrap().cpus(), 2);
}
