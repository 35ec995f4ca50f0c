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
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

pub use self::archive::{ArchiveFailure, ArchiverHealth, archive_health, latest_restorable};
pub use self::outcome::settle;
pub use self::wanted::{
    CRON, EXTENSIONS, SCHEMA_OF_EXTENSIONS, TAKEN_SCHEMAS, WantedDatabase, WantedPostgres,
    WantedRole, WantedSchema, violations,
};

pub use crate::facts::postgres::*;
use crate::names::Names;
use crate::plan::Plan;
use crate::region::{Postgres, Reclaim, Service};
use crate::step::Subject;

/// One change over SQL. Doing it twice, or again after a lost answer, ends the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlStep {
    /// End the connections that a role holds over the network.
    EndSessions {
        /// The role.
        role: String,
        /// The standby that they are to; none: the primary.
        standby: Option<String>,
        /// The age from which on they are ended; none: all.
        from_age: Option<SignedDuration>,
    },
    /// Make a role, with its mark.
    CreateRole {
        /// The role.
        role: String,
        /// Whether it may log in.
        login: bool,
        /// How many connections it may hold; -1 for no limit.
        connection_limit: i32,
        /// Its mark.
        mark: Mark,
    },
    /// Let the control role act as a role that it administers.
    ActAs {
        /// The role.
        role: String,
    },
    /// Set a role's attributes, and take all others away.
    AlterRole {
        /// The role.
        role: String,
        /// Whether it may log in.
        login: bool,
        /// How many connections it may hold; -1 for no limit.
        connection_limit: i32,
    },
    /// Write a role's mark.
    MarkRole {
        /// The role.
        role: String,
        /// Its mark.
        mark: Mark,
    },
    /// Set a role's password to that of its Secret, and remember its fingerprint in the mark.
    SetPassword {
        /// The role.
        role: String,
        /// The Secret that holds it under `password`.
        secret: String,
        /// Its mark, but for the fingerprint.
        mark: Mark,
    },
    /// Make a role a member of another: it has its rights and may act as it, and may not pass that on.
    GrantRole {
        /// The role whose rights are given.
        role: String,
        /// The role that gets them.
        member: String,
    },
    /// End a membership.
    RevokeRole {
        /// The role whose rights are taken.
        role: String,
        /// The role that loses them.
        member: String,
        /// The role that granted it.
        grantor: String,
    },
    /// Make a database, from `template1`, owned by the control role.
    CreateDatabase {
        /// The database.
        database: String,
    },
    /// Write a database's mark.
    MarkDatabase {
        /// The database.
        database: String,
        /// Its mark.
        mark: Mark,
    },
    /// Let a database take connections.
    OpenDatabase {
        /// The database.
        database: String,
    },
    /// Set the `search_path` of a database.
    SetSearchPath {
        /// The database.
        database: String,
        /// The schemas.
        schemas: Vec<String>,
    },
    /// Change what somebody may do with a database.
    DatabasePrivileges {
        /// The database.
        database: String,
        /// What to change.
        change: PrivilegeChange,
    },
    /// Make a schema.
    CreateSchema {
        /// The database.
        database: String,
        /// The schema.
        schema: String,
        /// The role that it is to belong to.
        owner: String,
    },
    /// Change what somebody may do with a schema itself.
    SchemaPrivileges {
        /// The database.
        database: String,
        /// The schema.
        schema: String,
        /// The role that it belongs to, and that the change is made as; none: the control role.
        owner: Option<String>,
        /// What to change.
        change: PrivilegeChange,
    },
    /// Change what somebody may do with what a role makes later, and give the same rights on what it made before.
    DefaultPrivileges {
        /// The database.
        database: String,
        /// What they are for.
        of: DefaultsOf,
        /// What to change.
        change: PrivilegeChange,
    },
    /// Take privileges on the objects of a class in a schema that belong to the schema's owner.
    ObjectPrivileges {
        /// The database.
        database: String,
        /// The schema.
        schema: String,
        /// The schema's owner.
        owner: String,
        /// The class.
        class: ObjectClass,
        /// Whose privileges.
        grantee: Grantee,
        /// Which.
        revoke: BTreeSet<Privilege>,
    },
    /// Make an extension.
    CreateExtension {
        /// The database.
        database: String,
        /// The extension.
        extension: String,
        /// The schema to put it in.
        schema: String,
        /// The version.
        version: String,
    },
    /// Make pg_cron, by the function that the image's bootstrap left for it, and let a role use it.
    CreateCron {
        /// The database.
        database: String,
        /// The role.
        user: String,
        /// The version.
        version: String,
    },
    /// Drop a database with what is in it, and end the connections to it. It left the spec and is marked `Delete`.
    DropDatabase {
        /// The database.
        database: String,
    },
    /// Drop a role; what it owns in a database is given to [`database_admin`]. It left the spec and is marked `Delete`.
    DropRole {
        /// The role.
        role: String,
        /// The databases in which it may own something or hold privileges.
        databases: Vec<String>,
    },
}

