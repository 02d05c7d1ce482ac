//! The claims, in the order in which they build on one another. Each is a few lines: the work is done where the
//! claim belongs.
//!
//! Nothing here is needed to run; everything here is checked. `GUARANTEES.md` says the same in words.
use crate::frame::allocator::block::Block;
use crate::frame::allocator::{PoolStep, history, lemma_not_free_until_given};
use crate::frame::erased::AnyFrameMeta;
use crate::frame::list::ListOwn;
use crate::frame::protocol::*;
use crate::frame::segment::frame_in;
use crate::frame::slot::*;
use crate::frame::table::slot_of;
use crate::frame::token::*;
use crate::frame::{Frame, Link, LinkedList, Segment, UniqueFrame};
use crate::kspace::KVirtArea;
use crate::kspace::ranges::{AreaRange, WINDOW_PAGES, two_runs_are_apart};
use crate::page_table::config::*;
use crate::page_table::entry::*;
use crate::page_table::mmu::*;
use crate::page_table::node::*;
use crate::page_table::ops::*;
use crate::page_table::protocol::*;
use crate::page_table::spec::*;
use crate::page_table::tree::*;
use crate::page_table::world::World;
use crate::tlb::protocol::{Caches, Clean, Mid, is_kernel_space, kernel_space};
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::model::*;
use verus_state_machines_macros::case_on_next;
use vstd::invariant::*;
use vstd::prelude::*;
use vstd::tokens::UniqueValueToken;

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

/// **An unused frame has no metadata.** It was moved out before the frame became unused, and nobody may read it after
/// that: who reads has a token, and there is none. What was moved out was moved once, to the function that ends it.
pub proof fn an_unused_frame_has_no_metadata(s: SlotMachine::State)
    requires
        s.invariant(),
        s.rc == REF_COUNT_UNUSED,
    ensures
        s.kept is Some && s.kept->0.content() is Empty,
        s.shared.len() == 0,
        s.busy is None && s.unique is None,
{
}

/// **A claim takes an unused frame.** At the moment of a claim nobody has the frame, by whatever handle; from then on
/// whoever claimed it has it alone.
pub proof fn a_claim_takes_an_unused_frame(before: SlotMachine::State, after: SlotMachine::State)
    requires
        before.invariant(),
        SlotMachine::State::acquire_unused(before, after),
    ensures
        before.rc == REF_COUNT_UNUSED,
        before.shared.len() == 0 && before.busy is None && before.unique is None,
        after.busy is Some && after.unique is None && after.kept is None,
        after.shared.len() == 0,
{
}

/// **Nobody else gets a frame.** Only a claim gives a frame that has no owner to someone who had no handle of it;
/// the other way to own it is to give up the last handle.
pub proof fn a_frame_is_owned_by_claim_or_by_the_last_handle(
    before: SlotMachine::State,
    after: SlotMachine::State,
)
    requires
        before.invariant(),
        SlotMachine::State::next(before, after),
        before.busy is None && before.unique is None,
        after.busy is Some || after.unique is Some,
    ensures
        before.rc == REF_COUNT_UNUSED || (before.rc == 1 && before.shared.len() == 1),
        after.shared.len() == 0,
{
    case_on_next!{before, after, SlotMachine => {
        acquire_unused() => {}
        release_unused(p) => {}
        publish_shared(p) => {}
        publish_unique() => {}
        unique_to_busy() => {}
        unique_to_shared(p) => {}
        shared_to_unique(p) => {}
        clone_shared(p) => {}
        upgrade() => {}
        drop_shared(p) => {}
        drop_last(p) => {}
    }}
}

/// **What somebody has is not claimed.** While there is a token of a frame, the count does not say unused, so that the
/// exchange with which every claim starts fails.
pub proof fn what_somebody_has_is_not_claimed(
    tracked inst: &SlotMachine::Instance,
    tracked count: &SlotMachine::rc,
    tracked shared: Option<&SharedTok>,
    tracked unique: Option<&UniqueTok>,
    tracked busy: Option<&BusyTok>,
)
    requires
        count.instance_id() == inst.id(),
        shared matches Some(tok) ==> tok.instance_id() == inst.id(),
        unique matches Some(tok) ==> tok.instance_id() == inst.id(),
        busy matches Some(tok) ==> tok.instance_id() == inst.id(),
        shared is Some || unique is Some || busy is Some,
    ensures
        count.value() != REF_COUNT_UNUSED,
{
    match shared {
        Some(tok) => inst.token_is_counted(tok.element(), count, tok),
        None => {},
    }
    match unique {
        Some(tok) => inst.unique_is_counted(count, tok),
        None => {},
    }
    match busy {
        Some(tok) => inst.busy_is_counted(count, tok),
        None => {},
    }
}

