//! What became of the entries for the evidence log, as a condition. No I/O.

use bailiwick_api::region::RegionStatus;
use jiff::Timestamp;

use crate::condition::{Conditions, State};
use crate::facts::Unread;

/// What became of the entries for the evidence log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// All are in it.
    Whole,
    /// The log is not the one that the status names: it is not written on.
    Broken,
    /// The store is not up yet; they are kept.
    Waiting,
    /// The store did not take them; they are kept and tried again.
    Failed(Unread),
}

/// Sets the condition `EvidenceRecorded` of a status after entries were to be recorded.
pub fn evidence_recorded(
    status: &mut RegionStatus,
    generation: Option<i64>,
    recording: Recording,
    now: Timestamp,
) {
    let mut conditions = Conditions {
        list: std::mem::take(&mut status.conditions),
        generation,
        now,
    };
    let refused;
    let (state, reason, message) = match recording {
        Recording::Whole => (
            State::True,
            "Recorded",
            "What changed of the residency is in the evidence log.",
        ),
        Recording::Broken => (
            State::False,
            "LogBroken",
            "The evidence log does not hold the record that status.residency.evidence names; it is not written on. See \
             docs/runbooks/evidence-recorded.md.",
        ),
        Recording::Waiting => (
            State::Unknown,
            "Waiting",
            "The newest records wait for the object store.",
        ),
        Recording::Failed(unread) => {
            refused = format!(
                "The object store did not take the newest records: {unread}; they are kept and tried again."
            );
            (State::Unknown, unread.failure.as_str(), refused.as_str())
        }
    };
    conditions.set("EvidenceRecorded", state, reason, message);
    conditions.list.sort_by(|a, b| a.type_.cmp(&b.type_));
    status.conditions = conditions.list;
}
