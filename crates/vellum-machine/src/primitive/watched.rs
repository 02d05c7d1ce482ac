//! Those of loom.
//!
//! loom makes its objects anew in each execution, and not in constants. So a word here is a constant that remembers
//! its first value, and has loom make the object when it is used for the first time in an execution: statics begin
//! each execution as a program begins. To loom that first use is a write: a word that several threads use is to be
//! looked at once before the first of them is spawned. One that is not, loom reports.
#![allow(unsafe_code, reason = "words are shared between threads that take turns")]
extern crate std;

use super::Ordering;
use core::cell::{self, Cell};
use core::fmt;
use core::mem::ManuallyDrop;
use core::sync::atomic::AtomicU64 as Counter;
use std::sync::{Mutex, PoisonError};

pub use loom::hint::spin_loop;
pub use loom::sync::atomic::fence;

/// Which execution runs; zero before the first.
static EXECUTION: Counter = Counter::new(0);

/// Explores the executions of `program`, all of them or those with so many preemptions at most, and prints how many
/// there are.
///
/// Programs are explored one at a time, since statics are the same in all of them.
///
/// # Panics
/// Where there is one execution alone, as of threads that never meet.
pub fn explore(preemptions: Option<usize>, program: impl Fn() + Send + Sync + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    // A program that failed leaves nothing behind that the next one uses.
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    let before = EXECUTION.load(Ordering::Relaxed);
    builder.check(move || {
        // Relaxed: all threads of a program are one thread of the host.
        EXECUTION.fetch_add(1, Ordering::Relaxed);
        program();
    });
    let explored = EXECUTION.load(Ordering::Relaxed) - before;
    assert!(explored > 1, "the threads never meet");
    std::println!("{} executions: {explored}", std::thread::current().name().unwrap_or_default());
}

loom::thread_local! {
    /// The processor that the thread says it is.
    static SEAT: Cell<Option<u32>> = Cell::new(None);
}

/// Makes the calling thread of a program the processor with this number.
pub fn take_seat(number: u32) {
    SEAT.with(|seat| seat.set(Some(number)));
}

/// Returns the number of the processor that the calling thread is.
pub fn seat() -> Option<u32> {
    SEAT.with(Cell::get)
}

/// An object of loom, made at its first use in each execution.
struct Watch<L>(cell::UnsafeCell<Option<(u64, ManuallyDrop<L>)>>);

// SAFETY: the threads of a program are one thread of the host, and programs run one at a time: see `explore`.
unsafe impl<L> Send for Watch<L> {}

// SAFETY: as above.
unsafe impl<L> Sync for Watch<L> {}

impl<L> Watch<L> {
    const fn new() -> Watch<L> {
        Watch(cell::UnsafeCell::new(None))
    }

    fn get(&self, make: impl FnOnce() -> L) -> &L {
        let now = EXECUTION.load(Ordering::Relaxed);
        // SAFETY: `&L` are used for one operation each, and none is left from an earlier execution. In this one
        // the object is made once.
        unsafe {
            if (*self.0.get()).as_ref().is_none_or(|(then, _)| *then != now) {
                let made = make();
                *self.0.get() = Some((now, ManuallyDrop::new(made)));
            }
            (*self.0.get()).as_ref().map(|(_, object)| &**object).expect("it was made")
        }
    }
}

loom::thread_local! {
    /// The thread made a sequentially consistent write since its last fence.
    static WROTE: Cell<bool> = Cell::new(false);
}

/// How an access bears on the one order of all that are sequentially consistent.
enum Access {
    Read,
    Write,
    Both,
}

/// Keeps that order: loom knows fences, but takes other sequentially consistent accesses for ones that acquire and
/// release. What they lack is that a thread's write comes before its next read, and a fence between the two gives it.
/// There is none between such a write and a read of another kind, for which nothing is promised.
fn keep_order(access: Access, order: Ordering) {
    if order != Ordering::SeqCst {
        return;
    }
    WROTE.with(|wrote| {
        if !matches!(access, Access::Write) && wrote.get() {
            fence(Ordering::SeqCst);
        }
        wrote.set(!matches!(access, Access::Read));
    });
}

