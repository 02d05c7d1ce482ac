//! Huge pages of user space: user code sees them, parts of them are cut off, and each frame keeps its count.
use crate::Machine;
use crate::support::*;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use vellum::frame::UFrame;
use vellum::frame::USegment;
use vellum::frame::allocator::{FrameAllocOptions, failure_pending};
use vellum::io::{UntypedMem, VmReader, VmWriter};
use vellum::space::{
    Access, CursorMut, HugePageError, MappedItem, PageProperty, UserFrames, VmSpace, VmSpaceError,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

const SIZE: usize = HUGE * PAGE_SIZE;

/// A space with one huge page at page 0, active here, and a handle of its frames.
fn one_huge_page(access: Access) -> (Arc<VmSpace>, USegment) {
    let (space, (item, segment)) = (active_space(), huge_item(access));
    space.cursor_mut(pages(0..HUGE)).unwrap().map(item).unwrap();
    (space, segment)
}

/// The handles of each frame, but the one to look.
fn counts(segment: &USegment) -> Vec<u64> {
    segment.clone().map(|frame| frame.reference_count() - 1).collect()
}

/// The address of a frame of a segment.
fn frame_at(segment: &USegment, n: usize) -> Paddr {
    Paddr(segment.start_paddr().0 + n * PAGE_SIZE)
}

/// User code sees a huge page.
pub fn user_code_sees_a_huge_page(machine: &dyn Machine) {
    on_first(machine, || {
        let (space, segment) = one_huge_page(Access::RW);
        assert!(counts(&segment).iter().all(|&count| count == 2));
        for n in [0, 1, 300, HUGE - 1] {
            store(page(n), n as u64 + 7).unwrap();
            assert_eq!(load(page(n)), Ok(n as u64 + 7));
            let byte = space.translate(Vaddr(page(n).0 + 9)).unwrap();
            assert_eq!((byte.paddr.0, byte.level), (frame_at(&segment, n).0 + 9, 2));
        }
        assert!(load(page(HUGE)).is_err());
        let mut bytes = vec![1_u8; 3 * PAGE_SIZE];
        let mut writer = space.writer(page(5), bytes.len()).unwrap();
        assert_eq!(writer.write(&mut VmReader::from(&bytes[..])), Ok(bytes.len()));
        bytes.fill(0);
        let mut reader = space.reader(page(5), bytes.len()).unwrap();
        assert_eq!(reader.read(&mut VmWriter::from(&mut bytes[..])), Ok(bytes.len()));
        assert!(bytes.iter().all(|byte| *byte == 1));
        let mut cursor = space.cursor_mut(pages(0..2 * HUGE)).unwrap();
        assert_eq!(cursor.find_next(2 * SIZE), Ok(Some(page(0))));
        cursor.jump(page(77)).unwrap();
        assert_eq!(cursor.find_next(SIZE), Ok(Some(page(77))));
        let slot = cursor.query().unwrap();
        assert_eq!(slot.range, pages(0..HUGE));
        assert!(slot.ad.accessed && slot.ad.dirty);
        let page_77 = cursor.peek().unwrap().page.unwrap();
        assert_eq!((page_77.paddr, page_77.level), (frame_at(&segment, 77), 2));
        let UserFrames::Huge(huge) = slot.item.unwrap().frames else { panic!("it is a huge page") };
        assert_eq!((huge.level(), huge.segment().start_paddr()), (2, segment.start_paddr()));
        assert!(counts(&segment).iter().all(|&count| count == 3), "the query counts each frame");
        drop(huge);
        cursor.jump(page(0)).unwrap();
        assert_eq!(cursor.unmap(2 * SIZE), Ok(HUGE));
        assert!(counts(&segment).iter().all(|&count| count == 2), "they wait for the flush");
        drop(cursor);
        assert!(counts(&segment).iter().all(|&count| count == 1));
        assert!(load(page(0)).is_err());
    });
}

/// What is no huge page comes back.
pub fn what_is_no_huge_page_comes_back(machine: &dyn Machine) {
    on_first(machine, || {
        let prop = PageProperty::user(Access::RW);
        let segment = try_huge_segment(2 * HUGE).unwrap();
        let refused = MappedItem::<vellum::page_table::NativeShape>::huge(segment, prop).err().unwrap();
        assert_eq!(refused.cause, HugePageError::NoSuchSize { size: 2 * SIZE });
        let (_, rest) = refused.segment.split(PAGE_SIZE).unwrap();
        let (inner, _) = rest.split(SIZE).unwrap();
        let paddr = inner.start_paddr();
        let refused = MappedItem::<vellum::page_table::NativeShape>::huge(inner, prop).err().unwrap();
        assert_eq!(refused.cause, HugePageError::NotAligned { paddr, size: SIZE });
        assert_eq!((refused.segment.start_paddr(), refused.segment.size()), (paddr, SIZE));
    });
}

/// A huge page is larger than what is locked.
pub fn a_huge_page_is_larger_than_what_is_locked(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        let too_large = |range, most| {
            let mut cursor = space.cursor_mut(pages(range)).unwrap();
            let (item, segment) = huge_item(Access::RW);
            let refused = cursor.map(item).unwrap_err();
            assert_eq!(refused.error, VmSpaceError::TooLarge { va: page(0), size: SIZE, most });
            assert_eq!(refused.item.frames.start_paddr(), segment.start_paddr());
        };
        too_large(0..1, PAGE_SIZE);
        too_large(0..300, 300 * PAGE_SIZE);
        map_pages(&space, 3..4, Access::RW);
        // The lowest node is locked, in which there is no entry for it.
        too_large(0..HUGE, PAGE_SIZE);
        let mut cursor = space.cursor_mut_at(pages(0..HUGE), 2).unwrap();
        cursor.map(huge_item(Access::R).0).unwrap();
        assert_eq!(
            cursor.map(new_item(Access::R)).unwrap_err().error,
            VmSpaceError::OutOfRange { va: page(HUGE) }
        );
        drop(cursor);
        assert_eq!(space.translate(page(3)).unwrap().level, 2);
        let mut cursor = space.cursor_mut(pages(1..3 * HUGE)).unwrap();
        let refused = cursor.map(huge_item(Access::R).0).unwrap_err();
        assert_eq!(refused.error, VmSpaceError::NotAligned { va: page(1) });
    });
}

