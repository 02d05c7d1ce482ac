//! Areas: ranges of kernel addresses that are reserved, mapped, and unmapped again.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![allow(clippy::manual_is_multiple_of, reason = "the contracts and the proofs speak of remainders")]
use super::area_error::{AreaMapError, KVirtAreaError};
use crate::kspace::ranges::{AreaRange, WINDOW_PAGES, reserve_aligned};
#[cfg(verus_keep_ghost)]
use crate::page_table::Fragment;
#[cfg(verus_keep_ghost)]
use crate::page_table::config::nr;
#[cfg(verus_keep_ghost)]
use crate::page_table::geometry::pages;
use crate::page_table::geometry::pages_below;
use crate::page_table::hoard::FEW;
#[cfg(verus_keep_ghost)]
use crate::page_table::keeper::Displaced;
use crate::page_table::keeper::Recolourer;
use crate::page_table::{
    Access, AreaPtConfig, MappedItem, MappedRange, NativeShape, PageProperty, PageTable, PageTableConfig,
    PageTableError, PagingConsts,
};
use crate::tlb::{Everyone, Shootdown};
#[cfg(verus_keep_ghost)]
use crate::tlb::{all_kept, lemma_kept};
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::halt::halt;
use vellum_machine::owned::{Owned, Release};
#[cfg(verus_keep_ghost)]
use vstd::arithmetic::div_mod::lemma_mod_decreases;
use vstd::prelude::*;

