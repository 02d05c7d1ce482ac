//! Areas of kernel space: what is mapped there every processor sees, and what was unmapped none.
use crate::Machine;
use crate::kernel::{load_word, store_word};
use crate::shortage::hold_all_but;
use crate::support::*;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vellum::frame::allocator::failure_pending;
use vellum::frame::{UFrame, USegment};
use vellum::io::{UntypedMem, VmReader, VmWriter};
use vellum::kspace::{AREA_BYTES, KVirtArea, KVirtAreaError, area_range};
use vellum::space::{Access, MappedItem, MappedRange, PageFault, PageProperty, VmSpace};
use vellum::tlb;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::user::{self, WordError};

/// What a frame holds once nobody may read it in an area any more.
const POISON: u64 = u64::MAX;

fn kernel(access: Access) -> PageProperty {
    PageProperty::kernel(access)
}

fn item(frame: UFrame, access: Access) -> MappedItem {
    MappedItem::new(frame, kernel(access))
}

/// The address of page `n` of an area.
fn at(area: &KVirtArea, n: usize) -> Vaddr {
    Vaddr(area.range().start.0 + n * PAGE_SIZE)
}

/// The first word of a page of kernel space.
fn word(va: Vaddr) -> Result<u64, PageFault> {
    load_word::<u64>(va).map_err(fault)
}

fn set_word(va: Vaddr, value: u64) -> Result<(), PageFault> {
    store_word::<u64>(va, value).map_err(fault)
}

fn fault(error: WordError) -> PageFault {
    match error {
        WordError::Fault(fault) => fault,
        WordError::Misaligned { va } => panic!("{va} is aligned"),
    }
}

/// A frame that begins with a word.
fn marked(value: u64) -> UFrame {
    let frame = user_frame();
    frame.writer().write_val(&value).expect("a frame has room for a word");
    frame
}

/// An area of so many pages, each with a frame of its own, which begins with the page's number and `mark`.
fn marked_area(pages: usize, mark: u64) -> KVirtArea {
    let mut area = KVirtArea::new(pages * PAGE_SIZE).expect("there are addresses");
    for n in 0..pages {
        area.map(n * PAGE_SIZE, item(marked(mark + n as u64), Access::RW)).expect("there is memory");
    }
    area
}

/// Whether a page of kernel space is out of reach.
fn is_gone(va: Vaddr) -> bool {
    word(va).is_err_and(|fault| fault.addr == va && !fault.user) && set_word(va, 1).is_err()
}

/// Frames that lie apart are seen one after the other, whatever space is active, and nothing before them and behind them.
pub fn frames_are_seen_one_after_the_other(machine: &dyn Machine) {
    on_first(machine, || {
        let mut frames: Vec<UFrame> = (0..6).map(|_| user_frame()).collect();
        frames.swap(0, 5);
        let mut area = KVirtArea::new(6 * PAGE_SIZE).unwrap();
        let range = area.range();
        assert_eq!((area.size(), range.end.0 - range.start.0), (6 * PAGE_SIZE, 6 * PAGE_SIZE));
        assert!(area_range().start < range.start && range.end < area_range().end);
        (0..6).for_each(|n| assert!(is_gone(at(&area, n)), "page {n} is there already"));
        for (n, frame) in frames.iter().enumerate() {
            area.map(n * PAGE_SIZE, item(frame.clone(), Access::RW)).unwrap();
        }
        let data: Vec<u8> = (0..6 * PAGE_SIZE).map(|n| (n % 251) as u8 + 1).collect();
        assert_eq!(area.writer(0, data.len()).unwrap().write(&mut VmReader::from(&data[..])), Ok(data.len()));
        for (frame, part) in frames.iter().zip(data.chunks(PAGE_SIZE)) {
            let mut seen = vec![0; PAGE_SIZE];
            frame.reader().read(&mut VmWriter::from(&mut seen[..]));
            assert!(seen == part, "a frame has not what was written to its page");
        }
        let space = active_space();
        let mut back = vec![0; 2 * PAGE_SIZE];
        let mut reader = area.reader(PAGE_SIZE - 7, back.len()).unwrap();
        assert_eq!(reader.read(&mut VmWriter::from(&mut back[..])), Ok(back.len()));
        assert!(back == data[PAGE_SIZE - 7..3 * PAGE_SIZE - 7], "read over borders of pages");
        assert!(user::load_u64(range.start).is_err(), "user code reads an area");
        assert!(is_gone(Vaddr(range.start.0 - PAGE_SIZE)) && is_gone(range.end), "there is no guard page");
        drop(space);
        VmSpace::deactivate_current();
        assert_eq!(word(range.start), Ok(u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8])));
        drop(area);
        assert!((0..6).all(|n| is_gone(Vaddr(range.start.0 + n * PAGE_SIZE))));
    });
}

