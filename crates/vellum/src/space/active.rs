//! Which space is active on which processor.
#![expect(unsafe_code, reason = "has processors obey page tables, and keeps those tables meanwhile")]
#![cfg_attr(not(verus_keep_ghost), allow(unused_variables, reason = "what only the proofs use"))]
#![allow(non_shorthand_field_patterns, reason = "the expansion of patterns in `verus!`")]
use super::error::VmSpaceError;
use super::fault;
use super::vm_space::VmSpace;
use crate::frame;
use crate::kspace;
use crate::page_table::{AreaPtConfig, KernelPtConfig, PageTableConfig, PageTableEntry, UserPtConfig};
use crate::sync::SpinLock;
use crate::tlb::active::RootRight;
use alloc::sync::Arc;
use vellum_machine::addr::Paddr;
use vellum_machine::cpu::{self, CpuId, MAX_CPUS};
use vellum_machine::halt::halt;
use vellum_machine::{fault as machine_fault, ptword};
use vstd::prelude::*;

/// What a processor holds; only that processor locks it.
#[cfg_attr(verus_keep_ghost, verifier::external)]
#[repr(align(64))]
struct Active(SpinLock<Option<Seated>>);

#[cfg_attr(verus_keep_ghost, verifier::external)]
static ACTIVE: [Active; MAX_CPUS] = [const { Active(SpinLock::new(None)) }; MAX_CPUS];

verus! {

/// The right to set a processor's root, and the space that it belongs to at the moment.
struct Seated {
    right: RootRight,
    space: Option<Arc<VmSpace>>,
}

impl Seated {
    #[verifier::type_invariant]
    spec fn wf(self) -> bool {
        &&& self.right.space() is Some <==> self.space is Some
        &&& self.space matches Some(space) ==> self.right.space() == Some(space.active.space())
    }
}

/// Takes what the processor holds out of its place.
#[verifier::external_body]
fn take_seated(me: CpuId) -> Option<Seated>
    opens_invariants none
    no_unwind
{
    ACTIVE[me.index()].0.lock().take()
}

/// Puts what the processor holds into its place, which is empty.
#[verifier::external_body]
fn put_seated(me: CpuId, seated: Seated)
    opens_invariants none
    no_unwind
{
    *ACTIVE[me.index()].0.lock() = Some(seated);
}

/// Another handle of a space.
#[verifier::external_body]
fn share(space: &Arc<VmSpace>) -> (r: Arc<VmSpace>)
    ensures
        r == *space,
    opens_invariants none
    no_unwind
{
    space.clone()
}

/// Whether two handles are of one space.
#[verifier::external_body]
fn is_same(a: &Arc<VmSpace>, b: &Arc<VmSpace>) -> bool
    opens_invariants none
    no_unwind
{
    Arc::ptr_eq(a, b)
}

/// The root of kernel space, once it is set up.
#[verifier::external_body]
fn idle_root() -> Option<Paddr>
    opens_invariants none
    no_unwind
{
    kspace::table().map(|table| table.root_paddr())
}

/// What the processor holds, which has held nothing before if its place is empty.
fn seat_of(me: CpuId) -> (r: Seated)
    ensures
        r.right.cpu() == me.number(),
    no_unwind
{
    let seated = match take_seated(me) {
        Some(seated) => seated,
        None => match RootRight::take(me) {
            Some(right) => Seated { right, space: None },
            None => halt("a space was activated while one was being activated"),
        },
    };
    if !seated.right.is_of(me) {
        halt("a processor has the right of another");
    }
    seated
}

/// Makes `space` the one that is active on the calling processor, and returns the one that was.
fn activate(space: &Arc<VmSpace>) -> Option<Arc<VmSpace>> {
    let here = cpu::disable_preempt();
    let me = cpu::here(&here);
    let seated = seat_of(me);
    proof {
        use_type_invariant(&seated);
    }
    let Seated { right, space: before } = seated;
    let from = match &before {
        Some(before) => {
            if is_same(before, space) {
                put_seated(me, Seated { right, space: Some(share(before)) });
                return None;
            }
            Some(&before.active)
        },
        None => None,
    };
    // SAFETY: the format is the native one, see below. The table stays for as long as the handle that is put into the
    // place of this processor, which is taken out only after another root was set. Its nodes stay until this processor
    // has flushed: it is in the space's set. What it maps for user code are frames with untyped contents, counted.
    let right = unsafe { right.enter(&here, &space.active, from) };
    put_seated(me, Seated { right, space: Some(share(space)) });
    before
}

/// Leaves the calling processor without an active space, and returns the one that was.
fn deactivate() -> Option<Arc<VmSpace>> {
    let idle = idle_root()?;
    let here = cpu::disable_preempt();
    let me = cpu::here(&here);
    let seated = seat_of(me);
    proof {
        use_type_invariant(&seated);
    }
    let Seated { right, space: before } = seated;
    let right = match &before {
        // SAFETY: the format is the native one, see below. The table of kernel space stays for ever, and maps nothing
        // for user code.
        Some(before) => unsafe { right.leave(&here, idle, &before.active) },
        None => right,
    };
    put_seated(me, Seated { right, space: None });
    before
}

} // verus!

#[cfg_attr(verus_keep_ghost, verifier::external)]
/// The words of these tables are of the format that processors read.
const _: () = {
    const fn is_native<C: PageTableConfig<Entry: PageTableEntry<C::Consts, Format = ptword::Native>>>() {}
    is_native::<UserPtConfig>();
    is_native::<KernelPtConfig>();
    is_native::<AreaPtConfig>();
};

/// Has page faults delivered to the spaces they happen in. Once, on a processor, when frames can be
/// allocated.
///
/// It sets up kernel space, whose table processors without a space have, and which keeps its frames for ever.
///
/// # Errors
/// - [`VmSpaceError::NoMemory`]: a frame could not be had.
/// - [`VmSpaceError::AlreadyInitialised`]: this was called before, or somebody else handles page faults.
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub fn init() -> Result<(), VmSpaceError> {
    kspace::init(frame::max_paddr())?;
    machine_fault::set_hook(fault::deliver).map_err(|_| VmSpaceError::AlreadyInitialised)
}

#[cfg_attr(verus_keep_ghost, verifier::external)]
impl VmSpace {
    /// Makes this the space that is active on the calling processor, until another one is made so.
    ///
    /// The processor holds a handle of it until then.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn activate(self: &Arc<Self>) {
        // The last handle of the space before, maybe: no lock is held any more.
        drop(activate(self));
    }

    /// Leaves the calling processor without an active space.
    ///
    /// A processor that stops working calls this: it holds a handle of the space that is active on it. One that idles
    /// does as well: it walks the table of kernel space then, and is asked to flush nothing. Before [`init`] no space
    /// can be left, and this does nothing.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn deactivate_current() {
        drop(deactivate());
    }

    /// Returns the space that is active on the calling processor.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn current() -> Option<Arc<VmSpace>> {
        let _here = cpu::disable_preempt();
        ACTIVE[cpu::current().index()].0.lock().as_ref().and_then(|seated| seated.space.clone())
    }
}
