//! The life of a slot, as a state machine over its count.
//!
//! ```text
//!              acquire_unused            publish_shared
//!   UNUSED  ------------------>  BUSY  ------------------>  shared 1  <----> shared n
//!           <------------------   0    <------------------
//!              release_unused    ^  |       drop_last            clone_shared, upgrade, drop_shared
//!                                |  |
//!                unique_to_busy  |  | publish_unique
//!                                |  v      unique_to_shared
//!                               UNIQUE  ------------------>  shared 1
//!                                       <------------------
//!                                          shared_to_unique
//! ```
//!
//! The machine keeps the permission of the slot while the slot is unused or shared. Whoever makes it busy or
//! unique carries the permission off. A shared token is the right to look at what is kept, and there are as
//! many of them as the count says.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "the machine is for the proofs alone"))]
#![allow(non_snake_case, reason = "a machine is a module to the compiler, and a type to us")]
use super::slot::SlotPerm;
use vellum_machine::addr::Paddr;
use verus_state_machines_macros::tokenized_state_machine;
use vstd::cell::CellId;
#[cfg(verus_keep_ghost)]
use vstd::multiset::*;
use vstd::prelude::*;
use vstd::resource::Loc;

verus! {

/// The count of a slot that has no handle.
pub const REF_COUNT_UNUSED: u64 = u64::MAX;

/// The count of a slot that has a unique handle.
pub const REF_COUNT_UNIQUE: u64 = u64::MAX - 1;

/// The count of a slot that is being built or torn down.
pub const REF_COUNT_BUSY: u64 = 0;

/// The greatest count of shared handles.
pub const REF_COUNT_MAX: u64 = i64::MAX as u64;

/// The count is one of shared handles.
pub open spec fn is_shared(count: u64) -> bool {
    1 <= count <= REF_COUNT_MAX
}

/// What never changes about a slot: the frame, and the cells that its permission is for.
pub ghost struct SlotName {
    pub pa: Paddr,
    pub storage: int,
    pub vtable: CellId,
    pub mark: Loc,
}

tokenized_state_machine!(SlotMachine {
    fields {
        #[sharding(constant)]
        pub name: SlotName,

        /// The value of `ref_count`.
        #[sharding(variable)]
        pub rc: u64,

        #[sharding(storage_option)]
        pub kept: Option<SlotPerm>,

        #[sharding(multiset)]
        pub shared: Multiset<SlotPerm>,

        #[sharding(option)]
        pub busy: Option<()>,

        #[sharding(option)]
        pub unique: Option<()>,
    }

    init!{
        initialize(p: SlotPerm) {
            require(p.vacant());
            init name = p.name();
            init rc = REF_COUNT_UNUSED;
            init kept = Option::Some(p);
            init shared = Multiset::empty();
            init busy = Option::None;
            init unique = Option::None;
        }
    }

    #[invariant]
    pub fn states(&self) -> bool {
        ||| self.rc == REF_COUNT_BUSY
        ||| self.rc == REF_COUNT_UNIQUE
        ||| self.rc == REF_COUNT_UNUSED
        ||| is_shared(self.rc)
    }

    #[invariant]
    pub fn one_owner(&self) -> bool {
        &&& self.busy is Some <==> self.rc == REF_COUNT_BUSY
        &&& self.unique is Some <==> self.rc == REF_COUNT_UNIQUE
        &&& self.kept is None <==> (self.rc == REF_COUNT_BUSY || self.rc == REF_COUNT_UNIQUE)
    }

    #[invariant]
    pub fn kept_is_ours(&self) -> bool {
        self.kept is Some ==> self.kept->0.name() == self.name
    }

    #[invariant]
    pub fn unused_is_vacant(&self) -> bool {
        self.rc == REF_COUNT_UNUSED ==> self.kept is Some && self.kept->0.vacant()
    }

    #[invariant]
    pub fn count_is_tokens(&self) -> bool {
        is_shared(self.rc) ==> {
            &&& self.kept is Some
            &&& self.kept->0.occupied()
            &&& self.shared.count(self.kept->0) == self.rc
        }
    }

    #[invariant]
    pub fn as_many_as_counted(&self) -> bool {
        self.shared.len() == if is_shared(self.rc) { self.rc as nat } else { 0 }
    }

    #[invariant]
    pub fn tokens_agree(&self) -> bool {
        forall |p: SlotPerm| #[trigger] self.shared.count(p) > 0 ==> is_shared(self.rc) && self.kept == Some(p)
    }

    transition!{
        acquire_unused() {
            require(pre.rc == REF_COUNT_UNUSED);
            update rc = REF_COUNT_BUSY;
            birds_eye let p = pre.kept->0;
            withdraw kept -= Some(p);
            add busy += Some(());
            assert(p.vacant());
            assert(p.name() == pre.name);
        }
    }

    transition!{
        release_unused(p: SlotPerm) {
            require(p.vacant());
            require(p.name() == pre.name);
            remove busy -= Some(());
            assert(pre.rc == REF_COUNT_BUSY);
            update rc = REF_COUNT_UNUSED;
            deposit kept += Some(p);
        }
    }

    transition!{
        publish_shared(p: SlotPerm) {
            require(p.occupied());
            require(p.name() == pre.name);
            remove busy -= Some(());
            assert(pre.rc == REF_COUNT_BUSY);
            update rc = 1;
            deposit kept += Some(p);
            add shared += {p};
        }
    }

    transition!{
        publish_unique() {
            remove busy -= Some(());
            assert(pre.rc == REF_COUNT_BUSY);
            update rc = REF_COUNT_UNIQUE;
            add unique += Some(());
        }
    }

    transition!{
        unique_to_busy() {
            remove unique -= Some(());
            assert(pre.rc == REF_COUNT_UNIQUE);
            update rc = REF_COUNT_BUSY;
            add busy += Some(());
        }
    }

    transition!{
        unique_to_shared(p: SlotPerm) {
            require(p.occupied());
            require(p.name() == pre.name);
            remove unique -= Some(());
            assert(pre.rc == REF_COUNT_UNIQUE);
            update rc = 1;
            deposit kept += Some(p);
            add shared += {p};
        }
    }

    transition!{
        shared_to_unique(p: SlotPerm) {
            require(pre.rc == 1);
            remove shared -= {p};
            update rc = REF_COUNT_UNIQUE;
            withdraw kept -= Some(p);
            add unique += Some(());
        }
    }

    /// By the holder of a token.
    transition!{
        clone_shared(p: SlotPerm) {
            require(pre.rc < REF_COUNT_MAX);
            have shared >= {p};
            assert(is_shared(pre.rc));
            update rc = (pre.rc + 1) as u64;
            add shared += {p};
        }
    }

    /// By anybody who finds the count positive.
    transition!{
        upgrade() {
            require(1 <= pre.rc < REF_COUNT_MAX);
            update rc = (pre.rc + 1) as u64;
            birds_eye let p = pre.kept->0;
            add shared += {p};
            assert(p.occupied());
            assert(p.name() == pre.name);
        }
    }

    transition!{
        drop_shared(p: SlotPerm) {
            require(pre.rc != 1);
            remove shared -= {p};
            assert(is_shared(pre.rc));
            update rc = (pre.rc - 1) as u64;
        }
    }

    transition!{
        drop_last(p: SlotPerm) {
            require(pre.rc == 1);
            remove shared -= {p};
            update rc = REF_COUNT_BUSY;
            withdraw kept -= Some(p);
            add busy += Some(());
        }
    }

    property!{
        count_is_a_state() {
            assert({
                ||| pre.rc == REF_COUNT_BUSY
                ||| pre.rc == REF_COUNT_UNIQUE
                ||| pre.rc == REF_COUNT_UNUSED
                ||| is_shared(pre.rc)
            });
        }
    }

    property!{
        token_guards(p: SlotPerm) {
            have shared >= {p};
            guard kept >= Some(p);
        }
    }

    property!{
        token_is_occupied(p: SlotPerm) {
            have shared >= {p};
            assert(p.occupied());
            assert(p.name() == pre.name);
        }
    }

    property!{
        token_is_counted(p: SlotPerm) {
            have shared >= {p};
            assert(is_shared(pre.rc));
        }
    }

    property!{
        busy_is_counted() {
            have busy >= Some(());
            assert(pre.rc == REF_COUNT_BUSY);
        }
    }

    property!{
        unique_is_counted() {
            have unique >= Some(());
            assert(pre.rc == REF_COUNT_UNIQUE);
        }
    }

    property!{
        unique_is_not_shared(p: SlotPerm) {
            have unique >= Some(());
            have shared >= {p};
            assert(false);
        }
    }

    property!{
        two_tokens_agree(p: SlotPerm, q: SlotPerm) {
            have shared >= {p};
            have shared >= {q};
            assert(p == q);
        }
    }

    #[inductive(initialize)]
    fn initialize_keeps(post: Self, p: SlotPerm) { }

    #[inductive(acquire_unused)]
    fn acquire_unused_keeps(pre: Self, post: Self) { }

    #[inductive(release_unused)]
    fn release_unused_keeps(pre: Self, post: Self, p: SlotPerm) { }

    #[inductive(publish_shared)]
    fn publish_shared_keeps(pre: Self, post: Self, p: SlotPerm) { }

    #[inductive(publish_unique)]
    fn publish_unique_keeps(pre: Self, post: Self) { }

    #[inductive(unique_to_busy)]
    fn unique_to_busy_keeps(pre: Self, post: Self) { }

    #[inductive(unique_to_shared)]
    fn unique_to_shared_keeps(pre: Self, post: Self, p: SlotPerm) { }

    #[inductive(shared_to_unique)]
    fn shared_to_unique_keeps(pre: Self, post: Self, p: SlotPerm) { }

    #[inductive(clone_shared)]
    fn clone_shared_keeps(pre: Self, post: Self, p: SlotPerm) { assert(pre.shared.count(p) > 0); }

    #[inductive(upgrade)]
    fn upgrade_keeps(pre: Self, post: Self) { }

    #[inductive(drop_shared)]
    fn drop_shared_keeps(pre: Self, post: Self, p: SlotPerm) { assert(pre.shared.count(p) > 0); }

    #[inductive(drop_last)]
    fn drop_last_keeps(pre: Self, post: Self, p: SlotPerm) { }
});

} // verus!
