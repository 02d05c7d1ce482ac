//! Reading a text byte by byte.

use std::ops::Range;

use super::error::{Found, Misread, Problem};

/// A text and how far it has been read.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'t> {
    text: &'t [u8],
    pos: usize,
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'?'
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t [u8]) -> Scanner<'t> {
        Scanner { text, pos: 0 }
    }

    /// Reads `text[range]` alone; positions stay those of `text`.
    pub(super) fn within(text: &'t [u8], range: Range<usize>) -> Scanner<'t> {
        Scanner { text: &text[..range.end], pos: range.start }
    }

    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    pub(super) fn seek(&mut self, pos: usize) {
        self.pos = pos.min(self.text.len());
    }

    pub(super) fn rest(&self) -> &'t [u8] {
        &self.text[self.pos..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    pub(super) fn at_end(&self) -> bool {
        self.pos == self.text.len()
    }

    pub(super) fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.pos += 1;
        }
    }

    /// Steps over `token` if it stands here.
    pub(super) fn eat(&mut self, token: &[u8]) -> bool {
        let here = self.rest().starts_with(token);
        if here {
            self.pos += token.len();
        }
        here
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'t [u8] {
        let start = self.pos;
        while self.peek().is_some_and(&wanted) {
            self.pos += 1;
        }
        &self.text[start..self.pos]
    }

    pub(super) fn fail(&self, problem: Problem) -> Misread {
        Misread::new(self.pos, problem)
    }

    pub(super) fn expected(&self, what: &'static str) -> Misread {
        self.fail(Problem::Expected { what, found: Found::at(self.rest()) })
    }

    /// A number as C writes it: decimal, `0x..` or octal, without sign.
    pub(super) fn number(&mut self) -> Result<u64, Misread> {
        let start = self.pos;
        let (radix, digits): (u32, &[u8]) = if self.eat(b"0x") || self.eat(b"0X") {
            (16, self.take_while(|b| b.is_ascii_hexdigit()))
        } else {
            let digits = self.take_while(|b| b.is_ascii_digit());
            if digits.len() > 1 && digits[0] == b'0' { (8, &digits[1..]) } else { (10, digits) }
        };
        if digits.is_empty() {
            self.pos = start;
            return Err(self.expected("a number"));
        }
        let mut value: u64 = 0;
        for &digit in digits {
            let Some(digit) = (digit as char).to_digit(radix) else {
                self.pos = start;
                return Err(self.expected("a number"));
            };
            let next = value.checked_mul(u64::from(radix)).and_then(|v| v.checked_add(u64::from(digit)));
            let Some(next) = next else {
                return Err(Misread::new(start, Problem::NumberTooLarge));
            };
            value = next;
        }
        Ok(value)
    }

    /// Steps over the string that starts here; the position is at its opening quote.
    fn string(&mut self) -> Result<(), Misread> {
        let start = self.pos;
        self.pos += 1;
        loop {
            match self.peek() {
                None => return Err(Misread::new(start, Problem::OpenString)),
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') => self.pos = (self.pos + 2).min(self.text.len()),
                Some(_) => self.pos += 1,
            }
        }
    }

    /// Steps over the comment that starts here; the position is at its `/*`.
    fn comment(&mut self) -> Result<(), Misread> {
        let rest = &self.rest()[2..];
        let Some(end) = rest.windows(2).position(|w| w == b"*/") else {
            return Err(self.fail(Problem::OpenComment));
        };
        self.pos += 2 + end + 2;
        Ok(())
    }

    pub(super) fn skip_blanks(&mut self) -> Result<(), Misread> {
        loop {
            self.skip_spaces();
            if !self.rest().starts_with(b"/*") {
                return Ok(());
            }
            self.comment()?;
        }
    }

    /// Steps over what decorates a descriptor or process id: `<..>`, in which `->` closes nothing.
    pub(super) fn annotation(&mut self) {
        if self.peek() != Some(b'<') || self.rest().starts_with(b"<<") {
            return;
        }
        let rest = self.rest();
        let end = (1..rest.len()).find(|&i| rest[i] == b'>' && rest[i - 1] != b'-');
        if let Some(end) = end {
            self.pos += end + 1;
        }
    }

    /// Reads up to `stop` bytes' first occurrence outside every bracket, string and comment, or to the end.
    ///
    /// The position is then at that byte. Brackets must be paired.
    pub(super) fn balanced(&mut self, stop: &[u8]) -> Result<Range<usize>, Misread> {
        let start = self.pos;
        let mut open: Vec<(u8, usize)> = Vec::new();
        while let Some(byte) = self.peek() {
            if open.is_empty() && stop.contains(&byte) {
                return Ok(start..self.pos);
            }
            match byte {
                b'"' => self.string()?,
                b'/' if self.rest().starts_with(b"/*") => self.comment()?,
                b'(' | b'[' | b'{' => {
                    open.push((byte, self.pos));
                    self.pos += 1;
                }
                b')' | b']' | b'}' => self.close(&mut open, byte)?,
                b'<' if self.pos > start
                    && is_word(self.text[self.pos - 1])
                    && !self.rest().starts_with(b"<<") =>
                {
                    let before = self.pos;
                    self.annotation();
                    self.pos = self.pos.max(before + 1);
                }
                b'<' if self.rest().starts_with(b"<<") => self.pos += 2,
                _ => self.pos += 1,
            }
        }
        match open.last() {
            Some(&(bracket, at)) => Err(Misread::new(at, Problem::OpenBracket(bracket as char))),
            None => Ok(start..self.pos),
        }
    }

    fn close(&mut self, open: &mut Vec<(u8, usize)>, close: u8) -> Result<(), Misread> {
        let Some((bracket, _)) = open.pop() else {
            return Err(self.fail(Problem::OpenBracket(close as char)));
        };
        let partner = match bracket {
            b'(' => b')',
            b'[' => b']',
            _ => b'}',
        };
        if close != partner {
            return Err(self.fail(Problem::CrossedBrackets { open: bracket as char, close: close as char }));
        }
        self.pos += 1;
        Ok(())
    }
}

