//! Page tables of kernel space: pages of every size, and nodes that the tables of user spaces link.
mod page_table_support;

use page_table_support::*;
use proptest::prelude::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use vellum::page_table::{
    Access, AccessedDirty, CursorMut, DetachedNode, FourLevel, Fragment, KernelPt, KernelPtConfig,
    MappedItem, PageProperty, PageTable, PageTableConfig, PageTableError, PagingConsts, SoftBits, TinyTree,
    Untracked, UserPt, UserPtConfig, upper_base,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::layout::PADDR_LIMIT;

const USED: AccessedDirty = AccessedDirty { accessed: true, dirty: false };
const WRITTEN: AccessedDirty = AccessedDirty { accessed: true, dirty: true };
const RW: PageProperty = PageProperty::kernel(Access::RW);
const RO: PageProperty = PageProperty::kernel(Access::R).with_soft(SoftBits::A);

/// The first address of kernel space.
fn base<G: PagingConsts>() -> usize {
    upper_base::<G>() + KernelPt::<G>::TOP_LO * pages_in::<G>(G::levels()) * PAGE_SIZE
}

/// The base pages in a page of a level.
fn pages_in<G: PagingConsts>(level: u8) -> usize {
    G::NR_ENTRIES.pow(u32::from(level - 1))
}

/// Pages, counted from the start of kernel space, as addresses.
fn vas<G: PagingConsts>(pages: Range<usize>) -> Range<Vaddr> {
    va::<G>(pages.start)..va::<G>(pages.end)
}

fn va<G: PagingConsts>(page: usize) -> Vaddr {
    Vaddr(base::<G>() + page * PAGE_SIZE)
}

fn item<G: PagingConsts>(pa: usize, level: u8, prop: PageProperty) -> Untracked<G> {
    Untracked::new(Paddr(pa), level, prop).expect("the page can be mapped")
}

/// What an item says.
fn parts<G: PagingConsts>(item: &Untracked<G>) -> (usize, u8, PageProperty) {
    (item.start_paddr().0, item.level(), item.prop())
}

/// Runs `test` with a table, and checks how many frames stay when it is dropped: its root and the nodes below it,
/// `nodes` of them, if there are any.
fn with_table<G: PagingConsts>(nodes: usize, test: impl FnOnce(&PageTable<KernelPt<G>>)) {
    let before = count_free();
    let table = PageTable::<KernelPt<G>>::new().unwrap();
    test(&table);
    drop(table);
    let root = usize::from(nodes > 0);
    assert_eq!(count_free(), before - nodes - root, "frames were lost or won");
}

/// Maps, and asserts that nothing was there.
fn map<G: PagingConsts>(table: &PageTable<KernelPt<G>>, page: usize, item: Untracked<G>) {
    let end = page + pages_in::<G>(item.level());
    let mut cursor = table.cursor_mut(vas::<G>(page..end)).unwrap();
    assert!(cursor.map(item).map_err(|refused| refused.error).unwrap().is_none());
    assert_eq!(cursor.virt_addr(), va::<G>(end));
}

/// What a query at a page says: the pages of the slot, the item and what hardware noted.
type Seen = (Range<usize>, Option<(usize, u8, PageProperty)>, AccessedDirty);

fn look<G: PagingConsts>(table: &PageTable<KernelPt<G>>, page: usize) -> Seen {
    let kernel = vas::<G>(0..pages_in::<G>(G::levels()));
    let mut cursor = table.cursor(kernel).unwrap();
    cursor.jump(va::<G>(page)).unwrap();
    let slot = cursor.query().unwrap();
    (pages_of(base::<G>(), &slot.range), slot.item.as_ref().map(parts), slot.ad)
}

fn refused<G: PagingConsts>(
    cursor: &mut CursorMut<'_, KernelPt<G>>,
    item: Untracked<G>,
    error: PageTableError,
) {
    let (at, given) = (cursor.virt_addr(), parts(&item));
    let refused = cursor.map(item).err().expect("the page is refused");
    assert_eq!((refused.error, parts(&refused.item)), (error, given));
    assert_eq!(cursor.virt_addr(), at);
}

#[test]
fn pages_that_can_be_mapped() {
    fn sizes<G: PagingConsts>() {
        assert!(Untracked::<G>::new(Paddr(0), 0, RW).is_none());
        for level in 1..=G::MAX_LEAF_LEVEL {
            let size = pages_in::<G>(level) * PAGE_SIZE;
            for pa in [0, size, 7 * size, PADDR_LIMIT - size] {
                assert_eq!(parts(&item::<G>(pa, level, RO)), (pa, level, RO));
            }
            let whole = usize::MAX & !(size - 1);
            for pa in [1, size / 2, size - 1, size + PAGE_SIZE / 2, PADDR_LIMIT, whole, usize::MAX] {
                assert!(Untracked::<G>::new(Paddr(pa), level, RW).is_none(), "{pa:#x} at level {level}");
            }
        }
        for level in [G::MAX_LEAF_LEVEL + 1, G::levels() + 1, u8::MAX] {
            assert!(Untracked::<G>::new(Paddr(0), level, RW).is_none(), "level {level}");
        }
    }
    sizes::<TinyTree>();
    sizes::<FourLevel>();
}

#[test]
fn a_query_inside_a_huge_page_tells_all_of_it() {
    on_machine(|| {
        with_table::<FourLevel>(1, |table| {
            let (big, huge) = (pages_in::<FourLevel>(2), pages_in::<FourLevel>(3));
            map(table, 0, item(5 << 30, 3, RW));
            map(table, huge + big, item(6 << 21, 2, RO));
            map(table, huge + 2 * big, item(0x7000, 1, RW));
            for page in [0, 1, big, huge / 2 + 3, huge - 1] {
                assert_eq!(look(table, page), (0..huge, Some((5 << 30, 3, RW)), UNUSED));
            }
            for page in [big, big + 1, 2 * big - 1] {
                let slot = huge + big..huge + 2 * big;
                assert_eq!(look(table, huge + page), (slot, Some((6 << 21, 2, RO)), UNUSED));
            }
            let page = huge + 2 * big;
            assert_eq!(look(table, page), (page..page + 1, Some((0x7000, 1, RW)), UNUSED));
            assert_eq!(look(table, page + 1), (page + 1..page + 2, None, UNUSED));
            assert_eq!(look(table, huge + 3 * big).0, huge + 3 * big..huge + 4 * big);
            assert_eq!(look(table, 2 * huge + 5).0, 2 * huge..3 * huge);
            // The slot is cut at the borders of the cursor; the item is not.
            let mut cursor = table.cursor(vas::<FourLevel>(big + 3..big + 9)).unwrap();
            cursor.jump(va::<FourLevel>(big + 5)).unwrap();
            let slot = cursor.query().unwrap();
            assert_eq!(slot.range, vas::<FourLevel>(big + 3..big + 9));
            assert_eq!(parts(&slot.item.unwrap()), (5 << 30, 3, RW));
            assert_eq!(cursor.find_next(PAGE_SIZE), Ok(Some(va::<FourLevel>(big + 5))));
        });
    });
}

#[test]
fn a_page_in_the_middle_of_the_greatest_is_taken_out() {
    on_machine(|| {
        with_table::<FourLevel>(1, |table| {
            let (big, huge) = (pages_in::<FourLevel>(2), pages_in::<FourLevel>(3));
            let hole = 7 * big + 100;
            map(table, 0, item(3 << 30, 3, RO));
            note::<FourLevel>(table.root_paddr(), va::<FourLevel>(12), WRITTEN);
            let mut cursor = table.cursor_mut(vas::<FourLevel>(hole..hole + 1)).unwrap();
            let Some(Fragment::Leaf { va: start, item, ad }) = cursor.take_next(PAGE_SIZE).unwrap() else {
                panic!("there is a page");
            };
            assert_eq!((start, ad), (va::<FourLevel>(hole), WRITTEN));
            assert_eq!(parts(&item), ((3 << 30) + hole * PAGE_SIZE, 1, RO));
            assert!(cursor.take_next(cursor.range().end.0 - cursor.virt_addr().0).unwrap().is_none());
            drop(cursor);
            assert_eq!(look(table, hole), (hole..hole + 1, None, UNUSED));
            for part in (0..huge).step_by(big).filter(|part| !(*part..part + big).contains(&hole)) {
                let mapped = ((3 << 30) + part * PAGE_SIZE, 2, RO);
                assert_eq!(look(table, part + part / big), (part..part + big, Some(mapped), WRITTEN));
            }
            for page in (7 * big..8 * big).filter(|page| *page != hole) {
                let mapped = ((3 << 30) + page * PAGE_SIZE, 1, RO);
                assert_eq!(look(table, page), (page..page + 1, Some(mapped), WRITTEN));
                let entry = walk::<FourLevel>(table.root_paddr(), va::<FourLevel>(page));
                assert_eq!((entry.level, entry.paddr()), (1, Paddr(mapped.0)));
            }
        });
    });
}

#[test]
fn a_range_across_huge_pages_is_protected() {
    on_machine(|| {
        with_table::<FourLevel>(1, |table| {
            let (big, huge) = (pages_in::<FourLevel>(2), pages_in::<FourLevel>(3));
            map(table, 0, item(1 << 30, 3, RW));
            map(table, huge, item(2 << 30, 3, RW));
            note::<FourLevel>(table.root_paddr(), va::<FourLevel>(huge), USED);
            // From the last two pages of the first to the end of the first part of the second, and one page more.
            let range = huge - 2..huge + big + 1;
            let mut cursor = table.cursor_mut(vas::<FourLevel>(range.clone())).unwrap();
            let mut changed = Vec::new();
            while let Some(part) =
                cursor.protect_next(cursor.range().end.0 - cursor.virt_addr().0, |_| RO).unwrap()
            {
                changed.push(pages_of(base::<FourLevel>(), &part));
                assert_eq!(cursor.virt_addr(), part.end);
            }
            drop(cursor);
            assert_eq!(
                changed,
                [huge - 2..huge - 1, huge - 1..huge, huge..huge + big, huge + big..huge + big + 1]
            );
            let expect = |page, slot, level, prop, ad| {
                let start: &Range<usize> = &slot;
                let pa = (1 << 30) + start.start * PAGE_SIZE;
                assert_eq!(look(table, page), (slot, Some((pa, level, prop)), ad));
            };
            expect(0, 0..big, 2, RW, UNUSED);
            expect(huge - 3, huge - 3..huge - 2, 1, RW, UNUSED);
            expect(huge - 2, huge - 2..huge - 1, 1, RO, UNUSED);
            expect(huge - 1, huge - 1..huge, 1, RO, UNUSED);
            expect(huge + 9, huge..huge + big, 2, RO, USED);
            expect(huge + big, huge + big..huge + big + 1, 1, RO, USED);
            expect(huge + big + 1, huge + big + 1..huge + big + 2, 1, RW, USED);
            expect(huge + 2 * big, huge + 2 * big..huge + 3 * big, 2, RW, USED);
        });
    });
}

#[test]
fn mapping_over_what_is_there() {
    on_machine(|| {
        with_table::<FourLevel>(1, |table| {
            let (big, huge) = (pages_in::<FourLevel>(2), pages_in::<FourLevel>(3));
            let mut cursor = table.cursor_mut(vas::<FourLevel>(0..2 * huge)).unwrap();
            // A page of the same size is replaced.
            for (pa, old) in [(1 << 30, None), (2 << 30, Some((1 << 30, 3, RW)))] {
                cursor.jump(va::<FourLevel>(0)).unwrap();
                let replaced = cursor.map(item(pa, 3, RW)).map_err(|refused| refused.error).unwrap();
                assert_eq!(replaced.map(|old| parts(&old.item)), old);
            }
            // A smaller page replaces a part of a greater one.
            cursor.jump(va::<FourLevel>(big)).unwrap();
            let replaced = cursor.map(item(0x8000, 1, RO)).map_err(|refused| refused.error).unwrap();
            assert_eq!(parts(&replaced.unwrap().item), ((2 << 30) + big * PAGE_SIZE, 1, RW));
            // Greater pages do not go where there are nodes.
            for (page, level) in [(0, 3), (big, 2)] {
                cursor.jump(va::<FourLevel>(page)).unwrap();
                let occupied = PageTableError::Occupied { va: va::<FourLevel>(page) };
                refused(&mut cursor, item(4 << 30, level, RW), occupied);
            }
            drop(cursor);
            assert_eq!(look(table, big), (big..big + 1, Some((0x8000, 1, RO)), UNUSED));
            let next = ((2 << 30) + (big + 1) * PAGE_SIZE, 1, RW);
            assert_eq!(look(table, big + 1), (big + 1..big + 2, Some(next), UNUSED));
            assert_eq!(look(table, 5), (0..big, Some((2 << 30, 2, RW)), UNUSED));
        });
    });
}

#[test]
fn huge_pages_that_do_not_fit() {
    on_machine(|| {
        with_table::<FourLevel>(1, |table| {
            let (big, huge) = (pages_in::<FourLevel>(2), pages_in::<FourLevel>(3));
            let mut cursor = table.cursor_mut(vas::<FourLevel>(1..2 * huge - 1)).unwrap();
            for page in [1, big + 1, huge - big - 1] {
                let at = va::<FourLevel>(page);
                cursor.jump(at).unwrap();
                refused(&mut cursor, item(0, 2, RW), PageTableError::NotAligned { at: at.0 });
                refused(&mut cursor, item(0, 3, RW), PageTableError::NotAligned { at: at.0 });
            }
            for (page, level) in [(2 * huge - big, 2), (huge, 3)] {
                let at = va::<FourLevel>(page);
                cursor.jump(at).unwrap();
                let pages = pages_in::<FourLevel>(level);
                let (size, most) = (pages * PAGE_SIZE, (2 * huge - 1 - page) * PAGE_SIZE);
                refused(&mut cursor, item(0, level, RW), PageTableError::TooLarge { va: at, size, most });
            }
            assert_eq!(
                cursor.jump(va::<FourLevel>(0)).err(),
                Some(PageTableError::OutOfRange { va: va::<FourLevel>(0) })
            );
        });
    });
}

#[test]
fn without_memory_nothing_changes() {
    on_machine(|| {
        with_table::<FourLevel>(1, |table| {
            let huge = pages_in::<FourLevel>(3);
            map(table, 0, item(1 << 30, 3, RW));
            note::<FourLevel>(table.root_paddr(), va::<FourLevel>(0), WRITTEN);
            let whole = (0..huge, Some((1 << 30, 3, RW)), WRITTEN);
            let mut cursor = table.cursor_mut(vas::<FourLevel>(5..8)).unwrap();
            let taken = with_failure(1, || cursor.take_next(PAGE_SIZE));
            assert_eq!(taken.err(), Some(PageTableError::NoMemory));
            let changed = with_failure(1, || cursor.protect_next(PAGE_SIZE, |_| panic!("nothing is asked")));
            assert_eq!(changed, Err(PageTableError::NoMemory));
            with_failure(1, || refused(&mut cursor, item(0, 1, RO), PageTableError::NoMemory));
            assert_eq!(cursor.virt_addr(), va::<FourLevel>(5));
            drop(cursor);
            assert_eq!(look(table, 5), whole);
            // The second node is missing: what is there is split, and says the same.
            let mut cursor = table.cursor_mut(vas::<FourLevel>(5..8)).unwrap();
            let taken = with_failure(2, || cursor.take_next(PAGE_SIZE));
            assert_eq!(taken.err(), Some(PageTableError::NoMemory));
            assert_eq!(cursor.virt_addr(), va::<FourLevel>(5));
            drop(cursor);
            for page in [5, 600, huge - 1] {
                let start = page - page % 512;
                let part = ((1 << 30) + start * PAGE_SIZE, 2, RW);
                assert_eq!(look(table, page), (start..start + 512, Some(part), WRITTEN));
            }
        });
    });
}

#[test]
fn a_panic_while_protecting_changes_nothing_and_unlocks() {
    on_machine(|| {
        with_table::<TinyTree>(1, |table| {
            map(table, 4, item(0x10000, 2, RW));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut cursor = table.cursor_mut(vas::<TinyTree>(5..8)).unwrap();
                cursor.protect_next(PAGE_SIZE, |_| resume_unwind(Box::new("on purpose")))
            }));
            assert!(outcome.is_err());
            for page in 4..8 {
                let (_, mapped, _) = look(table, page);
                let (pa, level, prop) = mapped.unwrap();
                let offset = if level == 1 { page - 4 } else { 0 };
                assert_eq!((pa, prop), (0x10000 + offset * PAGE_SIZE, RW));
            }
        });
    });
}

