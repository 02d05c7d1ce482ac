//! Lists of unique frames, linked through the frames' own metadata.
//!
//! A list needs no memory: the neighbours of a frame stand in its metadata, a [`Link`]. The slot of each frame
//! says which list the frame is in, so that [`LinkedList::contains`] is one read. The metadata of a frame in a
//! list are reached through the list, at its ends or with a [`CursorMut`].
mod chain;
mod cursor;
mod link;

#[cfg(verus_keep_ghost)]
pub(crate) use chain::ListOwn;
pub use cursor::CursorMut;
pub use link::Link;
#[cfg(verus_keep_ghost)]
use link::inner;

use super::erased::*;
use super::unique::UniqueFrame;
use chain::*;
use vellum_machine::addr::Paddr;
use vellum_machine::owned::{Owned, Release};
use vstd::prelude::*;

#[verus_verify]
struct Parts<M: AnyFrameMeta> {
    chain: Chain<M>,
}

/// A list of unique frames whose metadata are [`Link<M>`](Link)s.
///
/// Each list has a number from its first frame on, which no other list has had or will have; a machine that
/// uses up all of them stops. Dropping the list drops its frames, from the front, each as a [`UniqueFrame`] is
/// dropped.
///
/// # Guarantees
///
/// A frame is in at most one list, and while it is, the list alone has it.
#[verus_verify]
pub struct LinkedList<M: AnyFrameMeta> {
    parts: Owned<Parts<M>>,
}

verus! {

impl<M: AnyFrameMeta> Parts<M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.chain.wf()
    }
}

impl<M: AnyFrameMeta> LinkedList<M> {
    /// The addresses of the frames, in order.
    pub closed spec fn view(&self) -> Seq<Paddr> {
        self.parts@.chain.order()
    }

    /// What is known of the metadata of the frames, in order: `repr` of each.
    pub closed spec fn metas(&self) -> Seq<Seq<int>> {
        self.parts@.chain.metas()
    }
}

} // verus!

