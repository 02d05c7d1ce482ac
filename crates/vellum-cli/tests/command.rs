//! The built command, from the outside.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A small log: a process with a heap, a fork that both sides write to, a thread, an `execve`.
const SMALL: &str = "\
100 execve(\"/bin/demo\", [\"demo\"], 0x7ffc00000000 /* 3 vars */) = 0
100 brk(NULL) = 0x555500000000
100 brk(0x555500021000) = 0x555500021000
100 mmap(NULL, 16384, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000
100 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x7f0000010000
100 mprotect(0x7f0000000000, 4096, PROT_NONE) = 0
100 mprotect(0x7ffc00000000, 4096, PROT_READ) = 0
100 clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, exit_signal=0} => {parent_tid=[101]}, 88) = 101
101 munmap(0x7f0000001000, 4096 <unfinished ...>
100 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000
101 <... munmap resumed>) = 0
101 exit(0) = ?
101 +++ exited with 0 +++
100 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>
102 madvise(0x7f0000002000, 8192, MADV_DONTNEED) = 0
100 <... clone resumed>, child_tidptr=0x7f0000000a10) = 102
102 execve(\"/bin/true\", [\"true\"], 0x7ffc00000000 /* 3 vars */) = 0
102 mmap(NULL, 1073741824, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0) = 0x7e0000000000
102 exit_group(0) = ?
102 +++ exited with 0 +++
100 mremap(0x7f0000002000, 8192, 16384, MREMAP_MAYMOVE) = 0x7f0000020000
100 mmap(NULL, 99999999999999, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = -1 ENOMEM (Cannot allocate memory)
100 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 102
100 exit_group(0) = ?
100 +++ exited with 0 +++
";

fn vellum(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vellum")).args(args).output().expect("the command starts")
}

fn log(name: &str, text: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, text).expect("the log can be written");
    file.to_str().expect("the path is text").to_owned()
}

fn shipped(name: &str) -> String {
    format!("{}/../../logs/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn assert_passed(output: &Output) {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    assert!(stderr(output).is_empty(), "{}", stderr(output));
}

#[test]
fn a_small_log_checks_out() {
    let output = vellum(&["replay", &log("small.strace", SMALL), "--check-every", "1"]);
    assert_passed(&output);
    let table = stdout(&output);
    for line in [
        "frames leaked                0",
        "result                       everything checked out",
        "processes                    2 with 1 further threads, in 4 address spaces",
        "implicit mappings            1 of 1 pages",
        "unknown calls                0",
    ] {
        assert!(table.lines().any(|l| l == line), "{line}\n{table}");
    }
}

#[test]
fn json_is_one_object_with_the_same_figures() {
    let output = vellum(&["replay", &log("json.strace", SMALL), "--json", "--cpus", "3"]);
    assert_passed(&output);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["passed"], true);
    assert_eq!(report["error"], Value::Null);
    assert_eq!(report["cpus"], 3);
    assert_eq!(report["frames_leaked"], 0);
    assert_eq!(report["calls"]["mmap"]["calls"], 5);
    assert_eq!(report["calls"]["mmap"]["failed"], 1);
    assert_eq!(report["calls"]["mmap"]["carried"], 4);
    assert!(report["faults"]["copied"].as_u64().expect("a number") > 0);
    assert!(report["faults"]["reused"].as_u64().expect("a number") > 0);
    assert!(report["shootdowns"]["sent"].as_u64().expect("a number") > 0);
}

#[test]
fn every_touch_policy_checks_out_on_any_number_of_processors() {
    let file = log("touch.strace", SMALL);
    for touch in ["all", "first", "none"] {
        for cpus in ["1", "2", "5"] {
            assert_passed(&vellum(&["replay", &file, "--touch", touch, "--cpus", cpus]));
        }
    }
}

#[test]
fn every_shipped_log_checks_out() {
    for name in ["threads.strace", "compile.strace", "python.strace"] {
        let output = vellum(&["replay", &shipped(name), "--json"]);
        assert_passed(&output);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (&report["passed"], &report["frames_leaked"]),
            (&Value::Bool(true), &Value::from(0)),
            "{name}"
        );
        assert!(report["unknown"].as_object().expect("an object").is_empty(), "{name}");
    }
}