#[test]
fn nodes_below_the_root_stay() {
    on_machine(|| {
        with_table::<FourLevel>(2, |table| {
            let top = pages_in::<FourLevel>(4);
            let before = count_free();
            map(table, 3, item(0x3000, 1, RW));
            map(table, top, item(0x4000, 1, RW));
            assert_eq!(count_free(), before - 6);
            let links = || [256, 257].map(|index| node_word(table.root_paddr(), index));
            let (linked, mut nodes) = (links(), 0);
            let mut cursor = table.cursor_mut(vas::<FourLevel>(0..2 * top)).unwrap();
            let end = cursor.range().end;
            while let Some(taken) = cursor.take_next(end.0 - cursor.virt_addr().0).unwrap() {
                if let Fragment::Node(node) = taken {
                    nodes += 1;
                    drop(node);
                }
            }
            drop(cursor);
            assert_eq!((nodes, links(), count_free()), (4, linked, before - 2));
            map(table, 9, item(0x9000, 1, RW));
            assert_eq!(links(), linked);
        });
    });
}

#[test]
fn ranges_outside_kernel_space() {
    on_machine(|| {
        with_table::<FourLevel>(0, |table| {
            let end = base::<FourLevel>() + 9 * pages_in::<FourLevel>(4) * PAGE_SIZE;
            let refusal = |start: usize, end: usize| {
                let refusal = table.cursor(Vaddr(start)..Vaddr(end)).err();
                assert_eq!(table.cursor_mut(Vaddr(start)..Vaddr(end)).err(), refusal);
                refusal
            };
            let out = |va: usize| Some(PageTableError::OutOfRange { va: Vaddr(va) });
            let first = base::<FourLevel>();
            let last = usize::MAX - PAGE_SIZE + 1;
            assert_eq!(refusal(0, PAGE_SIZE), out(0));
            assert_eq!(refusal(0, last), out(0));
            assert_eq!(refusal(first - PAGE_SIZE, first + PAGE_SIZE), out(first - PAGE_SIZE));
            assert_eq!(refusal(upper_base::<FourLevel>(), first), out(upper_base::<FourLevel>()));
            assert_eq!(refusal(first, end + PAGE_SIZE), out(end + PAGE_SIZE));
            assert_eq!(refusal(last - PAGE_SIZE, last), out(last));
            assert_eq!(
                refusal(last, 0),
                Some(PageTableError::Reversed { start: Vaddr(last), end: Vaddr(0) })
            );
            assert_eq!(refusal(first, first), Some(PageTableError::Empty { va: Vaddr(first) }));
            assert_eq!(refusal(first, usize::MAX), Some(PageTableError::NotAligned { at: usize::MAX }));
            assert_eq!(refusal(usize::MAX, 0), Some(PageTableError::NotAligned { at: usize::MAX }));
            assert_eq!(refusal(first, end), None);
        });
        with_table::<TinyTree>(0, |table| {
            let all = vas::<TinyTree>(0..16);
            assert_eq!(table.cursor(all.clone()).unwrap().range(), all);
            let beyond = table.cursor_mut(vas::<TinyTree>(0..17)).err();
            assert_eq!(beyond, Some(PageTableError::OutOfRange { va: va::<TinyTree>(17) }));
        });
    });
}

