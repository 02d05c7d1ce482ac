//! Processors, sets of them, and the guard that keeps code on one of them.
//!
//! A processor of the machine runs one piece of code at a time. Code that asks who it is ([`current`]) runs on
//! a processor; a thread of the host that is none has no identity, no translations and no user memory.
use crate::arch::imp;
use crate::primitive::{AtomicU64, Ordering, fence};
use core::fmt;
use core::marker::PhantomData;
#[cfg(verus_keep_ghost)]
use vstd::atomic::PermissionDataU64;
use vstd::atomic::PermissionU64;
use vstd::prelude::*;

verus! {

/// The most processors a machine can have.
pub const MAX_CPUS: usize = 64;

/// Whether the bit of processor `c` is set in a word.
pub open spec fn bit(w: u64, c: nat) -> bool {
    c < MAX_CPUS && w & (1u64 << (c as u64)) != 0
}

/// What becomes of the bits where sets are combined.
pub proof fn lemma_bits(a: u64, b: u64)
    ensures
        forall|c: nat| #[trigger] bit(a | b, c) <==> bit(a, c) || bit(b, c),
        forall|c: nat| #[trigger] bit(a & b, c) <==> bit(a, c) && bit(b, c),
        forall|c: nat| #[trigger] bit(a & !b, c) <==> bit(a, c) && !bit(b, c),
        forall|c: nat| !#[trigger] bit(0, c),
{
    assert forall|c: nat| #[trigger] bit(a | b, c) <==> bit(a, c) || bit(b, c) by {
        let d = c as u64;
        let m = 1u64 << d;
        assert((a | b) & m != 0 <==> a & m != 0 || b & m != 0) by (bit_vector);
    }
    assert forall|c: nat| #[trigger] bit(a & b, c) <==> bit(a, c) && bit(b, c) by {
        let d = c as u64;
        assert(d < 64 ==> ((a & b) & (1u64 << d) != 0 <==> a & (1u64 << d) != 0 && b & (1u64 << d) != 0)) by (bit_vector);
    }
    assert forall|c: nat| #[trigger] bit(a & !b, c) <==> bit(a, c) && !bit(b, c) by {
        let d = c as u64;
        assert(d < 64 ==> ((a & !b) & (1u64 << d) != 0 <==> a & (1u64 << d) != 0 && b & (1u64 << d) == 0)) by (bit_vector);
    }
    assert forall|c: nat| !#[trigger] bit(0, c) by {
        let m = 1u64 << (c as u64);
        assert(0 & m == 0) by (bit_vector);
    }
}

/// The bits of one processor.
pub proof fn lemma_one_bit(d: nat)
    requires
        d < MAX_CPUS,
    ensures
        forall|c: nat| #[trigger] bit(1u64 << (d as u64), c) <==> c == d,
{
    assert forall|c: nat| #[trigger] bit(1u64 << (d as u64), c) <==> c == d by {
        let (x, y) = (c as u64, d as u64);
        assert(x < 64 && y < 64 ==> ((1u64 << y) & (1u64 << x) != 0 <==> x == y)) by (bit_vector);
    }
}

/// Names a processor; always below [`MAX_CPUS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(u32);

impl CpuId {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.0 < MAX_CPUS
    }

    /// The number.
    pub closed spec fn number(self) -> nat {
        self.0 as nat
    }

    /// Makes the name of processor `number`, or `None` at or above [`MAX_CPUS`].
    ///
    /// The machine need not have that processor: [`all`] lists those it has.
    pub const fn new(number: u32) -> (r: Option<CpuId>)
        ensures
            number < MAX_CPUS <==> r is Some,
            r matches Some(c) ==> c.number() == number,
        no_unwind
    {
        if (number as usize) < MAX_CPUS {
            Some(CpuId(number))
        } else {
            None
        }
    }

    /// Returns the number, below [`MAX_CPUS`].
    #[inline(always)]
    pub const fn index(self) -> (r: usize)
        ensures
            r == self.number(),
            r < MAX_CPUS,
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        self.0 as usize
    }

    /// Says whether two names are of one processor.
    #[inline(always)]
    pub const fn is(self, other: CpuId) -> (r: bool)
        ensures
            r <==> self.number() == other.number(),
        no_unwind
    {
        self.0 == other.0
    }

    #[inline(always)]
    const fn bit(self) -> (r: u64)
        ensures
            forall|c: nat| #[trigger] bit(r, c) <==> c == self.number(),
        no_unwind
    {
        proof {
            use_type_invariant(self);
            lemma_one_bit(self.number());
        }
        1u64 << (self.0 as u64)
    }
}

