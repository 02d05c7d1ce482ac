//! A locked range and a position in it: what cursors do, with what it does to the map.
#![expect(unsafe_code, reason = "takes items apart and puts them together again, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![allow(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::cursor::*;
use super::detached::*;
use super::entry::*;
use super::error::*;
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::life::*;
use super::lock::*;
#[cfg(verus_keep_ghost)]
use super::loose::lemma_outside_start;
use super::near::*;
#[cfg(verus_keep_ghost)]
use super::node::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::protocol::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
#[cfg(verus_keep_ghost)]
use super::subtree::*;
use super::table::*;
use super::take::*;
use super::tree::*;
use super::walk;
use super::walk::*;
use super::way::*;
#[cfg(verus_keep_ghost)]
use super::world::World;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::owned::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::readers::NR_COUNTS;
use vellum_machine::readers::ReaderSeat;
use vstd::prelude::*;

verus! {

/// A locked range and a position in it.
///
/// What a cursor over one node writes lies on one cache line: whoever takes a lock waits for the stores before it.
#[repr(C, align(64))]
pub(super) struct Session<C: PageTableConfig> {
    pub(super) g: Locks,
    pub(super) tree: Tracked<Tree>,
    /// The page at which the cursor is.
    pub(super) v: usize,
    /// The count of readers on which this session is.
    pub(super) seat: ReaderSeat,
    /// Where the last way down ended, as far as that is still known.
    pub(super) near: Near,
    pub(super) kind: PhantomData<C>,
}

impl<C: PageTableConfig> Session<C> {
    /// The range is locked, and the position is in it or at its end.
    #[verifier::type_invariant]
    pub(super) open spec fn wf(self) -> bool {
        &&& self.g.ok::<C>(self.tree@)
        &&& lockable::<C>(self.g.s as nat, self.g.e as nat)
        &&& self.g.s <= self.v <= self.g.e
        &&& self.seat.index() < NR_COUNTS
        &&& self.g.reader@.value().0 == self.seat.index()
        &&& self.near.ok::<C>(self.g, self.tree@)
    }
}

impl<C: PageTableConfig> Release for Session<C> {
    #[inline(always)]
    fn release(self) {
        proof {
            use_type_invariant(&self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let Session { g, tree, v, seat, near, kind } = self;
        let b = prefix::<C::Consts>(g.s, g.top);
        proof {
            lemma_whole::<C>(g, tree@);
        }
        release_sub::<C>(g.w.get(), Tracked(g.reader.borrow()), Ghost(g.rng()), tree, g.root, g.top, b, g.s, g.e);
        g.w.get().leave(&seat, g.reader);
    }
}

/// The virtual address of a page.
#[inline(always)]
pub(super) fn va_of<C: PageTableConfig>(v: usize) -> (r: Vaddr)
    requires
        C::va_base() + v * PAGE_SIZE <= usize::MAX,
    ensures
        r.0 == C::va_base() + v * PAGE_SIZE,
    no_unwind
{
    Vaddr(C::va_base() + v * PAGE_SIZE)
}

/// The bytes of a size, as pages, if they are whole pages.
#[inline(always)]
fn whole_pages(len: usize) -> (r: Option<usize>)
    ensures
        r matches Some(n) ==> n * PAGE_SIZE == len,
        r is None ==> len % PAGE_SIZE != 0,
    no_unwind
{
    if len % PAGE_SIZE == 0 {
        Some(len / PAGE_SIZE)
    } else {
        None
    }
}

impl<C: PageTableConfig> Session<C> {
    /// Locks a range.
    #[inline(always)]
    pub(super) fn new(table: &PageTable<C>, range: Range<Vaddr>, missing: Missing) -> (r: Result<Self, PageTableError>)
        ensures
            r matches Ok(x) ==> x.wf() && x.v == x.g.s && range.start.0 == C::va_base() + x.g.s * PAGE_SIZE && range.end.0 == C::va_base()
                + x.g.e * PAGE_SIZE,
    {
        let (s, e) = check_range::<C>(range)?;
        let seat = ReaderSeat::take();
        let w = table.world();
        let reader = w.enter(&seat);
        let (g, tree) = table.lock(reader, s, e, missing);
        Ok(Session { g, tree, v: s, seat, near: Near::none::<C>(), kind: PhantomData })
    }

    #[inline(always)]
    pub(super) fn va(&self) -> (r: Vaddr)
        ensures
            r.0 == C::va_base() + self.v * PAGE_SIZE,
    {
        proof {
            use_type_invariant(self);
        }
        va_of::<C>(self.v)
    }

    /// Makes the nodes of level `l` and above that are missing for the pages `[from, to)`.
    pub(super) fn populate(&mut self, from: usize, to: usize, l: u8) -> (r: Result<(), PageTableError>)
        requires
            old(self).g.top == C::Consts::levels(),
            old(self).g.s <= from <= to <= old(self).g.e,
            1 <= l < C::Consts::levels(),
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        self.near = Near::none::<C>();
        let n = pages_below::<C::Consts>(l);
        let mut v = from;
        while v < to
            invariant
                self.wf(),
                self.near.is_none::<C>(),
                self.g.s <= v,
                to <= self.g.e,
                n >= 1,
                self.g.e <= 0x2000_0000_0000,
                1 <= l < C::Consts::levels() <= 5,
                self.g.top == C::Consts::levels(),
            decreases to - v,
        {
            let mut above = C::Consts::levels();
            while above > l
                invariant
                    self.wf(),
                    self.near.is_none::<C>(),
                    self.g.s <= v < to <= self.g.e <= 0x2000_0000_0000,
                    1 <= l < C::Consts::levels() <= 5,
                    self.g.top == C::Consts::levels(),
                decreases above,
            {
                let f = descend::<C>(&self.g, Tracked(self.tree.borrow()), v);
                if f.l <= l {
                    break ;
                }
                let i = entry_index::<C::Consts>(v, f.l);
                let ghost k = place::<C>(v as nat, f.l as nat);
                proof {
                    lemma_here::<C>(self.g, self.tree@, v as nat, f.l as nat);
                }
                if expand::<C>(&self.g, Tracked(self.tree.borrow_mut()), Ghost(k), f.pa, i, f.l, f.word).is_none() {
                    return Err(PageTableError::NoMemory);
                }
                above -= 1;
            }
            v = if n < to - v { v + n } else { to };
        }
        Ok(())
    }

    pub(super) fn range(&self) -> Range<Vaddr> {
        proof {
            use_type_invariant(self);
        }
        va_of::<C>(self.g.s)..va_of::<C>(self.g.e)
    }

    /// The end of `len` bytes from here, as a page.
    #[inline(always)]
    pub(super) fn end_of(&self, len: usize) -> (r: Result<usize, PageTableError>)
        ensures
            r matches Ok(end) ==> self.v <= end <= self.g.e && (end - self.v) * PAGE_SIZE == len,
            r is Err ==> len % PAGE_SIZE != 0 || len / PAGE_SIZE > self.g.e - self.v,
    {
        proof {
            use_type_invariant(self);
        }
        match whole_pages(len) {
            None => Err(PageTableError::NotAligned { at: len }),
            Some(n) => if n > self.g.e - self.v {
                Err(PageTableError::OutOfRange { va: self.va() })
            } else {
                Ok(self.v + n)
            },
        }
    }

    #[inline(always)]
    pub(super) fn jump(&mut self, va: Vaddr) -> (r: Result<(), PageTableError>)
        ensures
            final(self).tree == old(self).tree,
            final(self).g == old(self).g,
            r is Ok ==> va.0 == C::va_base() + final(self).v * PAGE_SIZE && final(self).v < final(self).g.e,
            r is Err ==> *final(self) == *old(self),
    {
        proof {
            use_type_invariant(&*self);
            C::config_ok();
        }
        if va.0 % PAGE_SIZE != 0 {
            return Err(PageTableError::NotAligned { at: va.0 });
        }
        if va.0 < C::va_base() {
            return Err(PageTableError::OutOfRange { va });
        }
        let v = (va.0 - C::va_base()) / PAGE_SIZE;
        if v < self.g.s || v >= self.g.e {
            return Err(PageTableError::OutOfRange { va });
        }
        self.v = v;
        Ok(())
    }

    /// The entry that decides here, and its addresses as far as they are locked.
    #[inline(always)]
    pub(super) fn entry_here(&mut self) -> (r: Result<(Found, Range<Vaddr>), PageTableError>)
        ensures
            final(self).tree == old(self).tree,
            final(self).g == old(self).g,
            final(self).v == old(self).v,
            match r {
                Ok((f, _)) => old(self).v < old(self).g.e && f.ok::<C>(old(self).g, old(self).tree@, old(self).v as nat) && !(f.pte is Table),
                Err(_) => old(self).v == old(self).g.e,
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let v = self.v;
        if v >= self.g.e {
            return Err(PageTableError::OutOfRange { va: self.va() });
        }
        let mut near = self.near;
        let f = descend_near::<C>(&self.g, Tracked(self.tree.borrow()), &mut near, v);
        self.near = near;
        let (start, end) = entry_range::<C::Consts>(v, f.l);
        let (start, end) = (if start < self.g.s { self.g.s } else { start }, if end > self.g.e { self.g.e } else { end });
        Ok((f, va_of::<C>(start)..va_of::<C>(end)))
    }

    pub(super) fn query(&mut self) -> (r: Result<Slot<C>, PageTableError>)
        ensures
            final(self).mapped() == old(self).mapped(),
            final(self).g == old(self).g,
            final(self).v == old(self).v,
            match r {
                Ok(slot) => {
                    &&& slot.item is None ==> !old(self).mapped().dom().contains(old(self).v as nat)
                    &&& slot.item matches Some(i) ==> old(self).mapped().dom().contains(old(self).v as nat) && C::raw(i).2 == old(self).mapped()[old(self).v as nat].1
                        && old(self).level_at(old(self).v as nat) == Some(C::raw(i).1)
                        && old(self).mapped()[old(self).v as nat].0 == C::raw(i).0 + PAGE_SIZE * low(nr::<C>(), old(self).v as nat, (C::raw(i).1 - 1) as nat)
                },
                Err(_) => old(self).v == old(self).g.e,
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let v = self.v;
        let (f, range) = self.entry_here()?;
        let tracked m = self.tree.borrow();
        let ad = C::Entry::accessed_dirty(f.word);
        match f.pte {
            Pte::Leaf(pa, prop) => {
                let ghost k = place::<C>(v as nat, f.l as nat);
                let ghost i = idx::<C>(v as nat, f.l as nat);
                proof {
                    lemma_here::<C>(self.g, self.tree@, v as nat, f.l as nat);
                }
                let tracked t = m.tracked_borrow(k).lk.leaves.tracked_borrow(i);
                // SAFETY: the mapping is in the locked range.
                let tok = unsafe { C::clone_leaf(pa, f.l, Tracked(t)) };
                // SAFETY: these are the parts of the mapping, with a count of their own.
                let item = unsafe { C::item_from_raw(pa, f.l, prop, tok) };
                Ok(Slot { range, item: Some(item), ad })
            },
            _ => Ok(Slot { range, item: None, ad }),
        }
    }

    pub(super) fn note(&mut self, access: AccessType) -> (r: Result<bool, PageTableError>)
        ensures
            final(self).mapped() == old(self).mapped(),
            final(self).g == old(self).g,
            final(self).v == old(self).v,
            r matches Ok(b) ==> b == (old(self).mapped().dom().contains(old(self).v as nat) && old(self).mapped()[old(self).v as nat].1.access.allows(
                access,
            )),
            r is Err ==> old(self).v == old(self).g.e,
    {
        proof {
            use_type_invariant(&*self);
        }
        let v = self.v;
        if v >= self.g.e {
            return Err(PageTableError::OutOfRange { va: self.va() });
        }
        let f = descend::<C>(&self.g, Tracked(self.tree.borrow()), v);
        proof {
            lemma_here::<C>(self.g, self.tree@, v as nat, f.l as nat);
        }
        if let Pte::Leaf(_, prop) = f.pte {
            if prop.access.permits(access) {
                let ghost m0 = self.tree@;
                self.near = Near::none::<C>();
                walk::note::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, &f, AccessedDirty::of_access(access));
                proof {
                    lemma_same_view::<C>(self.g, m0, self.tree@);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn find_next(&mut self, len: usize) -> (r: Result<Option<Vaddr>, PageTableError>)
        ensures
            final(self).tree == old(self).tree,
            final(self).g == old(self).g,
            r is Ok ==> forall|p: nat| old(self).v <= p < final(self).v ==> !#[trigger] old(self).mapped().dom().contains(p),
            r matches Ok(Some(va)) ==> va.0 == C::va_base() + final(self).v * PAGE_SIZE && old(self).mapped().dom().contains(final(self).v as nat),
            r matches Ok(None) ==> (final(self).v - old(self).v) * PAGE_SIZE == len,
            r is Err ==> *final(self) == *old(self),
    {
        proof {
            use_type_invariant(&*self);
        }
        let end = self.end_of(len)?;
        let mut near = self.near;
        let (p, f) = next_mapped::<C>(&self.g, Tracked(self.tree.borrow()), &mut near, self.v, end);
        proof {
            assert forall|q: nat| self.v <= q < p implies !#[trigger] self.mapped().dom().contains(q) by {
                assert(self.g.at::<C>(self.tree@, q) is None);
            }
        }
        self.near = near;
        self.v = p;
        match f {
            Some(f) => {
                proof {
                    lemma_here::<C>(self.g, self.tree@, p as nat, f.l as nat);
                }
                Ok(Some(self.va()))
            },
            None => Ok(None),
        }
    }
}

impl<C: PageTableConfig> Session<C> {
    /// The item of a mapping that was taken out.
    #[inline(always)]
    pub(super) fn item_of(t: TakenLeaf) -> (r: C::Item)
        requires
            leaf_fits::<C::Consts>(t.pa, t.l as nat),
            C::leaf_ok(t.tok@, t.pa, t.l as nat),
        ensures
            C::raw(r) == (t.pa, t.l as nat, t.prop),
        no_unwind
    {
        // SAFETY: these are the parts of a mapping that is in no table any more.
        unsafe { C::item_from_raw(t.pa, t.l, t.prop, t.tok) }
    }

    /// A mapping that was taken out, for the caller.
    #[inline(always)]
    pub(super) fn fragment_of(t: TakenLeaf) -> (r: Fragment<C>)
        requires
            leaf_fits::<C::Consts>(t.pa, t.l as nat),
            C::leaf_ok(t.tok@, t.pa, t.l as nat),
            C::va_base() + t.start * PAGE_SIZE <= usize::MAX,
        ensures
            r matches Fragment::Leaf { va, item, .. } && va.0 == C::va_base() + t.start * PAGE_SIZE && C::raw(item) == (
                t.pa,
                t.l as nat,
                t.prop,
            ),
        no_unwind
    {
        let ad = C::Entry::accessed_dirty(t.word);
        let va = va_of::<C>(t.start);
        let item = Self::item_of(t);
        Fragment::Leaf { va, item, ad }
    }

    /// Takes out what is next: the page here, where the locked node is the one that maps it, and else whatever there is.
    ///
    /// As for [`map`](Self::map).
    #[inline(always)]
    pub(super) fn take_next(&mut self, len: usize) -> (r: Result<Option<Fragment<C>>, PageTableError>)
        ensures
            final(self).g == old(self).g,
            final(self).took(*old(self), len, r),
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        if len % PAGE_SIZE == 0 {
            let ghost m0 = self.tree@;
            if let Some(t) = self.take_here(len / PAGE_SIZE, self.g.top) {
                proof {
                    lemma_view_cleared::<C>(self.g, m0, self.tree@, t.start as nat, t.end as nat);
                    lemma_nothing_mapped::<C>(self.g, self.tree@, t.start as nat, t.end as nat);
                    assert(self.g.at::<C>(m0, t.start as nat) is Some);
                }
                return Ok(Some(Self::fragment_of(t)));
            }
        }
        self.take_below(len)
    }

    /// Takes out the page here, where it is mapped by the locked node itself, of level `l`, and lies within `n` pages, and goes
    /// past it.
    #[inline(always)]
    pub(super) fn take_here(&mut self, n: usize, l: u8) -> (r: Option<TakenLeaf>)
        requires
            l == old(self).g.top,
        ensures
            final(self).g == old(self).g,
            match r {
                Some(t) => {
                    &&& t.ok::<C>(old(self).g, old(self).tree@, final(self).tree@)
                    &&& t.start == old(self).v && t.end == final(self).v
                    &&& t.end - t.start <= n
                },
                None => *final(self) == *old(self),
            },
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let v = self.v;
        if v >= self.g.e || n > self.g.e - v {
            return None;
        }
        let f = top_entry::<C>(&self.g, Tracked(self.tree.borrow()), v, l);
        let (es, ee) = entry_range::<C::Consts>(v, l);
        if !f.is_leaf() || es != v || ee - v > n {
            return None;
        }
        proof {
            self.near.lemma_stays_anyway::<C>(self.g, self.tree@);
        }
        let t = take_leaf::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, &f, ee);
        self.v = ee;
        Some(t)
    }

    /// [`take_next`](Self::take_next), wherever the way down ends.
    fn take_below(&mut self, len: usize) -> (r: Result<Option<Fragment<C>>, PageTableError>)
        ensures
            final(self).g == old(self).g,
            final(self).took(*old(self), len, r),
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let end = self.end_of(len)?;
        let ghost m0 = self.tree@;
        let v = self.v;
        proof {
            lemma_outside_start::<C>(self.g, v as nat, end as nat);
        }
        self.near = Near::none::<C>();
        let Some((next, taken)) = take_next::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, end, Ghost(v as nat)) else {
            proof {
                lemma_same_view::<C>(self.g, m0, self.tree@);
            }
            return Err(PageTableError::NoMemory);
        };
        self.v = next;
        proof {
            lemma_nothing_mapped::<C>(self.g, self.tree@, v as nat, next as nat);
        }
        match taken {
            Taken::Leaf(t) => {
                proof {
                    lemma_view_cleared::<C>(self.g, m0, self.tree@, t.start as nat, t.end as nat);
                    assert(self.g.at::<C>(m0, t.start as nat) is Some);
                }
                Ok(Some(Self::fragment_of(t)))
            },
            Taken::Node(t) => {
                let (start, end) = (t.start, t.end);
                let node = detached::<C>(self.g.w.get(), t);
                proof {
                    lemma_view_cleared::<C>(self.g, m0, self.tree@, start as nat, end as nat);
                }
                Ok(Some(Fragment::Node(node)))
            },
            Taken::Nothing => {
                proof {
                    lemma_same_view::<C>(self.g, m0, self.tree@);
                }
                Ok(None)
            },
        }
    }
}

} // verus!
