//! What cursors do to whole ranges.
#![expect(unsafe_code, reason = "takes runs apart and puts them together again, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
#[cfg(verus_keep_ghost)]
use super::config::*;
use super::cursor::*;
#[cfg(verus_keep_ghost)]
use super::cut::*;
use super::entry::*;
use super::error::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::keeper::*;
use super::near::*;
#[cfg(verus_keep_ghost)]
use super::ops::*;
use super::run::*;
use super::session::*;
#[cfg(verus_keep_ghost)]
use super::spec::*;
#[cfg(verus_keep_ghost)]
use super::take::TakenLeaf;
#[cfg(verus_keep_ghost)]
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::unmap::lemma_nr_split;
#[cfg(verus_keep_ghost)]
use super::walk::*;
use core::ops::Range;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// Where the mappings go that [`CursorMut::map_range`] replaces.
pub trait ReplacedSink<I> {
    /// Takes the mapping that was at `va`; it is to be kept until the translation caches have forgotten it.
    fn take(&mut self, va: Vaddr, replaced: Replaced<I>);
}

#[verifier::external]
impl<I, F: FnMut(Vaddr, Replaced<I>)> ReplacedSink<I> for F {
    #[inline(always)]
    fn take(&mut self, va: Vaddr, replaced: Replaced<I>) {
        self(va, replaced);
    }
}

/// What a closure does to each mapping in [`CursorMut::protect`].
pub trait ProtectEach {
    /// The new property of the mapping at these addresses; `None`: it stays as it is, and so do those after it.
    fn apply(&mut self, range: Range<Vaddr>, prop: PageProperty) -> Option<PageProperty>;
}

#[verifier::external]
impl<F: FnMut(Range<Vaddr>, PageProperty) -> Option<PageProperty>> ProtectEach for F {
    #[inline(always)]
    fn apply(&mut self, range: Range<Vaddr>, prop: PageProperty) -> Option<PageProperty> {
        self(range, prop)
    }
}

/// How many of the pages `[a, b)` are mapped.
pub open spec fn nr_mapped(map: IMap<nat, (nat, PageProperty)>, a: nat, b: nat) -> nat
    decreases b,
{
    if b <= a {
        0
    } else {
        nr_mapped(map, a, (b - 1) as nat) + if map.dom().contains((b - 1) as nat) { 1nat } else { 0nat }
    }
}

/// Where all pages are mapped, or none, they count so.
pub(super) proof fn lemma_nr_mapped(map: IMap<nat, (nat, PageProperty)>, a: nat, b: nat, c: nat, all: bool)
    requires
        a <= b <= c,
        forall|w: nat| b <= w < c ==> #[trigger] map.dom().contains(w) == all,
    ensures
        nr_mapped(map, a, c) == nr_mapped(map, a, b) + if all { (c - b) as nat } else { 0nat },
    decreases c,
{
    if c > b {
        lemma_nr_mapped(map, a, b, (c - 1) as nat, all);
    }
}

/// In `m2` the pages `[a, b)` map where they did in `m`, all others also how they did.
pub(super) open spec fn recoloured<C: PageTableConfig>(map: IMap<nat, (nat, PageProperty)>, map2: IMap<nat, (nat, PageProperty)>, a: nat, b: nat) -> bool {
    &&& map2.dom() == map.dom()
    &&& forall|w: nat| #[trigger] map.dom().contains(w) ==> map2[w].0 == map[w].0 && (map2[w] == map[w] || a <= w < b)
}

