//! The words of page tables and the contents of frames, in the memory of a machine.
#![allow(unsafe_code, reason = "reaches words that belong to the tests")]
mod common;

use common::{A, AREA, P, Tables, U, W, config, get, machine, set};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::page::{self, WORDS_PER_PAGE};
use vellum_machine::ptword::WalkerFormat;
use vellum_machine::{ptword, tlb, user};
use vstd::prelude::{Ghost, Tracked};

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

/// The address of a word of a frame.
fn at(frame: Paddr, i: usize) -> Paddr {
    Paddr(frame.0 + 8 * i)
}

/// Writes a word of the test's frame as one that no walker reaches.
fn store(i: usize, v: u64) {
    // SAFETY: the frame belongs to the tests, and the index is below 512.
    unsafe { ptword::store_unreachable(AREA, i, v, ghost()) }
}

/// Reads a word of the test's frame.
fn load(i: usize) -> u64 {
    // SAFETY: as in `store`.
    unsafe { ptword::load::<ptword::Native>(AREA, i, ghost()) }
}

/// Replaces a word of the test's frame.
fn swap(i: usize, v: u64) -> u64 {
    // SAFETY: as in `store`.
    unsafe { ptword::swap::<ptword::Native>(AREA, i, v, ghost()) }
}

/// Replaces a word of the test's frame if it is `current`.
fn compare_exchange(i: usize, current: u64, v: u64) -> Result<u64, u64> {
    // SAFETY: as in `store`.
    unsafe { ptword::compare_exchange::<ptword::Native>(AREA, i, current, v, ghost()) }
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
    // Whatever the address, nothing comes of it.
    for pa in [AREA, Paddr(usize::MAX)] {
        ptword::prefetch(pa, usize::MAX);
    }
    for i in [0, 1, 511] {
        store(i, 0x1000 + i as u64);
        assert_eq!(get(at(AREA, i)), 0x1000 + i as u64);
        assert_eq!(load(i), 0x1000 + i as u64);
        assert_eq!(swap(i, 7), 0x1000 + i as u64);
        assert_eq!(compare_exchange(i, 8, 9), Err(7));
        assert_eq!(compare_exchange(i, 7, 9), Ok(7));
        assert_eq!(get(at(AREA, i)), 9);
    }
}

#[test]
fn what_a_walker_notes_meanwhile_comes_out_of_the_swap() {
    const DIRTY: u64 = 1 << 6;
    let _machine = machine(config());
    let noted = AtomicBool::new(false);
    store(0, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            common::word(AREA).fetch_or(DIRTY, Ordering::SeqCst);
            noted.store(true, Ordering::SeqCst);
        });
        let mut came_out = false;
        while !(came_out || noted.load(Ordering::SeqCst) && get(AREA) & DIRTY == 0) {
            came_out |= swap(0, 1) & DIRTY != 0;
        }
        assert!(came_out, "the dirty bit was lost");
    });
    set(AREA, 1);
    let stale = load(0);
    set(AREA, 1 | DIRTY);
    assert_eq!(compare_exchange(0, stale, 0), Err(1 | DIRTY));
}

/// A page that user code accesses.
const VA: Vaddr = Vaddr(0x40_0000);

/// Carries `change` out, while this processor tries to access the page again and again, with a walk each time.
fn while_a_walker(change: impl FnOnce() + Send, access: impl Fn()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
            over.store(true, Ordering::SeqCst);
            outcome
        });
        while !over.load(Ordering::SeqCst) {
            tlb::flush_addr(VA);
            access();
        }
        assert!(changer.join().unwrap().is_ok());
    });
}

/// Waits until `done`, and gives up after a while.
fn wait_until(done: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        std::hint::spin_loop();
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "waited too long");
    }
}

#[test]
fn a_word_that_leads_nowhere_is_stored_to_while_a_walker_tries() {
    let machine = machine(config());
    machine.run_on(CpuId::BOOT, || {
        let tables = Tables::new();
        let leaf = tables.page(VA, 1, P | U);
        let (node, i) = (Paddr(leaf.0 & !(PAGE_SIZE - 1)), leaf.0 % PAGE_SIZE / 8);
        let mapped = get(leaf);
        set(leaf, 0);
        tables.activate();
        let tries = AtomicU64::new(0);
        let change = || {
            for _ in 0..200 {
                let now = tries.load(Ordering::SeqCst);
                wait_until(|| tries.load(Ordering::SeqCst) > now + 1);
                assert_eq!(get(leaf), 0, "something was noted in a word that leads nowhere");
                // SAFETY: the frame belongs to the tests, the index is below 512, and the word is zero.
                unsafe {
                    let ghosts = (Ghost::assume_new(), Ghost::assume_new());
                    ptword::store_quiet::<ptword::Native>(node, i, mapped, ghosts.0, ghosts.1, ghost())
                };
                wait_until(|| get(leaf) == mapped | A);
                // SAFETY: as before.
                assert_eq!(unsafe { ptword::swap::<ptword::Native>(node, i, 0, ghost()) }, mapped | A);
            }
        };
        while_a_walker(change, || {
            let _ = user::load_u64(VA);
            tries.fetch_add(1, Ordering::SeqCst);
        });
    });
}

#[test]
fn a_word_in_which_all_is_noted_is_stored_to_while_a_walker_writes() {
    const D: u64 = 1 << 6;
    assert!(ptword::X86_64::settled(P | A | D) && ptword::RiscV::<ptword::Base>::settled(0xcf));
    assert!([P, P | A, P | D].iter().all(|&word| !ptword::X86_64::settled(word)));
    assert!([0xf, 0x4f, 0x8f].iter().all(|&word| !ptword::RiscV::<ptword::Base>::settled(word)));
    let machine = machine(config());
    machine.run_on(CpuId::BOOT, || {
        let tables = Tables::new();
        let leaf = tables.page(VA, 1, P | W | U);
        let (node, i) = (Paddr(leaf.0 & !(PAGE_SIZE - 1)), leaf.0 % PAGE_SIZE / 8);
        let noted = get(leaf) | A | D;
        set(leaf, noted);
        tables.activate();
        let writes = AtomicU64::new(0);
        let store = |v| {
            let ghosts = (Ghost::assume_new(), Ghost::assume_new());
            // SAFETY: the frame belongs to the tests, the index is below 512, and the word is zero or has both bits.
            unsafe { ptword::store_quiet::<ptword::Native>(node, i, v, ghosts.0, ghosts.1, ghost()) };
        };
        let change = || {
            for _ in 0..200 {
                let now = writes.load(Ordering::SeqCst);
                wait_until(|| writes.load(Ordering::SeqCst) > now + 1);
                assert_eq!(get(leaf), noted, "something was written to a word in which all is noted");
                store(0);
                (0..100).for_each(|_| assert_eq!(get(leaf), 0, "the walker wrote what it had read before"));
                store(noted);
            }
        };
        while_a_walker(change, || {
            if user::store_u64(VA, 7).is_ok() {
                writes.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
}
