//! Steps on nodes: reading without a lock, locking, and what the holder of a lock may do with a word.
//!
//! Each function opens the one invariant around one atomic access.
#![expect(unsafe_code, reason = "words of nodes are read and written with their permission at hand")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use super::config::*;
#[cfg(verus_keep_ghost)]
use super::entry::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::node_frame::*;
use super::protocol::*;
use super::spec::*;
use super::world::World;
use vellum_machine::addr::*;
use vellum_machine::ptword;
use vellum_machine::ptword::WalkerFormat;
#[cfg(verus_keep_ghost)]
use vellum_machine::ptword::all_noted;
#[cfg(verus_keep_ghost)]
use vstd::atomic::*;
use vstd::invariant::*;
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use vstd::resource::ghost_var::*;

verus! {

/// What whoever locked a node owns of it.
pub tracked struct NodeTok {
    pub lk: Locked,
    pub info: Nodes::info,
    pub prot: Nodes::prot,
}

/// A reader of this world.
pub open spec fn reads(w: World, r: Nodes::reader) -> bool {
    r.instance_id() == w.instance().id()
}

/// The reader protects the node.
pub open spec fn protects(w: World, r: Nodes::reader, p: Nodes::prot, inf: Nodes::info) -> bool {
    &&& reads(w, r)
    &&& p.instance_id() == w.instance().id() && p.element() == (r.key(), inf.key())
    &&& inf.instance_id() == w.instance().id()
}

/// The reader protects the node at `pa`, which is one of a table of kind `C`.
pub open spec fn protects_at<C: PageTableConfig>(w: World, r: Nodes::reader, p: Nodes::prot, inf: Nodes::info, pa: usize) -> bool {
    protects(w, r, p, inf) && inf.value().pa == pa && inf.value().kind == kind::<C>() && inf.value().wf()
}

impl NodeTok {
    /// Its words.
    pub open spec fn words(&self) -> Seq<u64> {
        self.lk.copy@.words
    }

    /// The nodes that it links, by entry.
    pub open spec fn kids(&self) -> Map<int, Nid> {
        self.lk.copy@.kids
    }

    /// Its physical address.
    pub open spec fn pa(&self) -> usize {
        self.info.value().pa
    }

    /// Its level.
    pub open spec fn level(&self) -> nat {
        self.info.value().level
    }

    /// A locked node of a table of kind `C`.
    pub open spec fn ok<C: PageTableConfig>(&self, w: World, r: Nodes::reader) -> bool {
        &&& protects_at::<C>(w, r, self.prot, self.info, self.pa())
        &&& self.lk.ok(w.instance(), self.info.key(), self.info.value())
        &&& self.words().len() == 512
    }

    /// What it owns is what its words say: it may be unlocked.
    pub open spec fn owns(&self) -> bool {
        self.info.value().owns(self.words(), self.lk.leaves)
    }

    /// All but the words, the links and what leaves own is as before.
    pub open spec fn same_node(&self, o: NodeTok) -> bool {
        self.info == o.info && self.prot == o.prot
    }

    /// The node at entry `i` of `self`.
    pub open spec fn links(&self, i: int, kid: Nodes::info, e: u64) -> bool {
        &&& self.info.value().is_parent_of(self.info.key(), i, kid.value())
        &&& kid.value().wf()
        &&& (self.info.value().kind.meaning)(e, self.level()) == Pte::Table(kid.value().pa)
    }
}

/// The metadata of a protected node.
#[inline(always)]
pub(super) fn meta<'a>(
    w: &World,
    pa: usize,
    Tracked(r): Tracked<&'a Nodes::reader>,
    Tracked(p): Tracked<&'a Nodes::prot>,
    Tracked(inf): Tracked<&'a Nodes::info>,
) -> (m: &'a NodeMeta)
    requires
        protects(*w, *r, *p, *inf),
        inf.value().wf(),
        inf.value().pa == pa,
    ensures
        m.lock.id() == inf.value().own.lock_id(),
        m.stray.id() == inf.value().own.stray_id(),
    no_unwind
{
    let tracked own = w.instance_ref().guard_own(r.key(), inf.key(), inf, r, p);
    node_meta(pa, Tracked(own))
}

/// The invariant holds again after one node changed.
pub(super) proof fn lemma_node_put_back(w: &World, g0: WorldRes, g: WorldRes, n: Nid)
    requires
        WorldInv::inv(w.key(), g0),
        w.key().inst == w.instance(),
        g0.nodes.dom().contains(n),
        g.alloc == g0.alloc,
        g.next == g0.next,
        g.cpus == g0.cpus,
        g.nodes =~= g0.nodes.insert(n, g.nodes[n]),
        g.nodes[n].ok(w.instance(), n),
    ensures
        WorldInv::inv(w.key(), g),
{
    assert(g.nodes.dom() =~= g0.nodes.dom());
    assert forall|m: Nid| g.nodes.dom().contains(m) implies #[trigger] g.nodes[m].ok(w.instance(), m) by {
        if m != n {
            assert(g.nodes[m] == g0.nodes[m]);
            assert(g0.nodes[m].ok(w.instance(), m));
        }
    }
}

