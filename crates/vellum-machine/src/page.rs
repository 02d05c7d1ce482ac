//! The contents of a frame, seen through the linear map.
#![expect(
    unsafe_code,
    reason = "the contents of a frame are reached through a raw pointer into the linear map"
)]
use crate::addr::{PAGE_SIZE, Paddr};
use crate::layout::LINEAR_MAP_BASE;
use vstd::prelude::*;

verus! {

/// Words of 64 bits in a frame.
pub const WORDS_PER_PAGE: usize = 512;

/// The permission to the 4096 bytes of one frame.
///
/// While it is *exclusive* nobody but its owner writes to the frame, and `words` says what is there (a
/// hardware walker that sets accessed and dirty bits is the business of the functions for page-table words).
/// While it is not, users of the frame may write at any time, and `words` says nothing.
#[verifier::external_body]
pub tracked struct PagePerm {
    _no_copy: NoCopy,
}

impl PagePerm {
    /// The frame.
    pub uninterp spec fn pa(&self) -> Paddr;

    /// What the frame holds, as words.
    pub uninterp spec fn words(&self) -> Seq<u64>;

    /// Only the owner of the permission writes.
    pub uninterp spec fn exclusive(&self) -> bool;

    /// A frame is 512 words.
    #[verifier::external_body]
    pub proof fn has_512_words(tracked &self)
        ensures
            self.words().len() == WORDS_PER_PAGE,
    {
    }

    /// Lets go of what is known of the words, so that others may write.
    #[verifier::external_body]
    pub proof fn open_up(tracked &mut self)
        ensures
            final(self).pa() == old(self).pa(),
            !final(self).exclusive(),
    {
    }
}

/// What a frame of zeros holds, as words.
pub open spec fn zeros() -> Seq<u64> {
    Seq::new(WORDS_PER_PAGE as nat, |i: int| 0u64)
}

/// Fills a frame with zeros.
///
/// # Safety
///
/// 1. The caller has the permission of the frame (what the contract says; the stable compiler does not see it).
#[inline]
#[verifier::external_body]
pub unsafe fn zero(pa: Paddr, Tracked(perm): Tracked<&mut PagePerm>)
    requires
        old(perm).pa() == pa,
    ensures
        final(perm).pa() == pa,
        final(perm).exclusive(),
        final(perm).words() == zeros(),
    opens_invariants none
    no_unwind
{
    // SAFETY: whoever has the permission of a frame has the frame, and a frame that exists is mapped, whole
    // and writable, at its place in the linear map.
    unsafe { contents(pa).write_bytes(0, PAGE_SIZE) }
}

/// There is a frame at `pa` among those from the frame at `start` on.
pub open spec fn in_run(pa: Paddr, start: Paddr, frames: usize) -> bool {
    start.0 <= pa.0 < start.0 + frames * PAGE_SIZE && pa.0 % PAGE_SIZE == 0
}

/// Fills contiguous frames with zeros.
///
/// # Safety
///
/// 1. The caller has the permission of each frame (what the contract says; the stable compiler does not see it).
#[inline]
#[verifier::external_body]
pub unsafe fn zero_run(start: Paddr, frames: usize, Tracked(perms): Tracked<&mut Map<Paddr, PagePerm>>)
    requires
        start.0 % PAGE_SIZE == 0,
        forall|p: Paddr| #[trigger] in_run(p, start, frames) ==> old(perms).contains_key(p) && old(perms)[p].pa() == p,
    ensures
        final(perms).dom() == old(perms).dom(),
        forall|p: Paddr| #[trigger] in_run(p, start, frames) ==> {
            &&& final(perms)[p].pa() == p
            &&& final(perms)[p].exclusive()
            &&& final(perms)[p].words() == zeros()
        },
    opens_invariants none
    no_unwind
{
    // SAFETY: as in `zero`; frames that follow each other in memory do so in the linear map.
    unsafe { contents(start).write_bytes(0, frames * PAGE_SIZE) }
}

/// Where the linear map shows the frame.
#[inline(always)]
#[verifier::external]
pub fn contents(pa: Paddr) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(LINEAR_MAP_BASE + pa.0)
}

} // verus!
