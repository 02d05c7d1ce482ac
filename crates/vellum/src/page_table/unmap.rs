//! Unmapping a range.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::cursor::*;
use super::cut::*;
use super::detached::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
use super::error::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::hoard::FEW;
use super::keeper::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
#[cfg(verus_keep_ghost)]
use super::loose::*;
use super::near::*;
#[cfg(verus_keep_ghost)]
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::range::*;
use super::session::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::take::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

/// Where the mappings go that [`CursorMut::unmap`] takes out.
pub trait FragmentSink<C: PageTableConfig> {
    /// Takes what was mapped; it is to be kept until the translation caches have forgotten it.
    fn take(&mut self, fragment: Fragment<C>);
}

#[verifier::external]
impl<C: PageTableConfig, F: FnMut(Fragment<C>)> FragmentSink<C> for F {
    #[inline(always)]
    fn take(&mut self, fragment: Fragment<C>) {
        self(fragment);
    }
}

impl Taken {
    /// The pages that were taken out, from the first on; none from `v` on.
    spec fn pages(self, v: nat) -> (nat, nat) {
        match self {
            Taken::Leaf(t) => (t.start as nat, t.end as nat),
            Taken::Node(t) => (t.start as nat, t.end as nat),
            Taken::Nothing => (v, v),
        }
    }
}

/// Of what `m` maps in `[v, end)`, `n` pages are gone from `m2`, among them all before `p`; nothing else changed.
spec fn is_partly_gone<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, v: nat, p: nat, end: nat, n: nat) -> bool {
    &&& g.nothing_in::<C>(m2, v, p)
    &&& forall|w: nat| g.s <= w < g.e ==> #[trigger] g.at::<C>(m2, w) == g.at::<C>(m, w) || (g.at::<C>(m2, w) is None && v <= w < end)
    &&& n + nr_mapped(view::<C>(m2, g.rng()), v, end) == nr_mapped(view::<C>(m, g.rng()), v, end)
}

/// Pages are counted part by part.
pub(super) proof fn lemma_nr_split(map: IMap<nat, (nat, PageProperty)>, a: nat, b: nat, c: nat)
    requires
        a <= b <= c,
    ensures
        nr_mapped(map, a, c) == nr_mapped(map, a, b) + nr_mapped(map, b, c),
    decreases c,
{
    if b < c {
        lemma_nr_split(map, a, b, (c - 1) as nat);
    }
}

/// Who maps the same pages counts the same.
proof fn lemma_nr_same(map: IMap<nat, (nat, PageProperty)>, map2: IMap<nat, (nat, PageProperty)>, a: nat, b: nat)
    requires
        forall|w: nat| a <= w < b ==> #[trigger] map2.dom().contains(w) == map.dom().contains(w),
    ensures
        nr_mapped(map2, a, b) == nr_mapped(map, a, b),
    decreases b,
{
    if a < b {
        lemma_nr_same(map, map2, a, (b - 1) as nat);
    }
}

/// What is gone is no longer counted.
proof fn lemma_nr_gone(map: IMap<nat, (nat, PageProperty)>, map2: IMap<nat, (nat, PageProperty)>, v: nat, end: nat, a: nat, b: nat)
    requires
        v <= end,
        a <= b,
        forall|w: nat| #[trigger] map2.dom().contains(w) == (map.dom().contains(w) && !(a <= w < b)),
        forall|w: nat| a <= w < b && !(v <= w < end) ==> !#[trigger] map.dom().contains(w),
    ensures
        nr_mapped(map, v, end) == nr_mapped(map2, v, end) + nr_mapped(map, a, b),
{
    let lo = if a < v { v } else if a < end { a } else { end };
    let hi = if b < lo { lo } else if b < end { b } else { end };
    lemma_nr_split(map, v, lo, end);
    lemma_nr_split(map, lo, hi, end);
    lemma_nr_split(map2, v, lo, end);
    lemma_nr_split(map2, lo, hi, end);
    lemma_nr_same(map, map2, v, lo);
    lemma_nr_same(map, map2, hi, end);
    lemma_nr_mapped(map2, lo, lo, hi, false);
    // The part of `[a, b)` in the range, and what is outside, where nothing is mapped.
    let x = if a < lo { if lo < b { lo } else { b } } else { a };
    let y = if hi < x { x } else if hi < b { hi } else { b };
    lemma_nr_split(map, a, x, b);
    lemma_nr_split(map, x, y, b);
    lemma_nr_mapped(map, a, a, x, false);
    lemma_nr_mapped(map, y, y, b, false);
    if x < y {
        assert(x == lo && y == hi);
    } else {
        lemma_nr_mapped(map, lo, lo, hi, false);
    }
}

