//! The steps over SQL on a real server of our own image: from nothing, over and over, after drift, and what each role
//! then can and cannot do. Needs the image's root file system in `BAILIWICK_TEST_POSTGRES` and root; `make test` has
//! both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod archive;
mod bootstrap;
mod connection;
mod drift;
mod permissions;
mod removal;
mod server;
mod sessions;
mod settings;

use bailiwick_api::region;
use bailiwick_model::facts::postgres::{ArchiverFact, PasswordFact, PostgresFacts};
use bailiwick_model::names::Names;
use bailiwick_model::sql::WantedPostgres;
use bailiwick_model::sql::step::SqlStep;
use serde_json::{Value, json};

use self::server::{REGION, Server};

/// The roles that come with the database of [`spec`], and those of its list that log in.
const ROLES: [&str; 5] = [
    "clinical_db_admin",
    "clinical_app_writer",
    "clinical_app_reader",
    "export",
    "bare",
];

/// A spec with one database, as it is by default, and some roles.
fn spec() -> Value {
    json!({
        "version": 17,
        "instances": 1,
        "storage": {"data": {"size": "1Gi", "storageClass": "tr-ist-1"}},
        "databases": [{"name": "clinical"}],
        "roles": [
            {"name": "analysts", "memberOf": ["clinical_app_reader"]},
            {"name": "export", "login": true, "database": "clinical", "memberOf": ["analysts"], "connectionLimit": 3},
            {"name": "bare", "login": true, "database": "clinical"},
        ],
    })
}

/// What a spec wants.
fn wanted(spec: &Value) -> WantedPostgres {
    let spec: region::Postgres = serde_json::from_value(spec.clone()).unwrap();
    WantedPostgres::of(&Names::new(REGION), &spec)
}

/// What the operator sees.
async fn observe(server: &Server) -> PostgresFacts {
    match server.operator().read(server.credentials()).await {
        Ok(facts) => facts,
        Err(error) => panic!("not seen: {error:?}\n{}", server.log()),
    }
}

/// Does a step, and fails with the server's words when it cannot be done.
async fn perform(server: &Server, step: &SqlStep) {
    if let Err(error) = server.operator().perform(step, server.credentials()).await {
        panic!("{error}: {:?}\n{}", error.source, server.log());
    }
}

/// Looks and does until there is nothing to do; at most three times, which is the most that anything takes.
async fn converge(server: &Server, wanted: &WantedPostgres) -> PostgresFacts {
    for _ in 0..3 {
        let facts = observe(server).await;
        let steps = wanted.steps(&facts);
        if steps.is_empty() {
            return facts;
        }
        for step in &steps {
            perform(server, step).await;
        }
    }
    let facts = observe(server).await;
    let left = wanted.steps(&facts);
    assert!(left.is_empty(), "still to do: {left:#?}");
    facts
}

/// The facts without what moves by itself, and without the fingerprints, which only the adapter can make.
fn settled(facts: &PostgresFacts) -> PostgresFacts {
    let mut facts = PostgresFacts {
        archiver: ArchiverFact::default(),
        ..facts.clone()
    };
    for role in facts.roles.values_mut() {
        if let Some(mark) = &mut role.mark
            && mark.password.is_some()
        {
            mark.password = Some("set".to_owned());
        }
    }
    facts
}

/// Runs statements as somebody, and insists that they succeed.
async fn run(client: &tokio_postgres::Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {error:?}");
    }
}

/// The password facts of the roles that log in.
fn passwords(facts: &PostgresFacts) -> Vec<PasswordFact> {
    ROLES
        .iter()
        .map(|role| facts.roles[*role].password)
        .collect()
}
