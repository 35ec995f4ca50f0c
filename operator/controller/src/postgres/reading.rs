//! The catalogs of Postgres as facts. Queries out, values in; I/O. Nothing of an application's rows is read: only
//! names, owners, privileges and the state of archive and replication.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::settings;
use bailiwick_model::facts::postgres::{
    ArchiverFact, AvailableExtension, DatabaseFact, DefaultsOf, ExtensionFact, Grantee, Inside,
    Mark, Membership, ObjectClass, ObjectsOf, PostgresFacts, Privilege, Privileges,
    ReplicationFact, RoleFact, RunningSettings, SchemaFact, Sessions, SlotFact,
};
use bailiwick_model::names::CONTROL_ROLE;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Row};

use super::PostgresError;
use super::connection::{Patience, within};
use super::password::Passwords;
use super::statement::NOT_LOOPBACK;

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int4 AS version,
           pg_is_in_recovery() AS in_recovery,
           (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
           string_to_array(replace(current_setting('shared_preload_libraries'), ' ', ''), ',') AS preloaded,
           current_setting('cron.database_name', true) AS cron_database,
           ARRAY(SELECT found[1] FROM regexp_matches(current_setting('synchronous_standby_names'), '\"([^\"]+)\"', 'g')
                 AS found) AS awaited";

// Those that decide whether values of statements reach the log, as a session has them that was given none of its own; and
// those that another role or a database was given, which its sessions would have instead. What the control role was given
// keeps its own passwords out of the log.
const SETTINGS: &str = "
    WITH quiet AS (
        SELECT name, setting FROM pg_settings
        WHERE name IN ('log_parameter_max_length', 'log_parameter_max_length_on_error', 'log_statement',
                       'log_min_duration_statement', 'log_duration', 'log_min_error_statement',
                       'log_error_verbosity', 'log_min_messages', 'pgaudit.log_statement', 'pgaudit.log_parameter',
                       'cron.log_statement', 'auto_explain.log_min_duration'))
    SELECT name, setting FROM quiet
    UNION ALL
    SELECT format('%s of %s', quiet.name, coalesce(r.rolname, d.datname)),
           substr(given.setting, length(quiet.name) + 2)
    FROM pg_db_role_setting s
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    LEFT JOIN pg_database d ON d.oid = s.setdatabase
    CROSS JOIN LATERAL unnest(s.setconfig) AS given(setting)
    JOIN quiet ON given.setting LIKE quiet.name || '=%'
    WHERE r.rolname IS DISTINCT FROM 'bailiwick_operator'";

// Those that a Region may set. One of a library that is not loaded has no row of its own in pg_settings: it is shown as
// the files have it, if they have it.
const RUNNING: &str = "
    SELECT wanted.name, coalesce(s.setting, current_setting(wanted.name, true)) AS setting,
           coalesce(s.pending_restart, false) AS pending_restart
    FROM unnest($1::text[]) AS wanted(name)
    LEFT JOIN pg_settings s ON lower(s.name) = wanted.name";

// Its owner is the superuser; control-role.sql lets the control role in, in clusters that were made with it.
const MAY_READ_FILES: &str = "
    SELECT has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')
           AND has_table_privilege('pg_file_settings', 'SELECT') AS may";

// What stands for a line that the server cannot take. A later line of the same name may have taken its place.
const REFUSED_SETTINGS: &str = "
    SELECT lower(name) AS name, error FROM pg_file_settings WHERE name IS NOT NULL AND error IS NOT NULL";

// Oid 10 is the superuser that initdb makes (BOOTSTRAP_SUPERUSERID).
const ROLES: &str = "
    SELECT r.rolname::text AS name, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication,
           r.rolbypassrls, r.rolinherit, r.rolconnlimit,
           coalesce(r.rolvaliduntil < 'infinity', false) AS expires,
           r.oid = 10 AS bootstrap,
           shobj_description(r.oid, 'pg_authid') AS comment,
           EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles c ON c.oid = m.member
                   WHERE m.roleid = r.oid AND c.rolname = current_user AND m.admin_option) AS administered,
           EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles c ON c.oid = m.member
                   WHERE m.roleid = r.oid AND c.rolname = current_user AND m.set_option) AS settable
    FROM pg_roles r
    WHERE r.rolname !~ '^pg_'";

