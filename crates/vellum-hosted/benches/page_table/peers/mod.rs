//! Peers, which are alone or behind a lock.
pub mod aarch64;
pub mod multiarch;
pub mod x86;

use crate::contestants::Table;
use crate::frames::Frames;
use crate::rows::Noted;
use spin::mutex::SpinMutex;
use std::cell::UnsafeCell;
use std::iter::once;
use std::ops::Range;
use vellum_machine::addr::Paddr;

/// A table that one thread edits at a time.
pub trait Peer: Send {
    fn new() -> Self;
    /// Maps frames, which follow each other in memory, from a page on.
    fn map(&mut self, first: usize, frames: impl ExactSizeIterator<Item = Paddr>);
    fn unmap(&mut self, pages: Range<usize>, keep: impl FnMut(Paddr));
    fn protect(&mut self, pages: Range<usize>);
    fn query(&self, page: usize) -> Option<Paddr>;
    fn map_huge(&mut self, first: usize, count: usize);
    fn unmap_huge(&mut self, first: usize, count: usize);
}

/// Who may edit.
trait Share<P>: Sync {
    fn edit<R>(&self, f: impl FnOnce(&mut P) -> R) -> R;
    fn frames(&self) -> &Frames;
}

/// A peer for one thread.
pub struct Alone<'a, P> {
    peer: UnsafeCell<P>,
    frames: &'a Frames,
}

#[allow(unsafe_code, reason = "the rows of one thread use it from one thread")]
// SAFETY: it is used from one thread at a time: `contestants::peer` makes it for rows of one thread alone.
unsafe impl<P: Send> Sync for Alone<'_, P> {}

impl<'a, P: Peer> Alone<'a, P> {
    pub fn new(frames: &'a Frames) -> Self {
        Alone { peer: UnsafeCell::new(P::new()), frames }
    }
}

impl<P: Send> Share<P> for Alone<'_, P> {
    #[inline]
    #[allow(unsafe_code, reason = "the rows of one thread use it from one thread")]
    fn edit<R>(&self, f: impl FnOnce(&mut P) -> R) -> R {
        // SAFETY: as above; `f` is none of those functions that come here.
        f(unsafe { &mut *self.peer.get() })
    }

    fn frames(&self) -> &Frames {
        self.frames
    }
}

/// A peer behind a spin lock.
pub struct Locked<'a, P> {
    peer: SpinMutex<P>,
    frames: &'a Frames,
}

impl<'a, P: Peer> Locked<'a, P> {
    pub fn new(frames: &'a Frames) -> Self {
        Locked { peer: SpinMutex::new(P::new()), frames }
    }
}

impl<P: Send> Share<P> for Locked<'_, P> {
    #[inline]
    fn edit<R>(&self, f: impl FnOnce(&mut P) -> R) -> R {
        f(&mut self.peer.lock())
    }

    fn frames(&self) -> &Frames {
        self.frames
    }
}

macro_rules! table {
    ($share:ident) => {
        impl<P: Peer> Table for $share<'_, P> {
            type Item = Paddr;

            fn item(&self, frame: usize) -> Paddr {
                self.frames().paddr(frame)
            }

            type Run = Range<usize>;

            fn run(&self, frames: Range<usize>) -> Range<usize> {
                frames
            }

            fn map_range(&self, first: usize, run: Range<usize>) {
                let paddrs = self.frames().paddrs(run);
                self.edit(|peer| peer.map(first, paddrs));
            }

            fn map(&self, page: usize, item: Paddr, _noted: Noted) {
                self.edit(|peer| peer.map(page, once(item)));
            }

            fn unmap(&self, pages: Range<usize>, keep: impl FnMut(Paddr)) {
                self.edit(|peer| peer.unmap(pages, keep));
            }

            fn protect(&self, pages: Range<usize>) {
                self.edit(|peer| peer.protect(pages));
            }

            fn query(&self, page: usize) -> Option<Paddr> {
                self.edit(|peer| peer.query(page))
            }

            fn pair(&self, page: usize, item: Paddr, _noted: Noted) -> Option<Paddr> {
                self.edit(|peer| {
                    let mut back = None;
                    peer.map(page, once(item));
                    peer.unmap(page..page + 1, |item| back = Some(item));
                    back
                })
            }

            fn map_huge(&self, first: usize, count: usize) {
                self.edit(|peer| peer.map_huge(first, count));
            }

            fn unmap_huge(&self, first: usize, count: usize) {
                self.edit(|peer| peer.unmap_huge(first, count));
            }
        }
    };
}

table!(Alone);
table!(Locked);
