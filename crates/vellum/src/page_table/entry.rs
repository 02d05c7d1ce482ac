//! What a page-table entry says, whatever its format.
#![expect(unsafe_code, reason = "declares what callers promise")]
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::layout::PADDR_LIMIT;
#[cfg(verus_keep_ghost)]
use vellum_machine::model::*;
use vellum_machine::ptword::WalkerFormat;
#[cfg(verus_keep_ghost)]
use vellum_machine::ptword::{all_noted, same_word};
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
    /// Fetching instructions alone: not every format can say that.
    X,
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Structural)]
pub enum AccessType {
    /// It reads data.
    Read,
    /// It writes data.
    Write,
    /// It fetches an instruction.
    Execute,
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

/// What fits is a whole frame below the limit.
pub proof fn lemma_leaf_fits<G: PagingConsts>(pa: usize, l: nat)
    requires
        leaf_fits::<G>(pa, l),
    ensures
        node_fits(pa),
{
    G::consts_ok();
    let nr = G::NR_ENTRIES as nat;
    let p = pages(nr, (l - 1) as nat);
    lemma_pages_pos(nr, (l - 1) as nat);
    let s = span(nr, l);
    let q = pa as nat / s;
    assert(pa == q * s) by (nonlinear_arith)
        requires
            pa as nat % s == 0,
            q == pa as nat / s,
            s >= 1,
    ;
    assert(q * (4096 * p) == 4096 * (q * p)) by (nonlinear_arith);
    assert((4096 * (q * p)) % 4096 == 0) by (nonlinear_arith);
    assert(4096 * p >= 4096) by (nonlinear_arith)
        requires
            p >= 1,
    ;
}

/// The walker for trees of shape `G`.
pub open spec fn walker_shape<G: PagingConsts>() -> WalkerShape {
    WalkerShape {
        index_bits: G::INDEX_BITS as nat,
        entries: G::NR_ENTRIES as nat,
        max_leaf_level: G::MAX_LEAF_LEVEL as nat,
    }
}

/// The rights that a property gives.
pub open spec fn rights(p: PageProperty) -> Rights {
    Rights {
        read: p.access is R || p.access is RW || p.access is RX || p.access is RWX,
        write: p.access is RW || p.access is RWX,
        user: p.user,
        execute: p.access is X || p.access is RX || p.access is RWX,
    }
}

/// What the walker should make of an entry.
pub open spec fn step_of(pte: Pte) -> Step {
    match pte {
        Pte::Absent => Step::Fault,
        Pte::Leaf(pa, p) => if p.access is None { Step::Fault } else { Step::Page(pa as nat, rights(p)) },
        Pte::Table(pa) => Step::Node(pa as nat, all_rights()),
    }
}

/// The format of an entry: a word of memory that hardware reads.
pub trait PageTableEntry<G: PagingConsts>: Send + Sync + 'static {
    /// What the walker may do to its words.
    type Format: WalkerFormat;

    /// What a word means at a level.
    spec fn meaning(e: u64, l: nat) -> Pte;

    /// A link that takes no right away from what is below it.
    spec fn open_link(e: u64) -> bool;

    /// Whether an entry can say the property.
    spec fn holds(prop: PageProperty) -> bool;

    /// What hardware noted in a word.
    spec fn noted(e: u64) -> AccessedDirty;

    /// Says whether an entry can say the property: a page can be mapped so.
    fn can_hold(prop: PageProperty) -> (r: bool)
        ensures
            r == Self::holds(prop),
        opens_invariants none
        no_unwind
    ;

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
    /// 2. The format [can say](Self::can_hold) the property.
    unsafe fn leaf(pa: usize, l: u8, prop: PageProperty) -> (r: u64)
        requires
            leaf_fits::<G>(pa, l as nat),
            Self::holds(prop),
        ensures
            Self::meaning(r, l as nat) == Pte::Leaf(pa, prop),
        opens_invariants none
        no_unwind
    ;

    /// Returns the word that maps the page after that of `e`, with the same property: an addition.
    fn leaf_after(e: u64) -> (r: u64)
        ensures
            Self::meaning(e, 1) matches Pte::Leaf(pa, prop) ==> leaf_fits::<G>((pa + PAGE_SIZE) as usize, 1) ==> Self::meaning(r, 1)
                == Pte::Leaf((pa + PAGE_SIZE) as usize, prop),
        opens_invariants none
        no_unwind
    ;

    /// Says whether the word `e` of a base page differs from that of another in nothing but the page.
    fn is_alike(e: u64, other: u64) -> (r: bool)
        ensures
            r ==> (Self::meaning(other, 1) matches Pte::Leaf(_, prop) ==> Self::meaning(e, 1) matches Pte::Leaf(_, p) && p == prop),
            r ==> Self::noted(e) == Self::noted(other),
            r ==> (all_noted::<Self::Format>(other) ==> all_noted::<Self::Format>(e)),
        opens_invariants none
        no_unwind
    ;

