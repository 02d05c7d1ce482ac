//! The metadata of a frame that can be in a list.
use super::super::erased::*;
use crate::io::VmReader;
use vellum_machine::addr::Paddr;
use vstd::prelude::*;

verus! {

/// Metadata `M` and the neighbours in a list: the metadata of frames for [`LinkedList<M>`](super::LinkedList).
///
/// It takes 16 bytes more than `M`, of which 24 are left.
#[derive(Debug)]
pub struct Link<M> {
    pub(super) next: usize,
    pub(super) prev: usize,
    pub(super) meta: M,
}

/// The word for the address of a neighbour: no frame has the greatest address.
pub open spec fn word(pa: Option<Paddr>) -> usize {
    match pa {
        Some(pa) => pa.0,
        None => usize::MAX,
    }
}

/// The word for a neighbour.
#[inline(always)]
pub(super) fn to_word(pa: Option<Paddr>) -> (r: usize)
    ensures
        r == word(pa),
    opens_invariants none
    no_unwind
{
    match pa {
        Some(pa) => pa.0,
        None => usize::MAX,
    }
}

/// The neighbour that a word is for.
#[inline(always)]
pub(super) fn from_word(word: usize) -> (r: Option<Paddr>)
    ensures
        r == if word == usize::MAX {
            None
        } else {
            Some(Paddr(word))
        },
    opens_invariants none
    no_unwind
{
    if word == usize::MAX {
        None
    } else {
        Some(Paddr(word))
    }
}

impl<M> Link<M> {
    /// The metadata.
    pub closed spec fn view(&self) -> M {
        self.meta
    }

    /// Makes the metadata of a frame that is in no list.
    #[inline(always)]
    pub const fn new(meta: M) -> (r: Self)
        ensures
            r@ == meta,
    {
        Link { next: usize::MAX, prev: usize::MAX, meta }
    }

    /// Lends the metadata.
    #[inline(always)]
    pub const fn meta(&self) -> (r: &M)
        ensures
            *r == self@,
    {
        &self.meta
    }

    /// Lends the metadata, to be changed.
    #[inline(always)]
    pub fn meta_mut(&mut self) -> (r: &mut M)
        ensures
            *r == old(self)@,
            *final(r) == final(self)@,
    {
        &mut self.meta
    }

    /// Takes the metadata out.
    #[inline(always)]
    pub fn into_meta(self) -> (r: M)
        ensures
            r == self@,
    {
        self.meta
    }
}

impl<M: AnyFrameMeta> AnyFrameMeta for Link<M> {
    closed spec fn repr(&self) -> Seq<int> {
        seq![self.next as int, self.prev as int] + self.meta.repr()
    }

    fn on_drop(&mut self, reader: &mut VmReader<'_>) {
        self.meta.on_drop(reader);
    }
}

impl<M: AnyFrameMeta + AnyUFrameMeta> AnyUFrameMeta for Link<M> {

}

impl<M: AnyFrameMeta> Link<M> {
    /// What is known of the metadata inside is known of a slot with the link.
    pub proof fn knows(&self)
        ensures
            inner(typed(*self)) == self@.repr(),
    {
        self.shape();
    }

    /// The proofs know both neighbours, and what they know of the metadata.
    pub(super) proof fn shape(&self)
        ensures
            self.repr() == seq![self.next as int, self.prev as int] + self.meta.repr(),
            self.repr().len() >= 2,
            self.repr()[0] == self.next,
            self.repr()[1] == self.prev,
            self.repr().skip(2) == self.meta.repr(),
    {
        assert(self.repr().skip(2) =~= self.meta.repr());
    }
}

/// The slot contains a link to an `M`.
pub open spec fn is_link<M>(c: Content) -> bool {
    c is Typed && c->ty == ty_id::<Link<M>>() && c->repr.len() >= 2
}

/// The link is between these two.
pub open spec fn is_between<M>(c: Content, prev: Option<Paddr>, next: Option<Paddr>) -> bool {
    &&& is_link::<M>(c)
    &&& c->repr[0] == word(next)
    &&& c->repr[1] == word(prev)
}

/// What is known of the metadata in a slot with a link; see [`Link::knows`].
pub open spec fn inner(c: Content) -> Seq<int> {
    c->repr.skip(2)
}

/// The link, with another value of one of its words.
pub open spec fn relinked(c: Content, i: int, word: usize) -> Content {
    Content::Typed { ty: c->ty, repr: c->repr.update(i, word as int) }
}

} // verus!