verus! {

/// The flush of every processor, and what is kept until then.
type Everywhere = Shootdown<Everyone<AreaPtConfig>>;

/// The first address of the window that areas are in: that of their table.
pub open spec fn spec_areas_start() -> int {
    AreaPtConfig::va_base() + PAGE_SIZE * (AreaPtConfig::TOP_LO * pages(nr::<AreaPtConfig>(), (NativeShape::levels() - 1) as nat))
}

/// Returns the first address of the window that areas are in: that of their table.
pub(super) fn areas_start() -> (r: usize)
    ensures
        r == spec_areas_start(),
    no_unwind
{
    proof {
        NativeShape::consts_ok();
        AreaPtConfig::config_ok();
    }
    let below = pages_below::<NativeShape>(NativeShape::levels() - 1);
    proof {
        let (lo, base) = (AreaPtConfig::TOP_LO as nat, AreaPtConfig::va_base());
        assert(base + PAGE_SIZE * (lo * below + 1) <= usize::MAX);
        assert(lo * below >= 0 && PAGE_SIZE * (lo * below + 1) == PAGE_SIZE * (lo * below) + PAGE_SIZE) by (nonlinear_arith)
            requires
                lo >= 0,
                below >= 0,
        ;
        assert(lo * below <= usize::MAX) by (nonlinear_arith)
            requires
                PAGE_SIZE * (lo * below) <= usize::MAX,
                lo * below >= 0,
                PAGE_SIZE == 4096,
        ;
    }
    AreaPtConfig::va_base() + PAGE_SIZE * (AreaPtConfig::TOP_LO * below)
}

/// A range of kernel addresses, and the table that has what is mapped there.
struct Mappings {
    table: &'static PageTable<AreaPtConfig>,
    /// Its first address.
    start: Vaddr,
    /// Its addresses, which go back when nothing is mapped there any more and every processor has flushed.
    range: AreaRange,
}

/// A range of kernel addresses that nobody else has, and what is mapped there: frames that need not follow each other, seen
/// one after the other.
///
/// For buffers that no run of free frames is long enough for, for stacks, for code that is loaded. Every space sees it, and
/// every processor. The page before it and the page after it are never mapped: who runs over its end faults.
///
/// Its mappings own one count of each of their frames. Dropping it unmaps what is left, has every processor flush, releases
/// the frames, and gives the addresses back, in this order. That needs no memory.
///
/// Offsets and lengths are in bytes, of whole pages. Functions that take something out or change it wait until every processor
/// has flushed, serving the calls of others meanwhile: hold no lock that a handler of such calls takes. On a thread that is no
/// processor they panic, and dropping an area that maps something stops the machine.
///
/// # Guarantees
///
/// - Two areas have no address in common, and there is a page between them that neither has:
///   `theorems::addresses_of_two_areas_do_not_overlap`.
/// - A frame that was mapped there is released when no processor translates to it any more:
///   `theorems::what_is_released_of_kernel_space_was_forgotten_by_all`.
#[must_use = "it is unmapped when it is dropped"]
pub struct KVirtArea {
    mappings: Owned<Mappings>,
}

/// A new flush of every processor.
#[inline(always)]
fn everywhere(table: &PageTable<AreaPtConfig>) -> (r: Everywhere)
    ensures
        r.root() == table.root(),
        r.room() == FEW,
{
    Shootdown::new(Everyone::of(Ghost(table.root())))
}

/// Maps an item at addresses of its size; what it replaces is kept.
fn put(
    table: &PageTable<AreaPtConfig>,
    vas: Range<Vaddr>,
    item: MappedItem,
    shootdown: &mut Everywhere,
) -> (r: Result<(), AreaMapError<MappedItem>>)
    requires
        old(shootdown).room() >= 1,
    ensures
        final(shootdown).keeps_on(*old(shootdown)),
{
    let level = item.frames.level();
    let mut cursor = match table.cursor_mut_at(vas, level) {
        Ok(cursor) => cursor,
        Err(error) => return Err(AreaMapError { error: KVirtAreaError::of(error), item }),
    };
    let ghost (o, before) = (cursor, *shootdown);
    let mapped = cursor.map_over_to(item, None, shootdown);
    proof {
        lemma_kept::<_, Fragment<AreaPtConfig>>(before, *shootdown, o.mapped(), cursor.mapped());
        assert(all_kept(*shootdown, o.mapped(), cursor.mapped()));
    }
    match mapped {
        Ok(()) => Ok(()),
        Err(refused) => Err(AreaMapError { error: KVirtAreaError::of(refused.error), item: refused.item }),
    }
}

/// Maps frames that follow each other at addresses; what they replace is kept.
fn put_range(
    table: &PageTable<AreaPtConfig>,
    vas: Range<Vaddr>,
    run: MappedRange,
    shootdown: &mut Everywhere,
) -> (r: Result<(), AreaMapError<MappedRange>>)
    ensures
        final(shootdown).keeps_on(*old(shootdown)),
{
    let len = run.segment.size();
    let mut cursor = match table.cursor_mut(vas) {
        Ok(cursor) => cursor,
        Err(error) => return Err(AreaMapError { error: KVirtAreaError::of(error), item: run }),
    };
    // Where it does not fit into the range it is refused below.
    #[expect(clippy::manual_unwrap_or_default, reason = "the verifier knows no such method of results")]
    let replaced = match cursor.nr_mapped(len) {
        Ok(n) => n,
        Err(_) => 0,
    };
    if !shootdown.reserve(replaced) {
        return Err(AreaMapError { error: KVirtAreaError::NoMemory, item: run });
    }
    let ghost (o, before) = (cursor, *shootdown);
    let mapped = cursor.map_range_to(run, shootdown);
    proof {
        lemma_kept::<_, Displaced<AreaPtConfig>>(before, *shootdown, o.mapped(), cursor.mapped());
        assert(all_kept(*shootdown, o.mapped(), cursor.mapped()));
    }
    match mapped {
        Ok(()) => Ok(()),
        Err(refused) => Err(AreaMapError { error: KVirtAreaError::of(refused.error), item: refused.item }),
    }
}

/// Returns how many bytes a range of addresses has.
#[inline(always)]
fn bytes_in(vas: &Range<Vaddr>) -> usize {
    vas.end.0.saturating_sub(vas.start.0)
}

/// Takes out what is mapped at addresses, keeps it, and returns how many base pages it was.
fn take_out(table: &PageTable<AreaPtConfig>, vas: Range<Vaddr>, shootdown: &mut Everywhere) -> (r: Result<usize, PageTableError>)
    requires
        old(shootdown).room() >= FEW,
    ensures
        final(shootdown).keeps_on(*old(shootdown)),
{
    let len = bytes_in(&vas);
    let mut cursor = table.cursor_mut(vas)?;
    let ghost (o, before) = (cursor, *shootdown);
    let pages = cursor.unmap_to(len, shootdown);
    proof {
        lemma_kept::<_, Fragment<AreaPtConfig>>(before, *shootdown, o.mapped(), cursor.mapped());
        assert(all_kept(*shootdown, o.mapped(), cursor.mapped()));
    }
    pages
}

/// Takes the node out that has the pages of a range, if it has nothing else and nothing is mapped there; it is kept.
///
/// Whoever maps something there waits for the lock of the node above, or is there first.
#[expect(clippy::collapsible_if, reason = "the verifier does not read chains of conditions")]
fn prune(table: &PageTable<AreaPtConfig>, vas: Range<Vaddr>, shootdown: &mut Everywhere)
    ensures
        final(shootdown).keeps_on(*old(shootdown)),
{
    let start = vas.start;
    let len = bytes_in(&vas);
    if len / PAGE_SIZE <= FEW {
        return ;
    }
    let Ok(mut cursor) = table.cursor_mut_at(vas, 2) else { return };
    if let Ok(None) = cursor.find_next(len) {
        if cursor.jump(start).is_ok() {
            let ghost (o, before) = (cursor, *shootdown);
            let _ = cursor.unmap_to(len, shootdown);
            proof {
                lemma_kept::<_, Fragment<AreaPtConfig>>(before, *shootdown, o.mapped(), cursor.mapped());
            }
        }
    }
}

/// The addresses of the first mapping at or after the beginning of a range, as far as it is in it.
fn next_mapping(table: &PageTable<AreaPtConfig>, vas: Range<Vaddr>) -> Result<Option<Range<Vaddr>>, PageTableError> {
    let len = bytes_in(&vas);
    let mut cursor = table.cursor(vas)?;
    match cursor.find_next(len)? {
        Some(_) => Ok(Some(cursor.peek()?.range)),
        None => Ok(None),
    }
}

/// Gives mappings another access, and gathers the flush of each.
struct Recolouring<'s> {
    shootdown: &'s mut Everywhere,
    access: Access,
}

