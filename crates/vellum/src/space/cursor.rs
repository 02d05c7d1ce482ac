//! Locked ranges of a space.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::error::VmSpaceError;
use super::vm_space::VmSpace;
use crate::page_table::hoard::FEW;
use crate::page_table::keeper::Recolourer;
#[cfg(verus_keep_ghost)]
use crate::page_table::keeper::{Displaced, changes_within, item_fits, item_leads};
#[cfg(verus_keep_ghost)]
use crate::page_table::user::lemma_user_base;
use crate::page_table::{
    self, AccessType, MappedItem, MappedRange, PageProperty, PageTableError, Peeked, ProtectOp, UserPtConfig,
};
#[cfg(verus_keep_ghost)]
use crate::page_table::{Fragment, NativeEntry, NativeShape, PageTableConfig};
use crate::tlb::active::ActiveSet;
use crate::tlb::{FlushOwed, Flushed, Flushing, Kept, Shootdown, TlbFlusher, change_of, covering};
#[cfg(verus_keep_ghost)]
use crate::tlb::{TlbFlushOp, lemma_covered, lemma_kept, page_number};
use core::fmt;
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{PreemptGuard, disable_preempt};
use vellum_machine::tlb;
use vstd::prelude::*;

verus! {

/// The addresses that one entry covers, what is mapped there, and what hardware noted of its use.
pub type Slot = page_table::Slot<UserPtConfig>;

/// Whether a mapping of a space can have a property.
#[inline(always)]
fn is_for_space(prop: PageProperty) -> bool {
    prop.user && !prop.global
}

/// Why a mapping at `va` cannot have a property.
#[cold]
fn refusal(prop: PageProperty, va: Vaddr) -> VmSpaceError {
    if prop.global { VmSpaceError::Global { va } } else { VmSpaceError::NotForUser { va } }
}

/// A locked range of a space, and a position in it.
///
/// While it lives, nobody else changes what is mapped in the range, and the code that holds it stays on its
/// processor and must not touch user memory that could fault.
#[must_use = "the range is unlocked when the cursor is dropped"]
pub struct Cursor<'a> {
    inner: page_table::Cursor<'a, UserPtConfig>,
    _preempt: PreemptGuard,
}

/// A locked range of a space to be changed, and a position in it.
///
/// As [`Cursor`]. Dropping it unlocks the range, then flushes what was issued to its [flusher](Self::flusher)
/// or is owed, waits until every processor on which the space is active has flushed, and releases what was
/// unmapped.
///
/// So between the unlocking and the flush others can lock the range while some processor still goes by an old
/// translation. Who must not let them, say because the next to come copies a page that nobody may write any
/// more, has a lock of its own around both, and holds it until [`finish`](Self::finish) has returned.
///
/// # Guarantees
/// A frame that was unmapped or replaced is released after every processor that could have its translation
/// has flushed.
#[must_use = "the range is unlocked when the cursor is dropped"]
pub struct CursorMut<'a> {
    // In this order: what comes first is dropped first, so that nobody waits for other processors with the
    // range locked.
    inner: page_table::CursorMut<'a, UserPtConfig>,
    _preempt: PreemptGuard,
    flushing: Flushing<'a>,
}

/// A mapping that was not made; the item comes back.
pub struct MapError {
    /// Why.
    pub error: VmSpaceError,
    /// What was to be mapped.
    pub item: MappedItem,
}

impl MapError {
    fn new(refused: page_table::MapError<MappedItem>) -> MapError {
        MapError { error: VmSpaceError::from(refused.error), item: refused.item }
    }
}

/// Frames that were not mapped; they come back.
pub struct MapRangeError {
    /// Why.
    pub error: VmSpaceError,
    /// What was to be mapped.
    pub range: MappedRange,
}

