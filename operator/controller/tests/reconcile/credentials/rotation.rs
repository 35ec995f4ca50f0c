//! Keys and passwords that are edited, deleted or made anew.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{SOON, deleted, encoded, key, names, pods};
use crate::support;
use crate::support::fake_api::Key;
use crate::support::harness::{Harness, USER};
use crate::support::journal::Call;

#[tokio::test]
async fn an_edited_password_is_seen_within_half_a_minute_and_only_what_changed_is_read() {
    let mut harness = Harness::running().await;
    let login = key("secrets", &names().postgres_role("clinical_app_writer"));
    harness.api.edit(&login, USER, |secret| {
        secret["data"]["password"] = encoded("chosen by a person");
    });
    // Until then nothing is asked.
    harness.now_is(SignedDuration::from_secs(14));
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
    harness.now_is(SOON);
    let look = harness.look().await;
    look.result.unwrap();
    let uri = harness.api.get(&login).unwrap()["data"]["uri"].clone();
    assert_eq!(
        uri,
        encoded(
            "postgresql://clinical_app_writer:chosen%20by%20a%20person@tr-pg-rw.tr.svc:5432/clinical?sslmode=verify-full\
             &sslrootcert=/etc/bailiwick/postgres/ca.crt"
        )
    );
    harness.settle().await;
    let steps: Vec<String> = harness
        .journal
        .take()
        .iter()
        .filter(|call| call.verb == "step")
        .map(|call| call.name.clone())
        .collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].contains("clinical_app_writer"), "{steps:?}");

    // A glance at what did not change is one request a Secret and reads no values.
    harness.now_is(SOON + SOON);
    let calls = harness.look().await.calls;
    let gets = calls.iter().filter(|call| call.verb == "get").count();
    let writes = calls.iter().filter(|call| call.is_write()).count();
    assert_eq!((gets, writes), (GLANCES, 0), "{calls:?}");
    harness.now_is(SOON + SOON + SignedDuration::from_secs(14));
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

/// How many Secrets of `tr` people edit or processes depend on: keys, passwords and logins.
const GLANCES: usize = 11;

#[tokio::test]
async fn a_key_that_is_deleted_is_put_back_as_it_was_while_it_is_remembered() {
    let keys = [
        names().authority(),
        names().postgres_internal(),
        names().backup_key(),
        names().object_store_key(),
    ];
    let mut count = 0;
    for name in keys {
        let mut harness = Harness::running().await;
        let secret = key("secrets", &name);
        let before = harness.api.get(&secret).unwrap();
        let running = [pods(&harness, "tr-pg-"), pods(&harness, "tr-s3-")];
        harness.api.remove(&secret);
        harness.now_is(SOON);
        harness.settle().await;
        let after = harness.api.get(&secret).unwrap();
        assert_eq!(after["data"], before["data"], "{name}");
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(harness.condition("Accepted").0, "True", "{name}");
        assert_eq!(harness.condition("Progressing").0, "False", "{name}");
        // What has the same values needs no restart.
        assert_eq!(
            [pods(&harness, "tr-pg-"), pods(&harness, "tr-s3-")],
            running,
            "{name}"
        );
        count += 1;
    }
    assert_eq!(count, 4);
}

#[tokio::test]
async fn a_new_user_of_the_archive_reaches_the_members_one_at_a_time_replicas_first() {
    let mut harness = Harness::running().await;
    let before = pods(&harness, "tr-pg-");
    assert_eq!(before.len(), 2);
    let leader = harness.world.of("tr").leader.unwrap();
    harness.api.remove(&key("secrets", "tr-s3-user-pgbackrest"));
    harness.now_is(SOON);

    let mut most_away = 0;
    let mut said = Vec::new();
    for _ in 0..40 {
        harness.look().await.result.unwrap();
        let ready = before
            .iter()
            .filter(|(name, _)| {
                harness
                    .api
                    .is(&key("pods", name), support::cluster::is_ready)
            })
            .count();
        most_away = most_away.max(2 - ready);
        let (state, reason, message) = harness.condition("Progressing");
        if reason == "CredentialsReplaced" {
            assert_eq!(state, "True");
            said.push(message);
        }
        harness.turn();
    }
    let after = pods(&harness, "tr-pg-");
    assert_eq!(after.len(), 2);
    for ((name, old), (_, new)) in before.iter().zip(&after) {
        assert_ne!(old, new, "{name} runs with the key before");
    }
    assert_eq!(most_away, 1);
    let calls = harness.journal.take();
    let gone = deleted(&calls, "pods");
    assert_eq!(gone.len(), 2, "{gone:?}");
    assert_eq!(gone[1], format!("tr/{leader}"), "{gone:?}");
    assert!(
        said.iter()
            .any(|it| it.contains("Secret tr-s3-user-pgbackrest") && it.contains("tr-pg-0")),
        "{said:?}"
    );
    let (state, reason, message) = harness.condition("Progressing");
    assert_eq!(state, "False", "{reason}: {message}");
    assert_eq!(harness.condition("Ready").0, "True");
}

