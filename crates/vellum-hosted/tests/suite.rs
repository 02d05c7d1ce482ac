//! The suites on four processors.
mod suites;

use suites::tests;

const CPUS: usize = 4;

vellum_suite::for_each_suite!(tests);
