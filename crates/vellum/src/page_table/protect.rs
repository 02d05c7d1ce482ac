//! What cursors do to properties: of the next mapping, and of all mappings in a range.
#![expect(unsafe_code, reason = "words are made of addresses that are known to fit")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::cursor::*;
use super::cut::*;
use super::entry::*;
use super::error::*;
use super::geometry::*;
use super::keeper::*;
use super::near::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::range::*;
use super::session::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
use super::walk;
use super::walk::*;
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::owned::{Owned, Release};
use vellum_machine::ptword::WalkerFormat;
#[cfg(verus_keep_ghost)]
use vellum_machine::ptword::all_noted;
use vstd::prelude::*;

verus! {

/// A base page that got another property: its word and its property, before and after.
#[derive(Clone, Copy)]
struct Example {
    before: u64,
    prop: PageProperty,
    after: u64,
    new_prop: PageProperty,
    settled: Settled,
}

impl Example {
    /// The words say so.
    spec fn ok<C: PageTableConfig>(self) -> bool {
        &&& meaning::<C>(self.before, 1) matches Pte::Leaf(_, prop) && prop == self.prop
        &&& meaning::<C>(self.after, 1) matches Pte::Leaf(_, prop) && prop == self.new_prop
        &&& C::Entry::holds(self.new_prop)
        &&& C::Entry::noted(self.before).up_to(C::Entry::noted(self.after))
        &&& self.settled is Yes ==> all_noted::<FormatOf<C>>(self.before)
    }

    /// What was found has the same property, and the same is noted in it.
    spec fn is_like<C: PageTableConfig>(self, f: Found) -> bool {
        &&& f.pte matches Pte::Leaf(_, prop) && prop == self.prop
        &&& C::Entry::noted(f.word) == C::Entry::noted(self.before)
        &&& all_noted::<FormatOf<C>>(self.before) ==> all_noted::<FormatOf<C>>(f.word)
    }

    /// What was found, a base page, got this property.
    #[inline(always)]
    fn of<C: PageTableConfig>(f: &Found, new_prop: PageProperty) -> (r: Example)
        requires
            f.pte == meaning::<C>(f.word, 1),
            f.pte matches Pte::Leaf(pa, _) && leaf_fits::<C::Consts>(pa, 1),
            C::Entry::holds(new_prop),
        ensures
            r.ok::<C>(),
        no_unwind
    {
        let (pa, prop) = f.pte.as_leaf();
        // SAFETY: what a leaf maps fits.
        let leaf = unsafe { C::Entry::leaf(pa, 1, new_prop) };
        let after = C::Entry::with_noted(leaf, f.word);
        proof {
            C::Entry::noted_is_no_meaning(after, leaf, 1);
        }
        let settled = if FormatOf::<C>::settled(f.word) { Settled::Yes } else { Settled::Unknown };
        Example { before: f.word, prop, after, new_prop, settled }
    }
}

/// A mapping that got another property.
struct One {
    /// The page after it.
    end: usize,
    /// The base pages that were changed until there.
    changed: usize,
    /// The property.
    prop: PageProperty,
}

/// A session that is ahead of its position: that is written when a loop is over, in which a store more would take as long as
/// all the rest. Where a closure of the caller panics, too, it is that of the mapping for which it was called.
struct Ahead<'s, C: PageTableConfig> {
    session: &'s mut Session<C>,
    /// Where it is.
    v: usize,
}

impl<C: PageTableConfig> Release for Ahead<'_, C> {
    #[inline(always)]
    fn release(self) {
        proof {
            use_type_invariant(&*self.session);
        }
        if self.v >= self.session.g.s && self.v <= self.session.g.e {
            self.session.v = self.v;
        }
    }
}

/// How far a range got other properties.
enum Went {
    /// On; so many base pages were changed.
    On(usize),
    /// To the mapping that was to stay as it is.
    Stopped(usize),
}

