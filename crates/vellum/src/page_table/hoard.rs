//! Items that were taken out of a table and are kept for a while, without the heap: a few in place, the others on shelves
//! that were got before.
#![expect(unsafe_code, reason = "takes items apart and drops what they own, each once")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::shelf::*;
use super::spec::*;
use core::marker::PhantomData;
use vellum_machine::halt::halt;
use vellum_machine::owned::Release;
use vstd::prelude::*;

verus! {

/// Items that need no shelf.
pub const FEW: usize = 4;

/// Items that were taken out of a table, kept until they are dropped together.
///
/// An item is kept as a word, its physical address and its level, and what it owns.
pub(crate) struct Hoard<C: PageTableConfig> {
    few: [u64; FEW],
    nr_few: usize,
    /// What the words in `few` own.
    few_toks: Tracked<Map<int, LeafTok>>,
    /// The shelf that is being filled, and how many of its words are in use; none: it is not there.
    shelf: usize,
    used: usize,
    shelf_tok: Tracked<Option<Shelf>>,
    full: Shelves,
    empty: Shelves,
    /// Items for which there is room.
    room: usize,
    kind: PhantomData<C>,
}

/// The word says an item, and this is what it owns.
spec fn keeps<C: PageTableConfig>(word: u64, toks: Map<int, LeafTok>, i: int) -> bool {
    let (pa, l) = ((word - word % 4096) as usize, (word % 4096) as nat);
    toks.dom().contains(i) && leaf_fits::<C::Consts>(pa, l) && C::leaf_ok(toks[i], pa, l)
}

/// The frame at `pa` is one of the item that the word says.
spec fn says<C: PageTableConfig>(word: u64, pa: nat) -> bool {
    let (start, l) = ((word - word % 4096) as usize, (word % 4096) as nat);
    is_of_page::<C>(start, l, pa)
}

/// The frame at `pa` is one of the page of level `l` at `start`.
pub open spec fn is_of_page<C: PageTableConfig>(start: usize, l: nat, pa: nat) -> bool {
    start <= pa && pa < start + span(C::Consts::NR_ENTRIES as nat, l)
}

/// One of the first `n` words of a shelf but the first says an item with the frame at `pa`.
spec fn shelf_says<C: PageTableConfig>(shelf: Shelf, n: int, pa: nat) -> bool {
    exists|j: int| 1 <= j < n && says::<C>(#[trigger] shelf.words()[j], pa)
}

/// One of the first `n` words says an item with the frame at `pa`.
spec fn few_say<C: PageTableConfig>(few: Seq<u64>, n: int, pa: nat) -> bool {
    exists|i: int| 0 <= i < n && says::<C>(#[trigger] few[i], pa)
}

/// A full shelf says an item with the frame at `pa`.
spec fn shelves_say<C: PageTableConfig>(full: Seq<Shelf>, pa: nat) -> bool {
    exists|i: int| 0 <= i < full.len() && shelf_says::<C>(#[trigger] full[i], 512, pa)
}

/// The first `n` words of a shelf but the first keep items.
spec fn filled<C: PageTableConfig>(shelf: Shelf, n: int) -> bool {
    forall|j: int| 1 <= j < n ==> keeps::<C>(#[trigger] shelf.words()[j], shelf.toks, j)
}

/// An item as a word.
#[inline(always)]
fn encode<C: PageTableConfig>(item: C::Item) -> (r: (u64, Tracked<LeafTok>))
    ensures
        leaf_fits::<C::Consts>((r.0 - r.0 % 4096) as usize, (r.0 % 4096) as nat),
        C::leaf_ok(r.1@, (r.0 - r.0 % 4096) as usize, (r.0 % 4096) as nat),
        C::raw(item).0 == r.0 - r.0 % 4096 && C::raw(item).1 == r.0 % 4096,
    no_unwind
{
    let (pa, l, _, tok) = C::item_into_raw(item);
    proof {
        lemma_leaf_fits::<C::Consts>(pa, l as nat);
        C::Consts::consts_ok();
    }
    (pa as u64 + l as u64, tok)
}

/// Drops the item of a word.
#[inline(always)]
fn drop_word<C: PageTableConfig>(word: u64, tok: Tracked<LeafTok>)
    requires
        leaf_fits::<C::Consts>((word - word % 4096) as usize, (word % 4096) as nat),
        C::leaf_ok(tok@, (word - word % 4096) as usize, (word % 4096) as nat),
    no_unwind
{
    proof {
        C::Consts::consts_ok();
    }
    let l = word % 4096;
    // SAFETY: these are the parts of an item that is in no table any more.
    unsafe { C::drop_leaf((word - l) as usize, l as u8, tok) }
}

impl<C: PageTableConfig> Hoard<C> {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.nr_few <= FEW
        &&& forall|i: int| 0 <= i < self.nr_few ==> keeps::<C>(#[trigger] self.few@[i], self.few_toks@, i)
        &&& self.used <= 512
        &&& self.used > 0 ==> (self.shelf_tok@ matches Some(s) && s.at(self.shelf) && filled::<C>(s, self.used as int))
        &&& self.full.wf() && self.empty.wf()
        &&& forall|i: int| 0 <= i < self.full@.len() ==> filled::<C>(#[trigger] self.full@[i], 512)
    }

    /// The frame at `pa` is one of an item that is kept: by the invariant, with what the item owns.
    pub closed spec fn has(self, pa: nat) -> bool {
        ||| few_say::<C>(self.few@, self.nr_few as int, pa)
        ||| self.used > 0 && (self.shelf_tok@ matches Some(s) && shelf_says::<C>(s, self.used as int, pa))
        ||| shelves_say::<C>(self.full@, pa)
    }

    /// Items that places are left for.
    spec fn places(self) -> int {
        (FEW - self.nr_few) + (if self.used > 0 { 512 - self.used } else { 0 }) + PER_SHELF * self.empty@.len()
    }

    /// There are places for as many items as it has room for.
    pub closed spec fn sound(self) -> bool {
        self.room <= self.places()
    }

    /// Items that it has room for.
    pub closed spec fn room(self) -> nat {
        self.room as nat
    }

    /// It has what it had.
    pub open spec fn has_still(self, o: Self) -> bool {
        forall|pa: nat| #[trigger] o.has(pa) ==> self.has(pa)
    }

    #[inline(always)]
    pub(crate) fn new() -> (r: Self)
        ensures
            r.sound() && r.room() == FEW,
        no_unwind
    {
        Hoard {
            few: [0, 0, 0, 0],
            nr_few: 0,
            few_toks: Tracked(Map::tracked_empty()),
            shelf: 0,
            used: 0,
            shelf_tok: Tracked(None),
            full: Shelves::new(),
            empty: Shelves::new(),
            room: FEW,
            kind: PhantomData,
        }
    }

    /// Gets room for `n` items. False: no memory.
    pub(crate) fn reserve(&mut self, n: usize) -> (r: bool)
        ensures
            final(self).has_still(*old(self)),
            old(self).sound() ==> final(self).sound(),
            r ==> final(self).room() >= n,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        while self.room < n
            invariant
                self.wf(),
                self.has_still(*old(self)),
                old(self).sound() ==> self.sound(),
            decreases usize::MAX - self.room,
        {
            if self.room > usize::MAX - PER_SHELF {
                return false;
            }
            let Some((pa, shelf)) = new_shelf() else {
                return false;
            };
            self.empty.push(pa, shelf);
            self.room += PER_SHELF;
        }
        true
    }

    /// Keeps an item, for which there is room.
    #[inline(always)]
    pub(crate) fn push(&mut self, item: C::Item)
        requires
            old(self).sound() && old(self).room() >= 1,
        ensures
            final(self).sound(),
            final(self).room() + 1 == old(self).room(),
            final(self).has_still(*old(self)),
            forall|pa: nat| #[trigger] is_of_page::<C>(C::raw(item).0, C::raw(item).1, pa) ==> final(self).has(pa),
        no_unwind
    {
        let ghost o = *self;
        proof {
            use_type_invariant(&*self);
        }
        self.room -= 1;
        proof {
            assert(self.has_still(o));
        }
        let (word, Tracked(tok)) = encode::<C>(item);
        let n = self.nr_few;
        if n < FEW {
            self.few[n] = word;
            proof {
                self.few_toks.borrow_mut().tracked_insert(n as int, tok);
            }
            self.nr_few = n + 1;
            proof {
                assert forall|pa: nat| few_say::<C>(o.few@, n as int, pa) || says::<C>(word, pa) implies #[trigger] few_say::<C>(
                    self.few@,
                    self.nr_few as int,
                    pa,
                ) by {
                    assert(self.few@[n as int] == word);
                    if few_say::<C>(o.few@, n as int, pa) {
                        let i = choose|i: int| 0 <= i < n && says::<C>(#[trigger] o.few@[i], pa);
                        assert(says::<C>(self.few@[i], pa));
                    }
                }
            }
        } else {
            self.push_on_shelf(word, Tracked(tok));
        }
        proof {
            assert forall|pa: nat| #[trigger] is_of_page::<C>(C::raw(item).0, C::raw(item).1, pa) implies self.has(pa) by {
                assert(says::<C>(word, pa));
            }
        }
    }

    fn push_on_shelf(&mut self, word: u64, Tracked(tok): Tracked<LeafTok>)
        requires
            old(self).nr_few == FEW,
            old(self).room < old(self).places(),
            leaf_fits::<C::Consts>((word - word % 4096) as usize, (word % 4096) as nat),
            C::leaf_ok(tok, (word - word % 4096) as usize, (word % 4096) as nat),
        ensures
            final(self).sound(),
            final(self).room == old(self).room,
            final(self).has_still(*old(self)),
            forall|pa: nat| #[trigger] says::<C>(word, pa) ==> final(self).has(pa),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.used == 0 || self.used == 512 {
            self.next_shelf();
        }
        proof {
            use_type_invariant(&*self);
        }
        let ghost o = *self;
        let j = self.used;
        if j == 0 || j == 512 {
            halt("a new shelf is full");
        }
        self.used = 0;
        let tracked mut shelf = self.shelf_tok.borrow_mut().tracked_take();
        let ghost before = shelf;
        write(self.shelf, j, word, Tracked(&mut shelf));
        proof {
            shelf.toks.tracked_insert(j as int, tok);
            *self.shelf_tok.borrow_mut() = Some(shelf);
            assert forall|i: int| 1 <= i < j + 1 implies keeps::<C>(#[trigger] shelf.words()[i], shelf.toks, i) by {
                if i < j {
                    assert(keeps::<C>(before.words()[i], before.toks, i));
                }
            }
        }
        self.used = j + 1;
        proof {
            let s = self.shelf_tok@->0;
            assert(s.words()[j as int] == word);
            assert forall|pa: nat| shelf_says::<C>(before, j as int, pa) || says::<C>(word, pa) implies #[trigger] shelf_says::<C>(s, j + 1, pa) by {
                if shelf_says::<C>(before, j as int, pa) {
                    let i = choose|i: int| 1 <= i < j && says::<C>(#[trigger] before.words()[i], pa);
                    assert(says::<C>(s.words()[i], pa));
                }
            }
        }
    }

    /// Begins another shelf, where the last one is full.
    fn next_shelf(&mut self)
        requires
            old(self).used == 0 || old(self).used == 512,
            old(self).nr_few == FEW,
            old(self).room < old(self).places(),
        ensures
            final(self).used == 1,
            final(self).room == old(self).room,
            final(self).nr_few == FEW,
            final(self).room < final(self).places(),
            final(self).has_still(*old(self)),
        no_unwind
    {
        let ghost o = *self;
        proof {
            use_type_invariant(&*self);
        }
        let Some((pa, shelf)) = self.empty.pop() else {
            proof {
                assert(false);
            }
            halt("no shelf was got before");
        };
        let used = self.used;
        self.used = 0;
        if used == 512 {
            let tracked last = self.shelf_tok.borrow_mut().tracked_take();
            self.full.push(self.shelf, Tracked(last));
        }
        self.shelf = pa;
        self.shelf_tok = Tracked(Some(shelf.get()));
        self.used = 1;
        proof {
            let top = o.shelf_tok@->0;
            assert forall|pa: nat| shelves_say::<C>(o.full@, pa) || (used == 512 && shelf_says::<C>(top, 512, pa)) implies #[trigger] shelves_say::<
                C,
            >(self.full@, pa) by {
                if shelves_say::<C>(o.full@, pa) {
                    let i = choose|i: int| 0 <= i < o.full@.len() && shelf_says::<C>(#[trigger] o.full@[i], 512, pa);
                    assert(self.full@[i] == o.full@[i]);
                } else {
                    let j = choose|j: int| 1 <= j < 512 && says::<C>(#[trigger] top.words()[j], pa);
                    assert(says::<C>(self.full@.last().words()[j], pa));
                    assert(shelf_says::<C>(self.full@[self.full@.len() - 1], 512, pa));
                }
            }
        }
    }

    /// How many there are, or more.
    spec fn size(self) -> nat {
        self.nr_few as nat + self.used as nat + 512 * self.full@.len()
    }

    /// Drops an item, unless none is left.
    fn drop_one(&mut self) -> (r: bool)
        ensures
            r ==> final(self).size() < old(self).size(),
            !r ==> final(self).nr_few == 0,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        while self.used > 0
            invariant
                self.wf(),
                self.nr_few == old(self).nr_few,
                self.size() <= old(self).size(),
            decreases self.full@.len(), self.used,
        {
            let j = self.used - 1;
            self.used = 0;
            let tracked mut shelf = self.shelf_tok.borrow_mut().tracked_take();
            if j > 0 {
                let word = read(self.shelf, j, Tracked(&shelf));
                let tracked tok;
                proof {
                    assert(keeps::<C>(shelf.words()[j as int], shelf.toks, j as int));
                    let ghost before = shelf;
                    tok = shelf.toks.tracked_remove(j as int);
                    assert forall|i: int| 1 <= i < j implies keeps::<C>(#[trigger] shelf.words()[i], shelf.toks, i) by {
                        assert(keeps::<C>(before.words()[i], before.toks, i));
                    }
                    *self.shelf_tok.borrow_mut() = Some(shelf);
                }
                self.used = j;
                drop_word::<C>(word, Tracked(tok));
                return true;
            }
            free_shelf(self.shelf, Tracked(shelf));
            let ghost before = self.full@;
            if let Some((pa, shelf)) = self.full.pop() {
                proof {
                    assert(filled::<C>(before[before.len() - 1], 512));
                    assert forall|i: int| 0 <= i < self.full@.len() implies filled::<C>(#[trigger] self.full@[i], 512) by {
                        assert(filled::<C>(before[i], 512));
                    }
                }
                self.shelf = pa;
                self.shelf_tok = Tracked(Some(shelf.get()));
                self.used = 512;
            }
        }
        self.drop_one_of_few()
    }

    /// Drops one of those that are in place, unless none is left.
    #[inline(always)]
    fn drop_one_of_few(&mut self) -> (r: bool)
        ensures
            r ==> final(self).nr_few < old(self).nr_few,
            !r ==> final(self).nr_few == 0,
            final(self).used == old(self).used,
            final(self).full == old(self).full,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.nr_few == 0 {
            return false;
        }
        let n = self.nr_few - 1;
        self.nr_few = n;
        let word = self.few[n];
        let tracked tok;
        proof {
            assert(keeps::<C>(self.few@[n as int], self.few_toks@, n as int));
            tok = self.few_toks.borrow_mut().tracked_remove(n as int);
        }
        drop_word::<C>(word, Tracked(tok));
        true
    }
}

impl<C: PageTableConfig> Hoard<C> {
    /// Drops each item, and gives the shelves back: it is as if it were new.
    #[inline(always)]
    pub(crate) fn clear(&mut self)
        ensures
            final(self).sound(),
        no_unwind
    {
        if self.used == 0 {
            while self.drop_one_of_few()
                ensures
                    self.nr_few == 0,
                decreases self.nr_few,
            {
            }
        }
        if self.used > 0 || !self.empty.is_empty() {
            self.clear_shelves();
        }
        proof {
            use_type_invariant(&*self);
        }
        self.room = FEW;
    }

    fn clear_shelves(&mut self)
        ensures
            final(self).nr_few == 0,
        no_unwind
    {
        while self.drop_one()
            ensures
                self.nr_few == 0,
            decreases self.size(),
        {
        }
        proof {
            use_type_invariant(&*self);
        }
        while let Some((pa, shelf)) = self.empty.pop()
            invariant
                self.wf(),
                self.nr_few == 0,
            decreases self.empty@.len(),
        {
            free_shelf(pa, shelf);
        }
    }
}

impl<C: PageTableConfig> Release for Hoard<C> {
    fn release(self) {
        let mut hoard = self;
        hoard.clear();
    }

    #[inline(always)]
    fn release_in_place(&mut self) -> bool {
        self.clear();
        true
    }
}

} // verus!
