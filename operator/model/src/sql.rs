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
mod mark;
mod outcome;
mod remnants;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

pub use self::archive::{ArchiveFailure, ArchiverHealth, archive_health, latest_restorable};
pub use self::mark::Mark;
pub use self::outcome::settle;
pub use self::wanted::{
    CRON, EXTENSIONS, SCHEMA_OF_EXTENSIONS, TAKEN_SCHEMAS, WantedDatabase, WantedPostgres,
    WantedRole, WantedSchema, violations,
};

use crate::facts::Unread;
use crate::names::Names;
use crate::plan::Plan;
use crate::region::{Postgres, Reclaim, Service};
use crate::step::Subject;

/// What the primary says over SQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresFacts {
    /// The server's version, as `server_version_num` has it: 170012 is 17.12.
    pub server_version: i32,
    /// Whether the server replays WAL instead of taking writes.
    pub in_recovery: bool,
    /// The system identifier that `initdb` gave.
    pub system_identifier: Option<String>,
    /// The roles, but for those that Postgres itself has (`pg_*`).
    pub roles: BTreeMap<String, RoleFact>,
    /// Who is a member of what. The control role's own memberships are not among them, nor those among `pg_*`.
    pub memberships: BTreeSet<Membership>,
    /// The databases, but for templates.
    pub databases: BTreeMap<String, DatabaseFact>,
    /// The extensions that the server has the files of, at their default version.
    pub available_extensions: BTreeMap<String, AvailableExtension>,
    /// The libraries that were loaded when the server started; some extensions need theirs.
    pub preloaded_libraries: BTreeSet<String>,
    /// The database that pg_cron keeps its jobs in, when it runs.
    pub cron_database: Option<String>,
    /// The archive.
    pub archiver: ArchiverFact,
    /// The members whose answer commits wait for, as the primary was told (`synchronous_standby_names`).
    pub awaited: BTreeSet<String>,
    /// Who streams WAL from here.
    pub replication: Vec<ReplicationFact>,
    /// The connections over the network that each role of an application holds, where it holds some.
    pub sessions: BTreeMap<String, Sessions>,
    /// The same of each standby, by member; none of one that was not asked or did not answer.
    pub standby_sessions: BTreeMap<String, BTreeMap<String, Sessions>>,
    /// The replication slots, by name.
    pub slots: BTreeMap<String, SlotFact>,
    /// The settings that decide whether values of statements are logged, by name.
    pub settings: BTreeMap<String, String>,
    /// The settings that a Region may set, as the server has them; none when they were not read.
    pub running: Option<RunningSettings>,
    /// The roles of members that were tried with the passwords that their Secret has now, and why the server did not let one
    /// in.
    pub logins: BTreeMap<&'static str, Result<(), Unread>>,
}

/// The connections over the network that a role holds on one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// How many.
    pub count: u32,
    /// How long the oldest has been there, by the server's clock, in whole seconds, rounded up.
    pub oldest: SignedDuration,
}

/// Settings as the server has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningSettings {
    /// What `pg_settings` shows, by name in lower case. A setting of a library that is not loaded is here only when
    /// the server's files have it.
    pub values: BTreeMap<String, String>,
    /// Those that the server's files have otherwise and that wait for its restart.
    pub pending: BTreeSet<String>,
    /// Those in the server's files that it cannot take, and its words for it (`pg_file_settings.error`); none when the
    /// control role may not look, as in a cluster that an older image made.
    pub refused: Option<BTreeMap<String, String>>,
}

