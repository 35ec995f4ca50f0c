//! What one look after another makes of a Region, against an API server and systems in memory: how much is sent, what
//! is repaired, what the status says, and when the operator looks again. No process, no network, no sleep.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod support {
    #![allow(dead_code, reason = "each test takes what it needs")]
    pub mod cluster;
    pub mod fake_api;
    pub mod harness;
    pub mod journal;
    pub mod world;
}

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bailiwick_model::canary::{Answer, Class, Guise, Question, Tried, VARIABLE};
use bailiwick_model::facts::{Observed, ReadFailure};
use bailiwick_model::names::{LABEL_TASK, Names};
use bailiwick_model::region::ChannelState;
use bailiwick_model::region_object::RegionObject;
use bailiwick_model::repository::{Difference, MARKER, Marker};
use bailiwick_model::store::BucketOutlet;
use bailiwick_operator::controller::run;
use bailiwick_operator::error::Retry;
use bailiwick_operator::lease::Lease;
use bailiwick_operator::reconcile::reconcile;
use jiff::SignedDuration;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use support::fake_api::{Key, text};
use support::harness::{Harness, LIFETIME_HOURS, Look, USER, put_responder, tr};
use support::journal::{Call, Fault};

/// How long until a settled Region is looked at again.
const SETTLED: Duration = Duration::from_secs(15);

fn key(resource: &str, name: &str) -> Key {
    Key::new(resource, "tr", name)
}

/// `tr` with other values at some pointers.
fn tr_with(changes: &[(&str, Value)]) -> Value {
    let mut region = tr();
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = pointer_mut(&mut region, parent);
        if value.is_null() {
            parent.as_object_mut().unwrap().remove(field);
        } else {
            parent[field] = value.clone();
        }
    }
    region
}

/// The object at a pointer, made where it is missing.
fn pointer_mut<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Value {
    pointer
        .split('/')
        .skip(1)
        .fold(value, |value, step| match value {
            Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
            value => {
                if !value[step].is_object() && !value[step].is_array() {
                    value[step] = json!({});
                }
                &mut value[step]
            }
        })
}

/// What was written apart from Events, which tell of a flip of the status.
fn changes(calls: &[Call]) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.is_write() && call.resource != "events")
        .map(ToString::to_string)
        .collect()
}

fn writes(calls: &[Call]) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.is_write())
        .map(ToString::to_string)
        .collect()
}

/// The objects that the operator made for `tr`.
fn children(harness: &Harness) -> Vec<Key> {
    const MADE: &[&str] = &[
        "secrets",
        "configmaps",
        "services",
        "statefulsets",
        "jobs",
        "cronjobs",
        "networkpolicies",
        "poddisruptionbudgets",
    ];
    harness
        .api
        .everything()
        .into_keys()
        .filter(|key| MADE.contains(&key.resource.as_str()))
        .collect()
}

#[tokio::test]
async fn a_region_created_costs_seven_writes_more_than_it_has_objects_and_two_reads_at_most() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.settle().await;
    let (ready, reason, message) = harness.condition("Ready");
    assert_eq!(ready, "True", "{reason}: {message}");
    assert_eq!(harness.condition("Progressing").0, "False");
    assert_eq!(harness.condition("WALArchiving").0, "True");
    assert!(
        harness.status().backup.unwrap().repos[0]
            .last_full
            .is_some()
    );

    let children = children(&harness).len();
    assert!(children > 25, "{children} objects");
    let calls = harness.journal.take();
    let writes = writes(&calls);
    let gets = calls.iter().filter(|call| call.verb == "get").count();
    println!("{children} objects, {} writes, {gets} reads", writes.len());
    assert!(
        // The finalizer, statuses and Events.
        writes.len() <= children + 7,
        "{children} objects, {} writes: {writes:#?}",
        writes.len()
    );
    assert!(gets <= 2, "{gets} reads");
}

#[tokio::test]
async fn the_boundary_and_its_keys_stand_before_what_they_guard() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    let look = harness.look().await;
    let kinds: Vec<String> = look
        .calls
        .iter()
        .filter(|call| call.is_write())
        .map(|call| call.resource.clone())
        .collect();
    let first = |kind: &str| kinds.iter().position(|it| it == kind).unwrap();
    let last = |kind: &str| kinds.iter().rposition(|it| it == kind).unwrap();
    assert!(last("networkpolicies") < first("secrets"));
    assert!(last("secrets") < first("statefulsets"));
    assert!(last("statefulsets") < first("regions/status"));
}

#[tokio::test]
async fn a_look_at_a_settled_region_asks_the_api_server_nothing() {
    let mut harness = Harness::running().await;
    for _ in 0..3 {
        let look = harness.look().await;
        assert_eq!(look.requests(), Vec::<String>::new());
        assert_eq!(look.result.unwrap(), Action::requeue(SETTLED));
    }
}

#[tokio::test]
async fn a_restarted_operator_settles_without_changing_anything() {
    let mut harness = Harness::running().await;
    let before = harness.api.everything();
    let status = harness.status();
    harness.crash();
    harness.settle().await;
    assert_eq!(harness.status(), status);
    assert_eq!(harness.api.everything(), before);
}

#[tokio::test]
async fn what_leaves_the_spec_is_pruned() {
    let mut harness = Harness::running().await;
    let policies = harness.api.all("networkpolicies", "tr").len();
    harness.apply(&tr_with(&[("/spec/network", Value::Null)]));
    harness.settle().await;
    assert_eq!(harness.api.all("networkpolicies", "tr").len(), policies - 1);
    let calls = harness.journal.take();
    let deletes: Vec<&Call> = calls.iter().filter(|call| call.verb == "delete").collect();
    assert_eq!(deletes.len(), 1, "{deletes:?}");
    // Nothing else is different but the status and the canaries, who try the new boundary at once.
    let others: Vec<String> = changes(&calls)
        .into_iter()
        .filter(|call| !call.contains("canary") && call != "apply regions/status tr")
        .collect();
    assert_eq!(
        others,
        [
            "apply configmaps tr/tr-accepted",
            "delete networkpolicies tr/external"
        ]
    );
    assert_eq!(changes(&calls).len(), 9, "{:?}", changes(&calls));
    assert_eq!(harness.condition("NetworkEnforced").0, "True");
    assert_eq!(harness.status().observed_generation, Some(2));
    // Every condition speaks of the new spec, also those that had nothing new to say.
    for condition in harness.status().conditions {
        assert_eq!(
            condition.observed_generation,
            Some(2),
            "{}",
            condition.type_
        );
    }
}

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

/// A status without what moves with each writing.
fn without_times(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = json!(null);
    }
    status["residency"]["checkedAt"] = json!(null);
    status["residency"]["evidence"] = json!(null);
    status
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
async fn a_region_without_namespaces_waits_for_them() {
    let mut harness = Harness::new();
    for namespace in Names::new("tr").namespaces() {
        harness.api.remove(&Key::new("namespaces", "", &namespace));
    }
    harness.apply(&tr());
    let look = harness.look().await;
    assert_eq!(look.writes(), ["apply regions/status tr"]);
    let (_, reason, message) = harness.condition("Accepted");
    assert_eq!(reason, "NotDelegated");
    assert!(message.contains("bailiwick-operator new tr"), "{message}");

    harness.make_namespaces();
    harness.settle().await;
    assert_eq!(harness.condition("Ready").0, "True");
}

/// What the pods of `tr` are told that a fenced one does not reach.
fn fence_targets(harness: &Harness) -> Vec<String> {
    let map = harness.api.get(&key("configmaps", "tr-fence")).unwrap();
    let targets: Value = serde_json::from_str(text(&map, "/data/targets.json")).unwrap();
    serde_json::from_value(targets["closed"].clone()).unwrap()
}

/// The state of the channels that go by the fence, and what the first is known by.
fn egress(harness: &Harness) -> ([ChannelState; 2], String) {
    let rows = harness.status().residency.unwrap().channels;
    ([rows[0].state, rows[1].state], rows[0].evidence.clone())
}

#[tokio::test]
async fn a_region_without_a_responder_of_the_fence_waits_for_it() {
    let mut harness = Harness::new();
    put_responder(&harness.api, &[]);
    harness.apply(&tr());
    let look = harness.look().await;
    assert_eq!(look.writes(), ["apply regions/status tr"]);
    let (_, reason, message) = harness.condition("Accepted");
    assert_eq!(reason, "FenceResponderMissing");
    assert!(message.contains("apply platform/fence"), "{message}");

    // It need not be ready for the Region to be made; but what is seen against it says nothing then.
    put_responder(&harness.api, &[("10.200.9.1", false)]);
    harness.settle().await;
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(
        fence_targets(&harness),
        ["10.200.9.1:7443", "198.51.100.10:443"]
    );
    let (states, evidence) = egress(&harness);
    assert_eq!(states, [ChannelState::Unknown; 2]);
    assert_eq!(evidence, "no responder of the start fence is ready");
    put_responder(&harness.api, &[("10.200.9.1", true)]);
    harness.settle().await;
    assert_eq!(egress(&harness).0[0], ChannelState::Enforced);
}

