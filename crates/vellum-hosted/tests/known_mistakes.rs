//! Mistakes that page tables elsewhere have made: one test for each.
mod space_support;

use space_support::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vellum::io::UntypedMem;
use vellum::page_table::{FourLevel, KernelPtConfig, PageTable, PageTableConfig, PageTableError, Untracked};
use vellum::space::{Access, PageProperty, VmSpace, VmSpaceError, user_top};
use vellum::tlb::testing;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

/// Base pages below one node of the lowest level, and below one of the next.
const NODE: usize = 512;
const NODES: usize = NODE * NODE;

const RW: PageProperty = PageProperty::user(Access::RW);

fn range(start: usize, end: usize) -> Range<Vaddr> {
    Vaddr(start)..Vaddr(end)
}

/// The pages of a range that are mapped, with the frames.
fn mapped(space: &VmSpace, all: Range<usize>) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut cursor = space.cursor(pages(all.clone())).unwrap();
    let mut at = all.start;
    while at < all.end
        && let Some(va) = cursor.find_next((all.end - at) * PAGE_SIZE).unwrap()
    {
        let item = cursor.query().unwrap().item.expect("find_next stops at what is mapped");
        at = (va.0 - base().0) / PAGE_SIZE;
        found.push((at, item.frames.start_paddr().0));
        at += 1;
        if at < all.end {
            cursor.jump(page(at)).unwrap();
        }
    }
    found
}

/// Neither the first nor any other address is a range of none.
#[test]
fn the_range_0_to_0() {
    on_machine(|| {
        let space = active_space();
        for at in [0, PAGE_SIZE, base().0, user_top().0 - PAGE_SIZE, user_top().0] {
            assert_eq!(space.cursor(range(at, at)).err(), Some(VmSpaceError::Empty { va: Vaddr(at) }));
            assert_eq!(space.cursor_mut(range(at, at)).err(), Some(VmSpaceError::Empty { va: Vaddr(at) }));
        }
    });
}

/// A range may end where user space does: its last page is a page as any other, and its end is no address of it.
#[test]
fn a_range_that_ends_at_the_top_of_user_space() {
    on_machine(|| {
        let space = active_space();
        let top = user_top().0;
        for pages in [1, 2, NODE, NODE + 1, NODES, NODES + 1] {
            let start = top - pages * PAGE_SIZE;
            let mut cursor = space.cursor_mut(range(start, top)).unwrap();
            assert_eq!(cursor.find_next(pages * PAGE_SIZE), Ok(None));
            assert_eq!(cursor.virt_addr(), user_top());
            cursor.jump(Vaddr(top - PAGE_SIZE)).unwrap();
            cursor.map(item(Access::RW)).unwrap();
            assert_eq!(cursor.virt_addr(), user_top());
            assert!(matches!(cursor.query(), Err(VmSpaceError::OutOfRange { .. })));
            cursor.jump(Vaddr(start)).unwrap();
            assert_eq!(cursor.find_next(pages * PAGE_SIZE), Ok(Some(Vaddr(top - PAGE_SIZE))));
            cursor.jump(Vaddr(start)).unwrap();
            assert_eq!(cursor.protect(pages * PAGE_SIZE, |prop| prop.with_access(Access::R)), Ok(1));
            cursor.jump(Vaddr(start)).unwrap();
            assert_eq!((cursor.unmap(pages * PAGE_SIZE), cursor.virt_addr()), (Ok(1), user_top()));
        }
    });
}

/// A range that ends with the last address of all would have an end that is no address.
#[test]
fn a_range_that_ends_at_the_top_of_the_address_space() {
    on_machine(|| {
        let space = active_space();
        let last = usize::MAX & !(PAGE_SIZE - 1);
        for start in [0, base().0, user_top().0 - PAGE_SIZE, user_top().0, last - PAGE_SIZE] {
            let refused = space.cursor_mut(range(start, last)).map(drop);
            assert!(matches!(refused, Err(VmSpaceError::OutOfRange { .. })), "from {start:#x}: {refused:?}");
        }
        // The end wrapped around.
        let refused = space.cursor_mut(range(last, 0)).map(drop);
        assert_eq!(refused, Err(VmSpaceError::Reversed { start: Vaddr(last), end: Vaddr(0) }));
    });
}

