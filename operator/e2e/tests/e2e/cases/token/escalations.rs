//! What is tried with the operator's token, and what must come of each: a table. Values; no I/O.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use bailiwick_model::names::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use serde_json::{Value, json};

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

/// What belongs to no namespace, or to all of them.
fn cluster_wide() -> Vec<Row> {
    use Comes::Forbidden;
    vec![
        (
            "Secrets of all namespaces",
            Ask::get("/api/v1/secrets"),
            Forbidden,
        ),
        (
            "ConfigMaps of all namespaces",
            Ask::get("/api/v1/configmaps"),
            Forbidden,
        ),
        (
            "ServiceAccounts of all namespaces",
            Ask::get("/api/v1/serviceaccounts"),
            Forbidden,
        ),
        (
            "Events of all namespaces",
            Ask::get("/api/v1/events"),
            Forbidden,
        ),
        (
            "a ClusterRole is made",
            Ask::create(format!("{RBAC}/clusterroles"), role("ClusterRole")),
            Forbidden,
        ),
        (
            "its own ClusterRole grows",
            Ask::merge(
                format!("{RBAC}/clusterroles/bailiwick-operator"),
                json!({ "rules": role("ClusterRole")["rules"] }),
            ),
            Forbidden,
        ),
        (
            "the Regions' ClusterRole grows",
            Ask::merge(
                format!("{RBAC}/clusterroles/bailiwick-region"),
                json!({ "rules": role("ClusterRole")["rules"] }),
            ),
            Forbidden,
        ),
        (
            "cluster-admin is bound",
            Ask::create(
                format!("{RBAC}/clusterrolebindings"),
                binding("ClusterRoleBinding"),
            ),
            Forbidden,
        ),
        (
            "its own binding is turned",
            Ask::merge(
                format!("{RBAC}/clusterrolebindings/bailiwick-operator"),
                json!({ "subjects": [] }),
            ),
            Forbidden,
        ),
        (
            "an admission policy is deleted",
            Ask::delete(format!(
                "{ADMISSION}/validatingadmissionpolicies/bailiwick-pods"
            )),
            Forbidden,
        ),
        (
            "a binding of an admission policy is deleted",
            Ask::delete(format!(
                "{ADMISSION}/validatingadmissionpolicybindings/bailiwick-pods"
            )),
            Forbidden,
        ),
        (
            "an admission policy only warns",
            Ask::merge(
                format!("{ADMISSION}/validatingadmissionpolicybindings/bailiwick-pods"),
                json!({ "spec": { "validationActions": ["Audit"] } }),
            ),
            Forbidden,
        ),
        (
            "a webhook is made",
            Ask::create(
                format!("{ADMISSION}/mutatingwebhookconfigurations"),
                json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "the definition of Region is changed",
            Ask::merge(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/regions.bailiwick.dev",
                json!({ "metadata": { "labels": { "e2e": "true" } } }),
            ),
            Forbidden,
        ),
        (
            "a definition is made",
            Ask::create(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "a node is relabelled",
            Ask::merge(
                "/api/v1/nodes/es-1",
                json!({ "metadata": { "labels": { "topology.kubernetes.io/region": "tr-ist-1" } } }),
            ),
            Forbidden,
        ),
        (
            "a node's proxy",
            Ask::get("/api/v1/nodes/tr-1/proxy/pods"),
            Forbidden,
        ),
        (
            "a node is deleted",
            Ask::delete("/api/v1/nodes/tr-1"),
            Forbidden,
        ),
        (
            "a namespace is made",
            Ask::create(
                "/api/v1/namespaces",
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "a Region's namespace moves",
            Ask::merge(
                "/api/v1/namespaces/tr",
                json!({ "metadata": { "labels": { "bailiwick.dev/location": "es-mad-1" } } }),
            ),
            Forbidden,
        ),
        (
            "a Region's namespace is deleted",
            Ask::delete("/api/v1/namespaces/tr"),
            Forbidden,
        ),
        (
            "a volume is made",
            Ask::create(
                "/api/v1/persistentvolumes",
                json!({ "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "a StorageClass is made",
            Ask::create(
                "/apis/storage.k8s.io/v1/storageclasses",
                json!({ "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass", "metadata": { "name": NAME }, "provisioner": "none.example.org" }),
            ),
            Forbidden,
        ),
        (
            "a certificate is asked for",
            Ask::create(
                "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                json!({
                "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "a priority is made",
            Ask::create(
                "/apis/scheduling.k8s.io/v1/priorityclasses",
                json!({ "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass", "metadata": { "name": NAME }, "value": 1 }),
            ),
            Forbidden,
        ),
        (
            "an API of its own is served",
            Ask::create(
                "/apis/apiregistration.k8s.io/v1/apiservices",
                json!({ "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService", "metadata": { "name": NAME } }),
            ),
            Forbidden,
        ),
        (
            "a Region is made",
            Ask::create(
                "/apis/bailiwick.dev/v1alpha1/regions",
                json!({ "apiVersion": "bailiwick.dev/v1alpha1",
                "kind": "Region", "metadata": { "name": NAME }, "spec": {} }),
            ),
            Forbidden,
        ),
        (
            "a Region is deleted",
            Ask::delete("/apis/bailiwick.dev/v1alpha1/regions/tr"),
            Forbidden,
        ),
        (
            "Argo CD's applications",
            Ask::get("/apis/argoproj.io/v1alpha1/applications"),
            Forbidden,
        ),
        ("the API server's metrics", Ask::get("/metrics"), Forbidden),
        ("the API server's settings", Ask::get("/configz"), Forbidden),
    ]
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

/// A Region's namespace, in which it works: what it has no right to even there, and what admission does not let it.
fn within() -> Vec<Row> {
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