/// A mapping whose property was changed.
#[must_use = "other processors may go on with the old property until what is owed is paid"]
#[verifier::external_derive]
#[derive(PartialEq, Eq, Debug)]
pub struct Protected {
    /// The addresses of the mapping.
    pub range: Range<Vaddr>,
    /// The flush that the change needs: [pay](TlbFlusher::pay) it, or [waive](TlbFlusher::waive) it.
    pub owed: FlushOwed,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(space: &'a VmSpace, range: Range<Vaddr>) -> Result<Self, VmSpaceError> {
        let preempt = disable_preempt();
        Ok(Cursor { inner: space.table.cursor(range)?, _preempt: preempt })
    }
}

impl<'a> CursorMut<'a> {
    /// The page at which it is.
    pub closed spec fn at(self) -> nat {
        self.inner.at()
    }

    /// What the range maps: page number to physical address and property.
    pub closed spec fn mapped(self) -> IMap<nat, (nat, PageProperty)> {
        self.inner.mapped()
    }

    /// It keeps the frame at `pa` until no processor translates page `w` of the space by what it read before the frame was
    /// handed over.
    pub closed spec fn keeps(self, w: nat, pa: nat) -> bool {
        self.flushing.keeps(w, pa)
    }

    /// The flush of page `w` was issued, and is not yet done.
    pub closed spec fn gathers(self, w: nat) -> bool {
        self.flushing.gathers(w)
    }

    /// What it locks is of the table with this root, and so is what it flushes.
    pub closed spec fn is_of(self, root: nat) -> bool {
        self.inner.root() == root && self.flushing.root() == root
    }

    /// It is of the same space as in `o`. What a page led to then, it leads to now, or it is kept; and what was kept then.
    pub open spec fn goes_on(self, o: Self) -> bool {
        &&& forall|root: nat| #[trigger] o.is_of(root) ==> self.is_of(root)
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> self.keeps(w, pa)
        &&& forall|w: nat| #[trigger] o.gathers(w) ==> self.gathers(w)
        &&& forall|w: nat| #[trigger]
            o.mapped().dom().contains(w) ==> (self.mapped().dom().contains(w) && self.mapped()[w].0 == o.mapped()[w].0) || self.keeps(
                w,
                o.mapped()[w].0,
            )
    }

    /// What goes on after it went on goes on.
    proof fn lemma_goes_on(self, b: Self, a: Self)
        requires
            self.goes_on(b),
            b.goes_on(a),
        ensures
            self.goes_on(a),
    {
        assert forall|root: nat| #[trigger] a.is_of(root) implies self.is_of(root) by {
            assert(b.is_of(root));
        }
        assert forall|w: nat, pa: nat| #[trigger] a.keeps(w, pa) implies self.keeps(w, pa) by {
            assert(b.keeps(w, pa));
        }
        assert forall|w: nat| #[trigger] a.gathers(w) implies self.gathers(w) by {
            assert(b.gathers(w));
        }
        assert forall|w: nat| #[trigger] a.mapped().dom().contains(w) implies (self.mapped().dom().contains(w) && self.mapped()[w].0
            == a.mapped()[w].0) || self.keeps(w, a.mapped()[w].0) by {
            assert(b.mapped().dom().contains(w) || b.keeps(w, a.mapped()[w].0));
        }
    }

    /// It has lent its flusher, and nothing else.
    #[verifier::prophetic]
    pub closed spec fn has_lent(self, o: Self, flusher: TlbFlusher<'_, 'a>) -> bool {
        &&& self.inner == o.inner
        &&& flusher.now().root() == o.flushing.root()
        &&& forall|w: nat| #[trigger] o.gathers(w) ==> flusher.now().gathers(w)
        &&& forall|w: nat, pa: nat| #[trigger] o.keeps(w, pa) ==> flusher.now().keeps(w, pa)
        &&& self.flushing.is(flusher.left())
    }

    // Inlined as far as the caller, so that the cursor is made in its place.
    #[inline(always)]
    pub(super) fn new(space: &'a VmSpace, range: Range<Vaddr>, level: u8) -> (r: Result<Self, VmSpaceError>)
        ensures
            r matches Ok(cursor) ==> cursor.is_of(space.root()),
    {
        proof {
            use_type_invariant(space);
        }
        let preempt = disable_preempt();
        let inner = space.table.cursor_mut_at(range, level)?;
        Ok(CursorMut { inner, _preempt: preempt, flushing: Flushing::new(&space.active) })
    }
}

