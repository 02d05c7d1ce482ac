//! A change on one processor while another uses the space.
mod space_support;

use space_support::*;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use vellum::io::UntypedMem;
use vellum::kspace::LINEAR_MAP;
use vellum::space::{Access, AccessType, CursorMut, MappedItem, PageProperty, VmSpace};
use vellum::tlb::{self, FOLD_LIMIT, TlbFlushOp, testing};
use vellum_hosted::Machine;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::CpuSet;
use vellum_machine::tlb as hardware;

/// Has processor 1 load from page 0 of an active space for as long as it can, while processor 0 runs
/// `change`; returns what the last load saw.
fn while_the_other_loads(
    machine: &Machine,
    space: &Arc<VmSpace>,
    change: impl FnOnce() + Send,
) -> Option<u64> {
    let (turns, stop, last) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicU64::new(0));
    machine.scope(|scope| {
        scope.spawn(cpu(1), || {
            space.activate();
            while !stop.load(Ordering::SeqCst) {
                let Ok(seen) = load(page(0)) else { break };
                last.store(seen, Ordering::SeqCst);
                turns.fetch_add(1, Ordering::SeqCst);
            }
            turns.store(usize::MAX, Ordering::SeqCst);
        });
        scope.spawn(cpu(0), || {
            wait_until(|| turns.load(Ordering::SeqCst) > 100);
            change();
            let after = turns.load(Ordering::SeqCst);
            // The other processor either goes on or has faulted.
            wait_until(|| {
                turns.load(Ordering::SeqCst) > after.saturating_add(100)
                    || turns.load(Ordering::SeqCst) == usize::MAX
            });
            stop.store(true, Ordering::SeqCst);
        });
    });
    // Relaxed would do: the scope has ended.
    let on_cpu_1 = machine.run_on(cpu(1), || load(page(0)).ok());
    on_cpu_1.map(|_| last.load(Ordering::SeqCst))
}

fn one_page(machine: &Machine, access: Access) -> Arc<VmSpace> {
    machine.run_on(cpu(0), || {
        let space = VmSpace::new().unwrap();
        map_pages(&space, 0..1, access);
        space
    })
}

#[test]
fn an_unmapped_page_is_gone_on_the_other_processor() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        let before = machine.run_on(cpu(0), tlb::statistics);
        let seen = while_the_other_loads(machine, &space, || assert_eq!(unmap_pages(&space, 0..1), 1));
        assert_eq!(seen, None);
        let after = machine.run_on(cpu(0), tlb::statistics);
        assert_eq!(after.shootdowns - before.shootdowns, 1);
        assert_eq!(after.requests - before.requests, 1);
        assert_eq!(after.acknowledgements - before.acknowledgements, 1);
    });
}

#[test]
fn a_replaced_page_is_seen_on_the_other_processor() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        let seen = while_the_other_loads(machine, &space, || {
            let frame = user_frame();
            frame.writer().write_val(&99_u64).unwrap();
            let mut cursor = space.cursor_mut(pages(0..1)).unwrap();
            cursor.map(MappedItem::new(frame, PageProperty::user(Access::R))).unwrap();
        });
        assert_eq!(seen, Some(99));
    });
}

#[test]
fn a_taken_right_is_gone_on_the_other_processor_once_paid() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        let seen = while_the_other_loads(machine, &space, || {
            let mut cursor = space.cursor_mut(pages(0..1)).unwrap();
            assert_eq!(cursor.protect(PAGE_SIZE, |prop| prop.with_access(Access::None)), Ok(1));
        });
        assert_eq!(seen, None);
    });
}

#[test]
fn a_dropped_shootdown_leaves_a_stale_translation_and_is_seen() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        let before = machine.run_on(cpu(0), tlb::statistics);
        let seen = while_the_other_loads(machine, &space, || {
            testing::drop_next_shootdown();
            assert_eq!(unmap_pages(&space, 0..1), 1);
            let mut cursor = space.cursor(pages(0..1)).unwrap();
            assert!(cursor.query().unwrap().item.is_none());
        });
        assert!(
            seen.is_some(),
            "the other processor must still use the translation that nobody told it to forget"
        );
        let after = machine.run_on(cpu(0), tlb::statistics);
        assert_eq!((after.dropped - before.dropped, after.shootdowns - before.shootdowns), (1, 0));
        machine.run_on(cpu(1), vellum_machine::tlb::flush_all);
        assert!(machine.run_on(cpu(1), || load(page(0)).is_err()));
    });
}

