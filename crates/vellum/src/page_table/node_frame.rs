//! Nodes as frames: how a frame becomes a node and a node becomes a frame again.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
use super::spec::*;
use crate::frame::allocator::{FrameAllocOptions, claim_one};
use crate::frame::erased::*;
use crate::frame::shared::tear_down;
use crate::frame::table::*;
use vellum_machine::addr::*;
use vellum_machine::atomic::{Flag, RefCount};
use vellum_machine::page::PagePerm;
#[cfg(verus_keep_ghost)]
use vellum_machine::page::zeros;
use vstd::atomic::*;
use vstd::prelude::*;

verus! {

/// The metadata of a frame that is a page-table node.
pub struct NodeMeta {
    /// Held by whoever edits the node.
    pub(super) lock: Flag,
    /// The node was unlinked.
    pub(super) stray: Flag,
    /// The physical address of the node below it in a stack of unlinked nodes.
    pub(super) below: RefCount,
}

impl AnyFrameMeta for NodeMeta {
    closed spec fn repr(&self) -> Seq<int> {
        seq![self.lock.id(), self.stray.id(), self.below.id()]
    }
}

/// The metadata of a protected node.
#[inline(always)]
pub(super) fn node_meta(pa: usize, Tracked(own): Tracked<&NodeOwn>) -> (r: &NodeMeta)
    requires
        own.of(pa),
    ensures
        r.lock.id() == own.lock_id(),
        r.stray.id() == own.stray_id(),
        r.below.id() == own.below_id(),
    no_unwind
{
    let slot = slot_of(Paddr(pa));
    let r = slot.meta_with::<NodeMeta>(Tracked(&own.storage));
    proof {
        assert(typed(*r)->repr =~= seq![r.lock.id(), r.stray.id(), r.below.id()]);
        assert(own.storage.content()->repr[0] == r.lock.id());
        assert(own.storage.content()->repr[1] == r.stray.id());
        assert(own.storage.content()->repr[2] == r.below.id());
    }
    r
}

/// A new node: zeroed, locked, not stray, reachable by nobody.
pub tracked struct NewNode {
    pub own: NodeOwn,
    pub page: PagePerm,
    pub lock: PermissionBool,
    pub stray: PermissionBool,
    pub below: PermissionU64,
}

impl NewNode {
    /// The frame at `pa` holds it.
    pub open spec fn ok(self, pa: usize) -> bool {
        &&& super::entry::node_fits(pa)
        &&& self.own.of(pa)
        &&& self.page.pa() == Paddr(pa) && self.page.exclusive()
        &&& self.lock@.patomic == self.own.lock_id() && self.lock@.value
        &&& self.stray@.patomic == self.own.stray_id() && !self.stray@.value
        &&& self.below@.patomic == self.own.below_id()
    }

    /// Its words are zero.
    pub open spec fn zeroed(self) -> bool {
        self.page.words() == zeros()
    }
}

/// Makes a node out of a free frame.
pub(super) fn alloc_node() -> (r: Option<(usize, Tracked<NewNode>)>)
    ensures
        r matches Some(x) ==> x.1@.ok(x.0) && x.1@.zeroed(),
    no_unwind
{
    let (slot, own) = claim_one().ok()?;
    let (lock, Tracked(lock_perm)) = Flag::new(true);
    let (stray, Tracked(stray_perm)) = Flag::new(false);
    let (below, Tracked(below_perm)) = RefCount::new(0);
    let frame = FrameAllocOptions::new().build(slot, own, NodeMeta { lock, stray, below });
    let ghost repr = seq![lock.id(), stray.id(), below.id()];
    let (_, Tracked(own)) = frame.into_parts();
    let tracked (own, page) = own.split();
    proof {
        assert(own.storage.content()->repr == repr);
        assert(repr[0] == lock_perm@.patomic);
        assert(repr[1] == stray_perm@.patomic);
        assert(repr[2] == below_perm@.patomic);
    }
    let tracked new = NewNode { own, page, lock: lock_perm, stray: stray_perm, below: below_perm };
    Some((pa_of(slot).0, Tracked(new)))
}

/// Makes a node a free frame again.
pub(super) fn free_frame(pa: usize, Tracked(own): Tracked<NodeOwn>, Tracked(page): Tracked<PagePerm>)
    requires
        own.of(pa),
        page.pa() == Paddr(pa),
    no_unwind
{
    let slot = slot_of(Paddr(pa));
    let busy = slot.unique_to_busy(Tracked(own.join(page)));
    tear_down(slot, busy);
}

} // verus!