/// A protected node is in the invariant.
pub(crate) proof fn protected_node(
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
        g.nodes[inf.key()].info.value() == inf.value(),
{
    w.instance_ref().protected(r.key(), inf.key(), &g.alloc, r, p);
    assert(g.nodes[inf.key()].ok(w.instance(), inf.key()));
    let tracked x = g.nodes.tracked_borrow(inf.key());
    x.info.agree(inf);
}

/// Reads a word of a protected node without its lock; a link gives protection of the child.
#[inline(always)]
pub(super) fn read_link<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(p): Tracked<&Nodes::prot>,
    Tracked(inf): Tracked<&Nodes::info>,
) -> (o: (u64, Tracked<Option<(Nodes::prot, Nodes::info)>>))
    requires
        protects_at::<C>(*w, *r, *p, *inf, pa),
        inf.value().lo <= i < inf.value().hi,
    ensures
        meaning::<C>(o.0, inf.value().level) matches Pte::Table(c) ==> o.1@ matches Some((p2, inf2)) && protects_at::<C>(
            *w,
            *r,
            p2,
            inf2,
            c,
        ) && inf.value().is_parent_of(inf.key(), i as int, inf2.value()),
    no_unwind
{
    let e;
    let tracked out;
    let ghost n = inf.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        proof {
            protected_node(w, &g, r, p, inf);
        }
        let tracked x = g.nodes.tracked_borrow(n);
        // SAFETY: the permission of the node's frame is in the invariant.
        e = unsafe { ptword::load::<FormatOf<C>>(Paddr(pa), i, Tracked(&x.page)) };
        proof {
            out = follow_link::<C>(w, &g, x, i as int, e, r, p);
        }
    });
    (e, Tracked(out))
}

/// The child behind a link that was read.
proof fn follow_link<C: PageTableConfig>(
    tracked w: &World,
    tracked g: &WorldRes,
    tracked x: &NodeRes,
    i: int,
    e: u64,
    tracked r: &Nodes::reader,
    tracked p: &Nodes::prot,
) -> (tracked out: Option<(Nodes::prot, Nodes::info)>)
    requires
        WorldInv::inv(w.key(), *g),
        w.key().inst == w.instance(),
        protects(*w, *r, *p, x.info),
        x.ok(w.instance(), x.info.key()),
        x.info.value().kind == kind::<C>(),
        x.info.value().lo <= i < x.info.value().hi,
        same::<C>(e, x.page.words()[i]),
    ensures
        meaning::<C>(e, x.info.value().level) == meaning::<C>(x.page.words()[i], x.info.value().level),
        meaning::<C>(e, x.info.value().level) matches Pte::Table(c) ==> out matches Some((p2, inf2)) && protects_at::<C>(
            *w,
            *r,
            p2,
            inf2,
            c,
        ) && x.info.value().is_parent_of(x.info.key(), i, inf2.value()) && x.kids.value().dom().contains(i)
            && x.kids.value()[i] == inf2.key(),
{
    C::Entry::noted_is_no_meaning(e, x.page.words()[i], x.info.value().level);
    assert(x.kid_ok(w.instance(), i));
    if meaning::<C>(e, x.info.value().level) is Table {
        let c = x.kids.value()[i];
        let tracked p2 = w.instance_ref().follow(r.key(), x.info.key(), i, c, &x.kids, r, p);
        let tracked inf2 = x.kid_infos.tracked_borrow(i).clone();
        protected_node(w, g, r, &p2, &inf2);
        Some((p2, inf2))
    } else {
        None
    }
}