impl Cursor<'_> {
    /// Returns the position: a page-aligned address in the range, or its end.
    pub fn virt_addr(&self) -> Vaddr {
        self.inner.virt_addr()
    }

    /// Returns the locked range.
    pub fn range(&self) -> Range<Vaddr> {
        self.inner.range()
    }

    /// Moves to an address in the range.
    ///
    /// # Errors
    /// - [`VmSpaceError::NotAligned`]: it is not aligned to the page size.
    /// - [`VmSpaceError::OutOfRange`]: it is not in the range.
    pub fn jump(&mut self, va: Vaddr) -> Result<(), VmSpaceError> {
        Ok(self.inner.jump(va)?)
    }

    /// Returns what is mapped at the position, and where; the item is counted: of a huge page each frame is,
    /// 512 of 2 MiB. Does not move.
    ///
    /// # Errors
    /// - [`VmSpaceError::OutOfRange`]: the position is the end of the range.
    pub fn query(&mut self) -> Result<Slot, VmSpaceError> {
        Ok(self.inner.query()?)
    }

    /// Returns what is mapped at the position, and where, and counts nothing. Does not move.
    ///
    /// # Errors
    /// - [`VmSpaceError::OutOfRange`]: the position is the end of the range.
    pub fn peek(&mut self) -> Result<Peeked, VmSpaceError> {
        Ok(self.inner.peek()?)
    }

    /// Moves to the next address within `len` bytes at which something is mapped, and returns it; or
    /// to the end of the `len` bytes, if nothing is.
    ///
    /// # Errors
    /// The position stays the same:
    /// - [`VmSpaceError::Empty`]: `len` is zero.
    /// - [`VmSpaceError::NotAligned`]: `len` is not a multiple of the page size.
    /// - [`VmSpaceError::Overflow`], [`VmSpaceError::OutOfRange`]: `len` goes beyond the range.
    pub fn find_next(&mut self, len: usize) -> Result<Option<Vaddr>, VmSpaceError> {
        check_len(&self.range(), self.virt_addr(), len)?;
        Ok(self.inner.find_next(len)?)
    }
}

impl CursorMut<'_> {
    /// Returns the position: a page-aligned address in the range, or its end.
    #[inline]
    pub fn virt_addr(&self) -> (r: Vaddr)
        ensures
            r.0 == self.at() * PAGE_SIZE,
    {
        proof {
            lemma_user_base::<NativeShape, NativeEntry<NativeShape>>();
        }
        self.inner.virt_addr()
    }

    /// Returns the locked range.
    #[inline]
    pub fn range(&self) -> Range<Vaddr> {
        self.inner.range()
    }

    /// Moves to an address in the range.
    ///
    /// # Errors
    /// As [`Cursor::jump`].
    #[inline]
    pub fn jump(&mut self, va: Vaddr) -> Result<(), VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
    {
        Ok(self.inner.jump(va)?)
    }

    /// Returns what is mapped at the position, and where, as [`Cursor::query`]. Does not move.
    ///
    /// # Errors
    /// As [`Cursor::query`].
    pub fn query(&mut self) -> Result<Slot, VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
    {
        Ok(self.inner.query()?)
    }

    /// Returns what is mapped at the position, and where, and counts nothing. Does not move.
    ///
    /// # Errors
    /// As [`Cursor::peek`].
    pub fn peek(&mut self) -> Result<Peeked, VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
    {
        Ok(self.inner.peek()?)
    }

    /// Moves to the next address within `len` bytes at which something is mapped, as [`Cursor::find_next`].
    ///
    /// # Errors
    /// As [`Cursor::find_next`].
    pub fn find_next(&mut self, len: usize) -> Result<Option<Vaddr>, VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
    {
        check_len(&self.range(), self.virt_addr(), len)?;
        Ok(self.inner.find_next(len)?)
    }
}

