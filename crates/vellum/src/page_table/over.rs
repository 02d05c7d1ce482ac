//! Putting a page where nodes are: they are taken out first.
#![expect(unsafe_code, reason = "takes an item apart and puts it together again, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::cursor::*;
use super::detached::*;
use super::entry::*;
use super::geometry::*;
use super::keeper::*;
use super::near::*;
use super::ops::*;
#[cfg(verus_keep_ghost)]
use super::put::is_put;
use super::put::put_here;
use super::session::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
use super::take::*;
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::unmap::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vstd::prelude::*;

verus! {

/// What is below an entry.
enum Below {
    /// A node that linked nothing, which was taken out; where to go on.
    Node(TakenNode, usize),
    /// No node: the entry.
    Nothing(Found),
}

/// Takes the next node that links nothing out of what is below the entry of level `l` at page `v`, its first: looks for it
/// from page `from` on, and then at the pages before.
///
/// What is linked goes before what links it, so that nothing is left in the end.
#[verifier::exec_allows_no_decreases_clause]
fn take_below<C: PageTableConfig>(g: &Locks, Tracked(m): Tracked<&mut Tree>, v: usize, n: usize, l: u8, from: usize) -> (r: Below)
    requires
        g.ok::<C>(*old(m)),
        1 <= l <= g.top,
        n >= 1,
        g.s <= v <= from <= v + n <= g.e,
        old(m).dom().contains(place::<C>(v as nat, l as nat)),
    ensures
        g.ok::<C>(*final(m)),
        final(m).dom().contains(place::<C>(v as nat, l as nat)),
        match r {
            Below::Node(t, next) => t.ok::<C>(*g, *old(m), *final(m), v as nat, (v + n) as nat) && v <= next <= v + n,
            Below::Nothing(f) => *final(m) == *old(m) && f.ok::<C>(*g, *final(m), v as nat) && !(f.pte is Table) && f.l == l,
        },
    no_unwind
{
    let end = v + n;
    let mut p = from;
    proof {
        C::Consts::consts_ok();
        lemma_total::<C>();
    }
    loop
        invariant
            *m == *old(m),
            g.ok::<C>(*m),
            1 <= l <= g.top <= C::Consts::levels() <= 5,
            end == v + n,
            g.s <= v <= p <= end <= g.e <= 0x2000_0000_0000,
            v < end,
            m.dom().contains(place::<C>(v as nat, l as nat)),
    {
        if p == end {
            p = v;
        }
        let f = descend::<C>(g, Tracked(m), p);
        if f.l < l {
            if let Some(t) = take_node::<C>(g, Tracked(m), p, &f, end) {
                return Below::Node(t, p);
            }
            let (_, ee) = entry_range::<C::Consts>(p, f.l);
            p = if ee < end { ee } else { end };
        } else if p > v {
            p = v;
        } else {
            proof {
                lemma_above::<C>(*m, g.rng(), l as nat, f.l as nat, v as nat);
            }
            return Below::Nothing(f);
        }
    }
}

impl<C: PageTableConfig> Session<C> {
    /// An item was put where the cursor was, in a tree `m1` that maps outside of it what `o` did.
    proof fn lemma_put_over(self, o: Self, m1: Tree, item: C::Item, old: Option<TakenLeaf>)
        requires
            ({
                let (pa, l, prop) = C::raw(item);
                let n = pages(nr::<C>(), (l - 1) as nat);
                let b = between(o.v as nat, (o.v + n) as nat);
                &&& is_put::<C>(o.g, m1, self.tree@, o.v, n as usize, (pa, l as u8, prop), old)
                &&& 1 <= l <= 5
                &&& n >= 1
                &&& self.v == o.v + n <= o.g.e
                &&& forall|w: nat| o.g.s <= w < o.g.e && !b.contains(w) ==> #[trigger] o.g.at::<C>(m1, w) == o.g.at::<C>(o.tree@, w)
            }),
            o.g.finer::<C>(o.tree@, m1),
            self.g == o.g,
            o.g.s <= o.v,
        ensures
            self.has_put(o, item),
    {
        let (pa, l, prop) = C::raw(item);
        let (v, n) = (o.v, self.v - o.v);
        let b = between(v as nat, (v + n) as nat);
        let (m0, m2) = (o.tree@, self.tree@);
        assert forall|w: nat| o.g.s <= w < o.g.e && !b.contains(w) implies #[trigger] o.g.at::<C>(m2, w) == o.g.at::<C>(m0, w) by {
            let _ = o.g.at::<C>(m1, w);
        }
        lemma_view_elsewhere::<C>(self.g, m0, m2, b);
        assert forall|w: nat| #[trigger] b.contains(w) implies self.mapped().contains_pair(
            w,
            ((pa + PAGE_SIZE * (w - v)) as nat, prop),
        ) && self.level_at(w) == Some(l) by {
            let _ = self.g.at::<C>(m2, w);
        }
        assert(self.mapped().remove_keys(b) == o.mapped().remove_keys(b));
        assert forall|w: nat| self.g.s <= w < self.g.e && !b.contains(w) implies #[trigger] sized_as::<C>(m0, m2, self.g.top as nat, w) by {
            assert(sized_as::<C>(m0, m1, o.g.rng().top, w));
            assert(sized_as::<C>(m1, m2, self.g.top as nat, w));
        }
    }

    /// Takes out the nodes that are where an item goes, and puts it there.
    #[verifier::exec_allows_no_decreases_clause]
    fn put_over<S: Keeper<Fragment<C>>>(&mut self, item: C::Item, l: u8, access: Option<AccessType>, sink: &mut S)
        requires
            C::raw(item).1 == l,
            old(self).g.top >= l,
            C::Entry::holds(C::raw(item).2),
            ({
                let n = pages(nr::<C>(), (l - 1) as nat);
                old(self).v as nat % n == 0 && n <= old(self).g.e - old(self).v
            }),
            old(self).tree@.dom().contains(place::<C>(old(self).v as nat, l as nat)),
            1 <= l <= 5,
            has_room::<Fragment<C>, S>(*old(sink), 1),
        ensures
            final(self).g == old(self).g,
            final(self).has_put(*old(self), item),
            keeps_on::<Fragment<C>, S>(*old(sink), *final(sink)),
            keeps_all::<Fragment<C>, S>(*final(sink), old(self).mapped(), old(self).v as nat, final(self).v as nat),
    {
        let ghost o = *self;
        let ghost what = item;
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
            lemma_pages_pos(nr::<C>(), (l - 1) as nat);
        }
        let v = self.v;
        let n = pages_below::<C::Consts>(l - 1);
        let mut from = v;
        self.near = Near::none::<C>();
        loop
            invariant
                self.wf(),
                self.near.is_none::<C>(),
                self.g == o.g,
                o.wf(),
                o == *old(self),
                self.v == v == o.v,
                n >= 1,
                n == pages(nr::<C>(), (l - 1) as nat),
                v as nat % n as nat == 0,
                1 <= l <= self.g.top <= C::Consts::levels() <= 5,
                self.g.s <= v <= from <= v + n <= self.g.e <= 0x2000_0000_0000,
                item == what,
                C::raw(what).1 == l,
                C::Entry::holds(C::raw(what).2),
                self.tree@.dom().contains(place::<C>(v as nat, l as nat)),
                self.g.finer::<C>(o.tree@, self.tree@),
                forall|w: nat|
                    self.g.s <= w < self.g.e && !between(v as nat, (v + n) as nat).contains(w) ==> #[trigger] self.g.at::<C>(self.tree@, w)
                        == self.g.at::<C>(o.tree@, w),
                keeps_on::<Fragment<C>, S>(*old(sink), *sink),
                has_room::<Fragment<C>, S>(*sink, 1),
                keeps_gone::<C, Fragment<C>, S>(self.g, o.tree@, self.tree@, v as nat, (v + n) as nat, *sink),
        {
            let ghost m1 = self.tree@;
            let ghost before = *sink;
            match take_below::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, n, l, from) {
                Below::Node(t, next) => {
                    from = next;
                    proof {
                        lemma_finer::<C>(self.g, o.tree@, m1, self.tree@);
                        assert forall|w: nat|
                            self.g.s <= w < self.g.e && !between(v as nat, (v + n) as nat).contains(w) implies #[trigger] self.g.at::<C>(
                            self.tree@,
                            w,
                        ) == self.g.at::<C>(o.tree@, w) by {
                            let _ = self.g.at::<C>(m1, w);
                        }
                    }
                    // The item is dropped if this panics.
                    let ghost taken = t;
                    let node = detached::<C>(self.g.w.get(), t);
                    let ghost was = node;
                    sink.keep(Fragment::Node(node));
                    proof {
                        lemma_node_kept::<C, S>(self.g, m1, self.tree@, taken, was, v as nat, v as nat, (v + n) as nat, *sink);
                        lemma_keeps_more::<C, Fragment<C>, S>(self.g, o.tree@, m1, self.tree@, v as nat, (v + n) as nat, before, *sink);
                    }
                },
                Below::Nothing(f) => {
                    let (pa, level, prop, tok) = C::item_into_raw(item);
                    let ad = AccessedDirty::of_new(access, prop);
                    let old = put_here::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, n, pa, level, prop, ad, tok, &f, Ghost(m1));
                    self.v = v + n;
                    proof {
                        self.lemma_put_over(o, m1, what, old);
                    }
                    if let Some(t) = old {
                        let fragment = Self::fragment_of(t);
                        proof {
                            lemma_fragment_led::<C>(self.g, m1, fragment, v as nat, (v + n) as nat);
                        }
                        sink.keep(fragment);
                    }
                    proof {
                        lemma_replaced_kept::<C, Fragment<C>, S>(self.g, o.tree@, m1, v as nat, (v + n) as nat, before, *sink);
                    }
                    return ;
                },
            }
        }
    }

    pub(super) fn map_over<S: Keeper<Fragment<C>>>(&mut self, item: C::Item, access: Option<AccessType>, sink: &mut S) -> (r: Result<
        (),
        MapError<C::Item>,
    >)
        requires
            has_room::<Fragment<C>, S>(*old(sink), 1),
        ensures
            final(self).g == old(self).g,
            keeps_on::<Fragment<C>, S>(*old(sink), *final(sink)),
            match r {
                Ok(_) => {
                    &&& final(self).has_put(*old(self), item)
                    &&& keeps_all::<Fragment<C>, S>(*final(sink), old(self).mapped(), old(self).v as nat, final(self).v as nat)
                },
                Err(e) => final(self).maps_as(*old(self)) && final(self).v == old(self).v && C::raw(e.item) == C::raw(item),
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let (v, va) = (self.v, self.va());
        let ghost (o, what) = (*self, item);
        let (pa, l, prop, tok) = C::item_into_raw(item);
        if self.refusal(l, prop).is_none() && !(C::TOP_NODES_STAY && l == C::Consts::levels()) {
            let f = descend::<C>(&self.g, Tracked(self.tree.borrow()), v);
            if f.l < l {
                proof {
                    lemma_above::<C>(self.tree@, self.g.rng(), f.l as nat, l as nat, v as nat);
                }
                // SAFETY: these are the parts of the item.
                self.put_over(unsafe { C::item_from_raw(pa, l, prop, tok) }, l, access, sink);
                return Ok(());
            }
        }
        let ad = AccessedDirty::of_new(access, prop);
        match self.map_below(pa, l, prop, ad, tok, Ghost(what)) {
            Ok(None) => Ok(()),
            Ok(Some(Replaced { item, ad })) => {
                let fragment = Fragment::Leaf { va, item, ad };
                let ghost gone = fragment;
                proof {
                    use_type_invariant(&*self);
                    lemma_had_led::<C>(o, va, what, Replaced { item, ad });
                }
                sink.keep(fragment);
                proof {
                    assert forall|w: nat| o.v <= w < self.v && #[trigger] o.mapped().dom().contains(w) implies sink.keeps(w, o.mapped()[w].0) by {
                        assert(gone.leads(w, o.mapped()[w].0));
                    }
                }
                Ok(())
            },
            Err(refused) => Err(refused),
        }
    }
}

} // verus!
