//! Cursors on ranges that do not meet write no common cache line; and the path of a single page needs no heap.
//!
//! Every write is seen, as `traps` says how. One cursor is held by one processor while another works.
#![allow(unsafe_code, reason = "counts what is allocated")]
mod space_support;
mod traps;

use space_support::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use traps::{LINE, Lines, common, written_by};
use vellum::frame::UFrame;
use vellum::page_table::{Fragment, PageTable, UserPtConfig};
use vellum::space::{Access, MappedItem, PageProperty, VmSpace};
use vellum_hosted::Machine;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE};

/// Pages of 2 MiB.
const NODE: usize = 512;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts for each thread.
struct Counting;

// SAFETY: the system's allocator does it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// The range of a processor: 2 MiB, next to that of the other.
fn range_of(me: usize) -> Range<usize> {
    me * NODE..(me + 1) * NODE
}

/// Where a space is, with its counts.
fn place_of(space: &Arc<VmSpace>) -> Range<usize> {
    let start = Arc::as_ptr(space).addr();
    start - 2 * size_of::<usize>()..start + size_of::<VmSpace>()
}

/// What is at a line, in the words of the machine.
fn name(line: usize) -> String {
    let at = line * LINE;
    match at {
        META_BASE.. => format!("metadata of frame {:#x}", (at - META_BASE) / LINE * PAGE_SIZE),
        LINEAR_MAP_BASE.. => format!("memory at {:#x}", at - LINEAR_MAP_BASE),
        _ => format!("the program at {at:#x}"),
    }
}

/// All that a cursor can do, on a range in which one page is mapped and stays.
fn session(space: &VmSpace, range: Range<usize>, frames: &[UFrame]) {
    let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
    cursor.jump(page(range.start + 1)).unwrap();
    for frame in frames {
        cursor.map(MappedItem::new(frame.clone(), PageProperty::user(Access::RW))).unwrap();
    }
    cursor.jump(page(range.start + 1)).unwrap();
    assert!(cursor.query().unwrap().item.is_some());
    assert_eq!(cursor.find_next(PAGE_SIZE), Ok(Some(page(range.start + 1))));
    let length = frames.len() * PAGE_SIZE;
    assert_eq!(cursor.protect(length, |prop| prop.with_access(Access::R)), Ok(frames.len()));
    cursor.jump(page(range.start + 1)).unwrap();
    assert_eq!(cursor.unmap(length), Ok(frames.len()));
}

/// Has each of two processors do its work twice, the second time watched, while the other holds a cursor.
fn watched_sessions(
    machine: &Machine,
    space: &Arc<VmSpace>,
    held: impl Fn(usize) -> Range<usize> + Sync,
    work: impl Fn(usize) + Sync,
) -> [Lines; 2] {
    [0, 1].map(|me| {
        let (locked, done) = (AtomicBool::new(false), AtomicBool::new(false));
        machine.scope(|scope| {
            scope.spawn(cpu(1 - me), || {
                let cursor = space.cursor_mut(pages(held(1 - me as usize))).unwrap();
                locked.store(true, Ordering::SeqCst);
                wait_until(|| done.load(Ordering::SeqCst));
                drop(cursor);
            });
            let lines = scope.spawn(cpu(me), || {
                wait_until(|| locked.load(Ordering::SeqCst));
                work(me as usize);
                let lines = written_by(&[place_of(space)], || work(me as usize));
                done.store(true, Ordering::SeqCst);
                lines
            });
            lines.join().unwrap()
        })
    })
}

/// A space that is active nowhere, with one page in each range.
fn space_with_nodes(machine: &Machine) -> Arc<VmSpace> {
    machine.run_on(cpu(0), || {
        let space = VmSpace::new().unwrap();
        (0..2).for_each(|me| map_pages(&space, me * NODE..me * NODE + 1, Access::R));
        space
    })
}

