//! What a real API server makes of everything declarative: the definition of Region and its rules, the admission
//! policies, and the operator's rights. Starts one on this machine; without the cache's binaries it fails and says
//! how to get them.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[path = "../../model/tests/cases/mod.rs"]
mod cases;
mod support;

use std::path::Path;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use support::api_server::{ApiServer, wait_until_established};

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::{FENCE_NAMESPACE, FIELD_MANAGER};
use bailiwick_model::region::Region;
use bailiwick_model::volume::{Growth, Unmarked};
use bailiwick_operator::apply::{grow, mark_claim};
use bailiwick_operator::credentials::{Seen, is_prunable};
use bailiwick_operator::mint::retain;
use cases::{Bad, RefusedBy};

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
        .display()
        .to_string()
}

/// Regions as they are written, without the operator's defaults.
fn regions(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<Region>(&()))
}

fn object(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).unwrap()
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// The fields and the words of a refusal.
fn causes(error: kube::Error) -> (Vec<String>, String) {
    let kube::Error::Api(status) = error else {
        panic!("not a refusal: {error}")
    };
    let fields = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| cause.field.clone())
        .collect();
    (fields, status.message.clone())
}

#[tokio::test]
async fn a_real_api_server_agrees() {
    let server = ApiServer::start().await;
    let client = server.client();

    server.run_kubectl(&["apply", "--server-side", "-k", &repository("crds")]);
    wait_until_established(&client, "regions.bailiwick.dev").await;
    good_regions_are_taken_and_keep_their_lists(&client).await;
    bad_regions_are_refused_at_their_field(&client).await;
    unknown_fields_are_refused(&client).await;

    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("platform/operator"),
    ]);
    server.run_kubectl(&["create", "namespace", FENCE_NAMESPACE]);
    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("platform/operator/fence"),
    ]);
    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("overlays/dev-local/regions"),
    ]);
    an_older_api_server_can_afford_the_rules(&client).await;
    the_operator_has_the_rights_it_needs_and_no_more(&client).await;
    patroni_has_the_rights_it_needs_and_no_more(&client).await;
    the_operator_writes_the_status_and_nothing_else_of_a_region(&server).await;
    the_operator_lets_a_volume_grow_and_makes_none(&server).await;
    what_is_marked_as_retained_keeps_the_rest(&server).await;

    server.run_kubectl(&[
        "apply",
        "--server-side",
        "-k",
        &repository("platform/policies"),
    ]);
    policies_are_in_force(&client).await;
    protected_regions_and_namespaces_stay(&client).await;
    labels_of_a_regions_namespace_stay(&client).await;
}

/// API servers that take no note of how long a value that may be a number can be, estimate the cost of its rules by the size
/// of a request: so does this one of a definition that does not say it.
async fn an_older_api_server_can_afford_the_rules(client: &Client) {
    fn unbound(schema: &mut Value, count: &mut usize) {
        match schema {
            Value::Object(fields) => {
                if fields.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
                    *count += usize::from(fields.remove("maxLength").is_some());
                }
                for schema in fields.values_mut() {
                    unbound(schema, count);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| unbound(item, count)),
            _ => {}
        }
    }
    let mut definition = serde_json::to_value(bailiwick_model::region::crd().unwrap()).unwrap();
    let mut count = 0;
    unbound(&mut definition, &mut count);
    assert!(count >= 7, "only {count} fields may be numbers");
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    let patch = PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").force()
    };
    Api::<CustomResourceDefinition>::all(client.clone())
        .patch(&name, &patch, &Patch::Apply(&definition))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn good_regions_are_taken_and_keep_their_lists(client: &Client) {
    let api = regions(client);
    for (name, value) in cases::valid() {
        let live = api
            .create(&PostParams::default(), &object(&value))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // What is written in a list comes back as it was written: nothing for a tool to find a difference in.
        let written = &value["spec"];
        let read = &live.data["spec"];
        for path in [
            "/postgres/databases",
            "/postgres/roles",
            "/objectStore/buckets",
            "/backup/repos",
        ] {
            if let Some(list) = written.pointer(path) {
                assert_eq!(Some(list), read.pointer(path), "{name}: {path}");
            }
        }
        assert_eq!(read["lifecycle"]["deletionProtection"], true, "{name}");
    }
}

