//! Looking at what is mapped at a cursor, without a count of it.
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#[cfg(verus_keep_ghost)]
use super::claims::*;
use super::config::*;
use super::entry::*;
use super::error::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::ops::*;
use super::session::*;
use super::translate::*;
#[cfg(verus_keep_ghost)]
use super::tree::*;
#[cfg(verus_keep_ghost)]
use super::walk::*;
use core::ops::Range;
use vellum_machine::addr::*;
use vstd::prelude::*;

verus! {

/// What is at a cursor, without a count of it: what it says stays so while the cursor lives, unless it is changed through
/// that.
#[verifier::external_derive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peeked {
    /// The addresses of the entry that decides, as far as the cursor is locked for them.
    pub range: Range<Vaddr>,
    /// What the cursor's address translates to.
    pub page: Option<Translation>,
    /// What hardware noted.
    pub ad: AccessedDirty,
}

impl<C: PageTableConfig> Session<C> {
    pub(super) fn peek(&mut self) -> (r: Result<Peeked, PageTableError>)
        ensures
            final(self).tree == old(self).tree,
            final(self).g == old(self).g,
            final(self).v == old(self).v,
            match r {
                Ok(seen) => {
                    let v = old(self).v as nat;
                    &&& seen.page is None ==> !old(self).mapped().dom().contains(v)
                    &&& seen.page matches Some(t) ==> old(self).mapped().contains_pair(v, (t.paddr.0 as nat, t.prop)) && old(self).level_at(v)
                        == Some(t.level as nat)
                },
                Err(_) => old(self).v == old(self).g.e,
            },
    {
        proof {
            use_type_invariant(&*self);
            C::Consts::consts_ok();
            lemma_total::<C>();
        }
        let v = self.v;
        let (f, range) = self.entry_here()?;
        let ad = C::Entry::accessed_dirty(f.word);
        proof {
            lemma_here::<C>(self.g, self.tree@, v as nat, f.l as nat);
            lemma_digits(nr::<C>(), v as nat, (f.l - 1) as nat);
        }
        let page = match f.pte {
            Pte::Leaf(pa, prop) => Some(Translation { paddr: Paddr(pa + offset_of::<C>(v, f.l)), prop, level: f.l }),
            _ => None,
        };
        Ok(Peeked { range, page, ad })
    }
}

} // verus!
