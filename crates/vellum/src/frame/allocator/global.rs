//! The allocator that the kernel uses, and the switch that makes it fail.

use super::{AllocInitError, FrameRequest, FrameStatistics};
use crate::sync::Once;
use vellum_machine::addr::Paddr;
use vellum_machine::primitive::{AtomicU64, Ordering};

/// Hands out physical frames by address.
///
/// All of it may be called from any thread, at any time, with any argument. A panic in it stops the machine.
pub trait GlobalFrameAllocator: Sync {
    /// Takes free frames, or returns `None` where no free memory serves the request.
    fn alloc(&self, request: FrameRequest) -> Option<Paddr>;

    /// Gives `frames` frames back, from the address of the first on.
    ///
    /// Any part of what was allocated may be given back, alone or together with others. Frames that are not
    /// allocated at this moment are ignored, and counted.
    fn dealloc(&self, paddr: Paddr, frames: usize);

    /// Adds `frames` frames of free memory to those that the allocator may hand out.
    ///
    /// Frames that it had before are ignored, and counted, whether they are free or not.
    fn add_free(&self, paddr: Paddr, frames: usize);

    /// Moves what is cached for single processors to where everybody can have it, and every larger block can form.
    fn drain(&self);

    /// Counts the frames.
    fn statistics(&self) -> FrameStatistics;
}

static GLOBAL: Once<&'static dyn GlobalFrameAllocator> = Once::new();

/// How many allocations from now on one fails; 0 while none does.
static FAILURE_IN: AtomicU64 = AtomicU64::new(0);

/// Registers the allocator that the kernel uses from now on.
///
/// [`init`](super::init) does so with a [`BuddyAllocator`](super::BuddyAllocator).
///
/// # Errors
/// [`AllocInitError::AlreadySet`] where one is registered.
pub fn set_global(allocator: &'static dyn GlobalFrameAllocator) -> Result<(), AllocInitError> {
    GLOBAL.set(allocator).map_err(|_| AllocInitError::AlreadySet)
}

/// Says whether an allocator is registered.
pub(super) fn is_set() -> bool {
    GLOBAL.get().is_some()
}

/// Allocates from the global allocator; `None` also while there is none.
///
/// The frames are nobody's: what is not given back by [`dealloc`] is lost.
#[inline]
pub fn alloc(request: FrameRequest) -> Option<Paddr> {
    // Relaxed: the switch orders nothing.
    if FAILURE_IN.load(Ordering::Relaxed) != 0 && fails_now() {
        return None;
    }
    let allocator = GLOBAL.get()?;
    allocator.alloc(request).or_else(|| alloc_after_shortage(*allocator, request))
}

/// What gives frames back that wait for something.
static SHORTAGE: Once<fn()> = Once::new();

/// Says what is to be called where no free memory serves a request, before the request is tried once more; the first
/// that says so is heard.
///
/// It may be called from any thread that allocates, whatever locks that has, and neither allocates nor waits.
#[inline]
pub(crate) fn on_shortage(give_back: fn()) {
    if SHORTAGE.get().is_none() {
        let _ = SHORTAGE.set(give_back);
    }
}

#[cold]
fn alloc_after_shortage(allocator: &dyn GlobalFrameAllocator, request: FrameRequest) -> Option<Paddr> {
    SHORTAGE.get()?();
    allocator.alloc(request)
}

/// Gives frames back to the global allocator; does nothing while there is none.
///
/// Frames that are not allocated are ignored, and counted.
#[inline]
pub fn dealloc(paddr: Paddr, frames: usize) {
    if let Some(allocator) = GLOBAL.get() {
        allocator.dealloc(paddr, frames);
    }
}

/// Adds free memory to the global allocator.
pub(super) fn add_free(paddr: Paddr, frames: usize) {
    if let Some(allocator) = GLOBAL.get() {
        allocator.add_free(paddr, frames);
    }
}

/// Gives one frame back: the hook for frames whose last handle is gone.
pub(super) fn dealloc_one(paddr: Paddr) {
    dealloc(paddr, 1);
}

/// Empties the caches of the global allocator, so that its free frames can be counted and form large blocks.
pub fn drain() {
    if let Some(allocator) = GLOBAL.get() {
        allocator.drain();
    }
}

/// Counts the frames of the global allocator, if there is one.
pub fn statistics() -> Option<FrameStatistics> {
    GLOBAL.get().map(|allocator| allocator.statistics())
}

/// Makes one allocation fail: the next for 1, the one after it for 2, none for 0.
///
/// Each call of the global allocator counts, whatever its size and from whichever processor. After the failure
/// allocation works again.
pub fn inject_failure(nth: u64) {
    FAILURE_IN.store(nth, Ordering::Relaxed);
}

/// Returns after how many allocations one will fail, 0 for never.
///
/// After a run with [`inject_failure`] it tells whether the failure came.
pub fn failure_pending() -> u64 {
    FAILURE_IN.load(Ordering::Relaxed)
}

#[cold]
fn fails_now() -> bool {
    let counted = FAILURE_IN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    counted == Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_nth_allocation_fails() {
        for nth in 0..4 {
            inject_failure(nth);
            let failed = [(); 4].map(|()| FAILURE_IN.load(Ordering::Relaxed) != 0 && fails_now());
            let expected: [bool; 4] = core::array::from_fn(|index| index as u64 + 1 == nth);
            assert_eq!(failed, expected);
        }
        assert_eq!(failure_pending(), 0);
    }
}
