//! Cursors: a locked range of a page table, and a position in it.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::detached::*;
use super::entry::*;
use super::error::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::hoard::FEW;
use super::keeper::*;
use super::peek::*;
use super::range::*;
use super::run::*;
use super::session::*;
use super::table::*;
use super::unmap::*;
use super::way::*;
use core::marker::PhantomData;
use core::ops::Range;
use vellum_machine::addr::*;
use vellum_machine::owned::*;
use vstd::prelude::*;

verus! {

/// What a closure does in [`CursorMut::protect_next`].
pub trait ProtectOp {
    /// The new property.
    fn apply(self, prop: PageProperty) -> PageProperty;
}

#[verifier::external]
impl<F: FnOnce(PageProperty) -> PageProperty> ProtectOp for F {
    #[inline(always)]
    fn apply(self, prop: PageProperty) -> PageProperty {
        self(prop)
    }
}

/// What is at a cursor.
pub struct Slot<C: PageTableConfig> {
    /// The addresses of the entry that decides, as far as the cursor is locked for them.
    pub range: Range<Vaddr>,
    /// The item that is mapped there, with a count of its own.
    pub item: Option<C::Item>,
    /// What hardware noted.
    pub ad: AccessedDirty,
}

/// A mapping that another one replaced.
#[must_use = "the item is to be kept until the translation caches have forgotten it"]
pub struct Replaced<I> {
    /// The item, which owns its frames again.
    pub item: I,
    /// What hardware noted until it was replaced.
    pub ad: AccessedDirty,
}

/// Why a mapping was refused, and what was to be mapped. Nothing changed.
pub struct MapError<I> {
    /// Why.
    pub error: PageTableError,
    /// The item, back.
    pub item: I,
}

/// Something that was taken out of a table.
///
/// It is to be kept until the translation caches have forgotten it.
#[must_use = "translation caches may still lead to it: it is to be kept until they are flushed"]
pub enum Fragment<C: PageTableConfig> {
    /// A mapping.
    Leaf {
        /// The first address that it mapped.
        va: Vaddr,
        /// The item, which owns its frames again.
        item: C::Item,
        /// What hardware noted until it was taken out.
        ad: AccessedDirty,
    },
    /// A node, with all that was mapped in it.
    Node(DetachedNode<C>),
}

/// A locked range of a page table to look at, and a position in it.
///
/// The range is unlocked when the cursor is dropped. Until then nobody else changes what is mapped in it, and the code that
/// holds the cursor stays on its processor.
#[must_use = "the range is unlocked when the cursor is dropped"]
pub struct Cursor<'a, C: PageTableConfig> {
    session: Owned<Session<C>>,
    table: PhantomData<&'a PageTable<C>>,
}

/// A locked range of a page table to change, and a position in it.
///
/// The range is unlocked when the cursor is dropped; until then the code that holds it stays on its processor. Translation
/// caches are the caller's business: what
/// [`map`](Self::map) and [`take_next`](Self::take_next) give back is to be kept until they are flushed.
///
/// # Guarantees
///
/// - An operation that is refused changes nothing.
/// - `map` changes exactly the pages of its item; `take_next` exactly those of the mapping that it returns;
///   [`protect_next`](Self::protect_next) nothing but the properties in the range that it returns.
#[must_use = "the range is unlocked when the cursor is dropped"]
pub struct CursorMut<'a, C: PageTableConfig> {
    session: Owned<Session<C>>,
    /// The root of the table.
    root: Ghost<nat>,
    table: PhantomData<&'a PageTable<C>>,
}

