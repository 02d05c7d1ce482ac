//! TRUSTED: the words of a frame that the page-table walker reads.
//!
//! The walker reads these words at any time and sets accessed and dirty bits in them at any time, so a word is
//! known up to those bits alone, and a word that the walker may reach is replaced by a swap or a
//! compare-and-swap: a plain store could lose what hardware noted. But in a word that leads nowhere it notes nothing, and
//! in one in which all is noted it has nothing left to note: such a word is [settled](WalkerFormat::settled), and is stored to. Which bits those are is the [`WalkerFormat`]'s.
#![expect(unsafe_code, reason = "the words of a frame are reached through a raw pointer into the linear map")]
use crate::addr::Paddr;
use crate::model::WalkerShape;
#[cfg(verus_keep_ghost)]
use crate::model::{Step, riscv_step, x86_64_step};
use crate::page::PagePerm;
#[cfg(not(loom))]
use crate::page::contents;
use core::marker::PhantomData;
#[cfg(not(loom))]
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering;
use vstd::prelude::*;

#[cfg(loom)]
use crate::primitive::AtomicU64;

/// Stand for the first words of the first frames in programs that loom explores, which have no walkers.
#[cfg(loom)]
static WATCHED: [[AtomicU64; 2]; 4] = [const { [const { AtomicU64::new(0) }; 2] }; 4];

verus! {

/// The format of the words that a walker reads.
///
/// # Safety
///
/// A walker that reads words of this format
///
/// 1. changes no bit of a word but those of `noted`, sets them and clears none, and does so in one step with looking at the
///    rest of the word,
/// 2. makes of a word what `step` says.
pub unsafe trait WalkerFormat: Send + Sync + 'static {
    /// The bits of a word that the walker may set at any time; it does not depend on those bits.
    spec fn noted(e: u64) -> u64;

    /// Says that all is noted in the word of a page: the walker changes it no more.
    fn settled(e: u64) -> (r: bool)
        ensures
            r ==> Self::noted(e) & !e == 0,
        opens_invariants none
        no_unwind
    ;

    /// What the walker makes of a word of a node of level `l`.
    spec fn step(e: u64, l: nat, shape: WalkerShape) -> Step;
}

/// Words of x86-64, of any number of levels.
pub struct X86_64;

// SAFETY: accessed and dirty, bits 5 and 6, which are set where they are clear (Intel SDM vol. 3, section 5.8), by locked
// cycles (section 10.1.2.1); the model is that of section 5.5.4.
unsafe impl WalkerFormat for X86_64 {
    open spec fn noted(e: u64) -> u64 {
        0x60
    }

    #[inline(always)]
    fn settled(e: u64) -> bool {
        assert(e & 0x60 == 0x60 ==> 0x60 & !e == 0) by (bit_vector);
        e & 0x60 == 0x60
    }

    open spec fn step(e: u64, l: nat, shape: WalkerShape) -> Step {
        x86_64_step(e, l, shape)
    }
}

/// What a RISC-V hart has beyond the base of its paging.
pub trait Extensions: Send + Sync + 'static {
    /// Memory types in entries (bits 61 and 62); without it these bits are reserved.
    const SVPBMT: bool;

    /// Hardware sets the A and D bits; without it an access that needs one set that is clear faults.
    const SVADU: bool;
}

/// Neither memory types nor A and D bits from hardware.
pub struct Base;

impl Extensions for Base {
    const SVPBMT: bool = false;

    const SVADU: bool = false;
}

/// Memory types, and A and D bits from hardware.
pub struct SvpbmtSvadu;

impl Extensions for SvpbmtSvadu {
    const SVPBMT: bool = true;

    const SVADU: bool = true;
}

/// Words of RISC-V with 64 bits: Sv39, Sv48 and Sv57, of harts with the extensions `X`.
pub struct RiscV<X>(PhantomData<X>);