#[tokio::test]
async fn a_responder_that_moves_is_told_of_and_one_that_is_gone_takes_nothing_away() {
    let mut harness = Harness::running().await;
    let sets = harness.api.all("statefulsets", "tr");
    put_responder(&harness.api, &[("10.200.9.7", true), ("10.200.9.1", false)]);
    harness.settle().await;
    assert_eq!(
        changes(&harness.journal.take()),
        ["apply configmaps tr/tr-fence"]
    );
    let told = ["10.200.9.7:7443", "198.51.100.10:443"];
    assert_eq!(fence_targets(&harness), told);
    let after = harness.api.all("statefulsets", "tr");
    assert_eq!(after, sets, "a pod would restart");

    put_responder(&harness.api, &[]);
    harness.settle().await;
    assert_eq!(
        changes(&harness.journal.take()),
        ["apply regions/status tr"]
    );
    assert_eq!(fence_targets(&harness), told);
    assert_eq!(harness.condition("Accepted").0, "True");
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(egress(&harness).0, [ChannelState::Unknown; 2]);

    // An operator that remembers nothing leaves it as well.
    harness.crash();
    harness.settle().await;
    assert_eq!(fence_targets(&harness), told);
    assert_eq!(harness.condition("Accepted").0, "True");
}

#[tokio::test]
async fn a_pod_that_did_not_start_behind_the_fence_is_found_named_and_recorded() {
    let mut harness = Harness::running().await;
    let (states, evidence) = egress(&harness);
    assert_eq!(states[0], ChannelState::Enforced);
    assert!(evidence.contains("fence: 3 pods closed"), "{evidence}");
    let pod = key("pods", "tr-pg-1");
    let whole = harness.api.get(&pod).unwrap();
    harness.api.edit(&pod, "attacker", |pod| {
        pod["spec"]["initContainers"] = json!([]);
    });
    let look = harness.look().await;
    let calls: Vec<String> = look.calls.iter().map(ToString::to_string).collect();
    assert!(
        calls
            .iter()
            .any(|call| call.starts_with("record ") && call.contains("Violation")),
        "{calls:?}"
    );
    let (enforced, _, message) = harness.condition("ResidencyEnforced");
    assert_eq!(enforced, "False");
    assert!(
        message.contains("tr-pg-1: runs and did not start behind the fence"),
        "{message}"
    );
    // Nobody saw data get out by it.
    assert_eq!(harness.condition("Quarantined").0, "False");

    harness.api.put(&pod, "kubelet", "", whole);
    harness.settle().await;
    assert_eq!(egress(&harness), (states, evidence));
}

#[tokio::test]
async fn the_start_window_of_a_canary_is_a_metric_and_its_word_stays_from_run_to_run() {
    let mut harness = Harness::running().await;
    let metric = |seconds: f64| {
        format!("bailiwick_canary_start_window_seconds{{region=\"tr\"}} {seconds:?}\n")
    };
    let metrics = harness.ctx.metrics.text();
    assert!(metrics.contains(&metric(0.0)), "{metrics}");
    let canary = harness
        .api
        .all("pods", "tr")
        .into_iter()
        .find(|pod| text(pod, "/metadata/labels/bailiwick.dev~1task") == "canary")
        .map(|pod| key("pods", text(&pod, "/metadata/name")))
        .unwrap();
    let mut writes = Vec::new();
    for window in [420, 1_900, 4_100] {
        let report = json!({
            "outcome": "Fenced", "heldMillis": window + 3_000,
            "families": [{
                "family": "IPv4", "closed": true, "reached": 4, "windowMillis": window,
                "closedMillis": window + 3_000,
            }],
        });
        let mut pod = harness.api.get(&canary).unwrap();
        pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"] =
            json!(report.to_string());
        assert!(harness.api.put(&canary, "kubelet", "status", pod));
        harness.settle().await;
        writes.push(changes(&harness.journal.take()).len());
        let metrics = harness.ctx.metrics.text();
        let expected = metric(f64::from(window) / 1000.0);
        assert!(metrics.contains(&expected), "{metrics}");
    }
    // It is no leak, and only the first of them changed what is known.
    assert_eq!(writes, [1, 0, 0]);
    assert_eq!(harness.condition("NetworkEnforced").0, "True");
    let (states, evidence) = egress(&harness);
    assert_eq!(states[0], ChannelState::Enforced);
    assert!(evidence.contains("window < 5 s"), "{evidence}");
}

