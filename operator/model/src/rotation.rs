//! Credentials that were made anew while processes run with the ones before: who those are, what gives them the new
//! ones, and how the status says so. A process reads its credentials when its pod starts, so what decides is whether a
//! pod is older than its Secret's values; both times are the API server's. Values in, values out; no I/O.

use std::fmt;

use jiff::Timestamp;

use crate::desired::postgres::config::store_user_secret;
use crate::facts::{Facts, Observed, PodFact, ReadFailure};
use crate::names::{REPLICATION_ROLE, REWIND_ROLE};
use crate::plan::Plan;
use crate::step::Step;

/// What a credential is for, and so what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The object store's root: its servers know each other by it, so all are restarted at once.
    StoreRoot,
    /// pgBackRest's user in the object store: members are restarted one at a time, replicas first.
    Archive,
    /// The passwords inside Postgres, which stand in the database too: where they have been set there, members are restarted
    /// one at a time, replicas first.
    Internal,
}

/// A Secret whose values are newer than the pods that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced<'a> {
    /// What it is for.
    pub used: Use,
    /// Its name.
    pub secret: String,
    /// Since when it has its values.
    pub since: Timestamp,
    /// The pods that run with the values before, with their facts.
    pub pods: Vec<(&'a String, &'a PodFact)>,
}

/// Since when a Secret has its values. One that a person may have put back from a copy, or the operator from its memory,
/// counts from the last edit: it is the same. None while it lacks one, so that no pod is restarted to run without it.
fn since(plan: &Plan, facts: &Facts, secret: &str) -> Option<Timestamp> {
    let fact = facts.secrets.get(secret)?;
    let wanted = plan.secrets.iter().find(|wanted| wanted.name == secret)?;
    let generated = wanted.contents.generated();
    if !generated.iter().all(|key| fact.keys.contains(*key)) {
        return None;
    }
    if wanted.key {
        fact.edited
    } else {
        fact.made.max(fact.edited)
    }
}

fn replaced<'a>(
    plan: &Plan,
    facts: &'a Facts,
    used: Use,
    secret: String,
    pods: impl Iterator<Item = String>,
) -> Option<Replaced<'a>> {
    let since = since(plan, facts, &secret)?;
    let pods: Vec<_> = pods
        .filter_map(|name| facts.pods.live.get_key_value(&name))
        .filter(|(_, pod)| pod.made.is_some_and(|made| made < since))
        .collect();
    (!pods.is_empty()).then_some(Replaced {
        used,
        secret,
        since,
        pods,
    })
}

/// The store's root credentials, while the store does not serve and servers are older.
#[must_use]
pub fn store_root<'a>(plan: &Plan, facts: &'a Facts) -> Option<Replaced<'a>> {
    if !matches!(facts.store, Observed::Failed(_)) {
        return None;
    }
    let set = plan.names.object_store();
    replaced(
        plan,
        facts,
        Use::StoreRoot,
        plan.names.object_store_root(),
        (0..plan.spec.object_store.servers).map(|ordinal| format!("{set}-{ordinal}")),
    )
}

/// pgBackRest's user, while members are older.
#[must_use]
pub fn archive_user<'a>(plan: &Plan, facts: &'a Facts) -> Option<Replaced<'a>> {
    let members = (0..plan.members.replicas).map(|ordinal| plan.names.postgres_member(ordinal));
    replaced(plan, facts, Use::Archive, store_user_secret(plan), members)
}

/// The passwords inside Postgres, while members are older.
#[must_use]
pub fn internal<'a>(plan: &Plan, facts: &'a Facts) -> Option<Replaced<'a>> {
    let members = (0..plan.members.replicas).map(|ordinal| plan.names.postgres_member(ordinal));
    replaced(
        plan,
        facts,
        Use::Internal,
        plan.names.postgres_internal(),
        members,
    )
}

/// The roles of members that the database did not let in with the passwords that their Secret has now, each with why; none
/// when it could not be asked.
fn kept_out(facts: &Facts) -> Option<Vec<String>> {
    let logins = &facts.postgres.seen()?.logins;
    let kept_out = |role| match logins.get(role) {
        Some(Ok(())) => None,
        Some(Err(unread)) => Some(format!("{role}: {unread}")),
        None => Some(format!("{role}: not tried")),
    };
    Some(
        [REPLICATION_ROLE, REWIND_ROLE]
            .into_iter()
            .filter_map(kept_out)
            .collect(),
    )
}

/// The passwords inside Postgres, once the database takes them all: a member with others could not follow the primary.
fn internal_and_taken<'a>(plan: &Plan, facts: &'a Facts) -> Option<Replaced<'a>> {
    let taken = kept_out(facts).is_some_and(|roles| roles.is_empty());
    internal(plan, facts).filter(|_| taken)
}

/// That the passwords inside Postgres are others than the database has, though the operator gets in; none when they are not.
#[must_use]
pub fn not_taken(plan: &Plan, facts: &Facts) -> Option<String> {
    let roles = kept_out(facts).filter(|roles| !roles.is_empty())?;
    let replaced = internal(plan, facts)?;
    Some(format!(
        "Secret {} has other values since {}, and with them the database did not let in {}. No member is restarted, since \
         it could not follow the primary. Put the old values back, or set the new ones in the database: see \
         docs/runbooks/replaced-credentials.md",
        replaced.secret,
        replaced.since,
        roles.join(", nor ")
    ))
}

/// Whether a member is to be restarted for a credential of its own.
#[must_use]
pub fn outdates_member(plan: &Plan, facts: &Facts, member: &str) -> bool {
    [archive_user(plan, facts), internal_and_taken(plan, facts)]
        .iter()
        .flatten()
        .any(|replaced| replaced.pods.iter().any(|(name, _)| *name == member))
}

/// The servers of the store that are to start anew, all at once: those with other root credentials do not know each other.
/// Only once the store was heard to refuse the new ones.
#[must_use]
pub fn steps(plan: &Plan, facts: &Facts) -> Vec<Step> {
    let refused = matches!(&facts.store, Observed::Failed(unread) if unread.failure == ReadFailure::Unauthenticated);
    if !refused || plan.spec.lifecycle.hibernated || plan.spec.lifecycle.paused {
        return Vec::new();
    }
    store_root(plan, facts)
        .into_iter()
        .flat_map(|replaced| replaced.pods)
        .filter(|(_, pod)| !pod.terminating)
        .map(|(name, pod)| Step::DeletePod {
            name: name.clone(),
            uid: pod.uid.clone(),
        })
        .collect()
}

/// The credentials that were made anew and that processes still run without, as the status tells of them.
#[must_use]
pub fn told<'a>(plan: &Plan, facts: &'a Facts) -> Vec<Replaced<'a>> {
    [
        store_root(plan, facts),
        archive_user(plan, facts),
        internal_and_taken(plan, facts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl fmt::Display for Replaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods: Vec<&str> = self.pods.iter().map(|(name, _)| name.as_str()).collect();
        write!(
            f,
            "Secret {} has other values since {}, and {} run with the ones before: ",
            self.secret,
            self.since,
            pods.join(", ")
        )?;
        f.write_str(match self.used {
            Use::StoreRoot => "they are restarted together",
            Use::Archive | Use::Internal => "they are restarted one at a time, replicas first",
        })
    }
}
