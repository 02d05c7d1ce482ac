//! A page of 1 GiB in user space, on a machine that has one.
mod space_support;

use space_support::*;
use vellum::frame::USegment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::space::{Access, MappedItem, PageProperty};
use vellum_hosted::MachineConfig;
use vellum_machine::addr::PAGE_SIZE;

/// The base pages in 1 GiB.
const GIB: usize = HUGE * HUGE;

/// It is seen by user code, split down to base pages for one of them, and takes the place of all its parts again.
#[test]
fn a_page_of_1_gib_is_split_and_comes_back() {
    let machine = machine(MachineConfig { memory: 3 << 30, cpus: 1, ..MachineConfig::default() });
    machine.run_on(cpu(0), || {
        let before = count_free();
        let aligned = FrameAllocOptions::new().uninit().aligned_to(GIB * PAGE_SIZE).unwrap();
        let segment: USegment = aligned.alloc_segment(GIB).expect("1 GiB is free").into();
        let frame = |n: usize| segment.start_paddr().0 + n * PAGE_SIZE;
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
        drop((segment, space));
        vellum::space::VmSpace::deactivate_current();
        assert_eq!(count_free(), before);
    });
}