/// Every length that does not lie in the range is refused, and nothing moves; the sum with the position may wrap.
#[test]
fn a_length_that_overflows() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..4, Access::RW);
        let mut cursor = space.cursor_mut(pages(0..4)).unwrap();
        let whole = usize::MAX & !(PAGE_SIZE - 1);
        let wraps_to_the_start = 0_usize.wrapping_sub(base().0);
        for len in [usize::MAX, whole, wraps_to_the_start, wraps_to_the_start + PAGE_SIZE, 1 << 63] {
            assert!(cursor.find_next(len).is_err(), "{len:#x}");
            assert!(cursor.unmap(len).is_err(), "{len:#x}");
            assert!(cursor.protect_next(len, |_| panic!("nothing is asked")).is_err(), "{len:#x}");
            assert!(cursor.protect(len, |_| panic!("nothing is asked")).is_err(), "{len:#x}");
            assert_eq!(cursor.virt_addr(), page(0));
        }
        drop(cursor);
        assert_eq!(mapped(&space, 0..4).len(), 4);
    });
}

/// A jump to what is no page, or not in the range, is refused, and the cursor stays. So is one to the end.
#[test]
fn a_jump_that_is_misaligned_or_outside() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..8, Access::RW);
        let mut cursor = space.cursor_mut(pages(2..6)).unwrap();
        cursor.jump(page(4)).unwrap();
        let outside = [page(1), page(6), page(7), Vaddr(0), user_top(), Vaddr(usize::MAX & !(PAGE_SIZE - 1))];
        for va in outside {
            assert_eq!(cursor.jump(va), Err(VmSpaceError::OutOfRange { va }));
        }
        for va in [Vaddr(page(3).0 + 1), Vaddr(page(3).0 + PAGE_SIZE - 1), Vaddr(page(3).0 + 8)] {
            assert!(matches!(cursor.jump(va), Err(VmSpaceError::NotAligned { .. })));
        }
        assert_eq!(cursor.virt_addr(), page(4));
        // What was refused took nothing along: the neighbours outside are as they were.
        assert_eq!(cursor.unmap(2 * PAGE_SIZE), Ok(2));
        drop(cursor);
        let left: Vec<usize> = mapped(&space, 0..8).into_iter().map(|(n, _)| n).collect();
        assert_eq!(left, [0, 1, 2, 3, 6, 7]);
    });
}

/// `find_next` neither finds nor goes to what lies past `len`, though the range and the node go on.
#[test]
fn find_next_stops_at_the_end_of_its_length() {
    on_machine(|| {
        let space = active_space();
        let all = 0..3 * NODES;
        for first in [1, NODE - 1, NODE, NODE + 1, NODES - 1, NODES, NODES + NODE] {
            map_pages(&space, first..first + 1, Access::RW);
            let mut cursor = space.cursor(pages(all.clone())).unwrap();
            assert_eq!(cursor.find_next(first * PAGE_SIZE), Ok(None), "page {first}");
            assert_eq!(cursor.virt_addr(), page(first));
            cursor.jump(page(0)).unwrap();
            assert_eq!(cursor.find_next((first + 1) * PAGE_SIZE), Ok(Some(page(first))));
            assert_eq!(cursor.virt_addr(), page(first));
            // Once it is there it stays.
            assert_eq!(cursor.find_next(PAGE_SIZE), Ok(Some(page(first))));
            assert_eq!(cursor.virt_addr(), page(first));
            drop(cursor);
            assert_eq!(unmap_pages(&space, all.clone()), 1);
        }
    });
}