#[tokio::test]
async fn new_root_credentials_restart_all_servers_of_the_store_at_once_and_once() {
    let mut harness = Harness::running().await;
    let before = pods(&harness, "tr-s3-");
    let postgres = pods(&harness, "tr-pg-");
    harness.api.remove(&key("secrets", "tr-s3-root"));
    harness.now_is(SOON);
    // The new one is made, and then the servers are found not to take it.
    harness.look().await.result.unwrap();
    let look = harness.look().await;
    assert_eq!(
        deleted(&look.calls, "pods"),
        ["tr/tr-s3-0"],
        "{:?}",
        look.calls
    );
    look.result.unwrap();
    let mut reasons = Vec::new();
    for _ in 0..20 {
        let (_, reason, message) = harness.condition("ObjectStoreAvailable");
        if reason == "CredentialsReplaced" {
            assert!(
                message.contains("Secret tr-s3-root") && message.contains("tr-s3-0"),
                "{message}"
            );
        }
        reasons.push(reason);
        harness.turn();
        harness.look().await.result.unwrap();
    }
    assert!(
        reasons.iter().any(|it| it == "CredentialsReplaced"),
        "{reasons:?}"
    );
    let after = pods(&harness, "tr-s3-");
    assert_eq!(after.len(), before.len());
    assert!(after.iter().zip(&before).all(|(new, old)| new.1 != old.1));
    assert_eq!(pods(&harness, "tr-pg-"), postgres);
    let again = deleted(&harness.journal.take(), "pods");
    assert_eq!(again, ["tr/tr-s3-0"], "restarted once");
    assert_eq!(harness.condition("ObjectStoreAvailable").0, "True");
    assert_eq!(harness.condition("Ready").0, "True");
}

#[tokio::test]
async fn passwords_inside_postgres_restart_members_once_the_database_takes_them() {
    let mut harness = Harness::running().await;
    let before = pods(&harness, "tr-pg-");
    harness
        .world
        .change("tr", |data| data.refuses_control = true);
    let internal = key("secrets", &names().postgres_internal());
    harness.api.edit(&internal, USER, |secret| {
        secret["data"]["control-password"] = encoded("another one of a person");
    });
    harness.now_is(SOON);
    for _ in 0..10 {
        harness.look().await.result.unwrap();
        harness.turn();
    }
    let (state, reason, message) = harness.condition("PostgresAvailable");
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("Unknown", "CredentialsReplaced")
    );
    for word in [
        "Secret tr-pg-internal",
        "edited at",
        "docs/runbooks/replaced-credentials.md",
    ] {
        assert!(message.contains(word), "{message}");
    }
    // A member that is made anew now could not follow the primary.
    assert_eq!(pods(&harness, "tr-pg-"), before);

    // The operator gets in again, and a member would not: who sets one of three passwords alone.
    harness.world.change("tr", |data| {
        data.refuses_control = false;
        data.refuses_members = ["bailiwick_replication"].into();
    });
    for _ in 0..40 {
        harness.look().await.result.unwrap();
        harness.turn();
    }
    assert_eq!(pods(&harness, "tr-pg-"), before);
    let (state, reason, message) = harness.condition("Degraded");
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("True", "CredentialsReplaced")
    );
    for word in [
        "Secret tr-pg-internal",
        "did not let in bailiwick_replication: Unauthenticated (SQLSTATE 28P01). No member is restarted",
        "docs/runbooks/replaced-credentials.md",
    ] {
        assert!(message.contains(word), "{message}");
    }

    harness
        .world
        .change("tr", |data| data.refuses_members = BTreeSet::new());
    for _ in 0..40 {
        harness.look().await.result.unwrap();
        harness.turn();
    }
    let after = pods(&harness, "tr-pg-");
    assert!(before.iter().zip(&after).all(|(old, new)| old.1 != new.1));
    assert_eq!(deleted(&harness.journal.take(), "pods").len(), 2);
    assert_eq!(harness.condition("Ready").0, "True");
}

