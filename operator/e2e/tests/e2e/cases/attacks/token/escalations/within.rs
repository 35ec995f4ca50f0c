//! What is within a Region's own namespaces.

use serde_json::{Value, json};

use super::{Comes, NAME, RBAC, Row, binding, job, pod, role};
use crate::request::Ask;

/// A Region's namespace, in which it works: what it has no right to even there, and what admission does not let it.
pub fn within() -> Vec<Row> {
    use Comes::{Denied, Forbidden};
    let core = "/api/v1/namespaces/tr";
    let jobs = "/apis/batch/v1/namespaces/tr/jobs";
    vec![
        (
            "every Secret of the Region at once",
            Ask::get(format!("{core}/secrets")),
            Forbidden,
        ),
        (
            "every ConfigMap of the Region at once",
            Ask::get(format!("{core}/configmaps")),
            Forbidden,
        ),
        (
            "a shell in the primary",
            Ask::create(format!("{core}/pods/tr-pg-0/exec?command=id"), Value::Null),
            Forbidden,
        ),
        (
            "the same by WebSocket",
            Ask::get(format!("{core}/pods/tr-pg-0/exec?command=id")),
            Forbidden,
        ),
        (
            "the primary's terminal",
            Ask::create(format!("{core}/pods/tr-pg-0/attach"), Value::Null),
            Forbidden,
        ),
        (
            "a port of the primary's",
            Ask::create(
                format!("{core}/pods/tr-pg-0/portforward?ports=5432"),
                Value::Null,
            ),
            Forbidden,
        ),
        (
            "Patroni through the API server",
            Ask::get(format!("{core}/pods/https:tr-pg-0:8008/proxy/config")),
            Forbidden,
        ),
        (
            "the store through the API server",
            Ask::get(format!("{core}/services/https:tr-s3:9000/proxy/")),
            Forbidden,
        ),
        (
            "the primary's log",
            Ask::get(format!("{core}/pods/tr-pg-0/log?container=postgres")),
            Forbidden,
        ),
        (
            "a container more in the primary",
            Ask::merge(
                format!("{core}/pods/tr-pg-0/ephemeralcontainers"),
                json!({ "spec": {} }),
            ),
            Forbidden,
        ),
        (
            "a pod past its controllers",
            Ask::create(format!("{core}/pods"), pod()),
            Forbidden,
        ),
        (
            "a pod is put on a node",
            Ask::create(
                format!("{core}/pods/tr-pg-0/binding"),
                json!({ "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": "tr-pg-0" }, "target": { "kind": "Node", "name": "es-1" } }),
            ),
            Forbidden,
        ),
        (
            "a Role in the Region",
            Ask::create(format!("{RBAC}/namespaces/tr/roles"), role("Role")),
            Forbidden,
        ),
        (
            "a RoleBinding in the Region",
            Ask::create(
                format!("{RBAC}/namespaces/tr/rolebindings"),
                binding("RoleBinding"),
            ),
            Forbidden,
        ),
        (
            "Patroni's Role grows",
            Ask::merge(
                format!("{RBAC}/namespaces/tr/roles/tr-pg"),
                json!({ "rules": role("Role")["rules"] }),
            ),
            Forbidden,
        ),
        (
            "a token of Patroni's account",
            Ask::create(
                format!("{core}/serviceaccounts/tr-pg/token"),
                json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} }),
            ),
            Forbidden,
        ),
        (
            "a ServiceAccount is made",
            Ask::create(
                format!("{core}/serviceaccounts"),
                json!({ "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "a volume's claim is deleted",
            Ask::delete(format!("{core}/persistentvolumeclaims/data-tr-pg-0")),
            Forbidden,
        ),
        (
            "a Deployment",
            Ask::get("/apis/apps/v1/namespaces/tr/deployments"),
            Forbidden,
        ),
        (
            "a Job on another location's nodes",
            Ask::create(
                jobs,
                job(&json!({ "nodeSelector": { "topology.kubernetes.io/region": "es-mad-1" } })),
            ),
            Denied,
        ),
        (
            "a Job with its node's disk",
            Ask::create(
                jobs,
                job(&json!({ "volumes": [{ "name": "disk", "hostPath": { "path": "/" } }] })),
            ),
            Denied,
        ),
        (
            "a Job with its node's network",
            Ask::create(jobs, job(&json!({ "hostNetwork": true }))),
            Denied,
        ),
        (
            "a Job of an image from elsewhere",
            Ask::create(
                jobs,
                job(
                    &json!({ "containers": [{ "name": "main", "image": "registry.example.org/tool:1" }] }),
                ),
            ),
            Denied,
        ),
        (
            "a Service that is a name outside",
            Ask::create(
                format!("{core}/services"),
                json!({ "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": NAME }, "spec": { "type": "ExternalName", "externalName": "outside.test" } }),
            ),
            Denied,
        ),
        (
            "a NetworkPolicy that opens everything",
            Ask::create(
                "/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies",
                json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": NAME },
                "spec": { "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] } }),
            ),
            Denied,
        ),
        (
            "a Secret that a controller copies",
            Ask::create(
                format!("{core}/secrets"),
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {
                "name": NAME, "annotations": { "replicator.v1.mittwald.de/replicate-to": "es" } } }),
            ),
            Denied,
        ),
        (
            "a token that never ends",
            Ask::create(
                format!("{core}/secrets"),
                json!({ "apiVersion": "v1", "kind": "Secret",
                "type": "kubernetes.io/service-account-token", "metadata": { "name": NAME,
                    "annotations": { "kubernetes.io/service-account.name": "tr-pg" } } }),
            ),
            Denied,
        ),
    ]
}