async fn bad_regions_are_refused_at_their_field(client: &Client) {
    let api = regions(client);
    let (mut refused, mut named) = (0, 0);
    for Bad {
        name,
        by,
        field,
        update_of,
        region,
    } in cases::invalid()
    {
        let mut bad = object(&region);
        let result = match &update_of {
            Some(old) => {
                let live = api
                    .get(old["metadata"]["name"].as_str().unwrap())
                    .await
                    .unwrap();
                bad.metadata.resource_version = live.resource_version();
                api.replace(&live.name_any(), &dry_run(), &bad).await
            }
            None => api.create(&dry_run(), &bad).await,
        };
        match (by, result) {
            (RefusedBy::Plan, Ok(_)) => {}
            (RefusedBy::Plan, Err(error)) => panic!("{name} is for plan to refuse: {error}"),
            (RefusedBy::Admission, Ok(_)) => panic!("{name} was taken"),
            (RefusedBy::Admission, Err(error)) => {
                let (fields, message) = causes(error);
                assert!(
                    fields.iter().any(|found| *found == field
                        || (field.is_empty() && message.contains("metadata.name"))),
                    "{name}: expected {field}, found {fields:?}: {message}"
                );
                // A rule on a map tells the key.
                for (case, said) in [
                    ("parameter-turns-tls-off", "ssl sets what the operator owns"),
                    ("parameter-misspelt", "max_conections names no setting"),
                ] {
                    if name == case {
                        assert!(message.contains(said), "{name}: {message}");
                        named += 1;
                    }
                }
                refused += 1;
            }
        }
    }
    println!("{refused} bad Regions were refused by the API server at their field");
    assert_eq!(named, 2, "rules that tell a key");
    assert!(refused >= 60, "only {refused} bad Regions were refused");
}

async fn unknown_fields_are_refused(client: &Client) {
    let mut value = cases::valid()["small"].clone();
    value["metadata"]["name"] = "unknown".into();
    value["spec"]["postgres"]["standby"] = 1.into();
    // As kubectl does since 1.27, and the operator's own writes do.
    let patch = PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").validation_strict()
    };
    let error = regions(client)
        .patch("unknown", &patch, &Patch::Apply(&value))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("spec.postgres.standby"),
        "{error}"
    );
}