/// What an area does not do it says, and nothing is changed.
pub fn what_an_area_refuses(machine: &dyn Machine) {
    on_first(machine, || {
        let not_aligned = |at| Some(KVirtAreaError::NotAligned { at });
        assert_eq!(KVirtArea::new(0).err(), Some(KVirtAreaError::Empty));
        assert_eq!(KVirtArea::new(PAGE_SIZE + 1).err(), not_aligned(PAGE_SIZE + 1));
        assert_eq!(KVirtArea::new_aligned(PAGE_SIZE, 100).err(), not_aligned(100));
        assert!(KVirtArea::new_aligned(PAGE_SIZE, 3 * PAGE_SIZE).is_err());
        let most = AREA_BYTES / PAGE_SIZE;
        assert_eq!(KVirtArea::new(AREA_BYTES).err(), Some(KVirtAreaError::NoAddresses { pages: most }));
        assert!(KVirtArea::new(usize::MAX - (PAGE_SIZE - 1)).is_err());

        let mut area = marked_area(3, 70);
        let frame = marked(1);
        let size = 3 * PAGE_SIZE;
        let outside = |offset, len| KVirtAreaError::OutOfRange { offset, len, size };
        for (offset, error) in [
            (8, KVirtAreaError::NotAligned { at: 8 }),
            (size, outside(size, PAGE_SIZE)),
            (usize::MAX - (PAGE_SIZE - 1), outside(usize::MAX - (PAGE_SIZE - 1), PAGE_SIZE)),
        ] {
            let refused = area.map(offset, item(frame.clone(), Access::R)).unwrap_err();
            assert_eq!((refused.error, refused.item.frames.start_paddr()), (error, frame.start_paddr()));
            assert_eq!(area.unmap(offset, PAGE_SIZE), Err(error));
            assert_eq!(area.protect(offset, PAGE_SIZE, Access::R), Err(error));
            assert_eq!(area.query(offset).err(), Some(error));
        }
        assert_eq!(area.unmap(0, 0), Err(KVirtAreaError::Empty));
        assert_eq!(area.unmap(PAGE_SIZE, size), Err(outside(PAGE_SIZE, size)));
        assert_eq!(area.reader(1, size).err(), Some(outside(1, size)));
        assert_eq!(area.writer(usize::MAX, 2).err(), Some(outside(usize::MAX, 2)));
        let for_user = MappedItem::new(frame.clone(), PageProperty::user(Access::R));
        assert_eq!(area.map(0, for_user).unwrap_err().error, KVirtAreaError::ForUser);
        let segment: USegment = try_huge_segment(4).unwrap();
        let long = MappedRange { segment, prop: kernel(Access::R) };
        assert_eq!(area.map_range(0, long).unwrap_err().error, outside(0, 4 * PAGE_SIZE));
        assert!((0..3).all(|n| word(at(&area, n)) == Ok(70 + n as u64)));
    });
}

