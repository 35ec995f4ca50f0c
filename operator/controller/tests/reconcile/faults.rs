//! Systems that fail: what is said, what goes on, and what is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{key, scheduled, tr_with, writes};
use crate::support::harness::{Harness, tr};
use crate::support::journal::Fault;

#[tokio::test]
async fn a_step_that_fails_is_in_the_status_and_tried_again() {
    let mut harness = Harness::running().await;
    harness.world.change("tr", |data| {
        data.store.buckets.remove("documents");
    });
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.verb == "step");
    let look = harness.look().await;
    assert_eq!(
        look.result.unwrap(),
        Action::requeue(Duration::from_secs(3))
    );
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "StepFailed"));
    assert!(message.contains("create bucket documents"), "{message}");
    assert_eq!(
        harness.look().await.writes(),
        Vec::<String>::new(),
        "said once"
    );
    harness.journal.heal();
    harness.settle().await;
    assert_eq!(harness.condition("Degraded").0, "False");
}

/// Status, reason and observedGeneration of `Ready`.
fn ready(harness: &Harness) -> (String, String, Option<i64>) {
    let status = harness.status();
    let mut all = status.conditions.iter();
    let found = all.find(|it| it.type_ == "Ready").unwrap();
    (
        found.status.clone(),
        found.reason.clone(),
        found.observed_generation,
    )
}

#[tokio::test]
async fn a_region_that_serves_stays_ready_while_more_is_made_and_while_that_fails() {
    let serving = |generation| ("True".to_owned(), "Serving".to_owned(), Some(generation));
    for (step, field, value) in [
        (
            "create role late",
            "/spec/postgres/roles",
            json!([{"name": "late", "login": true, "database": "clinical"}]),
        ),
        (
            "create bucket scans",
            "/spec/objectStore/buckets",
            json!([{"name": "documents"}, {"name": "scans"}]),
        ),
    ] {
        let mut harness = Harness::running().await;
        let before = harness.region().metadata.generation.unwrap();
        assert_eq!(ready(&harness), serving(before));
        harness
            .journal
            .fault_on(Fault::Fail, move |call| call.name == step);
        harness.apply(&tr_with(&[(field, value)]));
        for _ in 0..6 {
            harness.look().await.result.unwrap();
            // Not of the new spec, though: who waits for that goes on waiting.
            assert_eq!(ready(&harness), serving(before), "{step}");
        }
        let status = harness.status();
        assert_eq!(status.observed_generation, Some(before + 1));
        assert_eq!(status.provisioned_generation, Some(before));
        let (state, reason, message) = harness.condition("Degraded");
        assert_eq!((&*state, &*reason), ("True", "StepFailed"));
        assert!(message.contains(step), "{message}");
        assert_eq!(harness.condition("Progressing").0, "True");

        // Whether clients can use it is still what counts, and what was provisioned is not forgotten over that.
        let leader = harness.world.of("tr").leader.clone();
        harness.journal.fault_on(Fault::Fail, move |call| {
            call.name == step || (call.verb == "read" && call.resource == "patroni")
        });
        harness.look().await.result.unwrap();
        assert_eq!(ready(&harness).1, "PostgresUnavailable");
        harness
            .journal
            .fault_on(Fault::Fail, move |call| call.name == step);
        for _ in 0..3 {
            harness.look().await.result.unwrap();
        }
        assert_eq!(harness.world.of("tr").leader, leader);
        assert_eq!(ready(&harness), serving(before), "{step}");

        // A server that replays takes no writes, and no steps.
        harness
            .world
            .change("tr", |data| data.postgres.in_recovery = true);
        harness.look().await.result.unwrap();
        assert_eq!(ready(&harness).0, "False");
        harness
            .world
            .change("tr", |data| data.postgres.in_recovery = false);

        harness.journal.heal();
        harness.settle().await;
        assert_eq!(ready(&harness), serving(before + 1), "{step}");
    }
}