/// A table that is never dropped.
fn leaked<C: PageTableConfig>() -> &'static PageTable<C> {
    Box::leak(Box::new(PageTable::new().unwrap()))
}

#[test]
fn a_user_table_links_the_kernels_nodes() {
    on_machine(|| {
        let kernel = leaked::<KernelPtConfig>();
        let before = count_free();
        kernel.populate().unwrap();
        kernel.populate().unwrap();
        assert_eq!(count_free(), before - 9);
        let user = PageTable::<UserPtConfig>::new_sharing(kernel).unwrap();
        assert_eq!(count_free(), before - 10);
        for index in 0..512 {
            let (ours, theirs) = (node_word(user.root_paddr(), index), node_word(kernel.root_paddr(), index));
            assert_eq!(ours, theirs, "entry {index} of the roots");
            assert_eq!(ours != 0, (256..265).contains(&index), "entry {index} of the roots");
        }
        // What the kernel maps later is seen through the user table, and what it unmaps is not any more.
        let (big, huge, top) = (pages_in::<FourLevel>(2), pages_in::<FourLevel>(3), pages_in::<FourLevel>(4));
        let mapped = [(7, 1, 0x7000), (3 * big, 2, 5 << 21), (8 * top + huge, 3, 6 << 30)];
        for (page, level, pa) in mapped {
            map(kernel, page, item(pa, level, RW));
            let entry = walk::<FourLevel>(user.root_paddr(), va::<FourLevel>(page));
            assert_eq!((entry.level, entry.paddr(), entry.is_huge()), (level, Paddr(pa), level > 1));
        }
        // The user table has addresses of its own, and only those.
        let refusal = user.cursor_mut(vas::<FourLevel>(7..8)).err();
        assert_eq!(refusal, Some(PageTableError::OutOfRange { va: va::<FourLevel>(8) }));
        let mut cursor = user.cursor_mut(Vaddr(0x1000)..Vaddr(0x2000)).unwrap();
        let mine = MappedItem::new(user_frame(), PageProperty::user(Access::RW));
        assert!(cursor.map(mine).is_ok_and(|old| old.is_none()));
        drop(cursor);
        let mut cursor = kernel.cursor_mut(vas::<FourLevel>(7..8)).unwrap();
        assert!(matches!(cursor.take_next(PAGE_SIZE), Ok(Some(Fragment::Leaf { .. }))));
        drop(cursor);
        assert!(!walk::<FourLevel>(user.root_paddr(), va::<FourLevel>(7)).is_used());
        // The kernel's nodes outlive the user table.
        let nodes = count_free();
        drop(user);
        assert_eq!(count_free(), nodes + 5, "the root, three nodes and a page");
        let (_, level, pa) = mapped[2];
        let entry = walk::<FourLevel>(kernel.root_paddr(), va::<FourLevel>(mapped[2].0));
        assert_eq!((entry.level, entry.paddr()), (level, Paddr(pa)));
    });
}

