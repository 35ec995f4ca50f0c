//! What stands on the cluster before the policies do: two Regions' namespaces, a client's, a weak one and a foreign
//! one, each with an object of every kind that is changed later, and the kinds that only some clusters have. Writes it.

use std::collections::BTreeSet;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cases::{
    CLIENT, FOREIGN, FOREIGN_KINDS, OWN, STANDING_APPROVER, STANDS, WEAK, exception,
};
use crate::objects::{
    claim, config_map, container, endpoint_slice, network_policy, plural, pod, pod_spec, role,
    role_binding, secret, service, snapshot, subject, with, workload,
};
use crate::policies::repository;
use crate::request::EVERYTHING;
use crate::support::api_server::{ApiServer, wait_until_established};

/// Prepares the cluster.
pub async fn prepare(server: &ApiServer) {
    let client = server.client();
    let folder = |path: &str| repository().join(path).display().to_string();
    server.run_kubectl(&["apply", "--server-side", "-k", &folder("crds")]);
    wait_until_established(&client, "regions.bailiwick.dev").await;
    server.run_kubectl(&["apply", "--server-side", "-k", &folder("platform/operator")]);
    server.run_kubectl(&["apply", "--server-side", "-k", &folder("platform/storage")]);
    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &folder("overlays/dev-local/regions"),
    ]);
    put(&client, &json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "test-everything"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject("Group", EVERYTHING)]
    }))
    .await;
    put(
        &client,
        &json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "metadata": {"name": "es"},
            "spec": {"residency": {"exceptions": [exception("45", STANDING_APPROVER, STANDS)]}}
        }),
    )
    .await;
    kinds(&client).await;
    let file =
        std::fs::read_to_string(repository().join("overlays/dev-local/regions/tr.yaml")).unwrap();
    let own = serde_yaml::Deserializer::from_str(&file).next().unwrap();
    let own = Value::deserialize(own).unwrap();
    assert_eq!(own["metadata"]["name"], OWN);
    let plain = with(
        own["metadata"]["labels"].clone(),
        json!({"bailiwick.dev/region": null}),
    );
    for (name, labels) in [
        (CLIENT, client_labels("baseline")),
        ("tr-safe", client_labels("restricted")),
        (
            WEAK,
            with(
                client_labels("privileged"),
                json!({"bailiwick.dev/region": WEAK, "bailiwick.dev/client": null}),
            ),
        ),
        (
            "late",
            json!({"pod-security.kubernetes.io/enforce": "restricted"}),
        ),
        (FOREIGN, json!({})),
        ("plain", plain),
        (
            "tr-obs",
            json!({"pod-security.kubernetes.io/enforce-version": "v1.35"}),
        ),
    ] {
        put(&client, &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}
        }))
        .await;
    }
    for namespace in [OWN, CLIENT, WEAK, FOREIGN, "plain"] {
        stand(&client, namespace).await;
    }
    // The account that Postgres and tokens are of.
    for namespace in [FOREIGN, "plain"] {
        put_in(
            &client,
            namespace,
            &json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tr-pg"}
            }),
        )
        .await;
    }
}

fn client_labels(enforce: &str) -> Value {
    json!({
        "bailiwick.dev/region": OWN,
        "bailiwick.dev/location": "tr-ist-1",
        "bailiwick.dev/jurisdiction": "TR",
        "bailiwick.dev/client": "true",
        "pod-security.kubernetes.io/enforce": enforce
    })
}

/// One object of every kind that is changed or used later.
async fn stand(client: &Client, namespace: &str) {
    let name = "standing";
    let nobody = json!([]);
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
        pod(name),
        workload("Deployment", name, &pod_spec(&json!([container()]))),
        service(name),
        endpoint_slice(name),
        network_policy(name, &nobody, &nobody),
        claim(name),
        snapshot(name),
        config_map(name),
        secret(name),
        role(name, &[""], &["configmaps"], &["get"]),
        role_binding(name, ("Role", name), &subject("User", "jane")),
    ] {
        put_in(client, namespace, &object).await;
    }
}

/// Kinds of other projects, without a schema.
async fn kinds(client: &Client) {
    let kinds = FOREIGN_KINDS
        .iter()
        .map(|(_, group, kind)| (*group, *kind))
        .filter(|(group, _)| *group != "networking.k8s.io")
        .chain([("snapshot.storage.k8s.io", "VolumeSnapshot")]);
    for (group, kind) in kinds.clone().collect::<BTreeSet<_>>() {
        put(client, &json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{}.{group}", plural(kind)),
                // Groups of Kubernetes ask for it.
                "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in of a test"}
            },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural(kind)},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
            }
        }))
        .await;
    }
    for (group, kind) in kinds {
        wait_until_established(client, &format!("{}.{group}", plural(kind))).await;
    }
}

fn api(client: &Client, namespace: Option<&str>, object: &Value) -> Api<DynamicObject> {
    let version = object["apiVersion"].as_str().unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = object["kind"].as_str().unwrap();
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(group, version, kind),
        &plural(kind),
    );
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

async fn apply(api: Api<DynamicObject>, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(
        name,
        &PatchParams::apply("test").force(),
        &Patch::Apply(object),
    )
    .await
    .unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]));
}

/// Applies a cluster-scoped object.
pub async fn put(client: &Client, object: &Value) {
    apply(api(client, None, object), object).await;
}

/// Applies an object in a namespace.
pub async fn put_in(client: &Client, namespace: &str, object: &Value) {
    apply(api(client, Some(namespace), object), object).await;
}
