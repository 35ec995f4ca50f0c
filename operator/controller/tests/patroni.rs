//! Patroni's adapter against members that answer as Patroni does: what it reads, what it asks for, and what it makes
//! of members that are down, slow, strange or in between two states.
#![allow(clippy::expect_used, reason = "a test that cannot be set up must end")]

#[path = "patroni_server/mod.rs"]
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::facts::patroni::{MemberRole, SettingChange, UNREACHABLE};
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_operator::error::StepError;
use bailiwick_operator::patroni::Patroni;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use server::{Answer, Authority, Member};

/// Two members, the first the primary, and a client of them.
struct World {
    authority: Authority,
    primary: Member,
    replica: Member,
}

impl World {
    async fn healthy() -> Self {
        let authority = Authority::new();
        let world = Self {
            primary: Member::listen(&authority).await,
            replica: Member::listen(&authority).await,
            authority,
        };
        world
            .primary
            .answers("GET /patroni", Answer::json(&primary(3_000)));
        world
            .replica
            .answers("GET /patroni", Answer::json(&replica(2_900)));
        for member in [&world.primary, &world.replica] {
            member.answers("GET /cluster", Answer::json(&cluster("tr-pg-0")));
            member.answers("GET /config", Answer::json(&json!({"ttl": 30})));
        }
        world
    }

    fn client(&self) -> Patroni {
        self.client_of(&[
            ("tr-pg-0", &self.primary.url),
            ("tr-pg-1", &self.replica.url),
        ])
    }

    fn client_of(&self, members: &[(&str, &str)]) -> Patroni {
        let identity = self
            .authority
            .identity("bailiwick.tr", ExtendedKeyUsagePurpose::ClientAuth);
        let members = members
            .iter()
            .map(|(name, url)| ((*name).to_owned(), (*url).to_owned()))
            .collect();
        Patroni::new(
            &members,
            self.authority.pem().as_bytes(),
            identity.certificate.as_bytes(),
            identity.key.as_bytes(),
        )
        .expect("a client")
    }
}

/// What a primary says of itself.
fn primary(written: i64) -> Value {
    json!({
        "state": "running", "role": "primary", "server_version": 170_012, "timeline": 2,
        "xlog": {"location": written}, "database_system_identifier": "7391000000000000001",
        "replication": [{"usename": "bailiwick_replication", "state": "streaming"}],
        "dcs_last_seen": 1_764_000_000, "patroni": {"version": "4.0.7", "scope": "tr-pg", "name": "tr-pg-0"},
    })
}

/// What a replica says of itself.
fn replica(replayed: i64) -> Value {
    json!({
        "state": "running", "role": "replica", "server_version": 170_012, "timeline": 2,
        "xlog": {"received_location": replayed, "replayed_location": replayed, "replayed_timestamp": null, "paused": false},
        "sync_standby": true, "replication_state": "streaming", "database_system_identifier": "7391000000000000001",
        "dcs_last_seen": 1_764_000_000, "patroni": {"version": "4.0.7", "scope": "tr-pg", "name": "tr-pg-1"},
    })
}

/// What any member says of the cluster.
fn cluster(leader: &str) -> Value {
    let role = |name| {
        if name == leader {
            "leader"
        } else {
            "sync_standby"
        }
    };
    json!({"scope": "tr-pg", "members": [
        {"name": "tr-pg-0", "role": role("tr-pg-0"), "state": "running", "timeline": 2},
        {"name": "tr-pg-1", "role": role("tr-pg-1"), "state": "streaming", "timeline": 2, "lag": 0},
    ]})
}

