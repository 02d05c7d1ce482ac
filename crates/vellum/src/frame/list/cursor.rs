//! A place in a list.
use super::super::erased::*;
use super::super::unique::UniqueFrame;
use super::LinkedList;
#[cfg(verus_keep_ghost)]
use super::chain::*;
use super::link::*;
use vellum_machine::addr::Paddr;
use vstd::prelude::*;

/// A place in a list: a frame of it, or the end, which is after the last frame and before the first.
#[verus_verify]
pub struct CursorMut<'a, M: AnyFrameMeta> {
    at: At<'a, M>,
}

#[verus_verify]
struct At<'a, M: AnyFrameMeta> {
    list: &'a mut LinkedList<M>,
    current: Option<Paddr>,
    index: Ghost<int>,
}

verus! {

impl<'a, M: AnyFrameMeta> CursorMut<'a, M> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.at.wf()
    }

    /// The addresses of the frames in the list, in order.
    pub closed spec fn view(&self) -> Seq<Paddr> {
        self.at.list@
    }

    /// What is known of the metadata of the frames in the list, in order: `repr` of each.
    pub closed spec fn metas(&self) -> Seq<Seq<int>> {
        self.at.list.metas()
    }

    /// The list as it will be when the cursor is gone.
    #[verifier::prophetic]
    pub closed spec fn outcome(self) -> LinkedList<M> {
        self.at.outcome()
    }

    /// When the cursor is gone, the list is as the cursor left it.
    pub proof fn leaves_what_it_has(self)
        requires
            has_resolved(self),
        ensures
            self.outcome()@ == self@,
            self.outcome().metas() == self.metas(),
    {
    }

    /// Which frame of the list it is at; at the end, how many frames there are.
    pub closed spec fn index(&self) -> int {
        self.at.index@
    }
}

impl<'a, M: AnyFrameMeta> At<'a, M> {
    spec fn wf(self) -> bool {
        &&& 0 <= self.index@ <= self.list@.len()
        &&& self.current == place(self.list@, self.index@)
    }

    #[verifier::prophetic]
    spec fn outcome(self) -> LinkedList<M> {
        *final(self.list)
    }

