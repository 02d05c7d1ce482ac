//! A few thousand frames: memory at the addresses of the linear map and of the metadata region.
#![expect(unsafe_code, reason = "looks at frames and slots through raw pointers")]
use crate::memory::power_on;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use vellum::frame::{
    AnyFrameMeta, Frame, GetFrameError, MetaSlot, index_to_frame, is_initialized, meta_to_frame,
    set_free_hook,
};
use vellum::io::VmReader;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE};

/// The frames that there are.
pub const FRAMES: usize = 4096;

static FREED: [AtomicU32; FRAMES] = [const { AtomicU32::new(0) }; FRAMES];

fn on_free(pa: Paddr) {
    FREED[pa.0 / PAGE_SIZE].fetch_add(1, Relaxed);
}

/// Sets the machine up, once.
fn boot() {
    static BOOT: OnceLock<()> = OnceLock::new();
    BOOT.get_or_init(|| {
        assert_eq!(Frame::from_in_use(Paddr(0)).unwrap_err(), GetFrameError::OutOfBound(Paddr(0)));
        assert!(!is_initialized(Paddr(0)));
        assert_eq!((index_to_frame(0), meta_to_frame(Vaddr(META_BASE))), (None, None));
        power_on(FRAMES);
        set_free_hook(on_free).expect("nobody else registers one");
    });
}

/// Hands out `n` frames that no other test uses.
pub fn frames(n: usize) -> Paddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    boot();
    let first = NEXT.fetch_add(n, Relaxed);
    assert!(first + n <= FRAMES, "more frames are needed for the tests");
    Paddr(first * PAGE_SIZE)
}

/// The `i`th frame after `pa`.
pub fn nth(pa: Paddr, i: usize) -> Paddr {
    Paddr(pa.0 + i * PAGE_SIZE)
}

/// How often the frame was given back.
pub fn freed(pa: Paddr) -> u32 {
    FREED[pa.0 / PAGE_SIZE].load(Relaxed)
}

/// Tells whether the frame is unused.
pub fn is_unused(pa: Paddr) -> bool {
    matches!(Frame::from_in_use(pa), Err(GetFrameError::Unused(at)) if at == pa)
}

/// Writes a word into a frame that the caller has to itself.
pub fn write_word(pa: Paddr, i: usize, value: u64) {
    assert!(pa.0 < FRAMES * PAGE_SIZE && i < 512);
    // SAFETY: the address is inside the linear map of the tests, and frames are each test's own.
    unsafe { ((LINEAR_MAP_BASE + pa.0) as *mut u64).add(i).write(value) }
}

/// Reads a word of a frame that the caller has to itself.
pub fn read_word(pa: Paddr, i: usize) -> u64 {
    assert!(pa.0 < FRAMES * PAGE_SIZE && i < 512);
    // SAFETY: as in `write_word`.
    unsafe { ((LINEAR_MAP_BASE + pa.0) as *const u64).add(i).read() }
}

/// Sets the count of a frame behind the back of the frame layer.
pub fn force_count(pa: Paddr, count: u64) {
    assert!(pa.0 < FRAMES * PAGE_SIZE);
    let slot = (META_BASE + pa.0 / PAGE_SIZE * size_of::<MetaSlot>()) as *mut u64;
    // SAFETY: the count stands after the 40 bytes of metadata, in a slot that is this test's own.
    unsafe { (*slot.add(5).cast::<std::sync::atomic::AtomicU64>()).store(count, Relaxed) }
}

/// Metadata that notes what happens to it.
pub struct Noted {
    pub tag: u64,
    finished: bool,
    log: &'static Log,
}

/// What happened to metadata.
#[derive(Default)]
pub struct Log {
    pub finished: AtomicU32,
    pub dropped: AtomicU32,
    /// The first word of the frame when `on_drop` ran.
    pub word: AtomicUsize,
    /// The bytes that the reader had.
    pub len: AtomicUsize,
}

impl Log {
    pub fn new() -> &'static Log {
        Box::leak(Box::default())
    }

    /// How often `on_drop` and the destructor ran.
    pub fn counts(&self) -> (u32, u32) {
        (self.finished.load(Relaxed), self.dropped.load(Relaxed))
    }
}

impl Noted {
    pub fn new(tag: u64, log: &'static Log) -> Noted {
        Noted { tag, finished: false, log }
    }
}

impl AnyFrameMeta for Noted {
    fn on_drop(&mut self, reader: &mut VmReader<'_>) {
        assert!(!core::mem::replace(&mut self.finished, true), "once");
        self.log.len.store(reader.remain(), Relaxed);
        let word = reader.read_val::<u64>().expect("a frame has a word");
        self.log.word.store(word as usize, Relaxed);
        self.log.finished.fetch_add(1, Relaxed);
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.log.dropped.fetch_add(1, Relaxed);
    }
}

/// Metadata of another type.
#[derive(Debug, PartialEq)]
pub struct Name(pub String);

impl AnyFrameMeta for Name {}

/// Metadata of frames with untyped contents.
pub struct Cached {
    pub offset: u64,
}

vellum::untyped_frame_meta!(Cached);

/// Runs the test `name` again in a process of its own, where `body` is to stop the machine; returns what it said.
pub fn in_child(name: &str, body: impl FnOnce()) -> String {
    const CHILD: &str = "VELLUM_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let _ = catch_unwind(AssertUnwindSafe(body));
        eprintln!("the machine went on");
        std::process::exit(0);
    }
    let this = std::env::current_exe().expect("a test knows its executable");
    let output = std::process::Command::new(this)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a test can be run again");
    assert!(!output.status.success(), "the machine went on");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
