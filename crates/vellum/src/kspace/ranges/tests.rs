//! Ranges against a model, and by many threads.
#![expect(unsafe_code, reason = "threads write to what is theirs by the ranges that they have")]
extern crate std;

use super::*;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::iter;
use proptest::prelude::*;

/// Windows under test have so many words.
const WORDS: usize = 3;
const CHUNKS: usize = WORDS * 64;

type Window = Ranges<WORDS>;

/// The pages of so many chunks, but for the one that is left out.
const fn pages_of(chunks: usize) -> usize {
    chunks * CHUNK_PAGES - 1
}

fn chunks_of(pages: usize) -> usize {
    pages / CHUNK_PAGES + 1
}

/// All of the window can be had at once.
fn expect_whole(window: &Window) {
    let all = window.reserve(pages_of(CHUNKS - 1), 1).expect("the window is whole");
    assert_eq!((all.first_page(), all.nr_pages()), (CHUNK_PAGES, pages_of(CHUNKS - 1)));
}

/// Reserves one chunk after the other until there is none.
fn exhaust(window: &Window) -> Vec<RangeIn<'_, WORDS>> {
    iter::from_fn(|| window.reserve(1, 1).ok()).collect()
}

/// Gives back each of what it has that `which` says, by its chunk.
fn fragment<'r>(ranges: Vec<RangeIn<'r, WORDS>>, which: impl Fn(usize) -> bool) -> Vec<RangeIn<'r, WORDS>> {
    ranges.into_iter().filter(|range| !which(range.first_page() / CHUNK_PAGES)).collect()
}

#[test]
fn what_can_never_be_had_is_refused() {
    let window = Window::new();
    let error = |pages, align| window.reserve(pages, align).expect_err("it is refused");
    assert_eq!(error(0, 1), RangeError::Empty);
    for align_pages in [0, 3, usize::MAX] {
        assert_eq!(error(1, align_pages), RangeError::NotAPowerOfTwo { align_pages });
    }
    for pages in [pages_of(CHUNKS - 1) + 1, usize::MAX] {
        assert_eq!(error(pages, 1), RangeError::TooLarge { pages });
    }
    for align in [4096, 1 << 63] {
        assert_eq!(error(1, align), RangeError::NoRoom { pages: 1 });
    }
    assert_eq!(
        Ranges::<0>::new().reserve(1, 1).expect_err("it is nothing"),
        RangeError::TooLarge { pages: 1 }
    );
    expect_whole(&window);
}

#[test]
fn every_chunk_but_the_first_is_had_once() {
    let window = Window::new();
    let all = exhaust(&window);
    assert!(all.iter().map(RangeIn::first_page).eq((1..CHUNKS).map(|chunk| chunk * CHUNK_PAGES)));
    assert_eq!(window.reserve(1, 1).expect_err("all are taken"), RangeError::NoRoom { pages: 1 });
    drop(all);
    expect_whole(&window);
}

#[test]
fn a_page_is_left_out_where_the_pages_fill_their_chunks() {
    let window = Window::new();
    let full = window.reserve(CHUNK_PAGES, 1).expect("there is room");
    let next = window.reserve(pages_of(1), 1).expect("there is room");
    let last = window.reserve(1, 1).expect("there is room");
    assert_eq!([&full, &next, &last].map(RangeIn::first_page), [1, 3, 4].map(|chunk| chunk * CHUNK_PAGES));
}

#[test]
fn addresses_are_used_again_late() {
    let window = Window::new();
    let firsts =
        iter::from_fn(|| Some(window.reserve(1, 1).expect("there is room").first_page() / CHUNK_PAGES));
    assert!(firsts.take(2 * CHUNKS - 2).eq((1..CHUNKS).chain(1..CHUNKS)));
}

#[test]
fn runs_are_found_across_words_and_behind_the_hint() {
    let window = Window::new();
    // 60..70 lie in two words, 125..195 would lie in three.
    let rest = fragment(exhaust(&window), |chunk| (60..70).contains(&chunk) || (125..180).contains(&chunk));
    for (count, first) in [(10, 60), (55, 125)] {
        let run = window.reserve(pages_of(count), 1).expect("there is a run");
        assert_eq!(run.first_page(), first * CHUNK_PAGES);
        assert_eq!(
            window.reserve(pages_of(56), 1).map(|_| ()),
            Err(RangeError::NoRoom { pages: pages_of(56) })
        );
    }
    drop(rest);
    expect_whole(&window);
}

#[test]
fn a_window_in_pieces_has_room_for_pieces() {
    let window = Window::new();
    let rest = fragment(exhaust(&window), |chunk| chunk % 2 == 0);
    assert_eq!(window.reserve(pages_of(2), 1).map(|_| ()), Err(RangeError::NoRoom { pages: pages_of(2) }));
    assert_eq!(exhaust(&window).len(), CHUNKS / 2 - 1);
    drop(rest);
    expect_whole(&window);
}