impl Recolourer<AreaPtConfig> for Recolouring<'_> {
    closed spec fn notes(self, w: nat) -> bool {
        self.shootdown.gathers(w)
    }

    #[verifier::prophetic]
    closed spec fn follows(self, o: Self) -> bool {
        self.shootdown.keeps_on(*o.shootdown) && *final(self.shootdown) == *final(o.shootdown)
    }

    proof fn lemma_follows(a: Self, b: Self, c: Self) {
    }

    fn recolour(&mut self, range: Range<Vaddr>, before: PageProperty) -> Option<PageProperty> {
        self.shootdown.note_change(range);
        Some(PageProperty { access: self.access, ..before })
    }
}

/// Changes what may be done at addresses, and returns of how many base pages.
fn recolour(
    table: &PageTable<AreaPtConfig>,
    vas: Range<Vaddr>,
    access: Access,
    shootdown: &mut Everywhere,
) -> Result<usize, PageTableError> {
    let len = bytes_in(&vas);
    let mut cursor = table.cursor_mut(vas)?;
    let mut each = Recolouring { shootdown, access };
    cursor.protect_by(len, &mut each)
}

impl Mappings {
    /// It is where its range says, and ends with an address or before.
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.start.0 == spec_areas_start() + self.range.first() * PAGE_SIZE
        &&& self.start.0 + self.range.pages() * PAGE_SIZE <= usize::MAX
    }

    /// Its size in bytes.
    fn size(&self) -> (r: usize)
        ensures
            r == self.range.pages() * PAGE_SIZE,
            self.start.0 + r <= usize::MAX,
    {
        proof {
            use_type_invariant(self);
        }
        self.range.nr_pages() * PAGE_SIZE
    }

    /// The addresses of `len` bytes at an offset.
    fn part(&self, offset: usize, len: usize) -> (r: Result<Range<Vaddr>, KVirtAreaError>)
        ensures
            r matches Ok(vas) ==> vas.start.0 == self.start.0 + offset && vas.end.0 == vas.start.0 + len && len > 0 && offset + len
                <= self.range.pages() * PAGE_SIZE,
    {
        let size = self.size();
        if offset % PAGE_SIZE != 0 {
            return Err(KVirtAreaError::NotAligned { at: offset });
        }
        if len % PAGE_SIZE != 0 {
            return Err(KVirtAreaError::NotAligned { at: len });
        }
        if len == 0 {
            return Err(KVirtAreaError::Empty);
        }
        if offset > size || len > size - offset {
            return Err(KVirtAreaError::OutOfRange { offset, len, size });
        }
        let start = self.start.0 + offset;
        Ok(Vaddr(start)..Vaddr(start + len))
    }

    /// Takes the nodes out at the ends of the area that have nothing any more, and keeps them.
    fn prune_ends(&self, shootdown: &mut Everywhere)
        ensures
            final(shootdown).keeps_on(*old(shootdown)),
    {
        let size = self.size();
        if size == 0 {
            return ;
        }
        proof {
            NativeShape::consts_ok();
        }
        let span = PAGE_SIZE * NativeShape::NR_ENTRIES;
        let end = self.start.0 + (size - 1);
        proof {
            lemma_mod_decreases(self.start.0 as nat, span as nat);
            lemma_mod_decreases(end as nat, span as nat);
        }
        let (first, last) = (self.start.0 - self.start.0 % span, end - end % span);
        if first > usize::MAX - span || last > usize::MAX - span {
            return ;
        }
        prune(self.table, Vaddr(first)..Vaddr(first + span), shootdown);
        if last != first {
            prune(self.table, Vaddr(last)..Vaddr(last + span), shootdown);
        }
    }

    /// Takes everything out, one mapping after the other: what is kept at a time needs no memory.
    #[cold]
    fn take_out_one_by_one(&self) {
        let size = self.size();
        let end = self.start.0 + size;
        let mut from = self.start.0;
        while from < end
            decreases end - from,
        {
            let at = match next_mapping(self.table, Vaddr(from)..Vaddr(end)) {
                Ok(Some(at)) if from < at.end.0 && at.end.0 <= end => at,
                Ok(None) => return ,
                _ => halt("an area cannot be looked through"),
            };
            let mut shootdown = everywhere(self.table);
            from = at.end.0;
            let taken = take_out(self.table, at, &mut shootdown);
            let _ = shootdown.finish();
            if taken.is_err() {
                halt("an area cannot be unmapped");
            }
        }
    }
}

