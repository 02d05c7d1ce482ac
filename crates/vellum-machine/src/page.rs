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
    pub proof fn open_up(tracked self) -> (tracked r: PagePerm)
        ensures
            r.pa() == self.pa(),
            !r.exclusive(),
    {
        let tracked mut r = self;
        r.open_up_in_place();
        r
    }

    /// As [`open_up`](Self::open_up), of a permission that stays where it is.
    #[verifier::external_body]
    pub proof fn open_up_in_place(tracked &mut self)
        ensures
            final(self).pa() == old(self).pa(),
            !final(self).exclusive(),
    {
    }
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
        final(perm).words() == Seq::new(WORDS_PER_PAGE as nat, |i: int| 0u64),
    opens_invariants none
    no_unwind
{
    // SAFETY: whoever has the permission of a frame has the frame, and a frame that exists is mapped, whole
    // and writable, at its place in the linear map.
    unsafe { contents(pa).write_bytes(0, PAGE_SIZE) }
}

/// Where the linear map shows the frame.
#[inline(always)]
#[verifier::external]
pub fn contents(pa: Paddr) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(LINEAR_MAP_BASE + pa.0)
}

} // verus!
