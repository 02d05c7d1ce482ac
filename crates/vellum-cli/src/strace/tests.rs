//! Whole logs: joined halves, errors with their places, and properties over generated text.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn log(text: &str) -> Log {
    parse("a.log", text.as_bytes()).unwrap()
}

fn error(text: &str) -> String {
    parse("a.log", text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn joins_the_halves_of_a_call_per_process() {
    let log = log("\
1 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0 <unfinished ...>
2 munmap(0x1000, 4096 <unfinished ...>
1 <... mmap resumed>) = 0x7000
2 <... munmap resumed> )       = 0
1 vfork( <unfinished ...>
3 execve(\"/bin/true\", [\"true\"], 0x7ffc /* 3 vars */ <unfinished ...>
1 <... vfork resumed>) = 3
3 <... execve resumed>) = 0
3 exit_group(0) = ?
3 +++ exited with 0 +++
");
    let names: Vec<_> = log.records.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["mmap", "munmap", "vfork", "execve", "exit_group"]);
    assert_eq!(log.records[1].effect, Effect::Carry(Call::Unmap { at: 0x1000..0x2000 }));
    let order: Vec<_> = log.events.iter().map(|e| (e.pid, e.what)).collect();
    assert_eq!(
        order,
        [
            (1, What::Begin(0)),
            (2, What::Begin(1)),
            (1, What::End(0)),
            (2, What::End(1)),
            (1, What::Begin(2)),
            (3, What::Begin(3)),
            (1, What::End(2)),
            (3, What::End(3)),
            (3, What::Whole(4)),
            (3, What::Gone),
        ]
    );
}

#[test]
fn a_call_that_never_returns_is_unseen() {
    let log = log("1 mmap(NULL, 4096, PROT_READ, <unfinished ...>\n1 +++ killed by SIGKILL +++\n");
    assert_eq!(log.records[0].effect, Effect::Unseen);
    assert_eq!(log.events[1].what, What::Gone);
}

#[test]
fn a_thread_that_calls_execve_takes_the_number_of_its_process() {
    let log = log("\
10 wait4(-1,  <unfinished ...>
11 execve(\"/bin/true\", [\"true\"], 0x7f /* 3 vars */ <unfinished ...>
10 <... wait4 resumed> <unfinished ...>) = ?
10 +++ superseded by execve in pid 11 +++
10 <... execve resumed>) = 0
");
    assert_eq!(log.events[3].what, What::Superseded { by: 11 });
    assert_eq!((log.events[4].pid, log.events[4].what), (10, What::End(1)));
}

#[test]
fn one_process_needs_no_number() {
    let one = log("execve(\"/x\", [\"x\"], 0x7f /* 3 vars */) = 0\n12:00:00 brk(NULL) = 0x1000\n");
    assert!(one.events.iter().all(|e| e.pid == 0));
    let bracketed = log(
        "brk(NULL) = 0x1000\nfork() = 8\n[pid     8] brk(NULL) = 0x1000\n[pid     7] brk(NULL) = 0x1000\n",
    );
    let pids: Vec<_> = bracketed.events.iter().map(|e| e.pid).collect();
    assert_eq!(pids, [0, 0, 8, 0]);
}

#[test]
fn errors_name_file_line_and_column() {
    assert_eq!(
        error("1 brk(NULL) = 0x1000\n1 brk(NULL = 0x1000\n"),
        "a.log:2:20: expected `)` after the arguments, found the end of the line"
    );
    assert_eq!(
        error("1 brk[NULL] = 0\n"),
        "a.log:1:6: expected `(` after the name of the call, found `[NULL]`"
    );
    assert_eq!(
        error("1 mprotect(0x1000, 4096, PROT_READ|PROT_FOO) = 0\n"),
        "a.log:1:36: `PROT_FOO` is no protection known here"
    );
    assert_eq!(
        error("1 <... mmap resumed>) = 0\n"),
        "a.log:1:8: `mmap` is resumed, but this process has begun no call"
    );
    assert_eq!(
        error("1 munmap(0x1000, 4096 <unfinished ...>\n1 <... mmap resumed>) = 0\n"),
        "a.log:2:8: `mmap` is resumed, but `munmap` was begun in line 1"
    );
    assert_eq!(
        error("1 munmap(0x1000, 4096 <unfinished ...>\n1 brk(NULL) = 0\n"),
        "a.log:2:3: a call begins, but `munmap` of the same process, begun in line 1, is not resumed"
    );
    assert_eq!(error(""), "a.log:1:1: there is no system call in this file");
    assert_eq!(
        error("1 brk(NULL) = 0\n2 brk(NULL) = 0\nbrk(NULL) = 0\n"),
        "a.log:3:1: no process id, though 2 processes are alive"
    );
}

#[test]
fn an_error_in_a_joined_call_is_placed_in_its_own_half() {
    assert_eq!(
        error("1 munmap(zero, 4096 <unfinished ...>\n1 <... munmap resumed>) = 0\n"),
        "a.log:1:10: expected an address, found `zero`"
    );
    assert_eq!(
        error("1 munmap(0x1000, 4096 <unfinished ...>\n1 <... munmap resumed>) = maybe\n"),
        "a.log:2:27: expected what the call returned, found `maybe`"
    );
}

#[test]
fn the_shipped_logs_are_read_whole() {
    for (name, text) in crate::shipped::LOGS {
        let log = parse(name, text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        let unknown: Vec<_> = log.records.iter().filter(|r| matches!(r.effect, Effect::Unknown(_))).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
        assert!(log.records.len() > 100, "{name}");
    }
}

/// A generated call: its text, and the effect that must be read from it.
#[derive(Clone, Debug)]
struct Written {
    text: String,
    effect: Effect,
}

fn pages() -> impl Strategy<Value = (u64, u64)> {
    (1u64..0x7_ffff_0000, 1u64..0x1000).prop_map(|(page, count)| (page * PAGE, count * PAGE))
}

fn prot() -> impl Strategy<Value = (&'static str, Prot)> {
    prop::sample::select(vec![
        ("PROT_NONE", Prot::NONE),
        ("PROT_READ", Prot::from_bits(1)),
        ("PROT_READ|PROT_WRITE", Prot::RW),
        ("PROT_READ|PROT_WRITE|PROT_EXEC", Prot::from_bits(7)),
        ("PROT_READ|0x8 /* PROT_??? */", Prot::from_bits(1)),
    ])
}

fn written() -> impl Strategy<Value = Written> {
    let carry = Effect::Carry;
    prop_oneof![
        (pages(), prot(), any::<bool>(), any::<bool>()).prop_map(move |((at, len), (text, prot), shared, fixed)| {
            let sharing = if shared { Sharing::Shared } else { Sharing::Private };
            let placement = if fixed { Placement::Replacing } else { Placement::Free };
            let mut flags = String::from(if shared { "MAP_SHARED" } else { "MAP_PRIVATE" });
            flags += if fixed { "|MAP_FIXED|MAP_ANONYMOUS" } else { "|MAP_ANONYMOUS|MAP_NORESERVE" };
            Written {
                text: format!("mmap({at:#x}, {}, {text}, {flags}, -1, 0) = {at:#x}", len - 5),
                effect: carry(Call::Map { at: at..at + len, prot, sharing, backing: Backing::Anonymous, placement }),
            }
        }),
        pages().prop_map(move |(at, len)| Written {
            text: format!("munmap({at:#x}, {len})   = 0"),
            effect: carry(Call::Unmap { at: at..at + len }),
        }),
        (pages(), prot()).prop_map(move |((at, len), (text, prot))| Written {
            text: format!("mprotect({at:#x}, {len}, {text}) = 0 <0.000004>"),
            effect: carry(Call::Protect { at: at..at + len, prot }),
        }),
        (pages(), pages()).prop_map(move |((old, olds), (new, news))| Written {
            text: format!("mremap({old:#x}, {olds}, {news}, MREMAP_MAYMOVE) = {new:#x}"),
            effect: carry(Call::Remap { old: old..old + olds, new: new..new + news, placement: Placement::Free, left: OldPlace::Gone }),
        }),
        "[ -~]{0,20}".prop_map(move |name| Written {
            text: format!("execve(\"{}\", [\"a\", \"b,)\"...], 0x7ffc /* 3 vars */) = 0", name.replace('\\', "\\\\").replace('"', "\\\"")),
            effect: carry(Call::Exec),
        }),
        (1u32..).prop_map(move |child| Written {
            text: format!("clone3({{flags=CLONE_VM|CLONE_FS|CLONE_THREAD, tls=0x7f}} => {{parent_tid=[{child}]}}, 88) = {child}"),
            effect: carry(Call::Clone { child, memory: ChildMemory::Shared, kinship: Kinship::Thread }),
        }),
        Just(Written { text: "brk(NULL) = -1 ENOMEM (Cannot allocate memory)".into(), effect: Effect::Failed }),
        Just(Written { text: "frobnicate({a=[1, 2]}, 3</x>) = 7".into(), effect: Effect::Unknown("frobnicate".into()) }),
    ]
}

/// Where `text` can be cut in two: before a `,` or `)` that stands outside strings and brackets.
fn cuts(text: &str) -> Vec<usize> {
    let (mut depth, mut quoted, mut escaped, mut found) = (0, false, false, Vec::new());
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b',' if depth == 1 => {
                found.push(i);
                depth -= usize::from(b == b')');
            }
            b')' | b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    found
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse("x", &bytes);
    }

    #[test]
    fn no_almost_log_makes_it_panic(
        lines in prop::collection::vec((0u32..4, written(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        separators in prop::sample::select(vec!["\n", " <unfinished ...>\n", "\n1 <... mmap resumed>"]),
    ) {
        let mut text = Vec::new();
        for (pid, call, place, byte) in lines {
            let mut line = format!("{pid} {}", call.text).into_bytes();
            let place = place.index(line.len());
            line[place] = byte;
            text.extend(line);
            text.extend(separators.as_bytes());
        }
        if let Err(error) = parse("x", &text) {
            let lines: Vec<_> = text.split(|b| *b == b'\n').collect();
            prop_assert!(error.place.line >= 1 && error.place.line <= lines.len());
            prop_assert!(error.place.column >= 1 && error.place.column <= lines[error.place.line - 1].len() + 1, "{}", error);
        }
    }

    #[test]
    fn what_was_written_is_read(
        calls in prop::collection::vec((1u32..5, written(), prop::option::of(any::<prop::sample::Index>())), 1..20),
        time in prop::sample::select(vec!["", "12:00:01 ", "1700000000.000001 ", "     0.000100 "]),
    ) {
        let mut text = String::new();
        for (pid, call, cut) in &calls {
            let cuts = cuts(&call.text);
            match cut.map(|cut| cuts[cut.index(cuts.len())]) {
                None => writeln!(text, "{pid} {time}{}", call.text).unwrap(),
                Some(at) => {
                    let name = call.text.split('(').next().unwrap();
                    let (first, rest) = call.text.split_at(at);
                    writeln!(text, "{pid} {time}{first} <unfinished ...>").unwrap();
                    writeln!(text, "{} {time}--- SIGCHLD {{si_signo=SIGCHLD}} ---", pid + 10).unwrap();
                    writeln!(text, "{pid} {time}<... {name} resumed>{rest}").unwrap();
                }
            }
        }
        let log = parse("x", text.as_bytes()).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(log.records.len(), calls.len());
        for (record, (_, call, _)) in log.records.iter().zip(&calls) {
            prop_assert_eq!(&record.effect, &call.effect, "{}", call.text);
        }
    }
}
