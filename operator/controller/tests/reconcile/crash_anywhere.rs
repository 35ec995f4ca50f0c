//! A crash at any point: for each call k of creating, changing, and deleting and making anew a Region, be it to
//! Kubernetes, S3, SQL or Patroni, call k fails, its answer is lost, or the process ends at that very call, before or
//! after it took effect: nothing of that look goes on. What is there in the end, and the status, must equal what an undisturbed run leaves. Nothing sleeps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::fake_api::{Key, text};
use crate::support::harness::{Harness, tr};
use crate::support::journal::{Call, Fault};
use crate::support::world::Data;

/// What a Region comes to: all objects, the systems' state and the status, without what is another each time.
#[derive(Debug, PartialEq)]
struct End {
    objects: BTreeMap<Key, Value>,
    store: String,
    postgres: String,
    patroni: String,
}

/// What somebody does with the Region.
type Act = fn(&Harness);

fn create(harness: &Harness) {
    harness.apply(&tr());
}

/// Several fields at once: a bucket more, a user less, a database more, a policy less, a setting that needs a restart,
/// and a template that needs new pods.
fn change(harness: &Harness) {
    let mut region = tr();
    region["spec"]["network"] = json!({});
    region["spec"]["objectStore"]["buckets"] =
        json!([{"name": "documents", "quota": "1Gi"}, {"name": "images"}]);
    region["spec"]["objectStore"]["users"] = json!([]);
    region["spec"]["postgres"]["resources"] = json!({"memory": "768Mi"});
    region["spec"]["postgres"]["parameters"] = json!({"max_connections": "150"});
    region["spec"]["postgres"]["databases"] = json!([{"name": "clinical"}, {"name": "billing"}]);
    harness.apply(&region);
}

fn recreate(harness: &Harness) {
    let region = Key::new("regions", "", "tr");
    harness.api.user_applies_next(&region, &tr());
    harness.api.remove(&region);
}

/// Without uids, versions, times and random values.
fn normalised(key: &Key, value: &Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for field in [
                    "uid",
                    "resourceVersion",
                    "creationTimestamp",
                    "lastTransitionTime",
                    "soonestExpiry",
                    "finishedAt",
                    "managedFields",
                    "checkedAt",
                    "since",
                ] {
                    fields.remove(field);
                }
                fields.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            // Since when a way is shut is another time in each run.
            Value::String(text) => {
                if let Some((before, rest)) = text.split_once(" with its pods, from ")
                    && let Some((_, after)) = rest.split_once(" on, ")
                {
                    *text = format!("{before} with its pods, from then on, {after}");
                }
            }
            _ => {}
        }
    }
    let mut value = value.clone();
    walk(&mut value);
    // How often a spec was written is another after a fault; what it says is not.
    if key.resource != "regions" {
        value["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("generation");
        if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) {
            status.remove("observedGeneration");
        }
    }
    if key.resource == "secrets" {
        let keys: Vec<&String> = value["data"].as_object().unwrap().keys().collect();
        value["data"] = json!(keys);
    }
    // What was there when it was told of; `reconcile` has tests of it.
    if let Some(Value::Object(evidence)) = value.pointer_mut("/status/residency/evidence") {
        evidence.remove("told");
    }
    value
}

fn end(harness: &Harness) -> End {
    let objects = harness
        .api
        .everything()
        .into_iter()
        // An Event is an echo, sent at most once.
        .filter(|(key, _)| key.resource != "events")
        .map(|(key, value)| {
            let value = normalised(&key, &value);
            (key, value)
        })
        .collect();
    let Data {
        store,
        postgres,
        config,
        leader,
        ..
    } = harness.world.of("tr");
    End {
        objects,
        store: format!("{store:#?}"),
        postgres: format!("{postgres:#?}"),
        patroni: format!("{leader:?} {config:#}"),
    }
}

/// What must hold in any end: no key was ever made twice, and everybody trusts the authority that there is.
fn assert_keys_hold(harness: &Harness, point: &str) {
    let everything = harness.api.everything();
    let authority = &everything[&Key::new("secrets", "tr", "tr-ca")]["data"]["tls.crt"];
    let mut checked = 0;
    for (key, first) in harness.api.first_secrets() {
        let now = &everything[&key];
        assert_eq!(now["data"], first, "{point}: {} was replaced", key.name);
        if let Some(trusted) = now["data"].get("ca.crt") {
            assert_eq!(
                trusted, authority,
                "{point}: {} trusts another authority",
                key.name
            );
            checked += 1;
        }
    }
    assert!(checked > 3, "{checked} Secrets trust the authority");
}

/// The first difference between two ends, as text.
fn difference(expected: &End, found: &End) -> Option<String> {
    if expected == found {
        return None;
    }
    let keys: BTreeSet<&Key> = expected
        .objects
        .keys()
        .chain(found.objects.keys())
        .collect();
    for key in keys {
        let (a, b) = (expected.objects.get(key), found.objects.get(key));
        if a != b {
            return Some(format!(
                "{key:?}: expected {:#}, found {:#}",
                json!(a),
                json!(b)
            ));
        }
    }
    for (what, a, b) in [
        ("the store", &expected.store, &found.store),
        ("postgres", &expected.postgres, &found.postgres),
        ("patroni", &expected.patroni, &found.patroni),
    ] {
        if let Some((a, b)) = a.lines().zip(b.lines()).find(|(a, b)| a != b) {
            return Some(format!("{what}: expected {a}, found {b}"));
        }
        if a != b {
            return Some(format!("{what} differs in length"));
        }
    }
    None
}

