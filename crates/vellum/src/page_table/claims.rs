//! What the contracts of cursors say of a locked range: what it maps, and how that differs from before.
use super::config::*;
use super::cursor::*;
use super::entry::*;
use super::error::*;
use super::geometry::*;
use super::keeper::*;
use super::ops::*;
use super::session::*;
use super::tree::*;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// The pages `[a, b)`.
pub(super) open spec fn between(a: nat, b: nat) -> ISet<nat> {
    ISet::new(|p: nat| a <= p < b)
}

impl<C: PageTableConfig> Session<C> {
    /// What the range maps: page number to physical address and property.
    pub(super) open spec fn mapped(self) -> IMap<nat, (nat, PageProperty)> {
        view::<C>(self.tree@, self.g.rng())
    }

    /// The level of the page or huge page that maps a page of the range.
    pub(super) open spec fn level_at(self, p: nat) -> Option<nat> {
        self.g.level::<C>(self.tree@, p)
    }

    /// The range maps what it did in `o`, but that huge pages may have been split.
    pub(super) open spec fn maps_as(self, o: Self) -> bool {
        self.mapped() == o.mapped() && self.g.finer::<C>(o.tree@, self.tree@)
    }

    /// The pages `[a, b)` map nothing any more; the others map what they did in `o`, but that huge pages may have been
    /// split.
    pub(super) open spec fn lost(self, o: Self, a: nat, b: nat) -> bool {
        self.mapped() == o.mapped().remove_keys(between(a, b)) && self.g.finer::<C>(o.tree@, self.tree@)
    }

    /// What [`take_next`](Self::take_next) over `len` bytes, from `o` on, comes to.
    pub(super) open spec fn took(self, o: Self, len: usize, r: Result<Option<Fragment<C>>, PageTableError>) -> bool {
        &&& match r {
            Ok(Some(Fragment::Leaf { va, item, .. })) => {
                let (pa, l, prop) = C::raw(item);
                let start = ((va.0 - C::va_base()) / PAGE_SIZE as int) as nat;
                &&& o.mapped().contains_pair(start, (pa as nat, prop))
                &&& o.level_at(start) matches Some(k) && l <= k
                &&& self.lost(o, start, start + pages(nr::<C>(), (l - 1) as nat))
            },
            Ok(Some(Fragment::Node(node))) => self.lost(o, node.covers().0 as nat, node.covers().1 as nat),
            Ok(None) => self.maps_as(o) && (self.v - o.v) * PAGE_SIZE == len,
            Err(_) => self.maps_as(o) && self.v == o.v,
        }
        &&& self.v >= o.v
        &&& forall|p: nat| o.v <= p < self.v ==> !#[trigger] self.mapped().dom().contains(p)
    }

    /// What mapping an item where the cursor was in `o` comes to.
    pub(super) open spec fn put(self, o: Self, item: C::Item, r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>) -> bool {
        match r {
            Ok(x) => self.has_put(o, item) && o.had(item, x),
            Err(e) => self.maps_as(o) && self.v == o.v && C::raw(e.item) == C::raw(item),
        }
    }

    /// The pages of `item` are mapped where the cursor was in `o`, and it is past them; the others map what they did, but
    /// that huge pages may have been split.
    pub(super) open spec fn has_put(self, o: Self, item: C::Item) -> bool {
        let (pa, l, prop) = C::raw(item);
        let n = pages(nr::<C>(), (l - 1) as nat);
        let b = between(o.v as nat, (o.v + n) as nat);
        &&& self.v == o.v + n
        &&& forall|w: nat| #[trigger] b.contains(w) ==> self.mapped().contains_pair(w, ((pa + PAGE_SIZE * (w - o.v)) as nat, prop))
            && self.level_at(w) == Some(l)
        &&& self.mapped().remove_keys(b) == o.mapped().remove_keys(b)
        &&& forall|w: nat| self.g.s <= w < self.g.e && !b.contains(w) ==> #[trigger] sized_as::<C>(o.tree@, self.tree@, self.g.top as nat, w)
    }

