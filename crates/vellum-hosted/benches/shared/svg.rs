//! Charts.
use std::fmt::Write;

const LEFT: f64 = 270.0;
const WIDTH: f64 = 560.0;
const BAR: f64 = 11.0;
const GAP: f64 = 14.0;
const TOP: f64 = 56.0;
const COLOURS: [&str; 7] = ["#1f6f54", "#c8553d", "#6c7a89", "#b9a44c", "#c9ced3", "#7fb69e", "#3d5a80"];

/// Times of contestants, row by row.
pub struct Chart<'a> {
    pub names: Vec<&'a str>,
    pub rows: Vec<ChartRow>,
}

/// A row, and for each contestant its time, if it took part.
pub struct ChartRow {
    pub name: String,
    pub times: Vec<Option<f64>>,
}

impl ChartRow {
    fn bars(&self) -> impl Iterator<Item = (usize, f64)> {
        let times = self.times.iter().enumerate();
        times.filter_map(|(index, time)| time.filter(|time| *time > 0.0).map(|time| (index, time)))
    }
}

/// What a row is called in charts.
pub fn row_name(name: &str, threads: usize) -> String {
    format!("{name}, {threads} {}", if threads == 1 { "thread" } else { "threads" })
}

/// Draws the times of all rows as bars, on a logarithmic scale.
pub fn draw(chart: &Chart<'_>) -> String {
    let times = || chart.rows.iter().flat_map(ChartRow::bars).map(|(_, time)| time);
    let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(1.0, f64::max));
    let scale = Scale { low: least.log10().floor(), high: most.log10().ceil() };
    let mut bars = String::new();
    let mut y = TOP;
    for row in &chart.rows {
        let middle = y + BAR * row.bars().count() as f64 / 2.0 + 4.0;
        text(&mut bars, LEFT - 8.0, middle, "end", &row.name);
        for (index, time) in row.bars() {
            bar(&mut bars, y, scale.x(time), COLOURS[index % COLOURS.len()]);
            text(&mut bars, LEFT + scale.x(time) + 4.0, y + BAR - 2.0, "start", &format!("{time:.1}"));
            y += BAR;
        }
        y += GAP;
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 60.0
    );
    text(&mut svg, 8.0, 16.0, "start", "Nanoseconds per operation, less is better; logarithmic scale");
    for (index, name) in chart.names.iter().enumerate() {
        let x = 8.0 + 136.0 * index as f64;
        let _ = writeln!(
            svg,
            r#"<rect x="{x}" y="26" width="10" height="10" fill="{}"/>"#,
            COLOURS[index % COLOURS.len()]
        );
        text(&mut svg, x + 14.0, 35.0, "start", name);
    }
    svg + &bars + "</svg>\n"
}

struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, time: f64) -> f64 {
        (time.log10() - self.low) / (self.high - self.low).max(1.0) * WIDTH
    }
}

fn bar(svg: &mut String, y: f64, width: f64, colour: &str) {
    let height = BAR - 1.0;
    // Writing to a string does not fail.
    let _ =
        writeln!(svg, r#"<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{height}" fill="{colour}"/>"#);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}