#[tokio::test]
async fn rights_that_come_after_the_region_are_noticed_within_seconds() {
    let mut harness = Harness::new();
    harness.api.delegate("tr-obs", false);
    harness.apply(&tr());
    let look = harness.look().await;
    assert_eq!(look.writes(), ["apply regions/status tr"]);
    assert_eq!(harness.condition("Accepted").1, "NotDelegated");
    // A RoleBinding is not watched, so the next look must be soon.
    assert_eq!(look.result.unwrap(), Action::requeue(SETTLED));

    harness.api.delegate("tr-obs", true);
    harness.settle().await;
    assert_eq!(harness.condition("Ready").0, "True");
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
async fn deleting_a_region_keeps_its_volumes_and_secrets_and_a_new_one_takes_them_up() {
    let mut harness = Harness::running().await;
    let kept = |harness: &Harness| {
        let mut objects = harness.api.everything();
        objects
            .retain(|key, _| matches!(key.resource.as_str(), "secrets" | "persistentvolumeclaims"));
        objects
    };
    let before = kept(&harness);
    assert!(before.len() > 10, "{} objects", before.len());
    harness.api.remove(&Key::new("regions", "", "tr"));
    harness.until_gone(|_| {}).await;
    assert_eq!(kept(&harness), before);
    harness.journal.take();
    for kind in [
        "statefulsets",
        "services",
        "networkpolicies",
        "jobs",
        "pods",
        "configmaps",
    ] {
        assert_eq!(harness.api.all(kind, "tr"), Vec::<Value>::new(), "{kind}");
    }

    harness.crash();
    harness.apply(&tr());
    harness.settle().await;
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(kept(&harness), before);
    let steps: Vec<String> = harness
        .journal
        .take()
        .iter()
        .filter(|call| call.verb == "step")
        .map(ToString::to_string)
        .collect();
    assert_eq!(steps, Vec::<String>::new(), "the data was there");
}

#[tokio::test]
async fn another_jurisdictions_volumes_are_not_taken_up() {
    let mut harness = Harness::running().await;
    harness.api.remove(&Key::new("regions", "", "tr"));
    harness.until_gone(|_| {}).await;
    for namespace in Names::new("tr").namespaces() {
        harness
            .api
            .edit(&Key::new("namespaces", "", &namespace), USER, |value| {
                value["metadata"]["labels"]["bailiwick.dev/jurisdiction"] = json!("EU");
                value["metadata"]["labels"]["bailiwick.dev/location"] = json!("es-mad-1");
            });
    }
    harness.crash();
    harness.apply(&tr_with(&[
        ("/spec/residency/jurisdiction", json!("EU")),
        ("/spec/residency/location", json!("es-mad-1")),
        ("/spec/network", Value::Null),
        (
            "/spec/postgres/storage/data/storageClass",
            json!("es-mad-1-local"),
        ),
        (
            "/spec/objectStore/volume/storageClass",
            json!("es-mad-1-local"),
        ),
    ]));
    harness.settle().await;
    assert_eq!(harness.condition("Accepted").1, "ForeignVolume");
    assert_eq!(harness.api.all("statefulsets", "tr"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_paused_region_gets_nothing_but_its_status() {
    let mut harness = Harness::running().await;
    harness.apply(&tr_with(&[
        ("/spec/lifecycle", json!({"paused": true})),
        ("/spec/postgres/resources/memory", json!("768Mi")),
    ]));
    harness.api.remove(&key("services", "tr-pg-ro"));
    harness
        .world
        .change("tr", |data| data.store.buckets.clear());
    harness.settle().await;
    let calls = harness.journal.take();
    assert_eq!(changes(&calls), ["apply regions/status tr"]);
    assert!(calls.iter().all(|call| call.verb != "step"));
    assert_eq!(harness.condition("Paused").0, "True");
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!((&*status, &*reason), ("True", "ObjectMissing"));
    let told = "Service/tr-pg-ro is missing, and is made anew once spec.lifecycle.paused is false.";
    assert_eq!(message, told);

    harness.apply(&tr());
    harness.settle().await;
    assert!(harness.api.get(&key("services", "tr-pg-ro")).is_some());
    assert!(
        harness
            .world
            .of("tr")
            .store
            .buckets
            .contains_key("documents")
    );
    assert_eq!(harness.condition("Paused").0, "False");
}

#[tokio::test]
async fn a_paused_region_without_one_of_its_secrets_is_not_whole() {
    let mut harness = Harness::running().await;
    let name = Names::new("tr").postgres_role("clinical_app_writer");
    let login = key("secrets", &name);
    harness.apply(&tr_with(&[("/spec/lifecycle", json!({"paused": true}))]));
    harness.settle().await;
    assert_eq!(harness.condition("Degraded").0, "False");
    harness.api.remove(&login);
    harness.now_is(SignedDuration::from_secs(26));
    harness.settle().await;
    assert!(harness.api.get(&login).is_none());
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!((&*status, &*reason), ("True", "SecretMissing"));
    assert!(message.contains(&login.name), "{message}");

    harness.apply(&tr());
    harness.settle().await;
    assert!(harness.api.get(&login).is_some());
    assert_eq!(harness.condition("Degraded").0, "False");
}

#[tokio::test]
async fn a_hibernated_region_has_no_pods_and_wakes_with_its_data() {
    let mut harness = Harness::running().await;
    let claims = harness.api.all("persistentvolumeclaims", "tr");
    harness.apply(&tr_with(&[(
        "/spec/lifecycle",
        json!({"hibernated": true}),
    )]));
    harness.settle().await;
    let pods: Vec<String> = harness
        .api
        .all("pods", "tr")
        .iter()
        .map(|pod| text(pod, "/metadata/name").to_owned())
        // Those of Jobs have ended.
        .filter(|name| {
            !["stanza", "backup", "canary"]
                .iter()
                .any(|it| name.contains(it))
        })
        .collect();
    assert_eq!(pods, Vec::<String>::new());
    assert_eq!(harness.api.all("persistentvolumeclaims", "tr"), claims);
    for type_ in ["Ready", "PostgresAvailable", "ObjectStoreAvailable"] {
        let (status, reason, _) = harness.condition(type_);
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "Hibernated"),
            "{type_}"
        );
    }
    assert_eq!(harness.condition("Degraded").0, "False");
    assert_eq!(harness.condition("Progressing").0, "False");

    harness.apply(&tr());
    let look = harness.look().await;
    look.result.unwrap();
    // It starts: nothing has failed.
    assert_ne!(harness.condition("WALArchiving").0, "False");
    harness.settle().await;
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(harness.api.all("persistentvolumeclaims", "tr"), claims);
}

/// Lets the volumes of `tr`'s storage class grow, or not.
#[tokio::test]
async fn members_leave_one_at_a_time_and_the_primary_hands_over_first() {
    let mut harness = Harness::running().await;
    harness.apply(&tr_with(&[("/spec/postgres/instances", json!(3))]));
    harness.settle().await;
    harness
        .world
        .change("tr", |data| data.leader = Some("tr-pg-2".to_owned()));
    harness.settle().await;
    harness.journal.take();
    harness.apply(&tr_with(&[("/spec/postgres/instances", json!(1))]));
    let replicas = |harness: &Harness| {
        let set = harness.api.get(&key("statefulsets", "tr-pg")).unwrap();
        set["spec"]["replicas"].as_i64().unwrap()
    };
    let mut seen = vec![replicas(&harness)];
    for _ in 0..20 {
        harness.turn();
        harness.look().await.result.unwrap();
        let leader = harness.world.of("tr").leader.unwrap();
        assert!(
            harness.api.is(&key("pods", &leader), |_| true),
            "the primary {leader} was stopped"
        );
        if seen.last() != Some(&replicas(&harness)) {
            seen.push(replicas(&harness));
        }
    }
    assert_eq!(seen, [3, 2, 1]);
    harness.settle().await;
    assert_eq!(harness.world.of("tr").leader.as_deref(), Some("tr-pg-0"));
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(harness.condition("Progressing").1, "Settled");
    let handovers = harness.journal.take();
    let handovers = handovers
        .iter()
        .filter(|call| call.to_string().contains("Switchover"));
    assert_eq!(handovers.count(), 1);
}

fn let_volumes_grow(harness: &Harness, yes: bool) {
    let class = Key::new("storageclasses", "", "tr-ist-1-local");
    harness.api.edit(&class, "admin", |it| {
        it["allowVolumeExpansion"] = json!(yes);
    });
}

fn sizes(harness: &Harness, part: &str) -> Vec<String> {
    harness
        .api
        .all("persistentvolumeclaims", "tr")
        .iter()
        .filter(|claim| text(claim, "/metadata/name").contains(part))
        .map(|claim| text(claim, "/status/capacity/storage").to_owned())
        .collect()
}

#[tokio::test]
async fn volumes_grow_with_one_write_each_and_their_template_stays() {
    let mut harness = Harness::running().await;
    let_volumes_grow(&harness, true);
    let templates = |harness: &Harness| {
        let set = harness.api.get(&key("statefulsets", "tr-pg")).unwrap();
        set["spec"]["volumeClaimTemplates"].clone()
    };
    let before = templates(&harness);
    harness.apply(&tr_with(&[
        ("/spec/postgres/storage/data/size", json!("64Gi")),
        ("/spec/objectStore/volume/size", json!("65Gi")),
    ]));
    harness.settle().await;
    let members = harness.region().spec.postgres.instances;
    assert_eq!(
        sizes(&harness, "-pg-"),
        vec!["64Gi"; usize::try_from(members).unwrap()]
    );
    assert!(sizes(&harness, "-s3-").iter().all(|size| size == "65Gi"));
    assert!(!sizes(&harness, "-s3-").is_empty());
    assert_eq!(templates(&harness), before);
    assert_eq!(harness.condition("Degraded").0, "False");
    assert_eq!(harness.condition("Progressing").0, "False");
    let claims = harness.api.all("persistentvolumeclaims", "tr").len();
    let grown = harness
        .journal
        .take()
        .iter()
        .filter(|call| call.is_write() && call.resource == "persistentvolumeclaims")
        .count();
    assert_eq!(grown, claims);

    // A member added later starts with the old size and grows like the others.
    harness.apply(&tr_with(&[
        ("/spec/postgres/storage/data/size", json!("64Gi")),
        ("/spec/objectStore/volume/size", json!("65Gi")),
        ("/spec/postgres/instances", json!(members + 1)),
    ]));
    harness.settle().await;
    assert_eq!(
        sizes(&harness, "-pg-"),
        vec!["64Gi"; usize::try_from(members).unwrap() + 1]
    );
    let look = harness.look().await;
    assert_eq!(look.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_class_that_cannot_grow_is_told_of_and_holds_nothing_else_up() {
    let mut harness = Harness::running().await;
    let before = sizes(&harness, "");
    harness.apply(&tr_with(&[
        ("/spec/postgres/storage/data/size", json!("64Gi")),
        ("/spec/postgres/instances", json!(3)),
    ]));
    harness.settle().await;
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "VolumeCannotGrow")
    );
    for part in [
        "data-tr-pg-0",
        "spec.postgres.storage.data.size",
        "allowVolumeExpansion",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(sizes(&harness, "").len(), before.len() + 1);
    assert!(sizes(&harness, "").iter().all(|size| size != "64Gi"));
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());

    let_volumes_grow(&harness, true);
    harness.settle().await;
    assert_eq!(sizes(&harness, "-pg-"), vec!["64Gi"; 3]);
    assert_eq!(harness.condition("Degraded").0, "False");
}

#[tokio::test]
async fn growth_that_is_refused_is_a_step_that_failed_and_is_tried_ever_later() {
    let mut harness = Harness::running().await;
    let_volumes_grow(&harness, true);
    harness.sync().await;
    harness.apply(&tr_with(&[(
        "/spec/postgres/storage/data/size",
        json!("64Gi"),
    )]));
    harness.sync().await;
    // The operator's cache still says that they may: what refuses could be a quota as well.
    let_volumes_grow(&harness, false);
    let region = Arc::new(harness.region());
    let mut waits = Vec::new();
    for _ in 0..8 {
        let look = harness.look_at(region.clone()).await;
        waits.push(look.result.unwrap());
    }
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "StepFailed"));
    assert!(message.contains("data-tr-pg-0"), "{message}");
    assert_eq!(waits[0], Action::requeue(Duration::from_secs(3)));
    assert_eq!(waits[7], Action::requeue(SETTLED));
}

