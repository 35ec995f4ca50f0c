//! From what the image's bootstrap leaves to what the spec wants, step by step.

use bailiwick_model::facts::postgres::PasswordFact;
use bailiwick_model::sql::{EXTENSIONS, SCHEMA_OF_EXTENSIONS, settle};

use super::server::Server;
use super::{ROLES, converge, observe, passwords, perform, run, settled, spec, wanted};

/// After every step, a crash would leave exactly the steps that had not been done; doing a step again, as after a
/// lost answer, changes nothing; and what is seen is what the model of the steps says.
#[tokio::test]
async fn every_step_brings_exactly_the_rest_nearer() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    let before = observe(&server).await;
    assert_eq!(wanted.findings(&before), Vec::<String>::new());
    assert_eq!(wanted.retained(&before), Vec::<String>::new());
    let steps = wanted.steps(&before);
    assert!(steps.len() > 30, "{steps:#?}");

    let mut expected = settled(&before);
    for (index, step) in steps.iter().enumerate() {
        for _ in 0..2 {
            perform(&server, step).await;
        }
        settle(&mut expected, step);
        let seen = observe(&server).await;
        assert_eq!(settled(&seen), expected, "after {}", step.describe());
        assert_eq!(
            wanted.steps(&seen),
            steps[index + 1..],
            "after {}",
            step.describe()
        );
    }

    let after = converge(&server, &wanted).await;
    assert_eq!(passwords(&after), [PasswordFact::Current; 5]);
    assert_eq!(wanted.findings(&after), Vec::<String>::new());
    assert_eq!(wanted.retained(&after), Vec::<String>::new());
    println!("{} steps, each done twice", steps.len());
}

/// Every extension that a spec may ask for is in the image, can be made without a superuser, and serves those whom it
/// is for.
#[tokio::test]
async fn every_extension_can_be_made_and_used() {
    let settings = "-c shared_preload_libraries=pg_cron,pgaudit -c cron.database_name=clinical \
        -c cron.use_background_workers=on";
    let server = Server::start_with(&ROLES, settings).await;
    let mut spec = spec();
    spec["databases"][0]["extensions"] = serde_json::json!(EXTENSIONS);
    let wanted = wanted(&spec);
    let facts = converge(&server, &wanted).await;
    assert_eq!(wanted.findings(&facts), Vec::<String>::new());
    assert_eq!(wanted.retained(&facts), Vec::<String>::new());
    let made = &facts.databases["clinical"]
        .inside
        .as_ref()
        .unwrap()
        .extensions;
    for extension in EXTENSIONS {
        let expected = match *extension {
            "pg_cron" => "pg_catalog",
            _ => SCHEMA_OF_EXTENSIONS,
        };
        assert_eq!(
            made.get(*extension).map(|it| it.schema.as_str()),
            Some(expected),
            "{extension}"
        );
    }

    let admin = server.login("clinical_db_admin", "clinical").await.unwrap();
    run(
        &admin,
        "CREATE TABLE note (id int, meaning vector(3), tags hstore, name citext);
         CREATE INDEX ON note USING hnsw (meaning vector_l2_ops);
         CREATE INDEX ON note USING gin (name gin_trgm_ops);
         SELECT cron.schedule('tidy', '0 3 * * *', 'SELECT 1')",
    )
    .await;
    let reader = server
        .login("clinical_app_reader", "clinical")
        .await
        .unwrap();
    run(
        &reader,
        "SELECT meaning <-> '[1,2,3]', tags -> 'a', name = 'A', unaccent('é') FROM note",
    )
    .await;
    let refused = reader
        .batch_execute("SELECT cron.schedule('stray', '0 3 * * *', 'SELECT 1')")
        .await;
    assert!(refused.is_err());
}
