//! What leaves the spec: retained and named, or dropped when its mark says so.

use std::net::Ipv4Addr;

use bailiwick_model::sql::settle;
use bailiwick_model::sql::step::SqlStep;
use serde_json::{Value, json};

use super::server::Server;
use super::{ROLES, converge, observe, perform, run, settled, spec, wanted};

const EMPTY: [&str; 1] = ["billing"];

/// The spec with another database, and what becomes of it and of a role that owns something in `clinical`.
fn with_guests(reclaim: &str) -> Value {
    let mut spec = spec();
    spec["databases"].as_array_mut().unwrap().push(json!({
        "name": EMPTY[0], "extensions": [], "schemas": [{"name": "app"}], "reclaim": reclaim,
    }));
    spec["roles"].as_array_mut().unwrap().push(json!({
        "name": "guest", "login": true, "database": "clinical", "memberOf": ["clinical_app_writer"], "reclaim": reclaim,
    }));
    spec
}

async fn prepared(reclaim: &str) -> Server {
    let mut roles = ROLES.to_vec();
    roles.extend([
        "guest",
        "billing_db_admin",
        "billing_app_writer",
        "billing_app_reader",
    ]);
    let server = Server::start(&roles).await;
    converge(&server, &wanted(&with_guests(reclaim))).await;
    run(
        &server.login("billing_db_admin", "billing").await.unwrap(),
        "CREATE TABLE invoice (id int); INSERT INTO invoice VALUES (1)",
    )
    .await;
    let admin = server.login("clinical_db_admin", "clinical").await.unwrap();
    run(
        &admin,
        "CREATE TABLE note (id int); GRANT USAGE, CREATE ON SCHEMA app TO guest; GRANT SELECT ON note TO guest",
    )
    .await;
    run(
        &server.login("guest", "clinical").await.unwrap(),
        "CREATE TABLE app.scratch (id int); INSERT INTO app.scratch VALUES (7)",
    )
    .await;
    server
}

#[tokio::test]
async fn what_leaves_the_spec_stays_and_is_named() {
    let server = prepared("Retain").await;
    let before = settled(&observe(&server).await);
    let left = wanted(&spec());
    assert_eq!(left.steps(&before), []);
    assert_eq!(
        left.retained(&before),
        [
            "database billing",
            "role billing_app_reader",
            "role billing_app_writer",
            "role billing_db_admin",
            "role guest",
        ]
    );
    assert_eq!(left.findings(&before), Vec::<String>::new());
    // It serves as before.
    let client = server.login("billing_app_reader", "billing").await.unwrap();
    run(&client, "SELECT * FROM invoice").await;

    // A schema and an extension that leave stay too.
    let mut without = spec();
    without["databases"] =
        json!([{"name": "clinical", "extensions": ["pgcrypto"], "schemas": [{"name": "app"}]}]);
    let facts = converge(&server, &wanted(&without)).await;
    let retained = wanted(&without).retained(&facts);
    for expected in [
        "schema audit in database clinical",
        "extension postgis in database clinical",
        "extension uuid-ossp in database clinical",
    ] {
        assert!(retained.iter().any(|it| it == expected), "{retained:#?}");
    }
    // Back in the spec, they are taken up again as they were.
    assert_eq!(
        settled(&converge(&server, &wanted(&with_guests("Retain"))).await),
        before
    );
}

#[tokio::test]
async fn what_is_marked_for_deletion_is_dropped_even_while_it_is_used() {
    let server = prepared("Delete").await;
    let before = observe(&server).await;
    let left = wanted(&spec());
    let steps = left.steps(&before);
    assert_eq!(
        steps.first(),
        Some(&SqlStep::DropDatabase {
            database: "billing".to_owned()
        })
    );
    assert_eq!(steps.len(), 5, "{steps:#?}");
    let user = server.login("billing_app_writer", "billing").await.unwrap();
    run(&user, "SELECT * FROM invoice").await;
    let guest = server
        .login_from(Ipv4Addr::new(127, 0, 0, 2), "guest", "clinical")
        .await
        .unwrap();
    run(
        &guest,
        "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM app.scratch",
    )
    .await;

    let mut expected = settled(&before);
    for step in &steps {
        for _ in 0..2 {
            perform(&server, step).await;
        }
        settle(&mut expected, step);
    }
    let after = converge(&server, &left).await;
    // The table that the role owned is the administrator's now, so no object there belongs to anybody else.
    let app = |facts: &mut bailiwick_model::facts::postgres::PostgresFacts| {
        let inside = facts.databases.get_mut("clinical").unwrap().inside.as_mut();
        let objects = &mut inside.unwrap().schemas.get_mut("app").unwrap().objects;
        objects.retain(|of, _| of.of_schema_owner);
    };
    app(&mut expected);
    assert_eq!(settled(&after), expected);
    assert_eq!(left.retained(&after), Vec::<String>::new());
    assert!(user.batch_execute("SELECT 1").await.is_err());
    assert!(guest.batch_execute("FETCH 1 FROM held").await.is_err());
    assert!(server.login("guest", "clinical").await.is_err());
    // No row went with the role: what it owned in a database that stays is the administrator's.
    let admin = server.login("clinical_db_admin", "clinical").await.unwrap();
    let kept = admin
        .query_one(
            "SELECT tableowner::text, (SELECT id FROM app.scratch) FROM pg_tables WHERE tablename = 'scratch'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        (kept.get::<_, String>(0), kept.get::<_, i32>(1)),
        ("clinical_db_admin".to_owned(), 7)
    );
    // What others own is untouched.
    let reader = server
        .login("clinical_app_reader", "clinical")
        .await
        .unwrap();
    run(&reader, "SELECT * FROM note").await;
}

/// A role that owns something where nobody could take it over is not dropped, and nothing with it.
#[tokio::test]
async fn a_role_that_owns_what_has_no_heir_stays() {
    let server = prepared("Delete").await;
    let superuser = server.superuser("postgres").await;
    for (own, give_back) in [
        (
            "CREATE TABLE public.stray (id int); ALTER TABLE public.stray OWNER TO guest",
            "DROP TABLE public.stray",
        ),
        ("CREATE DATABASE stray OWNER guest", "DROP DATABASE stray"),
    ] {
        run(&superuser, own).await;
        let step = SqlStep::DropRole {
            role: "guest".to_owned(),
            databases: vec!["clinical".to_owned()],
        };
        let error = server
            .operator()
            .perform(&step, server.credentials())
            .await
            .unwrap_err();
        assert_eq!(
            error.failure,
            bailiwick_model::facts::ReadFailure::Forbidden
        );
        let said = error.source.unwrap().to_string();
        assert!(said.contains("role guest owns 1 "), "{said}");
        assert!(server.login("guest", "clinical").await.is_ok());
        run(&superuser, give_back).await;
    }
}

/// A database that was being dropped when it came back into the spec is opened again.
#[tokio::test]
async fn a_database_that_comes_back_is_opened_again() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    let before = settled(&converge(&server, &wanted).await);
    run(
        &server.superuser("postgres").await,
        "ALTER DATABASE clinical ALLOW_CONNECTIONS false",
    )
    .await;
    assert_eq!(
        wanted.steps(&observe(&server).await),
        [SqlStep::OpenDatabase {
            database: "clinical".to_owned()
        }]
    );
    assert_eq!(settled(&converge(&server, &wanted).await), before);
}
