//! Instructions that reach memory and may fault there: user memory, or what is at addresses of the kernel.
//!
//! All of them stand together, each followed by a return and with nothing on the stack. A page fault at one of them is
//! answered by going on at that return, with what happened in two registers: no table is needed to find it. Two registers
//! hold the first and the last address that may fault; a fault at another address, of the kernel's side of a copy, is a
//! mistake of the kernel as any is.
use super::super::bare::access::Trap;
use super::describe_fault;
use crate::addr::Vaddr;
use core::arch::{asm, global_asm};
use core::ops::RangeInclusive;

global_asm!(
    ".pushsection .text.vellum_user_access, \"ax\"",
    ".global vellum_user_access_start, vellum_user_access_end, vellum_user_copy, vellum_user_fill",
    ".global vellum_user_load32, vellum_user_store32, vellum_user_exchange32, vellum_user_add32",
    ".global vellum_user_load64, vellum_user_store64, vellum_user_exchange64, vellum_user_add64",
    "vellum_user_access_start:",
    // rcx bytes from rsi to rdi; rcx says how many are left.
    "vellum_user_copy: rep movsb",
    "ret",
    // rcx bytes of al to rdi.
    "vellum_user_fill: rep stosb",
    "ret",
    "vellum_user_load32: mov eax, [rdi]",
    "ret",
    "vellum_user_load64: mov rax, [rdi]",
    "ret",
    "vellum_user_store32: mov [rdi], eax",
    "ret",
    "vellum_user_store64: mov [rdi], rax",
    "ret",
    // What was there comes back in rax; rdx is stored if it is what rax was.
    "vellum_user_exchange32: lock cmpxchg [rdi], edx",
    "ret",
    "vellum_user_exchange64: lock cmpxchg [rdi], rdx",
    "ret",
    "vellum_user_add32: lock xadd [rdi], eax",
    "ret",
    "vellum_user_add64: lock xadd [rdi], rax",
    "vellum_user_access_end:",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    safe static vellum_user_access_start: u8;
    safe static vellum_user_access_end: u8;
}

/// The bit in r8 that says that there was a fault; the error code is in the others.
const FAULTED: u64 = 1 << 63;

/// What the registers are to be when the interrupted code goes on.
#[derive(Clone, Copy, Debug)]
pub struct Fixup {
    /// The instruction pointer.
    pub rip: u64,
    /// The register r8.
    pub r8: u64,
    /// The register r9.
    pub r9: u64,
}

/// Judges a page fault of kernel code at `rip`: `Some` where this crate accessed memory there that may fault, and can do
/// without.
///
/// For the handler of page faults, which sets the registers so and returns from the interrupt. `reach` is what the
/// registers r9 and r10 hold, in this order. `None` is a mistake of the kernel.
pub fn fix_up(rip: u64, reach: RangeInclusive<u64>, addr: Vaddr, error: u64) -> Option<Fixup> {
    let start = (&raw const vellum_user_access_start).addr() as u64;
    let end = (&raw const vellum_user_access_end).addr() as u64;
    let ours = (start..end).contains(&rip) && reach.contains(&(addr.0 as u64));
    ours.then_some(Fixup { rip: end, r8: FAULTED | error, r9: addr.0 as u64 })
}

#[inline]
fn trap(r8: u64, r9: usize) -> Option<Trap> {
    if r8 & FAULTED == 0 {
        return None;
    }
    let fault = describe_fault(Vaddr(r9), r8 & !FAULTED);
    Some(Trap { addr: fault.addr, access: fault.access, present: fault.present })
}

/// Copies bytes; says how many were copied, and what stopped it. The side that begins at `at` may fault.
///
/// # Safety
/// 1. `len` is not zero. The range that begins at `at` is one of the two, and in user space, or what it holds may be read or
///    written so; the other one is memory that can be.
pub(in crate::arch) unsafe fn copy(dst: usize, src: usize, len: usize, at: usize) -> (usize, Option<Trap>) {
    let (r8, r9, left): (u64, usize, usize);
    // SAFETY: by duty 1; a fault is answered by `fix_up`.
    unsafe {
        asm!("call vellum_user_copy", inout("rdi") dst => _, inout("rsi") src => _, inout("rcx") len => left,
             inout("r8") 0u64 => r8, inout("r9") at => r9, in("r10") at + (len - 1));
    }
    (len - left, trap(r8, r9))
}

