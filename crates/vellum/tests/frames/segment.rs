//! Segments.
use crate::support::*;
use proptest::prelude::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vellum::frame::{AnyFrameMeta, Frame, GetFrameError, Segment, SegmentError, USegment};
use vellum_machine::addr::{PAGE_SIZE, Paddr};

fn all_unused(pa: Paddr, n: usize) -> bool {
    (0..n).all(|i| is_unused(nth(pa, i)))
}

fn counts<const N: usize>(pa: Paddr) -> [u64; N] {
    std::array::from_fn(|i| match Frame::from_in_use(nth(pa, i)) {
        Ok(frame) => frame.reference_count() - 1,
        Err(_) => 0,
    })
}

fn named(pa: Paddr, n: usize) -> Segment<Name> {
    Segment::from_unused(pa..nth(pa, n), |at| Name(format!("{at}"))).unwrap()
}

#[test]
fn a_segment_is_its_frames() {
    let pa = frames(8);
    let segment = named(pa, 8);
    assert_eq!((segment.start_paddr(), segment.end_paddr()), (pa, nth(pa, 8)));
    assert_eq!((segment.size(), segment.nr_pages(), segment.len()), (8 * PAGE_SIZE, 8, 8));
    assert_eq!(counts(pa), [1; 8]);
    for (i, frame) in segment.clone().enumerate() {
        assert_eq!(frame.start_paddr(), nth(pa, i));
        assert_eq!(frame.meta().0, format!("{}", nth(pa, i)));
    }
    assert_eq!(counts(pa), [1; 8]);
    let mut rest = segment;
    let first = rest.next().unwrap();
    assert_eq!((rest.start_paddr(), rest.nr_pages()), (nth(pa, 1), 7));
    drop(rest);
    assert_eq!(counts(pa), [1, 0, 0, 0, 0, 0, 0, 0]);
    drop(first);
    assert!(all_unused(pa, 8));
    assert!((0..8).all(|i| freed(nth(pa, i)) == 1));
}

#[test]
fn empty_segments_are_legal_where_the_range_is() {
    let pa = frames(1);
    for at in [Paddr(0), pa, Paddr(FRAMES * PAGE_SIZE)] {
        let mut segment = Segment::from_unused(at..at, |_| ()).unwrap();
        assert_eq!((segment.size(), segment.nr_pages()), (0, 0));
        assert!(segment.next().is_none());
        assert_eq!(segment.clone().slice(0..0).unwrap().start_paddr(), at);
        let refused = segment.split(0).unwrap_err();
        assert_eq!((refused.cause, refused.segment.start_paddr()), (SegmentError::Outside(0), at));
    }
    assert!(is_unused(pa));
}

#[test]
fn ranges_that_are_none() {
    let pa = frames(1);
    let max = Paddr(FRAMES * PAGE_SIZE);
    let refused = |range: std::ops::Range<Paddr>| {
        Segment::from_unused(range, |_| -> () { panic!("no frame is to be had") }).unwrap_err()
    };
    let odd = Paddr(pa.0 + 1);
    let not_aligned = |at| SegmentError::Frame(GetFrameError::NotAligned(at));
    let out_of_bound = |at| SegmentError::Frame(GetFrameError::OutOfBound(at));
    assert_eq!(refused(odd..odd), not_aligned(odd));
    assert_eq!(refused(pa..odd), not_aligned(odd));
    assert_eq!(refused(pa..Paddr(usize::MAX)), not_aligned(Paddr(usize::MAX)));
    assert_eq!(refused(Paddr(usize::MAX)..pa), not_aligned(Paddr(usize::MAX)));
    assert_eq!(refused(Paddr(usize::MAX)..Paddr(usize::MAX)), not_aligned(Paddr(usize::MAX)));
    let top = Paddr(usize::MAX - 4095);
    assert_eq!(refused(pa..top), out_of_bound(top));
    assert_eq!(refused(top..top), out_of_bound(top));
    assert_eq!(refused(max..nth(max, 1)), out_of_bound(nth(max, 1)));
    let (start, end) = (nth(pa, 1).0, pa.0);
    assert_eq!(refused(nth(pa, 1)..pa), SegmentError::Reversed { start, end });
    assert_eq!(refused(top..pa), SegmentError::Reversed { start: top.0, end });
    assert!(is_unused(pa));
}

