//! Suites for Vellum that run on any machine: the same source in a Linux process and in the kernel for bare metal.
//!
//! A suite asserts what must hold, and panics where it does not. What differs between machines stands in [`Machine`].
#![no_std]

extern crate alloc;

pub mod areas;
pub mod at_once;
pub mod bounds;
pub mod faults;
pub mod frames;
pub mod huge;
pub mod io;
pub mod kernel;
pub mod mapping;
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

/// Hands the list of all suites to a macro: modules, their functions, and what each shows.
#[macro_export]
macro_rules! for_each_suite {
    ($with:ident) => {
        $with! {
            frames {
                zeroed_and_back: "frames are handed out once, zeroed, and come back",
                exhaustion: "memory runs out with an error and comes back",
                at_once: "processors take and give frames at once",
            }
            mapping {
                user_code_sees_what_is_mapped: "user code sees what is mapped",
                a_query_tells_slot_item_and_use: "a query tells slot, item, and what was noted",
                rights_are_those_of_the_mapping: "rights are those of the mapping",
                unmap_counts_base_pages_and_skips_holes: "unmapping counts pages and skips holes",
                a_replaced_page_is_not_seen_any_more_and_its_frame_goes_back: "a replaced page is not seen any more",
                find_next_stops_at_mappings_and_at_the_end: "a search stops at mappings and at the end",
                what_is_owed_is_flushed_when_the_cursor_goes: "what is owed is flushed when the cursor goes",
                a_whole_range_is_protected_and_none_keeps_its_frames: "a range that is protected keeps its frames",
                a_segment_is_mapped_at_once_and_what_it_replaces_is_not_seen_any_more: "a segment is mapped at once",
                a_segment_is_mapped_over_the_border_of_a_node: "a segment is mapped over the border of a node",
                no_mapping_of_a_space_is_the_kernels: "no mapping of a space is the kernel's",
                a_handler_may_note_what_hardware_notes_too: "a handler notes what hardware notes too",
                nodes_come_back_when_all_in_them_is_unmapped: "nodes come back when all in them is unmapped",
            }
            huge {
                user_code_sees_a_huge_page: "user code sees a huge page",
                what_is_no_huge_page_comes_back: "what is no huge page comes back",
                a_huge_page_is_larger_than_what_is_locked: "a huge page is not larger than what is locked",
                what_hardware_noted_stays_when_a_part_is_protected: "what was noted of a huge page stays with its parts",
                a_huge_page_is_shared_and_copied_in_part: "a huge page is shared, and copied in part",
                a_huge_page_takes_the_place_of_what_is_there: "a huge page takes the place of what is there",
                a_part_goes_from_every_processor: "a part of a huge page goes from every processor",
                each_allocation_can_fail_and_nothing_is_lost: "each allocation for huge pages can fail",
                a_page_of_1_gib_is_split_and_comes_back: "a page of 1 GiB is split and comes back",
            }
            bounds {
                ranges_of_cursors: "ranges that are none are refused",
                the_whole_of_user_space_is_a_range: "the whole of user space is a range",
                lengths_from_a_cursor: "lengths that are none are refused",
                jumps_of_a_cursor: "a cursor does not leave its range",
                ranges_of_readers_and_writers: "readers and writers are of user space",
            }
            io {
                a_segment_is_read_and_written_over_frame_borders: "a segment is read and written over frame borders",
                a_frame_is_copied_to_a_frame_and_to_user_memory: "a frame is copied to a frame and to user memory",
                metadata_reads_its_frame_when_it_is_dropped: "metadata read their frame when they are dropped",
                readers_and_writers_copy_through_the_space: "readers and writers copy through the space",
                copies_out_stop_where_memory_does: "copies out of user memory stop where it does",
                copies_in_stop_where_memory_does: "copies into user memory stop where it does",
                values_of_plain_data: "values of plain data are read and written",
                words_of_user_memory: "words of user memory are read and changed as one",
                words_that_all_change: "words that every processor changes lose nothing",
                a_copy_brings_its_pages: "a copy brings the pages that it misses",
                copies_of_all_bring_the_same_pages: "copies of every processor bring the same pages",
            }
            kernel {
                the_linear_map_shows_frames: "the linear map shows frames to the kernel",
                readers_and_writers_of_kernel_addresses: "readers and writers copy at addresses of the kernel",
                nothing_is_where_nothing_is_mapped: "the kernel faults where nothing is mapped, and nobody is asked",
                all_see_the_same_kernel_memory: "processors see the same memory of the kernel",
            }
            faults {
                missing_pages_come_on_demand: "missing pages come on demand",
                kernel_copies_fault_pages_in_and_stop_short: "copies of the kernel ask the handler, and stop short",
                the_right_space_is_asked_on_each_processor: "the right space is asked on each processor",
                a_handler_can_be_set_while_faults_are_handled: "a handler is set while faults are handled",
                a_fault_under_a_cursor_fails_instead_of_waiting_for_itself: "a fault under a cursor fails",
                a_handler_that_activates_another_space_is_survived: "a handler that activates another space is survived",
            }
            areas {
                frames_are_seen_one_after_the_other: "an area shows frames one after the other",
                what_an_area_refuses: "what an area refuses it says",
                mappings_are_changed_in_an_area: "mappings are changed in an area",
                what_is_unmapped_no_processor_reads: "what was unmapped in an area no processor reads",
                storm: "what was replaced in an area is read by nobody",
                areas_of_all_at_once: "processors have areas of their own at once",
                addresses_run_out_and_come_back: "addresses of areas run out and come back",
                each_allocation_of_an_area_can_fail: "each allocation of an area can fail",
                an_area_goes_without_memory: "an area goes without memory",
            }
            sequences {
                of_a_map: "any sequence on a space is that of a map",
            }
            shortage {
                each_allocation: "each allocation of a space can fail",
                nothing_left: "a space without any memory left",
            }
            at_once {
                overlapping: "no processor sees a frame that is not the page's",
            }
            storm {
                storm: "what was unmapped is read by nobody",
                whole_space: "a range too long to be flushed page by page is flushed whole",
            }
        }
    };
}

macro_rules! list {
    ($($module:ident { $($name:ident: $what:literal,)* })*) => {
        &[$($(Suite { name: $what, run: $module::$name },)*)*]
    };
}

/// Every suite there is.
pub const SUITES: &[Suite] = for_each_suite!(list);

impl Suite {
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
