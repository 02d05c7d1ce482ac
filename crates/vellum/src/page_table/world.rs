//! The one place where nodes of all page tables and readers of all processors meet in the proof: an invariant
//! without a byte of its own, beside the counts of readers.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::life::RetiredTok;
#[cfg(verus_keep_ghost)]
use super::life::{free_node, rested_below};
use super::protocol::*;
use super::spec::*;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::Paddr;
use vellum_machine::page::PagePerm;
#[cfg(verus_keep_ghost)]
use vellum_machine::readers::NR_COUNTS;
use vellum_machine::readers::{LEAVINGS, ReaderCounts, ReaderSeat};
use vstd::invariant::*;
use vstd::prelude::*;

verus! {

/// The counts of readers, and the invariant.
pub struct World {
    counts: ReaderCounts,
    inst: Tracked<Nodes::Instance>,
    inv: Tracked<AtomicInvariant<WorldKey, WorldRes, WorldInv>>,
}

/// The world of this machine.
pub exec static WORLD: World = World::new();

/// The world to which something belongs. There is one, so that nothing has to say at run time which it is.
#[derive(Clone, Copy)]
pub struct InWorld {
    w: Tracked<&'static World>,
}

impl InWorld {
    /// The world.
    pub closed spec fn view(&self) -> World {
        *self.w@
    }

    /// What belongs to a world.
    #[inline(always)]
    pub fn of(w: &'static World) -> (r: Self)
        ensures
            r@ == *w,
        no_unwind
    {
        InWorld { w: Tracked(w) }
    }

    /// The world.
    #[inline(always)]
    pub fn get(&self) -> (r: &'static World)
        ensures
            *r == self@,
        no_unwind
    {
        let w = &WORLD;
        proof {
            axiom_one_world(w, self.in_proof());
        }
        w
    }

    /// The world, for proofs.
    pub proof fn in_proof(tracked &self) -> (tracked r: &'static World)
        ensures
            *r == self@,
    {
        *self.w.borrow()
    }
}

impl World {
    /// The invariant is about these counts and this instance.
    #[verifier::type_invariant]
    pub closed spec fn wf(self) -> bool {
        &&& self.inv@.constant() == (WorldKey { inst: self.inst@, counts: |c: int| self.counts.id(c) })
        &&& self.inst@.ncpu() == NR_COUNTS
    }

    /// The instance of the protocol.
    pub closed spec fn instance(self) -> Nodes::Instance {
        self.inst@
    }

    /// What the invariant is about.
    pub closed spec fn key(self) -> WorldKey {
        self.inv@.constant()
    }

    /// The one invariant.
    pub closed spec fn invariant(self) -> AtomicInvariant<WorldKey, WorldRes, WorldInv> {
        self.inv@
    }

    /// The key is that of the instance and the invariant.
    pub proof fn lemma_key(tracked &self)
        ensures
            self.key().inst == self.instance(),
            self.invariant().constant() == self.key(),
    {
        use_type_invariant(self);
    }

    /// The invariant, to open.
    pub(super) proof fn invariant_ref(tracked &self) -> (tracked r: &AtomicInvariant<WorldKey, WorldRes, WorldInv>)
        ensures
            *r == self.invariant(),
            r.constant().inst == self.instance(),
    {
        use_type_invariant(self);
        self.inv.borrow()
    }

    /// The instance, to make steps.
    pub(super) proof fn instance_ref(tracked &self) -> (tracked r: &Nodes::Instance)
        ensures
            *r == self.instance(),
    {
        self.inst.borrow()
    }

    const fn new() -> World {
        let (counts, Tracked(perms)) = ReaderCounts::new();
        let tracked (Tracked(inst), Tracked(next), Tracked(alloc), _, _, _, _, _, _, Tracked(cpu), _, _, _, _) = Nodes::Instance::boot(
            NR_COUNTS as nat,
            Map::tracked_empty(),
        );
        let tracked mut cpus = Map::<Cpu, CpuRes>::tracked_empty();
        let ghost k = WorldKey { inst, counts: |c: int| counts.id(c) };
        proof {
            let tracked mut cpu = cpu.into_map();
            cpus = pair_up(k, perms, cpu, NR_COUNTS as nat);
        }
        let tracked inv = AtomicInvariant::new(k, WorldRes { next, alloc, nodes: Map::tracked_empty(), cpus }, 1);
        World { counts, inst: Tracked(inst), inv: Tracked(inv) }
    }

    /// Enters a reader on the processor of whose seat it is.
    #[inline(always)]
    #[verifier::exec_allows_no_decreases_clause]
    pub(super) fn enter(&self, seat: &ReaderSeat) -> (r: Tracked<Nodes::reader>)
        requires
            seat.index() < NR_COUNTS,
        ensures
            r@.instance_id() == self.instance().id(),
            r@.value().0 == seat.index(),
        no_unwind
    {
        let ghost c = seat.index();
        proof {
            use_type_invariant(self);
        }
        loop
            invariant
                self.wf(),
                c == seat.index() < NR_COUNTS,
        {
            let entered;
            let tracked mut out: Option<Nodes::reader> = None;
            open_atomic_invariant!(self.inv.borrow() => g => {
                let ghost g0 = g;
                proof { assert(self.inv@.inv(g)); assert(g.cpus[c].ok(self.key(), c)); }
                let tracked mut x = g.cpus.tracked_remove(c);
                entered = self.counts.enter(seat, Tracked(&mut x.count));
                proof {
                    if entered {
                        let tracked CpuRes { count, cpu } = x;
                        let tracked (_, _, Tracked(cpu), Tracked(reader)) = self.inst.borrow().enter(c, cpu);
                        out = Some(reader);
                        x = CpuRes { count, cpu };
                    }
                    g.cpus.tracked_insert(c, x);
                    self.lemma_cpu_put_back(g0, g, c);
                }
            });
            if entered {
                self.counts.announce();
                return Tracked(out.tracked_unwrap());
            }
            super::hooks::relax();
        }
    }

    /// Ends a reader. The last one of a processor counts that it was.
    #[inline(always)]
    pub(super) fn leave(&self, seat: &ReaderSeat, Tracked(reader): Tracked<Nodes::reader>)
        requires
            reader.instance_id() == self.instance().id(),
            reader.value().0 == seat.index(),
            seat.index() < NR_COUNTS,
        no_unwind
    {
        let ghost c = seat.index();
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            let ghost g0 = g;
            proof { assert(self.inv@.inv(g)); assert(g.cpus[c].ok(self.key(), c)); }
            let tracked mut x = g.cpus.tracked_remove(c);
            let ghost before = x.count@.value;
            proof {
                self.inst.borrow().reader_is_counted(c, reader.key(), &x.cpu, &reader);
                lemma_one_less(x.cpu.value().0, reader.key());
            }
            self.counts.leave(seat, Tracked(&mut x.count));
            proof {
                let tracked CpuRes { count, cpu } = x;
                let last = before % LEAVINGS == 1 && before + (LEAVINGS - 1) <= u64::MAX;
                if last {
                    assert(cpu.value().0.remove(reader.key()) =~= Set::<Rid>::empty());
                }
                let tracked cpu = self.inst.borrow().leave(c, reader.key(), last, cpu, reader);
                g.cpus.tracked_insert(c, CpuRes { count, cpu });
                self.lemma_cpu_put_back(g0, g, c);
            }
        });
    }

    /// The invariant holds again after one processor's part changed.
    proof fn lemma_cpu_put_back(tracked &self, g0: WorldRes, g: WorldRes, c: Cpu)
        requires
            WorldInv::inv(self.key(), g0),
            g0.cpus.dom().contains(c),
            g == (WorldRes { cpus: g.cpus, ..g0 }),
            g.cpus =~= g0.cpus.insert(c, g.cpus[c]),
            g.cpus[c].ok(self.key(), c),
        ensures
            WorldInv::inv(self.key(), g),
    {
        assert(g.cpus.dom() =~= g0.cpus.dom());
        assert forall|d: Cpu| g.cpus.dom().contains(d) implies #[trigger] g.cpus[d].ok(self.key(), d) by {
            assert(g0.cpus[d].ok(self.key(), d));
        }
    }

    /// Whether the processor whose count is `c` was without readers at some time since `n` was retired: it is now, or
    /// its last reader left since `mark` was taken. If not, a mark to come back with.
    pub(super) fn rested(&self, c: usize, Tracked(retired): Tracked<&Nodes::retired>, mark: Option<Mark>) -> (r: Result<
        Tracked<Nodes::quiet>,
        Mark,
    >)
        requires
            c < NR_COUNTS,
            retired.instance_id() == self.instance().id(),
            mark matches Some(m) ==> m.ok(*self, c as nat, retired.value()),
        ensures
            r matches Ok(q) ==> q@.instance_id() == self.instance().id() && q@.element().0 == c && q@.element().1 > retired.value(),
            r matches Err(m) ==> m.ok(*self, c as nat, retired.value()),
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        let word;
        let marked = match &mark {
            Some(m) => m.left,
            None => u64::MAX,
        };
        let tracked seen = match mark {
            Some(m) => Some(m.seen.get()),
            None => None,
        };
        let tracked mut quiet: Option<Nodes::quiet> = None;
        let tracked mut new: Option<Nodes::seen> = None;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(self.inv@.inv(g)); assert(g.cpus[c as nat].ok(self.key(), c as nat)); }
            let tracked x = g.cpus.tracked_borrow(c as nat);
            word = self.counts.observe(c, Tracked(&x.count));
            proof {
                if word % LEAVINGS == 0 {
                    assert(x.cpu.value().0 =~= Set::empty());
                    let tracked (_, Tracked(q)) = self.inst.borrow().rest(c as nat, retired.key(), retired, &x.cpu);
                    quiet = Some(q);
                } else if word / LEAVINGS > marked {
                    let tracked s = seen.tracked_borrow();
                    let e = s.element();
                    quiet = Some(self.inst.borrow().conclude(c as nat, e.1, e.2, &x.cpu, s));
                } else {
                    let tracked (_, Tracked(s)) = self.inst.borrow().look(c as nat, retired.key(), retired, &x.cpu);
                    new = Some(s);
                }
            }
        });
        if word % LEAVINGS == 0 || word / LEAVINGS > marked {
            Ok(Tracked(quiet.tracked_unwrap()))
        } else {
            Err(Mark { left: word / LEAVINGS, seen: Tracked(new.tracked_unwrap()) })
        }
    }

    /// Orders what is read of the counts from here on after what was unlinked before.
    #[inline(always)]
    pub(super) fn synchronize(&self)
        no_unwind
    {
        self.counts.synchronize();
    }

    /// Takes what an unlinked node owned, once all processors were without readers.
    pub(super) fn take_back(
        &self,
        pa: usize,
        Tracked(rt): Tracked<RetiredTok>,
        Ghost(t): Ghost<nat>,
        Tracked(quiet): Tracked<&Map<int, Nodes::quiet>>,
    ) -> (r: (Tracked<NodeOwn>, Tracked<PagePerm>))
        requires
            rt.ok(*self, pa),
            rt.time() <= t,
            rested_below(*self, *quiet, t, NR_COUNTS as int),
        ensures
            r.0@.of(pa),
            r.1@.pa() == Paddr(pa),
            r.1@.exclusive(),
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        let tracked out;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof {
                out = free_node(self, &mut g, pa, rt, t, quiet);
            }
        });
        let tracked (own, page) = out;
        (Tracked(own), Tracked(page))
    }
}

