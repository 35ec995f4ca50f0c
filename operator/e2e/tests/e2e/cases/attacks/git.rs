//! The committer to Git: manifests that whoever applies the overlay applies, with all rights. Requests; no I/O.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use serde_json::{Value, json};

use super::namespace::{NAME, binding, claim, container, ingress, opening, pod, service};
use super::{Adversary, Attempt, Expected, How, live, with};
use crate::cluster::{MANAGER, documents, kind};
use crate::request::{Ask, Who};

/// The Region's file.
const REGION: &str = include_str!("../../../../../../overlays/dev-local/regions/tr.yaml");

/// What the committer tries.
pub fn attempts() -> Vec<Attempt> {
    let adversary = Adversary::GitCommitter;
    let mut attempts = super::attempts(adversary, manifests(), |ask| How::Ask(Who::Own, ask));
    attempts.extend(super::attempts(
        adversary,
        [
            (
                "a Region for a location that is not served here",
                live::Intrusion::Elsewhere,
                Expected::NotAccepted,
            ),
            (
                "an admission policy loses its binding",
                live::Intrusion::Unbound,
                Expected::Noticed,
            ),
        ],
        How::Live,
    ));
    attempts
}

/// A manifest of one object of the Region's namespace.
fn apply(collection: &str, manifest: Value) -> Ask {
    let root = match manifest["apiVersion"].as_str() {
        Some("v1") | None => "/api/v1".to_owned(),
        Some(version) => format!("/apis/{version}"),
    };
    let name = manifest["metadata"]["name"].as_str().unwrap_or(NAME);
    let path = format!("{root}/namespaces/tr/{collection}/{name}");
    Ask::apply(&path, MANAGER, manifest)
}

/// A document of the Region's file. A manifest that left the rest of it out would be refused for that.
fn document(wanted: &str) -> Value {
    documents(REGION)
        .into_iter()
        .flatten()
        .find(|document| kind(document) == wanted)
        .and_then(|document| serde_json::to_value(document).ok())
        .unwrap_or_default()
}

/// The Region's file with an edit of its residency.
fn region(residency: &Value) -> Ask {
    let manifest = with(
        document("Region"),
        json!({ "spec": { "residency": residency } }),
    );
    Ask::apply("/apis/bailiwick.dev/v1alpha1/regions/tr", MANAGER, manifest)
}

/// The Region's namespace in its file, with a label changed.
fn relabelled(label: &str, value: &str) -> Ask {
    let manifest = with(
        document("Namespace"),
        json!({ "metadata": { "labels": { label: value } } }),
    );
    Ask::apply("/api/v1/namespaces/tr", MANAGER, manifest)
}

/// A manifest of a namespace.
fn namespace(name: &str, labels: Value) -> Ask {
    let mut manifest =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    manifest["metadata"]["labels"] = labels;
    Ask::apply(&format!("/api/v1/namespaces/{name}"), MANAGER, manifest)
}