/// **Two unique handles are of two frames**, whatever the allocator says, and whatever their metadata.
pub fn two_unique_handles_are_of_two_frames<M: AnyFrameMeta, N: AnyFrameMeta>(a: UniqueFrame<M>, b: UniqueFrame<N>)
    ensures
        a.pa() != b.pa(),
{
    let (_, Tracked(own_a)) = a.into_parts();
    let (_, Tracked(own_b)) = b.into_parts();
    let tracked mut own_a = own_a;
    proof {
        if a.pa() == b.pa() {
            own_a.tok.unique(&own_b.tok);
        }
    }
}

/// **A unique handle is the only one.**
pub fn a_unique_handle_is_the_only_one<M: AnyFrameMeta, N: AnyFrameMeta>(a: UniqueFrame<M>, b: Frame<N>)
    ensures
        a.pa() != b.pa(),
{
    let (slot, Tracked(own)) = a.into_parts();
    let (_, Tracked(tok)) = b.into_parts();
    proof {
        if a.pa() == b.pa() {
            slot.excludes(&own.tok, &tok);
        }
    }
}

/// **No two overlapping blocks.** Two blocks, as the allocator hands them out before they are shared, have no frame in
/// common.
pub fn two_blocks_do_not_overlap<M: AnyFrameMeta, N: AnyFrameMeta>(a: Block<M>, b: Block<N>)
    ensures
        forall|p: Paddr| frame_in(p, a.start(), a.end()) ==> !#[trigger] frame_in(p, b.start(), b.end()),
{
    let (a_start, a_end, Tracked(own_a)) = a.into_parts();
    let (b_start, b_end, Tracked(own_b)) = b.into_parts();
    let tracked mut own_a = own_a;
    proof {
        if exists|p: Paddr| frame_in(p, a_start, a_end) && frame_in(p, b_start, b_end) {
            let p = choose|p: Paddr| frame_in(p, a_start, a_end) && frame_in(p, b_start, b_end);
            assert(own_a.owns::<M>(p) && own_b.owns::<N>(p));
            own_a.frames.tracked_borrow_mut(p).tok.unique(&own_b.frames.tracked_borrow(p).tok);
        }
    }
}

/// **A new block has no frame of a segment** that somebody has, nor so of a frame, which is a segment of one.
pub fn a_block_has_no_frame_of_a_segment<M: AnyFrameMeta, N: AnyFrameMeta>(a: Block<M>, b: Segment<N>, p: Paddr)
    ensures
        !(frame_in(p, a.start(), a.end()) && frame_in(p, b.start(), b.end())),
{
    let (a_start, a_end, Tracked(own)) = a.into_parts();
    let (b_start, b_end, Tracked(toks)) = b.into_parts();
    if p.0 % PAGE_SIZE == 0 && a_start.0 <= p.0 && p.0 < a_end.0 && b_start.0 <= p.0 && p.0 < b_end.0 {
        proof {
            assert(own.owns::<M>(p) && has_frame::<N>(toks, p));
        }
        let slot = slot_of(p);
        proof {
            slot.excludes(&own.frames.tracked_borrow(p).tok, toks.tracked_borrow(p));
        }
    }
}

