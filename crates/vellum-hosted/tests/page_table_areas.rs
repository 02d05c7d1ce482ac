//! The page table of areas: what its leaves own, where it is, and the roots that link its nodes and the kernel's.
mod page_table_support;

use page_table_support::riscv::*;
use page_table_support::*;
use std::ops::Range;
use vellum::frame::USegment;
use vellum::kspace::{AREA_BYTES, LINEAR_MAP, area_range};
use vellum::page_table::{
    Access, AccessType, AreaPt, AreaPtConfig, CursorMut, FourLevel, Fragment, KernelPt, KernelPtConfig,
    MappedItem, MappedRange, NativeShape, PageProperty, PageTable, PageTableConfig, PageTableEntry,
    PageTableError, PagingConsts, Replaced, RiscVEntry, Sv39, Sv48, TinyTree, Untracked, UserPt,
    UserPtConfig, X86Entry, upper_base,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::ptword::SvpbmtSvadu;

type Riscv<S> = RiscVEntry<S, SvpbmtSvadu>;

const RW: PageProperty = PageProperty::kernel(Access::RW);

/// The bytes of a page of a level.
fn bytes_of<G: PagingConsts>(level: u8) -> usize {
    G::NR_ENTRIES.pow(u32::from(level - 1)) * PAGE_SIZE
}

/// The first address of a table of this use.
fn start_of<C: PageTableConfig>() -> Vaddr {
    Vaddr(C::va_base() + C::TOP_LO * bytes_of::<C::Consts>(C::Consts::levels()))
}

/// As many bytes from a page of the table on.
fn part_of<C: PageTableConfig>(offset: usize, bytes: usize) -> Range<Vaddr> {
    let start = start_of::<C>().0 + offset;
    Vaddr(start)..Vaddr(start + bytes)
}

/// A table that is never dropped, with all nodes below its root.
fn leaked<C: PageTableConfig>(made: Result<PageTable<C>, PageTableError>) -> &'static PageTable<C> {
    let table = Box::leak(Box::new(made.expect("there is memory")));
    table.populate().expect("there is memory");
    table
}

fn map<C: PageTableConfig>(cursor: &mut CursorMut<'_, C>, item: C::Item) {
    assert!(cursor.map(item).map_err(|refused| refused.error).unwrap().is_none());
}

/// Takes everything out that the cursor covers, and drops it.
fn take_all<C: PageTableConfig>(cursor: &mut CursorMut<'_, C>) -> usize {
    let range = cursor.range();
    cursor.jump(range.start).unwrap();
    let mut leaves = 0;
    while let Some(taken) = cursor.take_next(range.end.0 - cursor.virt_addr().0).unwrap() {
        match taken {
            Fragment::Leaf { .. } => leaves += 1,
            Fragment::Node(mut node) => {
                while node.next_leaf().is_some() {
                    leaves += 1
                }
            }
        }
    }
    leaves
}

/// How many counts mappings own of the frames of a segment, one handle of which is at hand.
fn mapped(segment: &USegment) -> usize {
    // One in `segment`, and the one that is looked at.
    segment.clone().map(|frame| frame.reference_count() as usize - 2).sum()
}

/// Maps a frame, a huge page and frames that follow each other, and looks at their counts.
fn leaves_own_counts<G: PagingConsts, E: PageTableEntry<G>>() {
    let top = G::AREA_HI - G::AREA_LO;
    let before = count_free();
    let table = PageTable::<AreaPt<G, E>>::new().unwrap();
    table.populate().unwrap();
    assert_eq!(count_free(), before - 1 - top);

    let (nr, huge) = (G::NR_ENTRIES, bytes_of::<G>(2));
    let (one, big, many) = (user_segment(1), huge_segment(nr), user_segment(nr + 3));
    let counts = || (mapped(&one), mapped(&big), mapped(&many));
    assert_eq!(counts(), (0, 0, 0));
    let mut cursor = table.cursor_mut(part_of::<AreaPt<G, E>>(0, 2 * huge)).unwrap();
    map(&mut cursor, MappedItem::huge(big.clone(), RW).unwrap_or_else(|_| panic!("it is a huge page")));
    let frame = one.clone().next().unwrap();
    map(&mut cursor, MappedItem::new(frame, RW));
    assert_eq!(counts(), (1, nr, 0));
    // What a query gives out is counted as well.
    cursor.jump(part_of::<AreaPt<G, E>>(huge, 0).start).unwrap();
    let slot = cursor.query().unwrap();
    assert_eq!((slot.item.as_ref().map(|item| item.prop), counts()), (Some(RW), (2, nr, 0)));
    drop((slot, cursor));
    // Over the last page of the huge page and the one after it, which are given back.
    let mut replaced = 0;
    let mut cursor = table.cursor_mut(part_of::<AreaPt<G, E>>(huge - PAGE_SIZE, many.size())).unwrap();
    let range = MappedRange { segment: many.clone(), prop: RW };
    let mut count = |_: Vaddr, _: Replaced<MappedItem<G>>| replaced += 1;
    assert!(cursor.map_range(range, &mut count).is_ok());
    assert_eq!((replaced, counts()), (2, (0, nr - 1, nr + 3)));
    assert_eq!(take_all(&mut cursor), nr + 3);
    assert_eq!(counts(), (0, nr - 1, 0));
    drop(cursor);
    // What is left goes with the table, but for what others might link.
    drop(table);
    assert_eq!(counts(), (0, 0, 0));
    drop((one, big, many));
    assert_eq!(count_free(), before - 1 - top);
}

