//! What cursors do to map an item: where nothing is, where something is, and wherever the way down ends.
#![expect(unsafe_code, reason = "puts items together again that were not mapped, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::cursor::*;
use super::entry::*;
use super::error::*;
use super::geometry::*;
use super::near::*;
use super::ops::*;
use super::put;
use super::put::Put;
use super::session::*;
use super::spec::*;
use super::take::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// These are the parts of an item, and it fits where its level is.
pub(super) open spec fn is_item<C: PageTableConfig>(item: C::Item, pa: usize, l: u8, prop: PageProperty, tok: LeafTok) -> bool {
    &&& leaf_fits::<C::Consts>(pa, l as nat)
    &&& C::leaf_ok(tok, pa, l as nat)
    &&& C::raw(item) == (pa, l as nat, prop)
}

impl<C: PageTableConfig> Session<C> {
    /// Maps an item: here where nothing is and the locked node has its entry, and else wherever the way down ends. What
    /// `access` notes is noted in it, if it is permitted.
    ///
    /// The first is inlined into callers, and has nothing to give out: an answer with parts that are joined first would be
    /// stored part by part, and whoever takes a lock next waits for each store.
    #[inline(always)]
    pub(super) fn map(&mut self, item: C::Item, access: Option<AccessType>) -> (r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>)
        ensures
            final(self).g == old(self).g,
            final(self).put(*old(self), item, r),
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
            lemma_pre_zero(nr::<C>(), 0);
        }
        let ghost what = item;
        let (pa, l, prop, tok) = C::item_into_raw(item);
        let ad = AccessedDirty::of_new(access, prop);
        let v = self.v;
        if l == self.g.top && C::Entry::can_hold(prop) {
            // The size of base pages is a constant.
            let n = if l == 1 { 1 } else { pages_below::<C::Consts>(l - 1) };
            if v % n == 0 && n <= self.g.e - v {
                let f = top_entry::<C>(&self.g, Tracked(self.tree.borrow()), v, l);
                if f.is_absent() {
                    self.put_here(&f, n, pa, l, prop, ad, tok, Ghost(what));
                    return Ok(None);
                }
            }
        }
        // Apart, so that the answer of the quick way is not joined with one that is in memory.
        match self.map_anywhere(pa, l, prop, ad, tok, Ghost(what)) {
            Ok(None) => Ok(None),
            Ok(Some(replaced)) => Ok(Some(replaced)),
            Err(refused) => Err(refused),
        }
    }

    /// [`map`](Self::map), whatever is there.
    #[inline(never)]
    fn map_anywhere(
        &mut self,
        pa: usize,
        l: u8,
        prop: PageProperty,
        ad: AccessedDirty,
        tok: Tracked<LeafTok>,
        Ghost(item): Ghost<C::Item>,
    ) -> (r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>)
        requires
            is_item::<C>(item, pa, l, prop, tok@),
        ensures
            final(self).g == old(self).g,
            final(self).put(*old(self), item, r),
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let v = self.v;
        let n = pages_below::<C::Consts>(l - 1);
        if l == self.g.top && v % n == 0 && n <= self.g.e - v && C::Entry::can_hold(prop) {
            let f = top_entry::<C>(&self.g, Tracked(self.tree.borrow()), v, l);
            if !f.is_table() {
                return Ok(self.put_here(&f, n, pa, l, prop, ad, tok, Ghost(item)));
            }
        }
        self.map_below(pa, l, prop, ad, tok, Ghost(item))
    }

    /// Maps an item of `n` pages here, where the locked node has its entry, and goes past it; gives out what was mapped before.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the parts of an item, and its place")]
    fn put_here(
        &mut self,
        f: &Found,
        n: usize,
        pa: usize,
        l: u8,
        prop: PageProperty,
        ad: AccessedDirty,
        tok: Tracked<LeafTok>,
        Ghost(item): Ghost<C::Item>,
    ) -> (r: Option<Replaced<C::Item>>)
        requires
            is_item::<C>(item, pa, l, prop, tok@),
            C::Entry::holds(prop),
            f.ok::<C>(old(self).g, old(self).tree@, old(self).v as nat),
            !(f.pte is Table),
            f.l == l,
            l == old(self).g.top,
            n == pages(nr::<C>(), (l - 1) as nat),
            n >= 1,
            old(self).v as nat % n as nat == 0,
            old(self).v + n <= old(self).g.e,
        ensures
            final(self).g == old(self).g,
            final(self).has_put(*old(self), item),
            old(self).had(item, r),
            f.pte is Absent ==> r is None,
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
            self.near.lemma_stays_anyway::<C>(self.g, self.tree@);
        }
        let ghost o = *self;
        let v = self.v;
        let old = put::put_here::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, n, pa, l, prop, ad, tok, f, Ghost(o.tree@));
        self.v = v + n;
        proof {
            self.lemma_put(o, item, old);
        }
        Self::replaced(old)
    }

    /// What was mapped before, for the caller.
    #[inline(always)]
    fn replaced(old: Option<TakenLeaf>) -> (r: Option<Replaced<C::Item>>)
        requires
            old matches Some(t) ==> leaf_fits::<C::Consts>(t.pa, t.l as nat) && C::leaf_ok(t.tok@, t.pa, t.l as nat),
        ensures
            r is Some <==> old is Some,
            r matches Some(x) ==> old matches Some(t) && C::raw(x.item) == (t.pa, t.l as nat, t.prop),
        no_unwind
    {
        match old {
            Some(t) => {
                let ad = C::Entry::accessed_dirty(t.word);
                Some(Replaced { item: Self::item_of(t), ad })
            },
            None => None,
        }
    }

    /// An item was put where the cursor was.
    proof fn lemma_put(self, o: Self, item: C::Item, old: Option<TakenLeaf>)
        requires
            ({
                let (pa, l, prop) = C::raw(item);
                let n = pages(nr::<C>(), (l - 1) as nat);
                &&& put::is_put::<C>(o.g, o.tree@, self.tree@, o.v, n as usize, (pa, l as u8, prop), old)
                &&& 1 <= l <= 5
                &&& n >= 1
                &&& self.v == o.v + n <= o.g.e
            }),
            self.g == o.g,
            o.g.s <= o.v,
        ensures
            self.has_put(o, item),
            old is None ==> forall|w: nat| o.v <= w < self.v ==> !#[trigger] o.mapped().dom().contains(w),
            old matches Some(t) ==> forall|w: nat|
                o.v <= w < self.v ==> #[trigger] o.mapped().contains_pair(w, ((t.pa + PAGE_SIZE * (w - o.v)) as nat, t.prop)),
    {
        let (pa, l, prop) = C::raw(item);
        let (v, n) = (o.v, self.v - o.v);
        let m0 = o.tree@;
        let b = between(v as nat, (v + n) as nat);
        lemma_view_elsewhere::<C>(self.g, m0, self.tree@, b);
        assert forall|w: nat| #[trigger] b.contains(w) implies self.mapped().contains_pair(
            w,
            ((pa + PAGE_SIZE * (w - v)) as nat, prop),
        ) && self.level_at(w) == Some(l) by {
            let _ = self.g.at::<C>(self.tree@, w);
        }
        assert(self.mapped().remove_keys(b) == o.mapped().remove_keys(b));
        assert forall|w: nat| v <= w < v + n && old is None implies !#[trigger] o.mapped().dom().contains(w) by {
            let _ = self.g.at::<C>(m0, w);
        }
        if let Some(t) = old {
            assert forall|w: nat| v <= w < v + n implies #[trigger] o.mapped().contains_pair(
                w,
                ((t.pa + PAGE_SIZE * (w - v)) as nat, t.prop),
            ) by {
                let _ = self.g.at::<C>(m0, w);
            }
        }
    }

    /// Why no page of level `l` with a property can be mapped here.
    pub(super) fn refusal(&self, l: u8, prop: PageProperty) -> (r: Option<PageTableError>)
        requires
            1 <= l <= 5,
        ensures
            r is None ==> {
                let n = pages(nr::<C>(), (l - 1) as nat);
                &&& n >= 1 && self.v as nat % n == 0 && n <= self.g.e - self.v
                &&& l <= self.g.top
                &&& C::Entry::holds(prop)
            },
    {
        proof {
            use_type_invariant(self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let n = pages_below::<C::Consts>(l - 1);
        let rest = self.g.e - self.v;
        if !C::Entry::can_hold(prop) {
            Some(PageTableError::Unrepresentable { prop })
        } else if self.v % n != 0 {
            Some(PageTableError::NotAligned { at: self.va().0 })
        } else if rest == 0 {
            Some(PageTableError::OutOfRange { va: self.va() })
        } else if n > rest {
            Some(PageTableError::TooLarge { va: self.va(), size: n * PAGE_SIZE, most: rest * PAGE_SIZE })
        } else if l > self.g.top {
            let most = pages_below::<C::Consts>(self.g.top - 1);
            Some(PageTableError::TooLarge { va: self.va(), size: n * PAGE_SIZE, most: most * PAGE_SIZE })
        } else {
            None
        }
    }

    /// [`map`](Self::map), wherever the way down ends.
    pub(super) fn map_below(
        &mut self,
        pa: usize,
        l: u8,
        prop: PageProperty,
        ad: AccessedDirty,
        tok: Tracked<LeafTok>,
        Ghost(item): Ghost<C::Item>,
    ) -> (r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>)
        requires
            is_item::<C>(item, pa, l, prop, tok@),
        ensures
            final(self).g == old(self).g,
            final(self).put(*old(self), item, r),
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        if let Some(error) = self.refusal(l, prop) {
            // SAFETY: these are the parts of the item.
            return Err(MapError { error, item: unsafe { C::item_from_raw(pa, l, prop, tok) } });
        }
        let v = self.v;
        let n = pages_below::<C::Consts>(l - 1);
        let ghost o = *self;
        let mut near = self.near;
        self.near = Near::none::<C>();
        let put = put::put::<C>(&self.g, Tracked(self.tree.borrow_mut()), &mut near, v, n, pa, l, prop, ad, tok);
        self.near = near;
        match put {
            Put::Done(old) => {
                self.v = v + n;
                proof {
                    self.lemma_put(o, item, old);
                }
                Ok(Self::replaced(old))
            },
            Put::Occupied(tok) => {
                proof {
                    lemma_same_view::<C>(self.g, o.tree@, self.tree@);
                }
                let error = PageTableError::Occupied { va: self.va() };
                // SAFETY: these are the parts of the item.
                Err(MapError { error, item: unsafe { C::item_from_raw(pa, l, prop, tok) } })
            },
            Put::NoMemory(tok) => {
                proof {
                    lemma_same_view::<C>(self.g, o.tree@, self.tree@);
                }
                // SAFETY: these are the parts of the item.
                Err(MapError { error: PageTableError::NoMemory, item: unsafe { C::item_from_raw(pa, l, prop, tok) } })
            },
        }
    }
}

} // verus!