/// What hardware noted stays when a part is protected.
pub fn what_hardware_noted_stays_when_a_part_is_protected(machine: &dyn Machine) {
    on_first(machine, || {
        let (space, segment) = one_huge_page(Access::RW);
        store(page(3), 33).unwrap();
        let mut cursor = space.cursor_mut(pages(5..6)).unwrap();
        assert_eq!(cursor.protect(PAGE_SIZE, |prop| prop.with_access(Access::R)), Ok(1));
        drop(cursor);
        let mut cursor = space.cursor(pages(0..HUGE)).unwrap();
        for n in 0..HUGE {
            cursor.jump(page(n)).unwrap();
            let slot = cursor.query().unwrap();
            assert_eq!(slot.range, pages(n..n + 1));
            assert!(slot.ad.accessed && slot.ad.dirty, "page {n}");
            let item = slot.item.unwrap();
            assert_eq!(item.frames.frame().unwrap().start_paddr(), frame_at(&segment, n));
            assert_eq!(item.prop.access, if n == 5 { Access::R } else { Access::RW });
        }
        drop(cursor);
        assert_eq!(load(page(3)), Ok(33));
        assert!(store(page(5), 1).is_err());
        (0..HUGE).filter(|n| *n != 5).for_each(|n| store(page(n), 2).unwrap());
        assert!(counts(&segment).iter().all(|&count| count == 2));
        assert_eq!(unmap_pages(&space, 0..1), 1);
        assert_eq!(counts(&segment)[..2], [1, 2]);
        drop(space);
        VmSpace::deactivate_current();
        count_free();
        assert!(counts(&segment).iter().all(|&count| count == 1));
    });
}

