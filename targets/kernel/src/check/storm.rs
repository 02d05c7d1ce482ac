//! Shootdowns: what one processor unmaps, no other reads any more.
use super::memory::{at, frame, map, unmap, word};
use crate::arch;
use crate::console::println;
use crate::processors::on_all;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vellum::frame::UFrame;
use vellum::space::{Access, VmSpace};
use vellum::tlb;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::cpu::{self, CpuId};
use vellum_machine::user;

/// How often the page is unmapped and mapped anew, unless the command line says `rounds=N`. More processors than the
/// host has make each round wait for the host's scheduler.
const ROUNDS: u64 = 100;

/// What a frame holds once nobody may read it as a page any more.
const POISON: u64 = u64::MAX;

/// What the storm is about.
struct Storm {
    rounds: u64,
    space: Arc<VmSpace>,
    /// The round whose value, or a later one, is all that may be read from now on.
    floor: AtomicU64,
    over: AtomicBool,
    /// The latest round whose value a reader has read.
    latest: AtomicU64,
    /// Loads that found a value.
    seen: AtomicU64,
}

/// One processor unmaps and remaps a page, each time to another frame, which holds the number of the round; the others
/// read it, one of them at least in each round. What they read is never older than the last unmapping that was done before they began to read.
pub fn storm() {
    let before = tlb::statistics();
    let rounds = crate::boot::option("rounds").unwrap_or(ROUNDS).max(1);
    let storm = Arc::new(Storm {
        rounds,
        space: VmSpace::new().expect("there is memory for a root"),
        floor: AtomicU64::new(0),
        over: AtomicBool::new(false),
        latest: AtomicU64::new(0),
        seen: AtomicU64::new(0),
    });
    let shared = storm.clone();
    let start = arch::ticks();
    on_all(move |me| {
        shared.space.activate();
        if me == CpuId::BOOT {
            write(&shared)
        } else {
            read(&shared)
        }
        VmSpace::deactivate_current();
    });
    let ticks = arch::ticks() - start;
    let after = tlb::statistics();
    let (seen, requests) = (storm.seen.load(Ordering::Relaxed), after.requests - before.requests);
    let per_round = ticks / rounds;
    println!(
        "  {rounds} rounds, {requests} processors asked, {seen} values read, none stale, {per_round} ticks a round"
    );
    if cpu::count() > 1 {
        assert!(requests >= rounds - 1, "the others were not asked to flush");
        assert!(seen >= rounds, "a round was over before anybody read its value");
    }
}

fn write(storm: &Storm) {
    let mut old: Option<UFrame> = None;
    for round in 1..=storm.rounds {
        let new = frame();
        word(new.start_paddr()).store(round, Ordering::SeqCst);
        unmap(&storm.space, at(0));
        if let Some(old) = old.replace(new.clone()) {
            word(old.start_paddr()).store(POISON, Ordering::SeqCst);
        }
        storm.floor.store(round, Ordering::SeqCst);
        map(&storm.space, at(0), new, Access::R);
        assert_eq!(user::load_u64(at(0)), Ok(round));
        // Somebody keeps this translation, now.
        while cpu::count() > 1 && storm.latest.load(Ordering::SeqCst) < round {
            cpu::relax();
        }
    }
    storm.over.store(true, Ordering::SeqCst);
}

fn read(storm: &Storm) {
    while !storm.over.load(Ordering::SeqCst) {
        let floor = storm.floor.load(Ordering::SeqCst);
        // A page that is missing just now is no answer.
        let Ok(value) = user::load_u64(at(0)) else { continue };
        assert!(value != POISON, "processor {} reads a page that was unmapped", cpu::current());
        assert!(value >= floor, "processor {} reads {value} after round {floor} began", cpu::current());
        storm.latest.fetch_max(value, Ordering::SeqCst);
        storm.seen.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pages that are too many to be flushed one by one.
const MANY: usize = 300;

pub fn whole_space() {
    let space = VmSpace::new().expect("there is memory for a root");
    for page in 0..MANY {
        map(&space, at(page), frame(), Access::R);
    }
    let theirs = space.clone();
    on_all(move |_| {
        theirs.activate();
        (0..MANY).for_each(|page| assert_eq!(user::load_u64(at(page)), Ok(0)));
    });
    assert_eq!(space.active_cpus().len(), cpu::count());
    let mut cursor = space.cursor_mut(at(0)..at(MANY)).expect("pages of user space");
    assert_eq!(cursor.unmap(MANY * PAGE_SIZE), Ok(MANY));
    drop(cursor);
    on_all(|_| {
        (0..MANY)
            .for_each(|page| assert!(user::load_u64(at(page)).is_err(), "page {page} can still be read"));
        VmSpace::deactivate_current();
    });
    assert!(space.active_cpus().is_empty());
}