/// Checks a length from a position on, and returns where it ends.
#[inline]
fn check_len(range: &Range<Vaddr>, va: Vaddr, len: usize) -> Result<Vaddr, VmSpaceError> {
    if len == 0 {
        return Err(VmSpaceError::Empty { va });
    }
    let end = Vaddr(va.0.checked_add(len).ok_or(VmSpaceError::Overflow { va, len })?);
    if !len.is_multiple_of(PAGE_SIZE) {
        return Err(VmSpaceError::NotAligned { va: end });
    }
    if end.0 > range.end.0 {
        return Err(VmSpaceError::OutOfRange { va: range.end });
    }
    Ok(end)
}

impl<'a> CursorMut<'a> {
    /// Maps an item at the position, and moves past it.
    ///
    /// What was mapped there before is kept by the flusher until every processor has flushed: a page of the same size, or
    /// the smaller ones that a huge page replaces, with the nodes that mapped them. A larger page is split, and keeps the rest.
    ///
    /// # Errors
    /// The item comes back, and nothing is changed:
    /// - [`VmSpaceError::OutOfRange`]: the position is the end of the range.
    /// - [`VmSpaceError::TooLarge`]: the item is larger than what is left of the range, or than what can be mapped at once
    ///   where the cursor has locked a node below: see [`VmSpace::cursor_mut_at`].
    /// - [`VmSpaceError::NotAligned`]: the position is not aligned to the size of the item.
    /// - [`VmSpaceError::Global`]: the item is to be translated the same way in every space.
    /// - [`VmSpaceError::NotForUser`]: user code may not access the item, whatever its rights are.
    /// - [`VmSpaceError::Unrepresentable`]: no entry can say its property.
    /// - [`VmSpaceError::NoMemory`]: a frame for a node could not be had, or one to keep what is replaced.
    #[inline(always)]
    pub fn map(&mut self, item: MappedItem) -> Result<(), MapError>
        ensures
            final(self).goes_on(*old(self)),
    {
        self.map_by(item, None)
    }

    /// Maps an item at the position, and moves past it, as [`map`](Self::map), for an access that is going to be made: what
    /// the access notes is noted from the start, if the item's property permits it.
    ///
    /// For page-fault handlers: the processor need not write the entry when the access is tried again, which takes it
    /// some hundred cycles, or a second fault where it leaves accessed and dirty bits to the handler. And an entry in which both
    /// are noted is unmapped and protected by plain stores.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    #[inline(always)]
    pub fn map_accessed(&mut self, item: MappedItem, access: AccessType) -> Result<(), MapError>
        ensures
            final(self).goes_on(*old(self)),
    {
        self.map_by(item, Some(access))
    }