const MEMBERSHIPS: &str = "
    SELECT r.rolname::text AS role, m.rolname::text AS member, g.rolname::text AS grantor,
           a.admin_option, a.inherit_option, a.set_option
    FROM pg_auth_members a
    JOIN pg_roles r ON r.oid = a.roleid
    JOIN pg_roles m ON m.oid = a.member
    JOIN pg_roles g ON g.oid = a.grantor
    WHERE m.rolname <> current_user AND m.rolname !~ '^pg_'";

// The one setting of a database (of all roles) that we own.
const DATABASES: &str = "
    SELECT d.datname::text AS name, r.rolname::text AS owner, d.datallowconn AS open,
           shobj_description(d.oid, 'pg_database') AS comment,
           (SELECT substr(setting, length('search_path=') + 1)
            FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
            WHERE s.setdatabase = d.oid AND s.setrole = 0 AND setting LIKE 'search\\_path=%') AS search_path
    FROM pg_database d
    JOIN pg_roles r ON r.oid = d.datdba
    WHERE NOT d.datistemplate";

const DATABASE_PRIVILEGES: &str = "
    SELECT d.datname::text AS name, r.rolname::text AS grantee, a.privilege_type AS privilege, a.is_grantable
    FROM pg_database d
    CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE NOT d.datistemplate AND a.grantee <> d.datdba";

const AVAILABLE_EXTENSIONS: &str = "
    SELECT e.name::text AS name, v.version, v.schema::text AS schema, v.superuser AND NOT v.trusted AS superuser_only,
           coalesce(v.requires::text[], '{}') AS requires
    FROM pg_available_extensions e
    JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version";