#[test]
fn a_leaf_owns_counts_and_gives_them_back() {
    on_machine(|| {
        leaves_own_counts::<FourLevel, X86Entry<FourLevel>>();
        leaves_own_counts::<Sv39, Riscv<Sv39>>();
        leaves_own_counts::<Sv48, Riscv<Sv48>>();
    });
}

/// The entries of the root that a use has.
fn part<C: PageTableConfig>() -> Range<usize> {
    C::TOP_LO..C::TOP_HI
}

/// Makes the three kinds of tables, each sharing those before, and walks what is mapped in one from the roots of the others.
fn roots_that_share<G: PagingConsts, E: PageTableEntry<G>>(walk: impl Fn(Paddr, Vaddr) -> Option<Paddr>) {
    let areas = leaked(PageTable::<AreaPt<G, E>>::new());
    let kernel = leaked(PageTable::<KernelPt<G, E>>::new_sharing(areas));
    let before = count_free();
    let user = PageTable::<UserPt<G, E>>::new_sharing_both(kernel, areas).unwrap();
    assert_eq!(count_free(), before - 1, "the root alone");
    for index in 0..512 {
        let words =
            [areas.root_paddr(), kernel.root_paddr(), user.root_paddr()].map(|root| node_word(root, index));
        let in_areas = part::<AreaPt<G, E>>().contains(&index);
        let in_kernel = part::<KernelPt<G, E>>().contains(&index);
        assert_eq!(words.map(|word| word != 0), [in_areas, in_areas || in_kernel, in_areas || in_kernel]);
        assert_eq!(words[1], words[2], "entry {index} of the roots");
        assert!(!in_areas || words[0] == words[1], "entry {index} of the roots");
    }

    // What is mapped in any of the three is found from the roots that should know.
    let roots = [areas.root_paddr(), kernel.root_paddr(), user.root_paddr()];
    let found = |va: Vaddr| roots.map(|root| walk(root, va));
    let frame = user_frame();
    let pa = frame.start_paddr();
    let range = part_of::<AreaPt<G, E>>(bytes_of::<G>(2) + PAGE_SIZE, PAGE_SIZE);
    assert_eq!(found(range.start), [None; 3]);
    map(&mut areas.cursor_mut(range.clone()).unwrap(), MappedItem::new(frame.clone(), RW));
    assert_eq!((found(range.start), frame.reference_count()), ([Some(pa); 3], 2));
    assert_eq!(take_all(&mut areas.cursor_mut(range.clone()).unwrap()), 1);
    assert_eq!((found(range.start), frame.reference_count()), ([None; 3], 1));
    let at = part_of::<KernelPt<G, E>>(0, PAGE_SIZE);
    map(&mut kernel.cursor_mut(at.clone()).unwrap(), Untracked::new(pa, 1, RW).unwrap());
    assert_eq!(found(at.start), [None, Some(pa), Some(pa)]);
    let mine = Vaddr(PAGE_SIZE)..Vaddr(2 * PAGE_SIZE);
    let item = MappedItem::new(frame.clone(), PageProperty::user(Access::RW));
    map(&mut user.cursor_mut(mine.clone()).unwrap(), item);
    assert_eq!(found(mine.start), [None, None, Some(pa)]);

    // Each has its own addresses.
    let out = |va| Some(PageTableError::OutOfRange { va });
    assert_eq!(
        kernel.cursor_mut(range.clone()).err(),
        out(if G::AREA_LO < G::KERNEL_LO { range.start } else { range.end })
    );
    assert_eq!(
        areas.cursor_mut(at.clone()).err(),
        out(if G::AREA_LO < G::KERNEL_LO { at.end } else { at.start })
    );
    assert_eq!(user.cursor_mut(range.clone()).err(), out(range.end));

    // What is shared outlives the table that shares it.
    map(&mut areas.cursor_mut(range.clone()).unwrap(), MappedItem::new(frame, RW));
    drop(user);
    assert_eq!(roots[..2].iter().map(|root| walk(*root, range.start)).collect::<Vec<_>>(), [Some(pa); 2]);
}

#[test]
fn a_root_that_shares_both_has_what_is_mapped_in_either() {
    on_machine(|| {
        fn x86<G: PagingConsts>(root: Paddr, va: Vaddr) -> Option<Paddr> {
            let entry = walk::<G>(root, va);
            entry.is_used().then(|| entry.paddr())
        }
        fn riscv<S: PagingConsts>(root: Paddr, va: Vaddr) -> Option<Paddr> {
            Hart::FULL.access::<S>(root, va, AccessType::Read).ok()
        }
        roots_that_share::<TinyTree, X86Entry<TinyTree>>(x86::<TinyTree>);
        roots_that_share::<FourLevel, X86Entry<FourLevel>>(x86::<FourLevel>);
        roots_that_share::<Sv39, Riscv<Sv39>>(riscv::<Sv39>);
        roots_that_share::<Sv48, Riscv<Sv48>>(riscv::<Sv48>);
    });
}

