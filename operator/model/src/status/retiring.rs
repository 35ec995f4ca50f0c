//! The status of a Region that is being deleted: how far it is, and what keeps it. No I/O.

use bailiwick_api::region::{EvidenceStatus, Region, RegionStatus};
use jiff::Timestamp;

use super::not_looked_at;
use crate::condition::{Conditions, State};
use crate::retire::{Blocker, Phase};

/// The condition that says what keeps a deletion.
pub const DELETION_BLOCKED: &str = "DeletionBlocked";

/// The status of a Region that is being deleted and is in `phase`. `evidence` is the end of its log where that moved,
/// `now` moves `lastTransitionTime` and nothing else.
#[must_use]
pub fn retiring(
    region: &Region,
    phase: Phase,
    blocker: Option<&Blocker>,
    evidence: Option<EvidenceStatus>,
    now: Timestamp,
) -> RegionStatus {
    let mut status = region.status.clone().unwrap_or_default();
    let mut conditions = Conditions {
        list: std::mem::take(&mut status.conditions),
        generation: region.metadata.generation,
        now,
    };
    conditions.set(
        "Ready",
        State::False,
        "Deleting",
        "The Region is being deleted; its volumes, Secrets and buckets stay.",
    );
    conditions.set("Progressing", State::True, phase.as_str(), phase.describe());
    not_looked_at(
        &mut conditions,
        // Of the log, the last record of the Region is told by who writes it.
        &[
            "Accepted",
            "Ready",
            "Progressing",
            "EvidenceRecorded",
            DELETION_BLOCKED,
        ],
        "Deleting",
        "Nothing is looked at while the Region is being deleted.",
    );
    match blocker {
        Some(Blocker { reason, message }) => {
            conditions.set(DELETION_BLOCKED, State::True, reason, message);
        }
        None => conditions.set(
            DELETION_BLOCKED,
            State::False,
            phase.as_str(),
            phase.describe(),
        ),
    }
    conditions.list.sort_by(|a, b| a.type_.cmp(&b.type_));
    status.conditions = conditions.list;
    if let Some(residency) = status.residency.as_mut().filter(|_| evidence.is_some()) {
        residency.evidence = evidence;
    }
    status
}