/// Where `unmap` leaves the cursor: at the end of its length, whatever was there; where it was, if it is refused.
#[test]
fn where_unmap_leaves_the_cursor() {
    on_machine(|| {
        let space = active_space();
        let lengths = [1, 2, NODE - 1, NODE, NODE + 1, 2 * NODE, NODES, NODES + 3];
        for (start, len) in
            [0, 1, NODE - 1, NODE].into_iter().flat_map(|start| lengths.map(|len| (start, len)))
        {
            let pages_of = [start, start + len / 2, start + len - 1, start + len];
            let mut inside: Vec<_> = pages_of[..3].to_vec();
            inside.dedup();
            for n in inside.iter().chain(&pages_of[3..]) {
                map_pages(&space, *n..n + 1, Access::RW);
            }
            let mut cursor = space.cursor_mut(pages(0..2 * NODES)).unwrap();
            cursor.jump(page(start)).unwrap();
            assert_eq!(cursor.unmap(len * PAGE_SIZE), Ok(inside.len()));
            assert_eq!(cursor.virt_addr(), page(start + len), "{len} pages from {start} on");
            // Nothing is left to unmap: the cursor goes on all the same.
            cursor.jump(page(start)).unwrap();
            assert_eq!((cursor.unmap(len * PAGE_SIZE), cursor.virt_addr()), (Ok(0), page(start + len)));
            assert!(cursor.unmap(usize::MAX).is_err());
            assert_eq!(cursor.virt_addr(), page(start + len));
            assert_eq!(cursor.unmap(PAGE_SIZE), Ok(1), "what follows the length stays");
        }
    });
}

/// The property is set when the closure has answered: where it panics, the page and all others are as they were, and
/// the range can be locked again.
#[test]
fn a_closure_that_panics_in_protect_next() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..3, Access::RW);
        let before = mapped(&space, 0..3);
        let mut cursor = space.cursor_mut(pages(0..3)).unwrap();
        cursor.jump(page(1)).unwrap();
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _never = cursor.protect_next(2 * PAGE_SIZE, |_| panic!("on purpose"));
        }));
        assert!(panics.is_err());
        assert_eq!(cursor.virt_addr(), page(1));
        // It works as if nothing had been.
        let slot = cursor.query().unwrap();
        assert_eq!(slot.item.map(|item| item.prop), Some(RW));
        let nth = AtomicUsize::new(0);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            cursor.protect(2 * PAGE_SIZE, |prop| match nth.fetch_add(1, Ordering::Relaxed) {
                0 => prop.with_access(Access::R),
                _ => panic!("on purpose"),
            })
        }));
        assert!(panics.is_err());
        drop(cursor);
        assert_eq!(mapped(&space, 0..3), before);
        let writable: Vec<bool> = (0..3).map(|n| store(page(n), 1).is_ok()).collect();
        assert_eq!(
            writable,
            [true, false, true],
            "the page before the panic stays changed, none after it is"
        );
    });
}

/// One cursor removes the nodes that the other is on its way to: it locks what is there then, and the nodes that
/// it read on its way stay until it is gone.
#[test]
fn two_cursors_where_one_removes_the_sub_tree_that_the_other_descends_into() {
    const ROUNDS: usize = 3000;
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || VmSpace::new().unwrap());
        let made = AtomicUsize::new(0);
        machine.scope(|scope| {
            scope.spawn(cpu(0), || {
                for round in 0..ROUNDS {
                    // All nodes below the root are made for it, and all of them go with it.
                    map_pages(&space, NODE..NODE + 1, Access::RW);
                    made.store(round + 1, Ordering::SeqCst);
                    let mut cursor = space.cursor_mut(pages(0..2 * NODES)).unwrap();
                    let len = 2 * NODES * PAGE_SIZE;
                    // The other may have put a page next to it.
                    assert!((1..=2).contains(&cursor.unmap(len).unwrap()));
                }
            });
            scope.spawn(cpu(1), || {
                while made.load(Ordering::SeqCst) < ROUNDS {
                    let mut cursor = space.cursor_mut(pages(NODE + 1..NODE + 2)).unwrap();
                    let here = cursor.query().unwrap().item.is_some();
                    if !here {
                        cursor.map(item(Access::R)).unwrap();
                        cursor.jump(page(NODE + 1)).unwrap();
                        assert!(
                            cursor.query().unwrap().item.is_some(),
                            "the page went into a node that is gone"
                        );
                    }
                }
            });
        });
        machine.run_on(cpu(0), || {
            assert!(unmap_pages(&space, 0..2 * NODES) <= 1);
            drop(space);
        });
    });
}

