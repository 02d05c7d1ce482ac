//! The claims, in the order in which they build on one another. Each is a few lines: the work is done where the
//! claim belongs.
//!
//! Nothing here is needed to run; everything here is checked. `GUARANTEES.md` says the same in words.
use crate::frame::allocator::{PoolStep, history, lemma_not_free_until_given};
use crate::frame::list::ListOwn;
use crate::frame::protocol::*;
use crate::frame::slot::*;
use crate::frame::{AnyFrameMeta, Link, LinkedList, UniqueFrame};
use crate::page_table::config::*;
use crate::page_table::entry::*;
use crate::page_table::mmu::*;
use crate::page_table::node::*;
use crate::page_table::ops::*;
use crate::page_table::protocol::*;
use crate::page_table::spec::*;
use crate::page_table::tree::*;
use crate::page_table::world::World;
use crate::page_table::x86_64::X86Entry;
use vellum_machine::addr::Paddr;
use vellum_machine::model::*;
use vstd::invariant::*;
use vstd::prelude::*;

verus! {

//================ frames ================

/// **Counts are handles.** While a frame is shared, its count is the number of its tokens, and each handle has one
/// (or the handle was forgotten, and its token with it).
pub proof fn count_is_the_number_of_handles(s: SlotMachine::State)
    requires
        s.invariant(),
        is_shared(s.rc),
    ensures
        s.kept is Some,
        s.shared.count(s.kept->0) == s.rc,
        s.shared.len() == s.rc,
        forall|p: SlotPerm| p != s.kept->0 ==> s.shared.count(p) == 0,
{
    assert forall|p: SlotPerm| p != s.kept->0 implies s.shared.count(p) == 0 by {
        if s.shared.count(p) > 0 {
            assert(s.kept == Some(p));
        }
    }
}

/// **One owner.** A frame that is unique or busy has one owner, and no handle shares it.
pub proof fn an_exclusive_frame_is_not_shared(s: SlotMachine::State, p: SlotPerm)
    requires
        s.invariant(),
        s.unique is Some || s.busy is Some,
    ensures
        s.shared.count(p) == 0,
        s.kept is None,
        !(s.unique is Some && s.busy is Some),
{
}

/// **Metadata lives as long as it can be reached.** Whoever has a handle's token has initialised metadata in the slot
/// of that very frame.
pub proof fn reachable_metadata_is_initialised(
    tracked inst: &SlotMachine::Instance,
    tracked tok: &SharedTok,
)
    requires
        tok.instance_id() == inst.id(),
    ensures
        tok.element().occupied(),
        tok.element().name() == inst.name(),
{
    inst.token_is_occupied(tok.element(), tok);
}

/// **A frame is in at most one list.** No two lists have one frame, whatever the types of their metadata.
pub proof fn a_frame_is_in_at_most_one_list<M, N>(
    tracked a: &mut ListOwn,
    tracked b: &ListOwn,
    number_a: u64,
    number_b: u64,
    pa: Paddr,
)
    requires
        old(a).ok::<M>(number_a),
        b.ok::<N>(number_b),
        old(a).order.contains(pa),
        b.order.contains(pa),
    ensures
        false,
{
    assert(a.node::<M>(number_a, a.order.index_of(pa)));
    assert(b.node::<N>(number_b, b.order.index_of(pa)));
    b.excludes(a.toks.tracked_borrow_mut(pa), pa);
}

/// **A list keeps what its cursor did.** What the cursor's contracts say of the list holds of it when the cursor is gone.
pub fn a_list_keeps_what_its_cursor_did<M: AnyFrameMeta>(list: &mut LinkedList<M>, frame: UniqueFrame<Link<M>>)
    ensures
        final(list)@ == old(list)@.insert(0, frame.pa()),
{
    let mut cursor = list.cursor_front_mut();
    cursor.insert_before(frame);
    proof {
        cursor.leaves_what_it_has();
    }
}

/// **No frame is handed out twice.** What two steps take from the pool of free frames has no frame in common, unless
/// the frame was given back in between.
pub proof fn blocks_do_not_overlap(free: Seq<Set<nat>>, steps: Seq<PoolStep>, frames: nat, i: int, j: int)
    requires
        history(free, steps, frames),
        0 <= i < j < steps.len(),
        forall|k: int| i < k < j ==> (#[trigger] steps[k]).given().disjoint(steps[i].taken()),
    ensures
        steps[i].taken().disjoint(steps[j].taken()),
{
    assert forall|f: nat| steps[i].taken().contains(f) implies !steps[j].taken().contains(f) by {
        lemma_not_free_until_given(free, steps, frames, i, j, f);
        assert(steps[j].makes(free[j], free[j + 1], frames));
    }
}

//================ nodes ================

/// **A node has one holder.** No two processors own one node at a time: who locked it owns its words, its links, and
/// what its leaves own.
pub proof fn a_node_has_one_holder<C: PageTableConfig>(
    tracked w: &World,
    tracked g: &mut WorldRes,
    tracked r: &Nodes::reader,
    tracked a: &mut NodeTok,
    tracked b: &NodeTok,
)
    requires
        WorldInv::inv(w.key(), *old(g)),
        w.key().inst == w.instance(),
        old(a).ok::<C>(*w, *r),
        b.ok::<C>(*w, *r),
        old(a).info.key() == b.info.key(),
    ensures
        false,
{
    exclude_second_holder::<C>(w, g, r, a, b);
}

/// **A reader keeps what it protects.** The frame of a node that a reader reached is the node's until the reader
/// leaves, whoever unlinked it.
pub proof fn a_protected_node_is_not_freed(
    tracked w: &World,
    tracked g: &WorldRes,
    tracked r: &Nodes::reader,
    tracked p: &Nodes::prot,
    tracked inf: &Nodes::info,
)
    requires
        WorldInv::inv(w.key(), *g),
        w.key().inst == w.instance(),
        protects(*w, *r, *p, *inf),
    ensures
        g.nodes.dom().contains(inf.key()),
        g.nodes[inf.key()].ok(w.instance(), inf.key()),
{
    protected_node(w, g, r, p, inf);
}

//================ translation ================

/// **The walk equals the map.** For every byte of a locked range, the walk of the hardware over the words in memory
/// finds what the cursor's map says, with the rights that the map says: nothing for pages that are not mapped, nor
/// for those that are kept without access.
pub proof fn the_walk_equals_the_map<C: PageTableConfig<Entry = X86Entry<<C as PageTableConfig>::Consts>>>(
    mem: spec_fn(nat) -> u64,
    g: Locks,
    m: Tree,
    va: usize,
)
    requires
        g.ok::<C>(m),
        holds::<C>(mem, m),
        g.s <= va as nat / 4096 < g.e,
    ensures
        walk(mem, walker_shape::<C::Consts>(), g.root as nat, va, g.top as nat, all_rights()) == found(
            g.at::<C>(m, va as nat / 4096),
            va as nat % 4096,
        ),
{
    lemma_top_place::<C>(g.rng(), va as nat / 4096);
    walk_equals_map::<C>(mem, g, m, va, g.top as nat);
}

} // verus!
