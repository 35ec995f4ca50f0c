//! Regions that are refused, by `plan` or by the API server, and such as cannot be decoded: what is tended, and what is said.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_model::canary::question::{Class, Tried};
use bailiwick_model::flow::Guise;
use bailiwick_model::region_object::RegionObject;
use bailiwick_operator::controller::run;
use bailiwick_operator::error::Retry;
use bailiwick_operator::reconcile::reconcile;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{
    SETTLED, changes, children, condition_of, key, let_answer, otherwise, tr_with, until,
    without_times,
};
use crate::support::fake_api::{Key, text};
use crate::support::harness::{Harness, USER, tr};
use crate::support::journal::Fault;

#[tokio::test]

async fn of_a_refused_region_nothing_is_applied_and_the_status_says_why() {
    let mut harness = Harness::new();
    harness.apply(&tr_with(&[
        (
            "/spec/postgres/storage/data/storageClass",
            json!("es-mad-1-local"),
        ),
        ("/spec/objectStore/volume/storageClass", json!("nowhere")),
    ]));
    let look = harness.look().await;
    assert_eq!(look.writes(), ["apply regions/status tr"]);
    assert_eq!(children(&harness), []);
    let (status, _, message) = harness.condition("Accepted");
    assert_eq!(status, "False");
    // All at once, each with its field.
    assert!(
        message.contains("spec.postgres.storage.data.storageClass"),
        "{message}"
    );
    assert!(
        message.contains("spec.objectStore.volume.storageClass"),
        "{message}"
    );
    assert_eq!(harness.condition("Ready").1, "NotAccepted");

    let again = harness.look().await;
    assert_eq!(again.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_region_that_becomes_bad_keeps_what_it_has() {
    let mut harness = Harness::running().await;
    let before = children(&harness);
    harness.apply(&tr_with(&[(
        "/spec/objectStore/volume/storageClass",
        json!("nowhere"),
    )]));
    harness.settle().await;
    assert_eq!(children(&harness), before);
    assert_eq!(
        changes(&harness.journal.take()),
        ["apply regions/status tr"]
    );
    assert_eq!(harness.condition("Accepted").0, "False");
}

#[tokio::test]
async fn while_a_spec_is_refused_the_one_accepted_last_is_tended() {
    let mut harness = Harness::running().await;
    let accepted = harness.region().metadata.generation.unwrap();
    let bad = tr_with(&[(
        "/spec/objectStore/buckets",
        json!([{"name": "documents"}, {"name": "minio"}]),
    )]);
    harness.apply(&bad);
    // Also by an operator that was not there when it was accepted.
    for restarted in [false, true] {
        if restarted {
            harness.crash();
        }
        harness.api.remove(&key("services", "tr-pg-rw"));
        harness.settle().await;
        assert!(
            harness.api.get(&key("services", "tr-pg-rw")).is_some(),
            "restarted: {restarted}"
        );
        let (status, reason, message) = harness.condition("Accepted");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "Invalid"));
        let told = format!(
            "Generation {} is refused; generation {accepted} is in force.",
            accepted + 1
        );
        assert!(message.starts_with(&told), "{message}");
        assert!(
            message.contains("spec.objectStore.buckets[1].name"),
            "{message}"
        );
        assert_eq!(harness.condition("Ready").0, "True");
        assert!(!harness.world.of("tr").store.buckets.contains_key("minio"));
    }
    harness.apply(&tr());
    harness.settle().await;
    assert_eq!(harness.condition("Accepted").0, "True");
}

/// Looks at `tr` as the watch has it, until nothing moves any more; the Region may not decode.
async fn settle_as_it_is(harness: &mut Harness) {
    for _ in 0..20 {
        let moved = harness.turn();
        harness.sync().await;
        let object = harness.api.get(&Key::new("regions", "", "tr")).unwrap();
        let object: RegionObject = serde_json::from_value(object).unwrap();
        let before = harness.journal.len();
        let looked = reconcile(Arc::new(object), harness.ctx.clone()).await;
        assert!(looked.is_ok(), "{:?}", looked.err());
        let calls = harness.journal.calls().split_off(before);
        if !moved
            && !calls
                .iter()
                .any(|call| call.is_write() || call.verb == "step")
        {
            return;
        }
    }
    panic!("it does not settle");
}

