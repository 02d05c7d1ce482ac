//! The life of a node: made, linked, unlinked, freed.
#![expect(unsafe_code, reason = "words of nodes are written with their permission at hand")]
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(clippy::extra_unused_type_parameters, reason = "the contracts use them")]
use super::config::*;
use super::entry::*;
#[cfg(verus_keep_ghost)]
use super::geometry::*;
use super::node::*;
use super::node_frame::*;
use super::protocol::*;
use super::spec::*;
use super::world::World;
use vellum_machine::addr::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::page::PagePerm;
use vellum_machine::ptword;
#[cfg(verus_keep_ghost)]
use vellum_machine::readers::NR_COUNTS;
#[cfg_attr(not(verus_keep_ghost), allow(unused_imports, reason = "names a token"))]
use vstd::atomic::PermissionU64;
use vstd::invariant::*;
use vstd::prelude::*;
use vstd::resource::ghost_var::*;
#[cfg(verus_keep_ghost)]
use vstd::tokens::*;

verus! {

/// No word of the table's own links.
pub open spec fn no_links<C: PageTableConfig>(words: Seq<u64>, l: nat) -> bool {
    words.len() == 512 && forall|j: int| 0 <= j < nr::<C>() ==> !(meaning::<C>(#[trigger] words[j], l) is Table)
}

/// A word that was not the expected one, and what was to be linked.
pub(super) type NotLinked = (u64, Tracked<NewNode>, Tracked<Map<int, LeafTok>>);

/// Links a prepared node at an entry that is no link, if the word there is still `cur` to the bit; it comes back
/// locked. Else says what the word is, and gives the node back.
#[verifier::spinoff_prover]
#[expect(clippy::too_many_arguments, reason = "each token is an argument of its own")]
pub(super) fn link_child<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    cur: u64,
    cpa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&mut NodeTok>,
    Tracked(new): Tracked<NewNode>,
    Tracked(leaves): Tracked<Map<int, LeafTok>>,
) -> (o: Result<Tracked<NodeTok>, NotLinked>)
    requires
        old(t).ok::<C>(*w, *r),
        old(t).pa() == pa,
        old(t).info.value().lo <= i < old(t).info.value().hi,
        old(t).level() >= 2,
        !(meaning::<C>(old(t).words()[i as int], old(t).level()) is Table),
        new.ok(cpa),
        no_links::<C>(new.page.words(), (old(t).level() - 1) as nat),
    ensures
        final(t).ok::<C>(*w, *r),
        match o {
            Ok(c) => {
                &&& is_linked::<C>(*final(t), *old(t), i as int, c@)
                &&& c@.ok::<C>(*w, *r)
                &&& c@.pa() == cpa
                &&& c@.words() == new.page.words()
                &&& c@.kids() == Map::<int, Nid>::empty()
                &&& c@.lk.leaves == leaves
            },
            Err(x) => *final(t) == *old(t) && same::<C>(x.0, old(t).words()[i as int]) && x.1@ == new
                && x.2@ == leaves,
        },
    no_unwind
{
    let ghost n = t.info.key();
    let ghost ni = t.info.value();
    // SAFETY: a node is a whole frame below the limit.
    let v = unsafe { C::Entry::link(cpa) };
    let tracked mut c = None;
    let tracked mut back = None;
    let e;
    proof {
        w.lemma_key();
        C::Consts::consts_ok();
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
            assert(x0.kid_ok(w.instance(), i as int));
            lemma_excludes(&mut x.auth, &mut t.lk.copy, &x.content);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        e = unsafe { ptword::compare_exchange::<FormatOf<C>>(Paddr(pa), i, cur, v, Tracked(&mut x.page)) };
        proof {
            if e is Ok {
                let tracked NodeRes { page, mut auth, kids, info, mut kid_infos, lock, stray, content } = x;
                let tracked NewNode { own, page: cpage, lock: clock, stray: cstray, below } = new;
                let tracked (cauth, ccopy) = GhostVarAuth::<Words>::new(Words { words: cpage.words(), kids: Map::empty() });
                let inf = Info {
                    kind: ni.kind,
                    pa: cpa,
                    level: (ni.level - 1) as nat,
                    base: ni.base * ni.kind.nr + i as nat,
                    lo: 0,
                    hi: ni.kind.nr as int,
                    parent: Some((n, i as int)),
                    copy: cauth.id(),
                    own,
                };
                let cn = g.next.value();
                let tracked (Tracked(kids), Tracked(ckids), Tracked(cinfo), Tracked(clive)) = w.instance_ref().link(
                    n,
                    i as int,
                    inf,
                    own,
                    &mut g.next,
                    &mut g.alloc,
                    kids,
                    &t.lk.live,
                    own,
                );
                auth.update(&mut t.lk.copy, Words { words: page.words(), kids: kids.value() });
                kid_infos.tracked_insert(i as int, cinfo.clone());
                let tracked cprot = w.instance_ref().follow(r.key(), n, i as int, cn, &kids, r, &t.prot);
                let tracked x = NodeRes { page, auth, kids, info, kid_infos, lock, stray, content };
                let tracked cx = NodeRes {
                    page: cpage,
                    auth: cauth,
                    kids: ckids,
                    info: cinfo.clone(),
                    kid_infos: Map::tracked_empty(),
                    lock: clock,
                    stray: cstray,
                    content: None,
                };
                c = Some(NodeTok { lk: Locked { copy: ccopy, live: clive, leaves, below }, info: cinfo, prot: cprot });
                assert forall|j: int| x.info.value().lo <= j < x.info.value().hi implies #[trigger] x.kid_ok(w.instance(), j) by {
                    assert(x0.kid_ok(w.instance(), j));
                }
                assert(x.ok(w.instance(), n));
                assert forall|j: int| 0 <= j < ni.kind.nr implies #[trigger] cx.kid_ok(w.instance(), j) by {
                    let _ = cpage.words()[j];
                }
                assert(cx.ok(w.instance(), cn));
                g.nodes.tracked_insert(n, x);
                g.nodes.tracked_insert(cn, cx);
                assert forall|m: Nid| g.nodes.dom().contains(m) implies #[trigger] g.nodes[m].ok(w.instance(), m) by {
                    if m != n && m != cn {
                        assert(g0.nodes[m].ok(w.instance(), m));
                    }
                }
                assert(g.nodes.dom() =~= g.alloc.value());
            } else {
                back = Some((new, leaves));
                g.nodes.tracked_insert(n, x);
                lemma_node_put_back(w, g0, g, n);
            }
        }
    });
    match e {
        Ok(_) => Ok(Tracked(c.tracked_unwrap())),
        Err(word) => {
            let tracked (new, leaves) = back.tracked_unwrap();
            Err((word, Tracked(new), Tracked(leaves)))
        },
    }
}