impl<C: PageTableConfig> PageTable<C> {
    /// Locks a range to look at it.
    ///
    /// Waits for cursors over the same nodes, and serves calls of other processors meanwhile. Whoever has such a cursor
    /// and asks for another waits for ever.
    ///
    /// # Errors
    ///
    /// [`PageTableError::NotAligned`], [`Empty`](PageTableError::Empty), [`Reversed`](PageTableError::Reversed) or
    /// [`OutOfRange`](PageTableError::OutOfRange), judged in this order.
    pub fn cursor<'a>(&'a self, range: Range<Vaddr>) -> Result<Cursor<'a, C>, PageTableError> {
        Ok(Cursor { session: Owned::new(Session::new(self, range, Missing::Stop)?), table: PhantomData })
    }

    /// Locks a range to change it, as [`cursor`](Self::cursor).
    ///
    /// Nodes that are missing on the way to the lowest one that covers the range are made, so that cursors over ranges
    /// that lie apart do not meet; but not where the range is that of one huge page, and may be mapped as one. Without
    /// memory for a node, the one above is locked.
    ///
    /// # Errors
    ///
    /// As [`cursor`](Self::cursor).
    #[inline(always)]
    pub fn cursor_mut<'a>(&'a self, range: Range<Vaddr>) -> (r: Result<CursorMut<'a, C>, PageTableError>)
        ensures
            r matches Ok(cursor) ==> cursor.root() == self.root(),
    {
        let session = Owned::new(Session::new(self, range, Missing::Make(1))?);
        Ok(CursorMut { session, root: Ghost(self.root()), table: PhantomData })
    }

    /// Locks a range to map pages of up to level `level` in it, as [`cursor_mut`](Self::cursor_mut), which locks a node
    /// below that level where there is one that covers the range.
    ///
    /// For a huge page where a node is that covers exactly its addresses. Cursors over the other addresses that the locked
    /// node covers wait.
    ///
    /// # Errors
    ///
    /// As [`cursor`](Self::cursor).
    #[inline(always)]
    pub fn cursor_mut_at<'a>(&'a self, range: Range<Vaddr>, level: u8) -> (r: Result<CursorMut<'a, C>, PageTableError>)
        ensures
            r matches Ok(cursor) ==> cursor.root() == self.root(),
    {
        let session = Owned::new(Session::new(self, range, Missing::Make(level))?);
        Ok(CursorMut { session, root: Ghost(self.root()), table: PhantomData })
    }
}

impl<C: PageTableConfig> Cursor<'_, C> {
    /// Returns the address at which the cursor is: in its range, or its end.
    pub fn virt_addr(&self) -> Vaddr {
        self.session.get().va()
    }

    /// Returns the range that is locked.
    pub fn range(&self) -> Range<Vaddr> {
        self.session.get().range()
    }

    /// Goes to an address of the range.
    ///
    /// # Errors
    ///
    /// - [`PageTableError::NotAligned`]: it is not the address of a page.
    /// - [`PageTableError::OutOfRange`]: it is not in the range.
    pub fn jump(&mut self, va: Vaddr) -> Result<(), PageTableError> {
        self.session.get_mut().jump(va)
    }

    /// Returns what is mapped here, with a count of its own: of a huge page whose frames are counted, one of each.
    /// [`peek`](Self::peek) counts nothing.
    ///
    /// # Errors
    ///
    /// [`PageTableError::OutOfRange`]: the cursor is at the end of its range.
    pub fn query(&mut self) -> Result<Slot<C>, PageTableError> {
        self.session.get_mut().query()
    }

    /// Returns what is mapped here, without a count of it.
    ///
    /// # Errors
    ///
    /// [`PageTableError::OutOfRange`]: the cursor is at the end of its range.
    pub fn peek(&mut self) -> Result<Peeked, PageTableError> {
        self.session.get_mut().peek()
    }

    /// Goes to the next mapped address within `len` bytes and returns it. Without one, goes to the end of `len`.
    ///
    /// # Errors
    ///
    /// - [`PageTableError::NotAligned`]: `len` is no number of whole pages.
    /// - [`PageTableError::OutOfRange`]: `len` bytes reach past the end of the range.
    pub fn find_next(&mut self, len: usize) -> Result<Option<Vaddr>, PageTableError> {
        self.session.get_mut().find_next(len)
    }
}

