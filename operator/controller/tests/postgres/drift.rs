//! What somebody changed behind the operator's back: stepped away where the control role can, said where it cannot.

use super::server::Server;
use super::{ROLES, converge, observe, run, settled, spec, wanted};

/// What a migration makes.
const MIGRATION: &str = "
    CREATE TABLE note (id serial PRIMARY KEY, body text);
    CREATE FUNCTION notes() RETURNS bigint LANGUAGE sql AS 'SELECT 1';
    CREATE TABLE audit.log (id serial PRIMARY KEY, what text);
    CREATE FUNCTION audit.tidy() RETURNS void LANGUAGE sql AS 'SELECT';
";

/// Who changes what, in which database.
const REPAIRED: &[(&str, &str, &str)] = &[
    (
        "postgres",
        "postgres",
        "ALTER ROLE clinical_app_writer CREATEDB",
    ),
    (
        "postgres",
        "postgres",
        "ALTER ROLE clinical_app_writer CREATEROLE",
    ),
    (
        "postgres",
        "postgres",
        "ALTER ROLE clinical_app_writer NOLOGIN",
    ),
    (
        "postgres",
        "postgres",
        "ALTER ROLE clinical_app_writer NOINHERIT",
    ),
    (
        "postgres",
        "postgres",
        "ALTER ROLE clinical_app_writer CONNECTION LIMIT 1",
    ),
    (
        "postgres",
        "postgres",
        "ALTER ROLE export CONNECTION LIMIT -1",
    ),
    (
        "postgres",
        "postgres",
        "ALTER ROLE clinical_app_writer VALID UNTIL '2001-01-01'",
    ),
    ("postgres", "postgres", "ALTER ROLE analysts LOGIN"),
    (
        "postgres",
        "postgres",
        "COMMENT ON ROLE clinical_app_writer IS NULL",
    ),
    (
        "postgres",
        "postgres",
        "COMMENT ON DATABASE clinical IS 'mine'",
    ),
    (
        "bailiwick_operator",
        "postgres",
        "GRANT clinical_db_admin TO clinical_app_writer",
    ),
    (
        "bailiwick_operator",
        "postgres",
        "GRANT clinical_app_reader TO analysts WITH ADMIN TRUE",
    ),
    (
        "bailiwick_operator",
        "postgres",
        "GRANT clinical_app_reader TO analysts WITH INHERIT FALSE",
    ),
    (
        "bailiwick_operator",
        "postgres",
        "REVOKE clinical_app_reader FROM analysts",
    ),
    (
        "bailiwick_operator",
        "postgres",
        "REVOKE clinical_db_admin FROM bailiwick_operator GRANTED BY bailiwick_operator",
    ),
    ("postgres", "clinical", "DROP OWNED BY bare; DROP ROLE bare"),
    (
        "postgres",
        "postgres",
        "GRANT CONNECT ON DATABASE clinical TO PUBLIC",
    ),
    (
        "postgres",
        "postgres",
        "GRANT CREATE ON DATABASE clinical TO clinical_db_admin",
    ),
    (
        "postgres",
        "postgres",
        "REVOKE CONNECT ON DATABASE clinical FROM clinical_app_reader",
    ),
    (
        "postgres",
        "postgres",
        "GRANT CONNECT ON DATABASE clinical TO clinical_app_writer WITH GRANT OPTION",
    ),
    (
        "postgres",
        "postgres",
        "ALTER DATABASE clinical SET search_path = public",
    ),
    (
        "postgres",
        "postgres",
        "ALTER DATABASE clinical RESET search_path",
    ),
    (
        "postgres",
        "clinical",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ),
    (
        "postgres",
        "clinical",
        "GRANT USAGE ON SCHEMA public TO clinical_app_reader",
    ),
    (
        "postgres",
        "clinical",
        "GRANT CREATE ON SCHEMA extensions TO clinical_app_writer",
    ),
    (
        "postgres",
        "clinical",
        "REVOKE USAGE ON SCHEMA extensions FROM clinical_app_reader",
    ),
    ("postgres", "clinical", "DROP EXTENSION pgcrypto"),
    ("postgres", "clinical", "DROP SCHEMA audit CASCADE"),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT CREATE ON SCHEMA app TO clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT USAGE ON SCHEMA app TO PUBLIC",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "REVOKE USAGE ON SCHEMA audit FROM clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT UPDATE ON audit.log TO clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT UPDATE (what) ON audit.log TO clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT DELETE, TRUNCATE ON audit.log TO clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT UPDATE ON SEQUENCE audit.log_id_seq TO clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT INSERT ON app.note TO clinical_app_reader",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT SELECT ON app.note TO PUBLIC",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT SELECT ON app.note TO clinical_app_writer WITH GRANT OPTION",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "GRANT EXECUTE ON FUNCTION app.notes() TO PUBLIC",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA audit GRANT UPDATE, DELETE ON TABLES TO clinical_app_writer",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE SELECT ON TABLES FROM clinical_app_reader",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    ),
    (
        "clinical_db_admin",
        "clinical",
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    ),
];

