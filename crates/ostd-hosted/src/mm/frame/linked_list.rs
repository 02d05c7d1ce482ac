//! Lists of frames, linked through their slots.
#![expect(unsafe_code, reason = "makes handles of the frames in a list again")]
use super::UniqueFrame;
use super::meta::AnyFrameMeta;
use super::slot::Slot;
use crate::mm::Paddr;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};

/// Metadata of a frame that a list can have.
#[derive(Debug)]
pub struct Link<M>(M);

impl<M> Link<M> {
    /// Makes it.
    pub const fn new(meta: M) -> Link<M> {
        Link(meta)
    }
}

impl<M> Deref for Link<M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M> DerefMut for Link<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M {
        &mut self.0
    }
}

impl<M: AnyFrameMeta> AnyFrameMeta for Link<M> {}

/// The number of the list that comes next.
static NEXT_LIST: AtomicU64 = AtomicU64::new(1);

/// A list of frames, in which each can be found from its address.
///
/// Dropping it keeps its frames.
pub struct LinkedList<M> {
    front: u32,
    /// 0 before the first frame.
    number: u64,
    meta: PhantomData<M>,
}

impl<M> LinkedList<M>
where
    Link<M>: AnyFrameMeta,
{
    /// Makes an empty list.
    #[expect(clippy::new_without_default, reason = "the allocator makes lists in constants")]
    pub const fn new() -> LinkedList<M> {
        LinkedList { front: 0, number: 0, meta: PhantomData }
    }

    /// Says whether there is no frame in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.front == 0
    }

    /// Puts a frame at the front.
    #[inline]
    pub fn push_front(&mut self, frame: UniqueFrame<Link<M>>) {
        if self.number == 0 {
            self.number = NEXT_LIST.fetch_add(1, Ordering::Relaxed);
        }
        let slot = frame.into_slot();
        // Relaxed, all of them: whoever has the list changes its links, and no other thread takes membership for more
        // than a hint unless the list is its own.
        slot.next.store(self.front, Ordering::Relaxed);
        slot.prev.store(0, Ordering::Relaxed);
        slot.in_list.store(self.number, Ordering::Relaxed);
        let link = slot.link();
        if let Some(next) = Slot::named(self.front) {
            next.prev.store(link, Ordering::Relaxed);
        }
        self.front = link;
    }

    /// Takes the frame at the front.
    #[inline]
    pub fn pop_front(&mut self) -> Option<UniqueFrame<Link<M>>> {
        let slot = Slot::named(self.front)?;
        Some(self.take(slot))
    }

    /// Finds a frame in the list.
    #[inline]
    pub fn cursor_mut_at(&mut self, frame: Paddr) -> Option<CursorMut<'_, M>> {
        let slot = Slot::of(frame).ok()?;
        let is_here = self.number != 0 && slot.in_list.load(Ordering::Relaxed) == self.number;
        is_here.then_some(CursorMut { list: self, current: Some(slot) })
    }

    /// Takes a frame that is in the list.
    #[inline]
    fn take(&mut self, slot: &'static Slot) -> UniqueFrame<Link<M>> {
        let (next, prev) = (slot.next.load(Ordering::Relaxed), slot.prev.load(Ordering::Relaxed));
        if let Some(next) = Slot::named(next) {
            next.prev.store(prev, Ordering::Relaxed);
        }
        match Slot::named(prev) {
            Some(prev) => prev.next.store(next, Ordering::Relaxed),
            None => self.front = next,
        }
        slot.in_list.store(0, Ordering::Relaxed);
        // SAFETY: the frame is in this list, so `push_front` took it from a handle of this type, and this function,
        // which takes it out, makes the only handle since.
        unsafe { UniqueFrame::from_slot(slot) }
    }
}

/// A place in a list.
pub struct CursorMut<'a, M> {
    list: &'a mut LinkedList<M>,
    current: Option<&'static Slot>,
}

impl<M> CursorMut<'_, M>
where
    Link<M>: AnyFrameMeta,
{
    /// Takes the frame at which the cursor stands, which moves on to the next.
    #[inline]
    pub fn take_current(&mut self) -> Option<UniqueFrame<Link<M>>> {
        let slot = self.current?;
        self.current = Slot::named(slot.next.load(Ordering::Relaxed));
        Some(self.list.take(slot))
    }
}
