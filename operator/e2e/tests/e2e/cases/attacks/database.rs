//! The owner of the database: SQL by the login that owns the schemas and runs migrations, from a client that the Region lets
//! in. I/O: one client pod.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use std::time::Duration;

use serde_json::{Value, json};

use super::{Adversary, Attempt, Expected, How, answers};
use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::Outcome;
use crate::writer::logins;

const LIMIT: Duration = Duration::from_mins(2);

/// A statement, and how the connection differs from that of the owner's login.
#[derive(Clone, Debug)]
pub struct Statement {
    sql: &'static str,
    undo: Option<&'static str>,
    settings: Value,
    /// Whether user and password are those of the neighbour's login of the same name.
    as_neighbour: bool,
}

/// A statement of the owner's.
pub fn sql(sql: &'static str) -> Statement {
    Statement {
        sql,
        undo: None,
        settings: json!({}),
        as_neighbour: false,
    }
}

impl Statement {
    fn undone_by(self, undo: &'static str) -> Self {
        Self {
            undo: Some(undo),
            ..self
        }
    }

    fn over(self, settings: Value) -> Self {
        Self { settings, ..self }
    }

    /// The same with the neighbour's password.
    pub fn of_neighbour(self) -> Self {
        Self {
            as_neighbour: true,
            ..self
        }
    }
}

/// What the owner tries.
pub fn attempts() -> Vec<Attempt> {
    super::attempts(
        Adversary::DatabaseOwner,
        programs()
            .into_iter()
            .chain(copies())
            .chain(rights())
            .chain(settings()),
        How::Sql,
    )
}

