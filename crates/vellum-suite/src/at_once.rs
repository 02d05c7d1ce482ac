//! Processors that map, unmap, replace, protect, load, join and leave at once, in ranges that overlap.
//!
//! Every frame says in its first word which page it is for, before it is mapped there. So whatever a processor sees
//! at a page must name that page: a translation that outlives its frame shows as a frame of another page.
use crate::Machine;
use crate::support::*;
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::io::UntypedMem;
use vellum::space::{Access, MappedItem, PageProperty, VmSpace};
use vellum::tlb;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu;

const PAGES: usize = 96;

/// How often each processor does something.
const ROUNDS: usize = 600;

fn tag(n: usize) -> u64 {
    0x7a67_0000_0000 + n as u64
}

fn tagged(n: usize) -> MappedItem {
    let frame = user_frame();
    frame.writer().write_val(&tag(n)).unwrap();
    MappedItem::new(frame, PageProperty::user(Access::RW))
}

/// Half of the pages are in the first node, half in the next.
fn place(n: usize) -> usize {
    512 - PAGES / 2 + n
}

/// Maps, unmaps or protects.
fn change(space: &VmSpace, range: Range<usize>, random: &mut Random) {
    let len = range.len() * PAGE_SIZE;
    let mut cursor = space.cursor_mut(pages(range.clone())).unwrap();
    match random.below(4) {
        0 | 1 => range.for_each(|n| cursor.map(tagged(n)).unwrap()),
        2 => assert!(cursor.unmap(len).unwrap() <= range.len()),
        _ => assert!(cursor.protect(len, |prop| prop.with_access(Access::R)).unwrap() <= range.len()),
    }
}

/// Takes everything away, nodes too, or allows writing to the first page.
fn change_all(space: &VmSpace, random: &mut Random) {
    let mut cursor = space.cursor_mut(pages(0..1024)).unwrap();
    if random.below(20) == 0 {
        cursor.unmap(1024 * PAGE_SIZE).unwrap();
        return;
    }
    let allowed = cursor.protect_next(1024 * PAGE_SIZE, |prop| prop.with_access(Access::RW)).unwrap();
    if let Some(protected) = allowed {
        cursor.flusher().waive(protected.owed);
    }
}

/// Loads from pages, and returns how many were there.
fn look(range: Range<usize>) -> usize {
    let look_at = |n: usize| {
        let value = load(page(n)).ok()?;
        assert_eq!(value, tag(n), "page {n} shows the frame of another page");
        // A store to another word, where the page may be written.
        let _ = store(Vaddr(page(n).0 + 64), value);
        Some(n)
    };
    range.filter_map(look_at).count()
}

fn one_round(space: &Arc<VmSpace>, other: &Arc<VmSpace>, random: &mut Random) -> usize {
    let first = random.below(PAGES);
    let count = 1 + random.below(8).min(PAGES - first - 1);
    let range = place(first)..place(first) + count;
    match random.below(10) {
        0..4 => change(space, range, random),
        4 => change_all(space, random),
        5 => {
            other.activate();
            assert!(load(page(range.start)).is_err());
            space.activate();
        }
        _ => return look(range),
    }
    0
}

/// All processors do all of this at once, in ranges that overlap.
pub fn overlapping(machine: &dyn Machine) {
    let (seed, rounds) = (machine.seed(), ROUNDS * machine.scale());
    let space = on_first(machine, || VmSpace::new().unwrap());
    let before = on_first(machine, tlb::statistics);
    let (seen, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    machine.on_all(&|me| {
        let other = VmSpace::new().unwrap();
        space.activate();
        // So that whoever is first has its whole work to do with the others.
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < cpu::count() {
            cpu::relax();
        }
        let mut random = Random::new(seed, me.index());
        let looks: usize = (0..rounds).map(|_| one_round(&space, &other, &mut random)).sum();
        // Relaxed: all are done when it is read.
        seen.fetch_add(looks, Ordering::Relaxed);
        VmSpace::deactivate_current();
    });
    let seen = seen.load(Ordering::Relaxed);
    assert!(seen > rounds / 4, "only {seen} pages were seen");
    let counted = on_first(machine, tlb::statistics);
    assert_eq!(counted.requests, counted.acknowledgements, "an answer is missing");
    let shootdowns = counted.shootdowns - before.shootdowns;
    if cpu::count() > 1 {
        assert!(shootdowns > rounds as u64 / 200, "only {shootdowns} shootdowns");
    }
    machine.note(format_args!("{seen} pages seen, {shootdowns} shootdowns, seed {seed}"));
    on_first(machine, move || drop(space));
}