type Change = fn(&mut Value);

/// Puts what a drill has of the same names as the live Region: in trouble, smaller, older and failed.
fn put_namesakes_of_a_drill(harness: &Harness) -> usize {
    let changes: [(&str, Change); 4] = [
        ("pods", |pod| {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
            pod["metadata"]["labels"]["controller-revision-hash"] = json!("older");
            pod["status"]["containerStatuses"] = json!([{
                "name": "postgres", "ready": false, "restartCount": 9, "image": "", "imageID": "",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            }]);
        }),
        ("persistentvolumeclaims", |claim| {
            claim["spec"]["resources"]["requests"]["storage"] = json!("1Mi");
            claim["status"]["capacity"]["storage"] = json!("1Mi");
        }),
        ("statefulsets", |set| {
            set["spec"]["replicas"] = json!(9);
            set["status"] = json!({"observedGeneration": 0, "replicas": 9, "readyReplicas": 0});
        }),
        ("jobs", |job| {
            job["status"]["conditions"] = json!([
                {"type": "Failed", "status": "True", "lastTransitionTime": "2026-11-21T08:01:00Z"},
            ]);
        }),
    ];
    let mut count = 0;
    for (resource, change) in changes {
        for mut copy in harness.api.all(resource, "tr") {
            let name = text(&copy, "/metadata/name").to_owned();
            let labels = copy["metadata"]["labels"].clone();
            copy["metadata"] = json!({"labels": labels});
            change(&mut copy);
            harness
                .api
                .put(&Key::new(resource, "tr-drill", &name), "drill", "", copy);
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn a_drills_namesakes_change_nothing_of_the_live_region() {
    let mut harness = Harness::running().await;
    let_volumes_grow(&harness, true);
    harness.settle().await;
    let told = |harness: &Harness| {
        let conditions = [
            "Ready",
            "PostgresAvailable",
            "ObjectStoreAvailable",
            "WALArchiving",
            "NetworkEnforced",
            "ResidencyEnforced",
            "Progressing",
            "Degraded",
        ];
        let status = harness.status();
        (
            conditions.map(|type_| harness.condition(type_)),
            status.postgres,
            status.object_store,
            status.backup,
        )
    };
    let before = told(&harness);
    harness.journal.take();
    let count = put_namesakes_of_a_drill(&harness);
    assert!(count > 10, "only {count} namesakes");
    for _ in 0..3 {
        harness.look().await.result.unwrap();
    }
    // No plan has these two; and of channel 1 it is said how many pods were judged.
    assert_eq!(
        changes(&harness.journal.take()),
        [
            "delete statefulsets tr-drill/tr-pg",
            "delete statefulsets tr-drill/tr-s3",
            "apply regions/status tr"
        ]
    );
    assert!(egress(&harness).1.contains("fence: 6 pods closed"));
    assert_eq!(told(&harness), before);
}

#[tokio::test]
async fn what_a_drill_has_elsewhere_is_a_finding_that_names_its_namespace() {
    let mut harness = Harness::running().await;
    put_namesakes_of_a_drill(&harness);
    harness.look().await.result.unwrap();
    let abroad = Key::new("pods", "tr-drill", "tr-pg-0");
    harness.api.edit(&abroad, "drill", |pod| {
        pod["spec"]["nodeName"] = json!("es-1");
    });
    harness.api.put(
        &Key::new("persistentvolumes", "", "pv-drill"),
        "csi",
        "",
        json!({"spec": {
            "claimRef": {"namespace": "tr-drill", "name": "data-tr-pg-0"},
            "persistentVolumeReclaimPolicy": "Retain",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["es-mad-1"]},
            ]}]}},
        }}),
    );
    harness.look().await.result.unwrap();
    let (state, finding) = channel(&harness, "12");
    let finding = finding.unwrap_or_default();
    assert_eq!(state, ChannelState::Unknown);
    assert!(
        finding.contains("pod tr-drill/tr-pg-0 runs on node es-1"),
        "{finding}"
    );
    let (state, finding) = channel(&harness, "13");
    let finding = finding.unwrap_or_default();
    assert_eq!(state, ChannelState::Unknown);
    assert!(
        finding
            .contains("PersistentVolume pv-drill of claim tr-drill/data-tr-pg-0 lies in es-mad-1"),
        "{finding}"
    );
}

