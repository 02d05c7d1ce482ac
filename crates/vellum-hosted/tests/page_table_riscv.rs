//! Page tables of RISC-V, as a hart in software walks them: what it finds is what the cursor says.
mod page_table_support;

use page_table_support::riscv::*;
use page_table_support::*;
use vellum::page_table::{
    Access, AccessType, AccessedDirty, CachePolicy, Fragment, KernelPt, KernelPtConfig, MappedItem,
    PageProperty, PageTable, PageTableConfig, PageTableEntry, PageTableError, PagingConsts, Pte, RiscVEntry,
    SoftBits, Sv39, Sv39OrSv48, Sv48, Untracked, UserPt, UserPtConfig, upper_base,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};
use vellum_machine::paging;
use vellum_machine::ptword::{Base, Extensions, SvpbmtSvadu};

type User<S, X> = UserPt<S, RiscVEntry<S, X>>;
type Kernel<S, X> = KernelPt<S, RiscVEntry<S, X>>;

const ACCESSES: [Access; 6] = [Access::None, Access::R, Access::RW, Access::RX, Access::RWX, Access::X];
const TYPES: [AccessType; 3] = [AccessType::Read, AccessType::Write, AccessType::Execute];
const MODES: [Mode; 2] = [Mode::User, Mode::Supervisor];
const ALL_NOTED: AccessedDirty = AccessedDirty { accessed: true, dirty: true };

/// Every property there is.
fn properties() -> impl Iterator<Item = PageProperty> {
    let caches = [CachePolicy::WriteBack, CachePolicy::WriteThrough, CachePolicy::Uncached];
    let bits = |n: usize, bit: usize| n >> bit & 1 != 0;
    ACCESSES.into_iter().flat_map(move |access| {
        caches.into_iter().flat_map(move |cache| {
            (0..16).map(move |n| PageProperty {
                access,
                user: bits(n, 0),
                global: bits(n, 1),
                cache,
                soft: SoftBits { a: bits(n, 2), b: bits(n, 3) },
            })
        })
    })
}

/// What an access to a mapped page should come to.
fn expected(hart: &Hart, prop: PageProperty, ad: AccessedDirty, access: AccessType) -> Result<(), Fault> {
    if prop.access == Access::None {
        return Err(Fault::Word);
    }
    let whose = match hart.mode {
        Mode::User => prop.user,
        Mode::Supervisor => !prop.user || (hart.sum && access != AccessType::Execute),
    };
    let made_readable = hart.mxr && access == AccessType::Read && prop.access.executable();
    if !whose || !(prop.access.permits(access) || made_readable) {
        return Err(Fault::Forbidden);
    }
    let noted = ad.accessed && (ad.dirty || access != AccessType::Write);
    if hart.svadu || noted { Ok(()) } else { Err(Fault::NotNoted) }
}

/// What a hart should see at every kind of access to a page, whichever way its status is.
fn walks_as_it_says<S: PagingConsts>(
    hart: Hart,
    root: Paddr,
    va: Vaddr,
    pa: Paddr,
    prop: PageProperty,
    ad: AccessedDirty,
) {
    for n in 0..4 {
        let hart = Hart { sum: n & 1 != 0, mxr: n & 2 != 0, ..hart };
        for (mode, access) in MODES.into_iter().flat_map(|mode| TYPES.map(|access| (mode, access))) {
            let hart = hart.in_mode(mode);
            let found = hart.access::<S>(root, Vaddr(va.0 + 0x123), access);
            let should = expected(&hart, prop, ad, access).map(|()| Paddr(pa.0 + 0x123));
            assert_eq!(found, should, "{access:?} at {va} with {prop:?} by {hart:?}");
        }
    }
}

