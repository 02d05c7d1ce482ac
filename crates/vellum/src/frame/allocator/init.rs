//! Setting up the allocator at boot.
#![expect(unsafe_code, reason = "the allocator's tables lie in memory that the boot map promises to be free")]

use super::withheld::withhold;
use super::{
    AllocInitError, BuddyAllocator, Chunk, GlobalFrameAllocator, Magazine, Marks, Notes, Parts, global,
};
use crate::boot::{EarlyAllocator, MemoryMap};
use crate::frame;
use crate::sync::{CpuLocal, Once};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::layout::LINEAR_MAP_BASE;

static DEFAULT: Once<BuddyAllocator<'static>> = Once::new();

static MAGAZINES: CpuLocal<Magazine> = CpuLocal::new();

/// Makes a [`BuddyAllocator`] of the usable memory that early allocation left, and registers it.
///
/// Frames must have metadata by now. The allocator's tables, [`Parts::BYTES`] for each 2 MiB up to the end of memory, are
/// the last that `early` hands out. Everything that is not usable is withheld: its frames get metadata of type
/// [`Withheld`](super::Withheld), for good or, in reclaimable memory, until
/// [`reclaim_boot_memory`](super::reclaim_boot_memory). Returns the map with everything that was given away at boot.
/// Frames whose last handle is dropped go back to the allocator.
///
/// # Errors
/// - [`AllocInitError::AlreadySet`] where an allocator is registered,
/// - [`AllocInitError::HookSet`] where the kernel has a use of its own for frames whose last handle is dropped,
/// - [`AllocInitError::Table`] when no usable region has room for the tables,
/// - [`AllocInitError::Buddy`] when the memory reaches beyond the greatest physical address.
///
/// # Safety
/// 1. The linear map shows all usable memory of `early`'s map, readable and writable.
/// 2. Nothing uses that memory, now or later, but through frames and this allocator.
pub unsafe fn init(mut early: EarlyAllocator) -> Result<MemoryMap, AllocInitError> {
    if global::is_set() {
        return Err(AllocInitError::AlreadySet);
    }
    let end = frame::max_paddr().min(early.map().ram_end());
    let len = BuddyAllocator::table_len(Paddr(0), end);
    let parts = match (len * Parts::BYTES).div_ceil(PAGE_SIZE) {
        0 => Parts { chunks: &mut [], marks: &[], notes: &mut [], magazines: &MAGAZINES },
        frames => {
            let start = LINEAR_MAP_BASE + early.alloc(frames, PAGE_SIZE)?.0;
            // SAFETY: the early allocator hands these frames out once and for good, and `len` entries of each table
            // fit in; the caller promises the rest.
            unsafe { place_tables(start, len) }
        }
    };
    let map = early.into_map();
    let allocator = BuddyAllocator::new(Paddr(0), parts)?;
    frame::set_free_hook(global::dealloc_one).map_err(|_| AllocInitError::HookSet)?;
    withhold(&map, frame::max_paddr());
    for region in map.usable() {
        let usable_end = region.end().min(end);
        allocator.add_free(region.base, usable_end.0.saturating_sub(region.base.0) / PAGE_SIZE);
    }
    DEFAULT.set(allocator).map_err(|_| AllocInitError::AlreadySet)?;
    let allocator = DEFAULT.get().ok_or(AllocInitError::AlreadySet)?;
    global::set_global(allocator)?;
    Ok(map)
}

/// Puts tables of `len` entries each one after the other, from a frame's address in the linear map on.
///
/// # Safety
/// The linear map shows the frames of the tables and lets them be written, and nothing else uses that memory from now
/// on.
unsafe fn place_tables(start: usize, len: usize) -> Parts<'static> {
    let notes = start + len * size_of::<Chunk>();
    let marks = notes + len * size_of::<Notes>();
    // SAFETY: by the caller's promise. The chunks begin with a frame; notes, which are words, come after whole chunks;
    // marks are bytes.
    unsafe {
        Parts {
            chunks: place_table(start, len, Chunk::new),
            notes: place_table(notes, len, Notes::new),
            marks: place_table(marks, len, Marks::new),
            magazines: &MAGAZINES,
        }
    }
}

/// Puts a table of `len` entries at `start`, an address of the linear map.
///
/// # Safety
/// The linear map shows the frames of the table and lets them be written, `start` is aligned for its entries, and
/// nothing else uses that memory from now on.
unsafe fn place_table<T>(start: usize, len: usize, entry: impl Fn() -> T) -> &'static mut [T] {
    let table = core::ptr::with_exposed_provenance_mut::<T>(start);
    for index in 0..len {
        // SAFETY: the caller promises memory for `len` entries at `table`, aligned, writable, and used by nobody.
        unsafe { table.add(index).write(entry()) };
    }
    // SAFETY: all `len` entries were written just now, and the caller promises that the memory stays ours.
    unsafe { core::slice::from_raw_parts_mut(table, len) }
}