/// Fills bytes; says how many were filled, and what stopped it.
///
/// # Safety
/// 1. `len` is not zero. The range is in user space, or what it holds may be written so.
pub(in crate::arch) unsafe fn fill(dst: usize, byte: u8, len: usize) -> (usize, Option<Trap>) {
    let (r8, r9, left): (u64, usize, usize);
    // SAFETY: by duty 1; a fault is answered by `fix_up`.
    unsafe {
        asm!("call vellum_user_fill", inout("rdi") dst => _, in("al") byte, inout("rcx") len => left,
             inout("r8") 0u64 => r8, inout("r9") dst => r9, in("r10") dst + (len - 1));
    }
    (len - left, trap(r8, r9))
}

/// A number that the processor reads and writes as one: `u32` or `u64`.
pub trait Word: sealed::Atomic {}

pub(in crate::arch) mod sealed {
    use super::Trap;

    /// Accesses to memory that may fault. Programs on x86-64 rely on its order: loads acquire, stores release,
    /// read-modify-writes are fences; the instructions are.
    pub trait Atomic: Copy + PartialEq {
        /// # Safety
        /// `at` is an aligned address in user space, or what it holds may be read and written so; so in the others.
        unsafe fn load(at: usize) -> Result<Self, Trap>;
        unsafe fn store(at: usize, value: Self) -> Result<(), Trap>;
        /// Stores `new` if there is `current`; returns what there was.
        unsafe fn exchange(at: usize, current: Self, new: Self) -> Result<Self, Trap>;
        unsafe fn add(at: usize, value: Self) -> Result<Self, Trap>;
    }
}

macro_rules! words {
    ($($word:ty: $load:literal $store:literal $exchange:literal $add:literal),*) => {$(
        impl Word for $word {}
        impl sealed::Atomic for $word {
            #[inline]
            unsafe fn load(at: usize) -> Result<$word, Trap> {
                let (value, r8, r9): (u64, u64, usize);
                // SAFETY: the caller's; a fault is answered by `fix_up`. So in the others.
                unsafe {
                    asm!(concat!("call ", $load), in("rdi") at, inout("rax") 0u64 => value,
                         inout("r8") 0u64 => r8, inout("r9") at => r9, in("r10") at + (size_of::<Self>() - 1));
                }
                trap(r8, r9).map_or(Ok(value as $word), Err)
            }

            #[inline]
            unsafe fn store(at: usize, value: $word) -> Result<(), Trap> {
                let (r8, r9);
                // SAFETY: see `load`.
                unsafe {
                    asm!(concat!("call ", $store), in("rdi") at, in("rax") u64::from(value),
                         inout("r8") 0u64 => r8, inout("r9") at => r9, in("r10") at + (size_of::<Self>() - 1));
                }
                trap(r8, r9).map_or(Ok(()), Err)
            }

            #[inline]
            unsafe fn exchange(at: usize, current: $word, new: $word) -> Result<$word, Trap> {
                let (before, r8, r9): (u64, u64, usize);
                // SAFETY: see `load`.
                unsafe {
                    asm!(concat!("call ", $exchange), in("rdi") at, in("rdx") u64::from(new),
                         inout("rax") u64::from(current) => before,
                         inout("r8") 0u64 => r8, inout("r9") at => r9, in("r10") at + (size_of::<Self>() - 1));
                }
                trap(r8, r9).map_or(Ok(before as $word), Err)
            }

            #[inline]
            unsafe fn add(at: usize, value: $word) -> Result<$word, Trap> {
                let (before, r8, r9): (u64, u64, usize);
                // SAFETY: see `load`.
                unsafe {
                    asm!(concat!("call ", $add), in("rdi") at, inout("rax") u64::from(value) => before,
                         inout("r8") 0u64 => r8, inout("r9") at => r9, in("r10") at + (size_of::<Self>() - 1));
                }
                trap(r8, r9).map_or(Ok(before as $word), Err)
            }
        }
    )*};
}

words! {
    u32: "vellum_user_load32" "vellum_user_store32" "vellum_user_exchange32" "vellum_user_add32",
    u64: "vellum_user_load64" "vellum_user_store64" "vellum_user_exchange64" "vellum_user_add64"
}
