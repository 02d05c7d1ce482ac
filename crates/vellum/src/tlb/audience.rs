//! Who may have translations of a table: the processors on which a space is active, or every processor.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, unused_variables, reason = "what only the proofs use"))]
use super::active::ActiveSet;
use super::protocol::*;
use super::world::*;
use crate::page_table::{PageTableConfig, UserPtConfig};
use core::marker::PhantomData;
#[cfg(verus_keep_ghost)]
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::cpu::{Change, CpuSet, PreemptGuard};
#[cfg(verus_keep_ghost)]
use vellum_machine::cpu::{MAX_CPUS, has_arrived};
use vstd::prelude::*;

verus! {

/// The number of the table's page `w`: a table numbers its pages from its own first address on, processors from address 0.
pub open spec fn page_number<C: PageTableConfig>(w: nat) -> nat {
    w + C::va_base() as nat / PAGE_SIZE as nat
}

/// Who may have translations of a table.
pub trait Audience: Sized {
    /// The use of the table.
    type Config: PageTableConfig;

    /// The ghost name of the space whose addresses it translates.
    spec fn space(self) -> Sid;

    /// The root of the table.
    spec fn root(self) -> nat;

    /// Returns those who may have translations, and that no other processor translates addresses of the space by what it
    /// read before now. `change` is how the table was changed before.
    fn observe(&self, change: Change, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: (CpuSet, Tracked<Caches::clean>))
        requires
            ours(stamp.instance_id()),
        ensures
            ours(r.1@.instance_id()),
            r.1@.element() == (Clean { cpus: r.1@.element().cpus, space: self.space(), pages: ISet::full(), time: stamp.element() }),
            forall|c: Cpu| c < MAX_CPUS ==> (#[trigger] r.1@.element().cpus.contains(c) <==> !r.0.has(c)),
            forall|c: Cpu| #[trigger] r.0.has(c) ==> has_arrived(c),
        no_unwind
    ;

    /// Has others of them flush without asking them, if that is worth trying and can be done.
    fn fence_others(&self, here: &PreemptGuard, others: CpuSet, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: Option<
        Tracked<Caches::clean>,
    >)
        requires
            ours(stamp.instance_id()),
            forall|c: Cpu| #[trigger] others.has(c) ==> has_arrived(c),
        ensures
            r matches Some(f) ==> ours(f@.instance_id()) && f@.element() == (Clean {
                cpus: ISet::new(|c: Cpu| others.has(c)),
                space: self.space(),
                pages: ISet::full(),
                time: stamp.element(),
            }),
        no_unwind
    ;
}

/// The processors on which a space is active.
impl Audience for &ActiveSet {
    type Config = UserPtConfig;

    open spec fn space(self) -> Sid {
        ActiveSet::space(*self)
    }

    open spec fn root(self) -> nat {
        ActiveSet::root(*self)
    }

    #[inline(always)]
    fn observe(&self, change: Change, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: (CpuSet, Tracked<Caches::clean>)) {
        ActiveSet::observe(self, change, Tracked(stamp))
    }

    // They are few, and what they are asked to forget is less than all.
    #[inline(always)]
    fn fence_others(&self, here: &PreemptGuard, others: CpuSet, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: Option<
        Tracked<Caches::clean>,
    >) {
        None
    }
}

/// Every processor: the table's nodes are linked by the table of every space.
pub struct Everyone<C> {
    root: Ghost<nat>,
    kind: PhantomData<C>,
}

impl<C: PageTableConfig> Everyone<C> {
    /// All who may have translations of the table with this root, which has pages of kernel space alone.
    #[inline(always)]
    pub(crate) fn of(root: Ghost<nat>) -> (r: Self)
        ensures
            r.root() == root@,
        no_unwind
    {
        Everyone { root, kind: PhantomData }
    }
}

impl<C: PageTableConfig> Audience for Everyone<C> {
    type Config = C;

    open spec fn space(self) -> Sid {
        kernel_space()
    }

    closed spec fn root(self) -> nat {
        self.root@
    }

    fn observe(&self, change: Change, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: (CpuSet, Tracked<Caches::clean>)) {
        caches().present(Ghost(kernel_space()), Tracked(stamp))
    }

    fn fence_others(&self, here: &PreemptGuard, others: CpuSet, Tracked(stamp): Tracked<&Caches::stamp>) -> (r: Option<
        Tracked<Caches::clean>,
    >) {
        caches().fence_others(here, others, Ghost(kernel_space()), Tracked(stamp))
    }
}

} // verus!
