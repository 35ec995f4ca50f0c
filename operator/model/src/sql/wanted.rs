//! What Postgres is to hold, from the spec: roles, databases, schemas, extensions and who may do what. Spec in,
//! value out; no I/O.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::{self, Database, Reclaim, RegionSpec, Schema};
use bailiwick_api::violation::{Reason, Violation};

use super::database_admin;
use crate::facts::postgres::{Grantee, ObjectClass, Privilege, Privileges};
use crate::names::{CONTROL_ROLE, Names};

/// The schema that extensions stand in, in every database.
pub const SCHEMA_OF_EXTENSIONS: &str = "extensions";

/// The extension whose owner must be a superuser: it runs commands as any user.
pub const CRON: &str = "pg_cron";

/// The extensions that work only when their library was loaded at the server's start.
pub(super) const NEED_PRELOAD: &[&str] = &[CRON, "pgaudit"];

/// Schemas that extensions or Postgres make: a spec may not claim them.
pub const TAKEN_SCHEMAS: &[&str] = &[
    SCHEMA_OF_EXTENSIONS,
    "public",
    "information_schema",
    "cron",
    "pgbouncer",
    "tiger",
    "tiger_data",
    "topology",
];

/// The extensions that a spec may ask for. All but pg_cron are trusted in the image, and none opens a way out of the
/// server: no foreign data wrapper, no `dblink`, no language that reads files. `postgis_topology` is not among them:
/// each topology is a schema of its own, which only the owner of the database can make.
pub const EXTENSIONS: &[&str] = &[
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    CRON,
    "pg_trgm",
    "pgaudit",
    "pgcrypto",
    "postgis",
    "postgis_sfcgal",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// The three roles that come with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DatabaseRoles {
    admin: String,
    writer: String,
    reader: String,
}

impl DatabaseRoles {
    fn of(database: &str) -> Self {
        Self {
            admin: database_admin(database),
            writer: format!("{database}_app_writer"),
            reader: format!("{database}_app_reader"),
        }
    }

    fn into_names(self) -> [String; 3] {
        [self.admin, self.writer, self.reader]
    }
}

/// What the spec asks of Postgres that cannot be, beyond what the API server checks.
#[must_use]
pub fn violations(spec: &RegionSpec) -> Vec<Violation> {
    let postgres = &spec.postgres;
    let mut violations = Vec::new();
    let mut invalid = |field: String, message: String| {
        violations.push(Violation::new(field, Reason::Invalid, message));
    };
    let of_databases: BTreeSet<String> = postgres
        .databases
        .iter()
        .flat_map(|database| DatabaseRoles::of(&database.name).into_names())
        .collect();
    let mut known = of_databases.clone();
    known.extend(postgres.roles.iter().map(|role| role.name.clone()));

    for (index, database) in postgres.databases.iter().enumerate() {
        for extension in &database.extensions {
            if !EXTENSIONS.contains(&extension.as_str()) {
                invalid(
                    format!("spec.postgres.databases[{index}].extensions"),
                    format!(
                        "asks for {extension}, expected one of {}; leave it out, others can carry data out of the \
                         server or need a superuser",
                        EXTENSIONS.join(", ")
                    ),
                );
            }
        }
    }
    for (index, role) in postgres.roles.iter().enumerate() {
        let field = format!("spec.postgres.roles[{index}]");
        if of_databases.contains(&role.name) {
            invalid(
                format!("{field}.name"),
                format!(
                    "is {}, which comes with a database; leave it out or choose another name",
                    role.name
                ),
            );
        }
        for (position, parent) in role.member_of.iter().enumerate() {
            if !known.contains(parent) {
                // Postgres' own roles read files and run programs: none of them is for an application.
                invalid(
                    format!("{field}.memberOf[{position}]"),
                    format!(
                        "is {parent}, expected a role of this list or one that comes with a database, as \
                         <database>_app_reader"
                    ),
                );
            }
        }
        if reaches_itself(&postgres.roles, &role.name) {
            invalid(
                format!("{field}.memberOf"),
                format!("makes {} a member of itself; break the circle", role.name),
            );
        }
    }
    violations
}

