//! `kubectl bailiwick status`: the report of one Region, or a line for each. Reports and the time in, text out.

use std::io::Write;

use bailiwick_api::region::Region;
use jiff::Timestamp;
use serde::Serialize;

use super::{Format, Style, document};
use crate::children::{Child, tree};
use crate::error::CliError;
use crate::freshness::{age, moment};
use crate::report::{Mark, Report, Verdict, report};
use crate::text::{Cell, Tone, one_line, table};

#[derive(Serialize)]

struct Reports<'a> {
    regions: &'a [Report],
}

/// Writes a line for each of `regions` at `now` to `out`, and the next step to `hints`.
///
/// # Errors
/// The output cannot be written.
pub fn write_all(
    regions: &[Region],
    now: Timestamp,
    style: Style,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CliError> {
    let reports: Vec<Report> = regions.iter().map(|region| report(region, now)).collect();
    match style.format {
        Format::Json | Format::Yaml => document(&Reports { regions: &reports }, style.format, out)?,
        Format::Table | Format::Wide if reports.is_empty() => {
            writeln!(
                hints,
                "No Regions. Next: make one with `kubectl bailiwick new`."
            )?;
        }
        Format::Table | Format::Wide => {
            out.write_all(list(&reports, now, style).as_bytes())?;
            writeln!(
                hints,
                "Next: `kubectl bailiwick status <region>` tells more of one."
            )?;
        }
    }
    Ok(())
}

/// Writes the report of `region` at `now`, with its objects and what could not be listed of them, to `out`.
///
/// # Errors
/// The output cannot be written.
pub fn write_one(
    region: &Region,
    (children, not_shown): (Vec<Child>, Vec<String>),
    now: Timestamp,
    style: Style,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let report = Report {
        children,
        not_shown,
        ..report(region, now)
    };
    match style.format {
        Format::Json | Format::Yaml => {
            document(&Reports { regions: &[report] }, style.format, out)?;
        }
        Format::Table | Format::Wide => out.write_all(page(&report, now, style).as_bytes())?,
    }
    Ok(())
}

fn list(reports: &[Report], now: Timestamp, style: Style) -> String {
    let wide = style.format == Format::Wide;
    let mut headings = vec![
        "REGION",
        "LOCATION",
        "ASSURANCE",
        "VERDICT",
        "READY",
        "RESIDENCY",
        "CHECKED",
        "BECAUSE",
    ];
    if wide {
        headings.splice(2..2, ["JURISDICTION", "ALLOWED"]);
    }
    let rows: Vec<Vec<Cell>> = reports
        .iter()
        .map(|report| {
            let mut row: Vec<Cell> = vec![
                report.region.as_str().into(),
                report.location.as_str().into(),
                assurance(report).into(),
                Cell::new(
                    &format!("{:?}", report.verdict),
                    verdict_tone(report.verdict),
                ),
                mark(report.ready),
                mark(report.residency),
                report
                    .checked_at
                    .map_or_else(|| "-".to_owned(), |at| age(now.duration_since(at)))
                    .into(),
                report.because.as_str().into(),
            ];
            if wide {
                let allowed = report.allowed_locations.join(",");
                row.splice(2..2, [report.jurisdiction.as_str().into(), allowed.into()]);
            }
            row
        })
        .collect();
    table(&headings, &rows, style.palette)
}

fn page(report: &Report, now: Timestamp, style: Style) -> String {
    let palette = style.palette;
    let verdict = format!("{:?}", report.verdict);
    let checked = report.checked_at.map_or_else(
        || "never".to_owned(),
        |at| format!("{} ago, at {}", age(now.duration_since(at)), moment(at)),
    );
    let mut text = format!(
        "Region     {}\nPlace      {}, {}; copies in {}\nAssurance  {}; the spec asks for {:?}\nChecked    {checked}\n\
         Verdict    {}: {}.\n\n",
        one_line(&report.region),
        one_line(&report.jurisdiction),
        one_line(&report.location),
        one_line(&report.allowed_locations.join(", ")),
        assurance(report),
        report.minimum_assurance,
        palette.paint(verdict_tone(report.verdict), &verdict),
        one_line(&report.because),
    );
    let rows: Vec<Vec<Cell>> = report
        .sections
        .iter()
        .map(|part| {
            vec![
                Cell::from(format!("{:?}", part.section)),
                mark(part.state),
                part.summary.as_str().into(),
            ]
        })
        .collect();
    // The next actions stand beneath their own section's line.
    let lines = table(&["SECTION", "STATE", "SUMMARY"], &rows, palette);
    for (index, line) in lines.lines().enumerate() {
        text.extend([line, "\n"]);
        let part = index
            .checked_sub(1)
            .and_then(|index| report.sections.get(index));
        for next in part.into_iter().flat_map(|part| &part.next) {
            text.extend([
                "  next  ",
                &next.condition,
                ": ",
                &one_line(&next.action),
                "\n",
            ]);
        }
    }
    if !report.children.is_empty() || !report.not_shown.is_empty() {
        text.extend(["\nRegion ", &one_line(&report.region), "\n"]);
        for (depth, line) in tree(&report.children) {
            text.extend(std::iter::repeat_n("  ", depth));
            text.extend([line.as_str(), "\n"]);
        }
        for what in &report.not_shown {
            text.extend(["  not shown: ", &one_line(what), "\n"]);
        }
    }
    text
}

fn assurance(report: &Report) -> String {
    report
        .assurance
        .map_or_else(|| "-".to_owned(), |assurance| format!("{assurance:?}"))
}

fn mark(mark: Mark) -> Cell {
    let tone = match mark {
        Mark::Ok => Tone::Good,
        Mark::Busy | Mark::Unknown => Tone::Notice,
        Mark::Bad => Tone::Bad,
    };
    Cell::new(&format!("{mark:?}"), tone)
}

const fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Good => Tone::Good,
        Verdict::Degraded | Verdict::Hibernated | Verdict::Deleting | Verdict::Unknown => {
            Tone::Notice
        }
        Verdict::NotReady | Verdict::Refused | Verdict::NotEnforced => Tone::Bad,
    }
}
