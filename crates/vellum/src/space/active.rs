//! Which space is active on which processor.
#![expect(unsafe_code, reason = "has processors obey page tables, and keeps those tables meanwhile")]
use super::error::VmSpaceError;
use super::fault;
use super::vm_space::VmSpace;
use crate::frame;
use crate::kspace;
use crate::page_table::{KernelPtConfig, PageTableConfig, PageTableEntry, UserPtConfig};
use crate::sync::SpinLock;
use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};
use vellum_machine::cpu::{self, MAX_CPUS};
use vellum_machine::{fault as machine_fault, ptword, tlb};

/// The handle that a processor holds of the space that is active on it; only that processor locks it.
#[repr(align(64))]
struct Active(SpinLock<Option<Arc<VmSpace>>>);

static ACTIVE: [Active; MAX_CPUS] = [const { Active(SpinLock::new(None)) }; MAX_CPUS];

/// The words of these tables are of the format that processors read.
const _: () = {
    const fn is_native<C: PageTableConfig<Entry: PageTableEntry<C::Consts, Format = ptword::Native>>>() {}
    is_native::<UserPtConfig>();
    is_native::<KernelPtConfig>();
};

/// Has page faults delivered to the spaces they happen in. Once, on a processor, when frames can be
/// allocated.
///
/// It sets up kernel space, whose table processors without a space have, and which keeps its frames for ever.
///
/// # Errors
/// - [`VmSpaceError::NoMemory`]: a frame could not be had.
/// - [`VmSpaceError::AlreadyInitialised`]: this was called before, or somebody else handles page faults.
pub fn init() -> Result<(), VmSpaceError> {
    kspace::init(frame::max_paddr())?;
    machine_fault::set_hook(fault::deliver).map_err(|_| VmSpaceError::AlreadyInitialised)
}

impl VmSpace {
    /// Makes this the space that is active on the calling processor, until another one is made so.
    ///
    /// The processor holds a handle of it until then.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn activate(self: &Arc<Self>) {
        let here = cpu::disable_preempt();
        let me = cpu::current();
        let mut active = ACTIVE[me.index()].0.lock();
        if active.as_ref().is_some_and(|space| Arc::ptr_eq(space, self)) {
            return;
        }
        self.active.add(me);
        // Pairs with the fence before a flusher loads the set: see `crate::tlb`.
        fence(Ordering::SeqCst);
        // SAFETY: the format is the native one, see above. The table stays for as long as the handle that is put
        // into `active` below, which is taken out only after another root was set. Its nodes stay until this
        // processor has flushed, since it is in the space's set. What it maps for user code are frames with untyped
        // contents, counted.
        unsafe { tlb::set_root(self.table.root_paddr()) };
        let before = active.replace(self.clone());
        if let Some(before) = &before {
            before.active.remove(me);
        }
        drop(active);
        drop(here);
        // The last handle, maybe: no lock is held any more.
        drop(before);
    }

    /// Leaves the calling processor without an active space.
    ///
    /// A processor that stops working calls this: it holds a handle of the space that is active on it. Before
    /// [`init`] no space can be left, and this does nothing.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn deactivate_current() {
        let Some(idle) = kspace::table() else { return };
        let here = cpu::disable_preempt();
        let me = cpu::current();
        let mut active = ACTIVE[me.index()].0.lock();
        let before = active.take();
        if let Some(before) = &before {
            // SAFETY: the format is the native one, see above. The table of kernel space stays for ever, and maps
            // nothing for user code.
            unsafe { tlb::set_root(idle.root_paddr()) };
            before.active.remove(me);
        }
        drop(active);
        drop(here);
        drop(before);
    }

    /// Returns the space that is active on the calling processor.
    ///
    /// # Panics
    /// On a thread that is no processor.
    pub fn current() -> Option<Arc<VmSpace>> {
        let _here = cpu::disable_preempt();
        ACTIVE[cpu::current().index()].0.lock().clone()
    }
}