// A .done file keeps the time at which its WAL file was finished: a rename does not change it.
const ARCHIVER: &str = "
    WITH files AS (SELECT name, modification FROM pg_ls_archive_statusdir())
    SELECT current_setting('archive_mode') <> 'off' AS enabled,
           (SELECT setting::int8 FROM pg_settings WHERE name = 'archive_timeout') AS timeout_seconds,
           s.last_archived_wal AS last_archived,
           (extract(epoch FROM s.last_archived_time) * 1000000)::int8 AS last_archived_at,
           (SELECT (extract(epoch FROM modification) * 1000000)::int8 FROM files
            WHERE name = s.last_archived_wal || '.done') AS archived_through,
           s.failed_count AS failures,
           (extract(epoch FROM s.last_failed_time) * 1000000)::int8 AS last_failed_at,
           (SELECT count(*) FROM files WHERE name LIKE '%.ready') AS waiting,
           (SELECT (extract(epoch FROM min(modification)) * 1000000)::int8 FROM files
            WHERE name LIKE '%.ready') AS waiting_since,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END AS writing,
           (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS read_at
    FROM pg_stat_archiver s";

const REPLICATION: &str = "
    SELECT application_name AS application, host(client_addr) AS address, coalesce(state, '') AS state,
           coalesce(sync_state, '') AS sync
    FROM pg_stat_replication
    ORDER BY application_name, client_addr";

// Of the roles that we may act as: an application's. What else is connected is this cluster's own.
const SESSIONS: &str = "
    SELECT usename::text AS role, count(*)::int4 AS many,
           ceil(extract(epoch FROM clock_timestamp() - min(backend_start)))::int8 AS oldest
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename <> current_user AND pg_has_role(usesysid, 'SET')
          AND client_addr IS NOT NULL AND ";

const SLOTS: &str = "
    SELECT slot_name::text AS name, slot_type = 'logical' AS logical, active FROM pg_replication_slots";

const EXTENSIONS: &str = "
    SELECT e.extname::text AS name, e.extversion AS version, n.nspname::text AS schema
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname <> 'plpgsql'";

const SCHEMAS: &str = "
    SELECT n.nspname::text AS name, r.rolname::text AS owner
    FROM pg_namespace n
    JOIN pg_roles r ON r.oid = n.nspowner
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bailiwick')";

const SCHEMA_PRIVILEGES: &str = "
    SELECT n.nspname::text AS name, r.rolname::text AS grantee, a.privilege_type AS privilege, a.is_grantable
    FROM pg_namespace n
    CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bailiwick') AND a.grantee <> n.nspowner";

// One row a schema, class and privilege, however many objects there are. A class that has objects on which nobody
// but the owner holds anything has one row without a grantee's name and without a privilege.
const OBJECTS: &str = "
    WITH objects AS (
        SELECT c.relnamespace AS schema, CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END AS class, c.relowner AS owner,
               coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner)) AS acl,
               'pg_class'::regclass AS catalog, c.oid AS object
        FROM pg_class c
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT c.relnamespace, 'r', c.relowner, a.attacl, 'pg_class'::regclass, c.oid
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        UNION ALL
        SELECT p.pronamespace, 'f', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)),
               'pg_proc'::regclass, p.oid
        FROM pg_proc p)
    SELECT n.nspname::text AS schema, o.class, o.owner = n.nspowner AS of_schema_owner,
           r.rolname::text AS grantee, a.privilege_type AS privilege, coalesce(bool_or(a.is_grantable), false) AS is_grantable
    FROM objects o
    JOIN pg_namespace n ON n.oid = o.schema
    LEFT JOIN LATERAL aclexplode(o.acl) a ON a.grantee <> o.owner
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bailiwick')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = o.catalog AND d.objid = o.object AND d.deptype = 'e')
    GROUP BY 1, 2, 3, 4, 5";

const DEFAULT_PRIVILEGES: &str = "
    SELECT o.rolname::text AS role, n.nspname::text AS schema, d.defaclobjtype::text AS class,
           r.rolname::text AS grantee, a.privilege_type AS privilege, coalesce(a.is_grantable, false) AS is_grantable
    FROM pg_default_acl d
    JOIN pg_roles o ON o.oid = d.defaclrole
    LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
    LEFT JOIN LATERAL aclexplode(d.defaclacl) a ON a.grantee <> d.defaclrole
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE d.defaclobjtype IN ('r', 'S', 'f')";

const WAYS_OUT: &str = "
    SELECT (SELECT count(*) FROM pg_foreign_server) AS foreign_servers,
           (SELECT count(*) FROM pg_publication) AS publications,
           (SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
            WHERE d.datname = current_database()) AS subscriptions";

