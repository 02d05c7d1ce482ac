//! Which cache lines a piece of code writes.
//!
//! While code is [watched], the memory of the machine, its metadata, the statics of the program, and what else is named
//! are read-only. A write traps: its address is noted, its page opened for that one instruction, and closed again. So
//! every write is seen, of whatever code, atomic or not. What is not watched are the stacks of threads and the rest of
//! the heap, where the hosted machine keeps its virtual processors.
#![allow(unsafe_code, reason = "handles signals, and changes the protection of memory")]

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::mem::{MaybeUninit, zeroed};
use std::ops::Range;
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::layout::{LINEAR_MAP_BASE, META_BASE, PADDR_LIMIT};

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Lines that were written, by number, and how often each.
pub type Lines = BTreeMap<usize, usize>;

const MOST_AREAS: usize = 64;
const MOST_WRITES: usize = 1 << 16;
/// Pages that one instruction can touch.
const MOST_PAGES: usize = 4;
/// The flag that has a processor trap after the next instruction.
const TRAP_FLAG: i64 = 1 << 8;

/// What the handlers know. It has pages of its own, which stay open.
struct Watch {
    nr_areas: AtomicUsize,
    areas: [[AtomicUsize; 2]; MOST_AREAS],
    /// The thread whose writes are noted.
    thread: AtomicUsize,
    nr_writes: AtomicUsize,
    writes: [AtomicUsize; MOST_WRITES],
}

static WATCH: AtomicPtr<Watch> = AtomicPtr::new(null_mut());

thread_local! {
    /// The pages that are open for the instruction that is being carried out.
    static OPEN: [Cell<usize>; MOST_PAGES] = const { [const { Cell::new(0) }; MOST_PAGES] };
}

/// Runs `f`, and returns which lines the calling thread wrote in watched memory, `more` among it.
pub fn written_by(more: &[Range<usize>], f: impl FnOnce()) -> Lines {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let watch = watch();
    let areas: Vec<_> = writable_areas().into_iter().chain(more.iter().map(whole_pages)).collect();
    assert!(areas.len() <= MOST_AREAS);
    for (place, area) in watch.areas.iter().zip(&areas) {
        place[0].store(area.start, Ordering::SeqCst);
        place[1].store(area.end, Ordering::SeqCst);
    }
    watch.nr_areas.store(areas.len(), Ordering::SeqCst);
    watch.nr_writes.store(0, Ordering::SeqCst);
    watch.thread.store(this_thread(), Ordering::SeqCst);
    install();
    areas.iter().for_each(|area| protect(area, MprotectFlags::READ));
    f();
    watch.thread.store(0, Ordering::SeqCst);
    areas.iter().for_each(|area| protect(area, MprotectFlags::READ | MprotectFlags::WRITE));
    let count = watch.nr_writes.load(Ordering::SeqCst);
    assert!(count <= MOST_WRITES, "{count} writes are too many to note");
    let mut lines = Lines::new();
    for write in &watch.writes[..count] {
        *lines.entry(write.load(Ordering::SeqCst) / LINE).or_default() += 1;
    }
    lines
}

/// The lines that are in both.
pub fn common(one: &Lines, other: &Lines) -> Vec<usize> {
    one.keys().filter(|line| other.contains_key(line)).copied().collect()
}

fn watch() -> &'static Watch {
    let mut watch = WATCH.load(Ordering::SeqCst);
    if watch.is_null() {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses where; zeros are a `Watch`.
        let pages = unsafe { mmap_anonymous(null_mut(), size_of::<Watch>(), protection, MapFlags::PRIVATE) };
        watch = pages.expect("there is memory").cast();
        WATCH.store(watch, Ordering::SeqCst);
    }
    // SAFETY: it was mapped once, for good.
    unsafe { &*watch }
}

fn whole_pages(range: &Range<usize>) -> Range<usize> {
    range.start & !(PAGE_SIZE - 1)..range.end.next_multiple_of(PAGE_SIZE)
}

