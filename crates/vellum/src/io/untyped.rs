//! Frames whose contents are plain bytes.
#![expect(unsafe_code, reason = "knows that the linear map shows every frame")]
use super::kind::Infallible;
use super::reader::VmReader;
use super::writer::VmWriter;
use crate::frame::{AnyUFrameMeta, Frame, FrameKind, Segment};
use vellum_machine::page::contents;

/// Memory of the kernel that anybody may read and write at any time.
pub trait UntypedMem {
    /// Reads from its first byte on.
    fn reader(&self) -> VmReader<'_, Infallible>;

    /// Writes from its first byte on.
    fn writer(&self) -> VmWriter<'_, Infallible>;
}

impl<M: ?Sized + AnyUFrameMeta + FrameKind> UntypedMem for Frame<M> {
    fn reader(&self) -> VmReader<'_, Infallible> {
        // SAFETY: the linear map shows the frame, which is there as long as the handle; nobody makes
        // references into frames with untyped contents.
        unsafe { VmReader::from_raw(contents(self.start_paddr()), self.size()) }
    }

    fn writer(&self) -> VmWriter<'_, Infallible> {
        // SAFETY: as in `reader`.
        unsafe { VmWriter::from_raw(contents(self.start_paddr()), self.size()) }
    }
}

impl<M: ?Sized + AnyUFrameMeta + FrameKind> UntypedMem for Segment<M> {
    fn reader(&self) -> VmReader<'_, Infallible> {
        // SAFETY: the linear map shows all frames of the segment side by side; for the rest as for a frame.
        unsafe { VmReader::from_raw(contents(self.start_paddr()), self.size()) }
    }

    fn writer(&self) -> VmWriter<'_, Infallible> {
        // SAFETY: as in `reader`.
        unsafe { VmWriter::from_raw(contents(self.start_paddr()), self.size()) }
    }
}
