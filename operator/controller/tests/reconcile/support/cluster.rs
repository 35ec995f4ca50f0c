//! What the rest of a cluster does with objects: the controllers of StatefulSets and Jobs, the scheduler and the
//! kubelets, in one turn at a time. Objects of the API server in memory in, objects out; of a clock only when a
//! container ended; no network.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use bailiwick_model::canary::question::{Answer, Attempt, Question, Tried, VARIABLE};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::LABEL_TASK;
use serde_json::{Value, json};

use super::fake_api::{FakeApi, Key, is_terminating, text};

/// What a Job of the archive leaves, as the image's `pgbackrest-job` writes it.
const STANZA_RESULT: &str = r#"{"command": "stanza", "stanza": "tr-i1", "start": "2026-11-21T08:00:00Z",
    "stop": "2026-11-21T08:00:10Z", "state": "Succeeded", "systemIdentifier": "7391"}"#;
const BACKUP_RESULT: &str = r#"{"command": "backup full", "stanza": "tr-i1", "start": "2026-11-21T08:00:20Z",
    "stop": "2026-11-21T08:01:00Z", "state": "Succeeded", "label": "20261121-080020F", "bytes": 31000000,
    "storedBytes": 4100000, "firstWal": "000000010000000000000003", "lastWal": "000000010000000000000003",
    "systemIdentifier": "7391"}"#;

/// One turn: everything moves by one step. Returns whether anything did.
pub fn turn(api: &FakeApi, namespace: &str) -> bool {
    api.moves(|| all_move(api, namespace))
}

/// One turn of several namespaces.
pub fn turn_all(api: &FakeApi, namespaces: &[&str]) -> bool {
    api.moves(|| {
        namespaces
            .iter()
            .fold(false, |moved, namespace| moved | all_move(api, namespace))
    })
}

fn all_move(api: &FakeApi, namespace: &str) -> bool {
    let mut moved = false;
    // The kubelets let pods end that are being deleted; a finalizer keeps one.
    for pod in api.all("pods", namespace) {
        if is_terminating(&pod) {
            let key = Key::new("pods", namespace, text(&pod, "/metadata/name"));
            if is_ready(&pod) {
                // Its processes stop: that is one turn, and that it is gone another.
                moved |= set_ready(api, &key, false);
                continue;
            }
            api.remove(&key);
            moved |= !api.is(&key, |_| true);
        }
    }
    for set in api.all("statefulsets", namespace) {
        moved |= stateful_set(api, namespace, &set);
    }
    // Pods of a set that is gone went with it; their volumes stay.
    for mut claim in api.all("persistentvolumeclaims", namespace) {
        let asked = claim["spec"]["resources"]["requests"].clone();
        if claim["status"]["capacity"] != asked {
            claim["status"]["capacity"] = asked;
            let key = Key::new(
                "persistentvolumeclaims",
                namespace,
                text(&claim, "/metadata/name"),
            );
            moved |= api.put(&key, "csi-resizer", "status", claim);
        }
    }
    for job in api.all("jobs", namespace) {
        moved |= run_job(api, namespace, &job);
    }
    moved
}

fn hash(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

fn owner(kind: &str, object: &Value) -> Value {
    json!([{
        "apiVersion": object["apiVersion"], "kind": kind, "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true,
    }])
}

/// Whether everything that a pod mounts or reads is there: the kubelet does not start it before.
fn startable(api: &FakeApi, namespace: &str, spec: &Value) -> bool {
    fn names(value: &Value, secrets: &mut BTreeSet<String>, maps: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (field, inner) in fields {
                    match field.as_str() {
                        "secret" => {
                            secrets.insert(text(inner, "/secretName").to_owned());
                        }
                        "secretKeyRef" => {
                            secrets.insert(text(inner, "/name").to_owned());
                        }
                        "configMap" | "configMapKeyRef" => {
                            maps.insert(text(inner, "/name").to_owned());
                        }
                        _ => {}
                    }
                    names(inner, secrets, maps);
                }
            }
            Value::Array(items) => items.iter().for_each(|it| names(it, secrets, maps)),
            _ => {}
        }
    }
    let (mut secrets, mut maps) = (BTreeSet::new(), BTreeSet::new());
    names(spec, &mut secrets, &mut maps);
    let there = |resource: &str, names: &BTreeSet<String>| {
        names
            .iter()
            .filter(|name| !name.is_empty())
            .all(|name| api.is(&Key::new(resource, namespace, name), |_| true))
    };
    there("secrets", &secrets) && there("configmaps", &maps)
}

