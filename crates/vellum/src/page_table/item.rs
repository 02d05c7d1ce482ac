//! What is mapped into user space: a frame, or a huge page of frames.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
use super::entry::*;
use super::geometry::*;
use super::native::*;
use super::spec::*;
#[cfg(verus_keep_ghost)]
use crate::frame::segment::covers;
use crate::frame::shared::{clone_raw, drop_raw};
use crate::frame::table::*;
use crate::frame::token::*;
use crate::frame::{AnyUFrameMeta, Frame, Segment, UFrame, USegment};
use core::fmt;
use core::marker::PhantomData;
use vellum_machine::addr::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::layout::PADDR_LIMIT;
use vstd::prelude::*;

verus! {

/// Why a segment is no huge page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugePageError {
    /// No entry maps a huge page of this size.
    NoSuchSize {
        /// The size of the segment, in bytes.
        size: usize,
    },
    /// The segment does not start at a multiple of its size.
    NotAligned {
        /// Where it starts.
        paddr: Paddr,
        /// Its size, in bytes.
        size: usize,
    },
}

/// A segment that is no huge page, and why.
#[must_use = "it owns the segment"]
pub struct NotHuge {
    /// Why.
    pub cause: HugePageError,
    /// The segment, as it was.
    pub segment: USegment,
}

/// The frames of a huge page: as many as one entry above level 1 maps in a tree of shape `G`, aligned to their size.
///
/// On x86-64, 2 MiB at level 2 and 1 GiB at level 3. [`FrameAllocOptions::aligned_to`] has such segments allocated.
///
/// [`FrameAllocOptions::aligned_to`]: crate::frame::allocator::FrameAllocOptions::aligned_to
pub struct HugePage<G: PagingConsts = NativeShape> {
    segment: USegment,
    level: u8,
    shape: PhantomData<G>,
}

/// The frames of one page of user space.
pub enum UserFrames<G: PagingConsts = NativeShape> {
    /// The frame of a base page.
    Frame(UFrame),
    /// The frames of a huge page.
    Huge(HugePage<G>),
}

/// What is mapped into user space: frames with untyped contents, and what may be done with them.
pub struct MappedItem<G: PagingConsts = NativeShape> {
    /// The frames; the mapping owns one count of each.
    pub frames: UserFrames<G>,
    /// What may be done.
    pub prop: PageProperty,
}

/// Base pages that are mapped into user space together: frames that follow each other, with untyped contents, and what
/// may be done with each.
pub struct MappedRange {
    /// The frames; the mappings own one count of each.
    pub segment: USegment,
    /// What may be done.
    pub prop: PageProperty,
}

/// There is one count of each frame in `size` bytes from `pa` on, and no other.
pub open spec fn owns_frames(t: LeafTok, pa: usize, size: nat) -> bool {
    covers::<dyn AnyUFrameMeta>(t, Paddr(pa), Paddr((pa + size) as usize))
}

/// The bytes of a page of level `l`.
#[inline(always)]
fn leaf_size<G: PagingConsts>(l: u8) -> (r: usize)
    requires
        1 <= l <= 5,
    ensures
        r == span(G::NR_ENTRIES as nat, l as nat),
    opens_invariants none
    no_unwind
{
    pages_below::<G>(l - 1) * PAGE_SIZE
}

/// A page that fits is one of whole frames.
proof fn lemma_whole_frames<G: PagingConsts>(pa: usize, l: nat)
    requires
        leaf_fits::<G>(pa, l),
    ensures
        pa % PAGE_SIZE == 0,
        span(G::NR_ENTRIES as nat, l) % PAGE_SIZE as nat == 0,
        span(G::NR_ENTRIES as nat, l) >= PAGE_SIZE,
        span(G::NR_ENTRIES as nat, 1) == PAGE_SIZE,
        pa + span(G::NR_ENTRIES as nat, l) <= PADDR_LIMIT,
        1 <= l <= 5,
{
    G::consts_ok();
    lemma_leaf_fits::<G>(pa, l);
    lemma_pre_zero(G::NR_ENTRIES as nat, 0);
    lemma_pages_pos(G::NR_ENTRIES as nat, (l - 1) as nat);
}

