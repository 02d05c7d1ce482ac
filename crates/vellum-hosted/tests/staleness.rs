//! What an access may see while entries change, with translations read at any time.
mod common;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use std::collections::HashSet;
use std::num::NonZeroU32;
use vellum_hosted::{MachineConfig, Speculation};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::cpu::CpuId;
use vellum_machine::{tlb, user};

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(usize, usize),
    Unmap(usize),
    FlushPage(usize),
    FlushRange(usize, usize),
    FlushAll,
    Load(usize),
}

const PAGES: usize = 8;
const FRAMES: usize = 5;

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..PAGES, 0..FRAMES).prop_map(|(page, frame)| Step::Map(page, frame)),
        1 => (0..PAGES).prop_map(Step::Unmap),
        2 => (0..PAGES).prop_map(Step::FlushPage),
        1 => (0..PAGES, 0..PAGES).prop_map(|(start, end)| Step::FlushRange(start, end)),
        1 => Just(Step::FlushAll),
        8 => (0..PAGES).prop_map(Step::Load),
    ]
}

/// Every access sees what its page was mapped to at some time since it was flushed, and never anything older.
fn never_older_than_the_flush(steps: Vec<Step>) -> TestCaseResult {
    let va = |page| Vaddr(0x6000_0000_0000 + page * PAGE_SIZE);
    let tables = Tables::new();
    let frames: Vec<Paddr> = (0..FRAMES).map(|_| tables.frame()).collect();
    frames.iter().enumerate().for_each(|(value, &frame)| set(frame, value as u64));
    tables.activate();
    let mut now: [Option<usize>; PAGES] = [None; PAGES];
    let mut since: Vec<HashSet<Option<usize>>> = vec![HashSet::from([None]); PAGES];
    for step in steps {
        let forget = |since: &mut Vec<HashSet<_>>, page: usize| since[page] = HashSet::from([now[page]]);
        match step {
            Step::Map(page, frame) => {
                tables.map(va(page), frames[frame], 1, P | U);
                now[page] = Some(frame);
                since[page].insert(Some(frame));
            }
            Step::Unmap(page) => {
                set(tables.entry(va(page), 1), 0);
                now[page] = None;
                since[page].insert(None);
            }
            Step::FlushPage(page) => {
                tlb::flush_addr(va(page));
                forget(&mut since, page);
            }
            Step::FlushRange(start, end) => {
                tlb::flush_range(va(start)..va(end));
                (start..end).for_each(|page| forget(&mut since, page));
            }
            Step::FlushAll => {
                tlb::flush_all();
                (0..PAGES).for_each(|page| forget(&mut since, page));
            }
            Step::Load(page) => {
                let seen = user::load_u64(va(page)).ok().map(|value| value as usize);
                prop_assert!(
                    since[page].contains(&seen),
                    "page {page} shows {seen:?}, not one of {:?}",
                    since[page]
                );
                if seen.is_none() {
                    prop_assert_eq!(now[page], None, "a fault is raised by the tables alone");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn nothing_is_older_than_the_last_flush() {
    let speculation = Speculation::Every(NonZeroU32::new(3).unwrap());
    machine(MachineConfig { speculation, ..config() }).run_on(CpuId::BOOT, || {
        let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
        let cases = prop::collection::vec(steps(), 1..120);
        TestRunner::new(config).run(&cases, never_older_than_the_flush).unwrap();
    });
}