#[test]
fn nodes_that_cannot_be_shared() {
    on_machine(|| {
        let (kernel, tiny) = (leaked::<KernelPtConfig>(), leaked::<KernelPt<TinyTree>>());
        let (user, tiny_user) = (leaked::<UserPtConfig>(), leaked::<UserPt<TinyTree>>());
        let before = count_free();
        let not_shareable = Some(PageTableError::NotShareable);
        // Those of user space go away when they are empty.
        assert_eq!(PageTable::<KernelPtConfig>::new_sharing(user).err(), not_shareable);
        assert_eq!(PageTable::<KernelPt<TinyTree>>::new_sharing(tiny_user).err(), not_shareable);
        assert_eq!(PageTable::<UserPtConfig>::new_sharing(user).err(), not_shareable);
        // Those of the kernel are where the new table has its own.
        assert_eq!(PageTable::<KernelPtConfig>::new_sharing(kernel).err(), not_shareable);
        assert_eq!(PageTable::<KernelPt<TinyTree>>::new_sharing(tiny).err(), not_shareable);
        let starved = with_failure(1, || PageTable::<UserPtConfig>::new_sharing(kernel));
        assert_eq!(starved.err(), Some(PageTableError::NoMemory));
        assert_eq!(count_free(), before);
        drop(PageTable::<UserPt<TinyTree>>::new_sharing(tiny).unwrap());
        assert_eq!(count_free(), before);
    });
}

