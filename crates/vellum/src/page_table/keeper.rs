//! Who keeps what was taken out of a table until translation caches have forgotten it, and what is known of that.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::cursor::*;
#[cfg(verus_keep_ghost)]
use super::detached::*;
use super::entry::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
#[cfg(verus_keep_ghost)]
use super::ops::*;
use super::range::{ProtectEach, ReplacedSink};
#[cfg(verus_keep_ghost)]
use super::take::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
use super::unmap::FragmentSink;
#[cfg(verus_keep_ghost)]
use super::walk::*;
use core::ops::Range;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// Something that no table leads to any more, but translation caches may.
pub trait Gone {
    /// From page `w` it was reached that the frame at `pa` is: what was mapped there, or a node on the way.
    spec fn leads(self, w: nat, pa: nat) -> bool;

    /// Its addresses are some of the table's.
    spec fn fits(self) -> bool;

    /// The room that it takes.
    spec fn size(self) -> nat;
}

/// Who keeps what is gone.
pub trait Keeper<T: Gone>: Sized {
    /// Whose table it keeps things of: its root.
    spec fn root(self) -> nat;

    /// It keeps the frame at `pa` until no processor translates page `w` by what it read before now.
    spec fn keeps(self, w: nat, pa: nat) -> bool;

    /// Page `w` will be flushed.
    spec fn gathers(self, w: nat) -> bool;

    /// How much more it has room for; `None`: for anything.
    spec fn room(self) -> Option<nat>;

    /// Whether it wants to be asked for room.
    fn counts(&self) -> (r: bool)
        ensures
            !r ==> self.room() is None,
    ;

    /// Makes room for `n` more. False: no memory.
    fn make_room(&mut self, n: usize) -> (r: bool)
        ensures
            final(self).root() == old(self).root(),
            forall|w: nat| #[trigger] old(self).gathers(w) ==> final(self).gathers(w),
            forall|w: nat, pa: nat| #[trigger] old(self).keeps(w, pa) ==> final(self).keeps(w, pa),
            r ==> (final(self).room() matches Some(room) ==> n <= room),
    ;

    /// Keeps something more.
    fn keep(&mut self, what: T)
        requires
            what.fits(),
            old(self).room() matches Some(n) ==> n >= what.size(),
        ensures
            old(self).room() is None ==> final(self).room() is None,
            old(self).room() matches Some(n) ==> (final(self).room() matches Some(n2) && n2 + what.size() == n),
            final(self).root() == old(self).root(),
            forall|w: nat| #[trigger] old(self).gathers(w) ==> final(self).gathers(w),
            forall|w: nat, pa: nat| #[trigger] old(self).keeps(w, pa) ==> final(self).keeps(w, pa),
            forall|w: nat, pa: nat| #[trigger] what.leads(w, pa) ==> final(self).keeps(w, pa),
    ;
}

/// Of what `m0` maps in `[a, b)`, `m` still maps what is not kept.
pub(super) open spec fn keeps_gone<C: PageTableConfig, T: Gone, K: Keeper<T>>(g: Locks, m0: Tree, m: Tree, a: nat, b: nat, keeper: K) -> bool {
    forall|w: nat|
        g.s <= w < g.e && a <= w < b ==> (#[trigger] g.at::<C>(m0, w) matches Some(x) ==> g.at::<C>(m, w) == Some(x) || keeper.keeps(w, x.0))
}

/// Where nothing is mapped any more, all is kept.
pub(super) proof fn lemma_keeps_all<C: PageTableConfig, T: Gone, K: Keeper<T>>(g: Locks, m0: Tree, m: Tree, a: nat, b: nat, keeper: K)
    requires
        keeps_gone::<C, T, K>(g, m0, m, a, b, keeper),
        g.nothing_in::<C>(m, a, b),
    ensures
        keeps_all::<T, K>(keeper, view::<C>(m0, g.rng()), a, b),
{
    assert forall|w: nat| a <= w < b && #[trigger] view::<C>(m0, g.rng()).dom().contains(w) implies keeper.keeps(
        w,
        view::<C>(m0, g.rng())[w].0,
    ) by {
        let _ = g.at::<C>(m0, w);
        let _ = g.at::<C>(m, w);
    }
}

