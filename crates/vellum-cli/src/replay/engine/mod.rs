//! The engine: the log's events, one after the other.

mod fork;
mod steps;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::{Cause, Doing, ReplayError};
use super::kernel::{Kernel, Leaving};
use super::report::Report;
use super::tasks::{Occupancy, Task, Tasks};
use super::touch::{Mark, Touch};
use crate::model::{Model, SpaceId};
use crate::strace::{Call, ChildMemory, Effect, Event, Kinship, Log, What};

/// How a log is to be replayed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Virtual processors.
    pub cpus: usize,
    /// Bytes of physical memory.
    pub memory: usize,
    /// Which pages are touched.
    pub touch: Touch,
    /// After so many calls everything is compared with the model; `None`: only at the end of processes.
    pub check_every: Option<u64>,
}

/// What came of a replay.
#[derive(Debug)]
pub struct Outcome {
    /// What was counted, also if it failed.
    pub report: Report,
    /// Why it failed, if it did.
    pub error: Option<ReplayError>,
}

/// A call that makes a process, under way.
#[derive(Clone, Copy, Debug)]
struct Birth {
    record: usize,
    parent: u32,
}

/// An `mremap` under way.
#[derive(Clone, Copy, Debug)]
struct Moving {
    record: usize,
    pid: u32,
}

struct Engine<'l> {
    log: &'l Log,
    options: Options,
    model: Model,
    kernel: Kernel,
    tasks: Tasks,
    /// By child.
    births: BTreeMap<u32, Birth>,
    moving: Vec<Moving>,
    /// Which calls have been carried out.
    carried: Vec<bool>,
    /// Counts calls that change memory, and so names what is written.
    generation: u64,
    /// Where bystanders look next.
    turn: u64,
    report: Report,
}

/// Replays a log; `progress` is told the number of events that are done.
///
/// # Errors
///
/// None but in the [`Outcome`]: whatever fails, all is given back and counted first.
pub fn replay(log: &Log, options: Options, mut progress: impl FnMut(usize)) -> Outcome {
    let started = Instant::now();
    let mut report = Report {
        log: log.file.clone(),
        lines: log.lines,
        cpus: options.cpus,
        memory: options.memory,
        touch: options.touch,
        ..Report::default()
    };
    let kernel = match Kernel::boot(options.cpus, options.memory) {
        Ok(kernel) => kernel,
        Err(error) => {
            let error = Cause::from(error).of(&log.file, 1, Doing::Other("start"));
            report.error = Some(super::chain(&error));
            return Outcome { report, error: Some(error) };
        }
    };
    let mut engine = Engine {
        log,
        options,
        model: Model::default(),
        kernel,
        tasks: Tasks::new(options.cpus),
        births: BTreeMap::new(),
        moving: Vec::new(),
        carried: vec![false; log.records.len()],
        generation: 0,
        turn: 0,
        report,
    };
    let result = engine.run(&mut progress);
    engine.conclude(result, started)
}