#[tokio::test]
async fn snapshots_of_the_regions_namespaces_are_read_back() {
    let mut harness = Harness::running().await;
    let snapshot = |class: &str| json!({"spec": {"volumeSnapshotClassName": class}});
    let copy = Key::new("volumesnapshots", "tr-drill", "copy");
    harness
        .api
        .put(&copy, "csi", "", snapshot("tr-ist-1-local"));
    harness.crash();
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "14"), (ChannelState::Enforced, None));
    harness
        .api
        .put(&copy, "csi", "", snapshot("es-mad-1-local"));
    harness.crash();
    harness.look().await.result.unwrap();
    let (state, finding) = channel(&harness, "14");
    assert_eq!(state, ChannelState::Unknown);
    let finding = finding.unwrap_or_default();
    assert!(
        finding.contains("tr-drill/copy: VolumeSnapshot"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_child_that_is_deleted_is_made_again_with_one_write() {
    let mut harness = Harness::running().await;
    let mut kinds = BTreeSet::new();
    for child in children(&harness) {
        // Not watched: their loss is found when they are looked at again.
        if matches!(child.resource.as_str(), "secrets" | "configmaps" | "jobs") {
            continue;
        }
        kinds.insert(child.resource.clone());
        harness.api.remove(&child);
        harness.journal.take();
        let look = harness.look().await;
        assert_eq!(
            look.repairs(),
            [format!(
                "apply {} {}/{}",
                child.resource, child.namespace, child.name
            )]
        );
        assert!(harness.api.get(&child).is_some());
        harness.settle().await;
        assert_eq!(harness.condition("Ready").0, "True", "{child:?}");
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[tokio::test]
async fn a_child_that_is_edited_is_repaired_with_one_write() {
    let mut harness = Harness::running().await;
    let before = harness
        .api
        .get(&key("networkpolicies", "postgres"))
        .unwrap();
    harness
        .api
        .edit(&key("networkpolicies", "postgres"), USER, |policy| {
            policy["spec"]["ingress"] = json!([{}]);
        });
    let look = harness.look().await;
    assert_eq!(look.writes(), ["apply networkpolicies tr/postgres"]);
    let after = harness
        .api
        .get(&key("networkpolicies", "postgres"))
        .unwrap();
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(undone(&harness), 1);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

/// How many changes by somebody else were put right.
fn undone(harness: &Harness) -> u64 {
    let name = "bailiwick_foreign_changes_undone_total{region=\"tr\"} ";
    let text = harness.ctx.metrics.text();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.parse().ok())
        .unwrap_or_default()
}

#[tokio::test]
async fn what_follows_from_the_spec_is_no_foreign_change() {
    let mut harness = Harness::running().await;
    assert_eq!(undone(&harness), 0, "making a Region");
    harness.apply(&tr_with(&[("/spec/network/external", json!([]))]));
    harness.settle().await;
    assert_eq!(undone(&harness), 0, "changing its spec");
    harness.world.change("tr", |data| {
        let bucket = data.store.buckets.get_mut("documents").unwrap();
        bucket.outlets.insert(BucketOutlet::Policy);
    });
    harness.settle().await;
    assert_eq!(undone(&harness), 1, "opening its store");
}

#[tokio::test]
async fn what_is_around_a_region_is_read_again_with_its_spec() {
    let mut harness = Harness::running().await;
    let read = |look: &Look| {
        look.requests()
            .iter()
            .any(|request| request.starts_with("rules selfsubjectrulesreviews"))
    };
    assert!(!read(&harness.look().await), "nothing has changed");
    harness.apply(&tr_with(&[("/spec/network/external", json!([]))]));
    let look = harness.look().await;
    assert!(read(&look), "{:?}", look.requests());
    harness.settle().await;
    assert!(!read(&harness.look().await), "nothing has changed");
}

#[tokio::test]
async fn what_somebody_else_adds_to_a_child_is_taken_away() {
    let mut harness = Harness::running().await;
    let deny = key("networkpolicies", "default-deny");
    harness.api.edit(&deny, USER, |policy| {
        // A field that our manifest does not have: an apply alone would leave it.
        policy["spec"]["ingress"] = json!([{}]);
    });
    let look = harness.look().await;
    assert!(look.writes().len() <= 2, "{:?}", look.writes());
    assert_eq!(harness.api.get(&deny).unwrap()["spec"].get("ingress"), None);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn an_edit_that_comes_while_we_apply_is_not_lost() {
    let mut harness = Harness::running().await;
    let deny = key("networkpolicies", "default-deny");
    harness.api.edit(&deny, USER, |policy| {
        policy["spec"]["policyTypes"] = json!(["Egress"]);
    });
    harness.sync().await;
    // Before its answer reaches us somebody edits again, and the watch is faster than our answer.
    let (api, watched) = (
        harness.api.clone(),
        harness.ctx.watched.network_policies.clone(),
    );
    let late = deny.clone();
    harness.api.after_next(&deny.clone(), move || {
        api.edit(&late, USER, |policy| {
            policy["spec"]["ingress"] = json!([{}]);
        });
        let live = api.get(&late).unwrap();
        let object: kube::api::DynamicObject = serde_json::from_value(live).unwrap();
        let place = bailiwick_operator::watch::Object {
            namespace: "tr".to_owned(),
            name: "default-deny".to_owned(),
        };
        watched.put(
            "tr",
            place,
            bailiwick_operator::version::Version::of(&object),
        );
    });
    let region = Arc::new(harness.region());
    harness.look_at(region.clone()).await.result.unwrap();
    // The watch has told already, and tells it no second time.
    harness.look_at(region).await.result.unwrap();
    assert_eq!(harness.api.get(&deny).unwrap()["spec"].get("ingress"), None);
}

#[tokio::test]
async fn a_lost_key_with_volumes_is_said_and_never_minted_anew() {
    let names = Names::new("tr");
    for name in [
        names.authority(),
        names.postgres_internal(),
        names.backup_key(),
        names.object_store_key(),
    ] {
        let mut harness = Harness::running().await;
        harness.api.remove(&key("secrets", &name));
        harness.crash();
        harness.settle().await;
        let (status, reason, message) = harness.condition("Accepted");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "KeyMissing"),
            "{name}"
        );
        assert!(message.contains(&name), "{message}");
        assert_eq!(harness.api.get(&key("secrets", &name)), None);
        assert_eq!(
            changes(&harness.journal.take()),
            ["apply regions/status tr"]
        );
    }
}

#[tokio::test]
async fn a_lost_login_is_minted_anew_and_set_in_the_database() {
    let mut harness = Harness::running().await;
    let login = key(
        "secrets",
        &Names::new("tr").postgres_role("clinical_app_writer"),
    );
    let before = harness.api.get(&login).unwrap();
    harness.api.remove(&login);
    harness.crash();
    harness.settle().await;
    assert_ne!(
        harness.api.get(&login).unwrap()["data"]["password"],
        before["data"]["password"]
    );
    let steps: Vec<String> = harness
        .journal
        .take()
        .iter()
        .filter(|call| call.verb == "step")
        .map(|call| call.name.clone())
        .collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].contains("clinical_app_writer"), "{steps:?}");
}

fn encoded(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}

#[tokio::test]
async fn what_follows_from_an_edited_password_is_made_to_follow() {
    let mut harness = Harness::new();
    harness.apply(&tr_with(&[(
        "/spec/postgres/roles",
        json!([{"name": "reporting", "login": true, "database": "clinical"}]),
    )]));
    harness.settle().await;
    let login = key("secrets", "tr-pg-role-reporting");
    harness.api.edit(&login, USER, |secret| {
        secret["data"]["password"] = encoded("s3cret/with@signs");
    });
    // The operator looks at Secrets when it starts, and every five minutes.
    harness.crash();
    harness.journal.take();
    harness.settle().await;
    let secret = harness.api.get(&login).unwrap();
    assert_eq!(secret["data"]["password"], encoded("s3cret/with@signs"));
    assert_eq!(
        secret["data"]["uri"],
        encoded(
            "postgresql://reporting:s3cret%2Fwith%40signs@tr-pg-rw.tr.svc:5432/clinical?sslmode=verify-full\
             &sslrootcert=/etc/bailiwick/postgres/ca.crt"
        )
    );
    let written = changes(&harness.journal.take());
    let replaced = written.iter().filter(|write| write.contains("secrets"));
    assert_eq!(replaced.count(), 1, "{written:?}");

    // An empty one is set nowhere, and is told of.
    harness.api.edit(&login, USER, |secret| {
        secret["data"]["password"] = encoded("");
    });
    harness.crash();
    harness.journal.take();
    harness.settle().await;
    let (status, reason, message) = harness.condition("Degraded");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "SecretValueMissing")
    );
    assert!(
        message.contains("tr-pg-role-reporting") && message.contains("key password"),
        "{message}"
    );
    let calls = harness.journal.take();
    assert!(
        calls.iter().all(|call| !call.name.contains("password")),
        "{calls:?}"
    );
}

#[tokio::test]
async fn certificates_are_renewed_at_two_thirds_of_their_life_and_nothing_else_is() {
    let mut harness = Harness::running().await;
    let secrets = |harness: &Harness| harness.api.all("secrets", "tr");
    let renewed = |before: &[Value], after: &[Value]| -> Vec<String> {
        before
            .iter()
            .zip(after)
            .filter(|(before, after)| before["data"] != after["data"])
            .map(|(before, _)| text(before, "/metadata/name").to_owned())
            .collect()
    };
    let before = secrets(&harness);
    harness.now_is(SignedDuration::from_hours(LIFETIME_HOURS * 2 / 3 - 2));
    harness.settle().await;
    assert_eq!(renewed(&before, &secrets(&harness)), Vec::<String>::new());

    harness.journal.take();
    harness.now_is(SignedDuration::from_hours(LIFETIME_HOURS * 2 / 3 + 2));
    harness.settle().await;
    let names = Names::new("tr");
    assert_eq!(
        renewed(&before, &secrets(&harness)),
        [
            names.client_certificate(),
            names.postgres_certificate(),
            names.object_store_certificate()
        ]
    );
    let written = changes(&harness.journal.take());
    assert_eq!(
        written.len(),
        4,
        "three Secrets and the status: {written:#?}"
    );
    assert_eq!(harness.condition("CertificatesValid").0, "True");
}

#[tokio::test]
async fn a_standby_without_the_lease_sends_nothing() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.restart_with(Lease::new());
    let look = harness.look().await;
    let error = look.result.unwrap_err();
    assert_eq!(look.calls, []);
    assert_eq!(error.retry(), Retry::Soon);
    assert_eq!(children(&harness), []);
}

#[tokio::test]
async fn a_stale_cache_of_the_region_does_not_hide_what_is_to_be_written() {
    let mut harness = Harness::running().await;
    // The cache shows the Region as it was before both looks.
    let stale = Arc::new(harness.region());
    harness
        .world
        .change("tr", |data| data.store.encrypts = true);
    harness.journal.fault_on(Fault::Fail, |call| {
        call.verb == "read" && call.resource == "object store"
    });
    harness.look_at(stale.clone()).await.result.unwrap();
    assert_eq!(harness.condition("ObjectStoreAvailable").0, "False");
    harness.journal.heal();
    harness.look_at(stale).await.result.unwrap();
    assert_eq!(harness.condition("ObjectStoreAvailable").0, "True");
}

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
async fn the_first_status_speaks_of_the_certificates_that_its_look_made() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.look().await.result.unwrap();
    let (status, reason, message) = harness.condition("CertificatesValid");
    assert_eq!(status, "True", "{reason}: {message}");
    assert_eq!(harness.look().await.writes(), Vec::<String>::new());
}

/// The state of a channel, and what was found open.
fn channel(harness: &Harness, id: &str) -> (ChannelState, Option<String>) {
    let residency = harness.status().residency.unwrap();
    let row = residency.channels.iter().find(|row| row.id == id).unwrap();
    (row.state, row.finding.clone())
}

#[tokio::test]
async fn a_secret_that_may_be_copied_is_read_again_with_each_look() {
    let mut harness = Harness::running().await;
    let mark = |harness: &Harness, marks: Value| {
        harness
            .api
            .edit(&key("secrets", "tr-backup-key"), USER, |secret| {
                secret["metadata"]["annotations"] = marks;
            });
    };
    mark(
        &harness,
        json!({ "reflector.v1.k8s.emberstack.com/reflection-allowed": "true" }),
    );
    harness.crash();
    // It does not settle: that is the point.
    for _ in 0..5 {
        harness.look().await.result.unwrap();
    }
    let found = channel(&harness, "22").1.unwrap();
    assert!(found.contains("an annotation"), "{found}");
    mark(
        &harness,
        json!({ "argocd.argoproj.io/sync-options": "Prune=false,Delete=false" }),
    );
    harness.look().await.result.unwrap();
    assert!(
        channel(&harness, "22")
            .1
            .is_none_or(|found| !found.contains("an annotation"))
    );
}

