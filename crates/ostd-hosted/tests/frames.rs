//! Frames and lists of frames do what the allocator relies on, and the allocator runs on them.

use osdk_frame_allocator::FrameAllocator;
use ostd::cpu::PinCurrentCpu;
use ostd::mm::frame::GlobalFrameAllocator;
use ostd::mm::frame::linked_list::{Link, LinkedList};
use ostd::mm::frame::meta::{AnyFrameMeta, GetFrameError};
use ostd::mm::{Frame, HasPaddr, PAGE_SIZE, UniqueFrame};
use ostd::{hosted, irq};
use std::alloc::Layout;
use std::collections::BTreeSet;
use std::panic::catch_unwind;

/// Frames that the allocator does not have.
const SPARE: usize = 32768;

struct Number(usize);

ostd::impl_frame_meta_for!(Number);

fn frame(number: usize) -> UniqueFrame<Link<Number>> {
    UniqueFrame::from_unused((SPARE + number) * PAGE_SIZE, Link::new(Number(number))).unwrap()
}

#[test]
fn a_frame_is_claimed_once() {
    let mut first = frame(0);
    let paddr = first.paddr();
    let again = UniqueFrame::from_unused(paddr, Number(1));
    assert_eq!(again.err(), Some(GetFrameError::Unique));
    assert_eq!(Frame::<dyn AnyFrameMeta>::from_in_use(paddr).err(), Some(GetFrameError::Unique));
    first.meta_mut().0 = 7;
    assert_eq!(first.meta().0, 7);
    first.reset_as_unused();
    assert_eq!(Frame::<dyn AnyFrameMeta>::from_in_use(paddr).err(), Some(GetFrameError::Unused));
    let end = hosted::MAX_FRAMES * PAGE_SIZE;
    assert_eq!(UniqueFrame::from_unused(end, Number(1)).err(), Some(GetFrameError::OutOfBound(end)));
    assert_eq!(UniqueFrame::from_unused(8, Number(1)).err(), Some(GetFrameError::NotAligned(8)));
}

#[test]
fn lists_give_frames_from_the_front_and_from_within() {
    let (mut list, mut other) = (LinkedList::new(), LinkedList::new());
    (1..=5).for_each(|number| list.push_front(frame(number)));
    other.push_front(frame(6));
    assert!(list.cursor_mut_at((SPARE + 6) * PAGE_SIZE).is_none(), "it is in the other list");
    for number in [3, 1] {
        let taken = list.cursor_mut_at((SPARE + number) * PAGE_SIZE).unwrap().take_current().unwrap();
        assert_eq!(taken.meta().0, number);
        taken.reset_as_unused();
        assert!(list.cursor_mut_at((SPARE + number) * PAGE_SIZE).is_none());
    }
    let left: Vec<_> = std::iter::from_fn(|| list.pop_front()).map(|frame| frame.meta().0).collect();
    assert_eq!(left, [5, 4, 2]);
    assert!(list.is_empty() && !other.is_empty());
}

ostd::cpu_local! {
    static OWN: std::cell::Cell<usize> = std::cell::Cell::new(0);
}

#[test]
fn threads_are_processors() {
    hosted::set_num_cpus(2);
    // One test is both, so that no other has to wait for its turn.
    for cpu in [0, 1] {
        hosted::run_on(cpu, || {
            let guard = irq::disable_local();
            OWN.get_with(&guard).set(cpu + 10);
            assert_eq!(ostd::cpu::all_cpus().nth(cpu), Some(guard.current_cpu()));
            assert!(
                catch_unwind(|| hosted::run_on(1 - cpu, || ())).is_err(),
                "the thread is a processor already"
            );
        });
        let taken = || std::thread::scope(|scope| scope.spawn(|| hosted::run_on(cpu, || ())).join());
        assert!(hosted::run_on(cpu, taken).is_err(), "two threads are one processor");
    }
    for cpu in [0, 1] {
        assert_eq!(hosted::run_on(cpu, || OWN.get_with(&irq::disable_local()).get()), cpu + 10);
    }
    assert!(
        catch_unwind(|| OWN.get_with(&irq::disable_local()).get()).is_err(),
        "the thread is no processor"
    );
    hosted::run_on(0, the_allocator_runs);
}

/// Takes all that the allocator has, in blocks that do not overlap, twice.
fn the_allocator_runs() {
    let total = SPARE / 16;
    FrameAllocator.add_free_memory(0, total * PAGE_SIZE);
    for _ in 0..2 {
        let layout = |frames| Layout::from_size_align(frames * PAGE_SIZE, PAGE_SIZE).unwrap();
        let mut seen = BTreeSet::new();
        let mut blocks = Vec::new();
        for frames in [1, 2, 3, 4, 5, 64, 9].into_iter().cycle().take(70) {
            let block = FrameAllocator.alloc(layout(frames)).unwrap();
            assert!((0..frames).all(|frame| seen.insert(block + frame * PAGE_SIZE)), "blocks overlap");
            blocks.push((block, frames));
        }
        assert!(seen.last().unwrap() / PAGE_SIZE < total);
        let held: usize = blocks.iter().map(|(_, frames)| frames).sum();
        assert_eq!(osdk_frame_allocator::load_total_free_size(), (total - held) * PAGE_SIZE);
        blocks.into_iter().for_each(|(block, frames)| FrameAllocator.dealloc(block, frames * PAGE_SIZE));
        assert_eq!(osdk_frame_allocator::load_total_free_size(), total * PAGE_SIZE);
    }
}