/// **A segment owns one count of each of its frames**, and of no other.
pub fn a_segment_owns_one_count_of_each_frame<M: AnyFrameMeta>(segment: Segment<M>) -> (r: Toks)
    ensures
        forall|p: Paddr| #[trigger] r@.contains_key(p) <==> frame_in(p, segment.start(), segment.end()),
        forall|p: Paddr| #[trigger] r@.contains_key(p) ==> raw_of(r@[p], p),
{
    let (_, _, toks) = segment.into_parts();
    toks
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
pub proof fn the_walk_equals_the_map<C: PageTableConfig>(
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
        walk::<FormatOf<C>>(mem, walker_shape::<C::Consts>(), g.root as nat, va, g.top as nat, all_rights()) == found(
            g.at::<C>(m, va as nat / 4096),
            va as nat % 4096,
        ),
{
    lemma_top_place::<C>(g.rng(), va as nat / 4096);
    walk_equals_map::<C>(mem, g, m, va, g.top as nat);
}

//================ translation caches ================

/// **What is released is out of reach.** Once something that was taken out of a table was given back, no processor has a
/// translation that leads to it, nor ever will: a processor walks the table of another space, or all that it keeps of the
/// pages was read after it had been taken out. `Stale::clear`, the one way in which what is kept goes, makes the step
/// that is spoken of.
pub proof fn what_is_released_is_out_of_reach(s: Caches::State, mid: Mid, c: Cpu)
    requires
        s.invariant(),
        s.released.contains(mid),
    ensures
        !s.may_translate(c, mid),
{
    let f = choose|f: Clean| #[trigger] s.clean.contains(f) && f.settles(s.gone[mid], s.ncpu);
    assert(s.holds(f));
}

/// **What is released of kernel space is out of everybody's reach.** Kernel space is in every table, so that it does not help
/// that a processor walks another space's, nor that it changed its root: all that any processor keeps of the pages was read
/// after it had been taken out.
pub proof fn what_is_released_of_kernel_space_was_forgotten_by_all(s: Caches::State, mid: Mid, c: Cpu, p: nat)
    requires
        s.invariant(),
        s.released.contains(mid),
        is_kernel_space(s.gone[mid].space),
        s.gone[mid].pages.contains(p),
        c < s.ncpu,
    ensures
        !s.may_translate(c, mid),
        (s.since[c])(kernel_space(), p) >= s.gone[mid].time,
{
    what_is_released_is_out_of_reach(s, mid, c);
    assert(s.cache.dom().contains(c));
    assert((s.since[c])(s.gone[mid].space, p) >= s.gone[mid].time);
}

/// **It stays so**, whatever processors do next.
pub proof fn what_was_released_stays_out_of_reach(before: Caches::State, after: Caches::State, mid: Mid, c: Cpu)
    requires
        before.invariant(),
        Caches::State::next(before, after),
        after.invariant(),
        before.released.contains(mid),
    ensures
        !after.may_translate(c, mid),
{
    assert(after.released.contains(mid)) by {
        case_on_next!{before, after, Caches => {
            new_space(root) => {}
            list(s, d) => {}
            unlist(s, d) => {}
            enter(d, s) => {}
            leave(d, pa) => {}
            flush(d, pages, s, t) => {}
            absent(s, t) => {}
            look_at_clock() => {}
            nothing(f) => {}
            join(a, b, r) => {}
            retire(s, pages, t) => {}
            release(m, f) => {}
            take_claim(i) => {}
            renumber(i) => {}
            publish(i, ask, targets) => {}
            answer(i, d) => {}
            collect(i, n) => {}
        }}
    }
    what_is_released_is_out_of_reach(after, mid, c);
}

/// **What is kept is not yet released**: who has the right to release it has the only one.
pub proof fn what_is_kept_is_not_released(s: Caches::State, mid: Mid)
    requires
        s.invariant(),
        s.held.contains(mid),
    ensures
        !s.released.contains(mid),
{
}

//================ kernel addresses ================

/// **Two areas do not overlap.** Two ranges of kernel addresses have no page in common: between them is a page that is
/// neither's, as there is one before the first range of the window and after the last.
pub fn two_areas_do_not_overlap(a: AreaRange, b: AreaRange)
    ensures
        a.first() + a.pages() < b.first() || b.first() + b.pages() < a.first(),
        0 < a.first() && a.first() + a.pages() < WINDOW_PAGES,
        0 < a.pages() && 0 < b.pages(),
{
    let (first, pages) = (a.first_page(), a.nr_pages());
    let Tracked(of_a) = a.into_range().into_chunks();
    let Tracked(of_b) = b.into_range().into_chunks();
    let tracked mut of_a = of_a;
    proof {
        of_a.disjoint(&of_b);
        two_runs_are_apart(a.first() / 16, a.pages() / 16 + 1, b.first() / 16, b.pages() / 16 + 1);
    }
}

/// **Nor do their addresses**, as a kernel has them: a page between them is neither's.
pub fn addresses_of_two_areas_do_not_overlap(a: KVirtArea, b: KVirtArea)
    ensures
        a.end() + PAGE_SIZE <= b.start() || b.end() + PAGE_SIZE <= a.start(),
{
    let (of_a, of_b) = (a.into_range(), b.into_range());
    let ghost (x, n, y, k) = (of_a.first(), of_a.pages(), of_b.first(), of_b.pages());
    two_areas_do_not_overlap(of_a, of_b);
    assert((x + n + 1) * PAGE_SIZE <= y * PAGE_SIZE || (y + k + 1) * PAGE_SIZE <= x * PAGE_SIZE) by (nonlinear_arith)
        requires
            x + n < y || y + k < x,
            PAGE_SIZE == 4096,
    ;
    assert((x + n + 1) * PAGE_SIZE == x * PAGE_SIZE + n * PAGE_SIZE + PAGE_SIZE && (y + k + 1) * PAGE_SIZE == y * PAGE_SIZE + k
        * PAGE_SIZE + PAGE_SIZE) by (nonlinear_arith);
}

} // verus!
