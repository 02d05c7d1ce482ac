//! What a flusher keeps: items and nodes that were taken out of a table, without the heap.
use super::flusher::Kept;
use super::stale::Gather;
use crate::page_table::UserPtConfig;
use crate::page_table::detached::DetachedPile;
use crate::page_table::hoard::Hoard;
#[cfg(verus_keep_ghost)]
use crate::page_table::{
    PageTableConfig,
    hoard::{FEW, is_of_page},
};
use vellum_machine::owned::Owned;
use vstd::prelude::*;

verus! {

/// Items and nodes, dropped together.
pub(super) struct Pile {
    items: Owned<Hoard<UserPtConfig>>,
    nodes: Owned<DetachedPile<UserPtConfig>>,
}

impl Pile {
    #[inline(always)]
    pub(super) fn new() -> (r: Self)
        ensures
            r.sound() && r.room() == FEW,
        no_unwind
    {
        Pile { items: Owned::new(Hoard::new()), nodes: Owned::new(DetachedPile::new()) }
    }
}

impl Gather for Pile {
    type Part = Kept;

    closed spec fn has(self, w: nat, pa: nat) -> bool {
        self.items@.has(pa) || self.nodes@.leads(w, pa)
    }

    closed spec fn sound(self) -> bool {
        self.items@.sound()
    }

    closed spec fn room(self) -> nat {
        self.items@.room()
    }

    open spec fn size(part: Kept) -> nat {
        part.size()
    }

    open spec fn leads(part: Kept, w: nat, pa: nat) -> bool {
        part.leads(w, pa)
    }

    #[inline(always)]
    fn gather(&mut self, part: Kept) {
        let ghost (o, what) = (*self, part);
        match part {
            Kept::Item(item) => self.items.get_mut().push(item),
            Kept::Node(node) => self.nodes.get_mut().push(node),
        }
        proof {
            assert forall|w: nat, pa: nat| what.leads(w, pa) implies #[trigger] self.has(w, pa) by {
                if let Kept::Item(item) = what {
                    let (start, l, _) = UserPtConfig::raw(item);
                    assert(is_of_page::<UserPtConfig>(start, l, pa));
                }
            }
        }
    }

    fn reserve(&mut self, n: usize) -> bool {
        self.items.get_mut().reserve(n)
    }

    #[inline(always)]
    fn clear(&mut self) {
        self.items.get_mut().clear();
        self.nodes.get_mut().clear();
    }
}

} // verus!
