//! The suites on two processors.
mod suites;

use suites::tests;

const CPUS: usize = 2;

vellum_suite::for_each_suite!(tests);