    fn insert_before(&mut self, frame: UniqueFrame<Link<M>>)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).outcome() == old(self).outcome(),
            final(self).list@ == old(self).list@.insert(old(self).index@, frame.pa()),
            final(self).list.metas() == old(self).list.metas().insert(old(self).index@, inner(frame.content())),
            final(self).index@ == old(self).index@ + 1,
        no_unwind
    {
        let parts = self.list.parts.get_mut();
        proof {
            use_type_invariant(&*parts);
        }
        let prev = match self.current {
            Some(pa) => parts.chain.neighbours(self.index, pa).0,
            None => parts.chain.tail,
        };
        parts.chain.insert(self.index, prev, self.current, frame);
        self.index = Ghost(self.index@ + 1);
    }

    fn take(&mut self) -> (r: Option<UniqueFrame<Link<M>>>)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).outcome() == old(self).outcome(),
            final(self).index@ == old(self).index@,
            r matches Some(f) ==> {
                &&& old(self).index@ < old(self).list@.len()
                &&& f.pa() == old(self).list@[old(self).index@]
                &&& inner(f.content()) == old(self).list.metas()[old(self).index@]
                &&& final(self).list@ == old(self).list@.remove(old(self).index@)
                &&& final(self).list.metas() == old(self).list.metas().remove(old(self).index@)
            },
            r is None ==> old(self).index@ == old(self).list@.len() && final(self).list@ == old(self).list@
                && final(self).list.metas() == old(self).list.metas(),
        no_unwind
    {
        let parts = self.list.parts.get_mut();
        proof {
            use_type_invariant(&*parts);
        }
        match self.current {
            Some(pa) => {
                let next = parts.chain.neighbours(self.index, pa).1;
                let frame = parts.chain.remove(self.index, pa);
                self.current = next;
                Some(frame)
            },
            None => None,
        }
    }

    fn meta_mut(&mut self) -> (r: Option<&mut M>)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).outcome() == old(self).outcome(),
            final(self).list@ == old(self).list@,
            final(self).index == old(self).index,
            r is Some <==> old(self).index@ < old(self).list@.len(),
            r matches Some(meta) ==> meta.repr() == old(self).list.metas()[old(self).index@]
                && final(self).list.metas() == old(self).list.metas().update(old(self).index@, final(meta).repr()),
            r is None ==> final(self).list.metas() == old(self).list.metas(),
        opens_invariants none
        no_unwind
    {
        let parts = self.list.parts.get_mut();
        proof {
            use_type_invariant(&*parts);
        }
        match self.current {
            Some(pa) => Some(parts.chain.meta_mut(self.index, pa)),
            None => None,
        }
    }

    fn next(&mut self)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).outcome() == old(self).outcome(),
            final(self).list@ == old(self).list@,
            final(self).list.metas() == old(self).list.metas(),
            final(self).index@ == if old(self).index@ == old(self).list@.len() {
                0
            } else {
                old(self).index@ + 1
            },
        no_unwind
    {
        let parts = self.list.parts.get();
        proof {
            use_type_invariant(parts);
        }
        match self.current {
            Some(pa) => {
                self.current = parts.chain.neighbours(self.index, pa).1;
                self.index = Ghost(self.index@ + 1);
            },
            None => {
                self.current = parts.chain.head;
                self.index = Ghost(0);
            },
        }
    }

    fn prev(&mut self)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            final(self).outcome() == old(self).outcome(),
            final(self).list@ == old(self).list@,
            final(self).list.metas() == old(self).list.metas(),
            final(self).index@ == if old(self).index@ == 0 {
                old(self).list@.len() as int
            } else {
                old(self).index@ - 1
            },
        no_unwind
    {
        let parts = self.list.parts.get();
        proof {
            use_type_invariant(parts);
        }
        let ghost len = self.list@.len() as int;
        match self.current {
            Some(pa) => {
                self.current = parts.chain.neighbours(self.index, pa).0;
            },
            None => {
                self.current = parts.chain.tail;
            },
        }
        self.index = Ghost(if self.index@ == 0 { len } else { self.index@ - 1 });
    }
}

} // verus!

#[verus_verify]
impl<M: AnyFrameMeta> LinkedList<M> {
    /// A cursor at the first frame; at the end of an empty list.
    #[verus_spec(r =>
        ensures
            r@ == old(self)@,
            r.metas() == old(self).metas(),
            r.index() == 0,
            r.outcome() == *final(self),
    )]
    pub fn cursor_front_mut(&mut self) -> CursorMut<'_, M> {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        let current = parts.chain.head;
        CursorMut { at: At { list: self, current, index: verus_exec_expr!(Ghost(0)) } }
    }

    /// A cursor at the last frame; at the end of an empty list.
    #[verus_spec(r =>
        ensures
            r@ == old(self)@,
            r.metas() == old(self).metas(),
            r.index() == if old(self)@.len() == 0 { 0 } else { old(self)@.len() - 1 },
            r.outcome() == *final(self),
    )]
    pub fn cursor_back_mut(&mut self) -> CursorMut<'_, M> {
        let parts = self.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        let current = parts.chain.tail;
        proof_decl! {
            let ghost index = if self@.len() == 0 { 0 } else { self@.len() - 1 };
        }
        CursorMut { at: At { list: self, current, index: verus_exec_expr!(Ghost(index)) } }
    }
}

