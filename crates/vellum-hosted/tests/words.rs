//! The words of page tables and the contents of frames, in the memory of a machine.
#![allow(unsafe_code, reason = "fills frames that belong to the tests")]
mod common;

use common::{AREA, config, get, machine, set};
use std::sync::atomic::{AtomicBool, Ordering};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::page::{self, WORDS_PER_PAGE};
use vellum_machine::ptword;
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

/// The address of a word of a frame.
fn at(frame: Paddr, i: usize) -> Paddr {
    Paddr(frame.0 + 8 * i)
}

#[test]
fn a_frame_is_filled_with_zeros_and_no_more() {
    let _machine = machine(config());
    let frame = Paddr(AREA.0 + PAGE_SIZE);
    (0..3 * WORDS_PER_PAGE).for_each(|i| set(at(AREA, i), u64::MAX));
    // SAFETY: the frame belongs to the tests, which run one at a time.
    unsafe { page::zero(frame, ghost()) };
    assert!((0..WORDS_PER_PAGE).all(|i| get(at(frame, i)) == 0));
    assert_eq!((get(at(AREA, WORDS_PER_PAGE - 1)), get(at(frame, WORDS_PER_PAGE))), (u64::MAX, u64::MAX));
}

#[test]
fn words_of_a_table_are_where_a_walker_reads_them() {
    let _machine = machine(config());
    for i in [0, 1, 511] {
        ptword::store_unreachable(AREA, i, 0x1000 + i as u64, ghost());
        assert_eq!(get(at(AREA, i)), 0x1000 + i as u64);
        assert_eq!(ptword::load(AREA, i, ghost()), 0x1000 + i as u64);
        assert_eq!(ptword::swap(AREA, i, 7, ghost()), 0x1000 + i as u64);
        assert_eq!(ptword::compare_exchange(AREA, i, 8, 9, ghost()), Err(7));
        assert_eq!(ptword::compare_exchange(AREA, i, 7, 9, ghost()), Ok(7));
        assert_eq!(get(at(AREA, i)), 9);
    }
}

#[test]
fn what_a_walker_notes_meanwhile_comes_out_of_the_swap() {
    const DIRTY: u64 = 1 << 6;
    let _machine = machine(config());
    let noted = AtomicBool::new(false);
    ptword::store_unreachable(AREA, 0, 1, ghost());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            common::word(AREA).fetch_or(DIRTY, Ordering::SeqCst);
            noted.store(true, Ordering::SeqCst);
        });
        let mut came_out = false;
        while !(came_out || noted.load(Ordering::SeqCst) && get(AREA) & DIRTY == 0) {
            came_out |= ptword::swap(AREA, 0, 1, ghost()) & DIRTY != 0;
        }
        assert!(came_out, "the dirty bit was lost");
    });
    set(AREA, 1);
    let stale = ptword::load(AREA, 0, ghost());
    set(AREA, 1 | DIRTY);
    assert_eq!(ptword::compare_exchange(AREA, 0, stale, 0, ghost()), Err(1 | DIRTY));
}
