//! Instructions that reach memory and may fault there: user memory, or what is at addresses of the kernel.
//!
//! All of them stand together, and nothing is on the stack. A page fault at one of them is answered by going on at the
//! end that they share, with what happened in two registers: no table is needed to find it. Two registers hold the first
//! and the last address that may fault; a fault at another address, of the kernel's side of a copy, is a mistake of the
//! kernel as any is.
use super::super::bare::access::Trap;
use super::{describe_fault, is_spurious, page_fault};
use crate::addr::Vaddr;
use crate::fault::Access;
use crate::layout::user_top;
use core::arch::{asm, global_asm};
use core::ops::RangeInclusive;

global_asm!(
    ".pushsection .text.vellum_user_access, \"ax\"",
    // The target's features do not hold for assembly outside functions.
    ".option push",
    ".option arch, +a",
    ".global vellum_user_access_start, vellum_user_access_end, vellum_user_copy, vellum_user_fill",
    ".global vellum_user_load32, vellum_user_store32, vellum_user_exchange32, vellum_user_add32",
    ".global vellum_user_load64, vellum_user_store64, vellum_user_exchange64, vellum_user_add64",
    "vellum_user_access_start:",
    // a2 bytes from a1 to a0; a2 says how many are left. By words where both are aligned alike.
    "vellum_user_copy: li t2, 8",
    "xor t1, a0, a1",
    "andi t1, t1, 7",
    "bnez t1, 3f",
    "1: andi t1, a0, 7",
    "beqz t1, 2f",
    "beqz a2, vellum_user_access_end",
    "lb t1, 0(a1)",
    "sb t1, 0(a0)",
    "addi a0, a0, 1",
    "addi a1, a1, 1",
    "addi a2, a2, -1",
    "j 1b",
    "2: bltu a2, t2, 3f",
    "ld t1, 0(a1)",
    "sd t1, 0(a0)",
    "addi a0, a0, 8",
    "addi a1, a1, 8",
    "addi a2, a2, -8",
    "j 2b",
    "3: beqz a2, vellum_user_access_end",
    "lb t1, 0(a1)",
    "sb t1, 0(a0)",
    "addi a0, a0, 1",
    "addi a1, a1, 1",
    "addi a2, a2, -1",
    "j 3b",
    // a2 bytes of a1 to a0.
    "vellum_user_fill: beqz a2, vellum_user_access_end",
    "sb a1, 0(a0)",
    "addi a0, a0, 1",
    "addi a2, a2, -1",
    "j vellum_user_fill",
    // Programs elsewhere rely on this order: a load acquires, a store releases, the others are fences.
    "vellum_user_load32: lwu a1, 0(a0)",
    "fence r, rw",
    "ret",
    "vellum_user_load64: ld a1, 0(a0)",
    "fence r, rw",
    "ret",
    "vellum_user_store32: fence rw, w",
    "sw a1, 0(a0)",
    "ret",
    "vellum_user_store64: fence rw, w",
    "sd a1, 0(a0)",
    "ret",
    // What was there comes back in a1; a2 is stored if it is what a1 was. The first instruction changes nothing, and
    // faults where the word may not be written.
    "vellum_user_exchange32: amoor.w.aqrl zero, zero, (a0)",
    "1: lr.w.aqrl t1, (a0)",
    "bne t1, a1, 2f",
    "sc.w.rl t2, a2, (a0)",
    "bnez t2, 1b",
    "2: mv a1, t1",
    "fence rw, rw",
    "ret",
    "vellum_user_exchange64: amoor.d.aqrl zero, zero, (a0)",
    "1: lr.d.aqrl t1, (a0)",
    "bne t1, a1, 2f",
    "sc.d.rl t2, a2, (a0)",
    "bnez t2, 1b",
    "2: mv a1, t1",
    "fence rw, rw",
    "ret",
    "vellum_user_add32: amoadd.w.aqrl a1, a1, (a0)",
    "ret",
    "vellum_user_add64: amoadd.d.aqrl a1, a1, (a0)",
    "vellum_user_access_end:",
    "ret",
    ".option pop",
    ".popsection",
);

unsafe extern "C" {
    safe static vellum_user_access_start: u8;
    safe static vellum_user_access_end: u8;
}

/// What the registers are to be when the interrupted code goes on.
#[derive(Clone, Copy, Debug)]
pub struct Fixup {
    /// The instruction pointer.
    pub pc: usize,
    /// The register a3.
    pub a3: usize,
    /// The register a4.
    pub a4: usize,
}

