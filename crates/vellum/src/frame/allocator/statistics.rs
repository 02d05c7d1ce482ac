//! What an allocator can say about itself.

use super::MAX_ORDER;

/// A count of an allocator's frames.
///
/// While other processors allocate, the figures are of slightly different moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameStatistics {
    /// Frames that the allocator may hand out in all.
    pub total: usize,
    /// Frames that are free, the cached ones among them.
    pub free: usize,
    /// Free frames in magazines, on which one processor has the first call.
    pub cached: usize,
    /// Free blocks by order, a block of order `n` being `1 << n` aligned frames, and two free halves one block.
    pub by_order: [usize; MAX_ORDER as usize + 1],
    /// Frames that were given back without being allocated, and ignored.
    pub ignored: u64,
}

impl FrameStatistics {
    /// Returns the frames that are handed out.
    pub const fn allocated(&self) -> usize {
        self.total.saturating_sub(self.free)
    }

    /// Returns how many thousandths of the free frames lie in blocks too small for a request of this order.
    ///
    /// 0: all free memory serves it; 1000: none does, or none is free.
    pub fn unusable_permille(&self, order: u32) -> u32 {
        let frames = |(order, &blocks): (usize, &usize)| blocks << order;
        let free: usize = self.by_order.iter().enumerate().map(frames).sum();
        let usable: usize = self.by_order.iter().enumerate().skip(order as usize).map(frames).sum();
        match free {
            0 => 1000,
            free => ((free - usable) as u128 * 1000 / free as u128) as u32,
        }
    }

    /// Returns how many thousandths of the free frames cannot serve a request for 2 MiB.
    pub fn fragmentation_permille(&self) -> u32 {
        self.unusable_permille(9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_is_the_share_of_small_blocks() {
        let mut by_order = [0; MAX_ORDER as usize + 1];
        let empty = FrameStatistics { total: 2000, free: 0, cached: 0, by_order, ignored: 0 };
        assert_eq!(empty.fragmentation_permille(), 1000);
        (by_order[0], by_order[9]) = (512, 1);
        let half = FrameStatistics { free: 1024, by_order, ..empty };
        assert_eq!(half.fragmentation_permille(), 500);
        assert_eq!(half.unusable_permille(0), 0);
        assert_eq!(half.unusable_permille(100), 1000);
        assert_eq!(half.allocated(), 976);
    }
}
