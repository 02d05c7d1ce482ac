//! Looking an address up without a lock.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
use super::config::*;
use super::entry::*;
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::life::*;
#[cfg(verus_keep_ghost)]
use super::lock::*;
use super::node::*;
use super::protocol::*;
use super::table::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
use super::way::*;
use super::world::World;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// What an address translates to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address of the very byte.
    pub paddr: Paddr,
    /// What may be done with the page.
    pub prop: PageProperty,
    /// The level of the page: 1 for a base page.
    pub level: u8,
}

/// The page of an address, if a table of this use can have it.
#[inline(always)]
fn page_of<C: PageTableConfig>(va: Vaddr) -> (r: Option<usize>)
    ensures
        r matches Some(v) ==> lockable::<C>(v as nat, (v + 1) as nat) && C::va_base() + v * PAGE_SIZE <= va.0 < C::va_base() + v * PAGE_SIZE
            + PAGE_SIZE,
    no_unwind
{
    if va.0 < C::va_base() {
        return None;
    }
    let (start, end) = whole_table::<C>();
    let v = (va.0 - C::va_base()) / PAGE_SIZE;
    if v < start || v >= end {
        return None;
    }
    Some(v)
}

/// The byte of a page of level `l` at which page `v` of the table lies in it.
#[inline(always)]
pub(super) fn offset_of<C: PageTableConfig>(v: usize, l: u8) -> (r: usize)
    requires
        1 <= l <= 5,
        v < 0x2000_0000_0000,
    ensures
        r == PAGE_SIZE * low(nr::<C>(), v as nat, (l - 1) as nat),
    no_unwind
{
    proof {
        C::Consts::consts_ok();
        lemma_digits(nr::<C>(), v as nat, (l - 1) as nat);
    }
    let (above, n) = (prefix::<C::Consts>(v, l - 1), pages_below::<C::Consts>(l - 1));
    assert(above * n <= v);
    (v - above * n) * PAGE_SIZE
}

/// Goes down to the entry that decides about page `v`: what it maps, and at which level.
#[inline(always)]
pub(super) fn look_up<C: PageTableConfig>(w: &World, Tracked(r): Tracked<&Nodes::reader>, top: Way, v: usize) -> (o: Option<(usize, PageProperty, u8)>)
    requires
        top.ok::<C>(*w, *r, v, (v + 1) as usize),
        v + 1 <= usize::MAX,
        lockable::<C>(v as nat, (v + 1) as nat),
    ensures
        o matches Some(x) ==> 1 <= x.2 <= C::Consts::levels() <= 5,
    no_unwind
{
    let mut at = top;
    loop
        invariant
            at.ok::<C>(*w, *r, v, (v + 1) as usize),
            v + 1 <= usize::MAX,
            lockable::<C>(v as nat, (v + 1) as nat),
        decreases at.l,
    {
        let l = at.l;
        let i = entry_index::<C::Consts>(v, l);
        proof {
            at.lemma_entry::<C>(*w, *r, v, (v + 1) as usize, i);
        }
        let (word, kid) = read_link::<C>(w, at.pa, i, Tracked(r), Tracked(at.prot.borrow()), Tracked(at.info.borrow()));
        proof {
            C::Entry::levels(word, l as nat);
        }
        match C::Entry::decode(word, l) {
            Pte::Absent => return None,
            Pte::Leaf(pa, prop) => return Some((pa, prop, l)),
            Pte::Table(c) => {
                let tracked (prot, info) = kid.get().tracked_unwrap();
                at = at.below::<C>(Ghost(*w), Ghost(*r), v, v + 1, i, c, Tracked(prot), Tracked(info));
            },
        }
    }
}

impl<C: PageTableConfig> PageTable<C> {
    /// Looks an address up without a lock: it waits for nobody, and nobody waits for it. `None` where nothing is mapped.
    ///
    /// What it says was in an entry of the table at some moment of the call, and may have changed when it returns: the
    /// frame may belong to somebody else by then. See [`cursor`](Self::cursor) to look at what stays, and for an item
    /// with a count of its own.
    ///
    /// # Guarantees
    ///
    /// Each node on the way was linked in the one above when that was read, and its frame was the node's until the
    /// last read.
    // Inlined: what of the answer the caller does not ask for is not made.
    #[inline(always)]
    pub fn translate(&self, va: Vaddr) -> (r: Option<Translation>)
        ensures
            r matches Some(t) ==> 1 <= t.level <= C::Consts::levels(),
    {
        let v = page_of::<C>(va)?;
        proof {
            C::Consts::consts_ok();
            lemma_range_lockable::<C>(Rng { top: C::Consts::levels() as nat, s: v as nat, e: (v + 1) as nat });
        }
        let (pa, prop, level) = self.look(v)?;
        let within = offset_of::<C>(v, level) + va.0 % PAGE_SIZE;
        // A page ends within physical memory: nothing wraps.
        Some(Translation { paddr: Paddr(pa.wrapping_add(within)), prop, level })
    }
}

} // verus!
