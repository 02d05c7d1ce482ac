//! The processors on which a space is active, and the right to make it so.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
#![expect(unsafe_code, reason = "sets roots for its callers")]
use super::protocol::*;
use super::world::*;
use vellum_machine::addr::Paddr;
use vellum_machine::cpu::{Change, CpuId, CpuSet, CpuSetWord, PreemptGuard};
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::{bit, has_arrived};
use vellum_machine::halt::halt;
use vstd::atomic::PermissionU64;
use vstd::invariant::*;
use vstd::prelude::*;

verus! {

/// What the invariant of a space's set is about.
pub ghost struct SetKey {
    pub space: Sid,
    pub word: int,
}

/// The word, and what the protocol says of it.
pub tracked struct SetRes {
    pub word: PermissionU64,
    pub listed: Caches::listed,
}

/// The predicate of the invariant.
pub struct SetInv;

impl InvariantPredicate<SetKey, SetRes> for SetInv {
    open spec fn inv(k: SetKey, r: SetRes) -> bool {
        &&& r.word@.patomic == k.word
        &&& ours(r.listed.instance_id()) && r.listed.key() == k.space
        &&& forall|c: Cpu| #[trigger] bit(r.word@.value, c) <==> r.listed.value().contains(c)
        &&& forall|c: Cpu| #[trigger] bit(r.word@.value, c) ==> has_arrived(c)
    }
}

/// A space, as translation caches know it: its root, and the processors that may walk from it.
///
/// A processor is in the set from before it sets the root until after it has set another.
pub struct ActiveSet {
    set: CpuSetWord,
    root: Paddr,
    named: Tracked<Caches::root>,
    inv: Tracked<AtomicInvariant<SetKey, SetRes, SetInv>>,
}

impl ActiveSet {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        &&& ours(self.named@.instance_id()) && self.named@.value() == self.root.0
        &&& self.inv@.constant() == (SetKey { space: self.named@.key(), word: self.set.id() })
    }

    /// The ghost name of the space.
    pub closed spec fn space(self) -> Sid {
        self.named@.key()
    }

    /// The root of its table.
    pub closed spec fn root(self) -> nat {
        self.named@.value()
    }

    /// Makes the set of a new space, whose table has its root at `root`.
    pub fn new(root: Paddr) -> (r: ActiveSet)
        ensures
            r.root() == root.0,
    {
        let (set, Tracked(word)) = CpuSetWord::new();
        let w = caches();
        let tracked (_, Tracked(named), Tracked(listed)) = w.instance_ref().new_space(root.0 as nat);
        proof {
            vellum_machine::cpu::lemma_bits(0, 0);
        }
        let ghost k = SetKey { space: named.key(), word: set.id() };
        let tracked inv = AtomicInvariant::new(k, SetRes { word, listed }, 3);
        ActiveSet { set, root, named: Tracked(named), inv: Tracked(inv) }
    }

    /// Returns the processors on which the space is active at this moment.
    pub fn members(&self) -> CpuSet
        no_unwind
    {
        proof {
            use_type_invariant(self);
        }
        let r;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(SetInv::inv(self.inv@.constant(), g)); }
            r = self.set.load_after(Change::Store, Tracked(&g.word));
        });
        r
    }

    /// Returns the members, and that no other processor translates addresses of the space by what it read before now.
    /// `change` is how its table was changed before.
    #[inline(always)]
    pub(super) fn observe(&self, change: Change, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: (CpuSet, Tracked<Caches::clean>))
        requires
            ours(stamp.instance_id()),
        ensures
            ours(r.1@.instance_id()),
            r.1@.element() == (Clean { cpus: r.1@.element().cpus, space: self.space(), pages: ISet::full(), time: stamp.element() }),
            forall|c: Cpu| #[trigger] r.1@.element().cpus.contains(c) <==> !r.0.has(c),
            forall|c: Cpu| #[trigger] r.0.has(c) ==> has_arrived(c),
        no_unwind
    {
        let w = caches();
        proof {
            use_type_invariant(self);
        }
        let r;
        let tracked out;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(SetInv::inv(self.inv@.constant(), g)); }
            r = self.set.load_after(change, Tracked(&g.word));
            proof {
                out = w.instance_ref().absent(self.space(), stamp.element(), stamp, &g.listed);
            }
        });
        (r, Tracked(out))
    }

    /// Adds a processor that is in the set of another space, or of none.
    fn add(&self, me: CpuId, Tracked(before): Tracked<&Option<Caches::member>>) -> (r: Tracked<Caches::member>)
        requires
            has_arrived(me.number()),
            before matches Some(m) ==> ours(m.instance_id()) && m.element().1 == me.number(),
        ensures
            ours(r@.instance_id()),
            r@.element() == (self.space(), me.number()),
            before matches Some(m) ==> m.element().0 != self.space(),
        no_unwind
    {
        let i = me.index();
        let w = caches();
        proof {
            use_type_invariant(self);
        }
        let tracked mut out: Option<Caches::member> = None;
        let was;
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(SetInv::inv(self.inv@.constant(), g)); }
            let tracked SetRes { mut word, mut listed } = g;
            was = self.set.add(Tracked(&mut word), me);
            proof {
                if !was {
                    if before is Some {
                        let tracked m = before.tracked_borrow();
                        if m.element().0 == self.space() {
                            w.instance_ref().a_member_is_listed(self.space(), me.number(), &listed, m);
                        }
                    }
                    let tracked (Tracked(l), Tracked(m)) = w.instance_ref().list(self.space(), me.number(), listed);
                    listed = l;
                    out = Some(m);
                }
                g = SetRes { word, listed };
            }
        });
        if was {
            halt("a processor entered a space in which it is");
        }
        Tracked(out.tracked_unwrap())
    }

    /// Takes a processor out, whose root is that of another table.
    fn remove(&self, me: CpuId, Tracked(member): Tracked<Caches::member>, Tracked(seat): Tracked<&Caches::seat>)
        requires
            ours(member.instance_id()) && ours(seat.instance_id()),
            member.element() == (self.space(), me.number()),
            seat.key() == me.number(),
            seat.value() != Some(self.space()),
        no_unwind
    {
        let i = me.index();
        let w = caches();
        proof {
            use_type_invariant(self);
        }
        open_atomic_invariant!(self.inv.borrow() => g => {
            proof { assert(SetInv::inv(self.inv@.constant(), g)); }
            let tracked SetRes { mut word, listed } = g;
            self.set.remove(Tracked(&mut word), me);
            proof {
                let tracked listed = w.instance_ref().unlist(self.space(), me.number(), listed, member, seat);
                g = SetRes { word, listed };
            }
        });
    }
}

