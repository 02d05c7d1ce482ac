//! What a page table is for: its shape, its entries, and what it maps.
#![expect(unsafe_code, reason = "declares what implementers promise")]
use super::entry::*;
use super::geometry::*;
use super::spec::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
#[cfg(verus_keep_ghost)]
use vellum_machine::ptword::same_word;
use vstd::prelude::*;

verus! {

/// The use of a page table.
///
/// # Safety
///
/// Who implements this promises the contracts of its functions. They are checked where the implementation is
/// verified, and are the implementer's duty where it is not:
///
/// 1. [`item_into_raw`](Self::item_into_raw) gives an address that is aligned to the size of its level and lies
///    below the limit of physical memory, and a level that may map a page.
/// 2. [`item_from_raw`](Self::item_from_raw) undoes it exactly.
/// 3. [`clone_leaf`](Self::clone_leaf) adds whatever count another item of the same mapping needs.
pub unsafe trait PageTableConfig: Send + Sync + 'static {
    /// The shape of the tree.
    type Consts: PagingConsts;

    /// The format of an entry.
    type Entry: PageTableEntry<Self::Consts>;

    /// What is mapped: it owns its frames while it is out of the table, and the table owns them while it is in.
    type Item;

    /// The first entry of the root that belongs to the table.
    const TOP_LO: usize;

    /// One past the last entry of the root that belongs to the table.
    const TOP_HI: usize;

    /// Whether the nodes below the root stay for as long as the table does, because others link them.
    const TOP_NODES_STAY: bool;

    /// The virtual address of the tree's page 0.
    spec fn spec_va_base() -> usize;

    /// Returns the virtual address of the tree's page 0.
    #[verifier::when_used_as_spec(spec_va_base)]
    fn va_base() -> (r: usize)
        ensures
            r == Self::spec_va_base(),
        opens_invariants none
        no_unwind
    ;

    /// What a leaf at level `l` must own.
    spec fn leaf_ok(t: LeafTok, pa: usize, l: nat) -> bool;

    /// An item as the table keeps it: physical address, level, property.
    spec fn raw(item: Self::Item) -> (usize, nat, PageProperty);

    /// Takes an item apart.
    fn item_into_raw(item: Self::Item) -> (r: (usize, u8, PageProperty, Tracked<LeafTok>))
        ensures
            leaf_fits::<Self::Consts>(r.0, r.1 as nat),
            Self::leaf_ok(r.3@, r.0, r.1 as nat),
            Self::raw(item) == (r.0, r.1 as nat, r.2),
        opens_invariants none
        no_unwind
    ;

    /// Puts an item together again.
    ///
    /// # Safety
    ///
    /// 1. The parts come from [`item_into_raw`](Self::item_into_raw) or [`clone_leaf`](Self::clone_leaf).
    /// 2. They are used once.
    unsafe fn item_from_raw(pa: usize, l: u8, prop: PageProperty, tok: Tracked<LeafTok>) -> (r: Self::Item)
        requires
            leaf_fits::<Self::Consts>(pa, l as nat),
            Self::leaf_ok(tok@, pa, l as nat),
        ensures
            Self::raw(r) == (pa, l as nat, prop),
        opens_invariants none
        no_unwind
    ;

    /// Counts another item of a mapping.
    ///
    /// # Safety
    ///
    /// 1. The mapping is in a table, and stays there during the call.
    unsafe fn clone_leaf(pa: usize, l: u8, tok: Tracked<&LeafTok>) -> (r: Tracked<LeafTok>)
        requires
            leaf_fits::<Self::Consts>(pa, l as nat),
            Self::leaf_ok(*tok@, pa, l as nat),
        ensures
            Self::leaf_ok(r@, pa, l as nat),
        no_unwind
    ;

    /// Gives up what a mapping owned, as dropping its item would.
    ///
    /// # Safety
    ///
    /// 1. As of [`item_from_raw`](Self::item_from_raw), but for the property.
    unsafe fn drop_leaf(pa: usize, l: u8, tok: Tracked<LeafTok>)
        requires
            leaf_fits::<Self::Consts>(pa, l as nat),
            Self::leaf_ok(tok@, pa, l as nat),
        no_unwind
    ;

    /// What a leaf owns is what its parts own.
    proof fn split_leaf(tracked t: LeafTok, pa: usize, l: nat) -> (tracked r: Map<int, LeafTok>)
        requires
            l >= 2,
            leaf_fits::<Self::Consts>(pa, l),
            Self::leaf_ok(t, pa, l),
        ensures
            forall|j: int| #[trigger] r.dom().contains(j) <==> 0 <= j < Self::Consts::NR_ENTRIES,
            forall|j: int| 0 <= j < Self::Consts::NR_ENTRIES ==> Self::leaf_ok(
                #[trigger] r[j],
                (pa + j * span(Self::Consts::NR_ENTRIES as nat, (l - 1) as nat)) as usize,
                (l - 1) as nat,
            ),
    ;

    /// The table's part of the root is a part of the root, has addresses, and ends where they do or before.
    proof fn config_ok()
        ensures
            Self::TOP_LO < Self::TOP_HI <= Self::Consts::NR_ENTRIES,
            ({
                let below = pages(Self::Consts::NR_ENTRIES as nat, (Self::Consts::levels() - 1) as nat);
                &&& Self::va_base() + PAGE_SIZE * (Self::TOP_LO * below + 1) <= usize::MAX
                &&& Self::va_base() + PAGE_SIZE * (Self::TOP_HI * below) <= usize::MAX + 1
            }),
            Self::va_base() % PAGE_SIZE == 0,
    ;
}

/// The entries in a node.
pub open spec fn nr<C: PageTableConfig>() -> nat {
    C::Consts::NR_ENTRIES as nat
}

/// What a word means in tables of this use.
pub open spec fn meaning<C: PageTableConfig>(e: u64, l: nat) -> Pte {
    C::Entry::meaning(e, l)
}

/// The format that walkers of tables of this use read.
pub type FormatOf<C> = <<C as PageTableConfig>::Entry as PageTableEntry<<C as PageTableConfig>::Consts>>::Format;

/// Words of tables of this use, equal up to what the walker may have set.
pub open spec fn same<C: PageTableConfig>(a: u64, b: u64) -> bool {
    same_word::<FormatOf<C>>(a, b)
}

/// What the one invariant must know of this use.
pub open spec fn kind<C: PageTableConfig>() -> Kind {
    Kind {
        nr: nr::<C>(),
        meaning: |e: u64, l: nat| C::Entry::meaning(e, l),
        open_link: |e: u64| C::Entry::open_link(e),
        leaf_ok: |t: LeafTok, pa: usize, l: nat| leaf_fits::<C::Consts>(pa, l) && C::leaf_ok(t, pa, l),
    }
}

} // verus!