    /// [`map`](Self::map) or [`map_accessed`](Self::map_accessed).
    #[inline(always)]
    fn map_by(&mut self, item: MappedItem, access: Option<AccessType>) -> Result<(), MapError>
        ensures
            final(self).goes_on(*old(self)),
    {
        let start = self.virt_addr();
        if !is_for_space(item.prop) {
            return Err(MapError { error: refusal(item.prop, start), item });
        }
        let ghost was = *self;
        if !self.flushing.reserve(1) {
            return Err(MapError { error: VmSpaceError::NoMemory, item });
        }
        let ghost o = *self;
        proof {
            assert(o.goes_on(was));
        }
        match self.inner.map_by(item, access) {
            Ok(None) => {
                proof {
                    assert(self.goes_on(o));
                    self.lemma_goes_on(o, was);
                }
                Ok(())
            },
            Ok(Some(replaced)) => {
                let op = covering(start..self.virt_addr());
                proof {
                    lemma_user_base::<NativeShape, NativeEntry<NativeShape>>();
                    assert(item_fits::<UserPtConfig>(start, replaced.item));
                    lemma_covered::<UserPtConfig>(start, replaced.item, op);
                }
                let ghost (item, pages) = (replaced.item, op.pages());
                self.flushing.get().keep(op, Kept::Item(replaced.item), change_of(replaced.ad));
                proof {
                    assert forall|w: nat| #[trigger] o.mapped().dom().contains(w) implies (self.mapped().dom().contains(w)
                        && self.mapped()[w].0 == o.mapped()[w].0) || self.keeps(w, o.mapped()[w].0) by {
                        if item_leads::<UserPtConfig>(start, item, w, o.mapped()[w].0) {
                            assert(pages.contains(page_number::<UserPtConfig>(w)) && Kept::<UserPtConfig>::Item(item).leads(w, o.mapped()[w].0));
                        }
                    }
                    assert(self.goes_on(o));
                    self.lemma_goes_on(o, was);
                }
                Ok(())
            },
            Err(page_table::MapError { error: PageTableError::Occupied { .. }, item }) => {
                let ghost mid = *self;
                let mapped = self.map_over(item, access);
                proof {
                    assert(mid.goes_on(o));
                    self.lemma_goes_on(mid, o);
                    self.lemma_goes_on(o, was);
                }
                mapped
            },
            Err(refused) => {
                proof {
                    assert(self.goes_on(o));
                    self.lemma_goes_on(o, was);
                }
                Err(MapError::new(refused))
            },
        }
    }

    /// Maps an item where smaller pages are, or were. Nothing is refused once something was taken out.
    #[cold]
    fn map_over(&mut self, item: MappedItem, access: Option<AccessType>) -> Result<(), MapError>
        requires
            old(self).flushing.room() >= 1,
        ensures
            final(self).goes_on(*old(self)),
    {
        let ghost o = *self;
        let shootdown = self.flushing.get();
        let ghost before = *shootdown;
        let mapped = self.inner.map_over_to(item, access, shootdown);
        proof {
            lemma_kept::<_, Fragment<UserPtConfig>>(before, *shootdown, o.mapped(), self.inner.mapped());
        }
        match mapped {
            Ok(()) => Ok(()),
            Err(refused) => Err(MapError::new(refused)),
        }
    }

    /// Maps frames that follow each other from the position on, as base pages, and moves past them.
    ///
    /// Huge pages in the way are split. What was mapped there before is kept by the flusher until every processor has
    /// flushed.
    ///
    /// # Errors
    /// The frames come back, and nothing is changed:
    /// - [`VmSpaceError::OutOfRange`]: they reach past the end of the range.
    /// - [`VmSpaceError::Global`], [`VmSpaceError::NotForUser`]: as for [`map`](Self::map).
    /// - [`VmSpaceError::NoMemory`]: a frame for a node could not be had, or one to keep what is replaced.
    pub fn map_range(&mut self, range: MappedRange) -> Result<(), MapRangeError>
        ensures
            final(self).goes_on(*old(self)),
    {
        if !is_for_space(range.prop) {
            return Err(MapRangeError { error: refusal(range.prop, self.virt_addr()), range });
        }
        // Where it does not fit into the range it is refused below.
        #[expect(clippy::manual_unwrap_or_default, reason = "the verifier knows no such method of results")]
        let replaced = match self.inner.nr_mapped(range.segment.size()) {
            Ok(n) => n,
            Err(_) => 0,
        };
        let ghost o = *self;
        let shootdown = self.flushing.get();
        if !shootdown.reserve(replaced) {
            return Err(MapRangeError { error: VmSpaceError::NoMemory, range });
        }
        let ghost before = *shootdown;
        let mapped = self.inner.map_range_to(range, shootdown);
        proof {
            lemma_kept::<_, Displaced<UserPtConfig>>(before, *shootdown, o.mapped(), self.inner.mapped());
        }
        match mapped {
            Ok(()) => Ok(()),
            Err(refused) => Err(MapRangeError { error: VmSpaceError::from(refused.error), range: refused.item }),
        }
    }

    /// Unmaps everything in the next `len` bytes, moves past them, and returns how many base pages were
    /// mapped there.
    ///
    /// The flush is issued, and dispatched unless that would wait; the frames are kept until every processor
    /// has flushed.
    ///
    /// # Errors
    /// Nothing is changed:
    /// - [`VmSpaceError::Empty`], [`VmSpaceError::NotAligned`], [`VmSpaceError::Overflow`],
    ///   [`VmSpaceError::OutOfRange`]: `len` is not one of [`find_next`](Self::find_next).
    /// - [`VmSpaceError::NoMemory`]: there is no frame to split a large page at a border of the range, or to keep the pages
    ///   there. The first four pages that a cursor takes out one by one need none, nor do whole leaf tables.
    #[inline(always)]
    pub fn unmap(&mut self, len: usize) -> Result<usize, VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
    {
        check_len(&self.range(), self.virt_addr(), len)?;
        let few = if len / PAGE_SIZE <= FEW { len / PAGE_SIZE } else { 0 };
        let ghost o = *self;
        let shootdown = self.flushing.get();
        if !shootdown.reserve(few) {
            return Err(VmSpaceError::NoMemory);
        }
        let ghost before = *shootdown;
        let pages = self.inner.unmap_to(len, shootdown);
        proof {
            lemma_kept::<_, Fragment<UserPtConfig>>(before, *shootdown, o.mapped(), self.inner.mapped());
        }
        let pages = pages?;
        shootdown.try_dispatch();
        Ok(pages)
    }

    /// Changes the property of the next mapping within `len` bytes and moves past it; moves past all `len`
    /// bytes if nothing is mapped there.
    ///
    /// Does not flush: the result says what is owed. A large page is split where `len` ends in it. If `op`
    /// panics, nothing is changed.
    ///
    /// # Errors
    /// Nothing is changed:
    /// - [`VmSpaceError::Empty`], [`VmSpaceError::NotAligned`], [`VmSpaceError::Overflow`],
    ///   [`VmSpaceError::OutOfRange`]: `len` is not one of [`find_next`](Self::find_next).
    /// - [`VmSpaceError::Global`], [`VmSpaceError::NotForUser`]: the new property is none that [`map`](Self::map) takes.
    /// - [`VmSpaceError::Unrepresentable`]: no entry can say the new property.
    /// - [`VmSpaceError::NoMemory`]: a large page could not be split.
    pub fn protect_next(
        &mut self,
        len: usize,
        op: impl FnOnce(PageProperty) -> PageProperty,
    ) -> (r: Result<Option<Protected>, VmSpaceError>)
        ensures
            final(self).goes_on(*old(self)),
            match r {
                Ok(Some(p)) => p.owed.addresses() == p.range && changes_within::<UserPtConfig>(old(self).mapped(), final(self).mapped(), p.range),
                Ok(None) => final(self).mapped() == old(self).mapped(),
                Err(_) => true,
            },
    {
        let start = self.virt_addr();
        check_len(&self.range(), start, len)?;
        let mut refused = None;
        let Some(range) = self.inner.protect_next_by(len, ForSpace { op, refused: &mut refused })? else {
            return Ok(None);
        };
        if let Some(prop) = refused {
            self.inner.jump(start)?;
            return Err(refusal(prop, range.start));
        }
        let owed = self.flushing.get().owe(range.start..range.end);
        Ok(Some(Protected { range, owed }))
    }

    /// Notes in the mapping here that an access is made, as hardware does: the page was accessed and, by a write, is
    /// dirty. Says whether there is a mapping whose property permits the access; if not, nothing is noted.
    ///
    /// For page-fault handlers of processors that leave accessed and dirty bits to them. This processor forgets the
    /// translation, so that the access is tried with the new one; another one that kept it faults in its turn.
    ///
    /// # Errors
    /// - [`VmSpaceError::OutOfRange`]: the position is the end of the range.
    pub fn note(&mut self, access: AccessType) -> Result<bool, VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
    {
        let permitted = self.inner.note(access)?;
        tlb::flush_addr(self.virt_addr());
        Ok(permitted)
    }

    /// Changes the property of every mapping in the next `len` bytes, moves past them, and returns how many
    /// base pages were changed. The flushes are issued.
    ///
    /// Large pages are split at the borders first. If `op` panics, what was changed before stays changed, and the
    /// position is that of the mapping for which it was called.
    ///
    /// # Errors
    /// As for [`protect_next`](Self::protect_next): nothing is changed, but for
    /// - [`VmSpaceError::Global`], [`VmSpaceError::NotForUser`]: what was changed before the mapping stays changed, and the
    ///   position is that of the mapping.
    pub fn protect(
        &mut self,
        len: usize,
        op: impl FnMut(PageProperty) -> PageProperty,
    ) -> Result<usize, VmSpaceError>
        ensures
            final(self).goes_on(*old(self)),
            forall|w: nat| #[trigger]
                old(self).mapped().dom().contains(w) && final(self).mapped()[w] != old(self).mapped()[w] ==> final(self).gathers(w),
    {
        check_len(&self.range(), self.virt_addr(), len)?;
        let mut each = Protecting { shootdown: self.flushing.get(), op, refused: None };
        let pages = self.inner.protect_by(len, &mut each)?;
        if let Some(prop) = each.refused {
            return Err(refusal(prop, self.virt_addr()));
        }
        Ok(pages)
    }

    /// Unlocks the range, flushes what was issued or is owed, waits until every processor has flushed, and releases
    /// what was unmapped: as dropping the cursor does, and says so.
    pub fn finish(self) -> Flushed {
        let CursorMut { inner, _preempt, flushing } = self;
        end(inner);
        end(_preempt);
        flushing.finish()
    }

    /// Returns the flusher of the changes that are made through this cursor.
    pub fn flusher(&mut self) -> (r: TlbFlusher<'_, 'a>)
        ensures
            final(self).has_lent(*old(self), r),
    {
        self.flushing.get().flusher()
    }
}