#[verus_verify]
impl<M: AnyFrameMeta> CursorMut<'_, M> {
    /// Moves to the next frame: from the last to the end, from the end to the first.
    #[verus_spec(
        ensures
            final(self)@ == old(self)@,
            final(self).metas() == old(self).metas(),
            final(self).outcome() == old(self).outcome(),
            final(self).index() == if old(self).index() == old(self)@.len() { 0 } else { old(self).index() + 1 },
    )]
    pub fn move_next(&mut self) {
        proof! {
            use_type_invariant(&*self);
        }
        self.at.next();
    }

    /// Moves to the previous frame: from the first to the end, from the end to the last.
    #[verus_spec(
        ensures
            final(self)@ == old(self)@,
            final(self).metas() == old(self).metas(),
            final(self).outcome() == old(self).outcome(),
            final(self).index() == if old(self).index() == 0 {
                old(self)@.len() as int
            } else {
                old(self).index() - 1
            },
    )]
    pub fn move_prev(&mut self) {
        proof! {
            use_type_invariant(&*self);
        }
        self.at.prev();
    }

    /// Returns the address of the frame that it is at.
    #[verus_spec(r => ensures r == place(self@, self.index()))]
    pub fn current_paddr(&self) -> Option<Paddr> {
        proof! {
            use_type_invariant(self);
        }
        self.at.current
    }

    /// Lends the metadata of the frame that it is at.
    #[verus_spec(r =>
        ensures
            r is Some <==> self.index() < self@.len(),
            r matches Some(meta) ==> meta.repr() == self.metas()[self.index()],
    )]
    pub fn current_meta(&self) -> Option<&M> {
        proof! {
            use_type_invariant(self);
        }
        let parts = self.at.list.parts.get();
        proof! {
            use_type_invariant(parts);
        }
        match self.at.current {
            Some(pa) => Some(parts.chain.meta(self.at.index, pa)),
            None => None,
        }
    }

    /// Lends the metadata of the frame that it is at, to be changed.
    #[verus_spec(r =>
        ensures
            r is Some <==> old(self).index() < old(self)@.len(),
            r matches Some(meta) ==> meta.repr() == old(self).metas()[old(self).index()]
                && final(self).metas() == old(self).metas().update(old(self).index(), final(meta).repr()),
            r is None ==> final(self).metas() == old(self).metas(),
            final(self)@ == old(self)@,
            final(self).index() == old(self).index(),
            final(self).outcome() == old(self).outcome(),
    )]
    pub fn current_meta_mut(&mut self) -> Option<&mut M> {
        proof! {
            use_type_invariant(&*self);
        }
        self.at.meta_mut()
    }

    /// Puts a frame before the one that it is at; at the end, after the last. The cursor stays where it is.
    #[verus_spec(
        ensures
            final(self)@ == old(self)@.insert(old(self).index(), frame.pa()),
            final(self).metas() == old(self).metas().insert(old(self).index(), inner(frame.content())),
            final(self).index() == old(self).index() + 1,
            final(self).outcome() == old(self).outcome(),
    )]
    pub fn insert_before(&mut self, frame: UniqueFrame<Link<M>>) {
        proof! {
            use_type_invariant(&*self);
        }
        self.at.insert_before(frame);
    }

    /// Takes the frame that it is at out, and moves to the next.
    #[verus_spec(r =>
        ensures
            final(self).index() == old(self).index(),
            final(self).outcome() == old(self).outcome(),
            r matches Some(f) ==> {
                &&& old(self).index() < old(self)@.len()
                &&& f.pa() == old(self)@[old(self).index()]
                &&& inner(f.content()) == old(self).metas()[old(self).index()]
                &&& final(self)@ == old(self)@.remove(old(self).index())
                &&& final(self).metas() == old(self).metas().remove(old(self).index())
            },
            r is None ==> old(self).index() == old(self)@.len() && final(self)@ == old(self)@
                && final(self).metas() == old(self).metas(),
    )]
    pub fn take_current(&mut self) -> Option<UniqueFrame<Link<M>>> {
        proof! {
            use_type_invariant(&*self);
        }
        self.at.take()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<M: AnyFrameMeta> core::fmt::Debug for CursorMut<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("CursorMut").field(&self.at.current).finish()
    }
}