impl RunningSettings {
    /// Those of its files that the server cannot take, restarted or not, and its words for each.
    pub fn not_taken(&self) -> impl Iterator<Item = (&String, &String)> {
        self.refused
            .iter()
            .flatten()
            .filter(|(name, _)| !self.pending.contains(*name))
    }
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are Postgres' own attributes"
)]
pub struct RoleFact {
    /// `LOGIN`.
    pub login: bool,
    /// `SUPERUSER`.
    pub superuser: bool,
    /// `CREATEDB`.
    pub create_db: bool,
    /// `CREATEROLE`.
    pub create_role: bool,
    /// `REPLICATION`.
    pub replication: bool,
    /// `BYPASSRLS`.
    pub bypass_rls: bool,
    /// `INHERIT`.
    pub inherit: bool,
    /// `CONNECTION LIMIT`; -1 is none.
    pub connection_limit: i32,
    /// Whether its password expires (`VALID UNTIL`).
    pub expires: bool,
    /// Whether it is the superuser that `initdb` made.
    pub bootstrap: bool,
    /// Whether the control role may alter it (`ADMIN`).
    pub administered: bool,
    /// Whether the control role may act as it (`SET`).
    pub settable: bool,
    /// What its comment says, when that is a mark of ours.
    pub mark: Option<Mark>,
    /// Whether its password is that of its Secret.
    pub password: PasswordFact,
}

/// Whether a role's password is that of its Secret. Postgres does not show passwords: the mark remembers a
/// fingerprint, keyed with the control role's own password, of the one that was set last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordFact {
    /// There is no Secret to compare with.
    #[default]
    Unknown,
    /// It is.
    Current,
    /// It is not, or none was set.
    Stale,
}

/// That a role is a member of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// The role whose rights are had.
    pub role: String,
    /// The role that has them.
    pub member: String,
    /// The role that granted it.
    pub grantor: String,
    /// `ADMIN OPTION`: whether the member may pass it on.
    pub admin: bool,
    /// Whether the member has the rights without `SET ROLE`.
    pub inherit: bool,
    /// Whether the member may `SET ROLE`.
    pub set: bool,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFact {
    /// The role that owns it.
    pub owner: String,
    /// What its comment says, when that is a mark of ours.
    pub mark: Option<Mark>,
    /// Whether it takes connections at all (`ALLOW_CONNECTIONS`).
    pub open: bool,
    /// Who may do what with it, apart from its owner.
    pub privileges: Privileges,
    /// The `search_path` that the database sets, when it sets one.
    pub search_path: Option<Vec<String>>,
    /// What is in it. The operator looks only into databases that are its own.
    pub inside: Option<Inside>,
}

/// What is in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// The extensions, by name, but for `plpgsql`, which every database has.
    pub extensions: BTreeMap<String, ExtensionFact>,
    /// The schemas, but for Postgres' own and the image's.
    pub schemas: BTreeMap<String, SchemaFact>,
    /// The default privileges that were altered. The owner's own are not shown.
    pub default_privileges: BTreeMap<DefaultsOf, Privileges>,
    /// How many foreign servers it knows: each is a way for data out.
    pub foreign_servers: i64,
    /// How many publications it has.
    pub publications: i64,
    /// How many subscriptions it has.
    pub subscriptions: i64,
}

impl Inside {
    /// What is in a database that was just made from `template1`, as the image's bootstrap leaves that.
    #[must_use]
    pub fn fresh() -> Self {
        let public = SchemaFact {
            owner: "pg_database_owner".to_owned(),
            ..SchemaFact::default()
        };
        Self {
            schemas: BTreeMap::from([("public".to_owned(), public)]),
            ..Self::default()
        }
    }
}

/// An extension in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionFact {
    /// Its version.
    pub version: String,
    /// The schema that it stands in.
    pub schema: String,
}

/// An extension that the server has the files of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AvailableExtension {
    /// Its default version.
    pub version: String,
    /// The schema that it insists on, when it does.
    pub schema: Option<String>,
    /// Whether only a superuser can create it.
    pub superuser_only: bool,
    /// The extensions that must be there before it.
    pub requires: Vec<String>,
}

/// A schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaFact {
    /// The role that owns it.
    pub owner: String,
    /// Who may do what with the schema itself, apart from its owner.
    pub privileges: Privileges,
    /// What is held on at least one object of each class in it, by anybody but the object's owner. Objects of
    /// extensions are left out.
    pub objects: BTreeMap<ObjectsOf, Privileges>,
}

