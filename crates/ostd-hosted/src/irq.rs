//! Interrupts, of which there are none.
use crate::cpu::{LOCAL, PinCurrentCpu};
use core::marker::PhantomData;

/// Keeps interrupts off. It stays on its thread.
#[must_use]
pub struct DisabledLocalIrqGuard(PhantomData<*const ()>);

/// Disables interrupts on this processor.
#[inline]
pub fn disable_local() -> DisabledLocalIrqGuard {
    LOCAL.with(|local| local.irq_guards.set(local.irq_guards.get() + 1));
    DisabledLocalIrqGuard(PhantomData)
}

impl Drop for DisabledLocalIrqGuard {
    #[inline]
    fn drop(&mut self) {
        LOCAL.with(|local| local.irq_guards.set(local.irq_guards.get() - 1));
    }
}

impl PinCurrentCpu for DisabledLocalIrqGuard {}
