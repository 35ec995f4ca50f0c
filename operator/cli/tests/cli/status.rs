//! `status` of Regions that are good, broken, stale, refused or in transition: verdicts, sections and next actions, and
//! the tree of objects. No cluster.

mod next_actions;
mod output;
mod verdicts;

use bailiwick_api::region::Region;
use bailiwick_cli::children::Child;
use bailiwick_cli::commands::{self, Format, Style};
use bailiwick_cli::report::{Verdict, report};
use bailiwick_cli::text::Palette;

use crate::fixture::now;

fn style(format: Format) -> Style {
    Style {
        format,
        palette: Palette::Plain,
    }
}

fn page(region: &Region, children: Vec<Child>, not_shown: Vec<String>) -> String {
    let mut out = Vec::new();
    commands::status::write_one(
        region,
        (children, not_shown),
        now(),
        style(Format::Table),
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

fn verdict(region: &Region) -> (Verdict, String) {
    let report = report(region, now());
    (report.verdict, report.because)
}

/// The conditions that have a next action, in order, and the actions.
fn next(region: &Region) -> Vec<(String, String)> {
    report(region, now())
        .sections
        .into_iter()
        .flat_map(|part| part.next)
        .map(|next| (next.condition, next.action))
        .collect()
}
