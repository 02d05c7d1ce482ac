//! Nodes as frames: how a frame becomes a node and a node becomes a frame again.
#![expect(unsafe_code, reason = "zeroes a frame whose permission is at hand")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
use super::spec::*;
use crate::frame::erased::*;
use crate::frame::shared::tear_down;
use crate::frame::slot::*;
use crate::frame::table::*;
use vellum_machine::addr::*;
use vellum_machine::atomic::Flag;
use vellum_machine::page::{PagePerm, zero};
use vstd::atomic::*;
use vstd::prelude::*;

verus! {

/// The metadata of a frame that is a page-table node.
pub struct NodeMeta {
    /// Held by whoever edits the node.
    pub(super) lock: Flag,
    /// The node was unlinked.
    pub(super) stray: Flag,
}

impl AnyFrameMeta for NodeMeta {
    closed spec fn repr(&self) -> Seq<int> {
        seq![self.lock.id(), self.stray.id()]
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
    no_unwind
{
    let slot = slot_of(Paddr(pa));
    let r = slot.meta_with::<NodeMeta>(Tracked(&own.storage));
    proof {
        assert(typed(*r)->repr =~= seq![r.lock.id(), r.stray.id()]);
        assert(own.storage.content()->repr[0] == r.lock.id());
        assert(own.storage.content()->repr[1] == r.stray.id());
    }
    r
}

/// A new node: zeroed, locked, not stray, reachable by nobody.
pub tracked struct NewNode {
    pub own: NodeOwn,
    pub page: PagePerm,
    pub lock: PermissionBool,
    pub stray: PermissionBool,
}

impl NewNode {
    /// The frame at `pa` holds it.
    pub open spec fn ok(self, pa: usize) -> bool {
        &&& super::entry::node_fits(pa)
        &&& self.own.of(pa)
        &&& self.page.pa() == Paddr(pa) && self.page.exclusive()
        &&& self.lock@.patomic == self.own.lock_id() && self.lock@.value
        &&& self.stray@.patomic == self.own.stray_id() && !self.stray@.value
    }

    /// Its words are zero.
    pub open spec fn zeroed(self) -> bool {
        self.page.words() == Seq::new(512, |i: int| 0u64)
    }
}

} // verus!
verus! {

/// How often an address that the allocator gave, and somebody took by hand, is passed over.
const TRIES: usize = 64;

/// Makes a node out of a free frame.
#[expect(clippy::collapsible_if, reason = "the verifier has no chains of conditions")]
pub(super) fn alloc_node() -> (r: Option<(usize, Tracked<NewNode>)>)
    ensures
        r matches Some(x) ==> x.1@.ok(x.0) && x.1@.zeroed(),
    no_unwind
{
    let mut tries = 0;
    while tries < TRIES
        decreases TRIES - tries,
    {
        let pa = super::hooks::alloc_frame()?;
        if let Ok(slot) = get_slot(pa) {
            if let Ok(own) = slot.acquire_unused() {
                return Some(new_node(pa, slot, own));
            }
        }
        tries += 1;
    }
    None
}

/// Makes a node out of a claimed frame.
fn new_node(pa: Paddr, slot: &'static MetaSlot, Tracked(own): Tracked<BusyOwn>) -> (r: (usize, Tracked<NewNode>))
    requires
        has_slot(pa),
        *slot == slot_at(pa),
        own.of(*slot),
        own.perm.vacant(),
    ensures
        r.0 == pa.0,
        r.1@.ok(r.0),
        r.1@.zeroed(),
    no_unwind
{
    let tracked mut own = own;
    let (lock, Tracked(lock_perm)) = Flag::new(true);
    let (stray, Tracked(stray_perm)) = Flag::new(false);
    let meta = NodeMeta { lock, stray };
    let ghost repr = seq![lock.id(), stray.id()];
    slot.write_meta(meta, Tracked(&mut own));
    let Tracked(own) = slot.publish_unique(Tracked(own));
    let tracked UniqueOwn { tok, perm } = own;
    let tracked SlotPerm { storage, vtable, mut page, mark } = perm;
    // SAFETY: the permission says that the contents of the frame are ours.
    unsafe {
        zero(pa, Tracked(&mut page));
    }
    proof {
        assert(storage.content()->repr == repr);
        assert(repr[0] == lock_perm@.patomic);
        assert(repr[1] == stray_perm@.patomic);
    }
    let tracked new = NewNode { own: NodeOwn { tok, storage, vtable, mark }, page, lock: lock_perm, stray: stray_perm };
    (pa.0, Tracked(new))
}

/// Makes a node a free frame again.
pub(super) fn free_frame(pa: usize, Tracked(own): Tracked<NodeOwn>, Tracked(page): Tracked<PagePerm>)
    requires
        own.of(pa),
        page.pa() == Paddr(pa),
    no_unwind
{
    let slot = slot_of(Paddr(pa));
    let tracked NodeOwn { tok, storage, vtable, mark } = own;
    let tracked page = page.open_up();
    let tracked own = UniqueOwn { tok, perm: SlotPerm { storage, vtable, page, mark } };
    let busy = slot.unique_to_busy(Tracked(own));
    tear_down(slot, busy);
}

} // verus!