#[test]
fn without_arguments_a_shipped_log_is_replayed_on_two_processors() {
    let output = vellum(&[]);
    assert_passed(&output);
    let table = stdout(&output);
    assert!(table.starts_with("logs/threads.strace: "), "{table}");
    assert!(table.contains(" 2 processors"), "{table}");
}

#[test]
fn a_line_that_cannot_be_read_is_an_error_with_its_place() {
    let file = log("bad.strace", "7 brk(NULL) = 0x1000\n7 munmap(0x1000, 4096 = 0\n");
    let output = vellum(&["replay", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let expected =
        format!("vellum: {file}:2:26: expected `)` after the arguments, found the end of the line\n");
    assert_eq!(stderr(&output), expected);
}

#[test]
fn a_log_that_contradicts_itself_is_an_error_with_its_line() {
    let twice = "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x10000\n";
    let output = vellum(&["replay", &log("twice.strace", &twice.repeat(2))]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains(
            "twice.strace:2: mmap of process 7 was not carried out: the log gives out 0x10000..0x11000"
        ),
        "{message}"
    );
    assert!(stdout(&output).contains("frames leaked                0"));
}

#[test]
fn kernel_addresses_are_refused() {
    let kernel = "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0xffffffff80000000\n";
    let output = vellum(&["replay", &log("kernel.strace", kernel)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not in the user space of this machine"), "{}", stderr(&output));
}

#[test]
fn running_out_of_memory_says_what_was_lacking_and_gives_everything_back() {
    let output = vellum(&["replay", &shipped("compile.strace"), "--memory", "8M"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains("out of memory: a frame for the page at 0x"), "{message}");
    assert!(message.contains("compile.strace:"), "{message}");
    let table = stdout(&output);
    assert!(table.contains("frames leaked                0"), "{table}");
    assert!(table.contains("result                       FAILED"), "{table}");
}

#[test]
fn too_little_memory_to_start_is_an_error() {
    let output = vellum(&["replay", &log("tiny.strace", SMALL), "--memory", "4K"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the machine does not start"), "{}", stderr(&output));
}

#[test]
fn unknown_calls_are_counted_and_listed() {
    let text = format!(
        "{SMALL}9 shmat(1, NULL, 0) = 0x7f1000000000\n9 madvise(0x7f1000000000, 4096, MADV_GUARD_INSTALL) = 0\n9 shmat(2, NULL, 0) = 0x7f2000000000\n"
    );
    let output = vellum(&["replay", &log("unknown.strace", &text)]);
    assert_passed(&output);
    let table = stdout(&output);
    for line in [
        "unknown calls                3",
        "  shmat                      2",
        "  madvise(MADV_GUARD_INSTALL) 1",
    ] {
        assert!(table.lines().any(|l| l == line), "{line}\n{table}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let output = vellum(&["replay", "/nowhere/at/all.strace"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("vellum: cannot read /nowhere/at/all.strace: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn wrong_arguments_have_a_status_of_their_own() {
    for args in [
        &["replay"][..],
        &["replay", "x", "--cpus", "0"],
        &["replay", "x", "--cpus", "65"],
        &["replay", "x", "--memory", "much"],
        &["replay", "x", "--check-every", "0"],
        &["play", "x"],
    ] {
        assert_eq!(vellum(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn help_and_version_are_there() {
    let output = vellum(&["--version"]);
    assert_eq!(stdout(&output), format!("vellum {}\n", env!("CARGO_PKG_VERSION")));
    let help = stdout(&vellum(&["replay", "--help"]));
    for option in ["--touch", "--cpus", "--memory", "--json", "--check-every"] {
        assert!(help.contains(option), "{help}");
    }
}
