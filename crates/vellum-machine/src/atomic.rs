//! Atomic words with explicit orderings.
//!
//! The permissions are those of [`vstd::atomic`]; a method names the role of its access rather than its
//! ordering. Every protocol of this project keeps one rule: a step that stores a permission for others is
//! Release, a step that takes one without having been handed a token is Acquire, every other may be
//! Relaxed. The contracts say nothing of orderings (the proofs see one order of all accesses), so the rule
//! is what makes them true on hardware.
use crate::cpu::MAX_CPUS;
use crate::primitive::{AtomicBool, AtomicU64, Ordering};
use vstd::atomic::{PermissionBool, PermissionU64};
#[cfg(verus_keep_ghost)]
use vstd::atomic::{PermissionDataBool, PermissionDataU64};
use vstd::prelude::*;

verus! {

/// A count or a state word of 64 bits.
#[verifier::external_body]
#[repr(transparent)]
pub struct RefCount {
    word: AtomicU64,
}

impl RefCount {
    /// The identity that a permission names.
    pub uninterp spec fn id(&self) -> int;

    /// Makes a word and the permission to it.
    #[inline(always)]
    #[verifier::external_body]
    pub const fn new(value: u64) -> (r: (RefCount, Tracked<PermissionU64>))
        ensures
            r.1@@ == (PermissionDataU64 { patomic: r.0.id(), value }),
        opens_invariants none
        no_unwind
    {
        (RefCount { word: AtomicU64::new(value) }, Tracked::assume_new())
    }

    /// Reads a value to look at; nothing may be concluded from it about other memory.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn load_relaxed(&self, Tracked(perm): Tracked<&PermissionU64>) -> (r: u64)
        requires
            perm@.patomic == self.id(),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.word.load(Ordering::Relaxed)
    }

    /// Reads, and sees what the writer of the value had released.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn load_acquire(&self, Tracked(perm): Tracked<&PermissionU64>) -> (r: u64)
        requires
            perm@.patomic == self.id(),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.word.load(Ordering::Acquire)
    }

    /// Writes, and hands nothing over.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn store_relaxed(&self, Tracked(perm): Tracked<&mut PermissionU64>, value: u64)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@ == (PermissionDataU64 { patomic: self.id(), value }),
        opens_invariants none
        no_unwind
    {
        self.word.store(value, Ordering::Relaxed)
    }

    /// Writes, and hands over what was done before to whoever acquires the value.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn store_release(&self, Tracked(perm): Tracked<&mut PermissionU64>, value: u64)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@ == (PermissionDataU64 { patomic: self.id(), value }),
        opens_invariants none
        no_unwind
    {
        self.word.store(value, Ordering::Release)
    }

    /// Replaces `current` by `new`; success takes over what the writer of `current` had released.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn cas_acquire(
        &self,
        Tracked(perm): Tracked<&mut PermissionU64>,
        current: u64,
        new: u64,
    ) -> (r: Result<u64, u64>)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@.patomic == self.id(),
            r matches Ok(v) ==> v == current && old(perm)@.value == current && final(perm)@.value == new,
            r matches Err(v) ==> v == old(perm)@.value && v != current && final(perm)@.value == v,
        opens_invariants none
        no_unwind
    {
        self.word.compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
    }

    /// As [`cas_acquire`](Self::cas_acquire), for a loop: may fail although the value is `current`.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn cas_weak_acquire(
        &self,
        Tracked(perm): Tracked<&mut PermissionU64>,
        current: u64,
        new: u64,
    ) -> (r: Result<u64, u64>)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@.patomic == self.id(),
            r matches Ok(v) ==> v == current && old(perm)@.value == current && final(perm)@.value == new,
            r matches Err(v) ==> v == old(perm)@.value && final(perm)@.value == v,
        opens_invariants none
        no_unwind
    {
        self.word.compare_exchange_weak(current, new, Ordering::Acquire, Ordering::Relaxed)
    }

    /// Replaces `current` by `new` in a loop, where the caller already has what the word guards.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn cas_weak_relaxed(
        &self,
        Tracked(perm): Tracked<&mut PermissionU64>,
        current: u64,
        new: u64,
    ) -> (r: Result<u64, u64>)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@.patomic == self.id(),
            r matches Ok(v) ==> v == current && old(perm)@.value == current && final(perm)@.value == new,
            r matches Err(v) ==> v == old(perm)@.value && final(perm)@.value == v,
        opens_invariants none
        no_unwind
    {
        self.word.compare_exchange_weak(current, new, Ordering::Relaxed, Ordering::Relaxed)
    }

    /// Counts down and releases; whoever reaches zero acquires what all the others released.
    ///
    /// The acquiring load reads the zero that this very call wrote, which continues the release sequence of
    /// every earlier count down. (A fence would do as well, but race detectors do not follow fences.)
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn dec_release_last_acquire(&self, Tracked(perm): Tracked<&mut PermissionU64>) -> (r: u64)
        requires
            old(perm)@.patomic == self.id(),
            old(perm)@.value > 0,
        ensures
            r == old(perm)@.value,
            final(perm)@.patomic == self.id(),
            final(perm)@.value == r - 1,
        opens_invariants none
        no_unwind
    {
        let before = self.word.fetch_sub(1, Ordering::Release);
        if before == 1 {
            self.word.load(Ordering::Acquire);
        }
        before
    }

    /// Clears the bits of `mask`, and hands over what was done before to whoever acquires the word.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn clear_release(&self, Tracked(perm): Tracked<&mut PermissionU64>, mask: u64)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@ == (PermissionDataU64 { patomic: self.id(), value: old(perm)@.value & !mask }),
        opens_invariants none
        no_unwind
    {
        self.word.fetch_and(!mask, Ordering::Release);
    }
}