#[tokio::test]
async fn a_region_that_was_never_provisioned_is_not_ready() {
    for step in ["create bucket documents", "create role clinical_app_writer"] {
        let mut harness = Harness::new();
        harness
            .journal
            .fault_on(Fault::Fail, move |call| call.name == step);
        harness.apply(&tr());
        for _ in 0..30 {
            harness.turn();
            harness.look().await.result.unwrap();
            assert_ne!(ready(&harness).0, "True", "{step}");
        }
        assert_eq!(ready(&harness).1, "Provisioning", "{step}");
        assert_eq!(harness.status().provisioned_generation, None);
        harness.journal.heal();
        harness.settle().await;
        assert_eq!(ready(&harness).0, "True");
    }
}

#[tokio::test]
async fn a_system_that_does_not_answer_is_said_and_nothing_is_touched() {
    for (system, condition) in [
        ("object store", "ObjectStoreAvailable"),
        ("patroni", "PostgresAvailable"),
        ("postgres", "PostgresAvailable"),
    ] {
        let mut harness = Harness::running().await;
        harness.journal.fault_on(Fault::Fail, move |call| {
            call.verb == "read" && call.resource == system
        });
        harness.look().await.result.unwrap();
        let calls = harness.journal.take();
        assert!(calls.iter().all(|call| call.verb != "step"), "{system}");
        assert!(
            writes(&calls)
                .iter()
                .all(|call| call.contains("regions/status") || call.contains("events"))
        );
        assert_ne!(harness.condition(condition).0, "True", "{system}");
        assert_ne!(harness.condition("Ready").0, "True", "{system}");
        harness.journal.heal();
        harness.settle().await;
        assert_eq!(harness.condition("Ready").0, "True", "{system}");
    }
}

#[tokio::test]
async fn the_first_status_does_not_claim_that_nothing_is_left_to_do() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.look().await.result.unwrap();
    assert_eq!(harness.condition("Progressing").0, "True");
    assert_eq!(harness.condition("Ready").0, "False");
}

#[tokio::test]
async fn an_item_that_the_store_refuses_does_not_stop_its_siblings() {
    let mut harness = Harness::running().await;
    let user = |name: &str| json!({"name": name, "grants": [{"bucket": "documents", "access": "ReadOnly"}]});
    harness.journal.fault_on(Fault::Refuse(400), |call| {
        call.verb == "step" && call.name == "create user bad"
    });
    harness.apply(&tr_with(&[
        (
            "/spec/objectStore/users",
            json!([user("bad"), user("patient-api"), user("reports")]),
        ),
        (
            "/spec/objectStore/buckets",
            json!([{"name": "documents"}, {"name": "scans"}]),
        ),
    ]));
    for _ in 0..4 {
        harness.look().await.result.unwrap();
    }
    let store = harness.world.of("tr").store;
    assert!(store.buckets.contains_key("scans"));
    assert!(store.users.contains_key("reports"));
    assert!(!store.users.contains_key("bad"));
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "StepFailed"));
    assert!(message.contains("create user bad"), "{message}");
    // What needs the user is left out, and is no failure of its own.
    assert!(!message.contains("attach the policy"), "{message}");
}

#[tokio::test]
async fn a_system_that_fails_as_a_whole_is_asked_once_a_look() {
    let mut harness = Harness::running().await;
    harness.world.change("tr", |data| {
        data.store.buckets.clear();
    });
    harness.journal.fault_on(Fault::Fail, |call| {
        call.verb == "step" && call.resource == "object store"
    });
    let look = harness.look().await;
    let tried = look.calls.iter().filter(|call| call.verb == "step").count();
    assert_eq!(tried, 1);
}

