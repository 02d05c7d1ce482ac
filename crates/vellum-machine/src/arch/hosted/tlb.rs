//! What a processor keeps of the tables that it walked: translations, and addresses of nodes.
//!
//! Entries stay until they are flushed or another entry takes their room; what the tables say meanwhile does not
//! matter. Flushing many entries at once changes the age that an entry must have to count.
use super::mmu::{Leaf, Node, Rights};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};
use core::cell::Cell;
use core::ops::Range;

/// Above so many pages a range is not flushed page by page.
const PAGES_ONE_BY_ONE: usize = 64;

/// What is flushed together.
#[derive(Clone, Copy)]
enum Kind {
    Local,
    Global,
    Node,
}

/// An entry: bits of an address above a shift, and what they stand for.
#[derive(Clone, Copy)]
struct Kept {
    tag: usize,
    base: Paddr,
    age: u32,
    rights: Rights,
}

impl Kept {
    /// Age 0 never counts.
    const NONE: Kept = Kept { tag: 0, base: Paddr(0), age: 0, rights: Rights::NONE };

    fn kind(self) -> Kind {
        if self.rights.contain(Rights::GLOBAL) { Kind::Global } else { Kind::Local }
    }
}

/// A set-associative store of entries.
struct Store<const SETS: usize, const WAYS: usize> {
    sets: [[Cell<Kept>; WAYS]; SETS],
    next: Cell<usize>,
}

impl<const SETS: usize, const WAYS: usize> Store<SETS, WAYS> {
    fn new() -> Self {
        Store { sets: [const { [const { Cell::new(Kept::NONE) }; WAYS] }; SETS], next: Cell::new(0) }
    }

    #[inline(always)]
    fn find(&self, tag: usize, counts: impl Fn(Kept) -> bool) -> Option<&Cell<Kept>> {
        let set = &self.sets[tag % SETS];
        set.iter().find(|way| way.get().tag == tag && counts(way.get()))
    }

    /// Puts an entry in, in the place of one with its tag, of one that does not count, or of any.
    fn insert(&self, entry: Kept, counts: impl Fn(Kept) -> bool) {
        let set = &self.sets[entry.tag % SETS];
        let room = self.find(entry.tag, &counts).or_else(|| set.iter().find(|way| !counts(way.get())));
        match room {
            Some(way) => way.set(entry),
            None => {
                let victim = self.next.get() % WAYS;
                self.next.set(victim + 1);
                set[victim].set(entry);
            }
        }
    }

    fn remove(&self, tag: usize) {
        self.sets[tag % SETS].iter().filter(|way| way.get().tag == tag).for_each(|way| way.set(Kept::NONE));
    }

    fn clear(&self) {
        self.sets.iter().flatten().for_each(|way| way.set(Kept::NONE));
    }
}

/// What the translation of an access is, as far as it is kept.
pub(super) enum Lookup {
    /// The access may go to this address, in a leaf of this many address bits.
    Hit(Paddr, u32),
    /// A translation forbids the access.
    Forbidden,
    /// A translation allows the access but has not noted the page as dirty.
    Clean,
    /// There is none.
    Miss,
}

/// The translations and node addresses that one processor keeps.
pub(super) struct Tlb {
    small: Store<512, 3>,
    large: Store<16, 3>,
    huge: Store<1, 4>,
    /// By the level of the node, from 1.
    nodes: (Store<32, 2>, Store<8, 2>, Store<2, 2>),
    /// The age that entries of each [`Kind`] must have.
    ages: [Cell<u32>; 3],
}

const LARGE_SHIFT: u32 = 21;
const HUGE_SHIFT: u32 = 30;
const TOP_SHIFT: u32 = 39;
const SMALL_SHIFT: u32 = PAGE_SHIFT as u32;

impl Tlb {
    pub(super) fn new() -> Tlb {
        Tlb {
            small: Store::new(),
            large: Store::new(),
            huge: Store::new(),
            nodes: (Store::new(), Store::new(), Store::new()),
            ages: [const { Cell::new(1) }; 3],
        }
    }

    #[inline(always)]
    fn age(&self, kind: Kind) -> u32 {
        self.ages[kind as usize].get()
    }

