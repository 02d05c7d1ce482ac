//! What the trusted words, values and counts do, against what their contracts say.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use vellum_machine::addr::{Paddr, Vaddr};
use vellum_machine::atomic::{Flag, RefCount, WordTable};
use vellum_machine::cpu::MAX_CPUS;
use vellum_machine::owned::{Owned, Release};
use vellum_machine::readers::{LEAVINGS, NR_COUNTS, ReaderCounts, ReaderSeat};
use vstd::prelude::Tracked;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

#[test]
fn a_count_is_what_was_stored() {
    let (word, _perm) = RefCount::new(7);
    assert_eq!((word.load_relaxed(ghost()), word.load_acquire(ghost())), (7, 7));
    word.store_relaxed(ghost(), 8);
    assert_eq!(word.load_relaxed(ghost()), 8);
    word.store_release(ghost(), u64::MAX);
    assert_eq!(word.load_acquire(ghost()), u64::MAX);
}

#[test]
fn a_count_is_exchanged_only_for_what_it_was() {
    let (word, _perm) = RefCount::new(1);
    assert_eq!(word.cas_acquire(ghost(), 2, 3), Err(1));
    assert_eq!(word.cas_acquire(ghost(), 1, 2), Ok(1));
    assert_eq!(word.cas_weak_acquire(ghost(), 1, 9), Err(2));
    while word.cas_weak_acquire(ghost(), 2, 3).is_err() {}
    assert_eq!(word.cas_weak_relaxed(ghost(), 2, 9), Err(3));
    while word.cas_weak_relaxed(ghost(), 3, 4).is_err() {}
    assert_eq!(word.load_relaxed(ghost()), 4);
}

#[test]
fn words_of_a_table_are_nought_and_their_own() {
    let (table, _perms) = WordTable::<5>::new();
    for j in 0..5 {
        assert_eq!(table.word(j).load_relaxed(ghost()), 0);
        table.word(j).store_relaxed(ghost(), j as u64 + 1);
    }
    let words = (0..5).map(|j| table.word(j).load_relaxed(ghost()));
    assert!(words.eq(1..=5));
}

#[test]
fn bits_are_cleared_and_no_others() {
    let (word, _perm) = RefCount::new(0b1110);
    word.clear_release(ghost(), 0b0101);
    assert_eq!(word.load_relaxed(ghost()), 0b1010);
}

#[test]
fn counting_down_says_what_was_there() {
    let (word, _perm) = RefCount::new(2);
    assert_eq!(word.dec_release_last_acquire(ghost()), 2);
    assert_eq!(word.dec_release_last_acquire(ghost()), 1);
    assert_eq!(word.load_relaxed(ghost()), 0);
}

#[test]
fn whoever_counts_to_nought_sees_what_the_others_did() {
    const THREADS: u64 = 4;
    for _ in 0..200 {
        let (word, _perm) = RefCount::new(THREADS);
        let done: [AtomicUsize; THREADS as usize] = [const { AtomicUsize::new(0) }; THREADS as usize];
        let last = AtomicUsize::new(0);
        thread::scope(|scope| {
            for mine in &done {
                scope.spawn(|| {
                    mine.store(1, Ordering::Relaxed);
                    if word.dec_release_last_acquire(ghost()) == 1 {
                        last.fetch_add(1, Ordering::Relaxed);
                        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
                    }
                });
            }
        });
        assert_eq!(last.into_inner(), 1);
    }
}

#[test]
fn what_was_released_is_acquired() {
    for _ in 0..200 {
        let (word, _perm) = RefCount::new(0);
        let (flag, _perm) = Flag::new(false);
        let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                first.store(1, Ordering::Relaxed);
                word.store_release(ghost(), 1);
            });
            scope.spawn(|| {
                while word.load_acquire(ghost()) == 0 {
                    std::hint::spin_loop();
                }
                assert_eq!(first.load(Ordering::Relaxed), 1);
                second.store(1, Ordering::Relaxed);
                flag.store_release(ghost(), true);
            });
            while !flag.load_acquire(ghost()) {
                std::hint::spin_loop();
            }
            assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (1, 1));
        });
    }
}

