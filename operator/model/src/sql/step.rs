//! Changes over SQL, as data. No I/O.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::desired::postgres::preloaded::CRON;
use crate::facts::postgres::{DefaultsOf, Grantee, Mark, ObjectClass, Privilege};
use crate::subject::Subject;

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
    pub(crate) fn between(
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