impl<C: PageTableConfig> Session<C> {
    /// Of what `o` mapped, the properties on the pages from where it was until `v` are changed, and they were mapped so often.
    spec fn protecting(self, o: Self, near: Near, end: usize, v: usize, changed: usize) -> bool {
        &&& self.wf()
        &&& self.near.is_none::<C>()
        &&& self.g == o.g
        &&& self.g.s <= o.v <= v <= end <= self.g.e <= 0x2000_0000_0000
        &&& 1 <= C::Consts::levels() <= 5
        &&& near.ok::<C>(self.g, self.tree@)
        &&& cut::<C>(self.tree@, v as nat)
        &&& cut::<C>(self.tree@, end as nat)
        &&& recoloured::<C>(o.mapped(), self.mapped(), o.v as nat, v as nat)
        &&& changed == nr_mapped(o.mapped(), o.v as nat, v as nat)
        &&& changed <= v - o.v
    }

    pub(super) fn protect<F: Recolourer<C>>(&mut self, len: usize, op: &mut F) -> (r: Result<usize, PageTableError>)
        ensures
            final(self).g == old(self).g,
            final(op).follows(*old(op)),
            notes_all::<C, F>(*final(op), old(self).mapped(), final(self).mapped()),
            match r {
                Ok(n) => {
                    &&& (final(self).v - old(self).v) * PAGE_SIZE <= len
                    &&& recoloured::<C>(old(self).mapped(), final(self).mapped(), old(self).v as nat, final(self).v as nat)
                    &&& n == nr_mapped(old(self).mapped(), old(self).v as nat, final(self).v as nat)
                },
                Err(PageTableError::Unrepresentable { .. }) => recoloured::<C>(
                    old(self).mapped(),
                    final(self).mapped(),
                    old(self).v as nat,
                    final(self).v as nat,
                ),
                Err(_) => final(self).mapped() == old(self).mapped() && final(self).v == old(self).v,
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        proof {
            F::lemma_follows(*op, *op, *op);
        }
        let end = self.end_of(len)?;
        let start = self.v;
        let ghost o = *self;
        if start == end {
            return Ok(0);
        }
        self.near = Near::none::<C>();
        let done = cut_borders::<C>(&self.g, Tracked(self.tree.borrow_mut()), start, end);
        proof {
            lemma_same_view::<C>(self.g, o.tree@, self.tree@);
        }
        if !done {
            return Err(PageTableError::NoMemory);
        }
        let mut near = Near::none::<C>();
        let mut changed: usize = 0;
        while self.v < end
            invariant
                self.protecting(o, near, end, self.v, changed),
                o == *old(self),
                (end - start) * PAGE_SIZE == len,
                start == o.v,
                op.follows(*old(op)),
                notes_all::<C, F>(*op, o.mapped(), self.mapped()),
            decreases end - self.v,
        {
            let ghost before = *op;
            // Where pages follow each other in a node of base pages, all but the address of the entry is known.
            if let Some(f) = base_entry::<C>(&self.g, Tracked(self.tree.borrow()), &near, self.v) {
                if f.is_leaf() {
                    let went = self.protect_alike(Ghost(o), &near, end, &f, changed, op);
                    proof {
                        F::lemma_follows(*op, before, *old(op));
                    }
                    match went {
                        Ok(Went::On(n)) => changed = n,
                        Ok(Went::Stopped(n)) => return Ok(n),
                        Err(e) => return Err(e),
                    }
                    continue ;
                }
            }
            let ghost (m1, v) = (self.tree@, self.v);
            let (p, found) = next_mapped::<C>(&self.g, Tracked(self.tree.borrow()), &mut near, self.v, end);
            proof {
                lemma_none_mapped::<C>(self.g, m1, o.mapped(), start as nat, v as nat, p as nat);
            }
            self.v = p;
            let Some(f) = found else {
                break ;
            };
            let done = self.protect_one(Ghost(o), Ghost(v), p, &near, end, &f, f.l, None, changed, op);
            proof {
                F::lemma_follows(*op, before, *old(op));
            }
            match done {
                Ok(Some(one)) => {
                    self.v = one.end;
                    changed = one.changed;
                },
                Ok(None) => return Ok(changed),
                Err(e) => return Err(e),
            }
        }
        Ok(changed)
    }

