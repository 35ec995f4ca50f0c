//! What is tried with the operator's token, and what must come of each: a table. Values; no I/O.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

mod cluster_wide;
mod within;

use bailiwick_model::names::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use cluster_wide::cluster_wide;
use serde_json::{Value, json};
use within::within;

use crate::request::Ask;

/// The name of all that is tried to be made.
const NAME: &str = "e2e-stolen";

/// What comes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comes {
    /// It has no right to.
    Forbidden,
    /// It has a right to, and admission does not let it.
    Denied,
    /// It succeeds. The operator could not do its work without.
    Succeeds,
}

/// A name, what is asked, and what must come of it.
pub type Row = (&'static str, Ask, Comes);

/// Every escalation.
pub fn attempts() -> Vec<Row> {
    cluster_wide()
        .into_iter()
        .chain(elsewhere())
        .chain(within())
        .chain(own())
        .collect()
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A binding of cluster-admin to the operator's account.
fn binding(kind: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": NAME },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": OPERATOR_SERVICE_ACCOUNT }] })
}

fn role(kind: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": NAME },
        "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] })
}

/// Namespaces that are no Region's.
fn elsewhere() -> Vec<Row> {
    use Comes::Forbidden;
    let token =
        || json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    vec![
        (
            "Secrets of kube-system",
            Ask::get("/api/v1/namespaces/kube-system/secrets"),
            Forbidden,
        ),
        (
            "ConfigMaps of kube-system",
            Ask::get("/api/v1/namespaces/kube-system/configmaps/coredns"),
            Forbidden,
        ),
        (
            "DNS is turned",
            Ask::merge(
                "/api/v1/namespaces/kube-system/configmaps/coredns",
                json!({ "data": { "Corefile": "" } }),
            ),
            Forbidden,
        ),
        (
            "a token of the namespace controller",
            Ask::create(
                "/api/v1/namespaces/kube-system/serviceaccounts/namespace-controller/token",
                token(),
            ),
            Forbidden,
        ),
        (
            "a Secret of its own namespace",
            Ask::get("/api/v1/namespaces/bailiwick-system/secrets"),
            Forbidden,
        ),
        (
            "a token of its own account",
            Ask::create(
                "/api/v1/namespaces/bailiwick-system/serviceaccounts/bailiwick-operator/token",
                token(),
            ),
            Forbidden,
        ),
        (
            "its own image",
            Ask::merge(
                "/apis/apps/v1/namespaces/bailiwick-system/deployments/bailiwick-operator",
                json!({ "metadata": { "labels": { "e2e": "true" } } }),
            ),
            Forbidden,
        ),
        (
            "its own NetworkPolicy is deleted",
            Ask::delete(
                "/apis/networking.k8s.io/v1/namespaces/bailiwick-system/networkpolicies/default-deny",
            ),
            Forbidden,
        ),
        (
            "the scheduler's Lease",
            Ask::merge(
                "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler",
                json!({ "metadata": { "labels": { "e2e": "true" } } }),
            ),
            Forbidden,
        ),
        (
            "a node's Lease",
            Ask::get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/tr-1"),
            Forbidden,
        ),
        (
            "a client's Secrets",
            Ask::get("/api/v1/namespaces/e2e-client-tr/secrets"),
            Forbidden,
        ),
        (
            "a client's Secret by its name",
            Ask::get("/api/v1/namespaces/e2e-client-tr/secrets/tr-s3-user-documents"),
            Forbidden,
        ),
        (
            "a client's NetworkPolicy is deleted",
            Ask::delete(
                "/apis/networking.k8s.io/v1/namespaces/e2e-client-tr/networkpolicies/default-deny",
            ),
            Forbidden,
        ),
        (
            "a pod in a stranger's namespace",
            Ask::create("/api/v1/namespaces/e2e-stranger/pods", pod()),
            Forbidden,
        ),
        (
            "a shell in the cluster's DNS",
            Ask::create(
                "/api/v1/namespaces/kube-system/pods/any/exec?command=id",
                Value::Null,
            ),
            Forbidden,
        ),
        (
            "a Job in default",
            Ask::create("/apis/batch/v1/namespaces/default/jobs", job(&json!({}))),
            Forbidden,
        ),
        (
            "Argo CD's Secrets",
            Ask::get("/api/v1/namespaces/argocd/secrets"),
            Forbidden,
        ),
        (
            "a RoleBinding in kube-system",
            Ask::create(
                format!("{RBAC}/namespaces/kube-system/rolebindings"),
                binding("RoleBinding"),
            ),
            Forbidden,
        ),
    ]
}

fn pod() -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME }, "spec": template() })
}

fn template() -> Value {
    json!({ "restartPolicy": "Never", "automountServiceAccountToken": false,
        "nodeSelector": { "topology.kubernetes.io/region": "tr-ist-1" },
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{ "name": "main", "image": "bailiwick.dev/probe:0.1.0",
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }] })
}

/// A Job of one pod, with other fields in the pod's spec.
fn job(fields: &Value) -> Value {
    let mut template = template();
    for (key, value) in fields.as_object().into_iter().flatten() {
        template[key] = value.clone();
    }
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": NAME },
        "spec": { "template": { "spec": template } } })
}

/// What the operator lives by, which whoever has its token has as well. The list is closed: what is not here fails.
fn own() -> Vec<Row> {
    use Comes::Succeeds;
    let core = "/api/v1/namespaces/tr";
    vec![
        (
            "a Secret of a Region is read by its name",
            Ask::get(format!("{core}/secrets/tr-pg-internal")),
            Succeeds,
        ),
        (
            "another Region's, which this operator serves too",
            Ask::get("/api/v1/namespaces/es/secrets/es-pg-internal"),
            Succeeds,
        ),
        (
            "a Secret of a Region is deleted",
            Ask::delete(format!("{core}/secrets/tr-client-tls")),
            Succeeds,
        ),
        (
            "Postgres' files are changed",
            Ask::merge(
                format!("{core}/configmaps/tr-pg-files"),
                json!({ "data": { "e2e": "" } }),
            ),
            Succeeds,
        ),
        (
            "a Job of an image from here",
            Ask::create("/apis/batch/v1/namespaces/tr/jobs", job(&json!({}))),
            Succeeds,
        ),
        (
            "a pod of a Region is deleted",
            Ask::delete(format!("{core}/pods/tr-pg-0")),
            Succeeds,
        ),
        (
            "Postgres is scaled to nothing",
            Ask::merge(
                "/apis/apps/v1/namespaces/tr/statefulsets/tr-pg",
                json!({ "spec": { "replicas": 0 } }),
            ),
            Succeeds,
        ),
        (
            "the default deny of a Region is deleted",
            Ask::delete("/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies/default-deny"),
            Succeeds,
        ),
        (
            "the primary's Service leads to another pod",
            Ask::merge(
                format!("{core}/services/tr-pg-rw"),
                json!({ "spec": { "selector": { "app": NAME } } }),
            ),
            Succeeds,
        ),
    ]
}
