//! Settings: that the list is the server's own, that what is taken is what the server takes, what is read back, and that no
//! setting and no crowd of clients keeps the operator out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;

use bailiwick_api::settings::{self, Kind, Setting};
use bailiwick_model::facts::postgres::RunningSettings;
use bailiwick_model::sql::step::SqlStep;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::server::Server;
use super::{ROLES, converge, observe, run, spec, wanted};

/// Every library of the image that has settings and is loaded at the server's start. pg_cron takes as many jobs as there are
/// connections.
const PRELOADED: &str = "-c max_connections=100 -c shared_preload_libraries=pg_cron,pgaudit,pg_stat_statements,auto_explain";
/// Those that a session loads.
const LOADED: &str = "LOAD 'vector'; LOAD 'pg_trgm'; LOAD 'pgcrypto'; LOAD 'plpgsql'; LOAD 'postgis-3'; \
                      LOAD 'postgis_sfcgal-3'";

async fn text(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (0..row.len()).map(|column| row.get(column)).collect())
        .collect()
}

#[tokio::test]
async fn the_table_is_the_servers() {
    let server = Server::start_with(&[], PRELOADED).await;
    let client = server.superuser("postgres").await;
    run(&client, LOADED).await;
    let found = text(
        &client,
        "SELECT lower(name), vartype, context, unit, min_val, max_val, array_to_string(enumvals, ';')
         FROM pg_settings WHERE context <> 'internal'",
    )
    .await;
    let mut looked_at = BTreeSet::new();
    for row in &found {
        let name = row[0].clone().unwrap();
        let Some(setting) = settings::all().get(name.as_str()) else {
            panic!("{name} is not in the list");
        };
        assert_eq!(row[1].as_deref(), Some(setting.kind.as_str()), "{name}");
        assert_eq!(row[2].as_deref(), Some(setting.context), "{name}");
        assert_eq!(row[3].as_deref(), setting.unit, "{name}");
        let range = row[4].as_deref().zip(row[5].as_deref());
        assert_eq!(range, setting.range, "{name}");
        if setting.kind == Kind::Enum {
            assert_eq!(
                row[6].as_deref(),
                Some(setting.words.join(";").as_str()),
                "{name}"
            );
        }
        looked_at.insert(name);
    }
    let missing: Vec<&&str> = settings::all()
        .keys()
        .filter(|name| !looked_at.contains(**name))
        .collect();
    assert!(missing.is_empty(), "the server has not {missing:?}");
    assert_eq!(looked_at.len(), 416);
}

/// Values at the edge of what the list takes of a setting.
fn edges(setting: &Setting) -> Vec<String> {
    match (setting.kind, setting.words.as_slice()) {
        (Kind::Bool, _) => ["on", "off", "tr", "N", "0"].map(str::to_owned).into(),
        (_, ["@zone"]) => settings::time_zones().map(str::to_owned).collect(),
        (_, ["@role"]) => vec!["auditor".to_owned()],
        (_, ["@classes"]) => vec!["all, -misc".to_owned(), "READ,write".to_owned()],
        (_, ["@checks"]) => vec!["shadowed_variables,too_many_rows".to_owned()],
        (_, words) if !words.is_empty() => words.iter().map(|it| (*it).to_owned()).collect(),
        _ => setting
            .range
            .into_iter()
            .flat_map(|(least, greatest)| [least.to_owned(), greatest.to_owned()])
            // Together with others it may not have so many: the Region's own bounds are far below.
            .filter(|value| value != "262143")
            // What the kernel gives is less; the Region's own bound is below that.
            .filter(|value| !(setting.name == "max_stack_depth" && value.len() > 4))
            .collect(),
    }
}

/// The server's own check of a value, without giving it to anybody.
async fn takes(client: &Client, name: &str, value: &str) -> bool {
    let name = name.replace('.', "\".\"");
    let value = value.replace('\'', "''");
    client
        .batch_execute(&format!("ALTER SYSTEM SET \"{name}\" = '{value}'"))
        .await
        .is_ok()
}

