//! What the API server says of the start fence, as facts: of the pods that are made behind it, of what became of one, and
//! of where its responder answers. Objects in, values out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bailiwick_model::facts::FenceFact;
use bailiwick_model::fence::{CONTAINER, Report};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod, PodSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Whether nothing of a pod starts before its fence has ended.
pub fn starts_with_fence(pod: Option<&PodSpec>) -> bool {
    pod.and_then(|pod| pod.init_containers.as_ref()?.first())
        .is_some_and(|first| first.name == CONTAINER && first.restart_policy.is_none())
}

/// What became of the pod's start fence.
pub fn fence_of(pod: &Pod) -> FenceFact {
    if !starts_with_fence(pod.spec.as_ref()) {
        return FenceFact::Missing;
    }
    let pod = pod.status.as_ref();
    let status = pod
        .and_then(|pod| pod.init_container_statuses.as_ref())
        .and_then(|all| all.iter().find(|status| status.name == CONTAINER));
    let restarts = status.map_or(0, |status| status.restart_count);
    if let Some(now) = status.and_then(|status| ended(status.state.as_ref())) {
        let report = report(now);
        return if now.exit_code == 0 {
            FenceFact::Passed { report }
        } else {
            FenceFact::Holds {
                failures: restarts + 1,
                report,
            }
        };
    }
    let runs = pod
        .and_then(|pod| pod.container_statuses.as_ref())
        .is_some_and(|all| {
            all.iter().any(|container| {
                let state = container.state.as_ref();
                state.is_some_and(|state| state.running.is_some())
            })
        });
    if runs {
        // The kubelet does not know its end any more: then nobody knows what it saw.
        return FenceFact::Passed { report: None };
    }
    let before = status
        .and_then(|status| ended(status.last_state.as_ref()))
        .filter(|before| before.exit_code != 0);
    FenceFact::Holds {
        failures: before.map_or(0, |_| restarts),
        report: before.and_then(report),
    }
}

fn ended(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

fn report(ended: &ContainerStateTerminated) -> Option<Report> {
    serde_json::from_str(ended.message.as_deref()?).ok()
}

/// The addresses of the fence's responder, and whether it is ready at each.
pub fn responders(slice: &EndpointSlice) -> BTreeMap<IpAddr, bool> {
    let mut found = BTreeMap::new();
    for endpoint in &slice.endpoints {
        // What is not said counts as ready.
        let ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true);
        for ip in endpoint.addresses.iter().filter_map(|ip| ip.parse().ok()) {
            *found.entry(ip).or_default() |= ready;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use bailiwick_model::fence::Outcome;
    use serde_json::{Value, json};

    use super::*;

    const REPORT: &str = r#"{"outcome": "Open", "families": [], "heldMillis": 60000}"#;

    fn ended_with(code: i32, message: &str) -> Value {
        json!({"terminated": {"exitCode": code, "message": message}})
    }

    /// A pod behind its fence, with this status of it.
    fn pod(fence: &Value, containers: &Value) -> Pod {
        let mut status =
            json!({"name": "fence", "ready": false, "restartCount": 0, "image": "", "imageID": ""});
        for (key, value) in fence.as_object().unwrap() {
            status[key] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": {"name": "tr-pg-0"},
            "spec": {"containers": [], "initContainers": [{"name": "fence"}, {"name": "other"}]},
            "status": {
                "initContainerStatuses": [
                    {"name": "other", "ready": false, "restartCount": 9, "image": "", "imageID": ""}, status,
                ],
                "containerStatuses": containers,
            },
        }))
        .unwrap()
    }

    fn held(failures: i32, outcome: Option<Outcome>) -> (i32, Option<Outcome>, bool) {
        (failures, outcome, false)
    }

    /// How often it failed, what it reported, and whether it let the pod start.
    fn told(fact: &FenceFact) -> (i32, Option<Outcome>, bool) {
        let outcome = fact.report().map(|report| report.outcome);
        match fact {
            FenceFact::Missing => panic!("there is a fence"),
            FenceFact::Holds { failures, .. } => (*failures, outcome, false),
            FenceFact::Passed { .. } => (0, outcome, true),
        }
    }

    #[test]
    fn what_became_of_a_fence_is_read_from_its_own_status() {
        let running = json!({"running": {}});
        for (fence, expected) in [
            (json!({}), held(0, None)),
            (json!({"state": running}), held(0, None)),
            (
                json!({"state": ended_with(1, REPORT), "restartCount": 2}),
                held(3, Some(Outcome::Open)),
            ),
            (
                json!({"state": running, "lastState": ended_with(1, REPORT), "restartCount": 3}),
                held(3, Some(Outcome::Open)),
            ),
            (
                json!({"state": {"waiting": {}}, "lastState": ended_with(137, ""), "restartCount": 1}),
                held(1, None),
            ),
            // The node was restarted: it runs once more, and did not fail before.
            (
                json!({"state": running, "lastState": ended_with(0, REPORT), "restartCount": 1}),
                held(0, None),
            ),
            (
                json!({"state": ended_with(0, REPORT), "restartCount": 4}),
                (0, Some(Outcome::Open), true),
            ),
            (json!({"state": ended_with(0, "killed")}), (0, None, true)),
        ] {
            assert_eq!(
                told(&fence_of(&pod(&fence, &json!([])))),
                expected,
                "{fence}"
            );
        }
    }

    #[test]
    fn a_pod_that_runs_was_let_through_whatever_is_known_of_its_fence() {
        let main = json!([{
            "name": "postgres", "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {}},
        }]);
        assert_eq!(
            told(&fence_of(&pod(&json!({"state": {"waiting": {}}}), &main))),
            (0, None, true)
        );
    }

    #[test]
    fn what_comes_after_another_or_does_not_end_is_no_fence() {
        for init in [
            json!(null),
            json!([]),
            json!([{"name": "other"}, {"name": "fence"}]),
            json!([{"name": "fence", "restartPolicy": "Always"}]),
        ] {
            let pod: Pod =
                serde_json::from_value(json!({"spec": {"containers": [], "initContainers": init}}))
                    .unwrap();
            assert_eq!(fence_of(&pod), FenceFact::Missing, "{init}");
        }
    }

    #[test]
    fn an_address_is_ready_unless_it_is_said_not_to_be() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"]},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3", "a name"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            ],
        }))
        .unwrap();
        let found: Vec<(String, bool)> = responders(&slice)
            .into_iter()
            .map(|(ip, ready)| (ip.to_string(), ready))
            .collect();
        let expected = [("10.0.0.1", true), ("10.0.0.2", false), ("10.0.0.3", true)];
        assert_eq!(found, expected.map(|(ip, ready)| (ip.to_owned(), ready)));
    }
}
