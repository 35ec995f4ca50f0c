//! How a look at a Region went, as its status. The old status and an outcome in, the new status out, equal when no
//! fact changed. Messages are made of names and closed words: never of what a server said. No I/O.

mod aggregate;
mod degraded;
mod foreign;
mod record;
mod recording;
mod refused;
mod residency;
mod retiring;
mod unreadable;

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_api::violation::Violation;
use degraded::degraded;
pub use foreign::foreign;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
pub use recording::{Recording, evidence_recorded};
pub use retiring::{DELETION_BLOCKED, retiring};
pub use unreadable::{Unreadable, unreadable};

use crate::canary::verdict as canaries;
use crate::channel::{self, Channels};
use crate::component::COMPONENTS;
use crate::condition::archive::certificates;
use crate::condition::{Conditions, State, Verdict};
use crate::names::Names;
use crate::outcome::{Applied, Outcome};
use crate::status::aggregate::{progressing, ready};
use crate::status::record::record;
use crate::status::refused::{another_in_force, first_reason, lines, refused};
use crate::status::residency::{of_channels, quarantined, residency, residency_enforced};

/// The new status of a Region. `now` moves `lastTransitionTime` and nothing else.
#[must_use]
pub fn status(region: &Region, outcome: &Outcome<'_>, now: Timestamp) -> RegionStatus {
    let mut status = region.status.clone().unwrap_or_default();
    let generation = region.metadata.generation;
    // Of a spec that could not be applied the status does not speak yet: Ready is still that of the old one.
    let speaks = match outcome {
        Outcome::Refused(_) => true,
        Outcome::Applied(applied) => applied.facts.refused.is_empty(),
        Outcome::Failed { .. } => false,
    };
    if speaks {
        status.observed_generation = generation;
    }
    status.location = Some(region.spec.residency.location.clone());
    let mut conditions = Conditions {
        list: own(&status.conditions),
        generation: match outcome {
            // Of a spec that is refused no condition speaks but Accepted.
            Outcome::Applied(applied) if !applied.refused.is_empty() => applied.plan.generation,
            _ => generation,
        },
        now,
    };
    match outcome {
        Outcome::Refused(violations) => {
            let residency = status.residency.as_ref();
            let logged = residency.is_some_and(|residency| residency.evidence.is_some());
            refused(&mut conditions, violations, logged);
        }
        Outcome::Failed {
            reason,
            message,
            refused,
        } => {
            // What was last observed still stands; only that we are stuck is news.
            if !refused.is_empty() {
                conditions.set(
                    "Accepted",
                    State::False,
                    first_reason(refused),
                    &lines(refused),
                );
            }
            conditions.set("Progressing", State::True, reason, message);
            let before = conditions
                .list
                .iter()
                .find(|it| it.type_ == "Degraded" && it.status == "True")
                .map(|it| (it.reason.as_str(), it.message.as_str()));
            let degraded = degraded::not_let(message, before);
            conditions.set("Degraded", State::True, reason, &degraded);
            // But not for ever: nobody looks.
            let looked = status
                .residency
                .as_ref()
                .and_then(|residency| residency.checked_at);
            if looked.is_none_or(|looked| now.duration_since(looked) > canaries::STALE) {
                not_looked_at(
                    &mut conditions,
                    &["Accepted", "Progressing", "Degraded"],
                    "NotLookedAt",
                    &format!(
                        "Nothing was looked at for {} minutes or more: see condition Progressing.",
                        canaries::STALE.as_mins()
                    ),
                );
            }
        }
        Outcome::Applied(applied) => {
            let channels = channel::channels(applied.plan, applied.facts, applied.plan.assurance);
            record(&mut status, applied);
            judge(&mut conditions, &status, applied, &channels);
            if !applied.refused.is_empty() {
                conditions.generation = generation;
                another_in_force(&mut conditions, applied);
            }
            conditions.list.sort_by(|a, b| a.type_.cmp(&b.type_));
            status.conditions = conditions.list;
            // One write tells of all that moves in steps.
            let moved = region.status.as_ref() != Some(&status);
            status.residency = Some(residency(
                status.residency.as_ref(),
                applied,
                channels,
                moved,
            ));
            return status;
        }
    }
    conditions.list.sort_by(|a, b| a.type_.cmp(&b.type_));
    status.conditions = conditions.list;
    status
}

/// The conditions of a Region that cannot be decoded, after those that it had: it is not accepted, and what was seen
/// of it counts no more. One that is being deleted, which `deleted` has the names of, goes no further either. `now` moves
/// `lastTransitionTime` and nothing else.
#[must_use]
pub fn undecodable(
    before: &[Condition],
    generation: Option<i64>,
    violation: &Violation,
    deleted: Option<&Names>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = Conditions {
        list: own(before),
        generation,
        now,
    };
    let reason = violation.reason.as_str();
    let message =
        "Nothing is looked at while the Region cannot be decoded: see condition Accepted.";
    let judged = ["Accepted", "Ready", "Progressing", DELETION_BLOCKED];
    not_looked_at(&mut conditions, &judged, reason, message);
    conditions.set("Accepted", State::False, reason, &violation.to_string());
    conditions.set("Ready", State::False, reason, message);
    conditions.set("Progressing", State::False, reason, message);
    if let Some(names) = deleted {
        let region = names.region();
        conditions.set(
            DELETION_BLOCKED,
            State::True,
            reason,
            &format!(
                "What cannot be decoded cannot be taken down in order. Mend {} with: kubectl edit region {region}; see \
                 docs/runbooks/deletion-blocked.md.",
                violation.field
            ),
        );
    }
    conditions.list.sort_by(|a, b| a.type_.cmp(&b.type_));
    conditions.list
}