/// One step: what `m2` does not map any more of `m1` is kept, too.
pub(super) proof fn lemma_keeps_more<C: PageTableConfig, T: Gone, K: Keeper<T>>(
    g: Locks,
    m0: Tree,
    m1: Tree,
    m2: Tree,
    a: nat,
    b: nat,
    before: K,
    after: K,
)
    requires
        keeps_gone::<C, T, K>(g, m0, m1, a, b, before),
        keeps_on::<T, K>(before, after),
        keeps_gone::<C, T, K>(g, m1, m2, a, b, after),
    ensures
        keeps_gone::<C, T, K>(g, m0, m2, a, b, after),
{
    assert forall|w: nat| g.s <= w < g.e && a <= w < b implies (#[trigger] g.at::<C>(m0, w) matches Some(x) ==> g.at::<C>(m2, w) == Some(x)
        || after.keeps(w, x.0)) by {
        let _ = g.at::<C>(m1, w);
    }
}

/// Where a node was taken out and is kept, what it mapped is.
pub(super) proof fn lemma_node_kept<C: PageTableConfig, K: Keeper<Fragment<C>>>(
    g: Locks,
    m: Tree,
    m2: Tree,
    t: TakenNode,
    node: DetachedNode<C>,
    v: nat,
    a: nat,
    b: nat,
    keeper: K,
)
    requires
        lockable::<C>(g.s as nat, g.e as nat),
        t.ok::<C>(g, m, m2, v, b),
        forall|w: nat, pa: nat| #[trigger]
            node.leads(w, pa) <==> w < top_page::<C>() && leads::<C>(t.tok@.retired, t.tok@.copy@.words, 0, w, pa),
        forall|w: nat, pa: nat| #[trigger] Fragment::Node(node).leads(w, pa) ==> keeper.keeps(w, pa),
    ensures
        keeps_gone::<C, Fragment<C>, K>(g, m, m2, a, b, keeper),
{
    assert forall|w: nat| g.s <= w < g.e && a <= w < b implies (#[trigger] g.at::<C>(m, w) matches Some(x) ==> g.at::<C>(m2, w) == Some(x)
        || keeper.keeps(w, x.0)) by {
        let _ = g.at::<C>(m2, w);
        if t.start <= w < t.end && g.at::<C>(m, w) is Some {
            assert(node.leads(w, (g.at::<C>(m, w)->0).0));
            assert(Fragment::Node(node).leads(w, (g.at::<C>(m, w)->0).0));
        }
    }
}