#[tokio::test]
async fn what_the_control_role_can_mend_is_mended() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    converge(&server, &wanted).await;
    let admin = server.login("clinical_db_admin", "clinical").await.unwrap();
    run(&admin, MIGRATION).await;
    let before = settled(&observe(&server).await);
    assert_eq!(wanted.steps(&before), []);

    for (who, database, sql) in REPAIRED {
        let client = match *who {
            "postgres" => server.superuser(database).await,
            "bailiwick_operator" => server.control(database).await,
            role => server.login(role, database).await.unwrap(),
        };
        run(&client, sql).await;
        let drifted = observe(&server).await;
        assert_ne!(wanted.steps(&drifted), [], "not seen: {sql}");
        let mut after = settled(&converge(&server, &wanted).await);
        let mut expected = before.clone();
        if sql.starts_with("DROP SCHEMA audit") {
            // What was in it is lost, and that is all.
            for facts in [&mut after, &mut expected] {
                let inside = facts.databases.get_mut("clinical").unwrap().inside.as_mut();
                inside
                    .unwrap()
                    .schemas
                    .get_mut("audit")
                    .unwrap()
                    .objects
                    .clear();
            }
            run(
                &admin,
                "CREATE TABLE audit.log (id serial PRIMARY KEY, what text)",
            )
            .await;
            run(
                &admin,
                "CREATE FUNCTION audit.tidy() RETURNS void LANGUAGE sql AS 'SELECT'",
            )
            .await;
        }
        assert_eq!(after, expected, "not mended: {sql}");
        assert_eq!(wanted.findings(&after), Vec::<String>::new(), "{sql}");
    }
    println!("{} cases", REPAIRED.len());
}

