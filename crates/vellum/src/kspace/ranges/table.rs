//! The bits of a window, and who owns what they stand for.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use crate::frame::allocator::pool::bits::span;
#[cfg(verus_keep_ghost)]
use crate::frame::allocator::pool::words::*;
use vellum_machine::atomic::{RefCount, WordTable};
use vstd::atomic::PermissionU64;
use vstd::invariant::*;
use vstd::prelude::*;
use vstd::resource::Loc;
use vstd::resource::set::{GhostSetAuth, GhostSubset};

verus! {

/// Chunks that a word tells about.
pub(super) const WORD_CHUNKS: usize = 64;

/// The most words that count, so that a chunk's number has 32 bits.
pub const MAX_WORDS: usize = 0x0400_0000;

/// The ownership of chunks: whoever has it for a chunk is the only one.
pub type Chunks = GhostSubset<nat>;

/// Which chunks there are from one to another.
pub open spec fn chunks_in(first: int, end: int) -> Set<nat> {
    Set::range(first as nat, end as nat)
}

/// What the invariant of a word is about: the word, where its chunks begin, and whose chunks they are.
pub ghost struct WordKey {
    pub word: int,
    pub base: nat,
    pub owner: Loc,
}

/// A word, and the chunks that are free by it.
pub tracked struct WordRes {
    pub word: PermissionU64,
    pub free: Chunks,
}

/// A chunk's bit is clear while it is free.
pub struct WordInv;

impl InvariantPredicate<WordKey, WordRes> for WordInv {
    closed spec fn inv(k: WordKey, r: WordRes) -> bool {
        &&& r.word@.patomic == k.word
        &&& r.free.id() == k.owner
        &&& r.free@ == ones_of(!r.word@.value, k.base)
    }
}

/// The hint may be anything.
pub struct HintInv;

impl InvariantPredicate<int, PermissionU64> for HintInv {
    closed spec fn inv(k: int, r: PermissionU64) -> bool {
        r@.patomic == k
    }
}

/// The invariants of the words, by their numbers.
pub type WordInvs = Map<nat, AtomicInvariant<WordKey, WordRes, WordInv>>;

/// A window of `64 * WORDS` chunks of address space, with a bit for each, set while it is taken.
pub struct Ranges<const WORDS: usize> {
    words: WordTable<WORDS>,
    hint: RefCount,
    tracked_owner: Tracked<GhostSetAuth<nat>>,
    tracked_words: Tracked<WordInvs>,
    tracked_hint: Tracked<AtomicInvariant<int, PermissionU64, HintInv>>,
}

impl<const WORDS: usize> Ranges<WORDS> {
    #[verifier::type_invariant]
    pub(super) closed spec fn wf(self) -> bool {
        &&& self.tracked_hint@.constant() == self.hint.id()
        &&& forall|w: nat| w < WORDS ==> #[trigger] self.tracked_words@.dom().contains(w)
        &&& forall|w: nat| w < WORDS ==> (#[trigger] self.tracked_words@[w]).constant() == (WordKey {
            word: self.words.id(w as int),
            base: 64 * w,
            owner: self.owner(),
        })
    }

    /// Which window it is: ownership of its chunks is of this name.
    pub closed spec fn owner(self) -> Loc {
        self.tracked_owner@.id()
    }

    /// How many chunks it has.
    pub open spec fn chunks() -> int {
        64 * if WORDS < MAX_WORDS {
            WORDS as int
        } else {
            MAX_WORDS as int
        }
    }

    /// Makes a window in which all is free.
    pub const fn new() -> Ranges<WORDS> {
        let (words, Tracked(perms)) = WordTable::<WORDS>::new();
        let (hint, Tracked(hint_perm)) = RefCount::new(0);
        let tracked (owner, free) = GhostSetAuth::<nat>::new(chunks_in(0, 64 * WORDS as int));
        let tracked invs;
        proof {
            invs = gather(|w: int| words.id(w), owner.id(), perms, free, WORDS as nat);
        }
        let tracked hint_inv = AtomicInvariant::new(hint.id(), hint_perm, 0);
        Ranges {
            words,
            hint,
            tracked_owner: Tracked(owner),
            tracked_words: Tracked(invs),
            tracked_hint: Tracked(hint_inv),
        }
    }

    /// Returns how many words count.
    #[inline(always)]
    pub(super) const fn nr_words() -> (r: usize)
        ensures
            r <= WORDS,
            r <= MAX_WORDS,
            64 * r == Self::chunks(),
        opens_invariants none
        no_unwind
    {
        if WORDS < MAX_WORDS {
            WORDS
        } else {
            MAX_WORDS
        }
    }

    /// Reads where to look first, which may be anywhere.
    #[inline(always)]
    pub(super) fn hint(&self) -> u64 {
        proof {
            use_type_invariant(self);
        }
        let r;
        open_atomic_invariant!(self.tracked_hint.borrow() => perm => {
            r = self.hint.load_relaxed(Tracked(&perm));
        });
        r
    }

    /// Says where to look first.
    #[inline(always)]
    pub(super) fn set_hint(&self, chunk: u64) {
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.tracked_hint.borrow() => perm => {
            self.hint.store_relaxed(Tracked(&mut perm), chunk);
        });
    }

    /// Reads which chunks of a word are taken, to make a guess from.
    #[inline(always)]
    pub(super) fn peek(&self, w: usize) -> u64
        requires
            w < WORDS,
    {
        proof {
            use_type_invariant(self);
            assert(self.tracked_words@.dom().contains(w as nat));
        }
        let word = self.words.word(w);
        let r;
        open_atomic_invariant!(self.tracked_words.borrow().tracked_borrow(w as nat) => g => {
            r = word.load_relaxed(Tracked(&g.word));
        });
        r
    }

    /// Takes chunks of one word, all or none.
    // Acquire: pairs with the Release in `give`.
    #[inline]
    #[verifier::exec_allows_no_decreases_clause]
    fn claim(&self, w: usize, mask: u64) -> (r: Option<Tracked<Chunks>>)
        requires
            w < WORDS,
        ensures
            r matches Some(t) ==> t@.id() == self.owner() && t@@ == ones_of(mask, 64 * w as nat),
    {
        proof {
            use_type_invariant(self);
        }
        let word = self.words.word(w);
        let mut current = self.peek(w);
        loop
            invariant
                self.wf(),
                w < WORDS,
                word.id() == self.words.id(w as int),
        {
            if current & mask != 0 {
                return None;
            }
            let tracked mut out: Option<Chunks> = None;
            let r;
            proof {
                assert(self.tracked_words@.dom().contains(w as nat));
            }
            open_atomic_invariant!(self.tracked_words.borrow().tracked_borrow(w as nat) => g => {
                let tracked WordRes { word: mut perm, mut free } = g;
                r = word.cas_weak_acquire(Tracked(&mut perm), current, current | mask);
                proof {
                    if r is Ok {
                        lemma_taken(current, mask, 64 * w as nat);
                        out = Some(free.split(ones_of(mask, 64 * w as nat)));
                    }
                    g = WordRes { word: perm, free };
                }
            });
            match r {
                Ok(_) => return Some(Tracked(out.tracked_unwrap())),
                Err(found) => current = found,
            }
        }
    }

    /// Gives chunks of one word back.
    // Release: pairs with the Acquire in `claim`.
    #[inline]
    fn give(&self, w: usize, mask: u64, Tracked(chunks): Tracked<Chunks>)
        requires
            w < WORDS,
            chunks.id() == self.owner(),
            chunks@ == ones_of(mask, 64 * w as nat),
    {
        proof {
            use_type_invariant(self);
            assert(self.tracked_words@.dom().contains(w as nat));
        }
        let word = self.words.word(w);
        open_atomic_invariant!(self.tracked_words.borrow().tracked_borrow(w as nat) => g => {
            proof {
                assert(self.tracked_words@[w as nat].inv(g));
            }
            let tracked WordRes { word: mut perm, mut free } = g;
            proof {
                lemma_given(perm@.value, mask, 64 * w as nat);
            }
            word.clear_release(Tracked(&mut perm), mask);
            proof {
                free.combine(chunks);
                g = WordRes { word: perm, free };
            }
        });
    }

    /// Takes `count` chunks from `first` on, all or none.
    #[inline]
    pub(super) fn take_run(&self, first: usize, count: usize) -> (r: Option<Tracked<Chunks>>)
        requires
            first + count <= Self::chunks(),
        ensures
            r matches Some(t) ==> t@.id() == self.owner() && t@@ == chunks_in(first as int, first + count),
    {
        broadcast use vstd::set_lib::range_set_properties;

        let words = Self::nr_words();
        let end = first + count;
        let mut at = first;
        let tracked mut taken = self.tracked_owner.borrow().empty();
        proof {
            assert(taken@ =~= chunks_in(first as int, first as int));
        }
        while at < end
            invariant
                words <= WORDS,
                words <= MAX_WORDS,
                first <= at <= end <= 64 * words,
                end == first + count,
                taken.id() == self.owner(),
                taken@ == chunks_in(first as int, at as int),
            decreases end - at,
        {
            let (w, mask, next) = part(at, end);
            match self.claim(w, mask) {
                Some(more) => {
                    proof {
                        taken.combine(more.get());
                        assert(taken@ =~= chunks_in(first as int, next as int));
                    }
                    at = next;
                },
                None => {
                    self.give_run(first, at, Tracked(taken));
                    return None;
                },
            }
        }
        Some(Tracked(taken))
    }

    /// Gives the chunks from `first` to `end` back.
    #[inline]
    pub(super) fn give_run(&self, first: usize, end: usize, Tracked(chunks): Tracked<Chunks>)
        requires
            first <= end <= Self::chunks(),
            chunks.id() == self.owner(),
            chunks@ == chunks_in(first as int, end as int),
    {
        broadcast use vstd::set_lib::range_set_properties;

        let words = Self::nr_words();
        let tracked mut left = chunks;
        let mut at = first;
        while at < end
            invariant
                words <= WORDS,
                words <= MAX_WORDS,
                first <= at <= end <= 64 * words,
                left.id() == self.owner(),
                left@ == chunks_in(at as int, end as int),
            decreases end - at,
        {
            let (w, mask, next) = part(at, end);
            let tracked some = left.split(chunks_in(at as int, next as int));
            proof {
                assert(left@ =~= chunks_in(next as int, end as int));
            }
            self.give(w, mask, Tracked(some));
            at = next;
        }
    }
}