/// One step: the pages `[a, b)` are gone, too.
proof fn lemma_more_gone<C: PageTableConfig>(
    g: Locks,
    m: Tree,
    m1: Tree,
    m2: Tree,
    v: nat,
    p: nat,
    next: nat,
    end: nat,
    n: nat,
    a: nat,
    b: nat,
)
    requires
        is_partly_gone::<C>(g, m, m1, v, p, end, n),
        v <= p <= next <= end,
        a <= b,
        g.cleared::<C>(m1, m2, a, b),
        g.nothing_in::<C>(m2, p, next),
        forall|w: nat| g.s <= w < g.e && a <= w < b && !(p <= w < end) ==> #[trigger] g.at::<C>(m1, w) is None,
    ensures
        is_partly_gone::<C>(g, m, m2, v, next, end, n + nr_mapped(view::<C>(m1, g.rng()), a, b)),
{
    let (map1, map2) = (view::<C>(m1, g.rng()), view::<C>(m2, g.rng()));
    assert forall|w: nat| #[trigger] map2.dom().contains(w) == (map1.dom().contains(w) && !(a <= w < b)) by {
        let _ = g.at::<C>(m2, w);
    }
    assert forall|w: nat| a <= w < b && !(v <= w < end) implies !#[trigger] map1.dom().contains(w) by {
        let _ = g.at::<C>(m1, w);
    }
    lemma_nr_gone(map1, map2, v, end, a, b);
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] g.at::<C>(m2, w) == g.at::<C>(m, w) || (g.at::<C>(m2, w) is None && v <= w
        < end) by {
        let _ = g.at::<C>(m1, w);
    }
    assert forall|w: nat| g.s <= w < g.e && v <= w < next implies #[trigger] g.at::<C>(m2, w) is None by {
        let _ = g.at::<C>(m1, w);
    }
}

/// As many pages as a leaf has were mapped by it.
proof fn lemma_leaf_pages<C: PageTableConfig>(g: Locks, m: Tree, a: nat, b: nat)
    requires
        g.s <= a <= b <= g.e,
        forall|w: nat| a <= w < b ==> #[trigger] g.at::<C>(m, w) is Some,
    ensures
        nr_mapped(view::<C>(m, g.rng()), a, b) == b - a,
{
    let map = view::<C>(m, g.rng());
    assert forall|w: nat| a <= w < b implies #[trigger] map.dom().contains(w) by {
        let _ = g.at::<C>(m, w);
    }
    lemma_nr_mapped(map, a, a, b, true);
}

/// Where all is gone, that is what was taken, and its pages were counted.
proof fn lemma_all_gone<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, v: nat, end: nat, n: nat)
    requires
        v <= end,
        is_partly_gone::<C>(g, m, m2, v, end, end, n),
    ensures
        view::<C>(m2, g.rng()) == view::<C>(m, g.rng()).remove_keys(between(v, end)),
        n == nr_mapped(view::<C>(m, g.rng()), v, end),
{
    let (map, map2) = (view::<C>(m, g.rng()), view::<C>(m2, g.rng()));
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] trans::<C>(m2, g.top as nat, w) == (if v <= w < end {
        None
    } else {
        trans::<C>(m, g.top as nat, w)
    }) by {
        let _ = g.at::<C>(m2, w);
    }
    assert(map2 =~= map.remove_keys(between(v, end)));
    lemma_nr_mapped(map2, v, v, end, false);
}