/// The token of a node that was just locked.
pub(super) open spec fn is_locked<C: PageTableConfig>(w: World, r: Nodes::reader, t: NodeTok, inf: Nodes::info) -> bool {
    t.ok::<C>(w, r) && t.owns() && t.info.key() == inf.key() && t.info.value() == inf.value()
}

/// Takes the lock of a protected node if it is free.
#[inline(always)]
fn try_lock<C: PageTableConfig>(
    w: &World,
    m: &NodeMeta,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(p): Tracked<&Nodes::prot>,
    Tracked(inf): Tracked<&Nodes::info>,
) -> (o: Option<Tracked<NodeTok>>)
    requires
        protects_at::<C>(*w, *r, *p, *inf, inf.value().pa),
        m.lock.id() == inf.value().own.lock_id(),
    ensures
        o matches Some(t) ==> is_locked::<C>(*w, *r, t@, *inf),
    no_unwind
{
    let b;
    let tracked mut out = None;
    let ghost n = inf.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, p, inf);
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        b = m.lock.cas_acquire(Tracked(&mut x.lock), false, true);
        proof {
            if b is Ok {
                let tracked NodeRes { page, auth, kids, info, kid_infos, lock, stray, content } = x;
                let tracked lk = content.tracked_unwrap();
                auth.agree(&lk.copy);
                out = Some(NodeTok { lk, info: inf.clone(), prot: p.clone() });
                x = NodeRes { page, auth, kids, info, kid_infos, lock, stray, content: None };
            }
            assert forall|i: int| x.info.value().lo <= i < x.info.value().hi implies #[trigger] x.kid_ok(w.instance(), i) by {
                assert(x0.kid_ok(w.instance(), i));
            }
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
    if b.is_ok() {
        Some(Tracked(out.tracked_unwrap()))
    } else {
        None
    }
}

/// Takes the lock of a protected node, unless it was unlinked. Meanwhile this processor serves the calls of others.
#[verifier::exec_allows_no_decreases_clause]
pub(super) fn lock<C: PageTableConfig>(
    w: &World,
    pa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(p): Tracked<&Nodes::prot>,
    Tracked(inf): Tracked<&Nodes::info>,
) -> (o: Option<Tracked<NodeTok>>)
    requires
        protects_at::<C>(*w, *r, *p, *inf, pa),
    ensures
        o matches Some(t) ==> is_locked::<C>(*w, *r, t@, *inf),
    no_unwind
{
    let m = meta(w, pa, Tracked(r), Tracked(p), Tracked(inf));
    loop
        invariant
            protects_at::<C>(*w, *r, *p, *inf, pa),
            m.lock.id() == inf.value().own.lock_id(),
            m.stray.id() == inf.value().own.stray_id(),
    {
        if let Some(t) = try_lock::<C>(w, m, Tracked(r), Tracked(p), Tracked(inf)) {
            return Some(t);
        }
        if is_stray::<C>(w, m, Tracked(r), Tracked(p), Tracked(inf)) {
            return None;
        }
        super::hooks::relax();
    }
}

/// As [`lock`], for a root, and for a node whose parent the caller has locked: nobody unlinks it.
#[verifier::exec_allows_no_decreases_clause]
pub(super) fn lock_linked<C: PageTableConfig>(
    w: &World,
    pa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(p): Tracked<&Nodes::prot>,
    Tracked(inf): Tracked<&Nodes::info>,
) -> (t: Tracked<NodeTok>)
    requires
        protects_at::<C>(*w, *r, *p, *inf, pa),
    ensures
        is_locked::<C>(*w, *r, t@, *inf),
    no_unwind
{
    loop
        invariant
            protects_at::<C>(*w, *r, *p, *inf, pa),
    {
        if let Some(t) = lock::<C>(w, pa, Tracked(r), Tracked(p), Tracked(inf)) {
            return t;
        }
    }
}

