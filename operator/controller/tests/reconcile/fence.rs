//! The start fence: its responder, pods that did not start behind it, and what it measures.

use bailiwick_api::region::ChannelState;
use serde_json::{Value, json};

use super::{changes, egress, key};
use crate::support::fake_api::text;
use crate::support::harness::{Harness, put_responder, tr};

/// What the pods of `tr` are told that a fenced one does not reach.
fn fence_targets(harness: &Harness) -> Vec<String> {
    let map = harness.api.get(&key("configmaps", "tr-fence")).unwrap();
    let targets: Value = serde_json::from_str(text(&map, "/data/targets.json")).unwrap();
    serde_json::from_value(targets["closed"].clone()).unwrap()
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
