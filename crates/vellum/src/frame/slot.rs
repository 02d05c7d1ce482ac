//! A metadata slot, and the steps of its protocol.
//!
//! Each step is one atomic access. It opens the slot's invariant, which says that the machine's count is the
//! word's, makes the access, and moves the machine along.
#![cfg_attr(
    not(verus_keep_ghost),
    allow(dead_code, unused_variables, reason = "tokens and permissions are for the proofs alone")
)]
mod access;

use super::erased::*;
use super::error::GetFrameError;
use super::mark::*;
use super::protocol::*;
use super::vtable::*;
use vellum_machine::addr::Paddr;
use vellum_machine::atomic::RefCount;
use vellum_machine::halt::halt;
use vellum_machine::page::PagePerm;
#[cfg(verus_keep_ghost)]
use vellum_machine::page::zeros;
use vstd::atomic::PermissionU64;
#[cfg(verus_keep_ghost)]
use vstd::cell::CellId;
use vstd::cell::pcell_maybe_uninit as cell;
use vstd::invariant::*;
use vstd::prelude::*;
#[cfg(verus_keep_ghost)]
use vstd::resource::Loc;
use vstd::tokens::InstanceId;

verus! {

/// The permission to the pointer to the operations of the metadata's type.
pub type VtablePerm = cell::PointsTo<VtRef>;

/// The permission that goes with a slot: to the metadata, to the pointer to its operations, to the
/// contents of the frame, and to the mark that says which list the frame is in.
pub tracked struct SlotPerm {
    pub storage: StoragePerm,
    pub vtable: VtablePerm,
    pub page: PagePerm,
    pub mark: MarkPerm,
}

impl SlotPerm {
    /// Which slot it is for.
    pub open spec fn name(&self) -> SlotName {
        SlotName {
            pa: self.page.pa(),
            storage: self.storage.id(),
            vtable: self.vtable.id(),
            mark: self.mark.id(),
        }
    }

    /// There is no metadata.
    pub open spec fn vacant(&self) -> bool {
        &&& self.storage.content() is Empty
        &&& !self.page.exclusive()
    }

    /// There is metadata, and the operations are those of its type.
    pub open spec fn filled(&self) -> bool {
        &&& self.storage.content() is Typed
        &&& self.vtable.is_init()
        &&& self.vtable.value().d.ty() == self.storage.content()->ty
    }

    /// There is metadata, and others may write to the frame.
    pub open spec fn occupied(&self) -> bool {
        &&& self.filled()
        &&& !self.page.exclusive()
    }

    /// The frame is zeros, and nobody else writes to it.
    pub open spec fn zeroed(&self) -> bool {
        &&& self.page.exclusive()
        &&& self.page.words() == zeros()
    }

    /// What the slot contains.
    pub open spec fn content(&self) -> Content {
        self.storage.content()
    }
}

/// One count of a shared frame.
pub type SharedTok = SlotMachine::shared;

/// The slot is being built or torn down by whoever has this.
pub type BusyTok = SlotMachine::busy;

/// The frame is unique, and belongs to whoever has this.
pub type UniqueTok = SlotMachine::unique;

/// What belongs to whoever builds a slot or tears it down.
pub tracked struct BusyOwn {
    pub tok: BusyTok,
    pub perm: SlotPerm,
}

/// What belongs to a unique handle.
pub tracked struct UniqueOwn {
    pub tok: UniqueTok,
    pub perm: SlotPerm,
}

impl UniqueOwn {
    /// Takes the permission to the contents out.
    pub proof fn split(tracked self) -> (tracked r: (BareOwn, PagePerm))
        ensures
            r.0.joined(r.1) == self,
    {
        let tracked UniqueOwn { tok, perm } = self;
        let tracked SlotPerm { storage, vtable, page, mark } = perm;
        (BareOwn { tok, storage, vtable, mark }, page)
    }
}

/// What belongs to a unique handle, but for the permission to the contents.
pub tracked struct BareOwn {
    pub tok: UniqueTok,
    pub storage: StoragePerm,
    pub vtable: VtablePerm,
    pub mark: MarkPerm,
}

impl BareOwn {
    /// What it is with that permission.
    pub open spec fn joined(self, page: PagePerm) -> UniqueOwn {
        let BareOwn { tok, storage, vtable, mark } = self;
        UniqueOwn { tok, perm: SlotPerm { storage, vtable, page, mark } }
    }

    /// Puts that permission back.
    pub proof fn join(tracked self, tracked page: PagePerm) -> (tracked r: UniqueOwn)
        ensures
            r == self.joined(page),
    {
        let tracked BareOwn { tok, storage, vtable, mark } = self;
        UniqueOwn { tok, perm: SlotPerm { storage, vtable, page, mark } }
    }
}

/// A count of the frame whose slot this is.
pub open spec fn shared_of(tok: SharedTok, slot: MetaSlot) -> bool {
    tok.instance_id() == slot.id()
}

impl BusyOwn {
    /// It is of this slot.
    pub open spec fn of(self, slot: MetaSlot) -> bool {
        self.tok.instance_id() == slot.id() && self.perm.name() == slot.name()
    }
}

impl UniqueOwn {
    /// It is of this slot, and there is metadata.
    pub open spec fn of(self, slot: MetaSlot) -> bool {
        self.tok.instance_id() == slot.id() && self.perm.name() == slot.name() && self.perm.filled()
    }
}

/// What a slot's invariant is about.
pub ghost struct SlotKey {
    pub word: int,
    pub inst: InstanceId,
}

/// What a slot's invariant holds.
pub tracked struct SlotGhost {
    pub word: PermissionU64,
    pub rc: SlotMachine::rc,
}

/// The word of a slot is the count of its machine.
pub struct SlotInv;

impl InvariantPredicate<SlotKey, SlotGhost> for SlotInv {
    open spec fn inv(k: SlotKey, g: SlotGhost) -> bool {
        &&& g.word@.patomic == k.word
        &&& g.rc.instance_id() == k.inst
        &&& g.rc.value() == g.word@.value
    }
}

/// The metadata of one frame.
///
/// It takes 64 bytes: 40 for the metadata, then the count, the pointer to the operations of the metadata's
/// type, and the identity of the list that the frame is in.
#[repr(C, align(64))]
pub struct MetaSlot {
    storage: MetaStorage,
    ref_count: RefCount,
    vtable: cell::PCell<VtRef>,
    in_list: ListMark,
    tracked_inst: Tracked<SlotMachine::Instance>,
    tracked_inv: Tracked<AtomicInvariant<SlotKey, SlotGhost, SlotInv>>,
}

impl MetaSlot {
    /// The cells and the invariant are those of the machine.
    #[verifier::type_invariant]
    pub closed spec fn wf(self) -> bool {
        &&& self.tracked_inv@.constant() == (SlotKey { word: self.ref_count.id(), inst: self.tracked_inst@.id() })
        &&& self.tracked_inst@.name().storage == self.storage.id()
        &&& self.tracked_inst@.name().vtable == self.vtable.id()
        &&& self.tracked_inst@.name().mark == self.in_list.id()
        &&& self.tracked_inst@.name().pa == self.in_list.pa()
    }

    /// Which slot it is.
    pub closed spec fn id(self) -> InstanceId {
        self.tracked_inst@.id()
    }

    /// What never changes about it.
    pub closed spec fn name(self) -> SlotName {
        self.tracked_inst@.name()
    }

    /// The frame that it is the slot of.
    pub open spec fn pa(self) -> Paddr {
        self.name().pa
    }

    /// The identity of its storage.
    pub open spec fn storage_id(self) -> int {
        self.name().storage
    }

    /// The identity of its pointer to operations.
    pub open spec fn vtable_id(self) -> CellId {
        self.name().vtable
    }

    /// The identity of its mark.
    pub open spec fn mark_id(self) -> Loc {
        self.name().mark
    }

    /// Makes the slot of an unused frame from the permission to its contents.
    pub(crate) const fn new(Tracked(page): Tracked<PagePerm>) -> (r: MetaSlot)
        requires
            !page.exclusive(),
        ensures
            r.pa() == page.pa(),
    {
        let (storage, Tracked(storage_perm)) = MetaStorage::new();
        let (vtable, Tracked(vtable_perm)) = cell::PCell::empty();
        let (ref_count, Tracked(word)) = RefCount::new(REF_COUNT_UNUSED);
        let (in_list, Tracked(mark)) = ListMark::new(Ghost(page.pa()));
        let tracked perm = SlotPerm { storage: storage_perm, vtable: vtable_perm, page, mark };
        let tracked (Tracked(inst), Tracked(rc), _, _, _) = SlotMachine::Instance::initialize(perm, Some(perm));
        let tracked inv = AtomicInvariant::new(
            SlotKey { word: ref_count.id(), inst: inst.id() },
            SlotGhost { word, rc },
            0,
        );
        MetaSlot {
            storage,
            ref_count,
            vtable,
            in_list,
            tracked_inst: Tracked(inst),
            tracked_inv: Tracked(inv),
        }
    }

    /// `UNUSED -> BUSY`; otherwise says what the count is.
    // Acquire: pairs with the Release in `release_unused`.
    #[inline(always)]
    pub(crate) fn acquire_unused(&self) -> (r: Result<Tracked<BusyOwn>, u64>)
        ensures
            r matches Ok(t) ==> t@.of(*self) && t@.perm.vacant(),
            r matches Err(v) ==> v == REF_COUNT_BUSY || v == REF_COUNT_UNIQUE || is_shared(v),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked mut out: Option<BusyOwn> = None;
        let r;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            r = self.ref_count.cas_acquire(Tracked(&mut word), REF_COUNT_UNUSED, REF_COUNT_BUSY);
            proof {
                if r is Ok {
                    let tracked (_, Tracked(perm), Tracked(tok)) = self.tracked_inst.borrow().acquire_unused(&mut rc);
                    out = Some(BusyOwn { tok, perm });
                } else {
                    self.tracked_inst.borrow().count_is_a_state(&rc);
                }
                g = SlotGhost { word, rc };
            }
        });
        match r {
            Ok(_) => Ok(Tracked(out.tracked_unwrap())),
            Err(v) => Err(v),
        }
    }

    /// `BUSY -> UNUSED`.
    // Release: pairs with the Acquire in `acquire_unused`.
    #[inline(always)]
    pub(crate) fn release_unused(&self, Tracked(own): Tracked<BusyOwn>)
        requires
            own.of(*self),
            own.perm.vacant(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked BusyOwn { tok, perm } = own;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            self.ref_count.store_release(Tracked(&mut word), REF_COUNT_UNUSED);
            proof {
                self.tracked_inst.borrow().release_unused(perm, &mut rc, perm, tok);
                g = SlotGhost { word, rc };
            }
        });
    }

    /// `BUSY -> shared 1`.
    // Release: pairs with the Acquire in `upgrade`.
    #[inline(always)]
    pub(crate) fn publish_shared(&self, Tracked(own): Tracked<BusyOwn>) -> (r: Tracked<SharedTok>)
        requires
            own.of(*self),
            own.perm.occupied(),
        ensures
            shared_of(r@, *self),
            r@.element() == own.perm,
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked BusyOwn { tok, perm } = own;
        let tracked shared;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            self.ref_count.store_release(Tracked(&mut word), 1);
            proof {
                shared = self.tracked_inst.borrow().publish_shared(perm, &mut rc, perm, tok);
                g = SlotGhost { word, rc };
            }
        });
        Tracked(shared)
    }

    /// `BUSY -> UNIQUE`.
    // Relaxed: the permission stays with the caller, nobody may take it from here.
    #[inline(always)]
    pub(crate) fn publish_unique(&self, Tracked(own): Tracked<BusyOwn>) -> (r: Tracked<UniqueOwn>)
        requires
            own.of(*self),
            own.perm.occupied(),
        ensures
            r@.of(*self),
            r@.perm == own.perm,
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked BusyOwn { tok, perm } = own;
        let tracked unique;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            self.ref_count.store_relaxed(Tracked(&mut word), REF_COUNT_UNIQUE);
            proof {
                unique = self.tracked_inst.borrow().publish_unique(&mut rc, tok);
                g = SlotGhost { word, rc };
            }
        });
        Tracked(UniqueOwn { tok: unique, perm })
    }

    /// `UNIQUE -> BUSY`.
    // Relaxed: the permission stays with the caller.
    #[inline(always)]
    pub(crate) fn unique_to_busy(&self, Tracked(own): Tracked<UniqueOwn>) -> (r: Tracked<BusyOwn>)
        requires
            own.of(*self),
        ensures
            r@.of(*self),
            r@.perm.occupied(),
            r@.perm.content() == own.perm.content(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked UniqueOwn { tok, mut perm } = own;
        proof { perm.page.open_up(); }
        let tracked busy;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            self.ref_count.store_relaxed(Tracked(&mut word), REF_COUNT_BUSY);
            proof {
                busy = self.tracked_inst.borrow().unique_to_busy(&mut rc, tok);
                g = SlotGhost { word, rc };
            }
        });
        Tracked(BusyOwn { tok: busy, perm })
    }

    /// `UNIQUE -> shared 1`.
    // Release: pairs with the Acquire in `upgrade`.
    #[inline(always)]
    pub(crate) fn unique_to_shared(&self, Tracked(own): Tracked<UniqueOwn>) -> (r: Tracked<SharedTok>)
        requires
            own.of(*self),
        ensures
            shared_of(r@, *self),
            r@.element().content() == own.perm.content(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked UniqueOwn { tok, mut perm } = own;
        proof { perm.page.open_up(); }
        let tracked shared;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            self.ref_count.store_release(Tracked(&mut word), 1);
            proof {
                shared = self.tracked_inst.borrow().unique_to_shared(perm, &mut rc, perm, tok);
                g = SlotGhost { word, rc };
            }
        });
        Tracked(shared)
    }

    /// `shared 1 -> UNIQUE`; gives the token back where there are other handles.
    // Acquire: pairs with the Release in `dec`, of the handles that are gone.
    #[inline(always)]
    pub(crate) fn shared_to_unique(&self, Tracked(tok): Tracked<SharedTok>) -> (r: Result<
        Tracked<UniqueOwn>,
        Tracked<SharedTok>,
    >)
        requires
            shared_of(tok, *self),
        ensures
            r matches Ok(t) ==> t@.of(*self) && t@.perm == tok.element(),
            r matches Err(t) ==> t@ == tok,
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked mut out: Option<UniqueOwn> = None;
        let tracked mut back: Option<SharedTok> = None;
        let r;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            r = self.ref_count.cas_acquire(Tracked(&mut word), 1, REF_COUNT_UNIQUE);
            proof {
                self.tracked_inst.borrow().token_is_occupied(tok.element(), &tok);
                if r is Ok {
                    let tracked (Tracked(perm), Tracked(unique)) =
                        self.tracked_inst.borrow().shared_to_unique(tok.element(), &mut rc, tok);
                    out = Some(UniqueOwn { tok: unique, perm });
                } else {
                    back = Some(tok);
                }
                g = SlotGhost { word, rc };
            }
        });
        match r {
            Ok(_) => Ok(Tracked(out.tracked_unwrap())),
            Err(_) => Err(Tracked(back.tracked_unwrap())),
        }
    }

    /// A unique frame is not shared.
    pub(crate) proof fn excludes(tracked &self, tracked unique: &UniqueTok, tracked shared: &SharedTok)
        requires
            unique.instance_id() == self.id(),
            shared_of(*shared, *self),
        ensures
            false,
    {
        use_type_invariant(self);
        self.tracked_inst.borrow().unique_is_not_shared(shared.element(), shared, unique);
    }

    /// Reads the count, to look at.
    // Relaxed: nothing is concluded from it.
    #[inline(always)]
    pub(crate) fn ref_count(&self) -> u64
        no_unwind
    {
        proof { use_type_invariant(self); }
        let r;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            r = self.ref_count.load_relaxed(Tracked(&g.word));
        });
        r
    }

    /// `shared n -> shared n + 1`, by the holder of a token. Stops the machine at the greatest count.
    // Relaxed: the token of the caller guards all that the new one does.
    #[inline(always)]
    #[verifier::exec_allows_no_decreases_clause]
    pub(crate) fn inc(&self, Tracked(tok): Tracked<&SharedTok>) -> (r: Tracked<SharedTok>)
        requires
            shared_of(*tok, *self),
        ensures
            shared_of(r@, *self),
            r@.element() == tok.element(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let mut current = self.ref_count();
        loop
            invariant
                self.wf(),
                shared_of(*tok, *self),
        {
            if current >= REF_COUNT_MAX {
                halt("a frame has more handles than can be counted");
            }
            let tracked mut out: Option<SharedTok> = None;
            let r;
            open_atomic_invariant!(self.tracked_inv.borrow() => g => {
                proof { assert(self.tracked_inv@.inv(g)); }
                let tracked SlotGhost { mut word, mut rc } = g;
                r = self.ref_count.cas_weak_relaxed(Tracked(&mut word), current, current + 1);
                proof {
                    if r is Ok {
                        out = Some(self.tracked_inst.borrow().clone_shared(tok.element(), &mut rc, tok));
                    }
                    g = SlotGhost { word, rc };
                }
            });
            match r {
                Ok(_) => return Tracked(out.tracked_unwrap()),
                Err(v) => current = v,
            }
        }
    }

    /// `shared n -> shared n + 1`, by anybody. The errors carry the address `pa`.
    // Acquire: pairs with the Release in `publish_shared` and `unique_to_shared`.
    #[verifier::exec_allows_no_decreases_clause]
    pub(crate) fn upgrade(&self, pa: Paddr) -> (r: Result<Tracked<SharedTok>, GetFrameError>)
        ensures
            r matches Ok(t) ==> shared_of(t@, *self) && t@.element().occupied(),
            r matches Err(e) ==> e == GetFrameError::Unused(pa) || e == GetFrameError::Unique(pa)
                || e == GetFrameError::Busy(pa) || e == GetFrameError::InUse(pa),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let mut current = self.ref_count();
        loop
            invariant
                self.wf(),
        {
            if current == REF_COUNT_UNUSED {
                return Err(GetFrameError::Unused(pa));
            }
            if current == REF_COUNT_UNIQUE {
                return Err(GetFrameError::Unique(pa));
            }
            if current == REF_COUNT_BUSY {
                return Err(GetFrameError::Busy(pa));
            }
            if current >= REF_COUNT_MAX {
                return Err(GetFrameError::InUse(pa));
            }
            let tracked mut out: Option<SharedTok> = None;
            let r;
            open_atomic_invariant!(self.tracked_inv.borrow() => g => {
                proof { assert(self.tracked_inv@.inv(g)); }
                let tracked SlotGhost { mut word, mut rc } = g;
                r = self.ref_count.cas_weak_acquire(Tracked(&mut word), current, current + 1);
                proof {
                    if r is Ok {
                        let tracked (_, Tracked(tok)) = self.tracked_inst.borrow().upgrade(&mut rc);
                        out = Some(tok);
                    }
                    g = SlotGhost { word, rc };
                }
            });
            match r {
                Ok(_) => return Ok(Tracked(out.tracked_unwrap())),
                Err(v) => current = v,
            }
        }
    }

    /// `shared n -> shared n - 1`, or `shared 1 -> BUSY`: the last one gets the slot.
    // Release, and Acquire for the last: pairs with itself in the other handles.
    #[inline(always)]
    pub(crate) fn dec(&self, Tracked(tok): Tracked<SharedTok>) -> (r: Option<Tracked<BusyOwn>>)
        requires
            shared_of(tok, *self),
        ensures
            r matches Some(t) ==> t@.of(*self) && t@.perm == tok.element() && t@.perm.occupied(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let tracked mut out: Option<BusyOwn> = None;
        let r;
        open_atomic_invariant!(self.tracked_inv.borrow() => g => {
            proof { assert(self.tracked_inv@.inv(g)); }
            let tracked SlotGhost { mut word, mut rc } = g;
            proof {
                self.tracked_inst.borrow().token_is_occupied(tok.element(), &tok);
                self.tracked_inst.borrow().token_is_counted(tok.element(), &rc, &tok);
            }
            r = self.ref_count.dec_release_last_acquire(Tracked(&mut word));
            proof {
                if r == 1 {
                    let tracked (Tracked(perm), Tracked(busy)) =
                        self.tracked_inst.borrow().drop_last(tok.element(), &mut rc, tok);
                    out = Some(BusyOwn { tok: busy, perm });
                } else {
                    self.tracked_inst.borrow().drop_shared(tok.element(), &mut rc, tok);
                }
                g = SlotGhost { word, rc };
            }
        });
        if r == 1 {
            Some(Tracked(out.tracked_unwrap()))
        } else {
            None
        }
    }

    /// Writes metadata into a busy slot.
    #[inline(always)]
    pub(crate) fn write_meta<M: AnyFrameMeta>(&self, meta: M, Tracked(own): Tracked<&mut BusyOwn>)
        requires
            old(own).of(*self),
            old(own).perm.vacant(),
        ensures
            final(own).of(*self),
            final(own).perm.occupied(),
            final(own).perm.content() == typed(meta),
        no_unwind
    {
        proof { use_type_invariant(self); }
        self.storage.put(Tracked(&mut own.perm.storage), meta);
        self.vtable.write(Tracked(&mut own.perm.vtable), vtable_of::<M>());
    }

    /// Ends the life of the metadata in a busy slot.
    pub(crate) fn drop_meta(&self, pa: Paddr, Tracked(own): Tracked<&mut BusyOwn>)
        requires
            pa == self.pa(),
            old(own).of(*self),
            old(own).perm.occupied(),
        ensures
            final(own).of(*self),
            final(own).perm.vacant(),
        no_unwind
    {
        proof { use_type_invariant(self); }
        let vt = self.vtable.read(Tracked(&own.perm.vtable));
        vt.d.drop_meta(&self.storage, pa, Tracked(&mut own.perm.storage), Tracked(&own.perm.page));
    }

    /// Marks the frame of the unique owner as one of a list, or of none; gives the entry in the old list back.
    #[inline(always)]
    pub(super) fn set_mark(
        &self,
        own: &mut Tracked<UniqueOwn>,
        number: u64,
        entry: Tracked<Option<Entry>>,
    ) -> (r: Tracked<Option<Entry>>)
        requires
            old(own)@.of(*self),
            number != 0 ==> enters(entry@, number, self.pa()),
        ensures
            final(own)@.of(*self),
            final(own)@.perm.content() == old(own)@.perm.content(),
            final(own)@.perm.mark@ == number,
            old(own)@.perm.mark@ != 0 ==> enters(r@, old(own)@.perm.mark@, self.pa()),
        no_unwind
    {
        proof { use_type_invariant(self); }
        self.in_list.set(Tracked(&mut own.borrow_mut().perm.mark), number, entry)
    }

    /// Tells whether the frame is in the list with this number and roll.
    #[inline(always)]
    pub(super) fn has_mark(
        &self,
        number: u64,
        roll: Tracked<&Roll>,
        perm: Tracked<Option<&MarkPerm>>,
    ) -> (r: bool)
        requires
            number != 0,
            roll@.id() == roll_of(number),
            perm@ is Some ==> perm@->0.id() == self.mark_id(),
        ensures
            r ==> roll@@.contains(self.pa()),
            perm@ is Some && perm@->0@ == number ==> r,
        no_unwind
    {
        proof { use_type_invariant(self); }
        self.in_list.names(number, roll, perm)
    }
}

} // verus!