#[test]
fn populating_goes_on_where_memory_ran_out() {
    on_machine(|| {
        with_table::<FourLevel>(9, |table| {
            let before = count_free();
            assert_eq!(with_failure(5, || table.populate()), Err(PageTableError::NoMemory));
            assert_eq!(count_free(), before - 4);
            assert_eq!(with_failure(6, || table.populate()), Ok(()));
            assert_eq!(count_free(), before - 9);
        });
    });
}

/// A base page of the model.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Mapped {
    pa: usize,
    prop: PageProperty,
    ad: AccessedDirty,
}

/// What an entry above the lowest level should hold.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
    Nothing,
    Huge(Mapped),
    Node([Option<Mapped>; 4]),
}

/// Kernel space of the small tree: four entries of four pages each.
struct Model {
    parts: [Part; 4],
}

const TINY: usize = 16;

impl Model {
    fn at(&self, page: usize) -> Option<(Range<usize>, u8, Mapped)> {
        match self.parts[page / 4] {
            Part::Nothing => None,
            Part::Huge(mapped) => Some((page / 4 * 4..page / 4 * 4 + 4, 2, mapped)),
            Part::Node(pages) => pages[page % 4].map(|mapped| (page..page + 1, 1, mapped)),
        }
    }

    /// Makes the part at a page a node, if it is none.
    fn split(&mut self, page: usize) -> &mut Option<Mapped> {
        let part = &mut self.parts[page / 4];
        *part = match *part {
            Part::Nothing => Part::Node([None; 4]),
            Part::Huge(Mapped { pa, prop, ad }) => {
                Part::Node([0, 1, 2, 3].map(|n| Some(Mapped { pa: pa + n * PAGE_SIZE, prop, ad })))
            }
            Part::Node(pages) => Part::Node(pages),
        };
        match part {
            Part::Node(pages) => &mut pages[page % 4],
            _ => unreachable!("it has just become a node"),
        }
    }

