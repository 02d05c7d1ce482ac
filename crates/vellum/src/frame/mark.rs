//! Which list a frame is in, for anybody to read.
//!
//! The slot of a frame has a word that names the list which the frame is in, by the list's number. Whoever
//! owns the frame writes it; everybody may read it. Numbers are handed out once, so that the word is the
//! number of a list exactly while the frame is in that list.
#![cfg_attr(
    not(verus_keep_ghost),
    allow(dead_code, unused_variables, reason = "tokens and permissions are for the proofs alone")
)]
use vellum_machine::addr::Paddr;
use vellum_machine::atomic::RefCount;
use vellum_machine::halt::halt;
use vellum_machine::primitive::{AtomicU64, Ordering};
use vstd::atomic::PermissionU64;
use vstd::invariant::*;
use vstd::prelude::*;
use vstd::resource::Loc;
use vstd::resource::ghost_var::{GhostVar, GhostVarAuth};
use vstd::resource::set::{GhostSetAuth, GhostSingleton};

verus! {

/// The members of one list.
pub type Roll = GhostSetAuth<Paddr>;

/// The entry of one frame in a list's roll.
pub type Entry = GhostSingleton<Paddr>;

/// The right to change a mark, and what it is.
pub type MarkPerm = GhostVar<u64>;

/// The roll of the list with this number.
pub uninterp spec fn roll_of(number: u64) -> Loc;

/// The entry is one of the frame at `pa` in the list with this number.
pub open spec fn enters(entry: Option<Entry>, number: u64, pa: Paddr) -> bool {
    &&& entry is Some
    &&& entry->0.id() == roll_of(number)
    &&& entry->0@ == pa
}

/// What a mark's invariant is about.
pub ghost struct MarkKey {
    pub word: int,
    pub perm: Loc,
    pub pa: Paddr,
}

/// What a mark's invariant holds.
pub tracked struct MarkGhost {
    pub word: PermissionU64,
    pub value: GhostVarAuth<u64>,
    pub entry: Option<Entry>,
}

/// The word is what the owner of the frame wrote, and a list that it names has the frame on its roll.
pub struct MarkInv;

impl InvariantPredicate<MarkKey, MarkGhost> for MarkInv {
    open spec fn inv(k: MarkKey, g: MarkGhost) -> bool {
        &&& g.word@.patomic == k.word
        &&& g.value.id() == k.perm
        &&& g.value@ == g.word@.value
        &&& g.word@.value != 0 ==> enters(g.entry, g.word@.value, k.pa)
    }
}

/// The number of the list that a frame is in; zero for none.
#[repr(C)]
pub(super) struct ListMark {
    word: RefCount,
    tracked_inv: Tracked<AtomicInvariant<MarkKey, MarkGhost, MarkInv>>,
}

impl ListMark {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        self.tracked_inv@.constant().word == self.word.id()
    }

    /// The identity that a permission names.
    pub closed spec fn id(self) -> Loc {
        self.tracked_inv@.constant().perm
    }

    /// The frame that it is the mark of.
    pub closed spec fn pa(self) -> Paddr {
        self.tracked_inv@.constant().pa
    }

    /// Makes the mark of a frame that is in no list.
    pub(super) const fn new(Ghost(pa): Ghost<Paddr>) -> (r: (ListMark, Tracked<MarkPerm>))
        ensures
            r.0.pa() == pa,
            r.0.id() == r.1@.id(),
            r.1@@ == 0,
    {
        let (word, Tracked(perm)) = RefCount::new(0);
        let tracked (value, var) = GhostVarAuth::new(0u64);
        let tracked inv = AtomicInvariant::new(
            MarkKey { word: word.id(), perm: var.id(), pa },
            MarkGhost { word: perm, value, entry: None },
            1,
        );
        (ListMark { word, tracked_inv: Tracked(inv) }, Tracked(var))
    }

    /// Writes the number of a list, or zero; gives the entry in the old list back.
    // Relaxed: readers conclude nothing about other memory.
    #[inline(always)]
    pub(super) fn set(
        &self,
        Tracked(perm): Tracked<&mut MarkPerm>,
        number: u64,
        Tracked(entry): Tracked<Option<Entry>>,
    ) -> (r: Tracked<Option<Entry>>)
        requires
            old(perm).id() == self.id(),
            number != 0 ==> enters(entry, number, self.pa()),
        ensures
            final(perm).id() == self.id(),
            final(perm)@ == number,
            old(perm)@ != 0 ==> enters(r@, old(perm)@, self.pa()),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked was;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked MarkGhost { mut word, mut value, entry: old_entry } = g;
            self.word.store_relaxed(Tracked(&mut word), number);
            proof {
                was = old_entry;
                value.update(perm, number);
                g = MarkGhost { word, value, entry };
            }
        });
        Tracked(was)
    }

    /// Tells whether the frame is in the list with this number and roll.
    ///
    /// The answer is exact: the list is looked at, so that it does not change meanwhile.
    // Relaxed: nothing is concluded about other memory.
    #[inline(always)]
    pub(super) fn names(
        &self,
        number: u64,
        Tracked(roll): Tracked<&Roll>,
        Tracked(perm): Tracked<Option<&MarkPerm>>,
    ) -> (r: bool)
        requires
            number != 0,
            roll.id() == roll_of(number),
            perm is Some ==> perm->0.id() == self.id(),
        ensures
            r ==> roll@.contains(self.pa()),
            perm is Some && perm->0@ == number ==> r,
        no_unwind
    {
        proof { use_type_invariant(self); }
        let found;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            found = self.word.load_relaxed(Tracked(&g.word));
            proof {
                if found == number {
                    g.entry.tracked_borrow().agree(roll);
                }
                if perm is Some {
                    g.value.agree(perm.tracked_unwrap());
                }
            }
        });
        found == number
    }
}

/// The number that the next list gets.
#[verifier::external]
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Takes the number of a list, which no other list has had or will have.
///
/// Stops the machine when there are none left: after 2<sup>64</sup> lists.
#[verifier::external_body]
pub(super) fn fresh_number(Tracked(roll): Tracked<&Roll>) -> (r: u64)
    ensures
        r != 0,
        roll_of(r) == roll.id(),
    opens_invariants none
    no_unwind
{
    match take_number(&NEXT) {
        Some(number) => number,
        None => halt("there were as many lists of frames as have numbers"),
    }
}

} // verus!

/// Counts up, but not beyond the greatest value.
#[cfg_attr(verus_keep_ghost, verifier::external)]
fn take_number(next: &AtomicU64) -> Option<u64> {
    // Relaxed: a number is all that is handed out.
    next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1)).ok()
}

#[cfg(test)]
#[cfg_attr(verus_keep_ghost, verifier::external)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_handed_out_once() {
        let next = AtomicU64::new(u64::MAX - 2);
        assert_eq!(take_number(&next), Some(u64::MAX - 2));
        assert_eq!(take_number(&next), Some(u64::MAX - 1));
        assert_eq!(take_number(&next), None);
        assert_eq!(take_number(&next), None);
    }
}