/// Judges an exception of kernel code at `pc`: `Some` where this crate accessed memory there that may fault, and can do
/// without.
///
/// For the handler of exceptions, which sets the registers so and returns. `reach` is what the registers a4 and a5 hold,
/// in this order. `None` is a mistake of the kernel.
pub fn fix_up(pc: usize, reach: RangeInclusive<usize>, addr: Vaddr, cause: usize) -> Option<Fixup> {
    let start = (&raw const vellum_user_access_start).addr();
    let end = (&raw const vellum_user_access_end).addr();
    let ours = (start..end).contains(&pc) && reach.contains(&addr.0);
    let access = page_fault(cause).filter(|_| ours)?;
    if is_spurious(addr, access, addr.0 < user_top()) {
        return Some(Fixup { pc, a3: 0, a4: *reach.start() });
    }
    Some(Fixup { pc: end, a3: cause, a4: addr.0 })
}

/// What stopped an access, by its two registers; no page fault has cause 0.
#[inline]
fn trap(cause: usize, addr: usize) -> Option<Trap> {
    let access = page_fault(cause)?;
    let fault = describe_fault(Vaddr(addr), access, true);
    Some(Trap { addr: fault.addr, access: fault.access, present: fault.present })
}

/// Copies bytes; says how many were copied, and what stopped it. The side that begins at `at` may fault.
///
/// # Safety
/// 1. `len` is not zero. The range that begins at `at` is one of the two, and in user space, or what it holds may be read or
///    written so; the other one is memory that can be.
pub(in crate::arch) unsafe fn copy(dst: usize, src: usize, len: usize, at: usize) -> (usize, Option<Trap>) {
    let (cause, addr, left): (usize, usize, usize);
    // SAFETY: by duty 1; a fault is answered by `fix_up`.
    unsafe {
        asm!("call vellum_user_copy", inout("a0") dst => _, inout("a1") src => _, inout("a2") len => left,
             inout("a3") 0usize => cause, inout("a4") at => addr, in("a5") at + (len - 1),
             out("ra") _, out("t1") _, out("t2") _);
    }
    (len - left, trap(cause, addr))
}

/// Fills bytes; says how many were filled, and what stopped it.
///
/// # Safety
/// 1. `len` is not zero. The range is in user space, or what it holds may be written so.
pub(in crate::arch) unsafe fn fill(dst: usize, byte: u8, len: usize) -> (usize, Option<Trap>) {
    let (cause, addr, left): (usize, usize, usize);
    // SAFETY: by duty 1; a fault is answered by `fix_up`.
    unsafe {
        asm!("call vellum_user_fill", inout("a0") dst => _, in("a1") usize::from(byte), inout("a2") len => left,
             inout("a3") 0usize => cause, inout("a4") dst => addr, in("a5") dst + (len - 1), out("ra") _);
    }
    (len - left, trap(cause, addr))
}

/// A number that the processor reads and writes as one: `u32` or `u64`.
pub trait Word: sealed::Atomic {}

pub(in crate::arch) mod sealed {
    use super::Trap;

    /// Accesses to memory that may fault: loads acquire, stores release, read-modify-writes are fences.
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

/// Calls one of the instructions above: `a` and `b` go in, and what is in a1 comes back.
macro_rules! reach {
    ($at:ident, $name:literal, $a:expr, $b:expr) => {{
        let (value, cause, addr): (u64, usize, usize);
        // SAFETY: the caller's; a fault is answered by `fix_up`.
        unsafe {
            asm!(concat!("call ", $name), inout("a0") $at => _, inout("a1") $a => value, inout("a2") $b => _,
                 inout("a3") 0usize => cause, inout("a4") $at => addr, in("a5") $at + (size_of::<Self>() - 1),
                 out("ra") _, out("t1") _, out("t2") _);
        }
        trap(cause, addr).map_or(Ok(value), Err)
    }};
}

macro_rules! words {
    ($($word:ty, $signed:ty: $load:literal $store:literal $exchange:literal $add:literal),*) => {$(
        impl Word for $word {}
        impl sealed::Atomic for $word {
            #[inline]
            unsafe fn load(at: usize) -> Result<$word, Trap> {
                reach!(at, $load, 0u64, 0u64).map(|value| value as $word)
            }

            #[inline]
            unsafe fn store(at: usize, value: $word) -> Result<(), Trap> {
                reach!(at, $store, u64::from(value), 0u64).map(|_| ())
            }

            #[inline]
            unsafe fn exchange(at: usize, current: $word, new: $word) -> Result<$word, Trap> {
                // A word that is loaded with LR comes with its sign.
                let current = current as $signed as u64;
                // LR reads first: what the instruction as a whole wants is to write.
                reach!(at, $exchange, current, u64::from(new))
                    .map(|value| value as $word)
                    .map_err(|trap| Trap { access: Access::Write, ..trap })
            }

            #[inline]
            unsafe fn add(at: usize, value: $word) -> Result<$word, Trap> {
                reach!(at, $add, u64::from(value), 0u64).map(|value| value as $word)
            }
        }
    )*};
}

words! {
    u32, i32: "vellum_user_load32" "vellum_user_store32" "vellum_user_exchange32" "vellum_user_add32",
    u64, i64: "vellum_user_load64" "vellum_user_store64" "vellum_user_exchange64" "vellum_user_add64"
}
