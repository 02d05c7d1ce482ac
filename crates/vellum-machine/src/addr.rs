//! Physical and virtual addresses.
use core::fmt;
use vstd::prelude::*;

verus! {

global size_of usize == 8;

/// Bytes in a frame, and in a base page.
pub const PAGE_SIZE: usize = 4096;

/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: usize = 12;

/// A physical address, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Structural)]
#[repr(transparent)]
pub struct Paddr(pub usize);

/// A virtual address, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Structural)]
#[repr(transparent)]
pub struct Vaddr(pub usize);

} // verus!

macro_rules! hex_formats {
    ($($ty:ident),*) => {$(
        #[cfg_attr(verus_keep_ghost, verifier::external)]
        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($ty), "({:#x})"), self.0)
            }
        }

        #[cfg_attr(verus_keep_ghost, verifier::external)]
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}

hex_formats!(Paddr, Vaddr);