/// Entry `i` of the node now links `c`, and nothing else changed.
pub open spec fn is_linked<C: PageTableConfig>(t: NodeTok, t0: NodeTok, i: int, c: NodeTok) -> bool {
    &&& t.same_node(t0)
    &&& t.words() == t0.words().update(i, t.words()[i])
    &&& meaning::<C>(t.words()[i], t0.level()) == Pte::Table(c.pa())
    &&& C::Entry::open_link(t.words()[i])
    &&& t.lk.leaves == t0.lk.leaves
    &&& t.kids() == t0.kids().insert(i, c.info.key())
    &&& t0.info.value().is_parent_of(t0.info.key(), i, c.info.value())
}

/// No entry of the node that belongs to the table is a link.
pub open spec fn links_nothing<C: PageTableConfig>(t: NodeTok) -> bool {
    forall|j: int| t.info.value().lo <= j < t.info.value().hi ==> !(meaning::<C>(#[trigger] t.words()[j], t.level()) is Table)
}

proof fn lemma_no_kids<C: PageTableConfig>(inst: Nodes::Instance, x: NodeRes)
    requires
        x.ok(inst, x.info.key()),
        x.info.value().kind == kind::<C>(),
        forall|j: int| x.info.value().lo <= j < x.info.value().hi ==> !(meaning::<C>(#[trigger] x.page.words()[j], x.info.value().level) is Table),
    ensures
        x.kids.value() == Map::<int, Nid>::empty(),
{
    assert forall|j: int| !x.kids.value().dom().contains(j) by {
        if x.kids.value().dom().contains(j) {
            assert(x.kid_ok(inst, j));
        }
    }
    assert(x.kids.value() =~= Map::<int, Nid>::empty());
}

/// What is left of an unlinked node that may still map something: the right to its frame, and what its leaves own.
pub tracked struct DetachedTok {
    pub retired: RetiredTok,
    pub copy: GhostVar<Words>,
    pub leaves: Map<int, LeafTok>,
}

impl DetachedTok {
    /// An unlinked node of level `l` at `pa`, of a table of kind `C`: it links nothing, and its leaves own what they must.
    pub open spec fn ok<C: PageTableConfig>(&self, w: World, pa: usize, l: nat) -> bool {
        &&& still_reads::<C>(w, pa, l, self.retired, self.copy)
        &&& no_links::<C>(self.copy@.words, l)
        &&& self.retired.info.value().owns(self.copy@.words, self.leaves)
    }
}

/// Page `w` is below an unlinked node.
pub open spec fn is_below<C: PageTableConfig>(node: RetiredTok, w: nat) -> bool {
    pre(nr::<C>(), w, node.info.value().level) == node.info.value().base
}

/// Whoever walks to page `w` by an unlinked node with these words reaches the frame at `pa`: that of the node, or what an
/// entry from `next` on maps there.
pub open spec fn leads<C: PageTableConfig>(node: RetiredTok, words: Seq<u64>, next: int, w: nat, pa: nat) -> bool {
    let l = node.info.value().level;
    let i = index(nr::<C>(), w, l);
    &&& is_below::<C>(node, w)
    &&& (pa == node.pa() || (next <= i && (meaning::<C>(words[i], l) matches Pte::Leaf(a, _) && pa == a + PAGE_SIZE * low(
        nr::<C>(),
        w,
        (l - 1) as nat,
    ))))
}

/// The words of an unlinked node of level `l` at `pa`, of a table of kind `C`, are those of `copy`.
pub open spec fn still_reads<C: PageTableConfig>(w: World, pa: usize, l: nat, retired: RetiredTok, copy: GhostVar<Words>) -> bool {
    let inf = retired.info.value();
    &&& retired.ok(w, pa)
    &&& inf.kind == kind::<C>() && inf.level == l && inf.lo == 0 && inf.hi == nr::<C>()
    &&& copy.id() == inf.copy
}

/// An unlinked node is in the invariant until it is free.
proof fn unlinked_node(tracked w: &World, tracked g: &WorldRes, pa: usize, tracked rt: &RetiredTok)
    requires
        WorldInv::inv(w.key(), *g),
        w.key().inst == w.instance(),
        rt.ok(*w, pa),
    ensures
        g.nodes.dom().contains(rt.info.key()),
        g.nodes[rt.info.key()].ok(w.instance(), rt.info.key()),
        g.nodes[rt.info.key()].info.value() == rt.info.value(),
{
    w.instance_ref().dead_is_allocated(rt.info.key(), &g.alloc, &rt.dead);
    assert(g.nodes[rt.info.key()].ok(w.instance(), rt.info.key()));
    g.nodes.tracked_borrow(rt.info.key()).info.agree(&rt.info);
}

/// Reads a word of an unlinked node.
#[inline(always)]
#[verifier::spinoff_prover]
pub(super) fn load_detached<C: PageTableConfig>(
    w: &World,
    pa: usize,
    l: u8,
    i: usize,
    Tracked(retired): Tracked<&RetiredTok>,
    Tracked(copy): Tracked<&GhostVar<Words>>,
) -> (e: u64)
    requires
        still_reads::<C>(*w, pa, l as nat, *retired, *copy),
        i < 512,
    ensures
        same::<C>(e, copy@.words[i as int]),
        meaning::<C>(e, l as nat) == meaning::<C>(copy@.words[i as int], l as nat),
    no_unwind
{
    let e;
    let ghost n = retired.info.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        proof {
            assert(w.invariant().inv(g));
            unlinked_node(w, &g, pa, retired);
        }
        let tracked x = g.nodes.tracked_borrow(n);
        proof {
            x.auth.agree(copy);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        e = unsafe { ptword::load::<FormatOf<C>>(Paddr(pa), i, Tracked(&x.page)) };
    });
    proof {
        C::Entry::noted_is_no_meaning(e, copy@.words[i as int], l as nat);
    }
    e
}

/// Unlinks a child that links nothing. It becomes stray, and is still readable by readers; its lock stays taken, so
/// that nobody changes its words any more.
#[verifier::spinoff_prover]
pub(super) fn unlink_child<C: PageTableConfig>(
    w: &World,
    pa: usize,
    i: usize,
    cpa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(t): Tracked<&mut NodeTok>,
    Tracked(ct): Tracked<NodeTok>,
) -> (o: Tracked<DetachedTok>)
    requires
        old(t).ok::<C>(*w, *r),
        old(t).pa() == pa,
        old(t).info.value().lo <= i < old(t).info.value().hi,
        ct.ok::<C>(*w, *r),
        ct.pa() == cpa,
        links_nothing::<C>(ct),
        old(t).kids().dom().contains(i as int),
        old(t).kids()[i as int] == ct.info.key(),
        old(t).info.key() != ct.info.key(),
    ensures
        final(t).ok::<C>(*w, *r),
        stepped(*final(t), *old(t), i as int, 0, old(t).kids().remove(i as int)),
        o@.retired.ok(*w, cpa),
        o@.retired.info == ct.info,
        o@.copy == ct.lk.copy,
        o@.leaves == ct.lk.leaves,
    no_unwind
{
    let ghost n = t.info.key();
    let ghost cn = ct.info.key();
    set_stray::<C>(w, cpa, Tracked(r), Tracked(&ct.prot), Tracked(&ct.info));
    let tracked o;
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
            protected_node(w, &g, r, &ct.prot, &ct.info);
            g.nodes.tracked_borrow(cn).auth.agree(&ct.lk.copy);
            lemma_no_kids::<C>(w.instance(), g.nodes[cn]);
            C::Entry::zero_is_absent(t.level());
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        proof {
            x.auth.agree(&t.lk.copy);
            assert(x0.kid_ok(w.instance(), i as int));
            lemma_excludes(&mut x.auth, &mut t.lk.copy, &x.content);
        }
        // SAFETY: the permission of the node's frame is in the invariant.
        let _ = unsafe { ptword::swap::<FormatOf<C>>(Paddr(pa), i, 0, Tracked(&mut x.page)) };
        proof {
            let tracked NodeRes { page, mut auth, kids, info, kid_infos, lock, stray, content } = x;
            let tracked NodeTok { lk: Locked { copy, live, leaves, below }, info: cinfo, prot } = ct;
            let tracked (_, Tracked(kids), Tracked(ret), Tracked(dead)) = w.instance_ref().unlink(
                n,
                i as int,
                cn,
                kids,
                &g.nodes.tracked_borrow(cn).kids,
                live,
            );
            auth.update(&mut t.lk.copy, Words { words: page.words(), kids: kids.value() });
            o = DetachedTok { retired: RetiredTok { retired: ret, dead, info: cinfo, below }, copy, leaves };
            let tracked x = NodeRes { page, auth, kids, info, kid_infos, lock, stray, content };
            assert forall|j: int| x.info.value().lo <= j < x.info.value().hi implies #[trigger] x.kid_ok(w.instance(), j) by {
                assert(x0.kid_ok(w.instance(), j));
            }
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
    Tracked(o)
}

/// Tells those who wait for the lock of a node that it is unlinked.
#[inline(always)]
fn set_stray<C: PageTableConfig>(
    w: &World,
    pa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(p): Tracked<&Nodes::prot>,
    Tracked(info): Tracked<&Nodes::info>,
)
    requires
        protects_at::<C>(*w, *r, *p, *info, pa),
    no_unwind
{
    let m = meta(w, pa, Tracked(r), Tracked(p), Tracked(info));
    let ghost n = info.key();
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            protected_node(w, &g, r, p, info);
        }
        let tracked mut x = g.nodes.tracked_remove(n);
        let ghost x0 = x;
        m.stray.store_relaxed(Tracked(&mut x.stray), true);
        proof {
            assert forall|i: int| x.info.value().lo <= i < x.info.value().hi implies #[trigger] x.kid_ok(w.instance(), i) by {
                assert(x0.kid_ok(w.instance(), i));
            }
            g.nodes.tracked_insert(n, x);
            lemma_node_put_back(w, g0, g, n);
        }
    });
}