/// There are no more pages mapped than there are.
proof fn lemma_nr_most(map: IMap<nat, (nat, PageProperty)>, a: nat, b: nat)
    requires
        a <= b,
    ensures
        nr_mapped(map, a, b) <= b - a,
    decreases b,
{
    if a < b {
        lemma_nr_most(map, a, (b - 1) as nat);
    }
}

/// A leaf that was taken out fits, and leads from its pages to what they mapped.
pub(super) proof fn lemma_fragment_led<C: PageTableConfig>(g: Locks, m: Tree, fragment: Fragment<C>, a: nat, b: nat)
    requires
        lockable::<C>(g.s as nat, g.e as nat),
        g.s <= a < b <= g.e,
        fragment matches Fragment::Leaf { va, item, .. } && {
            &&& va.0 == C::va_base() + a * PAGE_SIZE
            &&& leaf_fits::<C::Consts>(C::raw(item).0, C::raw(item).1)
            &&& b - a == pages(nr::<C>(), (C::raw(item).1 - 1) as nat)
            &&& maps_run::<C>(g, m, a, b, C::raw(item).0 as nat, C::raw(item).2)
        },
    ensures
        fragment.fits(),
        forall|w: nat| a <= w < b ==> (#[trigger] g.at::<C>(m, w) matches Some(x) && fragment.leads(w, x.0)),
{
    if let Fragment::Leaf { va, item, .. } = fragment {
        lemma_item_led::<C>(g, m, va, item, a, b);
    }
}

/// One step leaves no more to be taken out one by one, and one less where it takes one out.
proof fn lemma_fewer_loose<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, start: nat, end: nat, taken: Taken)
    requires
        g.ok::<C>(m),
        g.ok::<C>(m2),
        g.s <= start <= end <= g.e,
        fewer_leaves::<C>(m, m2),
        taken matches Taken::Leaf(t) ==> {
            &&& start <= t.start < end
            &&& g.at::<C>(m2, t.start as nat) is None
            &&& g.level::<C>(m, t.start as nat) == Some(t.l as nat) && low(nr::<C>(), t.start as nat, (t.l - 1) as nat) == 0
            &&& t.l == 1 ==> !in_whole::<C>(g, start, end, t.start as nat)
        },
    ensures
        nr_loose::<C>(g, m2, start, end, start, end) + (if taken is Leaf { 1nat } else { 0nat }) <= nr_loose::<C>(
            g,
            m,
            start,
            end,
            start,
            end,
        ),
{
    lemma_same_leaf::<C>(g, m, m2);
    assert forall|w: nat| start <= w < end && #[trigger] is_loose::<C>(g, m2, start, end, w) implies is_loose::<C>(g, m, start, end, w) by {
        let _ = g.level::<C>(m2, w);
    }
    let s = match taken {
        Taken::Leaf(t) => t.start as nat,
        _ => 0,
    };
    lemma_loose_fewer::<C>(g, m, m2, start, end, start, end, s);
}