#[test]
fn tables_that_overlap_are_not_shared() {
    on_machine(|| {
        type User = PageTable<UserPtConfig>;
        type Kernel = PageTable<KernelPtConfig>;
        type Areas = PageTable<AreaPtConfig>;
        let areas = leaked(Areas::new());
        let kernel = leaked(Kernel::new_sharing(areas));
        let user = leaked(User::new());
        let before = count_free();
        let not_shareable = Some(PageTableError::NotShareable);
        // With each other.
        assert_eq!(User::new_sharing_both(kernel, kernel).err(), not_shareable);
        assert_eq!(User::new_sharing_both(areas, areas).err(), not_shareable);
        // With the new one.
        assert_eq!(Areas::new_sharing(areas).err(), not_shareable);
        assert_eq!(Areas::new_sharing_both(areas, kernel).err(), not_shareable);
        assert_eq!(Areas::new_sharing_both(kernel, areas).err(), not_shareable);
        assert_eq!(Kernel::new_sharing_both(areas, kernel).err(), not_shareable);
        assert_eq!(Kernel::new_sharing_both(kernel, areas).err(), not_shareable);
        // The nodes of user space do not stay.
        assert_eq!(Kernel::new_sharing_both(user, areas).err(), not_shareable);
        assert_eq!(Kernel::new_sharing_both(areas, user).err(), not_shareable);
        let starved = with_failure(1, || User::new_sharing_both(kernel, areas));
        assert_eq!(starved.err(), Some(PageTableError::NoMemory));
        assert_eq!(count_free(), before);
        // The order is all the same.
        let both = [User::new_sharing_both(kernel, areas), User::new_sharing_both(areas, kernel)];
        let [one, other] = both.map(Result::unwrap);
        for index in 0..512 {
            assert_eq!(node_word(one.root_paddr(), index), node_word(other.root_paddr(), index));
        }
        drop((one, other));
        assert_eq!(count_free(), before);
    });
}

#[test]
fn the_parts_of_the_upper_half() {
    /// The addresses of a part of the root.
    fn addresses<G: PagingConsts>(lo: usize, hi: usize) -> (usize, usize) {
        let entry = bytes_of::<G>(G::levels());
        let last = upper_base::<G>() + (entry - 1) + entry * (hi - 1);
        (upper_base::<G>() + entry * lo, last)
    }
    fn parts<G: PagingConsts>() -> [(usize, usize); 2] {
        assert!(
            addresses::<G>(G::AREA_LO, G::AREA_HI).1 - addresses::<G>(G::AREA_LO, G::AREA_HI).0
                >= AREA_BYTES - 1
        );
        [addresses::<G>(G::KERNEL_LO, G::KERNEL_HI), addresses::<G>(G::AREA_LO, G::AREA_HI)]
    }
    let x86 =
        [(0xffff_8000_0000_0000, 0xffff_847f_ffff_ffff), (0xffff_8480_0000_0000, 0xffff_84ff_ffff_ffff)];
    let sv39 = [(0xffff_ffc4_0000_0000, usize::MAX), (0xffff_ffc0_0000_0000, 0xffff_ffc3_ffff_ffff)];
    let sv48 = [(0xffff_8800_0000_0000, usize::MAX), (0xffff_8000_0000_0000, 0xffff_87ff_ffff_ffff)];
    assert_eq!(parts::<FourLevel>(), x86);
    assert_eq!(parts::<Sv39>(), sv39);
    assert_eq!(parts::<Sv48>(), sv48);
    // This machine's.
    let [kernel, areas] = parts::<NativeShape>();
    assert_eq!((start_of::<KernelPtConfig>(), start_of::<AreaPtConfig>()), (Vaddr(kernel.0), Vaddr(areas.0)));
    assert_eq!((LINEAR_MAP, area_range()), (Vaddr(kernel.0), Vaddr(areas.0)..Vaddr(areas.0 + AREA_BYTES)));
}

/// The last page of the address space is no part of the range of any cursor: what follows it is no address.
#[test]
fn areas_up_to_the_last_address_but_a_page() {
    on_machine(|| {
        let table = PageTable::<AreaPt<TinyTree>>::new().unwrap();
        let all = start_of::<AreaPt<TinyTree>>()..Vaddr(usize::MAX - PAGE_SIZE + 1);
        assert_eq!((all.end.0 - all.start.0) / PAGE_SIZE, 15);
        let frame = user_frame();
        let mut cursor = table.cursor_mut(all).unwrap();
        for _ in 0..15 {
            map(&mut cursor, MappedItem::new(frame.clone(), RW));
        }
        assert_eq!(frame.reference_count(), 16);
        drop(cursor);
        drop(table);
        assert_eq!(frame.reference_count(), 1);
    });
}