#[tokio::test]
async fn what_the_list_takes_the_server_takes() {
    let server = Server::start_with(&[], PRELOADED).await;
    let client = server.superuser("postgres").await;
    run(&client, LOADED).await;
    let mut taken = 0;
    for setting in settings::all().values().filter(|it| it.keeper.is_none()) {
        for value in edges(setting) {
            assert!(
                settings::canonical(setting, &value).is_ok(),
                "{}: {value}",
                setting.name
            );
            assert!(
                takes(&client, setting.name, &value).await,
                "{}: {value}",
                setting.name
            );
            taken += 1;
        }
    }
    assert!(taken > 1_500, "only {taken} values were tried");

    // What the list refuses by its grammar alone the server refuses too, or guesses.
    for (name, value) in [
        ("work_mem", "64mb"),
        ("work_mem", "64Mi"),
        ("work_mem", "8min"),
        ("work_mem", "63"),
        ("statement_timeout", "30S"),
        ("max_connections", "many"),
        ("max_connections", "100MB"),
        ("random_page_cost", "1,1"),
        ("checkpoint_completion_target", "90%"),
        ("log_lock_waits", "o"),
        ("log_lock_waits", "enabled"),
        ("wal_compression", "brotli"),
        ("datestyle", "Klingon"),
        ("lc_time", "xx_XX.UTF-8"),
        ("timezone", "Mars/Phobos"),
    ] {
        let setting = settings::allowed(name).unwrap();
        assert!(
            settings::canonical(setting, value).is_err(),
            "{name}: {value}"
        );
        assert!(!takes(&client, name, value).await, "{name}: {value}");
    }
}

#[tokio::test]
async fn settings_are_read_back_as_the_server_has_them() {
    let server = Server::start(&[]).await;
    let client = server.superuser("postgres").await;
    run(&client, "ALTER SYSTEM SET work_mem = '8MB'").await;
    run(&client, "ALTER SYSTEM SET timezone = 'Europe/Istanbul'").await;
    run(&client, "ALTER SYSTEM SET max_worker_processes = 9").await;
    run(&client, "SELECT pg_reload_conf()").await;
    let running = eventually(&server, |it| it.values["work_mem"] == "8192").await;
    // The operator's own sessions are in UTC; the others' are not.
    assert_eq!(running.values["timezone"], "Europe/Istanbul");
    assert!(running.pending.contains("max_worker_processes"));
    let work_mem = settings::allowed("work_mem").unwrap();
    let shown = running.values.get("work_mem").map(String::as_str);
    assert!(settings::is_shown(work_mem, "8MB", shown));
    assert!(!settings::is_shown(work_mem, "16MB", shown));

    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(server.configuration())
        .unwrap();
    writeln!(
        file,
        "log_timezone = 'Mars/Phobos'\npg_trgm.similarity_threshold = 0.4"
    )
    .unwrap();
    run(&client, "SELECT pg_reload_conf()").await;
    let running = eventually(&server, |it| {
        it.values.contains_key("pg_trgm.similarity_threshold")
    })
    .await;
    assert_eq!(
        refused(&running),
        [("log_timezone", "setting could not be applied")]
            .map(|(name, error)| (name.to_owned(), error.to_owned()))
            .into()
    );

    // One that there is not makes the server apply nothing of its files.
    writeln!(file, "max_conections = 200").unwrap();
    run(&client, "SELECT pg_reload_conf()").await;
    let running = eventually(&server, |it| refused(it).contains_key("max_conections")).await;
    assert_eq!(
        refused(&running),
        [("max_conections", "unrecognized configuration parameter")]
            .map(|(name, error)| (name.to_owned(), error.to_owned()))
            .into()
    );
}

/// What the server cannot take of its files. What only waits for its restart is there with the same words.
fn refused(running: &RunningSettings) -> BTreeMap<String, String> {
    running
        .refused
        .iter()
        .flatten()
        .filter(|(name, _)| !running.pending.contains(*name))
        .map(|(name, error)| (name.clone(), error.clone()))
        .collect()
}

