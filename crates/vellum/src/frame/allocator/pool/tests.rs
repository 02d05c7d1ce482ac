//! The pool against a model.
extern crate std;

use super::*;
use crate::frame::allocator::FrameStatistics;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use proptest::prelude::*;

/// Pools under test tell about these chunks.
const CHUNKS: usize = 10;
const FRAMES: usize = CHUNKS * CHUNK_FRAMES;

/// Frames in use from the beginning to the end: whole chunks, a part of one, and single ones.
const FREE: [Range<usize>; 4] = [3..700, 701..702, 1024..4096, 4100..5000];

fn table() -> Vec<Chunk> {
    (0..CHUNKS).map(|_| Chunk::new()).collect()
}

fn pool(table: &mut [Chunk]) -> Pool<'_> {
    let mut pool = Pool::new(table);
    for range in FREE {
        assert_eq!(pool.give(range.start, range.len()), 0);
    }
    pool
}

fn count(pool: &Pool<'_>) -> FrameStatistics {
    let mut statistics =
        FrameStatistics { total: 0, free: 0, cached: 0, by_order: [0; MAX_ORDER as usize + 1], ignored: 0 };
    pool.count(&mut statistics);
    statistics
}

/// The blocks when all frames are free: 4096, and 1024.
const WHOLE: [usize; MAX_ORDER as usize + 1] = {
    let mut by_order = [0; MAX_ORDER as usize + 1];
    (by_order[12], by_order[10]) = (1, 1);
    by_order
};

fn frames_of(pool: &Pool<'_>) -> impl Iterator<Item = usize> {
    let words = pool.table.iter().flat_map(|chunk| chunk.words);
    words.enumerate().flat_map(|(index, word)| {
        (0..WORD_FRAMES).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * WORD_FRAMES + bit)
    })
}

fn free_frames() -> BTreeSet<usize> {
    FREE.into_iter().flatten().collect()
}

#[test]
fn a_new_pool_is_empty_whatever_the_table_held() {
    let mut table = table();
    pool(&mut table);
    let mut pool = Pool::new(&mut table);
    assert_eq!(count(&pool).free, 0);
    assert_eq!(pool.take(1, 1), None);
    assert_eq!(pool.take_some(&mut [0; 3]), 0);
    let mut pool = Pool::new(&mut []);
    assert_eq!(pool.give(0, 9), 9);
    assert!(!pool.give_one(0));
    assert_eq!(pool.take(1, 1), None);
}

#[test]
fn what_is_not_the_pools_is_ignored() {
    let mut table = table();
    let mut pool = pool(&mut table);
    let before = count(&pool);
    for (start, frames, ignored) in
        [(FRAMES, 2, 2), (usize::MAX, usize::MAX, usize::MAX), (1024, 70, 70), (FRAMES, 0, 0), (600, 0, 0)]
    {
        assert_eq!(pool.give(start, frames), ignored);
    }
    for frame in [3, 701, FRAMES, usize::MAX] {
        assert!(!pool.give_one(frame));
    }
    assert_eq!(count(&pool), before);
    assert_eq!(pool.give(0, usize::MAX), usize::MAX - (FRAMES - before.free));
    assert_eq!(count(&pool).free, FRAMES);
}

#[test]
fn impossible_requests_are_refused() {
    let mut table = table();
    let mut pool = pool(&mut table);
    let before = count(&pool);
    for (frames, step) in [
        (0, 1),
        (1, 0),
        (1, 3),
        (FRAMES, 1),
        (usize::MAX, 1),
        (1, 1 << 19),
        (1, 1 << 63),
        ((1 << 18) + 1, 1),
        (3073, 1),
    ] {
        assert_eq!(pool.take(frames, step), None, "{frames} at {step}");
    }
    assert_eq!(count(&pool), before);
}

#[test]
fn the_smallest_runs_are_taken_first() {
    let mut table = table();
    let mut pool = pool(&mut table);
    let before = count(&pool);
    assert_eq!(pool.take(1, 1), Some(512), "the chunk with the shortest runs");
    assert_eq!(pool.take(1025, 1), Some(2048));
    assert_eq!(count(&pool).free, before.free - 1026, "the tail of a large request stays free");
    assert_eq!(pool.take(512, 512), Some(3584), "the smallest block that fits");
    assert_eq!(pool.give(3584, 512) + pool.give(2048, 1025) + usize::from(!pool.give_one(512)), 0);
    assert_eq!(count(&pool), before);
}

#[test]
fn every_frame_is_taken_once() {
    let mut table = table();
    let mut pool = pool(&mut table);
    let before = count(&pool);
    let mut frames = vec![u32::MAX; FRAMES + 3];
    let some = pool.take_some(&mut frames);
    assert_eq!(some, before.free);
    assert_eq!(frames[some..], vec![u32::MAX; FRAMES + 3 - some]);
    let taken: BTreeSet<_> = frames[..some].iter().map(|&frame| frame as usize).collect();
    assert_eq!(taken, free_frames());
    assert_eq!(count(&pool).free, 0);
    assert!(taken.iter().all(|&frame| pool.give_one(frame)));
    assert_eq!(count(&pool), before);
}

#[test]
fn the_largest_block_forms_again() {
    let mut table: Vec<_> = (0..1024).map(|_| Chunk::new()).collect();
    let mut pool = Pool::new(&mut table);
    assert_eq!(pool.give(0, 1 << 19), 0);
    assert_eq!(count(&pool).by_order[MAX_ORDER as usize], 2);
    let one = pool.take(1, 1).unwrap();
    let block = pool.take(1 << MAX_ORDER, 1 << MAX_ORDER).unwrap();
    assert_eq!(pool.take(1 << MAX_ORDER, 1), None);
    assert_eq!(pool.give(block, 1 << MAX_ORDER), 0);
    assert_eq!(count(&pool).by_order, core::array::from_fn(|_| 1));
    assert!(pool.give_one(one));
    assert_eq!(count(&pool).by_order[MAX_ORDER as usize], 2);
}