    /// The node that a cursor over the range makes on its way: where the range is a part of what it covers.
    fn lock(&mut self, range: &Range<usize>) {
        let part = range.start / 4;
        if range.len() < 4 && part == (range.end - 1) / 4 && self.parts[part] == Part::Nothing {
            self.parts[part] = Part::Node([None; 4]);
        }
    }

    /// The first page or huge page that is mapped in a range, split at the borders.
    fn isolate(&mut self, range: Range<usize>) -> Option<(Range<usize>, u8, Mapped)> {
        let page = range.clone().find(|page| self.at(*page).is_some())?;
        let (slot, ..) = self.at(page)?;
        if slot.start < range.start || slot.end > range.end {
            self.split(page);
        }
        self.at(page)
    }

    fn set(&mut self, slot: &Range<usize>, value: Option<Mapped>) {
        if slot.len() == 1 {
            *self.split(slot.start) = value;
        } else {
            self.parts[slot.start / 4] = value.map_or(Part::Nothing, Part::Huge);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map { frame: usize, level: u8, prop: PageProperty },
    Take,
    TakeAll,
    Protect { pages: usize, prop: PageProperty },
    Jump { to: usize },
    Note { page: usize, dirty: bool },
}

fn sessions() -> impl Strategy<Value = Vec<(Range<usize>, Vec<Step>)>> {
    let step = prop_oneof![
        4 => (0..64_usize, 1..3_u8, any_property())
            .prop_map(|(frame, level, prop)| Step::Map { frame, level, prop }),
        2 => Just(Step::Take),
        1 => Just(Step::TakeAll),
        2 => (1..9_usize, any_property()).prop_map(|(pages, prop)| Step::Protect { pages, prop }),
        3 => (0..TINY).prop_map(|to| Step::Jump { to }),
        1 => (0..4_usize).prop_map(|part| Step::Jump { to: 4 * part }),
        2 => (0..TINY, any::<bool>()).prop_map(|(page, dirty)| Step::Note { page, dirty }),
    ];
    let range = prop_oneof![(0..TINY, 0..TINY).prop_map(|(a, b)| a.min(b)..a.max(b) + 1), Just(0..TINY),];
    prop::collection::vec((range, prop::collection::vec(step, 1..16)), 1..8)
}

/// A cursor, and where it should be.
struct Session<'a> {
    cursor: CursorMut<'a, KernelPt<TinyTree>>,
    root: Paddr,
    range: Range<usize>,
    at: usize,
    model: &'a mut Model,
}

impl Session<'_> {
    fn carry_out(&mut self, step: &Step) {
        match *step {
            Step::Map { frame, level, prop } => self.map(frame, level, prop),
            Step::Take => drop(self.take()),
            Step::TakeAll => while self.take() {},
            Step::Protect { pages, prop } => self.protect(pages, prop),
            Step::Jump { to } => self.jump(to),
            Step::Note { page, dirty } => self.note(page, dirty),
        }
        assert_eq!(self.cursor.virt_addr(), va::<TinyTree>(self.at));
        self.check();
    }

