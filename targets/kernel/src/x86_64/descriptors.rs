//! Segments, task states and gates of each processor.
use super::traps;
use core::arch::asm;
use core::cell::UnsafeCell;
use vellum_machine::cpu::{CpuId, MAX_CPUS};

pub const KERNEL_CODE: u16 = 0x08;
pub const USER_DATA: u16 = 0x18 | 3;
pub const USER_CODE: u16 = 0x20 | 3;
const TASK: u16 = 0x28;

/// The stack for what must not run on the interrupted one (Intel SDM vol. 3, section 7.14.5): 1 is for double faults, which
/// come where that has no room.
const DOUBLE_FAULT_STACK: u8 = 1;
const STACK_BYTES: usize = 8192;

/// Entries in the table of gates.
pub const GATES: usize = 256;

#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    stacks: [u64; 3],
    reserved_too: u64,
    interrupt_stacks: [u64; 7],
    reserved_as_well: u64,
    reserved_at_last: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Descriptors {
    segments: [u64; 7],
    task: TaskState,
    stack: [u8; STACK_BYTES],
}

#[repr(C, align(16))]
struct Gates([[u64; 2]; GATES]);

struct PerCpu<T>(UnsafeCell<T>);

// SAFETY: each processor uses its own alone; the gates are written by the first processor before there are others.
unsafe impl<T> Sync for PerCpu<T> {}

const SEGMENTS: [u64; 7] =
    [0, 0x00af_9a00_0000_ffff, 0x00cf_9200_0000_ffff, 0x00cf_f200_0000_ffff, 0x00af_fa00_0000_ffff, 0, 0];

static DESCRIPTORS: [PerCpu<Descriptors>; MAX_CPUS] = [const {
    PerCpu(UnsafeCell::new(Descriptors {
        segments: SEGMENTS,
        task: TaskState {
            reserved: 0,
            stacks: [0; 3],
            reserved_too: 0,
            interrupt_stacks: [0; 7],
            reserved_as_well: 0,
            reserved_at_last: 0,
            io_map: size_of::<TaskState>() as u16,
        },
        stack: [0; STACK_BYTES],
    }))
}; MAX_CPUS];

static IDT: PerCpu<Gates> = PerCpu(UnsafeCell::new(Gates([[0; 2]; GATES])));

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads the tables of a processor, on that processor.
pub fn load(cpu: CpuId) {
    let own = DESCRIPTORS[cpu.index()].0.get();
    // SAFETY: the processor's own, which runs this once; the tables are what the manual says.
    unsafe {
        let task = &raw mut (*own).task;
        let stack_end = (&raw mut (*own).stack).addr() + STACK_BYTES;
        (*task).interrupt_stacks[usize::from(DOUBLE_FAULT_STACK) - 1] = stack_end as u64;
        [(*own).segments[5], (*own).segments[6]] = task_descriptor(task.addr() as u64);
        let segments = Pointer { limit: (size_of_val(&SEGMENTS) - 1) as u16, base: own.addr() as u64 };
        asm!("lgdt [{}]", in(reg) &raw const segments, options(readonly, nostack));
        asm!("push {code}", "lea {scratch}, [rip + 2f]", "push {scratch}", "retfq", "2:",
             code = in(reg) u64::from(KERNEL_CODE), scratch = lateout(reg) _);
        asm!("ltr {0:x}", in(reg) TASK, options(nostack));
    }
    if cpu.index() == 0 {
        fill_gates();
    }
    let gates = Pointer { limit: (size_of::<Gates>() - 1) as u16, base: IDT.0.get().addr() as u64 };
    // SAFETY: the gates lead to `traps`.
    unsafe { asm!("lidt [{}]", in(reg) &raw const gates, options(readonly, nostack)) };
}

/// Says where the processor puts what it interrupts in user code: below this address.
pub fn set_trap_stack(cpu: CpuId, end: usize) {
    let own = DESCRIPTORS[cpu.index()].0.get();
    // SAFETY: the caller is that processor, with interrupts off.
    unsafe { (*own).task.stacks[0] = end as u64 };
}

fn task_descriptor(base: u64) -> [u64; 2] {
    let limit = size_of::<TaskState>() as u64 - 1;
    let low = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

fn fill_gates() {
    for vector in 0..GATES {
        let handler = traps::entry(vector);
        let stack = if vector == traps::DOUBLE_FAULT { u64::from(DOUBLE_FAULT_STACK) } else { 0 };
        // Present, interrupt gate; user code may raise the one for system calls.
        let user = if vector == traps::SYSTEM_CALL { 3 << 45 } else { 0 };
        let low = handler & 0xffff
            | u64::from(KERNEL_CODE) << 16
            | stack << 32
            | 0x8e << 40
            | user
            | (handler >> 16 & 0xffff) << 48;
        // SAFETY: the first processor alone comes here, before others run.
        unsafe { (*IDT.0.get()).0[vector] = [low, handler >> 32] };
    }
}