/// What can happen to a call when the process hears of a failure or of nothing and lives on.
const LIVES: [Fault; 2] = [Fault::Fail, Fault::LoseAnswer];
/// And when it dies there. Each of the two is a test of its own for each act, so that two processors share them evenly.
const DIES: [Fault; 2] = [Fault::DieBefore, Fault::DieAfter];

/// Acts, and looks and turns until call `at` has gone wrong and been dealt with; then settles.
async fn disturbed(harness: &mut Harness, act: Act, at: usize, fault: Fault) -> Call {
    let dies = matches!(fault, Fault::DieBefore | Fault::DieAfter);
    harness.journal.take();
    act(harness);
    harness.journal.fault_at(at, fault);
    for _ in 0..60 {
        harness.turn();
        let look = harness.look_or_die().await;
        let calls = harness.journal.calls();
        assert_eq!(look.is_none(), dies && calls.len() > at, "{fault:?}");
        if let Some(call) = calls.get(at) {
            assert!(!dies || calls.len() == at + 1, "{calls:?} after {call}");
            harness.journal.heal();
            if dies {
                harness.crash();
            }
            drop(look);
            harness.settle_through_errors().await;
            return call.clone();
        }
        if let Err(error) = look.unwrap().result {
            panic!("a look failed before call {at}: {error:?}");
        }
    }
    panic!("call {at} never came");
}

/// Runs an act with every one of these faults at every call. At least `least` calls, and runs with each fault, are expected.
async fn everywhere(name: &str, start: &Harness, act: Act, faults: [Fault; 2], least: Least) {
    let mut undisturbed = start.copy();
    undisturbed.journal.take();
    act(&undisturbed);
    undisturbed.settle().await;
    let calls = undisturbed.journal.take();
    // The last looks only find that nothing is left to do: their reads are faults like the others.
    let expected = end(&undisturbed);
    assert_keys_hold(&undisturbed, name);
    assert_eq!(undisturbed.condition("Ready").0, "True");

    let (mut runs, mut failures) = (BTreeMap::<String, usize>::new(), Vec::new());
    for (at, expected_call) in calls.iter().enumerate() {
        for fault in faults {
            // Of a call that changes nothing it is the same death.
            if fault == Fault::DieAfter && expected_call.changes_nothing() {
                continue;
            }
            let mut harness = start.copy();
            let call = disturbed(&mut harness, act, at, fault).await;
            let point = format!("{name}, call {at} ({call}), {fault:?}");
            if let Some(difference) = difference(&expected, &end(&harness)) {
                failures.push(format!("{point}: {difference}"));
            } else {
                assert_keys_hold(&harness, &point);
            }
            *runs.entry(format!("{fault:?}")).or_default() += 1;
        }
    }
    println!(
        "{name}: {} calls, runs by fault {runs:?}, {} ended otherwise",
        calls.len(),
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{}",
        failures.first().map_or("", |it| it.as_str())
    );
    for fault in faults {
        let least = if fault == Fault::DieAfter {
            least.changes
        } else {
            least.calls
        };
        let found = runs.get(&format!("{fault:?}")).copied().unwrap_or_default();
        assert!(
            found >= least,
            "{name}: only {found} runs with {fault:?} of {least}"
        );
    }
}

/// How many calls an act has at least, and how many of them change something. Fewer calls are fewer disturbed runs: lower a
/// number only for a change that was meant to save calls.
#[derive(Clone, Copy)]
struct Least {
    calls: usize,
    changes: usize,
}

const CREATE: Least = Least {
    calls: 139,
    changes: 109,
};
const CHANGE: Least = Least {
    calls: 140,
    changes: 83,
};
const RECREATE: Least = Least {
    calls: 134,
    changes: 59,
};

#[tokio::test]
async fn creating_survives_a_failure_anywhere() {
    everywhere("create", &Harness::new(), create, LIVES, CREATE).await;
}

#[tokio::test]
async fn creating_survives_a_crash_anywhere() {
    everywhere("create", &Harness::new(), create, DIES, CREATE).await;
}

#[tokio::test]
async fn changing_survives_a_failure_anywhere() {
    let start = Harness::running().await;
    everywhere("change", &start, change, LIVES, CHANGE).await;
}

#[tokio::test]
async fn changing_survives_a_crash_anywhere() {
    let start = Harness::running().await;
    everywhere("change", &start, change, DIES, CHANGE).await;
}

#[tokio::test]
async fn deleting_and_making_anew_survives_a_failure_anywhere() {
    let start = Harness::running().await;
    everywhere("delete and create", &start, recreate, LIVES, RECREATE).await;
}

#[tokio::test]
async fn deleting_and_making_anew_survives_a_crash_anywhere() {
    let start = Harness::running().await;
    everywhere("delete and create", &start, recreate, DIES, RECREATE).await;
}

#[test]
fn a_difference_is_found() {
    let region = Key::new("regions", "", "tr");
    let of = |word: &str| End {
        objects: BTreeMap::from([(
            region.clone(),
            normalised(&region, &json!({"metadata": {"uid": word}, "spec": word})),
        )]),
        store: String::new(),
        postgres: String::new(),
        patroni: String::new(),
    };
    assert_eq!(difference(&of("a"), &of("a")), None);
    let found = difference(&of("a"), &of("b")).unwrap();
    assert!(found.contains("regions"), "{found}");
    assert_eq!(text(&of("a").objects[&region], "/metadata/uid"), "");
}
