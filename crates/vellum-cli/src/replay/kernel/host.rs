//! The machine under the kernel: which processor does what.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vellum::space::VmSpace;
use vellum::tlb;
use vellum_hosted::{Machine, MachineConfig};
use vellum_machine::cpu::{self, CpuId};

use super::error::KernelError;
use super::fault::{Counters, FaultCounts};
use super::frames;
use super::space::Space;
use crate::model::{Change, Seen, SpaceId};
use crate::replay::access::Access;

/// The machine, and the address spaces on it.
pub struct Kernel {
    machine: Machine,
    spaces: BTreeMap<SpaceId, Space>,
    /// By processor.
    active: Vec<Option<SpaceId>>,
    counters: Arc<Counters>,
    /// Frames that were handed out before the first space was made.
    baseline: usize,
    peak: Peak,
    /// What flushing had cost by then.
    flushes: tlb::Statistics,
    /// After so many rounds of waiting a processor lets the host's others run.
    patience: u32,
}

/// What a processor does for one call of the log, and what the others do meanwhile.
pub struct Step<'a> {
    /// The processor.
    pub cpu: usize,
    /// The space of the process that made the call; it is made active.
    pub space: SpaceId,
    /// What the kernel does.
    pub work: Work<'a>,
    /// What user code does after it, there.
    pub accesses: &'a [Access],
    /// What other processors do.
    pub bystanders: &'a [Bystander],
}

/// What the kernel does in a step.
#[derive(Clone, Copy)]
pub enum Work<'a> {
    /// Nothing.
    None,
    /// These changes of the space.
    Changes(&'a [Change]),
    /// A copy of it, as `fork` makes it.
    Fork {
        /// The number of the copy.
        child: SpaceId,
    },
}

/// What user code on another processor does during a step, in the space that is active there.
#[derive(Clone, Debug)]
pub struct Bystander {
    /// The processor.
    pub cpu: usize,
    /// Once, before it: fills the translation cache.
    pub before: Vec<Access>,
    /// Again and again while it goes on.
    pub during: Vec<Access>,
    /// Once, after it: finds stale translations.
    pub after: Vec<Access>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// How long the kernel worked.
    pub took: Duration,
}

/// The most frames that were in use at the end of a step, beyond those of the machine itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// All of them.
    pub frames: usize,
    /// Those that hold page tables.
    pub table_frames: usize,
}

fn cpu_id(index: usize) -> CpuId {
    CpuId::new(index as u32).expect("the machine was made with this many processors")
}

/// Says so when it is dropped, whatever the reason.
struct SayDone<'a>(&'a AtomicBool);

impl Drop for SayDone<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Bystander::attend`.
        self.0.store(true, Ordering::Release);
    }
}

/// Counts one more when it is dropped, whatever the reason.
struct SayReady<'a>(&'a AtomicUsize);

impl Drop for SayReady<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Kernel::step`.
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Waits until `over`, serving other processors, and leaves the host's processor to others after a while.
fn wait_until(patience: u32, mut over: impl FnMut() -> bool) {
    let mut rounds = 0;
    while !over() {
        cpu::relax();
        rounds += 1;
        if rounds % patience == 0 {
            thread::yield_now();
        }
    }
}

fn perform(accesses: &[Access], space: &Space) -> Result<(), KernelError> {
    for access in accesses {
        if let Err(error) = access.perform() {
            let cpu = cpu::current().index();
            return Err(space
                .take_lacked()
                .map_or(KernelError::Access { cpu, error }, KernelError::OutOfMemory));
        }
    }
    Ok(())
}

impl Bystander {
    fn attend(&self, space: &Space, stage: &Stage) -> Result<(), KernelError> {
        {
            let _ready = SayReady(&stage.ready);
            perform(&self.before, space)?;
        }
        let mut outcome = Ok(());
        wait_until(stage.patience, || {
            // Acquire: pairs with the Release in `SayDone::drop`.
            let over = stage.done.load(Ordering::Acquire);
            if !over && outcome.is_ok() {
                outcome = perform(&self.during, space);
            }
            over
        });
        outcome.and_then(|()| perform(&self.after, space))
    }
}