// SAFETY: A and D, bits 6 and 7, in words that are not links, where hardware sets them at all, by a compare-and-swap on the word
// that was read; the model is that of the RISC-V privileged specification, section 4.3.2.
unsafe impl<X: Extensions> WalkerFormat for RiscV<X> {
    open spec fn noted(e: u64) -> u64 {
        if e & 0xe == 0 { 0 } else { 0xc0 }
    }

    #[inline(always)]
    fn settled(e: u64) -> bool {
        assert(e & 0xc0 == 0xc0 ==> 0xc0 & !e == 0 && 0 & !e == 0) by (bit_vector);
        e & 0xc0 == 0xc0
    }

    open spec fn step(e: u64, l: nat, shape: WalkerShape) -> Step {
        riscv_step(X::SVPBMT, e, l, shape)
    }
}

/// What this machine's walkers read.
pub type Native = crate::arch::imp::Native;

/// Equal up to what the walker may have set.
pub open spec fn same_word<F: WalkerFormat>(a: u64, b: u64) -> bool {
    a & !F::noted(b) == b & !F::noted(b)
}

/// The walker has noted all that it may.
pub open spec fn all_noted<F: WalkerFormat>(e: u64) -> bool {
    F::noted(e) & !e == 0
}

#[verifier::external]
#[inline(always)]
fn word(pa: Paddr, i: usize) -> &'static AtomicU64 {
    #[cfg(loom)]
    return &WATCHED[pa.0 / crate::addr::PAGE_SIZE][i];
    // SAFETY: every caller holds a permission for the frame at `pa`, so the linear map shows 4096 aligned bytes
    // there for as long as the machine lives, and `i` is below 512; all accesses to them are atomic.
    #[cfg(not(loom))]
    unsafe {
        &*contents(pa).cast::<AtomicU64>().add(i)
    }
}

/// Tells the processor that the word will be changed soon, so that it gets the cache line meanwhile. A hint: it has no effect
/// but on time, whatever the address.
#[inline(always)]
#[verifier::external_body]
pub fn prefetch(pa: Paddr, i: usize)
    opens_invariants none
    no_unwind
{
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
    {
        let at = crate::layout::LINEAR_MAP_BASE.wrapping_add(pa.0).wrapping_add(8 * (i % 512));
        // SAFETY: the instruction accesses nothing, and raises no exception for any address (Intel SDM vol. 2, PREFETCHW).
        unsafe { core::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) };
    }
    // RISC-V has such an instruction in an extension only (Zicbop).
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri)))))]
    let _ = (pa, i);
}

/// Reads a word.
///
/// # Safety
///
/// 1. The caller has the permission of the frame at `pa` (the stable compiler does not see it), and `i` is below 512.
/// 2. No walker reads the frame as one of another format than `F`.
// Acquire: pairs with the Release of `swap` and `compare_exchange` that published a link.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub unsafe fn load<F: WalkerFormat>(pa: Paddr, i: usize, Tracked(perm): Tracked<&PagePerm>) -> (r: u64)
    requires
        perm.pa() == pa,
        perm.exclusive(),
        i < 512,
    ensures
        same_word::<F>(r, perm.words()[i as int]),
    opens_invariants none
    no_unwind
{
    word(pa, i).load(Ordering::Acquire)
}

/// Writes a word that no walker can reach yet.
///
/// # Safety
///
/// 1. The caller has the permission of the frame at `pa` (the stable compiler does not see it), and `i` is below 512.
// Relaxed: the Release of the link that publishes the frame comes after it.
#[inline(always)]
#[verifier::external_body]
pub unsafe fn store_unreachable(pa: Paddr, i: usize, v: u64, Tracked(perm): Tracked<&mut PagePerm>)
    requires
        old(perm).pa() == pa,
        old(perm).exclusive(),
        i < 512,
    ensures
        final(perm).pa() == pa,
        final(perm).exclusive(),
        final(perm).words() == old(perm).words().update(i as int, v),
    opens_invariants none
    no_unwind
{
    word(pa, i).store(v, Ordering::Relaxed)
}