/// Whether a ServiceAccount may do something, as `verb resource.group/subresource [name]`.
async fn may(client: &Client, account: (&str, &str), namespace: &str, action: &str) -> bool {
    let words: Vec<&str> = action.split(' ').collect();
    let (resource, subresource) = match words[1].split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (words[1], None),
    };
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{}:{}", account.0, account.1)),
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                name: words.get(2).map(|&name| name.to_owned()),
                namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
                verb: Some(words[0].to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

async fn hold(client: &Client, account: (&str, &str), expected: bool, actions: &[(&str, &str)]) {
    for (namespace, action) in actions {
        assert_eq!(
            may(client, account, namespace, action).await,
            expected,
            "{} may {action} in {namespace:?}",
            account.1
        );
    }
}

async fn the_operator_has_the_rights_it_needs_and_no_more(client: &Client) {
    let operator = ("bailiwick-system", "bailiwick-operator");
    hold(
        client,
        operator,
        true,
        &[
            ("", "watch regions.bailiwick.dev"),
            ("", "patch regions.bailiwick.dev/status"),
            ("", "list nodes"),
            ("", "watch statefulsets.apps"),
            ("default", "list endpointslices.discovery.k8s.io"),
            ("default", "create events.events.k8s.io"),
            (FENCE_NAMESPACE, "list endpointslices.discovery.k8s.io"),
            (FENCE_NAMESPACE, "watch endpointslices.discovery.k8s.io"),
            (
                "bailiwick-system",
                "update leases.coordination.k8s.io bailiwick-operator",
            ),
            ("tr", "get secrets tr-ca"),
            ("tr", "create secrets"),
            ("tr", "patch statefulsets.apps"),
            ("tr", "patch cronjobs.batch"),
            ("", "watch cronjobs.batch"),
            ("tr", "delete pods"),
            ("tr", "patch persistentvolumeclaims"),
            ("tr-obs", "patch networkpolicies.networking.k8s.io"),
            ("tr-drill", "patch networkpolicies.networking.k8s.io"),
        ],
    )
    .await;
    hold(
        client,
        operator,
        false,
        &[
            ("", "list secrets"),
            ("", "get secrets"),
            ("", "list configmaps"),
            ("", "create regions.bailiwick.dev"),
            ("", "delete regions.bailiwick.dev"),
            ("", "patch namespaces"),
            ("", "get nodes/proxy"),
            ("kube-system", "get secrets"),
            ("default", "get secrets"),
            ("default", "patch statefulsets.apps"),
            ("bailiwick-system", "get secrets"),
            (
                "bailiwick-system",
                "update leases.coordination.k8s.io another",
            ),
            ("tr", "list secrets"),
            ("tr", "watch configmaps"),
            ("tr", "create pods/exec"),
            ("tr", "get pods/log"),
            ("tr", "create pods"),
            ("tr", "create persistentvolumeclaims"),
            ("tr", "delete persistentvolumeclaims"),
            ("tr", "create roles.rbac.authorization.k8s.io"),
            ("tr", "create rolebindings.rbac.authorization.k8s.io"),
            ("tr", "create serviceaccounts/token"),
        ],
    )
    .await;
}

async fn patroni_has_the_rights_it_needs_and_no_more(client: &Client) {
    let patroni = ("tr", "tr-pg");
    hold(
        client,
        patroni,
        true,
        &[
            ("tr", "create configmaps"),
            ("tr", "list configmaps"),
            ("tr", "watch pods"),
            ("tr", "patch configmaps tr-pg-leader"),
            ("tr", "update configmaps tr-pg-sync"),
            ("tr", "patch configmaps tr-pg-config"),
            ("tr", "patch configmaps tr-pg-failover"),
            ("tr", "get configmaps tr-pg-leader"),
            ("tr", "patch pods tr-pg-0"),
            ("tr", "patch pods tr-pg-8"),
        ],
    )
    .await;
    hold(
        client,
        patroni,
        false,
        &[
            ("tr", "delete configmaps tr-pg-leader"),
            ("tr", "patch configmaps tr-pg-files"),
            ("tr", "patch pods tr-s3-0"),
            ("tr", "get secrets tr-ca"),
            ("tr", "create pods"),
            ("tr", "patch endpoints"),
            ("tr-obs", "list pods"),
            ("es", "list configmaps"),
        ],
    )
    .await;
}

async fn the_operator_writes_the_status_and_nothing_else_of_a_region(server: &ApiServer) {
    let api = regions(&server.client_as("bailiwick-system", "bailiwick-operator"));
    let status = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "Region",
        "metadata": {"name": "tr"},
        "status": {
            "observedGeneration": 1,
            "location": "tr-ist-1",
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Testing", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1
            }]
        }
    });
    let parameters = PatchParams::apply("bailiwick-operator")
        .force()
        .validation_strict();
    let live = api
        .patch_status("tr", &parameters, &Patch::Apply(&status))
        .await
        .unwrap();
    assert_eq!(live.data["status"]["location"], "tr-ist-1");
    let row = server.run_kubectl(&["get", "rg", "tr"]);
    assert!(
        row.contains("LOCATION") && row.contains("tr-ist-1") && row.contains("False"),
        "{row}"
    );
    let error = api
        .delete("tr", &DeleteParams::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("forbidden"), "{error}");
}

/// A policy takes a moment to be in force; until then this Region can be deleted, which dry run undoes.
/// A claim of `tr` as its StatefulSet's controller and a driver leave it.
async fn bound_claim(client: &Client, name: &str, class: &str) -> PersistentVolumeClaim {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    let claim = json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "volumeName": format!("pv-{name}"),
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    let claim = serde_json::from_value(claim).unwrap();
    api.create(&PostParams::default(), &claim).await.unwrap();
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap()
}

