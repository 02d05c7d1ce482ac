//! Shootdowns: what one processor unmaps, no other reads any more.
use crate::Machine;
use crate::support::*;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vellum::frame::UFrame;
use vellum::io::UntypedMem;
use vellum::space::{Access, MappedItem, PageProperty, VmSpace};
use vellum::tlb;
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::cpu::{self, CpuId};

/// What a frame holds once nobody may read it as a page any more.
const POISON: u64 = u64::MAX;

/// What the storm is about.
struct Storm {
    rounds: u64,
    space: Arc<VmSpace>,
    /// The round whose value, or a later one, is all that may be read from now on.
    floor: AtomicU64,
    over: AtomicBool,
    /// A reader has read what it must not.
    stale: AtomicBool,
    /// The latest round whose value a reader has read.
    latest: AtomicU64,
    /// Loads that found a value.
    seen: AtomicU64,
}

/// One processor unmaps and remaps a page, each time to another frame, which holds the number of the round; the others
/// read it, one of them at least in each round. What they read is never older than the last unmapping that was done before they began to read.
pub fn storm(machine: &dyn Machine) {
    let before = on_first(machine, tlb::statistics);
    let rounds = machine.storm_rounds().max(1);
    let storm = Storm {
        rounds,
        space: on_first(machine, || VmSpace::new().expect("there is memory for a root")),
        floor: AtomicU64::new(0),
        over: AtomicBool::new(false),
        stale: AtomicBool::new(false),
        latest: AtomicU64::new(0),
        seen: AtomicU64::new(0),
    };
    machine.on_all(&|me| {
        storm.space.activate();
        if me == CpuId::BOOT {
            write(&storm)
        } else {
            read(&storm)
        }
        VmSpace::deactivate_current();
    });
    let after = on_first(machine, tlb::statistics);
    let (seen, requests) = (storm.seen.load(Ordering::Relaxed), after.requests - before.requests);
    machine
        .note(format_args!("{rounds} rounds, {requests} processors asked, {seen} values read, none stale"));
    if cpu::count() > 1 {
        assert!(requests >= rounds - 1, "the others were not asked to flush");
        assert!(seen >= rounds, "a round was over before anybody read its value");
    }
    on_first(machine, move || drop(storm));
}

/// Maps a frame for reading at the first page.
fn map(space: &VmSpace, frame: UFrame) {
    let mut cursor = space.cursor_mut(pages(0..1)).expect("a page of user space");
    let item = MappedItem::new(frame, PageProperty::user(Access::R));
    cursor.map(item).expect("there is memory for nodes");
}

/// Writes the first word of a frame.
fn set(frame: &UFrame, value: u64) {
    frame.writer().write_val(&value).expect("a frame has room for a word");
}

fn write(storm: &Storm) {
    let mut old: Option<UFrame> = None;
    for round in 1..=storm.rounds {
        let new = user_frame();
        set(&new, round);
        unmap_pages(&storm.space, 0..1);
        if let Some(old) = old.replace(new.clone()) {
            set(&old, POISON);
        }
        storm.floor.store(round, Ordering::SeqCst);
        map(&storm.space, new);
        assert_eq!(load(page(0)), Ok(round));
        // Somebody keeps this translation, now.
        while cpu::count() > 1 && storm.latest.load(Ordering::SeqCst) < round {
            // Who read it has said so, and reads no more.
            if storm.stale.load(Ordering::SeqCst) {
                storm.over.store(true, Ordering::SeqCst);
                panic!("a stale value was read");
            }
            cpu::relax();
        }
    }
    storm.over.store(true, Ordering::SeqCst);
}

fn read(storm: &Storm) {
    while !storm.over.load(Ordering::SeqCst) {
        let floor = storm.floor.load(Ordering::SeqCst);
        // A page that is missing just now is no answer.
        let Ok(value) = load(page(0)) else { continue };
        storm.stale.fetch_or(value == POISON || value < floor, Ordering::SeqCst);
        assert!(value != POISON, "processor {} reads a page that was unmapped", cpu::current());
        assert!(value >= floor, "processor {} reads {value} after round {floor} began", cpu::current());
        storm.latest.fetch_max(value, Ordering::SeqCst);
        storm.seen.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pages that are too many to be flushed one by one.
const MANY: usize = 300;

/// Too many pages to be flushed one by one are unmapped at once, while every processor has translations of all.
pub fn whole_space(machine: &dyn Machine) {
    let space: Arc<VmSpace> = on_first(machine, || {
        let space = VmSpace::new().expect("there is memory for a root");
        let mut cursor = space.cursor_mut(pages(0..MANY)).expect("pages of user space");
        (0..MANY).for_each(|_| cursor.map(new_item(Access::R)).expect("there is memory for nodes"));
        drop(cursor);
        space
    });
    machine.on_all(&|_| {
        space.activate();
        (0..MANY).for_each(|n| assert_eq!(load(page(n)), Ok(0)));
    });
    assert_eq!(space.active_cpus().len(), cpu::count());
    on_first(machine, || {
        let mut cursor = space.cursor_mut(pages(0..MANY)).expect("pages of user space");
        assert_eq!(cursor.unmap(MANY * PAGE_SIZE), Ok(MANY));
    });
    machine.on_all(&|_| {
        (0..MANY).for_each(|n| assert!(load(page(n)).is_err(), "page {n} can still be read"));
        VmSpace::deactivate_current();
    });
    assert!(space.active_cpus().is_empty());
    on_first(machine, move || drop(space));
}
