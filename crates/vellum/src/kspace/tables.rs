//! The two tables of kernel space.
#![expect(
    unsafe_code,
    reason = "declares what a kernel promises of what it maps, and has processors obey the table"
)]
use crate::page_table::{
    Access, AreaPtConfig, KernelPtConfig, NativeShape, PageProperty, PageTable, PageTableError, PagingConsts,
    Untracked,
};
use crate::sync::Once;
use core::fmt;
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::{arch, layout, tlb};

/// Where kernel space shows physical address 0: the first address of the kernel's table, of those that all modes of paging
/// have.
pub const LINEAR_MAP: Vaddr = Vaddr(layout::LINEAR_MAP_IN_KERNEL_SPACE);

/// How many bytes there are for areas, on every machine.
pub const AREA_BYTES: usize = 16 << 30;

/// The kernel's table.
static KERNEL: Once<PageTable<KernelPtConfig>> = Once::new();

/// The table of areas, which is there before the kernel's, to be linked by it.
static AREAS: Once<PageTable<AreaPtConfig>> = Once::new();

/// Why kernel space could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelSpaceError {
    /// It was set up before.
    AlreadyInitialised,
    /// A frame for a page-table node could not be had.
    NoMemory,
    /// The linear map does not fit: physical memory ends here.
    TooLarge {
        /// The end of physical memory.
        end: Paddr,
    },
}

impl fmt::Display for KernelSpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelSpaceError::AlreadyInitialised => f.write_str("kernel space was set up before"),
            KernelSpaceError::NoMemory => f.write_str("no frame left for the page table of the kernel"),
            KernelSpaceError::TooLarge { end } => {
                write!(f, "physical memory up to {end} does not fit into the linear map")
            }
        }
    }
}

impl core::error::Error for KernelSpaceError {}

/// Why nothing was mapped into kernel space, or it could not be entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelMapError {
    /// It was not set up.
    NotInitialised,
    /// An address or the length is no multiple of the page size.
    NotAligned,
    /// The addresses are not in kernel space, or the physical ones are none.
    OutOfRange {
        /// The first virtual address.
        at: Vaddr,
    },
    /// Something is mapped there.
    Taken {
        /// The first address where something is.
        at: Vaddr,
    },
    /// User code would reach it, or entries cannot say what may be done.
    BadProperty,
    /// A frame for a page-table node could not be had.
    NoMemory,
}

impl fmt::Display for KernelMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelMapError::NotInitialised => f.write_str("kernel space was not set up"),
            KernelMapError::NotAligned => f.write_str("what is to be mapped is not of whole pages"),
            KernelMapError::OutOfRange { at } => write!(f, "{at} cannot be mapped in kernel space"),
            KernelMapError::Taken { at } => write!(f, "something is mapped at {at}"),
            KernelMapError::BadProperty => f.write_str("kernel space cannot have such a mapping"),
            KernelMapError::NoMemory => f.write_str("no frame left for the page table of the kernel"),
        }
    }
}

impl core::error::Error for KernelMapError {}

/// Sets kernel space up, with a linear map of the physical memory below `end`.
///
/// # Errors
///
/// - [`KernelSpaceError::AlreadyInitialised`]: it was set up before.
/// - [`KernelSpaceError::NoMemory`]: a frame could not be had. The frames of the kernel's table so far are lost; those of
///   the table of areas are there when this is called again.
/// - [`KernelSpaceError::TooLarge`]: the memory does not fit.
pub fn init(end: Paddr) -> Result<(), KernelSpaceError> {
    if KERNEL.get().is_some() {
        return Err(KernelSpaceError::AlreadyInitialised);
    }
    let table = PageTable::new_sharing(make_areas()?).map_err(|_| KernelSpaceError::NoMemory)?;
    table.populate().map_err(|_| KernelSpaceError::NoMemory)?;
    map_linearly(&table, end)?;
    KERNEL.set(table).map_err(|_| KernelSpaceError::AlreadyInitialised)
}

/// Returns the table of areas with all nodes below its root, made now or when kernel space could not be set up before.
fn make_areas() -> Result<&'static PageTable<AreaPtConfig>, KernelSpaceError> {
    if AREAS.get().is_none() {
        let table = PageTable::new().map_err(|_| KernelSpaceError::NoMemory)?;
        // Who was faster has made one as good.
        drop(AREAS.set(table));
    }
    let areas = AREAS.get().ok_or(KernelSpaceError::AlreadyInitialised)?;
    areas.populate().map_err(|_| KernelSpaceError::NoMemory)?;
    // The nodes above the leaf tables, too: they stay, for areas take the leaf tables out that they leave empty, and no others.
    areas.populate_range(area_range(), 2).map_err(|_| KernelSpaceError::NoMemory)?;
    Ok(areas)
}

/// Returns the kernel's table, once kernel space is set up.
///
/// Only this crate edits it: what is mapped there is memory that the kernel itself stands on.
pub(crate) fn table() -> Option<&'static PageTable<KernelPtConfig>> {
    KERNEL.get()
}

/// Returns the table of areas, once kernel space is set up: from then on every root links its nodes.
pub(crate) fn areas() -> Option<&'static PageTable<AreaPtConfig>> {
    KERNEL.get().and(AREAS.get())
}

