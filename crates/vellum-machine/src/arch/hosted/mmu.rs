//! The walk through the page tables: x86-64, four levels (Intel SDM vol. 3, sections 5.5 to 5.10).
//!
//! A word of a table is read at any time, and marked by a compare-and-swap on what was read: accessed in each
//! word on the way, dirty in the leaf of a write. A word that changed meanwhile makes the walk start again.
use super::access::Mode;
use super::phys::Place;
use super::processor::Processor;
use super::tlb::Lookup;
use super::{Machine, word_at};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};
use crate::fault::Access;
use core::sync::atomic::Ordering;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const PAGE_SIZE_BIT: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// In an entry for a large page bit 12 belongs to the memory type.
const LARGE_PAT: u64 = 1 << 12;

const TOP_LEVEL: u32 = 4;
const BITS_PER_LEVEL: u32 = 9;
const ADDRESS_BITS: u32 = 48;

/// What a translation allows, and what is known about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rights(u8);

impl Rights {
    pub(super) const NONE: Rights = Rights(0);
    pub(super) const WRITE: Rights = Rights(1 << 0);
    pub(super) const USER: Rights = Rights(1 << 1);
    pub(super) const EXECUTE: Rights = Rights(1 << 2);
    /// The dirty bit is set in memory.
    pub(super) const DIRTY: Rights = Rights(1 << 3);
    pub(super) const GLOBAL: Rights = Rights(1 << 4);

    #[inline(always)]
    pub(super) const fn contain(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn and(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    const fn only_if(self, holds: bool) -> Rights {
        if holds { self } else { Rights::NONE }
    }

    /// What an access needs of the translation it uses. The kernel's writes need the right to (CR0.WP is set).
    #[inline(always)]
    pub(super) const fn for_access(mode: Mode, access: Access) -> Rights {
        let access = match access {
            Access::Read => Rights::NONE,
            Access::Write => Rights::WRITE.and(Rights::DIRTY),
            Access::Execute => Rights::EXECUTE,
        };
        match mode {
            Mode::User | Mode::Kernel => access.and(Rights::USER),
            Mode::Supervisor => access,
        }
    }

    /// What is left after an entry on the way: it must allow a write, user code, and execution.
    const fn through(self, entry: u64) -> Rights {
        let lost = Rights::WRITE
            .only_if(entry & WRITABLE == 0)
            .and(Rights::USER.only_if(entry & USER == 0))
            .and(Rights::EXECUTE.only_if(entry & NO_EXECUTE != 0));
        self.without(lost)
    }
}

/// A node on the way, and what the way to it allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) table: Paddr,
    pub(super) level: u32,
    pub(super) rights: Rights,
}

/// The end of the way: a page of `1 << shift` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) base: Paddr,
    pub(super) shift: u32,
    pub(super) rights: Rights,
}

/// Why there is no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The address has no meaning.
    NotCanonical,
    /// An entry on the way is not present.
    Absent,
    /// The entries forbid the access, or one has reserved bits set.
    Forbidden,
}

/// What one look at an entry leads to.
enum Step {
    Down(Node),
    Leaf(Leaf),
    /// The entry changed under the walk.
    Changed,
}

fn is_canonical(va: Vaddr) -> bool {
    let unused = usize::BITS - ADDRESS_BITS;
    ((va.0 << unused) as isize >> unused) as usize == va.0
}

const fn shift_of(level: u32) -> u32 {
    PAGE_SHIFT as u32 + BITS_PER_LEVEL * (level - 1)
}

const fn is_leaf(entry: u64, level: u32) -> bool {
    level == 1 || entry & PAGE_SIZE_BIT != 0
}

/// Bits that must be zero in a present entry: no page has the top level's size, and the address of a large page
/// is a multiple of its size.
const fn reserved(entry: u64, level: u32) -> u64 {
    match level {
        TOP_LEVEL => PAGE_SIZE_BIT,
        1 => 0,
        _ if is_leaf(entry, level) => ADDRESS & ((1 << shift_of(level)) - 1) & !LARGE_PAT,
        _ => 0,
    }
}

const fn leaf_base(entry: u64, level: u32) -> Paddr {
    Paddr((entry & ADDRESS & !((1 << shift_of(level)) - 1)) as usize)
}

