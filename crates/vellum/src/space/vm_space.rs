//! The space itself.
use super::cursor::{Cursor, CursorMut};
use super::error::VmSpaceError;
use super::fault::Handler;
use crate::io::{Fallible, VmReader, VmWriter};
use crate::kspace;
use crate::page_table::{PageTable, Translation, UserPtConfig};
use crate::sync::SpinLock;
use crate::tlb::active::ActiveSet;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Range;
use vellum_machine::addr::Vaddr;
use vellum_machine::cpu::{self, CpuSet};
use vellum_machine::layout;
use vstd::prelude::*;

verus! {

/// Returns the first address above user space.
#[inline(always)]
pub fn user_top() -> Vaddr {
    Vaddr(layout::user_top())
}

/// What handles the page faults of a space.
#[verifier::external_body]
pub(super) struct HandlerSlot(pub(super) SpinLock<Option<Handler>>);

/// An address space of user programs.
///
/// Shared between the processors that use it; a thread that is no processor can hold one, and no more. It
/// goes when nobody holds it and it is active nowhere: then everything in it is unmapped, and the frames of
/// the table go back.
pub struct VmSpace {
    pub(super) table: PageTable<UserPtConfig>,
    /// Whoever walks the table, or may have something of it in its translation cache.
    pub(super) active: ActiveSet,
    pub(super) handler: HandlerSlot,
}

impl VmSpace {
    /// Whoever is active on the space walks its table.
    #[verifier::type_invariant]
    pub(super) open spec fn wf(self) -> bool {
        self.active.root() == self.table.root()
    }

    /// The root of its table.
    pub(super) open spec fn root(&self) -> nat {
        self.table.root()
    }

    /// A space with this table, active nowhere.
    fn with_table(table: PageTable<UserPtConfig>, handler: HandlerSlot) -> VmSpace {
        let active = ActiveSet::new(table.root_paddr());
        VmSpace { table, active, handler }
    }
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl VmSpace {
    /// Makes a space in which nothing is mapped but the half that belongs to the kernel, which all spaces share. The
    /// handle itself comes from the kernel's heap.
    ///
    /// # Errors
    /// - [`VmSpaceError::NotInitialised`]: [`init`](super::init) was not called before.
    /// - [`VmSpaceError::NoMemory`]: a frame for the table could not be had.
    pub fn new() -> Result<Arc<VmSpace>, VmSpaceError> {
        let kernel = kspace::table().ok_or(VmSpaceError::NotInitialised)?;
        let areas = kspace::areas().ok_or(VmSpaceError::NotInitialised)?;
        let table = PageTable::new_sharing_both(kernel, areas)?;
        Ok(Arc::new(VmSpace::with_table(table, HandlerSlot(SpinLock::new(None)))))
    }

    /// Returns the processors on which the space is active at this moment.
    pub fn active_cpus(&self) -> CpuSet {
        self.active.members()
    }

    /// Locks a range to look at what is mapped in it. Waits for cursors on ranges that overlap.
    ///
    /// # Errors
    /// - [`VmSpaceError::Empty`], [`VmSpaceError::Reversed`]: no address is in the range.
    /// - [`VmSpaceError::NotAligned`]: an end is not aligned to the page size.
    /// - [`VmSpaceError::OutOfRange`]: it is not in user space.
    pub fn cursor(&self, range: Range<Vaddr>) -> Result<Cursor<'_>, VmSpaceError> {
        Cursor::new(self, range)
    }

    /// Looks up what a user address translates to, without a lock. `None` where nothing is mapped.
    ///
    /// What it says was so at some moment of the call, and may have changed when it returns: see
    /// [`PageTable::translate`]. See [`cursor`](Self::cursor) to look at what stays.
    #[inline(always)]
    pub fn translate(&self, va: Vaddr) -> Option<Translation> {
        self.table.translate(va)
    }

    /// Locks a range to change what is mapped in it. Waits for cursors on ranges that overlap.
    ///
    /// # Errors
    /// As for [`cursor`](Self::cursor).
    ///
    /// # Panics
    /// Its cursor does when it flushes, on a thread that is no processor.
    #[inline]
    pub fn cursor_mut(&self, range: Range<Vaddr>) -> Result<CursorMut<'_>, VmSpaceError> {
        CursorMut::new(self, range, 1)
    }

    /// Locks a range to map huge pages of up to level `level` in it: 2 for 2 MiB, 3 for 1 GiB on x86-64.
    ///
    /// [`cursor_mut`](Self::cursor_mut) does for a range that is larger than the page, and for one where nothing smaller is
    /// mapped; this also where base pages are mapped in the place of the one huge page that is to replace them. It locks the
    /// node that has the entry for the huge page: cursors over the other addresses of that node wait.
    ///
    /// # Errors
    /// As for [`cursor`](Self::cursor).
    ///
    /// # Panics
    /// As for [`cursor_mut`](Self::cursor_mut).
    pub fn cursor_mut_at(&self, range: Range<Vaddr>, level: u8) -> Result<CursorMut<'_>, VmSpaceError> {
        CursorMut::new(self, range, level)
    }

    /// Makes a reader of the user memory at `va`, through the translations of the calling processor.
    ///
    /// Whether anything is mapped there shows when it is read. The reader works as long as the space stays
    /// active here.
    ///
    /// # Errors
    /// - [`VmSpaceError::Empty`]: `len` is zero.
    /// - [`VmSpaceError::Overflow`]: the range goes beyond the last address.
    /// - [`VmSpaceError::OutOfRange`]: it is not in user space.
    /// - [`VmSpaceError::NotActive`]: the space is not active on the calling processor.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn reader(&self, va: Vaddr, len: usize) -> Result<VmReader<'_, Fallible>, VmSpaceError> {
        self.check_access(va, len)?;
        Ok(VmReader::user(va, len, self.table.root_paddr()))
    }

    /// Makes a writer to the user memory at `va`, through the translations of the calling processor.
    ///
    /// # Errors
    /// As for [`reader`](Self::reader).
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn writer(&self, va: Vaddr, len: usize) -> Result<VmWriter<'_, Fallible>, VmSpaceError> {
        self.check_access(va, len)?;
        Ok(VmWriter::user(va, len, self.table.root_paddr()))
    }

    fn check_access(&self, va: Vaddr, len: usize) -> Result<(), VmSpaceError> {
        if len == 0 {
            return Err(VmSpaceError::Empty { va });
        }
        let end = va.0.checked_add(len).ok_or(VmSpaceError::Overflow { va, len })?;
        if end > user_top().0 {
            return Err(VmSpaceError::OutOfRange { va: va.max(user_top()) });
        }
        let cpu = cpu::current();
        if !self.active.members().contains(cpu) {
            return Err(VmSpaceError::NotActive { cpu });
        }
        Ok(())
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for VmSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmSpace")
            .field("root", &self.table.root_paddr())
            .field("active", &self.active.members())
            .finish_non_exhaustive()
    }
}