/// Whether a node whose lock is not free was unlinked.
fn is_stray<C: PageTableConfig>(
    w: &World,
    m: &NodeMeta,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(p): Tracked<&Nodes::prot>,
    Tracked(inf): Tracked<&Nodes::info>,
) -> bool
    requires
        protects_at::<C>(*w, *r, *p, *inf, inf.value().pa),
        m.stray.id() == inf.value().own.stray_id(),
    no_unwind
{
    let b;
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        proof {
            protected_node(w, &g, r, p, inf);
        }
        let tracked x = g.nodes.tracked_borrow(inf.key());
        b = m.stray.load_relaxed(Tracked(&x.stray));
    });
    b
}

/// Gives a lock back.
#[inline(always)]
pub(super) fn unlock<C: PageTableConfig>(
    w: &World,
    pa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<NodeTok>,
)
    requires
        t.ok::<C>(*w, *r),
        t.pa() == pa,
        t.owns(),
    no_unwind
{
    let ghost n = t.info.key();
    let tracked NodeTok { mut lk, info, prot } = t;
    let m = meta(w, pa, Tracked(r), Tracked(&prot), Tracked(&info));
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, &prot, &info);
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        proof {
            x.auth.agree(&lk.copy);
        }
        m.lock.store_release(Tracked(&mut x.lock), false);
        proof {
            x.content = Some(lk);
            assert forall|i: int| x.info.value().lo <= i < x.info.value().hi implies #[trigger] x.kid_ok(w.instance(), i) by {
                assert(x0.kid_ok(w.instance(), i));
            }
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
}

/// Whoever has the ghost copy of a node's words excludes any other, in particular the lock's content.
pub(super) proof fn lemma_excludes(tracked a: &mut GhostVarAuth<Words>, tracked v: &mut GhostVar<Words>, tracked c: &Option<Locked>)
    requires
        old(a).id() == old(v).id(),
        c matches Some(l) ==> l.copy.id() == old(a).id(),
    ensures
        c is None,
        *final(a) == *old(a),
        *final(v) == *old(v),
{
    if let Some(l) = c {
        a.agree(&l.copy);
        let n = l.copy@.words.len();
        a.update(v, Words { words: v@.words.push(0), kids: v@.kids });
        a.agree(&l.copy);
        assert(l.copy@.words.len() == n + 1);
    }
}

/// Two holders of one node would have two ghost copies of its words.
pub(crate) proof fn exclude_second_holder<C: PageTableConfig>(
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
    protected_node(w, g, r, &a.prot, &a.info);
    a.info.agree(&b.info);
    let n = a.info.key();
    let tracked mut x = g.nodes.tracked_remove(n);
    x.auth.agree(&b.lk.copy);
    let len = b.lk.copy@.words.len();
    let other = Words { words: a.lk.copy@.words.push(0), kids: a.lk.copy@.kids };
    x.auth.update(&mut a.lk.copy, other);
    x.auth.agree(&b.lk.copy);
    assert(b.lk.copy@.words.len() == len + 1);
}

/// The holder's read of a word.
#[inline(always)]
pub(super) fn load<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&NodeTok>,
) -> (e: u64)
    requires
        t.ok::<C>(*w, *r),
        t.pa() == pa,
        i < 512,
    ensures
        same::<C>(e, t.words()[i as int]),
        meaning::<C>(e, t.level()) == meaning::<C>(t.words()[i as int], t.level()),
    no_unwind
{
    let e;
    let ghost n = t.info.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
        }
        let tracked x = g.nodes.tracked_borrow(n);
        proof {
            x.auth.agree(&t.lk.copy);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        e = unsafe { ptword::load::<FormatOf<C>>(Paddr(pa), i, Tracked(&x.page)) };
    });
    proof {
        C::Entry::noted_is_no_meaning(e, t.words()[i as int], t.level());
    }
    e
}