impl<C: RunConfig> Session<C> {
    pub(super) fn map_range<S: Keeper<Displaced<C>>>(&mut self, run: C::Run, sink: &mut S) -> (r: Result<(), MapError<C::Run>>)
        requires
            C::raw_run(run).1 <= old(self).g.e - old(self).v ==> has_room::<Displaced<C>, S>(
                *old(sink),
                nr_mapped(old(self).mapped(), old(self).v as nat, (old(self).v + C::raw_run(run).1) as nat),
            ),
        ensures
            final(self).g == old(self).g,
            keeps_on::<Displaced<C>, S>(*old(sink), *final(sink)),
            match r {
                Ok(()) => {
                    let (pa, n, prop) = C::raw_run(run);
                    let b = between(old(self).v as nat, (old(self).v + n) as nat);
                    &&& final(self).v == old(self).v + n
                    &&& forall|w: nat|
                        old(self).v <= w < old(self).v + n ==> #[trigger] final(self).mapped().contains_pair(
                            w,
                            ((pa + PAGE_SIZE * (w - old(self).v)) as nat, prop),
                        )
                    &&& final(self).mapped().remove_keys(b) == old(self).mapped().remove_keys(b)
                    &&& keeps_all::<Displaced<C>, S>(*final(sink), old(self).mapped(), old(self).v as nat, final(self).v as nat)
                },
                Err(e) => final(self).mapped() == old(self).mapped() && final(self).v == old(self).v && C::raw_run(e.item) == C::raw_run(run),
            },
    {
        proof {
            use_type_invariant(&*self);
        }
        let (pa, n, prop, tok) = C::run_into_raw(run);
        let start = self.v;
        let ghost m0 = self.tree@;
        if n > self.g.e - start || !C::Entry::can_hold(prop) {
            let error = if C::Entry::can_hold(prop) {
                PageTableError::OutOfRange { va: self.va() }
            } else {
                PageTableError::Unrepresentable { prop }
            };
            // SAFETY: these are the parts of the run.
            return Err(MapError { error, item: unsafe { C::run_from_raw(pa, n, prop, tok) } });
        }
        let end = start + n;
        self.near = Near::none::<C>();
        if !make_leaf_nodes::<C>(&self.g, Tracked(self.tree.borrow_mut()), start, end) {
            proof {
                lemma_same_view::<C>(self.g, m0, self.tree@);
            }
            // SAFETY: these are the parts of the run.
            return Err(MapError { error: PageTableError::NoMemory, item: unsafe { C::run_from_raw(pa, n, prop, tok) } });
        }
        proof {
            lemma_filled_none::<C>(self.g, m0, self.tree@, start as nat, pa, prop);
            assert(PAGE_SIZE * 0 == 0);
        }
        let mut tok = tok;
        while self.v < end
            invariant
                self.wf(),
                self.near.is_none::<C>(),
                self.g == old(self).g,
                m0 == old(self).tree@,
                start == old(self).v,
                self.g.s <= start <= self.v <= end == start + n <= self.g.e,
                run_fits(pa, n as nat),
                C::Entry::holds(prop),
                C::run_ok(tok@, (pa + PAGE_SIZE * (self.v - start)) as usize, (end - self.v) as nat),
                has_leaf_nodes::<C>(self.tree@, start as nat, end as nat),
                is_filled::<C>(self.g, m0, self.tree@, start as nat, self.v as nat, pa, prop),
                keeps_on::<Displaced<C>, S>(*old(sink), *sink),
                keeps_all::<Displaced<C>, S>(*sink, old(self).mapped(), start as nat, self.v as nat),
                has_room::<Displaced<C>, S>(*sink, nr_mapped(old(self).mapped(), self.v as nat, end as nat)),
            decreases end - self.v,
        {
            let ghost m1 = self.tree@;
            let ghost before = *sink;
            let v = self.v;
            proof {
                lemma_run_tail(pa, n as nat, (v - start) as nat);
            }
            let a = pa + PAGE_SIZE * (v - start);
            let (next, old) = fill_next::<C>(&self.g, Tracked(self.tree.borrow_mut()), v, end, a, prop, &mut tok);
            proof {
                lemma_filled_more::<C>(self.g, m0, m1, self.tree@, start as nat, v as nat, next as nat, pa, prop);
                lemma_one_displaced::<C>(self.g, m0, m1, start as nat, v as nat, next as nat, end as nat, pa, prop, old);
            }
            self.v = next;
            if let Some(t) = old {
                proof {
                    lemma_run_tail(pa, n as nat, (next - start) as nat);
                }
                // SAFETY: these are the pages of the run that are left.
                let rest = unsafe { C::run_from_raw(pa + PAGE_SIZE * (next - start), end - next, prop, tok) };
                let ad = C::Entry::accessed_dirty(t.word);
                let va = va_of::<C>(t.start);
                let ghost (a, b) = (t.start as nat, t.end as nat);
                // Should it panic, the rest of the run is dropped, and what is mapped so far stays.
                let item = Self::item_of(t);
                proof {
                    lemma_pre_zero(nr::<C>(), 0);
                    lemma_item_led::<C>(self.g, m1, va, item, a, b);
                }
                let displaced = Displaced { va, replaced: Replaced { item, ad } };
                let ghost gone = displaced;
                sink.keep(displaced);
                proof {
                    let x = self.g.at::<C>(m1, a)->0;
                    assert(gone.leads(a, x.0));
                    assert(sink.keeps(a, x.0));
                }
                tok = C::run_into_raw(rest).3;
            }
            proof {
                let map = view::<C>(m0, self.g.rng());
                assert forall|w: nat| start <= w < next && #[trigger] map.dom().contains(w) implies sink.keeps(w, map[w].0) by {
                    let _ = self.g.at::<C>(m0, w);
                    let _ = self.g.at::<C>(m1, w);
                    assert(w < v ==> before.keeps(w, map[w].0));
                }
            }
        }
        proof {
            lemma_view_filled::<C>(self.g, m0, self.tree@, start as nat, end as nat, pa, prop);
        }
        Ok(())
    }
}