    #[inline(always)]
    fn translation_counts(&self, entry: Kept) -> bool {
        entry.age == self.age(entry.kind())
    }

    fn node_counts(&self, entry: Kept) -> bool {
        entry.age == self.age(Kind::Node)
    }

    /// Returns where an access goes if a kept base page allows it.
    #[inline(always)]
    pub(super) fn hit(&self, va: Vaddr, need: Rights) -> Option<Paddr> {
        let kept = self.small.find(va.0 >> SMALL_SHIFT, |entry| self.translation_counts(entry))?.get();
        kept.rights.contain(need).then(|| inside(kept, SMALL_SHIFT, va))
    }

    /// Looks through pages of all sizes.
    pub(super) fn look_up(&self, va: Vaddr, need: Rights) -> Lookup {
        let counts = |entry| self.translation_counts(entry);
        let kept = [
            (self.small.find(va.0 >> SMALL_SHIFT, counts), SMALL_SHIFT),
            (self.large.find(va.0 >> LARGE_SHIFT, counts), LARGE_SHIFT),
            (self.huge.find(va.0 >> HUGE_SHIFT, counts), HUGE_SHIFT),
        ];
        let mut answer = Lookup::Miss;
        for (kept, shift) in kept {
            match kept.map(Cell::get) {
                Some(entry) if entry.rights.contain(need) => {
                    return Lookup::Hit(inside(entry, shift, va), shift);
                }
                Some(entry) if entry.rights.contain(need.without(Rights::DIRTY)) => answer = Lookup::Clean,
                Some(_) => answer = Lookup::Forbidden,
                None => {}
            }
        }
        answer
    }

    /// Keeps a translation.
    pub(super) fn keep(&self, va: Vaddr, leaf: Leaf) {
        let mut entry = Kept { tag: va.0 >> leaf.shift, base: leaf.base, age: 0, rights: leaf.rights };
        entry.age = self.age(entry.kind());
        let counts = |entry| self.translation_counts(entry);
        match leaf.shift {
            SMALL_SHIFT => self.small.insert(entry, counts),
            LARGE_SHIFT => self.large.insert(entry, counts),
            _ => self.huge.insert(entry, counts),
        }
    }

    /// Keeps the address of the node that translates `va` at the node's level.
    pub(super) fn keep_node(&self, va: Vaddr, node: Node) {
        let entry = |shift| Kept {
            tag: va.0 >> shift,
            base: node.table,
            age: self.age(Kind::Node),
            rights: node.rights,
        };
        let counts = |entry| self.node_counts(entry);
        match node.level {
            1 => self.nodes.0.insert(entry(LARGE_SHIFT), counts),
            2 => self.nodes.1.insert(entry(HUGE_SHIFT), counts),
            _ => self.nodes.2.insert(entry(TOP_SHIFT), counts),
        }
    }

    /// Returns the lowest node that is kept for `va`.
    pub(super) fn node(&self, va: Vaddr) -> Option<Node> {
        let counts = |entry| self.node_counts(entry);
        let found = |kept: Option<&Cell<Kept>>, level| {
            kept.map(Cell::get).map(|entry| Node { table: entry.base, level, rights: entry.rights })
        };
        found(self.nodes.0.find(va.0 >> LARGE_SHIFT, counts), 1)
            .or_else(|| found(self.nodes.1.find(va.0 >> HUGE_SHIFT, counts), 2))
            .or_else(|| found(self.nodes.2.find(va.0 >> TOP_SHIFT, counts), 3))
    }

    /// Forgets the translations of one page, of any size.
    pub(super) fn forget_page(&self, va: Vaddr) {
        self.small.remove(va.0 >> SMALL_SHIFT);
        self.large.remove(va.0 >> LARGE_SHIFT);
        self.huge.remove(va.0 >> HUGE_SHIFT);
    }

    /// Forgets the addresses of the nodes on the way to one page.
    pub(super) fn forget_way(&self, va: Vaddr) {
        self.nodes.0.remove(va.0 >> LARGE_SHIFT);
        self.nodes.1.remove(va.0 >> HUGE_SHIFT);
        self.nodes.2.remove(va.0 >> TOP_SHIFT);
    }

