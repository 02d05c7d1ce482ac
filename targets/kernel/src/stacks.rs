//! The stacks of the processors: each has one in an area of kernel space, with guard pages.
//!
//! A processor comes up on the boot stack, which is one for all, as they come up one at a time. Once it walks kernel space it
//! leaves that for its own. An access beyond the end of a stack is one to a page where nothing is mapped: the kernel reports
//! it instead of writing over other memory.
#![allow(unsafe_code, reason = "vouches for the memory that a processor goes on on")]
use crate::arch;
use crate::console::println;
use crate::report;
use core::convert::Infallible;
use core::fmt;
use core::hint::black_box;
use core::ops::Range;
use vellum::frame::USegment;
use vellum::frame::allocator::FrameAllocOptions;
use vellum::kspace::{KVirtArea, area_range};
use vellum::space::{Access, MappedRange, PageProperty};
use vellum::sync::Once;
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::cpu::{self, CpuId, MAX_CPUS};

/// Bytes of the stack of a processor: as many as the boot stack has. The checks need no more than 16 KiB.
pub const STACK_BYTES: usize = 32 * PAGE_SIZE;

/// The areas of the stacks. Each begins at a multiple of its size; the stack is its upper half, so that a bit of the stack
/// pointer tells them apart, and nothing is ever mapped in its lower half: as many guard pages as the stack has pages.
static AREAS: [Once<KVirtArea>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];

/// Makes the stack of a processor, which keeps it for good.
pub fn make(cpu: CpuId) {
    let prop = PageProperty::kernel(Access::RW);
    let segment: USegment = match FrameAllocOptions::new().alloc_segment(STACK_BYTES / PAGE_SIZE) {
        Ok(segment) => segment.into(),
        Err(error) => fail(cpu, &error),
    };
    let mut area = match KVirtArea::new_aligned(2 * STACK_BYTES, 2 * STACK_BYTES) {
        Ok(area) => area,
        Err(error) => fail(cpu, &error),
    };
    if let Err(refused) = area.map_range(STACK_BYTES, MappedRange { segment, prop }) {
        fail(cpu, &refused.error);
    }
    assert!(AREAS[cpu.index()].set(area).is_ok(), "processor {cpu} has a stack");
}

fn fail(cpu: CpuId, error: &dyn fmt::Display) -> ! {
    panic!("no memory for the stack of processor {cpu}: {error}")
}

/// Has the calling processor leave the boot stack for its own, and go on with `f`.
pub fn go_on<F: FnOnce() -> Infallible + 'static>(f: F) -> ! {
    extern "C" fn run<F: FnOnce() -> Infallible>(f: usize) -> ! {
        // SAFETY: `go_on` has put it there, and calls this once.
        match unsafe { core::ptr::with_exposed_provenance::<F>(f).read() }() {}
    }
    const { assert!(align_of::<F>() <= 16) };
    let stack = of(cpu::current()).expect("a processor starts after its stack was made");
    assert!(!stack.contains(&Vaddr((&raw const f).addr())), "the processor is on its stack already");
    let f_at = (stack.end.0 - arch::OVERFLOW_ROOM - size_of::<F>()) & !15;
    // SAFETY: the stack is mapped for good, in kernel space, which the processor walks. It is this processor's alone, which is
    // not on it, and never leaves it. `f` lies above what is used of it, and has no reference to the boot stack.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<F>(f_at).write(f);
        arch::on_stack(f_at, run::<F>, f_at)
    }
}

/// The stack of a processor, if it was made.
pub fn of(cpu: CpuId) -> Option<Range<Vaddr>> {
    let area = AREAS[cpu.index()].get()?.range();
    Some(Vaddr(area.start.0 + STACK_BYTES)..area.end)
}

/// An access beyond the end of the stack of the processor that makes it.
pub struct Overflow(pub Vaddr);

impl Overflow {
    /// If an address is in the guard pages of the calling processor's stack.
    pub fn at(addr: Vaddr) -> Option<Overflow> {
        let stack = of(cpu::current())?;
        (stack.start.0 - STACK_BYTES..stack.start.0).contains(&addr.0).then_some(Overflow(addr))
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match of(cpu::current()) {
            Some(Range { start, end }) => {
                write!(f, "{} is below the stack at {start}-{end}, in its guard pages", self.0)
            }
            None => write!(f, "{} is below the boot stack", self.0),
        }
    }
}

/// Says where stacks are, and how one is mapped.
pub fn describe() {
    let Range { start, end } = area_range();
    println!(
        "boot: areas of kernel space at {start}-{end}, stacks of {} KiB with guard pages",
        STACK_BYTES >> 10
    );
    if let Some(stack) = of(cpu::current()) {
        report::walk(stack.start);
    }
}

/// Calls itself until the stack reaches down to an address; returns how often.
#[inline(never)]
pub fn descend_to(addr: Vaddr) -> usize {
    let frame = black_box([0u8; 256]);
    match (&raw const frame).addr() <= addr.0 {
        true => usize::from(frame[0]),
        // The frame is still needed afterwards, so that it stays.
        false => 1 + descend_to(addr) + usize::from(black_box(&frame)[0]),
    }
}