macro_rules! atomics {
    ($($(#[$doc:meta])* $name:ident $([$t:ident])?: $value:ty;)+) => {$(
        $(#[$doc])*
        pub struct $name$(<$t>)? {
            first: $value,
            watch: Watch<loom::sync::atomic::$name$(<$t>)?>,
        }

        impl$(<$t>)? $name$(<$t>)? {
            /// Makes a word.
            pub const fn new(first: $value) -> Self {
                Self { first, watch: Watch::new() }
            }

            fn word(&self) -> &loom::sync::atomic::$name$(<$t>)? {
                self.watch.get(|| loom::sync::atomic::$name::new(self.first))
            }

            /// See `core`.
            pub fn load(&self, order: Ordering) -> $value {
                keep_order(Access::Read, order);
                self.word().load(order)
            }

            /// See `core`.
            pub fn store(&self, value: $value, order: Ordering) {
                keep_order(Access::Write, order);
                self.word().store(value, order)
            }

            /// See `core`.
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                keep_order(Access::Both, success);
                self.word().compare_exchange(current, new, success, failure)
            }

            /// See `core`. It does not fail for no reason: the loop around it would only go round once more.
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            /// See `core`.
            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                f: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                keep_order(Access::Both, success);
                self.word().fetch_update(success, failure, f)
            }
        }

        impl$(<$t>)? fmt::Debug for $name$(<$t>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )+};
}

atomics! {
    /// A truth value.
    AtomicBool: bool;
    /// A pointer.
    AtomicPtr[T]: *mut T;
    /// A byte.
    AtomicU8: u8;
    /// A word of 32 bits.
    AtomicU32: u32;
    /// A word of 64 bits.
    AtomicU64: u64;
    /// A word that counts what memory has.
    AtomicUsize: usize;
}

impl AtomicBool {
    /// See `core`. What changes nothing writes nothing: loom does not know that a swap comes right after what it read,
    /// and would let the `true` of a lock that was found taken come after the `false` of whoever frees it.
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        let failure = match order {
            Ordering::AcqRel => Ordering::Acquire,
            Ordering::Release => Ordering::Relaxed,
            order => order,
        };
        self.compare_exchange(!value, value, order, failure).unwrap_or_else(|found| found)
    }
}

// SAFETY: it is a word, as in `core`.
unsafe impl<T> Send for AtomicPtr<T> {}

// SAFETY: as above.
unsafe impl<T> Sync for AtomicPtr<T> {}

macro_rules! operations {
    ($($name:ident: $value:ty { $($operation:ident)+ })+) => {$(
        impl $name {$(
            /// See `core`.
            pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                keep_order(Access::Both, order);
                self.word().$operation(value, order)
            }
        )+}
    )+};
}

operations! {
    AtomicU8: u8 { swap fetch_add fetch_sub fetch_and fetch_or }
    AtomicU32: u32 { swap fetch_add fetch_sub fetch_and fetch_or }
    AtomicU64: u64 { swap fetch_add fetch_sub fetch_and fetch_or }
    AtomicUsize: usize { swap fetch_add fetch_sub fetch_and fetch_or }
}

impl Default for AtomicBool {
    fn default() -> AtomicBool {
        AtomicBool::new(false)
    }
}

impl Default for AtomicU64 {
    fn default() -> AtomicU64 {
        AtomicU64::new(0)
    }
}

/// A cell whose contents change through a shared reference.
///
/// loom sees where each access begins, but not how long what it lent is used.
pub struct UnsafeCell<T: ?Sized> {
    watch: Watch<loom::cell::UnsafeCell<()>>,
    value: cell::UnsafeCell<T>,
}

impl<T> UnsafeCell<T> {
    /// Makes a cell around a value.
    pub const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell { watch: Watch::new(), value: cell::UnsafeCell::new(value) }
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    fn watched(&self) -> &loom::cell::UnsafeCell<()> {
        self.watch.get(|| loom::cell::UnsafeCell::new(()))
    }

    /// Gives `f` the pointer to the value, to read it.
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.watched().with(|_| f(self.value.get()))
    }

    /// Gives `f` the pointer to the value, to change it.
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.watched().with_mut(|_| f(self.value.get()))
    }

    /// Returns the value through the only reference to the cell.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for UnsafeCell<T> {
    fn default() -> UnsafeCell<T> {
        UnsafeCell::new(T::default())
    }
}

impl<T: ?Sized> fmt::Debug for UnsafeCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnsafeCell")
    }
}