/// `range` of `text` without the blanks at both ends.
pub(super) fn trim(text: &[u8], range: Range<usize>) -> Range<usize> {
    let mut range = range;
    while range.start < range.end && text[range.start].is_ascii_whitespace() {
        range.start += 1;
    }
    while range.start < range.end && text[range.end - 1].is_ascii_whitespace() {
        range.end -= 1;
    }
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_of_every_radix() {
        for (text, value) in
            [("0", 0), ("42", 42), ("0x2a", 42), ("052", 42), ("0xffffffffffffffff", u64::MAX)]
        {
            assert_eq!(Scanner::new(text.as_bytes()).number(), Ok(value), "{text}");
        }
        for text in ["", "x", "0x", "089", "-1"] {
            assert!(
                matches!(
                    Scanner::new(text.as_bytes()).number(),
                    Err(Misread { at: 0, problem: Problem::Expected { what: "a number", .. } })
                ),
                "{text}"
            );
        }
        assert_eq!(
            Scanner::new(b"18446744073709551616").number(),
            Err(Misread::new(0, Problem::NumberTooLarge))
        );
    }

    #[test]
    fn brackets_strings_and_comments_hide_commas() {
        let text = br#"{a=[1, 2], b="x,)\"y"}, 3</a,b)c>, 0x4 /* ,) */, [1->2])"#;
        let mut s = Scanner::new(text);
        let mut parts = Vec::new();
        loop {
            let part = s.balanced(b",)").unwrap();
            parts.push(String::from_utf8_lossy(&text[trim(text, part)]).into_owned());
            if s.peek() == Some(b')') {
                break;
            }
            s.seek(s.pos() + 1);
        }
        assert_eq!(parts, [r#"{a=[1, 2], b="x,)\"y"}"#, "3</a,b)c>", "0x4 /* ,) */", "[1->2]"]);
    }

    #[test]
    fn unpaired_brackets_are_found_where_they_stand() {
        assert_eq!(Scanner::new(b"a {b").balanced(b","), Err(Misread::new(2, Problem::OpenBracket('{'))));
        assert_eq!(
            Scanner::new(b"a {b)").balanced(b","),
            Err(Misread::new(4, Problem::CrossedBrackets { open: '{', close: ')' }))
        );
        assert_eq!(Scanner::new(b"ab]").balanced(b","), Err(Misread::new(2, Problem::OpenBracket(']'))));
        assert_eq!(Scanner::new(b"a \"b").balanced(b","), Err(Misread::new(2, Problem::OpenString)));
        assert_eq!(Scanner::new(b"a /* b").balanced(b","), Err(Misread::new(2, Problem::OpenComment)));
    }
}
