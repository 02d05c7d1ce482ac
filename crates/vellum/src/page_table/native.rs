//! Which shape and entry format this machine's page tables have.
//!
//! The machine layer says what its walkers read ([`ptword::Native`]); what that means for page tables stands here.
use super::riscv::*;
use super::x86_64::*;
use vellum_machine::ptword;
use vellum_machine::ptword::Extensions;
use vstd::prelude::*;

verus! {

/// What page tables are like whose words a walker reads.
pub trait Tables {
    /// The shape of the tree.
    type Shape;
}

/// The format of an entry in a tree of shape `G`, for a walker.
pub trait Entries<G> {
    /// The format.
    type Entry;
}

impl Tables for ptword::X86_64 {
    type Shape = FourLevel;
}

impl<G> Entries<G> for ptword::X86_64 {
    type Entry = X86Entry<G>;
}

/// One kernel is for harts of both.
impl<X: Extensions> Tables for ptword::RiscV<X> {
    type Shape = Sv39OrSv48;
}

impl<G, X: Extensions> Entries<G> for ptword::RiscV<X> {
    type Entry = RiscVEntry<G, X>;
}

/// The shape of the trees that this machine's walkers read.
pub type NativeShape = <ptword::Native as Tables>::Shape;

/// The format of the entries, in a tree of shape `G`, that this machine's walkers read.
pub type NativeEntry<G> = <ptword::Native as Entries<G>>::Entry;

} // verus!
