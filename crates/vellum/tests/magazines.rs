//! Threads that are processors take frames from one allocator and give them back; each writes to what it has.
//!
//! Their memory is ordered by nothing but the allocator, so that a race detector sees what it leaves out.
#![expect(unsafe_code, reason = "gives a machine its memory, and writes to what the allocator hands out")]
#[path = "support/map.rs"]
mod map;

use map::map;
use std::cell::UnsafeCell;
use vellum::frame::allocator::{
    BuddyAllocator, Chunk, FrameRequest, GlobalFrameAllocator, Magazine, Marks, Notes, Parts,
};
use vellum::sync::CpuLocal;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::arch::hosted::{Power, Seat, power_on};
use vellum_machine::cpu::CpuId;
use vellum_machine::layout::LINEAR_MAP_BASE;

const CPUS: usize = 3;
const STEPS: u64 = 100_000;

/// Too few for all magazines: they are emptied again and again under their processors.
const FRAMES: usize = 300;

/// A word for each frame, which is its owner's.
struct Contents([UnsafeCell<u64>; FRAMES]);

// SAFETY: a word is written by whoever the allocator gave the frame to, which is what is tested.
unsafe impl Sync for Contents {}

static CONTENTS: Contents = Contents([const { UnsafeCell::new(0) }; FRAMES]);
static MARKS: [Marks; 1] = [const { Marks::new() }; 1];
static MAGAZINES: CpuLocal<Magazine> = CpuLocal::new();

fn power() {
    let memory = 16 * PAGE_SIZE;
    map(LINEAR_MAP_BASE, memory);
    // SAFETY: the memory was just mapped, and stays.
    unsafe { power_on(Power { memory, cpus: CPUS, speculate_every: None }) }
        .expect("it is the first machine");
}

/// Takes a step of a generator of numbers.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 20
}

/// Changes the word of a frame that the caller was given.
fn change(frame: Paddr, from: u64, to: u64) {
    // SAFETY: the allocator gave the frame to the caller alone, which is what is tested.
    let word = unsafe { &mut *CONTENTS.0[frame.0 / PAGE_SIZE].get() };
    assert_eq!(std::mem::replace(word, to), from, "{frame} has another owner");
}

fn work(allocator: &BuddyAllocator<'_>, me: u64) {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ me << 40;
    let mut mine = Vec::new();
    let give = |frame| {
        change(frame, me, 0);
        allocator.dealloc(frame, 1);
    };
    for _ in 0..STEPS {
        match random(&mut state) % 64 {
            0 => allocator.drain(),
            1 => mine.drain(..).for_each(give),
            2..34 => {
                let Some(frame) = allocator.alloc(FrameRequest::SINGLE) else { continue };
                change(frame, 0, me);
                mine.push(frame);
            }
            _ => mine.pop().into_iter().for_each(give),
        }
    }
    mine.into_iter().for_each(give);
}

#[test]
fn what_a_processor_is_given_is_its_own() {
    power();
    let (mut chunks, mut notes) = ([Chunk::new()], [Notes::new()]);
    let parts = Parts { chunks: &mut chunks, marks: &MARKS, notes: &mut notes, magazines: &MAGAZINES };
    let allocator = BuddyAllocator::new(Paddr(0), parts).expect("the tables agree");
    allocator.add_free(Paddr(0), FRAMES);
    let before = allocator.statistics();
    std::thread::scope(|scope| {
        let allocator = &allocator;
        let work_as = |cpu: u32| {
            move || {
                // One thread more than there are processors.
                let _seat = CpuId::new(cpu).and_then(|cpu| Seat::take(cpu).ok());
                work(allocator, u64::from(cpu) + 1);
            }
        };
        let threads: Vec<_> = (0..=CPUS as u32).map(|cpu| scope.spawn(work_as(cpu))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    allocator.drain();
    assert_eq!(allocator.statistics(), before);
}
