//! Regions that are deleted and taken up again, paused or hibernated.

use bailiwick_model::canary::question::{Class, Tried};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::Names;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{changes, key, let_answer, otherwise, tr_with};
use crate::support::fake_api::{Key, text};
use crate::support::harness::{Harness, USER, tr};

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