/// Status, reason and message of a condition of `tr`, which may not decode.
fn told_as_it_is(harness: &Harness, type_: &str) -> (String, String, String) {
    let region = harness.api.get(&Key::new("regions", "", "tr")).unwrap();
    let (status, reason) = condition_of(&region, type_);
    let conditions = region["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == type_).unwrap();
    (status, reason, text(found, "/message").to_owned())
}

/// Gives `tr` an exception whose end does not decode.
fn make_undecodable(harness: &Harness) {
    harness
        .api
        .edit(&Key::new("regions", "", "tr"), USER, |region| {
            region["spec"]["residency"]["exceptions"] = json!([{
                "channel": "35", "reason": "on call", "approvedBy": "dpo", "expires": "hunter2",
            }]);
        });
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Ok(mut log) = self.0.lock() {
            log.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn of_a_region_that_cannot_be_decoded_the_spec_accepted_last_is_tended() {
    let log = Log::default();
    let writer = log.clone();
    let _told = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish(),
    );
    let mut harness = Harness::running().await;
    let accepted = harness.region().metadata.generation.unwrap();
    make_undecodable(&harness);
    // Also by an operator that was not there when it was accepted.
    for restarted in [false, true] {
        if restarted {
            harness.crash();
        }
        harness.api.remove(&key("services", "tr-pg-rw"));
        settle_as_it_is(&mut harness).await;
        assert!(
            harness.api.get(&key("services", "tr-pg-rw")).is_some(),
            "restarted: {restarted}"
        );
        let (status, reason, message) = told_as_it_is(&harness, "Accepted");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "Undecodable"));
        let told = format!(
            "Generation {} is refused; generation {accepted} is in force.\nspec.residency.exceptions[0].expires: cannot be \
             decoded: ",
            accepted + 1
        );
        assert!(message.starts_with(&told), "{message}");
        assert_eq!(told_as_it_is(&harness, "Ready").0, "True");
        assert_eq!(told_as_it_is(&harness, "Progressing").1, "Settled");
    }
    let region = harness.api.get(&Key::new("regions", "", "tr")).unwrap();
    assert!(!region["status"].to_string().contains("hunter2"));
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("cannot be decoded"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    // Without its finalizer it gets that back, though the answer does not decode.
    harness
        .api
        .edit(&Key::new("regions", "", "tr"), USER, |region| {
            region["metadata"]["finalizers"] = json!([]);
        });
    settle_as_it_is(&mut harness).await;
    let region = harness.api.get(&Key::new("regions", "", "tr")).unwrap();
    assert_eq!(
        region["metadata"]["finalizers"].as_array().unwrap().len(),
        1
    );

    harness.apply(&tr());
    harness
        .api
        .edit(&Key::new("regions", "", "tr"), USER, |region| {
            region["spec"]["residency"]["exceptions"] = json!([]);
        });
    harness.settle().await;
    assert_eq!(harness.condition("Accepted").0, "True");
}

#[tokio::test]
async fn a_leak_shuts_off_a_region_that_cannot_be_decoded_and_it_stays_shut() {
    let mut harness = Harness::running().await;
    make_undecodable(&harness);
    settle_as_it_is(&mut harness).await;
    assert_eq!(told_as_it_is(&harness, "Quarantined").0, "False");
    let leak = otherwise(Class::OtherNode, Tried::Reached);
    let_answer(&harness, Guise::Postgres, leak);
    settle_as_it_is(&mut harness).await;
    let (status, reason, _) = told_as_it_is(&harness, "Quarantined");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "LeakFound"));
    let external = harness
        .api
        .get(&key("networkpolicies", "external"))
        .unwrap();
    assert_eq!(external["spec"]["egress"], json!([]), "{external:#}");
    harness.crash();
    settle_as_it_is(&mut harness).await;
    assert_eq!(told_as_it_is(&harness, "Quarantined").0, "True");
}

#[tokio::test]
async fn of_a_region_that_cannot_be_decoded_and_was_never_accepted_nothing_is_tended() {
    let mut harness = Harness::running().await;
    make_undecodable(&harness);
    harness.crash();
    harness.api.remove(&key("configmaps", "tr-accepted"));
    harness.api.remove(&key("services", "tr-pg-rw"));
    settle_as_it_is(&mut harness).await;
    assert!(harness.api.get(&key("services", "tr-pg-rw")).is_none());
    let (status, reason, message) = told_as_it_is(&harness, "Accepted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Undecodable"));
    assert!(
        message.starts_with("spec.residency.exceptions[0].expires: "),
        "{message}"
    );
    let region = harness.api.get(&Key::new("regions", "", "tr")).unwrap();
    let conditions = region["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 19);
    let mut unknown = 0;
    for condition in conditions {
        match text(condition, "/type") {
            "Accepted" | "Ready" | "Progressing" => {
                assert_eq!(text(condition, "/status"), "False", "{condition}");
            }
            _ => {
                assert_eq!(text(condition, "/status"), "Unknown", "{condition}");
                unknown += 1;
            }
        }
        assert_eq!(text(condition, "/reason"), "Undecodable", "{condition}");
    }
    assert_eq!(unknown, 16);
}