#[tokio::test]
async fn what_stood_open_is_told_of_although_the_same_look_shuts_it() {
    let mut harness = Harness::running().await;
    assert_eq!(channel(&harness, "21"), (ChannelState::Enforced, None));
    harness.world.change("tr", |data| {
        let bucket = data.store.buckets.get_mut("documents").unwrap();
        bucket.outlets.insert(BucketOutlet::Policy);
    });
    let look = harness.look().await;
    look.result.unwrap();
    assert!(
        harness.world.of("tr").store.buckets["documents"]
            .outlets
            .is_empty()
    );
    let (state, finding) = channel(&harness, "21");
    assert_eq!(state, ChannelState::Unknown);
    assert!(finding.unwrap().contains("the policy"));
    harness.settle().await;
    assert_eq!(channel(&harness, "21"), (ChannelState::Enforced, None));
}

#[tokio::test]
async fn a_marker_that_is_missing_is_put_and_one_that_is_anothers_is_told_of() {
    let mut harness = Harness::running().await;
    let marker = |harness: &Harness| harness.world.of("tr").store.marker;
    let set = |harness: &Harness, marker: Observed<Marker>| {
        harness
            .world
            .change("tr", |data| data.store.marker = marker);
    };
    assert_eq!(marker(&harness), Observed::Seen(Marker::Ours));
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    let before = harness.condition("ResidencyEnforced").0;
    assert_ne!(before, "False");

    set(&harness, Observed::Seen(Marker::Missing));
    harness.settle().await;
    assert_eq!(marker(&harness), Observed::Seen(Marker::Ours));
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    let puts = |harness: &Harness| {
        let calls = harness.journal.take();
        let put = |call: &&Call| call.to_string().contains(MARKER);
        calls.iter().filter(put).count()
    };
    assert_eq!(puts(&harness), 1);

    let foreign = Observed::Seen(Marker::Foreign(Difference::Region));
    set(&harness, foreign.clone());
    harness.look().await.result.unwrap();
    let (state, finding) = channel(&harness, "17");
    assert_eq!(state, ChannelState::Unknown);
    assert!(finding.unwrap().contains("names another Region"));
    let (enforced, reason, _) = harness.condition("ResidencyEnforced");
    assert_eq!(
        (enforced.as_str(), reason.as_str()),
        ("False", "ChannelOpen")
    );
    assert_eq!(harness.condition("BackupsResident").0, "False");
    assert_eq!(harness.condition("ObjectStoreContained").0, "True");
    assert_eq!(harness.condition("Quarantined").0, "False");
    assert_eq!(puts(&harness), 0);
    assert_eq!(marker(&harness), foreign);

    // What is not read is not missing, and no more is known to stand open.
    set(&harness, Observed::Failed(ReadFailure::TimedOut.into()));
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    assert_eq!(puts(&harness), 0);

    // Once it is out of the way, the Region's own comes back.
    set(&harness, Observed::Seen(Marker::Missing));
    harness.settle().await;
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    assert_eq!(harness.condition("ResidencyEnforced").0, before);
}

#[tokio::test]
async fn the_newest_wal_is_looked_for_in_the_repository_and_not_with_each_look() {
    let mut harness = Harness::running().await;
    let key = "tr/archive/tr-i1/17-1/0000000100000000/000000010000000000000003-";
    assert_eq!(harness.world.of("tr").looked_for, [key]);
    let last = |harness: &Harness, name: Option<&str>| {
        harness.world.change("tr", |data| {
            data.postgres.archiver.last_archived = name.map(str::to_owned);
        });
    };
    // More WAL, or a member that leads now and has archived none, is no reason to look again so soon.
    for name in [Some("000000010000000000000004"), None] {
        last(&harness, name);
        harness.look().await.result.unwrap();
        assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));
    }
    assert_eq!(harness.world.of("tr").looked_for, [key]);

    // An operator that starts while no WAL was archived does not know.
    harness.crash();
    harness.settle().await;
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    assert_eq!(harness.world.of("tr").looked_for, [key]);

    // What arrives elsewhere is told of, and looked for until it arrives.
    last(&harness, Some("000000010000000000000005"));
    harness
        .world
        .change("tr", |data| data.archives_elsewhere = true);
    for looked in 2..4 {
        harness.look().await.result.unwrap();
        let (state, finding) = channel(&harness, "17");
        assert_eq!(state, ChannelState::Unknown);
        assert!(finding.unwrap().contains("may write elsewhere"));
        assert_eq!(harness.world.of("tr").looked_for.len(), looked);
    }
    assert_eq!(harness.condition("BackupsResident").0, "False");
    assert_eq!(harness.condition("Quarantined").0, "False");

    // What is not read is not missing.
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.resource == "archived file");
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    harness.journal.heal();
    harness
        .world
        .change("tr", |data| data.archives_elsewhere = false);
    harness.look().await.result.unwrap();
    assert_eq!(channel(&harness, "17"), (ChannelState::Enforced, None));

    // Of a store that is not read nobody asks for WAL.
    let looked = harness.world.of("tr").looked_for.len();
    harness.crash();
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.resource == "object store");
    for _ in 0..3 {
        harness.look().await.result.unwrap();
    }
    assert_eq!(channel(&harness, "17"), (ChannelState::Unknown, None));
    assert_eq!(harness.world.of("tr").looked_for.len(), looked);
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
async fn whoever_deploys_from_git_prunes_no_secret() {
    let harness = Harness::running().await;
    let secrets = harness.api.all("secrets", "tr");
    assert!(secrets.len() >= 10, "only {} Secrets", secrets.len());
    for secret in secrets {
        assert_eq!(
            secret["metadata"]["annotations"]["argocd.argoproj.io/sync-options"],
            "Prune=false,Delete=false",
            "{}",
            secret["metadata"]["name"]
        );
    }
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

/// Waits until something holds of a Region, for a minute at most.
async fn until(harness: &Harness, region: &str, holds: impl Fn(&Value) -> bool) {
    let key = Key::new("regions", "", region);
    let done = async {
        while !harness.api.is(&key, &holds) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), done).await;
    assert!(in_time.is_ok(), "{:#}", harness.api.get(&key).unwrap());
}

/// The status and reason of a condition of a Region as the API server has it.
fn condition_of(region: &Value, type_: &str) -> (String, String) {
    let conditions = region
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == type_);
    found.map_or_else(Default::default, |found| {
        (
            text(found, "/status").to_owned(),
            text(found, "/reason").to_owned(),
        )
    })
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

#[tokio::test]
async fn an_operator_that_starts_among_many_regions_takes_all_of_them_up() {
    const REGIONS: usize = 150;
    let harness = Harness::new();
    for number in 0..REGIONS {
        let name = format!("r{number}");
        let mut region = tr();
        region["metadata"]["name"] = json!(name);
        // Another cluster's: each look is short.
        region["spec"]["residency"]["location"] = json!("de-fra-1");
        harness
            .api
            .user_applies(&Key::new("regions", "", &name), &region);
        let labels = json!({
            "bailiwick.dev/region": name, "app.kubernetes.io/managed-by": "bailiwick-operator",
        });
        for kind in [
            "persistentvolumeclaims",
            "pods",
            "statefulsets",
            "services",
            "networkpolicies",
            "poddisruptionbudgets",
            "jobs",
            "cronjobs",
        ] {
            let mut child = json!({"metadata": {"labels": labels}});
            if kind == "statefulsets" {
                child["spec"] =
                    json!({"replicas": 0, "selector": {}, "template": {}, "serviceName": ""});
            }
            harness
                .api
                .put(&Key::new(kind, &name, "child"), USER, "", child);
        }
    }
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let running = tokio::spawn(run(harness.ctx.clone(), async {
        let _ = stopped.await;
    }));
    let done = async {
        loop {
            let reported = (0..REGIONS)
                .filter(|number| {
                    let key = Key::new("regions", "", &format!("r{number}"));
                    harness
                        .api
                        .is(&key, |region| region.get("status").is_some())
                })
                .count();
            if reported == REGIONS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), done).await;
    assert!(
        in_time.is_ok(),
        "still missing: {:?}",
        harness.ctx.not_ready()
    );
    assert_eq!(harness.ctx.not_ready(), Vec::<String>::new());
    stop.send(()).unwrap();
    running.await.unwrap();
}

