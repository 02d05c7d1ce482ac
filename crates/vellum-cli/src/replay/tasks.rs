//! Processes and threads, and which processor each is on.

use std::collections::BTreeMap;

use crate::model::SpaceId;

/// A process or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) space: SpaceId,
    pub(super) cpu: usize,
}

/// All that are alive.
#[derive(Debug)]
pub(super) struct Tasks {
    alive: BTreeMap<u32, Task>,
    cpus: usize,
    started: usize,
}

/// Whether anybody is left in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupancy {
    Shared,
    Empty,
}

impl Tasks {
    pub(super) fn new(cpus: usize) -> Tasks {
        Tasks { alive: BTreeMap::new(), cpus, started: 0 }
    }

    pub(super) fn get(&self, pid: u32) -> Option<Task> {
        self.alive.get(&pid).copied()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.alive.keys().copied().collect()
    }

    /// The processor that the next one is put on: they take turns.
    pub(super) fn next_cpu(&self) -> usize {
        self.started % self.cpus
    }

    pub(super) fn start(&mut self, pid: u32, space: SpaceId) -> Task {
        let task = Task { space, cpu: self.next_cpu() };
        self.started += 1;
        self.alive.insert(pid, task);
        task
    }

    /// Goes on with one that was ended, on its processor.
    pub(super) fn resume(&mut self, pid: u32, task: Task) {
        self.alive.insert(pid, task);
    }

    pub(super) fn rename(&mut self, from: u32, to: u32) {
        if let Some(task) = self.alive.remove(&from) {
            self.alive.insert(to, task);
        }
    }

    pub(super) fn end(&mut self, pid: u32) -> Option<Task> {
        self.alive.remove(&pid)
    }

    pub(super) fn occupancy(&self, space: SpaceId) -> Occupancy {
        let occupied = self.alive.values().any(|task| task.space == space);
        if occupied { Occupancy::Shared } else { Occupancy::Empty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_turns_on_the_processors() {
        let mut tasks = Tasks::new(2);
        let cpus: Vec<_> = [7, 8, 9].into_iter().map(|pid| tasks.start(pid, 1).cpu).collect();
        assert_eq!(cpus, [0, 1, 0]);
        let last = tasks.end(9).unwrap();
        tasks.resume(9, Task { space: 2, ..last });
        tasks.end(7);
        assert_eq!(tasks.occupancy(1), Occupancy::Shared);
        tasks.rename(8, 7);
        assert_eq!(tasks.get(8), None);
        assert_eq!(tasks.end(7), Some(Task { space: 1, cpu: 1 }));
        assert_eq!((tasks.occupancy(1), tasks.occupancy(2)), (Occupancy::Empty, Occupancy::Shared));
    }
}