/// What a page table has of its root.
pub tracked struct RootTok {
    pub root: Nodes::root,
    pub info: Nodes::info,
}

impl RootTok {
    /// The root of a table of kind `C`, at `pa`.
    pub open spec fn ok<C: PageTableConfig>(&self, w: World, pa: usize) -> bool {
        let inf = self.info.value();
        &&& self.root.instance_id() == w.instance().id()
        &&& self.info.instance_id() == w.instance().id()
        &&& self.root.element() == self.info.key()
        &&& inf.wf() && inf.pa == pa && inf.kind == kind::<C>()
        &&& inf.level == C::Consts::levels()
        &&& inf.base == 0
        &&& inf.lo == C::TOP_LO && inf.hi == C::TOP_HI
    }
}

/// Makes a prepared node the root of a new table.
pub(super) fn new_root<C: PageTableConfig>(w: &World, pa: usize, Tracked(new): Tracked<NewNode>) -> (o: Tracked<RootTok>)
    requires
        new.ok(pa),
        new.page.words().len() == 512,
        forall|i: int| C::TOP_LO <= i < C::TOP_HI ==> meaning::<C>(#[trigger] new.page.words()[i], C::Consts::levels() as nat) is Absent,
    ensures
        o@.ok::<C>(*w, pa),
    no_unwind
{
    let tracked o;
    let tracked NewNode { own, page, mut lock, stray, below } = new;
    // The lock is still ours: nobody else knows the node.
    let m = node_meta(pa, Tracked(&own));
    m.lock.store_relaxed(Tracked(&mut lock), false);
    proof {
        w.lemma_key();
        C::Consts::consts_ok();
        C::config_ok();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        let ghost g0 = g;
        proof {
            let tracked (auth, copy) = GhostVarAuth::<Words>::new(Words { words: page.words(), kids: Map::empty() });
            let inf = Info {
                kind: kind::<C>(),
                pa,
                level: C::Consts::levels() as nat,
                base: 0,
                lo: C::TOP_LO as int,
                hi: C::TOP_HI as int,
                parent: None,
                copy: auth.id(),
                own,
            };
            let n = g.next.value();
            let tracked (Tracked(kids), Tracked(info), Tracked(live), Tracked(root)) = w.instance_ref().new_root(
                inf,
                own,
                &mut g.next,
                &mut g.alloc,
                own,
            );
            let tracked content = Locked { copy, live, leaves: Map::tracked_empty(), below };
            let tracked kid_infos = Map::tracked_empty();
            let tracked x = NodeRes { page, auth, kids, info: info.clone(), kid_infos, lock, stray, content: Some(content) };
            assert forall|j: int| x.info.value().lo <= j < x.info.value().hi implies #[trigger] x.kid_ok(w.instance(), j) by {
                let _ = x.page.words()[j];
            }
            assert(x.ok(w.instance(), n));
            g.nodes.tracked_insert(n, x);
            assert forall|m: Nid| g.nodes.dom().contains(m) implies #[trigger] g.nodes[m].ok(w.instance(), m) by {
                if m != n {
                    assert(g0.nodes[m].ok(w.instance(), m));
                }
            }
            assert(g.nodes.dom() =~= g.alloc.value());
            o = RootTok { root, info };
        }
    });
    Tracked(o)
}