/// The running settings, once they are as expected.
async fn eventually(
    server: &Server,
    expected: impl Fn(&RunningSettings) -> bool,
) -> RunningSettings {
    for _ in 0..100 {
        let running = observe(server).await.running.unwrap();
        if expected(&running) {
            return running;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!(
        "never: {:?}\n{}",
        observe(server).await.running,
        server.log()
    )
}

/// What a database, a role or the server is set to does not reach the operator's sessions, nor the superuser's, which
/// Patroni and pgBackRest are.
#[tokio::test]
async fn settings_of_databases_and_roles_do_not_stop_the_operator() {
    let server = Server::start(&ROLES).await;
    let mut spec = spec();
    converge(&server, &wanted(&spec)).await;
    let superuser = server.superuser("postgres").await;
    let mut set = 0;
    for (setting, value) in [
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("datestyle", "German, DMY"),
        ("intervalstyle", "sql_standard"),
        ("bytea_output", "escape"),
        ("timezone", "Asia/Tokyo"),
        ("statement_timeout", "1ms"),
        ("search_path", "nowhere"),
        ("standard_conforming_strings", "off"),
        ("quote_all_identifiers", "on"),
        ("transform_null_equals", "on"),
        ("array_nulls", "off"),
    ] {
        for whose in [
            "DATABASE clinical",
            "DATABASE postgres",
            "ROLE bailiwick_operator",
        ] {
            // The session of this test in database postgres may have it too.
            run(
                &superuser,
                &format!("BEGIN READ WRITE; ALTER {whose} SET {setting} = '{value}'; COMMIT"),
            )
            .await;
            set += 1;
        }
    }
    assert_eq!(set, 36);
    spec["roles"] = json!([{"name": "late", "login": true, "database": "clinical"}]);
    spec["databases"][0]["schemas"] = json!([{"name": "late"}]);
    let steps = wanted(&spec).steps(&observe(&server).await);
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, SqlStep::CreateRole { .. })),
        "{steps:#?}"
    );
    let mut server = server;
    server.renew_secret("late", "password-of-late");
    let facts = converge(&server, &wanted(&spec)).await;
    assert!(facts.roles.contains_key("late"));

    // The superuser's own settings win over those of the server and of a database.
    let shown = server.superuser("clinical").await;
    for (setting, expected) in [
        ("default_transaction_read_only", "off"),
        ("default_transaction_isolation", "read committed"),
        ("datestyle", "ISO, MDY"),
        ("statement_timeout", "0"),
    ] {
        let found = text(&shown, &format!("SHOW {setting}")).await;
        assert_eq!(found[0][0].as_deref(), Some(expected), "{setting}");
    }
}

#[tokio::test]
async fn the_operator_comes_in_when_clients_have_all_connections() {
    let server = Server::start_with(
        &ROLES,
        "-c max_connections=112 -c reserved_connections=6 -c superuser_reserved_connections=5",
    )
    .await;
    let mut spec = spec();
    converge(&server, &wanted(&spec)).await;
    let mut idle = Vec::new();
    let refused = loop {
        match server.login("bare", "clinical").await {
            Ok(client) => idle.push(client),
            Err(error) => break error,
        }
        assert!(idle.len() < 200, "nothing ends the clients");
    };
    assert_eq!(refused.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    assert!(idle.len() >= 95, "only {} clients came in", idle.len());
    // It reads, as both of its roles, and works; and so does Patroni's superuser.
    let facts = observe(&server).await;
    assert!(facts.running.is_some());
    spec["roles"] = json!([{"name": "late"}]);
    let facts = converge(&server, &wanted(&spec)).await;
    assert!(facts.roles.contains_key("late"));
    drop(server.superuser("postgres").await);
    println!("{} idle clients", idle.len());
}

#[tokio::test]
async fn a_step_that_fails_tells_the_code_and_no_value() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    let steps = wanted.steps(&observe(&server).await);
    let superuser = server.superuser("postgres").await;
    run(&superuser, "ALTER ROLE bailiwick_operator NOCREATEROLE").await;
    let step = steps
        .iter()
        .find(|step| matches!(step, SqlStep::CreateRole { .. }))
        .unwrap();
    let error = server
        .operator()
        .perform(step, server.credentials())
        .await
        .unwrap_err();
    assert_eq!(error.cause().as_deref(), Some("SQLSTATE 42501"));
}