    /// `old` is what was mapped at the position, where an item of the size of `item` went.
    pub(super) open spec fn had(self, item: C::Item, old: Option<Replaced<C::Item>>) -> bool {
        let n = pages(nr::<C>(), (C::raw(item).1 - 1) as nat);
        match old {
            Some(x) => {
                let (pa, l, prop) = C::raw(x.item);
                &&& l == C::raw(item).1 && leaf_fits::<C::Consts>(pa, l)
                &&& forall|w: nat|
                    self.v <= w < self.v + n ==> #[trigger] self.mapped().contains_pair(w, ((pa + PAGE_SIZE * (w - self.v)) as nat, prop))
            },
            None => forall|w: nat| self.v <= w < self.v + n ==> !#[trigger] self.mapped().dom().contains(w),
        }
    }
}

/// What was mapped where an item went fits, and led from its pages to what they mapped.
pub(super) proof fn lemma_had_led<C: PageTableConfig>(o: Session<C>, va: Vaddr, item: C::Item, old: Replaced<C::Item>)
    requires
        o.wf(),
        o.had(item, Some(old)),
        va.0 == C::va_base() + o.v * PAGE_SIZE,
        o.v + pages(nr::<C>(), (C::raw(item).1 - 1) as nat) <= o.g.e,
    ensures
        item_fits::<C>(va, old.item),
        forall|w: nat|
            o.v <= w < o.v + pages(nr::<C>(), (C::raw(item).1 - 1) as nat) ==> #[trigger] o.mapped().dom().contains(w) && item_leads::<C>(
                va,
                old.item,
                w,
                o.mapped()[w].0,
            ),
{
    lemma_item_fits::<C>(o.g, va, old.item, o.v as nat);
    let (pa, l, prop) = C::raw(old.item);
    assert((va.0 - C::va_base()) / PAGE_SIZE as int == o.v);
    assert forall|w: nat| o.v <= w < o.v + pages(nr::<C>(), (l - 1) as nat) implies #[trigger] o.mapped().dom().contains(w) && item_leads::<C>(
        va,
        old.item,
        w,
        o.mapped()[w].0,
    ) by {
        assert(o.mapped().contains_pair(w, ((pa + PAGE_SIZE * (w - o.v)) as nat, prop)));
    }
}

/// Putting an item lost nothing but what it replaced.
pub(super) proof fn lemma_has_replaced<C: PageTableConfig>(o: Session<C>, s: Session<C>, item: C::Item, old: Option<Replaced<C::Item>>)
    requires
        o.wf(),
        s.wf(),
        s.g == o.g,
        s.has_put(o, item),
        o.had(item, old),
    ensures
        o.v < s.v,
        match old {
            Some(x) => {
                &&& s.v - o.v == pages(nr::<C>(), (C::raw(x.item).1 - 1) as nat)
                &&& forall|va: Vaddr| va.0 == C::va_base() + o.v * PAGE_SIZE ==> #[trigger] item_fits::<C>(va, x.item) && leads_lost(
                    o.mapped(),
                    s.mapped(),
                    |w: nat, pa: nat| item_leads::<C>(va, x.item, w, pa),
                )
            },
            None => leads_lost(o.mapped(), s.mapped(), |w: nat, pa: nat| false),
        },
{
    C::Consts::consts_ok();
    let n = pages(nr::<C>(), (C::raw(item).1 - 1) as nat);
    lemma_pages_pos(nr::<C>(), (C::raw(item).1 - 1) as nat);
    let b = between(o.v as nat, (o.v + n) as nat);
    assert forall|w: nat| #[trigger] o.mapped().dom().contains(w) && !(o.v <= w < o.v + n) implies s.mapped().dom().contains(w) && s.mapped()[w]
        == o.mapped()[w] by {
        assert(o.mapped().remove_keys(b)[w] == o.mapped()[w]);
        assert(o.mapped().remove_keys(b).dom().contains(w));
        assert(s.mapped().remove_keys(b).dom().contains(w) && s.mapped().remove_keys(b)[w] == s.mapped()[w]);
    }
    if let Some(x) = old {
        assert forall|va: Vaddr| va.0 == C::va_base() + o.v * PAGE_SIZE implies #[trigger] item_fits::<C>(va, x.item) && leads_lost(
            o.mapped(),
            s.mapped(),
            |w: nat, pa: nat| item_leads::<C>(va, x.item, w, pa),
        ) by {
            lemma_had_led::<C>(o, va, item, x);
        }
    }
}