impl<const WORDS: usize> Default for Ranges<WORDS> {
    fn default() -> Self {
        Ranges::new()
    }
}

/// The part of a run from `at` on that is in one word: the word, its bits, and where the rest begins.
#[inline(always)]
fn part(at: usize, end: usize) -> (r: (usize, u64, usize))
    requires
        at < end <= 64 * MAX_WORDS,
    ensures
        r.0 == at as int / 64,
        at < r.2 <= end,
        ones_of(r.1, 64 * r.0 as nat) == chunks_in(at as int, r.2 as int),
{
    broadcast use {vstd::set_lib::range_set_properties, lemma_ones_of};

    let (w, low) = (at / WORD_CHUNKS, at % WORD_CHUNKS);
    let room = WORD_CHUNKS - low;
    let len = if end - at < room {
        end - at
    } else {
        room
    };
    let mask = span(low, len);
    proof {
        let base = 64 * w as nat;
        assert forall|c: nat| ones_of(mask, base).contains(c) == chunks_in(at as int, at + len).contains(c) by {
            if base <= c < base + 64 {
                assert(bit(mask, c - base) <==> low <= c - base < low + len);
            }
        }
        assert(ones_of(mask, base) =~= chunks_in(at as int, at + len));
    }
    (w, mask, at + len)
}