    /// Gives the base page that was found here another property, and those after it in the same node that differ from it in
    /// nothing but the page: their properties need not be decoded, and where `op` makes the same of them, nor encoded.
    #[inline(always)]
    fn protect_alike<F: Recolourer<C>>(&mut self, Ghost(o): Ghost<Self>, near: &Near, end: usize, first: &Found, changed: usize, op: &mut F) -> (r:
        Result<Went, PageTableError>)
        requires
            old(self).protecting(o, *near, end, old(self).v, changed),
            old(self).v < end,
            first.ok::<C>(old(self).g, old(self).tree@, old(self).v as nat),
            first.pte is Leaf,
            first.l == 1,
            notes_all::<C, F>(*old(op), o.mapped(), old(self).mapped()),
        ensures
            final(op).follows(*old(op)),
            notes_all::<C, F>(*final(op), o.mapped(), final(self).mapped()),
            match r {
                Ok(Went::On(n)) => final(self).protecting(o, *near, end, final(self).v, n) && final(self).v > old(self).v,
                Ok(Went::Stopped(n)) => final(self).protecting(o, *near, end, final(self).v, n),
                Err(e) => e is Unrepresentable && exists|n: usize| final(self).protecting(o, *near, end, final(self).v, n),
            },
    {
        let p = self.v;
        let ghost m1 = self.tree@;
        let ghost op0 = *op;
        let one = match self.protect_one(Ghost(o), Ghost(p), p, near, end, first, 1, None, changed, op)? {
            Some(one) => one,
            None => return Ok(Went::Stopped(changed)),
        };
        let mut n = one.changed;
        proof {
            C::Consts::consts_ok();
            lemma_total::<C>();
            lemma_here::<C>(self.g, m1, p as nat, 1);
        }
        let example = Example::of::<C>(first, one.prop);
        let (_, node_end) = entry_range::<C::Consts>(p, 2);
        let stop = if node_end < end { node_end } else { end };
        let (pa, up) = (first.pa, first.up);
        proof {
            lemma_pre_zero(nr::<C>(), p as nat);
        }
        let mut v = p + 1;
        let mut ahead = Owned::new(Ahead { session: self, v });
        let ghost lent = ahead@.session;
        let mut went = None;
        while v < stop
            invariant_except_break
                went is None,
            invariant
                *final(ahead@.session) == *final(lent),
                match went {
                    Some(Ok(Went::Stopped(m))) => m == n,
                    Some(Ok(Went::On(_))) => false,
                    Some(Err(e)) => e is Unrepresentable,
                    None => true,
                },
                ahead@.session.protecting(o, *near, end, v, n),
                stop <= end,
                p < v,
                pages(nr::<C>(), 0) == 1,
                same_nodes(m1, ahead@.session.tree@),
                first.ok::<C>(ahead@.session.g, m1, p as nat),
                first.l == 1,
                pa == first.pa,
                up == first.up,
                forall|w: nat| p <= w < node_end ==> #[trigger] pre(nr::<C>(), w, 1) == pre(nr::<C>(), p as nat, 1),
                stop <= node_end,
                example.ok::<C>(),
                op0 == *old(op),
                op.follows(op0),
                notes_all::<C, F>(*op, o.mapped(), ahead@.session.mapped()),
            decreases stop - v,
        {
            let at = ahead.get_mut();
            at.v = v;
            let session = &mut *at.session;
            proof {
                assert(pre(nr::<C>(), v as nat, 1) == pre(nr::<C>(), p as nat, 1));
                lemma_pre_above(nr::<C>(), v as nat, p as nat, 1, 2);
                assert(m1.dom().contains(place::<C>(p as nat, 1)));
                assert(1 < session.g.top ==> m1.dom().contains(place::<C>(p as nat, 2)));
            }
            let f = descend_from::<C>(&session.g, Tracked(session.tree.borrow()), v, pa, 1, up);
            if !C::Entry::is_alike(f.word, example.before) {
                break ;
            }
            let ghost before = *op;
            let done = session.protect_one(Ghost(o), Ghost(v), v, near, end, &f, 1, Some(&example), n, op);
            proof {
                F::lemma_follows(*op, before, op0);
            }
            match done {
                Ok(Some(one)) => n = one.changed,
                Ok(None) => {
                    went = Some(Ok(Went::Stopped(n)));
                    break ;
                },
                Err(e) => {
                    went = Some(Err(e));
                    break ;
                },
            }
            v += 1;
        }
        ahead.into_inner().session.v = v;
        assert(self.protecting(o, *near, end, self.v, n));
        match went {
            Some(went) => went,
            None => Ok(Went::On(n)),
        }
    }