/// Where a step stands.
struct Stage {
    ready: AtomicUsize,
    done: AtomicBool,
    patience: u32,
}

/// What a step came to on its own processor.
struct Carried {
    /// How long the kernel worked.
    outcome: Result<Duration, KernelError>,
    child: Option<Space>,
    frames: usize,
    user_frames: usize,
}

impl Step<'_> {
    fn carry(&self, space: &Space, stage: &Stage) -> Carried {
        let _done = SayDone(&stage.done);
        // Acquire: pairs with the Release in `SayReady::drop`.
        wait_until(stage.patience, || stage.ready.load(Ordering::Acquire) == self.bystanders.len());
        space.vm.activate();
        let start = Instant::now();
        let (child, outcome) = self.work(space);
        let took = start.elapsed();
        let outcome = outcome.and_then(|()| perform(self.accesses, space)).map(|()| took);
        Carried { outcome, child, frames: frames::allocated(), user_frames: frames::live() }
    }

    fn work(&self, space: &Space) -> (Option<Space>, Result<(), KernelError>) {
        match self.work {
            Work::None => (None, Ok(())),
            Work::Changes(changes) => (None, changes.iter().try_for_each(|change| space.apply(change))),
            Work::Fork { .. } => match space.fork() {
                Ok(child) => (Some(child), Ok(())),
                Err(error) => (None, Err(error)),
            },
        }
    }
}

/// How a space ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Its pages are unmapped while processors have it active.
    Unmapped,
    /// Its handle is dropped, and it goes when the last processor leaves it.
    Dropped,
}

/// What is left when everything is over.
#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    /// What faults came to.
    pub faults: FaultCounts,
    /// What flushing cost.
    pub flushes: tlb::Statistics,
    /// How many frames were in use at once.
    pub peak: Peak,
    /// Frames that are handed out now and were not before the first space was made.
    pub leaked: i64,
}

impl Kernel {
    /// Starts the machine.
    ///
    /// # Errors
    ///
    /// [`KernelError::Boot`], [`KernelError::Init`].
    pub fn boot(cpus: usize, memory: usize) -> Result<Kernel, KernelError> {
        let machine = Machine::boot(MachineConfig { cpus, memory, ..MachineConfig::default() })?;
        let baseline = machine.run_on(CpuId::BOOT, || {
            vellum::space::init().map_err(KernelError::Init)?;
            vellum::barrier().map_err(KernelError::Barrier)?;
            Ok::<_, KernelError>(frames::allocated())
        })?;
        let crowded = thread::available_parallelism().is_ok_and(|host| host.get() < cpus);
        Ok(Kernel {
            machine,
            spaces: BTreeMap::new(),
            active: vec![None; cpus],
            counters: Arc::default(),
            baseline,
            peak: Peak::default(),
            flushes: tlb::statistics(),
            patience: if crowded { 4 } else { 4096 },
        })
    }

    /// The space that is active on a processor, if it is still there.
    pub fn active(&self, cpu: usize) -> Option<SpaceId> {
        self.active[cpu]
    }

    /// Makes an empty space.
    ///
    /// # Errors
    ///
    /// [`KernelError::OutOfMemory`].
    pub fn create(&mut self, cpu: usize, id: SpaceId) -> Result<(), KernelError> {
        let counters = &self.counters;
        let space = self.machine.run_on(cpu_id(cpu), || Space::new(counters))?;
        self.spaces.insert(id, space);
        Ok(())
    }

