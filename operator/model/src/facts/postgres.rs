//! What the primary says over SQL, and standbys of their sessions. No I/O.

mod mark;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

pub use self::mark::Mark;
use super::Unread;

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
    pub(crate) const WORDS: [(Self, &'static str); 13] = [
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
