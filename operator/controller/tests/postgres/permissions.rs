//! What each role can and cannot do, each statement as that role over verified TLS, in a transaction that is undone.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::server::Server;
use super::{ROLES, converge, run, spec, wanted};

/// What a statement is to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// It succeeds.
    Well,
    /// Postgres refuses it for want of a privilege (42501).
    Refused,
}

use Ends::{Refused, Well};

/// What a migration makes, before any role but `db_admin` looks at it. Types and functions of extensions, and the
/// schema `app`, are found by the database's search path.
const MIGRATION: &str = "
    CREATE TABLE note (id serial PRIMARY KEY, body text, place geometry(Point, 4326));
    CREATE INDEX ON note USING gist (place);
    CREATE SEQUENCE ticket;
    CREATE VIEW recent AS SELECT id, body FROM note;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS notes FROM note;
    CREATE TABLE measured (at date NOT NULL, value int) PARTITION BY RANGE (at);
    CREATE TABLE measured_2026 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE FUNCTION notes() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.note';
    CREATE PROCEDURE forget() LANGUAGE sql AS 'DELETE FROM app.note';
    CREATE TABLE audit.log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);
    CREATE TABLE audit.serial_log (id serial PRIMARY KEY, what text NOT NULL);
    CREATE FUNCTION audit.logged() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM audit.log';
    INSERT INTO note (body) VALUES ('first');
    INSERT INTO audit.log (what) VALUES ('first');
";