/// Drops a value.
#[inline(always)]
fn end<T>(_value: T) {
}

/// What a closure of the caller makes of a property, again and again.
trait EachProperty {
    /// The new property.
    fn apply(&mut self, prop: PageProperty) -> PageProperty;
}

#[verifier::external]
impl<F: FnMut(PageProperty) -> PageProperty> EachProperty for F {
    #[inline(always)]
    fn apply(&mut self, prop: PageProperty) -> PageProperty {
        self(prop)
    }
}

/// Changes a property, but not to one that no mapping of a space can have.
struct ForSpace<'g, F> {
    op: F,
    /// What it would have been.
    refused: &'g mut Option<PageProperty>,
}

impl<F: ProtectOp> ProtectOp for ForSpace<'_, F> {
    #[inline(always)]
    fn apply(self, before: PageProperty) -> PageProperty {
        let after = self.op.apply(before);
        if is_for_space(after) {
            after
        } else {
            *self.refused = Some(after);
            before
        }
    }
}

/// Changes properties of mappings, and issues the flush of each.
struct Protecting<'s, 'a, F> {
    shootdown: &'s mut Shootdown<&'a ActiveSet>,
    op: F,
    /// A property that no mapping of a space can have.
    refused: Option<PageProperty>,
}

impl<F: EachProperty> Recolourer<UserPtConfig> for Protecting<'_, '_, F> {
    closed spec fn notes(self, w: nat) -> bool {
        self.shootdown.gathers(w)
    }