/// A change that only a superuser can undo, what the finding says, and the superuser's remedy.
const REPORTED: &[(&str, &str, &str, &str)] = &[
    (
        "postgres",
        "ALTER ROLE clinical_app_writer SUPERUSER",
        "role clinical_app_writer is SUPERUSER",
        "ALTER ROLE clinical_app_writer NOSUPERUSER",
    ),
    (
        "postgres",
        "ALTER ROLE clinical_app_writer REPLICATION",
        "role clinical_app_writer is REPLICATION",
        "ALTER ROLE clinical_app_writer NOREPLICATION",
    ),
    (
        "postgres",
        "ALTER ROLE clinical_app_writer BYPASSRLS",
        "role clinical_app_writer is BYPASSRLS",
        "ALTER ROLE clinical_app_writer NOBYPASSRLS",
    ),
    (
        "postgres",
        "CREATE ROLE stranger SUPERUSER",
        "role stranger is SUPERUSER",
        "DROP ROLE stranger",
    ),
    (
        "postgres",
        "GRANT pg_write_server_files TO clinical_app_writer",
        "role clinical_app_writer is a member of pg_write_server_files",
        "REVOKE pg_write_server_files FROM clinical_app_writer",
    ),
    (
        "postgres",
        "GRANT pg_execute_server_program TO bare",
        "role bare is a member of pg_execute_server_program",
        "REVOKE pg_execute_server_program FROM bare",
    ),
    (
        "postgres",
        "GRANT clinical_app_writer TO bare",
        "role bare is a member of clinical_app_writer",
        "REVOKE clinical_app_writer FROM bare",
    ),
    (
        "postgres",
        "ALTER DATABASE clinical OWNER TO clinical_db_admin",
        "database clinical belongs to clinical_db_admin",
        "ALTER DATABASE clinical OWNER TO bailiwick_operator",
    ),
    (
        "clinical",
        "ALTER SCHEMA app OWNER TO clinical_app_writer",
        "schema app in database clinical belongs to clinical_app_writer",
        "ALTER SCHEMA app OWNER TO clinical_db_admin",
    ),
    (
        "clinical",
        "CREATE EXTENSION dblink SCHEMA extensions",
        "extension dblink in database clinical is not one that a Region may have",
        "DROP EXTENSION dblink",
    ),
    (
        "clinical",
        "CREATE TABLE audit.theirs (id int); GRANT UPDATE ON audit.theirs TO clinical_app_writer",
        "clinical_app_writer has UPDATE on an object of schema audit",
        "DROP TABLE audit.theirs",
    ),
    (
        "clinical",
        "CREATE FOREIGN DATA WRAPPER out; CREATE SERVER out FOREIGN DATA WRAPPER out",
        "database clinical has 1 foreign server",
        "DROP FOREIGN DATA WRAPPER out CASCADE",
    ),
    (
        "clinical",
        "CREATE PUBLICATION out FOR ALL TABLES",
        "database clinical has 1 publication",
        "DROP PUBLICATION out",
    ),
];

#[tokio::test]
async fn what_only_a_superuser_can_mend_is_said() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    let before = settled(&converge(&server, &wanted).await);
    for (database, sql, said, remedy) in REPORTED {
        let superuser = server.superuser(database).await;
        run(&superuser, sql).await;
        // Whatever else is to do can be done: one thing that cannot stops nothing.
        let drifted = converge(&server, &wanted).await;
        let findings = wanted.findings(&drifted);
        assert!(
            findings.iter().any(|finding| finding.contains(said)),
            "{sql}: {findings:#?}"
        );
        run(&superuser, remedy).await;
        let after = settled(&converge(&server, &wanted).await);
        assert_eq!(wanted.findings(&after), Vec::<String>::new(), "{remedy}");
        assert_eq!(after, before, "{remedy}");
    }
    println!("{} cases", REPORTED.len());
}

/// A migration may take a right from a writer or reader on an object of its own, and give a routine to a reader.
#[tokio::test]
async fn what_a_migration_may_decide_stays() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    converge(&server, &wanted).await;
    let admin = server.login("clinical_db_admin", "clinical").await.unwrap();
    run(&admin, MIGRATION).await;
    run(
        &admin,
        "REVOKE DELETE ON app.note FROM clinical_app_writer;
         GRANT EXECUTE ON FUNCTION app.notes() TO clinical_app_reader;
         GRANT EXECUTE ON FUNCTION audit.tidy() TO clinical_app_writer;
         GRANT USAGE ON SCHEMA app TO bare;
         GRANT SELECT ON app.note TO bare",
    )
    .await;
    let facts = observe(&server).await;
    assert_eq!(wanted.steps(&facts), []);
    assert_eq!(wanted.findings(&facts), Vec::<String>::new());
    let bare = server.login("bare", "clinical").await.unwrap();
    run(&bare, "SELECT * FROM app.note").await;
}
