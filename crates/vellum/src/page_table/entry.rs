//! What a page-table entry says, whatever its format.
#![expect(unsafe_code, reason = "declares what callers promise")]
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::layout::PADDR_LIMIT;
use vellum_machine::ptword::WalkerFormat;
#[cfg(verus_keep_ghost)]
use vellum_machine::ptword::same_word;
use vstd::prelude::*;

verus! {

/// What may be done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub enum Access {
    /// Nothing: the entry keeps its frame and translates nothing (`PROT_NONE`).
    None,
    /// Reading.
    R,
    /// Reading and writing.
    RW,
    /// Reading and fetching instructions.
    RX,
    /// Reading, writing and fetching instructions.
    RWX,
}

/// How accesses to a page are cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub enum CachePolicy {
    /// Cached, written back.
    WriteBack,
    /// Cached, written through.
    WriteThrough,
    /// Not cached.
    Uncached,
}

/// Two bits of an entry that hardware ignores and the kernel may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub struct SoftBits {
    /// The first bit.
    pub a: bool,
    /// The second bit.
    pub b: bool,
}

/// What a mapping allows.
///
/// Accessed and dirty bits are not part of it: hardware sets them at any time ([`AccessedDirty`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub struct PageProperty {
    /// What may be done.
    pub access: Access,
    /// Whether user mode may do it.
    pub user: bool,
    /// Whether the translation is the same in every address space.
    pub global: bool,
    /// How accesses are cached.
    pub cache: CachePolicy,
    /// Bits for the kernel's own use.
    pub soft: SoftBits,
}

/// What hardware noted of the use of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub struct AccessedDirty {
    /// The page was accessed.
    pub accessed: bool,
    /// The page was written.
    pub dirty: bool,
}

/// An entry, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub enum Pte {
    /// Nothing is mapped.
    Absent,
    /// A link to the node at this physical address.
    Table(usize),
    /// A page at this physical address.
    Leaf(usize, PageProperty),
}

impl Pte {
    /// Returns the page that a leaf maps.
    #[inline(always)]
    pub(super) fn as_leaf(&self) -> (r: (usize, PageProperty))
        requires
            self is Leaf,
        ensures
            *self == Pte::Leaf(r.0, r.1),
        opens_invariants none
        no_unwind
    {
        match self {
            Pte::Leaf(pa, prop) => (*pa, *prop),
            _ => vstd::pervasive::unreached(),
        }
    }
}

/// A physical range that an entry of level `l` can map.
pub open spec fn leaf_fits<G: PagingConsts>(pa: usize, l: nat) -> bool {
    &&& 1 <= l <= G::MAX_LEAF_LEVEL
    &&& pa as nat % span(G::NR_ENTRIES as nat, l) == 0
    &&& pa + span(G::NR_ENTRIES as nat, l) <= PADDR_LIMIT
}

/// A physical address that a link can name.
pub open spec fn node_fits(pa: usize) -> bool {
    pa % PAGE_SIZE == 0 && pa + PAGE_SIZE <= PADDR_LIMIT
}

/// The format of an entry: a word of memory that hardware reads.
pub trait PageTableEntry<G: PagingConsts>: Send + Sync + 'static {
    /// What the walker may do to its words.
    type Format: WalkerFormat;

    /// What a word means at a level.
    spec fn meaning(e: u64, l: nat) -> Pte;

    /// A link that takes no right away from what is below it.
    spec fn open_link(e: u64) -> bool;

    /// Decodes a word.
    fn decode(e: u64, l: u8) -> (r: Pte)
        ensures
            r == Self::meaning(e, l as nat),
        opens_invariants none
        no_unwind
    ;

    /// Returns the word that maps a page.
    ///
    /// # Safety
    ///
    /// 1. A page of level `l` may be mapped, and one at `pa` is aligned to its size and ends within physical memory.
    unsafe fn leaf(pa: usize, l: u8, prop: PageProperty) -> (r: u64)
        requires
            leaf_fits::<G>(pa, l as nat),
        ensures
            Self::meaning(r, l as nat) == Pte::Leaf(pa, prop),
        opens_invariants none
        no_unwind
    ;

    /// Returns the word that links a node.
    ///
    /// # Safety
    ///
    /// 1. `pa` is the address of a frame.
    unsafe fn link(pa: usize) -> (r: u64)
        requires
            node_fits(pa),
        ensures
            forall|l: nat| l > 1 ==> #[trigger] Self::meaning(r, l) == Pte::Table(pa),
            Self::open_link(r),
        opens_invariants none
        no_unwind
    ;

    /// Returns what hardware noted in a word.
    fn accessed_dirty(e: u64) -> AccessedDirty
        opens_invariants none
        no_unwind
    ;

    /// Returns the word `e` with what hardware noted in `from`.
    fn with_noted(e: u64, from: u64) -> (r: u64)
        ensures
            same_word::<Self::Format>(r, e),
        opens_invariants none
        no_unwind
    ;

    /// What hardware sets at any time does not change the meaning.
    proof fn noted_is_no_meaning(e1: u64, e2: u64, l: nat)
        requires
            same_word::<Self::Format>(e1, e2),
        ensures
            Self::meaning(e1, l) == Self::meaning(e2, l),
            Self::open_link(e1) == Self::open_link(e2),
    ;

    /// A zeroed node maps nothing.
    proof fn zero_is_absent(l: nat)
        ensures
            Self::meaning(0, l) is Absent,
    ;

    /// Links are above the lowest level, pages at or below the highest leaf level.
    proof fn levels(e: u64, l: nat)
        ensures
            Self::meaning(e, l) is Table ==> l != 1,
            Self::meaning(e, l) is Leaf ==> l <= G::MAX_LEAF_LEVEL || l == 1,
    ;
}

impl SoftBits {
    /// Neither bit.
    pub const NONE: SoftBits = SoftBits { a: false, b: false };
    /// The first bit alone.
    pub const A: SoftBits = SoftBits { a: true, b: false };
    /// The second bit alone.
    pub const B: SoftBits = SoftBits { a: false, b: true };
    /// Both bits.
    pub const AB: SoftBits = SoftBits { a: true, b: true };
}

impl PageProperty {
    /// Makes a property of user pages: cached, not global, no soft bits.
    pub const fn user(access: Access) -> Self {
        PageProperty {
            access,
            user: true,
            global: false,
            cache: CachePolicy::WriteBack,
            soft: SoftBits::NONE,
        }
    }

    /// Makes a property of kernel pages: cached, global, no soft bits.
    pub const fn kernel(access: Access) -> Self {
        PageProperty {
            access,
            user: false,
            global: true,
            cache: CachePolicy::WriteBack,
            soft: SoftBits::NONE,
        }
    }

    /// Returns the same with other soft bits.
    pub const fn with_soft(self, soft: SoftBits) -> Self {
        PageProperty { soft, ..self }
    }

    /// Returns the same with another access.
    pub const fn with_access(self, access: Access) -> Self {
        PageProperty { access, ..self }
    }
}

impl Access {
    /// Says whether reading is allowed.
    pub const fn readable(self) -> bool {
        !matches!(self, Access::None)
    }

    /// Says whether writing is allowed.
    pub const fn writable(self) -> bool {
        matches!(self, Access::RW | Access::RWX)
    }

    /// Says whether fetching instructions is allowed.
    pub const fn executable(self) -> bool {
        matches!(self, Access::RX | Access::RWX)
    }
}

} // verus!
