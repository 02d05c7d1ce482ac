//! Tables of three uses and two shapes, and choices that a seed decides.
use crate::page_table_support::{huge_segment, pages_of, user_frame};
use std::ops::Range;
use vellum::frame::{UFrame, USegment};
use vellum::page_table::{
    Access, AreaPt, FourLevel, KernelPt, MappedItem, PageProperty, PageTable, PageTableConfig, PagingConsts,
    SoftBits, TinyTree, Untracked, UserPt,
};
use vellum_machine::addr::{PAGE_SIZE, Paddr, Vaddr};

/// Numbers that a seed decides.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15 | 1);
        (0..8).for_each(|_| _ = random.next());
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    pub fn property(&mut self) -> PageProperty {
        let access = self.of(&[Access::None, Access::R, Access::RW, Access::RW, Access::RX, Access::RWX]);
        let soft = self.of(&[SoftBits::NONE, SoftBits::A, SoftBits::B, SoftBits::AB]);
        PageProperty::user(access).with_soft(soft)
    }
}

/// A shape, and where in a tree of it something happens.
pub trait Shape: PagingConsts {
    /// Pages at the borders of nodes, counted from the first that the table has.
    fn page(random: &mut Random) -> usize;
    /// One past the last page that is used.
    const PAGES: usize;
    /// The highest level of a huge page for which there are frames.
    const LEVELS_OF_FRAMES: u8;
}

impl Shape for TinyTree {
    fn page(random: &mut Random) -> usize {
        random.below(Self::PAGES)
    }

    const PAGES: usize = 16;
    const LEVELS_OF_FRAMES: u8 = 2;
}

impl Shape for FourLevel {
    fn page(random: &mut Random) -> usize {
        let near = random.of(&[0, 500, 1 << 10, (1 << 18) - 12, (1 << 18) + 500, (1 << 19) - 24]);
        near + random.below(24)
    }

    const PAGES: usize = 1 << 19;
    const LEVELS_OF_FRAMES: u8 = 2;
}

/// What is mapped, again and again.
pub struct Frames {
    pub base: Vec<UFrame>,
    /// Of huge pages, each of a level above 1.
    pub huge: Vec<(u8, USegment)>,
}

impl Frames {
    /// Takes `many` frames, and a quarter as many huge pages of each level up to `levels`.
    pub fn new<G: PagingConsts>(many: usize, levels: u8) -> Frames {
        let huge = |level| (0..many / 4).map(move |_| (level, huge_segment(pages_in::<G>(level))));
        Frames {
            base: (0..many).map(|_| user_frame()).collect(),
            huge: (2..=levels).flat_map(huge).collect(),
        }
    }

    /// The huge pages of a level.
    fn of_level(&self, level: u8) -> impl Iterator<Item = &USegment> {
        self.huge.iter().filter(move |(of, _)| *of == level).map(|(_, segment)| segment)
    }

    /// A handle more of every frame.
    pub fn each(&self) -> impl Iterator<Item = UFrame> {
        self.base.iter().cloned().chain(self.huge.iter().flat_map(|(_, segment)| segment.clone()))
    }
}

/// A use of a table, and what is mapped in it.
pub trait Use {
    type Shape: Shape;
    type Config: PageTableConfig<Consts = Self::Shape>;
    /// The highest level of a page.
    const LEVELS: u8;
    fn item(frames: &Frames, random: &mut Random, level: u8, prop: PageProperty) -> Item<Self>;
    /// Its physical address, level and property.
    fn parts(item: &Item<Self>) -> (usize, u8, PageProperty);
    /// Whether what is mapped has counts.
    const COUNTED: bool;
}

pub type Item<U> = <<U as Use>::Config as PageTableConfig>::Item;
pub type Table<U> = PageTable<<U as Use>::Config>;

pub struct User<G>(G);

impl<G: Shape> Use for User<G> {
    type Shape = G;
    type Config = UserPt<G>;
    const LEVELS: u8 = G::LEVELS_OF_FRAMES;
    const COUNTED: bool = true;

    fn item(frames: &Frames, random: &mut Random, level: u8, prop: PageProperty) -> MappedItem<G> {
        if level == 1 {
            return MappedItem::new(frames.base[random.below(frames.base.len())].clone(), prop);
        }
        let huge: Vec<_> = frames.of_level(level).collect();
        MappedItem::huge(huge[random.below(huge.len())].clone(), prop).expect("it is a huge page")
    }

    fn parts(item: &MappedItem<G>) -> (usize, u8, PageProperty) {
        (item.frames.start_paddr().0, item.frames.level(), item.prop)
    }
}

pub struct Areas<G>(G);

impl<G: Shape> Use for Areas<G> {
    type Shape = G;
    type Config = AreaPt<G>;
    const LEVELS: u8 = User::<G>::LEVELS;
    const COUNTED: bool = true;

    fn item(frames: &Frames, random: &mut Random, level: u8, prop: PageProperty) -> MappedItem<G> {
        User::<G>::item(frames, random, level, prop)
    }

    fn parts(item: &MappedItem<G>) -> (usize, u8, PageProperty) {
        User::<G>::parts(item)
    }
}

pub struct Kernel<G>(G);

impl<G: Shape> Use for Kernel<G> {
    type Shape = G;
    type Config = KernelPt<G>;
    const LEVELS: u8 = G::MAX_LEAF_LEVEL;
    const COUNTED: bool = false;

    fn item(_: &Frames, random: &mut Random, level: u8, prop: PageProperty) -> Untracked<G> {
        let pa = random.below(8) * pages_in::<G>(level) * PAGE_SIZE;
        Untracked::new(Paddr(pa), level, prop).expect("the page can be mapped")
    }

    fn parts(item: &Untracked<G>) -> (usize, u8, PageProperty) {
        (item.start_paddr().0, item.level(), item.prop())
    }
}

/// The base pages in a page of a level.
pub fn pages_in<G: PagingConsts>(level: u8) -> usize {
    G::NR_ENTRIES.pow(u32::from(level - 1))
}

pub fn base<U: Use>() -> usize {
    U::Config::va_base() + U::Config::TOP_LO * pages_in::<U::Shape>(U::Shape::levels()) * PAGE_SIZE
}

pub fn va<U: Use>(page: usize) -> Vaddr {
    Vaddr(base::<U>() + page * PAGE_SIZE)
}

pub fn vas<U: Use>(pages: Range<usize>) -> Range<Vaddr> {
    va::<U>(pages.start)..va::<U>(pages.end)
}

pub fn page_of<U: Use>(va: Vaddr) -> usize {
    pages_of(base::<U>(), &(va..va)).start
}
