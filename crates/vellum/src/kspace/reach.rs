//! Areas of this machine's kernel space, and their contents.
#![expect(unsafe_code, reason = "vouches for what is at the addresses of an area")]
use super::area::KVirtArea;
use super::area_error::{AreaMapError, KVirtAreaError};
use super::tables::areas;
use crate::io::{Fallible, VmReader, VmWriter};
use crate::page_table::MappedRange;
use core::fmt;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};

impl KVirtArea {
    /// Reserves `len` bytes of kernel space, in which nothing is mapped.
    ///
    /// # Errors
    ///
    /// - [`KVirtAreaError::NotInitialised`]: kernel space was not set up.
    /// - [`KVirtAreaError::NotAligned`]: `len` is no multiple of the page size.
    /// - [`KVirtAreaError::Empty`]: `len` is zero.
    /// - [`KVirtAreaError::NoAddresses`]: so many pages in a row are not free.
    pub fn new(len: usize) -> Result<KVirtArea, KVirtAreaError> {
        KVirtArea::new_aligned(len, PAGE_SIZE)
    }

    /// Reserves `len` bytes of kernel space from a multiple of `align` on, as [`new`](Self::new): for huge pages.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new), and [`KVirtAreaError::NotAligned`]: `align` is no number of pages that is a power of two.
    pub fn new_aligned(len: usize, align: usize) -> Result<KVirtArea, KVirtAreaError> {
        let table = areas().ok_or(KVirtAreaError::NotInitialised)?;
        KVirtArea::in_table(table, len, align)
    }

    /// Reserves an area for frames that follow each other, and maps them there.
    ///
    /// # Errors
    ///
    /// The frames come back: as of [`new`](Self::new) and [`map`](Self::map).
    pub fn with_range(range: MappedRange) -> Result<KVirtArea, AreaMapError<MappedRange>> {
        match KVirtArea::new(range.segment.size()) {
            Ok(mut area) => area.map_range(0, range).map(|()| area),
            Err(error) => Err(AreaMapError { error, item: range }),
        }
    }

    /// Makes a reader of what is mapped in `len` bytes from an offset on, through the translations of the processor that reads.
    ///
    /// It stops short where nothing is mapped.
    ///
    /// # Errors
    ///
    /// [`KVirtAreaError::OutOfRange`]: these bytes are not in the area.
    pub fn reader(&self, offset: usize, len: usize) -> Result<VmReader<'_, Fallible>, KVirtAreaError> {
        self.check(offset, len)?;
        // SAFETY: what is mapped there are frames with untyped contents, as long as the area is borrowed; elsewhere nothing is.
        Ok(unsafe { VmReader::<Fallible>::kernel(Vaddr(self.range().start.0 + offset), len) })
    }

    /// Makes a writer to what is mapped in `len` bytes from an offset on, as [`reader`](Self::reader).
    ///
    /// It stops short where nothing is mapped, or what must not be written.
    ///
    /// # Errors
    ///
    /// [`KVirtAreaError::OutOfRange`]: these bytes are not in the area.
    pub fn writer(&self, offset: usize, len: usize) -> Result<VmWriter<'_, Fallible>, KVirtAreaError> {
        self.check(offset, len)?;
        // SAFETY: as for `reader`.
        Ok(unsafe { VmWriter::<Fallible>::kernel(Vaddr(self.range().start.0 + offset), len) })
    }

    fn check(&self, offset: usize, len: usize) -> Result<(), KVirtAreaError> {
        let size = self.size();
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(KVirtAreaError::OutOfRange { offset, len, size }),
        }
    }
}

impl fmt::Debug for KVirtArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KVirtArea").field("range", &self.range()).finish_non_exhaustive()
    }
}