/// Whether a condition of a status is True.
#[must_use]
pub fn is_true(status: &RegionStatus, type_: &str) -> bool {
    status
        .conditions
        .iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Those that say what is seen of the residency: they are there though nothing was seen yet.
const RESIDENCY: [&str; 5] = [
    "ResidencyEnforced",
    "NetworkEnforced",
    "PlacementEnforced",
    "StorageResident",
    "BackupsResident",
];

/// The types of all conditions that a Region may have, by name.
pub const CONDITIONS: [&str; 20] = [
    "Accepted",
    "BackupsResident",
    "CertificatesValid",
    "Degraded",
    DELETION_BLOCKED,
    "EvidenceRecorded",
    "Hibernated",
    "NetworkEnforced",
    "ObjectStoreAvailable",
    "ObjectStoreContained",
    "Paused",
    "PendingRestart",
    "PlacementEnforced",
    "PostgresAvailable",
    "Progressing",
    "Quarantined",
    "Ready",
    "ResidencyEnforced",
    "StorageResident",
    "WALArchiving",
];

/// Those of some conditions that are the operator's to tell: of any other type nobody would ever take it back.
fn own(conditions: &[Condition]) -> Vec<Condition> {
    let own = |it: &&Condition| CONDITIONS.contains(&it.type_.as_str());
    conditions.iter().filter(own).cloned().collect()
}

/// Whatever was seen counts no more: what is not looked at is not known. `judged` are the conditions that this look says
/// itself.
fn not_looked_at(conditions: &mut Conditions, judged: &[&str], reason: &str, message: &str) {
    let there: Vec<String> = conditions.list.iter().map(|it| it.type_.clone()).collect();
    for type_ in there.iter().map(String::as_str).chain(RESIDENCY) {
        if !judged.contains(&type_) {
            conditions.set(type_, State::Unknown, reason, message);
        }
    }
}

fn judge(
    conditions: &mut Conditions,
    status: &RegionStatus,
    applied: &Applied<'_>,
    channels: &Channels,
) {
    let Applied { plan, facts, .. } = applied;
    let lifecycle = &plan.spec.lifecycle;
    // A condition that is set twice would seem to flip each time.
    if applied.refused.is_empty() {
        conditions.set(
            "Accepted",
            State::True,
            "Accepted",
            "The spec is valid and every place that it names is allowed.",
        );
    }
    let paused = if lifecycle.paused {
        "The operator only reports, and shuts a leak off."
    } else {
        "The operator acts."
    };
    conditions.set(
        "Paused",
        State::of(lifecycle.paused),
        if lifecycle.paused { "Paused" } else { "Active" },
        paused,
    );
    let asleep = match (lifecycle.hibernated, plan.members.ended) {
        (true, true) => "All pods are stopped; volumes stay.",
        (true, false) => "The members of Postgres stop, then the object store; volumes stay.",
        (false, _) => "Pods are wanted.",
    };
    conditions.set(
        "Hibernated",
        State::of(lifecycle.hibernated),
        if lifecycle.hibernated {
            "Hibernated"
        } else {
            "Awake"
        },
        asleep,
    );

    let of_components: Vec<(&'static str, Verdict)> = COMPONENTS
        .iter()
        .flat_map(|component| (component.conditions)(applied))
        .collect();
    let certificates = certificates(status, facts);
    let progress = progressing(applied);
    let degraded = degraded(applied, &of_components);
    let ready = ready(applied, status.provisioned_generation, &of_components);
    let of_older = (ready.state == State::True)
        .then_some(status.provisioned_generation)
        .flatten();
    let residency = residency_enforced(&plan.breach, channels);
    let quarantined = quarantined(&plan.breach, lifecycle.paused);
    for (type_, verdict) in [
        ("ResidencyEnforced", residency),
        ("Quarantined", quarantined),
        ("PlacementEnforced", of_channels(channels, &[12])),
        ("StorageResident", of_channels(channels, &[13, 16])),
        ("BackupsResident", of_channels(channels, &[17, 18, 19, 22])),
        ("CertificatesValid", certificates),
        ("Progressing", progress),
        ("Degraded", degraded),
    ]
    .into_iter()
    .chain(of_components)
    {
        conditions.set(type_, verdict.state, verdict.reason, &verdict.message);
    }
    // It is True of what clients can use: whoever waits for a newer spec goes by its observedGeneration.
    let newest = conditions.generation;
    conditions.generation = of_older.or(newest);
    conditions.set("Ready", ready.state, ready.reason, &ready.message);
    conditions.generation = newest;
}