/// Maps a page with every property in turn, and has a hart walk to it.
fn every_property<S: PagingConsts, X: Extensions>(hart: Hart) {
    let table = PageTable::<User<S, X>>::new().unwrap();
    let frame = user_frame();
    let va = Vaddr(0x30_5000);
    let range = va..Vaddr(va.0 + PAGE_SIZE);
    let mut held = 0;
    for prop in properties() {
        let item = MappedItem::new(frame.clone(), prop);
        let outcome = table.cursor_mut(range.clone()).unwrap().map(item);
        if !RiscVEntry::<S, X>::can_hold(prop) {
            let refused = outcome.err().expect("no entry can say that");
            assert_eq!(refused.error, PageTableError::Unrepresentable { prop });
            assert_eq!((refused.item.prop, refused.item.frames.start_paddr()), (prop, frame.start_paddr()));
            continue;
        }
        drop(outcome.map_err(|refused| refused.error).unwrap());
        held += 1;
        let fresh = !X::SVADU && !prop.user;
        let ad = AccessedDirty { accessed: fresh, dirty: fresh };
        let mut cursor = table.cursor_mut(range.clone()).unwrap();
        let slot = cursor.query().unwrap();
        assert_eq!((slot.item.unwrap().prop, slot.ad), (prop, ad));
        walks_as_it_says::<S>(hart, table.root_paddr(), va, frame.start_paddr(), prop, ad);
        assert_eq!(cursor.note(AccessType::Write), Ok(prop.access.writable()));
        let ad = if prop.access.writable() { ALL_NOTED } else { ad };
        walks_as_it_says::<S>(hart, table.root_paddr(), va, frame.start_paddr(), prop, ad);
    }
    assert_eq!(held, 6 * 16 * if X::SVPBMT { 2 } else { 1 });
}

#[test]
fn the_walk_finds_what_every_property_says() {
    on_machine(|| {
        every_property::<Sv39, Base>(Hart::BASE);
        every_property::<Sv48, Base>(Hart::BASE);
        every_property::<Sv39, SvpbmtSvadu>(Hart::FULL);
        every_property::<Sv48, SvpbmtSvadu>(Hart::FULL);
    });
}

/// Maps pages of all sizes into kernel space, and has a hart walk to the ends and the middle of each.
fn pages_of_every_size<S: PagingConsts>(hart: Hart) {
    let table = PageTable::<Kernel<S, SvpbmtSvadu>>::new().unwrap();
    let giant = 512 * 512 * PAGE_SIZE;
    let entry = S::NR_ENTRIES.pow(u32::from(S::levels()) - 1) * PAGE_SIZE;
    let base = upper_base::<S>() + Kernel::<S, SvpbmtSvadu>::TOP_LO * entry;
    let uncached = PageProperty { cache: CachePolicy::Uncached, ..PageProperty::kernel(Access::RW) };
    let pages = [
        (base, 5 * giant, 3, PageProperty::kernel(Access::RX)),
        (base + giant, 3 << 21, 2, uncached),
        (base + giant + (1 << 21), 0x7000, 1, PageProperty::kernel(Access::X)),
        (base + 3 * giant, giant, 3, PageProperty::kernel(Access::RWX)),
    ];
    for (va, pa, level, prop) in pages {
        let bytes = S::NR_ENTRIES.pow(level - 1) * PAGE_SIZE;
        let mut cursor = table.cursor_mut(Vaddr(va)..Vaddr(va + bytes)).unwrap();
        let item = Untracked::new(Paddr(pa), level as u8, prop).unwrap();
        assert!(cursor.map(item).map_err(|refused| refused.error).unwrap().is_none());
    }
    for (va, pa, level, prop) in pages {
        let bytes = S::NR_ENTRIES.pow(level - 1) * PAGE_SIZE;
        for offset in [0, bytes / 2, bytes - PAGE_SIZE] {
            let at = Vaddr(va + offset);
            walks_as_it_says::<S>(hart, table.root_paddr(), at, Paddr(pa + offset), prop, UNUSED);
        }
        assert_eq!(u32::from(decides::<S>(table.root_paddr(), Vaddr(va)).1), level);
    }
    // A part of a page of 1 GiB gets another property: the page is split, and noted is what was.
    let (start, end) = (base + (7 << 21), base + (8 << 21));
    let mut cursor = table.cursor_mut(Vaddr(start)..Vaddr(end)).unwrap();
    let changed = cursor.protect_next(1 << 21, |prop| prop.with_access(Access::None));
    assert_eq!(changed, Ok(Some(Vaddr(start)..Vaddr(end))));
    drop(cursor);
    for (va, access) in [(start, Access::None), (end - PAGE_SIZE, Access::None), (end, Access::RX)] {
        let prop = PageProperty::kernel(access);
        walks_as_it_says::<S>(
            hart,
            table.root_paddr(),
            Vaddr(va),
            Paddr(5 * giant + va - base),
            prop,
            UNUSED,
        );
    }
    let hole = hart.access::<S>(table.root_paddr(), Vaddr(base + 2 * giant), AccessType::Read);
    assert_eq!(hole, Err(Fault::Word));
    let not_canonical = hart.access::<S>(table.root_paddr(), Vaddr(base ^ 1 << 63), AccessType::Read);
    assert_eq!(not_canonical, Err(Fault::NotCanonical));
}