#[test]
fn a_flag_is_taken_by_one() {
    let (flag, _perm) = Flag::new(false);
    assert!(!flag.load_relaxed(ghost()));
    assert_eq!(flag.cas_acquire(ghost(), true, false), Err(false));
    assert_eq!(flag.cas_acquire(ghost(), false, true), Ok(false));
    assert_eq!(flag.cas_acquire(ghost(), false, true), Err(true));
    flag.store_relaxed(ghost(), false);
    assert!(!flag.load_acquire(ghost()));

    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    while flag.cas_acquire(ghost(), false, true).is_err() {
                        thread::yield_now();
                    }
                    let others = inside.load(Ordering::Relaxed);
                    inside.store(others + 1, Ordering::Relaxed);
                    flag.store_release(ghost(), false);
                }
            });
        }
    });
    assert_eq!(inside.into_inner(), 8_000);
}

#[test]
fn threads_that_are_no_processor_share_a_count() {
    static COUNTS: (
        ReaderCounts,
        Tracked<vstd::prelude::Map<vstd::prelude::nat, vstd::atomic::PermissionU64>>,
    ) = ReaderCounts::new();
    let counts = &COUNTS.0;
    assert!((0..NR_COUNTS).all(|c| counts.observe(c, ghost()) == 0));
    let enter = || {
        let seat = ReaderSeat::take();
        (0..1_000).for_each(|_| assert!(counts.enter(&seat, ghost())));
        (0..500).for_each(|_| counts.leave(&seat, ghost()));
    };
    thread::scope(|scope| {
        scope.spawn(enter);
        enter();
    });
    assert!((0..MAX_CPUS).all(|c| counts.observe(c, ghost()) == 0));
    assert_eq!(counts.observe(MAX_CPUS, ghost()), 1_000, "a change was lost");
    let seat = ReaderSeat::take();
    (0..1_000).for_each(|_| counts.leave(&seat, ghost()));
    assert_eq!(counts.observe(MAX_CPUS, ghost()), LEAVINGS, "the last reader says that it left");
}

/// Says that it was released.
struct Told<'a>(u32, &'a AtomicUsize);

impl Release for Told<'_> {
    fn release(self) {
        self.1.fetch_add(self.0 as usize, Ordering::Relaxed);
    }
}

#[test]
fn an_owned_value_is_released_once() {
    let released = AtomicUsize::new(0);
    let mut owned = Owned::new(Told(1, &released));
    assert_eq!(owned.get().0, 1);
    owned.get_mut().0 = 10;
    drop(owned);
    assert_eq!(released.load(Ordering::Relaxed), 10);
    let inner = Owned::new(Told(5, &released)).into_inner();
    assert_eq!((inner.0, released.load(Ordering::Relaxed)), (5, 10));
}

/// Says that it was released where it was.
struct InPlace<'a>(&'a AtomicUsize, &'a AtomicUsize);

impl Release for InPlace<'_> {
    fn release(self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn release_in_place(&mut self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
    }
}

#[test]
fn an_owned_value_is_released_in_place_or_taken_apart() {
    let counts = [const { AtomicUsize::new(0) }; 2];
    let read = || counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    drop(Owned::new(InPlace(&counts[0], &counts[1])));
    assert_eq!(read(), [1, 0], "it was released in place, and then nothing of it was left");
    drop(Owned::new(InPlace(&counts[0], &counts[1])));
    assert_eq!(read(), [2, 1], "it was not, and was taken apart");
}

/// Panics while it is released.
struct Bad;

impl Release for Bad {
    fn release(self) {
        panic!("cannot be released");
    }
}

#[test]
fn a_release_that_panics_stops_the_machine() {
    let name = "a_release_that_panics_stops_the_machine";
    if std::env::var_os(name).is_some() {
        drop(Owned::new(Bad));
        return;
    }
    let program = std::env::current_exe().expect("a test runs in a program");
    let output = std::process::Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env(name, "1")
        .output()
        .expect("the test starts itself");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_none(), "it ended by a signal: {:?}", output.status);
    assert!(message.contains("vellum: halted: a destructor panicked"), "{message}");
}

#[test]
fn addresses_are_written_in_hexadecimal() {
    assert_eq!(format!("{:?} {:?}", Paddr(0x1000), Vaddr(0xabc)), "Paddr(0x1000) Vaddr(0xabc)");
    assert_eq!(format!("{} {}", Paddr(0x1000), Vaddr(0xabc)), "0x1000 0xabc");
}