/// Everything that one connection to the maintenance database can tell.
pub(super) async fn server(
    client: &Client,
    passwords: &Passwords<'_>,
) -> Result<PostgresFacts, PostgresError> {
    let mut facts = PostgresFacts {
        archiver: archiver(client).await?,
        ..PostgresFacts::default()
    };
    for row in rows(client, SERVER).await? {
        facts.server_version = get(&row, "version")?;
        facts.in_recovery = get(&row, "in_recovery")?;
        facts.system_identifier = get(&row, "system_identifier")?;
        facts.preloaded_libraries = get::<Vec<String>>(&row, "preloaded")?.into_iter().collect();
        facts.cron_database = get(&row, "cron_database")?;
        facts.awaited = get::<Vec<String>>(&row, "awaited")?.into_iter().collect();
    }
    for row in rows(client, ROLES).await? {
        let name: String = get(&row, "name")?;
        let fact = role(&row, &name, passwords)?;
        facts.roles.insert(name, fact);
    }
    for row in rows(client, MEMBERSHIPS).await? {
        facts.memberships.insert(Membership {
            role: get(&row, "role")?,
            member: get(&row, "member")?,
            grantor: get(&row, "grantor")?,
            admin: get(&row, "admin_option")?,
            inherit: get(&row, "inherit_option")?,
            set: get(&row, "set_option")?,
        });
    }
    facts.databases = databases(client).await?;
    for row in rows(client, AVAILABLE_EXTENSIONS).await? {
        facts.available_extensions.insert(
            get(&row, "name")?,
            AvailableExtension {
                version: get(&row, "version")?,
                schema: get(&row, "schema")?,
                superuser_only: get(&row, "superuser_only")?,
                requires: get(&row, "requires")?,
            },
        );
    }
    for row in rows(client, REPLICATION).await? {
        facts.replication.push(ReplicationFact {
            application: get(&row, "application")?,
            address: get(&row, "address")?,
            state: get(&row, "state")?,
            sync: get(&row, "sync")?,
        });
    }
    facts.sessions = sessions(client).await?;
    for row in rows(client, SLOTS).await? {
        facts.slots.insert(
            get(&row, "name")?,
            SlotFact {
                logical: get(&row, "logical")?,
                active: get(&row, "active")?,
            },
        );
    }
    Ok(facts)
}

/// The connections over the network that each role of an application holds on this server.
async fn sessions(client: &Client) -> Result<BTreeMap<String, Sessions>, PostgresError> {
    let query = format!("{SESSIONS}{NOT_LOOPBACK} GROUP BY usename");
    rows(client, &query)
        .await?
        .iter()
        .map(|row| {
            let many: i32 = get(row, "many")?;
            let sessions = Sessions {
                count: many.unsigned_abs(),
                oldest: SignedDuration::from_secs(get(row, "oldest")?),
            };
            Ok((get(row, "role")?, sessions))
        })
        .collect()
}

/// The same, of a standby; none of a server that is none.
pub(super) async fn standby_sessions(
    client: &Client,
) -> Result<Option<BTreeMap<String, Sessions>>, PostgresError> {
    let mut standby = false;
    for row in rows(client, "SELECT pg_is_in_recovery() AS standby").await? {
        standby = get(&row, "standby")?;
    }
    if !standby {
        return Ok(None);
    }
    sessions(client).await.map(Some)
}

/// The settings of the log. `client` is of a role that was given none of its own: one that was, as the control role, sees
/// those instead of the server's.
pub(super) async fn settings(client: &Client) -> Result<BTreeMap<String, String>, PostgresError> {
    rows(client, SETTINGS)
        .await?
        .iter()
        .map(|row| Ok((get(row, "name")?, get(row, "setting")?)))
        .collect()
}

/// The settings that a Region may set, as `client`'s session has them from the server.
pub(super) async fn running(client: &Client) -> Result<RunningSettings, PostgresError> {
    let names: Vec<&str> = settings::all()
        .values()
        .filter(|setting| setting.keeper.is_none())
        .map(|setting| setting.name)
        .collect();
    let mut running = RunningSettings::default();
    for row in within(Patience::Short.call(), client.query(RUNNING, &[&names])).await? {
        let name: String = get(&row, "name")?;
        if get(&row, "pending_restart")? {
            running.pending.insert(name.clone());
        }
        if let Some(setting) = get::<Option<String>>(&row, "setting")? {
            running.values.insert(name, setting);
        }
    }
    Ok(running)
}