#[test]
fn the_window_of_kernel_space_has_ranges() {
    let small = reserve(3).expect("there is room");
    let large = reserve_aligned(1024, 512).expect("there is room");
    assert_eq!((small.nr_pages(), large.nr_pages()), (3, 1024));
    assert!(large.first_page().is_multiple_of(512));
    assert!(!(large.first_page()..=large.first_page() + 1024).contains(&small.first_page()));
    assert_eq!(
        reserve(WINDOW_PAGES).expect_err("it is too large"),
        RangeError::TooLarge { pages: WINDOW_PAGES }
    );
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { pages: usize, align_pages: usize },
    GiveBack { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let pages = prop_oneof![4 => 1usize..40, 2 => 1usize..400, 1 => 1usize..3100];
    prop_oneof![
        3 => (pages, 0u32..12).prop_map(|(pages, order)| Step::Reserve { pages, align_pages: 1 << order }),
        2 => any::<usize>().prop_map(|which| Step::GiveBack { which }),
    ]
}

/// Whether there are so many chunks in a row that no range has, from a multiple on.
fn has_room(model: &BTreeMap<usize, usize>, pages: usize, align_pages: usize) -> bool {
    let mut taken = [false; CHUNKS];
    taken[0] = true;
    for (first, pages) in model {
        taken[first / CHUNK_PAGES..][..chunks_of(*pages)].fill(true);
    }
    let step = align_pages.div_ceil(CHUNK_PAGES);
    let starts = (0..=CHUNKS - chunks_of(pages)).step_by(step);
    starts.into_iter().any(|start| !taken[start..start + chunks_of(pages)].contains(&true))
}

proptest! {
    #[test]
    fn ranges_are_as_in_a_model(steps in prop::collection::vec(step(), 1..120)) {
        let window = Window::new();
        let mut model = BTreeMap::new();
        let mut ranges = Vec::new();
        for step in steps {
            match step {
                Step::Reserve { pages, align_pages } => match window.reserve(pages, align_pages) {
                    Ok(range) => {
                        let first = range.first_page();
                        prop_assert_eq!(range.nr_pages(), pages);
                        prop_assert!(first >= 1 && first + pages < CHUNKS * CHUNK_PAGES);
                        prop_assert!(first.is_multiple_of(align_pages));
                        let before = model.range(..=first).next_back();
                        prop_assert!(before.is_none_or(|(start, len)| start + len < first));
                        prop_assert!(model.range(first..).next().is_none_or(|(start, _)| first + pages < *start));
                        model.insert(first, pages);
                        ranges.push(range);
                    }
                    Err(error) => {
                        let too_large = chunks_of(pages) >= CHUNKS;
                        prop_assert!(too_large || !has_room(&model, pages, align_pages), "{}", error);
                        prop_assert_eq!(too_large, error == RangeError::TooLarge { pages });
                    }
                },
                Step::GiveBack { .. } if ranges.is_empty() => {}
                Step::GiveBack { which } => {
                    let range = ranges.swap_remove(which % ranges.len());
                    model.remove(&range.first_page());
                }
            }
        }
        ranges.clear();
        expect_whole(&window);
    }
}

/// A word for each chunk, which is its owner's.
struct Contents([UnsafeCell<u64>; CHUNKS]);

// SAFETY: a word is written by whoever has the chunk, which is what is tested.
unsafe impl Sync for Contents {}

#[test]
fn ranges_of_many_threads_do_not_overlap() {
    const THREADS: u64 = 3;
    const STEPS: u64 = if cfg!(miri) { 200 } else { 20_000 };
    let window = Window::new();
    let contents = Contents([const { UnsafeCell::new(0) }; CHUNKS]);
    let work = |thread: u64| {
        let Contents(words) = &contents;
        let mut seed = thread;
        let mut held: Vec<RangeIn<'_, WORDS>> = Vec::new();
        let mut reserved = 0;
        let check = |range: &RangeIn<'_, WORDS>, was: Option<u64>, is: u64| {
            let first = range.first_page() / CHUNK_PAGES;
            for word in &words[first..first + chunks_of(range.nr_pages())] {
                // SAFETY: the range has the chunk, and the thread has the range.
                let place = unsafe { &mut *word.get() };
                assert!(was.is_none_or(|was| *place == was), "somebody else has the chunk");
                *place = is;
            }
        };
        for step in 0..STEPS {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pages = [1, 17, 40, 700][(seed >> 40) as usize % 4];
            if let Ok(range) = window.reserve(pages, 1 << (seed >> 50 & 7)) {
                check(&range, Some(0), thread + 1);
                held.push(range);
                reserved += 1;
            }
            if held.len() > 4 || step.is_multiple_of(3) && !held.is_empty() {
                let range = held.swap_remove((seed >> 33) as usize % held.len());
                check(&range, Some(thread + 1), 0);
            }
        }
        held.iter().for_each(|range| check(range, Some(thread + 1), 0));
        reserved
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        for thread in threads {
            assert!(thread.join().expect("it does not panic") > STEPS / 10);
        }
    });
    expect_whole(&window);
}