/// The holder's read of a word, with the tokens of the child.
#[inline(always)]
pub(super) fn load_link<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&NodeTok>,
) -> (o: (u64, Tracked<Option<(Nodes::prot, Nodes::info)>>))
    requires
        t.ok::<C>(*w, *r),
        t.pa() == pa,
        t.info.value().lo <= i < t.info.value().hi,
    ensures
        meaning::<C>(o.0, t.level()) == meaning::<C>(t.words()[i as int], t.level()),
        meaning::<C>(o.0, t.level()) matches Pte::Table(c) ==> o.1@ matches Some((p2, inf2)) && protects_at::<C>(
            *w,
            *r,
            p2,
            inf2,
            c,
        ) && t.info.value().is_parent_of(t.info.key(), i as int, inf2.value()) && t.kids().dom().contains(i as int)
            && t.kids()[i as int] == inf2.key(),
    no_unwind
{
    let e;
    let tracked out;
    let ghost n = t.info.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
        }
        let tracked x = g.nodes.tracked_borrow(n);
        proof {
            x.auth.agree(&t.lk.copy);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        e = unsafe { ptword::load::<FormatOf<C>>(Paddr(pa), i, Tracked(&x.page)) };
        proof {
            out = follow_link::<C>(w, &g, x, i as int, e, r, &t.prot);
        }
    });
    (e, Tracked(out))
}

/// The node's words after a step on one of them, in the proof's two copies.
pub open spec fn stepped(t: NodeTok, t0: NodeTok, i: int, v: u64, kids: Map<int, Nid>) -> bool {
    &&& t.same_node(t0)
    &&& t.words() == t0.words().update(i, v)
    &&& t.kids() == kids
    &&& t.lk.leaves == t0.lk.leaves
}

/// The invariant of a node whose word `i` changed between entries that are no links.
proof fn lemma_plain_step<C: PageTableConfig>(inst: Nodes::Instance, x0: NodeRes, x: NodeRes, i: int, v: u64)
    requires
        x0.ok(inst, x0.info.key()),
        x0.info.value().kind == kind::<C>(),
        x0.info.value().lo <= i < x0.info.value().hi,
        x0.content is None,
        x == (NodeRes { page: x.page, auth: x.auth, ..x0 }),
        x.page.pa() == x0.page.pa(),
        x.page.exclusive(),
        x.page.words() == x0.page.words().update(i, v),
        x.auth.id() == x0.auth.id(),
        x.auth@ == (Words { words: x.page.words(), kids: x.kids.value() }),
        !(meaning::<C>(v, x0.info.value().level) is Table),
        !(meaning::<C>(x0.page.words()[i], x0.info.value().level) is Table),
    ensures
        x.ok(inst, x0.info.key()),
{
    assert forall|j: int| x.info.value().lo <= j < x.info.value().hi implies #[trigger] x.kid_ok(inst, j) by {
        assert(x0.kid_ok(inst, j));
    }
}

