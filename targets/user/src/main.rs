//! A program without a library: it does what programs do to their memory, and what they must not.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "asks the kernel, and touches memory that it must not")]

use core::arch::{asm, global_asm};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

const PAGE: usize = 4096;
const KILLED: usize = 256;
const REFUSED: usize = usize::MAX;
const R: usize = 1;
const RW: usize = 3;

/// A page of the kernel's linear map.
#[cfg(target_arch = "x86_64")]
const KERNEL_PAGE: usize = 0xffff_8000_0000_1000;

/// A page of the kernel's linear map.
#[cfg(target_arch = "riscv64")]
const KERNEL_PAGE: usize = 0xffff_ffc4_0000_1000;

#[cfg(target_arch = "x86_64")]
global_asm!(".global _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call program", "ud2");

#[cfg(target_arch = "riscv64")]
global_asm!(".global _start", "_start:", "andi sp, sp, -16", "call program", "unimp");

/// Asks the kernel for something.
#[cfg(target_arch = "riscv64")]
fn call(number: usize, a: usize, b: usize, c: usize) -> usize {
    let answer;
    // SAFETY: the kernel changes the one register, and memory that the call is about.
    unsafe { asm!("ecall", in("a7") number, inout("a0") a => answer, in("a1") b, in("a2") c) };
    answer
}

/// Asks the kernel for something.
#[cfg(target_arch = "x86_64")]
fn call(number: usize, a: usize, b: usize, c: usize) -> usize {
    let answer;
    // SAFETY: the kernel changes the one register, and memory that the call is about.
    unsafe { asm!("int 0x80", inout("rax") number => answer, in("rdi") a, in("rsi") b, in("rdx") c) };
    answer
}

fn exit(status: u8) -> ! {
    loop {
        call(0, usize::from(status), 0, 0);
    }
}

fn print(text: &str) {
    call(1, text.as_ptr() as usize, text.len(), 0);
}

fn fork() -> usize {
    call(2, 0, 0, 0)
}

fn wait(child: usize) -> usize {
    call(3, child, 0, 0)
}

fn map(at: usize, pages: usize, access: usize) -> usize {
    call(4, at, pages, access)
}

fn protect(at: usize, pages: usize, access: usize) -> usize {
    call(5, at, pages, access)
}

fn unmap(at: usize, pages: usize) -> usize {
    call(6, at, pages, 0)
}

fn grow_heap(bytes: usize) -> usize {
    call(7, bytes, 0, 0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut line = info.location().map_or(0, |at| at.line());
    let mut text = *b"wrong at line 0000";
    for place in text.iter_mut().rev().take(4) {
        *place = b'0' + (line % 10) as u8;
        line /= 10;
    }
    print(core::str::from_utf8(&text).unwrap_or("wrong"));
    exit(101)
}

/// Zeros of which one page is used.
static LARGE: [AtomicUsize; 1 << 17] = [const { AtomicUsize::new(0) }; 1 << 17];

/// What parent and child write, each in its own memory.
static SHARED: AtomicUsize = AtomicUsize::new(1);

/// Data that are no code, whatever they look like.
static NO_CODE: AtomicUsize = AtomicUsize::new(0xc3c3_c3c3);

/// Text that nobody may write.
static FIXED: [u8; 8] = *b"constant";

#[unsafe(no_mangle)]
extern "C" fn program() -> ! {
    print("loaded page by page");
    assert_eq!(LARGE[70_000].fetch_add(1, Ordering::Relaxed), 0);
    assert_eq!(recurse(200), 200 * 201 / 2);
    use_heap();
    use_fork();
    use_mappings();
    be_killed();
    refuse_nonsense();
    print("content");
    exit(7)
}

/// Uses a kibibyte of stack a level.
#[inline(never)]
fn recurse(levels: usize) -> usize {
    let mut room = [levels; 128];
    black_box(&mut room);
    if levels == 0 { 0 } else { recurse(levels - 1) + room[77] }
}

fn words(at: usize, pages: usize) -> &'static [AtomicUsize] {
    // SAFETY: the kernel gave these pages, which stay as long as the slice is used.
    unsafe { core::slice::from_raw_parts(at as *const AtomicUsize, pages * PAGE / 8) }
}