/// What translates the same outside `b` is the same map outside `b`.
pub(super) proof fn lemma_view_elsewhere<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, b: ISet<nat>)
    requires
        forall|w: nat| g.s <= w < g.e && !b.contains(w) ==> #[trigger] g.at::<C>(m2, w) == g.at::<C>(m, w),
    ensures
        view::<C>(m2, g.rng()).remove_keys(b) == view::<C>(m, g.rng()).remove_keys(b),
{
    assert forall|w: nat| g.s <= w < g.e && !b.contains(w) implies #[trigger] trans::<C>(m2, g.top as nat, w) == trans::<C>(
        m,
        g.top as nat,
        w,
    ) by {
        let _ = g.at::<C>(m2, w);
    }
    assert(view::<C>(m2, g.rng()).remove_keys(b) =~= view::<C>(m, g.rng()).remove_keys(b));
}

/// Where nothing translates, nothing is in the map.
pub(super) proof fn lemma_nothing_mapped<C: PageTableConfig>(g: Locks, m: Tree, a: nat, b: nat)
    requires
        g.nothing_in::<C>(m, a, b),
    ensures
        forall|w: nat| a <= w < b ==> !#[trigger] view::<C>(m, g.rng()).dom().contains(w),
{
    assert forall|w: nat| a <= w < b implies !#[trigger] view::<C>(m, g.rng()).dom().contains(w) by {
        let _ = g.at::<C>(m, w);
    }
}

/// What is cleared is gone from the map.
pub(super) proof fn lemma_view_cleared<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree, a: nat, b: nat)
    requires
        g.cleared::<C>(m, m2, a, b),
    ensures
        view::<C>(m2, g.rng()) == view::<C>(m, g.rng()).remove_keys(between(a, b)),
{
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] trans::<C>(m2, g.top as nat, w) == (if a <= w < b {
        None
    } else {
        trans::<C>(m, g.top as nat, w)
    }) by {
        let _ = g.at::<C>(m2, w);
    }
    assert(view::<C>(m2, g.rng()) =~= view::<C>(m, g.rng()).remove_keys(between(a, b)));
}

/// What translates at the same pages has the same domain.
pub(super) proof fn lemma_view_domain<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree)
    requires
        forall|w: nat| g.s <= w < g.e ==> (#[trigger] g.at::<C>(m2, w) is Some) == (g.at::<C>(m, w) is Some),
    ensures
        view::<C>(m2, g.rng()).dom() == view::<C>(m, g.rng()).dom(),
{
    assert forall|w: nat| g.s <= w < g.e implies (#[trigger] trans::<C>(m2, g.top as nat, w) is Some) == (trans::<C>(
        m,
        g.top as nat,
        w,
    ) is Some) by {
        let _ = g.at::<C>(m2, w);
    }
    assert(view::<C>(m2, g.rng()).dom() =~= view::<C>(m, g.rng()).dom());
}

/// What translates the same is the same map.
pub(super) proof fn lemma_same_view<C: PageTableConfig>(g: Locks, m: Tree, m2: Tree)
    requires
        g.same::<C>(m, m2),
    ensures
        view::<C>(m2, g.rng()) == view::<C>(m, g.rng()),
{
    assert forall|w: nat| g.s <= w < g.e implies #[trigger] trans::<C>(m2, g.top as nat, w) == trans::<C>(m, g.top as nat, w) by {
        let _ = g.at::<C>(m2, w);
    }
    assert(view::<C>(m2, g.rng()) =~= view::<C>(m, g.rng()));
}

} // verus!
