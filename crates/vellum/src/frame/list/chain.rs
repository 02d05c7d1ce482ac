//! The frames of a list, linked, and their tokens.
//!
//! The order of the frames is a ghost sequence. Everything is done at a place in it, by [`Chain::insert`] and
//! [`Chain::remove`].
#![cfg_attr(
    not(verus_keep_ghost),
    allow(unused_variables, unused_mut, dead_code, reason = "tokens are for the proofs alone")
)]
use super::super::erased::*;
use super::super::mark::*;
use super::super::slot::*;
use super::super::table::*;
use super::super::token::*;
use super::super::unique::UniqueFrame;
use super::link::*;
use core::marker::PhantomData;
use vellum_machine::addr::Paddr;
#[cfg(verus_keep_ghost)]
use vellum_machine::layout::PADDR_LIMIT;
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use vstd::tokens::UniqueValueToken;

verus! {

/// What belongs to a list.
pub tracked struct ListOwn {
    /// The frames.
    pub toks: Map<Paddr, UniqueOwn>,
    /// The frames again, for whoever reads a mark.
    pub roll: Roll,
    /// Their order.
    pub ghost order: Seq<Paddr>,
}

/// The frame at a place; none before the first and after the last.
pub open spec fn place(order: Seq<Paddr>, i: int) -> Option<Paddr> {
    if 0 <= i < order.len() {
        Some(order[i])
    } else {
        None
    }
}

impl ListOwn {
    /// The frame at `pa` belongs to it.
    pub open spec fn has(self, pa: Paddr) -> bool {
        self.toks.contains_key(pa) && unique_raw_of(self.toks[pa], pa)
    }

    /// What the slot of a frame of the list contains.
    pub open spec fn content(self, pa: Paddr) -> Content {
        self.toks[pa].perm.content()
    }

    /// What is known of the metadata of the frames, in order.
    pub open spec fn metas(self) -> Seq<Seq<int>> {
        Seq::new(self.order.len(), |i: int| inner(self.content(self.order[i])))
    }

    /// The frame at a place belongs to the list, is marked with the list's number, and linked to its neighbours.
    pub open spec fn node<M>(self, number: u64, i: int) -> bool {
        &&& self.has(self.order[i])
        &&& self.toks[self.order[i]].perm.mark@ == number
        &&& is_between::<M>(self.content(self.order[i]), place(self.order, i - 1), place(self.order, i + 1))
    }

    /// It belongs to the list with this number: links, marks and roll agree with the order.
    pub open spec fn ok<M>(self, number: u64) -> bool {
        &&& number == 0 ==> self.order.len() == 0
        &&& number != 0 ==> roll_of(number) == self.roll.id()
        &&& self.order.no_duplicates()
        &&& forall|i: int| 0 <= i < self.order.len() ==> #[trigger] self.node::<M>(number, i)
        &&& forall|p: Paddr| #[trigger] self.roll@.contains(p) <==> self.order.contains(p)
    }

    /// The other is the same but for the token of one frame.
    pub open spec fn same_but(self, other: Self, pa: Paddr) -> bool {
        &&& self.order == other.order
        &&& self.roll == other.roll
        &&& forall|p: Paddr| #[trigger] self.toks.contains_key(p) && p != pa ==> other.toks.contains_key(p)
            && other.toks[p] == self.toks[p]
    }

    /// The permission to the mark of a frame, if it is in the list.
    proof fn mark_of(tracked &self, pa: Paddr) -> (tracked r: Option<&MarkPerm>)
        requires
            self.order.contains(pa) ==> self.toks.contains_key(pa),
        ensures
            r is Some <==> self.order.contains(pa),
            r is Some ==> *r->0 == self.toks[pa].perm.mark,
    {
        if self.order.contains(pa) {
            Some(&self.toks.tracked_borrow(pa).perm.mark)
        } else {
            None
        }
    }

    /// Who has the token of a frame knows that no list has it.
    pub(crate) proof fn excludes(tracked &self, tracked tok: &mut UniqueOwn, pa: Paddr)
        requires
            unique_raw_of(*old(tok), pa),
        ensures
            *final(tok) == *old(tok),
            !self.has(pa),
    {
        if self.has(pa) {
            tok.tok.unique(&self.toks.tracked_borrow(pa).tok);
        }
    }
}

/// There are fewer frames than addresses.
proof fn list_is_short(order: Seq<Paddr>)
    requires
        order.no_duplicates(),
        forall|i: int| 0 <= i < order.len() ==> (#[trigger] order[i]).0 < PADDR_LIMIT,
    ensures
        order.len() <= PADDR_LIMIT,
{
    let ints = order.map_values(|p: Paddr| p.0 as int);
    assert forall|i: int, j: int| 0 <= i < ints.len() && 0 <= j < ints.len() && i != j implies ints[i] != ints[j] by {
        assert(order[i] != order[j]);
    }
    assert(ints.no_duplicates());
    ints.unique_seq_to_set();
    vstd::set_lib::lemma_int_range(0, PADDR_LIMIT as int);
    assert forall|x: int| ints.to_set().contains(x) implies vstd::set_lib::set_int_range(
        0,
        PADDR_LIMIT as int,
    ).contains(x) by {
        let i = choose|i: int| 0 <= i < ints.len() && ints[i] == x;
        assert(order[i].0 < PADDR_LIMIT);
    }
    vstd::set_lib::lemma_len_subset(ints.to_set(), vstd::set_lib::set_int_range(0, PADDR_LIMIT as int));
}

/// Takes the token of a frame out.
#[inline(always)]
fn take_tok(own: &mut Tracked<ListOwn>, pa: Paddr) -> (r: Tracked<UniqueOwn>)
    requires
        old(own)@.toks.contains_key(pa),
    ensures
        r@ == old(own)@.toks[pa],
        final(own)@.toks == old(own)@.toks.remove(pa),
        final(own)@.roll == old(own)@.roll,
        final(own)@.order == old(own)@.order,
    opens_invariants none
    no_unwind
{
    Tracked(own.borrow_mut().toks.tracked_remove(pa))
}

/// Puts the token of a frame in.
#[inline(always)]
fn put_tok(own: &mut Tracked<ListOwn>, pa: Paddr, tok: Tracked<UniqueOwn>)
    ensures
        final(own)@.toks == old(own)@.toks.insert(pa, tok@),
        final(own)@.roll == old(own)@.roll,
        final(own)@.order == old(own)@.order,
    opens_invariants none
    no_unwind
{
    proof {
        own.borrow_mut().toks.tracked_insert(pa, tok.get());
    }
}

/// Sets both neighbours of a frame.
#[inline(always)]
fn set_links<M: AnyFrameMeta>(slot: &'static MetaSlot, tok: &mut Tracked<UniqueOwn>, prev: usize, next: usize)
    requires
        old(tok)@.of(*slot),
        old(tok)@.perm.storage.holds::<Link<M>>(),
    ensures
        final(tok)@.of(*slot),
        final(tok)@.perm.mark == old(tok)@.perm.mark,
        is_link::<M>(old(tok)@.perm.content()),
        final(tok)@.perm.content() == relinked(relinked(old(tok)@.perm.content(), 0, next), 1, prev),
        inner(final(tok)@.perm.content()) == inner(old(tok)@.perm.content()),
    opens_invariants none
    no_unwind
{
    let link = slot.meta_mut::<Link<M>>(tok);
    let ghost before = link.repr();
    proof {
        link.shape();
    }
    link.next = next;
    link.prev = prev;
    proof {
        link.shape();
        assert(link.repr() =~= before.update(0, next as int).update(1, prev as int));
        assert(link.repr().skip(2) =~= before.skip(2));
    }
}

/// Sets the next neighbour of a frame in the list.
#[inline(always)]
fn set_next<M: AnyFrameMeta>(own: &mut Tracked<ListOwn>, pa: Paddr, next: usize)
    requires
        old(own)@.has(pa),
        is_link::<M>(old(own)@.content(pa)),
    ensures
        old(own)@.same_but(final(own)@, pa),
        final(own)@.toks.dom() == old(own)@.toks.dom(),
        final(own)@.has(pa),
        final(own)@.toks[pa].perm.mark == old(own)@.toks[pa].perm.mark,
        final(own)@.content(pa) == relinked(old(own)@.content(pa), 0, next),
        inner(final(own)@.content(pa)) == inner(old(own)@.content(pa)),
    opens_invariants none
    no_unwind
{
    let mut tok = take_tok(own, pa);
    let link = slot_of(pa).meta_mut::<Link<M>>(&mut tok);
    let ghost before = link.repr();
    proof {
        link.shape();
    }
    link.next = next;
    proof {
        link.shape();
        assert(link.repr() =~= before.update(0, next as int));
        assert(link.repr().skip(2) =~= before.skip(2));
    }
    put_tok(own, pa, tok);
    proof {
        assert(own@.toks.dom() =~= old(own)@.toks.dom());
    }
}

/// Sets the previous neighbour of a frame in the list.
#[inline(always)]
fn set_prev<M: AnyFrameMeta>(own: &mut Tracked<ListOwn>, pa: Paddr, prev: usize)
    requires
        old(own)@.has(pa),
        is_link::<M>(old(own)@.content(pa)),
    ensures
        old(own)@.same_but(final(own)@, pa),
        final(own)@.toks.dom() == old(own)@.toks.dom(),
        final(own)@.has(pa),
        final(own)@.toks[pa].perm.mark == old(own)@.toks[pa].perm.mark,
        final(own)@.content(pa) == relinked(old(own)@.content(pa), 1, prev),
        inner(final(own)@.content(pa)) == inner(old(own)@.content(pa)),
    opens_invariants none
    no_unwind
{
    let mut tok = take_tok(own, pa);
    let link = slot_of(pa).meta_mut::<Link<M>>(&mut tok);
    let ghost before = link.repr();
    proof {
        link.shape();
    }
    link.prev = prev;
    proof {
        link.shape();
        assert(link.repr() =~= before.update(1, prev as int));
        assert(link.repr().skip(2) =~= before.skip(2));
    }
    put_tok(own, pa, tok);
    proof {
        assert(own@.toks.dom() =~= old(own)@.toks.dom());
    }
}

/// Enters a frame in the roll, at a place.
#[inline(always)]
fn enrol(own: &mut Tracked<ListOwn>, Ghost(i): Ghost<int>, pa: Paddr) -> (r: Tracked<Option<Entry>>)
    requires
        !old(own)@.roll@.contains(pa),
    ensures
        r@ is Some,
        r@->0.id() == old(own)@.roll.id(),
        r@->0@ == pa,
        final(own)@.toks == old(own)@.toks,
        final(own)@.roll.id() == old(own)@.roll.id(),
        final(own)@.roll@ == old(own)@.roll@.insert(pa),
        final(own)@.order == old(own)@.order.insert(i, pa),
    opens_invariants none
    no_unwind
{
    let tracked entry;
    proof {
        let tracked o = own.borrow_mut();
        entry = o.roll.insert(pa);
        o.order = o.order.insert(i, pa);
    }
    Tracked(Some(entry))
}

/// Strikes a frame off the roll, and its place.
#[inline(always)]
fn strike(own: &mut Tracked<ListOwn>, Ghost(i): Ghost<int>, Tracked(entry): Tracked<Option<Entry>>)
    requires
        entry is Some,
        entry->0.id() == old(own)@.roll.id(),
    ensures
        final(own)@.toks == old(own)@.toks,
        final(own)@.roll.id() == old(own)@.roll.id(),
        final(own)@.roll@ == old(own)@.roll@.remove(entry->0@),
        final(own)@.order == old(own)@.order.remove(i),
    opens_invariants none
    no_unwind
{
    proof {
        let tracked o = own.borrow_mut();
        o.roll.delete_singleton(entry.tracked_unwrap());
        o.order = o.order.remove(i);
    }
}

/// The frames of a list.
pub struct Chain<M> {
    /// Zero until there is a frame.
    pub number: u64,
    pub head: Option<Paddr>,
    pub tail: Option<Paddr>,
    pub len: usize,
    pub own: Tracked<ListOwn>,
    pub kind: PhantomData<M>,
}

impl<M: AnyFrameMeta> Chain<M> {
    /// The order of the frames.
    pub open spec fn order(self) -> Seq<Paddr> {
        self.own@.order
    }

    /// The frames belong to the list, and the ends and the count agree with their order.
    pub open spec fn wf(self) -> bool {
        let order = self.own@.order;
        &&& self.own@.ok::<M>(self.number)
        &&& self.head == place(order, 0)
        &&& self.tail == place(order, order.len() - 1)
        &&& self.len == order.len()
    }

    /// What is known of the metadata of the frames, in order.
    pub open spec fn metas(self) -> Seq<Seq<int>> {
        self.own@.metas()
    }

    /// No frames.
    pub(super) const fn new() -> (r: Self)
        ensures
            r.wf(),
            r.order() == Seq::<Paddr>::empty(),
            r.metas() == Seq::<Seq<int>>::empty(),
        no_unwind
    {
        let tracked (roll, _) = Roll::new(Set::empty());
        let tracked own = ListOwn { toks: Map::tracked_empty(), roll, order: Seq::empty() };
        proof {
            assert(own.metas() =~= Seq::empty());
        }
        Chain { number: 0, head: None, tail: None, len: 0, own: Tracked(own), kind: PhantomData }
    }

    /// Puts a frame at a place, between two.
    pub(super) fn insert(
        &mut self,
        Ghost(i): Ghost<int>,
        prev: Option<Paddr>,
        next: Option<Paddr>,
        frame: UniqueFrame<Link<M>>,
    )
        requires
            old(self).wf(),
            0 <= i <= old(self).order().len(),
            prev == place(old(self).order(), i - 1),
            next == place(old(self).order(), i),
        ensures
            final(self).wf(),
            final(self).order() == old(self).order().insert(i, frame.pa()),
            final(self).metas() == old(self).metas().insert(i, inner(frame.content())),
        no_unwind
    {
        let ghost metas = self.own@.metas();
        let (slot, mut tok) = frame.into_parts();
        let pa = pa_of(slot);
        let ghost order = self.own@.order;
        proof {
            self.own.borrow().excludes(tok.borrow_mut(), pa);
            assert forall|j: int| 0 <= j < order.len() implies (#[trigger] order[j]).0 < PADDR_LIMIT && order[j]
                != pa by {
                assert(self.own@.node::<M>(self.number, j));
            }
            list_is_short(order);
        }
        if self.number == 0 {
            self.number = fresh_number(Tracked(&self.own.borrow().roll));
        }
        set_links::<M>(slot, &mut tok, to_word(prev), to_word(next));
        let ghost own0 = self.own@;
        let entry = enrol(&mut self.own, Ghost(i), pa);
        let _ = slot.set_mark(&mut tok, self.number, entry);
        put_tok(&mut self.own, pa, tok);
        proof {
            if i > 0 {
                assert(own0.node::<M>(self.number, i - 1));
            }
            if i < order.len() {
                assert(own0.node::<M>(self.number, i));
            }
        }
        let ghost own1 = self.own@;
        match prev {
            Some(p) => set_next::<M>(&mut self.own, p, pa.0),
            None => self.head = Some(pa),
        }
        let ghost own2 = self.own@;
        proof {
            if next is Some {
                assert(own1.toks.contains_key(next->0));
                assert(own2.has(next->0));
            }
        }
        match next {
            Some(n) => set_prev::<M>(&mut self.own, n, pa.0),
            None => self.tail = Some(pa),
        }
        self.len += 1;
        proof {
            let new = self.own@.order;
            assert forall|j: int| 0 <= j < new.len() implies #[trigger] self.own@.node::<M>(self.number, j) by {
                if j < i {
                    assert(own0.node::<M>(self.number, j));
                } else if j > i {
                    assert(own0.node::<M>(self.number, j - 1));
                }
                assert(own1.toks.contains_key(new[j]));
                assert(own2.toks.contains_key(new[j]));
            }
            assert forall|p: Paddr| #[trigger] self.own@.roll@.contains(p) <==> new.contains(p) by {
                if order.contains(p) {
                    let j = order.index_of(p);
                    assert(new[if j < i { j } else { j + 1 }] == p);
                }
                assert(new[i] == pa);
            }
            assert(self.own@.metas() =~= metas.insert(i, inner(frame.content()))) by {
                assert forall|j: int| 0 <= j < new.len() implies #[trigger] self.own@.metas()[j] == metas.insert(
                    i,
                    inner(frame.content()),
                )[j] by {
                    if j < i {
                        assert(own0.node::<M>(self.number, j));
                    } else if j > i {
                        assert(own0.node::<M>(self.number, j - 1));
                    }
                    assert(own1.toks.contains_key(new[j]));
                    assert(own2.toks.contains_key(new[j]));
                }
            }
        }
    }

    /// Takes the frame out of a place.
    pub(super) fn remove(&mut self, Ghost(i): Ghost<int>, pa: Paddr) -> (r: UniqueFrame<Link<M>>)
        requires
            old(self).wf(),
            place(old(self).order(), i) == Some(pa),
        ensures
            final(self).wf(),
            final(self).order() == old(self).order().remove(i),
            final(self).metas() == old(self).metas().remove(i),
            r.pa() == pa,
            inner(r.content()) == old(self).metas()[i],
        no_unwind
    {
        let ghost own0 = self.own@;
        let ghost order = self.own@.order;
        proof {
            assert(own0.node::<M>(self.number, i));
            if i > 0 {
                assert(own0.node::<M>(self.number, i - 1));
            }
            if i + 1 < order.len() {
                assert(own0.node::<M>(self.number, i + 1));
            }
        }
        let slot = slot_of(pa);
        let mut tok = take_tok(&mut self.own, pa);
        let link = slot.meta_unique::<Link<M>>(as_ref(&tok));
        let next_word = link.next;
        let prev_word = link.prev;
        proof {
            link.shape();
        }
        let next = from_word(next_word);
        let prev = from_word(prev_word);
        assert(next == place(order, i + 1));
        assert(prev == place(order, i - 1));
        let ghost own1 = self.own@;
        match prev {
            Some(p) => set_next::<M>(&mut self.own, p, next_word),
            None => self.head = next,
        }
        let ghost own2 = self.own@;
        proof {
            if next is Some {
                assert(own1.toks.contains_key(next->0));
                assert(own2.has(next->0));
            }
        }
        match next {
            Some(n) => set_prev::<M>(&mut self.own, n, prev_word),
            None => self.tail = prev,
        }
        let entry = slot.set_mark(&mut tok, 0, Tracked(None));
        strike(&mut self.own, Ghost(i), entry);
        self.len -= 1;
        proof {
            let new = self.own@.order;
            assert forall|j: int| 0 <= j < new.len() implies #[trigger] self.own@.node::<M>(self.number, j) by {
                if j < i {
                    assert(own0.node::<M>(self.number, j));
                } else {
                    assert(own0.node::<M>(self.number, j + 1));
                }
                assert(own1.toks.contains_key(new[j]));
                assert(own2.toks.contains_key(new[j]));
            }
            assert forall|p: Paddr| #[trigger] self.own@.roll@.contains(p) <==> new.contains(p) by {
                if order.contains(p) && p != pa {
                    let j = order.index_of(p);
                    assert(new[if j < i { j } else { j - 1 }] == p);
                }
                if new.contains(p) {
                    let j = new.index_of(p);
                    assert(order[if j < i { j } else { j + 1 }] == p);
                }
            }
            assert(self.own@.metas() =~= own0.metas().remove(i)) by {
                assert forall|j: int| 0 <= j < new.len() implies #[trigger] self.own@.metas()[j]
                    == own0.metas().remove(i)[j] by {
                    assert(own0.node::<M>(self.number, if j < i { j } else { j + 1 }));
                    assert(own1.toks.contains_key(new[j]));
                    assert(own2.toks.contains_key(new[j]));
                }
            }
        }
        UniqueFrame::new(slot, tok)
    }

    /// The neighbours of the frame at a place.
    pub(super) fn neighbours(&self, Ghost(i): Ghost<int>, pa: Paddr) -> (r: (Option<Paddr>, Option<Paddr>))
        requires
            self.wf(),
            place(self.order(), i) == Some(pa),
        ensures
            r.0 == place(self.order(), i - 1),
            r.1 == place(self.order(), i + 1),
        no_unwind
    {
        proof {
            assert(self.own@.node::<M>(self.number, i));
            if i > 0 {
                assert(self.own@.node::<M>(self.number, i - 1));
            }
            if i + 1 < self.own@.order.len() {
                assert(self.own@.node::<M>(self.number, i + 1));
            }
        }
        let link = slot_of(pa).meta_unique::<Link<M>>(Tracked(self.own.borrow().toks.tracked_borrow(pa)));
        proof {
            link.shape();
        }
        (from_word(link.prev), from_word(link.next))
    }

    /// Lends the metadata of the frame at a place.
    pub(super) fn meta(&self, Ghost(i): Ghost<int>, pa: Paddr) -> (r: &M)
        requires
            self.wf(),
            place(self.order(), i) == Some(pa),
        ensures
            r.repr() == self.metas()[i],
        no_unwind
    {
        proof {
            assert(self.own@.node::<M>(self.number, i));
        }
        let link = slot_of(pa).meta_unique::<Link<M>>(Tracked(self.own.borrow().toks.tracked_borrow(pa)));
        proof {
            link.shape();
        }
        &link.meta
    }

    /// Lends the metadata of the frame at a place, to be changed.
    pub(super) fn meta_mut(&mut self, Ghost(i): Ghost<int>, pa: Paddr) -> (r: &mut M)
        requires
            old(self).wf(),
            place(old(self).order(), i) == Some(pa),
        ensures
            final(self).wf(),
            final(self).order() == old(self).order(),
            r.repr() == old(self).metas()[i],
            final(self).metas() == old(self).metas().update(i, final(r).repr()),
        opens_invariants none
        no_unwind
    {
        let ghost own0 = self.own@;
        let ghost own1 = final(self).own@;
        let number = self.number;
        proof {
            assert(own0.node::<M>(number, i));
        }
        let tracked tok = self.own.borrow_mut().toks.tracked_borrow_mut(pa);
        let link = slot_of(pa).meta_mut_with::<Link<M>>(Tracked(&mut tok.perm.storage));
        proof {
            link.shape();
            final(link).shape();
        }
        let meta = &mut link.meta;
        proof {
            assert forall|j: int| 0 <= j < own0.order.len() implies #[trigger] own1.node::<M>(number, j) by {
                assert(own0.node::<M>(number, j));
            }
            assert(own1.metas() =~= own0.metas().update(i, final(meta).repr()));
        }
        meta
    }

    /// Tells whether the frame at an address is in the list.
    pub(super) fn contains(&self, pa: Paddr) -> (r: bool)
        requires
            self.wf(),
        ensures
            r == self.order().contains(pa),
        no_unwind
    {
        if self.number == 0 {
            return false;
        }
        proof {
            if self.own@.order.contains(pa) {
                assert(self.own@.node::<M>(self.number, self.own@.order.index_of(pa)));
            }
        }
        match get_slot(pa) {
            Ok(slot) => {
                let tracked perm = self.own.borrow().mark_of(pa);
                slot.has_mark(self.number, Tracked(&self.own.borrow().roll), Tracked(perm))
            },
            Err(_) => false,
        }
    }
}

} // verus!