impl Machine {
    /// Looks at the entry for `va` in `node`, and marks it as used for an access that needs `need`.
    fn step(&self, node: Node, va: Vaddr, need: Rights) -> Result<Step, Stop> {
        let index = va.0 >> shift_of(node.level) & (PAGE_SIZE / size_of::<u64>() - 1);
        let pa = word_at(node.table, index);
        let Some(word) = self.word(pa) else {
            self.check(format_args!("walking for {va}, no memory at {pa}"))
        };
        // Acquire: pairs with the Release that published the entry; the node it leads to is read after it.
        let entry = word.load(Ordering::Acquire);
        if entry & PRESENT == 0 {
            return Err(Stop::Absent);
        }
        if entry & reserved(entry, node.level) != 0 {
            return Err(Stop::Forbidden);
        }
        let rights = node.rights.through(entry);
        let leaf = is_leaf(entry, node.level);
        if leaf && !rights.contain(need.without(Rights::DIRTY)) {
            return Err(Stop::Forbidden);
        }
        let dirtied = if leaf && need.contain(Rights::DIRTY) { DIRTY } else { 0 };
        let marked = entry | ACCESSED | dirtied;
        // AcqRel: as the load, and ordered after what the processor did before; the bit is seen by whoever swaps
        // the entry out.
        if marked != entry
            && word.compare_exchange(entry, marked, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return Ok(Step::Changed);
        }
        if leaf {
            let rights = rights
                .and(Rights::DIRTY.only_if(marked & DIRTY != 0))
                .and(Rights::GLOBAL.only_if(marked & GLOBAL != 0));
            return Ok(Step::Leaf(Leaf {
                base: leaf_base(entry, node.level),
                shift: shift_of(node.level),
                rights,
            }));
        }
        let table = Paddr((entry & ADDRESS) as usize);
        if self.place(table).is_none() {
            self.check(format_args!("walking for {va}, the entry {entry:#x} at {pa} leads to no memory"));
        }
        Ok(Step::Down(Node { table, level: node.level - 1, rights }))
    }
}

impl Processor {
    /// Returns where an access that needs these rights goes, by what is kept or by a walk.
    #[inline(always)]
    pub(super) fn translate(&self, va: Vaddr, need: Rights) -> Result<Place, Stop> {
        let hit = self.tlb.hit(va, need).and_then(|pa| self.machine().place(pa));
        match hit {
            Some(place) => {
                self.counters().hits.count();
                Ok(place)
            }
            None => self.translate_slowly(va, need),
        }
    }

    #[inline(never)]
    fn translate_slowly(&self, va: Vaddr, need: Rights) -> Result<Place, Stop> {
        if !is_canonical(va) {
            return Err(Stop::NotCanonical);
        }
        match self.tlb.look_up(va, need) {
            Lookup::Hit(pa, shift) => {
                self.counters().hits.count();
                return Ok(self.place(va, pa, shift));
            }
            Lookup::Forbidden => self.forget(va),
            Lookup::Clean => self.tlb.forget_page(va),
            Lookup::Miss => {}
        }
        let leaf = match self.tlb.node(va) {
            // What is kept may be what forbids it: a fault is raised by the tables in memory alone.
            Some(node) => self.walk_from(node, va, need).or_else(|_| {
                self.forget(va);
                self.walk_from_root(va, need)
            })?,
            None => self.walk_from_root(va, need)?,
        };
        let place = self.place(va, Paddr(leaf.base.0 | va.0 & ((1 << leaf.shift) - 1)), leaf.shift);
        self.fill(va, leaf);
        Ok(place)
    }

    /// Reads the translation of `va` without an access, if there is one and none is kept.
    pub(super) fn speculate(&self, va: Vaddr) {
        if !is_canonical(va) || !matches!(self.tlb.look_up(va, Rights::NONE), Lookup::Miss) {
            return;
        }
        let leaf = match self.tlb.node(va) {
            Some(node) => self.walk_from(node, va, Rights::NONE),
            None => self.walk_from_root(va, Rights::NONE),
        };
        match leaf {
            Ok(leaf) if self.machine().place(leaf.base).is_some() => self.fill(va, leaf),
            _ => {}
        }
    }

    fn fill(&self, va: Vaddr, leaf: Leaf) {
        self.counters().fills.count();
        self.tlb.keep(va, leaf);
    }

    /// The end of a page may reach beyond memory, so each access to it is checked.
    fn place(&self, va: Vaddr, pa: Paddr, shift: u32) -> Place {
        let bytes = 1usize << shift;
        match self.machine().place(pa) {
            Some(place) => place,
            None => self
                .machine()
                .check(format_args!("{va}, in a page of {bytes:#x} bytes, is mapped to {pa}, no memory")),
        }
    }

    fn forget(&self, va: Vaddr) {
        self.tlb.forget_page(va);
        self.tlb.forget_way(va);
    }

    fn walk_from_root(&self, va: Vaddr, need: Rights) -> Result<Leaf, Stop> {
        let rights = Rights::WRITE.and(Rights::USER).and(Rights::EXECUTE);
        let table = self.root().ok_or(Stop::Absent)?;
        self.walk_from(Node { table, level: TOP_LEVEL, rights }, va, need)
    }

    fn walk_from(&self, start: Node, va: Vaddr, need: Rights) -> Result<Leaf, Stop> {
        self.counters().walks.count();
        let mut node = start;
        loop {
            match self.machine().step(node, va, need)? {
                Step::Leaf(leaf) => return Ok(leaf),
                Step::Changed => node = start,
                Step::Down(below) => {
                    self.tlb.keep_node(va, below);
                    node = below;
                }
            }
        }
    }
}
