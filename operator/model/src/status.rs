//! How a look at a Region went, as its status. The old status and an outcome in, the new status out, equal when no
//! fact changed. Messages are made of names and closed words: never of what a server said. No I/O.

mod degraded;
mod foreign;
mod retiring;
mod unreadable;

use degraded::degraded;
pub use foreign::foreign;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use retiring::{DELETION_BLOCKED, retiring};
pub use unreadable::{Unreadable, unreadable};

use crate::archive::Archive;
use crate::canary::verdict as canaries;
use crate::channel::{self, Channels};
use crate::facts::patroni::{MemberFact, MemberRole, PatroniFacts, UNREACHABLE};
use crate::facts::{Facts, Observed, ReadFailure, Unread};
use crate::names::{NODE_REGION, Names};
use crate::plan::Plan;
use crate::region::{
    BackupRecord, BackupStatus, BreachStatus, BreachedChannel, CertificatesStatus, ChannelState,
    InstanceStatus, ObjectStoreStatus, PostgresStatus, Region, RegionStatus, RepoStatus,
    ResidencyStatus, WalArchiveStatus,
};
use crate::scale::Departure;
use crate::step::Retained;
use crate::violation::Violation;
use crate::{fence, growth, rotation, settings, sql, store};

/// How a look at a Region went.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It was refused; nothing was applied.
    Refused(&'a [Violation]),
    /// Everything that can be done now was done.
    Applied(Applied<'a>),
    /// The API server did not let us.
    Failed {
        /// A closed word.
        reason: &'a str,
        /// The object and what the API server called it.
        message: &'a str,
        /// Why the spec is refused, where that was found before: what was accepted of it is not news then.
        refused: &'a [Violation],
    },
}

/// A Region that was applied.
#[derive(Clone, Debug)]
pub struct Applied<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What was observed.
    pub facts: &'a Facts,
    /// How many steps were due when the look began, apart from those that failed.
    pub steps_due: usize,
    /// The steps that failed: which, why, and the code that the system answered with.
    pub failed_steps: &'a [(String, ReadFailure, Option<String>)],
    /// What the archive does.
    pub archive: Archive,
    /// The newest full backup that a Job of this look reported.
    pub full_backup: Option<BackupRecord>,
    /// What left the spec and was retained.
    pub retained: Retained,
    /// Why the newest spec is refused, while an older one is in force: then the plan is of that one.
    pub refused: &'a [Violation],
}

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

/// Whether a condition of a status is True.
#[must_use]
pub fn is_true(status: &RegionStatus, type_: &str) -> bool {
    status
        .conditions
        .iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The status of a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    True,
    False,
    Unknown,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    const fn of(yes: bool) -> Self {
        if yes { Self::True } else { Self::False }
    }
}

struct Conditions {
    list: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    fn set(&mut self, type_: &str, state: State, reason: &str, message: &str) {
        let mut next = Condition {
            type_: type_.to_owned(),
            status: state.as_str().to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: self.generation,
            last_transition_time: Time(self.now),
        };
        match self
            .list
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(old) => {
                if old.status == next.status {
                    next.last_transition_time = old.last_transition_time.clone();
                }
                *old = next;
            }
            None => self.list.push(next),
        }
    }
}

/// That the newest spec is refused and the one before it in force.
fn another_in_force(conditions: &mut Conditions, applied: &Applied<'_>) {
    let number = |generation: Option<i64>| generation.map_or_else(String::new, |it| it.to_string());
    let message = format!(
        "Generation {} is refused; generation {} is in force.\n{}",
        number(conditions.generation),
        number(applied.plan.generation),
        lines(applied.refused)
    );
    let reason = first_reason(applied.refused);
    conditions.set("Accepted", State::False, reason, &message);
}

fn first_reason(violations: &[Violation]) -> &'static str {
    violations
        .first()
        .map_or("Invalid", |violation| violation.reason.as_str())
}

