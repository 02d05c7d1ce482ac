//! Frames at boot: what a memory map with everything in it makes of them, and memory that is reclaimed.
#![expect(unsafe_code, reason = "vouches for the memory that the allocator starts on")]
#[path = "../support/memory.rs"]
mod memory;

use memory::power_on;
use std::collections::BTreeSet;
use vellum::boot::MemoryRegionType::*;
use vellum::boot::{EarlyAllocator, MemoryMap, MemoryRegion, MemoryRegionType, metadata_frames};
use vellum::frame::allocator::{self, FrameAllocOptions, Withheld, reclaim_boot_memory};
use vellum::frame::{AnyFrameMeta, Frame, GetFrameError, Segment, SegmentError, UniqueFrame};
use vellum_machine::addr::{PAGE_SIZE, Paddr};

/// 32 MiB.
const FRAMES: usize = 8192;

/// A frame in a hole, and one of each reclaimable range, of which somebody has handles before there is an allocator.
const EARLY_BIRDS: [usize; 3] = [0x84_5000, 0x60_4000, 0x1e0_0000];

/// What firmware says: unsorted, overlapping, unaligned.
fn firmware() -> MemoryMap {
    let region = |base, len, kind| MemoryRegion::new(Paddr(base), len, kind);
    let map = MemoryMap::from_regions(&[
        region(0x90_0000, 0x160_0000, Usable),
        region(0x10_0800, 0x2000, Kernel),
        region(0, 0x80_0000, Usable),
        region(0, 0x1000, Reserved),
        region(0x20_0000, 5 * PAGE_SIZE + 1, Module),
        region(0x84_0000, 0x4000, Framebuffer),
        region(0x50_0000, 0x3000, NonVolatileSleep),
        region(0x60_0800, 0x1_0000, Reclaimable),
        region(0x60_8000, 0x1000, Bad),
        region(0x1e0_0000, 0x10_0000, Reclaimable),
        region(0xa0_0000, 1, Bad),
        // Beyond the memory that has metadata.
        region(0xffff_0000, usize::MAX, Reserved),
    ]);
    map.expect("the map is not full")
}

fn pages() -> impl Iterator<Item = Paddr> {
    (0..FRAMES).map(|i| Paddr(i * PAGE_SIZE))
}

fn census() -> (usize, usize) {
    allocator::drain();
    let statistics = allocator::statistics().expect("there is an allocator");
    (statistics.total, statistics.free)
}

/// What the metadata of a frame say of it, if it is withheld.
fn withheld(paddr: Paddr) -> Option<Option<MemoryRegionType>> {
    let frame = Frame::<dyn AnyFrameMeta>::from_in_use(paddr).ok()?;
    frame.downcast_ref::<Withheld>().map(Withheld::kind)
}

/// Takes every free frame, once.
fn everything() -> BTreeSet<Paddr> {
    let all = std::iter::from_fn(|| FrameAllocOptions::new().alloc_frame().ok()).collect::<Vec<_>>();
    let distinct: BTreeSet<_> = all.iter().map(|frame| frame.start_paddr()).collect();
    assert_eq!(distinct.len(), all.len());
    distinct
}

fn cannot_be_had(paddr: Paddr) {
    let in_use = GetFrameError::InUse(paddr);
    assert_eq!(Frame::from_unused(paddr, ()).err(), Some(in_use));
    assert_eq!(UniqueFrame::from_unused(paddr, ()).err(), Some(in_use));
    let range = paddr..Paddr(paddr.0 + PAGE_SIZE);
    assert_eq!(Segment::from_unused(range, |_| ()).err(), Some(SegmentError::Frame(in_use)));
    let frame = Frame::<dyn AnyFrameMeta>::from_in_use(paddr).unwrap();
    assert!(UniqueFrame::try_from(frame).is_err(), "{paddr} is somebody's alone");
}