impl<C: PageTableConfig> Session<C> {
    /// Takes everything out: one page where the locked node itself maps it, and else whatever there is. As for
    /// [`map`](Self::map).
    #[inline(always)]
    pub(super) fn unmap<S: Keeper<Fragment<C>>>(&mut self, len: usize, sink: &mut S) -> (r: Result<usize, PageTableError>)
        requires
            len / PAGE_SIZE <= FEW ==> has_room::<Fragment<C>, S>(*old(sink), len as nat / PAGE_SIZE as nat),
        ensures
            final(self).g == old(self).g,
            keeps_on::<Fragment<C>, S>(*old(sink), *final(sink)),
            match r {
                Ok(n) => {
                    let (v, end) = (old(self).v as nat, final(self).v as nat);
                    &&& keeps_all::<Fragment<C>, S>(*final(sink), old(self).mapped(), v, end)
                    &&& (end - v) * PAGE_SIZE == len
                    &&& final(self).mapped() == old(self).mapped().remove_keys(between(v, end))
                    &&& n == nr_mapped(old(self).mapped(), v, end)
                },
                Err(_) => final(self).mapped() == old(self).mapped() && final(self).v == old(self).v,
            },
    {
        if len == PAGE_SIZE && self.g.top == 1 {
            let ghost m0 = self.tree@;
            if let Some(t) = self.take_here(1, 1) {
                proof {
                    use_type_invariant(&*self);
                    lemma_view_cleared::<C>(self.g, m0, self.tree@, t.start as nat, t.end as nat);
                    lemma_leaf_pages::<C>(self.g, m0, t.start as nat, t.end as nat);
                    C::Consts::consts_ok();
                    lemma_pages_pos(nr::<C>(), (t.l - 1) as nat);
                }
                let ghost (start, end) = (t.start as nat, t.end as nat);
                // Should it panic, the page is out, and the position past it.
                let fragment = Self::fragment_of(t);
                proof {
                    lemma_fragment_led::<C>(self.g, m0, fragment, start, end);
                }
                sink.keep(fragment);
                proof {
                    lemma_keeps_all::<C, Fragment<C>, S>(self.g, m0, self.tree@, start, end, *sink);
                }
                return Ok(1);
            }
        }
        self.unmap_below(len, sink)
    }

