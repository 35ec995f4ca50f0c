//! What the API server refuses of one Region, as a quota, a webhook or an admission policy of the cluster has it: the rest of
//! the Region is looked after, and nothing is called closed that could not be shut. Against an API server and systems in
//! memory; no process, no network.

use bailiwick_api::region::ChannelState;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::fake_api::{Key, text};
use crate::support::harness::{Harness, USER, tr};
use crate::support::journal::Fault;

/// How many looks are enough for whatever can be done beside a refusal.
const LOOKS: usize = 4;

/// What of `tr` is applied, and made again within seconds when it was deleted: ConfigMaps are not watched.
fn applied(harness: &Harness) -> Vec<Key> {
    let objects = harness.api.everything();
    let ours = objects.iter().filter(|(key, object)| {
        text(object, "/metadata/labels/app.kubernetes.io~1managed-by") == "bailiwick-operator"
            && !matches!(
                key.resource.as_str(),
                "configmaps"
                    | "regions"
                    | "secrets"
                    | "persistentvolumeclaims"
                    | "jobs"
                    | "pods"
                    | "namespaces"
            )
    });
    ours.map(|(key, _)| key.clone()).collect()
}

/// Refuses every write of one object.
fn refuse(harness: &Harness, key: &Key, code: u16) {
    let (resource, name) = (
        key.resource.clone(),
        format!("{}/{}", key.namespace, key.name),
    );
    harness.journal.fault_on(Fault::Refuse(code), move |call| {
        call.resource == resource
            && call.name == name
            && matches!(call.verb, "apply" | "replace" | "create" | "delete")
    });
}

/// Looks while something is refused: each look goes through, and is followed by another within seconds.
async fn looks(harness: &mut Harness) {
    for _ in 0..LOOKS {
        harness.turn();
        let look = harness.look().await;
        assert!(look.result.is_ok(), "{:?}", look.result.err());
    }
}

fn open_channels(harness: &Harness) -> Vec<String> {
    let residency = harness.status().residency.unwrap();
    let open = residency
        .channels
        .iter()
        .filter(|row| row.state == ChannelState::Unknown && row.finding.is_some());
    open.map(|row| row.id.clone()).collect()
}

#[tokio::test]
async fn one_object_that_is_refused_keeps_no_other_from_being_put_right() {
    let mut harness = Harness::running().await;
    let all = applied(&harness);
    let policies = all.iter().filter(|it| it.resource == "networkpolicies");
    assert!(policies.count() >= 9, "{all:#?}");
    assert!(all.len() >= 20, "{} objects", all.len());
    let witnesses = [
        Key::new("networkpolicies", "tr", "default-deny"),
        Key::new("services", "tr", "tr-pg-rw"),
        Key::new("statefulsets", "tr", "tr-s3"),
    ];
    for (at, refused) in all.iter().enumerate() {
        let code = [403, 422, 500][at % 3];
        harness.api.remove(refused);
        for witness in witnesses.iter().filter(|it| *it != refused) {
            harness.api.remove(witness);
        }
        refuse(&harness, refused, code);
        looks(&mut harness).await;
        for there in all.iter().filter(|it| *it != refused) {
            assert!(
                harness.api.get(there).is_some(),
                "{there:?} with {refused:?} refused"
            );
        }
        assert!(harness.api.get(refused).is_none());
        let (status, reason, message) = harness.condition("Progressing");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("True", "ObjectRefused")
        );
        let named = format!(
            "{} in namespace {}: HTTP {code}",
            refused.name, refused.namespace
        );
        assert!(message.contains(&named), "{named}: {message}");
        assert_eq!(harness.condition("Degraded").0, "True");
        // What may stand open is told at once, and never called closed.
        let enforced = harness.condition("ResidencyEnforced");
        if refused.resource == "networkpolicies" {
            assert_eq!(enforced.0, "False", "{refused:?}");
            assert!(enforced.2.contains(&refused.name), "{}", enforced.2);
            let open = open_channels(&harness);
            assert!(
                ["1", "2", "9"]
                    .iter()
                    .all(|id| open.iter().any(|it| it == id)),
                "{open:?}"
            );
        } else {
            assert_ne!(enforced.0, "False", "{refused:?}: {}", enforced.2);
        }
        harness.journal.heal();
        harness.settle().await;
        assert!(harness.api.get(refused).is_some());
        assert_eq!(open_channels(&harness), Vec::<String>::new(), "{refused:?}");
        assert_ne!(harness.condition("ResidencyEnforced").0, "False");
        assert_eq!(harness.condition("Ready").0, "True", "{refused:?}");
        assert_eq!(harness.condition("Degraded").0, "False", "{refused:?}");
    }
}