/// Words in a row.
pub const ROW_WORDS: usize = 40;

/// The words of one processor, on cache lines of their own.
#[verifier::external]
#[repr(align(64))]
struct Row([RefCount; ROW_WORDS]);

/// A row of words for each processor.
#[verifier::external_body]
pub struct WordRows {
    rows: [Row; MAX_CPUS],
}

impl WordRows {
    /// The identity of word `j` of processor `c`, which a permission names.
    pub uninterp spec fn id(&self, c: int, j: int) -> int;

    /// Makes the words, all zero, and the permissions to them.
    #[expect(clippy::type_complexity, reason = "permissions by processor and word")]
    #[verifier::external_body]
    pub const fn new() -> (r: (WordRows, Tracked<Map<nat, Map<nat, PermissionU64>>>))
        ensures
            r.1@.dom() == Set::<nat>::range(0, MAX_CPUS as nat),
            forall|c: nat| c < MAX_CPUS ==> (#[trigger] r.1@[c]).dom() == Set::<nat>::range(0, ROW_WORDS as nat),
            forall|c: nat, j: nat| c < MAX_CPUS && j < ROW_WORDS ==> (#[trigger] r.1@[c][j])@ == (PermissionDataU64 {
                patomic: r.0.id(c as int, j as int),
                value: 0,
            }),
    {
        let rows = [const { Row([const { RefCount { word: AtomicU64::new(0) } }; ROW_WORDS]) }; MAX_CPUS];
        (WordRows { rows }, Tracked::assume_new())
    }

    /// Word `j` of processor `c`.
    #[inline(always)]
    #[verifier::external_body]
    pub fn word(&self, c: usize, j: usize) -> (r: &RefCount)
        requires
            c < MAX_CPUS,
            j < ROW_WORDS,
        ensures
            r.id() == self.id(c as int, j as int),
        opens_invariants none
        no_unwind
    {
        &self.rows[c].0[j]
    }
}

/// Words in a table, on cache lines of their own.
#[verifier::external_body]
#[repr(align(64))]
pub struct WordTable<const N: usize> {
    words: [RefCount; N],
}

impl<const N: usize> WordTable<N> {
    /// The identity of word `j`, which a permission names.
    pub uninterp spec fn id(&self, j: int) -> int;

    /// Makes the words, all zero, and the permissions to them.
    #[verifier::external_body]
    pub const fn new() -> (r: (WordTable<N>, Tracked<Map<nat, PermissionU64>>))
        ensures
            r.1@.dom() == Set::<nat>::range(0, N as nat),
            forall|j: nat| j < N ==> (#[trigger] r.1@[j])@ == (PermissionDataU64 { patomic: r.0.id(j as int), value: 0 }),
    {
        (WordTable { words: [const { RefCount { word: AtomicU64::new(0) } }; N] }, Tracked::assume_new())
    }

    /// Word `j`.
    #[inline(always)]
    #[verifier::external_body]
    pub fn word(&self, j: usize) -> (r: &RefCount)
        requires
            j < N,
        ensures
            r.id() == self.id(j as int),
        opens_invariants none
        no_unwind
    {
        &self.words[j]
    }
}

/// A word of two states: a lock, or a mark.
#[verifier::external_body]
#[repr(transparent)]
pub struct Flag {
    word: AtomicBool,
}

impl Flag {
    /// The identity that a permission names.
    pub uninterp spec fn id(&self) -> int;

    /// Makes a flag and the permission to it.
    #[inline(always)]
    #[verifier::external_body]
    pub const fn new(value: bool) -> (r: (Flag, Tracked<PermissionBool>))
        ensures
            r.1@@ == (PermissionDataBool { patomic: r.0.id(), value }),
        opens_invariants none
        no_unwind
    {
        (Flag { word: AtomicBool::new(value) }, Tracked::assume_new())
    }

    /// Reads a value to look at; nothing may be concluded from it about other memory.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn load_relaxed(&self, Tracked(perm): Tracked<&PermissionBool>) -> (r: bool)
        requires
            perm@.patomic == self.id(),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.word.load(Ordering::Relaxed)
    }

    /// Reads, and sees what the writer of the value had released.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn load_acquire(&self, Tracked(perm): Tracked<&PermissionBool>) -> (r: bool)
        requires
            perm@.patomic == self.id(),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.word.load(Ordering::Acquire)
    }

    /// Writes, and hands nothing over.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn store_relaxed(&self, Tracked(perm): Tracked<&mut PermissionBool>, value: bool)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@ == (PermissionDataBool { patomic: self.id(), value }),
        opens_invariants none
        no_unwind
    {
        self.word.store(value, Ordering::Relaxed)
    }

    /// Writes, and hands over what was done before to whoever acquires the value.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn store_release(&self, Tracked(perm): Tracked<&mut PermissionBool>, value: bool)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@ == (PermissionDataBool { patomic: self.id(), value }),
        opens_invariants none
        no_unwind
    {
        self.word.store(value, Ordering::Release)
    }

    /// Replaces `current` by `new`; success takes over what the writer of `current` had released.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn cas_acquire(
        &self,
        Tracked(perm): Tracked<&mut PermissionBool>,
        current: bool,
        new: bool,
    ) -> (r: Result<bool, bool>)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@.patomic == self.id(),
            r matches Ok(v) ==> v == current && old(perm)@.value == current && final(perm)@.value == new,
            r matches Err(v) ==> v == old(perm)@.value && v != current && final(perm)@.value == v,
        opens_invariants none
        no_unwind
    {
        self.word.compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
    }
}

} // verus!
