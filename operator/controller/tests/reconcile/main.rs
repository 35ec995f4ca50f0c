//! What one look after another makes of a Region, against an API server and systems in memory: how much is sent, what
//! is repaired, what the status says, and when the operator looks again. No process, no network, no sleep.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod canary;
mod crash_anywhere;
mod credentials;
mod drift;
mod drill;
mod faults;
mod fence;
mod lifecycle;
mod paused;
mod refusals;
mod refused;
mod scaling;
mod secrets;
mod settled;
mod status;
mod store;
mod support;
mod watches;
mod ways;

use std::time::Duration;

use bailiwick_api::region::ChannelState;
use bailiwick_model::canary::question::{Answer, Class, Question, Tried, VARIABLE};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::LABEL_TASK;
use serde_json::{Value, json};
use support::fake_api::{FakeApi, Key, text};
use support::harness::{Harness, tr};
use support::journal::Call;

/// How long until a settled Region is looked at again.
const SETTLED: Duration = Duration::from_secs(15);

fn key(resource: &str, name: &str) -> Key {
    Key::new(resource, "tr", name)
}

fn encoded(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
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

/// A status without what moves with each writing.
fn without_times(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = json!(null);
    }
    status["residency"]["checkedAt"] = json!(null);
    status["residency"]["evidence"] = json!(null);
    status
}

/// The state of the channels that go by the fence, and what the first is known by.
fn egress(harness: &Harness) -> ([ChannelState; 2], String) {
    let rows = harness.status().residency.unwrap().channels;
    ([rows[0].state, rows[1].state], rows[0].evidence.clone())
}

fn let_volumes_grow(harness: &Harness, yes: bool) {
    let class = Key::new("storageclasses", "", "tr-ist-1-local");
    harness.api.edit(&class, "admin", |it| {
        it["allowVolumeExpansion"] = json!(yes);
    });
}

/// The state of a channel, and what was found open.
fn channel(harness: &Harness, id: &str) -> (ChannelState, Option<String>) {
    let residency = harness.status().residency.unwrap();
    let row = residency.channels.iter().find(|row| row.id == id).unwrap();
    (row.state, row.finding.clone())
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

/// Lets every canary in Postgres' guise have reached another node: new ones come as Regions do.
fn let_it_leak(api: &FakeApi) {
    const MESSAGE: &str = "/status/containerStatuses/0/state/terminated/message";
    for mut pod in api.all("pods", "tr") {
        let is_postgres = pod["metadata"]["labels"][LABEL_TASK] == Guise::Postgres.label();
        let Ok(mut answer) = serde_json::from_str::<Answer>(text(&pod, MESSAGE)) else {
            continue;
        };
        if !is_postgres {
            continue;
        }
        let variable = &pod["spec"]["containers"][0]["env"][0];
        let question: Question = serde_json::from_str(text(variable, "/value")).unwrap();
        for (target, tried) in question.targets.iter().zip(&mut answer.outcomes) {
            if target.class == Class::OtherNode && target.name != "tr-1" {
                *tried = Tried::Reached;
            }
        }
        let answer = serde_json::to_string(&answer).unwrap();
        *pod.pointer_mut(MESSAGE).unwrap() = json!(answer);
        let key = Key::new("pods", "tr", text(&pod, "/metadata/name"));
        api.put(&key, "kubelet", "status", pod);
    }
}