/// There is one world: [`World::new`] is called once, for [`WORLD`].
#[verifier::external_body]
pub(super) proof fn axiom_one_world(tracked a: &World, tracked b: &World)
    ensures
        *a == *b,
{
}

/// How often the last reader of a processor had left at some time since a node was retired.
pub(super) struct Mark {
    left: u64,
    seen: Tracked<Nodes::seen>,
}

impl Mark {
    pub(super) closed spec fn ok(self, w: World, c: Cpu, t: nat) -> bool {
        &&& self.seen@.instance_id() == w.instance().id()
        &&& self.seen@.element().0 == c
        &&& self.seen@.element().1 == self.left
        &&& self.seen@.element().2 > t
    }
}

proof fn lemma_one_less(s: Set<Rid>, r: Rid)
    requires
        s.contains(r),
    ensures
        s.remove(r).len() + 1 == s.len(),
        s.len() > 0,
{
}

proof fn pair_up(
    k: WorldKey,
    tracked perms: Map<nat, vstd::atomic::PermissionU64>,
    tracked cpus: Map<nat, Nodes::cpu>,
    n: nat,
) -> (tracked r: Map<Cpu, CpuRes>)
    requires
        perms.dom() == Set::<nat>::range(0, n),
        cpus.dom() == Set::<nat>::range(0, n),
        forall|c: nat| c < n ==> #[trigger] perms[c]@.patomic == (k.counts)(c as int) && perms[c]@.value == 0,
        forall|c: nat| c < n ==> #[trigger] cpus[c].instance_id() == k.inst.id() && cpus[c].key() == c && cpus[c].value()
            == (Set::<Rid>::empty(), 0nat),
    ensures
        r.dom() == Set::<nat>::range(0, n),
        forall|c: Cpu| r.dom().contains(c) ==> #[trigger] r[c].ok(k, c),
    decreases n,
{
    let tracked mut perms = perms;
    let tracked mut cpus = cpus;
    if n == 0 {
        assert(perms.dom() =~= Set::<nat>::empty());
        let tracked r = Map::tracked_empty();
        assert(r.dom() =~= Set::<nat>::range(0, n));
        r
    } else {
        let m = (n - 1) as nat;
        let tracked count = perms.tracked_remove(m);
        let tracked cpu = cpus.tracked_remove(m);
        assert(perms.dom() =~= Set::<nat>::range(0, m));
        assert(cpus.dom() =~= Set::<nat>::range(0, m));
        let tracked mut r = pair_up(k, perms, cpus, m);
        r.tracked_insert(m, CpuRes { count, cpu });
        assert(r.dom() =~= Set::<nat>::range(0, n));
        r
    }
}

} // verus!