#[test]
fn a_huge_page_that_is_unmapped_is_gone_on_the_other_processor() {
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || {
            let space = VmSpace::new().unwrap();
            space.cursor_mut(pages(0..HUGE)).unwrap().map(huge_item(Access::RW).0).unwrap();
            space
        });
        let seen = while_the_other_loads(machine, &space, || {
            let free = free_frames();
            let mut cursor = space.cursor_mut(pages(0..HUGE)).unwrap();
            assert_eq!(cursor.unmap(HUGE * PAGE_SIZE), Ok(HUGE));
            assert_eq!(free_frames(), free, "the frames went before the flush");
            let _ = cursor.finish();
            assert!(free_frames() >= free + HUGE, "the frames went with the flush");
        });
        assert_eq!(seen, None);
        assert!(machine.run_on(cpu(1), || load(page(HUGE - 1)).is_err()));
    });
}

#[test]
fn a_part_of_a_huge_page_that_is_unmapped_is_gone_on_the_other_processor() {
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || {
            let space = VmSpace::new().unwrap();
            space.cursor_mut(pages(0..HUGE)).unwrap().map(huge_item(Access::RW).0).unwrap();
            space
        });
        let seen = while_the_other_loads(machine, &space, || assert_eq!(unmap_pages(&space, 0..1), 1));
        assert_eq!(seen, None);
        assert!(machine.run_on(cpu(1), || load(page(1)).is_ok()));
        assert_eq!(machine.run_on(cpu(0), || unmap_pages(&space, 0..HUGE)), HUGE - 1);
    });
}

#[test]
fn a_kept_frame_goes_after_every_answer_and_not_before() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        machine.run_on(cpu(1), || space.activate());
        let (busy, goes) = (AtomicBool::new(false), AtomicBool::new(false));
        machine.scope(|scope| {
            scope.spawn(cpu(1), || {
                let free = free_frames();
                // Serves no call until it ends.
                busy.store(true, Ordering::SeqCst);
                while !goes.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                // Time for the other to go on without an answer, if it did not wait.
                std::thread::sleep(std::time::Duration::from_millis(100));
                assert_eq!(free_frames(), free, "the frame went before the answer");
            });
            scope.spawn(cpu(0), || {
                wait_until(|| busy.load(Ordering::SeqCst));
                let free = free_frames();
                let mut cursor = space.cursor_mut(pages(0..1)).unwrap();
                assert_eq!(cursor.unmap(PAGE_SIZE), Ok(1));
                assert_eq!(free_frames(), free);
                goes.store(true, Ordering::SeqCst);
                drop(cursor);
                assert_eq!(free_frames(), free + 1);
            });
        });
    });
}

#[test]
fn two_processors_that_ask_each_other_answer_each_other() {
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || VmSpace::new().unwrap());
        machine.on_all(|me| {
            space.activate();
            let first = me.index() * 8;
            for round in 0..2000_u64 {
                map_pages(&space, first..first + 4, Access::RW);
                (first..first + 4).for_each(|n| store(page(n), round).unwrap());
                assert!((first..first + 4).all(|n| load(page(n)) == Ok(round)));
                assert_eq!(unmap_pages(&space, first..first + 4), 4);
                assert!((first..first + 4).all(|n| load(page(n)).is_err()));
            }
        });
        let counted = machine.run_on(cpu(0), tlb::statistics);
        assert_eq!(counted.requests, counted.acknowledgements);
    });
}

/// A range of kernel space, whose translations every processor may have.
fn in_kernel_space(pages: usize) -> Range<Vaddr> {
    LINEAR_MAP..Vaddr(LINEAR_MAP.0 + pages * PAGE_SIZE)
}

fn flushes(number: u32) -> u64 {
    hardware::statistics(cpu(number)).unwrap().flushes
}

#[test]
fn kernel_space_is_flushed_whatever_is_active() {
    with_machine(|machine| {
        let spaces = [0, 1].map(|_| one_page(machine, Access::RW));
        // Nowhere, in one space, in another each.
        for active in 0..=2 {
            for (number, space) in spaces.iter().enumerate().take(active) {
                machine.run_on(cpu(number as u32), || space.activate());
            }
            for pages in [1, FOLD_LIMIT, FOLD_LIMIT + 1] {
                machine.run_on(cpu(0), || {
                    let (before, counted) = ([flushes(0), flushes(1)], tlb::statistics());
                    testing::shoot_down_everywhere(in_kernel_space(pages));
                    assert_eq!([flushes(0), flushes(1)], before.map(|flushes| flushes + 1));
                    let now = tlb::statistics();
                    // The machine has two processors, and there could be more.
                    assert_eq!(now.requests - counted.requests, 1);
                    assert_eq!(now.acknowledgements - counted.acknowledgements, 1);
                    assert_eq!(now.remote_fences, 0);
                });
            }
        }
    });
}