/// A reader protects the root of a table.
#[inline(always)]
pub(super) proof fn protect_root<C: PageTableConfig>(
    tracked w: &World,
    pa: usize,
    tracked r: &Nodes::reader,
    tracked root: &RootTok,
) -> (tracked p: Nodes::prot)
    requires
        reads(*w, *r),
        root.ok::<C>(*w, pa),
    ensures
        protects_at::<C>(*w, *r, p, root.info, pa),
{
    w.instance_ref().protect_root(r.key(), root.info.key(), &root.root, r)
}

/// Retires an emptied, locked root. Its lock stays taken.
pub(super) fn retire_root<C: PageTableConfig>(
    w: &World,
    pa: usize,
    Tracked(r): Tracked<&Nodes::reader>,
    Tracked(root): Tracked<RootTok>,
    Tracked(t): Tracked<NodeTok>,
) -> (o: Tracked<RetiredTok>)
    requires
        root.ok::<C>(*w, pa),
        t.ok::<C>(*w, *r),
        t.pa() == pa,
        t.info.key() == root.info.key(),
        links_nothing::<C>(t),
    ensures
        o@.ok(*w, pa),
    no_unwind
{
    let tracked o;
    proof {
        w.lemma_key();
    }
    open_atomic_invariant!(w.invariant_ref() => g => {
        proof {
            protected_node(w, &g, r, &t.prot, &t.info);
            g.nodes.tracked_borrow(t.info.key()).auth.agree(&t.lk.copy);
            lemma_no_kids::<C>(w.instance(), g.nodes[t.info.key()]);
            let tracked NodeTok { lk, info, prot } = t;
            let tracked (_, Tracked(retired), Tracked(dead)) = w.instance_ref().retire_root(
                info.key(),
                &g.nodes.tracked_borrow(info.key()).kids,
                lk.live,
                root.root,
            );
            o = RetiredTok { retired, dead, info, below: lk.below };
        }
    });
    Tracked(o)
}