#[test]
fn the_walk_finds_pages_of_every_size() {
    on_machine(|| {
        pages_of_every_size::<Sv39>(Hart::FULL);
        pages_of_every_size::<Sv48>(Hart::FULL);
    });
}

/// Kernel space ends with the last address but for one page, which would end at none.
fn pages_up_to_the_last<S: PagingConsts>(hart: Hart) {
    let table = PageTable::<Kernel<S, Base>>::new().unwrap();
    table.populate().unwrap();
    let last = Vaddr(usize::MAX - PAGE_SIZE + 1);
    let range = Vaddr(last.0 - PAGE_SIZE)..last;
    let mut cursor = table.cursor_mut(range.clone()).unwrap();
    let prop = PageProperty::kernel(Access::R);
    assert!(cursor.map(Untracked::new(Paddr(0x7000), 1, prop).unwrap()).is_ok());
    assert_eq!(
        (cursor.virt_addr(), cursor.query().err()),
        (last, Some(PageTableError::OutOfRange { va: last }))
    );
    drop(cursor);
    walks_as_it_says::<S>(hart, table.root_paddr(), range.start, Paddr(0x7000), prop, ALL_NOTED);
    assert_eq!(table.translate(Vaddr(last.0 - 1)).unwrap().paddr, Paddr(0x7fff));
    assert_eq!((table.translate(last), table.translate(Vaddr(usize::MAX))), (None, None));
    let refused = table.cursor(last..Vaddr(0)).err();
    assert_eq!(refused, Some(PageTableError::Reversed { start: last, end: Vaddr(0) }));
    let mut cursor = table.cursor_mut(Vaddr(last.0 - (1 << 30) + PAGE_SIZE)..last).unwrap();
    assert_eq!(cursor.find_next((1 << 30) - PAGE_SIZE), Ok(Some(range.start)));
    assert!(matches!(cursor.take_next(PAGE_SIZE), Ok(Some(Fragment::Leaf { va, .. })) if va == range.start));
    assert_eq!(table.translate(range.start), None);
}

#[test]
fn kernel_space_ends_where_addresses_do() {
    on_machine(|| {
        pages_up_to_the_last::<Sv39>(Hart::BASE);
        pages_up_to_the_last::<Sv48>(Hart::BASE);
    });
}

/// One shape is that of three levels or of four, as was chosen.
#[test]
fn there_are_as_many_levels_as_were_chosen() {
    for (four_levels, levels) in [(false, Sv39::levels()), (true, Sv48::levels())] {
        #[allow(unsafe_code, reason = "chooses for this test alone")]
        // SAFETY: no walker is involved. This test alone has tables of the shape, and none is in use when it chooses again.
        unsafe {
            paging::choose(four_levels)
        };
        assert_eq!((paging::has_four_levels(), Sv39OrSv48::levels()), (four_levels, levels));
        on_machine(|| {
            every_property::<Sv39OrSv48, Base>(Hart::BASE);
            pages_of_every_size::<Sv39OrSv48>(Hart::FULL);
            pages_up_to_the_last::<Sv39OrSv48>(Hart::BASE);
        });
    }
}