    /// Has processors do what a call needs.
    ///
    /// # Errors
    ///
    /// What failed on the step's own processor; else, on a bystander's.
    pub fn step(&mut self, step: &Step<'_>) -> Result<Done, KernelError> {
        let space = &self.spaces[&step.space];
        let stage =
            Stage { ready: AtomicUsize::new(0), done: AtomicBool::new(false), patience: self.patience };
        let stage = &stage;
        let (carried, others) = self.machine.scope(|scope| {
            let mut others = Vec::new();
            for bystander in step.bystanders {
                let active = self.active(bystander.cpu).map_or(space, |id| &self.spaces[&id]);
                others.push(scope.spawn(cpu_id(bystander.cpu), move || bystander.attend(active, stage)));
            }
            let own = scope.spawn(cpu_id(step.cpu), move || step.carry(space, stage));
            let carried = own.join().unwrap_or_else(|panic| resume_unwind(panic));
            let others: Vec<_> = others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect();
            (carried, others.into_iter().collect::<Result<(), _>>())
        });
        self.active[step.cpu] = Some(step.space);
        let frames = carried.frames.saturating_sub(self.baseline);
        self.peak.frames = self.peak.frames.max(frames);
        self.peak.table_frames = self.peak.table_frames.max(frames.saturating_sub(carried.user_frames));
        if let (Work::Fork { child: id }, Some(child)) = (step.work, carried.child) {
            self.spaces.insert(id, child);
        }
        let took = carried.outcome?;
        others?;
        Ok(Done { took })
    }

    /// Shows every page of a space, in order.
    ///
    /// # Errors
    ///
    /// [`KernelError::OutOfMemory`] if there is no memory to lock it.
    pub fn view(&self, cpu: usize, id: SpaceId) -> Result<Vec<Seen>, KernelError> {
        let space = &self.spaces[&id];
        self.machine.run_on(cpu_id(cpu), || space.view())
    }

    /// Ends a space, and says how long that took.
    ///
    /// # Errors
    ///
    /// [`KernelError::Refused`] if it cannot be unmapped; it is gone all the same.
    pub fn destroy(&mut self, cpu: usize, id: SpaceId, way: Leaving) -> Result<Duration, KernelError> {
        let Some(space) = self.spaces.remove(&id) else { return Ok(Duration::ZERO) };
        let outcome = self.machine.run_on(cpu_id(cpu), move || {
            let start = Instant::now();
            let outcome = match way {
                Leaving::Unmapped => space.clear(),
                Leaving::Dropped => Ok(()),
            };
            space.abandon();
            drop(space);
            outcome.map(|()| start.elapsed())
        });
        for (cpu, active) in self.active.iter_mut().enumerate().filter(|(_, active)| **active == Some(id)) {
            *active = None;
            if way == Leaving::Dropped {
                self.machine.run_on(cpu_id(cpu), VmSpace::deactivate_current);
            }
        }
        outcome
    }

    /// Ends everything, gives back what waits, and counts what is left.
    ///
    /// # Errors
    ///
    /// [`KernelError::Barrier`].
    pub fn finish(mut self) -> Result<Farewell, KernelError> {
        let spaces = std::mem::take(&mut self.spaces);
        let counters = self.counters.clone();
        self.machine.run_on(CpuId::BOOT, move || {
            spaces.values().for_each(Space::abandon);
            drop(spaces);
        });
        self.machine.on_all(|_| VmSpace::deactivate_current());
        let allocated = self.machine.run_on(CpuId::BOOT, || {
            vellum::barrier().map_err(KernelError::Barrier)?;
            Ok::<_, KernelError>(frames::allocated())
        })?;
        let (now, before) = (tlb::statistics(), self.flushes);
        Ok(Farewell {
            faults: counters.read(),
            flushes: tlb::Statistics {
                operations: now.operations - before.operations,
                folded: now.folded - before.folded,
                local_flushes: now.local_flushes - before.local_flushes,
                shootdowns: now.shootdowns - before.shootdowns,
                requests: now.requests - before.requests,
                acknowledgements: now.acknowledgements - before.acknowledgements,
                remote_fences: now.remote_fences - before.remote_fences,
                dropped: now.dropped - before.dropped,
            },
            peak: self.peak,
            leaked: allocated as i64 - self.baseline as i64,
        })
    }
}
