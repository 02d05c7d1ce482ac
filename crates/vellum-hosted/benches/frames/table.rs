//! The results as tables, in Markdown.
use crate::metadata::Metadata;
use crate::peers::Role;
use crate::rows::Row;
use crate::shared::samples;
use crate::shared::svg::{Chart, ChartRow, row_name};
use crate::shared::table::{Table, cell, times, verdict};
use std::fmt::{self, Display};
use vellum_machine::addr::PAGE_SIZE;
use vellum_machine::layout::META_SLOT_SIZE;

type Measured = samples::Measured<Row>;

/// Everything that was measured.
pub struct Results {
    /// The contestants, in the order of their times.
    pub names: Vec<(&'static str, Role)>,
    pub measured: Vec<Measured>,
    pub metadata: Option<Metadata>,
}

impl Results {
    /// The times of those with a role, and their names.
    pub fn times(&self, row: &Measured, role: Role) -> Vec<(&'static str, f64)> {
        let theirs = |(index, &(name, is)): (usize, &(&'static str, Role))| {
            (is == role).then(|| row.median(index)).flatten().map(|time| (name, time))
        };
        self.names.iter().enumerate().filter_map(theirs).collect()
    }

    fn time(&self, row: &Measured, role: Role) -> Option<f64> {
        self.times(row, role).first().map(|&(_, time)| time)
    }

    fn fastest_peer(&self, row: &Measured) -> Option<(&'static str, f64)> {
        self.times(row, Role::Peer).into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    fn bare(&self) -> Table {
        let bare: Vec<_> = (0..self.names.len()).filter(|&i| self.names[i].1 != Role::Handles).collect();
        let title = |&index: &usize| match self.names[index] {
            (name, Role::Floor) => format!("{name} (floor)"),
            (name, _) => name.to_owned(),
        };
        let mut head = vec!["bare addresses, ns".to_owned(), "threads".to_owned()];
        head.extend(bare.iter().map(title));
        head.extend(["vellum / fastest peer", "verdict"].map(str::to_owned));
        let mut table = Table::new(head);
        for row in &self.measured {
            let mut line = vec![row.row.name.to_owned(), row.row.threads.to_string()];
            line.extend(bare.iter().map(|&index| cell(row.median(index))));
            let both = self.time(row, Role::Vellum).zip(self.fastest_peer(row));
            let ratio = |(ours, (name, theirs))| format!("{} ({name})", times(ours, theirs));
            line.push(both.map_or_else(|| cell(None), ratio));
            line.push(both.map_or("-", |(ours, (_, theirs))| verdict(ours, theirs)).to_owned());
            table.line(line);
        }
        table
    }

    fn handles(&self) -> Table {
        let peers = "/ fastest peer's bare address, since none has handles";
        let mut table = Table::new(["handles, ns", "threads", "Frame<()>", "/ vellum's bare address", peers]);
        for row in &self.measured {
            let all = self.time(row, Role::Handles).zip(self.time(row, Role::Vellum));
            let Some(((handle, bare), (name, peer))) = all.zip(self.fastest_peer(row)) else { continue };
            table.line([
                row.row.name.to_owned(),
                row.row.threads.to_string(),
                cell(Some(handle)),
                times(handle, bare),
                format!("{} ({name})", times(handle, peer)),
            ]);
        }
        table
    }

    fn threads(&self) -> Table {
        let head = ["time on two threads / on one"].into_iter();
        let mut table = Table::new(head.chain(self.names.iter().map(|(name, _)| *name)));
        for pair in self.measured.chunks_exact(2) {
            let [one, two] = pair else { continue };
            let ratio = |index| match two.median(index).zip(one.median(index)) {
                Some((two, one)) => times(two, one),
                None => cell(None),
            };
            let mut line = vec![one.row.name.to_owned()];
            line.extend((0..self.names.len()).map(ratio));
            table.line(line);
        }
        table
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pair in self.measured.chunks_exact(2) {
            writeln!(f, "{}: {}.", pair[0].row.name, pair[0].row.work.includes())?;
        }
        writeln!(f)
    }

    /// What a chart shows.
    pub fn chart(&self) -> Chart<'_> {
        let row = |measured: &Measured| ChartRow {
            name: row_name(measured.row.name, measured.row.threads),
            times: (0..self.names.len()).map(|index| measured.median(index)).collect(),
        };
        Chart {
            names: self.names.iter().map(|(name, _)| *name).collect(),
            rows: self.measured.iter().map(row).collect(),
        }
    }

    fn remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.measured {
            let (what, threads) = (row.row.name, row.row.threads);
            for ((name, _), failed) in self.names.iter().zip(&row.failed).filter(|(_, failed)| **failed > 0) {
                writeln!(f, "{what}, {threads} threads: {name} found no memory {failed} times.")?;
            }
            if row.missed > 0 {
                writeln!(f, "{what}, {threads} threads: they DID NOT MEET in {} turns of all.", row.missed)?;
            }
        }
        Ok(())
    }
}

impl Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.measured.is_empty() {
            self.bare().fmt(f)?;
            self.legend(f)?;
            self.handles().fmt(f)?;
            self.threads().fmt(f)?;
        }
        self.metadata.as_ref().map_or(Ok(()), |metadata| metadata.fmt(f))?;
        self.remarks(f)
    }
}

impl Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["metadata", "vellum", "compared with", "ratio", "verdict"]);
        let [ours, floor] = self.build;
        table.line([
            format!("build the region, {META_SLOT_SIZE} bytes per {PAGE_SIZE}"),
            format!("{ours:.2} ms/GiB"),
            format!("{floor:.2} (filling it with zeros)"),
            times(ours, floor),
            "no peer".to_owned(),
        ]);
        let [ours, plain] = self.read;
        table.line([
            "read a field by meta()".to_owned(),
            format!("{ours:.2} ns"),
            format!("{plain:.2} (through a reference)"),
            times(ours, plain),
            verdict(ours, plain).to_owned(),
        ]);
        table.fmt(f)
    }
}