/// Mappings own their frames, say so when they are asked, and go by page, by range and by huge page.
pub fn mappings_are_changed_in_an_area(machine: &dyn Machine) {
    on_first(machine, || {
        let mut area = KVirtArea::new_aligned(2 * HUGE * PAGE_SIZE, HUGE * PAGE_SIZE).unwrap();
        assert!(area.range().start.0.is_multiple_of(HUGE * PAGE_SIZE));
        let free = count_free();
        let huge = MappedItem::huge(try_huge_segment(HUGE).unwrap(), kernel(Access::RW)).expect("it is huge");
        area.map(0, huge).unwrap();
        assert_eq!(set_word(at(&area, 511), 5), Ok(()));
        let off_by_one =
            MappedItem::huge(try_huge_segment(HUGE).unwrap(), kernel(Access::RW)).expect("it is huge");
        assert!(matches!(
            area.map(PAGE_SIZE, off_by_one).unwrap_err().error,
            KVirtAreaError::NotAligned { .. }
        ));
        assert!(is_gone(at(&area, 512)));
        // A part of the huge page goes: what is left of it stays.
        assert_eq!(area.unmap(7 * PAGE_SIZE, 2 * PAGE_SIZE), Ok(2));
        assert!(is_gone(at(&area, 7)) && is_gone(at(&area, 8)));
        assert_eq!((word(at(&area, 6)), word(at(&area, 511))), (Ok(0), Ok(5)));
        // Frames over the border of the two huge pages' places, in the place of some, and then one in theirs.
        let segment: USegment = try_huge_segment(16).unwrap();
        segment.writer().fill(9, segment.size());
        area.map_range(504 * PAGE_SIZE, MappedRange { segment, prop: kernel(Access::R) }).unwrap();
        assert_eq!(word(at(&area, 511)), Ok(u64::from_le_bytes([9; 8])));
        assert!(set_word(at(&area, 519), 1).is_err() && is_gone(at(&area, 520)));
        let frame = marked(77);
        area.map(510 * PAGE_SIZE, item(frame.clone(), Access::R)).unwrap();
        assert_eq!(word(at(&area, 510)), Ok(77));
        let found = area.query(510 * PAGE_SIZE).unwrap().expect("it is mapped");
        assert_eq!((found.frames.start_paddr(), found.prop.access), (frame.start_paddr(), Access::R));
        assert!(area.query(520 * PAGE_SIZE).unwrap().is_none());
        drop((found, frame));
        assert_eq!(area.unmap(0, 2 * HUGE * PAGE_SIZE), Ok(HUGE - 2 + 8));
        assert_eq!(area.unmap(0, 2 * HUGE * PAGE_SIZE), Ok(0));
        assert!((0..2 * HUGE).step_by(37).all(|n| is_gone(at(&area, n))));
        // The leaf tables that the area has part of stay as long as it does.
        assert!(free - count_free() <= 2, "frames of an area are lost");
    });
}

/// Every processor has translations of an area; when it is unmapped none has any more.
pub fn what_is_unmapped_no_processor_reads(machine: &dyn Machine) {
    let area = on_first(machine, || marked_area(5, 100));
    let range: Range<usize> = area.range().start.0..area.range().end.0;
    let pages = || range.clone().step_by(PAGE_SIZE).map(Vaddr);
    machine.on_all(&|me| {
        // Some with a space, some without.
        if me.index() % 2 == 0 {
            active_space();
        }
        pages().enumerate().for_each(|(n, va)| assert_eq!(word(va), Ok(100 + n as u64)));
    });
    let before = on_first(machine, tlb::statistics);
    let mut area = area;
    on_first(machine, || assert_eq!(area.unmap(PAGE_SIZE, PAGE_SIZE), Ok(1)));
    machine.on_all(&|_| {
        pages().enumerate().for_each(|(n, va)| assert_eq!(is_gone(va), n == 1, "page {n}"));
    });
    on_first(machine, || assert_eq!(area.protect(0, 5 * PAGE_SIZE, Access::R), Ok(4)));
    machine.on_all(&|_| {
        pages().enumerate().filter(|(n, _)| *n != 1).for_each(|(n, va)| {
            assert_eq!(word(va), Ok(100 + n as u64));
            assert!(set_word(va, 1).is_err_and(|fault| fault.present), "page {n} can be written");
        });
    });
    on_first(machine, move || drop(area));
    machine.on_all(&|_| {
        pages().for_each(|va| assert!(is_gone(va), "{va} can be read when its area is gone"));
        VmSpace::deactivate_current();
    });
    let after = on_first(machine, tlb::statistics);
    let dispatched = after.shootdowns + after.remote_fences - before.shootdowns - before.remote_fences;
    assert!(cpu::count() == 1 || dispatched >= 3, "the others were not told to flush");
}