/// The machine's memory and metadata, and the program's statics, as far as they are writable.
fn writable_areas() -> Vec<Range<usize>> {
    let program = std::env::current_exe().expect("the program has a name");
    let program = program.to_str().expect("it can be printed");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the system has it");
    let mut areas = Vec::new();
    let mut end_of_program = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().expect("a range"), words.next().expect("rights"));
        let path = words.nth(3).unwrap_or("");
        let (start, end) = range.split_once('-').expect("two ends");
        let [start, end] = [start, end].map(|end| usize::from_str_radix(end, 16).expect("a number"));
        let of_machine =
            [LINEAR_MAP_BASE, META_BASE].iter().any(|base| (*base..base + PADDR_LIMIT).contains(&start));
        // Statics that begin as zeros follow what is in the file.
        let of_program = path == program || (path.is_empty() && start == end_of_program);
        if of_program {
            end_of_program = end;
        }
        if rights.contains('w') && (of_machine || of_program) {
            areas.push(start..end);
        }
    }
    assert!(areas.len() >= 3, "the program or the machine was not found in\n{maps}");
    areas
}

fn protect(area: &Range<usize>, rights: MprotectFlags) {
    // SAFETY: who writes there traps, and the handler lets it; nothing is taken away.
    unsafe { mprotect(with_exposed_provenance_mut(area.start), area.len(), rights) }.expect("it is mapped");
}

fn this_thread() -> usize {
    // SAFETY: it asks nothing.
    unsafe { libc::gettid() as usize }
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn install() {
    set_handler(libc::SIGSEGV, on_write);
    set_handler(libc::SIGTRAP, on_step);
}

fn set_handler(signal: c_int, handler: Handler) {
    // SAFETY: zeros are an action.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut before = MaybeUninit::uninit();
    // SAFETY: both point to what they should; the handlers call nothing that may not be called there.
    let set = unsafe { libc::sigaction(signal, &raw const action, before.as_mut_ptr()) };
    assert_eq!(set, 0, "signal {signal} can be handled");
}

/// Has the interrupted thread trap after one instruction, or go on without.
///
/// # Safety
/// `context` is what the handler was given.
unsafe fn set_trap_flag(context: *mut c_void, trap: bool) {
    // SAFETY: by the caller.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let flags = &mut context.uc_mcontext.gregs[libc::REG_EFL as usize];
    *flags = if trap { *flags | TRAP_FLAG } else { *flags & !TRAP_FLAG };
}

/// Changes the rights to a page from a handler.
fn set_page(page: usize, rights: c_int) {
    // SAFETY: it is a page of a watched area.
    let changed = unsafe { libc::mprotect(with_exposed_provenance_mut(page), PAGE_SIZE, rights) };
    if changed != 0 {
        std::process::abort();
    }
}

fn is_watched(watch: &Watch, at: usize) -> bool {
    let areas = &watch.areas[..watch.nr_areas.load(Ordering::SeqCst)];
    areas.iter().any(|area| (area[0].load(Ordering::SeqCst)..area[1].load(Ordering::SeqCst)).contains(&at))
}

extern "C" fn on_write(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel says where, and the watch stays.
    let (at, watch) = unsafe { ((*info).si_addr().addr(), &*WATCH.load(Ordering::SeqCst)) };
    if !is_watched(watch, at) {
        // Not ours: without a handler it comes again, and ends the process.
        // SAFETY: it asks nothing.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        return;
    }
    if watch.thread.load(Ordering::SeqCst) == this_thread() {
        let number = watch.nr_writes.fetch_add(1, Ordering::SeqCst);
        if let Some(place) = watch.writes.get(number) {
            place.store(at, Ordering::SeqCst);
        }
    }
    let page = at & !(PAGE_SIZE - 1);
    OPEN.with(|open| match open.iter().find(|place| place.get() == 0) {
        Some(place) => place.set(page),
        None => std::process::abort(),
    });
    set_page(page, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: it is what this handler was given.
    unsafe { set_trap_flag(context, true) };
}

extern "C" fn on_step(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the watch stays.
    let watch = unsafe { &*WATCH.load(Ordering::SeqCst) };
    OPEN.with(|open| {
        for place in open.iter().filter(|place| place.get() != 0) {
            // When nothing is watched any more, pages stay open.
            if watch.thread.load(Ordering::SeqCst) != 0 {
                set_page(place.get(), libc::PROT_READ);
            }
            place.set(0);
        }
    });
    // SAFETY: it is what this handler was given.
    unsafe { set_trap_flag(context, false) };
}