impl<C: PageTableConfig> CursorMut<'_, C> {
    /// The root of the table.
    pub closed spec fn root(self) -> nat {
        self.root@
    }

    /// The page at which the cursor is.
    pub closed spec fn at(self) -> nat {
        self.session@.v as nat
    }

    /// How many pages are left of the range.
    pub closed spec fn rest(self) -> int {
        self.session@.g.e - self.session@.v
    }

    /// What the range maps: page number to physical address and property.
    pub closed spec fn mapped(self) -> IMap<nat, (nat, PageProperty)> {
        self.session@.mapped()
    }

    /// It is where it was, in the same table, which maps the same.
    pub open spec fn is_as(self, o: Self) -> bool {
        self.mapped() == o.mapped() && self.at() == o.at() && self.root() == o.root()
    }

    /// Returns the address at which the cursor is: in its range, or its end.
    pub fn virt_addr(&self) -> (r: Vaddr)
        ensures
            r.0 == C::va_base() + self.at() * PAGE_SIZE,
    {
        self.session.get().va()
    }

    /// Returns the range that is locked.
    pub fn range(&self) -> Range<Vaddr> {
        self.session.get().range()
    }

    /// Goes to an address of the range.
    ///
    /// # Errors
    ///
    /// As [`Cursor::jump`].
    #[inline(always)]
    pub fn jump(&mut self, va: Vaddr) -> (r: Result<(), PageTableError>)
        ensures
            final(self).mapped() == old(self).mapped(),
            final(self).root() == old(self).root(),
    {
        self.session.get_mut().jump(va)
    }

    /// Returns what is mapped here, with a count of its own, as [`Cursor::query`].
    ///
    /// # Errors
    ///
    /// As [`Cursor::query`].
    pub fn query(&mut self) -> Result<Slot<C>, PageTableError>
        ensures
            final(self).is_as(*old(self)),
    {
        self.session.get_mut().query()
    }

    /// Returns what is mapped here, without a count of it.
    ///
    /// # Errors
    ///
    /// [`PageTableError::OutOfRange`]: the cursor is at the end of its range.
    pub fn peek(&mut self) -> Result<Peeked, PageTableError>
        ensures
            final(self).is_as(*old(self)),
    {
        self.session.get_mut().peek()
    }

    /// Goes to the next mapped address within `len` bytes and returns it. Without one, goes to the end of `len`.
    ///
    /// # Errors
    ///
    /// As [`Cursor::find_next`].
    pub fn find_next(&mut self, len: usize) -> Result<Option<Vaddr>, PageTableError>
        ensures
            final(self).mapped() == old(self).mapped(),
            final(self).root() == old(self).root(),
    {
        self.session.get_mut().find_next(len)
    }

    /// Maps an item here and goes past it; what it replaces comes back, to be kept until the translation caches have
    /// forgotten it.
    ///
    /// # Errors
    ///
    /// With the item:
    ///
    /// - [`PageTableError::NotAligned`]: the position is not aligned to the size of the item.
    /// - [`PageTableError::OutOfRange`]: the cursor is at the end of its range.
    /// - [`PageTableError::TooLarge`]: the item is larger than what is left of the range, or than what an entry of the
    ///   locked node maps: see [`PageTable::cursor_mut_at`].
    /// - [`PageTableError::Unrepresentable`]: the entries cannot say the property.
    /// - [`PageTableError::Occupied`]: there is a node where a huge page would go.
    /// - [`PageTableError::NoMemory`]: there is no frame for a node on the way.
    #[inline(always)]
    pub fn map(&mut self, item: C::Item) -> (r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>)
        ensures
            final(self).has_mapped(*old(self), r),
    {
        self.map_by(item, None)
    }

    /// Maps an item here and goes past it, as [`map`](Self::map), for an access that is going to be made: what the access
    /// notes is noted from the start, if the item's property permits it.
    ///
    /// For page-fault handlers: the processor need not write the entry when the access is tried again, which takes it
    /// some hundred cycles, or a second fault where it leaves accessed and dirty bits to the handler. And an entry in which both
    /// are noted is unmapped and protected by plain stores.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    #[inline(always)]
    pub fn map_accessed(&mut self, item: C::Item, access: AccessType) -> (r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>)
        ensures
            final(self).has_mapped(*old(self), r),
    {
        self.map_by(item, Some(access))
    }

    /// [`map`](Self::map) or [`map_accessed`](Self::map_accessed).
    #[inline(always)]
    pub(crate) fn map_by(&mut self, item: C::Item, access: Option<AccessType>) -> (r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>)
        ensures
            final(self).has_mapped(*old(self), r),
    {
        let ghost o = *self;
        let ghost what = item;
        let session = self.session.get_mut();
        proof {
            use_type_invariant(&*session);
        }
        let r = session.map(item, access);
        proof {
            use_type_invariant(&*session);
            if r is Ok {
                lemma_has_replaced::<C>(o.session@, *session, what, r->Ok_0);
            }
        }
        r
    }

    /// What mapping an item came to.
    pub open spec fn has_mapped(self, o: Self, r: Result<Option<Replaced<C::Item>>, MapError<C::Item>>) -> bool {
        &&& self.root() == o.root()
        &&& match r {
            Ok(old_item) => self.has_replaced(o, old_item),
            Err(_) => self.is_as(o),
        }
    }

    /// What was mapped in `o` and is not any more is `old_item`, which was mapped where the cursor was.
    pub open spec fn has_replaced(self, o: Self, old_item: Option<Replaced<C::Item>>) -> bool {
        &&& o.at() < self.at()
        &&& match old_item {
            Some(x) => {
                &&& self.at() - o.at() == pages(nr::<C>(), (C::raw(x.item).1 - 1) as nat)
                &&& forall|va: Vaddr| va.0 == C::va_base() + o.at() * PAGE_SIZE ==> #[trigger] item_fits::<C>(va, x.item) && leads_lost(
                    o.mapped(),
                    self.mapped(),
                    |w: nat, pa: nat| item_leads::<C>(va, x.item, w, pa),
                )
            },
            None => leads_lost(o.mapped(), self.mapped(), |w: nat, pa: nat| false),
        }
    }

    /// Maps an item here and goes past it, as [`map`](Self::map), and takes out what is mapped below a node in its way:
    /// what it replaces goes to `sink`, node by node, each before what links it, with all that is mapped in it.
    ///
    /// Nothing on the way needs memory once something was taken out. If `sink` panics, what was taken out before is, the
    /// item is dropped, unless it was mapped, and the position is that before or after it.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); [`PageTableError::Occupied`] for nodes that stay for as long as the table does.
    pub fn map_over(&mut self, item: C::Item, sink: &mut impl FragmentSink<C>) -> Result<(), MapError<C::Item>> {
        self.map_over_to(item, None, &mut BySink { sink })
    }

    /// [`map_over`](Self::map_over), for an access if there is one, with a word on what becomes of what it replaces.
    pub(crate) fn map_over_to<K: Keeper<Fragment<C>>>(&mut self, item: C::Item, access: Option<AccessType>, keeper: &mut K) -> (r: Result<
        (),
        MapError<C::Item>,
    >)
        requires
            has_room::<Fragment<C>, K>(*old(keeper), 1),
        ensures
            final(self).root() == old(self).root(),
            keeps_on::<Fragment<C>, K>(*old(keeper), *final(keeper)),
            keeps_lost::<Fragment<C>, K>(*final(keeper), old(self).mapped(), final(self).mapped()),
    {
        let ghost o = *self;
        let r = self.session.get_mut().map_over(item, access, keeper);
        proof {
            if r is Ok {
                lemma_keeps_lost::<Fragment<C>, K>(*keeper, o.mapped(), self.mapped(), o.at(), self.at());
            }
        }
        r
    }

    /// Maps base pages that follow each other in physical memory from here on, one walk for each leaf table, and goes
    /// past them. What they replace goes to `sink`.
    ///
    /// Huge pages in the range are split first. If `sink` panics, what was mapped until then stays mapped, the cursor is
    /// after it, and the pages that are left are dropped.
    ///
    /// # Errors
    ///
    /// With the pages, and nothing is changed:
    ///
    /// - [`PageTableError::OutOfRange`]: they reach past the end of the range.
    /// - [`PageTableError::Unrepresentable`]: the entries cannot say the property.
    /// - [`PageTableError::NoMemory`]: there is no frame for a node.
    pub fn map_range(
        &mut self,
        run: C::Run,
        sink: &mut impl ReplacedSink<C::Item>,
    ) -> Result<(), MapError<C::Run>>
    where
        C: RunConfig,
    {
        self.map_range_to(run, &mut BySink { sink })
    }

    /// [`map_range`](Self::map_range), with a word on what becomes of what it replaces.
    #[inline(always)]
    pub(crate) fn map_range_to<K: Keeper<Displaced<C>>>(&mut self, run: C::Run, keeper: &mut K) -> (r: Result<(), MapError<C::Run>>)
    where
        C: RunConfig,
        requires
            C::raw_run(run).1 <= old(self).rest() ==> has_room::<Displaced<C>, K>(
                *old(keeper),
                nr_mapped(old(self).mapped(), old(self).at(), old(self).at() + C::raw_run(run).1 as nat),
            ),
        ensures
            final(self).root() == old(self).root(),
            keeps_on::<Displaced<C>, K>(*old(keeper), *final(keeper)),
            keeps_lost::<Displaced<C>, K>(*final(keeper), old(self).mapped(), final(self).mapped()),
    {
        let ghost o = *self;
        let r = self.session.get_mut().map_range(run, keeper);
        proof {
            if r is Ok {
                lemma_keeps_lost::<Displaced<C>, K>(*keeper, o.mapped(), self.mapped(), o.at(), self.at());
            }
        }
        r
    }

    /// Returns how many base pages are mapped in the next `len` bytes: so many mappings [`map_range`](Self::map_range) of
    /// them hands out.
    ///
    /// # Errors
    ///
    /// As [`find_next`](Self::find_next).
    pub fn nr_mapped(&self, len: usize) -> (r: Result<usize, PageTableError>)
        ensures
            match r {
                Ok(n) => n == nr_mapped(self.mapped(), self.at(), self.at() + len as nat / PAGE_SIZE as nat),
                Err(_) => len % PAGE_SIZE != 0 || len / PAGE_SIZE > self.rest(),
            },
    {
        self.session.get().nr_mapped(len)
    }

    /// Takes the next mapping or node within `len` bytes out. Without one, goes to the end of `len`.
    ///
    /// A node of leaves that lies within `len` bytes goes in one step, with all that is mapped in it. A huge page that
    /// reaches past the borders is split. The cursor stays where something was taken: repeat it, with what is left of the
    /// length, until it answers `None`.
    ///
    /// # Errors
    ///
    /// - [`PageTableError::NotAligned`]: `len` is no number of whole pages.
    /// - [`PageTableError::OutOfRange`]: `len` bytes reach past the end of the range.
    /// - [`PageTableError::NoMemory`]: there is no frame to split a huge page.
    #[inline(always)]
    pub fn take_next(&mut self, len: usize) -> Result<Option<Fragment<C>>, PageTableError>
        ensures
            final(self).root() == old(self).root(),
    {
        self.session.get_mut().take_next(len)
    }

    /// Notes in the mapping here that an access is made: that it was accessed and, by a write, that it is dirty. Says
    /// whether there is a mapping whose property permits the access; if not, nothing is noted.
    ///
    /// For page-fault handlers of processors that leave accessed and dirty bits to them. Where hardware sets them
    /// itself, it does no harm.
    ///
    /// # Errors
    ///
    /// [`PageTableError::OutOfRange`]: the cursor is at the end of its range.
    pub fn note(&mut self, access: AccessType) -> Result<bool, PageTableError>
        ensures
            final(self).is_as(*old(self)),
    {
        self.session.get_mut().note(access)
    }

    /// Takes everything in the next `len` bytes out, goes past them, and returns how many base pages were mapped there.
    ///
    /// What is taken out goes to `sink`, as from [`take_next`](Self::take_next). Huge pages are split at the borders first, so
    /// that nothing is refused half way. If `sink` panics, what was taken out before is, and the position is past it.
    ///
    /// # Errors
    ///
    /// As [`take_next`](Self::take_next); nothing was taken out.
    #[inline(always)]
    pub fn unmap(&mut self, len: usize, sink: &mut impl FragmentSink<C>) -> Result<usize, PageTableError> {
        self.unmap_to(len, &mut BySink { sink })
    }

    /// [`unmap`](Self::unmap), with a word on what becomes of what it takes out. Where that are more than [`FEW`] pages, the
    /// keeper is asked for room once the borders are split.
    #[inline(always)]
    pub(crate) fn unmap_to<K: Keeper<Fragment<C>>>(&mut self, len: usize, keeper: &mut K) -> (r: Result<usize, PageTableError>)
        requires
            len / PAGE_SIZE <= FEW ==> has_room::<Fragment<C>, K>(*old(keeper), len as nat / PAGE_SIZE as nat),
        ensures
            final(self).root() == old(self).root(),
            keeps_on::<Fragment<C>, K>(*old(keeper), *final(keeper)),
            keeps_lost::<Fragment<C>, K>(*final(keeper), old(self).mapped(), final(self).mapped()),
    {
        let ghost o = *self;
        let r = self.session.get_mut().unmap(len, keeper);
        proof {
            if r is Ok {
                lemma_keeps_lost::<Fragment<C>, K>(*keeper, o.mapped(), self.mapped(), o.at(), self.at());
            }
        }
        r
    }

    /// Gives the next mapping within `len` bytes the property that `op` makes of its own, goes past it, and returns
    /// its addresses. Without one, goes to the end of `len`.
    ///
    /// A huge page that reaches past the borders is split. Translation caches are not flushed.
    ///
    /// # Panics
    ///
    /// Where `op` does. What is mapped is then as it was, and the cursor where it was.
    ///
    /// # Errors
    ///
    /// As [`take_next`](Self::take_next), and [`PageTableError::Unrepresentable`]: the entries cannot say the new
    /// property.
    pub fn protect_next(
        &mut self,
        len: usize,
        op: impl FnOnce(PageProperty) -> PageProperty,
    ) -> Result<Option<Range<Vaddr>>, PageTableError> {
        self.protect_next_by(len, op)
    }

    /// [`protect_next`](Self::protect_next), by something else than a closure.
    pub(crate) fn protect_next_by<F: ProtectOp>(&mut self, len: usize, op: F) -> (r: Result<Option<Range<Vaddr>>, PageTableError>)
        ensures
            final(self).root() == old(self).root(),
            leads_alike(old(self).mapped(), final(self).mapped()),
            match r {
                Ok(Some(range)) => changes_within::<C>(old(self).mapped(), final(self).mapped(), range),
                _ => final(self).mapped() == old(self).mapped(),
            },
    {
        let ghost o = *self;
        let r = self.session.get_mut().protect_next(len, op);
        proof {
            if r is Ok && r->Ok_0 is Some {
                let start = ((r->Ok_0->Some_0.start.0 - C::va_base()) / PAGE_SIZE as int) as nat;
                lemma_leads_alike(o.mapped(), self.mapped(), start, self.at());
                lemma_changes_within::<C>(o.mapped(), self.mapped(), start, self.at(), r->Ok_0->Some_0);
            }
        }
        r
    }

    /// Gives each mapping within `len` bytes the property that `op` makes of its own, goes past them, and returns how many
    /// base pages were changed.
    ///
    /// Huge pages that reach past the borders are split first. `op` is called for each mapping in the order of the
    /// addresses; where it answers `None` the rest stays as it is, and the cursor stops there. What hardware notes
    /// meanwhile stays noted. Translation caches are not flushed.
    ///
    /// # Panics
    ///
    /// Where `op` does. What was changed until then stays changed, and the cursor is at the mapping for which it was called.
    ///
    /// # Errors
    ///
    /// As [`take_next`](Self::take_next): nothing is changed. And [`PageTableError::Unrepresentable`]: the entries cannot
    /// say a new property; what was changed until then stays changed, and the cursor is at the mapping.
    pub fn protect(&mut self, len: usize, op: &mut impl ProtectEach) -> Result<usize, PageTableError> {
        self.protect_by(len, op)
    }

    /// [`protect`](Self::protect), with a word on what is noted of it.
    pub(crate) fn protect_by<F: Recolourer<C>>(&mut self, len: usize, op: &mut F) -> (r: Result<usize, PageTableError>)
        ensures
            final(self).root() == old(self).root(),
            leads_alike(old(self).mapped(), final(self).mapped()),
            final(op).follows(*old(op)),
            notes_all::<C, F>(*final(op), old(self).mapped(), final(self).mapped()),
    {
        self.session.get_mut().protect(len, op)
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<I> core::fmt::Debug for MapError<I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MapError").field("error", &self.error).finish_non_exhaustive()
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<I> core::fmt::Display for MapError<I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "nothing was mapped: {}", self.error)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl<I> core::error::Error for MapError<I> {}