#[tokio::test]
async fn a_status_that_cannot_be_decoded_is_written_anew() {
    let region = Key::new("regions", "", "tr");
    for (field, restarted) in [
        ("/status/certificates/soonestExpiry", false),
        ("/status/residency/assurance", true),
        ("/status/conditions/0/lastTransitionTime", true),
    ] {
        let mut harness = Harness::running().await;
        let before = harness.api.get(&region).unwrap()["status"].clone();
        break_status(&harness, field);
        if restarted {
            harness.crash();
        }
        settle_as_it_is(&mut harness).await;
        let now = harness.api.get(&region).unwrap()["status"].clone();
        assert_eq!(without_times(now), without_times(before), "{field}");
    }
    // A quarantine does not end by it, though nobody remembers it.
    let mut harness = Harness::running().await;
    let leak = otherwise(Class::OtherNode, Tried::Reached);
    let_answer(&harness, Guise::Postgres, leak);
    settle_as_it_is(&mut harness).await;
    assert_eq!(told_as_it_is(&harness, "Quarantined").0, "True");
    break_status(&harness, "/status/residency/breach/since");
    harness.crash();
    settle_as_it_is(&mut harness).await;
    assert_eq!(told_as_it_is(&harness, "Quarantined").0, "True");
    // Nor does it where the spec cannot be decoded either, and is not tended.
    break_status(&harness, "/status/residency/breach");
    make_undecodable(&harness);
    harness.crash();
    harness.api.remove(&key("configmaps", "tr-accepted"));
    settle_as_it_is(&mut harness).await;
    let told = harness.api.get(&region).unwrap();
    assert_eq!(
        told["status"]["residency"]["breach"]["channels"][0]["id"],
        "1"
    );
    assert_eq!(told_as_it_is(&harness, "Accepted").1, "Undecodable");
}

/// Puts something into the status of `tr` that does not decode.
fn break_status(harness: &Harness, field: &str) {
    let key = Key::new("regions", "", "tr");
    let mut region = harness.api.get(&key).unwrap();
    *region.pointer_mut(field).unwrap() = json!("hunter2");
    assert!(harness.api.put(&key, USER, "status", region));
}

#[tokio::test]
async fn what_the_api_server_does_not_let_be_tended_is_told_as_undecodable_all_the_same() {
    let mut harness = Harness::running().await;
    make_undecodable(&harness);
    harness.api.remove(&key("services", "tr-pg-rw"));
    harness.journal.fault_on(Fault::Refuse(503), |call| {
        call.verb == "apply" && call.resource == "services"
    });
    harness.sync().await;
    let object = harness.api.get(&Key::new("regions", "", "tr")).unwrap();
    let object: RegionObject = serde_json::from_value(object).unwrap();
    let looked = reconcile(Arc::new(object), harness.ctx.clone()).await;
    assert!(looked.is_err());
    assert_eq!(
        told_as_it_is(&harness, "Accepted"),
        (
            "False".to_owned(),
            "Undecodable".to_owned(),
            told_as_it_is(&harness, "Accepted").2
        )
    );
}

#[tokio::test]
async fn of_a_region_that_is_refused_for_its_place_nothing_is_tended() {
    let mut harness = Harness::running().await;
    harness.apply(&tr_with(&[(
        "/spec/network/external/0/location",
        json!("es-mad-1"),
    )]));
    harness.api.remove(&key("services", "tr-pg-rw"));
    harness.settle().await;
    assert!(harness.api.get(&key("services", "tr-pg-rw")).is_none());
    assert_eq!(harness.condition("Accepted").1, "OutsideJurisdiction");
    assert_eq!(harness.condition("Ready").0, "False");
}