#[tokio::test]
async fn members_are_read_as_they_are() {
    let world = World::healthy().await;
    let mut waiting = replica(2_900);
    waiting["pending_restart"] = json!(true);
    waiting["pending_restart_reason"] =
        json!({"max_connections": {"old_value": "100", "new_value": "200"}});
    world
        .replica
        .answers("GET /patroni", Answer::json(&waiting));

    let facts = world.client().observe().await.expect("facts");
    assert_eq!(facts.primary(), Some("tr-pg-0"));
    assert_eq!(
        facts.system_identifier.as_deref(),
        Some("7391000000000000001")
    );
    assert_eq!(facts.config, json!({"ttl": 30}));
    let standby = &facts.members["tr-pg-1"];
    assert_eq!(standby.role, MemberRole::SyncStandby);
    assert_eq!(standby.state, "streaming");
    assert_eq!(standby.timeline, Some(2));
    assert_eq!(standby.lag_bytes, Some(100));
    assert!(standby.pending_restart);
    let change = SettingChange {
        from: "100".to_owned(),
        to: "200".to_owned(),
    };
    assert_eq!(
        standby.pending_settings,
        BTreeMap::from([("max_connections".to_owned(), change)])
    );
    assert!(
        facts
            .members
            .values()
            .all(bailiwick_model::facts::patroni::MemberFact::serves)
    );
}

#[tokio::test]
async fn a_member_that_is_down_is_unreachable_whatever_the_others_believe() {
    let world = World::healthy().await;
    let gone = world.client_of(&[
        ("tr-pg-0", &world.primary.url),
        ("tr-pg-1", "https://127.0.0.1:1/"),
    ]);
    let facts = gone.observe().await.expect("facts");
    assert_eq!(facts.members["tr-pg-1"].state, UNREACHABLE);
    assert!(!facts.members["tr-pg-1"].serves());
    assert_eq!(facts.primary(), Some("tr-pg-0"));

    let headless = world.client_of(&[
        ("tr-pg-0", "https://127.0.0.1:1/"),
        ("tr-pg-1", &world.replica.url),
    ]);
    let facts = headless.observe().await.expect("facts");
    assert_eq!(facts.primary(), None, "the replica still believes in it");
}

#[tokio::test]
async fn between_two_primaries_there_is_none() {
    let world = World::healthy().await;
    // The lock has moved, the replica has not been promoted yet.
    for member in [&world.primary, &world.replica] {
        member.answers("GET /cluster", Answer::json(&cluster("tr-pg-1")));
    }
    let facts = world.client().observe().await.expect("facts");
    assert_eq!(facts.primary(), None);
    assert!(
        !facts.members["tr-pg-0"].serves(),
        "neither does the former one serve"
    );

    world
        .primary
        .answers("GET /patroni", Answer::json(&replica(2_900)));
    world
        .replica
        .answers("GET /patroni", Answer::json(&primary(3_100)));
    let facts = world.client().observe().await.expect("facts");
    assert_eq!(facts.primary(), Some("tr-pg-1"));
}

#[tokio::test]
async fn a_member_that_is_being_made_does_not_serve() {
    let world = World::healthy().await;
    let making = json!({"state": "creating replica", "role": "uninitialized", "patroni": {"name": "tr-pg-1"}});
    world.replica.answers("GET /patroni", Answer::json(&making));
    let facts = world.client().observe().await.expect("facts");
    assert_eq!(facts.members["tr-pg-1"].state, "creating replica");
    assert!(!facts.members["tr-pg-1"].serves());
}

/// Why no member could be read: the word and the cause.
async fn why(client: &Patroni) -> (ReadFailure, String) {
    let unread = client.observe().await.expect_err("nobody could be read");
    (unread.failure, unread.cause.expect("a cause"))
}

/// What a step that failed says in the status and in the log: the word, the cause and the whole chain of its errors.
fn told(error: &StepError) -> (ReadFailure, String, String) {
    let mut chain = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        chain = format!("{chain}: {source}");
        next = source.source();
    }
    (error.failure, error.cause().expect("a cause"), chain)
}

