//! What cursors of page tables take out, kept for the flush that it waits for.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::audience::Audience;
#[cfg(verus_keep_ghost)]
use super::audience::page_number;
use super::flusher::Shootdown;
use super::op::TlbFlushOp;
use super::pile::Kept;
#[cfg(verus_keep_ghost)]
use crate::page_table::PageProperty;
#[cfg(verus_keep_ghost)]
use crate::page_table::config::nr;
#[cfg(verus_keep_ghost)]
use crate::page_table::geometry::{lemma_pre_zero, pages, span};
use crate::page_table::keeper::{Displaced, Gone, Keeper};
#[cfg(verus_keep_ghost)]
use crate::page_table::keeper::{item_fits, item_leads, keeps_lost, keeps_on};
use crate::page_table::user::RootPart;
use crate::page_table::{
    AccessedDirty, Fragment, FramesPt, MappedItem, PageTableConfig, PageTableEntry, PagingConsts,
};
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::Change;
#[cfg(verus_keep_ghost)]
use vellum_machine::tlb::pages_in;
use vstd::prelude::*;

verus! {

/// A use of page tables whose items say how large they are.
pub trait Measured: PageTableConfig + Sized {
    /// The bytes that an item is mapped at.
    fn bytes_of(item: &Self::Item) -> (r: usize)
        ensures
            r == span(nr::<Self>(), Self::raw(*item).1),
    ;
}

impl<G: PagingConsts, E: PageTableEntry<G>, W: RootPart<G>> Measured for FramesPt<G, E, W> {
    #[inline(always)]
    fn bytes_of(item: &MappedItem<G>) -> (r: usize) {
        item.frames.size()
    }
}

/// How an entry was changed in which this was noted: where all is, by a store.
#[inline(always)]
pub(crate) fn change_of(ad: AccessedDirty) -> Change
    no_unwind
{
    if ad.accessed && ad.dirty { Change::Store } else { Change::Exchange }
}

/// What a cursor of a table takes out, as a flusher keeps it.
pub trait Keepable<C: PageTableConfig>: Gone + Sized {
    /// Returns the flush that it waits for, what is kept until then, and how it was taken out.
    fn into_kept(self) -> (r: (TlbFlushOp, Kept<C>, Change))
        requires
            self.fits(),
        ensures
            r.1.size() == self.size(),
            forall|w: nat, pa: nat| #[trigger]
                self.leads(w, pa) ==> r.1.leads(w, pa) && r.0.pages().contains(page_number::<C>(w)),
    ;
}

impl<C: Measured> Keepable<C> for Fragment<C> {
    #[inline(always)]
    fn into_kept(self) -> (TlbFlushOp, Kept<C>, Change) {
        match self {
            Fragment::Leaf { va, item, ad } => {
                let range = va..Vaddr(va.0 + C::bytes_of(&item));
                let op = covering(range);
                proof {
                    lemma_covered::<C>(va, item, op);
                    assert forall|w: nat, pa: nat| #[trigger] self.leads(w, pa) implies Kept::<C>::Item(item).leads(w, pa)
                        && op.pages().contains(page_number::<C>(w)) by {
                        assert(item_leads::<C>(va, item, w, pa));
                    }
                }
                (op, Kept::Item(item), change_of(ad))
            },
            // Also if nothing was mapped in it: a processor may keep the address of the node itself.
            Fragment::Node(node) => {
                let op = TlbFlushOp::Range(node.va_range());
                proof {
                    lemma_page_numbers::<C>();
                    let pages = op.pages();
                    assert forall|w: nat, pa: nat| #[trigger] self.leads(w, pa) implies Kept::<C>::Node(node).leads(w, pa)
                        && pages.contains(page_number::<C>(w)) by {
                        assert(node.leads(w, pa));
                    }
                }
                // By the exchange of its link.
                (op, Kept::Node(node), Change::Exchange)
            },
        }
    }
}

impl<C: PageTableConfig> Keepable<C> for Displaced<C> {
    #[inline(always)]
    fn into_kept(self) -> (TlbFlushOp, Kept<C>, Change) {
        let Displaced { va, replaced } = self;
        let op = TlbFlushOp::Addr(va);
        proof {
            lemma_pre_zero(nr::<C>(), 0);
            lemma_covered::<C>(va, replaced.item, op);
        }
        (op, Kept::Item(replaced.item), change_of(replaced.ad))
    }
}

impl<A: Audience, T: Keepable<A::Config>> Keeper<T> for Shootdown<A> {
    open spec fn root(self) -> nat {
        Shootdown::root(self)
    }

    open spec fn keeps(self, w: nat, pa: nat) -> bool {
        Shootdown::keeps(self, w, pa)
    }

    open spec fn gathers(self, w: nat) -> bool {
        Shootdown::gathers(self, w)
    }

    open spec fn room(self) -> Option<nat> {
        Some(Shootdown::room(self))
    }

    #[inline(always)]
    fn counts(&self) -> bool {
        true
    }

    #[inline(always)]
    fn make_room(&mut self, n: usize) -> bool {
        self.reserve(n)
    }

    #[inline(always)]
    fn keep(&mut self, what: T) {
        let ghost gone = what;
        let (op, kept, change) = what.into_kept();
        let ghost (has, pages) = (kept, op.pages());
        Shootdown::keep(self, op, kept, change);
        proof {
            assert forall|w: nat, pa: nat| #[trigger] gone.leads(w, pa) implies Shootdown::keeps(*self, w, pa) by {
                assert(has.leads(w, pa) && pages.contains(page_number::<A::Config>(w)));
            }
        }
    }
}

