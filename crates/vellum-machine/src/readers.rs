//! Counts of readers, one per processor, each on a cache line of its own.
//!
//! The order of a reader's entry and what it reads afterwards against an unlinking and the reading of the count
//! afterwards is the store-load order of Dekker's algorithm: both sides are sequentially consistent.
use crate::primitive::{AtomicU64, Ordering, fence};
#[cfg(verus_keep_ghost)]
use vstd::atomic::PermissionDataU64;
use vstd::atomic::PermissionU64;
use vstd::prelude::*;

verus! {

/// The counts in a table: the processors that this crate can tell apart.
pub const NR_COUNTS: usize = 64;

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

    /// Reads a count to make a guess from.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn peek(&self, c: usize, Tracked(perm): Tracked<&PermissionU64>) -> (r: u64)
        requires
            c < NR_COUNTS,
            perm@.patomic == self.id(c as int),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.lines[c].0.load(Ordering::Relaxed)
    }

    /// Replaces `current` by `new`; may fail although the word is `current`.
    ///
    /// What follows comes after it and what precedes comes before it, for every processor.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn exchange(&self, c: usize, Tracked(perm): Tracked<&mut PermissionU64>, current: u64, new: u64) -> (r: Result<u64, u64>)
        requires
            c < NR_COUNTS,
            old(perm)@.patomic == self.id(c as int),
        ensures
            final(perm)@.patomic == self.id(c as int),
            r matches Ok(v) ==> v == current && old(perm)@.value == current && final(perm)@.value == new,
            r matches Err(v) ==> v == old(perm)@.value && final(perm)@.value == v,
        opens_invariants none
        no_unwind
    {
        let r = self.lines[c].0.compare_exchange_weak(current, new, Ordering::SeqCst, Ordering::Relaxed);
        // On x86-64 the exchange itself orders all later loads after it (Intel SDM vol. 3, section 10.2.3.9).
        #[cfg(any(loom, not(target_arch = "x86_64")))]
        fence(Ordering::SeqCst);
        r
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

    /// Orders the readings of counts that follow after everything that was written before.
    #[inline(always)]
    #[verifier::external_body]
    pub fn synchronize(&self)
        opens_invariants none
        no_unwind
    {
        fence(Ordering::SeqCst);
    }
}

} // verus!
