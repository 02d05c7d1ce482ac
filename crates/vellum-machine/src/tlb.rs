//! TRUSTED: what the calling processor knows of page tables: its root, and the translations that it keeps.
//!
//! A processor keeps translations, and the addresses of page-table nodes that it passed, until it is told to
//! forget them; it may also read a translation anew at any time, without an access that asks for it. So after an
//! entry was changed, the old translation can be in use on a processor until that processor has flushed it, and
//! not after, as long as no table that it can reach still says so.
//!
//! Flushing does nothing on a thread that is no processor: it has no translations.
use crate::addr::{PAGE_SIZE, Paddr, Vaddr};
use crate::arch::imp;
#[cfg(verus_keep_ghost)]
use crate::cpu::MAX_CPUS;
#[cfg(verus_keep_ghost)]
use crate::cpu::has_arrived;
use crate::cpu::{CpuId, CpuSet, PreemptGuard, no_processor};
use core::ops::Range;
use vstd::prelude::*;

verus! {

/// What a processor did with what it keeps.
pub ghost enum CacheEvent {
    /// It walks the tables at this physical address from now on, and has forgotten everything that is not global.
    Root(nat),
    /// It forgot the translations of these pages, by their numbers, and every node address.
    Forget(ISet<nat>),
}

/// What a processor did with what it keeps, from the start. There is one for each processor.
///
/// The model of the hardware: a translation that a processor uses for an address in a page was read from the tables
/// of its root after the last [`CacheEvent`] that is about the page (Intel SDM vol. 3, sections 5.10.2 to 5.10.4).
/// Roots are set without tags (`PCID`), and what user space maps is never global: so a change of the root is about
/// every page of user space. It is taken to be about no page of kernel space, which is the same under every root, and
/// whose translations may be global.
#[verifier::external_body]
pub tracked struct CachePerm {
    _p: (),
}

impl CachePerm {
    /// The processor.
    pub uninterp spec fn cpu(&self) -> nat;

    /// What it did.
    pub uninterp spec fn log(&self) -> Seq<CacheEvent>;
}

/// The numbers of the pages that have an address in a range.
pub open spec fn pages_in(start: nat, end: nat) -> ISet<nat> {
    ISet::new(|p: nat| start < end && p * PAGE_SIZE < end && start < (p + 1) * PAGE_SIZE)
}

/// Of all processors, those in `who` forgot the translations of these pages, and the others did nothing.
pub open spec fn noted(before: Map<nat, CachePerm>, after: Map<nat, CachePerm>, who: ISet<nat>, pages: ISet<nat>) -> bool {
    &&& after.dom() == before.dom()
    &&& forall|c: nat| #[trigger] after.dom().contains(c) ==> after[c].cpu() == before[c].cpu() && after[c].log() == if who.contains(c) {
        before[c].log().push(CacheEvent::Forget(pages))
    } else {
        before[c].log()
    }
}

