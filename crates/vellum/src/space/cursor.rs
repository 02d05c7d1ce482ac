//! Locked ranges of a space.
use super::error::VmSpaceError;
use super::vm_space::VmSpace;
use crate::page_table::hoard::FEW;
use crate::page_table::{
    self, AccessType, Fragment, MappedItem, MappedRange, PageProperty, PageTableError, Peeked, Replaced,
    UserPtConfig,
};
use crate::tlb::{FlushOwed, Flushed, Shootdown, TlbFlushOp, TlbFlusher};
use core::fmt;
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{PreemptGuard, disable_preempt};
use vellum_machine::tlb;

/// The addresses that one entry covers, what is mapped there, and what hardware noted of its use.
pub type Slot = page_table::Slot<UserPtConfig>;

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
    shootdown: Shootdown<'a>,
}

/// A mapping that was not made; the item comes back.
pub struct MapError {
    /// Why.
    pub error: VmSpaceError,
    /// What was to be mapped.
    pub item: MappedItem,
}

impl From<page_table::MapError<MappedItem>> for MapError {
    fn from(refused: page_table::MapError<MappedItem>) -> MapError {
        MapError { error: refused.error.into(), item: refused.item }
    }
}

impl fmt::Debug for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapError")
            .field("error", &self.error)
            .field("frames", &self.item.frames)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for MapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Frames that were not mapped; they come back.
pub struct MapRangeError {
    /// Why.
    pub error: VmSpaceError,
    /// What was to be mapped.
    pub range: MappedRange,
}

impl fmt::Debug for MapRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRangeError")
            .field("error", &self.error)
            .field("segment", &self.range.segment)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for MapRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for MapRangeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A mapping whose property was changed.
#[must_use = "other processors may go on with the old property until what is owed is paid"]
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
    // Inlined as far as the caller: what a cursor gathers is some hundred bytes, which are made in their place.
    #[inline(always)]
    pub(super) fn new(space: &'a VmSpace, range: Range<Vaddr>, level: u8) -> Result<Self, VmSpaceError> {
        let preempt = disable_preempt();
        let inner = space.table.cursor_mut_at(range, level)?;
        Ok(CursorMut { inner, _preempt: preempt, shootdown: Shootdown::new(&space.active) })
    }
}

macro_rules! looking {
    ($cursor:ident) => {
        impl $cursor<'_> {
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

        impl fmt::Debug for $cursor<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($cursor))
                    .field("range", &self.range())
                    .field("at", &self.virt_addr())
                    .finish_non_exhaustive()
            }
        }
    };
}

looking!(Cursor);
looking!(CursorMut);

