//! Frames that are not for use.

use crate::boot::{MemoryMap, MemoryRegion, MemoryRegionType};
use crate::frame::{AnyFrameMeta, Frame};
use vellum_machine::addr::{PAGE_SIZE, Paddr};

/// The metadata of a frame that was not free memory at boot.
///
/// Such a frame has a count that nobody gives up, so that no handle can be made of it by its bare address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Withheld {
    kind: Option<MemoryRegionType>,
}

impl Withheld {
    /// Returns what is there instead of free memory; `None` where the boot map has a hole.
    pub const fn kind(&self) -> Option<MemoryRegionType> {
        self.kind
    }
}

impl AnyFrameMeta for Withheld {}

/// Takes all frames below `end` that are not usable out of circulation for good.
///
/// Frames that have handles already are left to these.
pub(super) fn withhold(map: &MemoryMap, end: Paddr) {
    let mut at = 0;
    let border = MemoryRegion::new(end, 0, MemoryRegionType::Usable);
    for usable in map.usable().chain([border]) {
        let stop = usable.base.0.min(end.0);
        for paddr in (at..stop).step_by(PAGE_SIZE).map(Paddr) {
            if let Ok(frame) = Frame::from_unused(paddr, Withheld { kind: map.kind_of(paddr) }) {
                // The count stays.
                let _ = frame.into_raw();
            }
        }
        at = usable.end().0;
    }
}
