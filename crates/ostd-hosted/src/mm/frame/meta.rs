//! What is kept about a frame.
use crate::mm::Paddr;

/// Metadata of a frame. A type of more than 32 bytes, or with an alignment of more than 8, is refused where the first
/// frame of the type is made.
pub trait AnyFrameMeta: Send + Sync + 'static {}

/// Declares metadata.
#[macro_export]
macro_rules! impl_frame_meta_for {
    ($($ty:ty),+ $(,)?) => {
        $(impl $crate::mm::frame::meta::AnyFrameMeta for $ty {})+
    };
}

/// Why a frame cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetFrameError {
    /// Someone has it.
    InUse,
    /// Nobody has it.
    Unused,
    /// Someone has it alone.
    Unique,
    /// There is no such frame.
    OutOfBound(Paddr),
    /// The address is not that of a frame.
    NotAligned(Paddr),
}