impl Release for Mappings {
    fn release(self) {
        let end = self.start.0 + self.size();
        let mut shootdown = everywhere(self.table);
        let taken = take_out(self.table, Vaddr(self.start.0)..Vaddr(end), &mut shootdown);
        self.prune_ends(&mut shootdown);
        let _ = shootdown.finish();
        if taken.is_err() {
            self.take_out_one_by_one();
            let mut shootdown = everywhere(self.table);
            self.prune_ends(&mut shootdown);
            let _ = shootdown.finish();
        }
        // Now nothing is mapped there and nobody has translations: the range goes back.
    }
}

impl KVirtArea {
    /// Its first address.
    pub closed spec fn start(self) -> int {
        self.mappings@.start.0 as int
    }

    /// One past its last address.
    pub closed spec fn end(self) -> int {
        self.mappings@.start.0 + self.mappings@.range.pages() * PAGE_SIZE
    }

    /// Takes its addresses out of it.
    #[cfg(verus_keep_ghost)]
    pub(crate) fn into_range(self) -> (r: AreaRange)
        ensures
            self.start() == spec_areas_start() + r.first() * PAGE_SIZE,
            self.end() == self.start() + r.pages() * PAGE_SIZE,
    {
        let mappings = self.mappings.into_inner();
        proof {
            use_type_invariant(&mappings);
        }
        mappings.range
    }

    /// Reserves `len` bytes of the addresses of a table, from a multiple of `align` on.
    pub(super) fn in_table(
        table: &'static PageTable<AreaPtConfig>,
        len: usize,
        align: usize,
    ) -> Result<Self, KVirtAreaError> {
        if len % PAGE_SIZE != 0 {
            return Err(KVirtAreaError::NotAligned { at: len });
        }
        if align % PAGE_SIZE != 0 {
            return Err(KVirtAreaError::NotAligned { at: align });
        }
        match reserve_aligned(len / PAGE_SIZE, align / PAGE_SIZE) {
            Ok(range) => {
                let base = areas_start();
                if base > usize::MAX - WINDOW_PAGES * PAGE_SIZE {
                    // There is no such shape.
                    return Err(KVirtAreaError::NoAddresses { pages: range.nr_pages() });
                }
                let start = Vaddr(base + range.first_page() * PAGE_SIZE);
                Ok(KVirtArea { mappings: Owned::new(Mappings { table, start, range }) })
            },
            Err(error) => Err(KVirtAreaError::of_range(error)),
        }
    }

    /// Returns its addresses.
    pub fn range(&self) -> (r: Range<Vaddr>)
        ensures
            r.start.0 == self.start(),
            r.end.0 == self.end(),
    {
        let mappings = self.mappings.get();
        let size = mappings.size();
        mappings.start..Vaddr(mappings.start.0 + size)
    }

    /// Returns its size in bytes.
    pub fn size(&self) -> usize {
        self.mappings.get().size()
    }