/// Checks a length from a position on, and returns where it ends.
fn check_len(range: &Range<Vaddr>, va: Vaddr, len: usize) -> Result<Vaddr, VmSpaceError> {
    if len == 0 {
        return Err(VmSpaceError::Empty { va });
    }
    let end = Vaddr(va.0.checked_add(len).ok_or(VmSpaceError::Overflow { va, len })?);
    if !len.is_multiple_of(PAGE_SIZE) {
        return Err(VmSpaceError::NotAligned { va: end });
    }
    if end > range.end {
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
    /// - [`VmSpaceError::Unrepresentable`]: no entry can say its property.
    /// - [`VmSpaceError::NoMemory`]: a frame for a node could not be had, or one to keep what is replaced.
    #[inline(always)]
    pub fn map(&mut self, item: MappedItem) -> Result<(), MapError> {
        let start = self.virt_addr();
        if item.prop.global {
            return Err(MapError { error: VmSpaceError::Global { va: start }, item });
        }
        if !self.shootdown.reserve(1) {
            return Err(MapError { error: VmSpaceError::NoMemory, item });
        }
        match self.inner.map(item) {
            Ok(None) => Ok(()),
            Ok(Some(replaced)) => {
                let op = covering(start..self.virt_addr());
                self.shootdown.keep(op, replaced.item.into());
                Ok(())
            }
            Err(page_table::MapError { error: PageTableError::Occupied { .. }, item }) => self.map_over(item),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Maps an item where smaller pages are, or were. Nothing is refused once something was taken out.
    #[cold]
    fn map_over(&mut self, item: MappedItem) -> Result<(), MapError> {
        let shootdown = &mut self.shootdown;
        self.inner.map_over(item, &mut |fragment| keep(shootdown, fragment)).map_err(MapError::from)
    }

    /// Maps frames that follow each other from the position on, as base pages, and moves past them.
    ///
    /// Huge pages in the way are split. What was mapped there before is kept by the flusher until every processor has
    /// flushed.
    ///
    /// # Errors
    /// The frames come back, and nothing is changed:
    /// - [`VmSpaceError::OutOfRange`]: they reach past the end of the range.
    /// - [`VmSpaceError::Global`]: they are to be translated the same way in every space.
    /// - [`VmSpaceError::NoMemory`]: a frame for a node could not be had, or one to keep what is replaced.
    pub fn map_range(&mut self, range: MappedRange) -> Result<(), MapRangeError> {
        if range.prop.global {
            return Err(MapRangeError { error: VmSpaceError::Global { va: self.virt_addr() }, range });
        }
        // Where it does not fit into the range it is refused below.
        let replaced = self.inner.nr_mapped(range.segment.size()).unwrap_or(0);
        if !self.shootdown.reserve(replaced) {
            return Err(MapRangeError { error: VmSpaceError::NoMemory, range });
        }
        let shootdown = &mut self.shootdown;
        let mut keep = |va, replaced: Replaced<MappedItem>| {
            shootdown.keep(TlbFlushOp::Addr(va), replaced.item.into());
        };
        let refused = |refused: page_table::MapError<_>| MapRangeError {
            error: refused.error.into(),
            range: refused.item,
        };
        self.inner.map_range(range, &mut keep).map_err(refused)
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
    pub fn unmap(&mut self, len: usize) -> Result<usize, VmSpaceError> {
        check_len(&self.range(), self.virt_addr(), len)?;
        if !self.shootdown.reserve(self.most_leaves(len)?) {
            return Err(VmSpaceError::NoMemory);
        }
        let shootdown = &mut self.shootdown;
        let pages = self.inner.unmap(len, &mut |fragment| keep(shootdown, fragment))?;
        self.shootdown.try_dispatch();
        Ok(pages)
    }

    /// At most how many mappings `unmap` hands out one by one.
    #[inline(always)]
    fn most_leaves(&self, len: usize) -> Result<usize, VmSpaceError> {
        let pages = len / PAGE_SIZE;
        Ok(if pages <= FEW { pages } else { self.inner.most_leaves(len)? })
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
    /// - [`VmSpaceError::Global`]: the new property is that of a translation which is the same in every
    ///   space.
    /// - [`VmSpaceError::Unrepresentable`]: no entry can say the new property.
    /// - [`VmSpaceError::NoMemory`]: a large page could not be split.
    pub fn protect_next(
        &mut self,
        len: usize,
        op: impl FnOnce(PageProperty) -> PageProperty,
    ) -> Result<Option<Protected>, VmSpaceError> {
        let start = self.virt_addr();
        check_len(&self.range(), start, len)?;
        let mut global = false;
        let op = |before| {
            let after = op(before);
            global = after.global;
            if global { before } else { after }
        };
        let Some(range) = self.inner.protect_next(len, op)? else {
            return Ok(None);
        };
        if global {
            self.inner.jump(start)?;
            return Err(VmSpaceError::Global { va: range.start });
        }
        let owed = self.shootdown.owe(range.clone());
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
    pub fn note(&mut self, access: AccessType) -> Result<bool, VmSpaceError> {
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
    /// - [`VmSpaceError::Global`]: what was changed before the mapping stays changed, and the position is that of the
    ///   mapping.
    pub fn protect(
        &mut self,
        len: usize,
        mut op: impl FnMut(PageProperty) -> PageProperty,
    ) -> Result<usize, VmSpaceError> {
        check_len(&self.range(), self.virt_addr(), len)?;
        let shootdown = &mut self.shootdown;
        let mut global = false;
        let mut each = |range: Range<Vaddr>, before| {
            let after = op(before);
            global = after.global;
            if global {
                return None;
            }
            // Before the change, so that nothing between them can lose it.
            shootdown.issue(covering(range));
            Some(after)
        };
        let pages = self.inner.protect(len, &mut each)?;
        if global {
            return Err(VmSpaceError::Global { va: self.virt_addr() });
        }
        Ok(pages)
    }

    /// Unlocks the range, flushes what was issued or is owed, waits until every processor has flushed, and releases
    /// what was unmapped: as dropping the cursor does, and says so.
    pub fn finish(self) -> Flushed {
        let CursorMut { inner, _preempt, shootdown } = self;
        drop(inner);
        drop(_preempt);
        shootdown.finish()
    }

    /// Returns the flusher of the changes that are made through this cursor.
    pub fn flusher(&mut self) -> TlbFlusher<'_, 'a> {
        self.shootdown.flusher()
    }
}

/// Keeps what was taken out until every processor has flushed.
#[inline(always)]
fn keep(shootdown: &mut Shootdown<'_>, fragment: Fragment<UserPtConfig>) {
    match fragment {
        Fragment::Leaf { va, item, .. } => {
            let range = va..Vaddr(va.0 + item.frames.size());
            shootdown.keep(covering(range), item.into());
        }
        // Also if nothing was mapped in it: a processor may keep the address of the node itself.
        Fragment::Node(node) => shootdown.keep(TlbFlushOp::Range(node.va_range()), node.into()),
    }
}

fn covering(range: Range<Vaddr>) -> TlbFlushOp {
    if range.end.0 - range.start.0 == PAGE_SIZE {
        TlbFlushOp::Addr(range.start)
    } else {
        TlbFlushOp::Range(range)
    }
}