/// The settings in the server's files that it cannot take, with its closed words for it; none when we may not look.
pub(super) async fn refused_settings(
    client: &Client,
) -> Result<Option<BTreeMap<String, String>>, PostgresError> {
    for row in rows(client, MAY_READ_FILES).await? {
        if !get::<bool>(&row, "may")? {
            return Ok(None);
        }
    }
    rows(client, REFUSED_SETTINGS)
        .await?
        .iter()
        .map(|row| Ok((get(row, "name")?, get(row, "error")?)))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The state of the archive.
pub(super) async fn archiver(client: &Client) -> Result<ArchiverFact, PostgresError> {
    let mut fact = ArchiverFact::default();
    for row in rows(client, ARCHIVER).await? {
        fact = ArchiverFact {
            enabled: get(&row, "enabled")?,
            timeout_seconds: get(&row, "timeout_seconds")?,
            last_archived: get(&row, "last_archived")?,
            last_archived_at: time(&row, "last_archived_at")?,
            archived_through: time(&row, "archived_through")?,
            failures: get(&row, "failures")?,
            last_failed_at: time(&row, "last_failed_at")?,
            waiting: get(&row, "waiting")?,
            waiting_since: time(&row, "waiting_since")?,
            writing: get(&row, "writing")?,
            read_at: time(&row, "read_at")?.unwrap_or_default(),
        };
    }
    Ok(fact)
}

/// The databases that are the operator's own and can be looked into.
pub(super) fn ours(
    facts: &mut PostgresFacts,
) -> impl Iterator<Item = (&String, &mut DatabaseFact)> {
    facts
        .databases
        .iter_mut()
        .filter(|(_, fact)| fact.owner == CONTROL_ROLE && fact.open)
}

/// What is in the database that the client is connected to.
pub(super) async fn inside(client: &Client) -> Result<Inside, PostgresError> {
    let mut inside = Inside::default();
    for row in rows(client, EXTENSIONS).await? {
        inside.extensions.insert(
            get(&row, "name")?,
            ExtensionFact {
                version: get(&row, "version")?,
                schema: get(&row, "schema")?,
            },
        );
    }
    for row in rows(client, SCHEMAS).await? {
        inside.schemas.insert(
            get(&row, "name")?,
            SchemaFact {
                owner: get(&row, "owner")?,
                ..SchemaFact::default()
            },
        );
    }
    for row in rows(client, SCHEMA_PRIVILEGES).await? {
        let name: String = get(&row, "name")?;
        if let Some(schema) = inside.schemas.get_mut(&name) {
            hold(&mut schema.privileges, &row)?;
        }
    }
    for row in rows(client, OBJECTS).await? {
        let schema: String = get(&row, "schema")?;
        let objects = ObjectsOf {
            class: class(&row)?,
            of_schema_owner: get(&row, "of_schema_owner")?,
        };
        if let Some(schema) = inside.schemas.get_mut(&schema) {
            hold(schema.objects.entry(objects).or_default(), &row)?;
        }
    }
    for row in rows(client, DEFAULT_PRIVILEGES).await? {
        let of = DefaultsOf {
            role: get(&row, "role")?,
            schema: get(&row, "schema")?,
            class: class(&row)?,
        };
        hold(inside.default_privileges.entry(of).or_default(), &row)?;
    }
    for row in rows(client, WAYS_OUT).await? {
        inside.foreign_servers = get(&row, "foreign_servers")?;
        inside.publications = get(&row, "publications")?;
        inside.subscriptions = get(&row, "subscriptions")?;
    }
    Ok(inside)
}

fn role(row: &Row, name: &str, passwords: &Passwords<'_>) -> Result<RoleFact, PostgresError> {
    let comment: Option<String> = get(row, "comment")?;
    let mark = comment.as_deref().and_then(Mark::parse);
    Ok(RoleFact {
        login: get(row, "rolcanlogin")?,
        superuser: get(row, "rolsuper")?,
        create_db: get(row, "rolcreatedb")?,
        create_role: get(row, "rolcreaterole")?,
        replication: get(row, "rolreplication")?,
        bypass_rls: get(row, "rolbypassrls")?,
        inherit: get(row, "rolinherit")?,
        connection_limit: get(row, "rolconnlimit")?,
        expires: get(row, "expires")?,
        bootstrap: get(row, "bootstrap")?,
        administered: get(row, "administered")?,
        settable: get(row, "settable")?,
        password: passwords.compare(name, mark.as_ref()),
        mark,
    })
}

async fn databases(client: &Client) -> Result<BTreeMap<String, DatabaseFact>, PostgresError> {
    let mut databases = BTreeMap::new();
    for row in rows(client, DATABASES).await? {
        let comment: Option<String> = get(&row, "comment")?;
        let search_path: Option<String> = get(&row, "search_path")?;
        databases.insert(
            get(&row, "name")?,
            DatabaseFact {
                owner: get(&row, "owner")?,
                mark: comment.as_deref().and_then(Mark::parse),
                open: get(&row, "open")?,
                search_path: search_path.as_deref().map(identifiers),
                ..DatabaseFact::default()
            },
        );
    }
    for row in rows(client, DATABASE_PRIVILEGES).await? {
        let name: String = get(&row, "name")?;
        if let Some(database) = databases.get_mut(&name) {
            hold(&mut database.privileges, &row)?;
        }
    }
    Ok(databases)
}

/// Adds what a row says that somebody holds. A row without a privilege says that nobody holds any.
fn hold(privileges: &mut Privileges, row: &Row) -> Result<(), PostgresError> {
    let Some(word) = get::<Option<String>>(row, "privilege")? else {
        return Ok(());
    };
    let privilege = Privilege::parse(&word).ok_or_else(|| {
        PostgresError::malformed(format!(
            "privilege {word:?} is unknown, expected one of PostgreSQL 17; update the operator"
        ))
    })?;
    // No role has the oid 0, which stands for everybody.
    let grantee = get::<Option<String>>(row, "grantee")?.map_or(Grantee::Public, Grantee::Role);
    let held: &mut BTreeSet<Privilege> = privileges.entry(grantee).or_default();
    held.insert(privilege);
    if get(row, "is_grantable")? {
        held.insert(Privilege::GrantOption);
    }
    Ok(())
}

fn class(row: &Row) -> Result<ObjectClass, PostgresError> {
    match get::<String>(row, "class")?.as_str() {
        "r" => Ok(ObjectClass::Tables),
        "S" => Ok(ObjectClass::Sequences),
        "f" => Ok(ObjectClass::Routines),
        other => Err(PostgresError::malformed(format!(
            "object class {other:?} is unknown, expected r, S or f"
        ))),
    }
}

/// A list of identifiers as Postgres writes it into a setting: quoted only where needed, parted by commas.
fn identifiers(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            ' ' if !quoted => {}
            other => name.push(other),
        }
    }
    names.push(name);
    names
}

async fn rows(client: &Client, query: &str) -> Result<Vec<Row>, PostgresError> {
    within(Patience::Short.call(), client.query(query, &[])).await
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, PostgresError> {
    row.try_get(column).map_err(PostgresError::from)
}

/// A moment, which queries give in microseconds since 1970.
fn time(row: &Row, column: &str) -> Result<Option<Timestamp>, PostgresError> {
    get::<Option<i64>>(row, column)?
        .map(|microseconds| {
            Timestamp::from_microsecond(microseconds).map_err(|error| {
                PostgresError::malformed(format!("{column} is not a moment: {error}"))
            })
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::identifiers;

    #[test]
    fn a_list_of_identifiers_is_read_as_postgres_writes_it() {
        for (text, expected) in [
            (
                "app, audit, extensions",
                &["app", "audit", "extensions"][..],
            ),
            ("extensions", &["extensions"]),
            (r#""user", "a,b", "c""d", e"#, &["user", "a,b", "c\"d", "e"]),
            (r#""A b""#, &["A b"]),
            ("", &[""]),
        ] {
            assert_eq!(identifiers(text), expected, "{text}");
        }
    }
}