    /// Forgets what `INVLPG` does: the translations of one page, and all nodes.
    pub(super) fn flush_addr(&self, va: Vaddr) {
        self.forget_page(va);
        self.grow_old(Kind::Node);
    }

    /// Forgets the translations of a range, and all nodes.
    pub(super) fn flush_range(&self, range: Range<Vaddr>) {
        if range.start >= range.end {
            return;
        }
        let first = range.start.0 >> SMALL_SHIFT;
        let last = (range.end.0 - 1) >> SMALL_SHIFT;
        if last - first >= PAGES_ONE_BY_ONE {
            return self.flush_all();
        }
        for page in first..=last {
            self.forget_page(Vaddr(page * PAGE_SIZE));
        }
        self.grow_old(Kind::Node);
    }

    /// Forgets everything but global translations.
    pub(super) fn flush_local(&self) {
        self.grow_old(Kind::Local);
        self.grow_old(Kind::Node);
    }

    /// Forgets everything.
    pub(super) fn flush_all(&self) {
        self.grow_old(Kind::Global);
        self.flush_local();
    }

    fn grow_old(&self, kind: Kind) {
        let age = &self.ages[kind as usize];
        match age.get().checked_add(1) {
            Some(next) => age.set(next),
            None => self.start_over(),
        }
    }

    /// Forgets everything, when an age has no successor.
    #[cold]
    fn start_over(&self) {
        self.small.clear();
        self.large.clear();
        self.huge.clear();
        self.nodes.0.clear();
        self.nodes.1.clear();
        self.nodes.2.clear();
        self.ages.iter().for_each(|age| age.set(1));
    }
}

/// The address inside a kept page.
#[inline(always)]
fn inside(kept: Kept, shift: u32, va: Vaddr) -> Paddr {
    Paddr(kept.base.0 | va.0 & ((1 << shift) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(frame: usize, rights: Rights) -> Leaf {
        Leaf { base: Paddr(frame * PAGE_SIZE), shift: SMALL_SHIFT, rights }
    }

    fn page(number: usize) -> Vaddr {
        Vaddr(number * PAGE_SIZE + 8)
    }

    #[test]
    fn translations_stay_until_flushed() {
        let tlb = Tlb::new();
        tlb.keep(page(1), leaf(10, Rights::USER));
        tlb.keep(page(2), leaf(20, Rights::USER.and(Rights::GLOBAL)));
        assert_eq!(tlb.hit(page(1), Rights::USER), Some(Paddr(10 * PAGE_SIZE + 8)));
        tlb.flush_local();
        assert_eq!(tlb.hit(page(1), Rights::USER), None);
        assert!(tlb.hit(page(2), Rights::USER).is_some());
        tlb.flush_addr(page(2));
        assert_eq!(tlb.hit(page(2), Rights::USER), None);
    }

    #[test]
    fn a_page_is_kept_once_and_the_store_is_bounded() {
        let tlb = Tlb::new();
        for turn in 0..4 {
            (0..2048).for_each(|n| tlb.keep(page(n), leaf(n + turn, Rights::USER)));
        }
        let kept: std::vec::Vec<_> =
            (0..2048).filter_map(|n| Some((n, tlb.hit(page(n), Rights::USER)?))).collect();
        assert!(kept.len() <= 1536 && kept.len() >= 512, "{}", kept.len());
        assert!(kept.iter().all(|&(n, pa)| pa.0 == (n + 3) * PAGE_SIZE + 8));
        tlb.flush_range(page(0)..page(2048));
        assert!((0..2048).all(|n| tlb.hit(page(n), Rights::USER).is_none()));
    }

    #[test]
    fn an_age_without_successor_starts_over() {
        let tlb = Tlb::new();
        tlb.ages[Kind::Local as usize].set(u32::MAX);
        tlb.keep(page(1), leaf(1, Rights::USER));
        tlb.keep(page(2), leaf(2, Rights::USER.and(Rights::GLOBAL)));
        assert!(tlb.hit(page(1), Rights::USER).is_some());
        tlb.flush_local();
        assert!(tlb.hit(page(1), Rights::USER).is_none());
        tlb.keep(page(1), leaf(3, Rights::USER));
        assert!(tlb.hit(page(1), Rights::USER).is_some());
    }

    use super::super::std;
}