#[test]
fn from_the_memory_map_to_reclaimed_memory() {
    power_on(FRAMES);
    assert_eq!(reclaim_boot_memory(), 0, "there is no allocator yet");
    let birds = EARLY_BIRDS.map(|at| Frame::from_unused(Paddr(at), ()).unwrap());
    let mut early = EarlyAllocator::new(firmware());
    early.alloc_metadata(FRAMES).unwrap();
    early.alloc(3, 2 * PAGE_SIZE).unwrap();
    // SAFETY: the linear map shows all memory, which this process alone uses.
    let map = unsafe { allocator::init(early) }.unwrap();

    let whole = every_frame_is_what_the_map_says(&map);
    let reclaimed = shared_memory_is_reclaimed_later(&map);
    let (total, free) = census();
    assert_eq!((total, free), (whole + reclaimed, whole + reclaimed));
    assert_eq!(everything().len(), free);
    assert_eq!(census(), (total, free));
    assert_eq!(Frame::from_in_use(Paddr(EARLY_BIRDS[0])).unwrap().reference_count(), 2);
    drop(birds);
}

/// Returns how many frames are usable.
fn every_frame_is_what_the_map_says(map: &MemoryMap) -> usize {
    assert_eq!(map.bytes_of(Metadata) / PAGE_SIZE, metadata_frames(FRAMES));
    let mut seen = BTreeSet::new();
    let mut usable = BTreeSet::new();
    for paddr in pages() {
        let kind = map.kind_of(paddr);
        if kind == Some(Usable) {
            assert_eq!(Frame::from_in_use(paddr).err(), Some(GetFrameError::Unused(paddr)));
            usable.insert(paddr);
        } else if EARLY_BIRDS.contains(&paddr.0) {
            assert_eq!(withheld(paddr), None);
        } else {
            assert_eq!(withheld(paddr), Some(kind), "{paddr}");
            seen.insert(kind);
            cannot_be_had(paddr);
            allocator::dealloc(paddr, 1);
        }
    }
    let kinds =
        [Reclaimable, BootAllocated, Metadata, Framebuffer, Module, Kernel, NonVolatileSleep, Reserved, Bad];
    assert_eq!(seen, kinds.map(Some).into_iter().chain([None]).collect());
    assert_eq!(everything(), usable);
    usable.len()
}

/// Returns how many frames are reclaimed in the end.
fn shared_memory_is_reclaimed_later(map: &MemoryMap) -> usize {
    let reclaimable: Vec<_> = pages()
        .filter(|&paddr| map.kind_of(paddr) == Some(Reclaimable) && !EARLY_BIRDS.contains(&paddr.0))
        .collect();
    let shared = [reclaimable[2], reclaimable[3], *reclaimable.last().unwrap()];
    let readers = shared.map(|paddr| Frame::from_in_use(paddr).unwrap());

    let (total, free) = census();
    let by_threads = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(reclaim_boot_memory));
        threads.map(|thread| thread.join().unwrap())
    });
    let first = by_threads.iter().sum::<usize>();
    assert_eq!(first, reclaimable.len() - shared.len());
    assert_eq!(census(), (total + first, free + first));
    assert_eq!(reclaim_boot_memory(), 0);
    for &paddr in &reclaimable {
        let expected = shared.contains(&paddr).then_some(Some(Reclaimable));
        assert_eq!(withheld(paddr), expected);
    }
    shared.iter().copied().for_each(cannot_be_had);

    drop(readers);
    shared.iter().copied().for_each(cannot_be_had);
    assert_eq!((reclaim_boot_memory(), reclaim_boot_memory()), (shared.len(), 0));
    for paddr in pages().filter(|&paddr| map.kind_of(paddr) != Some(Usable)) {
        let kept = !reclaimable.contains(&paddr) && !EARLY_BIRDS.contains(&paddr.0);
        assert_eq!(withheld(paddr), kept.then(|| map.kind_of(paddr)), "{paddr}");
    }
    reclaimable.len()
}