    /// Gives the mapping of level `l` that was found at page `p` another property. Nothing is mapped from page `c` until there.
    /// The word of a base page may be like that of an example.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "three of them are ghosts")]
    fn protect_one<F: Recolourer<C>>(
        &mut self,
        Ghost(o): Ghost<Self>,
        Ghost(c): Ghost<usize>,
        p: usize,
        near: &Near,
        end: usize,
        f: &Found,
        l: u8,
        example: Option<&Example>,
        changed: usize,
        op: &mut F,
    ) -> (r: Result<Option<One>, PageTableError>)
        requires
            old(self).wf(),
            old(self).near.is_none::<C>(),
            old(self).g == o.g,
            old(self).g.s <= o.v <= c <= p < end <= old(self).g.e <= 0x2000_0000_0000,
            1 <= C::Consts::levels() <= 5,
            near.ok::<C>(old(self).g, old(self).tree@),
            cut::<C>(old(self).tree@, c as nat),
            cut::<C>(old(self).tree@, end as nat),
            o.g.nothing_in::<C>(old(self).tree@, c as nat, p as nat),
            recoloured::<C>(o.mapped(), old(self).mapped(), o.v as nat, p as nat),
            changed == nr_mapped(o.mapped(), o.v as nat, p as nat),
            changed <= p - o.v,
            f.ok::<C>(old(self).g, old(self).tree@, p as nat),
            f.pte is Leaf,
            f.l == l,
            example matches Some(x) ==> l == 1 && x.ok::<C>() && x.is_like::<C>(*f),
            notes_all::<C, F>(*old(op), o.mapped(), old(self).mapped()),
        ensures
            final(op).follows(*old(op)),
            notes_all::<C, F>(*final(op), o.mapped(), final(self).mapped()),
            match r {
                Ok(Some(one)) => {
                    &&& final(self).protecting(o, *near, end, one.end, one.changed)
                    &&& one.end == p + pages(nr::<C>(), (l - 1) as nat) > p
                    &&& final(self).v == old(self).v
                    &&& same_nodes(old(self).tree@, final(self).tree@)
                    &&& C::Entry::holds(one.prop)
                },
                Ok(None) => *final(self) == *old(self),
                Err(e) => e is Unrepresentable && *final(self) == *old(self),
            },
    {
        let ghost m1 = self.tree@;
        let (es, ee) = entry_range::<C::Consts>(p, l);
        proof {
            lemma_between_cuts::<C>(self.g, m1, c as nat, end as nat, p as nat, *f, es as nat, ee as nat);
        }
        let prop = match example {
            Some(x) => x.prop,
            None => f.pte.as_leaf().1,
        };
        let ghost before = *op;
        proof {
            C::config_ok();
            assert((C::va_base() + p * PAGE_SIZE) % PAGE_SIZE as int == 0);
        }
        // Should it panic, what was changed so far stays changed, and the cursor is at this mapping.
        let Some(prop) = op.recolour(va_of::<C>(p)..va_of::<C>(ee), prop) else {
            return Ok(None);
        };
        match example {
            Some(x) if x.new_prop == prop => {
                let leaf = C::Entry::page_alike(f.word, x.after);
                walk::set_word::<C>(&self.g, Tracked(self.tree.borrow_mut()), p, ee, f, leaf, x.settled, Ghost(prop));
            },
            _ => {
                if !C::Entry::can_hold(prop) {
                    return Err(PageTableError::Unrepresentable { prop });
                }
                walk::set_property::<C>(&self.g, Tracked(self.tree.borrow_mut()), p, ee, f, prop);
            },
        }
        proof {
            near.lemma_stays::<C>(self.g, m1, self.tree@);
            lemma_cut_behind::<C>(self.g, m1, self.tree@, p, ee, *f);
            lemma_cut_fewer::<C>(m1, self.tree@, end as nat);
            lemma_recoloured::<C>(self.g, m1, self.tree@, o.mapped(), o.v as nat, p, ee, *f, prop);
            assert forall|w: nat| #[trigger] o.mapped().dom().contains(w) && self.mapped()[w] != o.mapped()[w] implies op.notes(w) by {
                let _ = self.g.at::<C>(self.tree@, w);
                let _ = self.g.at::<C>(m1, w);
                assert(view::<C>(m1, self.g.rng()).dom().contains(w));
                if !(p <= w < ee) {
                    assert(view::<C>(m1, self.g.rng())[w] == self.mapped()[w]);
                    assert(before.notes(w));
                }
            }
        }
        Ok(Some(One { end: ee, changed: changed + (ee - p), prop }))
    }

    /// The mapping at `[p, ee)`, the next one in `m1`, got another property; `m1` maps what `o` did.
    proof fn lemma_protected(self, o: Self, m1: Tree, p: usize, ee: usize, f: Found, prop: PageProperty)
        requires
            self.g == o.g,
            self.v == ee,
            o.g.s <= o.v <= p,
            o.g.ok::<C>(m1),
            o.g.same::<C>(o.tree@, m1),
            o.g.finer::<C>(o.tree@, m1),
            o.g.finer::<C>(m1, self.tree@),
            whole::<C>(o.g, m1, p, ee, f),
            o.g.nothing_in::<C>(m1, o.v as nat, p as nat),
            recoloured_at::<C>(o.g, m1, self.tree@, p, ee, prop),
        ensures
            self.mapped().dom() == o.mapped().dom(),
            self.mapped().remove_keys(between(p as nat, ee as nat)) == o.mapped().remove_keys(between(p as nat, ee as nat)),
            forall|w: nat| p <= w < ee ==> #[trigger] self.mapped().dom().contains(w) && self.mapped()[w].0 == o.mapped()[w].0,
            forall|w: nat| o.v <= w < p ==> !#[trigger] self.mapped().dom().contains(w),
            self.g.finer::<C>(o.tree@, self.tree@),
    {
        let b = between(p as nat, ee as nat);
        lemma_same_view::<C>(o.g, o.tree@, m1);
        lemma_whole_leaf_mapped::<C>(o.g, m1, p, ee, f);
        assert forall|w: nat| p <= w < ee implies #[trigger] self.mapped().dom().contains(w) && self.mapped()[w].0 == o.mapped()[w].0 by {
            let _ = o.g.at::<C>(self.tree@, w);
            let _ = o.g.at::<C>(m1, w);
            assert(view::<C>(m1, o.g.rng())[w].0 == o.mapped()[w].0);
        }
        lemma_view_elsewhere::<C>(o.g, m1, self.tree@, b);
        lemma_view_domain::<C>(o.g, m1, self.tree@);
        lemma_nothing_mapped::<C>(o.g, m1, o.v as nat, p as nat);
        lemma_finer::<C>(o.g, o.tree@, m1, self.tree@);
    }

    pub(super) fn protect_next<F: ProtectOp>(&mut self, len: usize, op: F) -> (r: Result<Option<Range<Vaddr>>, PageTableError>)
        ensures
            final(self).g == old(self).g,
            match r {
                Ok(Some(range)) => {
                    let start = ((range.start.0 - C::va_base()) / PAGE_SIZE as int) as nat;
                    let end = final(self).v as nat;
                    &&& range.start.0 == C::va_base() + start * PAGE_SIZE && range.end.0 == C::va_base() + end * PAGE_SIZE
                    &&& final(self).mapped().dom() == old(self).mapped().dom()
                    &&& final(self).mapped().remove_keys(between(start, end)) == old(self).mapped().remove_keys(between(start, end))
                    &&& forall|w: nat| start <= w < end ==> #[trigger] final(self).mapped().dom().contains(w) && final(self).mapped()[w].0
                        == old(self).mapped()[w].0
                    &&& forall|w: nat| old(self).v <= w < start ==> !#[trigger] final(self).mapped().dom().contains(w)
                    &&& final(self).g.finer::<C>(old(self).tree@, final(self).tree@)
                },
                Ok(None) => {
                    &&& final(self).maps_as(*old(self))
                    &&& (final(self).v - old(self).v) * PAGE_SIZE == len
                    &&& forall|w: nat| old(self).v <= w < final(self).v ==> !#[trigger] old(self).mapped().dom().contains(w)
                },
                Err(_) => final(self).maps_as(*old(self)) && final(self).v == old(self).v,
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let end = self.end_of(len)?;
        let ghost m0 = self.tree@;
        let v = self.v;
        let mut near = self.near;
        self.near = Near::none::<C>();
        let found = walk::isolate::<C>(&self.g, Tracked(self.tree.borrow_mut()), &mut near, v, end);
        let ghost m1 = self.tree@;
        proof {
            lemma_same_view::<C>(self.g, m0, m1);
        }
        let (p, ee, f) = match found {
            None => return Err(PageTableError::NoMemory),
            Some(None) => {
                self.v = end;
                proof {
                    lemma_nothing_mapped::<C>(self.g, m1, v as nat, end as nat);
                }
                return Ok(None);
            },
            Some(Some(x)) => x,
        };
        let (_, prop) = f.pte.as_leaf();
        // Nothing has changed yet: a panic in here leaves the range as it was.
        let prop = op.apply(prop);
        if !C::Entry::can_hold(prop) {
            return Err(PageTableError::Unrepresentable { prop });
        }
        walk::set_property::<C>(&self.g, Tracked(self.tree.borrow_mut()), p, ee, &f, prop);
        proof {
            near.lemma_stays::<C>(self.g, m1, self.tree@);
        }
        self.near = near;
        self.v = ee;
        let range = va_of::<C>(p)..va_of::<C>(ee);
        proof {
            assert((range.start.0 - C::va_base()) / PAGE_SIZE as int == p);
            self.lemma_protected(*old(self), m1, p, ee, f, prop);
        }
        Ok(Some(range))
    }
}