impl<G: PagingConsts> HugePage<G> {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        &&& self.level >= 2
        &&& leaf_fits::<G>(self.segment.start().0, self.level as nat)
        &&& self.segment.end().0 == self.segment.start().0 + span(G::NR_ENTRIES as nat, self.level as nat)
    }

    /// Where it starts, and its level.
    pub closed spec fn page(self) -> (usize, nat) {
        (self.segment.start().0, self.level as nat)
    }

    /// Takes a segment as a huge page.
    ///
    /// # Errors
    ///
    /// With the segment:
    ///
    /// - [`HugePageError::NoSuchSize`]: it is not of the size of a huge page.
    /// - [`HugePageError::NotAligned`]: it is not aligned to its size.
    pub fn new(segment: USegment) -> Result<Self, NotHuge> {
        let (start, end) = segment.bounds();
        let size = end.0 - start.0;
        proof {
            G::consts_ok();
        }
        let mut l = 2;
        while l <= G::MAX_LEAF_LEVEL
            invariant
                2 <= l <= G::MAX_LEAF_LEVEL + 1,
                G::MAX_LEAF_LEVEL <= 5,
                segment.spans(start, end),
                end.0 <= PADDR_LIMIT,
                size == end.0 - start.0,
            decreases G::MAX_LEAF_LEVEL + 1 - l,
        {
            if leaf_size::<G>(l) == size {
                proof {
                    G::consts_ok();
                    lemma_pages_pos(G::NR_ENTRIES as nat, (l - 1) as nat);
                }
                if start.0 % size != 0 {
                    return Err(NotHuge { cause: HugePageError::NotAligned { paddr: start, size }, segment });
                }
                return Ok(HugePage { segment, level: l, shape: PhantomData });
            }
            l += 1;
        }
        Err(NotHuge { cause: HugePageError::NoSuchSize { size }, segment })
    }

    /// Returns its frames as a segment.
    pub fn into_segment(self) -> (r: USegment)
        ensures
            r.start().0 == self.page().0,
            r.end().0 == self.page().0 + span(G::NR_ENTRIES as nat, self.page().1),
    {
        proof {
            use_type_invariant(&self);
        }
        self.segment
    }

    /// Lends its frames as a segment.
    pub fn segment(&self) -> (r: &USegment)
        ensures
            r.start().0 == self.page().0,
            r.end().0 == self.page().0 + span(G::NR_ENTRIES as nat, self.page().1),
    {
        proof {
            use_type_invariant(self);
        }
        &self.segment
    }

    /// Returns the level of an entry that maps it.
    pub fn level(&self) -> (r: u8)
        ensures
            r == self.page().1,
    {
        self.level
    }
}

impl<G: PagingConsts> UserFrames<G> {
    /// Where they start, and the level of an entry that maps them.
    pub open spec fn page(self) -> (usize, nat) {
        match self {
            UserFrames::Frame(frame) => (frame.pa().0, 1),
            UserFrames::Huge(huge) => huge.page(),
        }
    }