/// Processor 1 has the translation of a page that processor 0 unmaps, and stores through it afterwards, if it still can.
/// Returns what the frame has then, if processor 0 could have it as a new one, filled with zeros.
fn store_after_unmap(machine: &Machine, unmap: impl FnOnce(&VmSpace) + Send) -> Option<u64> {
    let space = machine.run_on(cpu(0), || {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 0..1, Access::RW);
        space
    });
    let paddr = machine.run_on(cpu(0), || mapped(&space, 0..1)[0].1);
    let [translated, unmapped, stored] = [(); 3].map(|()| AtomicBool::new(false));
    let found = machine.scope(|scope| {
        scope.spawn(cpu(1), || {
            space.activate();
            store(page(0), 1).unwrap();
            translated.store(true, Ordering::SeqCst);
            wait_until(|| unmapped.load(Ordering::SeqCst));
            let _faulted = store(page(0), 7);
            stored.store(true, Ordering::SeqCst);
        });
        let found = scope.spawn(cpu(0), || {
            wait_until(|| translated.load(Ordering::SeqCst));
            unmap(&space);
            let frames: Vec<_> = std::iter::from_fn(try_user_frame).collect();
            unmapped.store(true, Ordering::SeqCst);
            wait_until(|| stored.load(Ordering::SeqCst));
            let frame = frames.into_iter().find(|frame| frame.start_paddr().0 == paddr);
            frame.map(|frame| frame.reader().read_val::<u64>().unwrap())
        });
        found.join().unwrap()
    });
    machine.run_on(cpu(1), vellum_machine::tlb::flush_all);
    machine.on_all(|_| VmSpace::deactivate_current());
    machine.run_on(cpu(0), || drop(space));
    found
}

/// What another processor stores through a translation that is no more does not reach the frame's next owner.
#[test]
fn a_frame_freed_before_the_other_processors_flush() {
    with_machine(|machine| {
        let found = store_after_unmap(machine, |space| assert_eq!(unmap_pages(space, 0..1), 1));
        assert_eq!(found, Some(0), "the frame comes back, and is its new owner's alone");
    });
}

/// The same with the flush left out on purpose: the test above would see it.
#[test]
fn a_flush_that_is_left_out_is_seen_in_the_next_owners_frame() {
    with_machine(|machine| {
        let found = store_after_unmap(machine, |space| {
            testing::drop_next_shootdown();
            assert_eq!(unmap_pages(space, 0..1), 1);
        });
        assert_eq!(found, Some(7), "the other processor still had the translation");
    });
}

type Kernel = PageTable<KernelPtConfig>;

/// Pages of kernel space, counted from its start.
fn kernel(pages: Range<usize>) -> Range<Vaddr> {
    let base = KernelPtConfig::va_base() + KernelPtConfig::TOP_LO * NODES * NODE * PAGE_SIZE;
    Vaddr(base + pages.start * PAGE_SIZE)..Vaddr(base + pages.end * PAGE_SIZE)
}

/// Where a page leads, and with what rights.
fn look(table: &Kernel, n: usize) -> Option<(usize, Access)> {
    let mut cursor = table.cursor(kernel(n..n + 1)).unwrap();
    let item = cursor.query().unwrap().item?;
    let inside = n % (1 << (9 * (item.level() - 1)));
    Some((item.start_paddr().0 + inside * PAGE_SIZE, item.prop().access))
}

