//! What does not do its work, as one condition: the most severe fault gives the reason, and the message names every one, so
//! that none hides another. No I/O.

use bailiwick_api::region::Durability;

use crate::condition::starting::with_held;
use crate::condition::{CREDENTIALS_REPLACED, State, Verdict};
use crate::facts::Facts;
use crate::facts::patroni::{MemberRole, UNREACHABLE};
use crate::outcome::Applied;
use crate::plan::Plan;
use crate::scale::Departure;
use crate::secret::{self, Due};
use crate::{growth, rotation, sql, store};

/// How long what is told of one kind of fault may become, in characters, before the rest is counted: people read it.
const MOST_OF_A_FAULT: usize = 800;
/// The reason when the API server refuses an object of the Region.
pub(super) const OBJECT_REFUSED: &str = "ObjectRefused";
/// What stands in the message between what the API server did not let us do and what was seen amiss before that.
const AS_LAST_SEEN: &str = " As last seen: ";

/// What can be amiss, the most severe first: what may cost rows or the service, what may with one fault more, then what is
/// not made, and what is not as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    WalArchivingFailing,
    MembersMissing,
    FailoverPaused,
    NoSyncStandby,
    ScaleDownWaits,
    CredentialsReplaced,
    ObjectRefused,
    SecretMissing,
    SecretValueMissing,
    ObjectMissing,
    StepFailed,
    VolumeCannotGrow,
    ObjectStoreDrifted,
    PostgresDrifted,
}

impl Fault {
    const ALL: [Self; 14] = [
        Self::WalArchivingFailing,
        Self::MembersMissing,
        Self::FailoverPaused,
        Self::NoSyncStandby,
        Self::ScaleDownWaits,
        Self::CredentialsReplaced,
        Self::ObjectRefused,
        Self::SecretMissing,
        Self::SecretValueMissing,
        Self::ObjectMissing,
        Self::StepFailed,
        Self::VolumeCannotGrow,
        Self::ObjectStoreDrifted,
        Self::PostgresDrifted,
    ];

