//! What the types promise.
use crate::support::*;
use vellum::frame::{
    AnyFrameMeta, Frame, FrameRef, META_ALIGN, META_SIZE, MetaSlot, Segment, UFrame, USegment, UniqueFrame,
};

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Frame<Name>>();
    shared_between_threads::<Frame<dyn AnyFrameMeta>>();
    shared_between_threads::<UFrame>();
    shared_between_threads::<FrameRef<'static, Name>>();
    shared_between_threads::<UniqueFrame<Name>>();
    shared_between_threads::<Segment<Name>>();
    shared_between_threads::<USegment>();
};

#[test]
fn handles_are_small() {
    assert_eq!(size_of::<MetaSlot>(), 64);
    assert_eq!(align_of::<MetaSlot>(), 64);
    assert_eq!(size_of::<Frame<Name>>(), 8);
    assert_eq!(size_of::<Option<Frame<dyn AnyFrameMeta>>>(), 8);
    assert_eq!(size_of::<Option<UFrame>>(), 8);
    assert_eq!(size_of::<Option<UniqueFrame<Name>>>(), 8);
    assert_eq!(size_of::<Segment<Name>>(), 16);
}

#[test]
fn metadata_may_fill_the_slot() {
    struct Full([u64; META_SIZE / 8]);
    impl AnyFrameMeta for Full {}
    assert_eq!((size_of::<Full>(), align_of::<Full>()), (META_SIZE, META_ALIGN));
    let pa = frames(2);
    let full = Frame::from_unused(pa, Full([1, 2, 3, 4, u64::MAX])).unwrap();
    let neighbour = Frame::from_unused(nth(pa, 1), Full([u64::MAX; 5])).unwrap();
    assert_eq!(full.clone().meta().0, [1, 2, 3, 4, u64::MAX]);
    assert_eq!((full.reference_count(), neighbour.reference_count()), (1, 1));
    drop(full);
    assert_eq!(neighbour.meta().0, [u64::MAX; 5]);
    let small = Frame::from_unused(pa, Name(String::new())).unwrap();
    assert_eq!(small.meta().0, "");
}

#[test]
fn metadata_may_hold_handles() {
    struct Node {
        level: u8,
        next: Option<Frame<Node>>,
    }
    impl AnyFrameMeta for Node {}
    let pa = frames(100);
    let mut head = None;
    for i in 0..100 {
        head = Some(Frame::from_unused(nth(pa, i), Node { level: i as u8, next: head }).unwrap());
    }
    let head = head.unwrap();
    assert_eq!(head.meta().level, 99);
    assert_eq!(head.meta().next.as_ref().unwrap().meta().level, 98);
    drop(head);
    assert!((0..100).all(|i| is_unused(nth(pa, i)) && freed(nth(pa, i)) == 1));
}
