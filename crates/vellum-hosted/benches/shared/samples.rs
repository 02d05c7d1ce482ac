//! Times, round by round.
use super::threads::Outcome;
use indicatif::ProgressBar;

/// Rounds of a row that follow each other. The first of them is not counted.
const GROUP: usize = 4;

/// A row and the times of all contestants.
pub struct Measured<R> {
    pub row: R,
    times: Vec<Vec<f64>>,
    /// For each contestant the allocations that found no memory.
    pub failed: Vec<usize>,
    /// Turns in which threads did not meet.
    pub missed: usize,
}

impl<R> Measured<R> {
    /// Has contestants do the work of all rows, round by round, and each round another one first. One that does not
    /// take part answers `None`.
    ///
    /// The rounds of a row come in groups of [`GROUP`] that lie apart: what the host does for a while is in some rounds of
    /// each row, not in all of one.
    pub fn measure(
        rows: impl IntoIterator<Item = R>,
        contestants: usize,
        rounds: usize,
        bar: &ProgressBar,
        turn: impl Fn(&R, usize) -> Option<Outcome>,
    ) -> Vec<Measured<R>> {
        let new = |row| Measured {
            row,
            times: vec![Vec::new(); contestants],
            failed: vec![0; contestants],
            missed: 0,
        };
        let mut all: Vec<_> = rows.into_iter().map(new).collect();
        for first in (0..rounds).step_by(GROUP) {
            for measured in &mut all {
                for round in first..rounds.min(first + GROUP) {
                    for at in 0..contestants {
                        let index = (round + at) % contestants;
                        let Some(outcome) = turn(&measured.row, index) else { continue };
                        // The first round of a group warms caches, lists and branch predictors up.
                        if round > first {
                            measured.add(index, outcome);
                        }
                    }
                    bar.inc(1);
                }
            }
        }
        all
    }

    fn add(&mut self, contestant: usize, outcome: Outcome) {
        self.times[contestant].push(outcome.nanos);
        self.failed[contestant] += outcome.failed;
        self.missed += usize::from(!outcome.met);
    }

    /// Returns the median time of a contestant that took part.
    pub fn median(&self, contestant: usize) -> Option<f64> {
        median(&self.times[contestant])
    }
}

pub fn median(times: &[f64]) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}
