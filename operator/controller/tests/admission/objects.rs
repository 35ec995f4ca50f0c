//! Objects that every policy lets pass, to be spoilt one field at a time. Values in, values out; no I/O.

use serde_json::{Value, json};

/// The location of the Region whose namespaces are used.
pub const LOCATION: &str = "tr-ist-1";
const NODE_REGION: &str = "topology.kubernetes.io/region";

/// `object` with `edit` merged over it; lists are replaced whole, null removes.
pub fn with(mut object: Value, edit: Value) -> Value {
    merge(&mut object, edit);
    object
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = without_null(from),
    }
}

/// What is new may hold nulls that were meant to remove something that is not there.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null(value)))
            .collect(),
        other => other,
    }
}

pub fn container() -> Value {
    json!({
        "name": "main",
        "image": "bailiwick.dev/probe:0.1.0",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"}
        }
    })
}

/// The spec of a pod with these containers.
pub fn pod_spec(containers: &Value) -> Value {
    json!({
        "automountServiceAccountToken": false,
        "nodeSelector": {NODE_REGION: LOCATION},
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532},
        "containers": containers
    })
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": pod_spec(&json!([container()]))
    })
}

/// A pod whose placement is this affinity of terms, and no nodeSelector.
pub fn pod_by_terms(terms: &Value) -> Value {
    with(
        pod("new"),
        json!({"spec": {
            "nodeSelector": null,
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
            }}
        }}),
    )
}

/// A term that requires a place.
pub fn term(operator: &str, values: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": NODE_REGION, "operator": operator, "values": values}]})
}

/// A pod with this change of its container.
pub fn pod_with_container(edit: Value) -> Value {
    let changed = with(container(), edit);
    with(pod("new"), json!({"spec": {"containers": [changed]}}))
}

/// A workload of one of the kinds that make pods, with this spec of a pod.
pub fn workload(kind: &str, name: &str, pod: &Value) -> Value {
    let labels = json!({"app": name});
    let mut template = json!({"metadata": {"labels": labels}, "spec": pod});
    let selector = json!({"matchLabels": labels});
    let (version, spec) = match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" => (
            "apps/v1",
            json!({"selector": selector, "template": template}),
        ),
        "StatefulSet" => (
            "apps/v1",
            json!({"selector": selector, "serviceName": name, "template": template}),
        ),
        "ReplicationController" => ("v1", json!({"selector": labels, "template": template})),
        _ => {
            template["spec"]["restartPolicy"] = json!("Never");
            let job = json!({"template": template});
            if kind == "Job" {
                ("batch/v1", job)
            } else {
                (
                    "batch/v1",
                    json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}),
                )
            }
        }
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub const WORKLOADS: [&str; 7] = [
    "Deployment",
    "ReplicaSet",
    "DaemonSet",
    "StatefulSet",
    "ReplicationController",
    "Job",
    "CronJob",
];

pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "ClusterIP", "selector": {"app": "pod"}, "ports": [{"port": 80}]}
    })
}

pub fn endpoint_slice(name: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "standing"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["203.0.113.7"]}],
        "ports": [{"port": 443}]
    })
}

/// What an Endpoints object is; the kind is deprecated and honoured.
pub fn endpoints(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": name},
        "subsets": [{"addresses": [{"ip": "203.0.113.7"}], "ports": [{"port": 443}]}]
    })
}

/// A NetworkPolicy with these rules.
pub fn network_policy(name: &str, egress: &Value, ingress: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "policyTypes": ["Egress", "Ingress"], "egress": egress, "ingress": ingress}
    })
}

pub fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": format!("{LOCATION}-local"),
            "resources": {"requests": {"storage": "1Gi"}}
        }
    })
}

pub fn snapshot(name: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": name},
        "spec": {
            "volumeSnapshotClassName": format!("{LOCATION}-snapshots"),
            "source": {"persistentVolumeClaimName": "standing"}
        }
    })
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"}})
}

pub fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": "value"}})
}

/// A Role with one rule.
pub fn role(name: &str, groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name},
        "rules": [{"apiGroups": groups, "resources": resources, "verbs": verbs}]
    })
}

/// A RoleBinding of one subject.
pub fn role_binding(name: &str, role: (&str, &str), subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [subject]
    })
}

/// A subject by kind and name.
pub fn subject(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})
}

/// A ServiceAccount as a subject.
pub fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

/// An object of a kind that only some clusters have.
pub fn foreign(group: &str, kind: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "new"}, "spec": {}})
}

/// The plural under which a kind of [`foreign`] is served here.
pub fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !lower.ends_with("ay") => format!("{stem}ies"),
        _ if lower.ends_with('s') => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}

/// A Region's namespace.
pub fn namespace(name: &str, region: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {
            "bailiwick.dev/region": region,
            "bailiwick.dev/location": LOCATION,
            "bailiwick.dev/jurisdiction": "TR",
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "v1.33"
        }}
    })
}
