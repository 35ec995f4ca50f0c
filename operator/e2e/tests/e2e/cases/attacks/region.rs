//! The editor of the Region: who may write Regions, and nothing else. Requests; no I/O but the editor's rights.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Adversary, Attempt, Expected, How, live};
use crate::client::{LABEL, MANAGER};
use crate::cluster::Cluster;
use crate::failure::{Outcome, While};
use crate::request::{Ask, Who};

/// The editor's name.
pub const PERSON: &str = "e2e-region-editor";
const PATH: &str = "/apis/bailiwick.dev/v1alpha1/regions/tr";

/// Who the editor is.
pub const WHO: Who = Who::Person(PERSON);

/// What the editor tries.
pub(super) fn attempts() -> Vec<Attempt> {
    use Expected::Refused;
    let spec = |spec: Value| Ask::merge(PATH, json!({ "spec": spec }));
    let residency = |edit: Value| spec(json!({ "residency": edit }));
    let network = |edit: Value| spec(json!({ "network": edit }));
    let client = |selector: Value| {
        network(
            json!({ "clients": [{ "name": "all", "namespaceSelector": selector, "to": ["Postgres"] }] }),
        )
    };
    let external = |cidr: &str, location: &str| {
        network(
            json!({ "external": [{ "name": "out", "host": "s3.example.org", "cidrs": [cidr],
            "ports": [443], "location": location }] }),
        )
    };
    let exception = |edit: Value| residency(json!({ "exceptions": [edit] }));
    let rows = [
        (
            "the Region goes over to another jurisdiction",
            residency(json!({ "jurisdiction": "ES" })),
            Refused("spec.residency.jurisdiction: Invalid value"),
        ),
        (
            "the Region moves to another location",
            residency(json!({ "location": "es-mad-1" })),
            Refused("spec.residency.location: Invalid value"),
        ),
        (
            "one more location is allowed",
            residency(json!({ "allowedLocations": ["tr-ist-1", "es-mad-1"] })),
            Refused("spec.residency.allowedLocations: Invalid value"),
        ),
        (
            "the Region's nodes are those of another location",
            residency(json!({ "nodeSelector": { "topology.kubernetes.io/region": "es-mad-1" } })),
            Refused("names nodes elsewhere"),
        ),
        (
            "an exception that nobody approved",
            exception(
                json!({ "channel": "1", "reason": "none", "expires": "2027-01-31T00:00:00Z" }),
            ),
            Refused("approvedBy: Required value"),
        ),
        (
            "an exception without an end",
            exception(json!({ "channel": "1", "reason": "none", "approvedBy": "me@example.org" })),
            Refused("expires: Required value"),
        ),
        (
            "an exception for a channel that is none",
            exception(
                json!({ "channel": "0", "reason": "none", "approvedBy": "me@example.org",
                "expires": "2027-01-31T00:00:00Z" }),
            ),
            Refused("expected the number of a leakage channel"),
        ),
        (
            "an endpoint in another location",
            external("203.0.113.0/28", "es-mad-1"),
            Refused("names a place outside spec.residency.allowedLocations"),
        ),
        (
            "an endpoint as wide as the internet",
            external("0.0.0.0/0", "tr-ist-1"),
            Refused("expected addresses in CIDR notation and a prefix of /20"),
        ),
        (
            "half of the internet as an endpoint",
            external("128.0.0.0/1", "tr-ist-1"),
            Refused("expected addresses in CIDR notation and a prefix of /20"),
        ),
        (
            "every namespace is a client",
            client(json!({})),
            Refused("selects every namespace"),
        ),
        (
            "every namespace but one is a client",
            client(
                json!({ "matchExpressions": [{ "key": "team", "operator": "NotIn", "values": ["other"] }] }),
            ),
            Refused("selects every namespace, or all but a few"),
        ),
        (
            "statements are logged with their values",
            spec(json!({ "postgres": { "parameters": { "log_statement": "all" } } })),
            Refused("sets what the operator owns or what would break the Region's promises"),
        ),
        (
            "a command of the editor's archives WAL",
            spec(json!({ "postgres": { "parameters": { "archive_command": "cp %p /tmp" } } })),
            Refused("sets what the operator owns or what would break the Region's promises"),
        ),
        (
            "TLS is turned off",
            spec(json!({ "postgres": { "parameters": { "ssl": "off" } } })),
            Refused("sets what the operator owns or what would break the Region's promises"),
        ),
        (
            "the database's volumes are of another location",
            spec(
                json!({ "postgres": { "storage": { "data": { "storageClass": "es-mad-1-local" } } } }),
            ),
            Refused("volumes keep the class that they were made with"),
        ),
        (
            "the store's volumes are of another location",
            spec(json!({ "objectStore": { "volume": { "storageClass": "es-mad-1-local" } } })),
            Refused("volumes keep the class that they were made with"),
        ),
        (
            "a login that is the operator's",
            spec(
                json!({ "postgres": { "roles": [{ "name": "bailiwick_operator", "login": true, "database": "clinical" }] } }),
            ),
            Refused("is reserved by Postgres or the operator"),
        ),
        (
            "a user of the store that is the archive's",
            spec(json!({ "objectStore": { "users": [{ "name": "pgbackrest",
                "grants": [{ "bucket": "documents", "access": "ReadWrite" }] }] } })),
            Refused("is reserved for the operator and its backups"),
        ),
        (
            "a grant of the archive's bucket",
            spec(json!({ "objectStore": { "users": [{ "name": "documents",
                "grants": [{ "bucket": "bailiwick-backup", "access": "ReadWrite" }] }] } })),
            Refused("holds a grant of a bucket that is not in spec.objectStore.buckets"),
        ),
        (
            "the archive is not encrypted",
            spec(json!({ "backup": { "encryption": { "mode": "None" } } })),
            Refused("spec.backup.encryption.mode: Unsupported value"),
        ),
        (
            "a second archive",
            spec(json!({ "backup": { "repos": [{ "name": "repo1" }, { "name": "repo2" }] } })),
            Refused("expected exactly one repository with store InRegion"),
        ),
        (
            "the protected Region is deleted",
            Ask::delete(PATH),
            Refused("Region tr is protected"),
        ),
        (
            "a Region of another location takes one of the Region's namespaces",
            Ask::create("/apis/bailiwick.dev/v1alpha1/regions", squatter()),
            Refused("metadata.name"),
        ),
        (
            "the Region's status is written by hand",
            Ask::merge(
                format!("{PATH}/status"),
                json!({ "status": { "conditions": [] } }),
            ),
            Refused("cannot patch resource \"regions/status\""),
        ),
        (
            "the Region's passwords are read",
            Ask::get("/api/v1/namespaces/tr/secrets/tr-pg-internal"),
            Refused("cannot get resource \"secrets\""),
        ),
    ];
    let adversary = Adversary::RegionEditor;
    let mut attempts = super::attempts(adversary, rows, |ask| How::Ask(WHO, ask));
    attempts.extend(super::attempts(
        adversary,
        [(
            "namespaces of no Region become clients",
            live::Intrusion::Client,
            Expected::Noticed,
        )],
        How::Live,
    ));
    attempts
}