    /// Returns the physical address of the first byte.
    pub fn start_paddr(&self) -> (r: Paddr)
        ensures
            r.0 == self.page().0,
    {
        match self {
            UserFrames::Frame(frame) => frame.start_paddr(),
            UserFrames::Huge(huge) => huge.segment().start_paddr(),
        }
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> (r: usize)
        ensures
            r == span(G::NR_ENTRIES as nat, self.page().1),
    {
        match self {
            UserFrames::Frame(frame) => {
                proof {
                    lemma_pre_zero(G::NR_ENTRIES as nat, 0);
                }
                frame.size()
            },
            UserFrames::Huge(huge) => huge.segment().size(),
        }
    }

    /// Returns the level of an entry that maps them: 1 for a base page.
    pub fn level(&self) -> (r: u8)
        ensures
            r == self.page().1,
    {
        match self {
            UserFrames::Frame(_) => 1,
            UserFrames::Huge(huge) => huge.level(),
        }
    }

    /// Lends the frame of a base page; `None` where they are those of a huge page.
    pub fn frame(&self) -> (r: Option<&UFrame>)
        ensures
            r matches Some(frame) ==> (frame.pa().0, 1nat) == self.page(),
            r is None ==> self is Huge,
    {
        match self {
            UserFrames::Frame(frame) => Some(frame),
            UserFrames::Huge(_) => None,
        }
    }

    /// Returns the frame of a base page.
    ///
    /// # Errors
    ///
    /// - The frames themselves: they are those of a huge page.
    pub fn into_frame(self) -> (r: Result<UFrame, Self>)
        ensures
            r matches Ok(frame) ==> (frame.pa().0, 1nat) == self.page(),
            r matches Err(frames) ==> frames == self,
    {
        match self {
            UserFrames::Frame(frame) => Ok(frame),
            huge => Err(huge),
        }
    }

    /// Returns the frames as a segment.
    pub fn into_segment(self) -> (r: USegment)
        ensures
            r.start().0 == self.page().0,
            r.end().0 == self.page().0 + span(G::NR_ENTRIES as nat, self.page().1),
    {
        match self {
            UserFrames::Frame(frame) => {
                proof {
                    lemma_pre_zero(G::NR_ENTRIES as nat, 0);
                }
                Segment::from(frame)
            },
            UserFrames::Huge(huge) => huge.into_segment(),
        }
    }

    /// Takes them apart: physical address, level, counts.
    #[inline(always)]
    pub(super) fn into_parts(self) -> (r: (usize, u8, Tracked<LeafTok>))
        ensures
            leaf_fits::<G>(r.0, r.1 as nat),
            owns_frames(r.2@, r.0, span(G::NR_ENTRIES as nat, r.1 as nat)),
            self.page() == (r.0, r.1 as nat),
        opens_invariants none
        no_unwind
    {
        match self {
            UserFrames::Frame(frame) => {
                let (slot, tok) = frame.into_parts();
                let pa = pa_of(slot);
                let mut toks = no_tokens();
                put(&mut toks, pa, tok);
                proof {
                    lemma_pre_zero(G::NR_ENTRIES as nat, 0);
                    G::consts_ok();
                }
                (pa.0, 1, toks)
            },
            UserFrames::Huge(huge) => {
                proof {
                    use_type_invariant(&huge);
                }
                let HugePage { segment, level, .. } = huge;
                let (start, _, toks) = segment.into_parts();
                (start.0, level, toks)
            },
        }
    }

    /// Puts them together.
    #[inline(always)]
    pub(super) fn from_parts(pa: usize, l: u8, tok: Tracked<LeafTok>) -> (r: Self)
        requires
            leaf_fits::<G>(pa, l as nat),
            owns_frames(tok@, pa, span(G::NR_ENTRIES as nat, l as nat)),
        ensures
            r.page() == (pa, l as nat),
        opens_invariants none
        no_unwind
    {
        proof {
            lemma_whole_frames::<G>(pa, l as nat);
        }
        if l == 1 {
            let mut toks = tok;
            let tok = take::<dyn AnyUFrameMeta>(&mut toks, Paddr(pa));
            UserFrames::Frame(Frame::new(slot_of(Paddr(pa)), tok))
        } else {
            let segment = Segment::from_parts(Paddr(pa), Paddr(pa + leaf_size::<G>(l)), tok);
            UserFrames::Huge(HugePage { segment, level: l, shape: PhantomData })
        }
    }
}

impl<G: PagingConsts> MappedItem<G> {
    /// A frame, to be mapped as a base page.
    #[inline(always)]
    pub fn new(frame: UFrame, prop: PageProperty) -> (r: Self)
        ensures
            r.frames.page() == (frame.pa().0, 1nat),
            r.prop == prop,
    {
        MappedItem { frames: UserFrames::Frame(frame), prop }
    }

