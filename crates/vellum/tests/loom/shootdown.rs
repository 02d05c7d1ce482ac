//! Shootdowns: requests and their answers, while processors enter a space, walk its table and leave it.
//!
//! The steps are those of `tlb`'s `active.rs`, `world.rs` and `flusher.rs`, on the machine's own sets, words of requests and
//! page-table words. A call of another processor is a bit in a word of the one that is called; what a translation cache
//! keeps is the thread's own; the page that an entry maps is a watched cell.
#![expect(unsafe_code, reason = "a watched cell is read and written through its pointer")]
use loom::sync::Arc;
use loom::thread;
use vellum_machine::addr::Paddr;
use vellum_machine::atomic::WordRows;
use vellum_machine::cpu::{Change, CpuId, CpuSetWord};
use vellum_machine::primitive::{AtomicBool, AtomicU64, Ordering, UnsafeCell, explore};
use vellum_machine::ptword::{self, X86_64};
use vstd::prelude::{Ghost, Tracked};

/// As in `world.rs`.
const NUMBER: usize = 0;
const AWAITED: usize = 1;
const TEXT: usize = 3;

/// The words of all processors, too many for the stack of a thread of loom.
static REQUESTS: WordRows = WordRows::new().0;

const TABLE: Paddr = Paddr(0);
const PRESENT: u64 = 1;

/// A permission that only the verifier would have to see.
fn ghost<T>() -> Tracked<T> {
    Tracked::assume_new()
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(u32::try_from(number).unwrap()).unwrap()
}

/// Two processors, a space whose table has one entry for each of them, and the pages that these map.
struct Space {
    set: CpuSetWord,
    called: [AtomicU64; 2],
    pages: [UnsafeCell<u64>; 2],
    done: [AtomicBool; 2],
}

// SAFETY: what may be done with the pages, loom judges.
unsafe impl Sync for Space {}

/// The translations that a processor keeps.
#[derive(Default)]
struct Cache([bool; 2]);

impl Space {
    /// Both entries map something. `members` are the processors on which the space is active.
    fn new(members: &[usize]) -> Arc<Space> {
        let space = Space {
            set: CpuSetWord::new().0,
            called: [const { AtomicU64::new(0) }; 2],
            pages: [const { UnsafeCell::new(7) }; 2],
            done: [const { AtomicBool::new(false) }; 2],
        };
        // The first look at each word, before there are threads.
        for me in 0..2 {
            for j in [NUMBER, AWAITED, TEXT] {
                assert_eq!(REQUESTS.word(me, j).load_relaxed(ghost()), 0);
            }
            assert_eq!(space.called[me].load(Ordering::Relaxed), 0);
            assert!(!space.done[me].load(Ordering::Relaxed));
            space.pages[me].with(|_| ());
            // SAFETY: nobody else has the table; there is no walker.
            unsafe { ptword::store_unreachable(TABLE, me, PRESENT, ghost()) };
        }
        for &member in members {
            space.set.add(ghost(), cpu(member));
        }
        // Also, what was written is ordered before what the program reads: not by the fences that it is about.
        assert_eq!(space.set.load_after(Change::Store, ghost()).len(), members.len());
        Arc::new(space)
    }

    /// What user code does: it reads page `n`, if the cache or the table has a translation.
    fn touch(&self, cache: &mut Cache, n: usize) {
        // SAFETY: the table stays; there is no walker but this.
        cache.0[n] |= unsafe { ptword::load::<X86_64>(TABLE, n, ghost()) } & PRESENT != 0;
        if cache.0[n] {
            // SAFETY: who translates to a page has it, which loom judges.
            assert_eq!(self.pages[n].with(|page| unsafe { *page }), 7);
        }
    }

    /// `request::Serve::run`, for each call that came: says what was to be flushed.
    fn serve(&self, me: usize, cache: &mut Cache) -> Option<u64> {
        // Acquire: what the caller wrote is seen.
        let callers = self.called[me].swap(0, Ordering::Acquire);
        let sender = (0..2).find(|sender| callers & (1 << sender) != 0)?;
        let text = REQUESTS.word(sender, TEXT).load_relaxed(ghost());
        cache.0 = [false; 2];
        REQUESTS.word(sender, AWAITED).clear_release(ghost(), 1 << me);
        Some(text)
    }

    /// `request::send`, if the last request was answered: its number.
    fn send(&self, me: usize, to: usize, text: u64) -> Option<u64> {
        let word = |j| REQUESTS.word(me, j);
        word(AWAITED).cas_acquire(ghost(), 0, 1 << me).ok()?;
        word(TEXT).store_relaxed(ghost(), text);
        let number = word(NUMBER).load_relaxed(ghost()) + 1;
        word(NUMBER).store_release(ghost(), number);
        word(AWAITED).store_release(ghost(), 1 << to);
        // Release: as a call of another processor.
        self.called[to].fetch_or(1 << me, Ordering::Release);
        Some(number)
    }