/// A Region whose namespace would be that of the victim's drills.
fn squatter() -> Value {
    json!({ "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "metadata": { "name": "tr-drill" },
        "spec": {
            "residency": { "jurisdiction": "ES", "location": "es-mad-1" },
            "postgres": { "version": 17, "instances": 1,
                "storage": { "data": { "size": "1Gi", "storageClass": "es-mad-1-local" } } },
            "objectStore": { "servers": 1, "volume": { "size": "1Gi", "storageClass": "es-mad-1-local" } },
        } })
}

/// Gives the editor its rights.
pub async fn grant(cluster: &Cluster) -> Outcome {
    let rules = json!([{ "apiGroups": ["bailiwick.dev"], "resources": ["regions"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"] }]);
    role(cluster, PERSON, rules).await?;
    bind(cluster, PERSON, PERSON, PERSON).await
}

/// Takes them away.
pub async fn revoke(cluster: &Cluster) -> Outcome {
    unbind(cluster, &[PERSON]).await
}

/// A `ClusterRole` of the suite's own.
pub async fn role(cluster: &Cluster, name: &str, rules: Value) -> Outcome {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name, "labels": { LABEL: "true" } }, "rules": rules,
    });
    Api::<ClusterRole>::all(cluster.client.clone())
        .patch(
            name,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(&role),
        )
        .await
        .during(format_args!("make ClusterRole {name}"))?;
    Ok(())
}

/// A `ClusterRoleBinding` of the suite's own, for a person.
pub async fn bind(cluster: &Cluster, name: &str, role: &str, person: &str) -> Outcome {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name, "labels": { LABEL: "true" } },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person }],
    });
    Api::<ClusterRoleBinding>::all(cluster.client.clone())
        .patch(
            name,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(&binding),
        )
        .await
        .during(format_args!("bind ClusterRole {role} to {person}"))?;
    Ok(())
}

/// Removes bindings and roles of these names, if they are there.
pub async fn unbind(cluster: &Cluster, names: &[&str]) -> Outcome {
    let bindings = Api::<ClusterRoleBinding>::all(cluster.client.clone());
    let roles = Api::<ClusterRole>::all(cluster.client.clone());
    for name in names {
        if bindings.get_metadata_opt(name).await?.is_some() {
            bindings.delete(name, &DeleteParams::default()).await?;
        }
        if roles.get_metadata_opt(name).await?.is_some() {
            roles.delete(name, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}
