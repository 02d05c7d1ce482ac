//! A pile of stale values, a few of which need no memory.
use super::stale::Stale;
use alloc::vec::Vec;
use vellum_machine::owned::NoUnwind;
use vstd::prelude::*;

verus! {

/// Values that are kept in the pile itself.
const INLINE: usize = 8;

/// After so many more values it is time to look again.
const STRIDE: usize = 1024;

/// Stale values, the last one on top.
#[verifier::reject_recursive_types(T)]
pub(super) struct Pile<T> {
    inline: [Option<Stale<T>>; INLINE],
    len: usize,
    spilled: Spilled<T>,
}

/// What does not fit into a pile itself. Its functions do not unwind: none is asked for memory but `reserve`.
#[verifier::external_body]
#[verifier::reject_recursive_types(T)]
struct Spilled<T>(Vec<Stale<T>>);

impl<T> Spilled<T> {
    /// The values.
    uninterp spec fn view(&self) -> Seq<Stale<T>>;

    #[inline(always)]
    #[verifier::external_body]
    const fn new() -> (r: Self)
        ensures
            r@.len() == 0,
        opens_invariants none
        no_unwind
    {
        Spilled(Vec::new())
    }

    #[verifier::external_body]
    fn len(&self) -> usize
        opens_invariants none
        no_unwind
    {
        self.0.len()
    }

    /// Says whether there is memory for one more.
    #[verifier::external_body]
    fn reserve(&mut self) -> bool
        ensures
            final(self)@ == old(self)@,
        opens_invariants none
        no_unwind
    {
        self.0.try_reserve(1).is_ok()
    }

    /// After [`reserve`](Self::reserve).
    #[verifier::external_body]
    fn push(&mut self, value: Stale<T>)
        ensures
            final(self)@ == old(self)@.push(value),
        opens_invariants none
        no_unwind
    {
        let guard = NoUnwind;
        self.0.push(value);
        core::mem::forget(guard);
    }

    #[verifier::external_body]
    fn pop(&mut self) -> (r: Option<Stale<T>>)
        ensures
            r is None ==> old(self)@.len() == 0 && final(self)@ == old(self)@,
            r matches Some(v) ==> old(self)@ == final(self)@.push(v),
        opens_invariants none
        no_unwind
    {
        self.0.pop()
    }
}

impl<T> Pile<T> {
    #[verifier::type_invariant]
    pub closed spec fn wf(self) -> bool {
        &&& self.len <= INLINE
        &&& forall|i: int| 0 <= i < self.len ==> (#[trigger] self.inline@[i]) is Some
        &&& self.len < INLINE ==> self.spilled@.len() == 0
    }

    /// How many there are.
    pub closed spec fn size(self) -> nat {
        self.len as nat + self.spilled@.len()
    }

    /// The values.
    pub closed spec fn at(self, i: int) -> Stale<T> {
        if i < self.len {
            self.inline@[i]->0
        } else {
            self.spilled@[i - self.len]
        }
    }

    #[inline(always)]
    pub(super) fn new() -> (r: Self)
        ensures
            r.size() == 0,
        no_unwind
    {
        Pile { inline: [None, None, None, None, None, None, None, None], len: 0, spilled: Spilled::new() }
    }

    /// Returns how many there are.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> (r: bool)
        ensures
            r <==> self.size() == 0,
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        self.len == 0
    }

    /// Says whether one more needs no memory.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool
        no_unwind
    {
        self.len < INLINE
    }

    /// Says whether it is time to look what can be released: the pile itself is full, or so many more values came since.
    #[expect(clippy::manual_is_multiple_of, reason = "the verifier knows the operator")]
    pub(super) fn is_due(&self) -> bool
        no_unwind
    {
        self.len == INLINE && self.spilled.len() % STRIDE == 0
    }

    /// Says whether it is so for the first time.
    pub(super) fn is_first_due(&self) -> bool
        no_unwind
    {
        self.spilled.len() == 0
    }

    /// Gets memory for one more, if it needs any.
    #[inline(always)]
    pub(super) fn make_room(&mut self) -> bool
        ensures
            final(self).size() == old(self).size(),
            forall|i: int| 0 <= i < old(self).size() ==> #[trigger] final(self).at(i) == old(self).at(i),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        self.len < INLINE || self.spilled.reserve()
    }

    /// Puts one on top.
    #[inline(always)]
    pub(super) fn push(&mut self, value: Stale<T>)
        ensures
            final(self).size() == old(self).size() + 1,
            final(self).at(old(self).size() as int) == value,
            forall|i: int| 0 <= i < old(self).size() ==> #[trigger] final(self).at(i) == old(self).at(i),
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.len < INLINE {
            let n = self.len;
            self.inline[n] = Some(value);
            self.len = n + 1;
        } else {
            self.spilled.push(value);
        }
    }

    /// Takes the top one.
    #[expect(clippy::collapsible_if, reason = "the verifier does not read chains of conditions")]
    #[inline(always)]
    pub(super) fn pop(&mut self) -> (r: Option<Stale<T>>)
        ensures
            r is None ==> old(self).size() == 0 && final(self).size() == 0,
            r matches Some(v) ==> {
                &&& final(self).size() + 1 == old(self).size()
                &&& v == old(self).at(final(self).size() as int)
                &&& forall|i: int| 0 <= i < final(self).size() ==> #[trigger] final(self).at(i) == old(self).at(i)
            },
        no_unwind
    {
        proof {
            use_type_invariant(&*self);
        }
        if self.len == INLINE {
            if let Some(value) = self.spilled.pop() {
                return Some(value);
            }
        }
        if self.len == 0 {
            return None;
        }
        let n = self.len - 1;
        self.len = n;
        self.inline[n].take()
    }
}

} // verus!
