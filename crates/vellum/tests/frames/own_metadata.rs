//! Metadata as a kernel declares its own.
use crate::support::{frames, is_unused, nth, write_word};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vellum::frame::{AnyFrameMeta, Frame, UFrame, UniqueFrame};
use vellum::io::VmReader;
use vellum_machine::addr::Paddr;

/// A page of a file in memory; what was changed is written back when the page goes away.
struct PageCache {
    offset: u64,
    dirty: AtomicU64,
}

/// What was written back: offsets, and the first two words of the pages.
static WRITTEN_BACK: Mutex<Vec<(u64, [u64; 2])>> = Mutex::new(Vec::new());

impl AnyFrameMeta for PageCache {
    fn on_drop(&mut self, reader: &mut VmReader<'_>) {
        if *self.dirty.get_mut() == 0 {
            return;
        }
        let words = [(); 2].map(|()| reader.read_val().expect("a frame has two words"));
        WRITTEN_BACK.lock().unwrap().push((self.offset, words));
    }
}

/// Memory of a program: the whole declaration of an untyped frame.
struct Anonymous {
    area: u32,
}

vellum::untyped_frame_meta!(Anonymous);

fn cached(pa: Paddr, offset: u64) -> Frame<PageCache> {
    write_word(pa, 0, offset + 1);
    write_word(pa, 1, offset + 2);
    Frame::from_unused(pa, PageCache { offset, dirty: AtomicU64::new(0) }).unwrap()
}

#[test]
fn pages_are_written_back_when_they_go_away() {
    let pa = frames(3);
    let (clean, changed) = (cached(pa, 100), cached(nth(pa, 1), 200));
    changed.clone().meta().dirty.store(1, Relaxed);
    drop((clean, changed));
    assert_eq!(*WRITTEN_BACK.lock().unwrap(), [(200, [201, 202])]);

    let mut unique = UniqueFrame::try_from(cached(nth(pa, 2), 300)).unwrap();
    *unique.meta_mut().dirty.get_mut() = 1;
    let other = unique.repurpose(Anonymous { area: 7 });
    assert_eq!(WRITTEN_BACK.lock().unwrap()[1..], [(300, [301, 302])]);

    let frame: UFrame = Frame::from(other).into();
    assert_eq!(frame.downcast_ref::<Anonymous>().unwrap().area, 7);
    drop(frame);
    assert!((0..3).all(|i| is_unused(nth(pa, i))));
}
