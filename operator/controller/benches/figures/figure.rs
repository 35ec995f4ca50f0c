//! A figure that was measured, beside what it may be. Figures in, a Markdown table out; progress goes to a terminal.

use std::io::IsTerminal;

use jiff::Timestamp;

/// One line of the table.
pub struct Figure {
    what: &'static str,
    limit: &'static str,
    measured: String,
    /// Whether the figure was reached.
    pub met: bool,
}

impl Figure {
    /// A figure; says it too, when somebody looks on.
    pub fn new(what: &'static str, limit: &'static str, measured: String, met: bool) -> Self {
        progress(&format!("  {what}: {measured}"));
        Self {
            what,
            limit,
            measured,
            met,
        }
    }
}

/// The figures as a Markdown table, its columns aligned for reading as it is.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["what", "figure", "measured", ""].map(str::to_owned)];
    rows.extend(figures.iter().map(|figure| {
        [
            figure.what,
            figure.limit,
            &figure.measured,
            if figure.met { "ok" } else { "MISSED" },
        ]
        .map(str::to_owned)
    }));
    let widths: [usize; 4] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |cells: &[String; 4]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, line(&rule));
    lines.join("\n")
}

pub const fn mebibytes(count: u64) -> u64 {
    count * 1024 * 1024
}

#[allow(clippy::cast_precision_loss, reason = "for people, to a tenth")]
pub fn in_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// The seconds between two times.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Says what is being measured, when somebody looks on.
pub fn progress(step: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{step}");
    }
}