/// A workload of one pod.
fn workload(kind: &str, edit: Value) -> Value {
    let labels = json!({ "app": NAME });
    json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": NAME, "namespace": "tr" },
        "spec": { "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod(edit)["spec"] } } })
}

fn manifests() -> Vec<(&'static str, Ask, Expected)> {
    use Expected::Refused;
    vec![
        (
            "the Region's file says another location",
            region(&json!({ "jurisdiction": "TR", "location": "es-mad-1" })),
            Refused("spec.residency.location: Invalid value"),
        ),
        (
            "the Region's file has an exception without an approver",
            region(
                &json!({ "jurisdiction": "TR", "location": "tr-ist-1", "exceptions": [
                { "channel": "1", "reason": "none", "approvedBy": "", "expires": "2027-01-31T00:00:00Z" }] }),
            ),
            Refused("spec.residency.exceptions[0].approvedBy"),
        ),
        (
            "the Region's file allows one more location",
            region(&json!({ "jurisdiction": "TR", "location": "tr-ist-1",
                "allowedLocations": ["tr-ist-1", "es-mad-1"] })),
            Refused("spec.residency.allowedLocations: Invalid value"),
        ),
        (
            "the Region's file is taken out of Git",
            Ask::delete("/apis/bailiwick.dev/v1alpha1/regions/tr"),
            Refused("Region tr is protected"),
        ),
        (
            "its namespace is taken out of Git",
            Ask::delete("/api/v1/namespaces/tr"),
            Refused("take its label bailiwick.dev/deletion-protection away first"),
        ),
        (
            "its namespace goes over to the neighbour",
            relabelled("bailiwick.dev/region", "es"),
            Refused("the label bailiwick.dev/region of a namespace is given when it is made"),
        ),
        (
            "its namespace moves by a manifest",
            relabelled("bailiwick.dev/location", "es-mad-1"),
            Refused("the label bailiwick.dev/location of a Region's namespace cannot be changed"),
        ),
        (
            "a fourth namespace of the Region",
            namespace(
                NAME,
                json!({ "bailiwick.dev/region": "tr", "bailiwick.dev/location": "tr-ist-1",
                "bailiwick.dev/jurisdiction": "TR", "pod-security.kubernetes.io/enforce": "restricted" }),
            ),
            Refused("the namespaces of Region tr are tr, tr-obs and tr-drill"),
        ),
        (
            "a client's namespace of privileged pods",
            namespace(
                NAME,
                json!({ "bailiwick.dev/region": "tr", "bailiwick.dev/location": "tr-ist-1",
                "bailiwick.dev/jurisdiction": "TR", "bailiwick.dev/client": "true",
                "pod-security.kubernetes.io/enforce": "privileged" }),
            ),
            Refused("a Region's namespace enforces Pod Security"),
        ),
        (
            "a namespace that stands becomes the Region's client",
            namespace(
                "e2e-stranger",
                json!({ "bailiwick.dev/region": "tr", "bailiwick.dev/client": "true" }),
            ),
            Refused("the label bailiwick.dev/region of a namespace is given when it is made"),
        ),
        (
            "a name outside as a Service, from Git",
            apply(
                "services",
                service(
                    json!({ "spec": { "type": "ExternalName", "externalName": "outside.test",
                "selector": null, "ports": null } }),
                ),
            ),
            Refused("are of type ClusterIP"),
        ),
        (
            "a load balancer, from Git",
            apply(
                "services",
                service(json!({ "spec": { "type": "LoadBalancer" } })),
            ),
            Refused("are of type ClusterIP"),
        ),
        (
            "an opening of the boundary, from Git",
            apply("networkpolicies", opening()),
            Refused("are written by the operator alone"),
        ),
        (
            "an Ingress, from Git",
            apply("ingresses", ingress()),
            Refused("is exposed outside of the cluster"),
        ),
        (
            "a volume elsewhere, from Git",
            apply("persistentvolumeclaims", claim("es-mad-1-local", json!({}))),
            Refused("are of a storage class of its location"),
        ),
        (
            "an image from elsewhere, from Git",
            apply(
                "deployments",
                workload(
                    "Deployment",
                    json!({ "containers": [container("docker.io/library/busybox:1")] }),
                ),
            ),
            Refused("come from registries of its location"),
        ),
        (
            "an image without a version, from Git",
            apply(
                "deployments",
                workload(
                    "Deployment",
                    json!({ "containers": [container("bailiwick.dev/probe:latest")] }),
                ),
            ),
            Refused("by a tag other than latest or a digest"),
        ),
        (
            "a pod that mounts its node's disk, from Git",
            apply(
                "daemonsets",
                workload(
                    "DaemonSet",
                    json!({ "volumes": [
                { "name": "disk", "hostPath": { "path": "/var/log" } }] }),
                ),
            ),
            Refused("others are mounted past the network boundary"),
        ),
        (
            "a pod with its node's network, from Git",
            apply(
                "daemonsets",
                workload("DaemonSet", json!({ "hostNetwork": true })),
            ),
            Refused("share nothing with their node"),
        ),
        (
            "a Deployment that runs anywhere, from Git",
            apply(
                "deployments",
                workload("Deployment", json!({ "nodeSelector": null })),
            ),
            Refused("pods of a Region's namespace run in its location"),
        ),
        (
            "cluster-admin for the operator, from Git",
            apply(
                "rolebindings",
                binding("cluster-admin", "bailiwick-system", "bailiwick-operator"),
            ),
            Refused("edit and ClusterRoles of the system grant more than"),
        ),
        (
            "Argo CD's own account reads the namespace",
            apply(
                "rolebindings",
                binding("view", "argocd", "argocd-application-controller"),
            ),
            Refused("serve people, ServiceAccounts of that Region and the operator; nobody else"),
        ),
    ]
}
