//! Patroni as facts and steps: what its members say, and what to do so that the wanted settings and pods come into
//! force with the replicas first, and so that the archive has its stanza and first backup. Values in, values out;
//! no I/O.
//!
//! The order of a change: the dynamic configuration; then members one by one, a dead one at once, replicas before
//! the primary, each only while all the others serve; then a switchover, and the former primary as a replica. One
//! pass disturbs one member at most: what remains is found by the next look.

pub mod step;

use std::collections::BTreeSet;

use bailiwick_api::region::Durability;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::desired::postgres::jobs::{JobResult, Task, job};
use crate::desired::postgres::parameters::{NEVER_BELOW_PRIMARY, dynamic};
use crate::facts::patroni::{MemberFact, MemberRole, UNREACHABLE, same};
use crate::facts::store::StoreFacts;
use crate::facts::{Facts, PodFact};
use crate::manifest::Manifest;
use crate::names::BACKUP_USER;
use crate::patroni::step::PatroniStep;
use crate::plan::Plan;
use crate::scale::{Departure, Leaving};
use crate::step::Step;
use crate::{rotation, store};

/// How long after a failed stanza or backup Job the next try begins.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// The label that Kubernetes puts on the pods of a Job.
pub(crate) const LABEL_JOB: &str = "batch.kubernetes.io/job-name";

/// What to do with Patroni, its pods and the archive now.
#[must_use]
pub fn steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    if plan.spec.lifecycle.hibernated || plan.spec.lifecycle.paused {
        return Vec::new();
    }
    let patch = facts
        .patroni
        .seen()
        .and_then(|seen| config_patch(&dynamic(plan), &seen.config));
    let mut steps = match patch {
        // What it changes must be known before anything is restarted for it.
        Some(patch) => vec![Step::Patroni(PatroniStep::PatchConfig(patch))],
        None => disturbance(plan, facts).into_iter().collect(),
    };
    steps.extend(archive(plan, facts));
    steps
}