#[tokio::test]
async fn a_step_that_failed_tells_the_member_and_what_it_said_and_no_value() {
    let world = World::healthy().await;
    let client = world.client();
    let patch = || PatroniStep::PatchConfig(json!({"ttl": 40}));
    let restart = || PatroniStep::Restart {
        member: "tr-pg-1".to_owned(),
    };
    let switchover = || PatroniStep::Switchover {
        from: "tr-pg-0".to_owned(),
        to: "tr-pg-1".to_owned(),
    };
    let table = [
        (
            patch(),
            "PATCH /config",
            400,
            "Invalid value hunter2",
            ReadFailure::Malformed,
            "tr-pg-0 /config: HTTP 400",
        ),
        (
            patch(),
            "PATCH /config",
            401,
            "not authenticated as hunter2",
            ReadFailure::Unauthenticated,
            "tr-pg-0 /config: HTTP 401, not authenticated",
        ),
        (
            patch(),
            "PATCH /config",
            403,
            "client certificate required",
            ReadFailure::Forbidden,
            "tr-pg-0 /config: HTTP 403, client certificate required",
        ),
        (
            patch(),
            "PATCH /config",
            409,
            "",
            ReadFailure::NotReady,
            "tr-pg-0 /config: HTTP 409",
        ),
        (
            restart(),
            "POST /restart",
            503,
            "restart failed: FATAL: hunter2",
            ReadFailure::NotReady,
            "tr-pg-1 /restart: HTTP 503, restart failed",
        ),
        (
            switchover(),
            "POST /switchover",
            412,
            "switchover is not possible: no good candidates have been found",
            ReadFailure::NotReady,
            "tr-pg-0 /switchover: HTTP 412, no good candidates have been found",
        ),
        (
            switchover(),
            "POST /switchover",
            503,
            "Switchover failed, details: hunter2",
            ReadFailure::NotReady,
            "tr-pg-0 /switchover: HTTP 503, Switchover failed",
        ),
        (
            switchover(),
            "POST /switchover",
            403,
            "Access is denied: hunter2",
            ReadFailure::Forbidden,
            "tr-pg-0 /switchover: HTTP 403, Access is denied",
        ),
        (
            restart(),
            "POST /restart",
            401,
            "no auth header received",
            ReadFailure::Unauthenticated,
            "tr-pg-1 /restart: HTTP 401, no auth header received",
        ),
    ];
    for (step, line, status, said, failure, expected) in table {
        for member in [&world.primary, &world.replica] {
            member.answers(line, Answer::text(status, said));
        }
        let error = client.perform(&step).await.expect_err("it was refused");
        let (found, cause, chain) = told(&error);
        assert_eq!((found, cause.as_str()), (failure, expected));
        assert!(!chain.contains("hunter2"), "{chain}");
    }
}

#[tokio::test]
async fn why_nobody_could_be_read_is_told() {
    let world = World::healthy().await;
    let nobody = world.client_of(&[("tr-pg-0", "https://127.0.0.1:1/")]);
    assert_eq!(
        why(&nobody).await,
        (
            ReadFailure::Unreachable,
            "tr-pg-0 /patroni: ECONNREFUSED".to_owned()
        )
    );

    let strange = Authority::new();
    let stranger = Member::listen(&strange).await;
    stranger.answers("GET /patroni", Answer::json(&primary(1)));
    let client = world.client_of(&[("tr-pg-0", &stranger.url)]);
    assert_eq!(
        why(&client).await,
        (
            ReadFailure::Untrusted,
            "tr-pg-0 /patroni: TLS BadSignature".to_owned()
        )
    );

    world
        .primary
        .answers("GET /patroni", Answer::text(200, "<html>"));
    let client = world.client_of(&[("tr-pg-0", &world.primary.url)]);
    assert_eq!(
        why(&client).await,
        (
            ReadFailure::Malformed,
            "tr-pg-0 /patroni: JSON Syntax at line 1, column 1".to_owned()
        )
    );

    world
        .primary
        .answers("GET /patroni", Answer::json(&primary(1)));
    world.primary.answers("GET /cluster", Answer::text(503, ""));
    assert_eq!(
        why(&client).await,
        (
            ReadFailure::NotReady,
            "tr-pg-0 /cluster: HTTP 503".to_owned()
        )
    );
}

#[tokio::test]
async fn without_a_configuration_there_is_nothing_to_compare() {
    let world = World::healthy().await;
    world.primary.answers("GET /config", Answer::text(502, ""));
    let facts = world.client().observe().await.expect("facts");
    assert_eq!(facts.config, Value::Null);
}

