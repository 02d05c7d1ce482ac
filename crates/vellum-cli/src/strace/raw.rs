//! A call as text: its name, its arguments, what it returned.

use std::ops::Range;

use super::error::Misread;
use super::scan::{Scanner, is_word, trim};

/// A call whose arguments have been told apart, but not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawCall<'t> {
    pub(super) text: &'t [u8],
    pub(super) name: Range<usize>,
    /// Where each argument stands in `text`.
    pub(super) args: Vec<Range<usize>>,
    /// Where the closing bracket stands.
    pub(super) close: usize,
    pub(super) outcome: Outcome,
    /// Where the outcome stands.
    pub(super) outcome_at: usize,
}

/// What a call returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned this value.
    Returned(u64),
    /// It failed, and changed nothing.
    Failed,
    /// It did not return, or nobody saw what it returned.
    Unseen,
}

/// Reads `name(argument, ..) = outcome`.
pub(super) fn read(text: &[u8]) -> Result<RawCall<'_>, Misread> {
    let mut s = Scanner::new(text);
    let name = s.take_while(is_word).len();
    if !s.eat(b"(") {
        return Err(s.expected("`(` after the name of the call"));
    }
    let args = arguments(&mut s, text)?;
    let close = s.pos();
    s.eat(b")");
    s.skip_spaces();
    if !s.eat(b"=") {
        return Err(s.expected("`=` and what the call returned"));
    }
    s.skip_spaces();
    let outcome_at = s.pos();
    let outcome = outcome(&mut s)?;
    Ok(RawCall { text, name: 0..name, args, close, outcome, outcome_at })
}

/// Reads up to the closing bracket, which is then next.
fn arguments(s: &mut Scanner<'_>, text: &[u8]) -> Result<Vec<Range<usize>>, Misread> {
    let mut args = Vec::new();
    loop {
        let arg = trim(text, s.balanced(b",)")?);
        match s.peek() {
            Some(b')') => {
                // a call that never returned: `exit_group(0 <unfinished ...>) = ?`
                let arg = match text[arg.clone()].strip_suffix(b"<unfinished ...>") {
                    Some(kept) => trim(text, arg.start..arg.start + kept.len()),
                    None => arg,
                };
                if !arg.is_empty() {
                    args.push(arg);
                }
                return Ok(args);
            }
            Some(_) if arg.is_empty() => return Err(s.expected("an argument")),
            Some(_) => {
                args.push(arg);
                s.eat(b",");
            }
            None => return Err(s.expected("`)` after the arguments")),
        }
    }
}

fn outcome(s: &mut Scanner<'_>) -> Result<Outcome, Misread> {
    if s.eat(b"?") {
        return Ok(Outcome::Unseen);
    }
    let negative = s.eat(b"-");
    let value = if !negative && s.eat(b"NULL") {
        0
    } else {
        s.number().map_err(|_| s.expected("what the call returned"))?
    };
    s.annotation();
    if !matches!(s.peek(), None | Some(b' ' | b'\t')) {
        return Err(s.expected("a space after what the call returned"));
    }
    Ok(if negative { Outcome::Failed } else { Outcome::Returned(value) })
}

impl<'t> RawCall<'t> {
    pub(super) fn name(&self) -> &'t [u8] {
        &self.text[self.name.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        let raw = read(text.as_bytes()).unwrap();
        raw.args.iter().map(|r| String::from_utf8_lossy(&raw.text[r.clone()]).into_owned()).collect()
    }

    #[test]
    fn tells_arguments_apart() {
        assert_eq!(args("vfork() = 3"), Vec::<String>::new());
        assert_eq!(args("exit_group(0 <unfinished ...>) = ?"), ["0"]);
        assert_eq!(
            args(r#"execve("/bin/a b", ["a", "b)"...], 0x7f /* 3 vars */) = 0"#),
            [r#""/bin/a b""#, r#"["a", "b)"...]"#, "0x7f /* 3 vars */"]
        );
        assert_eq!(
            args("clone3({flags=A|B, tls=0x1} => {parent_tid=[5361]}, 88) = 5361"),
            ["{flags=A|B, tls=0x1} => {parent_tid=[5361]}", "88"]
        );
        assert_eq!(args("wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 7").len(), 4);
        assert_eq!(args("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</x,y)>, 0) = 0x7f00").len(), 6);
    }

    #[test]
    fn reads_every_sort_of_outcome() {
        let outcome = |text: &str| read(format!("f(1)  {text}").as_bytes()).map(|raw| raw.outcome);
        assert_eq!(outcome("= 0"), Ok(Outcome::Returned(0)));
        assert_eq!(outcome("   = 0x7f00 <0.000012>"), Ok(Outcome::Returned(0x7f00)));
        assert_eq!(outcome("= 12<gcc>"), Ok(Outcome::Returned(12)));
        assert_eq!(outcome("= -1 ENOMEM (Cannot allocate memory)"), Ok(Outcome::Failed));
        assert_eq!(outcome("= ? ERESTARTSYS (To be restarted if SA_RESTART is set)"), Ok(Outcome::Unseen));
        assert_eq!(outcome("= ?"), Ok(Outcome::Unseen));
        assert_eq!(outcome("= 0 (Timeout)"), Ok(Outcome::Returned(0)));
        assert_eq!(outcome("0").unwrap_err().at, 6);
        assert_eq!(outcome("= x").unwrap_err().at, 8);
        assert_eq!(outcome("=").unwrap_err().at, 7);
        assert_eq!(outcome("= 12x").unwrap_err().at, 10);
    }

    #[test]
    fn says_where_a_call_goes_wrong() {
        assert_eq!(read(b"f(1, 2").unwrap_err().at, 6);
        assert_eq!(read(b"f(1, , 2) = 0").unwrap_err().at, 5);
        assert_eq!(read(b"f(1, {2) = 0").unwrap_err().at, 7);
        assert_eq!(read(b"f(\"x) = 0").unwrap_err().at, 2);
    }
}