/// Where a leaf was taken out and is kept, what it mapped is.
pub(super) proof fn lemma_leaf_kept<C: PageTableConfig, K: Keeper<Fragment<C>>>(
    g: Locks,
    m: Tree,
    m2: Tree,
    fragment: Fragment<C>,
    start: nat,
    end: nat,
    a: nat,
    b: nat,
    keeper: K,
)
    requires
        g.cleared::<C>(m, m2, start, end),
        forall|w: nat| start <= w < end ==> (#[trigger] g.at::<C>(m, w) matches Some(x) && fragment.leads(w, x.0)),
        forall|w: nat, pa: nat| #[trigger] fragment.leads(w, pa) ==> keeper.keeps(w, pa),
    ensures
        keeps_gone::<C, Fragment<C>, K>(g, m, m2, a, b, keeper),
{
    assert forall|w: nat| g.s <= w < g.e && a <= w < b implies (#[trigger] g.at::<C>(m, w) matches Some(x) ==> g.at::<C>(m2, w) == Some(x)
        || keeper.keeps(w, x.0)) by {
        let _ = g.at::<C>(m2, w);
    }
}

/// Where all that was still mapped is kept, all is.
pub(super) proof fn lemma_replaced_kept<C: PageTableConfig, T: Gone, K: Keeper<T>>(
    g: Locks,
    m0: Tree,
    m1: Tree,
    a: nat,
    b: nat,
    before: K,
    after: K,
)
    requires
        keeps_gone::<C, T, K>(g, m0, m1, a, b, before),
        keeps_on::<T, K>(before, after),
        forall|w: nat| g.s <= w < g.e && a <= w < b ==> (#[trigger] g.at::<C>(m1, w) matches Some(x) ==> after.keeps(w, x.0)),
    ensures
        keeps_all::<T, K>(after, view::<C>(m0, g.rng()), a, b),
{
    assert forall|w: nat| a <= w < b && #[trigger] view::<C>(m0, g.rng()).dom().contains(w) implies after.keeps(
        w,
        view::<C>(m0, g.rng())[w].0,
    ) by {
        let _ = g.at::<C>(m0, w);
        let _ = g.at::<C>(m1, w);
    }
}

/// An item that was mapped in `m` at the pages `[a, b)` fits, and leads from them to what they mapped.
pub(super) proof fn lemma_item_led<C: PageTableConfig>(g: Locks, m: Tree, va: Vaddr, item: C::Item, a: nat, b: nat)
    requires
        lockable::<C>(g.s as nat, g.e as nat),
        g.s <= a < b <= g.e,
        va.0 == C::va_base() + a * PAGE_SIZE,
        leaf_fits::<C::Consts>(C::raw(item).0, C::raw(item).1),
        b - a == pages(nr::<C>(), (C::raw(item).1 - 1) as nat),
        maps_run::<C>(g, m, a, b, C::raw(item).0 as nat, C::raw(item).2),
    ensures
        item_fits::<C>(va, item),
        forall|w: nat| a <= w < b ==> (#[trigger] g.at::<C>(m, w) matches Some(x) && item_leads::<C>(va, item, w, x.0)),
{
    lemma_item_fits::<C>(g, va, item, a);
    assert((va.0 - C::va_base()) / PAGE_SIZE as int == a);
}

/// An item in a locked range fits.
pub(super) proof fn lemma_item_fits<C: PageTableConfig>(g: Locks, va: Vaddr, item: C::Item, a: nat)
    requires
        lockable::<C>(g.s as nat, g.e as nat),
        va.0 == C::va_base() + a * PAGE_SIZE,
        leaf_fits::<C::Consts>(C::raw(item).0, C::raw(item).1),
        a + pages(nr::<C>(), (C::raw(item).1 - 1) as nat) <= g.e,
    ensures
        item_fits::<C>(va, item),
{
    C::config_ok();
    let n = pages(nr::<C>(), (C::raw(item).1 - 1) as nat);
    let top = C::TOP_HI * pages(nr::<C>(), (C::Consts::levels() - 1) as nat);
    assert(span(nr::<C>(), C::raw(item).1) == PAGE_SIZE * n);
    assert(a + n <= top);
    assert((C::va_base() + a * PAGE_SIZE) % PAGE_SIZE as int == 0);
}

/// Who is asked for the new property of each mapping, before it has it.
///
/// Closures that somebody else brings note what they like, and are not asked about it.
pub trait Recolourer<C: PageTableConfig>: Sized {
    /// It has noted that the property of page `w` changes.
    spec fn notes(self, w: nat) -> bool;

    /// It is what became of `o`: what `o` was lent will come back from it, and it keeps what `o` kept.
    #[verifier::prophetic]
    spec fn follows(self, o: Self) -> bool;

    /// `follows` goes on.
    proof fn lemma_follows(a: Self, b: Self, c: Self)
        ensures
            a.follows(a),
            a.follows(b) && b.follows(c) ==> a.follows(c),
    ;

    /// The new property of the mapping at these addresses; `None`: it stays as it is, and so do those after it.
    fn recolour(&mut self, range: Range<Vaddr>, prop: PageProperty) -> (r: Option<PageProperty>)
        requires
            range.start.0 <= range.end.0,
            range.start.0 % PAGE_SIZE == 0,
        ensures
            final(self).follows(*old(self)),
            forall|w: nat| #[trigger] old(self).notes(w) ==> final(self).notes(w),
            r is Some ==> forall|w: nat| range.start.0 <= C::va_base() + w * PAGE_SIZE < range.end.0 ==> #[trigger] final(self).notes(w),
    ;
}

impl<C: PageTableConfig, F: ProtectEach> Recolourer<C> for F {
    open spec fn notes(self, w: nat) -> bool {
        true
    }

    #[verifier::prophetic]
    open spec fn follows(self, o: Self) -> bool {
        true
    }

    proof fn lemma_follows(a: Self, b: Self, c: Self) {
    }

    #[inline(always)]
    fn recolour(&mut self, range: Range<Vaddr>, prop: PageProperty) -> Option<PageProperty> {
        self.apply(range, prop)
    }
}

/// Pages whose property is another in `map2` than in `map` were noted.
pub open spec fn notes_all<C: PageTableConfig, F: Recolourer<C>>(
    f: F,
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
) -> bool {
    forall|w: nat| #[trigger] map.dom().contains(w) && map2[w] != map[w] ==> f.notes(w)
}

/// It keeps and gathers what it did before.
pub open spec fn keeps_on<T: Gone, K: Keeper<T>>(before: K, after: K) -> bool {
    &&& after.root() == before.root()
    &&& forall|w: nat| #[trigger] before.gathers(w) ==> after.gathers(w)
    &&& forall|w: nat, pa: nat| #[trigger] before.keeps(w, pa) ==> after.keeps(w, pa)
}

/// It keeps what the pages `[a, b)` mapped in `map`.
pub open spec fn keeps_all<T: Gone, K: Keeper<T>>(keeper: K, map: IMap<nat, (nat, PageProperty)>, a: nat, b: nat) -> bool {
    forall|w: nat| a <= w < b && #[trigger] map.dom().contains(w) ==> keeper.keeps(w, map[w].0)
}

/// There is room for `n` things.
pub open spec fn has_room<T: Gone, K: Keeper<T>>(keeper: K, n: nat) -> bool {
    keeper.room() matches Some(room) ==> n <= room
}

/// What a page led to in `map` it leads to in `map2`, or from that page `gone` leads to it.
pub open spec fn leads_lost(
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
    gone: spec_fn(nat, nat) -> bool,
) -> bool {
    forall|w: nat| #[trigger] map.dom().contains(w) ==> (map2.dom().contains(w) && map2[w].0 == map[w].0) || gone(w, map[w].0)
}

/// What a page led to in `map` it leads to in `map2`, or it is kept.
pub open spec fn keeps_lost<T: Gone, K: Keeper<T>>(keeper: K, map: IMap<nat, (nat, PageProperty)>, map2: IMap<nat, (nat, PageProperty)>) -> bool {
    leads_lost(map, map2, |w: nat, pa: nat| keeper.keeps(w, pa))
}

/// What a page led to in `map` it leads to in `map2`.
pub open spec fn leads_alike(map: IMap<nat, (nat, PageProperty)>, map2: IMap<nat, (nat, PageProperty)>) -> bool {
    leads_lost(map, map2, |w: nat, pa: nat| false)
}

/// Where only the pages `[a, b)` changed, and what they mapped is kept, all that was lost is.
pub(super) proof fn lemma_keeps_lost<T: Gone, K: Keeper<T>>(
    keeper: K,
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
    a: nat,
    b: nat,
)
    requires
        map2.remove_keys(between(a, b)) == map.remove_keys(between(a, b)) || map2 == map.remove_keys(between(a, b)),
        keeps_all::<T, K>(keeper, map, a, b),
    ensures
        keeps_lost::<T, K>(keeper, map, map2),
{
    assert forall|w: nat| #[trigger] map.dom().contains(w) implies (map2.dom().contains(w) && map2[w].0 == map[w].0) || keeper.keeps(
        w,
        map[w].0,
    ) by {
        if !(a <= w < b) {
            assert(map.remove_keys(between(a, b)).dom().contains(w));
            assert(map.remove_keys(between(a, b))[w] == map[w]);
            assert(map2.remove_keys(between(a, b)).dom().contains(w) ==> map2.remove_keys(between(a, b))[w] == map2[w]);
        }
    }
}

/// Where the pages `[a, b)` map the same frames, and the others the same, all lead where they did.
pub(super) proof fn lemma_leads_alike(map: IMap<nat, (nat, PageProperty)>, map2: IMap<nat, (nat, PageProperty)>, a: nat, b: nat)
    requires
        map2.dom() == map.dom(),
        map2.remove_keys(between(a, b)) == map.remove_keys(between(a, b)),
        forall|w: nat| a <= w < b ==> #[trigger] map2.dom().contains(w) && map2[w].0 == map[w].0,
    ensures
        leads_alike(map, map2),
{
    assert forall|w: nat| #[trigger] map.dom().contains(w) implies map2.dom().contains(w) && map2[w].0 == map[w].0 by {
        if !(a <= w < b) {
            assert(map.remove_keys(between(a, b))[w] == map[w]);
            assert(map2.remove_keys(between(a, b))[w] == map2[w]);
        }
    }
}