/// The pods of a canary, and what the newest was asked.
fn canary(harness: &Harness, guise: Guise) -> (Vec<Key>, Question) {
    let pods: Vec<Value> = harness
        .api
        .all("pods", "tr")
        .into_iter()
        .filter(|pod| pod["metadata"]["labels"][LABEL_TASK] == guise.label())
        .collect();
    let variable = &pods.last().unwrap()["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["name"], VARIABLE);
    (
        pods.iter()
            .map(|pod| key("pods", text(pod, "/metadata/name")))
            .collect(),
        serde_json::from_str(text(variable, "/value")).unwrap(),
    )
}

/// Lets the newest pod of a canary have answered otherwise.
fn let_answer(harness: &Harness, guise: Guise, answer: impl FnOnce(&Question, &str) -> String) {
    const MESSAGE: &str = "/status/containerStatuses/0/state/terminated/message";
    let (pods, question) = canary(harness, guise);
    let pod = pods.last().unwrap();
    let mut value = harness.api.get(pod).unwrap();
    let new = answer(&question, text(&value, MESSAGE));
    *value.pointer_mut(MESSAGE).unwrap() = json!(new);
    assert!(harness.api.put(pod, "kubelet", "status", value));
}

/// What a canary answers that gets this from a class of targets, but for its own node.
fn otherwise(class: Class, outcome: Tried) -> impl FnOnce(&Question, &str) -> String {
    move |question, old| {
        let mut answer: Answer = serde_json::from_str(old).unwrap();
        for (target, tried) in question.targets.iter().zip(&mut answer.outcomes) {
            if target.class == class && target.name != "tr-1" {
                *tried = outcome;
            }
        }
        serde_json::to_string(&answer).unwrap()
    }
}

/// The network's condition, after one look that sends nothing but the status.
async fn network(harness: &mut Harness) -> (String, String, String) {
    harness.journal.take();
    harness.look().await.result.unwrap();
    let sent = changes(&harness.journal.take());
    assert!(
        sent.iter().all(|call| call == "apply regions/status tr"),
        "{sent:?}"
    );
    harness.condition("NetworkEnforced")
}

#[tokio::test]
async fn the_network_is_what_the_canaries_last_said_of_it() {
    let mut harness = Harness::running().await;
    let (status, reason, message) = harness.condition("NetworkEnforced");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Held"));
    for class in [
        "OutsideAddress",
        "OutsideName",
        "OtherNode",
        "MetadataAddress",
    ] {
        assert!(message.contains(class), "{message}");
    }

    // A reset counts as reached here, and shuts nothing.
    let reset = |class| otherwise(class, Tried::Refused);
    let_answer(&harness, Guise::Postgres, reset(Class::OtherNode));
    let (status, reason, message) = network(&mut harness).await;
    assert_eq!((status.as_str(), reason.as_str()), ("False", "LeakFound"));
    assert!(message.contains("es-1"), "{message}");
    assert!(message.contains("flow postgres"), "{message}");

    // Members of Postgres may reach the API server, and nobody else.
    let_answer(&harness, Guise::Postgres, |question, _| {
        let answer = Answer {
            question: question.id.clone(),
            outcomes: question
                .targets
                .iter()
                .map(|target| match target.class {
                    Class::ApiServer | Class::OwnObjectStore => Tried::Reached,
                    Class::ClusterName => Tried::Resolved,
                    Class::OutsideName => Tried::NotResolved,
                    _ => Tried::Blocked,
                })
                .collect(),
        };
        serde_json::to_string(&answer).unwrap()
    });
    assert_eq!(network(&mut harness).await.1, "Held");
    let_answer(&harness, Guise::Plain, reset(Class::ApiServer));
    assert_eq!(network(&mut harness).await.1, "LeakFound");
    assert_eq!(harness.condition("Quarantined").0, "False");

    let_answer(&harness, Guise::Plain, |_, _| "killed".to_owned());
    let (status, reason, _) = network(&mut harness).await;
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("Unknown", "CanaryMissing")
    );
}

#[tokio::test]
async fn a_leak_shuts_the_region_off_until_none_is_seen() {
    let mut harness = Harness::running().await;
    let recorded = |calls: &[Call]| calls.iter().any(|call| call.verb == "record");
    let leak = otherwise(Class::OtherNode, Tried::Reached);
    let_answer(&harness, Guise::Postgres, leak);
    harness.journal.take();
    harness.settle().await;
    let calls = harness.journal.take();
    let sent = changes(&calls);
    assert_eq!(sent[..1], ["apply networkpolicies tr/external"], "{sent:?}");
    for (condition, state, reason) in [
        ("Quarantined", "True", "LeakFound"),
        ("NetworkEnforced", "False", "LeakFound"),
        ("ResidencyEnforced", "False", "LeakFound"),
        ("Ready", "False", "Quarantined"),
        ("PostgresAvailable", "True", "PrimaryRunning"),
    ] {
        let found = harness.condition(condition);
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (state, reason),
            "{condition}"
        );
    }
    let events = calls
        .iter()
        .filter(|call| call.resource == "events")
        .count();
    assert_eq!(events, 3, "Quarantined, ResidencyEnforced and Ready");
    assert!(recorded(&calls), "nothing was recorded");
    assert_eq!(harness.status().residency.unwrap().breach.count, 1);
    let text = harness.ctx.metrics.text();
    assert!(
        text.contains("bailiwick_region_quarantined{region=\"tr\"} 1"),
        "{text}"
    );

    // The canaries have answered the boundary as it is now, and got nowhere; the Region declares an endpoint.
    assert_eq!(harness.condition("Quarantined").0, "True");

    // Whoever empties the status ends nothing by it.
    let breach = harness.status().residency.unwrap().breach;
    let region = Key::new("regions", "", "tr");
    let mut value = harness.api.get(&region).unwrap();
    value["status"] = json!({});
    assert!(harness.api.put(&region, "somebody", "status", value));
    harness.settle().await;
    assert_eq!(harness.status().residency.unwrap().breach, breach);
    let sent = changes(&harness.journal.take());
    assert!(
        !sent.contains(&"apply networkpolicies tr/external".to_owned()),
        "{sent:?}"
    );
    assert_eq!(harness.condition("Quarantined").0, "True");

    harness.now_is(SignedDuration::from_mins(11));
    harness.settle().await;
    let calls = harness.journal.take();
    let sent = changes(&calls);
    assert!(
        sent.contains(&"apply networkpolicies tr/external".to_owned()),
        "{sent:?}"
    );
    assert_eq!(harness.condition("Quarantined").0, "False");
    assert_eq!(harness.condition("Ready").0, "True");
    assert!(recorded(&calls), "nothing was recorded");
}

#[tokio::test]
async fn a_region_made_anew_while_nobody_watched_is_not_the_one_before() {
    let mut harness = Harness::running().await;
    let leak = otherwise(Class::OtherNode, Tried::Reached);
    let_answer(&harness, Guise::Postgres, leak);
    harness.settle().await;
    assert_eq!(harness.condition("Quarantined").0, "True");
    // Its canaries and what they answered go with it, and the operator goes on.
    harness
        .api
        .user_applies_next(&Key::new("regions", "", "tr"), &tr());
    harness.api.remove(&Key::new("regions", "", "tr"));
    harness.settle().await;
    assert_eq!(harness.status().residency.unwrap().breach.count, 0);
    assert_eq!(harness.condition("Quarantined").0, "False");
}

#[tokio::test]
async fn a_status_that_somebody_emptied_is_whole_again() {
    let mut harness = Harness::running().await;
    let before = harness.status();
    let region = Key::new("regions", "", "tr");
    let mut value = harness.api.get(&region).unwrap();
    value["status"] = json!({});
    assert!(harness.api.put(&region, "somebody", "status", value));
    harness.settle().await;
    let after = harness.status();
    let end =
        |status: bailiwick_model::region::RegionStatus| status.residency.unwrap().evidence.unwrap();
    let (before, after) = (end(before), end(after));
    assert_eq!(after.sequence, before.sequence);
    assert_eq!(after.hash, before.hash);
    assert!(!after.told.is_empty(), "{after:?}");
    assert_eq!(harness.condition("EvidenceRecorded").0, "True");
}