#[test]
fn cursors_on_disjoint_ranges_write_no_common_line() {
    with_machine(|machine| {
        let space = space_with_nodes(machine);
        let frames: [Vec<_>; 2] =
            machine.run_on(cpu(0), || [(); 2].map(|()| (0..3).map(|_| user_frame()).collect()));
        let lines =
            watched_sessions(machine, &space, range_of, |me| session(&space, range_of(me), &frames[me]));
        let counts = lines.each_ref().map(|lines| (lines.len(), lines.values().sum::<usize>()));
        println!("lines, and writes to them: {counts:?}");
        // Three frames' counts, the node's lock and words, the processor's count of readers.
        assert!(counts.iter().all(|(lines, writes)| *lines >= 6 && *writes >= 12), "{lines:?}");
        let both: Vec<_> = common(&lines[0], &lines[1]).into_iter().map(name).collect();
        assert_eq!(both, Vec::<String>::new(), "lines that both wrote");
        machine.run_on(cpu(0), || drop(space));
    });
}

#[test]
fn a_line_that_two_processors_write_is_seen() {
    with_machine(|machine| {
        let space = space_with_nodes(machine);
        let frame = machine.run_on(cpu(0), user_frame);
        let work = |me: usize| session(&space, range_of(me), std::slice::from_ref(&frame));
        let lines = watched_sessions(machine, &space, range_of, work);
        // The count of the frame that both map, and nothing else.
        let slot = META_BASE / LINE + frame.start_paddr().0 / PAGE_SIZE;
        assert_eq!(common(&lines[0], &lines[1]), [slot]);
        machine.run_on(cpu(0), || drop((space, frame)));
    });
}

#[test]
fn cursors_in_one_node_meet_at_its_lock() {
    with_machine(|machine| {
        let space = space_with_nodes(machine);
        let lines = watched_sessions(
            machine,
            &space,
            // Somewhere else.
            |_| 4 * NODE..4 * NODE + 1,
            |me| drop(space.cursor_mut(pages(me..me + 1)).unwrap()),
        );
        let both = common(&lines[0], &lines[1]);
        assert_eq!(both.len(), 1, "{both:?}");
        assert!(both[0] >= META_BASE / LINE, "{}", name(both[0]));
        machine.run_on(cpu(0), || drop(space));
    });
}

#[test]
fn looking_at_a_range_writes_its_lock_and_nothing_that_others_read() {
    with_machine(|machine| {
        let space = space_with_nodes(machine);
        let look = |me: usize| {
            let mut cursor = space.cursor(pages(range_of(me))).unwrap();
            assert_eq!(cursor.find_next(NODE * PAGE_SIZE), Ok(Some(page(me * NODE))));
        };
        let lines = watched_sessions(machine, &space, range_of, look);
        assert_eq!(common(&lines[0], &lines[1]), []);
        // Memory is the words of nodes: none is written.
        let words = |line: &&usize| (LINEAR_MAP_BASE..META_BASE).contains(&(**line * LINE));
        assert_eq!(lines.iter().flat_map(|lines| lines.keys()).filter(words).count(), 0);
        machine.run_on(cpu(0), || drop(space));
    });
}

#[test]
fn a_single_page_needs_no_heap() {
    on_machine(|| {
        let (space, frame) = (VmSpace::new().unwrap(), user_frame());
        map_pages(&space, 0..1, Access::R);
        let table = PageTable::<UserPtConfig>::new().unwrap();
        let once = || {
            session(&space, range_of(0), std::slice::from_ref(&frame));
            let mut cursor = table.cursor_mut(Vaddr(0)..Vaddr(PAGE_SIZE)).unwrap();
            let item = MappedItem::new(frame.clone(), PageProperty::user(Access::RW));
            assert!(cursor.map(item).unwrap().is_none());
            cursor.jump(Vaddr(0)).unwrap();
            let taken = cursor.take_next(PAGE_SIZE).unwrap();
            assert!(matches!(taken, Some(Fragment::Leaf { .. })));
        };
        once();
        let before = ALLOCATIONS.with(Cell::get);
        (0..100).for_each(|_| once());
        assert_eq!(ALLOCATIONS.with(Cell::get), before, "the heap was used");
        drop(black_box(Box::new(7)));
        assert!(ALLOCATIONS.with(Cell::get) > before, "what uses the heap is counted");
    });
}
