//! What is to be flushed.
#[cfg(verus_keep_ghost)]
use super::protocol::Pages;
use core::ops::Range;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
#[cfg(verus_keep_ghost)]
use vellum_machine::tlb::pages_in;
use vstd::prelude::*;

verus! {

/// The most pages that are flushed one by one; more are flushed by forgetting every translation.
pub const FOLD_LIMIT: usize = 32;

/// The most runs of adjacent pages that are told apart; more are flushed in the same way.
pub const RUN_LIMIT: usize = 8;

/// Which translations are to be forgotten.
#[verifier::external_derive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlbFlushOp {
    /// That of the page at this address.
    Addr(Vaddr),
    /// Those of all pages that have an address in the range; an empty or reversed range has none.
    Range(Range<Vaddr>),
    /// Every one.
    All,
}

impl TlbFlushOp {
    /// The pages whose translations it is about.
    pub open spec fn pages(self) -> Pages {
        match self {
            TlbFlushOp::Addr(va) => pages_in(va.0 as nat, va.0 as nat + 1),
            TlbFlushOp::Range(range) => pages_in(range.start.0 as nat, range.end.0 as nat),
            TlbFlushOp::All => ISet::full(),
        }
    }
}

/// A run of adjacent pages in one word, the number of the first times [`PAGE_SIZE`] and how many they are, has page `p`.
pub open spec fn run_has(word: u64, p: nat) -> bool {
    word as nat / PAGE_SIZE as nat <= p && p < word as nat / PAGE_SIZE as nat + word as nat % PAGE_SIZE as nat
}

/// The addresses of a run do not wrap.
pub open spec fn run_ok(word: u64) -> bool {
    (word as nat / PAGE_SIZE as nat + word as nat % PAGE_SIZE as nat) * PAGE_SIZE <= usize::MAX
}

/// One of the first `len` runs has page `p`, or they are too many to be listed.
pub open spec fn runs_have(runs: Seq<u64>, len: nat, p: nat) -> bool {
    len > RUN_LIMIT || exists|i: int| 0 <= i < len && #[trigger] run_has(runs[i], p)
}

/// The pages of these runs.
pub open spec fn pages_of(runs: Seq<u64>, len: nat) -> Pages {
    ISet::new(|p: nat| runs_have(runs, len, p))
}

/// Above the limit: everything.
pub const EVERYTHING: usize = RUN_LIMIT + 1;

/// Where a run starts, and where it ends.
#[inline(always)]
pub(super) fn run_bounds(word: u64) -> (r: (Vaddr, Vaddr))
    requires
        run_ok(word),
    ensures
        forall|p: nat| run_has(word, p) ==> #[trigger] pages_in(r.0.0 as nat, r.1.0 as nat).contains(p),
    no_unwind
{
    let first = word as usize / PAGE_SIZE;
    let end = first + word as usize % PAGE_SIZE;
    (Vaddr(first * PAGE_SIZE), Vaddr(end * PAGE_SIZE))
}

/// Operations gathered, folded into "all" beyond [`FOLD_LIMIT`] pages or [`RUN_LIMIT`] runs.
pub struct Batch {
    runs: [u64; RUN_LIMIT],
    len: usize,
    /// Above the limit: everything.
    pages: usize,
}

impl Batch {
    #[verifier::type_invariant]
    pub closed spec fn wf(self) -> bool {
        &&& self.len <= RUN_LIMIT
        &&& self.pages <= FOLD_LIMIT ==> self.len <= self.pages
        &&& forall|i: int| 0 <= i < self.len ==> run_ok(#[trigger] self.runs@[i])
    }

    /// How many words it takes to say.
    pub closed spec fn words(self) -> nat {
        if self.pages > FOLD_LIMIT {
            EVERYTHING as nat
        } else {
            self.len as nat
        }
    }

    /// The words.
    pub closed spec fn runs(self) -> Seq<u64> {
        self.runs@
    }

    /// The pages that are to be flushed.
    pub open spec fn all(self) -> Pages {
        pages_of(self.runs(), self.words())
    }

    #[inline(always)]
    pub(super) const fn new() -> (r: Batch)
        ensures
            r.is_none(),
        no_unwind
    {
        Batch { runs: [0, 0, 0, 0, 0, 0, 0, 0], len: 0, pages: 0 }
    }

    /// Nothing is to be flushed.
    pub closed spec fn is_none(self) -> bool {
        self.pages == 0
    }

    /// Then it has no page.
    pub(super) proof fn lemma_none(tracked &self)
        requires
            self.is_none(),
        ensures
            forall|p: nat| !#[trigger] self.all().contains(p),
    {
        use_type_invariant(self);
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> (r: bool)
        ensures
            r == self.is_none(),
        no_unwind
    {
        self.pages == 0
    }

    pub(super) fn is_everything(&self) -> (r: bool)
        ensures
            r == (self.words() == EVERYTHING),
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        self.pages > FOLD_LIMIT
    }

    /// Its words.
    #[inline(always)]
    pub(super) fn len(&self) -> (r: usize)
        ensures
            r == self.words(),
            r <= EVERYTHING,
            self.runs().len() == RUN_LIMIT,
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        if self.pages > FOLD_LIMIT {
            EVERYTHING
        } else {
            self.len
        }
    }

