//! What a flusher keeps: items and nodes that were taken out of a table, without the heap.
use super::stale::Gather;
use crate::frame::UFrame;
use crate::page_table::detached::DetachedPile;
use crate::page_table::hoard::Hoard;
#[cfg(verus_keep_ghost)]
use crate::page_table::hoard::{FEW, is_of_page};
use crate::page_table::{Access, DetachedNode, MappedItem, PageProperty, PageTableConfig, UserPtConfig};
use core::fmt;
use vellum_machine::owned::Owned;
use vstd::prelude::*;

verus! {

/// What stays until every processor has flushed.
#[must_use = "what is dropped instead of kept can still be reached through stale translations"]
#[non_exhaustive]
pub enum Kept<C: PageTableConfig = UserPtConfig> {
    /// What was mapped.
    Item(C::Item),
    /// A node that was linked, with what was mapped in it; when every processor has flushed, it also waits for readers
    /// without locks.
    Node(DetachedNode<C>),
}

impl<C: PageTableConfig> Kept<C> {
    /// The room that it takes.
    pub open spec fn size(self) -> nat {
        if self is Item { 1 } else { 0 }
    }

    /// With it the frame at `pa` is kept, to which page `w` of the table may have led.
    pub open spec fn leads(self, w: nat, pa: nat) -> bool {
        match self {
            Kept::Item(item) => is_of_page::<C>(C::raw(item).0, C::raw(item).1, pa),
            Kept::Node(node) => node.leads(w, pa),
        }
    }
}

/// Items and nodes, dropped together.
pub(super) struct Pile<C: PageTableConfig> {
    items: Owned<Hoard<C>>,
    nodes: Owned<DetachedPile<C>>,
}

impl<C: PageTableConfig> Pile<C> {
    #[inline(always)]
    pub(super) fn new() -> (r: Self)
        ensures
            r.sound() && r.room() == FEW,
        no_unwind
    {
        Pile { items: Owned::new(Hoard::new()), nodes: Owned::new(DetachedPile::new()) }
    }
}

impl<C: PageTableConfig> Gather for Pile<C> {
    type Part = Kept<C>;

    closed spec fn has(self, w: nat, pa: nat) -> bool {
        self.items@.has(pa) || self.nodes@.leads(w, pa)
    }

    closed spec fn sound(self) -> bool {
        self.items@.sound()
    }

    closed spec fn room(self) -> nat {
        self.items@.room()
    }

    open spec fn size(part: Kept<C>) -> nat {
        part.size()
    }

    open spec fn leads(part: Kept<C>, w: nat, pa: nat) -> bool {
        part.leads(w, pa)
    }

    #[inline(always)]
    fn gather(&mut self, part: Kept<C>) {
        let ghost (o, what) = (*self, part);
        match part {
            Kept::Item(item) => self.items.get_mut().push(item),
            Kept::Node(node) => self.nodes.get_mut().push(node),
        }
        proof {
            assert forall|w: nat, pa: nat| what.leads(w, pa) implies #[trigger] self.has(w, pa) by {
                if let Kept::Item(item) = what {
                    let (start, l, _) = C::raw(item);
                    assert(is_of_page::<C>(start, l, pa));
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

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Item(item) => f.debug_tuple("Item").field(&item.frames).finish(),
            Kept::Node(node) => f.debug_tuple("Node").field(&node.va_range()).finish(),
        }
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<UFrame> for Kept {
    fn from(frame: UFrame) -> Kept {
        // Nobody asks what may be done with it.
        Kept::Item(MappedItem::new(frame, PageProperty::user(Access::None)))
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<MappedItem> for Kept {
    fn from(item: MappedItem) -> Kept {
        Kept::Item(item)
    }
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl From<DetachedNode<UserPtConfig>> for Kept {
    fn from(node: DetachedNode<UserPtConfig>) -> Kept {
        Kept::Node(node)
    }
}