#[tokio::test]
async fn a_member_that_does_not_run_is_named_with_its_reason() {
    let mut harness = Harness::running().await;
    let pod_key = key("pods", "tr-pg-1");
    let mut pod = harness.api.get(&pod_key).unwrap();
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    pod["status"]["containerStatuses"] = json!([{
        "name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off of \"a value\""}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]);
    assert!(harness.api.put(&pod_key, "kubelet", "status", pod));
    harness.look().await.result.unwrap();
    let (_, reason, message) = harness.condition("Degraded");
    assert_eq!(reason, "MembersMissing", "{message}");
    assert_eq!(
        message,
        "1 of 2 members run: tr-pg-1: container postgres: CrashLoopBackOff after OOMKilled (exit code 137)."
    );
}

#[tokio::test]
async fn each_read_and_step_that_fails_tells_its_code_in_a_condition() {
    // The system that refuses, and where it is told.
    let table = [
        ("read", "object store", "ObjectStoreAvailable"),
        ("read", "patroni", "PostgresAvailable"),
        ("read", "postgres", "PostgresAvailable"),
        ("step", "object store", "Degraded"),
        ("step", "postgres", "Degraded"),
        ("step", "patroni", "Degraded"),
        ("record", "object store", "EvidenceRecorded"),
        ("get", "secrets", "Degraded"),
        ("apply", "statefulsets", "Degraded"),
    ];
    let mut told = 0;
    for (verb, system, type_) in table {
        let mut harness = Harness::running().await;
        if verb == "step" {
            harness.world.change("tr", |data| {
                data.store.buckets.remove("documents");
                data.postgres.databases.clear();
                data.config = json!({});
            });
        }
        if verb == "record" {
            // A canary's run is evidence.
            scheduled(&harness, 1);
            harness.now_is(SignedDuration::from_mins(6));
        }
        if verb == "apply" {
            let mut region = tr();
            region["spec"]["postgres"]["resources"] = json!({"memory": "768Mi"});
            harness.apply(&region);
        }
        if verb == "get" {
            harness.crash();
        }
        let hit = Arc::new(AtomicBool::new(false));
        let seen = hit.clone();
        harness.journal.fault_on(Fault::Refuse(503), move |call| {
            let is = call.verb == verb && call.resource == system;
            if is {
                seen.store(true, Ordering::Relaxed);
            }
            is
        });
        // A look that changes something leaves the status to the next one.
        for _ in 0..3 {
            let _ = harness.look().await;
        }
        assert!(
            hit.load(Ordering::Relaxed),
            "{verb} {system} was not called"
        );
        let (_, _, message) = harness.condition(type_);
        assert!(message.contains("HTTP 503"), "{verb} {system}: {message}");
        told += 1;
    }
    assert_eq!(told, 9);
}

#[tokio::test]
async fn a_member_without_a_pod_is_named_too() {
    let mut harness = Harness::running().await;
    let pod = key("pods", "tr-pg-1");
    harness.api.remove(&pod);
    harness.look().await.result.unwrap();
    let (_, reason, message) = harness.condition("Degraded");
    assert_eq!(reason, "MembersMissing", "{message}");
    assert_eq!(message, "1 of 2 members run: tr-pg-1: no pod runs it yet.");
    // One that ended and is not started again yet.
    harness.turn();
    let mut starting = harness.api.get(&pod).unwrap();
    starting["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    starting["status"]["containerStatuses"] = json!([{
        "name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "a value"}},
    }]);
    harness.api.put(&pod, "kubelet", "status", starting);
    harness.look().await.result.unwrap();
    assert_eq!(
        harness.condition("Degraded").2,
        "1 of 2 members run: tr-pg-1: container postgres: Error (exit code 1)."
    );
}

#[tokio::test]
async fn a_failing_store_step_does_not_keep_postgres_waiting() {
    let mut harness = Harness::running().await;
    harness.world.change("tr", |data| {
        data.store.buckets.remove("documents");
        data.postgres.databases.clear();
    });
    harness.journal.fault_on(Fault::Fail, |call| {
        call.verb == "step" && call.resource == "object store"
    });
    for _ in 0..3 {
        harness.look().await.result.unwrap();
    }
    assert!(
        harness
            .world
            .of("tr")
            .postgres
            .databases
            .contains_key("clinical")
    );
}
