//! The results as tables, in Markdown.
use crate::contestants::Role;
use crate::rows::{Counts, Noted, Row};
use crate::shared::samples;
use crate::shared::svg::{Chart, ChartRow, row_name};
use crate::shared::table::{Table, cell, times, verdict};
use std::fmt::{self, Display};

type Measured = samples::Measured<Row>;

/// Everything that was measured.
pub struct Results {
    /// The contestants, in the order of their times. The first is the one that is compared.
    pub names: Vec<(&'static str, Role)>,
    pub measured: Vec<Measured>,
}

/// How much longer than the loop by hand a range may take.
const LEEWAY: f64 = 1.5;

impl Results {
    fn times<'a>(&'a self, row: &'a Measured, role: Role) -> impl Iterator<Item = (&'static str, f64)> + 'a {
        let theirs = move |(index, &(name, is)): (usize, &(&'static str, Role))| {
            (is == role).then(|| row.median(index)).flatten().map(|time| (name, time))
        };
        self.names.iter().enumerate().filter_map(theirs)
    }

    /// What is compared with peers: the page table, or the space where it does not take part.
    fn ours(&self, row: &Measured) -> Option<f64> {
        self.times(row, Role::Vellum).next().map(|(_, time)| time)
    }

    fn fastest_peer(&self, row: &Measured) -> Option<(&'static str, f64)> {
        self.times(row, Role::Peer).min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    fn by_hand(&self, row: &Measured) -> Option<f64> {
        self.times(row, Role::Reference).next().map(|(_, time)| time)
    }

    fn all(&self) -> Table {
        let mut head = vec!["ns per page".to_owned(), "threads".to_owned()];
        head.extend(self.names.iter().map(|&(name, role)| match role {
            Role::Reference => format!("{name} (reference)"),
            Role::Floor => format!("{name} (floor)"),
            _ => name.to_owned(),
        }));
        head.extend(["vellum / fastest peer", "verdict", "vellum / by hand", "verdict"].map(str::to_owned));
        let mut table = Table::new(head);
        for row in &self.measured {
            let mut line = vec![row.row.name(), row.row.threads.to_string()];
            line.extend((0..self.names.len()).map(|index| cell(row.median(index))));
            let ours = self.ours(row);
            let peer = ours.zip(self.fastest_peer(row));
            let ratio = |(ours, (name, theirs))| format!("{} ({name})", times(ours, theirs));
            line.push(peer.map_or_else(|| cell(None), ratio));
            let judge = |(ours, (_, theirs))| match verdict(ours, theirs) {
                "BEHIND" if !row.row.peers_do_as_much() => "they do less",
                verdict => verdict,
            };
            line.push(peer.map_or("-", judge).to_owned());
            let hand = ours.zip(self.by_hand(row));
            line.push(hand.map_or_else(|| cell(None), |(ours, theirs)| times(ours, theirs)));
            let judged = hand.filter(|_| row.row.is_range());
            line.push(judged.map_or("-", |(ours, theirs)| verdict(ours, LEEWAY * theirs)).to_owned());
            table.line(line);
        }
        table
    }

    fn threads(&self) -> Table {
        let head = ["time on two threads / on one"].into_iter();
        let mut table = Table::new(head.chain(self.names.iter().map(|(name, _)| *name)));
        for pair in self.measured.windows(2) {
            let [one, two] = pair else { continue };
            if two.row.threads != 2 || one.row.threads != 1 {
                continue;
            }
            let ratio = |index| match two.median(index).zip(one.median(index)) {
                Some((two, one)) => times(two, one),
                None => cell(None),
            };
            let mut line = vec![one.row.name()];
            line.extend((0..self.names.len()).map(ratio));
            table.line(line);
        }
        table
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for measured in self.measured.iter().filter(|measured| measured.row.threads == 1) {
            writeln!(f, "{}: {}.", measured.row.name(), measured.row.includes())?;
        }
        let has = |counts| self.measured.iter().any(|measured| measured.row.counts == counts);
        if has(Counts::Moved) {
            writeln!(
                f,
                "counts moved: what is mapped has its count before, and whoever unmaps it gets it; none is written."
            )?;
        }
        if has(Counts::Changed) {
            writeln!(f, "counted: a count is added for each page mapped, and given up for each unmapped.")?;
        }
        if self.measured.iter().any(|measured| measured.row.noted == Noted::Both) {
            writeln!(
                f,
                "written: the pages are accessed and dirty, as a handler of page faults maps them, so that hardware has nothing left to note; in other rows they are neither."
            )?;
        }
        writeln!(f, "A range by Vellum may take {LEEWAY} times as long as by hand.")?;
        writeln!(
            f,
            "they do less: alone, peers lock nothing; alone or not, they lose what hardware notes in what they change or take out, unless that was written.\n"
        )
    }

    /// What a chart shows.
    pub fn chart(&self) -> Chart<'_> {
        let row = |measured: &Measured| ChartRow {
            name: row_name(&measured.row.name(), measured.row.threads),
            times: (0..self.names.len()).map(|index| measured.median(index)).collect(),
        };
        Chart {
            names: self.names.iter().map(|(name, _)| *name).collect(),
            rows: self.measured.iter().map(row).collect(),
        }
    }
}

impl Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().fmt(f)?;
        self.legend(f)?;
        self.threads().fmt(f)?;
        for row in self.measured.iter().filter(|row| row.missed > 0) {
            writeln!(f, "{}, 2 threads: they DID NOT MEET in {} turns of all.", row.row.name(), row.missed)?;
        }
        Ok(())
    }
}
