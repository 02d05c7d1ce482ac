//! What one asks an allocator for.
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use vstd::std_specs::bits::*;

verus! {

/// A number of contiguous frames, and the alignment of the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRequest {
    frames: usize,
    /// In bytes.
    align: usize,
}

/// It is a power of two.
pub open spec fn is_power_of_two(x: usize) -> bool {
    x > 0 && x & (x - 1) as usize == 0
}

impl FrameRequest {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.frames > 0 && self.align >= PAGE_SIZE && is_power_of_two(self.align)
    }

    /// The number of frames.
    pub closed spec fn count(self) -> usize {
        self.frames
    }

    /// The alignment in bytes.
    pub closed spec fn alignment(self) -> usize {
        self.align
    }

    /// One frame.
    pub exec const SINGLE: FrameRequest
        ensures
            Self::SINGLE.count() == 1,
            Self::SINGLE.alignment() == PAGE_SIZE,
    {
        FrameRequest::any_place(1)
    }

    /// Asks for frames anywhere.
    #[inline]
    pub(super) const fn any_place(frames: usize) -> (r: FrameRequest)
        requires
            frames > 0,
        ensures
            r.count() == frames,
            r.alignment() == PAGE_SIZE,
        opens_invariants none
        no_unwind
    {
        proof {
            assert(4096usize & 4095usize == 0) by (bit_vector);
        }
        FrameRequest { frames, align: PAGE_SIZE }
    }

    /// Asks for `frames` contiguous frames, or `None` for none at all.
    #[inline]
    pub const fn new(frames: usize) -> (r: Option<FrameRequest>)
        ensures
            r is None <==> frames == 0,
            r matches Some(q) ==> q.count() == frames && q.alignment() == PAGE_SIZE,
        opens_invariants none
        no_unwind
    {
        if frames == 0 {
            None
        } else {
            Some(FrameRequest::any_place(frames))
        }
    }

    /// Asks for a multiple of `bytes` as the address, or `None` unless that is a power of two of at least a frame.
    pub const fn aligned_to(self, bytes: usize) -> (r: Option<FrameRequest>)
        ensures
            r is Some <==> bytes >= PAGE_SIZE && is_power_of_two(bytes),
            r matches Some(q) ==> q.count() == self.count() && q.alignment() == bytes,
        opens_invariants none
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        if bytes >= PAGE_SIZE && bytes & (bytes - 1) == 0 {
            Some(FrameRequest { frames: self.frames, align: bytes })
        } else {
            None
        }
    }

    /// Returns the number of frames.
    #[inline]
    pub const fn frames(self) -> (r: usize)
        ensures
            r == self.count(),
            r > 0,
        opens_invariants none
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        self.frames
    }

    /// Returns the alignment in bytes.
    #[inline]
    pub const fn align(self) -> (r: usize)
        ensures
            r == self.alignment(),
            r >= PAGE_SIZE && is_power_of_two(r),
        opens_invariants none
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        self.align
    }

    /// Returns the frames of the smallest naturally aligned block that serves the request, a power of two, or `None`
    /// where that is none.
    pub const fn block_frames(self) -> (r: Option<usize>)
        ensures
            r matches Some(b) ==> {
                &&& is_power_of_two(b)
                &&& b >= self.count() && b >= self.alignment() / PAGE_SIZE
                &&& b / 2 < self.count() || b == self.alignment() / PAGE_SIZE
            },
            r is None ==> self.count() > 0x8000_0000_0000_0000,
    {
        proof {
            use_type_invariant(self);
        }
        let last = (self.frames - 1) as u64;
        let zeros = last.leading_zeros() as u64;
        proof {
            axiom_u64_leading_zeros(last);
        }
        if zeros == 0 {
            proof {
                assert(last >> 63u64 & 1u64 != 0 ==> last >= 0x8000_0000_0000_0000u64) by (bit_vector);
            }
            return None;
        }
        proof {
            block_serves(last, zeros);
            pages_of_power_of_two(self.align);
        }
        let block = (1u64 << (64 - zeros)) as usize;
        let aligned = self.align / PAGE_SIZE;
        Some(if block < aligned { aligned } else { block })
    }

    /// Says whether one frame, anywhere, will do.
    #[inline]
    pub const fn is_single(self) -> (r: bool)
        ensures
            r == (self.count() == 1 && self.alignment() == PAGE_SIZE),
        opens_invariants none
        no_unwind
    {
        self.frames == 1 && self.align == PAGE_SIZE
    }
}

/// The least power of two that is more than `last` is above the leading zeros of `last`.
proof fn block_serves(last: u64, zeros: u64)
    requires
        0 < zeros <= 64,
        zeros < 64 ==> (last >> sub(63u64, zeros)) & 1u64 != 0u64,
        last >> sub(64, zeros) == 0,
    ensures
        is_power_of_two((1u64 << sub(64, zeros)) as usize),
        (1u64 << sub(64, zeros)) > last,
        (1u64 << sub(64, zeros)) / 2 <= last,
{
    let block = 1u64 << sub(64, zeros);
    assert(block > 0 && block & sub(block, 1) == 0 && block > last && block / 2 <= last) by (bit_vector)
        requires
            0 < zeros <= 64,
            zeros < 64 ==> (last >> sub(63u64, zeros)) & 1u64 != 0u64,
            last >> sub(64, zeros) == 0,
            block == 1u64 << sub(64, zeros),
    ;
}

/// The pages of a power of two of bytes are a power of two.
proof fn pages_of_power_of_two(bytes: usize)
    requires
        bytes >= PAGE_SIZE,
        is_power_of_two(bytes),
    ensures
        is_power_of_two((bytes / PAGE_SIZE) as usize),
{
    let pages = bytes / 4096;
    assert(pages > 0 && pages & sub(pages, 1) == 0) by (bit_vector)
        requires
            bytes >= 4096,
            bytes & sub(bytes, 1) == 0,
            pages == bytes / 4096,
    ;
}

} // verus!

#[cfg(test)]
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_checked_when_made() {
        assert_eq!(FrameRequest::new(0), None);
        assert_eq!(FrameRequest::new(1), Some(FrameRequest::SINGLE));
        for align in [0, 1, 2048, 3 * PAGE_SIZE, usize::MAX] {
            assert_eq!(FrameRequest::SINGLE.aligned_to(align), None);
        }
        let request = FrameRequest::new(3).unwrap().aligned_to(8 * PAGE_SIZE).unwrap();
        assert_eq!((request.frames(), request.align()), (3, 8 * PAGE_SIZE));
        assert_eq!(request.block_frames(), Some(8));
        assert_eq!(FrameRequest::new(3).unwrap().block_frames(), Some(4));
        assert_eq!(FrameRequest::new(usize::MAX).unwrap().block_frames(), None);
        assert_eq!(FrameRequest::SINGLE.aligned_to(1 << 63).unwrap().align(), 1 << 63);
    }
}