/// A huge page takes the place of a table: of what was mapped in it nothing is seen any more, nothing is lost, and nothing is
/// released before the flush; it needs no memory.
#[test]
fn map_over_a_table() {
    on_machine(|| {
        let space = active_space();
        map_pages(&space, 0..NODE + 1, Access::RW);
        (0..NODE + 1).for_each(|n| store(page(n), n as u64 + 1).unwrap());
        let (item, segment) = huge_item(Access::R);
        segment.writer().write_val(&99_u64).unwrap();
        let mut cursor = space.cursor_mut(pages(0..2 * NODE)).unwrap();
        let free = free_frames();
        fail_allocation(1);
        cursor.map(item).unwrap();
        fail_allocation(0);
        assert_eq!(cursor.virt_addr(), page(NODE));
        assert_eq!(free_frames(), free, "something was released before the flush");
        drop(cursor);
        // The frames, and the node after its readers: the one of page `NODE` stays.
        assert_eq!(count_free(), free + NODE + 1);
        assert_eq!((load(page(0)), load(page(1)), load(page(NODE))), (Ok(99), Ok(0), Ok(NODE as u64 + 1)));
        assert!(store(page(3), 1).is_err());
        assert_eq!(unmap_pages(&space, 0..2 * NODE), NODE + 1);
        assert_eq!(segment.into_iter().map(|frame| frame.reference_count()).max(), Some(1));
    });
}

/// What is unmapped of a huge page is gone, and the rest leads where it led; without memory for the parts nothing is
/// changed.
#[test]
fn unmap_of_part_of_a_huge_page() {
    let machine = machine(MachineConfig { memory: 64 << 20, ..MachineConfig::default() });
    machine.run_on(cpu(0), || {
        let before = count_free();
        let table = Kernel::new().unwrap();
        for (level, whole) in [(2, NODE), (3, NODES)] {
            for part in [0..1, 1..2, whole - 1..whole, 0..whole / 2, whole / 2..whole, 3..whole - 3] {
                take_part(&table, level, whole, part);
            }
        }
        drop(table);
        assert_eq!(count_free(), before - 2, "the root and the node below it stay, and nothing else");
    });
}

/// Where the huge page lies in physical memory, of which there is less.
const HUGE: usize = 5 << 30;

fn take_part(table: &Kernel, level: u8, whole: usize, part: Range<usize>) {
    let huge = Untracked::<FourLevel>::new(Paddr(HUGE), level, PageProperty::kernel(Access::RW)).unwrap();
    assert!(table.cursor_mut(kernel(0..whole)).unwrap().map(huge).unwrap().is_none());
    let expect = |gone: &Range<usize>| {
        for n in [0, 1, 2, whole / 2 - 1, whole / 2, whole - 3, whole - 2, whole - 1] {
            let expected = (!gone.contains(&n)).then_some((HUGE + n * PAGE_SIZE, Access::RW));
            assert_eq!(look(table, n), expected, "page {n} of level {level}, without {gone:?}");
        }
    };
    fail_allocation(1);
    let refused = table.cursor_mut(kernel(part.clone())).unwrap().take_next(part.len() * PAGE_SIZE);
    fail_allocation(0);
    assert!(matches!(refused, Err(PageTableError::NoMemory)));
    expect(&(0..0));
    take_all(table, part.clone());
    expect(&part);
    // From above all nodes that were made for it, so that they go as well.
    take_all(table, 0..2 * NODES);
}

fn take_all(table: &Kernel, pages: Range<usize>) {
    let mut cursor = table.cursor_mut(kernel(pages)).unwrap();
    let end = cursor.range().end;
    while cursor.take_next(end.0 - cursor.virt_addr().0).unwrap().is_some() {}
    assert_eq!(cursor.virt_addr(), end);
}