/// Replaces an entry that is no link, and was `seen`, by another that is no link, and returns the word that was there with what
/// the walker noted until then.
#[inline(always)]
pub(super) fn swap<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    seen: u64,
    v: u64,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&mut NodeTok>,
) -> (e: u64)
    requires
        old(t).ok::<C>(*w, *r),
        old(t).pa() == pa,
        old(t).info.value().lo <= i < old(t).info.value().hi,
        !(meaning::<C>(v, old(t).level()) is Table),
        !(meaning::<C>(old(t).words()[i as int], old(t).level()) is Table),
        same::<C>(seen, old(t).words()[i as int]),
    ensures
        final(t).ok::<C>(*w, *r),
        stepped(*final(t), *old(t), i as int, v, old(t).kids()),
        same::<C>(e, old(t).words()[i as int]),
    no_unwind
{
    if FormatOf::<C>::settled(seen) {
        store::<C>(w, pa, i, v, Ghost(seen), Tracked(r), Tracked(t));
        return seen;
    }
    let e;
    let ghost n = t.info.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        proof {
            x.auth.agree(&t.lk.copy);
            lemma_excludes(&mut x.auth, &mut t.lk.copy, &x.content);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        e = unsafe { ptword::swap::<FormatOf<C>>(Paddr(pa), i, v, Tracked(&mut x.page)) };
        proof {
            x.auth.update(&mut t.lk.copy, Words { words: x.page.words(), kids: x.kids.value() });
            lemma_plain_step::<C>(w.instance(), x0, x, i as int, v);
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
    e
}

/// As [`swap`] where the walker notes nothing: the entry is absent, or all is noted in what was seen of it.
#[inline(always)]
pub(super) fn store<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    v: u64,
    Ghost(seen): Ghost<u64>,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&mut NodeTok>,
)
    requires
        old(t).ok::<C>(*w, *r),
        old(t).pa() == pa,
        old(t).info.value().lo <= i < old(t).info.value().hi,
        !(meaning::<C>(v, old(t).level()) is Table),
        !(meaning::<C>(old(t).words()[i as int], old(t).level()) is Table),
        ({
            let word = old(t).words()[i as int];
            (meaning::<C>(word, old(t).level()) is Absent && old(t).level() >= 1) || same::<C>(seen, word) && all_noted::<FormatOf<C>>(seen)
        }),
    ensures
        final(t).ok::<C>(*w, *r),
        stepped(*final(t), *old(t), i as int, v, old(t).kids()),
    no_unwind
{
    let ghost n = t.info.key();
    proof {
        w.lemma_key();
        let word = t.words()[i as int];
        if meaning::<C>(word, t.level()) is Absent && t.level() >= 1 {
            C::Entry::walker_step(word, word, t.level());
        }
    }
    let ghost read_as = (t.level(), walker_shape::<C::Consts>());
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        proof {
            x.auth.agree(&t.lk.copy);
            lemma_excludes(&mut x.auth, &mut t.lk.copy, &x.content);
        }
        // SAFETY: the permission of the node's frame is in the invariant, and the entry is absent, or all is noted in it.
        unsafe { ptword::store_quiet::<FormatOf<C>>(Paddr(pa), i, v, Ghost(read_as), Ghost(seen), Tracked(&mut x.page)) };
        proof {
            x.auth.update(&mut t.lk.copy, Words { words: x.page.words(), kids: x.kids.value() });
            lemma_plain_step::<C>(w.instance(), x0, x, i as int, v);
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
}

/// As [`swap`], but only if the word is still `cur` to the bit, which was seen; else says what it is.
#[inline(always)]
pub(super) fn compare_exchange<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    cur: u64,
    v: u64,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&mut NodeTok>,
) -> (o: Result<u64, u64>)
    requires
        old(t).ok::<C>(*w, *r),
        old(t).pa() == pa,
        old(t).info.value().lo <= i < old(t).info.value().hi,
        !(meaning::<C>(v, old(t).level()) is Table),
        !(meaning::<C>(old(t).words()[i as int], old(t).level()) is Table),
        same::<C>(cur, old(t).words()[i as int]),
    ensures
        final(t).ok::<C>(*w, *r),
        o is Ok ==> stepped(*final(t), *old(t), i as int, v, old(t).kids()),
        o matches Err(e) ==> *final(t) == *old(t) && same::<C>(e, old(t).words()[i as int]),
    no_unwind
{
    if FormatOf::<C>::settled(cur) {
        store::<C>(w, pa, i, v, Ghost(cur), Tracked(r), Tracked(t));
        return Ok(cur);
    }
    let o;
    let ghost n = t.info.key();
    let ghost t0 = *t;
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        proof {
            x.auth.agree(&t.lk.copy);
            lemma_excludes(&mut x.auth, &mut t.lk.copy, &x.content);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        o = unsafe { ptword::compare_exchange::<FormatOf<C>>(Paddr(pa), i, cur, v, Tracked(&mut x.page)) };
        proof {
            if o is Ok {
                x.auth.update(&mut t.lk.copy, Words { words: x.page.words(), kids: x.kids.value() });
                lemma_plain_step::<C>(w.instance(), x0, x, i as int, v);
            }
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
    o
}

} // verus!