#[tokio::test]
async fn a_policy_that_somebody_opened_and_that_cannot_be_put_right_is_open() {
    for restarted in [false, true] {
        let mut harness = Harness::running().await;
        let policy = Key::new("networkpolicies", "tr", "default-deny");
        harness.api.edit(&policy, USER, |policy| {
            policy["spec"]["egress"] = json!([{}]);
        });
        if restarted {
            harness.crash();
        }
        refuse(&harness, &policy, 422);
        looks(&mut harness).await;
        let (status, _, message) = harness.condition("ResidencyEnforced");
        assert_eq!(status, "False", "{message}");
        assert!(
            message.contains("NetworkPolicy default-deny in namespace tr"),
            "{message}"
        );
        harness.journal.heal();
        harness.settle().await;
        assert_eq!(open_channels(&harness), Vec::<String>::new());
        assert_ne!(harness.condition("ResidencyEnforced").0, "False");
    }
}

/// `tr` with this much memory for Postgres.
fn with_memory(memory: &str) -> Value {
    let mut region = tr();
    region["spec"]["postgres"]["resources"]["memory"] = json!(memory);
    region
}

#[tokio::test]
async fn what_runs_pods_is_put_right_and_not_changed_while_something_before_it_is_refused() {
    let mut harness = Harness::running().await;
    let set = Key::new("statefulsets", "tr", "tr-pg");
    let before = harness.api.get(&set).unwrap();
    let ready = harness.status().observed_generation;
    refuse(&harness, &Key::new("services", "tr", "tr-pg-rw"), 422);
    harness.api.remove(&Key::new("services", "tr", "tr-pg-rw"));
    harness.apply(&with_memory("768Mi"));
    looks(&mut harness).await;
    assert_eq!(harness.api.get(&set).unwrap()["spec"], before["spec"]);
    // Nothing says that the new spec is in force.
    assert_eq!(harness.status().observed_generation, ready);
    assert_eq!(harness.condition("Ready").0, "True");
    let conditions = harness.status().conditions;
    let ready_of = conditions.iter().find(|it| it.type_ == "Ready").unwrap();
    assert_eq!(ready_of.observed_generation, ready);
    let accepted = harness
        .api
        .get(&Key::new("configmaps", "tr", "tr-accepted"))
        .unwrap();
    assert!(!text(&accepted, "/data/spec.json").contains("768Mi"));

    harness.journal.heal();
    harness.settle().await;
    assert_ne!(harness.api.get(&set).unwrap()["spec"], before["spec"]);
    assert_ne!(harness.status().observed_generation, ready);
}

#[tokio::test]
async fn no_pod_is_ended_or_started_while_what_it_needs_is_refused() {
    for needed in ["networkpolicies/default-deny", "secrets/tr-pg-internal"] {
        let (resource, name) = needed.split_once('/').unwrap();
        let mut harness = Harness::running().await;
        // A restart of every member is due.
        harness.apply(&with_memory("768Mi"));
        harness.look().await.result.unwrap();
        let needed = Key::new(resource, "tr", name);
        harness.api.remove(&needed);
        refuse(&harness, &needed, 422);
        // Secrets are looked for every half minute.
        harness.now_is(SignedDuration::from_secs(40));
        harness.journal.take();
        looks(&mut harness).await;
        let calls = harness.journal.take();
        let pods = calls.iter().filter(|call| {
            (call.resource == "pods" && call.verb == "delete") || call.resource == "patroni"
        });
        let pods: Vec<String> = pods
            .filter(|call| call.is_write() || call.verb == "step")
            .map(ToString::to_string)
            .collect();
        assert_eq!(pods, Vec::<String>::new(), "{needed:?}");
        let (_, _, message) = harness.condition("Progressing");
        assert!(
            message.contains("No pod with data is started or ended"),
            "{message}"
        );
        harness.journal.heal();
        harness.settle().await;
        assert!(harness.api.get(&needed).is_some());
        assert_eq!(harness.condition("Ready").0, "True");
    }
}

#[tokio::test]
async fn a_client_whose_policy_cannot_be_shut_is_not_taken_for_shut() {
    let with_clients = |clients: &[&str]| {
        let mut region = tr();
        let clients = clients.iter().map(|name| {
            json!({"name": name, "namespaceSelector": {"matchLabels": {"team": name}}, "to": ["Postgres"]})
        });
        region["spec"]["network"]["clients"] = clients.collect();
        region
    };
    let ways = |harness: &Harness| {
        let ways = harness.status().residency.unwrap().ways.unwrap();
        let shut: Vec<String> = ways.shut.into_iter().map(|it| it.way).collect();
        (ways.open, shut)
    };
    let mut harness = Harness::running().await;
    harness.apply(&with_clients(&["api", "lab"]));
    harness.settle().await;
    harness.journal.fault_on(Fault::Refuse(422), |call| {
        call.resource == "networkpolicies" && matches!(call.verb, "apply" | "replace")
    });
    harness.apply(&with_clients(&["api"]));
    looks(&mut harness).await;
    let (open, shut) = ways(&harness);
    // Of the three, one is to the declared endpoint.
    assert_eq!((open.len(), shut.len()), (3, 0), "{open:?} {shut:?}");
    let residency = harness.status().residency.unwrap();
    let row = residency.channels.iter().find(|row| row.id == "2").unwrap();
    assert_eq!(row.state, ChannelState::Unknown, "{row:?}");

    // A minute later, by an operator that begins anew: it is shut from the moment on at which that could be done.
    harness.crash();
    harness.now_is(SignedDuration::from_secs(60));
    looks(&mut harness).await;
    assert_eq!(ways(&harness).0.len(), 3);
    harness.journal.heal();
    looks(&mut harness).await;
    let residency = harness.status().residency.unwrap();
    let row = residency.channels.iter().find(|row| row.id == "2").unwrap();
    let finding = row.finding.clone().unwrap();
    assert!(
        finding.contains("client lab") && !finding.contains("refuse"),
        "{finding}"
    );
}