/// A set of processors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CpuSet(u64);

impl CpuSet {
    /// The word whose bits are the members.
    pub closed spec fn word(self) -> u64 {
        self.0
    }

    /// Whether processor `c` is a member.
    pub open spec fn has(self, c: nat) -> bool {
        bit(self.word(), c)
    }

    /// Makes the set whose members are the bits of `word`.
    #[inline(always)]
    pub const fn from_word(word: u64) -> (r: CpuSet)
        ensures
            r.word() == word,
        no_unwind
    {
        CpuSet(word)
    }

    /// Returns the word whose bits are the members.
    #[inline(always)]
    pub const fn to_word(self) -> (r: u64)
        ensures
            r == self.word(),
        no_unwind
    {
        self.0
    }

    /// Makes the set of one processor.
    #[inline(always)]
    pub const fn single(cpu: CpuId) -> (r: CpuSet)
        ensures
            forall|c: nat| #[trigger] r.has(c) <==> c == cpu.number(),
        no_unwind
    {
        CpuSet(cpu.bit())
    }

    /// Says whether a processor is a member.
    #[inline(always)]
    pub const fn contains(self, cpu: CpuId) -> (r: bool)
        ensures
            r <==> self.has(cpu.number()),
        no_unwind
    {
        proof {
            use_type_invariant(cpu);
        }
        self.0 & (1u64 << (cpu.0 as u64)) != 0
    }

    /// Says whether the set has no member.
    #[inline(always)]
    pub const fn is_empty(self) -> (r: bool)
        ensures
            r ==> forall|c: nat| !#[trigger] self.has(c),
            r <==> self.word() == 0,
        no_unwind
    {
        proof {
            lemma_bits(0, 0);
        }
        self.0 == 0
    }

    /// Returns the members of this set that are not in the other.
    #[inline(always)]
    pub const fn difference(self, other: CpuSet) -> (r: CpuSet)
        ensures
            forall|c: nat| #[trigger] r.has(c) <==> self.has(c) && !other.has(c),
        no_unwind
    {
        proof {
            lemma_bits(self.0, other.0);
        }
        CpuSet(self.0 & !other.0)
    }

    /// Counts the members.
    #[inline(always)]
    #[verifier::external_body]
    pub const fn len(self) -> usize
        no_unwind
    {
        self.0.count_ones() as usize
    }

    /// Returns the members of either set.
    #[inline(always)]
    pub const fn union(self, other: CpuSet) -> (r: CpuSet)
        ensures
            forall|c: nat| #[trigger] r.has(c) <==> self.has(c) || other.has(c),
        no_unwind
    {
        proof {
            lemma_bits(self.0, other.0);
        }
        CpuSet(self.0 | other.0)
    }

    /// Returns the members of both sets.
    #[inline(always)]
    pub const fn intersection(self, other: CpuSet) -> (r: CpuSet)
        ensures
            forall|c: nat| #[trigger] r.has(c) <==> self.has(c) && other.has(c),
        no_unwind
    {
        proof {
            lemma_bits(self.0, other.0);
        }
        CpuSet(self.0 & other.0)
    }
}

/// An [`AtomicCpuSet`] whose word the proofs know.
#[verifier::external_body]
#[derive(Debug)]
pub struct CpuSetWord {
    set: AtomicCpuSet,
}

impl CpuSetWord {
    /// The identity that a permission names.
    pub uninterp spec fn id(&self) -> int;

    /// Makes a set without a member, and the permission to its word.
    #[verifier::external_body]
    pub const fn new() -> (r: (CpuSetWord, Tracked<PermissionU64>))
        ensures
            r.1@@ == (PermissionDataU64 { patomic: r.0.id(), value: 0 }),
        opens_invariants none
        no_unwind
    {
        (CpuSetWord { set: AtomicCpuSet::new(CpuSet::EMPTY) }, Tracked::assume_new())
    }

    /// [`AtomicCpuSet::add`].
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn add(&self, Tracked(perm): Tracked<&mut PermissionU64>, cpu: CpuId) -> (r: bool)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            r <==> bit(old(perm)@.value, cpu.number()),
            final(perm)@.patomic == self.id(),
            forall|c: nat| #[trigger] bit(final(perm)@.value, c) <==> bit(old(perm)@.value, c) || c == cpu.number(),
        opens_invariants none
        no_unwind
    {
        self.set.add(cpu)
    }