fn use_heap() {
    let mut sum = 0;
    for turn in 0..16 {
        let start = grow_heap(4 * PAGE);
        assert_eq!(start, 0x1000_0000 + turn * 4 * PAGE);
        for (n, word) in words(start, 4).iter().enumerate() {
            assert_eq!(word.swap(n * turn, Ordering::Relaxed), 0);
            sum += n * turn;
        }
    }
    let all: usize = words(0x1000_0000, 64).iter().map(|word| word.load(Ordering::Relaxed)).sum();
    assert_eq!(all, sum);
}

fn use_fork() {
    SHARED.store(2, Ordering::Relaxed);
    let child = fork();
    if child == 0 {
        assert_eq!(SHARED.swap(3, Ordering::Relaxed), 2);
        assert_eq!(words(0x1000_0000, 64)[513].load(Ordering::Relaxed), 0);
        words(0x1000_0000, 64)[600].store(99, Ordering::Relaxed);
        let grandchild = fork();
        if grandchild == 0 {
            assert_eq!(SHARED.swap(4, Ordering::Relaxed), 3);
            exit(43);
        }
        assert_eq!(wait(grandchild), 43);
        assert_eq!(SHARED.load(Ordering::Relaxed), 3);
        exit(42);
    }
    assert_eq!(SHARED.swap(5, Ordering::Relaxed), 2);
    assert_eq!(wait(child), 42);
    assert_eq!(SHARED.load(Ordering::Relaxed), 5);
    assert_eq!(words(0x1000_0000, 64)[600].load(Ordering::Relaxed), 0);
    // Nobody shares it any more.
    SHARED.store(1, Ordering::Relaxed);
    words(0x1000_0000, 64)[600].store(1, Ordering::Relaxed);
}

const AREA: usize = 0x20_0000_0000;

fn use_mappings() {
    assert_eq!(map(AREA, 16, RW), AREA);
    for page in 0..16 {
        words(AREA, 16)[page * 512].store(page, Ordering::Relaxed);
    }
    assert_eq!(unmap(AREA + 4 * PAGE, 4), 0);
    assert_eq!(protect(AREA, 16, R), REFUSED, "there is a hole");
    assert_eq!(protect(AREA, 4, R), 0);
    assert_eq!(words(AREA, 4)[3 * 512].load(Ordering::Relaxed), 3);
    assert_eq!(map(AREA + 4 * PAGE, 4, RW), AREA + 4 * PAGE);
    assert_eq!(words(AREA, 16)[5 * 512].load(Ordering::Relaxed), 0, "what was unmapped is back");
    assert_eq!(words(AREA, 16)[9 * 512].load(Ordering::Relaxed), 9);
    assert_eq!(protect(AREA, 2, RW), 0);
    words(AREA, 2)[0].store(7, Ordering::Relaxed);
}

/// Runs `crime` in a child, which is to be ended for it.
fn is_killed(crime: impl FnOnce()) {
    let child = fork();
    if child == 0 {
        crime();
        exit(1);
    }
    assert_eq!(wait(child), KILLED);
}

fn be_killed() {
    // SAFETY: none of these is sound: the kernel is to end the child at the access.
    unsafe {
        is_killed(|| black_box(0xdead_0000usize as *mut u8).write_volatile(1));
        is_killed(|| black_box(FIXED.as_ptr().cast_mut()).write_volatile(1));
        is_killed(|| black_box((AREA + 3 * PAGE) as *mut u8).write_volatile(1));
        is_killed(|| core::mem::transmute::<usize, extern "C" fn()>(black_box(NO_CODE.as_ptr() as usize))());
        // The kernel's own memory, which is mapped, but not for programs.
        is_killed(|| _ = black_box(KERNEL_PAGE as *const u8).read_volatile());
        is_killed(|| _ = black_box((AREA + 64 * PAGE) as *const u8).read_volatile());
    }
}

/// Where addresses end for programs: at the power of two above the stack.
fn end_of_space() -> usize {
    let on_stack = 0u8;
    (&raw const on_stack).addr().next_power_of_two()
}

/// The kernel refuses what makes no sense, and reads nothing that the program may not.
fn refuse_nonsense() {
    assert_eq!(call(99, 0, 0, 0), REFUSED);
    assert_eq!(call(1, KERNEL_PAGE, 8, 0), REFUSED);
    assert_eq!(call(1, 0xdead_0000, 8, 0), REFUSED);
    assert_eq!(wait(usize::MAX), REFUSED);
    assert_eq!(map(AREA + 1, 1, RW), REFUSED);
    assert_eq!(map(end_of_space() - PAGE, 2, RW), REFUSED);
    assert_eq!(map(AREA, usize::MAX / PAGE, RW), REFUSED);
}
