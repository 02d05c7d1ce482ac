//! Tables in Markdown.
use std::fmt::{self, Display};

/// A table; the first line is its head.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Table {
        let mut table = Table(Vec::new());
        table.line(head);
        table
    }

    pub fn line<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.0.push(cells.into_iter().map(Into::into).collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.0.iter().map(|line| line[column].len()).max().unwrap_or(0);
        for (number, line) in self.0.iter().enumerate() {
            for (column, cell) in line.iter().enumerate() {
                write!(f, "| {cell:width$} ", width = width(column))?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                (0..line.len()).try_for_each(|column| write!(f, "| {:-<1$} ", "", width(column)))?;
                writeln!(f, "|")?;
            }
        }
        writeln!(f)
    }
}

pub fn cell(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"))
}

pub fn times(ours: f64, theirs: f64) -> String {
    format!("{:.2}x", ours / theirs)
}

/// Judges a time beside another: good is what is no slower, to the two digits that are printed. The same
/// instructions, measured twice, differ by up to two hundredths.
pub fn verdict(ours: f64, theirs: f64) -> &'static str {
    match ours / theirs {
        ..1.005 => "good",
        ..1.025 => "even",
        _ => "BEHIND",
    }
}
