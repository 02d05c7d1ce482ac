//! Ranges of kernel addresses: no chunk is had twice, and none is lost.
//!
//! Runs lie in two words, so that they are taken in two steps and given back where the second fails.
#![expect(unsafe_code, reason = "a watched cell is written through its pointer")]
use loom::thread;
use vellum::kspace::ranges::{CHUNK_PAGES, RangeIn, Ranges};
use vellum_machine::primitive::{UnsafeCell, explore};

const WORDS: usize = 2;
const CHUNKS: usize = WORDS * 64;

static WINDOW: Ranges<WORDS> = Ranges::new();

/// What the owner of a chunk has to itself.
struct Contents(UnsafeCell<u64>);

// SAFETY: what may be done with it, loom judges.
unsafe impl Sync for Contents {}

static CONTENTS: [Contents; CHUNKS] = [const { Contents(UnsafeCell::new(0)) }; CHUNKS];

type Range = RangeIn<'static, WORDS>;

/// Reserves pages that fill so many chunks.
fn take(chunks: usize) -> Option<Range> {
    let range = WINDOW.reserve(chunks * CHUNK_PAGES - 1, 1).ok()?;
    use_ends(&range);
    Some(range)
}

/// Writes to the first and the last chunk of a range.
fn use_ends(range: &Range) {
    let first = range.first_page() / CHUNK_PAGES;
    for chunk in [first, first + range.nr_pages() / CHUNK_PAGES] {
        // SAFETY: the chunk is the caller's alone, which loom judges.
        CONTENTS[chunk].0.with_mut(|word| unsafe { *word += 1 });
    }
}

fn give(range: Range) {
    use_ends(&range);
    drop(range);
}

/// All chunks can be had at once.
fn expect_whole() {
    give(take(CHUNKS - 1).expect("the window is whole"));
}

/// Leaves chunks 61 to 66 free, and looks at all words before there are threads.
fn with_few() -> (Range, Range) {
    expect_whole();
    let low = take(60).expect("it is free");
    let middle = take(6).expect("it is free");
    let high = take(CHUNKS - 67).expect("it is free");
    give(middle);
    assert_eq!(low.first_page(), CHUNK_PAGES);
    (low, high)
}

#[test]
fn one_of_two_has_a_run_that_both_want() {
    explore(Some(3), || {
        let (low, high) = with_few();
        let other = thread::spawn(|| take(4).map(give).is_some());
        let mine = take(4).map(give).is_some();
        assert!(other.join().unwrap() || mine);
        give(low);
        give(high);
        expect_whole();
    });
}

#[test]
fn a_chunk_goes_from_one_processor_to_another() {
    explore(Some(3), || {
        let (low, high) = with_few();
        let all = take(5).expect("it is free");
        let other = thread::spawn(|| take(2).map(give));
        give(all);
        take(1).map(give).expect("one is free all the time");
        other.join().unwrap();
        give(low);
        give(high);
        expect_whole();
    });
}
