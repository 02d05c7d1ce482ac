//! The protocol of page-table nodes: links, stray nodes, readers without locks, deferred free.
//!
//! A reader enters on a processor and from then on protects every node that it reaches through links of nodes
//! that it protects. A node that is unlinked is retired at a time; its frame goes back when every processor was
//! without readers at some later time. Node ids are never used twice, so a link that was read once names the
//! same node for ever.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
#![allow(non_snake_case, reason = "a machine is a module to the compiler, and a type to us")]
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::spec::{Info, NodeOwn};
use verus_state_machines_macros::tokenized_state_machine;
use vstd::prelude::*;

verus! {

/// The ghost name of a node.
pub type Nid = nat;

/// The ghost name of a reader.
pub type Rid = nat;

/// A processor.
pub type Cpu = nat;

/// Processor `k` was without readers after time `t`.
pub open spec fn past(quiet: Set<(Cpu, nat)>, k: Cpu, t: nat) -> bool {
    exists|u: nat| u > t && #[trigger] quiet.contains((k, u))
}

/// What is past stays past.
pub proof fn lemma_past_grows(q: Set<(Cpu, nat)>, q2: Set<(Cpu, nat)>)
    requires
        forall|x: (Cpu, nat)| q.contains(x) ==> #[trigger] q2.contains(x),
    ensures
        forall|k: Cpu, t: nat| past(q, k, t) ==> #[trigger] past(q2, k, t),
{
    assert forall|k: Cpu, t: nat| past(q, k, t) implies #[trigger] past(q2, k, t) by {
        let u = choose|u: nat| u > t && #[trigger] q.contains((k, u));
        assert(q2.contains((k, u)));
    }
}