/// Whether a role of the list is a member of itself, over any number of roles between.
fn reaches_itself(roles: &[region::Role], name: &str) -> bool {
    let parents = |of: &str| {
        roles
            .iter()
            .filter(move |role| role.name == of)
            .flat_map(|role| role.member_of.iter().map(String::as_str))
            .collect::<Vec<_>>()
    };
    let mut reached = BTreeSet::new();
    let mut next = parents(name);
    while let Some(role) = next.pop() {
        if reached.insert(role) {
            next.extend(parents(role));
        }
    }
    reached.contains(name)
}

/// All that Postgres is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedPostgres {
    /// The roles, in the order in which they are made.
    pub roles: Vec<WantedRole>,
    /// The databases.
    pub databases: Vec<WantedDatabase>,
}

/// A role that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRole {
    /// Its name.
    pub name: String,
    /// Whether it may log in.
    pub login: bool,
    /// How many connections it may hold; -1 for no limit.
    pub connection_limit: i32,
    /// What becomes of it when it leaves the spec.
    pub reclaim: Reclaim,
    /// The roles whose rights it has.
    pub member_of: BTreeSet<String>,
    /// The Secret of its password, when it logs in.
    pub secret: Option<String>,
}

/// A database that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedDatabase {
    /// Its name.
    pub name: String,
    /// What becomes of it when it leaves the spec.
    pub reclaim: Reclaim,
    /// The role that owns its schemas.
    pub admin: String,
    /// The role that changes data.
    pub writer: String,
    /// The role that reads data.
    pub reader: String,
    /// The extensions, in the order of the spec.
    pub extensions: Vec<String>,
    /// The schemas, in the order of the spec.
    pub schemas: Vec<WantedSchema>,
    /// Who may do what with the database itself, apart from its owner.
    pub privileges: Privileges,
}

/// A schema that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSchema {
    /// Its name.
    pub name: String,
    /// Whether the writer may only add and read.
    pub append_only: bool,
}

impl WantedPostgres {
    /// What a spec wants.
    #[must_use]
    pub fn of(names: &Names, spec: &region::Postgres) -> Self {
        let mut roles = Vec::new();
        for database in &spec.databases {
            for name in DatabaseRoles::of(&database.name).into_names() {
                roles.push(WantedRole {
                    secret: Some(names.postgres_role(&name)),
                    name,
                    login: true,
                    connection_limit: -1,
                    reclaim: database.reclaim,
                    member_of: BTreeSet::new(),
                });
            }
        }
        for role in &spec.roles {
            roles.push(WantedRole {
                name: role.name.clone(),
                login: role.login,
                connection_limit: role.connection_limit,
                reclaim: role.reclaim,
                member_of: role.member_of.iter().cloned().collect(),
                secret: role.login.then(|| names.postgres_role(&role.name)),
            });
        }
        Self {
            roles,
            databases: spec
                .databases
                .iter()
                .map(|database| WantedDatabase::of(database, &spec.roles))
                .collect(),
        }
    }

    /// Whether a role is wanted.
    pub(super) fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }

    /// Whether a database is wanted.
    pub(super) fn has_database(&self, name: &str) -> bool {
        self.databases.iter().any(|database| database.name == name)
    }
}