#[test]
fn a_frame_in_the_middle_that_cannot_be_had() {
    let pa = frames(8);
    let taken = Frame::from_unused(nth(pa, 5), ()).unwrap();
    let log = Log::new();
    let error = Segment::from_unused(pa..nth(pa, 8), |at| Noted::new(at.0 as u64, log)).unwrap_err();
    assert_eq!(error, SegmentError::Frame(GetFrameError::InUse(nth(pa, 5))));
    assert_eq!(counts(pa), [0, 0, 0, 0, 0, 1, 0, 0]);
    // Five frames had metadata, and the sixth would have had.
    assert_eq!(log.counts(), (5, 6));
    assert_eq!(std::array::from_fn(|i| freed(nth(pa, i))), [1, 1, 1, 1, 1, 0, 0, 0]);
    drop(taken);
    assert!(all_unused(pa, 8));
}

#[test]
fn a_closure_that_panics_rolls_back() {
    let pa = frames(8);
    let log = Log::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        Segment::from_unused(pa..nth(pa, 8), |at| {
            assert_ne!(at, nth(pa, 3), "on purpose");
            Noted::new(1, log)
        })
    }));
    assert!(result.is_err());
    assert_eq!(log.counts(), (3, 3));
    assert!(all_unused(pa, 8));
}

#[test]
fn split_wants_an_offset_inside() {
    let pa = frames(4);
    let mut segment = named(pa, 4);
    for (offset, cause) in [
        (0, SegmentError::Outside(0)),
        (4 * PAGE_SIZE, SegmentError::Outside(4 * PAGE_SIZE)),
        (5 * PAGE_SIZE, SegmentError::Outside(5 * PAGE_SIZE)),
        (usize::MAX - 4095, SegmentError::Outside(usize::MAX - 4095)),
        (1, SegmentError::NotAligned(1)),
        (usize::MAX, SegmentError::NotAligned(usize::MAX)),
    ] {
        let refused = segment.split(offset).unwrap_err();
        assert_eq!(refused.cause, cause);
        segment = refused.segment;
        assert_eq!((segment.start_paddr(), segment.nr_pages()), (pa, 4));
    }
    let (a, b) = segment.split(3 * PAGE_SIZE).unwrap();
    assert_eq!((a.start_paddr(), a.end_paddr()), (pa, nth(pa, 3)));
    assert_eq!((b.start_paddr(), b.end_paddr()), (nth(pa, 3), nth(pa, 4)));
    drop(a);
    assert_eq!(counts(pa), [0, 0, 0, 1]);
    drop(b);
    assert!(all_unused(pa, 4));
}

#[test]
fn slices_add_counts() {
    let pa = frames(4);
    let segment = named(pa, 4);
    let middle = segment.slice(PAGE_SIZE..3 * PAGE_SIZE).unwrap();
    assert_eq!((middle.start_paddr(), middle.end_paddr()), (nth(pa, 1), nth(pa, 3)));
    assert_eq!(counts(pa), [1, 2, 2, 1]);
    let again = middle.slice(PAGE_SIZE..2 * PAGE_SIZE).unwrap();
    assert_eq!(again.start_paddr(), nth(pa, 2));
    drop(segment);
    assert_eq!(counts(pa), [0, 1, 2, 0]);
    for (range, error) in [
        (1..PAGE_SIZE, SegmentError::NotAligned(1)),
        (0..1, SegmentError::NotAligned(1)),
        (0..usize::MAX, SegmentError::NotAligned(usize::MAX)),
        (Range { start: PAGE_SIZE, end: 0 }, SegmentError::Reversed { start: PAGE_SIZE, end: 0 }),
        (0..3 * PAGE_SIZE, SegmentError::Outside(3 * PAGE_SIZE)),
        (usize::MAX - 4095..usize::MAX - 4095, SegmentError::Outside(usize::MAX - 4095)),
    ] {
        assert_eq!(middle.slice(range).unwrap_err(), error);
    }
    assert_eq!(counts(pa), [0, 1, 2, 0]);
    drop((middle, again));
    assert!(all_unused(pa, 4));
}