    /// Frames, to be mapped as one huge page.
    ///
    /// # Errors
    ///
    /// As [`HugePage::new`].
    pub fn huge(segment: USegment, prop: PageProperty) -> (r: Result<Self, NotHuge>)
        ensures
            r matches Ok(item) ==> item.prop == prop,
    {
        match HugePage::new(segment) {
            Ok(huge) => Ok(MappedItem { frames: UserFrames::Huge(huge), prop }),
            Err(refused) => Err(refused),
        }
    }
}

/// Adds a count to each frame of a page.
#[inline(always)]
pub(super) fn clone_frames<G: PagingConsts>(pa: usize, l: u8, tok: Tracked<&LeafTok>) -> (r: Tracked<LeafTok>)
    requires
        leaf_fits::<G>(pa, l as nat),
        owns_frames(*tok@, pa, span(G::NR_ENTRIES as nat, l as nat)),
    ensures
        owns_frames(r@, pa, span(G::NR_ENTRIES as nat, l as nat)),
    no_unwind
{
    proof {
        lemma_whole_frames::<G>(pa, l as nat);
    }
    let end = pa + leaf_size::<G>(l);
    let mut toks = no_tokens();
    let mut p = pa;
    while p < end
        invariant
            pa % PAGE_SIZE == 0,
            p % PAGE_SIZE == 0,
            end % PAGE_SIZE == 0,
            pa <= p <= end <= PADDR_LIMIT,
            covers::<dyn AnyUFrameMeta>(*tok@, Paddr(pa), Paddr(end)),
            covers::<dyn AnyUFrameMeta>(toks@, Paddr(pa), Paddr(p)),
        decreases end - p,
    {
        assert(has_frame::<dyn AnyUFrameMeta>(*tok@, Paddr(p)));
        let tracked t = tok.get().tracked_borrow(Paddr(p));
        let new = clone_raw(Paddr(p), Tracked(t));
        put(&mut toks, Paddr(p), new);
        p += PAGE_SIZE;
    }
    toks
}

/// Gives up a count of each frame of a page.
#[inline(always)]
pub(super) fn drop_frames<G: PagingConsts>(pa: usize, l: u8, tok: Tracked<LeafTok>)
    requires
        leaf_fits::<G>(pa, l as nat),
        owns_frames(tok@, pa, span(G::NR_ENTRIES as nat, l as nat)),
    no_unwind
{
    if l == 1 {
        proof {
            lemma_whole_frames::<G>(pa, l as nat);
        }
        let mut toks = tok;
        let tok = take::<dyn AnyUFrameMeta>(&mut toks, Paddr(pa));
        drop_raw(Paddr(pa), tok);
    } else {
        let _frames = UserFrames::<G>::from_parts(pa, l, tok);
    }
}

/// The counts of `n` times `size` bytes of frames, in `n` parts.
pub(super) proof fn part_frames(tracked t: LeafTok, pa: usize, n: nat, size: nat) -> (tracked r: Map<int, LeafTok>)
    requires
        owns_frames(t, pa, n * size),
        pa % PAGE_SIZE == 0,
        size % PAGE_SIZE as nat == 0,
        pa + n * size <= PADDR_LIMIT,
    ensures
        forall|j: int| #[trigger] r.dom().contains(j) <==> 0 <= j < n,
        forall|j: int| 0 <= j < n ==> owns_frames(#[trigger] r[j], (pa + j * size) as usize, size),
    decreases n,
{
    if n == 0 {
        Map::tracked_empty()
    } else {
        let m = (n - 1) as nat;
        assert(n * size == m * size + size && m * size >= 0) by (nonlinear_arith)
            requires
                n == m + 1,
        ;
        let mid = (pa + m * size) as usize;
        let tracked mut t = t;
        let keys = t.dom().filter(|p: Paddr| p.0 >= mid);
        let tracked last = t.tracked_remove_keys(keys);
        let tracked mut r = part_frames(t, pa, m, size);
        r.tracked_insert(m as int, last);
        r
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<G: PagingConsts> fmt::Debug for UserFrames<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserFrames::Frame(frame) => frame.fmt(f),
            UserFrames::Huge(huge) => f.debug_tuple("Huge").field(&huge.segment).finish(),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for HugePageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HugePageError::NoSuchSize { size } => write!(f, "no huge page has {size:#x} bytes"),
            HugePageError::NotAligned { paddr, size } => {
                write!(f, "{paddr} is not aligned to the {size:#x} bytes of the huge page")
            }
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for HugePageError {}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for NotHuge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotHuge").field("cause", &self.cause).field("segment", &self.segment).finish()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for NotHuge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for NotHuge {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}