    /// A run.
    #[inline(always)]
    pub(super) fn run(&self, i: usize) -> (r: u64)
        requires
            i < self.words() <= RUN_LIMIT,
        ensures
            r == self.runs()[i as int],
            self.runs().len() == RUN_LIMIT,
            run_ok(r),
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        self.runs[i]
    }

    pub(super) fn clear(&mut self)
        ensures
            final(self).is_none(),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        self.len = 0;
        self.pages = 0;
    }

    /// Gathers an operation.
    #[inline(always)]
    pub(super) fn add(&mut self, op: &TlbFlushOp)
        ensures
            forall|p: nat| #[trigger] old(self).all().contains(p) ==> final(self).all().contains(p),
            forall|p: nat| #[trigger] op.pages().contains(p) ==> final(self).all().contains(p),
        no_unwind
    {
        match op {
            TlbFlushOp::Addr(va) => {
                self.add_pages(va.0 / PAGE_SIZE, 1);
                proof {
                    assert forall|p: nat| #[trigger] op.pages().contains(p) implies self.all().contains(p) by {
                        assert(p == va.0 as nat / PAGE_SIZE as nat);
                    }
                }
            },
            TlbFlushOp::Range(range) => {
                if range.start.0 < range.end.0 {
                    let first = range.start.0 / PAGE_SIZE;
                    let last = (range.end.0 - 1) / PAGE_SIZE;
                    self.add_pages(first, last - first + 1);
                    proof {
                        assert forall|p: nat| #[trigger] op.pages().contains(p) implies self.all().contains(p) by {
                            assert(first <= p < first + (last - first + 1));
                        }
                    }
                }
            },
            TlbFlushOp::All => self.add_all(),
        }
    }

    #[inline(always)]
    fn add_all(&mut self)
        ensures
            forall|p: nat| #[trigger] final(self).all().contains(p),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        self.pages = FOLD_LIMIT + 1;
    }

    #[inline(always)]
    fn add_pages(&mut self, first: usize, pages: usize)
        requires
            first + pages <= usize::MAX / PAGE_SIZE + 1,
            pages >= 1,
        ensures
            forall|p: nat| #[trigger] old(self).all().contains(p) ==> final(self).all().contains(p),
            forall|p: nat| first <= p < first + pages ==> #[trigger] final(self).all().contains(p),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.pages > FOLD_LIMIT {
            return ;
        }
        let wraps = first + pages > usize::MAX / PAGE_SIZE;
        if pages > FOLD_LIMIT - self.pages || wraps {
            self.add_all();
            return ;
        }
        let ghost before = *self;
        let n = self.len;
        if n > RUN_LIMIT {
            // It is not; so the compiler sees, too, that nothing below panics.
            self.add_all();
            return ;
        }
        if n > 0 {
            let last = self.runs[n - 1];
            let (start, count) = (last as usize / PAGE_SIZE, last as usize % PAGE_SIZE);
            if start + count == first && count + pages < PAGE_SIZE {
                self.set_run(n - 1, start, count + pages, pages, n);
                proof {
                    assert forall|p: nat| #[trigger] before.all().contains(p) implies self.all().contains(p) by {
                        let i = choose|i: int| 0 <= i < n && #[trigger] run_has(before.runs()[i], p);
                        assert(run_has(self.runs()[i], p));
                    }
                    assert forall|p: nat| first <= p < first + pages implies #[trigger] self.all().contains(p) by {
                        assert(run_has(self.runs()[n - 1], p));
                    }
                }
                return ;
            }
        }
        if n == RUN_LIMIT {
            self.add_all();
            return ;
        }
        self.set_run(n, first, pages, pages, n + 1);
        proof {
            assert forall|p: nat| #[trigger] before.all().contains(p) implies self.all().contains(p) by {
                let i = choose|i: int| 0 <= i < n && #[trigger] run_has(before.runs()[i], p);
                assert(run_has(self.runs()[i], p));
            }
            assert forall|p: nat| first <= p < first + pages implies #[trigger] self.all().contains(p) by {
                assert(run_has(self.runs()[n as int], p));
            }
        }
    }

    // What is inlined here panics nowhere, as the compiler can see: what the caller has in hand need not be in memory for that.
    /// Writes run `i`: `count` pages from page `start`, `more` of which are new.
    #[inline(always)]
    fn set_run(&mut self, i: usize, start: usize, count: usize, more: usize, len: usize)
        requires
            i < len <= RUN_LIMIT,
            old(self).pages + more <= FOLD_LIMIT,
            i == old(self).len || i + 1 == old(self).len,
            len == i + 1,
            more >= 1,
            count < PAGE_SIZE,
            start + count <= usize::MAX / PAGE_SIZE,
        ensures
            final(self).words() == len,
            final(self).runs().len() == old(self).runs().len(),
            forall|j: int| 0 <= j < RUN_LIMIT && j != i ==> final(self).runs()[j] == old(self).runs()[j],
            forall|p: nat| run_has(final(self).runs()[i as int], p) <==> start <= p < start + count,
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        let word = (start * PAGE_SIZE + count) as u64;
        proof {
            assert(word as nat / PAGE_SIZE as nat == start && word as nat % PAGE_SIZE as nat == count);
        }
        self.runs[i] = word;
        self.pages += more;
        self.len = len;
    }
}

} // verus!

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(ops: &[TlbFlushOp]) -> Option<alloc::vec::Vec<(usize, usize)>> {
        let mut batch = Batch::new();
        ops.iter().for_each(|op| batch.add(op));
        (!batch.is_everything()).then(|| {
            batch.runs[..batch.len]
                .iter()
                .map(|&run| run as usize)
                .map(|run| (run / PAGE_SIZE * PAGE_SIZE, run % PAGE_SIZE))
                .collect()
        })
    }

    #[test]
    fn adjacent_pages_become_one_run() {
        let ops = [0x1000, 0x2abc, 0x3000, 0x9000].map(|va| TlbFlushOp::Addr(Vaddr(va)));
        assert_eq!(runs(&ops), Some([(0x1000, 3), (0x9000, 1)].into()));
    }

    #[test]
    fn ranges_cover_every_page_they_touch() {
        let range = |s, e| TlbFlushOp::Range(Vaddr(s)..Vaddr(e));
        assert_eq!(runs(&[range(0x1fff, 0x2001)]), Some([(0x1000, 2)].into()));
        assert_eq!(runs(&[range(0x2000, 0x2000), range(0x3000, 0x1000)]), Some([].into()));
        assert_eq!(runs(&[range(0, FOLD_LIMIT * PAGE_SIZE)]), Some([(0, FOLD_LIMIT)].into()));
        assert_eq!(runs(&[range(0, FOLD_LIMIT * PAGE_SIZE + 1)]), None);
        assert_eq!(runs(&[range(0, usize::MAX)]), None);
    }

    #[test]
    fn the_last_page_of_all_does_not_wrap() {
        assert_eq!(runs(&[TlbFlushOp::Addr(Vaddr(usize::MAX))]), None);
    }

    #[test]
    fn many_fold_into_all() {
        let at = |n: usize| TlbFlushOp::Addr(Vaddr(n * 2 * PAGE_SIZE));
        let ops: alloc::vec::Vec<_> = (0..RUN_LIMIT).map(at).collect();
        assert_eq!(runs(&ops).map(|runs| runs.len()), Some(RUN_LIMIT));
        let ops: alloc::vec::Vec<_> = (0..=RUN_LIMIT).map(at).collect();
        assert_eq!(runs(&ops), None);
        let ops: alloc::vec::Vec<_> =
            (0..FOLD_LIMIT).map(|n| TlbFlushOp::Addr(Vaddr(n * PAGE_SIZE))).collect();
        assert_eq!(runs(&ops).map(|runs| runs.len()), Some(1));
        assert_eq!(runs(&[TlbFlushOp::All, at(1)]), None);
    }
}
