//! One call: changes of the model and the machine, touches, and what other processors see.

use std::ops::Range;

use vellum::space::user_top;

use super::super::access::Access;
use super::super::error::{Cause, ReplayError};
use super::super::kernel::{Bystander, Done, Step, Work};
use super::super::tasks::Task;
use super::super::touch::{MOST_WATCHED, spread, touch, visit, watch};
use super::Engine;
use crate::model::{Change, MapKind, SpaceId};
use crate::strace::{Call, Effect, Prot, Sharing};

/// Pages that a bystander uses during a step.
const USED_DURING: usize = 16;

/// What a step concerns.
struct Scene {
    cpu: usize,
    space: SpaceId,
    /// Addresses of the space whose pages may change.
    ranges: Vec<Range<u64>>,
}

impl Scene {
    /// What concerns the whole space.
    fn whole(cpu: usize, space: SpaceId) -> Scene {
        Scene { cpu, space, ranges: std::iter::once(0..u64::MAX).collect() }
    }
}

/// Other processors, ready for accesses of one.
pub(super) struct Prepared {
    scene: Scene,
    cast: Vec<Cast>,
    watched: Vec<u64>,
}

/// A bystander, and whether it is in the step's own space.
struct Cast {
    bystander: Bystander,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    SameSpace,
    Elsewhere,
}

