//! The frames of user pages.

use std::sync::atomic::{AtomicUsize, Ordering};

use vellum::frame::UFrame;
use vellum::frame::allocator::{self, FrameAllocOptions};
use vellum::io::UntypedMem;

use crate::model::Words;
use crate::strace::PAGE;

/// How many frames hold user pages.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The metadata of the frame of a user page; there are as many values as frames.
#[derive(Debug)]
pub(super) struct UserPage(());

vellum::untyped_frame_meta!(UserPage);

impl UserPage {
    fn new() -> UserPage {
        // Relaxed: only counts.
        LIVE.fetch_add(1, Ordering::Relaxed);
        UserPage(())
    }
}

impl Drop for UserPage {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns how many frames hold user pages.
pub(super) fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Returns how many frames are handed out, for whatever.
pub(super) fn allocated() -> usize {
    allocator::statistics().map_or(0, |statistics| statistics.allocated())
}

/// Makes a frame of zeros; `None`: there is no memory.
pub(super) fn zeroed() -> Option<UFrame> {
    FrameAllocOptions::new().alloc_frame_with(UserPage::new()).ok().map(UFrame::from)
}

/// Makes a frame with the contents of another; `None`: there is no memory.
pub(super) fn copy_of(frame: &UFrame) -> Option<UFrame> {
    let copy = FrameAllocOptions::new().uninit().alloc_frame_with(UserPage::new()).ok().map(UFrame::from)?;
    let copied = copy.writer().write(&mut frame.reader());
    debug_assert_eq!(copied as u64, PAGE);
    Some(copy)
}

/// Reads the words of a page that say what it holds.
pub(super) fn words(frame: &UFrame) -> Words {
    let mut words = Words::default();
    let mut head = frame.reader();
    for word in &mut words[..4] {
        *word = head.read_val().unwrap_or_default();
    }
    let mut tail = frame.reader();
    tail.skip(PAGE as usize - 8);
    words[4] = tail.read_val().unwrap_or_default();
    words
}

/// Says whether a handle and one mapping are all that hold the frame.
pub(super) fn mapped_once(handle: &UFrame) -> bool {
    handle.reference_count() == 2
}