#[tokio::test]
async fn what_somebody_writes_into_a_status_does_not_stay_there() {
    let region = Key::new("regions", "", "tr");
    let mut harness = Harness::running().await;
    let before = harness.api.get(&region).unwrap()["status"].clone();
    for (list, entry) in [
        ("/postgres/retained", json!("database of nobody")),
        ("/postgres/secretsToDelete", json!("tr-pg-role-of-nobody")),
        ("/objectStore/retained", json!("bucket of nobody")),
        (
            "/residency/channels",
            json!({"id": "99", "state": "Enforced", "evidence": "seen"}),
        ),
        ("/conditions", certified()),
    ] {
        let mut value = harness.api.get(&region).unwrap();
        let (parent, field) = list.rsplit_once('/').unwrap();
        let parent = value.pointer_mut(&format!("/status{parent}")).unwrap();
        match &mut parent[field] {
            Value::Array(entries) => entries.push(entry),
            none => *none = json!([entry]),
        }
        assert!(harness.api.put(&region, "somebody", "status", value));
        harness.settle().await;
        let after = harness.api.get(&region).unwrap()["status"].clone();
        assert_eq!(
            without_times(after),
            without_times(before.clone()),
            "{list}"
        );
        harness.journal.take();
        harness.look().await.result.unwrap();
        let calls = harness.journal.take();
        assert!(
            calls.iter().all(|call| call.resource != "regions/status"),
            "{list}: {calls:#?}"
        );
    }
}

/// A condition that is nobody's.
fn certified() -> Value {
    json!({
        "type": "Certified", "status": "True", "reason": "Seen", "message": "",
        "lastTransitionTime": "2026-11-27T08:00:00Z",
    })
}

#[tokio::test]
async fn a_condition_of_somebody_else_is_taken_out_of_a_region_that_is_refused_as_well() {
    let mut harness = Harness::running().await;
    harness.apply(&tr_with(&[(
        "/spec/network/external/0/location",
        json!("es-mad-1"),
    )]));
    harness.settle().await;
    let region = Key::new("regions", "", "tr");
    let mut value = harness.api.get(&region).unwrap();
    let before = value["status"].clone();
    let conditions = value["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(certified());
    assert!(harness.api.put(&region, "somebody", "status", value));
    harness.settle().await;
    let after = harness.api.get(&region).unwrap()["status"].clone();
    assert_eq!(without_times(after), without_times(before));
}

/// What was recorded, by kind.
fn kinds_recorded(calls: &[Call]) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.verb == "record")
        .flat_map(|call| call.name.split(' ').skip(1).map(str::to_owned))
        .collect()
}

/// Lets a canary run as its schedule would.
fn scheduled(harness: &Harness, number: u32) -> Key {
    let job = Key::new("jobs", "tr", &format!("tr-canary-{number}"));
    let asked = harness
        .api
        .all("jobs", "tr")
        .into_iter()
        .find(|job| job["metadata"]["labels"][LABEL_TASK] == Guise::Plain.label())
        .unwrap();
    let value = json!({
        "metadata": { "labels": asked["metadata"]["labels"] }, "spec": asked["spec"],
    });
    assert!(harness.api.put(&job, "kube-controller-manager", "", value));
    while harness.turn() {}
    job
}

#[tokio::test]
async fn canaries_and_places_are_recorded_once_and_with_a_write_that_comes_anyway() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.settle().await;
    let first = kinds_recorded(&harness.journal.take());
    for kind in ["ChannelChanged", "Placement", "Canary"] {
        assert!(first.iter().any(|it| it == kind), "{kind}: {first:?}");
    }
    let runs = first.iter().filter(|it| *it == "Canary").count();
    assert_eq!(runs, 2, "one a run: {first:?}");

    // A run of its schedule, which found what the one before found: nothing is written for it.
    scheduled(&harness, 1);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
    harness.now_is(SignedDuration::from_mins(6));
    let look = harness.look().await;
    assert_eq!(changes(&look.calls), ["apply regions/status tr"]);
    assert_eq!(kinds_recorded(&look.calls), ["Canary"]);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());

    // The next operator tells of none of it again.
    harness.crash();
    harness.now_is(SignedDuration::from_mins(12));
    harness.journal.take();
    harness.settle().await;
    assert_eq!(
        kinds_recorded(&harness.journal.take()),
        Vec::<String>::new()
    );

    // One that nothing is written for before its Job goes is told of when that is gone, and that is the look's own write.
    let job = scheduled(&harness, 2);
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
    let checked = |harness: &Harness| harness.status().residency.unwrap().checked_at;
    let before = checked(&harness);
    harness.api.remove(&job);
    harness.now_is(SignedDuration::from_mins(13));
    let look = harness.look().await;
    assert_eq!(changes(&look.calls), ["apply regions/status tr"]);
    assert_eq!(kinds_recorded(&look.calls), ["Canary"]);
    assert!(checked(&harness) > before);
}

#[tokio::test]
async fn a_run_that_the_store_does_not_take_is_kept() {
    let mut harness = Harness::running().await;
    let told = |harness: &Harness| harness.status().residency.unwrap().evidence.unwrap().told;
    let before = told(&harness);
    scheduled(&harness, 1);
    harness.now_is(SignedDuration::from_mins(6));
    harness
        .journal
        .fault_on(Fault::Fail, |call| call.verb == "record");
    harness.look().await.result.unwrap();
    assert_eq!(harness.condition("EvidenceRecorded").0, "Unknown");
    assert_eq!(told(&harness), before, "what is not recorded is not told");
    harness.journal.heal();
    let look = harness.look().await;
    assert_eq!(kinds_recorded(&look.calls), ["Canary"]);
    assert_eq!(harness.condition("EvidenceRecorded").0, "True");
    assert_ne!(told(&harness), before);
}

#[tokio::test]
async fn a_refusal_of_a_region_with_a_log_is_recorded_once() {
    let mut harness = Harness::new();
    let outside = tr_with(&[("/spec/network/external/0/location", json!("es-mad-1"))]);
    // One that was never accepted has no log.
    harness.apply(&outside);
    harness.look().await.result.unwrap();
    assert_eq!(harness.condition("Ready").0, "False");
    assert_eq!(
        kinds_recorded(&harness.journal.take()),
        Vec::<String>::new()
    );

    harness.apply(&tr());
    harness.settle().await;
    harness.journal.take();
    harness.apply(&outside);
    let look = harness.look().await;
    assert_eq!(kinds_recorded(&look.calls), ["Violation"]);
    assert_eq!(harness.condition("Ready").0, "False");
    assert_eq!(harness.condition("EvidenceRecorded").0, "True");
    let look = harness.look().await;
    assert_eq!(kinds_recorded(&look.calls), Vec::<String>::new());
    assert_eq!(look.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_canary_that_is_silent_for_three_periods_is_unknown() {
    let mut harness = Harness::running().await;
    harness.now_is(SignedDuration::from_mins(14));
    assert_eq!(network(&mut harness).await.0, "True");
    harness.now_is(SignedDuration::from_mins(16));
    let (status, reason, message) = network(&mut harness).await;
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("Unknown", "CanaryStale")
    );
    assert!(message.contains("tr-canary"), "{message}");
    // It stays so without a word more.
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_neighbour_is_tried_as_soon_as_it_is_there() {
    let mut harness = Harness::running().await;
    let labels = json!({
        "bailiwick.dev/region": "es", "app.kubernetes.io/managed-by": "bailiwick-operator",
        "app.kubernetes.io/name": "postgres",
    });
    let pod = Key::new("pods", "es", "es-pg-0");
    let value = json!({
        "metadata": {"labels": labels},
        "status": {"podIP": "10.201.2.7", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    harness.api.put(&pod, "kubelet", "", value);
    let look = harness.look().await;
    let id = canary_id(&harness);
    assert_eq!(
        look.repairs(),
        [
            "apply cronjobs tr/tr-canary".to_owned(),
            "apply cronjobs tr/tr-canary-pg".to_owned(),
            format!("create jobs tr/tr-canary-{}", id[0]),
            format!("create jobs tr/tr-canary-pg-{}", id[1]),
        ]
    );
    // What was answered before says nothing of it.
    harness.look().await.result.unwrap();
    assert_eq!(harness.condition("NetworkEnforced").1, "CanaryStale");
    harness.settle().await;
    let (status, _, message) = harness.condition("NetworkEnforced");
    assert_eq!(status, "True");
    assert!(
        message.contains("OtherRegionPod, OtherRegionService"),
        "{message}"
    );

    harness.api.remove(&pod);
    harness.settle().await;
    assert_eq!(harness.condition("NetworkEnforced").0, "True");
    assert_eq!(harness.look().await.requests(), Vec::<String>::new());
}

/// The id of what each canary is asked now, from its schedule.
fn canary_id(harness: &Harness) -> Vec<String> {
    ["tr-canary", "tr-canary-pg"]
        .map(|name| {
            let schedule = harness.api.get(&key("cronjobs", name)).unwrap();
            let variable = "/spec/jobTemplate/spec/template/spec/containers/0/env/0/value";
            let question: Question = serde_json::from_str(text(&schedule, variable)).unwrap();
            question.id
        })
        .into()
}