/// Shares a huge page as `fork` does, and copies one page of it when it is written.
pub fn a_huge_page_is_shared_and_copied_in_part(machine: &dyn Machine) {
    on_first(machine, || {
        let (parent, segment) = one_huge_page(Access::RW);
        store(page(7), 70).unwrap();
        let child = VmSpace::new().unwrap();
        let mut cursor = parent.cursor_mut(pages(0..HUGE)).unwrap();
        let item = cursor.query().unwrap().item.unwrap();
        let prop = item.prop.with_access(Access::R);
        assert_eq!(cursor.protect(SIZE, |_| prop), Ok(HUGE));
        child.cursor_mut(pages(0..HUGE)).unwrap().map(MappedItem { prop, ..item }).unwrap();
        drop(cursor);
        assert!(counts(&segment).iter().all(|&count| count == 3));
        assert!(store(page(7), 1).is_err());
        child.activate();
        assert!(store(page(7), 1).is_err());
        let copy = user_frame();
        copy.writer().write(&mut segment.clone().nth(7).unwrap().reader());
        let mut cursor = child.cursor_mut(pages(7..8)).unwrap();
        cursor.map(MappedItem::new(copy, PageProperty::user(Access::RW))).unwrap();
        drop(cursor);
        store(page(7), 71).unwrap();
        assert!(store(page(8), 1).is_err());
        assert_eq!(counts(&segment)[6..9], [3, 2, 3]);
        assert_eq!(
            (child.translate(page(8)).unwrap().level, parent.translate(page(8)).unwrap().level),
            (1, 2)
        );
        parent.activate();
        assert_eq!(load(page(7)), Ok(70));
        drop(child);
        count_free();
        assert!(counts(&segment).iter().all(|&count| count == 2));
        drop(parent);
        VmSpace::deactivate_current();
        count_free();
        assert!(counts(&segment).iter().all(|&count| count == 1));
    });
}

/// A huge page takes the place of smaller pages and of the node that they were in, and of a huge page.
pub fn a_huge_page_takes_the_place_of_what_is_there(machine: &dyn Machine) {
    on_first(machine, || {
        let space = active_space();
        map_pages(&space, 0..HUGE, Access::RW);
        (0..HUGE).for_each(|n| store(page(n), 1).unwrap());
        let free = count_free();
        let (item, segment) = huge_item(Access::RW);
        space.cursor_mut_at(pages(0..HUGE), 2).unwrap().map(item).unwrap();
        assert_eq!(count_free(), free - HUGE + HUGE + 1, "the pages and their node come back");
        (0..HUGE).for_each(|n| assert_eq!(load(page(n)), Ok(0), "page {n} is one of before"));
        (0..HUGE).for_each(|n| store(page(n), 2).unwrap());
        // Over some pages and holes that were part of it.
        assert_eq!(unmap_pages(&space, 100..200), 100);
        assert_eq!(counts(&segment)[98..102], [2, 2, 1, 1]);
        let (item, other) = huge_item(Access::R);
        space.cursor_mut_at(pages(0..HUGE), 2).unwrap().map(item).unwrap();
        assert!(counts(&segment).iter().all(|&count| count == 1), "the first is mapped nowhere");
        (0..HUGE).for_each(|n| assert_eq!(load(page(n)), Ok(0), "page {n} is one of before"));
        assert!((0..HUGE).all(|n| store(page(n), 3).is_err()));
        let slot = space.cursor(pages(0..HUGE)).unwrap().query().unwrap();
        assert!(slot.ad.accessed && !slot.ad.dirty, "what was noted of pages before is noted of it");
        drop(slot);
        let (item, last) = huge_item(Access::RW);
        space.cursor_mut_at(pages(0..HUGE), 2).unwrap().map(item).unwrap();
        assert!(counts(&other).iter().all(|&count| count == 1), "the second is mapped nowhere");
        store(page(HUGE - 1), 4).unwrap();
        drop(space);
        VmSpace::deactivate_current();
        count_free();
        assert!(counts(&last).iter().all(|&count| count == 1));
    });
}

