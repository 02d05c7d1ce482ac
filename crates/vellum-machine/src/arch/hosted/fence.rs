//! Fences of which one side is free: Linux interrupts the process's other threads for the other side.
//!
//! `membarrier(2)`, `MEMBARRIER_CMD_PRIVATE_EXPEDITED`: when it returns, every running thread of the process has
//! passed a full fence since it was called. A process registers before; where the kernel has no such call, light
//! fences are full ones.
use crate::primitive::fence;
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use rustix::thread::{MembarrierCommand, membarrier};

/// Whether a heavy fence reaches the other threads, so that light ones need only bind the compiler.
static REACHES_ALL: AtomicBool = AtomicBool::new(false);

/// Asks the kernel for fences in all threads from now on.
pub(super) fn register() {
    if membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() {
        // Release: pairs with the Acquire in `light`; a heavy fence that failed for want of registration came before.
        REACHES_ALL.store(true, Ordering::Release);
    }
}

#[inline(always)]
pub(crate) fn light() {
    // Acquire: pairs with the Release in `register`.
    if REACHES_ALL.load(Ordering::Acquire) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

pub(crate) fn heavy() {
    // SeqCst: the pair of the full fence in `light`, while no thread was told of the kernel's.
    fence(Ordering::SeqCst);
    // It fails where the process is not registered: all light fences so far were full ones.
    let _ = membarrier(MembarrierCommand::PrivateExpedited);
}
