//! The suite about a page of 1 GiB, on a machine that has one.
mod suites;

use vellum_hosted::MachineConfig;

#[test]
fn a_page_of_1_gib() {
    let config = || MachineConfig { memory: 3 << 30, cpus: 1, ..MachineConfig::default() };
    suites::run("a page of 1 GiB is split and comes back", config);
}