/// What is left of an unlinked node: the right to its frame, once the readers are gone.
pub tracked struct RetiredTok {
    pub retired: Nodes::retired,
    pub dead: Nodes::dead,
    pub info: Nodes::info,
    /// Of the word that links it into a stack.
    pub below: PermissionU64,
}

impl RetiredTok {
    /// What is left of the unlinked node at `pa`.
    pub open spec fn ok(&self, w: World, pa: usize) -> bool {
        &&& self.retired.instance_id() == w.instance().id()
        &&& self.info.instance_id() == w.instance().id()
        &&& self.dead.instance_id() == w.instance().id()
        &&& self.retired.key() == self.info.key()
        &&& self.dead.element() == self.info.key()
        &&& self.info.value().wf()
        &&& self.info.value().pa == pa
        &&& self.below@.patomic == self.info.value().own.below_id()
    }

    /// Its physical address.
    pub open spec fn pa(&self) -> usize {
        self.info.value().pa
    }

    /// When it was unlinked.
    pub open spec fn time(&self) -> nat {
        self.retired.value()
    }
}

/// Takes the frame of an unlinked node back once all processors were without readers.
pub(super) proof fn free_node(
    tracked w: &World,
    tracked g: &mut WorldRes,
    pa: usize,
    tracked rt: RetiredTok,
    t: nat,
    tracked quiet: &Map<int, Nodes::quiet>,
) -> (tracked o: (NodeOwn, PagePerm))
    requires
        WorldInv::inv(w.key(), *old(g)),
        w.key().inst == w.instance(),
        w.instance().ncpu() == NR_COUNTS,
        rt.ok(*w, pa),
        rt.time() <= t,
        rested_below(*w, *quiet, t, NR_COUNTS as int),
    ensures
        WorldInv::inv(w.key(), *final(g)),
        o.0.of(pa),
        o.1.pa() == Paddr(pa),
        o.1.exclusive(),
{
    let n = rt.info.key();
    let g0 = *g;
    unlinked_node(w, g, pa, &rt);
    let tracked RetiredTok { retired, dead, info, below } = rt;
    assert forall|c: int| 0 <= c < NR_COUNTS implies #[trigger] rested(*w, *quiet, retired.value(), c) by {
        assert(rested(*w, *quiet, t, c));
    }
    let tracked x = g.nodes.tracked_remove(n);
    let tracked NodeRes { page, auth, kids, info: xinfo, kid_infos, lock, stray, content } = x;
    let tracked q = gather(w, retired.value(), quiet, NR_COUNTS as nat);
    let tracked own = w.instance_ref().free(n, q.set(), &mut g.alloc, kids, &info, &retired, dead, &q);
    assert(g.nodes.dom() =~= g.alloc.value());
    assert forall|m: Nid| g.nodes.dom().contains(m) implies #[trigger] g.nodes[m].ok(w.instance(), m) by {
        assert(g0.nodes[m].ok(w.instance(), m));
    }
    (own, page)
}

