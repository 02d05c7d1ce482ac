//! One entry of a boot memory map.

use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::PADDR_LIMIT;

/// What a range of physical memory is good for.
///
/// The order is that of caution: where two entries overlap, the greater one counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemoryRegionType {
    /// Free memory.
    Usable,
    /// Memory that holds boot information and can be used once the kernel has read it.
    Reclaimable,
    /// Memory that the [`EarlyAllocator`](super::EarlyAllocator) gave away.
    BootAllocated,
    /// Memory that holds the metadata of frames.
    Metadata,
    /// The memory of a display.
    Framebuffer,
    /// A module or initial file system that the boot loader put there.
    Module,
    /// The image of the kernel.
    Kernel,
    /// Memory that the firmware needs kept while the machine sleeps (ACPI NVS).
    NonVolatileSleep,
    /// Memory that the firmware keeps, or that is none.
    Reserved,
    /// Memory that is broken.
    Bad,
}

/// A range of physical memory and what it is good for.
///
/// A region as firmware reports it may have any base and length; those of a [`MemoryMap`](super::MemoryMap) are
/// of whole frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemoryRegion {
    /// The first address.
    pub base: Paddr,
    /// The length in bytes.
    pub len: usize,
    /// What the range is good for.
    pub kind: MemoryRegionType,
}

impl MemoryRegion {
    /// Describes the `len` bytes from `base`.
    pub const fn new(base: Paddr, len: usize, kind: MemoryRegionType) -> MemoryRegion {
        MemoryRegion { base, len, kind }
    }

    /// Returns the address after the last byte, or the greatest address where the range overflows.
    pub const fn end(&self) -> Paddr {
        Paddr(self.base.0.saturating_add(self.len))
    }

    /// Returns the number of frames of a region of whole frames.
    pub const fn frames(&self) -> usize {
        self.len / PAGE_SIZE
    }

    pub(super) const fn covering(start: usize, end: usize, kind: MemoryRegionType) -> MemoryRegion {
        MemoryRegion { base: Paddr(start), len: end - start, kind }
    }

    /// Splits the region into what it says about whole frames: `outer` are the frames it touches, `inner` those
    /// that lie in it entirely.
    pub(super) fn claims(&self) -> Claims {
        let (base, end) = (self.base.0.min(PADDR_LIMIT), self.end().0.min(PADDR_LIMIT));
        if base >= end {
            return Claims { outer: (0, 0), inner: (0, 0), kind: self.kind };
        }
        // The limit is a multiple of the frame size, so that rounding up stays below it.
        let (outer_start, outer_end) = (base & !(PAGE_SIZE - 1), end.next_multiple_of(PAGE_SIZE));
        let (inner_start, inner_end) = (base.next_multiple_of(PAGE_SIZE), end & !(PAGE_SIZE - 1));
        let inner =
            if inner_start < inner_end { (inner_start, inner_end) } else { (outer_start, outer_start) };
        Claims { outer: (outer_start, outer_end), inner, kind: self.kind }
    }
}

/// What one entry says about whole frames.
#[derive(Clone, Copy)]
pub(super) struct Claims {
    outer: (usize, usize),
    inner: (usize, usize),
    kind: MemoryRegionType,
}

impl Claims {
    /// Returns the addresses at which the entry may change its mind.
    pub(super) fn borders(&self) -> [usize; 4] {
        [self.outer.0, self.inner.0, self.inner.1, self.outer.1]
    }

    /// Returns what the entry says about the frame at `frame`.
    ///
    /// Free memory counts where it fills the frame. Memory that is free later must not be lost sight of at its
    /// edges, nor may the rest of an edge frame be used: such a frame is reserved.
    pub(super) fn kind_at(&self, frame: usize) -> Option<MemoryRegionType> {
        let inside = |(start, end): (usize, usize)| start <= frame && frame < end;
        match self.kind {
            _ if !inside(self.outer) => None,
            MemoryRegionType::Usable => inside(self.inner).then_some(self.kind),
            MemoryRegionType::Reclaimable if !inside(self.inner) => Some(MemoryRegionType::Reserved),
            kind => Some(kind),
        }
    }
}