/// Writes a word in which the walker notes nothing: it goes nowhere from it, or all is noted. Unlike an exchange, it is no fence.
///
/// # Safety
///
/// 1. The caller has the permission of the frame at `pa` (the stable compiler does not see it), and `i` is below 512.
/// 2. Walkers that read the frame read it in format `F`, as a node of this level of a tree of this shape.
/// 3. They go nowhere from the word; or `seen` was read from it since software wrote it last, and all is noted in that.
// Release: publishes what was written before it, as `swap`. It cannot tear, and nobody else writes the word: software has
// its permission, and walkers note what they do in words that they go by, where it is not noted yet.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub unsafe fn store_quiet<F: WalkerFormat>(
    pa: Paddr,
    i: usize,
    v: u64,
    Ghost(read_as): Ghost<(nat, WalkerShape)>,
    Ghost(seen): Ghost<u64>,
    Tracked(perm): Tracked<&mut PagePerm>,
)
    requires
        old(perm).pa() == pa,
        old(perm).exclusive(),
        i < 512,
        ({
            let word = old(perm).words()[i as int];
            F::step(word, read_as.0, read_as.1) is Fault || same_word::<F>(seen, word) && all_noted::<F>(seen)
        }),
    ensures
        final(perm).pa() == pa,
        final(perm).exclusive(),
        final(perm).words() == old(perm).words().update(i as int, v),
    opens_invariants none
    no_unwind
{
    word(pa, i).store(v, Ordering::Release)
}

/// Replaces a word and returns what it was, with what the walker noted until then.
///
/// # Safety
///
/// 1. The caller has the permission of the frame at `pa` (the stable compiler does not see it), and `i` is below 512.
/// 2. No walker reads the frame as one of another format than `F`.
// AcqRel: publishes what was written before it; pairs with the Acquire of `load`.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub unsafe fn swap<F: WalkerFormat>(pa: Paddr, i: usize, v: u64, Tracked(perm): Tracked<&mut PagePerm>) -> (r: u64)
    requires
        old(perm).pa() == pa,
        old(perm).exclusive(),
        i < 512,
    ensures
        final(perm).pa() == pa,
        final(perm).exclusive(),
        final(perm).words() == old(perm).words().update(i as int, v),
        same_word::<F>(r, old(perm).words()[i as int]),
    opens_invariants none
    no_unwind
{
    let r = word(pa, i).swap(v, Ordering::AcqRel);
    // Loom does not know that an exchange is a fence on x86-64, on which `AtomicCpuSet::load_after_exchange` relies.
    #[cfg(loom)]
    crate::primitive::fence(Ordering::SeqCst);
    r
}

/// Replaces a word if it is still `cur` to the bit.
///
/// # Safety
///
/// 1. The caller has the permission of the frame at `pa` (the stable compiler does not see it), and `i` is below 512.
/// 2. No walker reads the frame as one of another format than `F`.
// AcqRel on success, as `swap`; Relaxed on failure: the value is only a new guess.
#[inline(always)]
#[verifier::external_body]
#[verifier::atomic]
pub unsafe fn compare_exchange<F: WalkerFormat>(pa: Paddr, i: usize, cur: u64, v: u64, Tracked(perm): Tracked<&mut PagePerm>) -> (r: Result<
    u64,
    u64,
>)
    requires
        old(perm).pa() == pa,
        old(perm).exclusive(),
        i < 512,
    ensures
        final(perm).pa() == pa,
        final(perm).exclusive(),
        r matches Ok(w) ==> w == cur && same_word::<F>(cur, old(perm).words()[i as int]) && final(perm).words() == old(
            perm,
        ).words().update(i as int, v),
        r matches Err(w) ==> same_word::<F>(w, old(perm).words()[i as int]) && *final(perm) == *old(perm),
    opens_invariants none
    no_unwind
{
    word(pa, i).compare_exchange(cur, v, Ordering::AcqRel, Ordering::Relaxed)
}

} // verus!