#[tokio::test]
async fn a_refusal_of_the_api_server_is_a_condition_and_has_its_own_pace() {
    for (code, reason, retry) in [
        (403, "Forbidden", None),
        (409, "Conflict", Some(Retry::Soon)),
        (422, "Invalid", None),
        (500, "InternalError", None),
        (503, "InternalError", Some(Retry::Later)),
    ] {
        let mut harness = Harness::running().await;
        harness.apply(&tr_with(&[(
            "/spec/postgres/resources/memory",
            json!("768Mi"),
        )]));
        harness
            .journal
            .fault_on(Fault::Refuse(code), |call| call.resource == "statefulsets");
        let look = harness.look().await;
        let (why, next) = match (retry, look.result) {
            (Some(retry), Err(error)) => {
                assert_eq!(error.retry(), retry, "{code}");
                ("ApplyFailed", harness.next_after(&error))
            }
            // It is said of this object, and the rest was gone on with.
            (None, Ok(next)) => ("ObjectRefused", next),
            (_, result) => panic!("{code}: {result:?}"),
        };
        let (status, found, message) = harness.condition("Degraded");
        assert_eq!((status.as_str(), found.as_str()), ("True", why), "{code}");
        assert!(message.contains("StatefulSet"), "{message}");
        assert!(message.contains("tr-pg"), "{message}");
        assert!(message.contains(reason), "{message}");
        assert!(
            !message.contains("injected"),
            "free text of the server: {message}"
        );
        assert_eq!(harness.condition("Progressing").0, "True");
        let expected = match retry {
            Some(Retry::Soon) => Duration::from_millis(500),
            Some(_) => Duration::from_secs(2),
            None => Duration::from_secs(3),
        };
        assert_eq!(next, Action::requeue(expected), "{code}");

        // The same again changes no status, and waits longer where that helps.
        let again = harness.look().await;
        assert!(
            !again
                .writes()
                .contains(&"apply regions/status tr".to_owned())
        );
        match retry {
            Some(Retry::Later) => {
                let next = harness.next_after(&again.result.unwrap_err());
                assert_eq!(next, Action::requeue(Duration::from_secs(4)));
            }
            Some(_) => {}
            None => {
                assert_eq!(
                    again.result.unwrap(),
                    Action::requeue(Duration::from_secs(4))
                );
                for _ in 0..3 {
                    harness.look().await.result.unwrap();
                }
                let last = harness.look().await.result.unwrap();
                assert_eq!(last, Action::requeue(SETTLED));
            }
        }

        harness.journal.heal();
        harness.settle().await;
        assert_eq!(harness.condition("Degraded").0, "False", "{code}");
        assert_eq!(harness.condition("Ready").0, "True", "{code}");
    }
}

#[tokio::test]
async fn a_region_that_cannot_be_decoded_touches_no_other_and_its_status_says_so() {
    let harness = Harness::new();
    let elsewhere = |name: &str, expires: &str| {
        tr_with(&[
            ("/metadata/name", json!(name)),
            // Another cluster's: each look is short.
            ("/spec/residency/location", json!("de-fra-1")),
            (
                "/spec/residency/exceptions",
                json!([{"channel": "35", "reason": "on call", "approvedBy": "dpo", "expires": expires}]),
            ),
        ])
    };
    let bad = Key::new("regions", "", "bad");
    let mut region = elsewhere("bad", "9999-12-31T23:59:59Z");
    let was = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "Seen", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    region["status"] = json!({
        "postgres": {"incarnation": 2},
        "conditions": [was("Ready"), was("ResidencyEnforced"), was("EvidenceRecorded")],
    });
    harness.api.put(&bad, USER, "", region);
    let good = elsewhere("good", "2027-01-31T00:00:00Z");
    harness
        .api
        .user_applies(&Key::new("regions", "", "good"), &good);
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let running = tokio::spawn(run(harness.ctx.clone(), async {
        let _ = stopped.await;
    }));
    until(&harness, "good", |region| {
        condition_of(region, "Accepted") == ("False".to_owned(), "NotThisCluster".to_owned())
    })
    .await;
    until(&harness, "bad", |region| {
        condition_of(region, "Accepted") == ("False".to_owned(), "Undecodable".to_owned())
    })
    .await;
    let told = harness.api.get(&bad).unwrap();
    assert_eq!(condition_of(&told, "Ready").0, "False");
    for type_ in ["ResidencyEnforced", "EvidenceRecorded"] {
        assert_eq!(condition_of(&told, type_).0, "Unknown", "{type_}");
    }
    let message = told["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == "Accepted")
        .map(|condition| text(condition, "/message"))
        .unwrap();
    assert!(
        message.starts_with("spec.residency.exceptions[0].expires: "),
        "{message}"
    );
    // What else was known of it stays.
    assert_eq!(told["status"]["postgres"]["incarnation"], 2);

    // Mended, it is a Region as any other.
    harness.api.edit(&bad, USER, |region| {
        region["spec"]["residency"]["exceptions"] = json!([]);
    });
    until(&harness, "bad", |region| {
        condition_of(region, "Accepted").1 == "NotThisCluster"
    })
    .await;
    stop.send(()).unwrap();
    running.await.unwrap();
}