/// Violations, one a line.
fn lines(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// `logged` says whether the Region has an evidence log: of that, who writes the refusal into it tells.
fn refused(conditions: &mut Conditions, violations: &[Violation], logged: bool) {
    let reason = first_reason(violations);
    conditions.set("Accepted", State::False, reason, &lines(violations));
    conditions.set(
        "Ready",
        State::False,
        "NotAccepted",
        "The Region is not accepted: see condition Accepted.",
    );
    conditions.set(
        "Progressing",
        State::False,
        "NotAccepted",
        "Nothing is applied while the Region is not accepted.",
    );
    let judged = ["Accepted", "Ready", "Progressing", "EvidenceRecorded"];
    not_looked_at(
        conditions,
        // A condition that is set twice would seem to flip each time.
        &judged[..judged.len() - usize::from(!logged)],
        "NotAccepted",
        "Nothing is looked at while the Region is not accepted.",
    );
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

/// Whether what the spec asks for in Postgres and in the object store is all there; none when either was not read.
fn is_provisioned(applied: &Applied<'_>) -> Option<bool> {
    let Applied { plan, facts, .. } = applied;
    if !facts.refused.is_empty() {
        return Some(false);
    }
    let (postgres, store) = (facts.postgres.seen()?, facts.store.seen()?);
    // A server that replays takes no steps, which says nothing of what it lacks.
    (!postgres.in_recovery)
        .then(|| sql::steps(plan, postgres).is_empty() && store::steps(plan, store).is_empty())
}

/// The newest generation that was provisioned, by the status before and by this look. A status of an operator that did not
/// say so yet says it by `Ready`.
fn provisioned(status: &RegionStatus, applied: &Applied<'_>) -> Option<i64> {
    if is_provisioned(applied) == Some(true) {
        return applied.plan.generation;
    }
    status.provisioned_generation.or_else(|| {
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready")?;
        (ready.status == "True").then_some(ready.observed_generation)?
    })
}

/// Takes the facts over. What could not be read keeps its last value: a failed read is not an empty one.
fn record(status: &mut RegionStatus, applied: &Applied<'_>) {
    let Applied { plan, facts, .. } = applied;

    status.provisioned_generation = provisioned(status, applied);
    let mut postgres = status.postgres.clone().unwrap_or_default();
    postgres.incarnation = Some(plan.incarnation);
    if let Observed::Seen(patroni) = &facts.patroni {
        postgres.primary = patroni.primary().map(str::to_owned);
        if patroni.system_identifier.is_some() {
            postgres
                .system_identifier
                .clone_from(&patroni.system_identifier);
        }
        postgres.instances = instances(patroni, facts);
    } else if plan.spec.lifecycle.hibernated {
        postgres.primary = None;
        postgres.instances.clear();
    }
    if facts.postgres.seen().is_some() {
        postgres.retained.clone_from(&applied.retained.postgres);
        (postgres.secrets_to_delete).clone_from(&applied.retained.secrets_to_delete);
    }
    status.postgres = Some(PostgresStatus { ..postgres });

    let store_set = facts.stateful_sets.get(&plan.names.object_store());
    let retained = if facts.store.seen().is_some() {
        applied.retained.object_store.clone()
    } else {
        status
            .object_store
            .as_ref()
            .map(|store| store.retained.clone())
            .unwrap_or_default()
    };
    status.object_store = Some(ObjectStoreStatus {
        ready: store_set.map_or(0, |set| set.ready),
        endpoint: plan.names.object_store_endpoint(),
        retained,
    });

    let mut backup = status.backup.clone().unwrap_or_default();
    let failing_since = match &applied.archive {
        Archive::Failing { since, .. } => {
            let known = backup
                .wal_archive
                .as_ref()
                .and_then(|wal| wal.failing_since);
            Some(known.unwrap_or(*since))
        }
        Archive::Working { .. } => None,
        Archive::Unknown { .. } => backup
            .wal_archive
            .as_ref()
            .and_then(|wal| wal.failing_since),
    };
    backup.wal_archive = Some(WalArchiveStatus { failing_since });
    if let Archive::Working {
        latest_restorable: Some(latest),
    } = &applied.archive
    {
        // Five-minute steps: a status that moves with every WAL file would wake everybody for nothing.
        let known = backup.latest_restorable;
        if known.is_none_or(|known| latest.duration_since(known) >= SignedDuration::from_mins(5)) {
            backup.latest_restorable = Some(*latest);
        }
    }
    let known_full = backup.repos.first().and_then(|repo| repo.last_full.clone());
    backup.repos = plan
        .spec
        .backup
        .repos
        .iter()
        .take(1)
        .map(|repo| RepoStatus {
            name: repo.name.clone(),
            location: plan.backup_bucket.location().to_owned(),
            stanza: plan.names.stanza(plan.incarnation),
            last_full: applied.full_backup.clone().or_else(|| known_full.clone()),
        })
        .collect();
    if backup
        .repos
        .first()
        .is_none_or(|repo| repo.last_full.is_none())
    {
        // WAL without a backup under it restores nothing.
        backup.latest_restorable = None;
    }
    status.backup = Some(BackupStatus { ..backup });

    let soonest = facts
        .secrets
        .values()
        .filter_map(|secret| secret.certificate.as_ref())
        .map(|certificate| certificate.not_after)
        .min();
    if soonest.is_some() {
        status.certificates = Some(CertificatesStatus {
            soonest_expiry: soonest,
        });
    }
}

fn instances(patroni: &PatroniFacts, facts: &Facts) -> Vec<InstanceStatus> {
    patroni
        .members
        .iter()
        .map(|(name, member)| {
            let node = facts.pods.live.get(name).and_then(|pod| pod.node.clone());
            InstanceStatus {
                name: name.clone(),
                role: match member.role {
                    MemberRole::Primary => "Primary",
                    MemberRole::SyncStandby => "SyncStandby",
                    MemberRole::Replica => "Replica",
                }
                .to_owned(),
                state: member.state.clone(),
                node_location: node
                    .as_ref()
                    .and_then(|node| facts.nodes.get(node))
                    .and_then(|labels| labels.get(NODE_REGION))
                    .cloned(),
                node,
                timeline: member.timeline,
                pending_restart: member.pending_restart,
            }
        })
        .collect()
}

/// The state and reason of one condition, and a message for people.
struct Verdict {
    state: State,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn new(state: State, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            state,
            reason,
            message: message.into(),
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

    let postgres = postgres(applied);
    let store = object_store(applied);
    let contained = contained(applied);
    let archive = archive(applied);
    let certificates = certificates(status, facts);
    let restart = pending_restart(applied.plan, facts);
    let progress = progressing(applied);
    let degraded = degraded(applied, &archive);
    let ready = ready(applied, status.provisioned_generation, &postgres, &store);
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
        ("PostgresAvailable", postgres),
        ("ObjectStoreAvailable", store),
        ("ObjectStoreContained", contained),
        ("WALArchiving", archive),
        ("NetworkEnforced", network(applied)),
        ("CertificatesValid", certificates),
        ("PendingRestart", restart),
        ("Progressing", progress),
        ("Degraded", degraded),
    ] {
        conditions.set(type_, verdict.state, verdict.reason, &verdict.message);
    }
    // It is True of what clients can use: whoever waits for a newer spec goes by its observedGeneration.
    let newest = conditions.generation;
    conditions.generation = of_older.or(newest);
    conditions.set("Ready", ready.state, ready.reason, &ready.message);
    conditions.generation = newest;
}

/// What became of the residency in this look. Its time moves when something else does, and every five minutes.
fn residency(
    before: Option<&ResidencyStatus>,
    applied: &Applied<'_>,
    channels: Channels,
    moved: bool,
) -> ResidencyStatus {
    let Applied { plan, facts, .. } = applied;
    let mut residency = ResidencyStatus {
        assurance: plan.assurance,
        channels: channels.rows,
        exceptions: channels.exceptions,
        checked_at: before.and_then(|before| before.checked_at),
        breach: plan.breach.clone(),
        ways: Some(plan.ways.clone()),
        // It is written where records are, and stays until the next one.
        evidence: before.and_then(|before| before.evidence.clone()),
    };
    let recent = residency
        .checked_at
        .is_some_and(|checked| facts.now.duration_since(checked) < SignedDuration::from_mins(5));
    if moved || !recent || before != Some(&residency) {
        residency.checked_at = Some(facts.now);
    }
    residency
}

/// Whether every channel that is demanded here is closed, or answered for.
fn residency_enforced(breach: &BreachStatus, channels: &Channels) -> Verdict {
    if let Some(breached) = breach.channels.first() {
        return Verdict::new(
            State::False,
            "LeakFound",
            format!(
                "Channel {}: {}. See condition Quarantined.",
                breached.id, breached.finding
            ),
        );
    }
    if let Some((id, finding)) = channels.open.first() {
        let more = match channels.open.len() - 1 {
            0 => String::new(),
            more => format!(" And {more} more: see status.residency.channels."),
        };
        return Verdict::new(
            State::False,
            "ChannelOpen",
            format!("Channel {id}: {finding}.{more}"),
        );
    }
    if let Some(id) = channels.expired.first() {
        return Verdict::new(
            State::False,
            "ExceptionExpired",
            format!(
                "The exception for channel {id} has expired: close the channel, or have the exception approved anew in \
                 spec.residency.exceptions."
            ),
        );
    }
    if channels.unknown.is_empty() {
        let excepted = match channels.exceptions.active {
            0 => String::new(),
            active => format!(", {active} by exception"),
        };
        return Verdict::new(
            State::True,
            "Verified",
            format!("Every channel that is demanded here was seen to be closed{excepted}."),
        );
    }
    let unknown: Vec<String> = channels.unknown.iter().map(ToString::to_string).collect();
    Verdict::new(
        State::Unknown,
        "NotVerified",
        format!(
            "Nothing is known of channel {}: see status.residency.channels.",
            unknown.join(", ")
        ),
    )
}

/// Whether clients and declared endpoints are shut off, since data was seen to get out.
fn quarantined(breach: &BreachStatus, paused: bool) -> Verdict {
    let Some(breached) = breach.channels.first() else {
        return Verdict::new(
            State::False,
            "Open",
            "Clients and declared endpoints are let through.",
        );
    };
    let more = match breach.channels.len() - 1 {
        0 => String::new(),
        more => format!(" And {more} more: see status.residency.breach."),
    };
    let paused = if paused {
        " The Region is paused: it stays shut off until it goes on."
    } else {
        ""
    };
    Verdict::new(
        State::True,
        "LeakFound",
        format!(
            "Clients and declared endpoints are shut off until channel {} is seen to be closed: {}.{more}{paused} See \
             docs/runbooks/quarantined.md.",
            breached.id, breached.finding
        ),
    )
}

/// A condition that stands for some of the channels.
fn of_channels(channels: &Channels, ids: &[u8]) -> Verdict {
    let rows = || {
        channels
            .rows
            .iter()
            .filter(|row| row.id.parse().is_ok_and(|id: u8| ids.contains(&id)))
    };
    // What somebody answers for is told of in the row alone.
    let open = rows().filter(|row| row.state == ChannelState::Unknown);
    if let Some(finding) = open.clone().find_map(|row| row.finding.as_ref()) {
        return Verdict::new(State::False, "ChannelOpen", format!("{finding}."));
    }
    match open.clone().next() {
        Some(row) => Verdict::new(
            State::Unknown,
            "NotVerified",
            format!("Channel {}: {}.", row.id, row.evidence),
        ),
        None => Verdict::new(
            State::True,
            "Verified",
            format!(
                "{}.",
                rows()
                    .map(|row| row.evidence.as_str())
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
        ),
    }
}

fn postgres(applied: &Applied<'_>) -> Verdict {
    let facts = applied.facts;
    if applied.plan.spec.lifecycle.hibernated {
        return Verdict::new(
            State::False,
            "Hibernated",
            "Postgres is stopped on purpose.",
        );
    }
    match (&facts.patroni, &facts.postgres) {
        (Observed::Seen(_), Observed::Seen(seen)) if seen.in_recovery => Verdict::new(
            State::False,
            "NoPrimary",
            "The server that the Service of the primary leads to replays WAL and takes no writes; Patroni will promote one.",
        ),
        (Observed::Seen(patroni), Observed::Seen(_)) => match patroni.primary() {
            Some(primary) => Verdict::new(
                State::True,
                "PrimaryRunning",
                format!("{primary} is the primary."),
            ),
            None => no_primary(patroni),
        },
        (Observed::Seen(patroni), _) if patroni.primary().is_none() => no_primary(patroni),
        (Observed::NotAsked, _) => starting(
            applied,
            &applied.plan.names.postgres(),
            "The members are not up yet.",
        ),
        (Observed::Failed(unread), _) => Verdict::new(
            State::Unknown,
            unread.failure.as_str(),
            format!(
                "Patroni could not be read: {unread}. See the pods of {}.",
                applied.plan.names.postgres()
            ),
        ),
        (_, Observed::Failed(unread)) if unread.failure == ReadFailure::Unauthenticated => {
            passwords_refused(applied, unread)
        }
        (Observed::Seen(patroni), Observed::Failed(unread)) => Verdict::new(
            State::Unknown,
            unread.failure.as_str(),
            format!(
                "The primary {} could not be asked over SQL: {unread}. See docs/runbooks/postgres-available.md.",
                patroni.primary().unwrap_or_default()
            ),
        ),
        (Observed::Seen(_), Observed::NotAsked) => {
            Verdict::new(State::False, "Starting", "The primary is not up yet.")
        }
    }
}

/// No member that answers leads; one that does not answer may.
fn no_primary(patroni: &PatroniFacts) -> Verdict {
    let silent: Vec<&str> = patroni
        .members
        .iter()
        .filter(|(_, member)| member.state == UNREACHABLE)
        .map(|(name, _)| name.as_str())
        .collect();
    let message = if patroni.in_maintenance() {
        "No member is a running primary, and Patroni elects none while it is in its maintenance mode (pause): see condition \
         Degraded."
            .to_owned()
    } else if silent.is_empty() {
        "No member is a running primary; Patroni will elect one.".to_owned()
    } else {
        format!(
            "No member that answers is a running primary; Patroni will elect one, unless one leads that does not answer: {}. \
             See the pod and condition CertificatesValid.",
            silent.join(", ")
        )
    };
    Verdict::new(State::False, "NoPrimary", message)
}

/// The database does not take the operator's password.
fn passwords_refused(applied: &Applied<'_>, unread: &Unread) -> Verdict {
    let secret = applied.plan.names.postgres_internal();
    let edited = applied
        .facts
        .secrets
        .get(&secret)
        .and_then(|fact| fact.edited);
    let (reason, since) = match edited {
        Some(edited) => (CREDENTIALS_REPLACED, format!(", edited at {edited}")),
        None => (ReadFailure::Unauthenticated.as_str(), String::new()),
    };
    Verdict::new(
        State::Unknown,
        reason,
        format!(
            "The database does not take control-password of Secret {secret}{since} ({unread}): its roles have the passwords from \
             before. Put those back into the Secret, or set the Secret's in the database: \
             docs/runbooks/replaced-credentials.md."
        ),
    )
}

/// The reason of conditions that tell of a credential that was made anew and that processes still run without.
const CREDENTIALS_REPLACED: &str = "CredentialsReplaced";

fn object_store(applied: &Applied<'_>) -> Verdict {
    if applied.plan.spec.lifecycle.hibernated {
        return Verdict::new(
            State::False,
            "Hibernated",
            "The object store is stopped on purpose.",
        );
    }
    match &applied.facts.store {
        Observed::Seen(_) => Verdict::new(State::True, "Serving", "The object store answers."),
        Observed::NotAsked => starting(
            applied,
            &applied.plan.names.object_store(),
            "The servers are not up yet.",
        ),
        Observed::Failed(unread)
            if let Some(replaced) = rotation::store_root(applied.plan, applied.facts) =>
        {
            let message = format!("{replaced}. The object store could not be read: {unread}.");
            Verdict::new(State::False, CREDENTIALS_REPLACED, message)
        }
        Observed::Failed(unread) => Verdict::new(
            State::False,
            unread.failure.as_str(),
            format!(
                "The object store could not be read: {unread}. See the pods of {}.",
                applied.plan.names.object_store()
            ),
        ),
    }
}

/// Nothing of a StatefulSet is up, and why if that is known.
fn starting(applied: &Applied<'_>, set: &str, message: &str) -> Verdict {
    Verdict::new(State::False, "Starting", with_held(applied, set, message))
}

/// The message, and which pod of a StatefulSet its fence holds.
fn with_held(applied: &Applied<'_>, set: &str, message: &str) -> String {
    match fence::held(applied.facts, set) {
        Some(held) => format!("{message} {held}."),
        None => message.to_owned(),
    }
}

/// Whether nothing leads out of the object store. Of the channels of the store, those that its own settings open.
fn contained(applied: &Applied<'_>) -> Verdict {
    let Some(seen) = applied.facts.store.seen() else {
        return Verdict::new(
            State::Unknown,
            "NotRead",
            "The object store was not read: see condition ObjectStoreAvailable.",
        );
    };
    let leaks: Vec<String> = store::drift(applied.plan, seen)
        .into_iter()
        // Whose repository it is, is channel 17's; by this nothing leads out of the store.
        .filter(|drift| {
            drift.channel().is_some() && !matches!(drift, store::Drift::ForeignMarker { .. })
        })
        .map(|drift| drift.to_string())
        .collect();
    if leaks.is_empty() {
        Verdict::new(
            State::True,
            "Contained",
            "No replication, tier, target or identity provider leads out of the object store.",
        )
    } else {
        Verdict::new(State::False, "LeadsOut", some_of(&leaks))
    }
}

/// Whether the boundary held when the canaries last tried it.
fn network(applied: &Applied<'_>) -> Verdict {
    // A leak that a canary found stands until a canary finds none, though the boundary has changed since.
    let leak = |breached: &&BreachedChannel| ["1", "2", "9"].contains(&breached.id.as_str());
    if let Some(breached) = applied.plan.breach.channels.iter().find(leak) {
        return Verdict::new(
            State::False,
            "LeakFound",
            format!("Channel {}: {}.", breached.id, breached.finding),
        );
    }
    let enforced = canaries::verdict(applied.plan, applied.facts).enforced(applied.plan);
    let state = enforced.state.map_or(State::Unknown, State::of);
    Verdict::new(state, enforced.reason, enforced.message)
}

/// The first few of several sentences, and how many there are more.
fn some_of(sentences: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = sentences[..sentences.len().min(SHOWN)].join("; ");
    match sentences.len().saturating_sub(SHOWN) {
        0 => format!("{shown}."),
        more => format!("{shown}; and {more} more."),
    }
}

fn archive(applied: &Applied<'_>) -> Verdict {
    if applied.plan.spec.lifecycle.hibernated {
        return Verdict::new(
            State::Unknown,
            "Hibernated",
            "Nothing is written, so nothing is archived.",
        );
    }
    match &applied.archive {
        Archive::Failing { reason, .. }
            if let Some(replaced) = rotation::store_root(applied.plan, applied.facts)
                .or_else(|| rotation::archive_user(applied.plan, applied.facts)) =>
        {
            let message = format!("{replaced}. WAL does not arrive in the bucket: {reason}.");
            Verdict::new(State::False, CREDENTIALS_REPLACED, message)
        }
        Archive::Working { .. } => Verdict::new(
            State::True,
            "Archiving",
            "WAL arrives in the Region's own bucket.",
        ),
        Archive::Failing { reason, .. } => Verdict::new(
            State::False,
            reason,
            "WAL does not arrive in the bucket and collects on the primary's volume; see the object store's condition.",
        ),
        Archive::Unknown { reason } => Verdict::new(
            State::Unknown,
            reason,
            "Whether WAL is archived could not be read: see condition PostgresAvailable.",
        ),
    }
}

fn certificates(status: &RegionStatus, facts: &Facts) -> Verdict {
    match status
        .certificates
        .as_ref()
        .and_then(|certificates| certificates.soonest_expiry)
    {
        Some(expiry) if expiry > facts.now => Verdict::new(
            State::True,
            "Valid",
            "Certificates are valid and renewed before they expire.",
        ),
        Some(_) => Verdict::new(
            State::False,
            "Expired",
            "A certificate has expired: see status.certificates.",
        ),
        None => Verdict::new(
            State::Unknown,
            "NotRead",
            "The certificates have not been read yet.",
        ),
    }
}

fn pending_restart(plan: &Plan, facts: &Facts) -> Verdict {
    let Some(patroni) = facts.patroni.seen() else {
        return Verdict::new(State::Unknown, "NotRead", "Patroni has not been read.");
    };
    let rest = settings_changed(patroni).unwrap_or_else(|| in_force(plan, facts));
    match setting_refused(facts) {
        Some(refused) if rest.state == State::True => Verdict {
            message: format!("{} Also {}: {}", refused.message, rest.reason, rest.message),
            ..refused
        },
        Some(refused) => refused,
        None => rest,
    }
}

/// The settings that wait for restarts; none when no member does.
fn settings_changed(patroni: &PatroniFacts) -> Option<Verdict> {
    let waiting = |member: &&MemberFact| member.pending_restart;
    let count = patroni.members.values().filter(waiting).count();
    if count == 0 {
        return None;
    }
    let settings: Vec<&str> = patroni.pending_settings().into_iter().collect();
    let settings = if settings.is_empty() {
        "Settings".to_owned()
    } else {
        settings.join(", ")
    };
    Some(Verdict::new(
        State::True,
        "SettingsChanged",
        format!("{settings}: in force once {count} members have restarted, replicas first."),
    ))
}

/// Whether the server's files have a setting that it cannot take: whatever else waits for a restart waits for that.
fn setting_refused(facts: &Facts) -> Option<Verdict> {
    let running = facts.postgres.seen()?.running.as_ref()?;
    let refused: Vec<String> = running
        .not_taken()
        .map(|(name, error)| format!("{name}: {error}"))
        .collect();
    (!refused.is_empty()).then(|| {
        Verdict::new(
            State::True,
            "SettingRefused",
            format!(
                "{}: stands in the server's files, and the server cannot take it: a member that restarts would not come \
                 up, so none is restarted; take it out.",
                refused.join("; ")
            ),
        )
    })
}

/// Whether the primary has every setting of the spec, as it was read back: what Patroni was told is not yet in force.
fn in_force(plan: &Plan, facts: &Facts) -> Verdict {
    let wanted = &plan.spec.postgres.parameters;
    let Some(running) = facts.postgres.seen().and_then(|it| it.running.as_ref()) else {
        return if wanted.is_empty() {
            Verdict::new(State::False, "UpToDate", "Nothing waits for a restart.")
        } else {
            Verdict::new(
                State::Unknown,
                "NotRead",
                "Whether the settings are in force could not be read over SQL.",
            )
        };
    };
    let other: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| {
            let shown = running.values.get(*name).map(String::as_str);
            settings::allowed(name)
                .is_some_and(|setting| !settings::is_shown(setting, &value.to_string(), shown))
        })
        .map(|(name, _)| name.clone())
        .collect();
    if other.is_empty() {
        return Verdict::new(State::False, "UpToDate", "Every setting is in force.");
    }
    Verdict::new(
        State::True,
        "NotInForce",
        format!(
            "{}: the primary does not show the spec's value yet (pg_settings).",
            other.join(", ")
        ),
    )
}

fn progressing(applied: &Applied<'_>) -> Verdict {
    let sets = [
        applied.plan.names.postgres(),
        applied.plan.names.object_store(),
    ];
    // One that was only just applied is not seen yet, and has no pod.
    let unready: Vec<&str> = sets
        .iter()
        .filter(|name| {
            applied
                .facts
                .stateful_sets
                .get(*name)
                .is_none_or(|set| !set.observed || set.ready < set.replicas)
        })
        .map(String::as_str)
        .collect();
    let mut found: Vec<(&'static str, String)> = Vec::new();
    if let Some(told) = degraded::objects_refused(applied) {
        found.push((degraded::OBJECT_REFUSED, told));
    }
    if let Some(leaving) = &applied.plan.members.leaving {
        let reason = match leaving.what {
            Departure::Goes | Departure::HandsOver(_) => "MembersLeaving",
            Departure::Waits(_) => "ScaleDownWaits",
        };
        found.push((reason, format!("{leaving}.")));
    }
    for replaced in rotation::told(applied.plan, applied.facts) {
        found.push((CREDENTIALS_REPLACED, format!("{replaced}.")));
    }
    // Neither hides the other. What else goes on beside them waits for them mostly.
    if let Some((reason, _)) = found.first() {
        let message: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
        return Verdict::new(State::True, reason, message.join(" "));
    }
    if !unready.is_empty() {
        return Verdict::new(
            State::True,
            "PodsStarting",
            unready.iter().fold(
                format!("Waiting for the pods of {}.", unready.join(", ")),
                |message, set| with_held(applied, set, &message),
            ),
        );
    }
    let growing = growth::growing(applied.plan, applied.facts);
    if !growing.is_empty() {
        return Verdict::new(
            State::True,
            "VolumesGrowing",
            format!("Waiting for the volumes of {}.", growing.join(", ")),
        );
    }
    if applied.steps_due > 0 {
        return Verdict::new(
            State::True,
            "StepsDue",
            "Changes behind S3, SQL or Patroni are being made.",
        );
    }
    Verdict::new(State::False, "Settled", "Nothing is left to do.")
}

/// Whether clients can use the Region now. `provisioned` is the newest generation of which all was there: of a Region that
/// never was, nobody can say so; of one that was, they can while something newer is being made, and while that fails.
fn ready(
    applied: &Applied<'_>,
    provisioned: Option<i64>,
    postgres: &Verdict,
    store: &Verdict,
) -> Verdict {
    let plan = applied.plan;
    if plan.spec.lifecycle.hibernated {
        return Verdict::new(State::False, "Hibernated", "The Region is hibernated.");
    }
    if plan.assurance < plan.spec.residency.minimum_assurance {
        return Verdict::new(
            State::False,
            "AssuranceTooLow",
            format!(
                "The assurance here is {:?}, spec.residency.minimumAssurance asks for {:?}.",
                plan.assurance, plan.spec.residency.minimum_assurance
            ),
        );
    }
    if plan.breach.is_active() {
        return Verdict::new(
            State::False,
            "Quarantined",
            "Clients and declared endpoints are shut off: see condition Quarantined.",
        );
    }
    if postgres.state != State::True {
        return Verdict::new(
            postgres.state,
            "PostgresUnavailable",
            "See condition PostgresAvailable.",
        );
    }
    if store.state != State::True {
        return Verdict::new(
            store.state,
            "ObjectStoreUnavailable",
            "See condition ObjectStoreAvailable.",
        );
    }
    match provisioned {
        None => Verdict::new(
            State::False,
            "Provisioning",
            "Databases, roles, buckets and users are being made.",
        ),
        Some(generation) if Some(generation) != plan.generation => Verdict::new(
            State::True,
            "Serving",
            format!(
                "Clients can use what generation {generation} asks for; what is newer is being made: see conditions \
                 Progressing and Degraded."
            ),
        ),
        Some(_) => Verdict::new(State::True, "Serving", "Clients can use the Region now."),
    }
}