/// Every processor has a translation of the whole huge page when a part of it goes, and when another is for reading.
pub fn a_part_goes_from_every_processor(machine: &dyn Machine) {
    let (space, segment) = on_first(machine, || one_huge_page(Access::RW));
    let on_each = |check: &(dyn Fn(usize) + Sync)| {
        machine.on_all(&|me| {
            space.activate();
            // Each its own pages, and those that change.
            (0..HUGE).filter(|n| n % 16 == me.index() % 16 || (299..=310).contains(n)).for_each(check);
        });
    };
    on_each(&|n| store(Vaddr(page(n).0 + 8), n as u64).unwrap());
    on_first(machine, || assert_eq!(unmap_pages(&space, 300..301), 1));
    on_each(&|n| {
        let found = load(Vaddr(page(n).0 + 8)).ok();
        assert_eq!(found, (n != 300).then_some(n as u64), "page {n}");
    });
    on_first(machine, || {
        let mut cursor = space.cursor_mut(pages(301..310)).unwrap();
        assert_eq!(cursor.protect(9 * PAGE_SIZE, |prop| prop.with_access(Access::R)), Ok(9));
    });
    on_each(&|n| {
        let written = store(Vaddr(page(n).0 + 8), n as u64);
        assert_eq!(written.is_ok(), !(300..310).contains(&n), "page {n}");
    });
    machine.on_all(&|_| VmSpace::deactivate_current());
    on_first(machine, || {
        let noted = |n: usize| space.cursor(pages(n..n + 1)).unwrap().query().unwrap().ad;
        assert!((301..310).all(|n| noted(n).accessed && noted(n).dirty), "the split lost what was noted");
        assert_eq!(counts(&segment)[299..302], [2, 1, 2]);
    });
    on_first(machine, move || drop((space, segment)));
}

/// What each base page should be, now and before the last step. Steps need no heap: its allocations would be counted.
struct Model {
    now: Vec<Option<(Paddr, Access)>>,
    before: Vec<Option<(Paddr, Access)>>,
}

impl Model {
    fn new() -> Model {
        Model { now: vec![None; 2 * HUGE], before: vec![None; 2 * HUGE] }
    }
}

