//! Members that leave, and volumes that grow.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use serde_json::json;

use super::{SETTLED, key, let_volumes_grow, tr_with};
use crate::support::fake_api::text;
use crate::support::harness::Harness;

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