/// Role, statement, end. The database is `clinical`.
const CASES: &[(&str, &str, Ends)] = &[
    // The admin runs migrations in the schemas of the spec, and that is all.
    ("clinical_db_admin", "CREATE TABLE later (id int)", Well),
    (
        "clinical_db_admin",
        "CREATE TABLE audit.later (id int)",
        Well,
    ),
    (
        "clinical_db_admin",
        "ALTER TABLE note ADD COLUMN extra uuid DEFAULT uuid_generate_v4()",
        Well,
    ),
    ("clinical_db_admin", "DROP TABLE note CASCADE", Well),
    (
        "clinical_db_admin",
        "CREATE TEMPORARY TABLE work (id int)",
        Well,
    ),
    ("clinical_db_admin", "GRANT SELECT ON note TO bare", Well),
    (
        "clinical_db_admin",
        "CREATE TABLE public.stray (id int)",
        Refused,
    ),
    (
        "clinical_db_admin",
        "CREATE TABLE extensions.stray (id int)",
        Refused,
    ),
    ("clinical_db_admin", "CREATE SCHEMA stray", Refused),
    ("clinical_db_admin", "CREATE EXTENSION hstore", Refused),
    ("clinical_db_admin", "DROP EXTENSION pgcrypto", Refused),
    ("clinical_db_admin", "CREATE EXTENSION dblink", Refused),
    (
        "clinical_db_admin",
        "CREATE FOREIGN DATA WRAPPER out",
        Refused,
    ),
    (
        "clinical_db_admin",
        "CREATE PUBLICATION out FOR TABLE note",
        Refused,
    ),
    (
        "clinical_db_admin",
        "SELECT pg_create_logical_replication_slot('out', 'test_decoding')",
        Refused,
    ),
    ("clinical_db_admin", "COPY note TO PROGRAM 'true'", Refused),
    ("clinical_db_admin", "COPY note TO '/tmp/note'", Refused),
    ("clinical_db_admin", "COPY note FROM '/etc/passwd'", Refused),
    (
        "clinical_db_admin",
        "SELECT pg_read_file('/etc/passwd')",
        Refused,
    ),
    ("clinical_db_admin", "SELECT pg_ls_dir('/')", Refused),
    (
        "clinical_db_admin",
        "SELECT lo_import('/etc/passwd')",
        Refused,
    ),
    (
        "clinical_db_admin",
        "SELECT rolpassword FROM pg_authid",
        Refused,
    ),
    ("clinical_db_admin", "CREATE ROLE stray", Refused),
    (
        "clinical_db_admin",
        "ALTER ROLE clinical_app_writer SUPERUSER",
        Refused,
    ),
    (
        "clinical_db_admin",
        "GRANT clinical_app_writer TO bare",
        Refused,
    ),
    ("clinical_db_admin", "SET ROLE bailiwick_operator", Refused),
    ("clinical_db_admin", "SET ROLE clinical_app_writer", Refused),
    (
        "clinical_db_admin",
        "ALTER DATABASE clinical RENAME TO stray",
        Refused,
    ),
    (
        "clinical_db_admin",
        "ALTER DATABASE clinical OWNER TO clinical_db_admin",
        Refused,
    ),
    (
        "clinical_db_admin",
        "COMMENT ON DATABASE clinical IS ''",
        Refused,
    ),
    (
        "clinical_db_admin",
        "COMMENT ON ROLE clinical_db_admin IS ''",
        Refused,
    ),
    ("clinical_db_admin", "SET log_statement = 'all'", Refused),
    (
        "clinical_db_admin",
        "SET session_replication_role = replica",
        Refused,
    ),
    // The writer changes and calls what is there; in audit it adds and reads.
    ("clinical_app_writer", "SELECT * FROM note", Well),
    (
        "clinical_app_writer",
        "INSERT INTO note (body, place) VALUES ('x', ST_SetSRID(ST_MakePoint(29, 41), 4326))",
        Well,
    ),
    ("clinical_app_writer", "UPDATE note SET body = 'y'", Well),
    ("clinical_app_writer", "DELETE FROM note", Well),
    (
        "clinical_app_writer",
        "INSERT INTO measured VALUES ('2026-05-01', 1)",
        Well,
    ),
    ("clinical_app_writer", "SELECT nextval('ticket')", Well),
    ("clinical_app_writer", "SELECT notes()", Well),
    ("clinical_app_writer", "CALL forget()", Well),
    (
        "clinical_app_writer",
        "SELECT uuid_generate_v4(), gen_random_bytes(8)",
        Well,
    ),
    (
        "clinical_app_writer",
        "CREATE TEMPORARY TABLE work (id int)",
        Well,
    ),
    (
        "clinical_app_writer",
        "INSERT INTO audit.log (what) VALUES ('x')",
        Well,
    ),
    (
        "clinical_app_writer",
        "INSERT INTO audit.serial_log (what) VALUES ('x')",
        Well,
    ),
    ("clinical_app_writer", "SELECT * FROM audit.log", Well),
    (
        "clinical_app_writer",
        "UPDATE audit.log SET what = 'y'",
        Refused,
    ),
    ("clinical_app_writer", "DELETE FROM audit.log", Refused),
    ("clinical_app_writer", "TRUNCATE audit.log", Refused),
    (
        "clinical_app_writer",
        "INSERT INTO audit.log (id, what) OVERRIDING SYSTEM VALUE VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET what = 'y'",
        Refused,
    ),
    (
        "clinical_app_writer",
        "SELECT * FROM audit.log FOR UPDATE",
        Refused,
    ),
    (
        "clinical_app_writer",
        "SELECT setval('audit.serial_log_id_seq', 1)",
        Refused,
    ),
    ("clinical_app_writer", "SELECT audit.logged()", Refused),
    ("clinical_app_writer", "TRUNCATE note", Refused),
    ("clinical_app_writer", "DROP TABLE note", Refused),
    (
        "clinical_app_writer",
        "ALTER TABLE note ADD COLUMN extra int",
        Refused,
    ),
    (
        "clinical_app_writer",
        "ALTER TABLE audit.log DISABLE TRIGGER ALL",
        Refused,
    ),
    (
        "clinical_app_writer",
        "CREATE TABLE stray (id int)",
        Refused,
    ),
    (
        "clinical_app_writer",
        "CREATE TABLE audit.stray (id int)",
        Refused,
    ),
    (
        "clinical_app_writer",
        "CREATE TABLE public.stray (id int)",
        Refused,
    ),
    (
        "clinical_app_writer",
        "CREATE TRIGGER stray BEFORE INSERT ON note EXECUTE FUNCTION notes()",
        Refused,
    ),
    (
        "clinical_app_writer",
        "REFRESH MATERIALIZED VIEW counted",
        Refused,
    ),
    ("clinical_app_writer", "SET ROLE clinical_db_admin", Refused),
    (
        "clinical_app_writer",
        "COPY note TO PROGRAM 'true'",
        Refused,
    ),
    // The reader reads.
    ("clinical_app_reader", "SELECT * FROM note", Well),
    ("clinical_app_reader", "SELECT * FROM recent", Well),
    ("clinical_app_reader", "SELECT * FROM counted", Well),
    ("clinical_app_reader", "SELECT * FROM measured", Well),
    ("clinical_app_reader", "SELECT * FROM audit.log", Well),
    ("clinical_app_reader", "SELECT last_value FROM ticket", Well),
    (
        "clinical_app_reader",
        "SELECT ST_AsText(place) FROM note",
        Well,
    ),
    (
        "clinical_app_reader",
        "INSERT INTO note (body) VALUES ('x')",
        Refused,
    ),
    ("clinical_app_reader", "UPDATE note SET body = 'y'", Refused),
    ("clinical_app_reader", "DELETE FROM note", Refused),
    (
        "clinical_app_reader",
        "INSERT INTO audit.log (what) VALUES ('x')",
        Refused,
    ),
    (
        "clinical_app_reader",
        "SELECT * FROM note FOR UPDATE",
        Refused,
    ),
    ("clinical_app_reader", "SELECT nextval('ticket')", Refused),
    ("clinical_app_reader", "SELECT notes()", Refused),
    (
        "clinical_app_reader",
        "CREATE TABLE stray (id int)",
        Refused,
    ),
    (
        "clinical_app_reader",
        "CREATE TEMPORARY TABLE work (id int)",
        Refused,
    ),
    // A role of the list has the rights of those that it is a member of, over a group here.
    ("export", "SELECT * FROM note", Well),
    ("export", "SELECT * FROM audit.log", Well),
    ("export", "SET ROLE analysts", Well),
    ("export", "INSERT INTO note (body) VALUES ('x')", Refused),
    ("export", "CREATE TEMPORARY TABLE work (id int)", Refused),
    ("export", "GRANT analysts TO bare", Refused),
    // A role without memberships gets in, and nothing else.
    ("bare", "SELECT 1", Well),
    ("bare", "SELECT * FROM app.note", Refused),
    ("bare", "SELECT extensions.uuid_generate_v4()", Refused),
    ("bare", "CREATE TABLE public.stray (id int)", Refused),
];