#[tokio::test]
async fn each_step_is_asked_for_with_a_certificate() {
    let world = World::healthy().await;
    let client = world.client();
    world
        .primary
        .answers("PATCH /config", Answer::json(&json!({"ttl": 40})));
    world
        .replica
        .answers("POST /restart", Answer::text(200, "restarted successfully"));
    world.primary.answers(
        "POST /switchover",
        Answer::text(200, "Successfully switched over to \"tr-pg-1\""),
    );
    for step in [
        PatroniStep::PatchConfig(json!({"ttl": 40})),
        PatroniStep::Restart {
            member: "tr-pg-1".to_owned(),
        },
        PatroniStep::Switchover {
            from: "tr-pg-0".to_owned(),
            to: "tr-pg-1".to_owned(),
        },
    ] {
        client.perform(&step).await.expect("the step is done");
    }
    let asked = |member: &Member| {
        member
            .changes()
            .into_iter()
            .map(|it| {
                assert!(it.certified);
                (it.line, it.body.unwrap_or_default())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        asked(&world.primary),
        [
            ("PATCH /config".to_owned(), json!({"ttl": 40})),
            (
                "POST /switchover".to_owned(),
                json!({"leader": "tr-pg-0", "candidate": "tr-pg-1"})
            ),
        ]
    );
    assert_eq!(
        asked(&world.replica),
        [("POST /restart".to_owned(), json!({"restart_pending": true}))]
    );
}

#[tokio::test]
async fn what_is_done_already_is_done() {
    let world = World::healthy().await;
    let client = world.client();
    let restart = PatroniStep::Restart {
        member: "tr-pg-1".to_owned(),
    };
    let switchover = PatroniStep::Switchover {
        from: "tr-pg-0".to_owned(),
        to: "tr-pg-1".to_owned(),
    };
    for said in [
        "restart conditions are not satisfied",
        "restart already in progress",
        "postgres is still starting",
    ] {
        world
            .replica
            .answers("POST /restart", Answer::text(503, said));
        client.perform(&restart).await.expect(said);
    }
    world.primary.answers(
        "POST /switchover",
        Answer::text(412, "leader name does not match"),
    );
    client
        .perform(&switchover)
        .await
        .expect("somebody else did it");

    world
        .replica
        .answers("POST /restart", Answer::text(503, "restart failed"));
    let error = client.perform(&restart).await.expect_err("it failed");
    assert_eq!(
        error.to_string(),
        "patroni: restart Postgres of tr-pg-1: NotReady"
    );
    world.primary.answers(
        "POST /switchover",
        Answer::text(
            412,
            "switchover is not possible: no good candidates have been found",
        ),
    );
    let error = client
        .perform(&switchover)
        .await
        .expect_err("it was refused");
    assert_eq!(error.failure, ReadFailure::NotReady);
}

#[tokio::test]
async fn a_patch_goes_to_the_next_member_when_one_is_down() {
    let world = World::healthy().await;
    let client = world.client_of(&[
        ("tr-pg-0", "https://127.0.0.1:1/"),
        ("tr-pg-1", &world.replica.url),
    ]);
    world
        .replica
        .answers("PATCH /config", Answer::json(&json!({})));
    let step = PatroniStep::PatchConfig(json!({"ttl": 40}));
    client.perform(&step).await.expect("the other takes it");
    world
        .replica
        .answers("PATCH /config", Answer::text(409, ""));
    let error = client
        .perform(&step)
        .await
        .expect_err("somebody else wrote");
    assert_eq!(error.failure, ReadFailure::NotReady);
}

#[tokio::test]
async fn a_restart_that_takes_long_goes_on() {
    let world = World::healthy().await;
    world.replica.answers(
        "POST /restart",
        Answer {
            after: Duration::from_secs(30),
            ..Answer::text(200, "restarted successfully")
        },
    );
    let step = PatroniStep::Restart {
        member: "tr-pg-1".to_owned(),
    };
    world.client().perform(&step).await.expect("it goes on");
    let gone = world.client_of(&[("tr-pg-1", "https://127.0.0.1:1/")]);
    let error = gone.perform(&step).await.expect_err("it was never asked");
    let (found, cause, _) = told(&error);
    assert_eq!(
        (found, cause.as_str()),
        (ReadFailure::Unreachable, "tr-pg-1 /restart: ECONNREFUSED")
    );
}
