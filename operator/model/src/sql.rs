//! Roles, databases, schemas, extensions, privileges and the archive of one Region's Postgres: what was seen, what
//! is wanted, and the steps between them. Values in, values out; no I/O and no SQL text, which is the adapter's.
//!
//! # What a database of the spec is
//! - It belongs to the operator's control role, so that no application can drop it, rename it or let others in.
//! - `<db>_db_admin` logs in to run migrations and owns the schemas of the spec; `<db>_app_writer` reads, changes
//!   and calls what is in them, in an append-only schema it may only add and read; `<db>_app_reader` reads.
//! - `PUBLIC` may nothing: not connect, not use the schema `public`, not execute what migrations make.
//! - Extensions stand in the schema `extensions`, which the three roles may use; the database's `search_path` is
//!   its schemas in the order of the spec, then `extensions`.
//! - What `<db>_db_admin` makes later is usable at once, by default privileges.
//!
//! # What is drift
//! An attribute, a membership, or a privilege of `PUBLIC`, a writer or a reader beyond what is above is stepped
//! away, on every object. A privilege that a migration took from a writer or reader on a single object stays
//! taken: rights on objects are given when their schema is set up and when its default privileges had to be set.
//! What a role that is no superuser cannot mend is said in [`findings`].
//!
//! # What left the spec
//! The spec no longer says what was to become of it, so every role and database carries a [`Mark`] in its comment.
//! Only what is marked `Delete` is dropped; all else stays as it is and is named by [`retained`].

mod archive;
mod difference;
mod outcome;
mod remnants;
pub mod step;
#[cfg(test)]
mod tests;
pub(crate) mod untold;
mod wanted;

use std::collections::BTreeMap;

use bailiwick_api::region::{Postgres, Reclaim, Service};

pub use self::archive::{ArchiveFailure, ArchiverHealth, archive_health, latest_restorable};
pub use self::outcome::settle;
pub use self::wanted::{
    CRON, EXTENSIONS, SCHEMA_OF_EXTENSIONS, TAKEN_SCHEMAS, WantedDatabase, WantedPostgres,
    WantedRole, WantedSchema, violations,
};
use crate::facts::postgres::{PostgresFacts, Sessions};
use crate::names::Names;
use crate::plan::Plan;
use crate::sql::step::SqlStep;

/// The role that administers a database, and owns what is in it.
#[must_use]
pub fn database_admin(database: &str) -> String {
    format!("{database}_db_admin")
}

/// What to change over SQL now, in order: the smallest difference between what is wanted and what was seen.
/// Nothing on a server that does not take writes.
#[must_use]
pub fn steps(plan: &Plan, seen: &PostgresFacts) -> Vec<SqlStep> {
    let mut steps = sessions_to_end(plan, None, &seen.sessions);
    steps.extend(WantedPostgres::of(&plan.names, &plan.spec.postgres).steps(seen));
    // A standby that does not answer stops nothing of the primary's.
    steps.extend(standby_sessions_to_end(plan, seen));
    steps
}

/// The connections that must end though the Region is paused: those of one that is shut off.
#[must_use]
pub fn steps_while_paused(plan: &Plan, seen: &PostgresFacts) -> Vec<SqlStep> {
    if !plan.breach.is_active() {
        return Vec::new();
    }
    let mut steps = sessions_to_end(plan, None, &seen.sessions);
    steps.extend(standby_sessions_to_end(plan, seen));
    steps
}

fn standby_sessions_to_end<'a>(
    plan: &'a Plan,
    seen: &'a PostgresFacts,
) -> impl Iterator<Item = SqlStep> + 'a {
    seen.standby_sessions
        .iter()
        .flat_map(|(standby, sessions)| sessions_to_end(plan, Some(standby), sessions))
}

/// The connections to one server that nobody may hold: those of a Region that is shut off or that lets no client in, and
/// those that were begun before a way was shut. Network plugins let through what was established before a policy shut it
/// (<https://kubernetes.io/docs/concepts/services-networking/network-policies/>).
fn sessions_to_end(
    plan: &Plan,
    standby: Option<&str>,
    sessions: &BTreeMap<String, Sessions>,
) -> Vec<SqlStep> {
    let lets_in = plan
        .spec
        .network
        .clients
        .iter()
        .any(|client| client.to.contains(&Service::Postgres));
    let from_age = if lets_in && !plan.breach.is_active() {
        match plan.stale_sessions {
            Some(age) => Some(age),
            None => return Vec::new(),
        }
    } else {
        None
    };
    sessions
        .iter()
        .filter(|(_, sessions)| from_age.is_none_or(|age| sessions.oldest > age))
        .map(|(role, _)| SqlStep::EndSessions {
            role: role.clone(),
            standby: standby.map(str::to_owned),
            from_age,
        })
        .collect()
}

/// The roles, databases, schemas and extensions that left the spec and were retained, for the status.
#[must_use]
pub fn retained(plan: &Plan, seen: &PostgresFacts) -> Vec<String> {
    WantedPostgres::of(&plan.names, &plan.spec.postgres).retained(seen)
}

/// The roles of ours that are seen and that the spec does not have any more, and whether each goes (`reclaim: Delete`).
pub fn left_roles<'a>(
    names: &Names,
    spec: &Postgres,
    seen: &'a PostgresFacts,
) -> impl Iterator<Item = (&'a str, bool)> {
    let wanted = WantedPostgres::of(names, spec);
    seen.roles.iter().filter_map(move |(name, fact)| {
        let mark = fact.mark.as_ref().filter(|_| !wanted.has_role(name))?;
        Some((name.as_str(), mark.reclaim == Reclaim::Delete))
    })
}

/// What is not as it should be and cannot be mended by a role that is no superuser, each with what to do, for a
/// condition.
#[must_use]
pub fn findings(plan: &Plan, seen: &PostgresFacts) -> Vec<String> {
    WantedPostgres::of(&plan.names, &plan.spec.postgres).findings(seen)
}
