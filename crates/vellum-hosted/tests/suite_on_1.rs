//! The suites on one processor.
mod suites;

use suites::tests;

const CPUS: usize = 1;

vellum_suite::for_each_suite!(tests);