impl WantedDatabase {
    fn of(database: &Database, roles: &[region::Role]) -> Self {
        let DatabaseRoles {
            admin,
            writer,
            reader,
        } = DatabaseRoles::of(&database.name);
        let works = BTreeSet::from([Privilege::Connect, Privilege::Temporary]);
        let connects = BTreeSet::from([Privilege::Connect]);
        let mut privileges = Privileges::from([
            (Grantee::role(&admin), works.clone()),
            (Grantee::role(&writer), works),
            (Grantee::role(&reader), connects.clone()),
        ]);
        for role in roles.iter().filter(|role| role.login) {
            if role.database.as_ref() == Some(&database.name) {
                privileges.insert(Grantee::role(&role.name), connects.clone());
            }
        }
        Self {
            name: database.name.clone(),
            reclaim: database.reclaim,
            admin,
            writer,
            reader,
            extensions: database.extensions.clone(),
            schemas: database.schemas.iter().map(WantedSchema::of).collect(),
            privileges,
        }
    }

    /// The database's `search_path`: what migrations make without naming a schema goes into the first.
    #[must_use]
    pub fn search_path(&self) -> Vec<String> {
        self.schemas
            .iter()
            .map(|schema| schema.name.clone())
            .chain([SCHEMA_OF_EXTENSIONS.to_owned()])
            .collect()
    }

    /// Whom privileges in this database are kept in order for.
    pub(super) fn kept_grantees(&self) -> [Grantee; 3] {
        [
            Grantee::Public,
            Grantee::role(&self.writer),
            Grantee::role(&self.reader),
        ]
    }

    /// What the writer and the reader may do with a schema itself.
    pub(super) fn on_schema(&self) -> Privileges {
        let usage = BTreeSet::from([Privilege::Usage]);
        Privileges::from([
            (Grantee::role(&self.writer), usage.clone()),
            (Grantee::role(&self.reader), usage),
        ])
    }

    /// What all three roles may do with the schema of extensions.
    pub(super) fn on_schema_of_extensions(&self) -> Privileges {
        let mut privileges = self.on_schema();
        privileges.insert(
            Grantee::role(&self.admin),
            BTreeSet::from([Privilege::Usage]),
        );
        privileges
    }

    /// What the writer and the reader get on every object of a class in a schema.
    pub(super) fn on_objects(
        &self,
        schema: &WantedSchema,
        class: ObjectClass,
    ) -> BTreeMap<Grantee, BTreeSet<Privilege>> {
        use Privilege::{Delete, Execute, Insert, Select, Update, Usage};
        let (writer, reader): (&[Privilege], &[Privilege]) = match (class, schema.append_only) {
            (ObjectClass::Tables, false) => (&[Select, Insert, Update, Delete], &[Select]),
            (ObjectClass::Tables, true) => (&[Select, Insert], &[Select]),
            // Numbers for new rows come from sequences; setting them back would be a change.
            (ObjectClass::Sequences, _) => (&[Usage, Select], &[Select]),
            (ObjectClass::Routines, false) => (&[Execute], &[]),
            (ObjectClass::Routines, true) => (&[], &[]),
        };
        [(&self.writer, writer), (&self.reader, reader)]
            .into_iter()
            .filter(|(_, privileges)| !privileges.is_empty())
            .map(|(role, privileges)| (Grantee::role(role), privileges.iter().copied().collect()))
            .collect()
    }

    /// The most that somebody may hold on an object of a class in a schema: what everybody gets, and `EXECUTE`,
    /// which a migration may give on a routine that it has thought about.
    pub(super) fn most_on_objects(
        &self,
        schema: &WantedSchema,
        class: ObjectClass,
        grantee: &Grantee,
    ) -> BTreeSet<Privilege> {
        let mut most = self
            .on_objects(schema, class)
            .remove(grantee)
            .unwrap_or_default();
        if class == ObjectClass::Routines && *grantee != Grantee::Public {
            most.insert(Privilege::Execute);
        }
        most
    }
}

impl WantedSchema {
    fn of(schema: &Schema) -> Self {
        Self {
            name: schema.name.clone(),
            append_only: schema.append_only,
        }
    }
}

/// The owner of every database of a spec.
pub(super) const DATABASE_OWNER: &str = CONTROL_ROLE;