/// The words are those of the manual.
#[test]
fn words_are_those_of_the_manual() {
    type Full = RiscVEntry<Sv39, SvpbmtSvadu>;
    type Plain = RiscVEntry<Sv39, Base>;
    let soft = SoftBits { a: true, b: true };
    let user = PageProperty::user(Access::RW).with_soft(soft);
    let device = PageProperty { cache: CachePolicy::Uncached, ..PageProperty::kernel(Access::RW) };
    let number = 0x12_3456_u64;
    let pa = (number << 12) as usize;
    let page = number << 10;
    #[allow(unsafe_code, reason = "the address fits")]
    // SAFETY: it is a frame below the limit of physical memory.
    let words = unsafe {
        [
            (Full::leaf(pa, 1, user), page | RSW | U | W | R | V),
            (Full::leaf(pa, 1, device), page | IO | G | W | R | V),
            (Full::leaf(pa, 1, PageProperty::kernel(Access::X)), page | G | X | V),
            (Full::leaf(pa, 1, PageProperty::user(Access::None)), page | U | R),
            (Plain::leaf(pa, 1, user), page | RSW | U | W | R | V),
            (Plain::leaf(pa, 1, PageProperty::kernel(Access::RX)), page | D | A | G | X | R | V),
            (Full::link(pa), page | V),
        ]
    };
    for (word, should) in words {
        assert_eq!(word, should, "{word:#x} {should:#x}");
    }
}