    /// Returns the word of the base page of `e`, with all else as in that of another.
    fn page_alike(e: u64, other: u64) -> (r: u64)
        ensures
            Self::meaning(e, 1) matches Pte::Leaf(pa, _) ==> Self::meaning(other, 1) matches Pte::Leaf(_, prop) ==> Self::meaning(r, 1)
                == Pte::Leaf(pa, prop),
            Self::noted(r) == Self::noted(other),
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
    fn accessed_dirty(e: u64) -> (r: AccessedDirty)
        ensures
            r == Self::noted(e),
        opens_invariants none
        no_unwind
    ;

    /// Returns a word in which this is noted, and nothing else is said.
    fn note(ad: AccessedDirty) -> (r: u64)
        ensures
            Self::noted(r) == ad,
        opens_invariants none
        no_unwind
    ;

    /// Returns the word `e` of a page with what hardware noted in `from`.
    fn with_noted(e: u64, from: u64) -> (r: u64)
        ensures
            forall|l: nat| #[trigger] Self::meaning(e, l) is Leaf ==> same_word::<Self::Format>(r, e),
            Self::noted(r) == Self::noted(e).or(Self::noted(from)),
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

    /// What an entry says, an entry can say.
    proof fn meaning_holds(e: u64, l: nat)
        ensures
            Self::meaning(e, l) matches Pte::Leaf(_, p) ==> Self::holds(p),
    ;

    /// The walker, which sees `e` where `f` was written, makes of it what it means.
    proof fn walker_step(e: u64, f: u64, l: nat)
        requires
            same_word::<Self::Format>(e, f),
            l >= 1,
            match Self::meaning(f, l) {
                Pte::Absent => true,
                Pte::Leaf(pa, _) => leaf_fits::<G>(pa, l) && pa as nat % entry_bytes(walker_shape::<G>(), l) == 0,
                Pte::Table(_) => Self::open_link(f),
            },
        ensures
            Self::Format::step(e, l, walker_shape::<G>()) == step_of(Self::meaning(f, l)),
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

impl AccessedDirty {
    /// Nothing.
    pub const NONE: AccessedDirty = AccessedDirty { accessed: false, dirty: false };

    /// What an access to a page notes: a write that it is accessed and dirty, any other that it is accessed.
    pub const fn of_access(access: AccessType) -> (r: Self)
        ensures
            r == (AccessedDirty { accessed: true, dirty: access is Write }),
        opens_invariants none
        no_unwind
    {
        AccessedDirty { accessed: true, dirty: matches!(access, AccessType::Write) }
    }

    /// What is noted in a new mapping of this property that is made for an access: what the access notes, if it is permitted.
    #[inline(always)]
    pub(super) fn of_new(access: Option<AccessType>, prop: PageProperty) -> Self
        no_unwind
    {
        match access {
            Some(access) if prop.access.permits(access) => Self::of_access(access),
            _ => Self::NONE,
        }
    }

    /// The other notes all that this does.
    pub open spec fn up_to(self, other: Self) -> bool {
        (self.accessed ==> other.accessed) && (self.dirty ==> other.dirty)
    }

    /// What either notes.
    pub open spec fn or(self, other: Self) -> Self {
        AccessedDirty { accessed: self.accessed || other.accessed, dirty: self.dirty || other.dirty }
    }
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
        self.permits(AccessType::Read)
    }

    /// Says whether writing is allowed.
    pub const fn writable(self) -> bool {
        self.permits(AccessType::Write)
    }

    /// Says whether fetching instructions is allowed.
    pub const fn executable(self) -> bool {
        self.permits(AccessType::Execute)
    }

    /// What [`permits`](Self::permits) says.
    pub open spec fn allows(self, access: AccessType) -> bool {
        match access {
            AccessType::Read => self is R || self is RW || self is RX || self is RWX,
            AccessType::Write => self is RW || self is RWX,
            AccessType::Execute => self is X || self is RX || self is RWX,
        }
    }

    /// Says whether an access is allowed.
    pub const fn permits(self, access: AccessType) -> (r: bool)
        ensures
            r == self.allows(access),
        opens_invariants none
        no_unwind
    {
        match access {
            AccessType::Read => matches!(self, Access::R | Access::RW | Access::RX | Access::RWX),
            AccessType::Write => matches!(self, Access::RW | Access::RWX),
            AccessType::Execute => matches!(self, Access::X | Access::RX | Access::RWX),
        }
    }
}

} // verus!