    /// Maps a frame or a huge page at an offset. What it replaces is released when every processor has flushed.
    ///
    /// # Errors
    ///
    /// The item comes back, and nothing is changed:
    ///
    /// - [`KVirtAreaError::ForUser`]: the property is for user code.
    /// - [`KVirtAreaError::NotAligned`]: the offset is not that of a page, or the address there not aligned to the size of the
    ///   huge page.
    /// - [`KVirtAreaError::OutOfRange`]: it does not fit into the area there.
    /// - [`KVirtAreaError::Unrepresentable`]: no entry can say the property.
    /// - [`KVirtAreaError::NoMemory`]: a frame for a node could not be had.
    pub fn map(&mut self, offset: usize, item: MappedItem) -> Result<(), AreaMapError<MappedItem>> {
        let mappings = self.mappings.get();
        if item.prop.user {
            return Err(AreaMapError { error: KVirtAreaError::ForUser, item });
        }
        let vas = match mappings.part(offset, item.frames.size()) {
            Ok(vas) => vas,
            Err(error) => return Err(AreaMapError { error, item }),
        };
        let mut shootdown = everywhere(mappings.table);
        let mapped = put(mappings.table, vas, item, &mut shootdown);
        let _ = shootdown.finish();
        mapped
    }

    /// Maps frames that follow each other from an offset on, as base pages. What they replace is released when every
    /// processor has flushed.
    ///
    /// # Errors
    ///
    /// The frames come back, and nothing is changed: as of [`map`](Self::map).
    pub fn map_range(&mut self, offset: usize, range: MappedRange) -> Result<(), AreaMapError<MappedRange>> {
        let mappings = self.mappings.get();
        if range.prop.user {
            return Err(AreaMapError { error: KVirtAreaError::ForUser, item: range });
        }
        let vas = match mappings.part(offset, range.segment.size()) {
            Ok(vas) => vas,
            Err(error) => return Err(AreaMapError { error, item: range }),
        };
        let mut shootdown = everywhere(mappings.table);
        let mapped = put_range(mappings.table, vas, range, &mut shootdown);
        let _ = shootdown.finish();
        mapped
    }

    /// Unmaps `len` bytes from an offset on, has every processor flush, releases the frames, and returns how many base pages
    /// were mapped there.
    ///
    /// # Errors
    ///
    /// Nothing is changed:
    ///
    /// - [`KVirtAreaError::NotAligned`], [`KVirtAreaError::Empty`], [`KVirtAreaError::OutOfRange`]: these are no pages of
    ///   the area.
    /// - [`KVirtAreaError::NoMemory`]: there is no frame to split a huge page at a border, or to keep more than four pages in
    ///   until the flush. Dropping the area needs none.
    pub fn unmap(&mut self, offset: usize, len: usize) -> Result<usize, KVirtAreaError> {
        let mappings = self.mappings.get();
        let vas = mappings.part(offset, len)?;
        let mut shootdown = everywhere(mappings.table);
        let pages = take_out(mappings.table, vas, &mut shootdown);
        let _ = shootdown.finish();
        match pages {
            Ok(pages) => Ok(pages),
            Err(error) => Err(KVirtAreaError::of(error)),
        }
    }

    /// Changes what may be done with what is mapped in `len` bytes from an offset on, has every processor flush, and returns
    /// how many base pages it was.
    ///
    /// # Errors
    ///
    /// - [`KVirtAreaError::NotAligned`], [`KVirtAreaError::Empty`], [`KVirtAreaError::OutOfRange`]: these are no pages of
    ///   the area. Nothing is changed.
    /// - [`KVirtAreaError::NoMemory`]: there is no frame to split a huge page at a border. Nothing is changed.
    /// - [`KVirtAreaError::Unrepresentable`]: no entry can say it. What was changed before stays changed.
    pub fn protect(&mut self, offset: usize, len: usize, access: Access) -> Result<usize, KVirtAreaError> {
        let mappings = self.mappings.get();
        let vas = mappings.part(offset, len)?;
        let mut shootdown = everywhere(mappings.table);
        let pages = recolour(mappings.table, vas, access, &mut shootdown);
        let _ = shootdown.finish();
        match pages {
            Ok(pages) => Ok(pages),
            Err(error) => Err(KVirtAreaError::of(error)),
        }
    }

    /// Returns what is mapped at the page at an offset, with a count of its own.
    ///
    /// # Errors
    ///
    /// - [`KVirtAreaError::NotAligned`], [`KVirtAreaError::OutOfRange`]: it is not the offset of a page of the area.
    pub fn query(&self, offset: usize) -> Result<Option<MappedItem>, KVirtAreaError> {
        let mappings = self.mappings.get();
        let vas = mappings.part(offset, PAGE_SIZE)?;
        let mut cursor = match mappings.table.cursor(vas) {
            Ok(cursor) => cursor,
            Err(error) => return Err(KVirtAreaError::of(error)),
        };
        match cursor.query() {
            Ok(slot) => Ok(slot.item),
            Err(error) => Err(KVirtAreaError::of(error)),
        }
    }
}

} // verus!