/// Returns the addresses that there are for areas: the first [`AREA_BYTES`] of their table.
pub fn area_range() -> Range<Vaddr> {
    let start = super::area::areas_start();
    Vaddr(start)..Vaddr(start + AREA_BYTES)
}

/// Maps `len` bytes of physical memory from `pa` on at `at`, for good, in pages as large as fit: the image of the kernel,
/// the metadata region, a device.
///
/// Every space sees it. Nothing was mapped there before, so that nothing is flushed.
///
/// # Errors
///
/// Nothing was mapped:
/// - [`KernelMapError::NotInitialised`]: there is no kernel space yet.
/// - [`KernelMapError::NotAligned`]: `at`, `pa` or `len` is no multiple of the page size.
/// - [`KernelMapError::OutOfRange`]: the addresses are not of the kernel's table (those of [areas](area_range) are not), or
///   beyond the limit of physical memory.
/// - [`KernelMapError::Taken`]: something is mapped there.
/// - [`KernelMapError::BadProperty`]: `prop` is for user code, or entries cannot say it.
///
/// And, when the pages before are mapped already, and stay so:
/// - [`KernelMapError::NoMemory`]: a frame for a page-table node could not be had.
///
/// # Safety
///
/// 1. Whatever kernel code does through the mapping is sound: nobody relies on that memory as if it were not there.
pub unsafe fn map(at: Vaddr, pa: Paddr, len: usize, prop: PageProperty) -> Result<(), KernelMapError> {
    let table = KERNEL.get().ok_or(KernelMapError::NotInitialised)?;
    if ![at.0, pa.0, len].iter().all(|n| n.is_multiple_of(PAGE_SIZE)) {
        return Err(KernelMapError::NotAligned);
    }
    if prop.user {
        return Err(KernelMapError::BadProperty);
    }
    map_pages(table, at, pa, len, prop)
}

/// Has the calling processor walk the table of kernel space, in place of the one that it booted with.
///
/// # Errors
///
/// - [`KernelMapError::NotInitialised`]: there is no kernel space yet.
///
/// # Safety
///
/// 1. The code that runs, its stack and its data are mapped in kernel space as they are in the table before.
/// 2. No space was active on this processor yet.
pub unsafe fn enter() -> Result<(), KernelMapError> {
    let table = KERNEL.get().ok_or(KernelMapError::NotInitialised)?;
    // SAFETY: the table is of the native format and stays for ever, and maps nothing for user code. By duty 1 the
    // processor goes on; by duty 2 nobody has noted what it walks.
    unsafe { tlb::set_root(table.root_paddr()) };
    Ok(())
}

/// Maps the physical memory below `end`, in pages as large as fit.
fn map_linearly(table: &PageTable<KernelPtConfig>, end: Paddr) -> Result<(), KernelSpaceError> {
    let prop = PageProperty::kernel(Access::RW);
    map_pages(table, LINEAR_MAP, Paddr(0), end.0, prop).map_err(|error| match error {
        KernelMapError::NoMemory => KernelSpaceError::NoMemory,
        _ => KernelSpaceError::TooLarge { end },
    })
}

/// Maps whole pages where nothing is mapped.
fn map_pages(
    table: &PageTable<KernelPtConfig>,
    at: Vaddr,
    pa: Paddr,
    len: usize,
    prop: PageProperty,
) -> Result<(), KernelMapError> {
    if len == 0 {
        return Ok(());
    }
    let outside = KernelMapError::OutOfRange { at };
    let end = at.0.checked_add(len).ok_or(outside)?;
    pa.0.checked_add(len).filter(|end| *end <= layout::PADDR_LIMIT).ok_or(outside)?;
    let mut cursor = table.cursor_mut(at..Vaddr(end)).map_err(|_| outside)?;
    if let Some(taken) = cursor.find_next(len).map_err(|_| outside)? {
        return Err(KernelMapError::Taken { at: taken });
    }
    cursor.jump(at).map_err(|_| outside)?;
    let mut done = 0;
    while done < len {
        let (level, size) = largest_page(at.0 + done, pa.0 + done, len - done);
        let item = Untracked::new(Paddr(pa.0 + done), level, prop).ok_or(outside)?;
        cursor.map(item).map_err(|refused| match refused.error {
            PageTableError::NoMemory => KernelMapError::NoMemory,
            PageTableError::Unrepresentable { .. } => KernelMapError::BadProperty,
            _ => outside,
        })?;
        done += size;
    }
    Ok(())
}

/// The level and the bytes of the largest page that maps `pa` at `at`, has at most `len` bytes, and is known to the
/// walkers.
fn largest_page(at: usize, pa: usize, len: usize) -> (u8, usize) {
    const LARGER: [(u8, usize); 2] = [(3, PAGE_SIZE << 18), (2, PAGE_SIZE << 9)];
    LARGER
        .into_iter()
        // What is below the root stays: its entries are links.
        .filter(|(level, _)| *level <= arch::largest_leaf_level() && *level < NativeShape::levels())
        .find(|(_, size)| (at | pa).is_multiple_of(*size) && len >= *size)
        .unwrap_or((1, PAGE_SIZE))
}