impl Engine<'_> {
    fn run(&mut self, progress: &mut impl FnMut(usize)) -> Result<(), ReplayError> {
        for (done, event) in self.log.events.iter().enumerate() {
            self.event(*event)?;
            progress(done + 1);
        }
        // what was still alive when the recording ended
        self.tasks.pids().into_iter().try_for_each(|pid| self.end(pid, self.log.lines).map(drop))
    }

    fn event(&mut self, event: Event) -> Result<(), ReplayError> {
        let Event { line, pid, what } = event;
        match what {
            What::Begin(record) => self.begin(pid, record, line),
            What::End(record) => self.complete(pid, record, line),
            What::Whole(record) => {
                self.begin(pid, record, line)?;
                self.complete(pid, record, line)
            }
            What::Gone => self.end(pid, line).map(drop),
            What::Superseded { by } => {
                self.end(pid, line)?;
                self.tasks.rename(by, pid);
                self.moving.iter_mut().filter(|moving| moving.pid == by).for_each(|moving| moving.pid = pid);
                Ok(())
            }
        }
    }

    fn begin(&mut self, pid: u32, record: usize, line: usize) -> Result<(), ReplayError> {
        let task = self.present(pid, line)?;
        self.count(record);
        let Effect::Carry(call) = &self.log.records[record].effect else { return Ok(()) };
        match call {
            Call::Unmap { .. } | Call::Advise { .. } | Call::Exit => self.carry(pid, record, line),
            Call::Break { end } if self.model.space(task.space).heap_end().is_some_and(|now| *end < now) => {
                self.carry(pid, record, line)
            }
            Call::Clone { child, .. } => {
                self.births.insert(*child, Birth { record, parent: pid });
                Ok(())
            }
            Call::Remap { .. } => {
                self.moving.push(Moving { record, pid });
                Ok(())
            }
            Call::Break { .. } | Call::Map { .. } | Call::Protect { .. } | Call::Exec => Ok(()),
        }
    }

    fn complete(&mut self, pid: u32, record: usize, line: usize) -> Result<(), ReplayError> {
        if self.carried[record] {
            return Ok(());
        }
        self.present(pid, line)?;
        self.carry(pid, record, line)
    }

    fn count(&mut self, record: usize) {
        let record = &self.log.records[record];
        if let Effect::Unknown(label) = &record.effect {
            *self.report.unknown.entry(label.clone()).or_default() += 1;
        }
        let count = self.report.calls.entry(record.name.to_string()).or_default();
        count.calls += 1;
        count.failed += u64::from(record.effect == Effect::Failed);
        count.unseen += u64::from(record.effect == Effect::Unseen);
    }

    /// The process of a line: it may be one that some call is just making, or one that was there before the recording.
    fn present(&mut self, pid: u32, line: usize) -> Result<Task, ReplayError> {
        if let Some(task) = self.tasks.get(pid) {
            return Ok(task);
        }
        if let Some(birth) = self.births.get(&pid).copied() {
            self.carry(birth.parent, birth.record, line)?;
        }
        if let Some(task) = self.tasks.get(pid) {
            return Ok(task);
        }
        self.report.processes += 1;
        let space = self.new_space(self.tasks.next_cpu());
        let space = space.map_err(|cause| self.failed(cause, line, Doing::Other("make an address space")))?;
        Ok(self.tasks.start(pid, space))
    }

    fn new_space(&mut self, cpu: usize) -> Result<SpaceId, Cause> {
        self.report.spaces += 1;
        let space = self.model.create();
        self.kernel.create(cpu, space)?;
        Ok(space)
    }

    fn failed(&self, cause: Cause, line: usize, what: Doing) -> ReplayError {
        cause.of(&self.log.file, line, what)
    }

    /// Carries a call out, once.
    fn carry(&mut self, pid: u32, record: usize, line: usize) -> Result<(), ReplayError> {
        self.carried[record] = true;
        let log = self.log;
        let Effect::Carry(call) = &log.records[record].effect else { return Ok(()) };
        let name = &log.records[record].name;
        let outcome = match call {
            Call::Exit => return self.end_by_call(pid, record, line),
            Call::Exec => self.exec(pid, name),
            Call::Clone { .. } => self.clone_task(pid, call, name, line)?,
            memory => self.memory_call(pid, record, memory, line)?,
        };
        outcome.and_then(|()| self.check_now_and_then()).map_err(|cause| {
            let call = name.to_string();
            self.failed(cause, line, Doing::Call { call, pid })
        })
    }

    fn end_by_call(&mut self, pid: u32, record: usize, line: usize) -> Result<(), ReplayError> {
        let took = self.end(pid, line)?;
        self.timed(&self.log.records[record].name.clone(), took);
        Ok(())
    }

    fn timed(&mut self, name: &str, took: Duration) {
        self.report.calls.entry(name.to_owned()).or_default().carried(took);
    }

    fn exec(&mut self, pid: u32, name: &str) -> Result<(), Cause> {
        let Some(task) = self.tasks.end(pid) else { return Ok(()) };
        let mut took = Duration::ZERO;
        if self.tasks.occupancy(task.space) == Occupancy::Empty {
            took += self.leave(task, Leaving::Dropped)?;
        }
        let started = Instant::now();
        let space = self.new_space(task.cpu)?;
        self.tasks.resume(pid, Task { space, ..task });
        self.timed(name, took + started.elapsed());
        Ok(())
    }

    fn clone_task(
        &mut self,
        pid: u32,
        call: &Call,
        name: &str,
        line: usize,
    ) -> Result<Result<(), Cause>, ReplayError> {
        let Call::Clone { child, memory, kinship } = *call else { return Ok(Ok(())) };
        self.births.remove(&child);
        let parent = self.present(pid, line)?;
        // its number was used before, by one whose end the log does not show
        self.end(child, line)?;
        match kinship {
            Kinship::Thread => self.report.threads += 1,
            Kinship::Process => self.report.processes += 1,
        }
        Ok(match memory {
            ChildMemory::Shared => {
                let started = Instant::now();
                let task = self.tasks.start(child, parent.space);
                self.timed(name, started.elapsed());
                self.look_around(task)
            }
            ChildMemory::Copied => self.fork(pid, parent, child, name),
        })
    }

    /// Ends a process or thread, if it is alive; the last one ends the address space. Says how long the kernel took.
    fn end(&mut self, pid: u32, line: usize) -> Result<Duration, ReplayError> {
        self.moving.retain(|moving| moving.pid != pid);
        let Some(task) = self.tasks.end(pid) else { return Ok(Duration::ZERO) };
        if self.tasks.occupancy(task.space) == Occupancy::Shared {
            return Ok(Duration::ZERO);
        }
        self.leave(task, Leaving::Unmapped).map_err(|cause| self.failed(cause, line, Doing::End { pid }))
    }

    /// Compares a space with the model, and ends it.
    fn leave(&mut self, task: Task, way: Leaving) -> Result<Duration, Cause> {
        self.compare(&[task.space], task.cpu)?;
        self.model.destroy(task.space);
        Ok(self.kernel.destroy(task.cpu, task.space, way)?)
    }

    fn compare(&mut self, spaces: &[SpaceId], cpu: usize) -> Result<(), Cause> {
        let mut seen = Vec::new();
        for space in spaces {
            let view = self.kernel.view(cpu, *space)?;
            self.report.comparisons += 1;
            self.report.pages_compared += view.len() as u64;
            seen.push((*space, view));
        }
        Ok(self.model.compare(&seen)?)
    }

    fn check_now_and_then(&mut self) -> Result<(), Cause> {
        let due = self.options.check_every.is_some_and(|every| self.generation.is_multiple_of(every));
        if !due {
            return Ok(());
        }
        let all: Vec<_> = self.model.spaces().collect();
        self.compare(&all, 0)
    }

    fn mark(&self, pid: u32) -> Mark {
        Mark { pid, generation: self.generation }
    }

    /// Gives everything back, counts it, and says what came of it all.
    fn conclude(self, result: Result<(), ReplayError>, started: Instant) -> Outcome {
        let Engine { log, model, kernel, mut report, .. } = self;
        let failed = |cause: Cause, what| cause.of(&log.file, log.lines, Doing::Other(what));
        let mut error = result.err();
        match kernel.finish() {
            Ok(farewell) => {
                report.faults = farewell.faults;
                report.shootdowns = farewell.flushes.into();
                report.peak_frames = farewell.peak.frames;
                report.peak_page_table_frames = farewell.peak.table_frames;
                report.frames_leaked = farewell.leaked;
                let (expected, made) = (model.copies(), farewell.faults.copied);
                if error.is_none() && expected != made {
                    error = Some(failed(Cause::Copies { expected, made }, "match the copies on write"));
                }
                if error.is_none() && farewell.leaked != 0 {
                    error = Some(failed(Cause::Leaked(farewell.leaked), "give back every frame"));
                }
            }
            Err(cause) => error = error.or_else(|| Some(failed(cause.into(), "count the frames"))),
        }
        report.passed = error.is_none();
        report.error = error.as_ref().map(|error| super::chain(error));
        report.seconds = started.elapsed().as_secs_f64();
        Outcome { report, error }
    }
}