/// The smallest change that makes Patroni's dynamic configuration the wanted one; none when there is nothing to
/// change or the configuration could not be read. Keys that `wanted` does not have are left alone, except in
/// `postgresql.parameters`, which is the operator's as a whole.
#[must_use]
pub fn config_patch(wanted: &Value, seen: &Value) -> Option<Value> {
    let patch = difference(wanted.as_object()?, seen.as_object()?, false);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn difference(
    wanted: &Map<String, Value>,
    seen: &Map<String, Value>,
    whole: bool,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, value) in wanted {
        match (value, seen.get(key)) {
            (Value::Object(value), Some(Value::Object(found))) => {
                let inner = difference(value, found, key == "parameters");
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (_, Some(found)) if same(value, found) => {}
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    if whole {
        for key in seen.keys().filter(|key| !wanted.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

/// One member of the wanted ones, with all that is known of it.
struct Member<'a> {
    name: String,
    pod: Option<&'a PodFact>,
    fact: Option<&'a MemberFact>,
    /// Whether its pod was made from an older template, or runs with credentials that were made anew since.
    outdated: bool,
}

impl Member<'_> {
    fn is_primary(&self) -> bool {
        self.fact.is_some_and(|it| it.role == MemberRole::Primary)
    }

    /// Whether the others may lean on it. A new pod must be ready, so that a template that fails stops at the first
    /// pod; an old one need not, so that whatever keeps all of them from being ready can be rolled away.
    fn serves(&self) -> bool {
        self.pod
            .is_some_and(|pod| !pod.terminating && (pod.ready || self.outdated))
            && self.fact.is_some_and(MemberFact::serves)
    }

    /// Whether clients reach it once it is the primary.
    fn ready(&self) -> bool {
        self.pod.is_some_and(|pod| pod.ready)
    }

    fn delete(&self) -> Option<Step> {
        self.pod
            .filter(|pod| !pod.terminating)
            .map(|pod| Step::DeletePod {
                name: self.name.clone(),
                uid: pod.uid.clone(),
            })
    }

    fn restart(&self) -> Step {
        Step::Patroni(PatroniStep::Restart {
            member: self.name.clone(),
        })
    }
}

/// The members that are to run now, in the order of their ordinals.
fn members<'a>(plan: &Plan, facts: &'a Facts) -> Vec<Member<'a>> {
    let revision = facts
        .stateful_sets
        .get(&plan.names.postgres())
        .filter(|set| set.observed)
        .and_then(|set| set.update_revision.as_ref());
    (0..plan.members.replicas)
        .map(|ordinal| {
            let name = plan.names.postgres_member(ordinal);
            let pod = facts.pods.live.get(&name);
            Member {
                pod,
                fact: facts
                    .patroni
                    .seen()
                    .and_then(|seen| seen.members.get(&name)),
                outdated: (revision.is_some()
                    && pod.is_some_and(|pod| pod.revision.as_ref() != revision))
                    || rotation::outdates_member(plan, facts, &name),
                name,
            }
        })
        .collect()
}

/// The one member to disturb now, if any.
fn disturbance(plan: &Plan, facts: &Facts) -> Option<Step> {
    let members = members(plan, facts);

    // What is down anyway is replaced whatever the others do: a new template may be what heals it.
    let dead = |member: &&Member| {
        let pod_down = member.pod.is_some_and(|pod| !pod.ready && !pod.terminating);
        let member_down = member.fact.is_none_or(|fact| fact.state == UNREACHABLE);
        member.outdated && pod_down && member_down
    };
    if let Some(step) = members.iter().find(dead).and_then(Member::delete) {
        return Some(step);
    }

    let seen = facts.patroni.seen()?;
    if seen.in_maintenance() {
        return None;
    }
    if let Some(Leaving { member, what }) = &plan.members.leaving {
        match what {
            Departure::HandsOver(to) => {
                return Some(Step::Patroni(PatroniStep::Switchover {
                    from: member.clone(),
                    to: to.clone(),
                }));
            }
            // One at a time.
            Departure::Goes => return None,
            Departure::Waits(_) => {}
        }
    }
    // A member that restarts would not come up with what stands in its files.
    let running = facts.postgres.seen().and_then(|it| it.running.as_ref());
    if running.is_some_and(|running| running.not_taken().next().is_some()) {
        return None;
    }
    let primary = members.iter().find(|member| member.is_primary())?;
    let others_serve = |member: &Member| {
        members
            .iter()
            .filter(|other| other.name != member.name)
            .all(Member::serves)
    };

    // One that does not follow any more first: the others wait for it, and it may be what it was made from.
    let mut replicas: Vec<&Member<'_>> = members
        .iter()
        .filter(|member| !member.is_primary())
        .collect();
    replicas.sort_by_key(|member| !member.outdated || member.serves());
    for replica in replicas {
        let restart = needs_restart(replica, primary);
        if replica.outdated || restart {
            // In order: a second one waits until the first serves again.
            if !others_serve(replica) {
                return None;
            }
            if replica.outdated {
                return replica.delete();
            }
            // One that does not follow may lack the very record that lets it take the new value.
            return replica.serves().then(|| replica.restart());
        }
    }

    let pending = primary.fact.is_some_and(|fact| fact.pending_restart);
    if !(primary.outdated || pending) || !others_serve(primary) {
        return None;
    }
    if members.len() == 1 {
        return if primary.outdated {
            primary.delete()
        } else {
            Some(primary.restart())
        };
    }
    if !primary.outdated && held_settings(primary).next().is_some() {
        // No replica may have less than the primary: handing over would change nothing.
        return Some(primary.restart());
    }
    successor(plan, &members).map(|to| {
        Step::Patroni(PatroniStep::Switchover {
            from: primary.name.clone(),
            to,
        })
    })
}

/// The pending settings of a member that no replica may have smaller than the primary, and that get smaller.
fn held_settings<'a>(member: &'a Member<'_>) -> impl Iterator<Item = &'a str> {
    member
        .fact
        .into_iter()
        .flat_map(|fact| &fact.pending_settings)
        .filter(|(name, change)| NEVER_BELOW_PRIMARY.contains(&name.as_str()) && change.decreases())
        .map(|(name, _)| name.as_str())
}

/// Whether a restart of the replica would change something: not while all that it waits for is held by the primary.
fn needs_restart(replica: &Member<'_>, primary: &Member<'_>) -> bool {
    let Some(fact) = replica.fact.filter(|fact| fact.pending_restart) else {
        return false;
    };
    if fact.pending_settings.is_empty() {
        return true;
    }
    let held_by_primary: BTreeSet<&str> = held_settings(primary).collect();
    let held: BTreeSet<&str> = held_settings(replica)
        .filter(|name| held_by_primary.contains(name))
        .collect();
    fact.pending_settings
        .keys()
        .any(|name| !held.contains(name.as_str()))
}

/// The replica that loses nothing and has least to replay.
fn successor(plan: &Plan, members: &[Member<'_>]) -> Option<String> {
    let synchronous = plan.spec.postgres.durability != Durability::Bounded;
    members
        .iter()
        // Who leaves soon would have to hand over again.
        .take(usize::try_from(plan.spec.postgres.instances).unwrap_or_default())
        .filter_map(|member| Some((member, member.fact?)))
        .filter(|(member, fact)| {
            member.serves()
                && member.ready()
                && fact.could_take_over()
                && match fact.role {
                    MemberRole::Primary => false,
                    MemberRole::SyncStandby => true,
                    // Patroni refuses one that commits have not waited for.
                    MemberRole::Replica => !synchronous,
                }
        })
        .min_by_key(|(member, fact)| {
            (
                fact.role != MemberRole::SyncStandby,
                fact.lag_bytes,
                member.name.clone(),
            )
        })
        .map(|(member, _)| member.name.clone())
}

/// The next Job of the archive: the stanza, then the first full backup. A finished Job stays, as the record.
fn archive(plan: &Plan, facts: &Facts) -> Option<Step> {
    facts.patroni.seen()?.primary()?;
    if !takes_wal(plan, facts.store.seen()?) {
        return None;
    }
    for (name, task) in [
        (plan.names.stanza_job(plan.incarnation), Task::Stanza),
        (
            plan.names.first_backup_job(plan.incarnation),
            Task::FullBackup,
        ),
    ] {
        match facts.jobs.get(&name) {
            None => {
                return Some(Step::Create(Box::new(Manifest::of(&job(
                    plan, &name, task,
                )))));
            }
            Some(fact) if fact.succeeded => {}
            Some(fact) if fact.failed => {
                let due = fact.ended.is_none_or(|ended| retry_at(ended) <= facts.now);
                return due.then(|| Step::DeleteJob {
                    name,
                    uid: fact.uid.clone(),
                });
            }
            Some(_) => return None,
        }
    }
    None
}

/// Whether the store has the archive's bucket, and its user as it should be. What else is left to do there does not
/// keep the archive waiting.
fn takes_wal(plan: &Plan, seen: &StoreFacts) -> bool {
    let policy = store::policy_name(BACKUP_USER);
    seen.encrypts
        && seen.buckets.contains_key(&plan.backup_bucket.place().name)
        && seen.policies.contains_key(&policy)
        && seen
            .users
            .get(BACKUP_USER)
            .is_some_and(|user| user.enabled && user.key_current && user.policies.contains(&policy))
}

/// When a Job that failed at `ended` is tried again.
#[must_use]
pub fn retry_at(ended: Timestamp) -> Timestamp {
    ended.checked_add(RETRY_AFTER).unwrap_or(Timestamp::MAX)
}

/// What the newest pod of a Job left behind, once it has ended.
#[must_use]
pub fn job_result(facts: &Facts, job: &str) -> Option<JobResult> {
    facts
        .pods
        .live
        .values()
        .filter(|pod| pod.labels.get(LABEL_JOB).map(String::as_str) == Some(job))
        // Their names are random: only the times say which is the newest.
        .max_by_key(|pod| pod.ended)
        .and_then(|pod| JobResult::parse(pod.termination_message.as_deref()?))
}
