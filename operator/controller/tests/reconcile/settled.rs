//! How much is sent for a Region that is made, one that is settled, and when the operator starts anew.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_model::names::Names;
use bailiwick_operator::controller::run;
use bailiwick_operator::error::Retry;
use bailiwick_operator::lease::Lease;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::{SETTLED, changes, children, tr_with, writes};
use crate::support::fake_api::Key;
use crate::support::harness::{Harness, USER, tr};
use crate::support::journal::{Call, Fault};

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