impl Engine<'_> {
    /// Carries out a call that changes an address space.
    pub(super) fn memory_call(
        &mut self,
        pid: u32,
        record: usize,
        call: &Call,
        line: usize,
    ) -> Result<Result<(), Cause>, ReplayError> {
        let task = self.present(pid, line)?;
        self.moving.retain(|moving| moving.record != record);
        self.finish_moves_before(task.space, call, line)?;
        self.generation += 1;
        Ok(self.change_space(pid, task, &self.log.records[record].name.clone(), call))
    }

    /// Carries out each `mremap` under way whose old place `call` takes: it must have moved by now.
    fn finish_moves_before(&mut self, space: SpaceId, call: &Call, line: usize) -> Result<(), ReplayError> {
        let taken = match call {
            Call::Map { at, .. } => at.clone(),
            Call::Remap { new, .. } => new.clone(),
            Call::Break { end } => self.model.space(space).heap_end().unwrap_or(*end)..*end,
            _ => return Ok(()),
        };
        let log = self.log;
        let in_the_way = |engine: &Engine<'_>, pid: u32, record: usize| {
            let Effect::Carry(Call::Remap { old, .. }) = &log.records[record].effect else { return false };
            let same = engine.tasks.get(pid).is_some_and(|task| task.space == space);
            same && old.start < taken.end && taken.start < old.end
        };
        loop {
            let found =
                self.moving.iter().find(|moving| in_the_way(self, moving.pid, moving.record)).copied();
            let Some(moving) = found else { return Ok(()) };
            self.carry(moving.pid, moving.record, line)?;
        }
    }

    fn change_space(&mut self, pid: u32, task: Task, name: &str, call: &Call) -> Result<(), Cause> {
        for at in self.model.space(task.space).room_for(call) {
            self.report.implicit_mappings += 1;
            self.report.implicit_pages += (at.end - at.start) / crate::strace::PAGE;
            let room = Change::Map { at, prot: Prot::RW, sharing: Sharing::Private, kind: MapKind::Implicit };
            self.changes(pid, task, &[room])?;
        }
        let changes = self.model.space(task.space).changes_of(call)?;
        let done = self.changes(pid, task, &changes)?;
        if let Call::Break { end } = call {
            self.model.set_break(task.space, *end);
        }
        self.timed(name, done.took);
        Ok(())
    }

    /// Carries changes out in the model and on the machine, and checks what came of them on every processor.
    fn changes(&mut self, pid: u32, task: Task, changes: &[Change]) -> Result<Done, Cause> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in changes.iter().flat_map(|change| change.old_range().into_iter().chain([change.range()]))
        {
            if range.end > user_top().0 as u64 {
                return Err(Cause::NotUserSpace(range));
            }
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        let scene = Scene { cpu: task.cpu, space: task.space, ranges };
        let mut watched = self.watched(&scene);
        let cast = self.cast(&scene, &watched);
        changes.iter().for_each(|change| self.model.apply(task.space, change));
        let mut accesses = Vec::new();
        let mark = self.mark(pid);
        for range in &scene.ranges {
            accesses.extend(touch(&mut self.model, task.space, range, self.options.touch, mark));
        }
        watched.extend(self.watched(&scene));
        watched.sort_unstable();
        watched.dedup();
        self.perform(scene, Work::Changes(changes), &accesses, cast, watched)
    }

    /// Runs a step and counts it. The model is ahead: it is as the step has to leave it.
    fn perform(
        &mut self,
        scene: Scene,
        work: Work<'_>,
        accesses: &[Access],
        mut cast: Vec<Cast>,
        watched: Vec<u64>,
    ) -> Result<Done, Cause> {
        for member in cast.iter_mut().filter(|member| member.place == Place::SameSpace) {
            let space = self.model.space(scene.space);
            watched.iter().for_each(|at| watch(space, *at, &mut member.bystander.after));
        }
        let bystanders: Vec<_> = cast.into_iter().map(|member| member.bystander).collect();
        self.report.accesses += accesses.len() as u64;
        self.report.accesses +=
            bystanders.iter().map(|b| (b.before.len() + b.after.len()) as u64).sum::<u64>();
        let step = Step { cpu: scene.cpu, space: scene.space, work, accesses, bystanders: &bystanders };
        Ok(self.kernel.step(&step)?)
    }

    /// Pages of the scene that have a frame now, evenly spread.
    fn watched(&self, scene: &Scene) -> Vec<u64> {
        let space = self.model.space(scene.space);
        let pages: Vec<u64> = scene.ranges.iter().flat_map(|range| space.pages(range.clone())).collect();
        spread(pages.len(), MOST_WATCHED).map(|n| pages[n]).collect()
    }

    /// What the other processors do before and during a step; they are in the spaces they are in.
    fn cast(&mut self, scene: &Scene, watched: &[u64]) -> Vec<Cast> {
        let mut cast = Vec::new();
        for cpu in (0..self.options.cpus).filter(|cpu| *cpu != scene.cpu) {
            let Some(active) = self.kernel.active(cpu) else { continue };
            let place = if active == scene.space { Place::SameSpace } else { Place::Elsewhere };
            let space = self.model.space(active);
            let mut before = Vec::new();
            if place == Place::SameSpace {
                watched.iter().for_each(|at| visit(space, *at, &mut before));
            }
            let concerned =
                |at: &u64| place == Place::SameSpace && scene.ranges.iter().any(|range| range.contains(at));
            let from_turn = space.pages(self.turn..u64::MAX).chain(space.pages(0..self.turn));
            let steady = from_turn.take(4 * USED_DURING).filter(|at| !concerned(at) && space.is_private(*at));
            let mut during = Vec::new();
            let mut last = None;
            for at in steady.take(USED_DURING) {
                visit(space, at, &mut during);
                last = Some(at);
            }
            self.turn = last.map_or(0, |at| at + 1);
            let bystander = Bystander { cpu, before, during, after: Vec::new() };
            cast.push(Cast { bystander, place });
        }
        cast
    }

    /// Gets the other processors ready for accesses to these pages, of which the model knows nothing yet.
    pub(super) fn prepare(&mut self, cpu: usize, space: SpaceId, pages: &[u64]) -> Prepared {
        // nobody else may use pages of this space meanwhile: what they hold may change
        let scene = Scene::whole(cpu, space);
        let watched: Vec<u64> = spread(pages.len(), MOST_WATCHED).map(|n| pages[n]).collect();
        let cast = self.cast(&scene, &watched);
        Prepared { scene, cast, watched }
    }

    /// Has a process access pages, which changes nothing else. The model knows of the accesses now.
    pub(super) fn access(&mut self, prepared: Prepared, accesses: &[Access]) -> Result<(), Cause> {
        let Prepared { scene, cast, watched } = prepared;
        self.perform(scene, Work::None, accesses, cast, watched)?;
        Ok(())
    }

    /// Has a new thread use its space, which makes the space active on its processor.
    pub(super) fn look_around(&mut self, task: Task) -> Result<(), Cause> {
        let space = self.model.space(task.space);
        let mut accesses = Vec::new();
        space.pages(0..u64::MAX).take(MOST_WATCHED).for_each(|at| visit(space, at, &mut accesses));
        let prepared = self.prepare(task.cpu, task.space, &[]);
        self.access(prepared, &accesses)
    }

    /// Copies a space, with the other processors watching.
    pub(super) fn copy_space(&mut self, parent: Task) -> Result<(SpaceId, Done), Cause> {
        let scene = Scene::whole(parent.cpu, parent.space);
        let watched = self.watched(&scene);
        let cast = self.cast(&scene, &watched);
        self.report.spaces += 1;
        let child = self.model.fork(parent.space);
        let done = self.perform(scene, Work::Fork { child }, &[], cast, watched)?;
        Ok((child, done))
    }
}
