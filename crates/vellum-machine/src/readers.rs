//! Counts of readers, one per processor, each on a cache line of its own.
//!
//! The order of a reader's entry and what it reads afterwards against an unlinking and the reading of the count
//! afterwards is the store-load order of Dekker's algorithm: the reader passes a [light](crate::fence::light) fence,
//! who unlinked a [heavy](crate::fence::heavy) one.
//!
//! The count of a processor is written by code on that processor alone ([`ReaderSeat`]). So a change of it need not be
//! atomic for other processors, only for handlers that interrupt it: one instruction at most, without a lock on the bus.
use crate::arch;
use crate::cpu::{self, MAX_CPUS, PreemptGuard};
use crate::fence;
use crate::primitive::{AtomicU64, Ordering};
#[cfg(verus_keep_ghost)]
use vstd::atomic::PermissionDataU64;
use vstd::atomic::PermissionU64;
use vstd::prelude::*;

verus! {

/// The counts in a table: one for each processor that this crate can tell apart, and one for all threads of a host
/// that are none.
pub const NR_COUNTS: usize = MAX_CPUS + 1;

/// A processor's word counts its readers below this, and in multiples of it how often its last reader left.
pub const LEAVINGS: u64 = 0x1_0000;

/// The word after one reader left. Its last one counts that it did, as far as there is room for that.
pub open spec fn left(word: u64) -> u64 {
    (if word % LEAVINGS == 1 && word + (LEAVINGS - 1) <= u64::MAX {
        word + (LEAVINGS - 1)
    } else {
        word - 1
    }) as u64
}

/// [`left`], to compute.
#[inline(always)]
fn without_reader(word: u64) -> (r: u64)
    requires
        word % LEAVINGS >= 1,
    ensures
        r == left(word),
    opens_invariants none
    no_unwind
{
    if word % LEAVINGS == 1 && word <= u64::MAX - (LEAVINGS - 1) {
        word + (LEAVINGS - 1)
    } else {
        rarely();
        word - 1
    }
}

/// Tells the compiler that code that comes here is rare.
#[cold]
#[inline(always)]
fn rarely()
    opens_invariants none
    no_unwind
{
}

/// The word with one reader more, unless it has as many as it can have.
#[inline(always)]
fn with_reader(word: u64) -> (r: Option<u64>)
    ensures
        r matches Some(new) ==> word % LEAVINGS < LEAVINGS - 1 && new == word + 1,
    opens_invariants none
    no_unwind
{
    if word % LEAVINGS == LEAVINGS - 1 {
        None
    } else {
        Some(word + 1)
    }
}

/// Keeps code on the processor whose count it may change.
#[verifier::external_body]
#[derive(Debug)]
pub struct ReaderSeat {
    index: usize,
    _here: PreemptGuard,
}

impl ReaderSeat {
    /// Which count it is.
    pub uninterp spec fn index(&self) -> nat;

    /// Takes the seat of the calling processor, on which the code stays until it is dropped.
    #[inline(always)]
    #[verifier::external_body]
    pub fn take() -> (r: ReaderSeat)
        ensures
            r.index() < NR_COUNTS,
        opens_invariants none
        no_unwind
    {
        let here = cpu::disable_preempt();
        ReaderSeat { index: cpu::try_current().map_or(MAX_CPUS, |cpu| cpu.index()), _here: here }
    }
}

#[verifier::external]
#[repr(align(64))]
struct Line(AtomicU64);

/// One count per processor.
#[verifier::external_body]
pub struct ReaderCounts {
    lines: [Line; NR_COUNTS],
}

impl ReaderCounts {
    /// The identity of the count of processor `c`, which a permission names.
    pub uninterp spec fn id(&self, c: int) -> int;

    /// Makes the counts, all zero, and the permissions to them.
    #[verifier::external_body]
    pub const fn new() -> (r: (ReaderCounts, Tracked<Map<nat, PermissionU64>>))
        ensures
            r.1@.dom() == Set::<nat>::range(0, NR_COUNTS as nat),
            forall|c: nat| c < NR_COUNTS ==> #[trigger] r.1@[c]@ == (PermissionDataU64 { patomic: r.0.id(c as int), value: 0 }),
    {
        (ReaderCounts { lines: [const { Line(AtomicU64::new(0)) }; NR_COUNTS] }, Tracked::assume_new())
    }

    /// Counts one reader more on the calling processor. Where it has as many as can be counted, nothing changes, and the
    /// answer is no.
    ///
    /// What precedes comes before it for every processor that [observes](Self::observe) it; what follows may be done
    /// first, see [`announce`](Self::announce).
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn enter(&self, seat: &ReaderSeat, Tracked(perm): Tracked<&mut PermissionU64>) -> (r: bool)
        requires
            old(perm)@.patomic == self.id(seat.index() as int),
        ensures
            final(perm)@.patomic == self.id(seat.index() as int),
            r ==> old(perm)@.value % LEAVINGS < LEAVINGS - 1 && final(perm)@.value == old(perm)@.value + 1,
            !r ==> final(perm)@.value == old(perm)@.value,
        opens_invariants none
        no_unwind
    {
        let own = self.lines[..MAX_CPUS].get(seat.index).map(|line| &line.0);
        arch::change_count(own, &self.lines[MAX_CPUS].0, with_reader)
    }

    /// Counts a reader out on the calling processor.
    ///
    /// What precedes comes before it for every processor that [observes](Self::observe) it.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn leave(&self, seat: &ReaderSeat, Tracked(perm): Tracked<&mut PermissionU64>)
        requires
            old(perm)@.patomic == self.id(seat.index() as int),
            old(perm)@.value % LEAVINGS >= 1,
        ensures
            final(perm)@.patomic == self.id(seat.index() as int),
            final(perm)@.value == left(old(perm)@.value),
        opens_invariants none
        no_unwind
    {
        let own = self.lines[..MAX_CPUS].get(seat.index).map(|line| &line.0);
        arch::change_count(own, &self.lines[MAX_CPUS].0, |word| Some(without_reader(word)));
    }

    /// Orders what is read from here on after what was counted before, for every processor that
    /// [synchronizes](Self::synchronize).
    #[inline(always)]
    #[verifier::external_body]
    pub fn announce(&self)
        opens_invariants none
        no_unwind
    {
        fence::light();
    }

    /// Reads a count, in one order with every entry; [`synchronize`](Self::synchronize) comes before it.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn observe(&self, c: usize, Tracked(perm): Tracked<&PermissionU64>) -> (r: u64)
        requires
            c < NR_COUNTS,
            perm@.patomic == self.id(c as int),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.lines[c].0.load(Ordering::SeqCst)
    }

    /// Orders the readings of counts that follow after everything that was written before. Every processor passes a fence.
    #[inline(always)]
    #[verifier::external_body]
    pub fn synchronize(&self)
        opens_invariants none
        no_unwind
    {
        fence::heavy();
    }
}

} // verus!