#[tokio::test]
async fn each_role_can_do_exactly_what_it_should() {
    let server = Server::start(&ROLES).await;
    converge(&server, &wanted(&spec())).await;
    run(
        &server.login("clinical_db_admin", "clinical").await.unwrap(),
        MIGRATION,
    )
    .await;

    let mut wrong = Vec::new();
    let mut clients = BTreeMap::new();
    for role in ROLES {
        clients.insert(role, server.login(role, "clinical").await.unwrap());
    }
    for (role, sql, expected) in CASES {
        match outcome(&clients[role], sql).await {
            Ok(()) if *expected == Well => {}
            Err(error) if *expected == Refused && is_refused(&error) => {}
            other => wrong.push(format!(
                "{role}: {sql}: expected {expected:?}, got {other:?}"
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} statements", CASES.len());
}

/// Runs a statement and undoes it.
async fn outcome(client: &Client, sql: &str) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN").await?;
    let outcome = client.batch_execute(sql).await;
    client.batch_execute("ROLLBACK").await?;
    outcome
}

fn is_refused(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

#[tokio::test]
async fn roles_get_into_their_own_database_only() {
    let mut roles = ROLES.to_vec();
    roles.extend([
        "billing_db_admin",
        "billing_app_writer",
        "billing_app_reader",
    ]);
    let server = Server::start(&roles).await;
    let mut spec = spec();
    spec["databases"] = serde_json::json!([
        {"name": "clinical", "extensions": [], "schemas": [{"name": "app"}]},
        {"name": "billing", "extensions": [], "schemas": [{"name": "app"}]},
    ]);
    converge(&server, &wanted(&spec)).await;
    for role in ROLES {
        assert!(server.login(role, "clinical").await.is_ok(), "{role}");
        for database in ["billing", "postgres", "template1"] {
            let error = server.login(role, database).await.unwrap_err();
            assert!(is_refused(&error), "{role} in {database}: {error:?}");
        }
    }
    let error = server
        .login_with("clinical_app_reader", "wrong", "clinical")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));
}

/// The control role makes databases and roles, and by itself reads nothing that is in them.
#[tokio::test]
async fn the_control_role_reads_no_table_by_itself() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    converge(&server, &wanted).await;
    run(
        &server.login("clinical_db_admin", "clinical").await.unwrap(),
        MIGRATION,
    )
    .await;
    let client = server.control("clinical").await;
    for sql in [
        "SELECT * FROM app.note",
        "INSERT INTO audit.log (what) VALUES ('x')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "ALTER ROLE bailiwick_operator SUPERUSER",
        "CREATE ROLE stray REPLICATION",
        "GRANT pg_write_server_files TO clinical_app_writer",
        "CREATE EXTENSION dblink SCHEMA extensions",
    ] {
        let error = outcome(&client, sql).await.expect_err(sql);
        assert!(is_refused(&error), "{sql}: {error:?}");
    }
    // With tables and rows in place there is nothing to do either.
    let facts = super::observe(&server).await;
    assert_eq!(wanted.steps(&facts), []);
    assert_eq!(wanted.findings(&facts), Vec::<String>::new());
}
