//! The lock, and the cell that is written once.
use loom::sync::Arc;
use loom::thread;
use vellum::sync::{Once, SpinLock};
use vellum_machine::primitive::explore;

#[test]
fn one_holder_of_a_lock_at_a_time() {
    explore(None, || {
        let lock = Arc::new(SpinLock::new(0));
        assert_eq!(*lock.lock(), 0);
        let other = {
            let lock = lock.clone();
            thread::spawn(move || *lock.lock() += 1)
        };
        *lock.lock() += 1;
        other.join().unwrap();
        assert_eq!(*lock.lock(), 2);
    });
}

#[test]
fn a_lock_is_taken_when_it_is_free_or_not_at_all() {
    explore(None, || {
        let lock = Arc::new(SpinLock::new(0));
        assert_eq!(*lock.lock(), 0);
        let attempt = |lock: &SpinLock<u64>| {
            lock.try_lock().map_or(0, |mut held| {
                *held += 1;
                1
            })
        };
        let others = [(); 2].map(|()| {
            let lock = lock.clone();
            thread::spawn(move || attempt(&lock))
        });
        let mine = attempt(&lock);
        let done: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert!((1..=3).contains(&(mine + done)));
        assert_eq!(*lock.lock(), mine + done);
    });
}

#[test]
fn a_cell_is_written_once_and_read_whole() {
    explore(None, || {
        let cell = Arc::new(Once::new());
        assert!(cell.get().is_none());
        let writers = [1, 2].map(|value| {
            let cell = cell.clone();
            thread::spawn(move || cell.set(value).is_ok())
        });
        let seen = cell.get().copied();
        let won = writers.map(|writer| writer.join().unwrap());
        let value = cell.get().copied();
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        assert_eq!(value, Some(if won[0] { 1 } else { 2 }));
        assert!(seen.is_none() || seen == value);
    });
}