    /// The reason of the condition.
    const fn as_str(self) -> &'static str {
        match self {
            Self::WalArchivingFailing => "WALArchivingFailing",
            Self::MembersMissing => "MembersMissing",
            Self::FailoverPaused => "FailoverPaused",
            Self::NoSyncStandby => "NoSyncStandby",
            Self::ScaleDownWaits => "ScaleDownWaits",
            Self::CredentialsReplaced => CREDENTIALS_REPLACED,
            Self::ObjectRefused => OBJECT_REFUSED,
            Self::SecretMissing => "SecretMissing",
            Self::SecretValueMissing => "SecretValueMissing",
            Self::ObjectMissing => "ObjectMissing",
            Self::StepFailed => "StepFailed",
            Self::VolumeCannotGrow => "VolumeCannotGrow",
            Self::ObjectStoreDrifted => "ObjectStoreDrifted",
            Self::PostgresDrifted => "PostgresDrifted",
        }
    }

    /// What is told of it; none when it is not so.
    fn told(
        self,
        applied: &Applied<'_>,
        of_components: &[(&'static str, Verdict)],
    ) -> Option<String> {
        match self {
            Self::WalArchivingFailing => of_components
                .iter()
                .any(|(type_, it)| *type_ == "WALArchiving" && it.state == State::False)
                .then(|| "WAL is not archived: see condition WALArchiving.".to_owned()),
            Self::MembersMissing => members_missing(applied),
            Self::FailoverPaused => failover_paused(applied),
            Self::NoSyncStandby => no_sync_standby(applied),
            Self::ScaleDownWaits => applied
                .plan
                .members
                .leaving
                .as_ref()
                .filter(|it| matches!(it.what, Departure::Waits(wait) if !wait.passes()))
                .map(|leaving| format!("{leaving}.")),
            Self::CredentialsReplaced => {
                rotation::not_taken(applied.plan, applied.facts).map(|told| format!("{told}."))
            }
            Self::ObjectRefused => objects_refused(applied),
            Self::SecretMissing => all_of(&secrets_missing(applied.plan, applied.facts)),
            Self::SecretValueMissing => {
                all_of(&secret::lacking(&applied.plan.secrets, applied.facts))
            }
            Self::ObjectMissing => all_of(&objects_missing(applied.facts)),
            Self::StepFailed => steps_failed(applied),
            Self::VolumeCannotGrow => all_of(&growth::stuck(applied.plan, applied.facts)),
            Self::ObjectStoreDrifted => {
                let seen = applied.facts.store.seen()?;
                let drift = store::drift(applied.plan, seen);
                all_of(&drift.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            Self::PostgresDrifted => {
                let seen = applied.facts.postgres.seen()?;
                all_of(&sql::findings(applied.plan, seen))
            }
        }
    }
}

/// The condition `Degraded` of a Region that was applied.
pub(super) fn degraded(
    applied: &Applied<'_>,
    of_components: &[(&'static str, Verdict)],
) -> Verdict {
    let found: Vec<(Fault, String)> = Fault::ALL
        .into_iter()
        .filter_map(|fault| Some((fault, fault.told(applied, of_components)?)))
        .collect();
    let Some((worst, _)) = found.first() else {
        if let Some(unread) = unread(applied) {
            return unread;
        }
        return Verdict::new(
            State::False,
            "Whole",
            "Every member and server does its work.",
        );
    };
    let message: Vec<String> = found
        .iter()
        .map(|(fault, told)| {
            if fault == worst {
                told.clone()
            } else {
                format!("Also {}: {told}", fault.as_str())
            }
        })
        .collect();
    Verdict::new(State::True, worst.as_str(), message.join(" "))
}

/// That nothing is seen to be amiss where not all could be read: nobody knows whether something is.
fn unread(applied: &Applied<'_>) -> Option<Verdict> {
    let facts = applied.facts;
    let postgres = facts.patroni.unread().or_else(|| facts.postgres.unread());
    let (unread, condition) = match (postgres, facts.store.unread()) {
        (Some(unread), _) => (unread, "PostgresAvailable"),
        (None, Some(unread)) => (unread, "ObjectStoreAvailable"),
        (None, None) => return None,
    };
    Some(Verdict::new(
        State::Unknown,
        unread.failure.as_str(),
        format!(
            "Nothing is seen to be amiss, but not all could be read: see condition {condition}."
        ),
    ))
}

/// The message of `Degraded` when the API server did not let us work: `failed`, and what was amiss when that was last seen,
/// by the reason and message of the condition before, where that was True.
pub(super) fn not_let(failed: &str, before: Option<(&str, &str)>) -> String {
    let seen = before.and_then(|(reason, message)| {
        if Fault::ALL.iter().any(|fault| fault.as_str() == reason) {
            return Some(format!("{reason}: {message}"));
        }
        let seen = message.split_once(AS_LAST_SEEN)?.1;
        Some(seen.to_owned())
    });
    match seen {
        Some(seen) => format!("{failed}{AS_LAST_SEEN}{seen}"),
        None => failed.to_owned(),
    }
}

/// Several sentences as one text: as many as there is room for, and how many there are more; none when there is none.
fn all_of(sentences: &[String]) -> Option<String> {
    let (first, rest) = sentences.split_first()?;
    let mut shown = first.clone();
    let mut more = rest.len();
    for sentence in rest {
        if shown.chars().count() + sentence.chars().count() > MOST_OF_A_FAULT {
            break;
        }
        shown = format!("{shown}; {sentence}");
        more -= 1;
    }
    Some(match more {
        0 => format!("{shown}."),
        more => format!("{shown}; and {more} more."),
    })
}

/// What the API server refused; none when it refused nothing.
pub(super) fn objects_refused(applied: &Applied<'_>) -> Option<String> {
    let refused = applied.facts.refused.iter();
    let told = all_of(&refused.map(ToString::to_string).collect::<Vec<_>>())?;
    let waits = if applied.facts.pods_must_wait() && !applied.plan.spec.lifecycle.hibernated {
        " No pod with data is started or ended meanwhile, for a backup neither."
    } else {
        ""
    };
    Some(format!(
        "{told} It is tried again, and the rest of the Region is looked after.{waits} See \
         docs/runbooks/degraded.md, ObjectRefused."
    ))
}

fn steps_failed(applied: &Applied<'_>) -> Option<String> {
    let failed: Vec<String> = applied
        .failed_steps
        .iter()
        .map(|(step, failure, cause)| {
            let cause = cause
                .as_ref()
                .map(|cause| format!(" ({cause})"))
                .unwrap_or_default();
            format!("{step}: {}{cause}", failure.as_str())
        })
        .collect();
    Some(format!("{} It is tried again.", all_of(&failed)?))
}

/// The Secrets of a paused Region that would be made or made anew if it went on: of any other they are by now.
fn secrets_missing(plan: &Plan, facts: &Facts) -> Vec<String> {
    if !plan.spec.lifecycle.paused {
        return Vec::new();
    }
    let (renewed, missing): (Vec<_>, Vec<_>) = secret::due(&plan.secrets, facts)
        .into_iter()
        .partition(|(_, due)| *due == Due::Renewal);
    missing
        .into_iter()
        .chain(renewed)
        .filter_map(|(wanted, due)| {
            let name = wanted.name;
            match due {
                Due::Missing => Some(format!(
                    "Secret {name} is missing, and is made anew once spec.lifecycle.paused is false"
                )),
                Due::PutBack => Some(format!(
                    "Secret {name} is missing, and is put back as it was once spec.lifecycle.paused is false; an operator \
                     that starts before that does not remember it"
                )),
                Due::Renewal => Some(format!(
                    "the certificate in Secret {name} is due, and is renewed once spec.lifecycle.paused is false"
                )),
                Due::Derivation | Due::Retention => None,
            }
        })
        .collect()
}

/// What is not there of a paused Region, and would be made anew if it went on.
fn objects_missing(facts: &Facts) -> Vec<String> {
    facts
        .absent
        .iter()
        .map(|object| {
            format!("{object} is missing, and is made anew once spec.lifecycle.paused is false")
        })
        .collect()
}

/// How many members run that the spec asks for, and how many it asks for.
fn members(applied: &Applied<'_>) -> (i32, i32) {
    let wanted = if applied.plan.spec.lifecycle.hibernated {
        0
    } else {
        applied.plan.spec.postgres.instances
    };
    let running = applied.facts.patroni.seen().map_or(0, |patroni| {
        patroni
            .members
            .values()
            .filter(|member| matches!(member.state.as_str(), "running" | "streaming"))
            .count()
    });
    (i32::try_from(running).unwrap_or(i32::MAX), wanted)
}

fn members_missing(applied: &Applied<'_>) -> Option<String> {
    let (running, wanted) = members(applied);
    let missing = all_of(&missing_members(applied, wanted)).unwrap_or_default();
    (running < wanted).then(|| {
        with_held(
            applied,
            &applied.plan.names.postgres(),
            &format!("{running} of {wanted} members run: {missing}"),
        )
    })
}

/// That Patroni was put into its maintenance mode, in which a primary that is lost has no successor.
fn failover_paused(applied: &Applied<'_>) -> Option<String> {
    let patroni = applied.facts.patroni.seen()?;
    patroni.in_maintenance().then(|| {
        format!(
            "Patroni is in its maintenance mode (pause): should the primary be lost, nobody takes over, and no member is \
             restarted or moved. `patronictl resume {}` in a member ends it.",
            applied.plan.names.postgres()
        )
    })
}

/// That no replica counts for commits. Where none runs, that is said by [`members_missing`].
fn no_sync_standby(applied: &Applied<'_>) -> Option<String> {
    let (running, wanted) = members(applied);
    (wanted > 1 && running > 1 && lacks_sync_standby(applied)).then(|| {
        "No replica counts for commits: should the primary be lost now, nobody may take over without losing rows."
            .to_owned()
    })
}

/// The members that do not run, each with the reason that Kubernetes or Patroni gives. Of one that just starts no more is
/// said: it would move with each moment of it.
fn missing_members(applied: &Applied<'_>, wanted: i32) -> Vec<String> {
    let Applied { plan, facts, .. } = applied;
    (0..wanted)
        .map(|ordinal| plan.names.postgres_member(ordinal))
        .filter_map(|name| {
            let member = facts.patroni.seen().and_then(|it| it.members.get(&name));
            let state = member.map_or("", |member| member.state.as_str());
            if matches!(state, "running" | "streaming") {
                return None;
            }
            let pod = facts.pods.live.get(&name);
            let says = || {
                if state.contains("fail") || state.contains("crash") {
                    return Some(format!("Patroni says {state:?}"));
                }
                if pod.is_some_and(|pod| pod.ready) {
                    let silent = "its pod is ready, and Patroni in it does not answer the operator or says that it does \
                                  not run yet";
                    return Some(silent.to_owned());
                }
                // Whichever of its words: it goes through several while it starts.
                (member.is_some() && state != UNREACHABLE)
                    .then(|| "its Patroni answers, and Postgres in it does not run yet".to_owned())
            };
            let why = pod.and_then(|pod| pod.trouble.clone()).or_else(says);
            Some(format!(
                "{name}: {}",
                why.unwrap_or_else(|| "no pod runs it yet".to_owned())
            ))
        })
        .collect()
}

/// Whether commits are to wait for a replica and Patroni counts none, as just after a restart.
fn lacks_sync_standby(applied: &Applied<'_>) -> bool {
    applied.plan.spec.postgres.durability != Durability::Bounded
        && applied.facts.patroni.seen().is_some_and(|patroni| {
            patroni.primary().is_some()
                && !patroni
                    .members
                    .values()
                    .any(|member| member.role == MemberRole::SyncStandby)
        })
}
