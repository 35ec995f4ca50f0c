//! What belongs to no namespace, or to all of them.

use serde_json::json;

use super::{ADMISSION, Comes, NAME, RBAC, Row, binding, role};
use crate::request::Ask;

/// What belongs to no namespace, or to all of them.
pub fn cluster_wide() -> Vec<Row> {
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