    /// [`unmap`](Self::unmap), wherever the ways down end.
    #[verifier::exec_allows_no_decreases_clause]
    fn unmap_below<S: Keeper<Fragment<C>>>(&mut self, len: usize, sink: &mut S) -> (r: Result<usize, PageTableError>)
        requires
            len / PAGE_SIZE <= FEW ==> has_room::<Fragment<C>, S>(*old(sink), len as nat / PAGE_SIZE as nat),
        ensures
            final(self).g == old(self).g,
            keeps_on::<Fragment<C>, S>(*old(sink), *final(sink)),
            match r {
                Ok(n) => {
                    let (v, end) = (old(self).v as nat, final(self).v as nat);
                    &&& keeps_all::<Fragment<C>, S>(*final(sink), old(self).mapped(), v, end)
                    &&& (end - v) * PAGE_SIZE == len
                    &&& final(self).mapped() == old(self).mapped().remove_keys(between(v, end))
                    &&& n == nr_mapped(old(self).mapped(), v, end)
                },
                Err(_) => final(self).mapped() == old(self).mapped() && final(self).v == old(self).v,
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let end = self.end_of(len)?;
        let start = self.v;
        let ghost m0 = self.tree@;
        if start == end {
            proof {
                assert(self.mapped() =~= self.mapped().remove_keys(between(start as nat, end as nat)));
            }
            return Ok(0);
        }
        self.near = Near::none::<C>();
        let done = cut_borders::<C>(&self.g, Tracked(self.tree.borrow_mut()), start, end);
        proof {
            lemma_same_view::<C>(self.g, m0, self.tree@);
        }
        if !done {
            return Err(PageTableError::NoMemory);
        }
        if end - start > FEW && sink.counts() {
            let most = self.nr_loose(end);
            if !sink.make_room(most) {
                return Err(PageTableError::NoMemory);
            }
        }
        let mut n: usize = 0;
        proof {
            lemma_outside_start::<C>(self.g, start as nat, end as nat);
            lemma_loose_most::<C>(self.g, self.tree@, start as nat, end as nat, start as nat, end as nat);
            assert(is_partly_gone::<C>(self.g, m0, self.tree@, start as nat, start as nat, end as nat, 0));
            lemma_nr_most(view::<C>(m0, self.g.rng()), start as nat, end as nat);
        }
        loop
            invariant
                self.wf(),
                self.near.is_none::<C>(),
                self.g == old(self).g,
                start == old(self).v,
                self.g.s <= start <= self.v <= end <= self.g.e,
                (end - start) * PAGE_SIZE == len,
                m0 == old(self).tree@,
                outside::<C>(self.g, start as nat, end as nat, self.v as nat),
                cut::<C>(self.tree@, start as nat),
                cut::<C>(self.tree@, end as nat),
                is_partly_gone::<C>(self.g, m0, self.tree@, start as nat, self.v as nat, end as nat, n as nat),
                nr_mapped(view::<C>(m0, self.g.rng()), start as nat, end as nat) <= end - start,
                keeps_on::<Fragment<C>, S>(*old(sink), *sink),
                has_room::<Fragment<C>, S>(*sink, nr_loose::<C>(self.g, self.tree@, start as nat, end as nat, start as nat, end as nat)),
                keeps_gone::<C, Fragment<C>, S>(self.g, m0, self.tree@, start as nat, end as nat, *sink),
        {
            let ghost m1 = self.tree@;
            let ghost before = *sink;
            let v = self.v;
            proof {
                lemma_cut_later::<C>(self.g, m1, start as nat, v as nat);
            }
            let Some((next, taken)) = take_next::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, end, Ghost(start as nat)) else {
                proof {
                    assert(false);
                }
                return Err(PageTableError::NoMemory);
            };
            proof {
                let m2 = self.tree@;
                lemma_cut_fewer::<C>(m1, m2, start as nat);
                lemma_cut_fewer::<C>(m1, m2, end as nat);
                let (a, b) = taken.pages(v as nat);
                lemma_fewer_loose::<C>(self.g, m1, m2, start as nat, end as nat, taken);
                if taken is Leaf {
                    lemma_leaf_pages::<C>(self.g, m1, a, b);
                }
                lemma_more_gone::<C>(self.g, m0, m1, m2, start as nat, v as nat, next as nat, end as nat, n as nat, a, b);
                if taken is Nothing {
                    lemma_keeps_more::<C, Fragment<C>, S>(self.g, m0, m1, m2, start as nat, end as nat, before, before);
                    lemma_keeps_all::<C, Fragment<C>, S>(self.g, m0, m2, start as nat, end as nat, before);
                    lemma_all_gone::<C>(self.g, m0, m2, start as nat, end as nat, n as nat);
                }
            }
            self.v = next;
            let ghost (a, b) = taken.pages(v as nat);
            let ghost was = taken;
            let fragment = match taken {
                Taken::Leaf(t) => {
                    n += t.end - t.start;
                    Self::fragment_of(t)
                },
                Taken::Node(t) => {
                    n += t.nr_pages;
                    Fragment::Node(detached::<C>(self.g.w.get(), t))
                },
                Taken::Nothing => return Ok(n),
            };
            proof {
                if fragment is Leaf {
                    lemma_fragment_led::<C>(self.g, m1, fragment, a, b);
                }
            }
            let ghost gone = fragment;
            sink.keep(fragment);
            proof {
                match was {
                    Taken::Leaf(t) => lemma_leaf_kept::<C, S>(self.g, m1, self.tree@, gone, a, b, start as nat, end as nat, *sink),
                    Taken::Node(t) => if let Fragment::Node(node) = gone {
                        lemma_node_kept::<C, S>(self.g, m1, self.tree@, t, node, v as nat, start as nat, end as nat, *sink);
                    },
                    Taken::Nothing => {},
                }
                lemma_keeps_more::<C, Fragment<C>, S>(self.g, m0, m1, self.tree@, start as nat, end as nat, before, *sink);
            }
        }
    }
}

} // verus!
