//! One line of a log: whose it is, and of which sort.

use super::error::Misread;
use super::scan::{Scanner, is_word};

/// A line, read as far as it can be read alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) owner: Owner,
    pub(super) body: Body<'t>,
}

/// Who a line says it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// No process id: a log of one process.
    Unnamed,
    /// `1234 call(..)`, as `strace -o` writes it.
    Plain(u32),
    /// `[pid 1234] call(..)`, as strace writes to a terminal, where the first process may also be unnamed.
    Bracketed(u32),
}

/// What a line says. `start` is where its text begins in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body<'t> {
    /// Nothing that concerns memory: a signal, a remark, an empty line.
    Remark,
    /// A whole call, `name(..) = ..`.
    Call { start: usize, text: &'t [u8] },
    /// The first part of a call, without its `<unfinished ...>`.
    Begun { start: usize, text: &'t [u8] },
    /// The rest of a call that was begun before; `start` is where the rest begins.
    Resumed { name: &'t [u8], name_at: usize, start: usize, text: &'t [u8] },
    /// The process (or thread) is gone: `+++ exited with 0 +++`, `+++ killed by SIGKILL +++`.
    Gone,
    /// The process id now stands for the thread `by`, which called `execve`.
    Superseded { by: u32 },
}

const UNFINISHED: &[u8] = b"<unfinished ...>";

/// Reads one line, without its line end.
pub(super) fn read(line: &[u8]) -> Result<Line<'_>, Misread> {
    let mut s = Scanner::new(line);
    s.skip_spaces();
    if s.at_end() || s.rest().starts_with(b"strace: ") || s.rest().starts_with(b"[ Process ") {
        return Ok(Line { owner: Owner::Unnamed, body: Body::Remark });
    }
    let owner = owner(&mut s)?;
    time(&mut s, owner != Owner::Unnamed);
    instruction(&mut s);
    let body = if s.eat(b"+++ ") {
        ending(&mut s)?
    } else if s.eat(b"--- ") {
        Body::Remark
    } else if s.eat(b"<... ") {
        resumed(&mut s, line)?
    } else {
        call(&mut s, line)?
    };
    Ok(Line { owner, body })
}

fn pid(s: &mut Scanner<'_>) -> Result<u32, Misread> {
    let start = s.pos();
    let value = s.number()?;
    u32::try_from(value).map_err(|_| {
        s.seek(start);
        s.expected("a process id")
    })
}

fn owner(s: &mut Scanner<'_>) -> Result<Owner, Misread> {
    let start = s.pos();
    if s.eat(b"[pid") {
        s.skip_spaces();
        let pid = pid(s)?;
        s.annotation();
        if !s.eat(b"]") {
            return Err(s.expected("`]` after the process id"));
        }
        s.skip_spaces();
        return Ok(Owner::Bracketed(pid));
    }
    let digits = s.take_while(|b| b.is_ascii_digit()).len();
    if digits == 0 || matches!(s.peek(), Some(b'.' | b':')) {
        s.seek(start);
        return Ok(Owner::Unnamed);
    }
    s.seek(start);
    let pid = pid(s)?;
    s.annotation();
    if !matches!(s.peek(), Some(b' ' | b'\t')) {
        return Err(s.expected("a space after the process id"));
    }
    s.skip_spaces();
    Ok(Owner::Plain(pid))
}

/// Steps over a time, if one stands here: `-t`, `-tt`, `-ttt`, `-r`, or both of a kind.
///
/// After a process id, a bare number is a time too (`-t` with seconds of the epoch).
fn time(s: &mut Scanner<'_>, after_pid: bool) {
    let start = s.pos();
    let digits = s.take_while(|b| b.is_ascii_digit() || b == b'.' || b == b':');
    let is_time = digits.first().is_some_and(u8::is_ascii_digit)
        && (after_pid || digits.iter().any(|b| !b.is_ascii_digit()))
        && matches!(s.peek(), Some(b' ' | b'\t'));
    if !is_time {
        s.seek(start);
        return;
    }
    s.skip_spaces();
    if s.peek() == Some(b'(') {
        s.take_while(|b| b != b')');
        s.eat(b")");
        s.skip_spaces();
    }
}

/// Steps over where in the program the call was made, `[00007f6ca4c2ead7]` (`-i`), if that stands here.
fn instruction(s: &mut Scanner<'_>) {
    let start = s.pos();
    let stands =
        s.eat(b"[") && !s.take_while(|b| b.is_ascii_hexdigit() || b == b'?').is_empty() && s.eat(b"]");
    if stands {
        s.skip_spaces();
    } else {
        s.seek(start);
    }
}

fn ending<'t>(s: &mut Scanner<'t>) -> Result<Body<'t>, Misread> {
    if s.eat(b"exited with ") {
        s.number()?;
        return Ok(Body::Gone);
    }
    if s.eat(b"killed by ") {
        let signal = s.take_while(|b| is_word(b) || b == b'+' || b == b'-');
        return if signal.is_empty() { Err(s.expected("the name of a signal")) } else { Ok(Body::Gone) };
    }
    if s.eat(b"superseded by execve in pid ") {
        let by = pid(s)?;
        return Ok(Body::Superseded { by });
    }
    Err(s.expected("`exited with`, `killed by` or `superseded by execve in pid`"))
}