type Row = (&'static str, Statement, Expected);

/// Programs, files and connections of the server.
fn programs() -> Vec<Row> {
    use Expected::Refused;
    let extension = Refused("permission denied to create extension");
    vec![
        (
            "COPY to a program",
            sql("COPY (SELECT 1) TO PROGRAM 'cat'"),
            Refused("permission denied to COPY to or from an external program"),
        ),
        (
            "COPY from a program",
            sql("COPY app.e2e_rows FROM PROGRAM 'id'"),
            Refused("permission denied to COPY to or from an external program"),
        ),
        (
            "COPY to a file",
            sql("COPY (SELECT 1) TO '/tmp/e2e'"),
            Refused("permission denied to COPY to a file"),
        ),
        (
            "COPY from a file",
            sql("COPY app.e2e_rows FROM '/etc/passwd'"),
            Refused("permission denied to COPY from a file"),
        ),
        ("dblink", sql("CREATE EXTENSION dblink"), extension),
        (
            "postgres_fdw",
            sql("CREATE EXTENSION postgres_fdw"),
            extension,
        ),
        ("file_fdw", sql("CREATE EXTENSION file_fdw"), extension),
        (
            "a foreign data wrapper",
            sql("CREATE FOREIGN DATA WRAPPER e2e"),
            Refused("permission denied to create foreign-data wrapper"),
        ),
        (
            "a function in C",
            sql("CREATE FUNCTION app.e2e() RETURNS int AS 'libc', 'getpid' LANGUAGE c"),
            Refused("permission denied for language c"),
        ),
        (
            "an internal function",
            sql("CREATE FUNCTION app.e2e() RETURNS int AS 'pg_backend_pid' LANGUAGE internal"),
            Refused("permission denied for language internal"),
        ),
        (
            "Python that may do anything",
            sql("CREATE FUNCTION app.e2e() RETURNS int AS 'return 1' LANGUAGE plpython3u"),
            Refused("language \"plpython3u\" does not exist"),
        ),
        (
            "a library is loaded",
            sql("LOAD '/tmp/e2e.so'"),
            Refused("access to library"),
        ),
        (
            "pg_read_file",
            sql("SELECT pg_read_file('/etc/passwd')"),
            Refused("permission denied for function pg_read_file"),
        ),
        (
            "pg_read_binary_file",
            sql("SELECT pg_read_binary_file('PG_VERSION')"),
            Refused("permission denied for function pg_read_binary_file"),
        ),
        (
            "pg_ls_dir",
            sql("SELECT pg_ls_dir('/')"),
            Refused("permission denied for function pg_ls_dir"),
        ),
        (
            "lo_export",
            sql("SELECT lo_export(1, '/tmp/e2e')"),
            Refused("permission denied for function lo_export"),
        ),
        (
            "lo_import",
            sql("SELECT lo_import('/etc/passwd')"),
            Refused("permission denied for function lo_import"),
        ),
    ]
}

/// Streams of rows.
fn copies() -> Vec<Row> {
    use Expected::Refused;
    vec![
        (
            "a subscription",
            sql(
                "CREATE SUBSCRIPTION e2e CONNECTION 'host=198.51.100.10 password=none' PUBLICATION e2e WITH (connect = false)",
            ),
            Refused("permission denied to create subscription"),
        ),
        (
            "a publication of all tables",
            sql("CREATE PUBLICATION e2e FOR ALL TABLES").undone_by("DROP PUBLICATION e2e"),
            Refused("permission denied"),
        ),
        (
            "a publication of one table",
            sql("CREATE PUBLICATION e2e FOR TABLE app.e2e_rows").undone_by("DROP PUBLICATION e2e"),
            Refused("permission denied for database clinical"),
        ),
        (
            "a logical slot",
            sql("SELECT pg_create_logical_replication_slot('e2e', 'test_decoding')")
                .undone_by("SELECT pg_drop_replication_slot('e2e')"),
            Refused("permission denied to use replication slots"),
        ),
        (
            "a physical slot",
            sql("SELECT pg_create_physical_replication_slot('e2e')")
                .undone_by("SELECT pg_drop_replication_slot('e2e')"),
            Refused("permission denied to use replication slots"),
        ),
        (
            "a replication connection",
            sql("IDENTIFY_SYSTEM").over(json!({ "replication": "true" })),
            Refused("pg_hba.conf rejects replication connection"),
        ),
        (
            "a replication connection to the database",
            sql("IDENTIFY_SYSTEM").over(json!({ "replication": "database" })),
            Refused("permission denied to start WAL sender"),
        ),
        (
            "a base backup",
            sql("SELECT pg_backup_start('e2e')"),
            Refused("permission denied for function pg_backup_start"),
        ),
        (
            "a standby becomes a primary",
            sql("SELECT pg_promote()"),
            Refused("permission denied for function pg_promote"),
        ),
    ]
}

/// More rights.
fn rights() -> Vec<Row> {
    use Expected::Refused;
    vec![
        (
            "a superuser is made",
            sql("CREATE ROLE e2e SUPERUSER").undone_by("DROP ROLE e2e"),
            Refused("permission denied to create role"),
        ),
        (
            "a login is made",
            sql("CREATE ROLE e2e LOGIN").undone_by("DROP ROLE e2e"),
            Refused("permission denied to create role"),
        ),
        (
            "the owner becomes a superuser",
            sql("ALTER ROLE CURRENT_USER SUPERUSER"),
            Refused("permission denied to alter role"),
        ),
        (
            "the owner may replicate",
            sql("ALTER ROLE CURRENT_USER REPLICATION"),
            Refused("permission denied to alter role"),
        ),
        (
            "the owner runs programs",
            sql("GRANT pg_execute_server_program TO CURRENT_USER"),
            Refused("permission denied to grant role \"pg_execute_server_program\""),
        ),
        (
            "the owner reads the server's files",
            sql("GRANT pg_read_server_files TO CURRENT_USER"),
            Refused("permission denied to grant role \"pg_read_server_files\""),
        ),
        (
            "the owner becomes the superuser",
            sql("SET ROLE postgres"),
            Refused("permission denied to set role \"postgres\""),
        ),
        (
            "the owner becomes the operator",
            sql("SET ROLE bailiwick_operator"),
            Refused("permission denied to set role \"bailiwick_operator\""),
        ),
        (
            "passwords are read",
            sql("SELECT rolpassword FROM pg_authid"),
            Refused("permission denied for table pg_authid"),
        ),
        (
            "the superuser's connection over the network",
            sql("SELECT 1").over(json!({ "user": "postgres" })),
            Refused("pg_hba.conf rejects connection"),
        ),
        (
            "another database of the server",
            sql("SELECT 1").over(json!({ "dbname": "postgres" })),
            Refused("permission denied for database"),
        ),
        (
            "a database of one's own",
            sql("CREATE DATABASE e2e").undone_by("DROP DATABASE e2e"),
            Refused("permission denied to create database"),
        ),
        (
            "a tablespace elsewhere",
            sql("CREATE TABLESPACE e2e LOCATION '/tmp'"),
            Refused("permission denied to create tablespace"),
        ),
        (
            "a trigger on every command",
            sql("CREATE EVENT TRIGGER e2e ON ddl_command_end EXECUTE FUNCTION app.e2e()"),
            Refused("permission denied to create event trigger"),
        ),
    ]
}

/// The server's settings.
fn settings() -> Vec<Row> {
    use Expected::Refused;
    vec![
        (
            "ALTER SYSTEM",
            sql("ALTER SYSTEM SET archive_command = 'true'"),
            Refused("permission denied to set parameter"),
        ),
        (
            "statements of the session are logged",
            sql("SET log_statement = 'all'"),
            Refused("permission denied to set parameter \"log_statement\""),
        ),
        (
            "parameters of the session are logged",
            sql("SET log_parameter_max_length = -1"),
            Refused("permission denied to set parameter \"log_parameter_max_length\""),
        ),
        (
            "statements of the database are logged",
            sql("ALTER DATABASE clinical SET log_statement = 'all'"),
            Refused("must be owner of database clinical"),
        ),
        (
            "the log goes elsewhere",
            sql("SET log_destination = 'syslog'"),
            Refused("cannot be changed"),
        ),
        (
            "a library for every session",
            sql("SET session_preload_libraries = 'e2e'"),
            Refused("permission denied to set parameter \"session_preload_libraries\""),
        ),
        (
            "a connection without TLS",
            sql("SELECT 1").over(json!({ "sslmode": "disable" })),
            Refused("pg_hba.conf rejects connection"),
        ),
    ]
}

/// Runs statements one after the other; what the server said to each, none for one that got in.
pub async fn run(
    cluster: &Cluster,
    victim: &Place,
    neighbour: &Place,
    attempts: &[&Attempt],
) -> Outcome<Vec<Option<String>>> {
    crate::writer::prepare(cluster, victim).await?;
    let [owner, ..] = logins(&victim.names);
    let [strange, ..] = logins(&neighbour.names);
    let stand = Stand::allowed(victim);
    client::hand_over_to(cluster, neighbour, &strange, &stand.namespace).await?;
    let tried = attempts.iter().filter_map(|attempt| match &attempt.how {
        How::Sql(statement) => Some(json!({
            "statement": statement.sql,
            "undo": statement.undo,
            "settings": statement.settings,
            "as": statement.as_neighbour.then_some(&strange),
        })),
        _ => None,
    });
    let own = json!({ "statement": "SELECT 1" });
    let told: Vec<Value> = std::iter::once(own).chain(tried).collect();
    let script = Script {
        name: "attack_sql",
        told: json!({ "login": owner, "attempts": told }),
        secrets: vec![owner.clone(), strange.clone()],
    };
    answers(
        client::run(cluster, &stand, &script, LIMIT).await?,
        attempts,
    )
}
