//! What the benchmarks share: the command line, threads that start at once, medians over rounds, tables and charts.
pub mod host;
pub mod options;
pub mod samples;
pub mod svg;
pub mod table;
pub mod threads;
