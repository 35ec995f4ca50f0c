//! `kubectl bailiwick residency explain`: what the leakage channels are. No cluster is needed.

use std::io::Write;

use clap::Args;

use super::{Format, Style, document};
use crate::error::CliError;
use crate::explain::{Explanation, all, matching};
use crate::text::{Cell, table};

/// What is explained.
#[derive(Args, Debug)]
pub struct Explain {
    /// A channel: its number, its name or a part of it. All, when left out.
    #[arg(value_name = "CHANNEL")]
    pub channel: Option<String>,
}

/// Prints the channels to `out` and the next step to `hints`.
///
/// # Errors
/// There is no such channel, or the output cannot be written.
pub fn run(
    explain: &Explain,
    style: Style,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CliError> {
    let found = match &explain.channel {
        None => all(),
        Some(word) => matching(word),
    };
    if let (Some(word), true) = (&explain.channel, found.is_empty()) {
        return Err(CliError::NoSuchChannel {
            word: word.clone(),
            last: all().len(),
        });
    }
    match (style.format, found.as_slice()) {
        (Format::Json | Format::Yaml, _) => {
            document(&Channels { channels: &found }, style.format, out)?;
        }
        (_, [one]) => {
            out.write_all(page(one).as_bytes())?;
            writeln!(
                hints,
                "Next: `kubectl bailiwick residency audit` shows how well it is closed."
            )?;
        }
        (format, many) => {
            out.write_all(list(many, format, style).as_bytes())?;
            writeln!(
                hints,
                "Next: `kubectl bailiwick residency explain <number>` tells more of one."
            )?;
        }
    }
    Ok(())
}

#[derive(serde::Serialize)]
struct Channels<'a> {
    channels: &'a [Explanation],
}

fn page(channel: &Explanation) -> String {
    format!(
        "Channel        {} ({})\nWay out        {}\nWhat closes it {}\nDemanded from  {:?}\n\n\
         Somebody may answer for it for a time: spec.residency.exceptions with its number, a reason, who approves it and \
         until when.\nAll channels: docs/reference/channels.md\n",
        channel.id, channel.name, channel.way_out, channel.control, channel.demanded_from
    )
}

fn list(channels: &[Explanation], format: Format, style: Style) -> String {
    let wide = format == Format::Wide;
    let mut headings = vec!["ID", "CHANNEL", "DEMANDED-FROM", "WAY-OUT"];
    if wide {
        headings.push("WHAT-CLOSES-IT");
    }
    let rows: Vec<Vec<Cell>> = channels
        .iter()
        .map(|channel| {
            let mut row: Vec<Cell> = vec![
                channel.id.to_string().into(),
                channel.name.into(),
                format!("{:?}", channel.demanded_from).into(),
                channel.way_out.into(),
            ];
            if wide {
                row.push(channel.control.into());
            }
            row
        })
        .collect();
    table(&headings, &rows, style.palette)
}