/// The role that administers a database, and owns what is in it.
#[must_use]
pub fn database_admin(database: &str) -> String {
    format!("{database}_db_admin")
}

/// What is to change for one grantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivilegeChange {
    /// Whose privileges.
    pub grantee: Grantee,
    /// What they get.
    pub grant: BTreeSet<Privilege>,
    /// What they lose.
    pub revoke: BTreeSet<Privilege>,
}

impl PrivilegeChange {
    /// The difference between what a grantee has and what it is to have; none when there is none.
    fn between(
        grantee: &Grantee,
        held: &BTreeSet<Privilege>,
        wanted: &BTreeSet<Privilege>,
    ) -> Option<Self> {
        let change = Self {
            grantee: grantee.clone(),
            grant: wanted - held,
            revoke: held - wanted,
        };
        (!change.grant.is_empty() || !change.revoke.is_empty()).then_some(change)
    }
}

impl SqlStep {
    /// What the step is about: databases, roles, or both. Empty for what more may depend on.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let database = |name: &str| BTreeSet::from([Subject::Database(name.to_owned())]);
        let role = |name: &str| BTreeSet::from([Subject::Role(name.to_owned())]);
        match self {
            Self::EndSessions { role: name, .. }
            | Self::CreateRole { role: name, .. }
            | Self::AlterRole { role: name, .. }
            | Self::MarkRole { role: name, .. }
            | Self::SetPassword { role: name, .. } => role(name),
            Self::GrantRole { role: name, member }
            | Self::RevokeRole {
                role: name, member, ..
            } => role(name).into_iter().chain(role(member)).collect(),
            Self::CreateDatabase { database: name }
            | Self::MarkDatabase { database: name, .. }
            | Self::OpenDatabase { database: name }
            | Self::SetSearchPath { database: name, .. }
            | Self::DatabasePrivileges { database: name, .. }
            | Self::CreateSchema { database: name, .. }
            | Self::SchemaPrivileges { database: name, .. }
            | Self::DefaultPrivileges { database: name, .. }
            | Self::ObjectPrivileges { database: name, .. }
            | Self::CreateExtension { database: name, .. }
            | Self::CreateCron { database: name, .. } => database(name),
            // Removals come last, and nothing depends on them but removals of the same.
            _ => BTreeSet::new(),
        }
    }

    /// What is done, for logs and errors: the objects are named, values are not.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::EndSessions { role, standby, .. } => match standby {
                None => format!("end the connections of role {role}"),
                Some(member) => format!("end the connections of role {role} to {member}"),
            },
            Self::CreateRole { role, .. } => format!("create role {role}"),
            Self::ActAs { role } => format!("let the operator act as role {role}"),
            Self::AlterRole { role, .. } => format!("set the attributes of role {role}"),
            Self::MarkRole { role, .. } => format!("mark role {role}"),
            Self::SetPassword { role, secret, .. } => {
                format!("set the password of role {role} from Secret {secret}")
            }
            Self::GrantRole { role, member } => format!("grant role {role} to {member}"),
            Self::RevokeRole { role, member, .. } => format!("revoke role {role} from {member}"),
            Self::CreateDatabase { database } => format!("create database {database}"),
            Self::MarkDatabase { database, .. } => format!("mark database {database}"),
            Self::OpenDatabase { database } => format!("open database {database}"),
            Self::SetSearchPath { database, .. } => {
                format!("set the search path of database {database}")
            }
            Self::DatabasePrivileges { database, .. } => {
                format!("set privileges on database {database}")
            }
            Self::CreateSchema {
                database, schema, ..
            } => format!("create schema {schema} in database {database}"),
            Self::SchemaPrivileges {
                database, schema, ..
            } => format!("set privileges on schema {schema} in database {database}"),
            Self::DefaultPrivileges { database, of, .. } => format!(
                "set default privileges of role {} in database {database}",
                of.role
            ),
            Self::ObjectPrivileges {
                database, schema, ..
            } => {
                format!("take privileges on objects of schema {schema} in database {database}")
            }
            Self::CreateExtension {
                database,
                extension,
                ..
            } => format!("create extension {extension} in database {database}"),
            Self::CreateCron { database, .. } => {
                format!("create extension {CRON} in database {database}")
            }
            Self::DropDatabase { database } => format!("drop database {database}"),
            Self::DropRole { role, .. } => format!("drop role {role}"),
        }
    }
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