    /// [`AtomicCpuSet::remove`].
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn remove(&self, Tracked(perm): Tracked<&mut PermissionU64>, cpu: CpuId)
        requires
            old(perm)@.patomic == self.id(),
        ensures
            final(perm)@.patomic == self.id(),
            forall|c: nat| #[trigger] bit(final(perm)@.value, c) <==> bit(old(perm)@.value, c) && c != cpu.number(),
        opens_invariants none
        no_unwind
    {
        self.set.remove(cpu);
    }

    /// [`AtomicCpuSet::load`], or [`AtomicCpuSet::load_after_exchange`] where exchanges changed what others may go by.
    #[inline(always)]
    #[verifier::external_body]
    #[verifier::atomic]
    pub fn load_after(&self, change: Change, Tracked(perm): Tracked<&PermissionU64>) -> (r: CpuSet)
        requires
            perm@.patomic == self.id(),
        ensures
            r.word() == perm@.value,
        opens_invariants none
        no_unwind
    {
        match change {
            Change::Exchange => self.set.load_after_exchange(),
            Change::Store => self.set.load(),
        }
    }
}

/// How words that others may go by were changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub enum Change {
    /// All by exchanges, which on x86-64 are fences.
    Exchange,
    /// Some by stores.
    Store,
}

/// Keeps the code that holds it on the processor it runs on.
///
/// Guards nest. A guard can neither be sent to nor shared with another processor.
#[verifier::external_body]
#[must_use = "code can move to another processor as soon as the guard is dropped"]
#[derive(Debug)]
pub struct PreemptGuard {
    on_this_processor: PhantomData<*mut ()>,
}

impl PreemptGuard {
    /// The processor that the code which holds it runs on; of no meaning on a thread that is none.
    pub uninterp spec fn cpu(&self) -> nat;
}

/// Keeps the calling code on its processor until the guard is dropped.
///
/// Calls from other processors are still served.
#[inline]
#[verifier::external_body]
pub fn disable_preempt() -> PreemptGuard
    opens_invariants none
    no_unwind
{
    imp::preempt_enter();
    PreemptGuard { on_this_processor: PhantomData }
}

impl Drop for PreemptGuard {
    #[inline]
    #[verifier::external_body]
    fn drop(&mut self)
        opens_invariants none
        no_unwind
    {
        imp::preempt_leave();
    }
}

/// The processor has arrived: others reach it, unless it has stopped for good. Whoever learns this learns it afterwards.
pub uninterp spec fn has_arrived(cpu: nat) -> bool;

/// Returns the processor that runs this code, as [`current`], which the guard keeps it on.
///
/// # Panics
/// On a thread of the host that is no processor of the machine.
#[inline(always)]
#[verifier::external_body]
pub fn here(_guard: &PreemptGuard) -> (r: CpuId)
    ensures
        r.number() == _guard.cpu(),
        has_arrived(r.number()),
    opens_invariants none
{
    current()
}

