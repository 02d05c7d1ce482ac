//! Frames that are not for use, or not yet.

use super::global;
use crate::boot::{MAX_REGIONS, MemoryMap, MemoryRegion, MemoryRegionType};
use crate::frame::{AnyFrameMeta, MetaFn, Segment, UniqueFrame};
use crate::sync::SpinLock;
use core::mem;
use vellum_machine::addr::{PAGE_SIZE, Paddr};

/// The metadata of a frame that was not free memory at boot.
///
/// Such a frame has a count that nobody gives up, so that no handle can be made of it by its bare address;
/// [`reclaim_boot_memory`] gives up those of reclaimable memory.
#[derive(PartialEq, Eq, Debug)]
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

/// What frames are withheld for.
struct Because(Option<MemoryRegionType>);

impl MetaFn<Withheld> for Because {
    fn meta_at(&mut self, _: Paddr) -> Withheld {
        Withheld { kind: self.0 }
    }
}

/// The most runs of reclaimable frames: each region of a boot map, and as many again for regions that fall apart
/// because others have frames in the middle.
const MAX_RUNS: usize = 2 * MAX_REGIONS;

/// Runs of frames, in a queue. Those for which there is no room stay withheld for good.
struct Runs {
    ring: [Option<Segment<Withheld>>; MAX_RUNS],
    first: usize,
    len: usize,
}

/// The reclaimable frames, until they are reclaimed.
static RECLAIMABLE: SpinLock<Runs> = SpinLock::new(Runs::new());

impl Runs {
    const fn new() -> Runs {
        Runs { ring: [const { None }; MAX_RUNS], first: 0, len: 0 }
    }

    fn push(&mut self, run: Segment<Withheld>) {
        if run.nr_pages() == 0 {
            return;
        }
        if self.len == MAX_RUNS {
            return mem::forget(run);
        }
        self.ring[(self.first + self.len) % MAX_RUNS] = Some(run);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Segment<Withheld>> {
        let run = self.ring[self.first].take()?;
        self.first = (self.first + 1) % MAX_RUNS;
        self.len -= 1;
        Some(run)
    }
}

/// Takes all frames below `end` that are not usable out of circulation, the reclaimable ones until they are reclaimed
/// and all others for good.
///
/// Frames that have handles already are left to these.
pub(super) fn withhold(map: &MemoryMap, end: Paddr) {
    let mut at = Paddr(0);
    for region in map.regions().iter().copied().chain([border(end)]) {
        withhold_range(at, region.base.min(end), None);
        if region.kind != MemoryRegionType::Usable {
            withhold_range(region.base, region.end().min(end), Some(region.kind));
        }
        at = region.end();
    }
}

/// No memory, at the end of all.
fn border(end: Paddr) -> MemoryRegion {
    MemoryRegion::new(end, 0, MemoryRegionType::Usable)
}

/// Takes the unused frames of a range out of circulation.
fn withhold_range(start: Paddr, end: Paddr, kind: Option<MemoryRegionType>) {
    let mut at = start;
    while at < end {
        let Ok((run, _)) = Segment::from_unused_prefix_by(at..end, Because(kind)) else { return };
        // Somebody has the frame at which the run ends, if it ends too early.
        at = Paddr(run.end_paddr().0.saturating_add(PAGE_SIZE));
        match kind {
            Some(MemoryRegionType::Reclaimable) => RECLAIMABLE.lock().push(run),
            // The counts stay.
            _ => mem::forget(run),
        }
    }
}

/// Makes the reclaimable memory of the boot map free memory, and returns how many frames that are.
///
/// The kernel calls it when it has read what firmware and boot loader had put there. What others have handles of stays
/// withheld; a later call gets it when these are gone. Otherwise a later call finds nothing: it returns 0.
pub fn reclaim_boot_memory() -> usize {
    if !global::is_set() {
        return 0;
    }
    let runs = RECLAIMABLE.lock().len;
    // What comes back is behind these.
    (0..runs).map_while(|_| RECLAIMABLE.lock().pop()).map(reclaim).sum()
}

/// Makes the frames of a run free memory; those that others have handles of go back into the queue.
fn reclaim(run: Segment<Withheld>) -> usize {
    let mut free = FreeRun { start: run.start_paddr(), frames: 0 };
    let mut reclaimed = 0;
    for frame in run {
        let paddr = frame.start_paddr();
        match UniqueFrame::try_from(frame) {
            Ok(frame) => {
                // Not a word to the allocator: it does not know the frame yet.
                frame.reset_as_unused();
                free.frames += 1;
                reclaimed += 1;
            }
            Err(frame) => {
                free.hand_over(Paddr(paddr.0 + PAGE_SIZE));
                RECLAIMABLE.lock().push(Segment::from(frame));
            }
        }
    }
    free.hand_over(Paddr(0));
    reclaimed
}

/// Frames in a row that are unused and not the allocator's yet.
struct FreeRun {
    start: Paddr,
    frames: usize,
}

impl FreeRun {
    /// Gives the frames to the allocator, and starts anew.
    fn hand_over(&mut self, next: Paddr) {
        if self.frames > 0 {
            global::add_free(self.start, self.frames);
        }
        *self = FreeRun { start: next, frames: 0 };
    }
}