/// What a storm over an area is about.
struct Storm {
    rounds: u64,
    va: Vaddr,
    floor: AtomicU64,
    over: AtomicBool,
    latest: AtomicU64,
    seen: AtomicU64,
}

/// One processor replaces a page of an area, each time by another frame, which holds the number of the round; the others
/// read it all the time. What they read is never older than the last replacement that was done before.
pub fn storm(machine: &dyn Machine) {
    let mut area = on_first(machine, || KVirtArea::new(PAGE_SIZE).expect("there are addresses"));
    let before = on_first(machine, tlb::statistics);
    let storm = Storm {
        // As one of spaces, but for a quarter of the rounds: in each every processor flushes.
        rounds: (machine.storm_rounds() / 4).max(1),
        va: area.range().start,
        floor: AtomicU64::new(0),
        over: AtomicBool::new(false),
        latest: AtomicU64::new(0),
        seen: AtomicU64::new(0),
    };
    let area_lock = vellum::sync::SpinLock::new(Some(&mut area));
    machine.on_all(&|me| {
        if me == CpuId::BOOT {
            let area = area_lock.lock().take().expect("one processor is the first");
            write(&storm, area);
        } else {
            read(&storm);
        }
    });
    let after = on_first(machine, tlb::statistics);
    machine.note(format_args!(
        "{} rounds, {} processors asked, {} fences of all by the machine, {} values read, none stale",
        storm.rounds,
        after.requests - before.requests,
        after.remote_fences - before.remote_fences,
        storm.seen.load(Ordering::Relaxed)
    ));
    on_first(machine, move || drop(area));
}

fn write(storm: &Storm, area: &mut KVirtArea) {
    let mut old: Option<UFrame> = None;
    for round in 1..=storm.rounds {
        let new = marked(round);
        area.map(0, item(new.clone(), Access::R)).expect("there is memory");
        if let Some(old) = old.replace(new) {
            old.writer().write_val(&POISON).expect("a frame has room for a word");
        }
        storm.floor.store(round, Ordering::SeqCst);
        assert_eq!(word(storm.va), Ok(round));
        while cpu::count() > 1
            && storm.latest.load(Ordering::SeqCst) < round
            && !storm.over.load(Ordering::SeqCst)
        {
            cpu::relax();
        }
    }
    storm.over.store(true, Ordering::SeqCst);
}

fn read(storm: &Storm) {
    while !storm.over.load(Ordering::SeqCst) {
        cpu::relax();
        let floor = storm.floor.load(Ordering::SeqCst);
        let Ok(value) = word(storm.va) else { continue };
        if value == POISON || value < floor {
            storm.over.store(true, Ordering::SeqCst);
            panic!("processor {} reads {value:#x} after round {floor} began", cpu::current());
        }
        storm.latest.fetch_max(value, Ordering::SeqCst);
        storm.seen.fetch_add(1, Ordering::Relaxed);
    }
}

/// Areas that a processor has at a time.
const AT_A_TIME: usize = 8;