/// One mapping more has another property.
proof fn lemma_recoloured<C: PageTableConfig>(
    g: Locks,
    m: Tree,
    m2: Tree,
    map: IMap<nat, (nat, PageProperty)>,
    a: nat,
    p: usize,
    ee: usize,
    f: Found,
    prop: PageProperty,
)
    requires
        g.ok::<C>(m),
        whole::<C>(g, m, p, ee, f),
        a <= p,
        recoloured::<C>(map, view::<C>(m, g.rng()), a, p as nat),
        recoloured_at::<C>(g, m, m2, p, ee, prop),
    ensures
        recoloured::<C>(map, view::<C>(m2, g.rng()), a, ee as nat),
        nr_mapped(map, a, ee as nat) == nr_mapped(map, a, p as nat) + (ee - p),
{
    lemma_whole_leaf_mapped::<C>(g, m, p, ee, f);
    lemma_view_domain::<C>(g, m, m2);
    let (v1, v2) = (view::<C>(m, g.rng()), view::<C>(m2, g.rng()));
    assert forall|w: nat| p <= w < ee implies #[trigger] map.dom().contains(w) == true by {
        assert(g.at::<C>(m, w) is Some);
        assert(v1.dom().contains(w));
    }
    lemma_nr_mapped(map, a, p as nat, ee as nat, true);
    assert forall|w: nat| #[trigger] map.dom().contains(w) implies v2[w].0 == map[w].0 && (v2[w] == map[w] || a <= w < ee) by {
        assert(v1.dom().contains(w));
        let _ = g.at::<C>(m2, w);
        let _ = g.at::<C>(m, w);
        assert(v1[w].0 == map[w].0);
    }
}

} // verus!