tokenized_state_machine! { Nodes {
    fields {
        #[sharding(constant)]
        pub ncpu: nat,
        #[sharding(not_tokenized)]
        pub clock: nat,
        #[sharding(not_tokenized)]
        pub next_reader: nat,
        /// The next node's id.
        #[sharding(variable)]
        pub next: nat,
        /// The nodes whose frames are nodes.
        #[sharding(variable)]
        pub alloc: Set<Nid>,
        /// The links of a node: entry to child.
        #[sharding(map)]
        pub kids: Map<Nid, Map<int, Nid>>,
        #[sharding(persistent_map)]
        pub info: Map<Nid, Info>,
        /// Reachable from a root.
        #[sharding(set)]
        pub live: Set<Nid>,
        /// Owned by a page table as its root.
        #[sharding(set)]
        pub root: Set<Nid>,
        /// Unlinked, at a time.
        #[sharding(persistent_map)]
        pub retired: Map<Nid, nat>,
        /// Unlinked and not yet free: the right to free.
        #[sharding(set)]
        pub dead: Set<Nid>,
        /// The readers of a processor, and how often its last reader left.
        #[sharding(map)]
        pub cpu: Map<Cpu, (Set<Rid>, nat)>,
        /// So often had a processor's last reader left at a time.
        #[sharding(persistent_set)]
        pub seen: Set<(Cpu, nat, nat)>,
        #[sharding(map)]
        pub reader: Map<Rid, (Cpu, nat)>,
        #[sharding(persistent_set)]
        pub prot: Set<(Rid, Nid)>,
        /// A processor was without readers at a time.
        #[sharding(persistent_set)]
        pub quiet: Set<(Cpu, nat)>,
        /// What a node owns of its frame.
        #[sharding(storage_map)]
        pub own: Map<Nid, NodeOwn>,
    }

    init!{ boot(ncpu: nat) {
        init ncpu = ncpu;
        init clock = 0;
        init next_reader = 0;
        init next = 0;
        init alloc = Set::empty();
        init kids = Map::empty();
        init info = Map::empty();
        init live = Set::empty();
        init root = Set::empty();
        init retired = Map::empty();
        init dead = Set::empty();
        init cpu = Map::new(Set::<nat>::range(0, ncpu), |c: nat| (Set::empty(), 0));
        init seen = Set::empty();
        init reader = Map::empty();
        init prot = Set::empty();
        init quiet = Set::empty();
        init own = Map::empty();
    } }

    transition!{ enter(c: Cpu) {
        remove cpu -= [c => let v];
        birds_eye let rid = pre.next_reader;
        birds_eye let s = pre.clock;
        assert(!v.0.contains(rid));
        update next_reader = pre.next_reader + 1;
        add cpu += [c => (v.0.insert(rid), v.1)];
        add reader += [rid => (c, s)];
    } }

    /// A reader leaves; the last one of a processor may count that it was one.
    transition!{ leave(c: Cpu, rid: Rid, last: bool) {
        remove cpu -= [c => let v];
        remove reader -= [rid => let r];
        require r.0 == c;
        require last ==> v.0.remove(rid) == Set::<Rid>::empty();
        assert(v.0.contains(rid));
        add cpu += [c => (v.0.remove(rid), if last { v.1 + 1 } else { v.1 })];
    } }

    /// A processor without readers, seen after `n` was retired.
    transition!{ rest(c: Cpu, n: Nid) {
        have cpu >= [c => let v];
        have retired >= [n => let t];
        require v.0 == Set::<Rid>::empty();
        birds_eye let now = pre.clock;
        add quiet (union)= set { (c, now) };
        assert(now > t);
    } }

    /// How often a processor's last reader had left, seen after `n` was retired.
    transition!{ look(c: Cpu, n: Nid) {
        have cpu >= [c => let v];
        have retired >= [n => let t];
        birds_eye let now = pre.clock;
        add seen (union)= set { (c, v.1, now) };
        assert(now > t);
    } }

    /// The last reader of a processor left since it was looked at.
    transition!{ conclude(c: Cpu, before: nat, t: nat) {
        have cpu >= [c => let v];
        have seen >= set { (c, before, t) };
        require v.1 > before;
        add quiet (union)= set { (c, t) };
    } }

    transition!{ new_root(inf: Info, own: NodeOwn) {
        require(inf.parent is None);
        require(inf.own == own);
        let n = pre.next;
        assert(!pre.alloc.contains(n));
        update next = pre.next + 1;
        update alloc = pre.alloc.insert(n);
        add kids += [n => Map::empty()];
        add live += set { n };
        add root += set { n };
        add info (union)= [n => inf];
        deposit own += [n => own];
    } }

    transition!{ protect_root(rid: Rid, n: Nid) {
        have reader >= [rid => let _];
        have root >= set { n };
        add prot (union)= set { (rid, n) };
    } }

    /// A reader that protects `n` reads in it a link to `c`: now it protects `c`.
    transition!{ follow(rid: Rid, n: Nid, i: int, c: Nid) {
        have reader >= [rid => let _];
        have prot >= set { (rid, n) };
        have kids >= [n => let ks];
        require ks.dom().contains(i) && ks[i] == c;
        add prot (union)= set { (rid, c) };
    } }

    transition!{ link(n: Nid, i: int, inf: Info, own: NodeOwn) {
        have live >= set { n };
        remove kids -= [n => let ks];
        require !ks.dom().contains(i);
        require(inf.parent == Some((n, i)));
        require(inf.own == own);
        let c = pre.next;
        assert(!pre.alloc.contains(c));
        update next = pre.next + 1;
        update alloc = pre.alloc.insert(c);
        add kids += [n => ks.insert(i, c)];
        add kids += [c => Map::empty()];
        add live += set { c };
        add info (union)= [c => inf];
        deposit own += [c => own];
    } }

    transition!{ unlink(n: Nid, i: int, c: Nid) {
        remove kids -= [n => let ks];
        have kids >= [c => Map::empty()];
        require ks.dom().contains(i) && ks[i] == c;
        add kids += [n => ks.remove(i)];
        remove live -= set { c };
        add dead += set { c };
        birds_eye let t = pre.clock;
        add retired (union)= [c => t];
        update clock = pre.clock + 1;
    } }

    transition!{ retire_root(n: Nid) {
        remove root -= set { n };
        have kids >= [n => Map::empty()];
        remove live -= set { n };
        add dead += set { n };
        birds_eye let t = pre.clock;
        add retired (union)= [n => t];
        update clock = pre.clock + 1;
    } }

    transition!{ free(n: Nid, q: Set<(Cpu, nat)>) {
        have retired >= [n => let t];
        remove dead -= set { n };
        remove kids -= [n => let _];
        have quiet >= (q);
        require forall|k: Cpu| k < pre.ncpu ==> #[trigger] past(q, k, t);
        update alloc = pre.alloc.remove(n);
        have info >= [n => let inf];
        withdraw own -= [n => inf.own];
    } }

    property!{ guard_own(rid: Rid, n: Nid) {
        have reader >= [rid => let _];
        have prot >= set { (rid, n) };
        have info >= [n => let inf];
        guard own >= [n => inf.own] by {
            assert(pre.prot.contains((rid, n)));
            let c = pre.reader[rid].0;
            if !pre.alloc.contains(n) {
                assert(past(pre.quiet, c, pre.retired[n]));
                let u = choose|u: nat| u > pre.retired[n] && #[trigger] pre.quiet.contains((c, u));
                assert(pre.reader.dom().contains(rid));
            }
        };
    } }

    /// Whoever has the right to free a node reads its metadata.
    property!{ guard_dead(n: Nid) {
        have dead >= set { n };
        have info >= [n => let inf];
        guard own >= [n => inf.own] by { assert(pre.alloc.contains(n)); };
    } }

    property!{ protected(rid: Rid, n: Nid) {
        have reader >= [rid => let _];
        have prot >= set { (rid, n) };
        assert pre.alloc.contains(n) by {
            assert(pre.prot.contains((rid, n)));
            let c = pre.reader[rid].0;
            if !pre.alloc.contains(n) {
                assert(past(pre.quiet, c, pre.retired[n]));
                let u = choose|u: nat| u > pre.retired[n] && #[trigger] pre.quiet.contains((c, u));
                assert(pre.reader.dom().contains(rid));
            }
        };
    } }

    property!{ live_is_allocated(n: Nid) {
        have live >= set { n };
        assert pre.alloc.contains(n);
    } }

    property!{ reader_is_counted(c: Cpu, rid: Rid) {
        have cpu >= [c => let v];
        have reader >= [rid => let r];
        require r.0 == c;
        assert v.0.contains(rid);
    } }

    property!{ dead_is_allocated(n: Nid) {
        have dead >= set { n };
        assert pre.alloc.contains(n);
    } }

    /// Every node that has a frame is live or retired, and roots are live.
    #[invariant]
    pub fn inv_domains(&self) -> bool {
        &&& self.alloc =~= self.kids.dom()
        &&& self.alloc =~= self.own.dom()
        &&& forall|n: Nid| #[trigger] self.info.dom().contains(n) ==> n < self.next
        &&& forall|n: Nid| #[trigger] self.live.contains(n) ==> self.alloc.contains(n) && !self.retired.dom().contains(n)
        &&& forall|n: Nid| #[trigger] self.alloc.contains(n) ==> self.info.dom().contains(n)
            && (self.live.contains(n) || self.retired.dom().contains(n))
        &&& forall|n: Nid| #[trigger] self.own.dom().contains(n) ==> self.own[n] == self.info[n].own
        &&& forall|n: Nid| #[trigger] self.retired.dom().contains(n) ==> self.info.dom().contains(n)
            && self.retired[n] < self.clock
        &&& forall|n: Nid| #[trigger] self.root.contains(n) ==> self.live.contains(n) && self.info[n].parent is None
    }

    /// Who holds the right to free a node holds that of a retired one.
    #[invariant]
    pub fn inv_dead(&self) -> bool {
        forall|n: Nid| #[trigger] self.dead.contains(n) ==> self.alloc.contains(n) && self.retired.dom().contains(n)
    }

    /// What a node links is live and knows its parent; a retired node links nothing.
    #[invariant]
    pub fn inv_links(&self) -> bool {
        &&& forall|n: Nid, i: int| self.kids.dom().contains(n) && #[trigger] self.kids[n].dom().contains(i) ==> {
            let c = self.kids[n][i];
            self.info.dom().contains(c) && self.info[c].parent == Some((n, i)) && self.live.contains(c)
        }
        &&& forall|n: Nid| self.retired.dom().contains(n) && #[trigger] self.kids.dom().contains(n) ==> self.kids[n]
            == Map::<int, Nid>::empty()
    }

    /// Every reader is on a processor.
    #[invariant]
    pub fn inv_readers(&self) -> bool {
        &&& forall|r: Rid| #[trigger] self.reader.dom().contains(r) ==> r < self.next_reader && {
            let (c, s) = self.reader[r];
            self.cpu.dom().contains(c) && self.cpu[c].0.contains(r) && s <= self.clock
        }
        &&& forall|c: Cpu| #[trigger] self.cpu.dom().contains(c) <==> c < self.ncpu
        &&& forall|c: Cpu, r: Rid| self.cpu.dom().contains(c) && #[trigger] self.cpu[c].0.contains(r) ==> self.reader.dom().contains(r)
            && self.reader[r].0 == c
    }

    /// What a reader protects was not retired before the reader came.
    #[invariant]
    pub fn inv_protected(&self) -> bool {
        forall|r: Rid, n: Nid| #[trigger] self.prot.contains((r, n)) ==> r < self.next_reader && self.info.dom().contains(n)
            && (self.reader.dom().contains(r) && self.retired.dom().contains(n) ==> self.reader[r].1 <= self.retired[n])
    }

    /// Every reader on a processor came after the times at which it was without readers.
    #[invariant]
    pub fn inv_quiet(&self) -> bool {
        forall|c: Cpu, t: nat| #[trigger] self.quiet.contains((c, t)) ==> t <= self.clock
            && forall|r: Rid| #[trigger] self.reader.dom().contains(r) && self.reader[r].0 == c ==> self.reader[r].1 >= t
    }

    /// Where the last reader of a processor left since a look, the readers that are there came after it.
    #[invariant]
    pub fn inv_seen(&self) -> bool {
        forall|c: Cpu, n: nat, t: nat| #[trigger] self.seen.contains((c, n, t)) ==> {
            &&& t <= self.clock
            &&& self.cpu.dom().contains(c)
            &&& n <= self.cpu[c].1
            &&& n < self.cpu[c].1 ==> forall|r: Rid| #[trigger] self.reader.dom().contains(r) && self.reader[r].0 == c
                ==> self.reader[r].1 >= t
        }
    }

    /// A node without a frame was retired, and every processor was without readers since.
    #[invariant]
    pub fn inv_freed(&self) -> bool {
        forall|n: Nid| #[trigger] self.info.dom().contains(n) && !self.alloc.contains(n) ==> self.retired.dom().contains(n)
            && forall|k: Cpu| k < self.ncpu ==> #[trigger] past(self.quiet, k, self.retired[n])
    }

    #[inductive(boot)]
    fn boot_inductive(post: Self, ncpu: nat) {
        assert forall|c: Cpu| #[trigger] post.cpu.dom().contains(c) <==> c < post.ncpu by { }
    }

    #[inductive(enter)]
    fn enter_inductive(pre: Self, post: Self, c: Cpu) { }

    #[inductive(leave)]
    fn leave_inductive(pre: Self, post: Self, c: Cpu, rid: Rid, last: bool) {
        assert forall|r: Rid| last && #[trigger] post.reader.dom().contains(r) implies post.reader[r].0 != c by {
            if post.reader[r].0 == c {
                assert(pre.cpu[c].0.remove(rid).contains(r));
            }
        }
    }

    #[inductive(rest)]
    fn rest_inductive(pre: Self, post: Self, c: Cpu, n: Nid) {
        lemma_past_grows(pre.quiet, post.quiet);
    }

    #[inductive(look)]
    fn look_inductive(pre: Self, post: Self, c: Cpu, n: Nid) { }

    #[inductive(conclude)]
    fn conclude_inductive(pre: Self, post: Self, c: Cpu, before: nat, t: nat) {
        lemma_past_grows(pre.quiet, post.quiet);
    }

    #[inductive(new_root)]
    fn new_root_inductive(pre: Self, post: Self, inf: Info, own: NodeOwn) { }

    #[inductive(protect_root)]
    fn protect_root_inductive(pre: Self, post: Self, rid: Rid, n: Nid) { }

    #[inductive(follow)]
    fn follow_inductive(pre: Self, post: Self, rid: Rid, n: Nid, i: int, c: Nid) { }

    #[inductive(link)]
    fn link_inductive(pre: Self, post: Self, n: Nid, i: int, inf: Info, own: NodeOwn) { }

    #[inductive(unlink)]
    fn unlink_inductive(pre: Self, post: Self, n: Nid, i: int, c: Nid) { }

    #[inductive(retire_root)]
    fn retire_root_inductive(pre: Self, post: Self, n: Nid) { }

    #[inductive(free)]
    fn free_inductive(pre: Self, post: Self, n: Nid, q: Set<(Cpu, nat)>) {
        lemma_past_grows(q, post.quiet);
    }
} }

} // verus!