async fn the_operator_lets_a_volume_grow_and_makes_none(server: &ApiServer) {
    let client = server.client();
    let operator = server.client_as("bailiwick-system", "bailiwick-operator");
    for (name, expands) in [("grows", true), ("fixed", false)] {
        let class = json!({
            "metadata": {"name": name}, "provisioner": "test.bailiwick.dev", "allowVolumeExpansion": expands,
        });
        Api::<StorageClass>::all(client.clone())
            .create(
                &PostParams::default(),
                &serde_json::from_value(class).unwrap(),
            )
            .await
            .unwrap();
    }
    let growth = |claim: &PersistentVolumeClaim, size: &str| Growth {
        claim: claim.name_any(),
        uid: claim.uid().unwrap(),
        size: size.to_owned(),
    };
    let asked = async |name: &str| {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
        let claim = api.get(name).await.unwrap();
        claim.spec.unwrap().resources.unwrap().requests.unwrap()["storage"]
            .0
            .clone()
    };

    let claim = bound_claim(&client, "data-grows", "grows").await;
    grow(&operator, "tr", &growth(&claim, "2Gi"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(asked("data-grows").await, "2Gi");
    let refused = grow(&operator, "tr", &growth(&claim, "1Gi"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.failure, ReadFailure::Refused, "it shrank");

    let claim = bound_claim(&client, "data-fixed", "fixed").await;
    let refused = grow(&operator, "tr", &growth(&claim, "2Gi"))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.what, "grow data-fixed to 2Gi");
    assert_eq!(asked("data-fixed").await, "1Gi");

    // Neither another claim of that name nor one that is gone: a claim is never made.
    for (name, uid) in [("data-grows", "another"), ("data-missing", "any")] {
        let growth = Growth {
            claim: name.to_owned(),
            uid: uid.to_owned(),
            size: "4Gi".to_owned(),
        };
        let done = grow(&operator, "tr", &growth).await;
        assert!(!matches!(done, Ok(Ok(()))), "{name}");
    }
    assert_eq!(asked("data-grows").await, "2Gi");
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    assert!(api.get_opt("data-missing").await.unwrap().is_none());
}

/// A claim that grew keeps its size, and a Secret its values and whose they are; nothing is made.
async fn what_is_marked_as_retained_keeps_the_rest(server: &ApiServer) {
    let client = server.client();
    let operator = server.client_as("bailiwick-system", "bailiwick-operator");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "tr");
    let unmarked = |claim: &PersistentVolumeClaim| Unmarked {
        claim: claim.name_any(),
        uid: claim.uid().unwrap(),
    };
    let grown = claims.get("data-grows").await.unwrap();
    assert!(is_prunable(grown.annotations()));
    mark_claim(&operator, "tr", &unmarked(&grown))
        .await
        .unwrap();
    let growth = Growth {
        claim: grown.name_any(),
        uid: grown.uid().unwrap(),
        size: "3Gi".to_owned(),
    };
    grow(&operator, "tr", &growth).await.unwrap().unwrap();
    mark_claim(&operator, "tr", &unmarked(&grown))
        .await
        .unwrap();
    let marked = claims.get("data-grows").await.unwrap();
    assert!(!is_prunable(marked.annotations()));
    let asked = marked.spec.unwrap().resources.unwrap().requests.unwrap();
    assert_eq!(asked["storage"].0, "3Gi");
    let missing = Unmarked {
        claim: "data-missing".to_owned(),
        uid: "any".to_owned(),
    };
    mark_claim(&operator, "tr", &missing).await.unwrap();
    assert!(claims.get_opt("data-missing").await.unwrap().is_none());

    let secrets: Api<Secret> = Api::namespaced(client.clone(), "tr");
    let ours: Api<Secret> = Api::namespaced(operator, "tr");
    let made = json!({"metadata": {"name": "tr-s3-user-pgbackrest"}, "stringData": {"secret-key": "of the operator"}});
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let made = serde_json::from_value(made).unwrap();
    let made = ours.create(&parameters, &made).await.unwrap();
    let seen = Seen::of(&made);
    assert!(seen.prunable && seen.made.is_some());
    assert_eq!(seen.edited, None, "nobody but the operator wrote values");
    let marked = retain(&ours, "tr-s3-user-pgbackrest", &made.uid().unwrap())
        .await
        .unwrap()
        .unwrap();
    let seen = Seen::of(&marked);
    assert!(!seen.prunable);
    assert_eq!(seen.edited, None, "a mark is no edit");
    assert_eq!(marked.data, made.data);
    let label = json!({"metadata": {"labels": {"of": "person"}}});
    let edit = json!({"stringData": {"secret-key": "of a person"}});
    for (patch, edited) in [(label, false), (edit, true)] {
        let patched = secrets
            .patch(
                "tr-s3-user-pgbackrest",
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .unwrap();
        assert_eq!(Seen::of(&patched).edited.is_some(), edited);
    }
    for uid in ["another", "any"] {
        assert!(retain(&ours, "tr-missing", uid).await.unwrap().is_none());
    }
    assert!(secrets.get_opt("tr-missing").await.unwrap().is_none());
}

async fn policies_are_in_force(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    for _ in 0..300 {
        let label = json!({"metadata": {"labels": {"bailiwick.dev/region": "es"}}});
        let patch = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        if regions(client).delete("tr", &dry).await.is_err()
            && namespaces.delete("tr", &dry).await.is_err()
            && namespaces
                .patch("tr", &patch, &Patch::Merge(&label))
                .await
                .is_err()
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the policies are not in force after 30 s");
}

async fn protected_regions_and_namespaces_stay(client: &Client) {
    let api = regions(client);
    let delete = DeleteParams::default();
    let error = api.delete("tr", &delete).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("spec.lifecycle.deletionProtection"),
        "{error}"
    );
    let all = kube::api::ListParams::default();
    assert!(
        api.delete_collection(&delete, &all).await.is_err(),
        "all Regions at once"
    );
    assert!(api.get_opt("tr").await.unwrap().is_some());

    let unprotected = json!({"spec": {"lifecycle": {"deletionProtection": false}}});
    api.patch("es", &PatchParams::default(), &Patch::Merge(&unprotected))
        .await
        .unwrap();
    api.delete("es", &delete).await.unwrap();
    assert!(api.get_opt("es").await.unwrap().is_none());

    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in ["tr", "tr-obs", "tr-drill"] {
        let error = namespaces.delete(name, &delete).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("bailiwick.dev/deletion-protection"),
            "{error}"
        );
    }
    let unlabelled = json!({"metadata": {"labels": {"bailiwick.dev/deletion-protection": null}}});
    namespaces
        .patch(
            "es-drill",
            &PatchParams::default(),
            &Patch::Merge(&unlabelled),
        )
        .await
        .unwrap();
    namespaces.delete("es-drill", &delete).await.unwrap();
    // Others are none of the policy's business.
    let other = Namespace {
        metadata: kube::api::ObjectMeta {
            name: Some("other".to_owned()),
            ..kube::api::ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &other)
        .await
        .unwrap();
    namespaces.delete("other", &delete).await.unwrap();
}

async fn labels_of_a_regions_namespace_stay(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let parameters = PatchParams::default();
    for (label, value) in [
        ("region", json!("es")),
        ("location", json!("es-mad-1")),
        ("jurisdiction", Value::Null),
    ] {
        let label = format!("bailiwick.dev/{label}");
        let patch = json!({"metadata": {"labels": {label.as_str(): value}}});
        let error = namespaces
            .patch("tr", &parameters, &Patch::Merge(&patch))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&label), "{error}");
    }
    let other = json!({"metadata": {"labels": {"team": "storage"}}});
    namespaces
        .patch("tr", &parameters, &Patch::Merge(&other))
        .await
        .unwrap();
}