/// A step through a cursor over all pages from a page on: where it is refused, the model is as before.
fn step(
    space: &VmSpace,
    model: &mut Model,
    n: usize,
    make: impl FnOnce(&mut CursorMut<'_>, &mut [Option<(Paddr, Access)>]) -> Result<(), VmSpaceError>,
) -> Result<(), VmSpaceError> {
    let mut cursor = space.cursor_mut_at(pages(0..2 * HUGE), 2)?;
    cursor.jump(page(n))?;
    model.before.copy_from_slice(&model.now);
    let outcome = make(&mut cursor, &mut model.now);
    if outcome.is_err() {
        model.now.copy_from_slice(&model.before);
    }
    outcome
}

fn map_huge(
    segment: &USegment,
    access: Access,
    space: &VmSpace,
    model: &mut Model,
    n: usize,
) -> Result<(), VmSpaceError> {
    step(space, model, n, |cursor, model| {
        (0..HUGE).for_each(|i| model[n + i] = Some((frame_at(segment, i), access)));
        let item = MappedItem::huge(segment.clone(), PageProperty::user(access)).expect("it is a huge page");
        cursor.map(item).map_err(|refused| refused.error)
    })
}

fn map_base(frame: &UFrame, space: &VmSpace, model: &mut Model, n: usize) -> Result<(), VmSpaceError> {
    step(space, model, n, |cursor, model| {
        model[n] = Some((frame.start_paddr(), Access::RW));
        let item = MappedItem::new(frame.clone(), PageProperty::user(Access::RW));
        cursor.map(item).map_err(|refused| refused.error)
    })
}

/// Maps huge pages, splits and replaces them: each step happens, or leaves every page as it was.
fn steps(space: &VmSpace, model: &mut Model, segment: &USegment, frame: &UFrame) -> Result<(), VmSpaceError> {
    map_huge(segment, Access::RW, space, model, 0)?;
    map_huge(segment, Access::R, space, model, HUGE)?;
    map_base(frame, space, model, 9)?;
    step(space, model, HUGE + 100, |cursor, model| {
        model[HUGE + 100..HUGE + 200].fill(None);
        cursor.unmap(100 * PAGE_SIZE).map(|pages| assert_eq!(pages, 100))
    })?;
    // Over what was split, with and without holes.
    map_huge(segment, Access::RW, space, model, HUGE)?;
    map_huge(segment, Access::R, space, model, 0)?;
    step(space, model, 200, |cursor, model| {
        let both = model[200..HUGE + 200].iter_mut().flatten();
        both.for_each(|(_, access)| *access = Access::RX);
        let prop = |prop: PageProperty| prop.with_access(Access::RX);
        cursor.protect(SIZE, prop).map(|pages| assert_eq!(pages, HUGE))
    })?;
    map_huge(segment, Access::RW, space, model, 0)
}

/// Compares pages and counts with what they should be.
fn check(space: &VmSpace, model: &Model, segment: &USegment, nth: u64) {
    for (n, expected) in model.now.iter().enumerate() {
        let found = space.translate(page(n)).map(|byte| (byte.paddr, byte.prop.access));
        assert_eq!(found, *expected, "page {n} with allocation {nth} failing");
        assert_eq!(load(page(n)).is_ok(), expected.is_some(), "page {n}");
    }
    for (n, count) in counts(segment).into_iter().enumerate() {
        let mapped = model.now.iter().flatten().filter(|(pa, _)| *pa == frame_at(segment, n)).count();
        assert_eq!(count, 1 + mapped as u64, "frame {n} with allocation {nth} failing");
    }
}

/// Each allocation can fail, and nothing is lost.
pub fn each_allocation_can_fail_and_nothing_is_lost(machine: &dyn Machine) {
    on_first(machine, || {
        let (segment, frame) = (try_huge_segment(HUGE).unwrap(), user_frame());
        let before = count_free() + machine.heap_frames();
        for nth in 1.. {
            let space = active_space();
            let mut model = Model::new();
            fail_allocation(nth);
            let outcome = steps(&space, &mut model, &segment, &frame);
            let failed = failure_pending() == 0;
            fail_allocation(0);
            check(&space, &model, &segment, nth);
            drop((space, model));
            VmSpace::deactivate_current();
            assert_eq!(count_free() + machine.heap_frames(), before, "with allocation {nth} failing");
            assert_eq!(frame.reference_count(), 1);
            match outcome {
                Err(error) => assert_eq!(error, VmSpaceError::NoMemory),
                Ok(()) if failed => {}
                Ok(()) => {
                    assert!(nth > 5, "{nth} allocations are too few");
                    return;
                }
            }
        }
    });
}

/// The base pages in 1 GiB.
const GIB: usize = HUGE * HUGE;

/// A page of 1 GiB, where there is one, is seen by user code, split down to base pages for one of them, and takes the
/// place of all its parts again.
pub fn a_page_of_1_gib_is_split_and_comes_back(machine: &dyn Machine) {
    let aligned =
        FrameAllocOptions::new().uninit().aligned_to(GIB * PAGE_SIZE).expect("it is a power of two");
    match on_first(machine, || aligned.alloc_segment(GIB).map(USegment::from)) {
        Ok(segment) => on_first(machine, move || gigantic(segment)),
        Err(_) => {
            machine.note(format_args!("left out: there is no free memory of 1 GiB at a multiple of it"))
        }
    }
}

fn gigantic(segment: USegment) {
    let frame = |n: usize| frame_at(&segment, n).0;
    let item = || MappedItem::huge(segment.clone(), PageProperty::user(Access::RW)).unwrap();
    let space = active_space();
    space.cursor_mut(pages(0..GIB)).unwrap().map(item()).unwrap();
    let level = |n| space.translate(page(n)).map(|found| (found.paddr.0, found.level));
    assert_eq!((level(7), level(GIB - 1)), (Some((frame(7), 3)), Some((frame(GIB - 1), 3))));
    store(page(GIB - 1), 5).unwrap();
    assert_eq!(load(page(GIB - 1)), Ok(5));

    let one = 3 * HUGE + 9;
    assert_eq!(unmap_pages(&space, one..one + 1), 1);
    assert_eq!((level(one - 1), level(one)), (Some((frame(one - 1), 1)), None));
    assert_eq!((level(0), level(GIB - 1)), (Some((frame(0), 2)), Some((frame(GIB - 1), 2))));
    assert!(load(page(one)).is_err());
    assert_eq!(load(page(GIB - 1)), Ok(5));

    let free = free_frames();
    let mut cursor = space.cursor_mut_at(pages(0..GIB), 3).unwrap();
    fail_allocation(1);
    cursor.map(item()).unwrap();
    fail_allocation(0);
    assert_eq!(free_frames(), free, "a node went before the flush");
    drop(cursor);
    assert_eq!(count_free(), free + 2, "the nodes of both levels come back");
    assert_eq!((level(one), load(page(GIB - 1))), (Some((frame(one), 3)), Ok(5)));
    assert_eq!(unmap_pages(&space, 0..GIB), GIB);
    assert!(segment.clone().all(|frame| frame.reference_count() == 2));
}