/// Waits a moment inside a loop that waits for another processor.
///
/// Serves the calls that other processors sent to this one: a loop that waits without it can wait forever, each
/// for the other. On a thread that is no processor it only waits.
#[inline]
#[verifier::external_body]
pub fn relax()
    opens_invariants none
{
    imp::relax();
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl CpuId {
    /// The processor that runs first.
    pub const BOOT: CpuId = CpuId(0);
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl CpuSet {
    /// The set without a member.
    pub const EMPTY: CpuSet = CpuSet(0);

    /// Makes the set of the processors numbered below `count`.
    pub const fn first(count: usize) -> CpuSet {
        if count >= MAX_CPUS { CpuSet(u64::MAX) } else { CpuSet((1 << count) - 1) }
    }

    /// Adds a processor.
    pub const fn insert(&mut self, cpu: CpuId) {
        self.0 |= cpu.bit();
    }

    /// Takes a processor out.
    pub const fn remove(&mut self, cpu: CpuId) {
        self.0 &= !cpu.bit();
    }

    /// Lists the members in order.
    pub fn iter(self) -> impl Iterator<Item = CpuId> + Clone {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let number = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            CpuId::new(number)
        })
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuId({})", self.0)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Returns the processor that runs this code.
///
/// It stays the same while a [`PreemptGuard`] lives. See [`try_current`] for threads that may be no processor.
///
/// # Panics
/// On a thread of the host that is no processor of the machine.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[inline]
pub fn current() -> CpuId {
    match imp::current() {
        Some(cpu) => cpu,
        None => no_processor(),
    }
}

/// Returns the processor that runs this code, or `None` on a thread that is no processor.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[inline]
pub fn try_current() -> Option<CpuId> {
    imp::current()
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
#[cold]
#[inline(never)]
pub(crate) fn no_processor() -> ! {
    panic!("this thread is no processor of the machine")
}

/// Returns how many processors the machine has; 0 before it is powered on.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[inline]
pub fn count() -> usize {
    imp::count()
}

/// Lists the processors of the machine.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn all() -> impl Iterator<Item = CpuId> {
    CpuSet::first(count()).iter()
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> CpuSet {
        cpus.into_iter().map(CpuSet::single).fold(CpuSet::EMPTY, CpuSet::union)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(CpuId::index)).finish()
    }
}

/// A set of processors that many processors change and read at once.
///
/// All its operations are of one total order (`SeqCst`): a processor that adds itself and then walks a table, and
/// one that changes the table and then reads the set, cannot both miss what the other did.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[derive(Debug, Default)]
pub struct AtomicCpuSet(AtomicU64);

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl AtomicCpuSet {
    /// Makes a set with the members of `set`.
    pub const fn new(set: CpuSet) -> AtomicCpuSet {
        AtomicCpuSet(AtomicU64::new(set.0))
    }

    /// Adds a processor, and says whether it was in.
    ///
    /// Whoever reads the set later finds it; what the processor reads from here on was changed by whoever read the set
    /// before.
    // SeqCst: one total order with `load`, see the type.
    #[inline(always)]
    pub fn add(&self, cpu: CpuId) -> bool {
        let before = self.0.fetch_or(cpu.bit(), Ordering::SeqCst);
        // Orders the reads after this call against it; pairs with the fence in `load`. On x86-64 the exchange itself
        // does (Intel SDM vol. 3, section 10.2.3.9).
        #[cfg(any(loom, not(target_arch = "x86_64")))]
        fence(Ordering::SeqCst);
        before & cpu.bit() != 0
    }

    /// Takes a processor out.
    // SeqCst: as `add`; what this processor did before is done when others miss it in the set.
    #[inline(always)]
    pub fn remove(&self, cpu: CpuId) {
        self.0.fetch_and(!cpu.bit(), Ordering::SeqCst);
    }

    /// Returns the members of this moment.
    ///
    /// What was written before this call is seen by every processor that adds itself after it.
    #[inline(always)]
    pub fn load(&self) -> CpuSet {
        // SeqCst: orders the writes before this call against the load; pairs with the fence in `add`.
        fence(Ordering::SeqCst);
        CpuSet(self.0.load(Ordering::SeqCst))
    }

    /// As [`load`](Self::load), for a caller whose writes that matter were exchanges, as most words of page tables that others
    /// may go by are changed.
    #[inline(always)]
    pub fn load_after_exchange(&self) -> CpuSet {
        // SeqCst: as in `load`. On x86-64 the exchange was the fence (Intel SDM vol. 3, section 10.2.3.9), and only the
        // compiler is to be held.
        #[cfg(not(target_arch = "x86_64"))]
        fence(Ordering::SeqCst);
        #[cfg(target_arch = "x86_64")]
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        CpuSet(self.0.load(Ordering::SeqCst))
    }

    /// Says whether a processor is a member at this moment.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.load().contains(cpu)
    }
}

/// Returns how many [`PreemptGuard`]s live on the calling processor.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn preempt_depth() -> usize {
    imp::preempt_depth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_holds_what_was_put_in() {
        let cpus = [0, 5, 63].map(|n| CpuId::new(n).unwrap());
        let set: CpuSet = cpus.into_iter().collect();
        assert_eq!(set.len(), 3);
        assert!(set.iter().eq(cpus));
        assert!(set.contains(cpus[2]) && !set.contains(CpuId::new(6).unwrap()));
        assert_eq!(set.difference(CpuSet::single(cpus[1])).len(), 2);
        assert_eq!(CpuSet::first(64).len(), 64);
        assert_eq!(CpuSet::first(0), CpuSet::EMPTY);
        assert_eq!(CpuId::new(64), None);
    }

    #[test]
    fn a_thread_of_the_host_is_no_processor() {
        assert_eq!(try_current(), None);
        relax();
        let outer = disable_preempt();
        let inner = disable_preempt();
        assert_eq!(preempt_depth(), 2);
        drop(inner);
        drop(outer);
        assert_eq!(preempt_depth(), 0);
    }
}