#[tokio::test]
async fn what_is_refused_of_the_steps_stops_no_other_step() {
    let mut harness = Harness::running().await;
    let jobs = harness.api.all("jobs", "tr");
    let canary = jobs
        .iter()
        .find(|job| text(job, "/metadata/labels/bailiwick.dev~1task") == "canary");
    if let Some(canary) = canary {
        let name = text(canary, "/metadata/name").to_owned();
        harness.api.remove(&Key::new("jobs", "tr", &name));
    }
    harness.journal.fault_on(Fault::Refuse(403), |call| {
        call.resource == "jobs" && call.verb == "create"
    });
    let mut region = tr();
    region["spec"]["postgres"]["databases"][0]["extensions"] = json!(["pg_trgm"]);
    harness.apply(&region);
    harness.now_is(SignedDuration::from_hours(1));
    harness.journal.take();
    looks(&mut harness).await;
    let calls = harness.journal.take();
    let steps: Vec<&str> = calls
        .iter()
        .filter(|call| call.verb == "step" && call.resource == "postgres")
        .map(|call| call.name.as_str())
        .collect();
    assert!(
        steps.iter().any(|step| step.contains("pg_trgm")),
        "{steps:?}"
    );
    let (_, reason, message) = harness.condition("Degraded");
    assert_eq!(reason, "StepFailed", "{message}");
    assert!(message.contains("HTTP 403 Forbidden"), "{message}");
    harness.journal.heal();
    harness.settle().await;
    assert_eq!(harness.condition("Degraded").0, "False");
}

#[tokio::test]
async fn a_region_can_be_stopped_while_its_boundary_is_refused() {
    let mut harness = Harness::running().await;
    harness.journal.fault_on(Fault::Refuse(403), |call| {
        call.resource == "networkpolicies" && matches!(call.verb, "apply" | "replace")
    });
    let policy = Key::new("networkpolicies", "tr", "default-deny");
    harness.api.remove(&policy);
    let mut region = tr();
    region["spec"]["lifecycle"] = json!({"hibernated": true});
    harness.apply(&region);
    for _ in 0..4 {
        looks(&mut harness).await;
    }
    let pods = harness.api.all("pods", "tr");
    // Those of Jobs have ended.
    let running = pods.iter().filter(|pod| {
        let name = text(pod, "/metadata/name");
        let job = ["stanza", "backup", "canary"];
        !job.iter().any(|it| name.contains(it))
    });
    assert_eq!(running.count(), 0, "{pods:#?}");
    assert_eq!(harness.condition("ResidencyEnforced").0, "False");
    let claims = harness.api.all("persistentvolumeclaims", "tr");
    assert!(claims.len() >= 3, "{}", claims.len());
}

#[tokio::test]
async fn what_leaves_stays_while_what_may_still_need_it_is_refused_and_policies_go() {
    let mut harness = Harness::running().await;
    let service = harness
        .api
        .get(&Key::new("services", "tr", "tr-pg-rw"))
        .unwrap();
    let left = Key::new("services", "tr", "tr-of-before");
    let before = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": left.name, "namespace": "tr", "labels": service["metadata"]["labels"],
            "ownerReferences": service["metadata"]["ownerReferences"],
        },
        "spec": service["spec"],
    });
    let refused = Key::new("statefulsets", "tr", "tr-pg");
    refuse(&harness, &refused, 422);
    let mut region = with_memory("768Mi");
    region["spec"]["network"] = json!({});
    harness.api.operator_applied(&left, &before);
    harness.apply(&region);
    looks(&mut harness).await;
    assert!(harness.api.get(&left).is_some());
    let external = Key::new("networkpolicies", "tr", "external");
    assert!(
        harness.api.get(&external).is_none(),
        "a policy that goes shuts"
    );
    harness.journal.heal();
    harness.settle().await;
    assert!(harness.api.get(&left).is_none());
}
