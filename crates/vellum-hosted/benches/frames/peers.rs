//! Who takes part.
//!
//! - **vellum**: the global functions `vellum::frame::allocator::{alloc, dealloc}`, which check that what is given back
//!   is allocated, as no peer but the bitmap does.
//! - **`Frame<()>`**: Vellum's handles, uninitialised: each has a slot claimed, a count, and the frame given back when
//!   the handle is dropped. No peer has handles that run in a process.
//! - **osdk-frame-allocator** 0.19, unmodified: caches and pools per processor. What it is built on, OSTD, is for bare
//!   metal; the crate `ostd` of this repository stands in. Where OSTD disables interrupts it counts in a variable of
//!   the thread, which costs less than `cli` and `popf`; its slots have no counts and no type to drop by; it finds
//!   them without a load.
//! - **bitmap-allocator** 0.4 and **buddy_system_allocator** 0.13 behind a spin lock, which is taken for each call. The
//!   latter takes the next power of two for a block of any other size.
//! - **stack**: a vector of addresses behind a spin lock, which does nothing else: the floor of what is locked, and
//!   no peer, since it has single frames alone and merges nothing.
use crate::rows::{Effort, Row, Work, run};
use crate::shared::threads::Outcome;
use bitmap_allocator::BitAlloc;
use osdk_frame_allocator::FrameAllocator as Osdk;
use ostd::mm::frame::GlobalFrameAllocator;
use spin::Mutex;
use std::alloc::Layout;
use vellum::frame::Frame;
use vellum::frame::allocator::{self, FrameAllocOptions, FrameRequest};
use vellum_hosted::Machine;
use vellum_machine::addr::{PAGE_SIZE, Paddr};
use vellum_machine::cpu::CpuId;

/// An allocator; what it hands out is `Block`.
pub trait FrameSource: Sync {
    type Block: Send;
    fn alloc(&self, frames: usize) -> Option<Self::Block>;
    fn free(&self, block: Self::Block, frames: usize);
}

/// What a contestant is compared as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Vellum,
    Peer,
    Floor,
    Handles,
}

/// How many frames in a row can be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runs {
    Single,
    /// Powers of two; other numbers cost the next one.
    Powers,
    Any,
}

type Runner<'a> = Box<dyn Fn(&Machine, Row, Effort) -> Outcome + 'a>;

/// Somebody who takes part.
pub struct Contestant<'a> {
    pub name: &'static str,
    pub role: Role,
    runs: Runs,
    runner: Runner<'a>,
}

impl<'a> Contestant<'a> {
    fn new<S: FrameSource + 'a>(name: &'static str, role: Role, frames: usize, source: S) -> Contestant<'a> {
        let runner =
            Box::new(move |machine: &Machine, row, effort| run(&source, frames, machine, row, effort));
        let runs = match role {
            Role::Vellum | Role::Peer => Runs::Any,
            Role::Floor | Role::Handles => Runs::Single,
        };
        Contestant { name, role, runs, runner }
    }

    /// Does the work of a row once, if it can.
    pub fn run(&self, machine: &Machine, row: Row, effort: Effort) -> Option<Outcome> {
        let can = match row.work {
            Work::Mixed(sizes) if sizes.iter().all(|size| size.is_power_of_two()) => {
                self.runs != Runs::Single
            }
            Work::Mixed(_) => self.runs == Runs::Any,
            _ => true,
        };
        can.then(|| (self.runner)(machine, row, effort))
    }
}

/// Gives `frames` frames to everybody.
pub fn all(machine: &Machine, frames: usize) -> Vec<Contestant<'static>> {
    assert!(frames <= ostd::hosted::MAX_FRAMES.min(Bits::CAP));
    ostd::hosted::set_num_cpus(machine.cpus());
    machine.run_on(CpuId::BOOT, || {
        ostd::hosted::run_on(CpuId::BOOT.index(), || Osdk.add_free_memory(0, frames * PAGE_SIZE));
    });
    let mut bits = Box::new(Bits::DEFAULT);
    bits.insert(0..frames);
    let mut buddy = buddy_system_allocator::FrameAllocator::new();
    buddy.add_frame(0, frames);
    let buddy = BuddySystem(Mutex::new(buddy));
    let buddy = Contestant::new("buddy_system_allocator", Role::Peer, frames, buddy);
    vec![
        Contestant::new("vellum", Role::Vellum, frames, Vellum),
        Contestant::new("osdk-frame-allocator", Role::Peer, frames, Osdk),
        Contestant::new("bitmap-allocator", Role::Peer, frames, Bitmap(Mutex::new(bits))),
        // It takes the next power of two of any number, which is other work.
        Contestant { runs: Runs::Powers, ..buddy },
        Contestant::new("stack", Role::Floor, frames, Stack(Mutex::new((0..frames).collect()))),
        Contestant::new("Frame<()>", Role::Handles, frames, Handles),
    ]
}

struct Vellum;

impl FrameSource for Vellum {
    type Block = Paddr;
    #[inline]
    fn alloc(&self, frames: usize) -> Option<Paddr> {
        allocator::alloc(FrameRequest::new(frames)?)
    }
    #[inline]
    fn free(&self, block: Paddr, frames: usize) {
        allocator::dealloc(block, frames);
    }
}

struct Handles;

impl FrameSource for Handles {
    type Block = Frame<()>;
    #[inline]
    fn alloc(&self, _frames: usize) -> Option<Frame<()>> {
        FrameAllocOptions::new().uninit().alloc_frame().ok()
    }
    #[inline]
    fn free(&self, block: Frame<()>, _frames: usize) {
        drop(block);
    }
}

impl FrameSource for Osdk {
    type Block = usize;
    #[inline]
    fn alloc(&self, frames: usize) -> Option<usize> {
        GlobalFrameAllocator::alloc(self, Layout::from_size_align(frames * PAGE_SIZE, PAGE_SIZE).ok()?)
    }
    #[inline]
    fn free(&self, block: usize, frames: usize) {
        self.dealloc(block, frames * PAGE_SIZE);
    }
}

type Bits = bitmap_allocator::BitAlloc64K;

struct Bitmap(Mutex<Box<Bits>>);

impl FrameSource for Bitmap {
    type Block = usize;
    #[inline]
    fn alloc(&self, frames: usize) -> Option<usize> {
        let mut bits = self.0.lock();
        if frames == 1 { bits.alloc() } else { bits.alloc_contiguous(None, frames, 0) }
    }
    #[inline]
    fn free(&self, block: usize, frames: usize) {
        let mut bits = self.0.lock();
        let _was_allocated =
            if frames == 1 { bits.dealloc(block) } else { bits.dealloc_contiguous(block, frames) };
    }
}

struct BuddySystem(Mutex<buddy_system_allocator::FrameAllocator<19>>);

impl FrameSource for BuddySystem {
    type Block = usize;
    #[inline]
    fn alloc(&self, frames: usize) -> Option<usize> {
        self.0.lock().alloc(frames)
    }
    #[inline]
    fn free(&self, block: usize, frames: usize) {
        self.0.lock().dealloc(block, frames);
    }
}

struct Stack(Mutex<Vec<usize>>);

impl FrameSource for Stack {
    type Block = usize;
    #[inline]
    fn alloc(&self, _frames: usize) -> Option<usize> {
        self.0.lock().pop()
    }
    #[inline]
    fn free(&self, block: usize, _frames: usize) {
        self.0.lock().push(block);
    }
}