/// Offsets near the borders of a segment of `n` frames, and nonsense.
fn offset(n: usize) -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => (0..n + 3).prop_map(|i| i * PAGE_SIZE),
        1 => 0..n * PAGE_SIZE + 2,
        1 => any::<usize>(),
        1 => (0usize..3).prop_map(|i| usize::MAX - i),
        1 => (0usize..3).prop_map(|i| usize::MAX - 4095 - i * PAGE_SIZE),
    ]
}

#[test]
fn every_offset_has_an_answer() {
    const N: usize = 5;
    let pa = frames(N);
    let aligned = |offset: usize| offset.is_multiple_of(PAGE_SIZE);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) };
    proptest!(config, |(start in offset(N), end in offset(N), at in offset(N))| {
        let segment = named(pa, N);
        let good = aligned(start) && aligned(end) && start <= end && end <= N * PAGE_SIZE;
        match segment.slice(start..end) {
            Ok(slice) => {
                prop_assert!(good);
                prop_assert_eq!(slice.start_paddr().0, pa.0 + start);
                prop_assert_eq!(slice.end_paddr().0, pa.0 + end);
                let expected: [u64; N] =
                    std::array::from_fn(|i| 1 + u64::from((start..end).contains(&(i * PAGE_SIZE))));
                prop_assert_eq!(counts(pa), expected);
            }
            Err(_) => prop_assert!(!good),
        }
        prop_assert_eq!(counts(pa), [1; N]);
        match segment.split(at) {
            Ok((a, b)) => {
                prop_assert!(aligned(at) && 0 < at && at < N * PAGE_SIZE);
                prop_assert_eq!((a.start_paddr(), a.size()), (pa, at));
                prop_assert_eq!((b.start_paddr(), b.end_paddr()), (a.end_paddr(), nth(pa, N)));
                prop_assert_eq!(counts(pa), [1; N]);
            }
            Err(refused) => {
                prop_assert!(!aligned(at) || at == 0 || at >= N * PAGE_SIZE);
                prop_assert_eq!((refused.segment.start_paddr(), refused.segment.nr_pages()), (pa, N));
            }
        }
        prop_assert!(all_unused(pa, N));
    });
}

#[test]
fn segments_change_their_kind() {
    let pa = frames(4);
    let untyped: USegment =
        Segment::from_unused(pa..nth(pa, 2), |at| Cached { offset: at.0 as u64 }).unwrap().into();
    assert!(untyped.clone().all(|frame| frame.is_untyped()));
    let erased: Segment<dyn AnyFrameMeta> = named(nth(pa, 2), 2).into();
    assert!(erased.clone().all(|frame| frame.downcast::<Name>().is_ok()));
    let one: Segment<dyn AnyFrameMeta> = Frame::from_in_use(pa).unwrap().into();
    assert_eq!((one.start_paddr(), one.nr_pages()), (pa, 1));
    assert_eq!(counts(pa), [2, 1, 1, 1]);
    let erased = erased.downcast::<()>().unwrap_err();
    let named = erased.downcast::<Name>().unwrap();
    let untyped: Segment<dyn AnyFrameMeta> = untyped.into();
    let untyped = untyped.downcast_untyped().unwrap();
    assert_eq!(counts(pa), [2, 1, 1, 1]);
    drop((untyped, named, one));
    assert!(all_unused(pa, 4));
}

#[test]
#[expect(unsafe_code, reason = "restores a handle that was forgotten")]
fn raw_segments_keep_their_counts() {
    let pa = frames(3);
    let raw = named(pa, 3).into_raw();
    assert_eq!(counts(pa), [1; 3]);
    // SAFETY: `raw` was made from a handle of this type, and is restored once.
    let segment = unsafe { Segment::<Name>::from_raw(raw) };
    assert_eq!(segment.nr_pages(), 3);
    drop(segment);
    assert!(all_unused(pa, 3));
}