    #[verifier::prophetic]
    closed spec fn follows(self, o: Self) -> bool {
        self.shootdown.keeps_on(*o.shootdown) && *final(self.shootdown) == *final(o.shootdown)
    }

    proof fn lemma_follows(a: Self, b: Self, c: Self) {
    }

    #[inline(always)]
    fn recolour(&mut self, range: Range<Vaddr>, before: PageProperty) -> Option<PageProperty> {
        let after = self.op.apply(before);
        if !is_for_space(after) {
            self.refused = Some(after);
            return None;
        }
        self.shootdown.note_change(range);
        Some(after)
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<page_table::MapError<MappedItem>> for MapError {
    fn from(refused: page_table::MapError<MappedItem>) -> MapError {
        MapError::new(refused)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapError")
            .field("error", &self.error)
            .field("frames", &self.item.frames)
            .finish_non_exhaustive()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for MapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for MapRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRangeError")
            .field("error", &self.error)
            .field("segment", &self.range.segment)
            .finish_non_exhaustive()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Display for MapRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl core::error::Error for MapRangeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("range", &self.range())
            .field("at", &self.virt_addr())
            .finish_non_exhaustive()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for CursorMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorMut")
            .field("range", &self.range())
            .field("at", &self.virt_addr())
            .finish_non_exhaustive()
    }
}