/// Whatever a word says, it means what a hart makes of it; pages without access are the cursor's alone.
fn words_mean_what_a_hart_makes_of_them<S: PagingConsts, X: Extensions>(hart: Hart) {
    let highs = [0, 1, IO >> 54, PBMT >> 54, 1 << 7, N >> 54, RESERVED >> 54, (N | IO) >> 54];
    for high in highs {
        for low in 0..1024 {
            for level in 1..=S::levels() {
                let word = high << 54 | (1 << 27) << 10 | low;
                let meaning = RiscVEntry::<S, X>::decode(word, level);
                let accessible = |prop: &PageProperty| prop.access != Access::None;
                match (meaning, hart.step::<S>(word, level)) {
                    (Pte::Absent, Err(Fault::Word)) => {}
                    (Pte::Leaf(_, prop), Err(Fault::Word)) if !accessible(&prop) => assert_eq!(word & V, 0),
                    (Pte::Leaf(pa, prop), Ok(Step::Page(at))) if accessible(&prop) => {
                        assert_eq!(Paddr(pa), at);
                        assert_eq!(prop.access.readable(), word & R != 0);
                        assert_eq!(prop.access.writable(), word & W != 0);
                        assert_eq!(prop.access.executable(), word & X != 0);
                        assert_eq!((prop.user, prop.global), (word & U != 0, word & G != 0));
                    }
                    (Pte::Table(pa), Ok(Step::Node(at))) => assert_eq!(Paddr(pa), at),
                    // No such link is ever written.
                    (Pte::Table(_), Err(Fault::Word)) => assert_ne!(word & (U | A | D | PBMT), 0),
                    other => panic!("{word:#x} at level {level}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn every_word_means_what_a_hart_makes_of_it() {
    words_mean_what_a_hart_makes_of_them::<Sv39, Base>(Hart::BASE);
    words_mean_what_a_hart_makes_of_them::<Sv48, SvpbmtSvadu>(Hart { svadu: false, ..Hart::FULL });
}

/// A page of a user, in a table whose accessed and dirty bits are software's.
#[test]
fn a_handler_notes_what_hardware_leaves_to_it() {
    on_machine(|| {
        let hart = Hart::BASE.in_mode(Mode::User);
        let table = PageTable::<User<Sv39, Base>>::new().unwrap();
        let frame = user_frame();
        let range = Vaddr(0x4000)..Vaddr(0x6000);
        let mut cursor = table.cursor_mut(range.clone()).unwrap();
        let item = MappedItem::new(frame.clone(), PageProperty::user(Access::RW));
        assert!(cursor.map(item).is_ok());
        cursor.jump(range.start).unwrap();
        let root = table.root_paddr();
        let attempt = |access| hart.access::<Sv39>(root, range.start, access);
        let pa = frame.start_paddr();

        assert_eq!(attempt(AccessType::Read), Err(Fault::NotNoted));
        assert_eq!(cursor.note(AccessType::Read), Ok(true));
        assert_eq!(attempt(AccessType::Read), Ok(pa));
        assert_eq!(cursor.query().unwrap().ad, AccessedDirty { accessed: true, dirty: false });
        assert_eq!(attempt(AccessType::Write), Err(Fault::NotNoted));
        assert_eq!(cursor.note(AccessType::Execute), Ok(false));
        assert_eq!(cursor.note(AccessType::Write), Ok(true));
        assert_eq!(attempt(AccessType::Write), Ok(pa));
        assert_eq!(cursor.query().unwrap().ad, ALL_NOTED);

        // The property takes the right away; what was noted stays.
        let read_only = |prop: PageProperty| prop.with_access(Access::R);
        assert_eq!(cursor.protect_next(PAGE_SIZE, read_only), Ok(Some(Vaddr(0x4000)..Vaddr(0x5000))));
        assert_eq!(cursor.note(AccessType::Read), Ok(false), "nothing is mapped at the next page");
        cursor.jump(range.start).unwrap();
        assert_eq!(cursor.note(AccessType::Write), Ok(false));
        assert_eq!(attempt(AccessType::Write), Err(Fault::Forbidden));
        assert_eq!(cursor.virt_addr(), range.start);
        let Ok(Some(Fragment::Leaf { ad, .. })) = cursor.take_next(PAGE_SIZE) else {
            panic!("nothing taken")
        };
        assert_eq!(ad, ALL_NOTED);
        assert_eq!(cursor.note(AccessType::Read), Ok(false));
    });
}

/// A page that is mapped for an access does not fault a second time.
#[test]
fn an_access_is_noted_with_the_mapping() {
    on_machine(|| {
        let hart = Hart::BASE.in_mode(Mode::User);
        let table = PageTable::<User<Sv39, Base>>::new().unwrap();
        let frame = user_frame();
        let (range, pa) = (Vaddr(0x4000)..Vaddr(0x5000), frame.start_paddr());
        let mut cursor = table.cursor_mut(range.clone()).unwrap();
        for (right, access, noted) in [
            (Access::RW, AccessType::Write, ALL_NOTED),
            (Access::RW, AccessType::Read, AccessedDirty { accessed: true, dirty: false }),
            (Access::R, AccessType::Write, UNUSED),
        ] {
            let item = MappedItem::new(frame.clone(), PageProperty::user(right));
            assert!(cursor.map_accessed(item, access).is_ok());
            cursor.jump(range.start).unwrap();
            assert_eq!(cursor.query().unwrap().ad, noted);
            let permitted = right.permits(access);
            let expected = if permitted { Ok(pa) } else { Err(Fault::Forbidden) };
            assert_eq!(hart.access::<Sv39>(table.root_paddr(), range.start, access), expected);
        }
    });
}

#[test]
fn a_hart_notes_accesses_where_it_can() {
    on_machine(|| {
        let table = PageTable::<User<Sv48, SvpbmtSvadu>>::new().unwrap();
        let frame = user_frame();
        let va = Vaddr(0x7000_0000_0000);
        let mut cursor = table.cursor_mut(va..Vaddr(va.0 + PAGE_SIZE)).unwrap();
        let item = MappedItem::new(frame.clone(), PageProperty::user(Access::RWX));
        assert!(cursor.map(item).is_ok());
        cursor.jump(va).unwrap();
        let hart = Hart::FULL.in_mode(Mode::User);
        let mut should = UNUSED;
        for access in [AccessType::Execute, AccessType::Read, AccessType::Write] {
            assert_eq!(cursor.query().unwrap().ad, should);
            assert_eq!(hart.access::<Sv48>(table.root_paddr(), va, access), Ok(frame.start_paddr()));
            should = AccessedDirty::of_access(access);
            assert_eq!(cursor.query().unwrap().ad, should);
        }
    });
}

/// A part of a page of 2 MiB is in the cursor's range: the page is noted, and not split.
#[test]
fn an_access_to_a_part_of_a_huge_page_is_noted() {
    on_machine(|| {
        let table = PageTable::<Kernel<Sv39, SvpbmtSvadu>>::new().unwrap();
        let base = upper_base::<Sv39>() + (Sv39::KERNEL_LO << 30);
        let mut cursor = table.cursor_mut(Vaddr(base)..Vaddr(base + (2 << 20))).unwrap();
        let item = Untracked::new(Paddr(6 << 20), 2, PageProperty::kernel(Access::RW)).unwrap();
        assert!(cursor.map(item).is_ok());
        drop(cursor);
        let mut cursor = table.cursor_mut(Vaddr(base + 0x5000)..Vaddr(base + 0x7000)).unwrap();
        assert_eq!(cursor.note(AccessType::Write), Ok(true));
        assert_eq!(cursor.query().unwrap().ad, ALL_NOTED);
        assert_eq!(decides::<Sv39>(table.root_paddr(), Vaddr(base)).1, 2);
    });
}

/// On this machine, a page that may be executed and not read cannot be had; nothing changes.
#[test]
fn x86_64_says_what_it_cannot_say() {
    on_machine(|| {
        let (user, kernel) = (PageProperty::user(Access::RX), PageProperty::kernel(Access::RX));
        let free = count_free();
        let table = PageTable::<UserPtConfig>::new().unwrap();
        let frame = user_frame();
        let range = Vaddr(0x8000)..Vaddr(0x9000);
        let mut cursor = table.cursor_mut(range.clone()).unwrap();
        let prop = user.with_access(Access::X);
        let refused = cursor.map(MappedItem::new(frame.clone(), prop)).err().unwrap();
        assert_eq!(refused.error, PageTableError::Unrepresentable { prop });
        assert_eq!(refused.error.to_string(), format!("no entry of this table can say {prop:?}"));
        drop(refused);
        assert!(cursor.map(MappedItem::new(frame.clone(), user)).is_ok());
        cursor.jump(range.start).unwrap();
        let refused = cursor.protect_next(PAGE_SIZE, |_| prop);
        assert_eq!(refused, Err(PageTableError::Unrepresentable { prop }));
        assert_eq!(cursor.virt_addr(), range.start);
        let slot = cursor.query().unwrap();
        assert_eq!((slot.item.unwrap().prop, slot.ad), (user, UNUSED));
        assert_eq!(cursor.note(AccessType::Write), Ok(false));
        assert_eq!(cursor.note(AccessType::Execute), Ok(true));
        assert_eq!(cursor.query().unwrap().ad, AccessedDirty { accessed: true, dirty: false });
        drop(cursor);
        drop((table, frame));
        assert_eq!(count_free(), free);

        let table = PageTable::<KernelPtConfig>::new().unwrap();
        let base = <KernelPtConfig as PageTableConfig>::va_base() + (1 << 47);
        let mut cursor = table.cursor_mut(Vaddr(base)..Vaddr(base + (2 << 20))).unwrap();
        assert!(cursor.map(Untracked::new(Paddr(0), 2, kernel).unwrap()).is_ok());
        cursor.jump(Vaddr(base + PAGE_SIZE)).unwrap();
        // The page of 2 MiB is split before the closure is asked; what it maps is the same.
        let refused = cursor.protect_next(PAGE_SIZE, |_| kernel.with_access(Access::X));
        assert!(matches!(refused, Err(PageTableError::Unrepresentable { .. })));
        assert_eq!(cursor.virt_addr(), Vaddr(base + PAGE_SIZE));
        let item = cursor.query().unwrap().item.unwrap();
        assert_eq!((item.prop(), item.start_paddr()), (kernel, Paddr(PAGE_SIZE)));
    });
}