/// Hands out what all processors did: nothing yet.
///
/// # Safety
/// 1. Called once.
#[allow(unsafe_code, reason = "the duty of whoever keeps the one permission of each processor")]
#[verifier::external_body]
pub const unsafe fn caches_at_boot() -> (r: Tracked<Map<nat, CachePerm>>)
    ensures
        r@.dom() == Set::<nat>::range(0, MAX_CPUS as nat),
        forall|c: nat| c < MAX_CPUS ==> (#[trigger] r@[c]).cpu() == c && r@[c].log() == Seq::<CacheEvent>::empty(),
    opens_invariants none
    no_unwind
{
    Tracked::assume_new()
}

/// [`flush_addr`] or [`flush_range`], noted: forgets the translations of every page that has an address in
/// `start..end`.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub fn forget_pages(_here: &PreemptGuard, start: Vaddr, end: Vaddr, Tracked(perm): Tracked<&mut CachePerm>)
    requires
        old(perm).cpu() == _here.cpu(),
    ensures
        final(perm).cpu() == old(perm).cpu(),
        final(perm).log() == old(perm).log().push(CacheEvent::Forget(pages_in(start.0 as nat, end.0 as nat))),
    opens_invariants none
    no_unwind
{
    if end.0.wrapping_sub(start.0) == PAGE_SIZE {
        flush_addr(start);
    } else {
        flush_range(start..end);
    }
}

/// [`flush_all`], noted.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub fn forget_all(_here: &PreemptGuard, Tracked(perm): Tracked<&mut CachePerm>)
    requires
        old(perm).cpu() == _here.cpu(),
    ensures
        final(perm).cpu() == old(perm).cpu(),
        final(perm).log() == old(perm).log().push(CacheEvent::Forget(ISet::full())),
    opens_invariants none
    no_unwind
{
    flush_all();
}

/// [`set_root`], noted.
///
/// # Safety
/// As for [`set_root`].
#[inline(always)]
#[allow(unsafe_code, reason = "as set_root")]
#[verifier::external_body]
#[verifier::atomic]
pub unsafe fn walk_from(_here: &PreemptGuard, root: Paddr, Tracked(perm): Tracked<&mut CachePerm>)
    requires
        old(perm).cpu() == _here.cpu(),
    ensures
        final(perm).cpu() == old(perm).cpu(),
        final(perm).log() == old(perm).log().push(CacheEvent::Root(root.0 as nat)),
    opens_invariants none
    no_unwind
{
    // SAFETY: the caller's.
    unsafe { set_root(root) };
}

/// Returns the processors that have arrived and are not stopped. The others keep nothing at this moment: what they walk
/// once they have arrived, they read later.
///
/// One moment, though it looks at one after the other: that of a fence before the first look. Who is found missing has
/// stopped for good, and goes by nothing any more when this returns; or it says after the fence that it has arrived, and
/// begins to walk tables that may change after a fence of its own, so that it reads what was written before this call.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub fn present(Tracked(perms): Tracked<&mut Map<nat, CachePerm>>) -> (r: CpuSet)
    requires
        old(perms).dom() == Set::<nat>::range(0, MAX_CPUS as nat),
        forall|c: nat| c < MAX_CPUS ==> (#[trigger] old(perms)[c]).cpu() == c,
    ensures
        forall|c: nat| #[trigger] r.has(c) ==> has_arrived(c),
        noted(*old(perms), *final(perms), ISet::new(|c: nat| c < MAX_CPUS && !r.has(c)), ISet::full()),
    opens_invariants none
    no_unwind
{
    imp::present()
}

/// Has other processors forget every translation, where something else than code that runs on them can: on RISC-V the
/// firmware. Says whether they did; if not, nothing has happened.
///
/// One moment, though they do it one after the other until this returns: that at which it is asked. Until it returns, one of
/// them may go by what it had read before, and the log says too much; but nobody goes by the log, for what it says is told
/// first to the caller, which waits. What they read in the meantime is read later than that moment.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub fn fence_others(_here: &PreemptGuard, others: CpuSet, Tracked(perms): Tracked<&mut Map<nat, CachePerm>>) -> (r: bool)
    requires
        old(perms).dom() == Set::<nat>::range(0, MAX_CPUS as nat),
        forall|c: nat| c < MAX_CPUS ==> (#[trigger] old(perms)[c]).cpu() == c,
        forall|c: nat| #[trigger] others.has(c) ==> has_arrived(c),
    ensures
        !r ==> *final(perms) == *old(perms),
        r ==> noted(*old(perms), *final(perms), ISet::new(|c: nat| others.has(c)), ISet::full()),
    opens_invariants none
    no_unwind
{
    imp::fence_others(others)
}

/// A processor that had arrived and will never run anything again: it keeps nothing, and walks no table.
///
/// One that has not arrived yet is none: what is known of it is known of a moment, by [`present`].
#[verifier::external_body]
pub tracked struct Stopped {
    _p: (),
}

impl Stopped {
    /// The processor.
    pub uninterp spec fn cpu(&self) -> nat;

    /// It is as if it forgot everything now.
    pub axiom fn forgets(tracked &self, tracked perm: &mut CachePerm)
        requires
            old(perm).cpu() == self.cpu(),
        ensures
            final(perm).cpu() == old(perm).cpu(),
            final(perm).log() == old(perm).log().push(CacheEvent::Forget(ISet::full())),
    ;
}

/// Forgets the translations of the page that holds `va`, of any size and global ones too, and every node address.
///
/// # Guarantees
/// An access on this processor after this call does not use a translation read before it (Intel SDM vol. 3,
/// section 5.10.4.1).
#[verifier::external_body]
pub fn flush_addr(va: Vaddr) {
    imp::with_processor(|processor| processor.flush_addr(va));
}

} // verus!

/// Forgets the translations of every page that has an address in `range`, as [`flush_addr`] does.
///
/// An empty or reversed range has no address in it.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn flush_range(range: Range<Vaddr>) {
    imp::with_processor(|processor| processor.flush_range(range));
}

/// Forgets every translation, global ones too, and every node address.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn flush_all() {
    imp::with_processor(|processor| processor.flush_all());
}

/// Has the calling processor walk the tables at `root`, and forgets every translation that is not global.
///
/// # Panics
/// On a thread that is no processor. A machine check if `root` is not the address of a frame of the machine.
///
/// # Safety
/// 1. `root` is the root node of a page table whose words are of the format [`Native`](crate::ptword::Native), and
///    it and every node that can be reached from it stay page-table nodes until this processor has another root; a
///    node that is unlinked stays one until this processor has flushed.
/// 2. What user code can reach through the table is memory that user code may read, write or execute as the
///    entries say.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[allow(unsafe_code, reason = "the duty of whoever chooses the tables that a processor obeys")]
pub unsafe fn set_root(root: Paddr) {
    imp::with_processor(|processor| processor.set_root(root)).unwrap_or_else(|| no_processor());
}

/// Returns the root of the tables that the calling processor walks, or `None` before the first [`set_root`].
///
/// # Panics
/// On a thread that is no processor.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn root() -> Option<Paddr> {
    imp::with_processor(|processor| processor.root()).unwrap_or_else(|| no_processor())
}

/// What a processor counted since it started.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Walks through the tables.
    pub walks: u64,
    /// Accesses that a kept translation answered.
    pub hits: u64,
    /// Translations that were put into the cache.
    pub fills: u64,
    /// Page faults that were raised.
    pub faults: u64,
    /// Flushes of any kind, changes of the root among them.
    pub flushes: u64,
}

/// Returns what a processor counted, or `None` if the machine does not have it.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn statistics(cpu: CpuId) -> Option<Statistics> {
    imp::statistics(cpu)
}