/// What one may do to a pool.
#[derive(Clone, Debug)]
enum Step {
    Take { frames: usize, order: u32 },
    TakeSome { frames: usize },
    Give { nth: usize },
    GiveSingly { nth: usize },
    GiveAnything { start: usize, frames: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let frames = prop_oneof![4 => 1usize..70, 2 => 1usize..600, 1 => 1usize..2100];
    let order = prop_oneof![6 => Just(0u32), 2 => 0u32..8, 1 => 0u32..13];
    prop_oneof![
        6 => (frames, order).prop_map(|(frames, order)| Step::Take { frames, order }),
        4 => (0usize..200).prop_map(|frames| Step::TakeSome { frames }),
        5 => any::<usize>().prop_map(|nth| Step::Give { nth }),
        4 => any::<usize>().prop_map(|nth| Step::GiveSingly { nth }),
        2 => (0..FRAMES + 9, 0usize..700).prop_map(|(start, frames)| Step::GiveAnything { start, frames }),
    ]
}

/// The frames that are free, and those that are lent, by what they were taken with.
struct Model {
    free: BTreeSet<usize>,
    live: Vec<Vec<usize>>,
}

impl Model {
    fn take(&mut self, frames: Vec<usize>) -> Result<(), TestCaseError> {
        for frame in &frames {
            prop_assert!(self.free.remove(frame), "{} is not free", frame);
        }
        self.live.push(frames);
        Ok(())
    }

    fn lent(&mut self, nth: usize) -> Vec<usize> {
        if self.live.is_empty() { Vec::new() } else { self.live.swap_remove(nth % self.live.len()) }
    }

    /// Says whether a naturally aligned block is free.
    fn has_block(&self, frames: usize) -> bool {
        (0..FRAMES)
            .step_by(frames)
            .any(|start| (start..start + frames).all(|frame| self.free.contains(&frame)))
    }
}

fn run(pool: &mut Pool<'_>, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    match *step {
        Step::Take { frames, order } => {
            if let Some(start) = pool.take(frames, 1 << order) {
                prop_assert!(start.is_multiple_of(1 << order));
                model.take((start..start + frames).collect())?;
            } else {
                prop_assert!(!model.has_block(frames.next_power_of_two().max(1 << order)));
            }
        }
        Step::TakeSome { frames } => {
            let mut taken = vec![0; frames];
            let some = pool.take_some(&mut taken);
            prop_assert_eq!(some, frames.min(model.free.len()));
            model.take(taken[..some].iter().map(|&frame| frame as usize).collect())?;
        }
        Step::Give { nth } => {
            for frame in model.lent(nth) {
                prop_assert_eq!(pool.give(frame, 1), usize::from(!model.free.insert(frame)));
            }
        }
        Step::GiveSingly { nth } => {
            for frame in model.lent(nth) {
                prop_assert_eq!(pool.give_one(frame), model.free.insert(frame));
            }
        }
        Step::GiveAnything { start, frames } => {
            let ignored = pool.give(start, frames);
            let fresh = (start..start + frames).filter(|&frame| frame < FRAMES && model.free.insert(frame));
            prop_assert_eq!(ignored, frames - fresh.count());
        }
    }
    Ok(())
}

/// Looks whether each chunk is where its frames say, and each list is one.
fn check_shelves(pool: &Pool<'_>) -> Result<(), TestCaseError> {
    let mut listed = BTreeSet::new();
    for order in 0..=MAX_ORDER {
        let mut next = pool.shelves.first(order);
        while let Some(chunk) = next {
            prop_assert!(listed.insert(chunk), "{} is listed twice", chunk);
            prop_assert_eq!(pool.table[chunk].place, SHELF + order);
            next = after(pool.table, chunk);
        }
    }
    for (chunk, entry) in pool.table.iter().enumerate() {
        match entry.place {
            OFF => prop_assert_eq!(entry.largest_order(), None),
            BODY => prop_assert!(entry.is_whole() && !listed.contains(&chunk)),
            place => {
                prop_assert!(listed.contains(&chunk));
                prop_assert_eq!(place >= SHELF + CHUNK_ORDER, entry.is_whole());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_pool_does_what_the_model_says(steps in proptest::collection::vec(step(), 0..150)) {
        let mut table = table();
        let mut pool = pool(&mut table);
        let mut model = Model { free: free_frames(), live: Vec::new() };
        for step in &steps {
            run(&mut pool, &mut model, step)?;
            check_shelves(&pool)?;
            let statistics = count(&pool);
            prop_assert_eq!(statistics.free, model.free.len());
            let by_order = statistics.by_order.iter().enumerate().map(|(order, blocks)| blocks << order);
            prop_assert_eq!(by_order.sum::<usize>(), statistics.free);
            prop_assert!(frames_of(&pool).eq(model.free.iter().copied()));
        }
        // Blocks do not depend on what came before.
        let mut fresh_table = self::table();
        let mut fresh = Pool::new(&mut fresh_table);
        assert!(model.free.iter().all(|&frame| fresh.give_one(frame)));
        prop_assert_eq!(count(&fresh), count(&pool));
        pool.give(0, FRAMES);
        prop_assert_eq!(count(&pool).by_order, WHOLE);
    }
}