/// No property changed but of pages in the range.
pub open spec fn changes_within<C: PageTableConfig>(
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
    range: Range<Vaddr>,
) -> bool {
    forall|w: nat| #[trigger]
        map.dom().contains(w) && map2[w] != map[w] ==> range.start.0 <= C::va_base() + w * PAGE_SIZE < range.end.0
}

/// Where only the pages `[a, b)` changed, these are the addresses.
pub(super) proof fn lemma_changes_within<C: PageTableConfig>(
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
    a: nat,
    b: nat,
    range: Range<Vaddr>,
)
    requires
        map2.dom() == map.dom(),
        map2.remove_keys(between(a, b)) == map.remove_keys(between(a, b)),
        range.start.0 == C::va_base() + a * PAGE_SIZE,
        range.end.0 == C::va_base() + b * PAGE_SIZE,
    ensures
        changes_within::<C>(map, map2, range),
{
    assert forall|w: nat| #[trigger] map.dom().contains(w) && map2[w] != map[w] implies range.start.0 <= C::va_base() + w * PAGE_SIZE
        < range.end.0 by {
        if !(a <= w < b) {
            assert(map.remove_keys(between(a, b))[w] == map[w]);
            assert(map2.remove_keys(between(a, b))[w] == map2[w]);
        }
    }
}