/// Processors reserve, map and drop areas at once; each finds in its own what it has put there.
pub fn areas_of_all_at_once(machine: &dyn Machine) {
    let rounds = 16 * machine.scale();
    machine.on_all(&|me| {
        let mut random = Random::new(machine.seed(), me.index());
        let mut areas: Vec<(KVirtArea, u64)> = Vec::with_capacity(AT_A_TIME);
        for round in 0..rounds {
            let mark = (me.index() as u64 + 1) << 32 | (round as u64) << 16;
            areas.push((marked_area(1 + random.below(20), mark), mark));
            for (area, mark) in &areas {
                let pages = area.size() / PAGE_SIZE;
                (0..pages).for_each(|n| assert_eq!(word(at(area, n)), Ok(mark + n as u64)));
                assert!(is_gone(area.range().end), "another area begins where one ends");
            }
            if areas.len() == AT_A_TIME {
                drop(areas.swap_remove(random.below(AT_A_TIME)));
            }
        }
    });
}

/// Addresses run out with an error, and come back.
pub fn addresses_run_out_and_come_back(machine: &dyn Machine) {
    const LARGE: usize = 1 << 30;
    on_first(machine, || {
        for _ in 0..2 {
            let mut areas = Vec::new();
            let refused = loop {
                match KVirtArea::new(LARGE) {
                    Ok(area) => areas.push(area),
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, KVirtAreaError::NoAddresses { pages: LARGE / PAGE_SIZE });
            assert_eq!(areas.len(), AREA_BYTES / LARGE - 1, "each has a guard page of its own");
        }
    });
}

/// Everything of areas that allocates, with each allocation failing in its turn.
pub fn each_allocation_of_an_area_can_fail(machine: &dyn Machine) {
    let one_run = || -> Result<(), KVirtAreaError> {
        let mut area = KVirtArea::new_aligned(2 * HUGE * PAGE_SIZE, HUGE * PAGE_SIZE)?;
        let segment = try_huge_segment(HUGE).ok_or(KVirtAreaError::NoMemory)?;
        let huge = MappedItem::huge(segment, kernel(Access::RW)).map_err(|_| KVirtAreaError::NoMemory)?;
        area.map(0, huge).map_err(|refused| refused.error)?;
        for n in [3, 600, 601, 602, 603, 604] {
            let frame = try_user_frame().ok_or(KVirtAreaError::NoMemory)?;
            area.map(n * PAGE_SIZE, item(frame, Access::RW)).map_err(|refused| refused.error)?;
        }
        area.protect(8 * PAGE_SIZE, PAGE_SIZE, Access::R)?;
        area.unmap(5 * PAGE_SIZE, 597 * PAGE_SIZE).map(drop)
    };
    on_first(machine, || {
        assert_eq!(one_run(), Ok(()));
        let free = count_free();
        for nth in 1.. {
            fail_allocation(nth);
            let outcome = one_run();
            let failed = failure_pending() == 0;
            fail_allocation(0);
            assert_eq!(count_free(), free, "with allocation {nth} failing");
            match outcome {
                Err(error) => assert_eq!(error, KVirtAreaError::NoMemory, "with allocation {nth} failing"),
                // A node was made later.
                Ok(()) if failed => {}
                Ok(()) => {
                    assert!(nth > 10, "{nth} allocations are too few");
                    return;
                }
            }
        }
    });
}

/// An area goes when no memory is left: nothing needs any.
pub fn an_area_goes_without_memory(machine: &dyn Machine) {
    on_first(machine, || {
        // In parts of two nodes, so that no node goes whole.
        let mut area = KVirtArea::new_aligned(600 * PAGE_SIZE, HUGE * PAGE_SIZE).unwrap();
        for n in (480..560).step_by(2) {
            area.map(n * PAGE_SIZE, item(marked(n as u64), Access::R)).unwrap();
        }
        let range = area.range();
        let held = hold_all_but(0);
        assert_eq!(area.unmap(0, 600 * PAGE_SIZE), Err(KVirtAreaError::NoMemory), "there is memory left");
        assert_eq!(word(at(&area, 482)), Ok(482));
        drop(area);
        assert!(count_free() >= 40, "the frames are not back");
        assert!((480..560).all(|n| is_gone(Vaddr(range.start.0 + n * PAGE_SIZE))));
        drop(held);
    });
}