    fn map(&mut self, frame: usize, level: u8, prop: PageProperty) {
        let pages = pages_in::<TinyTree>(level);
        let pa = (frame - frame % pages) * PAGE_SIZE;
        let (item, at) = (item(pa, level, prop), va::<TinyTree>(self.at));
        if !self.at.is_multiple_of(pages) {
            return refused(&mut self.cursor, item, PageTableError::NotAligned { at: at.0 });
        }
        let too_large =
            |most| PageTableError::TooLarge { va: at, size: pages * PAGE_SIZE, most: most * PAGE_SIZE };
        match self.range.end - self.at {
            0 => return refused(&mut self.cursor, item, PageTableError::OutOfRange { va: at }),
            rest if pages > rest => return refused(&mut self.cursor, item, too_large(rest)),
            _ => {}
        }
        if level == 2 && matches!(self.model.parts[self.at / 4], Part::Node(_)) {
            let error = self.cursor.map(item).err().expect("there is a node").error;
            // Where the node was there before the cursor, it is all that is locked.
            let alone = self.range.len() == pages && error == too_large(1);
            assert!(alone || error == PageTableError::Occupied { va: at }, "{error}");
            return;
        }
        let replaced = self.cursor.map(item).map_err(|refused| refused.error).unwrap();
        let slot = self.at..self.at + pages;
        let old =
            if level == 1 { *self.model.split(self.at) } else { self.model.at(self.at).map(|(.., old)| old) };
        assert_eq!(
            replaced.map(|old| (parts(&old.item), old.ad)),
            old.map(|old| ((old.pa, level, old.prop), old.ad))
        );
        self.model.set(&slot, Some(Mapped { pa, prop, ad: UNUSED }));
        self.at = slot.end;
    }

    fn take(&mut self) -> bool {
        let window = self.at..self.range.end;
        let taken = self.cursor.take_next(window.len() * PAGE_SIZE).unwrap();
        let now = self.cursor.virt_addr();
        self.at = pages_of(base::<TinyTree>(), &(now..now)).start;
        match taken {
            Some(Fragment::Leaf { va: start, item, ad }) => {
                let (slot, level, mapped) = self.model.isolate(window).expect("nothing was mapped");
                assert_eq!((start, ad), (va::<TinyTree>(slot.start), mapped.ad));
                assert_eq!(parts(&item), (mapped.pa, level, mapped.prop));
                assert!(slot.start <= self.at && self.at <= slot.end);
                self.model.set(&slot, None);
            }
            Some(Fragment::Node(node)) => self.keep_what_was_in(node),
            None => {
                assert!(window.clone().all(|page| self.model.at(page).is_none()));
                assert_eq!(self.at, window.end);
                return false;
            }
        }
        true
    }

