//! A RISC-V hart as far as it translates addresses: the privileged specification's section 4.3.2, step by step, over the
//! words in memory. It follows `vellum_machine::model`.
use super::word;
use std::sync::atomic::Ordering;
use vellum::page_table::{AccessType, AccessedDirty, PagingConsts};
use vellum_machine::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Vaddr};

pub const V: u64 = 1 << 0;
pub const R: u64 = 1 << 1;
pub const W: u64 = 1 << 2;
pub const X: u64 = 1 << 3;
pub const U: u64 = 1 << 4;
pub const G: u64 = 1 << 5;
pub const A: u64 = 1 << 6;
pub const D: u64 = 1 << 7;
pub const RSW: u64 = 3 << 8;
pub const RESERVED: u64 = 0x7f << 54;
pub const PBMT: u64 = 3 << 61;
pub const IO: u64 = 2 << 61;
pub const N: u64 = 1 << 63;

/// The mode of privilege in which an access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    User,
    Supervisor,
}

/// A hart, and the bits of `sstatus` that matter.
#[derive(Clone, Copy, Debug)]
pub struct Hart {
    pub svpbmt: bool,
    pub svadu: bool,
    pub mode: Mode,
    pub sum: bool,
    pub mxr: bool,
}

/// Why an access raised a page fault. Real harts do not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The address is not sign-extended.
    NotCanonical,
    /// A word on the way is not valid, or has what is reserved.
    Word,
    /// The page is not aligned to its size.
    Misaligned,
    /// The page does not permit it.
    Forbidden,
    /// A or D is to be set by software.
    NotNoted,
}

/// What a hart makes of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Page(Paddr),
    Node(Paddr),
}

/// The base pages in a page of a level.
fn pages_in<S: PagingConsts>(level: u8) -> usize {
    S::NR_ENTRIES.pow(u32::from(level - 1))
}

impl Hart {
    /// Neither memory types nor A and D bits from hardware; the kernel may reach pages of users.
    pub const BASE: Hart =
        Hart { svpbmt: false, svadu: false, mode: Mode::Supervisor, sum: true, mxr: false };

    /// Both.
    pub const FULL: Hart = Hart { svpbmt: true, svadu: true, ..Hart::BASE };

    pub fn in_mode(self, mode: Mode) -> Hart {
        Hart { mode, ..self }
    }

    /// Steps 3 to 5 up to the rights, and the alignment of step 6.
    pub fn step<S: PagingConsts>(&self, e: u64, level: u8) -> Result<Step, Fault> {
        let pbmt = e & PBMT;
        let no_type = if self.svpbmt { pbmt == PBMT } else { pbmt != 0 };
        if e & V == 0 || e & (R | W) == W || e & (RESERVED | N) != 0 || no_type {
            return Err(Fault::Word);
        }
        let pa = ((e >> 10) & ((1 << 44) - 1)) as usize * PAGE_SIZE;
        if e & (R | W | X) == 0 {
            if level == 1 || e & (U | A | D) != 0 || pbmt != 0 {
                return Err(Fault::Word);
            }
            return Ok(Step::Node(Paddr(pa)));
        }
        if level > S::MAX_LEAF_LEVEL {
            return Err(Fault::Word);
        }
        if !pa.is_multiple_of(pages_in::<S>(level) * PAGE_SIZE) {
            return Err(Fault::Misaligned);
        }
        Ok(Step::Page(Paddr(pa)))
    }

    /// The rights of step 5.
    fn may(&self, e: u64, access: AccessType) -> bool {
        let bits = match access {
            AccessType::Read if self.mxr => R | X,
            AccessType::Read => R,
            AccessType::Write => W,
            AccessType::Execute => X,
        };
        let whose = match self.mode {
            Mode::User => e & U != 0,
            Mode::Supervisor => e & U == 0 || (self.sum && access != AccessType::Execute),
        };
        e & bits != 0 && whose
    }

    /// Makes an access, and returns where it goes.
    pub fn access<S: PagingConsts>(
        &self,
        root: Paddr,
        va: Vaddr,
        access: AccessType,
    ) -> Result<Paddr, Fault> {
        let bits = PAGE_SHIFT + S::INDEX_BITS * usize::from(S::levels());
        let upper = va.0 as isize >> (bits - 1);
        if upper != 0 && upper != -1 {
            return Err(Fault::NotCanonical);
        }
        loop {
            let entry = self.find::<S>(root, va)?;
            if !self.may(entry.word, access) {
                return Err(Fault::Forbidden);
            }
            let noted = A | if access == AccessType::Write { D } else { 0 };
            let bytes = pages_in::<S>(entry.level) * PAGE_SIZE;
            let pa = Paddr(entry.pa.0 + va.0 % bytes);
            if entry.word & noted == noted {
                return Ok(pa);
            }
            if !self.svadu {
                return Err(Fault::NotNoted);
            }
            // Step 7: unless the word changed meanwhile.
            let (old, new) = (entry.word, entry.word | noted);
            if word(entry.at).compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Ok(pa);
            }
        }
    }

    /// The word that maps a page.
    fn find<S: PagingConsts>(&self, root: Paddr, va: Vaddr) -> Result<Leaf, Fault> {
        let mut node = root;
        for level in (1..=S::levels()).rev() {
            let at = entry_at::<S>(node, va, level);
            let e = word(at).load(Ordering::SeqCst);
            match self.step::<S>(e, level)? {
                Step::Page(pa) => return Ok(Leaf { at, level, word: e, pa }),
                Step::Node(pa) => node = pa,
            }
        }
        unreachable!("a walk ends at level 1")
    }
}

struct Leaf {
    at: Paddr,
    level: u8,
    word: u64,
    pa: Paddr,
}

fn entry_at<S: PagingConsts>(node: Paddr, va: Vaddr, level: u8) -> Paddr {
    let index = va.0 >> (PAGE_SHIFT + S::INDEX_BITS * usize::from(level - 1)) & (S::NR_ENTRIES - 1);
    Paddr(node.0 + 8 * index)
}

/// Goes down while there are links, to the word that decides about `va`; returns where it is, its level, and itself.
pub fn decides<S: PagingConsts>(root: Paddr, va: Vaddr) -> (Paddr, u8, u64) {
    let mut node = root;
    for level in (1..=S::levels()).rev() {
        let at = entry_at::<S>(node, va, level);
        let e = word(at).load(Ordering::SeqCst);
        match Hart::FULL.step::<S>(e, level) {
            Ok(Step::Node(pa)) => node = pa,
            _ => return (at, level, e),
        }
    }
    unreachable!("a walk ends at level 1")
}

/// Notes, as hardware may at any time, that the page at `va` was accessed, or written.
pub fn note<S: PagingConsts>(root: Paddr, va: Vaddr, ad: AccessedDirty) {
    let bits = if ad.accessed { A } else { 0 } | if ad.dirty { D } else { 0 };
    word(decides::<S>(root, va).0).fetch_or(bits, Ordering::SeqCst);
}
