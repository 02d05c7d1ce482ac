//! What a replay found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use vellum::tlb;

use super::kernel::FaultCounts;
use super::touch::Touch;

/// What a replay found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The log.
    pub log: String,
    /// Its lines.
    pub lines: usize,
    /// Virtual processors.
    pub cpus: usize,
    /// Bytes of physical memory.
    pub memory: usize,
    /// Which pages were touched.
    pub touch: Touch,
    /// Whether everything checked out.
    pub passed: bool,
    /// What did not, if so.
    pub error: Option<String>,
    /// Calls by name.
    pub calls: BTreeMap<String, CallCount>,
    /// Calls that are not known here, by label; they were not carried out.
    pub unknown: BTreeMap<String, u64>,
    /// Processes, threads not counted.
    pub processes: u64,
    /// Threads beyond the first of each process.
    pub threads: u64,
    /// Address spaces.
    pub spaces: u64,
    /// Mappings that no call made, for which room was made when a call named them.
    pub implicit_mappings: u64,
    /// Their pages.
    pub implicit_pages: u64,
    /// Accesses of user code.
    pub accesses: u64,
    /// Page faults.
    pub faults: FaultCounts,
    /// Shootdowns.
    pub shootdowns: Shootdowns,
    /// The most frames that were in use at once, beyond those of the machine itself.
    pub peak_frames: usize,
    /// The most page-table frames at once.
    pub peak_page_table_frames: usize,
    /// Comparisons of a space with the model.
    pub comparisons: u64,
    /// Pages that were compared.
    pub pages_compared: u64,
    /// Frames that were not given back.
    pub frames_leaked: i64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What is counted for one kind of call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallCount {
    /// All of them.
    pub calls: u64,
    /// Those that failed when the log was recorded, and had no effect.
    pub failed: u64,
    /// Those whose end the log does not show.
    pub unseen: u64,
    /// Those that were carried out.
    pub carried: u64,
    /// Nanoseconds that the kernel took for them.
    pub nanoseconds: u64,
    /// Nanoseconds of the longest.
    pub longest: u64,
}

impl CallCount {
    pub(super) fn carried(&mut self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.carried += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(took);
        self.longest = self.longest.max(took);
    }
}

/// What flushing cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shootdowns {
    /// Flushes that other processors were asked for.
    pub sent: u64,
    /// Processors that were asked.
    pub requests: u64,
    /// Answers.
    pub acknowledgements: u64,
    /// Flushes on the processor that made the change.
    pub local: u64,
}

impl From<tlb::Statistics> for Shootdowns {
    fn from(statistics: tlb::Statistics) -> Shootdowns {
        Shootdowns {
            sent: statistics.shootdowns,
            requests: statistics.requests,
            acknowledgements: statistics.acknowledgements,
            local: statistics.local_flushes,
        }
    }
}

/// Microseconds, with a sensible number of digits.
fn micros(nanoseconds: u64) -> String {
    format!("{}.{:02}", nanoseconds / 1000, nanoseconds % 1000 / 10)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { log, lines, cpus, memory, .. } = self;
        writeln!(f, "{log}: {lines} lines, {cpus} processors, {} MiB of memory", memory >> 20)?;
        writeln!(f)?;
        self.write_calls(f)?;
        writeln!(f)?;
        self.figures().into_iter().try_for_each(|(name, value)| writeln!(f, "{name:<28} {value}"))
    }
}

impl Report {
    /// What stands below the calls: names and values.
    fn figures(&self) -> Vec<(String, String)> {
        let Report { processes, threads, spaces, faults, shootdowns, .. } = self;
        let Shootdowns { sent, acknowledgements, local, .. } = shootdowns;
        let unknown: u64 = self.unknown.values().sum();
        let result = if self.passed { "everything checked out" } else { "FAILED" };
        let mut figures = vec![
            ("processes", format!("{processes} with {threads} further threads, in {spaces} address spaces")),
            ("implicit mappings", format!("{} of {} pages", self.implicit_mappings, self.implicit_pages)),
            ("accesses", self.accesses.to_string()),
            ("page faults", faults.total().to_string()),
            ("  zero-filled, shared object", format!("{}, {}", faults.zero_filled, faults.shared)),
            ("  copied, reused on write", format!("{}, {}", faults.copied, faults.reused)),
            ("  refused, spurious", format!("{}, {}", faults.refused, faults.spurious)),
            ("shootdowns", format!("{sent}, answered {acknowledgements} times; {local} local flushes")),
            ("peak frames", self.peak_frames.to_string()),
            ("  page-table frames", format!("{} at their peak", self.peak_page_table_frames)),
            ("comparisons with the model", format!("{}, of {} pages", self.comparisons, self.pages_compared)),
            ("time", format!("{:.2} s", self.seconds)),
            ("frames leaked", self.frames_leaked.to_string()),
            ("unknown calls", unknown.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<Vec<_>>();
        figures.extend(self.unknown.iter().map(|(label, count)| (format!("  {label}"), count.to_string())));
        figures.push((String::from("result"), result.to_owned()));
        figures
    }

    fn write_calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["call", "calls", "failed", "carried out", "mean µs", "longest µs"];
        writeln!(
            f,
            "{:<16} {:>8} {:>8} {:>12} {:>10} {:>11}",
            head[0], head[1], head[2], head[3], head[4], head[5]
        )?;
        for (name, count) in &self.calls {
            let CallCount { calls, failed, unseen, carried, nanoseconds, longest } = *count;
            let mean = nanoseconds.checked_div(carried).map_or(String::from("-"), micros);
            let longest = if carried == 0 { String::from("-") } else { micros(longest) };
            write!(f, "{name:<16} {calls:>8} {failed:>8} {carried:>12} {mean:>10} {longest:>11}")?;
            if unseen > 0 {
                write!(f, "  ({unseen} cut short)")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