    /// A node is one of the lowest level: the one above stays. It has what was mapped in it.
    fn keep_what_was_in(&mut self, mut node: DetachedNode<KernelPt<TinyTree>>) {
        let pages = pages_of(base::<TinyTree>(), &node.va_range());
        assert_eq!((pages.len(), pages.start % 4), (4, 0));
        let Part::Node(slots) = std::mem::replace(&mut self.model.parts[pages.start / 4], Part::Nothing)
        else {
            panic!("there was no node");
        };
        for (page, old) in pages.zip(slots) {
            let Some(old) = old else { continue };
            let (start, item, ad) = node.next_leaf().expect("a page is missing");
            assert_eq!((start, ad), (va::<TinyTree>(page), old.ad));
            assert_eq!(parts(&item), (old.pa, 1, old.prop));
        }
        assert!(node.next_leaf().is_none(), "a page too many");
    }

    fn protect(&mut self, pages: usize, prop: PageProperty) {
        let window = self.at..(self.at + pages).min(self.range.end);
        let mut seen = None;
        let changed = self.cursor.protect_next(window.len() * PAGE_SIZE, |old| {
            seen = Some(old);
            prop
        });
        let expected = self.model.isolate(window.clone());
        assert_eq!(seen, expected.as_ref().map(|(.., mapped)| mapped.prop));
        assert_eq!(changed, Ok(expected.as_ref().map(|(slot, ..)| vas::<TinyTree>(slot.clone()))));
        self.at = expected.as_ref().map_or(window.end, |(slot, ..)| slot.end);
        if let Some((slot, _, mapped)) = expected {
            self.model.set(&slot, Some(Mapped { prop, ..mapped }));
        }
    }

    fn jump(&mut self, to: usize) {
        let at = va::<TinyTree>(to);
        if self.range.contains(&to) {
            assert_eq!(self.cursor.jump(at), Ok(()));
            self.at = to;
        } else {
            assert_eq!(self.cursor.jump(at), Err(PageTableError::OutOfRange { va: at }));
        }
    }

    fn note(&mut self, page: usize, dirty: bool) {
        let Some((slot, _, mut mapped)) = self.model.at(page) else {
            return;
        };
        let access = mapped.prop.access;
        let ad = AccessedDirty { accessed: access.readable(), dirty: dirty && access.writable() };
        note::<TinyTree>(self.root, va::<TinyTree>(page), ad);
        mapped.ad.accessed |= ad.accessed;
        mapped.ad.dirty |= ad.dirty;
        self.model.set(&slot, Some(mapped));
    }

    /// Compares with what a walk by hand finds, and with what the cursor does.
    fn check(&mut self) {
        for page in 0..TINY {
            let entry = walk::<TinyTree>(self.root, va::<TinyTree>(page));
            let found = entry.is_used().then(|| (entry.paddr(), entry.level));
            assert_eq!(found, self.model.at(page).map(|(_, level, mapped)| (Paddr(mapped.pa), level)));
        }
        let at = self.at;
        for page in self.range.clone() {
            self.jump(page);
            let slot = self.cursor.query().unwrap();
            let expected = self.model.at(page);
            let found = slot.item.as_ref().map(parts);
            assert_eq!(found, expected.as_ref().map(|(_, level, mapped)| (mapped.pa, *level, mapped.prop)));
            if let Some((pages, _, mapped)) = expected {
                let pages = pages.start.max(self.range.start)..pages.end.min(self.range.end);
                assert_eq!((slot.range, slot.ad), (vas::<TinyTree>(pages), mapped.ad));
            }
        }
        // The end cannot be jumped to: it goes on at the last page.
        self.jump(at.min(self.range.end - 1));
    }
}

#[test]
fn any_sequence_with_huge_pages_is_that_of_the_model() {
    with_cases(3000, sessions(), |sessions| {
        let before = count_free();
        let mut model = Model { parts: [Part::Nothing; 4] };
        let table = PageTable::<KernelPt<TinyTree>>::new().unwrap();
        for (range, steps) in sessions {
            let cursor = table.cursor_mut(vas::<TinyTree>(range.clone())).unwrap();
            model.lock(&range);
            let at = range.start;
            let mut session = Session { cursor, root: table.root_paddr(), range, at, model: &mut model };
            steps.iter().for_each(|step| session.carry_out(step));
        }
        let nodes = model.parts.iter().filter(|part| matches!(part, Part::Node(_))).count();
        let top = usize::from(node_word(table.root_paddr(), 2) != 0);
        assert_eq!(count_free(), before - 1 - top - nodes);
        drop(table);
        assert_eq!(count_free(), before - 2 * top);
    });
}
