//! `fork`: the copy, and writes by both sides that make it real.

use super::super::access::Access;
use super::super::error::Cause;
use super::super::tasks::Task;
use super::super::touch::{MOST_WATCHED, Mark, Touch, write};
use super::Engine;
use crate::model::SpaceId;

/// One side of a fork.
#[derive(Clone, Copy)]
struct Side {
    cpu: usize,
    space: SpaceId,
    mark: Mark,
}

impl Engine<'_> {
    /// Makes a child with a copy of the parent's space. Then both write the pages that they share, some the parent first, some
    /// the child: whoever comes first has to get a copy, whoever comes second keeps the frame, and neither may see what the
    /// other wrote.
    pub(super) fn fork(&mut self, pid: u32, parent: Task, child: u32, name: &str) -> Result<(), Cause> {
        self.generation += 1;
        let (space, done) = self.copy_space(parent)?;
        self.timed(name, done.took);
        let task = self.tasks.start(child, space);
        let ours = Side { cpu: self.another_cpu_of(parent), space: parent.space, mark: self.mark(pid) };
        let theirs = Side { cpu: task.cpu, space, mark: self.mark(child) };
        let pages = self.pages_to_write(space);
        let (child_first, parent_first): (Vec<_>, Vec<_>) =
            pages.iter().enumerate().partition(|(n, _)| n % 2 == 0);
        let only = |pages: Vec<(usize, &u64)>| pages.into_iter().map(|(_, at)| *at).collect::<Vec<u64>>();
        let (child_first, parent_first) = (only(child_first), only(parent_first));
        self.write_and_look(ours, &parent_first, &child_first)?;
        self.write_and_look(theirs, &pages, &[])?;
        self.write_and_look(ours, &child_first, &parent_first)?;
        self.write_and_look(theirs, &[], &pages)
    }

    /// A processor on which the parent's space is active, not its own if there is one: it has translations from before.
    fn another_cpu_of(&self, parent: Task) -> usize {
        let elsewhere = (0..self.options.cpus)
            .find(|cpu| *cpu != parent.cpu && self.kernel.active(*cpu) == Some(parent.space));
        elsewhere.unwrap_or(parent.cpu)
    }

    fn pages_to_write(&self, child: SpaceId) -> Vec<u64> {
        let space = self.model.space(child);
        let writable = |at: &u64| space.prot(*at).writable();
        match self.options.touch {
            Touch::First => {
                space.mapped(0..u64::MAX).filter_map(|area| space.pages(area).find(writable)).collect()
            }
            policy => policy.among(&space.pages(0..u64::MAX).filter(writable).collect::<Vec<_>>()),
        }
    }

    /// One side looks at pages, then writes others and reads those back, a few at a time: as many as other processors watch.
    fn write_and_look(&mut self, side: Side, written: &[u64], looked_at: &[u64]) -> Result<(), Cause> {
        let looks: Vec<Access> = looked_at.iter().filter_map(|at| self.look(side.space, *at)).collect();
        if !looks.is_empty() {
            let prepared = self.prepare(side.cpu, side.space, &[]);
            self.access(prepared, &looks)?;
        }
        for written in written.chunks(MOST_WATCHED) {
            let prepared = self.prepare(side.cpu, side.space, written);
            let mut accesses: Vec<Access> =
                written.iter().filter_map(|at| self.look(side.space, *at)).collect();
            for &at in written {
                if let Some(contents) = write(&mut self.model, side.space, at, side.mark) {
                    accesses.extend([Access::Store(at, contents), Access::Load(at, contents)]);
                }
            }
            self.access(prepared, &accesses)?;
        }
        Ok(())
    }

    fn look(&self, space: SpaceId, at: u64) -> Option<Access> {
        self.model.space(space).readable_contents(at).map(|contents| Access::Load(at, contents))
    }
}
