//! Frames that keep items: shelves, one on another, each with the address of the one below.
#![expect(
    unsafe_code,
    reason = "words of frames that no walker reads are written with their permission at hand"
)]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::node_frame::*;
use super::spec::*;
use vellum_machine::addr::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::model::{Step, WalkerShape};
use vellum_machine::ptword;
use vellum_machine::ptword::WalkerFormat;
use vstd::prelude::*;

verus! {

/// Items on a shelf: all words but the first, which says what is below.
pub const PER_SHELF: usize = 511;

/// Below the lowest shelf: the address of no frame.
const END: u64 = 1;

/// The format of words that no walker reads.
pub struct Unwalked;

// SAFETY: no walker reads them.
unsafe impl WalkerFormat for Unwalked {
    open spec fn noted(e: u64) -> u64 {
        0
    }

    fn settled(_e: u64) -> bool {
        assert(0 & !_e == 0) by (bit_vector);
        true
    }

    open spec fn step(e: u64, l: nat, shape: WalkerShape) -> Step {
        Step::Fault
    }
}

/// A frame that nobody else knows, and what the words in it own.
pub tracked struct Shelf {
    pub new: NewNode,
    pub toks: Map<int, LeafTok>,
}

impl Shelf {
    /// It is the frame at `pa`.
    pub open spec fn at(self, pa: usize) -> bool {
        self.new.ok(pa) && self.words().len() == 512
    }

    /// Its words.
    pub open spec fn words(self) -> Seq<u64> {
        self.new.page.words()
    }

    /// Its physical address.
    pub open spec fn pa(self) -> usize {
        self.new.page.pa().0
    }

    /// The same, but for the first word.
    pub open spec fn same_items(self, o: Shelf) -> bool {
        &&& self.pa() == o.pa()
        &&& self.toks == o.toks
        &&& forall|j: int| 1 <= j < 512 ==> #[trigger] self.words()[j] == o.words()[j]
    }
}

/// Shelves, one on another.
pub struct Shelves {
    /// The physical address of the topmost, or [`END`].
    top: u64,
    toks: Tracked<Seq<Shelf>>,
}

/// The address of the shelf at height `i`.
spec fn address(s: Seq<Shelf>, i: int) -> u64 {
    if i < 0 { END } else { s[i].pa() as u64 }
}

/// The shelf at height `i` names the one below it.
spec fn stands(s: Seq<Shelf>, i: int) -> bool {
    s[i].at(s[i].pa()) && s[i].words()[0] == address(s, i - 1)
}

/// Reads a word of a shelf.
#[inline(always)]
pub fn read(pa: usize, j: usize, Tracked(shelf): Tracked<&Shelf>) -> (r: u64)
    requires
        shelf.at(pa),
        j < 512,
    ensures
        r == shelf.words()[j as int],
    no_unwind
{
    // SAFETY: the permission of the frame is at hand, and no walker reads it.
    let r = unsafe { ptword::load::<Unwalked>(Paddr(pa), j, Tracked(&shelf.new.page)) };
    proof {
        let w = shelf.words()[j as int];
        assert(r & !0u64 == w & !0u64 ==> r == w) by (bit_vector);
    }
    r
}

/// Writes a word of a shelf.
#[inline(always)]
pub fn write(pa: usize, j: usize, word: u64, Tracked(shelf): Tracked<&mut Shelf>)
    requires
        old(shelf).at(pa),
        j < 512,
    ensures
        final(shelf).at(pa),
        final(shelf).toks == old(shelf).toks,
        final(shelf).words() == old(shelf).words().update(j as int, word),
    no_unwind
{
    // SAFETY: the permission of the frame is at hand, and no walker reads it.
    unsafe { ptword::store_unreachable(Paddr(pa), j, word, Tracked(&mut shelf.new.page)) };
}

/// Makes a shelf of a free frame. `None`: no memory.
pub fn new_shelf() -> (r: Option<(usize, Tracked<Shelf>)>)
    ensures
        r matches Some(x) ==> x.1@.at(x.0),
    no_unwind
{
    let (pa, Tracked(new)) = alloc_node()?;
    Some((pa, Tracked(Shelf { new, toks: Map::tracked_empty() })))
}

/// Makes a shelf a free frame again.
pub fn free_shelf(pa: usize, Tracked(shelf): Tracked<Shelf>)
    requires
        shelf.at(pa),
    no_unwind
{
    let tracked Shelf { new, toks } = shelf;
    let tracked NewNode { own, page, lock, stray, below } = new;
    free_frame(pa, Tracked(own), Tracked(page));
}

impl Shelves {
    /// Each names the one below it.
    pub closed spec fn wf(self) -> bool {
        &&& self.top == address(self.toks@, self.toks@.len() - 1)
        &&& forall|i: int| 0 <= i < self.toks@.len() ==> #[trigger] stands(self.toks@, i)
    }

    /// The shelves from the lowest to the topmost.
    pub closed spec fn view(&self) -> Seq<Shelf> {
        self.toks@
    }

    #[inline(always)]
    pub fn new() -> (r: Self)
        ensures
            r.wf(),
            r@.len() == 0,
        no_unwind
    {
        Shelves { top: END, toks: Tracked(Seq::tracked_empty()) }
    }

    /// Says whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool
        no_unwind
    {
        self.top == END
    }

    /// Puts a shelf on top.
    pub fn push(&mut self, pa: usize, Tracked(shelf): Tracked<Shelf>)
        requires
            old(self).wf(),
            shelf.at(pa),
        ensures
            final(self).wf(),
            final(self)@.len() == old(self)@.len() + 1,
            forall|i: int| 0 <= i < old(self)@.len() ==> #[trigger] final(self)@[i] == old(self)@[i],
            final(self)@.last().same_items(shelf),
        no_unwind
    {
        let ghost s = self.toks@;
        let tracked mut shelf = shelf;
        write(pa, 0, self.top, Tracked(&mut shelf));
        self.top = pa as u64;
        proof {
            self.toks.borrow_mut().tracked_push(shelf);
            assert forall|i: int| 0 <= i < self.toks@.len() implies #[trigger] stands(self.toks@, i) by {
                if i < s.len() {
                    assert(stands(s, i));
                }
            }
        }
    }

    /// Takes the topmost shelf off.
    pub fn pop(&mut self) -> (r: Option<(usize, Tracked<Shelf>)>)
        requires
            old(self).wf(),
        ensures
            final(self).wf(),
            match r {
                Some(x) => {
                    &&& old(self)@.len() > 0
                    &&& x.1@ == old(self)@.last()
                    &&& x.1@.at(x.0)
                    &&& final(self)@ == old(self)@.drop_last()
                },
                None => old(self)@.len() == 0 && final(self)@ == old(self)@,
            },
        no_unwind
    {
        let ghost s = self.toks@;
        proof {
            if s.len() > 0 {
                assert(stands(s, s.len() - 1));
                assert(self.top % 4096 == 0);
            }
        }
        if self.top == END {
            return None;
        }
        let pa = self.top as usize;
        let tracked shelf;
        proof {
            shelf = self.toks.borrow_mut().tracked_pop();
            assert(self.toks@ =~= s.drop_last());
            assert forall|i: int| 0 <= i < self.toks@.len() implies #[trigger] stands(self.toks@, i) by {
                assert(stands(s, i));
            }
        }
        self.top = read(pa, 0, Tracked(&shelf));
        Some((pa, Tracked(shelf)))
    }
}

} // verus!