/// An item that was mapped at `va` led from page `w` to the frame at `pa`.
pub open spec fn item_leads<C: PageTableConfig>(va: Vaddr, item: C::Item, w: nat, pa: nat) -> bool {
    let (start, l, _) = C::raw(item);
    let first = (va.0 - C::va_base()) / PAGE_SIZE as int;
    first <= w < first + pages(nr::<C>(), (l - 1) as nat) && pa == start + PAGE_SIZE * (w - first)
}

/// An item that was mapped at `va` ends before the address space does.
pub open spec fn item_fits<C: PageTableConfig>(va: Vaddr, item: C::Item) -> bool {
    let (start, l, _) = C::raw(item);
    &&& C::va_base() <= va.0 && va.0 % PAGE_SIZE == 0
    &&& leaf_fits::<C::Consts>(start, l)
    &&& va.0 + span(nr::<C>(), l) <= usize::MAX
}

impl<C: PageTableConfig> Gone for Fragment<C> {
    open spec fn leads(self, w: nat, pa: nat) -> bool {
        match self {
            Fragment::Leaf { va, item, .. } => item_leads::<C>(va, item, w, pa),
            Fragment::Node(node) => node.leads(w, pa),
        }
    }

    open spec fn fits(self) -> bool {
        match self {
            Fragment::Leaf { va, item, .. } => item_fits::<C>(va, item),
            Fragment::Node(_) => true,
        }
    }

    open spec fn size(self) -> nat {
        if self is Leaf { 1 } else { 0 }
    }
}

/// A base page that another one replaced, and where it was mapped.
pub struct Displaced<C: PageTableConfig> {
    /// The first address that it mapped.
    pub va: Vaddr,
    /// What was mapped.
    pub replaced: Replaced<C::Item>,
}

impl<C: PageTableConfig> Gone for Displaced<C> {
    open spec fn leads(self, w: nat, pa: nat) -> bool {
        item_leads::<C>(self.va, self.replaced.item, w, pa)
    }

    open spec fn fits(self) -> bool {
        item_fits::<C>(self.va, self.replaced.item) && C::raw(self.replaced.item).1 == 1
    }

    open spec fn size(self) -> nat {
        1
    }
}

/// A sink that somebody else brings, in the place of a keeper: it keeps what it likes, and is not asked about it.
pub struct BySink<'s, S> {
    /// The sink.
    pub sink: &'s mut S,
}

impl<C: PageTableConfig, S: FragmentSink<C>> Keeper<Fragment<C>> for BySink<'_, S> {
    open spec fn root(self) -> nat {
        0
    }

    open spec fn keeps(self, w: nat, pa: nat) -> bool {
        true
    }

    open spec fn gathers(self, w: nat) -> bool {
        true
    }

    open spec fn room(self) -> Option<nat> {
        None
    }

    #[inline(always)]
    fn counts(&self) -> bool {
        false
    }

    #[inline(always)]
    fn make_room(&mut self, n: usize) -> bool {
        true
    }

    #[inline(always)]
    fn keep(&mut self, what: Fragment<C>) {
        self.sink.take(what);
    }
}

impl<C: PageTableConfig, S: ReplacedSink<C::Item>> Keeper<Displaced<C>> for BySink<'_, S> {
    open spec fn root(self) -> nat {
        0
    }

    open spec fn keeps(self, w: nat, pa: nat) -> bool {
        true
    }

    open spec fn gathers(self, w: nat) -> bool {
        true
    }

    open spec fn room(self) -> Option<nat> {
        None
    }

    #[inline(always)]
    fn counts(&self) -> bool {
        false
    }

    #[inline(always)]
    fn make_room(&mut self, n: usize) -> bool {
        true
    }

    #[inline(always)]
    fn keep(&mut self, what: Displaced<C>) {
        let Displaced { va, replaced } = what;
        self.sink.take(va, replaced);
    }
}

} // verus!
