//! A machine of a few frames, set up anew in each execution, and metadata that loom watches.
#![expect(unsafe_code, reason = "hands memory to the frame layer")]
use crate::map::map;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use vellum::frame::{AnyFrameMeta, Frame, GetFrameError, init_metadata, set_free_hook};
use vellum::io::VmReader;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE, META_SLOT_SIZE};
use vellum_machine::primitive::{UnsafeCell, explore};

/// The frame that programs are about.
pub const FRAME: Paddr = Paddr(0);

const FRAMES: usize = 1;

// These count within one execution. They are the host's, so that counting orders nothing.
static MADE: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

/// Explores a program over a machine in which no frame is used, and expects that none is in the end.
pub fn with_frames(preemptions: Option<usize>, program: impl Fn() + Send + Sync + 'static) {
    map_once();
    explore(preemptions, move || {
        boot();
        program();
        assert!(is_unused(), "a count is left");
        assert_eq!(DROPPED.load(Relaxed), MADE.load(Relaxed), "metadata are dropped once");
    });
}

/// How often the frame was given back in this execution.
pub fn freed() -> usize {
    FREED.load(Relaxed)
}

fn map_once() {
    static MAPPED: OnceLock<()> = OnceLock::new();
    MAPPED.get_or_init(|| {
        map(LINEAR_MAP_BASE, FRAMES * PAGE_SIZE);
        map(META_BASE, FRAMES * META_SLOT_SIZE);
    });
}

fn boot() {
    for counter in [&MADE, &DROPPED, &FREED] {
        counter.store(0, Relaxed);
    }
    // SAFETY: both regions are mapped for these programs alone, and nothing is left of the execution before.
    unsafe { init_metadata(FRAMES) };
    set_free_hook(|_| _ = FREED.fetch_add(1, Relaxed)).expect("it is the first of this execution");
    // The first look at the slot's count, before there are threads.
    assert!(is_unused());
}

fn is_unused() -> bool {
    matches!(Frame::from_in_use(FRAME), Err(GetFrameError::Unused(FRAME)))
}

/// Metadata with a word that loom watches: a read of it and its end must be ordered.
pub struct Watched {
    word: UnsafeCell<u64>,
}

// SAFETY: through a shared reference the word is only read; that this is so, loom judges.
unsafe impl Sync for Watched {}

impl Watched {
    pub fn new(word: u64) -> Watched {
        MADE.fetch_add(1, Relaxed);
        let watched = Watched { word: UnsafeCell::new(0) };
        watched.write(word);
        watched
    }

    pub fn read(&self) -> u64 {
        // SAFETY: nobody writes to what is shared, which loom judges.
        self.word.with(|word| unsafe { *word })
    }

    pub fn set(&mut self, word: u64) {
        self.write(word);
    }

    fn write(&self, word: u64) {
        // SAFETY: the callers have it to themselves, which loom judges.
        self.word.with_mut(|place| unsafe { *place = word });
    }
}

impl AnyFrameMeta for Watched {
    fn on_drop(&mut self, _: &mut VmReader<'_>) {
        self.set(u64::MAX);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.set(u64::MAX);
        DROPPED.fetch_add(1, Relaxed);
    }
}