impl<A: Audience> Shootdown<A> {
    /// Gathers the flush of a range in which something changes.
    ///
    /// Before the change, so that nothing between them can lose it.
    #[inline(always)]
    pub(crate) fn note_change(&mut self, range: Range<Vaddr>)
        requires
            range.start.0 <= range.end.0,
            range.start.0 % PAGE_SIZE == 0,
        ensures
            final(self).keeps_on(*old(self)),
            forall|w: nat|
                range.start.0 <= A::Config::va_base() + w * PAGE_SIZE < range.end.0 ==> #[trigger] final(self).gathers(w),
    {
        let op = covering(range);
        proof {
            lemma_page_numbers::<A::Config>();
            let pages = op.pages();
            assert forall|w: nat| range.start.0 <= A::Config::va_base() + w * PAGE_SIZE < range.end.0 implies pages.contains(
                #[trigger] page_number::<A::Config>(w),
            ) by {}
        }
        self.issue(op);
    }
}

/// What a page led to in `map` it leads to in `map2`, or it is kept.
pub open spec fn all_kept<A: Audience>(
    shootdown: Shootdown<A>,
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
) -> bool {
    forall|w: nat| #[trigger]
        map.dom().contains(w) ==> (map2.dom().contains(w) && map2[w].0 == map[w].0) || shootdown.keeps(w, map[w].0)
}

/// What a cursor of the table said of what it handed over, in the words of the flusher.
pub proof fn lemma_kept<A: Audience, T: Keepable<A::Config>>(
    before: Shootdown<A>,
    after: Shootdown<A>,
    map: IMap<nat, (nat, PageProperty)>,
    map2: IMap<nat, (nat, PageProperty)>,
)
    requires
        keeps_on::<T, Shootdown<A>>(before, after),
        keeps_lost::<T, Shootdown<A>>(after, map, map2),
    ensures
        after.keeps_on(before),
        all_kept(after, map, map2),
{
    assert forall|w: nat, pa: nat| #[trigger] before.keeps(w, pa) implies after.keeps(w, pa) by {
        assert(Keeper::<T>::keeps(before, w, pa));
    }
    assert forall|w: nat| #[trigger] before.gathers(w) implies after.gathers(w) by {
        assert(Keeper::<T>::gathers(before, w));
    }
}

/// Where the pages of a table are.
pub proof fn lemma_page_numbers<C: PageTableConfig>()
    ensures
        forall|w: nat| (#[trigger] page_number::<C>(w)) * PAGE_SIZE == C::va_base() + w * PAGE_SIZE,
{
    C::config_ok();
}

/// Where a flush has all pages of an item, it has every page from which the item led to a frame, and the item has the frame.
pub proof fn lemma_covered<C: PageTableConfig>(va: Vaddr, item: C::Item, op: TlbFlushOp)
    requires
        item_fits::<C>(va, item),
        forall|p: nat| va.0 <= p * PAGE_SIZE < va.0 + span(nr::<C>(), C::raw(item).1) ==> #[trigger] op.pages().contains(p),
    ensures
        forall|w: nat, pa: nat| #[trigger]
            item_leads::<C>(va, item, w, pa) ==> op.pages().contains(page_number::<C>(w)) && Kept::<C>::Item(item).leads(w, pa),
{
    lemma_page_numbers::<C>();
    C::config_ok();
    let (start, l, _) = C::raw(item);
    let n = pages(nr::<C>(), (l - 1) as nat);
    assert(span(nr::<C>(), l) == PAGE_SIZE * n);
    assert forall|w: nat, pa: nat| #[trigger] item_leads::<C>(va, item, w, pa) implies op.pages().contains(page_number::<C>(w))
        && Kept::<C>::Item(item).leads(w, pa) by {
        let first = (va.0 - C::va_base()) / PAGE_SIZE as int;
        assert(page_number::<C>(w) * PAGE_SIZE == va.0 + PAGE_SIZE * (w - first));
    }
}

/// The flush of a range of whole pages.
#[inline(always)]
pub(crate) fn covering(range: Range<Vaddr>) -> (op: TlbFlushOp)
    requires
        range.start.0 <= range.end.0,
        range.start.0 % PAGE_SIZE == 0,
    ensures
        forall|p: nat| range.start.0 <= p * PAGE_SIZE < range.end.0 ==> #[trigger] op.pages().contains(p),
{
    if range.end.0 - range.start.0 == PAGE_SIZE {
        TlbFlushOp::Addr(range.start)
    } else {
        TlbFlushOp::Range(range)
    }
}

} // verus!

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_both_bits_was_stored_to() {
        for (accessed, dirty) in [(false, false), (true, false), (false, true), (true, true)] {
            let change = change_of(AccessedDirty { accessed, dirty });
            assert_eq!(change == Change::Store, accessed && dirty);
        }
    }
}
