//! Counts of readers, one per processor, each on a cache line of its own.
//!
//! The order of a reader's entry and what it reads afterwards against an unlinking and the reading of the count
//! afterwards is the store-load order of Dekker's algorithm: the reader passes a [light](crate::fence::light) fence,
//! who unlinked a [heavy](crate::fence::heavy) one.
//!
//! The count of a processor is written by code on that processor alone ([`ReaderSeat`]). So a change of it need not be
//! atomic for other processors, only for handlers that interrupt it: one instruction, without a lock on the bus.
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

    /// Reads the own count to make a guess from.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn peek(&self, seat: &ReaderSeat, Tracked(perm): Tracked<&PermissionU64>) -> (r: u64)
        requires
            perm@.patomic == self.id(seat.index() as int),
        ensures
            r == perm@.value,
        opens_invariants none
        no_unwind
    {
        self.lines[seat.index].0.load(Ordering::Relaxed)
    }

    /// Replaces `current` by `new` in the own count; may fail although the word is `current`.
    ///
    /// What precedes comes before it for every processor that [observes](Self::observe) it; what follows may be done
    /// first, see [`announce`](Self::announce).
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn exchange(&self, seat: &ReaderSeat, Tracked(perm): Tracked<&mut PermissionU64>, current: u64, new: u64) -> (r: Result<
        u64,
        u64,
    >)
        requires
            old(perm)@.patomic == self.id(seat.index() as int),
        ensures
            final(perm)@.patomic == self.id(seat.index() as int),
            r matches Ok(v) ==> v == current && old(perm)@.value == current && final(perm)@.value == new,
            r matches Err(v) ==> v == old(perm)@.value && final(perm)@.value == v,
        opens_invariants none
        no_unwind
    {
        let word = &self.lines[seat.index].0;
        if seat.index < MAX_CPUS {
            replace_own(word, current, new)
        } else {
            word.compare_exchange_weak(current, new, Ordering::AcqRel, Ordering::Relaxed)
        }
    }

    /// Orders what is read from here on after the exchanges before, for every processor that
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

/// Replaces `current` by `new` in a word that no other processor writes: as a compare-and-swap with release ordering, but
/// against code on this processor alone.
// An instruction that is interrupted has no effect, and stores are seen in their order (Intel SDM vol. 3, sections 7.6 and
// 10.2.2): without LOCK it is no access that other processors see as one, and none of them writes.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[inline(always)]
#[allow(unsafe_code, reason = "the instruction has no name in Rust")]
fn replace_own(word: &AtomicU64, current: u64, new: u64) -> Result<u64, u64> {
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri, tsan))))]
    {
        let seen: u64;
        // SAFETY: the instruction accesses the word alone, which is valid and may be written through a shared
        // reference. It binds the compiler as any call of foreign code does: there is no `nomem`.
        unsafe {
            core::arch::asm!(
                "cmpxchg qword ptr [{word}], {new}",
                word = in(reg) word.as_ptr(),
                new = in(reg) new,
                inout("rax") current => seen,
                options(nostack),
            );
        }
        if seen == current { Ok(seen) } else { Err(seen) }
    }
    // Where an access that others see as one is no dearer, or something watches accesses and does not see instructions.
    #[cfg(any(loom, miri, tsan, not(target_arch = "x86_64")))]
    word.compare_exchange_weak(current, new, Ordering::AcqRel, Ordering::Relaxed)
}