/// One step of a run displaces one page at most, which was counted.
proof fn lemma_one_displaced<C: PageTableConfig>(
    g: Locks,
    m0: Tree,
    m1: Tree,
    a: nat,
    v: nat,
    next: nat,
    end: nat,
    pa: usize,
    prop: PageProperty,
    old: Option<TakenLeaf>,
)
    requires
        is_filled::<C>(g, m0, m1, a, v, pa, prop),
        g.s <= a <= v < next <= end <= g.e,
        match old {
            Some(t) => t.start == next - 1 && g.at::<C>(m1, t.start as nat) is Some && g.nothing_in::<C>(m1, v, t.start as nat),
            None => g.nothing_in::<C>(m1, v, next),
        },
    ensures
        ({
            let map = view::<C>(m0, g.rng());
            nr_mapped(map, v, end) == nr_mapped(map, next, end) + if old is Some { 1nat } else { 0nat }
        }),
{
    let map = view::<C>(m0, g.rng());
    let p = if old is Some { (next - 1) as nat } else { next };
    assert forall|w: nat| v <= w < p implies #[trigger] map.dom().contains(w) == false by {
        let _ = g.at::<C>(m0, w);
        let _ = g.at::<C>(m1, w);
    }
    lemma_nr_mapped(map, v, v, p, false);
    if old is Some {
        assert(map.dom().contains(p)) by {
            let _ = g.at::<C>(m0, p);
            let _ = g.at::<C>(m1, p);
        }
    }
    lemma_nr_split(map, v, next, end);
}

/// Pages that are not mapped do not count.
pub(super) proof fn lemma_none_mapped<C: PageTableConfig>(g: Locks, m: Tree, map: IMap<nat, (nat, PageProperty)>, a: nat, b: nat, c: nat)
    requires
        g.nothing_in::<C>(m, b, c),
        a <= b <= c,
        g.s <= b,
        c <= g.e,
        map.dom() == view::<C>(m, g.rng()).dom(),
    ensures
        nr_mapped(map, a, c) == nr_mapped(map, a, b),
{
    assert forall|w: nat| b <= w < c implies #[trigger] map.dom().contains(w) == false by {
        assert(g.at::<C>(m, w) is None);
        assert(!view::<C>(m, g.rng()).dom().contains(w));
    }
    lemma_nr_mapped(map, a, b, c, false);
}

} // verus!
