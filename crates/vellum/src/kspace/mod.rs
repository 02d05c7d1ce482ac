//! Kernel space: the half of every address space that is the same in all of them.
//!
//! One table holds it. All nodes below its root exist from the start and stay, so that the roots of user spaces
//! link them: what the kernel maps later, every space sees. It begins with the linear map, in which physical memory
//! is seen in pages as large as fit.
use crate::page_table::{Access, KernelPtConfig, PageProperty, PageTable, PageTableError, Untracked};
use crate::sync::Once;
use core::fmt;
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

/// Where kernel space shows physical address 0: the first address of the upper half.
pub const LINEAR_MAP: Vaddr = Vaddr(0xffff_8000_0000_0000);

/// The one table.
static KERNEL: Once<PageTable<KernelPtConfig>> = Once::new();

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

/// Sets kernel space up, with a linear map of the physical memory below `end`.
///
/// # Errors
///
/// - [`KernelSpaceError::AlreadyInitialised`]: it was set up before.
/// - [`KernelSpaceError::NoMemory`]: a frame could not be had. The frames of the table so far are lost.
/// - [`KernelSpaceError::TooLarge`]: the memory does not fit.
pub fn init(end: Paddr) -> Result<(), KernelSpaceError> {
    if KERNEL.get().is_some() {
        return Err(KernelSpaceError::AlreadyInitialised);
    }
    let table = PageTable::new().map_err(|_| KernelSpaceError::NoMemory)?;
    table.populate().map_err(|_| KernelSpaceError::NoMemory)?;
    map_linearly(&table, end)?;
    KERNEL.set(table).map_err(|_| KernelSpaceError::AlreadyInitialised)
}

/// Returns the table of kernel space, once it is set up.
///
/// Only this crate edits it: what is mapped there is memory that the kernel itself stands on.
pub(crate) fn table() -> Option<&'static PageTable<KernelPtConfig>> {
    KERNEL.get()
}

/// Maps the physical memory below `end`, in pages as large as fit.
fn map_linearly(table: &PageTable<KernelPtConfig>, end: Paddr) -> Result<(), KernelSpaceError> {
    if end.0 == 0 {
        return Ok(());
    }
    let too_large = KernelSpaceError::TooLarge { end };
    let last = LINEAR_MAP.0.checked_add(end.0).ok_or(too_large)?;
    let mut cursor = table.cursor_mut(LINEAR_MAP..Vaddr(last)).map_err(|_| too_large)?;
    let prop = PageProperty::kernel(Access::RW);
    let mut pa = 0;
    while pa < end.0 {
        let (level, size) = largest_page(pa, end.0);
        let item = Untracked::new(Paddr(pa), level, prop).ok_or(too_large)?;
        cursor.map(item).map_err(|refused| match refused.error {
            PageTableError::NoMemory => KernelSpaceError::NoMemory,
            _ => too_large,
        })?;
        pa += size;
    }
    Ok(())
}

/// The level and the bytes of the largest page that starts at `pa` and ends before `end`.
fn largest_page(pa: usize, end: usize) -> (u8, usize) {
    const LARGER: [(u8, usize); 2] = [(3, PAGE_SIZE << 18), (2, PAGE_SIZE << 9)];
    LARGER
        .into_iter()
        .find(|(_, size)| pa.is_multiple_of(*size) && end - pa >= *size)
        .unwrap_or((1, PAGE_SIZE))
}
