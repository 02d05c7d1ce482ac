//! From addresses to slots and back.
use crate::support::*;
use proptest::prelude::*;
use vellum::frame::{
    GetFrameError, MetaSlot, frame_to_index, frame_to_meta, index_to_frame, is_initialized, meta_to_frame,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::layout::{META_BASE, PADDR_LIMIT};

#[test]
fn numbers_and_slots_are_inverse_to_addresses() {
    frames(0);
    for i in 0..FRAMES {
        let pa = Paddr(i * PAGE_SIZE);
        assert_eq!((frame_to_index(pa), index_to_frame(i)), (Ok(i), Some(pa)));
        let slot = Vaddr(META_BASE + i * size_of::<MetaSlot>());
        assert_eq!((frame_to_meta(pa), meta_to_frame(slot)), (Ok(slot), Some(pa)));
    }
    assert_eq!(index_to_frame(FRAMES), None);
    assert_eq!(meta_to_frame(Vaddr(META_BASE + FRAMES * size_of::<MetaSlot>())), None);
}

fn anything() -> impl Strategy<Value = usize> {
    let near = prop_oneof![
        Just(0),
        Just(FRAMES),
        Just(FRAMES * PAGE_SIZE),
        Just(PADDR_LIMIT),
        Just(PADDR_LIMIT / PAGE_SIZE),
        Just(META_BASE),
        Just(META_BASE + FRAMES * 64),
        Just(META_BASE + PADDR_LIMIT / 64),
        Just(usize::MAX),
    ];
    let step = prop_oneof![Just(1), Just(64), Just(PAGE_SIZE)];
    prop_oneof![
        any::<usize>(),
        (near, -3isize..4, step)
            .prop_map(|(near, n, step)| near.wrapping_add_signed(n.wrapping_mul(step as isize))),
    ]
}

#[test]
fn every_number_has_an_answer() {
    frames(0);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) };
    proptest!(config, |(n in anything())| {
        let pa = Paddr(n);
        let refused = if n % PAGE_SIZE != 0 {
            Some(GetFrameError::NotAligned(pa))
        } else if n >= FRAMES * PAGE_SIZE {
            Some(GetFrameError::OutOfBound(pa))
        } else {
            None
        };
        prop_assert_eq!(frame_to_index(pa).err(), refused);
        prop_assert_eq!(frame_to_meta(pa).err(), refused);
        prop_assert!(refused.is_none() || !is_initialized(pa));
        prop_assert_eq!(index_to_frame(n).is_some(), n < FRAMES);
        let is_slot = (META_BASE..META_BASE + FRAMES * 64).contains(&n) && n % 64 == 0;
        prop_assert_eq!(meta_to_frame(Vaddr(n)).is_some(), is_slot);
    });
}