#[test]
fn all_flush_for_all_at_once() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        machine.run_on(cpu(1), || space.activate());
        let before = [flushes(0), flushes(1)];
        machine.on_all(|_| (0..2000).for_each(|_| testing::shoot_down_everywhere(in_kernel_space(2))));
        assert_eq!([flushes(0), flushes(1)], before.map(|flushes| flushes + 2 * 2000));
    });
}

/// The other processor joins and leaves all the time; whenever it is in, it must not see a page that was
/// replaced.
/// One processor activates and leaves the space, while another replaces its page: of pages that were written the entry
/// is stored to, and not exchanged.
fn activation_races(map: fn(&mut CursorMut<'_>, MappedItem)) {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        let other = machine.run_on(cpu(0), || VmSpace::new().unwrap());
        let (current, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        machine.scope(|scope| {
            scope.spawn(cpu(1), || {
                while !stop.load(Ordering::SeqCst) {
                    space.activate();
                    for _ in 0..3 {
                        let before = current.load(Ordering::SeqCst);
                        let seen = load(page(0)).unwrap();
                        assert!(seen >= before, "saw {seen} after {before} had been mapped for all");
                    }
                    other.activate();
                    assert!(load(page(0)).is_err());
                }
            });
            scope.spawn(cpu(0), || {
                for round in 1..5000_u64 {
                    let frame = user_frame();
                    frame.writer().write_val(&round).unwrap();
                    let mut cursor = space.cursor_mut(pages(0..1)).unwrap();
                    map(&mut cursor, MappedItem::new(frame, PageProperty::user(Access::RW)));
                    drop(cursor);
                    current.store(round, Ordering::SeqCst);
                }
                stop.store(true, Ordering::SeqCst);
            });
        });
    });
}

#[test]
fn activation_races_with_shootdown() {
    activation_races(|cursor, item| cursor.map(item).unwrap());
}

#[test]
fn activation_races_with_shootdown_of_written_pages() {
    activation_races(|cursor, item| cursor.map_accessed(item, AccessType::Write).unwrap());
}

#[test]
fn processors_without_the_space_are_not_asked() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        machine.run_on(cpu(1), || VmSpace::new().unwrap().activate());
        let before = machine.run_on(cpu(0), tlb::statistics);
        machine.run_on(cpu(0), || {
            space.activate();
            unmap_pages(&space, 0..1)
        });
        let after = machine.run_on(cpu(0), tlb::statistics);
        assert_eq!((after.requests - before.requests, after.local_flushes - before.local_flushes), (0, 1));
        assert_eq!(space.active_cpus(), CpuSet::single(cpu(0)));
    });
}

#[test]
fn many_pages_are_one_shootdown_folded() {
    with_machine(|machine| {
        let space = machine.run_on(cpu(0), || VmSpace::new().unwrap());
        machine.run_on(cpu(1), || space.activate());
        for (count, folded) in [(FOLD_LIMIT, 0), (FOLD_LIMIT + 1, 1), (3000, 1)] {
            machine.run_on(cpu(0), || map_pages(&space, 0..count, Access::RW));
            let before = machine.run_on(cpu(0), tlb::statistics);
            assert_eq!(machine.run_on(cpu(0), || unmap_pages(&space, 0..count)), count);
            let after = machine.run_on(cpu(0), tlb::statistics);
            assert!(after.operations > before.operations);
            assert!((1..=4).contains(&(after.shootdowns - before.shootdowns)), "{count} pages");
            assert_eq!(after.folded > before.folded, folded == 1, "{count} pages");
        }
    });
}

#[test]
fn a_flusher_by_hand() {
    with_machine(|machine| {
        let space = one_page(machine, Access::RW);
        machine.on_all(|_| space.activate());
        machine.run_on(cpu(1), || load(page(0)).unwrap());
        let extra = machine.run_on(cpu(0), || {
            let mut cursor = space.cursor_mut(pages(0..1)).unwrap();
            let mut flusher = cursor.flusher();
            let before = tlb::statistics();
            assert!(flusher.dispatch());
            assert_eq!(tlb::statistics(), before, "nothing was issued");
            flusher.issue(TlbFlushOp::Addr(page(0)));
            flusher.issue(TlbFlushOp::Range(pages(5..5)));
            flusher.issue_with(TlbFlushOp::All, user_frame()).unwrap();
            assert!(flusher.dispatch());
            assert!(flusher.dispatch());
            let _ = cursor.finish();
            let after = tlb::statistics();
            assert_eq!((after.operations - before.operations, after.shootdowns - before.shootdowns), (3, 1));
            after.acknowledgements - before.acknowledgements
        });
        assert_eq!(extra, 1);
    });
}
