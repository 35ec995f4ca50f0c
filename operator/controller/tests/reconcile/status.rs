//! A status that somebody else writes.

use serde_json::{Value, json};

use super::{tr_with, without_times};
use crate::support::fake_api::Key;
use crate::support::harness::Harness;

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
        |status: bailiwick_api::region::RegionStatus| status.residency.unwrap().evidence.unwrap();
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
