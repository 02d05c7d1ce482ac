//! What operations cost: in instructions, where the machine counts them, or in ticks of the processor's counter. Under an
//! emulator ticks compare with each other, not with those of hardware.
use super::memory::{at, frame, map, unmap, user_page};
use crate::arch;
use crate::console::println;
use crate::processors::on_all;
use crate::user::{Area, Areas, Counts, resolve, share};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vellum::frame::USegment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::kspace::KVirtArea;
use vellum::space::{Access, MappedItem, MappedRange, PageProperty, VmSpace};
use vellum::sync::SpinLock;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::user;

/// How often each is done.
const TIMES: usize = 256;

/// How often others are asked to flush.
const SHOOTDOWNS: usize = 64;

/// The base pages of 2 MiB.
const PAGES: usize = 512;

/// Says what something costs that is done for so many.
fn each(what: &str, count: usize, f: impl FnOnce()) {
    match counts_instructions() {
        true => println!("  {what}: {} instructions", counted_by(arch::instructions, f) / count as u64),
        false => println!("  {what}: {} ticks", counted_by(arch::ticks, f) / count as u64),
    }
}

fn counted_by(counter: fn() -> u64, f: impl FnOnce()) -> u64 {
    let start = counter();
    f();
    counter() - start
}

/// Whether the machine counts instructions.
fn counts_instructions() -> bool {
    crate::boot::option("instructions") == Some(1)
}

/// Where the counter is said to be one of instructions, it is.
pub fn what_is_counted() {
    if counts_instructions() {
        let counted = counted_by(arch::instructions, || arch::spend_instructions(1_000_000));
        assert!((1_000_000..1_000_100).contains(&counted), "1000000 instructions are counted as {counted}");
    }
}

fn repeat(what: &str, mut f: impl FnMut(usize)) {
    each(what, TIMES, || (0..TIMES).for_each(&mut f));
}

/// A space, active here, in which every fault is resolved with a new frame.
fn space_on_demand() -> Arc<VmSpace> {
    let space = VmSpace::new().expect("there is memory for a root");
    space.activate();
    space.set_fault_handler(|space, fault| {
        map(space, Vaddr(fault.addr.0 & !(PAGE_SIZE - 1)), frame(), Access::RW);
        Ok(())
    });
    space
}

pub fn of_pages() {
    let space = space_on_demand();
    repeat("a fault, resolved with a new frame", |page| assert_eq!(user::load_u64(at(page)), Ok(0)));
    repeat("a load", |page| assert_eq!(user::load_u64(at(page)), Ok(0)));
    repeat("protect a page", |page| {
        let mut cursor = space.cursor_mut(at(page)..at(page + 1)).expect("a page of user space");
        assert_eq!(cursor.protect(PAGE_SIZE, |_| user_page(Access::R)), Ok(1));
    });
    repeat("unmap a page", |page| assert_eq!(unmap(&space, at(page)), 1));
    let spare = frame();
    repeat("map a page", |page| map(&space, at(page), spare.clone(), Access::R));
    let mut cursor = space.cursor_mut(at(0)..at(2 * TIMES)).expect("pages of user space");
    assert_eq!(cursor.unmap(2 * TIMES * PAGE_SIZE), Ok(TIMES));
    cursor.jump(at(0)).expect("it is the start of the range");
    repeat("map a page under a cursor", |_| {
        cursor.map(MappedItem::new(spare.clone(), user_page(Access::R))).expect("there is memory");
    });
    drop(cursor);
    VmSpace::deactivate_current();
}

pub fn of_ranges() {
    let space = VmSpace::new().expect("there is memory for a root");
    space.activate();
    let aligned = FrameAllocOptions::new().aligned_to(PAGES * PAGE_SIZE).expect("it is a power of two");
    let segment: USegment = aligned.alloc_segment(PAGES).expect("2 MiB are free").into();
    let whole = || space.cursor_mut_at(at(0)..at(PAGES), 2).expect("pages of user space");
    let unmap_whole = || assert_eq!(whole().unmap(PAGES * PAGE_SIZE), Ok(PAGES));
    let map_whole = || {
        let range = MappedRange { segment: segment.clone(), prop: user_page(Access::RW) };
        whole().map_range(range).expect("there is memory");
    };
    each("map a range of 2 MiB, per page", PAGES, map_whole);
    each("protect a range of 2 MiB, per page", PAGES, || {
        assert_eq!(whole().protect(PAGES * PAGE_SIZE, |_| user_page(Access::R)), Ok(PAGES));
    });
    each("unmap a range of 2 MiB, per page", PAGES, unmap_whole);
    each("map a page of 2 MiB", 1, || {
        let item = MappedItem::huge(segment.clone(), user_page(Access::RW)).expect("it is a huge page");
        whole().map(item).expect("there is memory");
    });
    each("unmap a page of 2 MiB", 1, unmap_whole);
    let four = segment.slice(0..4 * PAGE_SIZE).expect("it has more");
    repeat("an area of four pages, mapped and dropped", |_| {
        let range = MappedRange { segment: four.clone(), prop: PageProperty::kernel(Access::RW) };
        drop(KVirtArea::with_range(range).expect("there is memory"));
    });
    map_whole();
    let mut areas = Areas::default();
    areas.add(Area::zeros(at(0).0..at(PAGES).0, Access::RW));
    let child = VmSpace::new().expect("there is memory for a root");
    each("fork: share a page", PAGES, || share(&areas, &space, &child).expect("there is memory"));
    child.activate();
    let (areas, counts) = (SpinLock::new(areas), Counts::default());
    child.set_fault_handler(move |space, fault| resolve(&areas, &counts, space, fault));
    repeat("write to a shared page, which is copied", |page| {
        assert_eq!(user::store_u64(at(page), 1), Ok(()));
    });
    VmSpace::deactivate_current();
}

/// A page is unmapped that others may have kept: they wait, and answer at once.
pub fn of_shootdowns() {
    for others in [1, 3] {
        if others < cpu::count() {
            of_shootdown(others);
        }
    }
}

fn of_shootdown(others: usize) {
    let space = space_on_demand();
    let (there, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    on_all(move |me| {
        if me.index() > others {
            return;
        }
        space.activate();
        (0..SHOOTDOWNS).for_each(|page| assert_eq!(user::load_u64(at(page)), Ok(0)));
        there.fetch_add(1, Ordering::SeqCst);
        let is_over = || match me {
            CpuId::BOOT => there.load(Ordering::SeqCst) > others,
            _ => over.load(Ordering::SeqCst),
        };
        while !is_over() {
            cpu::relax();
        }
        if me == CpuId::BOOT {
            let one = |page| counted_by(arch::ticks, || assert_eq!(unmap(&space, at(page)), 1));
            let mut ticks: Vec<u64> = (0..SHOOTDOWNS).map(one).collect();
            // Not the mean: the host may have no time for a processor.
            ticks.sort_unstable();
            let (least, median) = (ticks[0], ticks[SHOOTDOWNS / 2]);
            println!(
                "  unmap a page that {others} more have: {least} ticks at least, {median} in the median"
            );
            over.store(true, Ordering::SeqCst);
        }
        VmSpace::deactivate_current();
    });
}