/// There is evidence that processor `c` was without readers after `t`.
pub open spec fn rested(w: World, quiet: Map<int, Nodes::quiet>, t: nat, c: int) -> bool {
    &&& quiet.dom().contains(c)
    &&& quiet[c].instance_id() == w.instance().id()
    &&& quiet[c].element().0 == c
    &&& quiet[c].element().1 > t
}

/// There is evidence that each processor below `c` was.
pub open spec fn rested_below(w: World, quiet: Map<int, Nodes::quiet>, t: nat, c: int) -> bool {
    forall|d: int| 0 <= d < c ==> #[trigger] rested(w, quiet, t, d)
}

/// The evidence of all processors below `n`, in one.
proof fn gather(tracked w: &World, t: nat, tracked quiet: &Map<int, Nodes::quiet>, n: nat) -> (tracked r: SetToken<(Cpu, nat), Nodes::quiet>)
    requires
        forall|c: int| 0 <= c < n ==> #[trigger] rested(*w, *quiet, t, c),
    ensures
        r.instance_id() == w.instance().id(),
        forall|k: Cpu| k < n ==> #[trigger] past(r.set(), k, t),
    decreases n,
{
    if n == 0 {
        SetToken::empty(w.instance().id())
    } else {
        let m = (n - 1) as nat;
        let tracked mut r = gather(w, t, quiet, m);
        let r0 = r.set();
        assert(rested(*w, *quiet, t, m as int));
        let tracked q = quiet.tracked_borrow(m as int).clone();
        let e = q.element();
        r.insert(q);
        lemma_past_grows(r0, r.set());
        assert forall|k: Cpu| k < n implies #[trigger] past(r.set(), k, t) by {
            if k == m {
                assert(r.set().contains((k, e.1)));
            } else {
                assert(past(r0, k, t));
            }
        }
        r
    }
}

} // verus!
