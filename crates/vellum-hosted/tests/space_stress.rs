//! Processors that map, unmap, replace, protect, load, join and leave at once, in ranges that overlap.
//!
//! Every frame says in its first word which page it is for, before it is mapped there. So whatever a processor sees
//! at a page must name that page: a translation that outlives its frame shows as a frame of another page.
mod space_support;

use space_support::*;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use vellum::io::UntypedMem;
use vellum::space::{Access, MappedItem, PageProperty, VmSpace};
use vellum::tlb;
use vellum_hosted::{MachineConfig, Speculation};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

const CPUS: usize = 4;
const PAGES: usize = 96;
const ROUNDS: usize = 12_000;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }
}

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

#[test]
fn no_processor_sees_a_frame_that_is_not_the_pages() {
    let config = MachineConfig {
        memory: 64 << 20,
        cpus: CPUS,
        speculation: Speculation::Every(NonZeroU32::new(3).unwrap()),
        ..MachineConfig::default()
    };
    let machine = machine(config);
    let free = machine.run_on(cpu(0), count_free);
    let seed = std::env::var("VELLUM_SEED").map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().unwrap());
    println!("VELLUM_SEED={seed}");
    let space = machine.run_on(cpu(0), || VmSpace::new().unwrap());
    let seen = AtomicUsize::new(0);
    machine.on_all(|me| {
        let other = VmSpace::new().unwrap();
        space.activate();
        let mut random = Random(seed ^ (me.index() as u64 + 1) << 32 | 1);
        let looks: usize = (0..ROUNDS).map(|_| one_round(&space, &other, &mut random)).sum();
        seen.fetch_add(looks, Ordering::Relaxed);
        VmSpace::deactivate_current();
    });
    assert!(seen.load(Ordering::Relaxed) > ROUNDS / 4);
    let counted = machine.run_on(cpu(0), tlb::statistics);
    assert!(counted.shootdowns > 100 && counted.requests == counted.acknowledgements, "{counted:?}");
    let after = machine.run_on(cpu(0), move || {
        drop(space);
        count_free()
    });
    assert_eq!(after, free);
}
