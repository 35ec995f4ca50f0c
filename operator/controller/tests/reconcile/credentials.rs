//! Credentials that are edited, deleted and made anew, and what is retained of a Region: what the operator makes of it,
//! against an API server and systems in memory. No process, no network, no sleep.

mod retained;
mod rotation;

use bailiwick_model::names::Names;
use jiff::SignedDuration;

use crate::support::fake_api::text;
use crate::support::harness::Harness;
use crate::support::journal::Call;
use crate::{encoded, key};

fn names() -> Names {
    Names::new("tr")
}

/// The pods whose names begin so, by name, with their uids.
fn pods(harness: &Harness, prefix: &str) -> Vec<(String, String)> {
    harness
        .api
        .all("pods", "tr")
        .iter()
        .map(|pod| {
            (
                text(pod, "/metadata/name").to_owned(),
                text(pod, "/metadata/uid").to_owned(),
            )
        })
        .filter(|(name, _)| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.parse::<u32>().is_ok())
        })
        .collect()
}

fn deleted(calls: &[Call], resource: &str) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.verb == "delete" && call.resource == resource)
        .map(|call| call.name.clone())
        .collect()
}

/// What an edit or a loss is to be seen within.
const SOON: SignedDuration = SignedDuration::from_secs(26);
