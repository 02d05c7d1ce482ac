//! What the page-table proofs talk about: nodes, who owns what of them, and the one invariant over all of them.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
use super::entry::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
#[cfg(verus_keep_ghost)]
use super::node_frame::NodeMeta;
use super::protocol::*;
use crate::frame::slot::SharedTok;
#[cfg(verus_keep_ghost)]
use crate::frame::table::*;
use vellum_machine::addr::*;
use vellum_machine::page::PagePerm;
#[cfg(verus_keep_ghost)]
use vellum_machine::readers::LEAVINGS;
use vstd::atomic::*;
use vstd::invariant::*;
use vstd::prelude::*;
use vstd::resource::Loc;
use vstd::resource::ghost_var::*;

verus! {

/// The counts that a leaf owns, by the physical address of the frame.
pub type LeafTok = Map<Paddr, SharedTok>;

/// What the invariant must know of a table's kind: how many entries a node has, what a word means, and what a
/// leaf owns. (The invariant is one for tables of all kinds.)
pub ghost struct Kind {
    pub nr: nat,
    pub meaning: spec_fn(u64, nat) -> Pte,
    pub open_link: spec_fn(u64) -> bool,
    pub leaf_ok: spec_fn(LeafTok, usize, nat) -> bool,
}

/// What is true of a node for ever.
pub ghost struct Info {
    pub kind: Kind,
    pub pa: usize,
    pub level: nat,
    /// Which of the nodes of its level: the page numbers that it covers start with these digits.
    pub base: nat,
    /// The entries that belong to the table; the others of a root are links to what several tables share.
    pub lo: int,
    pub hi: int,
    pub parent: Option<(Nid, int)>,
    /// The identity of the ghost copy of its words.
    pub copy: Loc,
    pub own: NodeOwn,
}

/// What a node owns of its frame: all but the contents.
pub type NodeOwn = crate::frame::slot::BareOwn;

/// The words of a node and which nodes they link.
pub ghost struct Words {
    pub words: Seq<u64>,
    pub kids: Map<int, Nid>,
}

/// What the lock of a node protects. Whoever unlinks the node keeps it: the lock of a stray node is never free.
pub tracked struct Locked {
    pub copy: GhostVar<Words>,
    pub live: Nodes::live,
    /// What the leaves own, by entry.
    pub leaves: Map<int, LeafTok>,
    /// Of the word that links the node into a stack, once it is unlinked.
    pub below: PermissionU64,
}

/// What the invariant holds of a node.
pub tracked struct NodeRes {
    pub page: PagePerm,
    pub auth: GhostVarAuth<Words>,
    pub kids: Nodes::kids,
    pub info: Nodes::info,
    /// Of the children, by entry.
    pub kid_infos: Map<int, Nodes::info>,
    pub lock: PermissionBool,
    /// A hint to those who wait for the lock.
    pub stray: PermissionBool,
    /// There while the lock is free.
    pub content: Option<Locked>,
}

/// What the invariant holds of a processor.
pub tracked struct CpuRes {
    pub count: PermissionU64,
    pub cpu: Nodes::cpu,
}

/// What the one invariant holds.
pub tracked struct WorldRes {
    pub next: Nodes::next,
    pub alloc: Nodes::alloc,
    pub nodes: Map<Nid, NodeRes>,
    pub cpus: Map<Cpu, CpuRes>,
}

/// What the invariant is about.
pub ghost struct WorldKey {
    pub inst: Nodes::Instance,
    pub counts: spec_fn(int) -> int,
}

impl Kind {
    /// The leaf at entry `i` owns what it must; nothing else does.
    pub open spec fn entry_owns(self, e: u64, l: nat, leaves: Map<int, LeafTok>, i: int) -> bool {
        match (self.meaning)(e, l) {
            Pte::Leaf(pa, _) => leaves.dom().contains(i) && (self.leaf_ok)(leaves[i], pa, l),
            Pte::Absent => !leaves.dom().contains(i),
            Pte::Table(_) => !leaves.dom().contains(i) && (self.open_link)(e),
        }
    }
}

impl Info {
    /// The entries `[lo, hi)` own what they must.
    pub open spec fn owns(self, words: Seq<u64>, leaves: Map<int, LeafTok>) -> bool {
        forall|i: int| self.lo <= i < self.hi ==> self.kind.entry_owns(#[trigger] words[i], self.level, leaves, i)
    }

    /// Its frame and its numbers fit.
    pub open spec fn wf(self) -> bool {
        &&& node_fits(self.pa)
        &&& self.own.of(self.pa)
        &&& 0 <= self.lo <= self.hi <= self.kind.nr <= 512
        &&& self.level >= 1
    }

    /// Whether a node fits below this one at entry `i`.
    pub open spec fn is_parent_of(self, n: Nid, i: int, c: Info) -> bool {
        &&& c.kind == self.kind
        &&& c.level == self.level - 1
        &&& c.base == self.base * self.kind.nr + i
        &&& c.lo == 0 && c.hi == self.kind.nr
        &&& c.parent == Some((n, i))
    }
}

impl NodeOwn {
    /// The slot of the frame at `pa` holds a node's metadata, and this is the way to it.
    pub open spec fn of(self, pa: usize) -> bool {
        &&& has_slot(Paddr(pa))
        &&& self.tok.instance_id() == slot_at(Paddr(pa)).id()
        &&& self.storage.id() == slot_at(Paddr(pa)).storage_id()
        &&& self.storage.holds::<NodeMeta>()
        &&& self.storage.content()->repr.len() == 3
        &&& self.vtable.id() == slot_at(Paddr(pa)).vtable_id()
        &&& self.mark.id() == slot_at(Paddr(pa)).mark_id()
        &&& self.vtable.is_init() && self.vtable.value().d.ty() == self.storage.content()->ty
    }

    /// The identity of its lock.
    pub open spec fn lock_id(self) -> int {
        self.storage.content()->repr[0]
    }

    /// The identity of its stray mark.
    pub open spec fn stray_id(self) -> int {
        self.storage.content()->repr[1]
    }

    /// The identity of the word that links it into a stack.
    pub open spec fn below_id(self) -> int {
        self.storage.content()->repr[2]
    }
}

impl Locked {
    /// These belong to node `n`.
    pub open spec fn ok(self, inst: Nodes::Instance, n: Nid, inf: Info) -> bool {
        &&& self.copy.id() == inf.copy
        &&& self.live.instance_id() == inst.id()
        &&& self.live.element() == n
        &&& self.below@.patomic == inf.own.below_id()
    }
}

impl NodeRes {
    /// A word that links says which node, and nothing else links.
    pub open spec fn kid_ok(self, inst: Nodes::Instance, i: int) -> bool {
        let inf = self.info.value();
        match (inf.kind.meaning)(self.page.words()[i], inf.level) {
            Pte::Table(pa) => {
                &&& self.kids.value().dom().contains(i)
                &&& self.kid_infos.dom().contains(i)
                &&& self.kid_infos[i].instance_id() == inst.id()
                &&& self.kid_infos[i].key() == self.kids.value()[i]
                &&& self.kid_infos[i].value().pa == pa
                &&& inf.is_parent_of(self.info.key(), i, self.kid_infos[i].value())
            },
            _ => !self.kids.value().dom().contains(i),
        }
    }

    /// These belong to node `n`, and agree.
    pub open spec fn ok(self, inst: Nodes::Instance, n: Nid) -> bool {
        let inf = self.info.value();
        &&& self.kids.instance_id() == inst.id() && self.kids.key() == n
        &&& self.info.instance_id() == inst.id() && self.info.key() == n
        &&& inf.wf()
        &&& self.page.pa() == Paddr(inf.pa) && self.page.exclusive() && self.page.words().len() == 512
        &&& self.auth.id() == inf.copy
        &&& self.auth@ == (Words { words: self.page.words(), kids: self.kids.value() })
        &&& self.lock@.patomic == inf.own.lock_id()
        &&& self.lock@.value == (self.content is None)
        &&& self.stray@.patomic == inf.own.stray_id()
        &&& self.content matches Some(c) ==> c.ok(inst, n, inf) && inf.owns(self.page.words(), c.leaves)
        &&& forall|i: int| #[trigger] self.kids.value().dom().contains(i) ==> inf.lo <= i < inf.hi
        &&& forall|i: int| inf.lo <= i < inf.hi ==> #[trigger] self.kid_ok(inst, i)
    }
}

impl CpuRes {
    /// These belong to processor `c`, and agree.
    pub open spec fn ok(self, k: WorldKey, c: Cpu) -> bool {
        &&& self.cpu.instance_id() == k.inst.id() && self.cpu.key() == c
        &&& self.count@.patomic == (k.counts)(c as int)
        &&& self.count@.value % LEAVINGS == self.cpu.value().0.len()
        &&& self.count@.value / LEAVINGS == self.cpu.value().1
    }
}

/// The one invariant.
pub struct WorldInv;

impl InvariantPredicate<WorldKey, WorldRes> for WorldInv {
    open spec fn inv(k: WorldKey, g: WorldRes) -> bool {
        &&& g.next.instance_id() == k.inst.id()
        &&& g.alloc.instance_id() == k.inst.id()
        &&& g.nodes.dom() == g.alloc.value()
        &&& forall|n: Nid| g.nodes.dom().contains(n) ==> #[trigger] g.nodes[n].ok(k.inst, n)
        &&& g.cpus.dom() == Set::<nat>::range(0, k.inst.ncpu())
        &&& forall|c: Cpu| g.cpus.dom().contains(c) ==> #[trigger] g.cpus[c].ok(k, c)
    }
}

} // verus!