/// The right to set the root of one processor, which knows the space that is active there.
pub struct RootRight {
    cpu: CpuId,
    seat: Tracked<Caches::seat>,
    member: Tracked<Option<Caches::member>>,
}

impl RootRight {
    #[verifier::type_invariant]
    closed spec fn wf(self) -> bool {
        &&& ours(self.seat@.instance_id()) && self.seat@.key() == self.cpu.number()
        &&& self.seat@.value() is Some <==> self.member@ is Some
        &&& self.member@ matches Some(m) ==> ours(m.instance_id()) && m.element() == (self.seat@.value()->0, self.cpu.number())
    }

    /// The space that is active.
    pub closed spec fn space(self) -> Option<Sid> {
        self.seat@.value()
    }

    /// The processor.
    pub closed spec fn cpu(self) -> nat {
        self.cpu.number()
    }

    /// Takes the right for the processor that the caller is; once.
    #[expect(clippy::manual_map, reason = "the verifier would want a contract of the closure")]
    pub fn take(me: CpuId) -> (r: Option<RootRight>)
        ensures
            r matches Some(right) ==> right.space() is None && right.cpu() == me.number(),
        no_unwind
    {
        match caches().take_seat(me) {
            Some(seat) => Some(RootRight { cpu: me, seat, member: Tracked(None) }),
            None => None,
        }
    }

    /// Says whether it is that of a processor.
    pub fn is_of(&self, cpu: CpuId) -> (r: bool)
        ensures
            r <==> self.cpu() == cpu.number(),
        no_unwind
    {
        self.cpu.is(cpu)
    }

    /// Makes `to` the space that is active on this processor, in place of `from`.
    ///
    /// # Safety
    /// As for [`vellum_machine::tlb::set_root`], of the root of `to`.
    pub unsafe fn enter(self, here: &PreemptGuard, to: &ActiveSet, from: Option<&ActiveSet>) -> (r: RootRight)
        requires
            self.cpu() == here.cpu(),
            has_arrived(self.cpu()),
            self.space() is Some <==> from is Some,
            from matches Some(set) ==> self.space() == Some(set.space()),
        ensures
            r.space() == Some(to.space()),
            r.cpu() == self.cpu(),
        no_unwind
    {
        proof {
            use_type_invariant(&self);
            use_type_invariant(to);
        }
        let RootRight { cpu: me, seat: Tracked(seat), member: Tracked(before) } = self;
        let Tracked(member) = to.add(me, Tracked(&before));
        // SAFETY: the caller's.
        let Tracked(seat) = unsafe {
            caches().enter(here, me, to.root, Tracked(to.named.borrow()), Tracked(&member), Tracked(seat))
        };
        if let Some(set) = from {
            set.remove(me, Tracked(before.tracked_unwrap()), Tracked(&seat));
        }
        RootRight { cpu: me, seat: Tracked(seat), member: Tracked(Some(member)) }
    }

    /// Has this processor walk a table that is no space's, in place of that of `from`.
    ///
    /// # Safety
    /// As for [`vellum_machine::tlb::set_root`].
    pub unsafe fn leave(self, here: &PreemptGuard, root: Paddr, from: &ActiveSet) -> (r: RootRight)
        requires
            self.cpu() == here.cpu(),
            self.space() == Some(from.space()),
        ensures
            r.space() is None,
            r.cpu() == self.cpu(),
        no_unwind
    {
        proof {
            use_type_invariant(&self);
        }
        let RootRight { cpu: me, seat: Tracked(seat), member: Tracked(before) } = self;
        // SAFETY: the caller's.
        let Tracked(seat) = unsafe { caches().leave(here, me, root, Tracked(seat)) };
        from.remove(me, Tracked(before.tracked_unwrap()), Tracked(&seat));
        RootRight { cpu: me, seat: Tracked(seat), member: Tracked(None) }
    }
}

} // verus!