#[verus_verify]
impl<M: AnyFrameMeta> Release for Parts<M> {
    #[verus_spec]
    fn release(self) {
        proof! {
            use_type_invariant(&self);
        }
        let Parts { chain } = self;
        let mut chain = chain;
        #[cfg_attr(verus_keep_ghost, verus_spec(
            invariant
                chain.wf(),
            decreases chain.order().len(),
        ))]
        while let Some(head) = chain.head {
            let _frame = chain.remove(verus_exec_expr!(Ghost(0)), head);
        }
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> LinkedList<M> {
    /// Makes an empty list.
    #[verus_spec(r => ensures r@ == Seq::<Paddr>::empty(), r.metas() == Seq::<Seq<int>>::empty())]
    pub const fn new() -> Self {
        LinkedList { parts: Owned::new(Parts { chain: Chain::new() }) }
    }

    /// Returns how many frames are in the list.
    #[verus_spec(r => ensures r == self@.len())]
    pub fn size(&self) -> usize {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        parts.chain.len
    }

    /// Tells whether no frame is in the list.
    #[verus_spec(r => ensures r == (self@.len() == 0))]
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// Tells whether the frame at an address is in the list, by one read of the frame's slot.
    #[verus_spec(r => ensures r == self@.contains(paddr))]
    pub fn contains(&self, paddr: Paddr) -> bool {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        parts.chain.contains(paddr)
    }

    /// Puts a frame before the first.
    #[verus_spec(
        ensures
            final(self)@ == old(self)@.insert(0, frame.pa()),
            final(self).metas() == old(self).metas().insert(0, inner(frame.content())),
    )]
    pub fn push_front(&mut self, frame: UniqueFrame<Link<M>>) {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
        }
        let head = parts.chain.head;
        parts.chain.insert(verus_exec_expr!(Ghost(0)), None, head, frame);
    }

    /// Puts a frame after the last.
    #[verus_spec(
        ensures
            final(self)@ == old(self)@.push(frame.pa()),
            final(self).metas() == old(self).metas().push(inner(frame.content())),
    )]
    pub fn push_back(&mut self, frame: UniqueFrame<Link<M>>) {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
            let len = parts.chain.order().len() as int;
            assert(parts.chain.order().insert(len, frame.pa()) =~= parts.chain.order().push(frame.pa()));
            assert(parts.chain.metas().insert(len, inner(frame.content()))
                =~= parts.chain.metas().push(inner(frame.content())));
        }
        let tail = parts.chain.tail;
        parts.chain.insert(verus_exec_expr!(Ghost(parts.chain.order().len() as int)), tail, None, frame);
    }

    /// Takes the first frame out.
    #[verus_spec(r =>
        ensures
            r matches Some(f) ==> {
                &&& old(self)@.len() > 0
                &&& f.pa() == old(self)@[0] && inner(f.content()) == old(self).metas()[0]
                &&& final(self)@ == old(self)@.remove(0) && final(self).metas() == old(self).metas().remove(0)
            },
            r is None ==> old(self)@.len() == 0 && final(self)@ == old(self)@
                && final(self).metas() == old(self).metas(),
    )]
    pub fn pop_front(&mut self) -> Option<UniqueFrame<Link<M>>> {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
        }
        match parts.chain.head {
            Some(head) => Some(parts.chain.remove(verus_exec_expr!(Ghost(0)), head)),
            None => None,
        }
    }

    /// Takes the last frame out.
    #[verus_spec(r =>
        ensures
            r matches Some(f) ==> {
                &&& old(self)@.len() > 0
                &&& f.pa() == old(self)@.last() && inner(f.content()) == old(self).metas().last()
                &&& final(self)@ == old(self)@.drop_last()
                &&& final(self).metas() == old(self).metas().drop_last()
            },
            r is None ==> old(self)@.len() == 0 && final(self)@ == old(self)@
                && final(self).metas() == old(self).metas(),
    )]
    pub fn pop_back(&mut self) -> Option<UniqueFrame<Link<M>>> {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
            if parts.chain.order().len() > 0 {
                let last = parts.chain.order().len() - 1;
                assert(parts.chain.order().remove(last) =~= parts.chain.order().drop_last());
                assert(parts.chain.metas().remove(last) =~= parts.chain.metas().drop_last());
            }
        }
        match parts.chain.tail {
            Some(tail) => {
                Some(parts.chain.remove(verus_exec_expr!(Ghost(parts.chain.order().len() - 1)), tail))
            }
            None => None,
        }
    }

    /// Lends the metadata of the first frame.
    #[verus_spec(r =>
        ensures
            r is Some <==> self@.len() > 0,
            r matches Some(meta) ==> meta.repr() == self.metas()[0],
    )]
    pub fn front(&self) -> Option<&M> {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        match parts.chain.head {
            Some(head) => Some(parts.chain.meta(verus_exec_expr!(Ghost(0)), head)),
            None => None,
        }
    }

    /// Lends the metadata of the last frame.
    #[verus_spec(r =>
        ensures
            r is Some <==> self@.len() > 0,
            r matches Some(meta) ==> meta.repr() == self.metas().last(),
    )]
    pub fn back(&self) -> Option<&M> {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        match parts.chain.tail {
            Some(tail) => {
                Some(parts.chain.meta(verus_exec_expr!(Ghost(parts.chain.order().len() - 1)), tail))
            }
            None => None,
        }
    }

    /// Lends the metadata of the first frame, to be changed.
    #[verus_spec(r =>
        ensures
            r is Some <==> old(self)@.len() > 0,
            r matches Some(meta) ==> meta.repr() == old(self).metas()[0]
                && final(self).metas() == old(self).metas().update(0, final(meta).repr()),
            r is None ==> final(self).metas() == old(self).metas(),
            final(self)@ == old(self)@,
    )]
    pub fn front_mut(&mut self) -> Option<&mut M> {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
        }
        match parts.chain.head {
            Some(head) => Some(parts.chain.meta_mut(verus_exec_expr!(Ghost(0)), head)),
            None => None,
        }
    }

    /// Lends the metadata of the last frame, to be changed.
    #[verus_spec(r =>
        ensures
            r is Some <==> old(self)@.len() > 0,
            r matches Some(meta) ==> meta.repr() == old(self).metas().last()
                && final(self).metas() == old(self).metas().update(old(self)@.len() - 1, final(meta).repr()),
            r is None ==> final(self).metas() == old(self).metas(),
            final(self)@ == old(self)@,
    )]
    pub fn back_mut(&mut self) -> Option<&mut M> {
        let parts = self.parts.get_mut();
        proof! {
            use_type_invariant(&*parts);
        }
        match parts.chain.tail {
            Some(tail) => {
                Some(parts.chain.meta_mut(verus_exec_expr!(Ghost(parts.chain.order().len() - 1)), tail))
            }
            None => None,
        }
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> Default for LinkedList<M> {
    #[verus_spec(r => ensures r@ == Seq::<Paddr>::empty(), r.metas() == Seq::<Seq<int>>::empty())]
    fn default() -> Self {
        Self::new()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: AnyFrameMeta> core::fmt::Debug for LinkedList<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LinkedList").field("size", &self.size()).finish_non_exhaustive()
    }
}