/// A class of objects in a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectsOf {
    /// What they are.
    pub class: ObjectClass,
    /// Whether they belong to the schema's owner.
    pub of_schema_owner: bool,
}

/// A set of default privileges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultsOf {
    /// The role whose later objects they are for.
    pub role: String,
    /// The schema that they are for; none for all schemas.
    pub schema: Option<String>,
    /// The class of objects that they are for.
    pub class: ObjectClass,
}

/// What objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectClass {
    /// Tables, partitioned and foreign tables, views and materialised views.
    Tables,
    /// Sequences.
    Sequences,
    /// Functions and procedures.
    Routines,
}

impl ObjectClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tables, Self::Sequences, Self::Routines];
}

/// Who holds which privileges on something.
pub type Privileges = BTreeMap<Grantee, BTreeSet<Privilege>>;

/// Who holds a privilege.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// Every role.
    Public,
    /// One role.
    Role(String),
}

impl Grantee {
    /// A role.
    #[must_use]
    pub fn role(name: &str) -> Self {
        Self::Role(name.to_owned())
    }
}

/// A privilege of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are Postgres' own words")]
pub enum Privilege {
    Connect,
    Create,
    Delete,
    Execute,
    Insert,
    Maintain,
    References,
    Select,
    Temporary,
    Trigger,
    Truncate,
    Update,
    Usage,
    /// Not a privilege of its own: the right to pass any of them on.
    GrantOption,
}

impl Privilege {
    const WORDS: [(Self, &'static str); 13] = [
        (Self::Connect, "CONNECT"),
        (Self::Create, "CREATE"),
        (Self::Delete, "DELETE"),
        (Self::Execute, "EXECUTE"),
        (Self::Insert, "INSERT"),
        (Self::Maintain, "MAINTAIN"),
        (Self::References, "REFERENCES"),
        (Self::Select, "SELECT"),
        (Self::Temporary, "TEMPORARY"),
        (Self::Trigger, "TRIGGER"),
        (Self::Truncate, "TRUNCATE"),
        (Self::Update, "UPDATE"),
        (Self::Usage, "USAGE"),
    ];

    /// The privilege that Postgres calls `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .into_iter()
            .find_map(|(privilege, known)| (known == word).then_some(privilege))
    }

    /// Postgres' word for it; `GRANT OPTION` is not a privilege and has a place of its own in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .into_iter()
            .find_map(|(privilege, word)| (privilege == self).then_some(word))
            .unwrap_or("GRANT OPTION")
    }
}

/// The archive, as the primary sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiverFact {
    /// Whether finished WAL is archived at all (`archive_mode`).
    pub enabled: bool,
    /// Seconds after which WAL is archived although its file is not full (`archive_timeout`); 0 is never.
    pub timeout_seconds: i64,
    /// The name of the newest WAL file that was archived since the statistics began.
    pub last_archived: Option<String>,
    /// When it was.
    pub last_archived_at: Option<Timestamp>,
    /// When that file was finished: all that was committed before is in the archive.
    pub archived_through: Option<Timestamp>,
    /// How many attempts failed since the statistics began.
    pub failures: i64,
    /// When the last attempt failed.
    pub last_failed_at: Option<Timestamp>,
    /// How many files wait to be archived.
    pub waiting: i64,
    /// Since when the oldest of them waits.
    pub waiting_since: Option<Timestamp>,
    /// The name of the WAL file that is written now.
    pub writing: Option<String>,
    /// The server's clock when all this was read.
    pub read_at: Timestamp,
}

/// A connection that WAL is streamed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationFact {
    /// The name that the receiver gives.
    pub application: String,
    /// The address that it connects from; none for a local socket.
    pub address: Option<String>,
    /// Postgres' word for its state.
    pub state: String,
    /// Postgres' word for what commits do with it: `async`, `sync`, `quorum` or `potential`.
    pub sync: String,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFact {
    /// Whether rows are decoded from it, which can carry them anywhere.
    pub logical: bool,
    /// Whether it is in use.
    pub active: bool,
}

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