/// What is free when bits were set that were clear.
proof fn lemma_taken(word: u64, mask: u64, base: nat)
    requires
        word & mask == 0,
    ensures
        ones_of(mask, base) <= ones_of(!word, base),
        ones_of(!word, base) - ones_of(mask, base) == ones_of(!(word | mask), base),
{
    broadcast use group_bits;

    assert forall|c: nat| #[trigger] ones_of(mask, base).contains(c) implies ones_of(!word, base).contains(c) by {
        assert(!bit(word & mask, c - base));
    }
    assert(ones_of(!word, base) - ones_of(mask, base) =~= ones_of(!(word | mask), base));
}

/// What is free when bits were cleared.
proof fn lemma_given(word: u64, mask: u64, base: nat)
    ensures
        ones_of(!word, base).union(ones_of(mask, base)) == ones_of(!(word & !mask), base),
{
    broadcast use group_bits;

    assert(ones_of(!word, base).union(ones_of(mask, base)) =~= ones_of(!(word & !mask), base));
}

/// The invariants of the words below `n`, each with its chunks.
proof fn gather(
    ids: spec_fn(int) -> int,
    owner: Loc,
    tracked perms: Map<nat, PermissionU64>,
    tracked free: Chunks,
    n: nat,
) -> (tracked r: WordInvs)
    requires
        perms.dom() == Set::<nat>::range(0, n),
        forall|w: nat| w < n ==> (#[trigger] perms[w])@.patomic == ids(w as int) && perms[w]@.value == 0,
        free.id() == owner,
        free@ == chunks_in(0, 64 * n as int),
    ensures
        forall|w: nat| w < n ==> #[trigger] r.dom().contains(w),
        forall|w: nat| w < n ==> (#[trigger] r[w]).constant() == (WordKey { word: ids(w as int), base: 64 * w, owner }),
    decreases n,
{
    broadcast use {vstd::set_lib::range_set_properties, group_bits};

    let tracked (mut perms, mut free) = (perms, free);
    if n == 0 {
        Map::tracked_empty()
    } else {
        let w = (n - 1) as nat;
        let k = WordKey { word: ids(w as int), base: 64 * w, owner };
        let tracked word = perms.tracked_remove(w);
        let tracked mine = free.split(chunks_in(64 * w as int, 64 * n as int));
        assert(mine@ =~= ones_of(!0u64, k.base));
        assert(perms.dom() =~= Set::<nat>::range(0, w));
        assert(free@ =~= chunks_in(0, 64 * w as int));
        let tracked res = WordRes { word, free: mine };
        let tracked inv = AtomicInvariant::new(k, res, 0);
        let tracked mut r = gather(ids, owner, perms, free, w);
        r.tracked_insert(w, inv);
        r
    }
}

} // verus!
