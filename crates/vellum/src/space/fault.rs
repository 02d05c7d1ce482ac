//! Page faults of a space.
use super::cursor::MapError;
use super::error::VmSpaceError;
use super::vm_space::VmSpace;
use crate::page_table::AccessType;
use alloc::sync::Arc;
use core::fmt;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::fault::{Access as FaultAccess, FaultOutcome, PageFault};
use vellum_machine::{arch, cpu};

/// What resolves the page faults of a space.
pub(super) type Handler = Arc<dyn Fn(&Arc<VmSpace>, &PageFault) -> Result<(), FaultError> + Send + Sync>;

/// Why a page fault was not resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// The space has no handler.
    NoHandler {
        /// The address that was accessed.
        addr: Vaddr,
    },
    /// The access is not allowed.
    Refused {
        /// The address that was accessed.
        addr: Vaddr,
    },
    /// The processor held a cursor or a lock.
    CursorHeld {
        /// The address that was accessed.
        addr: Vaddr,
    },
    /// There is no memory to resolve it.
    NoMemory,
    /// The space refused an operation of the handler.
    Space(VmSpaceError),
}

impl From<VmSpaceError> for FaultError {
    fn from(error: VmSpaceError) -> FaultError {
        match error {
            VmSpaceError::NoMemory => FaultError::NoMemory,
            error => FaultError::Space(error),
        }
    }
}

impl From<MapError> for FaultError {
    fn from(error: MapError) -> FaultError {
        error.error.into()
    }
}

impl From<FaultAccess> for AccessType {
    fn from(access: FaultAccess) -> AccessType {
        match access {
            FaultAccess::Read => AccessType::Read,
            FaultAccess::Write => AccessType::Write,
            FaultAccess::Execute => AccessType::Execute,
        }
    }
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultError::NoHandler { addr } => write!(f, "nobody handles page faults of the space of {addr}"),
            FaultError::Refused { addr } => write!(f, "the access to {addr} is not allowed"),
            FaultError::CursorHeld { addr } => {
                write!(f, "{addr} was accessed while a cursor or a lock was held")
            }
            FaultError::NoMemory => f.write_str("no memory is left to resolve the page fault"),
            FaultError::Space(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FaultError {}

/// The machine's handler: hands a fault on to the space that is active here.
pub(super) fn deliver(fault: &PageFault) -> FaultOutcome {
    let resolve = |space: Arc<VmSpace>| space.note_access(fault) || space.handle_page_fault(fault).is_ok();
    let resolved = VmSpace::current().is_some_and(resolve);
    if resolved { FaultOutcome::Resolved } else { FaultOutcome::Unresolved }
}

impl VmSpace {
    /// Sets what resolves the page faults of this space, in place of what did before.
    ///
    /// The handler runs on the processor that faulted, with no lock held; the access is made again after
    /// `Ok`. Several processors can run it at once, and calls that have begun go on with the handler they
    /// began with. It is given the space: one that captures a handle of it keeps the space alive for ever.
    pub fn set_fault_handler(
        &self,
        handler: impl Fn(&Arc<VmSpace>, &PageFault) -> Result<(), FaultError> + Send + Sync + 'static,
    ) {
        self.replace_handler(Some(Arc::new(handler)));
    }

    /// Leaves page faults of this space unresolved from now on.
    pub fn clear_fault_handler(&self) {
        self.replace_handler(None);
    }

    fn replace_handler(&self, handler: Option<Handler>) {
        let before = core::mem::replace(&mut *self.handler.0.lock(), handler);
        // Only now, with the lock open again: it may be the last handle of anything.
        drop(before);
    }

    /// Notes the access in the entry that permits it, where processors do not; says whether one does. Otherwise the fault is
    /// the handler's.
    fn note_access(&self, fault: &PageFault) -> bool {
        if arch::notes_accesses() || !fault.present || cpu::preempt_depth() != 0 {
            return false;
        }
        let page = fault.addr.0 / PAGE_SIZE * PAGE_SIZE;
        // Beyond user space there is no cursor, and nothing to note.
        let cursor = self.cursor_mut(Vaddr(page)..Vaddr(page.saturating_add(PAGE_SIZE)));
        cursor.and_then(|mut cursor| cursor.note(fault.access.into())).unwrap_or(false)
    }

    /// Has the handler of this space resolve a page fault.
    ///
    /// # Errors
    /// - [`FaultError::CursorHeld`]: the calling processor holds a cursor or a lock; the handler was not
    ///   called.
    /// - [`FaultError::NoHandler`]: there is none.
    /// - What the handler says.
    pub fn handle_page_fault(self: &Arc<Self>, fault: &PageFault) -> Result<(), FaultError> {
        if cpu::preempt_depth() != 0 {
            return Err(FaultError::CursorHeld { addr: fault.addr });
        }
        let handler = self.handler.0.lock().clone();
        match handler {
            Some(handler) => handler(self, fault),
            None => Err(FaultError::NoHandler { addr: fault.addr }),
        }
    }
}