fn resumed<'t>(s: &mut Scanner<'t>, line: &'t [u8]) -> Result<Body<'t>, Misread> {
    let name_at = s.pos();
    let name = s.take_while(is_word);
    if name.is_empty() {
        return Err(s.expected("the name of a call"));
    }
    if !s.eat(b" resumed>") {
        return Err(s.expected("` resumed>`"));
    }
    // strace writes this where the call was cut short by an `execve` of another thread
    let after_name = s.pos();
    s.skip_spaces();
    if !s.eat(UNFINISHED) {
        s.seek(after_name);
    }
    let start = s.pos();
    Ok(Body::Resumed { name, name_at, start, text: &line[start..] })
}

fn call<'t>(s: &mut Scanner<'t>, line: &'t [u8]) -> Result<Body<'t>, Misread> {
    let start = s.pos();
    if s.take_while(is_word).is_empty() {
        return Err(s.expected("the name of a call"));
    }
    if s.peek() != Some(b'(') {
        return Err(s.expected("`(` after the name of the call"));
    }
    let text = line[start..].trim_ascii_end();
    Ok(match text.strip_suffix(UNFINISHED) {
        Some(text) => Body::Begun { start, text: text.trim_ascii_end() },
        None => Body::Call { start, text },
    })
}

#[cfg(test)]
mod tests {
    use super::super::error::{Found, Problem};
    use super::*;

    fn owner_of(line: &str) -> Owner {
        read(line.as_bytes()).unwrap().owner
    }

    #[test]
    fn finds_the_owner_past_every_time_format() {
        for line in [
            "munmap(0x1000, 4096) = 0",
            "12:30:01 munmap(0x1000, 4096) = 0",
            "12:30:01.123456 munmap(0x1000, 4096) = 0",
            "1700000000.123456 munmap(0x1000, 4096) = 0",
            "     0.000123 munmap(0x1000, 4096) = 0",
            "12:30:01 (+     0.000123) munmap(0x1000, 4096) = 0",
            "[00007f6ca4c2ead7] munmap(0x1000, 4096) = 0",
            "12:30:01 [????????????????] munmap(0x1000, 4096) = 0",
        ] {
            assert_eq!(owner_of(line), Owner::Unnamed, "{line}");
            assert_eq!(owner_of(&format!("77 {line}")), Owner::Plain(77), "{line}");
            assert_eq!(owner_of(&format!("[pid    77] {line}")), Owner::Bracketed(77), "{line}");
            assert_eq!(owner_of(&format!("77<gcc> {line}")), Owner::Plain(77), "{line}");
            let Body::Call { start, text } = read(line.as_bytes()).unwrap().body else { panic!("{line}") };
            assert_eq!(text, b"munmap(0x1000, 4096) = 0");
            assert_eq!(&line.as_bytes()[start..], text);
        }
    }

    #[test]
    fn tells_the_sorts_of_line_apart() {
        let body = |line: &'static str| read(line.as_bytes()).unwrap().body;
        assert_eq!(body(""), Body::Remark);
        assert_eq!(body("strace: Process 7 attached"), Body::Remark);
        assert_eq!(body("7 --- SIGCHLD {si_signo=SIGCHLD} ---"), Body::Remark);
        assert_eq!(body("7 +++ exited with 0 +++"), Body::Gone);
        assert_eq!(body("7 +++ killed by SIGSEGV (core dumped) +++"), Body::Gone);
        assert_eq!(body("7 +++ superseded by execve in pid 9 +++"), Body::Superseded { by: 9 });
        assert_eq!(body("7 vfork( <unfinished ...>"), Body::Begun { start: 2, text: b"vfork(" });
        assert_eq!(
            body("7 <... vfork resumed>) = 8"),
            Body::Resumed { name: b"vfork", name_at: 7, start: 21, text: b") = 8" }
        );
        assert_eq!(
            body("7 <... nanosleep resumed> <unfinished ...>) = ?"),
            Body::Resumed { name: b"nanosleep", name_at: 7, start: 42, text: b") = ?" }
        );
    }

    #[test]
    fn says_where_a_line_goes_wrong() {
        let error = |line: &'static str| read(line.as_bytes()).unwrap_err();
        let e = error("7 +++ vanished +++");
        assert_eq!(e.at, 6);
        let e = error("7 mmap 4096");
        assert_eq!(
            e,
            Misread::new(
                6,
                Problem::Expected {
                    what: "`(` after the name of the call",
                    found: Found::Text(" 4096".into())
                }
            )
        );
        assert_eq!(error("7 !").at, 2);
        assert_eq!(error("99999999999 brk(NULL) = 0").at, 0);
        assert_eq!(error("[pid 7 brk(NULL) = 0").at, 6);
        assert_eq!(error("7").at, 1);
    }
}
