//! TRUSTED: page faults and the one handler that the machine delivers them to.
#![expect(unsafe_code, reason = "the handler is kept as a plain pointer")]
use crate::addr::Vaddr;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// What an access wanted to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Fetch an instruction.
    Execute,
}

/// An access that the page tables do not allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub struct PageFault {
    /// The first address that could not be accessed.
    pub addr: Vaddr,
    /// What the access wanted to do.
    pub access: Access,
    /// Whether there is an entry, which forbids the access; otherwise there is none.
    pub present: bool,
    /// Whether user code made the access; otherwise the kernel did.
    pub user: bool,
}

impl fmt::Display for PageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.user { "user code" } else { "the kernel" };
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Execute => "execute",
        };
        let cause = if self.present { "which its entry forbids" } else { "where nothing is mapped" };
        write!(f, "{who} tried to {access} at {}, {cause}", self.addr)
    }
}

impl core::error::Error for PageFault {}

/// What the handler made of a page fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultOutcome {
    /// The access is worth another try.
    Resolved,
    /// The access fails.
    Unresolved,
}

/// The handler of page faults: runs on the processor that faulted, outside any access.
pub type FaultHook = fn(&PageFault) -> FaultOutcome;

/// Why a handler was not installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookError {
    /// The machine has its handler already.
    AlreadySet,
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookError::AlreadySet => f.write_str("the machine has a page-fault handler already"),
        }
    }
}

impl core::error::Error for HookError {}

/// Null, or a [`FaultHook`].
static HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Installs the handler of page faults, once for the life of the machine.
///
/// Until then every page fault is unresolved.
///
/// # Errors
/// - [`HookError::AlreadySet`]: there is one; it stays.
pub fn set_hook(hook: FaultHook) -> Result<(), HookError> {
    // Release: pairs with the Acquire in `deliver`.
    HOOK.compare_exchange(ptr::null_mut(), hook as *mut (), Ordering::Release, Ordering::Relaxed)
        .map(|_| ())
        .map_err(|_| HookError::AlreadySet)
}

/// Hands a page fault to the handler.
pub(crate) fn deliver(fault: &PageFault) -> FaultOutcome {
    // Acquire: pairs with the Release in `set_hook`.
    let hook = HOOK.load(Ordering::Acquire);
    if hook.is_null() {
        return FaultOutcome::Unresolved;
    }
    // SAFETY: `set_hook` alone writes `HOOK`, and what it writes is a `FaultHook`.
    let hook = unsafe { core::mem::transmute::<*mut (), FaultHook>(hook) };
    hook(fault)
}
