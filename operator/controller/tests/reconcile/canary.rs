//! What canaries answer: the network, leaks, and what is recorded.

use bailiwick_model::canary::question::{Answer, Class, Question, Tried};
use bailiwick_model::flow::Guise;
use jiff::SignedDuration;
use serde_json::json;

use super::{changes, key, let_answer, otherwise, scheduled, tr_with};
use crate::support::fake_api::{Key, text};
use crate::support::harness::{Harness, tr};
use crate::support::journal::{Call, Fault};

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

/// What was recorded, by kind.
fn kinds_recorded(calls: &[Call]) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.verb == "record")
        .flat_map(|call| call.name.split(' ').skip(1).map(str::to_owned))
        .collect()
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
