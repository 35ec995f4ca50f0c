//! What a drill has of a Region elsewhere, and snapshots.

use bailiwick_api::region::ChannelState;
use serde_json::{Value, json};

use super::{changes, channel, egress, let_volumes_grow};
use crate::support::fake_api::{Key, text};
use crate::support::harness::Harness;

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
