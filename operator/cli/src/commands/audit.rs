//! `kubectl bailiwick residency audit`: a table of all channels of Regions. Regions and the time in; the table, and whether
//! everything that is demanded is closed, out.

use std::io::Write;

use bailiwick_api::region::{ChannelState, Region};
use jiff::Timestamp;
use serde::Serialize;

use super::{Format, Found, Style, document};
use crate::audit::{Audit, Row, RowResult, audit};
use crate::error::CliError;
use crate::freshness::moment;
use crate::text::{Cell, Tone, one_line, table};

#[derive(Serialize)]

struct Audits {
    closed: bool,
    regions: Vec<Audit>,
}

/// Writes the audit of `regions` at `now` to `out`, and why it is not closed to `hints`.
///
/// # Errors
/// There is no Region, or the output cannot be written.
pub fn write(
    regions: &[Region],
    now: Timestamp,
    style: Style,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<Found, CliError> {
    if regions.is_empty() {
        return Err(CliError::NothingToAudit);
    }
    let regions: Vec<Audit> = regions.iter().map(|region| audit(region, now)).collect();
    let audits = Audits {
        closed: regions.iter().all(|audit| audit.closed),
        regions,
    };
    match style.format {
        Format::Json | Format::Yaml => document(&audits, style.format, out)?,
        Format::Table | Format::Wide => {
            out.write_all(text(&audits.regions, style).as_bytes())?;
            for audit in &audits.regions {
                summary(audit, hints)?;
            }
        }
    }
    Ok(if audits.closed {
        Found::Nothing
    } else {
        Found::Something
    })
}

fn text(audits: &[Audit], style: Style) -> String {
    let wide = style.format == Format::Wide;
    let mut headings = vec![
        "REGION", "ID", "CHANNEL", "DEMANDED", "STATE", "RESULT", "EXPIRES", "DETAIL",
    ];
    if wide {
        headings.splice(7..7, ["REPORTED", "CHECKED", "APPROVED-BY", "EVIDENCE"]);
    }
    let rows: Vec<Vec<Cell>> = audits
        .iter()
        .flat_map(|audit| audit.channels.iter().map(move |row| (audit, row)))
        .map(|(audit, row)| cells(audit, row, wide))
        .collect();
    table(&headings, &rows, style.palette)
}

fn cells(audit: &Audit, row: &Row, wide: bool) -> Vec<Cell> {
    let dash = || "-".to_owned();
    let exception = row.exception.as_ref();
    let mut cells = vec![
        audit.region.as_str().into(),
        row.id.as_str().into(),
        row.name.as_str().into(),
        if row.demanded { "yes" } else { "no" }.into(),
        Cell::new(&format!("{:?}", row.state), state_tone(row.state)),
        Cell::new(&format!("{:?}", row.result), tone(row.result)),
        exception
            .map_or_else(dash, |exception| moment(exception.expires))
            .into(),
    ];
    if wide {
        cells.extend([
            row.reported
                .map_or_else(dash, |state| format!("{state:?}"))
                .into(),
            audit.checked_at.map_or_else(dash, moment).into(),
            exception
                .map_or_else(dash, |exception| exception.approved_by.clone())
                .into(),
            row.evidence.as_str().into(),
        ]);
    }
    cells.push(row.finding.as_deref().unwrap_or(&row.evidence).into());
    cells
}

fn state_tone(state: ChannelState) -> Tone {
    match state {
        ChannelState::Unknown => Tone::Notice,
        _ => Tone::Plain,
    }
}

const fn tone(result: RowResult) -> Tone {
    match result {
        RowResult::Ok => Tone::Good,
        RowResult::Excepted => Tone::Notice,
        RowResult::NotDemanded => Tone::Plain,
        RowResult::Unknown | RowResult::Expired | RowResult::Open => Tone::Bad,
    }
}

fn summary(audit: &Audit, hints: &mut impl Write) -> Result<(), CliError> {
    let region = one_line(&audit.region);
    if audit.closed {
        writeln!(
            hints,
            "Region {region}: closed; {} channels ok, {} excepted, {} not demanded at {:?}.",
            audit.count(RowResult::Ok),
            audit.count(RowResult::Excepted),
            audit.count(RowResult::NotDemanded),
            audit.demanded_by
        )?;
        return Ok(());
    }
    for reason in &audit.reasons {
        writeln!(hints, "Region {region}: not closed: {}.", one_line(reason))?;
    }
    match audit.channels.iter().find(|row| row.result.blocks()) {
        Some(row) => writeln!(
            hints,
            "Next: `kubectl bailiwick residency explain {}`, then docs/runbooks/residency-enforced.md.",
            one_line(&row.id)
        )?,
        None => writeln!(
            hints,
            "Next: `kubectl bailiwick status {region}`, then docs/runbooks/residency-enforced.md."
        )?,
    }
    Ok(())
}
