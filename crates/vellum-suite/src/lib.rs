//! Suites for Vellum that run on any machine: the same source in a Linux process and in the kernel for bare metal.
//!
//! A suite asserts what must hold, and panics where it does not. What differs between machines stands in [`Machine`].
#![no_std]

extern crate alloc;

pub mod at_once;
pub mod frames;
pub mod model;
pub mod sequences;
pub mod shortage;
pub mod storm;
pub mod support;

use core::fmt;
use vellum_machine::cpu::CpuId;

/// A machine on which suites run: frames, spaces and processors are up, and nothing else uses them meanwhile.
pub trait Machine: Sync {
    /// Runs `f` on the first processor.
    fn on_first(&self, f: &mut (dyn FnMut() + Send));

    /// Runs `f` on every processor at once, and waits until all are done.
    fn on_all(&self, f: &(dyn Fn(CpuId) + Sync));

    /// Returns how many frames of the global allocator the heap has; none, where its memory comes from elsewhere.
    fn heap_frames(&self) -> usize {
        0
    }

    /// Returns how many times as long a random suite runs as it does at least.
    fn scale(&self) -> usize {
        1
    }

    /// Returns the seed of random suites.
    fn seed(&self) -> u64 {
        0x9e37_79b9_7f4a_7c15
    }

    /// Returns how many rounds a shootdown storm has.
    fn storm_rounds(&self) -> u64 {
        100
    }

    /// Says what a suite did.
    fn note(&self, what: fmt::Arguments<'_>);
}

/// A suite.
pub struct Suite {
    /// What it shows.
    pub name: &'static str,
    run: fn(&dyn Machine),
}

/// Every suite there is.
pub const SUITES: &[Suite] = &[
    Suite::new("frames are handed out once, zeroed, and come back", frames::zeroed_and_back),
    Suite::new("memory runs out with an error and comes back", frames::exhaustion),
    Suite::new("processors take and give frames at once", frames::at_once),
    Suite::new("any sequence on a space is that of a map", sequences::of_a_map),
    Suite::new("each allocation of a space can fail", shortage::each_allocation),
    Suite::new("a space without any memory left", shortage::nothing_left),
    Suite::new("no processor sees a frame that is not the page's", at_once::overlapping),
    Suite::new("what was unmapped is read by nobody", storm::storm),
    Suite::new("a range too long to be flushed page by page is flushed whole", storm::whole_space),
];

impl Suite {
    const fn new(name: &'static str, run: fn(&dyn Machine)) -> Suite {
        Suite { name, run }
    }

    /// Runs it, and checks that no frame is lost.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn run(&self, machine: &dyn Machine) {
        let before = support::settled(machine);
        (self.run)(machine);
        assert_eq!(support::settled(machine), before, "frames were lost or won");
    }
}
