//! TRUSTED: processors, sets of them, and the guard that keeps code on one of them.
//!
//! A processor of the machine runs one piece of code at a time. Code that asks who it is ([`current`]) runs on
//! a processor; a thread of the host that is none has no identity, no translations and no user memory.
use crate::arch::imp;
use crate::primitive::{AtomicU64, Ordering, fence};
use core::fmt;
use core::marker::PhantomData;

/// The most processors a machine can have.
pub const MAX_CPUS: usize = 64;

/// Names a processor; always below [`MAX_CPUS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(u32);

impl CpuId {
    /// The processor that runs first.
    pub const BOOT: CpuId = CpuId(0);

    /// Makes the name of processor `number`, or `None` at or above [`MAX_CPUS`].
    ///
    /// The machine need not have that processor: [`all`] lists those it has.
    pub const fn new(number: u32) -> Option<CpuId> {
        if (number as usize) < MAX_CPUS { Some(CpuId(number)) } else { None }
    }

    /// Returns the number, below [`MAX_CPUS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Debug for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuId({})", self.0)
    }
}

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
#[inline]
pub fn current() -> CpuId {
    match imp::current() {
        Some(cpu) => cpu,
        None => no_processor(),
    }
}

/// Returns the processor that runs this code, or `None` on a thread that is no processor.
#[inline]
pub fn try_current() -> Option<CpuId> {
    imp::current()
}

#[cold]
#[inline(never)]
pub(crate) fn no_processor() -> ! {
    panic!("this thread is no processor of the machine")
}

/// Returns how many processors the machine has; 0 before it is powered on.
#[inline]
pub fn count() -> usize {
    imp::count()
}

/// Lists the processors of the machine.
pub fn all() -> impl Iterator<Item = CpuId> {
    CpuSet::first(count()).iter()
}

/// Waits a moment inside a loop that waits for another processor.
///
/// Serves the calls that other processors sent to this one: a loop that waits without it can wait forever, each
/// for the other. On a thread that is no processor it only waits.
#[inline]
pub fn relax() {
    imp::relax();
}

/// A set of processors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CpuSet(u64);

impl CpuSet {
    /// The set without a member.
    pub const EMPTY: CpuSet = CpuSet(0);

    /// Makes the set of one processor.
    pub const fn single(cpu: CpuId) -> CpuSet {
        CpuSet(cpu.bit())
    }

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

    /// Says whether a processor is a member.
    pub const fn contains(self, cpu: CpuId) -> bool {
        self.0 & cpu.bit() != 0
    }

    /// Says whether the set has no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Counts the members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns the members of either set.
    pub const fn union(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 | other.0)
    }

    /// Returns the members of both sets.
    pub const fn intersection(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 & other.0)
    }

    /// Returns the members of this set that are not in the other.
    pub const fn difference(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 & !other.0)
    }

    /// Lists the members in order.
    pub fn iter(self) -> impl Iterator<Item = CpuId> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let number = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            CpuId::new(number)
        })
    }
}

impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> CpuSet {
        cpus.into_iter().map(CpuSet::single).fold(CpuSet::EMPTY, CpuSet::union)
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(CpuId::index)).finish()
    }
}

/// A set of processors that many processors change and read at once.
///
/// All its operations are of one total order (`SeqCst`): a processor that adds itself and then walks a table, and
/// one that changes the table and then reads the set, cannot both miss what the other did.
#[derive(Debug, Default)]
pub struct AtomicCpuSet(AtomicU64);

impl AtomicCpuSet {
    /// Makes a set with the members of `set`.
    pub const fn new(set: CpuSet) -> AtomicCpuSet {
        AtomicCpuSet(AtomicU64::new(set.0))
    }

    /// Adds a processor.
    // SeqCst: one total order with `load`, see the type.
    pub fn add(&self, cpu: CpuId) {
        self.0.fetch_or(cpu.bit(), Ordering::SeqCst);
        // Orders the reads after this call against it; pairs with the fence in `load`.
        fence(Ordering::SeqCst);
    }

    /// Takes a processor out.
    // SeqCst: as `add`; what this processor did before is done when others miss it in the set.
    pub fn remove(&self, cpu: CpuId) {
        self.0.fetch_and(!cpu.bit(), Ordering::SeqCst);
    }

    /// Returns the members of this moment.
    ///
    /// What was written before this call is seen by every processor that adds itself after it.
    pub fn load(&self) -> CpuSet {
        // SeqCst: orders the writes before this call against the load; pairs with the fence in `add`.
        fence(Ordering::SeqCst);
        CpuSet(self.0.load(Ordering::SeqCst))
    }

    /// Says whether a processor is a member at this moment.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.load().contains(cpu)
    }
}

/// Keeps the code that holds it on the processor it runs on.
///
/// Guards nest. A guard can neither be sent to nor shared with another processor.
#[must_use = "code can move to another processor as soon as the guard is dropped"]
#[derive(Debug)]
pub struct PreemptGuard {
    on_this_processor: PhantomData<*mut ()>,
}

/// Keeps the calling code on its processor until the guard is dropped.
///
/// Calls from other processors are still served.
#[inline]
pub fn disable_preempt() -> PreemptGuard {
    imp::preempt_enter();
    PreemptGuard { on_this_processor: PhantomData }
}

/// Returns how many [`PreemptGuard`]s live on the calling processor.
pub fn preempt_depth() -> usize {
    imp::preempt_depth()
}

impl Drop for PreemptGuard {
    #[inline]
    fn drop(&mut self) {
        imp::preempt_leave();
    }
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