/// The StatefulSet's controller had taken the template over when the operator put it right.
#[tokio::test]
async fn no_member_is_restarted_for_a_template_that_somebody_else_wrote() {
    let mut harness = Harness::running().await;
    let before = pods(&harness, "tr-pg-");
    let set = key("statefulsets", &names().postgres());
    harness.api.edit(&set, USER, |set| {
        set["spec"]["template"]["metadata"]["annotations"]["example.org/intruder"] = json!("here");
    });
    harness.turn();
    harness.journal.take();
    for _ in 0..20 {
        harness.look().await.result.unwrap();
        harness.turn();
    }
    let calls = harness.journal.take();
    assert_eq!(deleted(&calls, "pods"), Vec::<String>::new());
    assert_eq!(pods(&harness, "tr-pg-"), before);
    let now = harness.api.get(&set).unwrap();
    let annotations = &now["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["example.org/intruder"], Value::Null);
    assert_eq!(harness.condition("Progressing").1, "Settled");
}

#[tokio::test]
async fn a_password_that_is_no_text_is_told_and_not_passed_over() {
    let mut harness = Harness::running().await;
    let secret = names().postgres_role("clinical_app_writer");
    let key = Key::new("secrets", "tr", &secret);
    let mut edited = harness.api.get(&key).unwrap();
    let before = edited["data"]["password"].clone();
    edited["data"]["password"] = json!("//5iYWQ=");
    assert!(harness.api.put(&key, USER, "", edited));
    harness.crash();
    harness.settle_through_errors().await;
    let (state, reason, message) = harness.condition("Degraded");
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("True", "SecretValueMissing")
    );
    assert!(
        message.contains(&secret) && message.contains("no text"),
        "{message}"
    );

    let mut back = harness.api.get(&key).unwrap();
    back["data"]["password"] = before;
    assert!(harness.api.put(&key, USER, "", back));
    harness.crash();
    harness.settle().await;
    assert_eq!(harness.condition("Degraded").0, "False");
}

/// As `echo` and files of text leave it: nobody who reads it without the line break would be let in.
#[tokio::test]
async fn a_password_with_a_line_break_is_told_and_the_one_before_stays_in_force() {
    for (name, value) in [
        (names().postgres_role("clinical_app_writer"), "password"),
        (names().object_store_user("patient-api"), "secret-key"),
        (names().object_store_user("pgbackrest"), "secret-key"),
    ] {
        let mut harness = Harness::running().await;
        let login = key("secrets", &name);
        let derived = |harness: &Harness| {
            let mut data = harness.api.get(&login).unwrap()["data"].clone();
            data.as_object_mut().unwrap().remove(value);
            data
        };
        let before = derived(&harness);
        let members = pods(&harness, "tr-pg-");
        harness.journal.take();
        harness.api.edit(&login, USER, |secret| {
            secret["data"][value] = encoded("chosen by a person\n");
        });
        harness.now_is(SOON);
        harness.settle().await;
        let calls = harness.journal.take();
        let done: Vec<&Call> = calls.iter().filter(|call| call.verb == "step").collect();
        assert!(done.is_empty(), "{name}: {done:?}");
        assert_eq!(deleted(&calls, "pods"), Vec::<String>::new(), "{name}");
        assert_eq!(derived(&harness), before, "{name}");
        let (state, reason, message) = harness.condition("Degraded");
        assert_eq!(
            (state.as_str(), reason.as_str()),
            ("True", "SecretValueMissing")
        );
        let of = format!("Secret {name} has a line break or another control character");
        for part in [&of, &format!("key {value}"), "printf %s"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("chosen"), "{message}");
        assert_eq!(harness.condition("Ready").0, "True", "{name}");

        harness.api.edit(&login, USER, |secret| {
            secret["data"][value] = encoded("chosen by a person");
        });
        harness.now_is(SOON + SOON);
        for _ in 0..40 {
            harness.look().await.result.unwrap();
            harness.turn();
        }
        assert_eq!(harness.condition("Degraded").0, "False", "{name}");
        let calls = harness.journal.take();
        assert!(
            calls.iter().any(|call| call.verb == "step"),
            "{name}: {calls:?}"
        );
        let restarted = usize::from(name.ends_with("pgbackrest")) * members.len();
        assert_eq!(deleted(&calls, "pods").len(), restarted, "{name}");
    }
}
