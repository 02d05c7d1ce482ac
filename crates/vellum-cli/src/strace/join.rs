//! From lines to calls: joins the halves of a call that was interrupted in the log, and tells the processes apart.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{self, Call, Effect};
use super::error::{Misread, ParseError, Place, Problem};
use super::line::{self, Body, Owner};
use super::raw;
use super::{Event, Log, Record, What};

/// The process id of a log that names none.
const UNNAMED: u32 = 0;

/// The first half of a call.
struct Pending {
    record: usize,
    text: Vec<u8>,
    place: Place,
}

/// Reads the lines of a log one after the other.
pub(super) struct Joiner {
    log: Log,
    pending: BTreeMap<u32, Pending>,
    /// Processes that have had a line and are not gone.
    alive: BTreeSet<u32>,
    /// Processes that some call made.
    born: BTreeSet<u32>,
    /// The number that the unnamed process turned out to have.
    unnamed_is: Option<u32>,
}

impl Joiner {
    pub(super) fn new(file: &str) -> Joiner {
        let log = Log { file: file.to_owned(), lines: 0, records: Vec::new(), events: Vec::new() };
        Joiner {
            log,
            pending: BTreeMap::new(),
            alive: BTreeSet::new(),
            born: BTreeSet::new(),
            unnamed_is: None,
        }
    }

    pub(super) fn line(&mut self, text: &[u8]) -> Result<(), ParseError> {
        self.log.lines += 1;
        let number = self.log.lines;
        let line =
            line::read(text).map_err(|m| self.error(Place { line: number, column: m.at + 1 }, m.problem))?;
        if line.body == Body::Remark {
            return Ok(());
        }
        let pid = self.owner(line.owner)?;
        match line.body {
            Body::Remark => {}
            Body::Gone => self.gone(pid),
            Body::Superseded { by } => self.superseded(pid, by),
            Body::Call { start, text } => self.whole(pid, start, text)?,
            Body::Begun { start, text } => self.begun(pid, start, text)?,
            Body::Resumed { name, name_at, start, text } => self.resumed(pid, name, name_at, start, text)?,
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Log, ParseError> {
        if self.log.records.is_empty() {
            let line = self.log.lines.max(1);
            return Err(self.error(Place { line, column: 1 }, Problem::NoCall));
        }
        Ok(self.log)
    }

    fn error(&self, place: Place, problem: Problem) -> ParseError {
        ParseError { file: self.log.file.clone(), place, problem }
    }

    fn here(&self, column: usize, problem: Problem) -> ParseError {
        self.error(Place { line: self.log.lines, column }, problem)
    }

    fn owner(&mut self, owner: Owner) -> Result<u32, ParseError> {
        let pid = match owner {
            Owner::Plain(pid) => pid,
            Owner::Bracketed(pid) => {
                let unnamed = self.unnamed_is.is_none() && self.alive.contains(&UNNAMED);
                if unnamed && !self.born.contains(&pid) {
                    self.unnamed_is = Some(pid);
                }
                if self.unnamed_is == Some(pid) { UNNAMED } else { pid }
            }
            Owner::Unnamed if self.alive.len() > 1 => {
                return Err(self.here(1, Problem::WhoseLine(self.alive.len())));
            }
            Owner::Unnamed => self.alive.first().copied().unwrap_or(UNNAMED),
        };
        self.alive.insert(pid);
        Ok(pid)
    }

    fn event(&mut self, pid: u32, what: What) {
        self.log.events.push(Event { line: self.log.lines, pid, what });
    }

    fn gone(&mut self, pid: u32) {
        self.alive.remove(&pid);
        self.pending.remove(&pid);
        self.event(pid, What::Gone);
    }

    fn superseded(&mut self, pid: u32, by: u32) {
        self.alive.remove(&by);
        match self.pending.remove(&by) {
            Some(pending) => self.pending.insert(pid, pending),
            None => self.pending.remove(&pid),
        };
        self.event(pid, What::Superseded { by });
    }

    fn still_begun(&self, pid: u32, column: usize) -> Result<(), ParseError> {
        match self.pending.get(&pid) {
            None => Ok(()),
            Some(pending) => {
                let begun = self.log.records[pending.record].name.to_string();
                Err(self.here(column, Problem::StillBegun { begun, line: pending.place.line }))
            }
        }
    }

    fn whole(&mut self, pid: u32, start: usize, text: &[u8]) -> Result<(), ParseError> {
        self.still_begun(pid, start + 1)?;
        let (name, effect) = read_call(text).map_err(|m| self.here(start + m.at + 1, m.problem))?;
        self.note_birth(&effect);
        let record = self.log.records.len();
        self.log.records.push(Record { line: self.log.lines, name, effect });
        self.event(pid, What::Whole(record));
        Ok(())
    }

    fn begun(&mut self, pid: u32, start: usize, text: &[u8]) -> Result<(), ParseError> {
        self.still_begun(pid, start + 1)?;
        let record = self.log.records.len();
        let end = text.iter().position(|b| *b == b'(').unwrap_or(text.len());
        let name = String::from_utf8_lossy(&text[..end]).into();
        let effect = if matches!(&text[..end], b"exit" | b"exit_group") {
            Effect::Carry(Call::Exit)
        } else {
            Effect::Unseen
        };
        let place = Place { line: self.log.lines, column: start + 1 };
        self.log.records.push(Record { line: self.log.lines, name, effect });
        self.pending.insert(pid, Pending { record, text: text.to_vec(), place });
        self.event(pid, What::Begin(record));
        Ok(())
    }

    fn resumed(
        &mut self,
        pid: u32,
        name: &[u8],
        name_at: usize,
        start: usize,
        text: &[u8],
    ) -> Result<(), ParseError> {
        let resumed = String::from_utf8_lossy(name).into_owned();
        let Some(mut pending) = self.pending.remove(&pid) else {
            return Err(self.here(name_at + 1, Problem::NotBegun(resumed)));
        };
        let begun = &self.log.records[pending.record].name;
        if **begun != *resumed {
            let begun = begun.to_string();
            return Err(
                self.here(name_at + 1, Problem::OtherBegun { resumed, begun, line: pending.place.line })
            );
        }
        let first = pending.text.len();
        pending.text.extend_from_slice(text);
        let (_, effect) = read_call(&pending.text).map_err(|Misread { at, problem }| {
            let begun_here = Place { line: pending.place.line, column: pending.place.column + at };
            if at < first {
                self.error(begun_here, problem)
            } else {
                self.here(start + (at - first) + 1, problem)
            }
        })?;
        self.note_birth(&effect);
        self.log.records[pending.record].effect = effect;
        self.event(pid, What::End(pending.record));
        Ok(())
    }

    fn note_birth(&mut self, effect: &Effect) {
        if let Effect::Carry(Call::Clone { child, .. }) = effect {
            self.born.insert(*child);
        }
    }
}

fn read_call(text: &[u8]) -> Result<(Box<str>, Effect), Misread> {
    let raw = raw::read(text)?;
    let effect = call::read(&raw)?;
    Ok((String::from_utf8_lossy(raw.name()).into(), effect))
}
