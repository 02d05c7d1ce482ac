//! A replay in which one allocation fails, for each allocation in turn.
//!
//! There is one machine in the life of a process, so each failure has a process of its own: this test program, started again.

use std::env;
use std::process::Command;

use vellum::frame::allocator;
use vellum_cli::replay::{Options, Touch, chain, replay};
use vellum_cli::strace;

/// Says which allocation is to fail, in a process that was started for that.
const NTH: &str = "VELLUM_TEST_FAILING_ALLOCATION";

/// A heap, a shared mapping, a move, a fork that copies, an `execve`.
const LOG: &str = "\
1 execve(\"/bin/demo\", [\"demo\"], 0x7ffc00000000 /* 3 vars */) = 0
1 brk(NULL) = 0x555500000000
1 brk(0x555500002000) = 0x555500002000
1 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x7f0000010000
1 mremap(0x555500000000, 8192, 12288, MREMAP_MAYMOVE) = 0x600000000000
1 fork() = 2
2 munmap(0x600000000000, 4096) = 0
2 execve(\"/bin/true\", [\"true\"], 0x7ffc00000000 /* 3 vars */) = 0
2 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7e0000000000
2 exit_group(0) = ?
1 exit_group(0) = ?
";

#[test]
#[ignore = "is started by the other test, with the number of an allocation"]
fn one_replay() {
    let Ok(nth) = env::var(NTH) else { return };
    let log = strace::parse("log", LOG.as_bytes()).expect("the log is well-formed");
    allocator::inject_failure(nth.parse().expect("a number"));
    let options = Options { cpus: 2, memory: 16 << 20, touch: Touch::All, check_every: Some(1) };
    let outcome = replay(&log, options, |_| {});
    match outcome.error {
        None if allocator::failure_pending() == 0 => println!("outcome: went on without"),
        None => println!("outcome: passed"),
        Some(error) => println!("outcome: leaked {}: {}", outcome.report.frames_leaked, chain(&error)),
    }
}

fn outcome_of(nth: u64) -> String {
    let this = env::current_exe().expect("a running program has a file");
    let output = Command::new(this)
        .args(["--exact", "one_replay", "--ignored", "--nocapture", "--test-threads=1"])
        .env(NTH, nth.to_string())
        .output()
        .expect("it starts again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "allocation {nth}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let line =
        text.lines().find_map(|line| line.split_once("outcome: ")).map(|(_, outcome)| outcome.to_owned());
    line.unwrap_or_else(|| panic!("allocation {nth}: {text}"))
}

#[test]
fn whichever_allocation_fails_all_frames_come_back() {
    let mut lacked = Vec::new();
    for nth in 1.. {
        let outcome = outcome_of(nth);
        if outcome == "passed" {
            break;
        }
        if outcome == "went on without"
            || outcome.contains("cannot be set up")
            || outcome.contains("does not start")
        {
            continue;
        }
        assert!(outcome.starts_with("leaked 0: "), "allocation {nth}: {outcome}");
        assert!(outcome.contains("out of memory: "), "allocation {nth}: {outcome}");
        lacked.push(outcome);
    }
    // A page-table node that could not be made when a range was locked is made when something is mapped there.
    for what in ["root of a page table", "touched for the first time", "written after a fork"] {
        assert!(lacked.iter().any(|outcome| outcome.contains(what)), "{what}: {lacked:#?}");
    }
}
