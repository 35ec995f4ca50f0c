//! The archive on a real server: idle, working, failing, hanging and catching up.

use std::fs;
use std::time::Duration;

use bailiwick_model::facts::Observed;
use bailiwick_model::facts::postgres::ArchiverFact;
use bailiwick_model::sql::{ArchiveFailure, ArchiverHealth, archive_health, latest_restorable};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::run;
use super::server::Server;

const RPO: SignedDuration = SignedDuration::from_mins(5);

async fn archiver(server: &Server) -> ArchiverFact {
    match server
        .operator()
        .observe_archive(server.credentials())
        .await
    {
        Observed::Seen(fact) => fact,
        other => panic!("{other:?}\n{}", server.log()),
    }
}

/// Looks every half second until the verdict is as expected; returns the facts and after how long.
async fn until(
    server: &Server,
    what: &str,
    expected: impl Fn(&ArchiverHealth) -> bool,
) -> (ArchiverFact, Duration) {
    let begun = Instant::now();
    loop {
        let seen = archiver(server).await;
        let health = archive_health(&seen, false, RPO);
        if expected(&health) {
            return (seen, begun.elapsed());
        }
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{what}: still {health:?} after a minute: {seen:#?}"
        );
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_failing_archive_is_told_within_a_minute_and_an_idle_one_is_not() {
    let server = Server::start(&[]).await;
    let superuser = server.superuser("postgres").await;
    let write =
        "SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000)); SELECT pg_switch_wal()";

    let idle = archiver(&server).await;
    assert!(idle.enabled);
    assert_eq!(idle.timeout_seconds, 60);
    assert_eq!(archive_health(&idle, false, RPO), ArchiverHealth::Working);

    let begun = Timestamp::now();
    run(&superuser, write).await;
    let archived = loop {
        let seen = archiver(&server).await;
        if seen
            .archived_through
            .is_some_and(|through| through >= begun)
        {
            break seen;
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(archived.waiting, 0);
    assert!(archived.archived_through <= archived.last_archived_at);
    assert!(archived.writing > archived.last_archived);
    assert!(latest_restorable(&archived, None) <= archived.archived_through);

    // The command fails.
    fs::write(server.archive_switch("down"), "").unwrap();
    run(&superuser, write).await;
    let (failing, after) = until(&server, "failing", |health| {
        matches!(
            health,
            ArchiverHealth::Failing {
                reason: ArchiveFailure::CommandFailed,
                ..
            }
        )
    })
    .await;
    println!("a failing command is told after {after:?}");
    assert_eq!(failing.waiting, 1);
    assert!(failing.failures > archived.failures);
    let since = |fact: &ArchiverFact| match archive_health(fact, false, RPO) {
        ArchiverHealth::Failing { since, .. } => since,
        other => panic!("{other:?}"),
    };
    run(&superuser, write).await;
    let later = archiver(&server).await;
    assert_eq!(since(&later), since(&failing), "it moves while it lasts");
    assert_eq!(later.archived_through, archived.archived_through);

    // It works again. Postgres itself waits up to a minute after three failures.
    fs::remove_file(server.archive_switch("down")).unwrap();
    run(&superuser, "SELECT pg_reload_conf()").await;
    let (working, _) = until(&server, "working", |health| {
        *health == ArchiverHealth::Working
    })
    .await;
    assert!(working.last_archived > archived.last_archived);

    // The command hangs: no failure is counted.
    fs::write(server.archive_switch("hang"), "").unwrap();
    run(&superuser, write).await;
    let (hanging, after) = until(&server, "hanging", |health| {
        matches!(
            health,
            ArchiverHealth::Failing {
                reason: ArchiveFailure::Stalled,
                ..
            }
        )
    })
    .await;
    println!("a hanging command is told after {after:?}");
    assert_eq!(hanging.failures, working.failures);
    fs::remove_file(server.archive_switch("hang")).unwrap();
    until(&server, "working", |health| {
        *health == ArchiverHealth::Working
    })
    .await;
}
