//! What `osdk-frame-allocator` needs of OSTD, on the threads of a process.
//!
//! That allocator is a peer in Vellum's benchmark. It is built on OSTD, which runs on bare metal only, and is used here
//! as published: this crate stands in for its dependency. It has the names and signatures that the allocator uses
//! and nothing else. None of it is OSTD's code; it was written from what the allocator calls and from the public
//! documentation. Each part does no more than the interface asks for, so that the allocator is not held up by it:
//!
//! | OSTD | here |
//! | --- | --- |
//! | disabled interrupts | a count per thread: two plain writes, where a processor executes `cli` and `popf` |
//! | current processor | a number per thread, which [`hosted::run_on`] sets |
//! | processor-local variable | an element of an array, on cache lines of its own |
//! | spin lock | that of the crate `spin` |
//! | slot of metadata per frame | an element of 64 bytes of a static array: its address is computed, not loaded |
//! | claiming and giving up a frame | one compare-and-swap, one store |
//! | list of frames | links and the number of the list in the slots |
//!
//! A handle that is dropped keeps its frame: the allocator drops none.
#![no_std]

extern crate std;

pub mod cpu;
pub mod hosted;
pub mod irq;
pub mod mm;
pub mod sync;