fn stateful_set(api: &FakeApi, namespace: &str, set: &Value) -> bool {
    let name = text(set, "/metadata/name");
    let replicas = set["spec"]["replicas"].as_i64().unwrap_or(1);
    let template = &set["spec"]["template"];
    let revision = format!("{name}-{}", hash(template));
    let mut moved = false;

    for ordinal in 0..replicas {
        let pod = format!("{name}-{ordinal}");
        for claim in set["spec"]["volumeClaimTemplates"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let key = Key::new(
                "persistentvolumeclaims",
                namespace,
                &format!("{}-{pod}", text(claim, "/metadata/name")),
            );
            if !api.is(&key, |_| true) {
                let (labels, annotations) = (
                    &claim["metadata"]["labels"],
                    &claim["metadata"]["annotations"],
                );
                let claim = json!({
                    "metadata": {"labels": labels, "annotations": annotations}, "spec": claim["spec"],
                    "status": {"phase": "Bound", "capacity": claim["spec"]["resources"]["requests"]},
                });
                moved |= api.put(&key, "kube-controller-manager", "", claim);
            }
        }
        let key = Key::new("pods", namespace, &pod);
        match api.get(&key) {
            None => {
                let mut labels = template["metadata"]["labels"].clone();
                labels["controller-revision-hash"] = json!(revision);
                labels["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
                let mut spec = template["spec"].clone();
                spec["nodeName"] = json!("tr-1");
                let value = json!({
                    "metadata": {"labels": labels, "ownerReferences": owner("StatefulSet", set)},
                    "spec": spec, "status": {"podIP": format!("10.0.0.{}", 10 + ordinal)},
                });
                moved |= api.put(&key, "kube-controller-manager", "", value);
            }
            Some(pod) if is_terminating(&pod) => {}
            Some(pod) if !is_ready(&pod) => {
                if startable(api, namespace, &pod["spec"]) {
                    moved |= set_ready(api, &key, true);
                }
            }
            // One outdated pod at a time, except where somebody else decides when.
            Some(pod)
                if text(set, "/spec/updateStrategy/type") != "OnDelete"
                    && text(&pod, "/metadata/labels/controller-revision-hash") != revision =>
            {
                api.remove(&key);
                moved = true;
                break;
            }
            Some(_) => {}
        }
    }
    for ordinal in replicas..9 {
        let key = Key::new("pods", namespace, &format!("{name}-{ordinal}"));
        if api.is(&key, |_| true) {
            api.remove(&key);
            moved = true;
        }
    }
    let ready = (0..replicas)
        .filter(|ordinal| {
            api.is(
                &Key::new("pods", namespace, &format!("{name}-{ordinal}")),
                is_ready,
            )
        })
        .count();
    let mut value = set.clone();
    value["status"] = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": replicas,
        "readyReplicas": ready, "updateRevision": revision,
    });
    moved
        | api.put(
            &Key::new("statefulsets", namespace, name),
            "kube-controller-manager",
            "status",
            value,
        )
}

/// The start fence of a pod whose address was closed at once.
pub fn fence_passed() -> Value {
    let report = json!({
        "outcome": "Fenced", "heldMillis": 3100,
        "families": [{"family": "IPv4", "closed": true, "reached": 0, "windowMillis": null, "closedMillis": 3000}],
    });
    json!([{
        "name": "fence", "ready": true, "restartCount": 0, "image": "", "imageID": "",
        "state": {"terminated": {"exitCode": 0, "message": report.to_string()}},
    }])
}

/// Whether a pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    text(pod, "/status/conditions/0/status") == "True"
}

/// Makes a pod ready, or not. Returns whether it was otherwise.
pub fn set_ready(api: &FakeApi, key: &Key, ready: bool) -> bool {
    let Some(mut pod) = api.get(key) else {
        return false;
    };
    let word = if ready { "True" } else { "False" };
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": word}]);
    pod["status"]["initContainerStatuses"] = fence_passed();
    api.put(key, "kubelet", "status", pod)
}

fn run_job(api: &FakeApi, namespace: &str, job: &Value) -> bool {
    let name = text(job, "/metadata/name");
    let key = Key::new("pods", namespace, &format!("{name}-x7x7x"));
    if !api.is(&key, |_| true) {
        let mut labels = job["spec"]["template"]["metadata"]["labels"].clone();
        labels["batch.kubernetes.io/job-name"] = json!(name);
        let mut spec = job["spec"]["template"]["spec"].clone();
        spec["nodeName"] = json!("tr-1");
        let value = json!({
            "metadata": {"labels": labels, "ownerReferences": owner("Job", job)}, "spec": spec,
        });
        return api.put(&key, "kube-controller-manager", "", value);
    }
    if job.pointer("/status/conditions").is_some()
        || !startable(api, namespace, &job["spec"]["template"]["spec"])
    {
        return false;
    }
    let result = if name.contains("stanza") {
        STANZA_RESULT.to_owned()
    } else if name.contains("canary") {
        canary_answer(job)
    } else {
        BACKUP_RESULT.to_owned()
    };
    let mut pod = api.get(&key).unwrap();
    pod["status"] = json!({
        "phase": "Succeeded", "initContainerStatuses": fence_passed(),
        "containerStatuses": [{
            "name": "pgbackrest", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {
                "exitCode": 0, "message": result, "finishedAt": jiff::Timestamp::now().to_string(),
            }},
        }],
    });
    api.put(&key, "kubelet", "status", pod);
    let mut done = job.clone();
    done["status"] = json!({
        "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T08:01:00Z"}],
    });
    api.put(
        &Key::new("jobs", namespace, name),
        "kube-controller-manager",
        "status",
        done,
    )
}

/// What a canary answers where the boundary holds.
fn canary_answer(job: &Value) -> String {
    let pod = &job["spec"]["template"];
    let variable = &pod["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["name"], VARIABLE);
    let question: Question = serde_json::from_str(text(variable, "/value")).unwrap();
    let guise = Guise::ALL
        .into_iter()
        .find(|guise| pod["metadata"]["labels"][LABEL_TASK] == guise.label())
        .expect("a canary has a guise");
    let outcomes = question
        .targets
        .iter()
        .map(
            |target| match (&target.attempt, target.class.allowed(guise)) {
                (Attempt::Connect(_), true) => Tried::Reached,
                (Attempt::Connect(_), false) => Tried::Blocked,
                (Attempt::Resolve(_) | Attempt::ResolveInside(_), true) => Tried::Resolved,
                (Attempt::Resolve(_) | Attempt::ResolveInside(_), false) => Tried::NotResolved,
            },
        )
        .collect();
    let question = question.id;
    serde_json::to_string(&Answer { question, outcomes }).unwrap()
}