    /// `CacheWorld::answered`.
    fn answered(&self, me: usize, number: u64) -> bool {
        let word = |j| REQUESTS.word(me, j);
        word(NUMBER).load_acquire(ghost()) != number || word(AWAITED).load_acquire(ghost()) == 0
    }

    /// What an unmap does with entry `n`: it takes the page out, has the other flush if it is in the set, and uses the
    /// page for something else.
    fn take(&self, change: Change, me: usize, n: usize, cache: &mut Cache) {
        // SAFETY: the entry's lock is held; there is no walker but the other's, which notes nothing.
        match change {
            Change::Exchange => _ = unsafe { ptword::swap::<X86_64>(TABLE, n, 0, ghost()) },
            Change::Store => unsafe {
                let ghosts = (Ghost::assume_new(), Ghost::assume_new());
                ptword::store_quiet::<X86_64>(TABLE, n, 0, ghosts.0, ghosts.1, ghost());
            },
        }
        let members = self.set.load_after(change, ghost());
        cache.0[n] = false;
        let other = 1 - me;
        if members.contains(cpu(other)) {
            let number = self.send(me, other, n as u64 + 1).expect("the last request was answered");
            while !self.answered(me, number) {
                self.serve(me, cache);
                thread::yield_now();
            }
        }
        // SAFETY: no processor translates to it, which loom judges.
        self.pages[n].with_mut(|page| unsafe { *page = 8 });
        self.done[me].store(true, Ordering::SeqCst);
    }

    /// Serves until the other has ended.
    fn serve_until_done(&self, me: usize, cache: &mut Cache) {
        while !self.done[1 - me].load(Ordering::SeqCst) {
            self.serve(me, cache);
            thread::yield_now();
        }
    }
}

/// Starts the other processor.
fn spawn(space: &Arc<Space>, work: impl FnOnce(&Space) + 'static) -> thread::JoinHandle<()> {
    let space = space.clone();
    thread::spawn(move || work(&space))
}

#[test]
fn a_page_goes_after_the_answer() {
    explore(None, || {
        let space = Space::new(&[0, 1]);
        let other = spawn(&space, |space| {
            let mut cache = Cache::default();
            space.touch(&mut cache, 0);
            while space.serve(1, &mut cache).is_none() {
                thread::yield_now();
            }
            space.touch(&mut cache, 0);
        });
        space.take(Change::Store, 0, 0, &mut Cache::default());
        other.join().unwrap();
    });
}

/// One enters a space while another changes an entry and reads the members.
fn enters_meanwhile(change: Change) {
    explore(None, move || {
        let space = Space::new(&[0]);
        let other = spawn(&space, |space| {
            let mut cache = Cache::default();
            space.set.add(ghost(), cpu(1));
            space.touch(&mut cache, 0);
            space.serve_until_done(1, &mut cache);
        });
        space.take(change, 0, 0, &mut Cache::default());
        other.join().unwrap();
    });
}

#[test]
fn whoever_enters_meanwhile_sees_the_exchange_or_is_asked() {
    enters_meanwhile(Change::Exchange);
}

#[test]
fn whoever_enters_meanwhile_sees_the_store_or_is_asked() {
    enters_meanwhile(Change::Store);
}

#[test]
fn whoever_left_has_forgotten() {
    explore(None, || {
        let space = Space::new(&[0, 1]);
        let other = spawn(&space, |space| {
            let mut cache = Cache::default();
            space.touch(&mut cache, 0);
            // Another root is set.
            cache.0 = [false; 2];
            space.set.remove(ghost(), cpu(1));
            space.serve_until_done(1, &mut cache);
        });
        space.take(Change::Store, 0, 0, &mut Cache::default());
        other.join().unwrap();
    });
}

#[test]
fn two_that_ask_each_other_answer_each_other() {
    explore(None, || {
        let space = Space::new(&[0, 1]);
        let run = |me: usize| {
            move |space: &Space| {
                let mut cache = Cache::default();
                space.touch(&mut cache, 1 - me);
                space.take(Change::Exchange, me, me, &mut cache);
                space.serve_until_done(me, &mut cache);
            }
        };
        let other = spawn(&space, run(1));
        run(0)(&space);
        other.join().unwrap();
    });
}

#[test]
fn a_request_is_written_again_when_it_was_read() {
    explore(None, || {
        let space = Space::new(&[0, 1]);
        let other = spawn(&space, |space| {
            let mut cache = Cache::default();
            for text in [1, 2] {
                let read = loop {
                    match space.serve(1, &mut cache) {
                        Some(read) => break read,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(read, text, "what is read is what was asked");
            }
        });
        let first = space.send(0, 1, 1).expect("nothing was asked before");
        while space.send(0, 1, 2).is_none() {
            thread::yield_now();
        }
        assert!(space.answered(0, first), "a later number says so");
        other.join().unwrap();
    });
}
